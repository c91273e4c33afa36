//! The production inbox: the open work of a place, as the read model of resources shows it.

use super::{
    plan::{Job, Task},
    shell::{Inbox, Open, Unreadable},
};
use chrono::{TimeDelta, Utc};
use domain::{
    id::ZoneName,
    resource::{Step, Work},
};
use futures::{FutureExt, future::BoxFuture};
use projections::{
    database::Database,
    open_work::{ByDeadline, Free, WorkRow},
    snapshot::Shown,
};

/// Open work out of PostgreSQL.
pub struct ReadModelInbox {
    database: Database,
    worker: String,
    settle: TimeDelta,
}

impl ReadModelInbox {
    /// The inbox of this worker. What another one holds is shown `settle` after its call deadline.
    pub fn new(database: Database, worker: impl Into<String>, settle: TimeDelta) -> Self {
        Self { database, worker: worker.into(), settle }
    }
}

impl Inbox for ReadModelInbox {
    fn open<'a>(
        &'a self,
        zone: Option<&'a ZoneName>,
        after: Option<ByDeadline>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Open>, Unreadable>> {
        async move {
            let unreadable = |e: projections::snapshot::ReadError| Unreadable(e.to_string());
            let snapshot = self.database.snapshot(Shown::Partitions(&[])).await.map_err(unreadable)?;
            let free = Free { worker: &self.worker, since: Utc::now() - self.settle };
            let rows = snapshot.open_work(zone, free, after, limit).await.map_err(unreadable)?;
            Ok(rows.into_iter().filter_map(open).collect())
        }
        .boxed()
    }
}

fn open(row: WorkRow) -> Option<Open> {
    let place = row.by_deadline()?;
    let resource = &row.resource;
    let step = resource.step()?;
    let (made_by, zone, spec) = match (&resource.state, &resource.remains) {
        (Some(state), _) => (state.made_by, state.zone.clone(), state.terms.spec.clone()),
        (None, Some(remains)) => (remains.made_by, remains.zone.clone(), serde_json::Value::Null),
        (None, None) => return None,
    };
    let job = Job {
        tenant: resource.tenant,
        resource: resource.id,
        intent: step.intent,
        made_by,
        kind: resource.kind.clone(),
        zone,
        project: resource.cell.map_or_else(|| resource.tenant.to_string(), |cell| cell.to_string()),
        task: task(step, &row),
        spec,
        pending: step.pending.clone(),
        attempts: step.attempts,
    };
    Some(Open { job, seq: resource.changed_seq, place })
}

fn task(step: &Step, row: &WorkRow) -> Task {
    match &step.work {
        Work::Create => Task::Create,
        Work::Change { .. } => Task::Change,
        Work::Start => Task::Start,
        Work::Stop => Task::Stop,
        Work::Reboot => Task::Reboot,
        Work::Attach { to } => Task::Attach(row.named.get(to).and_then(|named| named.external.clone())),
        Work::Detach { .. } => Task::Detach,
        Work::CleanUp | Work::Delete => Task::Delete,
    }
}
