//! Snapshots of the observed state in files, a cache: lost, damaged or of another fold, everything is folded from the beginning instead.
//!
//! One file a partition, replaced by renaming. It holds the name of the fold that made it, a digest, and the state with the reader it belongs to,
//! without what [`super::tombstones`] keeps: that is kept first, and a snapshot that relies on tombstones that are lost is dropped.

use super::tombstones::{Kept, TombstoneFile};
use domain::partition::Partition;
use journal::{topics::Journal, writer::StoredWriter};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

/// The fold of this program: a digest of the sources of `domain` and `schemas`.
const FOLD: &str = env!("CIRRUS_FOLD");

/// Where snapshots of the observed state come from and go to. A cache: without it everything is folded from the beginning.
pub trait Snapshots: Send {
    /// The newest snapshot of a partition that this program can read.
    fn load(&self, partition: u32) -> Option<(StoredWriter, Partition)>;

    /// What the states of a partition may shed of the gone.
    fn tombstones(&self, partition: u32) -> Arc<dyn Kept>;

    /// Keeps a snapshot. Called now and then, never twice at once; it may do its work elsewhere.
    fn save(&mut self, partition: u32, stored: StoredWriter, state: Partition);
}

/// No snapshots.
pub struct NoSnapshots;

impl Snapshots for NoSnapshots {
    fn load(&self, _: u32) -> Option<(StoredWriter, Partition)> {
        None
    }

    fn tombstones(&self, _: u32) -> Arc<dyn Kept> {
        Arc::new(())
    }

    fn save(&mut self, _: u32, _: StoredWriter, _: Partition) {}
}

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
    tombstones: Arc<TombstoneFile>,
    writer: Option<(SyncSender<Job>, JoinHandle<()>)>,
}

impl SnapshotDir {
    /// Snapshots of one journal below `dir`, which is made if it is absent. One process at a time can have it open.
    pub fn open(dir: &Path, journal: &Journal) -> io::Result<Self> {
        let dir = dir.join(journal.id.to_string());
        fs::create_dir_all(&dir)?;
        let tombstones = Arc::new(TombstoneFile::open(&dir, FOLD, journal.all_partitions()).map_err(io::Error::other)?);
        // At most one waits: a newer one makes an older one needless, and the next is taken soon.
        let (sender, receiver) = sync_channel::<Job>(1);
        let (target, keeper) = (dir.clone(), Arc::clone(&tombstones));
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || {
            for (partition, mut snapshot) in receiver {
                if let Err(problem) = keep(&keeper, &path(&target, partition), partition, &mut snapshot) {
                    tracing::warn!(partition, %problem, "no snapshot; a start will fold more");
                }
            }
        })?;
        Ok(Self { dir, tombstones, writer: Some((sender, thread)) })
    }
}

impl Snapshots for SnapshotDir {
    fn load(&self, partition: u32) -> Option<(StoredWriter, Partition)> {
        let path = path(&self.dir, partition);
        match read(&path) {
            Ok(Snapshot { state, .. }) if state.gone().0 > self.tombstones.kept(partition) => {
                tracing::warn!(partition, "the tombstones of the snapshot are lost; folding from the beginning");
                None
            }
            Ok(Snapshot { stored, state }) => Some((stored, state)),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => None,
            Err(problem) => {
                tracing::info!(partition, %problem, "the snapshot is dropped; folding from the beginning");
                None
            }
        }
    }

    fn tombstones(&self, partition: u32) -> Arc<dyn Kept> {
        Arc::new(TombstoneFile::of(&self.tombstones, partition))
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

fn keep(tombstones: &TombstoneFile, path: &Path, partition: u32, snapshot: &mut Snapshot) -> io::Result<()> {
    let kept = tombstones.keep(partition, &snapshot.state).map_err(io::Error::other)?;
    snapshot.state.shed(kept, usize::MAX);
    write(path, snapshot)
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
    use domain::{id::CommandId, platform::Platform};

    fn dir() -> (tempfile::TempDir, Snapshot) {
        let stored = serde_json::from_value(serde_json::json!({
            "reader": {"state": {"generation": 1, "partition": 3, "epoch": 2, "writer": "00".repeat(16), "since": 5, "seq": 9, "head": "ab".repeat(32)}},
            "past": {"time": null, "platform": {"generation": 1, "seq": 4}, "commands": null, "reports": null}
        }));
        (tempfile::tempdir().unwrap(), Snapshot { stored: stored.unwrap(), state: Partition::default() })
    }

    /// A state in which a tenant's resource came and went.
    fn with_one_gone() -> Partition {
        serde_json::from_value(serde_json::json!({
            "platform": Platform::default(), "tenants": {}, "decided": {}, "by_age": [], "time": "2026-01-01T00:00:00Z",
            "created": {GONE: {"fingerprint": 5, "seq": 7}, LIVES: {"fingerprint": 6, "seq": 8}}, "gone": [GONE], "shed": 0
        }))
        .unwrap()
    }

    const GONE: &str = "00000000-0000-0000-0000-000000000001";
    const LIVES: &str = "00000000-0000-0000-0000-000000000002";

    fn id(text: &str) -> CommandId {
        CommandId(text.parse().unwrap())
    }

    fn saved(dir: &Path, journal: &Journal) {
        let (_unused, Snapshot { stored, .. }) = self::dir();
        SnapshotDir::open(dir, journal).unwrap().save(3, stored, with_one_gone());
    }

    const JOURNAL: Journal = Journal { id: uuid::Uuid::from_u128(9), generation: 1, partitions: 4 };

    #[test]
    fn a_snapshot_leaves_what_is_gone_to_tombstones_that_answer_for_it() {
        let dir = tempfile::tempdir().unwrap();
        saved(dir.path(), &JOURNAL);
        let snapshots = SnapshotDir::open(dir.path(), &JOURNAL).unwrap();
        let (_, state) = snapshots.load(3).unwrap();
        assert_eq!((state.gone().0, state.gone().1.count()), (1, 0));
        let tombstones = snapshots.tombstones(3);
        assert_eq!(tombstones.find(id(GONE)).map(|d| (d.fingerprint, d.seq)), Some((5, 7)));
        assert_eq!((tombstones.find(id(LIVES)), snapshots.tombstones(2).find(id(GONE))), (None, None));
    }

    #[test]
    fn a_snapshot_whose_tombstones_are_lost_or_damaged_is_not_believed() {
        for damage in [|file: &Path| fs::remove_file(file).unwrap(), |file: &Path| fs::write(file, "no longer a B-tree").unwrap()] {
            let dir = tempfile::tempdir().unwrap();
            saved(dir.path(), &JOURNAL);
            damage(&dir.path().join(JOURNAL.id.to_string()).join(format!("{FOLD}.tombstones")));
            assert!(SnapshotDir::open(dir.path(), &JOURNAL).unwrap().load(3).is_none());
        }
    }

    #[test]
    fn one_directory_serves_one_decider() {
        let dir = tempfile::tempdir().unwrap();
        let first = SnapshotDir::open(dir.path(), &JOURNAL).unwrap();
        assert!(SnapshotDir::open(dir.path(), &JOURNAL).is_err());
        drop(first);
        assert!(SnapshotDir::open(dir.path(), &JOURNAL).is_ok());
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
