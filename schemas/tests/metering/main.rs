//! What other people's programs measured, measured here: OpenMeter's meters and Open XDMoD's account of a real cloud.
//!
//! The answers are read from `CIRRUS_DATA` (`../shared/data`); a test that does not find them fails.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod metering_nova;
mod metering_openmeter;
mod metering_xdmod;

use flate2::read::GzDecoder;
use std::{fs, io::Read, path::PathBuf};

/// A file of other people's data, unpacked if it is packed.
fn data(name: &str) -> String {
    let directory = std::env::var_os("CIRRUS_DATA").map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into());
    let path = directory.join(name);
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{} (say where the data lie with CIRRUS_DATA): {e}", path.display()));
    let mut text = String::new();
    match name.ends_with(".gz") {
        true => GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap(),
        false => (&*bytes).read_to_string(&mut text).unwrap(),
    };
    text
}
