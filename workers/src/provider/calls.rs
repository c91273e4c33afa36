//! What was asked of the simulated cloud: a count of every operation, and a journal of those that change something.
//!
//! With the journal a test can prove what no listing shows: that a machine was made once and not twice with one deleted since.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::request::Verb;

/// So many of the newest calls are kept; the counts go on for ever.
const KEPT: usize = 200_000;

/// One call that was meant to change something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Counts from 0 without holes.
    pub seq: u64,
    /// When it came.
    pub at: DateTime<Utc>,
    /// Who says to have sent it.
    pub caller: String,
    /// What was asked.
    pub operation: Verb,
    /// Where.
    pub zone: String,
    /// Of what kind.
    pub kind: String,
    /// The object's name, where it is known.
    pub name: Option<String>,
    /// The object's id; of a create, the id that it got.
    pub id: Option<String>,
    /// Something came of it, whatever was answered.
    pub did: bool,
    /// What the caller saw: a status, `silence` or `cut`.
    pub answer: String,
}

/// What calls are asked for; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallQuery {
    /// Only this operation.
    pub operation: Option<Verb>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only for objects of this name.
    pub name: Option<String>,
    /// Only those that came to something, or only those that did not.
    pub did: Option<bool>,
    /// Only later ones.
    pub after: Option<u64>,
    /// At most so many; 10,000 unless said otherwise.
    pub limit: Option<usize>,
}

/// An answer about calls.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CallReport {
    /// In their order.
    pub calls: Vec<Call>,
    /// Calls by `kind.operation`, `*` for a listing of all kinds; reads since the start of the process, the others for ever.
    pub counts: BTreeMap<String, u64>,
    /// Calls that the journal has already forgotten.
    pub forgotten: u64,
}

/// The journal and the counts.
#[derive(Debug, Default)]
pub(super) struct Calls {
    newest: VecDeque<Call>,
    counts: BTreeMap<String, u64>,
}

impl Calls {
    pub fn count(&mut self, kind: Option<&str>, operation: Verb) {
        *self.counts.entry(format!("{}.{}", kind.unwrap_or("*"), operation.as_str())).or_default() += 1;
    }

    pub fn next_seq(&self) -> u64 {
        self.newest.back().map_or(0, |call| call.seq + 1)
    }

    pub fn push(&mut self, call: Call) {
        self.newest.push_back(call);
        if self.newest.len() > KEPT {
            self.newest.pop_front();
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Call> {
        self.newest.iter()
    }

    /// The counts that outlive the process: those of what the journal holds or held.
    pub fn durable_counts(&self) -> BTreeMap<String, u64> {
        let read = [Verb::Get, Verb::List].map(|verb| format!(".{}", verb.as_str()));
        let mut counts = self.counts.clone();
        counts.retain(|name, _| !read.iter().any(|read| name.ends_with(read)));
        counts
    }

    pub fn set_counts(&mut self, counts: BTreeMap<String, u64>) {
        self.counts = counts;
    }

    pub fn report(&self, query: &CallQuery) -> CallReport {
        let wanted = |call: &&Call| {
            query.operation.is_none_or(|operation| operation == call.operation)
                && query.kind.as_ref().is_none_or(|kind| *kind == call.kind)
                && (query.name.is_none() || query.name == call.name)
                && query.did.is_none_or(|did| did == call.did)
                && query.after.is_none_or(|after| call.seq > after)
        };
        CallReport {
            calls: self.newest.iter().filter(wanted).take(query.limit.unwrap_or(10_000)).cloned().collect(),
            counts: self.counts.clone(),
            forgotten: self.newest.front().map_or(0, |call| call.seq),
        }
    }
}
