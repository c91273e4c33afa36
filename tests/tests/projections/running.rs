//! Who keeps the read models up to date, and what happens when something goes wrong.

use super::database::{apply, builds, database, digests, shown};
use domain::{
    command::Command,
    id::{ResourceId, TenantId},
    tenant::Clock,
};
use journal::topics::Journal;
use projections::{
    build::{self, CarryError},
    database::{Database, Settings},
    identity::IdentityError,
    positions::OpenWork,
    runner::{Duty, Health, Runner},
    snapshot::Shown,
};
use schemas::record::{Digest, Position};
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};
use tests::{
    cloud::{Cloud, together},
    servers::Postgres,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use uuid::Uuid;

/// Longer than anything here takes, short enough to fail a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A runner in a task of its own.
pub struct Running {
    pub health: watch::Receiver<Health>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), IdentityError>>,
}

impl Running {
    pub fn start(database: &Database, cloud: &Cloud) -> Self {
        let (stop, stopping) = watch::channel(false);
        let runner = Runner::new(database.clone(), Arc::new(cloud.twin.clone()), cloud.journal, stopping);
        Self { health: runner.health(), stop, task: tokio::spawn(runner.run()) }
    }

    /// Waits until its health is as wanted.
    pub async fn becomes(&mut self, what: &str, wanted: impl FnMut(&Health) -> bool) {
        let reached = timeout(PATIENCE, self.health.wait_for(wanted)).await.is_ok_and(|health| health.is_ok());
        assert!(reached, "it never became {what}: {:?}", *self.health.borrow());
    }

    /// Stops it as an operator does.
    pub async fn stop(self) -> Result<(), IdentityError> {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.task).await.expect("it stops in time").expect("it does not panic")
    }

    /// Ends it without warning, wherever it is.
    pub fn kill(&self) {
        self.task.abort();
    }
}

/// Waits until all read models show everything that happened in `cloud`.
pub async fn caught_up(database: &Database, cloud: &Cloud) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(missing) = database.follow().wait_for(&cloud.positions(), Instant::now() + Duration::from_secs(5)).await {
        assert!(Instant::now() < deadline, "{missing}");
    }
}

fn busy_cloud() -> (Cloud, TenantId) {
    let mut cloud = Cloud::new();
    let tenant = cloud.open_tenant("acme", Clock::Journal);
    more(&mut cloud, tenant, 40);
    (cloud, tenant)
}

/// So many servers come, and every second one goes.
pub fn more(cloud: &mut Cloud, tenant: TenantId, servers: usize) {
    for n in 0..servers {
        let server: ResourceId = cloud.ask(tenant, Cloud::server(&format!("server-{n}"), None)).created();
        cloud.finish(tenant, server);
        if n % 2 == 0 {
            cloud.ask(tenant, Command::DeleteResource { resource: server, if_generation: None });
            cloud.finish(tenant, server);
        }
    }
}

