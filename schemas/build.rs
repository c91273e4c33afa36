//! Lists the files of `catalogue/`, so that a new service is a new file there and nothing else.

use std::{env, fmt::Write, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=catalogue");
    let dir = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("catalogue");
    let mut files: Vec<_> = fs::read_dir(&dir).expect("schemas/catalogue is part of the source").flatten().map(|e| e.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let mut list = String::from("&[");
    for path in &files {
        let name = path.file_name().and_then(|n| n.to_str()).expect("a service has a name in ASCII");
        write!(list, "({name:?}, include_str!({path:?})),").expect("a String takes everything");
    }
    list.push(']');
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("catalogue.rs");
    fs::write(out, list).expect("OUT_DIR can be written");
}
