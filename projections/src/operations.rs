//! What became of a command, by its id: for callers who went away before the answer, and for those who send the same again.
//!
//! One row a command that came through the API, with its first answer: a repetition, and another request under a used key, change nothing. What the decider did
//! not keep (a refusal worth retrying, an expiry, a failure) is replaced by the next decision. An answer is made from the events of the commit
//! alone, so they are kept as they lie on the journal.
//!
//! As in the decider, what created something is kept for ever and everything else for thirty days of the chain's time; rows go with the first
//! batch that is later.

use crate::{
    columns::{count, int, text, time},
    commit::Applied,
    model::{ApplyError, Effects, On, ReadModel, Table},
    snapshot::{ReadError, Snapshot, value},
};
use chrono::TimeDelta;
use domain::{
    Timestamp,
    event::{CommandEvent, Event},
    id::CommandId,
    people::Actor,
    platform::PlatformEvent,
    refusal::Refusal,
    resource::ResourceEvent,
    tenant::{CellEvent, TenantEvent},
};
use futures::future::BoxFuture;
use schemas::record::{Digest, Origin, Position};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use tokio_postgres::types::Json;
use uuid::Uuid;

/// The read model.
pub struct Operations;

/// An outcome is kept this long in the chain's time, as long as the decider remembers it.
const KEPT: TimeDelta = TimeDelta::days(30);

const TABLES: &[Table] = &[Table {
    name: "operations",
    key: "id, partition",
    ddl: r#"
    CREATE TABLE {operations} (
        partition   integer     NOT NULL,
        id          uuid        NOT NULL,
        generation  integer     NOT NULL,
        seq         bigint      NOT NULL,
        time        timestamptz NOT NULL,
        kind        text        NOT NULL,
        request     text        NOT NULL,
        digest      text        NOT NULL,
        actor       json,
        outcome     text        NOT NULL,
        events      json        NOT NULL,
        -- True for what created something.
        for_ever    boolean     NOT NULL,
        PRIMARY KEY (id, partition)
    );
    CREATE INDEX {operations}_age ON {operations} (partition, time) WHERE NOT for_ever;
    "#,
}];

impl ReadModel for Operations {
    fn name(&self) -> &'static str {
        "operations"
    }

    fn version(&self) -> i32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn apply<'a>(&'a self, on: On<'a>, commits: &'a [Applied]) -> BoxFuture<'a, Result<Effects, ApplyError>> {
        Box::pin(async move {
            let mut last: BTreeMap<Uuid, &Applied> = BTreeMap::new();
            for commit in commits {
                if let Some(command) = commit.command.as_ref().filter(|c| c.origin == Origin::Commands)
                    && outcome(commit) != Outcome::AnsweredBefore
                {
                    last.insert(command.id, commit);
                }
            }
            write(&on, last.into_values().collect()).await?;
            if let Some(newest) = commits.last() {
                on.execute(
                    "DELETE FROM {operations} WHERE partition = $1 AND time < $2 AND NOT for_ever",
                    &[&on.partition, &time(newest.time - KEPT)],
                )
                .await?;
            }
            Ok(Effects::default())
        })
    }
}

/// What became of a command, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something, or nothing had to change.
    Done,
    /// It was refused.
    Refused,
    /// Nobody decided it in time.
    Expired,
    /// Deciding it failed inside Cirrus, or it could not be read.
    Failed,
    /// The commit answers a repetition, or another request under the same key: the first answer stands.
    AnsweredBefore,
}

impl Outcome {
    /// The name kept in rows.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Expired => "expired",
            Outcome::Failed => "failed",
            Outcome::AnsweredBefore => "answered_before",
        }
    }

    fn from_name(name: &str) -> Result<Self, String> {
        let all = [Outcome::Done, Outcome::Refused, Outcome::Expired, Outcome::Failed];
        all.into_iter().find(|o| o.name() == name).ok_or_else(|| format!("unknown outcome {name}"))
    }
}

fn outcome(commit: &Applied) -> Outcome {
    match commit.facts.first().and_then(|fact| fact.event.as_ref()) {
        Some(Event::Command(event)) => match event {
            CommandEvent::Repeated { .. } | CommandEvent::Refused { refusal: Refusal::KeyReused, .. } => Outcome::AnsweredBefore,
            CommandEvent::Refused { .. } => Outcome::Refused,
            CommandEvent::NothingToDo { .. } => Outcome::Done,
            CommandEvent::Expired => Outcome::Expired,
            CommandEvent::Failed { .. } | CommandEvent::Unreadable { .. } => Outcome::Failed,
        },
        _ => Outcome::Done,
    }
}

