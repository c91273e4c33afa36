//! The story of a cloud, told through its clients.

mod durability;
mod faults;
mod http;
mod objects;
mod repeatability;

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

const ZONE: &str = "north-1";

/// Every operation on a server takes 10 s, on anything else 1 s; an attach takes 2 s.
const EVEN_DURATIONS: &str = "source,resource_id,operation,seconds\n\
    -,-,create,10\n-,-,delete,10\n-,-,spawn the instance on the hypervisor,10\n-,-,destroy the instance on the hypervisor,10\n\
    -,-,volume create,1\n-,-,volume delete,1\n-,-,volume attach,2\n";

fn even_durations() -> Latencies {
    Latencies::of_csv(EVEN_DURATIONS, 1.0).unwrap()
}

fn morning() -> DateTime<Utc> {
    "2026-01-05T08:00:00Z".parse().unwrap()
}

/// A cloud in memory at eight in the morning.
fn cloud_with(latencies: Latencies) -> MemoryProvider {
    MemoryProvider::new(Cloud::new(latencies), 7, morning())
}

fn after(seconds: i64) -> DateTime<Utc> {
    morning() + TimeDelta::seconds(seconds)
}

/// A deadline that no test reaches unless it means to.
fn late() -> DateTime<Utc> {
    DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::days(3650)
}

fn named(name: &str) -> NewObject {
    NewObject {
        project: "cell-a".to_owned(),
        name: name.to_owned(),
        properties: json!({ "vcpus": 2 }).as_object().unwrap().clone(),
        tags: [("intent".to_owned(), name.to_owned())].into(),
    }
}

async fn create(provider: &dyn Provider, kind: &str, name: &str) -> Object {
    provider.create(ZONE, kind, named(name), late()).await.done().expect("no fault is in the way")
}

async fn status(provider: &dyn Provider, object: &Object) -> Option<Status> {
    match provider.get(&object.address(), late()).await {
        Outcome::Done(object) => Some(object.status),
        Outcome::Absent => None,
        other => panic!("a look without faults is answered, not {other:?}"),
    }
}

/// Name of the outcome, and what the provider says.
fn told<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
    match outcome {
        Outcome::Done(_) => "done".to_owned(),
        Outcome::Refused { reason, retryable, dimension } => {
            format!(
                "refused{}{}: {reason}",
                if retryable { " for now" } else { "" },
                dimension.map_or(String::new(), |d| format!(" ({d})"))
            )
        }
        Outcome::Busy { reason, .. } => format!("busy: {reason}"),
        Outcome::Absent => "absent".to_owned(),
        Outcome::Unknown { why, .. } => format!("unknown: {why}"),
    }
}

/// A cloud behind HTTP, stopped when it is dropped.
struct Served {
    base: String,
    admin: Admin,
    client: Client,
    _stop: tokio::sync::oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn serve(simulator: Simulator) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let ended = tokio::spawn(simulator.serve(listener, async {
        let _ = stopped.await;
    }));
    let client = Client::new(&base, "worker-1", Duration::ZERO).unwrap();
    Served { admin: Admin::new(&base).unwrap(), base, client, _stop: stop, ended }
}
