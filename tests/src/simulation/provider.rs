//! The way to the simulated cloud and back: calls are under way, arrive although their caller is dead, and are answered late or never.

use super::time::{Local, Time};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use journal::environment::Environment;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;
use workers::provider::{Cloud, Latencies, MemoryProvider, Outcome, Request, Transport};

/// How long an effect may stay invisible after a call has ended: the lag of listings and the difference of two clocks, and some more.
pub const SETTLE: Duration = Duration::from_secs(6);
/// How far listings lag behind while faults are on.
pub const LAG_S: f64 = 2.0;

const LATENCIES: &str = "source,resource_id,operation,seconds\na,1,create,0.5\na,2,create,8\na,3,delete,0.2\na,3,delete,3\n\
    b,1,spawn the instance on the hypervisor,4\nb,1,destroy the instance on the hypervisor,1\na,4,volume create,0.1\na,4,volume attach,0.2\na,4,volume delete,0.3\n";

/// The cloud and all calls under way.
#[derive(Clone)]
pub struct Far {
    pub cloud: MemoryProvider,
    time: Time,
    ways: Arc<Mutex<Ways>>,
}

/// A call as the history tells it.
fn line(caller: &str, request: &Request, outcome: &Outcome<Value>) -> String {
    let about = match request {
        Request::Create { new, .. } => new.name.clone(),
        Request::List { filter, .. } => filter.name.clone().unwrap_or_default(),
        other => other.address().map_or_else(String::new, |address| address.id.clone()),
    };
    let came = match outcome {
        Outcome::Done(body) => body.to_string(),
        other => format!("{other:?}"),
    };
    format!("the provider is asked by {caller} to {} {about}: {came}", request.verb().as_str())
}

struct Ways {
    under_way: BTreeMap<(DateTime<Utc>, u64), Leg>,
    calls: u64,
    told: Vec<String>,
    slow: bool,
    random: StdRng,
}

enum Leg {
    There(String, MemoryProvider, Box<Request>, DateTime<Utc>, oneshot::Sender<Outcome<Value>>),
    Back(Outcome<Value>, oneshot::Sender<Outcome<Value>>),
}

impl Far {
    pub fn new(time: &Time, seed: u64) -> Self {
        let cloud = Cloud::new(Latencies::of_csv(LATENCIES, 1.0).unwrap());
        let cloud = MemoryProvider::new(cloud, seed, time.now()).with_settle_time(SETTLE);
        let random = StdRng::seed_from_u64(seed + 1);
        let ways = Ways { under_way: BTreeMap::new(), calls: 0, told: Vec::new(), slow: true, random };
        Self { cloud, time: time.clone(), ways: Arc::new(Mutex::new(ways)) }
    }

    /// From now on calls take no time.
    pub fn hurry(&self) {
        self.ways.lock().unwrap().slow = false;
    }

    /// Whoever is called so gets to the cloud this way.
    pub fn from(&self, caller: &str, environment: &Arc<Local>) -> Caller {
        Caller { name: caller.to_owned(), far: self.clone(), cloud: self.cloud.as_caller(caller), environment: Arc::clone(environment) }
    }

    /// Lets everything arrive that is due, and tells it.
    pub fn advance(&self, told: &mut Vec<String>) {
        let now = self.time.now();
        loop {
            let Some(((at, _), leg)) = ({
                let mut ways = self.ways.lock().unwrap();
                let due = ways.under_way.first_key_value().is_some_and(|((at, _), _)| *at <= now);
                if due { ways.under_way.pop_first() } else { None }
            }) else {
                break;
            };
            match leg {
                Leg::There(caller, cloud, request, deadline, answer) => {
                    cloud.advance_to(at);
                    let sent = Transport::send(&cloud, Request::clone(&request), deadline);
                    let outcome = sent.now_or_never().expect("a cloud in memory answers at once");
                    let mut ways = self.ways.lock().unwrap();
                    ways.told.push(line(&caller, &request, &outcome));
                    let back = at + ways.delay();
                    ways.start(back, Leg::Back(outcome, answer));
                }
                // Whoever asked may be dead.
                Leg::Back(outcome, answer) => drop(answer.send(outcome)),
            }
        }
        self.cloud.advance_to(now);
        told.append(&mut self.ways.lock().unwrap().told);
    }
}

impl Ways {
    fn delay(&mut self) -> TimeDelta {
        match self.random.random_range(0..20) {
            _ if !self.slow => TimeDelta::milliseconds(1),
            0 => TimeDelta::milliseconds(self.random.random_range(0..40_000)),
            1..5 => TimeDelta::milliseconds(self.random.random_range(0..3_000)),
            _ => TimeDelta::milliseconds(self.random.random_range(0..200)),
        }
    }

    fn start(&mut self, at: DateTime<Utc>, leg: Leg) {
        self.calls += 1;
        self.under_way.insert((at, self.calls), leg);
    }
}

/// One client of the cloud.
pub struct Caller {
    name: String,
    far: Far,
    cloud: MemoryProvider,
    environment: Arc<Local>,
}

impl Transport for Caller {
    fn send(&self, request: Request, deadline: DateTime<Utc>) -> BoxFuture<'_, Outcome<Value>> {
        let (answer, answered) = oneshot::channel();
        let truly = self.environment.truly(deadline);
        {
            let mut ways = self.far.ways.lock().unwrap();
            let there = self.far.time.now() + ways.delay();
            // What has not arrived when its caller gives up never does: that is what the settle time of a provider promises.
            if there < truly {
                ways.start(there, Leg::There(self.name.clone(), self.cloud.clone(), Box::new(request), truly, answer));
            }
        }
        let patience = (deadline - self.environment.now()).to_std().unwrap_or_default();
        async move {
            match select(answered, self.environment.sleep(patience)).await {
                Either::Left((Ok(outcome), _)) => outcome,
                // It was dropped on its way: the caller learns that only from its clock.
                Either::Left((Err(_), rest)) => {
                    rest.await;
                    Outcome::unknown("no answer before the deadline")
                }
                Either::Right(_) => Outcome::unknown("no answer before the deadline"),
            }
        }
        .boxed()
    }

    fn settle_time(&self) -> Duration {
        SETTLE
    }
}
