//! The brokers, and the way to them.

use super::Told;
use crate::{
    chaos::{
        field::Field,
        proxy::{Mode, Proxy},
    },
    servers::BROKERS,
};
use rand::{
    RngExt,
    seq::{IndexedRandom, SliceRandom},
};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// Scenario 4: Brokers are killed one after the other (each leads some partitions, one of them the cluster), two in turn with little between them, and then all are
/// restarted cleanly, one by one, under load.
///
/// Finds: a write that was acknowledged by fewer copies than promised; a producer that leaves a hole or repeats; a reader that skips; a client that does
/// not find the new leader.
pub async fn kill(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    loop {
        let mut brokers: Vec<usize> = (1..=BROKERS).collect();
        brokers.shuffle(&mut field.rng);
        for broker in brokers {
            block_in_place(|| field.platform.kafka.kill_broker(broker));
            field.fault();
            // Two copies are enough, so work goes on while it is away. The next one dies as soon as this one takes connections.
            field.decided(20).await?;
            block_in_place(|| field.platform.kafka.start_broker(broker));
            if Instant::now() > until {
                break;
            }
        }
        field.decided(20).await?;
        if Instant::now() > until {
            return Ok(());
        }
        for broker in 1..=BROKERS {
            block_in_place(|| field.platform.kafka.stop_broker(broker));
            field.fault();
            field.decided(20).await?;
            block_in_place(|| field.platform.kafka.start_broker(broker));
            let pause = Duration::from_millis(field.rng.random_range(500..3_000));
            field.pass(pause).await?;
        }
    }
}

/// Scenario 5: A decider reaches the brokers only by a proxy. It is cut off from one broker, then from all; then only what it sends is lost, then only what it is
/// told. Each time the way is healed and work goes on.
///
/// Finds: a leader that goes on without being able to read back; a take-over that waits for the one who is cut off; two leaders who both acknowledge.
pub async fn cut(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    let proxy = Proxy::start(field.platform.kafka.detours()).await?;
    let direct = field.platform.kafka.bootstrap();
    field.platform.restart_with("decider", &[("CIRRUS_KAFKA__BOOTSTRAP", &proxy.bootstrap())])?;
    field.pass(Duration::from_secs(8)).await?;
    loop {
        let one = field.rng.random_range(0..BROKERS);
        for (broker, mode) in [(Some(one), Mode::Cut), (None, Mode::Cut), (None, Mode::Deaf), (None, Mode::Mute)] {
            proxy.set(broker, mode);
            field.fault();
            let pause = Duration::from_secs(field.rng.random_range(3..12));
            field.pass(pause).await?;
            // What it led is led by the other one by now.
            field.decided(20).await?;
            proxy.set(None, Mode::Pass);
            let pause = Duration::from_secs(field.rng.random_range(1..8));
            field.pass(pause).await?;
            field.decided(10).await?;
            if Instant::now() > until && mode == Mode::Mute {
                break;
            }
        }
        if Instant::now() > until {
            field.platform.restart_with("decider", &[("CIRRUS_KAFKA__BOOTSTRAP", &direct)])?;
            return field.decided(10).await;
        }
    }
}

/// Scenario 6: What the brokers tell a decider comes late: by more and more, at last by more than any time-out of its client. What it appended is written all the
/// time; it only does not know.
///
/// Finds: a time-out that is taken for a failure; a record that is sent again and counts twice; an acknowledgement that does not wait for the record.
pub async fn late(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let until = Instant::now() + told.time;
    let proxy = Proxy::start(field.platform.kafka.detours()).await?;
    let direct = field.platform.kafka.bootstrap();
    field.platform.restart_with("decider", &[("CIRRUS_KAFKA__BOOTSTRAP", &proxy.bootstrap())])?;
    field.pass(Duration::from_secs(8)).await?;
    let longest = if told.time < Duration::from_secs(90) { 8 } else { 75 };
    loop {
        let late = *[1, 3, longest].choose(&mut field.rng).expect("there are three");
        proxy.set(None, Mode::Late(Duration::from_secs(late)));
        field.fault();
        field.pass(Duration::from_secs(late + 5)).await?;
        field.decided(10).await?;
        proxy.set(None, Mode::Pass);
        field.decided(20).await?;
        if Instant::now() > until {
            field.platform.restart_with("decider", &[("CIRRUS_KAFKA__BOOTSTRAP", &direct)])?;
            return field.decided(10).await;
        }
    }
}
