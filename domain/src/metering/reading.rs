//! Readings: CloudEvents that came in, checked as a batch, and what meters make of them.

use super::{
    meter::{Aggregation, Listener, Meters},
    value::{self, BadValue},
};
use crate::{
    Timestamp,
    id::{ResourceId, TenantId},
    rating::{MeterName, Quantity},
};
use chrono::{SubsecRound, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// A batch has at most so many events.
pub const MOST: usize = 5_000;

/// A reading is at most this far ahead of the clock.
pub const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// Texts that identify are no longer than this, in bytes.
const LONGEST: usize = 255;

/// A CloudEvent as somebody sent it: nothing is checked yet. `null` counts as absent, as the standard says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offered {
    /// Names the reading within its source.
    pub id: Option<String>,
    /// Who read.
    pub source: Option<String>,
    /// Of CloudEvents: `1.0`.
    pub specversion: Option<String>,
    /// `type`: which meters listen.
    pub event_type: Option<String>,
    /// The resource.
    pub subject: Option<String>,
    /// When it was read, RFC 3339; the time at which it came in when absent.
    pub time: Option<String>,
    /// Of the data: JSON, or absent.
    pub datacontenttype: Option<String>,
    /// Of CloudEvents' sequence extension: the number of the reading, in a source that numbers its readings from 1 without holes.
    pub sequence: Option<String>,
    /// An extension of Cirrus: the tenant, from collectors that serve several.
    pub tenant: Option<String>,
    /// What was read.
    pub data: Option<Value>,
}

/// One reading, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Whose.
    pub tenant: TenantId,
    /// Who read. With `key` the identity of the reading within the tenant.
    pub source: Arc<str>,
    /// Which of the source's readings.
    pub key: Key,
    /// Of what.
    pub resource: ResourceId,
    /// When, in whole microseconds.
    pub time: Timestamp,
    /// What each meter that listens makes of it; at least one.
    pub measured: Vec<Measured>,
}

/// What tells the readings of a source apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Its number, from 1, in a source that numbers them without holes.
    Number(u64),
    /// Its id.
    Id(Arc<str>),
}

/// Values by which the quantities of a meter are kept apart, by the name of the dimension.
pub type Dimensions = BTreeMap<String, String>;

/// What a meter makes of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The meter.
    pub meter: MeterName,
    /// Its dimensions.
    pub dimensions: Dimensions,
    /// How readings become a quantity.
    pub aggregation: Aggregation,
    /// What was read.
    pub value: Measurement,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measurement {
    /// That there is a reading.
    Occurrence,
    /// Something to be told from others.
    Distinct(String),
    /// An amount or a level, in base units.
    Amount(Quantity),
    /// The state of a counter, in base units, and where it begins anew.
    Counter {
        /// What it shows.
        shows: Quantity,
        /// After the value before this one it goes on with zero.
        rolls_over_at: Option<Quantity>,
    },
}

/// What is wrong with one item of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which item, from 0.
    pub index: usize,
    /// What is wrong, and where.
    pub flaw: Flaw,
}

/// What is wrong with one field of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The attribute, or the place in its data: `time`, `data.duration_ms`. Empty when it is the event itself.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Flaw {
    /// A flaw of a field.
    pub fn new(field: impl Into<String>, problem: impl Into<Problem>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// What can be wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It must be there.
    #[error("is missing")]
    Missing,
    /// It is of another JSON type.
    #[error("must be a text")]
    NotText,
    /// The item of the batch is no event at all.
    #[error("must be an object")]
    NotAnObject,
    /// It is empty, or longer than what is kept of it.
    #[error("must have 1 to {LONGEST} bytes")]
    Length,
    /// Another version of CloudEvents.
    #[error("must be 1.0")]
    Version,
    /// No RFC 3339.
    #[error("must be a time such as 2026-11-21T10:00:00Z")]
    NotATime,
    /// More than [`AHEAD`].
    #[error("is more than five minutes in the future")]
    Ahead,
    /// Data that is not JSON.
    #[error("must be application/json")]
    NotJson,
    /// No meter listens to this type.
    #[error("no meter measures this type of event")]
    UnknownMeter,
    /// The subject is nothing that could be a resource.
    #[error("is not a resource")]
    NotAResource,
    /// No id of a tenant.
    #[error("is not a tenant")]
    NotATenant,
    /// The sender does not send for this tenant, or the resource is of another one.
    #[error("belongs to another tenant")]
    ForeignTenant,
    /// A number of the sequence.
    #[error("must be a whole number from 1, as text")]
    NotANumber,
    /// The id of a numbered reading is its number, so that a reading has one identity.
    #[error("must be the same as sequence")]
    NotTheNumber,
    /// What a counter shows can be understood only beside what it showed before.
    #[error("is missing: readings of a counter are numbered")]
    Unnumbered,
    /// The value.
    #[error(transparent)]
    Value(#[from] BadValue),
}

/// Why nothing of a batch is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// Above [`MOST`].
    #[error("{0} events are more than the {MOST} of a batch")]
    TooMany(usize),
    /// Everything that is wrong, in order.
    #[error("{} of the batch's fields are wrong", .0.len())]
    Faults(Vec<Fault>),
}

