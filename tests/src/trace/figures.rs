//! What is counted while a trace is played, and how it is shown.

use super::BEGIN_S;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Acknowledgements are measured up to here; none can take longer.
const LONGEST: Duration = Duration::from_secs(600);
/// How often progress is shown.
const EVERY: Duration = Duration::from_secs(2);

/// The counts of a run.
pub struct Figures {
    began: Instant,
    counts: Mutex<Counts>,
}

struct Counts {
    /// Microseconds from the first sending to the acknowledgement.
    acknowledged: Histogram<u64>,
    again: BTreeMap<String, u64>,
    /// Where each tenant is that is under way, in seconds of the trace.
    reached: BTreeMap<usize, u64>,
}

/// The counts at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Since the beginning.
    pub elapsed: Duration,
    /// Writes that were acknowledged.
    pub commands: u64,
    /// Their median time to the acknowledgement.
    pub p50: Duration,
    /// The time within which 99 of 100 were acknowledged.
    pub p99: Duration,
    /// Requests that were sent again, by reason.
    pub again: BTreeMap<String, u64>,
    /// Second of the trace that the tenant has reached which is furthest behind of those under way.
    pub reached_s: Option<u64>,
}

impl Default for Figures {
    fn default() -> Self {
        let longest = u64::try_from(LONGEST.as_micros()).expect("ten minutes are few microseconds");
        let acknowledged = Histogram::new_with_max(longest, 3).expect("three digits are possible");
        Self { began: Instant::now(), counts: Mutex::new(Counts { acknowledged, again: BTreeMap::new(), reached: BTreeMap::new() }) }
    }
}

impl Figures {
    /// A write was acknowledged, so long after it was first sent.
    pub fn acknowledged(&self, after: Duration) {
        self.counts().acknowledged.saturating_record(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }

    /// A request is sent again, for this reason.
    pub fn sent_again(&self, reason: &str) {
        *self.counts().again.entry(reason.to_owned()).or_default() += 1;
    }

    /// A tenant has come to this second of the trace; `None` when it is through.
    pub fn reached(&self, tenant: usize, second: Option<u64>) {
        let mut counts = self.counts();
        match second {
            Some(second) => counts.reached.insert(tenant, second),
            None => counts.reached.remove(&tenant),
        };
    }

    /// The counts now.
    pub fn read(&self) -> Reading {
        let counts = self.counts();
        let quantile = |q| Duration::from_micros(counts.acknowledged.value_at_quantile(q));
        Reading {
            elapsed: self.began.elapsed(),
            commands: counts.acknowledged.len(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            again: counts.again.clone(),
            reached_s: counts.reached.values().min().copied(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every statement.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reasons with their counts, or `none`.
pub fn listed(again: &BTreeMap<String, u64>) -> String {
    match again.is_empty() {
        true => "none".to_owned(),
        false => again.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", "),
    }
}

/// Where the metrics are that tell how far the read models are behind.
pub struct Lag {
    /// Base URL of the API.
    pub api: String,
    /// Base URL of the projector, if it is known.
    pub projector: Option<String>,
}

impl Lag {
    /// How far the read models are behind, in words: each model in records if the projector says it, all of them in seconds.
    async fn read(&self, http: &reqwest::Client) -> String {
        let api = metrics(http, &self.api).await;
        let behind = samples(&api, "cirrus_read_models_behind_seconds").next().map_or("unknown".to_owned(), |(_, s)| format!("{s:.1} s"));
        let Some(projector) = &self.projector else { return behind };
        let metrics = metrics(http, projector).await;
        let mut models: BTreeMap<&str, u64> = BTreeMap::new();
        for (labels, lag) in samples(&metrics, "cirrus_projection_lag_records") {
            let model = labels.split_once("model=\"").and_then(|(_, rest)| rest.split('"').next());
            // Counts of records are exact in a double.
            *models.entry(model.unwrap_or_default()).or_default() += lag as u64;
        }
        let models: Vec<String> = models.iter().map(|(model, lag)| format!("{model} {lag}")).collect();
        format!("{behind} ({})", models.join(", "))
    }
}

async fn metrics(http: &reqwest::Client, base: &str) -> String {
    let answer = http.get(format!("{}/metrics", base.trim_end_matches('/'))).timeout(EVERY).send().await;
    match answer.and_then(reqwest::Response::error_for_status) {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// The samples of one metric in Prometheus' text format: labels and value.
fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
    })
}

/// Shows progress on standard error until it is dropped: a bar on a terminal, otherwise lines.
pub async fn show(figures: &Figures, lag: &Lag, total: u64) {
    let terminal = std::io::stderr().is_terminal();
    let bar =
        ProgressBar::with_draw_target(Some(total), if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}").expect("the template is well-formed"));
    let http = reqwest::Client::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = figures.read();
    loop {
        ticks.tick().await;
        let lag = lag.read(&http).await;
        let now = figures.read();
        let line = line(&last, &now, &lag);
        bar.set_position(now.commands);
        bar.set_message(line.clone());
        if !terminal {
            eprintln!("{:>4.0} s  {}/{total}  {line}", now.elapsed.as_secs_f64(), now.commands);
        }
        last = now;
    }
}

fn line(last: &Reading, now: &Reading, lag: &str) -> String {
    let seconds = (now.elapsed - last.elapsed).as_secs_f64().max(f64::EPSILON);
    let rate = (now.commands - last.commands) as f64 / seconds;
    let reached = now.reached_s.map_or("-:--".to_owned(), |s| clock(s.saturating_sub(BEGIN_S)));
    format!(
        "{rate:.0}/s  p50 {:.0} ms  p99 {:.0} ms  sent again: {}  trace at {reached} h  read models behind: {lag}",
        milliseconds(now.p50),
        milliseconds(now.p99),
        listed(&now.again),
    )
}

/// Seconds as hours and minutes.
fn clock(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 3_600, seconds / 60 % 60)
}

/// A time in milliseconds, for people.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_the_metric_and_not_of_one_with_a_longer_name() {
        let text = "# TYPE a gauge\na 1.5\na_b 7\na{model=\"x\",partition=\"0\"} 3\n";
        assert_eq!(samples(text, "a").collect::<Vec<_>>(), [("", 1.5), ("{model=\"x\",partition=\"0\"}", 3.0)]);
    }
}
