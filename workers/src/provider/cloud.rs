//! The simulated cloud as a pure state machine: no clock, no thread, no file, and all chance from the generator that is passed in.
//!
//! ```text
//!  create ──▶ BUILD ──▶ ACTIVE ◀──start/stop──▶ SHUTOFF      any work that fails ──▶ ERROR
//!               │          └── change, attach, detach, reboot ──┘
//!               └──────────▶ DELETING ──▶ gone  ◀── from every status
//! ```
//!
//! - An object has at most one task. A call that meets another task is refused as busy, except the delete of a server, which ends any task.
//! - Whatever is due is done before a request is looked at, at the time when it was due, so it does not matter how often anybody looks.
//! - What changed is handed out as [`Record`]s by [`Cloud::drain`]; [`Cloud::restore`] makes the same cloud of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{
    answer::{Answer, Reply},
    calls::{Call, CallQuery, CallReport, Calls},
    fault::{Plan, Rule, Rules, Subject, span},
    latency::Latencies,
    object::{Address, Filter, NewObject, Object, Page, Power, Properties, SERVER, Status, TaskName},
    request::{Action, Request, Verb},
    shelf::{Kept, Shelf, Task, Work},
};

/// The kind that cannot be deleted while it is attached; others are detached by their delete.
const VOLUME: &str = "volume";

/// The most objects in one part of a listing.
const LONGEST_PAGE: usize = 1000;

/// One change of the cloud, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// An object is there, like this from now on.
    Kept(Kept),
    /// The object with this serial is gone.
    Gone(u64),
    /// Somebody asked for a change.
    Call(Call),
    /// These rules are in force instead of all before.
    Rules(Vec<Rule>),
    /// What a snapshot cannot tell by its other records; comes after them.
    Summary {
        /// The serial that the next object gets.
        next_serial: u64,
        /// Calls by kind and operation.
        counts: BTreeMap<String, u64>,
    },
}

/// What somebody with other access does to an object behind the client's back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alteration {
    /// Sets the status and ends whatever was under way.
    pub status: Option<Status>,
    /// Sets the power state.
    pub power: Option<Power>,
    /// Replaces these properties and leaves the others.
    pub properties: Properties,
}

/// A cloud.
#[derive(Debug)]
pub struct Cloud {
    /// The latest time that was passed in; time does not go back here.
    now: DateTime<Utc>,
    latencies: Latencies,
    rules: Rules,
    shelf: Shelf,
    calls: Calls,
    next_serial: u64,
    unsaved: Vec<Record>,
}

impl Cloud {
    /// An empty cloud.
    #[must_use]
    pub fn new(latencies: Latencies) -> Self {
        Self {
            now: DateTime::UNIX_EPOCH,
            latencies,
            rules: Rules::default(),
            shelf: Shelf::default(),
            calls: Calls::default(),
            next_serial: 0,
            unsaved: Vec::new(),
        }
    }

    /// The cloud that has handed out these records.
    #[must_use]
    pub fn restore(latencies: Latencies, records: impl IntoIterator<Item = Record>) -> Self {
        let mut cloud = Self::new(latencies);
        for record in records {
            match record {
                Record::Kept(kept) => {
                    cloud.next_serial = cloud.next_serial.max(kept.serial + 1);
                    let at = kept.object.updated_at;
                    cloud.shelf.put(kept, at);
                }
                Record::Gone(serial) => cloud.shelf.remove(serial, cloud.now),
                Record::Call(call) => {
                    cloud.calls.count(Some(&call.kind), call.operation);
                    cloud.calls.push(call);
                }
                Record::Rules(rules) => cloud.rules = Rules::new(rules),
                Record::Summary { next_serial, counts } => {
                    cloud.next_serial = cloud.next_serial.max(next_serial);
                    cloud.calls.set_counts(counts);
                }
            }
        }
        cloud.shelf.remember_for(cloud.rules.longest_lag());
        cloud
    }

    /// Records from which [`Self::restore`] makes this cloud, without its history.
    pub fn snapshot(&self) -> impl Iterator<Item = Record> {
        let summary = Record::Summary { next_serial: self.next_serial, counts: self.calls.durable_counts() };
        (self.shelf.all().cloned().map(Record::Kept))
            .chain(self.calls.all().cloned().map(Record::Call))
            .chain([Record::Rules(self.rules.as_slice().to_vec()), summary])
    }

