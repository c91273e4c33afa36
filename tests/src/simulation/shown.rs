//! The read models' stand-in: a fold of the journal that lags behind it, out of which workers and processes see what is to be done.

use chrono::{DateTime, Utc};
use domain::{
    id::{ResourceId, TenantId, ZoneName},
    partition::Partition,
    resource::Step,
};
use futures::{FutureExt, future::BoxFuture};
use projections::open_work::{ByDeadline, LateRow};
use std::sync::{Arc, Mutex};
use workers::{
    processes::{Due, Schedule},
    provisioning::{
        inbox::{Whose, clean_up_of, job_of},
        shell::{Inbox, Open, Unreadable},
    },
};

/// The seq and the fold of each partition as somebody who reads may see them.
#[derive(Clone, Default)]
pub struct Shown(Arc<Mutex<Vec<(u64, Partition)>>>);

impl Shown {
    pub fn show(&self, partition: usize, seq: u64, fold: &Partition) {
        let mut shown = self.0.lock().unwrap();
        if shown.len() <= partition {
            shown.resize(partition + 1, Default::default());
        }
        if shown[partition].0 < seq {
            shown[partition] = (seq, fold.clone());
        }
    }
}

/// Every open step of a fold: whose it is, and as a job.
fn steps(fold: &Partition) -> impl Iterator<Item = (Whose, &Step)> {
    fold.tenants.iter().flat_map(|(tenant, state)| {
        let whose = move |resource: &ResourceId| Whose { tenant: *tenant, resource: *resource };
        let steps = state.resources.iter().filter_map(move |(id, r)| Some((whose(id), r.step.as_ref()?)));
        steps.chain(state.remains.iter().map(move |(id, r)| (whose(id), &r.step)))
    })
}

impl Inbox for Shown {
    fn open<'a>(
        &'a self,
        zone: Option<&'a ZoneName>,
        after: Option<ByDeadline>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Open>, Unreadable>> {
        let mut open = Vec::new();
        for (partition, (seq, fold)) in (0..).zip(self.0.lock().unwrap().iter()) {
            for (whose, step) in steps(fold) {
                let tenant = &fold.tenants[&whose.tenant];
                let job = match (tenant.resources.get(&whose.resource), tenant.remains.get(&whose.resource)) {
                    (Some(resource), _) => job_of(whose, resource, |_| None),
                    (None, remains) => remains.map(|remains| clean_up_of(whose, remains)),
                };
                let place = ByDeadline { deadline: step.deadline, partition, id: whose.resource };
                open.extend(job.filter(|job| job.zone.as_ref() == zone).map(|job| Open { job, seq: *seq, place }));
            }
        }
        let key = |place: &ByDeadline| (place.deadline, place.partition, place.id);
        open.sort_by_key(|open| key(&open.place));
        open.retain(|open| after.is_none_or(|after| key(&open.place) > key(&after)));
        open.truncate(limit as usize);
        futures::future::ready(Ok(open)).boxed()
    }
}

impl Schedule for Shown {
    fn due(&self, now: DateTime<Utc>, _: u32) -> BoxFuture<'_, Result<Due, Unreadable>> {
        let mut due = Due::default();
        let shown = self.0.lock().unwrap();
        let is_open = |tenant: &TenantId| shown.iter().any(|(_, fold)| fold.tenants.contains_key(tenant));
        for (seq, fold) in shown.iter() {
            due.reserved.extend(fold.platform.reservations.keys().filter(|t| !is_open(t)).map(|t| (*t, *seq)));
            let late = steps(fold).filter(|(_, step)| !step.overdue && step.deadline < now);
            due.late.extend(late.map(|(whose, step)| LateRow {
                tenant: whose.tenant,
                resource: whose.resource,
                intent: step.intent,
                deadline: step.deadline,
            }));
        }
        futures::future::ready(Ok(due)).boxed()
    }
}
