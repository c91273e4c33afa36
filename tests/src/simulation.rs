//! The whole platform in one thread, with virtual time and faults out of a seed.
//!
//! Deciders, callers, workers and processes are the product's own: a decider is turned, an API or worker is a runtime without clock and I/O that
//! is run as far as it goes, and all of them take time and chance from [`time`]. Kafka is its in-memory twin, the cloud the simulated one, and the read
//! models are a fold of the journal that lags behind it. First a platform with two tenants is opened in peace; then, for about a minute of
//! virtual time, customers order and everything fails; then faults end, and all must converge.
//!
//! | fails | how |
//! |---|---|
//! | deciders | crash, with the disk of then, of earlier or none; stand still and come back as zombies; are told to lead everything; clocks up to five minutes off |
//! | the network | delivers late, twice, or only the beginning of what was sent; readers lag; the broker does not answer questions |
//! | callers | give up, ask again under the same key by another process, sometimes with another body; crash; clocks up to five minutes off |
//! | workers | crash before, during and after a call, which may arrive all the same; stand still; clocks up to 1.5 seconds off |
//! | the provider | does it and says 500, or nothing; refuses; is slow; never ends; lists two seconds late; loses things |
//! | time | leaps by up to 40 seconds, over deadlines |
//!
//! At every turn ([`checker`]): one commit a command, in order; one outcome a key; what was acknowledged is on the log and stays; no quota is
//! exceeded at any position; nothing contradicts the fold; what a decider holds is what the log says. At the end ([`end`]): everything is
//! answered, no step is open, all deciders hold the same, and the provider has one machine for each live resource and no other. What vanished from the
//! provider is not missed, because the sweep is not part of this.
//!
//! Two assumptions are built in: the clocks of two workers differ by less than a provider's settle time, and a call that
//! has not arrived when its caller gives up never does.
//!
//! Seen to be caught, each with the number of the first 60 seeds that found it:
//!
//! | defect, made by hand | of 60 |
//! |---|---|
//! | a decider counts what it has appended before it was read back | 45 |
//! | a snapshot holds what was only appended | 38 |
//! | a caller is told of a commit that the rule has not accepted | 5 |
//! | the state of what was appended outlives a lost lead | 28 |
//! | commands of a lost lead count as decided | 8 |
//! | a deposed writer goes on | 58 |
//! | commands are decided without what was appended before | 60 |
//! | outcomes are not remembered, or forgotten at a takeover | 60 |
//! | quota is not asked for | 52 |
//! | a worker creates without having looked | 4 |
//! | a worker does not wait for a call that may be under way | 11 |
//! | a worker calls although its announcement was not read back | 1 |
//! | a delete forgets the call of the create that it replaces | 8 |
//!
//! And it found, in the product: a new leader's state without the time of its first commit (seed 0); an absence at the provider believed as of the
//! answer instead of the question (seed 122); a call announced by a worker that had looked before somebody else's call (seed 462).
//!
//! `CIRRUS_SEEDS=10000 cargo test --workspace --lib whatever_fails` tries more, `CIRRUS_FIRST_SEED` begins elsewhere. A failing seed prints its history.

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
