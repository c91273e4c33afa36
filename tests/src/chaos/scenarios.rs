//! The stories. Each begins with a platform that works under load, does its faults, takes them back, and waits until work goes on; the rules of
//! [`super::check`] are applied when the clients have ended. The story says which defect it is there to find.

mod brokers;
mod clocks;
mod copies;
mod deciders;
mod disks;
mod doors;
mod impostors;
mod read_models;
mod upgrade;
mod workers;

use super::field::{DEADLINE, Field};
use futures::future::BoxFuture;
use journal::log::{Log, SendError};
use rand::{RngExt, seq::IndexedRandom};
use std::{
    ops::Range,
    time::{Duration, Instant, SystemTime},
};

/// What a scenario is told.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// How long it may go on injecting faults; it does each of them at least once.
    pub time: Duration,
}

/// A scenario.
pub struct Scenario {
    /// Its number in `docs/chaos.md`.
    pub number: u32,
    /// Its name on the command line.
    pub name: &'static str,
    /// Whether the short run has it.
    pub short: bool,
    /// What it does.
    pub run: for<'a> fn(&'a mut Field, Told) -> BoxFuture<'a, anyhow::Result<()>>,
}

/// All scenarios, in the order in which they run.
pub const ALL: &[Scenario] = &[
    Scenario { number: 1, name: "kill-decider", short: true, run: |f, told| Box::pin(deciders::kill(f, told)) },
    Scenario { number: 2, name: "zombie-decider", short: true, run: |f, told| Box::pin(deciders::zombie(f, told)) },
    Scenario { number: 3, name: "duelling-deciders", short: false, run: |f, told| Box::pin(deciders::duel(f, told)) },
    Scenario { number: 15, name: "kill-api", short: false, run: |f, told| Box::pin(doors::kill_api(f, told)) },
    Scenario { number: 14, name: "one-key", short: true, run: |f, told| Box::pin(doors::one_key(f, told)) },
    Scenario { number: 4, name: "brokers", short: true, run: |f, told| Box::pin(brokers::kill(f, told)) },
    Scenario { number: 11, name: "kill-worker", short: false, run: |f, told| Box::pin(workers::kill(f, told)) },
    Scenario { number: 12, name: "nasty-provider", short: true, run: |f, told| Box::pin(workers::provider(f, told)) },
    Scenario { number: 13, name: "delete-while-creating", short: false, run: |f, told| Box::pin(workers::delete_while_creating(f, told)) },
    Scenario { number: 8, name: "postgres", short: true, run: |f, told| Box::pin(read_models::postgres(f, told)) },
    Scenario { number: 9, name: "two-projectors", short: false, run: |f, told| Box::pin(read_models::projectors(f, told)) },
    Scenario { number: 10, name: "rebuild-live", short: false, run: |f, told| Box::pin(read_models::rebuild(f, told)) },
    Scenario { number: 19, name: "poison", short: true, run: |f, told| Box::pin(copies::poison(f, told)) },
    Scenario { number: 19, name: "panic", short: false, run: |f, told| Box::pin(copies::panic(f, told)) },
    Scenario { number: 22, name: "strangers", short: false, run: |f, told| Box::pin(doors::strangers(f, told)) },
    Scenario { number: 18, name: "flood", short: false, run: |f, told| Box::pin(doors::flood(f, told)) },
    Scenario { number: 16, name: "altered-copies", short: false, run: |f, told| Box::pin(copies::alter(f, told)) },
    Scenario { number: 7, name: "full-disk", short: false, run: |f, told| Box::pin(disks::full(f, told)) },
    Scenario { number: 7, name: "slow-disk", short: false, run: |f, told| Box::pin(disks::slow(f, told)) },
    Scenario { number: 20, name: "another-log", short: false, run: |f, told| Box::pin(impostors::another_log(f, told)) },
    Scenario { number: 19, name: "unknown-event", short: false, run: |f, told| Box::pin(impostors::unknown_event(f, told)) },
    Scenario { number: 17, name: "wrong-clock", short: false, run: |f, told| Box::pin(clocks::wrong(f, told)) },
    Scenario { number: 5, name: "cut-off", short: false, run: |f, told| Box::pin(brokers::cut(f, told)) },
    Scenario { number: 6, name: "late-answers", short: false, run: |f, told| Box::pin(brokers::late(f, told)) },
];

/// The scenario that begins with the processes of another release, and so plays alone.
pub const ROLLING: Scenario =
    Scenario { number: 21, name: "rolling-upgrade", short: false, run: |f, told| Box::pin(upgrade::rolling(f, told)) };

/// Kills one of these processes with -9, again and again, each so many milliseconds after the one before and when so many writes were decided since.
async fn kill(field: &mut Field, told: Told, of: &[&str], pause: Range<u64>, decided: u64) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        let victim = *of.choose(&mut field.rng).expect("somebody can be killed");
        field.platform.kill_and_restart(victim)?;
        field.fault();
        let pause = Duration::from_millis(field.rng.random_range(pause.clone()));
        field.pass(pause).await?;
        field.decided(decided).await?;
        if Instant::now() > until {
            return Ok(());
        }
    }
}

/// Puts bytes on a topic, past everybody who would look at them.
async fn put(log: &dyn Log, partition: u32, value: &[u8]) -> anyhow::Result<Result<i64, SendError>> {
    let sender = log.open_sender()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let (told, hears) = tokio::sync::oneshot::channel();
    // Who does not wait any more does not want to know.
    sender.send(partition, None, i64::try_from(now)?, value, Box::new(|outcome| drop(told.send(outcome))));
    Ok(tokio::time::timeout(DEADLINE, hears).await??)
}
