//! Intervals of instances that OpenStack made, from its notifications: for clouds that were there before Cirrus.
//!
//! The rule is Open XDMoD's, so that figures of such a cloud stay what they were. Notifications are taken in the order of the times at which they
//! were made, cut to whole seconds:
//!
//! - what says that an instance runs (created, powered on, ...) opens an active session, what says that it does not an inactive one, and either
//!   closes what was open;
//! - the beginning of every such step, and of a deletion, closes what is open;
//! - a heartbeat (`exists`, once an hour) moves the end of an open session; where none is open, one that says `active` opens one.
//!
//! Beyond XDMoD's rule, a session ends and another begins where its size changes, be it that only a heartbeat shows it.
//!
//! What this means when notifications are not perfect:
//!
//! - *Repeated*: a message id counts once. *Reordered, late*: the whole set is sorted, so the order of arrival has no say; whoever imports again
//!   with more gets what all together say, and replaces what was there.
//! - *Early*: what was made after the time of the import is left for the next one.
//! - *Lost*: a create that got lost begins with the first heartbeat that says `active`; a deletion that got lost ends with the last heartbeat.
//!   Nothing is counted beyond what was seen.
//! - *Senseless*: a deletion of what is not open changes nothing; `launched_at` and other times within a notification are not used at all.

use crate::Timestamp;
use chrono::SubsecRound;
use std::collections::{BTreeMap, BTreeSet};

/// One notification about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its id.
    pub message: String,
    /// When it was made.
    pub at: Timestamp,
    /// Its kind, without what stands before in old and new OpenStack: `create.end`, `exists`.
    pub event: String,
    /// OpenStack's id of the instance.
    pub instance: String,
    /// OpenStack's id of the project.
    pub project: String,
    /// What it says of the instance's state: `active`, `stopped`.
    pub state: Option<String>,
    /// How large the instance is.
    pub size: Size,
}

/// How large an instance is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Name of the flavor.
    pub flavor: String,
    /// Virtual processors.
    pub vcpus: u64,
    /// Memory.
    pub memory_mib: u64,
    /// The root disk.
    pub root_gib: u64,
}

/// A stretch of an instance's life in which it neither stopped nor started nor changed its size: [start, end), whole seconds. One without length
/// was there for less than a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// OpenStack's id of the instance.
    pub instance: String,
    /// OpenStack's id of the project.
    pub project: String,
    /// How large it was.
    pub size: Size,
    /// False when it was there and did not run.
    pub active: bool,
    /// Its begin.
    pub start: Timestamp,
    /// Its end; while it is open, when it was seen last.
    pub end: Timestamp,
    /// True when nothing has said that it ended.
    pub open: bool,
}

/// What a kind of notification does.
enum Effect {
    Opens { active: bool },
    Closes,
    Resizes,
    Beats,
    Nothing,
}

impl Effect {
    fn of(event: &str) -> Self {
        match event {
            "create.end" | "power_on.end" | "resume.end" | "unpause.end" | "unshelve.end" | "restore.end" => Effect::Opens { active: true },
            "power_off.end" | "shutdown.end" | "suspend.end" | "pause.end" | "shelve.end" => Effect::Opens { active: false },
            "power_on.start" | "power_off.start" | "shutdown.start" | "delete.start" | "delete.end" => Effect::Closes,
            "resume.start" | "unpause.start" | "unshelve.start" | "restore.start" | "suspend.start" | "pause.start" | "shelve.start" => {
                Effect::Closes
            }
            "soft_delete.start" | "soft_delete.end" => Effect::Closes,
            "finish_resize.end" | "resize_finish.end" | "resize.revert.end" | "resize_revert.end" => Effect::Resizes,
            "exists" => Effect::Beats,
            _ => Effect::Nothing,
        }
    }
}

/// The sessions that notifications tell of, by begin and instance.
///
/// Instances in `made_here` are passed over: what Cirrus made is measured from its own journal, and only from there. Notifications made at
/// `until` or later are left for the next import.
pub fn sessions<'a>(
    notifications: impl IntoIterator<Item = &'a Notification>,
    made_here: &BTreeSet<String>,
    until: Timestamp,
) -> Vec<Session> {
    let mut seen = BTreeSet::new();
    let mut ordered: Vec<&Notification> = notifications
        .into_iter()
        .filter(|n| n.at < until && !made_here.contains(&n.instance))
        .filter(|n| seen.insert(n.message.as_str()))
        .collect();
    // Of what was told at the same microsecond a beginning comes first.
    let rank = |n: &Notification| !n.event.ends_with(".start");
    ordered.sort_by(|a, b| (a.at, rank(a), &a.message).cmp(&(b.at, rank(b), &b.message)));
    let (mut open, mut closed): (BTreeMap<&str, Session>, Vec<Session>) = Default::default();
    for n in ordered {
        let at = n.at.trunc_subsecs(0);
        let mut close = |open: &mut BTreeMap<&str, Session>| {
            let session = open.remove(n.instance.as_str());
            closed.extend(session.map(|session| Session { end: at, open: false, ..session }));
        };
        let begin = |active| Session {
            instance: n.instance.clone(),
            project: n.project.clone(),
            size: n.size.clone(),
            active,
            start: at,
            end: at,
            open: true,
        };
        match Effect::of(&n.event) {
            Effect::Opens { active } => {
                close(&mut open);
                open.insert(&n.instance, begin(active));
            }
            Effect::Closes => close(&mut open),
            Effect::Beats | Effect::Resizes => match open.get_mut(n.instance.as_str()) {
                Some(session) if session.size == n.size => session.end = at,
                Some(session) => {
                    let active = session.active;
                    close(&mut open);
                    open.insert(&n.instance, begin(active));
                }
                None if n.event == "exists" && n.state.as_deref() == Some("active") => drop(open.insert(&n.instance, begin(true))),
                None => {}
            },
            Effect::Nothing => {}
        }
    }
    closed.extend(open.into_values());
    closed.sort_by(|a, b| (a.start, &a.instance, a.end).cmp(&(b.start, &b.instance, b.end)));
    closed
}