/// For whom somebody may send readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// For this tenant.
    Tenant(TenantId),
    /// For all: a collector of the provider.
    Collector,
}

/// What is known of resources where readings come in.
pub trait Subjects {
    /// The resource that a subject names, and its tenant where that is known. Nothing when it cannot name a resource at all.
    ///
    /// A resource that is not known yet is no fault: it may be younger than what is known here. Whoever counts knows in the end.
    fn resolve(&self, subject: &str) -> Option<(ResourceId, Option<TenantId>)>;
}

/// Where readings come in.
pub struct Door<'a> {
    /// All meters of readings.
    pub meters: &'a Meters,
    /// All resources.
    pub subjects: &'a dyn Subjects,
    /// Who sends.
    pub sender: Sender,
    /// The clock.
    pub now: Timestamp,
}

impl Door<'_> {
    /// All readings of a batch, in its order, or everything that is wrong with it. An event that could not even be read comes with its flaws. What
    /// stands in it twice is no fault.
    ///
    /// # Errors
    ///
    /// Faults by index, each with its field; with one fault nothing of the batch is taken.
    pub fn check(&self, batch: &[Result<Offered, Vec<Flaw>>]) -> Result<Vec<Reading>, BadBatch> {
        if batch.len() > MOST {
            return Err(BadBatch::TooMany(batch.len()));
        }
        let (mut readings, mut faults) = (Vec::with_capacity(batch.len()), Vec::new());
        for (index, offered) in batch.iter().enumerate() {
            match offered.as_ref().map_err(Clone::clone).and_then(|offered| self.read(offered)) {
                Ok(reading) => readings.push(reading),
                Err(flaws) => faults.extend(flaws.into_iter().map(|flaw| Fault { index, flaw })),
            }
        }
        if faults.is_empty() { Ok(readings) } else { Err(BadBatch::Faults(faults)) }
    }

    /// One reading, or everything that is wrong with it, by field.
    ///
    /// # Errors
    ///
    /// As in [`Door::check`].
    pub fn read(&self, offered: &Offered) -> Result<Reading, Vec<Flaw>> {
        let mut found = Vec::new();
        let mut note = |field: &str, problem: Problem| found.push(Flaw::new(field, problem));
        match offered.specversion.as_deref() {
            Some("1.0") => {}
            None => note("specversion", Problem::Missing),
            Some(_) => note("specversion", Problem::Version),
        }
        let mut text = |field: &str, text: &Option<String>| match text.as_deref() {
            None => {
                note(field, Problem::Missing);
                None
            }
            Some(text) if text.is_empty() || text.len() > LONGEST => {
                note(field, Problem::Length);
                None
            }
            Some(text) => Some(Arc::<str>::from(text)),
        };
        let id = text("id", &offered.id);
        let source = text("source", &offered.source);
        let event_type = text("type", &offered.event_type);
        let subject = text("subject", &offered.subject);
        let listening = event_type.as_deref().map(|event_type| self.meters.listening(event_type));
        if listening.is_some_and(<[Listener]>::is_empty) {
            note("type", Problem::UnknownMeter);
        }
        let key = id.and_then(|id| key(&id, offered.sequence.as_deref()).map_err(|(field, problem)| note(field, problem)).ok());
        let time = self.time(offered.time.as_deref()).map_err(|problem| note("time", problem)).ok();
        let owned = subject.map(|subject| self.owner(&subject, offered.tenant.as_deref()));
        let owned = owned.and_then(|owned| owned.map_err(|(field, problem)| note(field, problem)).ok());
        let json = offered.datacontenttype.as_deref().is_none_or(is_json);
        if !json {
            note("datacontenttype", Problem::NotJson);
        }
        let mut measured = Vec::new();
        for listener in listening.into_iter().flatten().filter(|_| json) {
            if listener.rule.counter.is_some() && offered.sequence.is_none() {
                note("sequence", Problem::Unnumbered);
            }
            match listener.measure(offered.data.as_ref()) {
                Ok(one) => measured.push(one),
                Err(flaw) => note(&flaw.field, flaw.problem),
            }
        }
        match (source, key, time, owned) {
            (Some(source), Some(key), Some(time), Some((tenant, resource))) if found.is_empty() => {
                Ok(Reading { tenant, source, key, resource, time, measured })
            }
            _ => {
                // Two meters may find the same fault.
                found.dedup();
                Err(found)
            }
        }
    }

    fn time(&self, time: Option<&str>) -> Result<Timestamp, Problem> {
        let time = match time {
            None => self.now,
            Some(time) => chrono::DateTime::parse_from_rfc3339(time).map_err(|_| Problem::NotATime)?.to_utc(),
        };
        if time > self.now + AHEAD { Err(Problem::Ahead) } else { Ok(time.trunc_subsecs(6)) }
    }

    /// The tenant and the resource.
    fn owner(&self, subject: &str, tenant: Option<&str>) -> Result<(TenantId, ResourceId), (&'static str, Problem)> {
        let named = tenant.map(|t| t.parse::<TenantId>().map_err(|_| ("tenant", Problem::NotATenant))).transpose()?;
        let sends_for = match self.sender {
            Sender::Collector => named,
            Sender::Tenant(own) if named.is_none_or(|named| named == own) => Some(own),
            Sender::Tenant(_) => return Err(("tenant", Problem::ForeignTenant)),
        };
        let (resource, owner) = self.subjects.resolve(subject).ok_or(("subject", Problem::NotAResource))?;
        match (sends_for, owner) {
            (Some(tenant), Some(owner)) if tenant != owner => Err(("subject", Problem::ForeignTenant)),
            (Some(tenant), _) | (None, Some(tenant)) => Ok((tenant, resource)),
            (None, None) => Err(("tenant", Problem::Missing)),
        }
    }
}

