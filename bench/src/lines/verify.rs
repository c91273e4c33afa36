//! Reading a log again and proving that it is whole, beside hashing the same bytes.
//!
//! Two rows. The *rule* is what every reader of the journal does with each record: parse its header, compare, hash; its peer hashes the same
//! values, both from memory. *Verify* is the auditor's whole work on a dump: lines, base64, the rule, every event decoded, every commit folded;
//! its peer hashes the same files. Both sides use one core.

use super::Line;
use crate::{
    history,
    measure::{Goal, Row, Scale, in_turn, rate_of_core},
};
use anyhow::ensure;
use journal::{
    follower::{Followed, Follower},
    log::Stored,
};
use replay::{source::Source, verify::verify};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    hint::black_box,
    io::{BufRead, BufReader},
    path::Path,
};

/// See the module.
pub const LINE: Line = Line { name: "verify", about: "verify a dumped log, beside SHA-256 of the same bytes", run };

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let dump = directory.path().join("dump");
    history::of_servers(scale.amount(100_000, 20_000)).dump(&dump)?;
    let source = Source::directory(&dump)?;
    let values = history::records(&source)?;
    let commits = values.iter().map(Vec::len).sum::<usize>();
    let bytes: usize = values.iter().flatten().map(|stored| stored.value.len()).sum();
    let [rule, hash] = in_turn(scale.runs, [Box::new(|| the_rule(&source, &values)), Box::new(|| Ok(hash(&values)))])?;
    let [whole, files] = in_turn(
        scale.runs,
        [
            Box::new(|| {
                rate_of_core(commits, || {
                    ensure!(verify(&source)?.is_whole(), "the measured log is not whole");
                    Ok(())
                })
            }),
            Box::new(|| rate_of_core(commits, || hash_files(&dump))),
        ],
    )?;
    let mean = bytes as f64 / commits as f64;
    let megabytes = |rates: &[f64]| rates.iter().map(|rate| rate * mean / 1e6).collect();
    Ok(vec![
        Row::beside(
            format!("the rule over records in memory ({mean:.0} bytes each), one core"),
            "records/s",
            &rule,
            "SHA-256 of their values",
            &hash,
            Some(Goal::AtLeast(0.5)),
        ),
        Row::alone("the same in bytes", "MB/s", megabytes(&rule)),
        Row::beside(
            "verify a dump: rule, events, fold, one core",
            "records/s",
            &whole,
            "SHA-256 of the dump's files",
            &files,
            Some(Goal::AtLeast(0.5)),
        ),
        Row::alone("the same in bytes of records", "MB/s", megabytes(&whole)),
    ])
}

fn the_rule(source: &Source, values: &[Vec<Stored>]) -> anyhow::Result<f64> {
    let journal = source.journal();
    rate_of_core(values.iter().map(Vec::len).sum(), || {
        for (partition, values) in (0..).zip(values) {
            let mut follower = Follower::new(journal.genesis(partition), None)?;
            for stored in values {
                let read = follower.read(stored.offset, &stored.value);
                ensure!(matches!(read, Followed::Accepted(_)), "partition {partition}: {read:?}");
            }
        }
        Ok(())
    })
}

fn hash(values: &[Vec<Stored>]) -> f64 {
    let hashed = rate_of_core(values.iter().map(Vec::len).sum(), || {
        for stored in values.iter().flatten() {
            black_box(Sha256::digest(&stored.value));
        }
        Ok(())
    });
    hashed.expect("hashing returns no error")
}

fn hash_files(dump: &Path) -> anyhow::Result<()> {
    for file in std::fs::read_dir(dump)? {
        let mut reader = BufReader::new(File::open(file?.path())?);
        let mut hash = Sha256::new();
        loop {
            let read = reader.fill_buf()?;
            if read.is_empty() {
                break;
            }
            hash.update(read);
            let read = read.len();
            reader.consume(read);
        }
        black_box(hash.finalize());
    }
    Ok(())
}
