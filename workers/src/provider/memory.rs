//! The simulated cloud without HTTP, files and real time, for simulation in one thread.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{FutureExt, future::BoxFuture};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::{Transport, answer::Answer, cloud::Cloud, outcome::Outcome, request::Request};

/// A client of a cloud in memory. Clones reach the same cloud.
///
/// Its time stands still until [`Self::advance_to`]. Every call is ready at once: what would never be answered, or only after the deadline, is
/// `Unknown` right away, and its effect on the cloud is the same as over HTTP.
#[derive(Debug, Clone)]
pub struct MemoryProvider {
    shared: Arc<Mutex<Shared>>,
    caller: String,
    settle_time: Duration,
}

#[derive(Debug)]
struct Shared {
    cloud: Cloud,
    rng: StdRng,
    now: DateTime<Utc>,
}

impl MemoryProvider {
    /// A client of this cloud, whose chance comes from `seed` and whose time begins with `now`.
    #[must_use]
    pub fn new(cloud: Cloud, seed: u64, now: DateTime<Utc>) -> Self {
        let shared = Shared { cloud, rng: StdRng::seed_from_u64(seed), now };
        Self { shared: Arc::new(Mutex::new(shared)), caller: "memory".to_owned(), settle_time: Duration::ZERO }
    }

    /// The same cloud under another caller's name, as the journal of calls shows it.
    #[must_use]
    pub fn as_caller(&self, caller: impl Into<String>) -> Self {
        Self { caller: caller.into(), ..self.clone() }
    }

    /// The same cloud with another settle time.
    #[must_use]
    pub fn with_settle_time(self, settle_time: Duration) -> Self {
        Self { settle_time, ..self }
    }

    /// Moves the time on; it does not go back.
    pub fn advance_to(&self, now: DateTime<Utc>) {
        self.with(|shared| shared.now = shared.now.max(now));
    }

    /// Reaches the cloud behind the client's back: faults, vanishing, the journal of calls.
    pub fn cloud<T>(&self, f: impl FnOnce(&mut Cloud, DateTime<Utc>) -> T) -> T {
        self.with(|shared| {
            let answer = f(&mut shared.cloud, shared.now);
            shared.cloud.drain();
            answer
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Shared) -> T) -> T {
        f(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transport for MemoryProvider {
    fn send(&self, request: Request, deadline: DateTime<Utc>) -> BoxFuture<'_, Outcome<Value>> {
        let outcome = self.with(|shared| {
            let Shared { cloud, rng, now } = shared;
            if *now >= deadline {
                return Outcome::not_sent();
            }
            let answer = cloud.handle(&self.caller, &request, *now, rng);
            cloud.drain();
            match answer {
                Answer::Reply(reply, late) if *now + late < deadline => Outcome::of_answer(reply.status, reply.retry_after, reply.body),
                Answer::Reply(..) | Answer::Silence => Outcome::unknown("no answer before the deadline"),
                Answer::Cut => Outcome::unknown("the connection was cut"),
            }
        });
        futures::future::ready(outcome).boxed()
    }

    fn settle_time(&self) -> Duration {
        self.settle_time
    }
}
