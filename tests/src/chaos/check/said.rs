//! What was said: by the log to the clients, and by the clients to the log.

use crate::chaos::{
    evidence::{Entry, Evidence},
    history::{Answer, Asked},
    load::{ADMINISTRATOR, ISSUER},
};
use api::answer::{Outcome, answer};
use domain::{
    command::{Command, Origin as Topic},
    event::{CommandEvent, Event},
    id::CommandId,
    partition::Partition,
    refusal::Refusal,
    tenant::Facts,
};
use schemas::{
    command::CommandRecord,
    record::{CommandRef, Digest, Origin, Position},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What a client was told is in the log, at the position that it was told, and says the same.
pub fn acknowledged(evidence: &Evidence) -> Vec<String> {
    let writes = evidence.history.iter().filter(|record| record.asked.key.is_some());
    let told = writes.filter_map(|record| Some((&record.asked, record.answer.as_ref()?)));
    told.filter_map(|(asked, answer)| {
        let problem = match position(evidence, answer) {
            Ok(Some(at)) => contradiction(evidence, asked, answer, at),
            Ok(None) => answer.is_done().then(|| "done, without a position".to_owned()),
            Err(problem) => Some(problem),
        };
        problem.map(|problem| format!("{} {}: {}: {problem}", asked.method(), asked.path(), key(asked)))
    })
    .collect()
}

/// The position at which an answer to a write was decided.
pub(super) fn position(evidence: &Evidence, answer: &Answer) -> Result<Option<Position>, String> {
    let Some(token) = answer.position.as_deref().filter(|_| answer.is_decided()) else { return Ok(None) };
    match evidence.positions(token).map_err(|problem| format!("its position cannot be read: {problem}"))?[..] {
        [at] => Ok(Some(at)),
        ref several => Err(format!("a write has {} positions", several.len())),
    }
}

fn contradiction(evidence: &Evidence, asked: &Asked, told: &Answer, at: Position) -> Option<String> {
    let Some(entry) = evidence.entry(at) else { return Some(format!("{at} is not in the log")) };
    let id = match asked.command(ISSUER) {
        Ok(id) => id,
        Err(problem) => return Some(problem.to_string()),
    };
    if entry.command.as_ref().is_none_or(|command| command.id != id.0) {
        return Some(format!("{at} answers another command"));
    }
    match answer(&entry.events) {
        Outcome::Done(done) => {
            let mut body = told.body.clone();
            if let Some(members) = body.as_object_mut() {
                members.remove("position");
            }
            (told.status != done.status.as_u16() || body != Value::Object(done.body))
                .then(|| format!("{at} was told as {} {body}", told.status))
        }
        Outcome::Refused(problem) => {
            let status = problem.kind().status().as_u16();
            (told.status != status).then(|| format!("{at} is a refusal ({status}), told as {}", told.status))
        }
        Outcome::Repeated { of } => Some(format!("{at} repeats {of} and was told as an outcome")),
    }
}

/// What was put on the commands topic for these tenants was asked by their administrator, in these words; what others asked is not there. A
/// tenant's opening is the second half of a platform's command and holds nothing.
pub fn asked(evidence: &Evidence) -> Vec<String> {
    let mut words: BTreeMap<CommandId, BTreeSet<Digest>> = BTreeMap::new();
    for record in evidence.history.iter().filter(|record| record.asked.person == ADMINISTRATOR) {
        if let (Ok(id), Ok(digest)) = (record.asked.command(ISSUER), record.asked.digest()) {
            words.entry(id).or_default().insert(digest);
        }
    }
    let mut found = Vec::new();
    for ((_, partition), records) in evidence.commands.iter().filter(|((origin, _), _)| *origin == Origin::Commands) {
        let readable = records.iter().zip(0_i64..).filter_map(|(record, offset)| Some((record.as_ref().ok()?, offset)));
        let ours = readable.filter(|(record, _)| record.tenant.is_some_and(|tenant| evidence.tenants.contains(&tenant)));
        for (record, offset) in ours.filter(|(record, _)| record.command != Command::OpenTenant {}) {
            match words.get(&record.id) {
                None => found.push(format!("command {offset} of partition {partition} ({}) was asked by nobody", record.command.kind())),
                Some(digests) if !digests.contains(&record.digest) => {
                    found.push(format!("command {offset} of partition {partition} ({}) was asked in other words", record.command.kind()));
                }
                Some(_) => {}
            }
        }
    }
    found
}

/// Every commit is what the domain decides on the fold before it, of the command that lies at the place that it names.
pub fn decided(evidence: &Evidence) -> Vec<String> {
    evidence.commits().filter_map(|(entry, before)| wrong(evidence, entry, &before).map(|w| format!("{}: {w}", entry.position))).collect()
}

fn wrong(evidence: &Evidence, entry: &Entry, before: &Partition) -> Option<String> {
    let Some(command) = &entry.command else {
        return (!entry.events.is_empty()).then(|| "events without a command".to_owned());
    };
    let records = evidence.commands.get(&(command.origin, entry.position.partition));
    let Some(record) = records.and_then(|records| records.get(usize::try_from(command.offset).ok()?)) else {
        return Some(format!("there is no command {} of {:?}", command.offset, command.origin));
    };
    let Ok(record) = record else {
        let said = matches!(entry.events[..], [Event::Command(CommandEvent::Unreadable { .. })]);
        return (!said).then(|| "what cannot be read was decided".to_owned());
    };
    if let Some(difference) = difference(record, command, entry) {
        return Some(difference);
    }
    if evidence.failing.contains(&record.id) && matches!(entry.events[..], [Event::Command(CommandEvent::Failed { .. })]) {
        return None;
    }
    let outcomes = [false, true].map(|stale| decide(evidence, entry, before, record, stale));
    if outcomes.contains(&entry.events) {
        return None;
    }
    Some(format!("{} was decided as {:?}, the fold says {:?}", command.kind, entry.events, outcomes[0]))
}

fn difference(record: &CommandRecord, command: &CommandRef, entry: &Entry) -> Option<String> {
    let same = record.id.0 == command.id
        && record.digest == command.digest
        && record.request == command.request
        && Some(&record.actor) == entry.actor.as_ref();
    (!same).then(|| format!("answers {} of {}, where {} of {} lies", command.id, command.request, record.id, record.request))
}

fn decide(evidence: &Evidence, entry: &Entry, before: &Partition, record: &CommandRecord, stale: bool) -> Vec<Event> {
    let partition = entry.position.partition;
    let home = evidence.journal.partition_of(record.tenant);
    if home != partition {
        return vec![Event::refused(Refusal::WrongChain, None)];
    }
    let platform = if partition == evidence.journal.platform() { before.platform.clone() } else { evidence.platform(entry.platform) };
    let origin = match entry.command.as_ref().map(|command| command.origin) {
        Some(Origin::Reports) => Topic::Reports,
        _ => Topic::Commands,
    };
    let facts = Facts { now: entry.time, platform: &platform, stale, tombstones: &() };
    let request = record.to_request();
    catch_unwind(AssertUnwindSafe(|| before.handle(&request, origin, facts))).unwrap_or_default()
}

pub(super) fn key(asked: &Asked) -> &str {
    asked.key.as_deref().unwrap_or("without a key")
}
