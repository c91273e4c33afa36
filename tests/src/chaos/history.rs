//! What clients asked and were told. One line a request, whether it was answered or not: a time-out is written down, too, because it is the
//! request of which nobody knows whether it happened.
//!
//! All times are microseconds since the history began, of one clock, so that *ended before it began* can be said of any two requests.

use anyhow::Context;
use domain::id::{ResourceId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it was sent.
    pub began: u64,
    /// When its answer was there, or nobody waited for it any more.
    pub ended: u64,
    /// What was asked.
    pub asked: Asked,
    /// What was answered; none when nobody knows.
    pub answer: Option<Answer>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Which API process was asked, from 0.
    pub api: usize,
    /// Who asks: the subject of the token.
    pub person: String,
    /// Method and route template, as in `POST /v1/tenants/{tenant}/resources`.
    pub route: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The resource, where the route has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// The action, where the route has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The idempotency key; none of a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The position token that the answer must not be older than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// The body of a write.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The token of its position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Its body.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

impl Asked {
    /// The path with its values.
    pub fn path(&self) -> String {
        let template = self.route.split_once(' ').map_or(self.route.as_str(), |(_, template)| template);
        let mut path = template.replace("{tenant}", &self.tenant.to_string());
        for (name, value) in [("{resource}", self.resource.map(|id| id.to_string())), ("{action}", self.action.clone())] {
            path = path.replace(name, value.as_deref().unwrap_or_default());
        }
        path
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.route.split(' ').next().unwrap_or_default()
    }
}

impl Answer {
    /// It was done.
    pub fn is_done(&self) -> bool {
        matches!(self.status, 200 | 201)
    }

    /// It was done, or refused for a reason that stands on the journal: somebody has decided.
    pub fn is_decided(&self) -> bool {
        self.position.is_some() && self.status != 202
    }
}

/// All requests of a run, in the order in which they ended; also in a file, line by line, for whoever wants to know afterwards.
pub struct History {
    began: Instant,
    records: Mutex<Records>,
}

struct Records {
    all: Vec<Record>,
    file: BufWriter<File>,
}

impl History {
    /// An empty history that is also written to this file.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = BufWriter::new(File::create(path).with_context(|| format!("{} cannot be written", path.display()))?);
        Ok(Self { began: Instant::now(), records: Mutex::new(Records { all: Vec::new(), file }) })
    }

    /// The time now.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a run does not last for half a million years")
    }

    /// Writes down a request that has ended.
    pub fn note(&self, record: Record) {
        let mut records = self.lock();
        serde_json::to_writer(&mut records.file, &record).expect("texts, numbers and JSON are always JSON");
        // What cannot be written is still checked; the file is for people.
        let _ = records.file.write_all(b"\n");
        records.all.push(record);
    }

    /// All requests that have ended.
    pub fn records(&self) -> Vec<Record> {
        let mut records = self.lock();
        let _ = records.file.flush();
        records.all.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // A client that panicked has written its record or has not.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
