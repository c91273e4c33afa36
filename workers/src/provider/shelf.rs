//! The objects of the simulated cloud, found by id, name, tag, account and zone, as they are now and as a lagging listing still shows them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::object::{Address, Filter, Object, Page, Properties};

/// An object and what the cloud keeps beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Place in the order of creation, which is the order of listings.
    pub(super) serial: u64,
    pub(super) object: Object,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) work: Option<Work>,
    /// When it shall be gone without any call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vanishes_at: Option<DateTime<Utc>>,
}

/// What is under way for an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Work {
    pub task: Task,
    /// When it is done; absent: never.
    pub until: Option<DateTime<Utc>>,
    /// The fault in which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<String>,
}

/// What is being done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    Create,
    Delete,
    Start,
    Stop,
    Reboot,
    Change(Properties),
    Attach(String),
    Detach,
}

impl Kept {
    /// When something happens to it by itself.
    fn due(&self) -> Option<DateTime<Utc>> {
        let work = self.work.as_ref().and_then(|work| work.until);
        work.into_iter().chain(self.vanishes_at).min()
    }
}

/// By what an object is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Zone(String),
    Project(String),
    Name(String),
    Tag(String, String),
    AttachedTo(String),
}

fn keys(object: &Object) -> impl Iterator<Item = Key> {
    let tags = object.tags.iter().map(|(key, value)| Key::Tag(key.clone(), value.clone()));
    [Key::Zone(object.zone.clone()), Key::Project(object.project.clone()), Key::Name(object.name.clone())]
        .into_iter()
        .chain(object.attached_to.clone().map(Key::AttachedTo))
        .chain(tags)
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    by_serial: BTreeMap<u64, Arc<Kept>>,
    by_id: HashMap<String, u64>,
    /// Never iterated, so its order matters to nobody.
    index: HashMap<Key, BTreeSet<u64>>,
    due: BTreeSet<(DateTime<Utc>, u64)>,
    past: Option<Past>,
}

impl Shelf {
    pub fn len(&self) -> usize {
        self.by_serial.len()
    }

    pub fn all(&self) -> impl Iterator<Item = &Kept> {
        self.by_serial.values().map(Arc::as_ref)
    }

    pub fn by_id(&self, id: &str) -> Option<&Arc<Kept>> {
        self.by_serial.get(self.by_id.get(id)?)
    }

    pub fn by_address(&self, address: &Address) -> Option<&Arc<Kept>> {
        self.by_id(&address.id).filter(|kept| kept.object.zone == address.zone && kept.object.kind == address.kind)
    }

    /// Puts an object there, or what has become of it.
    pub fn put(&mut self, kept: Kept, now: DateTime<Utc>) {
        let before = self.take(kept.serial);
        self.remember(kept.serial, before, now);
        for key in keys(&kept.object) {
            self.index.entry(key).or_default().insert(kept.serial);
        }
        self.due.extend(kept.due().map(|due| (due, kept.serial)));
        self.by_id.insert(kept.object.id.clone(), kept.serial);
        self.by_serial.insert(kept.serial, Arc::new(kept));
    }

    /// Takes an object away for good.
    pub fn remove(&mut self, serial: u64, now: DateTime<Utc>) {
        let before = self.take(serial);
        self.remember(serial, before, now);
    }

    fn take(&mut self, serial: u64) -> Option<Arc<Kept>> {
        let kept = self.by_serial.remove(&serial)?;
        self.by_id.remove(&kept.object.id);
        for key in keys(&kept.object) {
            if let Some(found) = self.index.get_mut(&key) {
                found.remove(&serial);
                if found.is_empty() {
                    self.index.remove(&key);
                }
            }
        }
        if let Some(due) = kept.due() {
            self.due.remove(&(due, serial));
        }
        Some(kept)
    }

    /// The object to which something happens first, if that is not after `now`.
    pub fn first_due(&self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, Arc<Kept>)> {
        let (due, serial) = self.due.first().filter(|(due, _)| *due <= now)?;
        Some((*due, Arc::clone(&self.by_serial[serial])))
    }

    /// What is attached to a server.
    pub fn attached_to(&self, server: &str) -> Vec<Arc<Kept>> {
        self.found(&Key::AttachedTo(server.to_owned())).map(|serial| Arc::clone(&self.by_serial[&serial])).collect()
    }

    /// What belongs to an account.
    pub fn of_project(&self, project: &str) -> impl Iterator<Item = &Object> {
        self.found(&Key::Project(project.to_owned())).map(|serial| &self.by_serial[&serial].object)
    }

