//! A database of a test's own, with builds that the test fills by hand.

use projections::{
    build::{self, Build, CarryError},
    commit::Batch,
    database::{Database, Settings},
    digest,
    model::ALL,
    snapshot::{Shown, Snapshot},
};
use schemas::record::Digest;
use std::collections::BTreeMap;
use tests::{
    cloud::{Cloud, together},
    servers::Postgres,
};

/// An empty database that belongs to the journal of `cloud`.
pub async fn database(cloud: &Cloud) -> Database {
    let database = Database::connect(&Settings::new(Postgres::shared().database())).unwrap();
    database.migrate().await.unwrap();
    database.remember(&cloud.journal).await.unwrap();
    database
}

/// A build of every read model.
pub async fn builds(database: &Database, cloud: &Cloud, number: i32, current: bool) -> Vec<Build> {
    let mut client = database.client().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let mut builds = Vec::new();
    for model in ALL {
        builds.push(Build::create(&tx, model, number, &cloud.journal, current).await.unwrap());
    }
    tx.commit().await.unwrap();
    builds
}

/// Applies batches in one transaction.
pub async fn apply(database: &Database, builds: &mut [Build], batches: &[Batch]) -> Result<(), CarryError> {
    let mut client = database.client().await.unwrap();
    let tx = client.transaction().await?;
    let moved = build::apply(&tx, builds, batches).await?;
    tx.commit().await?;
    moved.note(builds);
    Ok(())
}

/// Read models that show all that happened in `cloud`, with the database that they live in.
pub async fn shown(cloud: &Cloud) -> Shows {
    let database = database(cloud).await;
    let mut builds = builds(&database, cloud, 1, true).await;
    apply(&database, &mut builds, &together(&cloud.records)).await.unwrap();
    Shows { applied: cloud.records.len(), database, builds }
}

/// Read models that follow a cloud when they are told to.
pub struct Shows {
    pub database: Database,
    pub builds: Vec<Build>,
    applied: usize,
}

impl Shows {
    pub async fn snapshot(&self) -> Snapshot {
        self.database.snapshot(Shown::All).await.unwrap()
    }

    /// Applies what has happened since.
    pub async fn follow(&mut self, cloud: &Cloud) {
        apply(&self.database, &mut self.builds, &together(&cloud.records[self.applied..])).await.unwrap();
        self.applied = cloud.records.len();
    }
}

/// The digest of each read model in this build.
pub async fn digests(database: &Database, build: Option<i32>) -> BTreeMap<&'static str, (Digest, u64)> {
    let mut digests = BTreeMap::new();
    for model in ALL {
        let found = digest::of(database, model, build).await.unwrap().expect("the build exists");
        digests.insert(model.name(), (found.digest, found.rows));
    }
    digests
}
