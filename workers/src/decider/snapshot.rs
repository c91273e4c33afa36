//! Snapshots of the observed state in files, a cache: lost, damaged or of another fold, everything is folded from the beginning instead.
//!
//! One file a partition, replaced by renaming. It holds the name of the fold that made it, a digest, and the state with the reader it belongs to.

use super::shell::Snapshots;
use domain::partition::Partition;
use journal::writer::StoredWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};
use uuid::Uuid;

/// The fold of this program: a digest of the sources of `domain` and `schemas`.
const FOLD: &str = env!("CIRRUS_FOLD");

#[derive(Serialize, Deserialize)]
struct Snapshot {
    stored: StoredWriter,
    state: Partition,
}

/// A snapshot of a partition, to be written.
type Job = (u32, Box<Snapshot>);

/// Snapshots in a directory, written by a thread of its own.
pub struct SnapshotDir {
    dir: PathBuf,
    writer: Option<(SyncSender<Job>, JoinHandle<()>)>,
}

impl SnapshotDir {
    /// Snapshots of one journal below `dir`, which is made if it is absent.
    pub fn open(dir: &Path, journal: Uuid) -> io::Result<Self> {
        let dir = dir.join(journal.to_string());
        fs::create_dir_all(&dir)?;
        // At most one waits: a newer one makes an older one needless, and the next is taken soon.
        let (sender, receiver) = sync_channel::<Job>(1);
        let target = dir.clone();
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || {
            for (partition, snapshot) in receiver {
                if let Err(problem) = write(&path(&target, partition), &snapshot) {
                    tracing::warn!(partition, %problem, "no snapshot; a start will fold more");
                }
            }
        })?;
        Ok(Self { dir, writer: Some((sender, thread)) })
    }
}

impl Snapshots for SnapshotDir {
    fn load(&self, partition: u32) -> Option<(StoredWriter, Partition)> {
        let path = path(&self.dir, partition);
        match read(&path) {
            Ok(Snapshot { stored, state }) => Some((stored, state)),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => None,
            Err(problem) => {
                tracing::info!(partition, %problem, "the snapshot is dropped; folding from the beginning");
                None
            }
        }
    }

    fn save(&mut self, partition: u32, stored: StoredWriter, state: Partition) {
        if let Some((sender, _)) = &self.writer {
            // When the disk is slower than the log the next snapshot will do.
            drop(sender.try_send((partition, Box::new(Snapshot { stored, state }))));
        }
    }
}

impl Drop for SnapshotDir {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.writer.take() {
            drop(sender);
            drop(thread.join());
        }
    }
}

fn path(dir: &Path, partition: u32) -> PathBuf {
    dir.join(format!("{partition}.snapshot"))
}

fn write(path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let body = rmp_serde::to_vec_named(snapshot).map_err(io::Error::other)?;
    let mut bytes = FOLD.as_bytes().to_vec();
    bytes.extend(Sha256::digest(&body));
    bytes.extend(body);
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    fs::rename(part, path)
}

fn read(path: &Path) -> io::Result<Snapshot> {
    let bytes = fs::read(path)?;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let rest = bytes.strip_prefix(FOLD.as_bytes()).ok_or_else(|| invalid("it is of another fold"))?;
    let (digest, body) = rest.split_at_checked(32).ok_or_else(|| invalid("it is cut off"))?;
    if Sha256::digest(body)[..] != *digest {
        return Err(invalid("it is damaged"));
    }
    rmp_serde::from_slice(body).map_err(|e| invalid(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, Snapshot) {
        let stored = serde_json::from_value(serde_json::json!({
            "reader": {"state": {"generation": 1, "partition": 3, "epoch": 2, "writer": "00".repeat(16), "since": 5, "seq": 9, "head": "ab".repeat(32)}},
            "past": {"time": null, "platform": {"generation": 1, "seq": 4}, "commands": null, "reports": null}
        }));
        (tempfile::tempdir().unwrap(), Snapshot { stored: stored.unwrap(), state: Partition::default() })
    }

    #[test]
    fn a_snapshot_comes_back_as_it_was() {
        let (dir, snapshot) = dir();
        let path = path(dir.path(), 3);
        write(&path, &snapshot).unwrap();
        let back = read(&path).unwrap();
        assert_eq!((back.stored, back.state), (snapshot.stored, snapshot.state));
    }

    #[test]
    fn a_snapshot_that_is_damaged_or_of_another_fold_is_not_believed() {
        let (dir, snapshot) = dir();
        let path = path(dir.path(), 3);
        write(&path, &snapshot).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in [0, 20, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(read(&path).is_err(), "byte {at}");
        }
        for length in [0, 10, 40] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(read(&path).is_err(), "{length} bytes");
        }
    }
}
