//! The whole platform in one thread, with virtual time and faults out of a seed.

mod checker;
mod clients;
mod deciders;
mod end;
mod hosts;
mod network;
mod provider;
mod shown;
mod time;
mod world;

use self::{
    checker::{Figures, Violated},
    world::World,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_everything_converges_afterwards() {
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (first, seeds) = (number("CIRRUS_FIRST_SEED", 0), number("CIRRUS_SEEDS", 1_000));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let stories: Vec<Story> = std::thread::scope(|scope| {
        let run = |thread| (first + thread..first + seeds).step_by(threads as usize).map(Story::of).collect::<Vec<_>>();
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("the simulation itself failed")).collect()
    });
    let total = stories.iter().fold(Figures::default(), |total, story| total.plus(story.figures));
    println!("{seeds} seeds: {total:?}");
    let mut failed: Vec<&Story> = stories.iter().filter(|story| story.violated.is_some()).collect();
    failed.sort_by_key(|story| story.seed);
    if let Some(first) = failed.first() {
        let all = failed.iter().map(|story| format!("seed {}: {}", story.seed, story.violated.as_deref().unwrap_or_default()));
        panic!("{}\n{} of {seeds} seeds, the first as above:\n{}", first.told.join("\n"), failed.len(), all.collect::<Vec<_>>().join("\n"));
    }
    // A simulation in which nothing happens proves nothing.
    assert!(
        total.acknowledged > 30 * seeds && total.takeovers > 8 * seeds && total.claims > 5 * seeds && total.repeated > 5 * seeds,
        "{total:?}"
    );
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in [3, 1_234] {
        let (once, again) = (Story::of(seed), Story::of(seed));
        assert!(once.told.len() > 100 && once == again, "seed {seed}:\n{}\n\nand again:\n{}", once.told.join("\n"), again.told.join("\n"));
    }
}

/// What happened under one seed.
#[derive(Debug, PartialEq, Eq)]
struct Story {
    seed: u64,
    told: Vec<String>,
    figures: Figures,
    violated: Option<Violated>,
}

impl Story {
    fn of(seed: u64) -> Self {
        let mut world = World::new(seed);
        // What panics is as wrong as what is found wrong, and its history as good to have.
        let ended = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|_| Err("it panicked; see above".to_owned()));
        Self { seed, violated: ended.err(), figures: world.checker.figures, told: world.told }
    }
}
