//! The production inbox: the open work of a place, as the read model of resources shows it.

use super::{
    plan::{Job, Task},
    shell::{Inbox, Open, Unreadable},
};
use chrono::{TimeDelta, Utc};
use domain::{
    id::{IntentId, ResourceId, ServiceName, TenantId, ZoneName},
    resource::{Remains, Resource, Step, Work},
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
    let whose = Whose { tenant: resource.tenant, resource: resource.id };
    let job = match (&resource.state, &resource.remains) {
        (Some(state), _) => job_of(whose, state, |to| row.named.get(&to).and_then(|named| named.external.clone()))?,
        (None, Some(remains)) => clean_up_of(whose, remains),
        (None, None) => return None,
    };
    Some(Open { job, seq: resource.changed_seq, place })
}

/// Which resource of which tenant.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which resource.
    pub resource: ResourceId,
}

/// The open step of a resource as a job; `external` knows the provider's ids of other resources.
pub fn job_of(whose: Whose, state: &Resource, external: impl Fn(ResourceId) -> Option<String>) -> Option<Job> {
    let step = state.step.as_ref()?;
    let task = match &step.work {
        Work::Create => Task::Create,
        Work::Change { .. } => Task::Change,
        Work::Start => Task::Start,
        Work::Stop => Task::Stop,
        Work::Reboot => Task::Reboot,
        Work::Attach { to } => Task::Attach(external(*to)),
        Work::Detach { .. } => Task::Detach,
        Work::CleanUp | Work::Delete => Task::Delete,
    };
    Some(Job {
        zone: state.zone.clone(),
        project: state.cell.map_or_else(|| whose.tenant.to_string(), |cell| cell.to_string()),
        spec: state.terms.spec.clone(),
        since: Some(state.last_at),
        ..job(whose, step, task, state.made_by, &state.kind)
    })
}

/// The removal of remains as a job. It asks for nothing but a deletion, so it needs no account and no spec.
pub fn clean_up_of(whose: Whose, remains: &Remains) -> Job {
    Job { zone: remains.zone.clone(), ..job(whose, &remains.step, Task::Delete, remains.made_by, &remains.kind) }
}

fn job(whose: Whose, step: &Step, task: Task, made_by: IntentId, kind: &ServiceName) -> Job {
    Job {
        tenant: whose.tenant,
        resource: whose.resource,
        intent: step.intent,
        made_by,
        kind: kind.clone(),
        zone: None,
        project: whose.tenant.to_string(),
        task,
        spec: serde_json::Value::Null,
        pending: step.pending.clone(),
        attempts: step.attempts,
        since: None,
    }
}
