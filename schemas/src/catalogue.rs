//! The catalogue: one YAML file a service, and the check of a spec against it.
//!
//! A file has the fields of [`Service`]; `spec` is a JSON Schema (2020-12) of what a resource of the service is, *as it is stored*. The schema is
//! a subset on purpose, so that every value is bounded, every error names one field, and a portal can make a form of it:
//!
//! - objects, arrays, text, whole numbers and booleans, one `type` each; no `$ref`, no `anyOf` and their like, no `default` (nobody fills it in);
//! - every object says `additionalProperties: false`, every field has a `description`, every text a `maxLength`, every list a `maxItems`, every
//!   number a `minimum` and a `maximum` that all JSON readers agree on;
//! - `x-cirrus-sensitivity: personal` or `secret` marks a text at the top that is sealed before it reaches any topic. It is checked before it is
//!   sealed; what is stored is an object with the one field [`SEALED`];
//! - a service that can be ordered by flavor has a `readOnly` text `flavor`. An order names the flavor *beside* the spec and leaves out what the
//!   flavor gives (`vcpus`, `memory_mib`), which the decider writes into the stored spec together with the flavor's name. So the schema requires
//!   both sizes, and [`SpecCheck`] takes into account whether a flavor was named.
//!
//! `meters` says what is measured of a resource (see [`domain::metering`]): its existence, by itself or by an amount of its spec, and what
//! collectors read of it. The type of a reading belongs to one service.
//!
//! A file with an error is refused with file, line and reason; all errors of all files at once.

mod check;
mod lines;
mod meters;
mod rules;
mod wording;

pub use check::{SEALED, Sensitivity, SpecCheck, UnusableSchema, sensitive};
pub use wording::Violation;

use domain::catalogue::Service;
use lines::Lines;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// The fields that a flavor gives: what the decider writes into a spec that is ordered by flavor.
const FROM_FLAVOR: [&str; 2] = ["vcpus", "memory_mib"];

/// The read-only field that holds the flavor's name.
const FLAVOR: &str = "flavor";

/// Files of `catalogue/` with their text, in order of their names.
const BUNDLED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

/// One error in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// What is wrong, in a sentence.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// A catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The directory or a file in it.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory without a service is a wrong directory.
    #[error("{} holds no service (*.yaml)", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// Errors in files, by file and line.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Faulty(Vec<Fault>),
}

/// The services that come with this program, by name.
pub fn bundled() -> Vec<Service> {
    parse(BUNDLED).expect("a test reads the files that are compiled in")
}

/// The services of a directory of YAML files, by name.
///
/// # Errors
///
/// What cannot be read, and every error in a file; an error in one file refuses the whole directory.
pub fn load_dir(dir: &Path) -> Result<Vec<Service>, CatalogueError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| CatalogueError::Unreadable { path, source }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
            files.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text));
        }
    }
    if files.is_empty() {
        return Err(CatalogueError::Empty { path: dir.to_owned() });
    }
    files.sort();
    parse(&files)
}

/// What is wrong with a service by itself, by JSON pointer into it; nothing when it can be published.
///
/// A service that was not read from a file (an operator's order) owes the same rules.
pub fn review(service: &Service) -> Vec<Violation> {
    rules::of(service)
}

fn parse(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Vec<Service>, CatalogueError> {
    let mut faults = Vec::new();
    let mut read = Vec::new();
    for (file, text) in files {
        let (file, text) = (file.as_ref(), text.as_ref());
        match lines::read::<Service>(text) {
            Ok((service, lines)) => {
                let fault = |v: Violation| at(file, &lines, v);
                faults.extend(rules::of(&service).into_iter().map(fault));
                if file != format!("{}.yaml", service.name) {
                    let reason = format!("the service {0} belongs into {0}.yaml", service.name);
                    faults.push(fault(Violation::new("#/name", reason)));
                }
                read.push((file, lines, service));
            }
            Err((line, reason)) => faults.push(Fault { file: file.to_owned(), line, reason }),
        }
    }
    // A file that cannot be read is missing to the others: what they say about it would be misleading.
    if read.len() == files.len() {
        let services: Vec<&Service> = read.iter().map(|(_, _, service)| service).collect();
        faults.extend(rules::across(&services).into_iter().map(|(i, v)| at(read[i].0, &read[i].1, v)));
    }
    if !faults.is_empty() {
        faults.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        return Err(CatalogueError::Faulty(faults));
    }
    let mut services: Vec<Service> = read.into_iter().map(|(_, _, service)| service).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(services)
}

fn at(file: &str, lines: &Lines, violation: Violation) -> Fault {
    let Violation { pointer, problem } = violation;
    let path = pointer.trim_start_matches('#');
    let reason = if path.is_empty() { problem } else { format!("{}: {problem}", &path[1..].replace('/', ".")) };
    Fault { file: file.to_owned(), line: lines.of(path), reason }
}

#[cfg(test)]
mod tests;
