//! Who leads.

use super::Told;
use crate::chaos::field::Field;
use rand::{RngExt, seq::IndexedRandom};
use std::time::{Duration, Instant};

const DECIDERS: [&str; 2] = ["decider", "decider-2"];

/// How long a group waits for a member.
const SESSION: Duration = Duration::from_secs(6);

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

/// Scenario 3: Both deciders are told that they lead: each is alone in a consumer group of its own, which assigns it every partition. In turn one of them starts again,
/// or stands still for longer than its group waits for it; both times it is assigned everything anew, and claims it from the other one, who is at work on it.
///
/// Finds: two leaders whose commits both count; partitions that nobody leads because each waits for the other; deciders that depose each other so often
/// that nothing is decided any more.
pub async fn duel(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    let group = |name| [("CIRRUS_DECIDER__GROUP", name)];
    field.platform.restart_with("decider-2", &group("a-group-of-its-own"))?;
    for victim in DECIDERS.iter().cycle() {
        field.decided(20).await?;
        if field.rng.random() {
            field.platform.kill_and_restart(victim)?;
        } else {
            field.platform.signal(victim, "STOP")?;
            field.pass(SESSION + Duration::from_secs(2)).await?;
            field.platform.signal(victim, "CONT")?;
        }
        field.fault();
        let pause = Duration::from_millis(field.rng.random_range(1_000..5_000));
        field.pass(pause).await?;
        if Instant::now() > until {
            break;
        }
    }
    field.platform.restart_with("decider-2", &group("cirrus-deciders"))?;
    field.decided(20).await
}
