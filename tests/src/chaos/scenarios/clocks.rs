//! Clocks that go wrong.

use super::Told;
use crate::chaos::field::Field;
use anyhow::ensure;
use rand::{RngExt, seq::IndexedRandom};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Debian's libfaketime, for programs with threads.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Scenario 17: The clock of one process is five minutes or a year ahead or behind: of a decider, of an API process, of a projector, of a worker. The others have
/// the right time.
///
/// Finds: a leader that writes times which nobody can take back; commands that expire before they are sent, for ever; a take-over that never comes because
/// the one with the wrong clock holds on to its lead; a call that is announced for a year, so that nobody else may go on with its step.
pub async fn wrong(field: &mut Field, told: Told) -> anyhow::Result<()> {
    ensure!(Path::new(LIBRARY).exists(), "no process can be told a wrong time without {LIBRARY}: install faketime");
    let until = Instant::now() + told.time;
    loop {
        for role in ["decider", "worker-zone-a", "api", "projector"] {
            let offset = *["+300s", "-300s", "+365d", "-365d"].choose(&mut field.rng).expect("there are four");
            let wrong = [("LD_PRELOAD", LIBRARY), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
            field.platform.restart_with(role, &wrong)?;
            field.fault();
            let pause = Duration::from_millis(field.rng.random_range(3_000..10_000));
            field.pass(pause).await?;
            field.decided(20).await?;
            field.platform.restart_with(role, &[("LD_PRELOAD", ""), ("FAKETIME", ""), ("FAKETIME_DONT_FAKE_MONOTONIC", "")])?;
            field.decided(10).await?;
            if Instant::now() > until && role == "projector" {
                return Ok(());
            }
        }
    }
}
