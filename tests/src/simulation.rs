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

use self::{checker::Figures, world::World};

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_everything_converges_afterwards() {
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (first, seeds) = (number("CIRRUS_FIRST_SEED", 0), number("CIRRUS_SEEDS", 1_000));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let all: Vec<Figures> = std::thread::scope(|scope| {
        let run = |thread| (first + thread..first + seeds).step_by(threads as usize).map(check).collect::<Vec<_>>();
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a seed failed")).collect()
    });
    let total = all.into_iter().fold(Figures::default(), Figures::plus);
    println!("{seeds} seeds: {total:?}");
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in [3, 1_234] {
        let story = || {
            let mut world = World::new(seed);
            let end = world.run();
            (world.told, end)
        };
        assert_eq!(story(), story());
    }
}

fn check(seed: u64) -> Figures {
    let mut world = World::new(seed);
    match world.run() {
        Ok(figures) => figures,
        Err(violated) => panic!("{}\nseed {seed}: {violated}", world.told.join("\n")),
    }
}