    fn found<'a>(&'a self, key: &Key) -> impl Iterator<Item = u64> + use<'a> {
        self.index.get(key).into_iter().flatten().copied()
    }

    /// A part of a listing, of one zone or of all; `lag` back in time.
    pub fn page(
        &self,
        zone: Option<&str>,
        filter: &Filter,
        limit: usize,
        after: Option<u64>,
        lag: Option<Duration>,
        now: DateTime<Utc>,
    ) -> Page {
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let wanted = |kept: &Arc<Kept>| zone.is_none_or(|zone| zone == kept.object.zone) && filter.matches(&kept.object);
        let narrowest = (filter.name.clone().map(Key::Name))
            .or_else(|| filter.tag.clone().map(|(key, value)| Key::Tag(key, value)))
            .or_else(|| filter.project.clone().map(Key::Project))
            .or_else(|| zone.map(|zone| Key::Zone(zone.to_owned())));
        let past = self.past.as_ref().zip(lag);
        let then = |serial: u64| {
            let current = self.by_serial.get(&serial);
            past.map_or(current, |(past, lag)| past.state_at(serial, now - lag, current)).filter(|kept| wanted(kept))
        };
        let found: Vec<&Arc<Kept>> = match (narrowest, past) {
            // What has changed since may match no key any more, so it is looked at in any case.
            (narrowest, Some((past, _))) => {
                let mut serials: BTreeSet<u64> = past.changed.range(from).map(|(serial, _)| *serial).collect();
                match narrowest.map(|key| self.index.get(&key)) {
                    Some(set) => serials.extend(set.into_iter().flat_map(|set| set.range(from))),
                    None => serials.extend(self.by_serial.range(from).map(|(serial, _)| *serial)),
                }
                serials.into_iter().filter_map(then).take(limit + 1).collect()
            }
            (Some(key), None) => {
                let serials = self.index.get(&key).into_iter().flat_map(|set| set.range(from));
                serials.filter_map(|serial| then(*serial)).take(limit + 1).collect()
            }
            (None, None) => self.by_serial.range(from).map(|(_, kept)| kept).filter(|kept| wanted(kept)).take(limit + 1).collect(),
        };
        let next = (found.len() > limit).then(|| found[limit - 1].serial.to_string());
        Page { objects: found.into_iter().take(limit).map(|kept| kept.object.clone()).collect(), next }
    }

    /// One object as it was `lag` ago.
    pub fn look(&self, address: &Address, lag: Option<Duration>, now: DateTime<Utc>) -> Option<&Object> {
        let current = self.by_address(address);
        let Some((past, lag)) = self.past.as_ref().zip(lag) else { return current.map(|kept| &kept.object) };
        let serial = current.map(|kept| kept.serial).or_else(|| past.ids.get(&address.id).copied())?;
        let kept = past.state_at(serial, now - lag, current)?;
        (kept.object.address() == *address).then_some(&kept.object)
    }

    /// From now on remembers as much of the past as the longest lag needs.
    pub fn remember_for(&mut self, longest_lag: Option<Duration>) {
        self.past = longest_lag.map(|keep| Past { keep, ..self.past.take().unwrap_or_default() });
    }

    fn remember(&mut self, serial: u64, before: Option<Arc<Kept>>, now: DateTime<Utc>) {
        if let Some(past) = &mut self.past {
            past.push(serial, before, now);
        }
    }
}

/// When an object changed, and what it was until then; nothing if it did not exist.
type Change = (DateTime<Utc>, Option<Arc<Kept>>);

/// What objects were before they changed, as far back as the longest lag.
#[derive(Debug, Default)]
struct Past {
    keep: Duration,
    /// By serial, oldest first.
    changed: BTreeMap<u64, VecDeque<Change>>,
    order: VecDeque<(DateTime<Utc>, u64)>,
    /// Serials by id of what has changed, for what is gone by now.
    ids: HashMap<String, u64>,
}

impl Past {
    fn push(&mut self, serial: u64, before: Option<Arc<Kept>>, now: DateTime<Utc>) {
        if let Some(before) = &before {
            self.ids.insert(before.object.id.clone(), serial);
        }
        self.changed.entry(serial).or_default().push_back((now, before));
        self.order.push_back((now, serial));
        while self.order.front().is_some_and(|(at, _)| *at < now - self.keep) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, serial)) = self.order.pop_front() else { return };
        let Some(states) = self.changed.get_mut(&serial) else { return };
        let forgotten = states.pop_front();
        if states.is_empty() {
            self.changed.remove(&serial);
            if let Some((_, Some(kept))) = forgotten {
                self.ids.remove(&kept.object.id);
            }
        }
    }

    fn state_at<'a>(&'a self, serial: u64, at: DateTime<Utc>, current: Option<&'a Arc<Kept>>) -> Option<&'a Arc<Kept>> {
        let states = self.changed.get(&serial).into_iter().flatten();
        match states.into_iter().find(|(changed, _)| *changed > at) {
            Some((_, before)) => before.as_ref(),
            None => current,
        }
    }
}