#[tokio::test]
async fn who_waits_for_a_position_sees_what_was_decided_there() {
    let (mut cloud, tenant) = busy_cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    let created = cloud.ask(tenant, Cloud::network("late", None));
    database.follow().wait_for(&[created.position], Instant::now() + Duration::from_secs(5)).await.unwrap();
    let snapshot = database.snapshot(Shown::Partitions(&[created.position.partition])).await.unwrap();
    assert!(snapshot.position(created.position.partition).unwrap().seq >= created.position.seq);
    assert!(snapshot.resource(tenant, created.id.into()).await.unwrap().is_some());

    let ahead = Position { seq: created.position.seq + 1, ..created.position };
    let too_late = database.follow().wait_for(&[ahead], Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(too_late.unwrap_err().0, ahead);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_runner_stands_by_and_takes_over_when_the_first_dies() {
    let (mut cloud, tenant) = busy_cloud();
    let database = database(&cloud).await;
    let mut first = Running::start(&database, &cloud);
    first.becomes("live", |health| health.duty == Duty::Live).await;
    let mut second = Running::start(&database, &cloud);
    second.becomes("standby", |health| health.duty == Duty::Standby).await;
    more(&mut cloud, tenant, 30);
    first.kill();
    more(&mut cloud, tenant, 30);
    second.becomes("live", |health| health.duty == Duty::Live).await;
    caught_up(&database, &cloud).await;
    second.stop().await.unwrap();

    let mut afresh = builds(&database, &cloud, 2, false).await;
    apply(&database, &mut afresh, &together(&cloud.records)).await.unwrap();
    assert_eq!(digests(&database, None).await, digests(&database, Some(2)).await);
}

#[tokio::test]
async fn two_runners_cannot_both_apply() {
    let (mut cloud, tenant) = busy_cloud();
    let mut shows = shown(&cloud).await;
    let mut rival = shows.builds.clone();
    let before = cloud.records.len();
    more(&mut cloud, tenant, 3);
    let news = together(&cloud.records[before..]);
    shows.follow(&cloud).await;
    let expected = digests(&shows.database, Some(1)).await;
    assert!(matches!(apply(&shows.database, &mut rival, &news).await, Err(CarryError::Rival)));
    assert_eq!(digests(&shows.database, Some(1)).await, expected);
}

#[tokio::test]
async fn of_two_runners_at_the_same_moment_the_second_waits_and_then_gives_way() {
    let (mut cloud, tenant) = busy_cloud();
    let shows = shown(&cloud).await;
    let before = cloud.records.len();
    more(&mut cloud, tenant, 3);
    let news = together(&cloud.records[before..]);
    let (mut one, mut two) = (shows.database.client().await.unwrap(), shows.database.client().await.unwrap());
    let first = one.transaction().await.unwrap();
    build::apply(&first, &shows.builds, &news).await.unwrap();
    let second = async {
        let tx = two.transaction().await.unwrap();
        build::apply(&tx, &shows.builds, &news).await.map(|moved| moved.len())
    };
    let (committed, gave_way) = tokio::join!(first.commit(), second);
    committed.unwrap();
    assert!(matches!(gave_way, Err(CarryError::Rival)), "{gave_way:?}");
}

#[tokio::test]
async fn a_crash_before_the_commit_loses_nothing_and_leaves_nothing() {
    let (mut cloud, tenant) = busy_cloud();
    let mut shows = shown(&cloud).await;
    let (before, expected) = (cloud.records.len(), digests(&shows.database, Some(1)).await);
    more(&mut cloud, tenant, 3);
    {
        let mut client = shows.database.client().await.unwrap();
        let tx = client.transaction().await.unwrap();
        let moved = build::apply(&tx, &shows.builds, &together(&cloud.records[before..])).await.unwrap();
        assert!(!moved.is_empty());
        // The process ends here: the transaction is dropped with everything in it.
    }
    assert_eq!(digests(&shows.database, Some(1)).await, expected);
    shows.follow(&cloud).await;
    let mut afresh = builds(&shows.database, &cloud, 2, false).await;
    apply(&shows.database, &mut afresh, &together(&cloud.records)).await.unwrap();
    assert_eq!(digests(&shows.database, Some(1)).await, digests(&shows.database, Some(2)).await);
}

#[tokio::test]
async fn a_batch_that_begins_too_late_is_refused() {
    let (cloud, _) = busy_cloud();
    let database = database(&cloud).await;
    let mut empty = builds(&database, &cloud, 1, true).await;
    let tail = together(&cloud.records[cloud.records.len() - 5..]);
    assert!(matches!(apply(&database, &mut empty, &tail).await, Err(CarryError::Gap { .. })));
}

#[tokio::test]
async fn read_models_go_on_after_postgresql_was_killed() {
    let server = Postgres::start();
    let (mut cloud, tenant) = busy_cloud();
    let database = Database::connect(&Settings::new(server.database())).unwrap();
    database.migrate().await.unwrap();
    database.remember(&cloud.journal).await.unwrap();
    let mut running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    server.kill();
    more(&mut cloud, tenant, 10);
    running.becomes("waiting", |health| matches!(health.duty, Duty::Waiting(_))).await;
    server.start_again();
    running.becomes("live", |health| health.duty == Duty::Live).await;
    caught_up(&database, &cloud).await;
    running.stop().await.unwrap();
    let mut afresh = builds(&database, &cloud, 2, false).await;
    apply(&database, &mut afresh, &together(&cloud.records)).await.unwrap();
    assert_eq!(digests(&database, None).await, digests(&database, Some(2)).await);
}

#[tokio::test]
async fn a_broken_partition_stops_alone_and_is_named() {
    let (mut cloud, tenant) = busy_cloud();
    let broken = 1 - cloud.partition_of(tenant);
    let database = database(&cloud).await;
    let mut running = Running::start(&database, &cloud);
    running.becomes("live", |health| health.duty == Duty::Live).await;
    cloud.break_partition(broken);
    running.becomes("aware of the break", |health| health.broken.contains_key(&broken)).await;
    more(&mut cloud, tenant, 5);
    caught_up(&database, &cloud).await;
    assert_eq!(running.health.borrow().duty, Duty::Live);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_of_a_later_program_is_passed_over_and_shown() {
    let (mut cloud, tenant) = busy_cloud();
    let database = database(&cloud).await;
    let mut running = Running::start(&database, &cloud);
    let command = schemas::record::CommandRef {
        id: Uuid::from_u128(9),
        kind: "teleport_resource".into(),
        origin: schemas::record::Origin::Commands,
        generation: 1,
        offset: 10_000,
        request: "req".into(),
        digest: Digest::of(b""),
        traceparent: None,
    };
    let event = format!(r#"{{"type":"resource.teleported","version":1,"tenant":"{tenant}","resource":"{}","data":{{}}}}"#, Uuid::nil());
    let at = cloud.commit(cloud.partition_of(tenant), command, None, vec![RawValue::from_string(event).unwrap()]);
    more(&mut cloud, tenant, 2);
    caught_up(&database, &cloud).await;
    running.becomes("incomplete", |health| health.incomplete.get("resources") == Some(&at)).await;
    assert!(!running.health.borrow().incomplete.contains_key("history"));
    let snapshot = database.snapshot(Shown::All).await.unwrap();
    assert_eq!(snapshot.incomplete().get("quota"), Some(&at));
    let history = snapshot.history_of_resource(tenant, ResourceId(Uuid::nil()), None, 10).await.unwrap();
    assert_eq!(history[0].name, "resource.teleported");
    drop(snapshot);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_rows_of_one_journal_are_never_mixed_with_another() {
    let (cloud, _) = busy_cloud();
    let database = database(&cloud).await;
    let other = Journal { id: Uuid::from_u128(1), ..cloud.journal };
    assert!(matches!(database.remember(&other).await, Err(IdentityError::OtherJournal { .. })));
    assert_eq!(database.journal().await.unwrap(), cloud.journal);
    let (_stop, stopping) = watch::channel(false);
    let runner = Runner::new(database, Arc::new(cloud.twin.clone()), other, stopping);
    assert!(matches!(runner.run().await, Err(IdentityError::OtherJournal { .. })));
}

#[tokio::test]
async fn workers_are_woken_where_work_was_opened() {
    let (mut cloud, tenant) = busy_cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    let mut wake_ups = database.follow().open_work();
    caught_up(&database, &cloud).await;
    cloud.ask(tenant, Cloud::network("net", None));
    let woken = async {
        while wake_ups.recv().await.unwrap() != OpenWork::Regional {}
        cloud.ask(tenant, Cloud::server("web", None));
        while wake_ups.recv().await.unwrap() != OpenWork::In("north-a".parse().unwrap()) {}
    };
    timeout(PATIENCE, woken).await.expect("both wake-ups arrive");
    running.stop().await.unwrap();
}
