//! Read models that are filled anew while they are used.

use super::{
    database::database,
    running::{PATIENCE, Running, caught_up, more},
};
use domain::{id::TenantId, tenant::Clock};
use projections::{
    builds::{self, Comparison, RebuildError},
    database::Database,
    model::{ALL, Tables},
    snapshot::Shown,
};
use tests::cloud::Cloud;
use tokio::{sync::watch, time::timeout};

fn cloud() -> (Cloud, TenantId) {
    let mut cloud = Cloud::new();
    let tenant = cloud.open_tenant("acme", Clock::Journal);
    more(&mut cloud, tenant, 400);
    (cloud, tenant)
}

async fn compare(database: &Database, cloud: &Cloud, name: &str) -> Comparison {
    let (_go, stop) = watch::channel(false);
    let compared = builds::compare(database, &cloud.twin, &cloud.journal, name, stop, |_| {});
    timeout(PATIENCE, compared).await.expect("in time").unwrap()
}

#[tokio::test]
async fn every_read_model_rebuilt_from_the_journal_equals_the_live_one() {
    let (cloud, _) = cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    for model in ALL {
        let compared = compare(&database, &cloud, model.name()).await;
        assert!(compared.is_equal(), "{}: {compared:?}", model.name());
        assert!(compared.live.rows > 0, "{}", model.name());
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_row_that_somebody_changed_by_hand_is_found() {
    let (cloud, _) = cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    let client = database.client().await.unwrap();
    client.execute("UPDATE tenants_v1_b1 SET name = 'another'", &[]).await.unwrap();
    assert!(!compare(&database, &cloud, "tenants").await.is_equal());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_rebuild_is_switched_in_under_load_and_the_live_runner_carries_it_on() {
    let (mut cloud, tenant) = cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    let (_go, stop) = watch::channel(false);
    let rebuild = {
        let (database, twin, journal) = (database.clone(), cloud.twin.clone(), cloud.journal);
        tokio::spawn(async move { builds::rebuild(&database, &twin, &journal, "resources", stop, |_| {}).await })
    };
    while !rebuild.is_finished() {
        // As fast as the live runner, no faster: otherwise nobody could catch up.
        more(&mut cloud, tenant, 5);
        caught_up(&database, &cloud).await;
    }
    assert_eq!(timeout(PATIENCE, rebuild).await.expect("in time").unwrap().unwrap(), 2);
    more(&mut cloud, tenant, 20);
    caught_up(&database, &cloud).await;

    let listed = builds::list(&database).await.unwrap();
    let of_resources: Vec<_> = listed.iter().filter(|b| b.model == "resources").map(|b| (b.build, b.current)).collect();
    assert_eq!(of_resources, [(1, false), (2, true)]);
    assert!(compare(&database, &cloud, "resources").await.is_equal());
    assert!(matches!(builds::drop_build(&database, "resources", None, 2).await, Err(RebuildError::Current { build: 2, .. })));
    builds::drop_build(&database, "resources", None, 1).await.unwrap();
    assert!(matches!(builds::drop_build(&database, "resources", None, 1).await, Err(RebuildError::NoSuchBuild { .. })));

    // What an earlier release has left behind.
    let left =
        "INSERT INTO read_model_builds (model, version, build, current) VALUES ('resources', 0, 7, true); CREATE TABLE resources_v0_b7 ()";
    database.client().await.unwrap().batch_execute(left).await.unwrap();
    builds::drop_build(&database, "resources", Some(0), 7).await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'resources_v0_b7'";
    assert_eq!(database.client().await.unwrap().query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 0);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_rebuilt_read_model_has_every_index_of_the_one_before() {
    let (cloud, _) = cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    let client = database.client().await.unwrap();
    for model in ALL {
        let (_go, stop) = watch::channel(false);
        builds::rebuild(&database, &cloud.twin, &cloud.journal, model.name(), stop, |_| {}).await.unwrap();
        for table in model.tables() {
            let sql = "SELECT replace(indexdef, tablename, '') FROM pg_indexes WHERE tablename = $1 ORDER BY 1";
            let [mut before, mut after] = [vec![], vec![]];
            for (build, indexes) in [(1, &mut before), (2, &mut after)] {
                let tables = Tables { version: model.version(), build };
                let rows = client.query(sql, &[&tables.name(table.name)]).await.unwrap();
                indexes.extend(rows.iter().map(|row| row.get::<_, String>(0)));
            }
            assert_eq!(before, after, "{}", table.name);
            assert!(!before.is_empty(), "{}", table.name);
        }
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_shows_one_build_even_while_another_is_switched_in() {
    let (cloud, tenant) = cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    let before = database.snapshot(Shown::All).await.unwrap();
    let (_go, stop) = watch::channel(false);
    builds::rebuild(&database, &cloud.twin, &cloud.journal, "tenants", stop, |_| {}).await.unwrap();
    let client = database.client().await.unwrap();
    client.execute("UPDATE tenants_v1_b2 SET name = 'new build'", &[]).await.unwrap();
    assert_eq!(before.tenant(tenant).await.unwrap().unwrap().name, "The acme company");
    let after = database.snapshot(Shown::All).await.unwrap();
    assert_eq!(after.tenant(tenant).await.unwrap().unwrap().name, "new build");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopped_rebuild_goes_on_where_it_was() {
    let (cloud, _) = cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    let (halt, stop) = watch::channel(false);
    let after_something_was_read = |progress: builds::Progress| {
        if progress.read > 0 {
            halt.send_replace(true);
        }
    };
    let stopped = builds::rebuild(&database, &cloud.twin, &cloud.journal, "history", stop, after_something_was_read).await;
    assert!(matches!(stopped, Err(RebuildError::Stopped)), "{stopped:?}");
    let half = builds::list(&database).await.unwrap().into_iter().find(|b| b.model == "history" && b.build == 2).unwrap();
    assert!(half.records > 0 && !half.current);

    let (_go, stop) = watch::channel(false);
    let began = std::sync::OnceLock::new();
    let first = |progress: builds::Progress| {
        began.get_or_init(|| progress);
    };
    assert_eq!(builds::rebuild(&database, &cloud.twin, &cloud.journal, "history", stop, first).await.unwrap(), 2);
    assert_eq!(began.get().unwrap().read, half.records);
    assert!(compare(&database, &cloud, "history").await.is_equal());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_model_that_a_new_program_brings_is_filled_beside_the_others() {
    let (cloud, tenant) = cloud();
    let database = database(&cloud).await;
    let running = Running::start(&database, &cloud);
    caught_up(&database, &cloud).await;
    running.stop().await.unwrap();
    // To this database the model is as new as one that a later version of the program knows.
    let client = database.client().await.unwrap();
    client.batch_execute("DELETE FROM read_model_builds WHERE model = 'grants'; DROP TABLE grants_v1_b1").await.unwrap();
    drop(client);

    let mut running = Running::start(&database, &cloud);
    running.becomes("complete again", |health| health.lag.contains_key("grants")).await;
    let snapshot = database.snapshot(Shown::All).await.unwrap();
    assert_eq!(snapshot.members(tenant, None, 10).await.unwrap().len(), 1);
    drop(snapshot);
    running.stop().await.unwrap();
}
