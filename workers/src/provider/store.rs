//! The state of the simulated cloud on disk: one append-only file of JSON lines.
//!
//! A line is an array of [`Record`]s, all changes of one call. It is with the operating system before the caller is answered, so it outlives
//! `kill -9`; with `sync` it is on the disk, so it outlives a power cut as well. A last line without its newline was never answered for and is dropped.
//! The file is written anew, without its history, at every start and when the history has grown far beyond the state.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::cloud::Record;

/// Lines of history after which the file is written anew, if the state has fewer than half as many.
const LONG_HISTORY: usize = 500_000;

/// Why the state cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A line other than the last is no record: the file is not ours or was damaged.
    #[error("line {line} of {} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// The operating system refuses.
    #[error("{}: {reason}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        reason: io::Error,
    },
    /// A change could not be kept before, so what is in memory is not what is on disk.
    #[error("{} could not be written before; restart to go on from what it holds", .0.display())]
    Failed(PathBuf),
}

/// The open file. No other process can open it meanwhile.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    file: File,
    sync: bool,
    /// Lines since it was last written anew.
    history: usize,
    failed: bool,
    /// Held for the lock on it, which the operating system gives back however the process ends.
    _lock: File,
}

impl Store {
    /// Opens the state in a directory, which is made if need be, and reads what it holds. [`Self::rewrite`] must be called before anything is appended.
    pub fn open(directory: &Path, sync: bool) -> Result<(Self, Vec<Record>), StoreError> {
        let path = directory.join("provider.jsonl");
        let at = |path: &Path| {
            let path = path.to_owned();
            move |reason| StoreError::Io { path, reason }
        };
        std::fs::create_dir_all(directory).map_err(at(directory))?;
        let lock_path = directory.join("provider.lock");
        let lock = OpenOptions::new().create(true).append(true).open(&lock_path).map_err(at(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::InUse(lock_path.clone()),
            TryLockError::Error(reason) => StoreError::Io { path: lock_path.clone(), reason },
        })?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        let records = read(&bytes).map_err(|(line, reason)| StoreError::Damaged { path: path.clone(), line, reason })?;
        Ok((Self { path, file, sync, history: 0, failed: false, _lock: lock }, records))
    }

    /// Writes the file anew with nothing but these records. The old one stays until the new one is complete and on disk.
    pub fn rewrite(&mut self, records: impl Iterator<Item = Record>) -> Result<(), StoreError> {
        let new = self.path.with_extension("jsonl.new");
        let written = (|| {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&new)?);
            for record in records {
                write_line(&mut out, &[record])?;
            }
            out.into_inner()?.sync_all()?;
            std::fs::rename(&new, &self.path)?;
            if let Some(directory) = self.path.parent() {
                File::open(directory)?.sync_all()?;
            }
            OpenOptions::new().append(true).open(&self.path)
        })();
        self.file = written.map_err(|reason| self.fail(reason))?;
        self.history = 0;
        Ok(())
    }

    /// Keeps what one call has changed.
    pub fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Failed(self.path.clone()));
        }
        if records.is_empty() {
            return Ok(());
        }
        let mut line = Vec::with_capacity(1024);
        let written = write_line(&mut line, records)
            .and_then(|()| self.file.write_all(&line))
            .and_then(|()| if self.sync { self.file.sync_data() } else { Ok(()) });
        self.history += 1;
        written.map_err(|reason| self.fail(reason))
    }

    /// What is on disk may now end in half a line, so nothing is appended any more.
    fn fail(&mut self, reason: io::Error) -> StoreError {
        self.failed = true;
        StoreError::Io { path: self.path.clone(), reason }
    }

    /// Has the history grown far beyond a state of so many objects?
    pub fn is_long(&self, objects: usize) -> bool {
        self.history > LONG_HISTORY.max(2 * objects)
    }
}

fn write_line(out: &mut impl Write, records: &[Record]) -> io::Result<()> {
    serde_json::to_writer(&mut *out, records)?;
    out.write_all(b"\n")
}

/// All records of complete lines, or the line that is none.
fn read(bytes: &[u8]) -> Result<Vec<Record>, (usize, serde_json::Error)> {
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut records = Vec::new();
    for (number, line) in bytes[..complete].split_inclusive(|byte| *byte == b'\n').enumerate() {
        records.extend(serde_json::from_slice::<Vec<Record>>(line).map_err(|reason| (number + 1, reason))?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_one_change_that_could_not_be_kept_none_is_kept_until_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path(), true).unwrap();
        store.append(&[Record::Gone(1)]).unwrap();
        let writable = std::mem::replace(&mut store.file, File::open(&store.path).unwrap());
        assert!(matches!(store.append(&[Record::Gone(2)]), Err(StoreError::Io { .. })));
        store.file = writable;
        assert!(matches!(store.append(&[Record::Gone(3)]), Err(StoreError::Failed(_))));
        drop(store);
        let (_, records) = Store::open(directory.path(), true).unwrap();
        assert_eq!(records, [Record::Gone(1)]);
    }
}
