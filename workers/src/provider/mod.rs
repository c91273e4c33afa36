//! What every cloud looks like to Cirrus, and a simulated one that is as unpleasant as the real ones.
//!
//! [`Provider`] is the narrow trait that the reconcile engine drives. It promises little, because real clouds promise little:
//!
//! - Names and tags are the client's and need not be unique: two creates make two objects. Only an id names one object.
//! - Nothing is fenced: an old worker's call counts like a new one's.
//! - `Done` says that a call was accepted. What came of it is seen by looking.
//! - A listing may lag behind; [`Provider::settle_time`] bounds by how much.
//! - What was not answered is [`Outcome::Unknown`], never failed.
//!
//! The simulated cloud is one pure state machine, [`Cloud`]: a request, the time and a random generator go in; an answer and the records to keep come
//! out. Around it are two thin shells: [`Simulator`] with HTTP and a state file for a process of its own (reached by [`Client`]), and [`MemoryProvider`]
//! with virtual time for simulation in one thread. It shares no state with Cirrus and knows nothing of its log.

mod answer;
mod calls;
mod client;
mod cloud;
mod fault;
mod latency;
mod memory;
mod object;
mod outcome;
mod request;
mod server;
mod shelf;
mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{FutureExt, future::BoxFuture};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use answer::{Answer, Reply};
pub use calls::{Call, CallQuery, CallReport};
pub use client::{Admin, Client, ClientError};
pub use cloud::{Alteration, Cloud, Record};
pub use fault::{Behaviour, Rule};
pub use latency::{Latencies, LatencyError};
pub use memory::MemoryProvider;
pub use object::{Address, Filter, NewObject, Object, Page, Power, Properties, SERVER, Status, TaskName};
pub use outcome::{Outcome, quota_dimension};
pub use request::{Action, Request, Verb};
pub use server::Simulator;
pub use shelf::Kept;
pub use store::StoreError;

/// One cloud. All calls carry the time after which nothing may be sent and no answer is waited for.
pub trait Provider: Send + Sync {
    /// Asks for a new object. Twice makes two; look by name or tag before asking again.
    fn create<'a>(&'a self, zone: &'a str, kind: &'a str, new: NewObject, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>>;

    /// Shows one object.
    fn get<'a>(&'a self, address: &'a Address, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>>;

    /// One part of a zone's listing, oldest first. `limit` is a wish; the answer may hold fewer and still have a next part.
    fn list<'a>(
        &'a self,
        zone: &'a str,
        filter: Filter,
        limit: usize,
        marker: Option<String>,
        deadline: DateTime<Utc>,
    ) -> BoxFuture<'a, Outcome<Page>>;

    /// Sets the given properties and leaves the others (resize, extend).
    fn change<'a>(&'a self, address: &'a Address, properties: Properties, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>>;

    /// Starts, stops, reboots, attaches or detaches.
    fn act<'a>(&'a self, address: &'a Address, action: Action, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>>;

    /// Deletes; `Absent` means that it was gone already.
    fn delete<'a>(&'a self, address: &'a Address, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<()>>;

    /// How long after the end of a call its effect may still be invisible: at least the lag of the listing.
    fn settle_time(&self) -> Duration;

    /// All objects that match, over all parts of the listing.
    fn find<'a>(&'a self, zone: &'a str, filter: Filter, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Vec<Object>>> {
        async move {
            let mut found = Vec::new();
            let mut marker = None;
            loop {
                match self.list(zone, filter.clone(), 1000, marker, deadline).await {
                    Outcome::Done(page) => {
                        found.extend(page.objects);
                        marker = page.next;
                        if marker.is_none() {
                            return Outcome::Done(found);
                        }
                    }
                    other => return other.map(|_| Vec::new()),
                }
            }
        }
        .boxed()
    }
}

/// A way to put a request to the simulated cloud: over HTTP, or by a function call.
pub trait Transport: Send + Sync {
    /// One call. The value is the body of a success.
    fn send(&self, request: Request, deadline: DateTime<Utc>) -> BoxFuture<'_, Outcome<Value>>;

    /// See [`Provider::settle_time`].
    fn settle_time(&self) -> Duration;
}

impl<T: Transport> Provider for T {
    fn create<'a>(&'a self, zone: &'a str, kind: &'a str, new: NewObject, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>> {
        let request = Request::Create { zone: zone.to_owned(), kind: kind.to_owned(), new };
        self.send(request, deadline).map(read).boxed()
    }

    fn get<'a>(&'a self, address: &'a Address, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>> {
        self.send(Request::Get { address: address.clone() }, deadline).map(read).boxed()
    }

    fn list<'a>(
        &'a self,
        zone: &'a str,
        filter: Filter,
        limit: usize,
        marker: Option<String>,
        deadline: DateTime<Utc>,
    ) -> BoxFuture<'a, Outcome<Page>> {
        self.send(Request::List { zone: zone.to_owned(), filter, limit, marker }, deadline).map(read).boxed()
    }

    fn change<'a>(&'a self, address: &'a Address, properties: Properties, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>> {
        self.send(Request::Change { address: address.clone(), properties }, deadline).map(read).boxed()
    }

    fn act<'a>(&'a self, address: &'a Address, action: Action, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<Object>> {
        self.send(Request::Act { address: address.clone(), action }, deadline).map(read).boxed()
    }

    fn delete<'a>(&'a self, address: &'a Address, deadline: DateTime<Utc>) -> BoxFuture<'a, Outcome<()>> {
        self.send(Request::Delete { address: address.clone() }, deadline).map(|outcome| outcome.map(|_| ())).boxed()
    }

    fn settle_time(&self) -> Duration {
        Transport::settle_time(self)
    }
}

/// A success whose body cannot be read has had its effect all the same, so it is not known what happened.
fn read<V: DeserializeOwned>(outcome: Outcome<Value>) -> Outcome<V> {
    outcome.and_then(|body| match serde_json::from_value(body) {
        Ok(value) => Outcome::Done(value),
        Err(error) => Outcome::unknown(format!("the answer cannot be read: {error}")),
    })
}

#[cfg(test)]
mod tests;
