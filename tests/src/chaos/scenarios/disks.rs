//! Disks that are full.

use super::Told;
use crate::{
    chaos::field::{DEADLINE, Field},
    platform::{Platform, server},
    servers::Kafka,
};
use anyhow::{Context, ensure};
use reqwest::Method;
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use tokio::task::block_in_place;

/// Orders before the disk is full, and after it has room again.
const ORDERS: u32 = 10;

/// Scenario 7: the disk of a broker is full: a small file system of its own, which somebody else fills. Orders are not acknowledged while it is; then there
/// is room again, the broker starts again, and the orders are sent again under their keys.
///
/// Finds: an acknowledgement of what was not written; a log with half a record in it; a platform that has to be put together by hand afterwards. Needs the
/// right to mount; where there is none the scenario fails.
pub async fn full(field: &mut Field, _: Told) -> anyhow::Result<()> {
    let disk = Disk::mount(field.platform.state.path().join("disk"))?;
    let platform = Platform::start_on(block_in_place(|| Kafka::start_in(&disk.0))).await?;
    let (tenant, cell) = platform.demo().await?;
    let path = format!("/v1/tenants/{tenant}/resources");
    let order = async |n: u32| {
        let key = format!("disk-{n}");
        platform.call((n % 2) as usize, "ben", Method::POST, &path, Some(&key), server(&cell, &key)).await
    };
    let mut acknowledged = Vec::new();
    for n in 0..ORDERS {
        let answer = order(n).await?;
        ensure!(answer.status.is_success(), "an order before the disk is full: {answer:?}");
        acknowledged.push(answer.body);
    }
    disk.fill()?;
    field.fault();
    let mut written = 0;
    for n in ORDERS..2 * ORDERS {
        // What the broker had room for counts; the rest has no answer, or one that is no success.
        written += u32::from(
            tokio::time::timeout(Duration::from_secs(3), order(n)).await.is_ok_and(|answer| answer.is_ok_and(|a| a.status == 201)),
        );
    }
    println!("   {written} of {ORDERS} orders were acknowledged on the full disk");
    disk.empty()?;
    block_in_place(|| {
        platform.kafka.kill();
        platform.kafka.start_again();
    });
    let deadline = Instant::now() + DEADLINE;
    for n in 0..3 * ORDERS {
        let answer = loop {
            match order(n).await {
                Ok(answer) if answer.status.is_success() && answer.status != 202 => break answer,
                other => ensure!(Instant::now() < deadline, "order {n} after the disk had room again: {other:?}{}", platform.logs()),
            }
            field.pass(Duration::from_millis(200)).await?;
        };
        if let Some(before) = acknowledged.get(n as usize) {
            ensure!(*before == answer.body, "order {n} was answered {before} and then {}", answer.body);
        }
    }
    block_in_place(|| platform.replay(&["verify"]))?;
    block_in_place(|| platform.replay(&["rebuild", "--compare"]))?;
    Ok(())
}

/// A file system in memory, which is unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&at)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=640m", "tmpfs"]).arg(&at).status()?;
        ensure!(mounted.success(), "no small file system can be mounted at {}: this needs root", at.display());
        Ok(Self(at))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves no room at all.
    fn fill(&self) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.filler())?;
        for block in [1 << 20, 4096, 1] {
            let zeros = vec![0; block];
            loop {
                match file.write_all(&zeros) {
                    Ok(()) => {}
                    Err(full) if full.kind() == ErrorKind::StorageFull => break,
                    Err(other) => return Err(other).context("the disk cannot be filled"),
                }
            }
        }
        Ok(())
    }

    fn empty(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Who still has something open there keeps it until he ends; nobody else sees it any more.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
