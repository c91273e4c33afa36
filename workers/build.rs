//! Names the fold: a digest of the sources that decide what a log means. A snapshot made by another fold is dropped, never migrated.

use sha2::{Digest, Sha256};
use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let mut digest = Sha256::new();
    for dir in ["../domain/src", "../schemas/src"] {
        println!("cargo::rerun-if-changed={dir}");
        add(Path::new(dir), &mut digest)?;
    }
    let name: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=CIRRUS_FOLD={name}");
    Ok(())
}

fn add(dir: &Path, digest: &mut Sha256) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            add(&path, digest)?;
        } else {
            digest.update(path.to_string_lossy().as_bytes());
            digest.update(fs::read(&path)?);
        }
    }
    Ok(())
}
