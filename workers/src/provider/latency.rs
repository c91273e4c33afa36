//! How long a provider takes: measured durations of real clouds, drawn from by a seeded generator.
//!
//! The file has the columns `source,resource_id,operation,seconds`. An operation that nobody measured borrows the durations of the nearest one that
//! somebody did; [`source_operations`] is the whole table.

use std::{collections::BTreeMap, path::Path, time::Duration};

use rand::{Rng, RngExt};

use super::{object::SERVER, request::Verb};

/// Why a file of durations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// The file cannot be read.
    #[error("the durations in {path} cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// A line is not one of durations.
    #[error("line {line} of the durations is not `source,resource_id,operation,seconds` with seconds from 0 to 86400: {text}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// As it stands there.
        text: String,
    },
    /// Nothing was measured from which an operation's duration could be drawn.
    #[error("the durations hold none of the operations {0:?}")]
    Missing(&'static [&'static str]),
}

/// The durations of a provider's operations.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// Sorted seconds by operation and whether it is done to a server; empty when everything is done at once.
    seconds: BTreeMap<(Verb, bool), Vec<f64>>,
    speed: f64,
}

impl Latencies {
    /// Everything is done when it is answered.
    #[must_use]
    pub fn none() -> Self {
        Self { seconds: BTreeMap::new(), speed: 1.0 }
    }

    /// From a file; `speed` 10 makes everything ten times faster.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn of_file(path: &Path, speed: f64) -> Result<Self, LatencyError> {
        let text = std::fs::read_to_string(path).map_err(|reason| LatencyError::Unreadable { path: path.display().to_string(), reason })?;
        Self::of_csv(&text, speed)
    }

    /// From the content of a file; see [`Self::of_file`].
    ///
    /// # Errors
    /// A line is not a duration, or an operation has none.
    pub fn of_csv(text: &str, speed: f64) -> Result<Self, LatencyError> {
        let mut measured: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (number, line) in text.lines().enumerate().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let seconds = fields.last().and_then(|field| field.parse().ok()).filter(|seconds| (0.0..=86_400.0).contains(seconds));
            match (fields.as_slice(), seconds) {
                ([_, _, operation, _], Some(seconds)) => measured.entry(operation).or_default().push(seconds),
                _ => return Err(LatencyError::Line { line: number + 1, text: line.to_owned() }),
            }
        }
        let verbs = [Verb::Create, Verb::Change, Verb::Start, Verb::Stop, Verb::Reboot, Verb::Attach, Verb::Detach, Verb::Delete];
        let mut seconds = BTreeMap::new();
        for (verb, server) in verbs.into_iter().flat_map(|verb| [(verb, true), (verb, false)]) {
            let sources = source_operations(verb, server);
            let mut all: Vec<f64> = sources.iter().filter_map(|name| measured.get(name)).flatten().copied().collect();
            if all.is_empty() {
                return Err(LatencyError::Missing(sources));
            }
            all.sort_by(f64::total_cmp);
            seconds.insert((verb, server), all);
        }
        Ok(Self { seconds, speed })
    }

    /// Draws how long an operation takes: a point between two neighbouring measurements, each as likely as the other.
    pub fn draw<R: Rng>(&self, verb: Verb, kind: &str, rng: &mut R) -> Duration {
        let Some(sorted) = self.seconds.get(&(verb, kind == SERVER)) else { return Duration::ZERO };
        let place = rng.random::<f64>() * (sorted.len() - 1) as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        let seconds = below + (above - below) * place.fract();
        Duration::try_from_secs_f64(seconds / self.speed).unwrap_or(Duration::MAX)
    }
}

/// Which measured operations stand for one of ours.
fn source_operations(verb: Verb, server: bool) -> &'static [&'static str] {
    match (verb, server) {
        // As the customer sees it; the build on the hypervisor alone was measured on another, slower cloud.
        (Verb::Create, true) => &["create"],
        (Verb::Delete, true) => &["delete"],
        // A resize starts the server anew on another host.
        (Verb::Change, true) => &["spawn the instance on the hypervisor"],
        // Nobody measured these; stopping a domain is most of destroying it.
        (Verb::Start | Verb::Stop | Verb::Reboot, _) => &["destroy the instance on the hypervisor"],
        (Verb::Attach | Verb::Detach, _) => &["volume attach"],
        (Verb::Delete, false) => &["volume delete"],
        (Verb::Create | Verb::Change | Verb::Get | Verb::List, _) => &["volume create"],
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const MEASURED: &str = "source,resource_id,operation,seconds\n\
        a,1,create,4\na,2,create,8\na,3,delete,2\nb,1,spawn the instance on the hypervisor,20\n\
        b,1,destroy the instance on the hypervisor,1\na,4,volume create,0.1\na,4,volume attach,0.2\na,4,volume delete,0.3\n";

    #[test]
    fn draws_stay_within_what_was_measured_and_a_seed_repeats_them() {
        let latencies = Latencies::of_csv(MEASURED, 2.0).unwrap();
        let draw = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            (0..100).map(|_| latencies.draw(Verb::Create, SERVER, &mut rng)).collect::<Vec<_>>()
        };
        assert!(draw(1).iter().all(|taken| (2.0..=4.0).contains(&taken.as_secs_f64())));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_measured_durations_serve_every_operation_and_a_server_takes_seconds_to_build() {
        let data = std::env::var("CIRRUS_DATA").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned());
        let latencies = Latencies::of_file(&Path::new(&data).join("openstack_operation_durations.csv"), 1.0).unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let mut builds: Vec<_> = (0..1001).map(|_| latencies.draw(Verb::Create, SERVER, &mut rng).as_secs_f64()).collect();
        builds.sort_by(f64::total_cmp);
        assert!((5.0..6.0).contains(&builds[500]), "half of them take {} s", builds[500]);
        assert!(builds[0] > 4.0 && builds[1000] < 17.0);
    }

    #[test]
    fn a_file_that_cannot_serve_every_operation_is_refused_with_the_reason() {
        let missing = Latencies::of_csv("source,resource_id,operation,seconds\na,1,create,4\n", 1.0).unwrap_err();
        assert_eq!(missing.to_string(), "the durations hold none of the operations [\"volume create\"]");
        let wrong = Latencies::of_csv("header\na,1,create,-4\n", 1.0).unwrap_err();
        assert!(wrong.to_string().starts_with("line 2 of the durations"), "{wrong}");
    }
}