    /// What has changed since the last time; to be kept before anybody is answered.
    pub fn drain(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.unsaved)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelf.len()
    }

    /// There is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many objects have ever been created.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.next_serial
    }

    /// Puts other rules in force.
    pub fn set_rules(&mut self, rules: Vec<Rule>, now: DateTime<Utc>) {
        self.advance(now);
        self.rules = Rules::new(rules.clone());
        self.shelf.remember_for(self.rules.longest_lag());
        self.unsaved.push(Record::Rules(rules));
    }

    /// The rules in force, with what is left of their counts.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        self.rules.as_slice()
    }

    /// What was asked of the cloud.
    #[must_use]
    pub fn calls(&self, query: &CallQuery) -> CallReport {
        self.calls.report(query)
    }

    /// What is there in all zones, without lag and faults, and without being counted.
    pub fn inventory(&mut self, filter: &Filter, limit: usize, marker: Option<&str>, now: DateTime<Utc>) -> Page {
        self.advance(now);
        let after = marker.and_then(|marker| marker.parse().ok());
        self.shelf.page(None, filter, limit.max(1), after, None, self.now)
    }

    /// Lets an object vanish; false when there is none.
    pub fn vanish(&mut self, id: &str, now: DateTime<Utc>) -> bool {
        self.advance(now);
        let Some(kept) = self.shelf.by_id(id).cloned() else { return false };
        self.remove(&kept, self.now);
        true
    }

    /// Changes an object behind the client's back; nothing when there is none.
    pub fn alter(&mut self, id: &str, alteration: Alteration, now: DateTime<Utc>) -> Option<Object> {
        self.advance(now);
        let mut kept = Kept::clone(self.shelf.by_id(id)?);
        if let Some(status) = alteration.status {
            kept.object.status = status;
            kept.object.task = None;
            kept.work = None;
        }
        kept.object.power = alteration.power.or(kept.object.power);
        kept.object.properties.extend(alteration.properties);
        kept.object.updated_at = self.now;
        let object = kept.object.clone();
        self.put(kept, self.now);
        Some(object)
    }

    /// Answers one call.
    pub fn handle<R: Rng>(&mut self, caller: &str, request: &Request, now: DateTime<Utc>, rng: &mut R) -> Answer {
        self.advance(now);
        let verb = request.verb();
        self.calls.count(request.kind(), verb);
        let name = match request {
            Request::Create { new, .. } => Some(new.name.clone()),
            Request::List { filter, .. } => filter.name.clone(),
            _ => request.address().and_then(|address| self.shelf.by_address(address)).map(|kept| kept.object.name.clone()),
        };
        let subject = Subject { verb, zone: request.zone(), kind: request.kind(), name: name.as_deref() };
        let plan = self.rules.plan(&subject, self.now, rng);

        let saved = self.unsaved.len();
        let answer = match &plan.before {
            Some(instead) => Answer::instead(instead.clone(), plan.late),
            None => {
                let reply = self.serve(request, &plan, rng).unwrap_or_else(|refusal| refusal);
                match &plan.after {
                    Some(instead) => Answer::instead(instead.clone(), plan.late),
                    None => Answer::Reply(reply, plan.late),
                }
            }
        };
        if verb.mutates() {
            let made = self.unsaved[saved..].iter().find_map(|record| match record {
                Record::Kept(kept) => Some(kept.object.id.clone()),
                _ => None,
            });
            let call = Call {
                seq: self.calls.next_seq(),
                at: self.now,
                caller: caller.to_owned(),
                operation: verb,
                zone: request.zone().to_owned(),
                kind: request.kind().unwrap_or_default().to_owned(),
                name,
                id: request.address().map(|address| address.id.clone()).or(made),
                did: self.unsaved.len() > saved,
                answer: answer.as_note(),
            };
            self.calls.push(call.clone());
            self.unsaved.push(Record::Call(call));
        }
        if plan.counted {
            self.unsaved.push(Record::Rules(self.rules.as_slice().to_vec()));
        }
        answer
    }

    /// What a cloud without faults of its own would answer.
    fn serve<R: Rng>(&mut self, request: &Request, plan: &Plan, rng: &mut R) -> Result<Reply, Reply> {
        match request {
            Request::Create { zone, kind, new } => self.create(zone, kind, new, plan, rng),
            Request::Get { address } => match self.shelf.look(address, plan.lag, self.now) {
                Some(object) => Ok(Reply::ok(200, object)),
                None => Err(Reply::absent(&address.kind, &address.id)),
            },
            Request::List { zone, filter, limit, marker } => {
                let after = match marker {
                    Some(marker) => Some(marker.parse().map_err(|_| Reply::error(400, &format!("marker [{marker}] not found")))?),
                    None => None,
                };
                Ok(Reply::ok(200, &self.shelf.page(Some(zone), filter, (*limit).clamp(1, LONGEST_PAGE), after, plan.lag, self.now)))
            }
            Request::Change { address, properties } => {
                let kept = self.find(address)?;
                idle(&kept, Verb::Change, &[Status::Active, Status::Shutoff])?;
                self.within_quota(&kept.object.project, &address.kind, properties, Some(&kept.object), plan)?;
                Ok(self.begin(&kept, Verb::Change, Task::Change(properties.clone()), plan, rng))
            }
            Request::Act { address, action } => self.act(address, action, request.verb(), plan, rng),
            Request::Delete { address } => {
                let kept = self.find(address)?;
                if matches!(kept.work, Some(Work { task: Task::Delete, .. })) {
                    return Ok(Reply::ok(202, &kept.object));
                }
                if address.kind != SERVER {
                    idle(&kept, Verb::Delete, &[Status::Build, Status::Active, Status::Error, Status::Deleting])?;
                }
                if let (VOLUME, Some(server)) = (address.kind.as_str(), &kept.object.attached_to) {
                    return Err(Reply::error(409, &format!("Invalid volume: Volume {} is attached to server {server}.", address.id)));
                }
                Ok(self.begin(&kept, Verb::Delete, Task::Delete, plan, rng))
            }
        }
    }

    fn create<R: Rng>(&mut self, zone: &str, kind: &str, new: &NewObject, plan: &Plan, rng: &mut R) -> Result<Reply, Reply> {
        if new.name.is_empty() || new.name.len() > 255 {
            return Err(Reply::error(400, "Invalid input for field/attribute name: it has 1 to 255 bytes."));
        }
        if let Some(key) = new.tags.keys().find(|key| key.contains('=')) {
            return Err(Reply::error(400, &format!("Invalid input for field/attribute tags: '{key}' contains '='.")));
        }
        self.within_quota(&new.project, kind, &new.properties, None, plan)?;
        let kept = Kept {
            serial: self.next_serial,
            object: Object {
                id: uuid::Builder::from_random_bytes(rng.random()).into_uuid().to_string(),
                kind: kind.to_owned(),
                zone: zone.to_owned(),
                project: new.project.clone(),
                name: new.name.clone(),
                properties: new.properties.clone(),
                tags: new.tags.clone(),
                status: Status::Build,
                task: None,
                power: None,
                attached_to: None,
                fault: None,
                created_at: self.now,
                updated_at: self.now,
            },
            work: None,
            vanishes_at: plan.vanishes_after.map(|after| self.now + after),
        };
        self.next_serial += 1;
        Ok(self.begin(&kept, Verb::Create, Task::Create, plan, rng))
    }

    fn act<R: Rng>(&mut self, address: &Address, action: &Action, verb: Verb, plan: &Plan, rng: &mut R) -> Result<Reply, Reply> {
        let kept = self.find(address)?;
        let server = address.kind == SERVER;
        if server != matches!(action, Action::Start | Action::Stop | Action::Reboot) {
            return Err(Reply::error(400, &format!("There is no such action: {} of {}", verb.as_str(), address.kind)));
        }
        let task = match action {
            Action::Start => {
                idle(&kept, verb, &[Status::Shutoff])?;
                Task::Start
            }
            Action::Stop => {
                idle(&kept, verb, &[Status::Active])?;
                Task::Stop
            }
            Action::Reboot => {
                idle(&kept, verb, &[Status::Active])?;
                Task::Reboot
            }
            Action::Attach { server } => {
                idle(&kept, verb, &[Status::Active])?;
                if let Some(other) = &kept.object.attached_to {
                    let text = format!("Invalid {}: {} is already attached to instance {other}", address.kind, address.id);
                    return Err(Reply::error(409, &text));
                }
                let to = self.shelf.by_id(server).filter(|to| to.object.kind == SERVER);
                let to = to.ok_or_else(|| Reply::error(400, &format!("Instance {server} could not be found.")))?;
                if address.kind == VOLUME && to.object.zone != address.zone {
                    return Err(Reply::error(400, "Invalid volume: the instance and the volume are not in the same availability zone."));
                }
                idle(to, verb, &[Status::Active, Status::Shutoff])?;
                Task::Attach(server.clone())
            }
            Action::Detach => {
                idle(&kept, verb, &[Status::Active])?;
                if kept.object.attached_to.is_none() {
                    return Err(Reply::error(409, &format!("Invalid {}: {} is not attached.", address.kind, address.id)));
                }
                Task::Detach
            }
        };
        Ok(self.begin(&kept, verb, task, plan, rng))
    }

    fn find(&self, address: &Address) -> Result<Arc<Kept>, Reply> {
        self.shelf.by_address(address).cloned().ok_or_else(|| Reply::absent(&address.kind, &address.id))
    }

    /// Would the quotas of the rules be passed? `before` is the object that is changed.
    fn within_quota(&self, project: &str, kind: &str, properties: &Properties, before: Option<&Object>, plan: &Plan) -> Result<(), Reply> {
        for (dimension, limit) in &plan.quotas {
            let used: u64 = self.shelf.of_project(project).map(|other| amount(&other.kind, &other.properties, dimension)).sum();
            let asked = match before {
                Some(before) if !properties.contains_key(dimension) => amount(&before.kind, &before.properties, dimension),
                _ => amount(kind, properties, dimension),
            };
            let more = asked.saturating_sub(before.map_or(0, |before| amount(kind, &before.properties, dimension)));
            if *limit == 0 || (more > 0 && used + more > *limit) {
                return Err(Reply::over_quota(kind, dimension, more, used, *limit));
            }
        }
        Ok(())
    }

    /// Accepts work on an object.
    fn begin<R: Rng>(&mut self, kept: &Kept, verb: Verb, task: Task, plan: &Plan, rng: &mut R) -> Reply {
        let mut kept = kept.clone();
        let takes = span(self.latencies.draw(verb, &kept.object.kind, rng).as_secs_f64() * plan.slowness);
        if task == Task::Delete {
            kept.object.status = Status::Deleting;
        }
        kept.object.task = Some(task.name());
        kept.object.updated_at = self.now;
        kept.work = Some(Work { task, until: (!plan.never_ends).then(|| self.now + takes), fails: plan.fails.clone() });
        let accepted = kept.object.clone();
        self.put(kept, self.now);
        if takes == Duration::ZERO {
            self.advance(self.now);
        }
        Reply::ok(202, self.shelf.by_id(&accepted.id).map_or(&accepted, |kept| &kept.object))
    }

    /// Does all that is due by now.
    fn advance(&mut self, now: DateTime<Utc>) {
        self.now = self.now.max(now);
        while let Some((due, kept)) = self.shelf.first_due(self.now) {
            match &kept.work {
                _ if kept.vanishes_at == Some(due) => self.remove(&kept, due),
                Some(Work { task: Task::Delete, fails: None, .. }) => self.remove(&kept, due),
                Some(work) => self.finish(&kept, work, due),
                None => unreachable!("an object is due for its work or for vanishing"),
            }
        }
    }

    fn finish(&mut self, kept: &Kept, work: &Work, at: DateTime<Utc>) {
        let mut kept = Kept { work: None, ..kept.clone() };
        let object = &mut kept.object;
        object.task = None;
        object.updated_at = at;
        match &work.task {
            _ if work.fails.is_some() => {
                object.status = Status::Error;
                object.fault.clone_from(&work.fails);
            }
            Task::Create | Task::Start => {
                object.status = Status::Active;
                object.power = (object.kind == SERVER).then_some(Power::Running);
            }
            Task::Stop => {
                object.status = Status::Shutoff;
                object.power = Some(Power::Shutdown);
            }
            Task::Reboot | Task::Delete => {}
            Task::Change(properties) => object.properties.extend(properties.clone()),
            // A server that has gone meanwhile takes nothing.
            Task::Attach(server) => object.attached_to = self.shelf.by_id(server).map(|_| server.clone()),
            Task::Detach => object.attached_to = None,
        }
        self.put(kept, at);
    }

    fn put(&mut self, kept: Kept, at: DateTime<Utc>) {
        self.unsaved.push(Record::Kept(kept.clone()));
        self.shelf.put(kept, at);
    }

    /// Takes an object away and detaches what is attached to it.
    fn remove(&mut self, kept: &Kept, at: DateTime<Utc>) {
        for attached in self.shelf.attached_to(&kept.object.id) {
            let mut attached = Kept::clone(&attached);
            attached.object.attached_to = None;
            attached.object.updated_at = at;
            self.put(attached, at);
        }
        self.unsaved.push(Record::Gone(kept.serial));
        self.shelf.remove(kept.serial, at);
    }
}

impl Task {
    fn name(&self) -> TaskName {
        match self {
            Self::Create => TaskName::Spawning,
            Self::Delete => TaskName::Deleting,
            Self::Start => TaskName::PoweringOn,
            Self::Stop => TaskName::PoweringOff,
            Self::Reboot => TaskName::Rebooting,
            Self::Change(_) => TaskName::Resizing,
            Self::Attach(_) => TaskName::Attaching,
            Self::Detach => TaskName::Detaching,
        }
    }
}

/// Refuses what meets another task or a status in which it cannot be done.
fn idle(kept: &Kept, verb: Verb, statuses: &[Status]) -> Result<(), Reply> {
    match kept.object.task {
        Some(_) => Err(Reply::busy(verb.as_str(), &kept.object)),
        None if statuses.contains(&kept.object.status) => Ok(()),
        None => Err(Reply::wrong_state(verb.as_str(), &kept.object)),
    }
}

/// How much of a quota's dimension an object takes.
fn amount(kind: &str, properties: &Properties, dimension: &str) -> u64 {
    let counted = dimension.strip_suffix('s').unwrap_or(dimension) == kind || dimension == kind;
    properties.get(dimension).and_then(serde_json::Value::as_u64).unwrap_or(u64::from(counted))
}
