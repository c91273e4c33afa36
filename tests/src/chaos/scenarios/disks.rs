//! Disks that are full, and disks that are slow.

use super::Told;
use crate::{
    chaos::field::{DEADLINE, Field},
    platform::{Platform, server},
    servers::{BROKERS, Kafka},
};
use anyhow::{Context, ensure};
use rand::RngExt;
use reqwest::Method;
use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
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

/// Where the kernel is told how many writes a second a device takes, whoever they come from.
const WRITES_A_SECOND: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device";

/// The disk is so slow for at most so long: clients do not wait for ever.
const SLOW: Duration = Duration::from_secs(40);

/// Scenario 7, too: the disk of one broker is slow: a file system of its own on which every write waits for the device, and a device that the kernel lets have fewer
/// and fewer writes a second, until next to nothing is decided any more. Nothing is lost by it, and it goes on by itself.
///
/// Finds: a time-out that is taken for a failure; a leader that gives up its lead again and again for a disk that is merely slow; a record that is sent
/// twice and counts twice. Needs the right to mount, and the throttle of the first version of cgroups; where there is none the scenario fails.
pub async fn slow(field: &mut Field, told: Told) -> anyhow::Result<()> {
    let kafka = &field.platform.kafka;
    let broker = field.rng.random_range(1..=BROKERS);
    let disk = block_in_place(|| {
        kafka.stop_broker(broker);
        let disk = SlowDisk::mount(&field.platform.state.path().join("slow"), &kafka.data(broker))?;
        kafka.start_broker(broker);
        anyhow::Ok(disk)
    })?;
    for writes_a_second in [100, 30, 10] {
        disk.throttle(writes_a_second)?;
        field.fault();
        // A broker whose disk is slow stays the leader of what it leads: at last next to nothing is decided there. What counts is what comes after.
        field.pass((told.time / 3).min(SLOW)).await?;
    }
    disk.throttle(0)?;
    field.decided(20).await?;
    block_in_place(|| {
        field.platform.kafka.stop_broker(broker);
        disk.give_back()?;
        field.platform.kafka.start_broker(broker);
        anyhow::Ok(())
    })?;
    field.decided(20).await
}

/// A file system in a file, mounted so that every write waits for its device, and in the place of a directory. It is unmounted when this is dropped.
struct SlowDisk {
    mounted: PathBuf,
    instead_of: PathBuf,
    device: String,
}

impl SlowDisk {
    /// Puts what is in a directory onto it.
    fn mount(at: &Path, instead_of: &Path) -> anyhow::Result<Self> {
        ensure!(Path::new(WRITES_A_SECOND).exists(), "no disk can be made slow without {WRITES_A_SECOND}");
        let (image, mounted) = (at.with_extension("image"), at.to_owned());
        fs::create_dir(&mounted)?;
        // Only what is written to it takes room.
        fs::File::create(&image)?.set_len(8 << 30)?;
        run("mkfs.ext4", ["-q".as_ref(), "-F".as_ref(), image.as_os_str()])?;
        run("mount", ["-o".as_ref(), "loop,sync".as_ref(), image.as_os_str(), mounted.as_os_str()])?;
        let mut disk = Self { mounted, instead_of: instead_of.to_owned(), device: String::new() };
        let device = fs::metadata(&disk.mounted)?.dev();
        // As the kernel takes them apart, for numbers as small as those of a loop device.
        disk.device = format!("{}:{}", device >> 8, device & 0xff);
        // A broker takes every directory of its disk for a partition.
        fs::remove_dir(disk.mounted.join("lost+found"))?;
        copy(&disk.instead_of, &disk.mounted)?;
        run("mount", ["--bind".as_ref(), disk.mounted.as_os_str(), instead_of.as_os_str()])?;
        Ok(disk)
    }

    /// From now on it takes so many writes a second; 0 is no limit.
    fn throttle(&self, writes_a_second: u32) -> anyhow::Result<()> {
        fs::write(WRITES_A_SECOND, format!("{} {writes_a_second}", self.device)).context("the disk cannot be made slow")
    }

    /// Puts what is on it back into the directory.
    fn give_back(self) -> anyhow::Result<()> {
        run("umount", [&self.instead_of])?;
        fs::remove_dir_all(&self.instead_of)?;
        fs::create_dir(&self.instead_of)?;
        copy(&self.mounted, &self.instead_of)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // Without its limit first: what is still to be written would keep everybody waiting. What was given back is mounted once only.
        let _ = self.throttle(0);
        for place in [&self.instead_of, &self.mounted] {
            let _ = Command::new("umount").args(["--quiet", "--lazy"]).arg(place).status();
        }
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    run("cp", ["-a".as_ref(), "--sparse=always".as_ref(), from.join(".").as_os_str(), to.as_os_str()])
}

fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    let status = command.args(arguments).status().with_context(|| format!("{program} does not run"))?;
    ensure!(status.success(), "{command:?} failed: this needs root");
    Ok(())
}