fn key(id: &Arc<str>, sequence: Option<&str>) -> Result<Key, (&'static str, Problem)> {
    let Some(sequence) = sequence else { return Ok(Key::Id(id.clone())) };
    let digits = !sequence.is_empty() && sequence.bytes().all(|c| c.is_ascii_digit());
    let number = sequence.parse().ok().filter(|n| digits && *n > 0 && *n < u64::MAX).ok_or(("sequence", Problem::NotANumber))?;
    if **id == *sequence { Ok(Key::Number(number)) } else { Err(("id", Problem::NotTheNumber)) }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

impl Listener {
    fn measure(&self, data: Option<&Value>) -> Result<Measured, Flaw> {
        let mut dimensions = Dimensions::new();
        for (name, path) in &self.group_by {
            let value = value::dimension(data.and_then(|data| path.find(data))).map_err(|problem| Flaw::new(path.field(), problem))?;
            dimensions.insert(name.clone(), value);
        }
        let value = match &self.value {
            None => Measurement::Occurrence,
            Some(path) => {
                let data = data.filter(|d| !d.is_null()).ok_or_else(|| Flaw::new("data", BadValue::NoData))?;
                let found = path.find(data).ok_or(BadValue::Missing);
                found.and_then(|found| self.value_of(found)).map_err(|problem| Flaw::new(path.field(), problem))?
            }
        };
        Ok(Measured { meter: self.name.clone(), dimensions, aggregation: self.rule.aggregation, value })
    }

    fn value_of(&self, found: &Value) -> Result<Measurement, BadValue> {
        if self.rule.aggregation == Aggregation::UniqueCount {
            return value::distinct(found).map(Measurement::Distinct);
        }
        let units = value::base_units(found, self.rule.factor)?;
        let Some(counter) = self.rule.counter else { return Ok(Measurement::Amount(units)) };
        let rolls_over_at = match counter.rolls_over_at {
            None => None,
            Some(end) => Some(Quantity(end.0.checked_mul(i128::from(self.rule.factor)).ok_or(BadValue::TooLong)?)),
        };
        match rolls_over_at {
            Some(end) if units >= end => Err(BadValue::RolledOver),
            _ => Ok(Measurement::Counter { shows: units, rolls_over_at }),
        }
    }
}
