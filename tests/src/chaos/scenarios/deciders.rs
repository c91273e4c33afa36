//! Who leads.

use super::Told;
use crate::chaos::field::Field;
use rand::{RngExt, seq::IndexedRandom};
use std::time::{Duration, Instant};

const DECIDERS: [&str; 2] = ["decider", "decider-2"];

/// Scenario 1: A decider is killed with -9 at random, every few seconds, and starts again. The other one takes over what it led.
///
/// Finds: a commit that was acknowledged before it was read back; a decision on speculation that was lost; a command that is skipped or decided twice
/// after a take-over; a take-over that never comes.
pub async fn kill(field: &mut Field, told: Told) -> anyhow::Result<()> {
    super::kill(field, told, &DECIDERS, 500..6_000, 30).await
}

/// Scenario 2: A decider stands still for 30 s in the middle of its work; the other one takes over; it wakes up and goes on with what it had in its hands.
///
/// Finds: a commit of the zombie that counts; an answer that the zombie gave; a leader that does not see that it is deposed.
pub async fn zombie(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        let victim = *DECIDERS.choose(&mut field.rng).expect("there are two");
        field.platform.signal(victim, "STOP")?;
        field.fault();
        field.pass(Duration::from_secs(10)).await?;
        // The other one works while this one stands still.
        field.decided(30).await?;
        field.pass(Duration::from_secs(20)).await?;
        field.platform.signal(victim, "CONT")?;
        field.decided(30).await?;
        if Instant::now() > until {
            return Ok(());
        }
    }
}

/// Scenario 3: Both deciders believe that they lead: in turn each stands still until the other one has taken its partitions over, and wakes up as the other
/// one falls asleep, so that there is always one who has not heard that it was deposed.
///
/// Finds: two leaders whose commits both count; partitions that nobody leads because each waits for the other.
pub async fn duel(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    let mut turn = DECIDERS.iter().cycle();
    let mut asleep = "decider-2";
    field.platform.signal(asleep, "STOP")?;
    loop {
        let pause = Duration::from_millis(field.rng.random_range(1_500..9_000));
        field.pass(pause).await?;
        let next = turn.next().expect("the cycle has no end");
        field.platform.signal(asleep, "CONT")?;
        field.platform.signal(next, "STOP")?;
        field.fault();
        asleep = next;
        if Instant::now() > until {
            field.platform.signal(asleep, "CONT")?;
            return field.decided(20).await;
        }
    }
}