fn creates(event: &Event) -> bool {
    matches!(
        event,
        Event::Platform(PlatformEvent::TenantReserved { .. })
            | Event::Tenant { event: TenantEvent::Opened(_), .. }
            | Event::Cell { event: CellEvent::Created { .. }, .. }
            | Event::Resource { event: ResourceEvent::Requested(_), .. }
    )
}

async fn write(on: &On<'_>, commits: Vec<&Applied>) -> Result<(), ApplyError> {
    let rows: Vec<_> = commits.into_iter().filter_map(|commit| Some((commit, commit.command.as_ref()?))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$commit:ident, $command:ident| $value:expr) => {
            &rows.iter().map(|($commit, $command)| $value).collect::<Vec<_>>()
        };
    }
    on.execute(
        "INSERT INTO {operations} (partition, id, generation, seq, time, kind, request, digest, actor, outcome, events, for_ever)
         SELECT $1, * FROM unnest($2::uuid[], $3::integer[], $4::bigint[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
             $9::json[], $10::text[], $11::json[], $12::boolean[])
         ON CONFLICT (id, partition) DO UPDATE SET generation = EXCLUDED.generation, seq = EXCLUDED.seq, time = EXCLUDED.time,
             kind = EXCLUDED.kind, request = EXCLUDED.request, digest = EXCLUDED.digest, actor = EXCLUDED.actor,
             outcome = EXCLUDED.outcome, events = EXCLUDED.events, for_ever = EXCLUDED.for_ever",
        &[
            &on.partition,
            column!(|_a, command| command.id),
            column!(|commit, _c| commit.position.generation as i32),
            column!(|commit, _c| int(commit.seq())),
            column!(|commit, _c| time(commit.time)),
            column!(|_a, command| text(&command.kind)),
            column!(|_a, command| text(&command.request)),
            column!(|_a, command| command.digest.to_string()),
            column!(|commit, _c| commit.actor.as_ref().map(Json)),
            column!(|commit, _c| outcome(commit).name()),
            column!(|commit, _c| Json(commit.facts.iter().map(|fact| &*fact.raw).collect::<Vec<_>>())),
            column!(|commit, _c| commit.events().any(creates)),
        ],
    )
    .await?;
    Ok(())
}

/// What became of a command.
#[derive(Debug, Clone)]
pub struct OperationRow {
    /// The command's id.
    pub id: CommandId,
    /// The commit that decided it.
    pub position: Position,
    /// When it was decided.
    pub time: Timestamp,
    /// The command's kind, `create_resource`.
    pub kind: String,
    /// The attempt that was decided.
    pub request: String,
    /// SHA-256 of what was asked: another one under the same id is another request under a used key.
    pub digest: Digest,
    /// Who asked.
    pub actor: Option<Actor>,
    /// In a word.
    pub outcome: Outcome,
    /// The events of the commit, as they lie on the journal.
    pub events: Vec<Box<RawValue>>,
}

impl Snapshot {
    /// What became of the command `id` on the chain of `partition`. None: it is not on the journal as far as this snapshot shows.
    ///
    /// # Errors
    ///
    /// When PostgreSQL does not answer.
    pub async fn operation(&self, partition: u32, id: CommandId) -> Result<Option<OperationRow>, ReadError> {
        let sql = "SELECT generation, seq, time, kind, request, digest, actor, outcome, events FROM {operations} WHERE id = $1 AND partition = $2";
        let Some(row) = self.query_opt(sql, &[&id.0, &(partition as i32)]).await? else {
            return Ok(None);
        };
        let actor: Option<Json<Actor>> = row.try_get(6)?;
        let Json(events) = row.try_get(8)?;
        Ok(Some(OperationRow {
            id,
            position: Position { generation: row.try_get::<_, i32>(0)? as u32, partition, seq: count(row.try_get(1)?) },
            time: row.try_get(2)?,
            kind: row.try_get(3)?,
            request: row.try_get(4)?,
            digest: value("digest", row.try_get::<_, &str>(5)?.parse())?,
            actor: actor.map(|json| json.0),
            outcome: value("outcome", Outcome::from_name(row.try_get(7)?))?,
            events,
        }))
    }
}
