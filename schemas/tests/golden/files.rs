//! The files of `golden/`.

use schemas::record::Digest;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// Tests of one binary run at once, and only one at a time may write.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Directories whose files never change.
const APPEND_ONLY: [&str; 4] = ["commands", "events", "records", "refusals"];

pub struct Golden {
    _turn: MutexGuard<'static, ()>,
}

/// True when missing files are to be written.
pub fn writing() -> bool {
    match env::var("CIRRUS_GOLDEN").as_deref() {
        Ok("write") => true,
        Ok(other) => panic!("CIRRUS_GOLDEN is {other:?}; only `write` means something"),
        Err(_) => false,
    }
}

pub fn read_json(path: &str) -> Value {
    let text =
        fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("golden/{path}: {e}; CIRRUS_GOLDEN=write writes what is missing"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("golden/{path}: {e}"))
}

impl Golden {
    pub fn open() -> Self {
        // A test that failed has written whole files or none.
        Self { _turn: ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner) }
    }

    /// Writes a sample that has no file yet and lists it; without leave to write, says how to get it.
    pub fn write_missing(&self, path: &str, sample: &Value) {
        if root().join(path).exists() {
            return;
        }
        assert!(writing(), "golden/{path} is missing; CIRRUS_GOLDEN=write cargo test -p schemas --test golden writes it");
        let text = pretty(sample);
        let mut sums = sums();
        assert!(sums.insert(path.to_owned(), Digest::of(text.as_bytes()).to_string()).is_none(), "golden/{path} was removed: restore it");
        write(path, &text);
        let lines: String = sums.iter().map(|(path, sum)| format!("{sum}  {path}\n")).collect();
        write("SHA256SUMS", &lines);
    }

    /// Writes a file that follows from the code, whatever stands there.
    pub fn write_derived(&self, path: &str, value: &Value) {
        write(path, &pretty(value));
    }

    /// All files of a directory by name, without `.json`.
    pub fn all(&self, directory: &str) -> BTreeMap<String, Value> {
        listed(directory).into_iter().map(|path| (stem(&path), read_json(&path))).collect()
    }

    /// Every sample is listed with its digest, and everything listed is there.
    pub fn verify(&self) {
        let sums = sums();
        let here: BTreeMap<String, String> = APPEND_ONLY
            .into_iter()
            .flat_map(listed)
            .map(|path| {
                let bytes = fs::read(root().join(&path)).unwrap();
                (path, Digest::of(&bytes).to_string())
            })
            .collect();
        for (path, sum) in &sums {
            assert_eq!(here.get(path), Some(sum), "golden/{path} is frozen and was altered or removed");
        }
        for path in here.keys() {
            assert!(sums.contains_key(path), "golden/{path} is not listed in SHA256SUMS; samples are written by the tests, not by hand");
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn listed(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|e| panic!("golden/{directory}: {e}"));
    entries.map(|e| format!("{directory}/{}", e.unwrap().file_name().to_str().unwrap())).collect()
}

fn stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    name.strip_suffix(".json").unwrap_or_else(|| panic!("golden/{path} is no sample")).to_owned()
}

/// Path to digest, as `sha256sum` writes it: `sha256sum -c SHA256SUMS` says the same as the test.
fn sums() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("SHA256SUMS")).unwrap_or_default();
    text.lines()
        .map(|line| line.split_once("  ").expect("digest, two spaces, path"))
        .map(|(sum, path)| (path.to_owned(), sum.to_owned()))
        .collect()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Whole or not at all.
fn write(path: &str, text: &str) {
    let target = root().join(path);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    let new = target.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, &target).unwrap();
}
