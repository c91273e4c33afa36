//! Virtual time, and what one process makes of it.

use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt, future::BoxFuture};
use journal::environment::Environment;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, Waker},
    time::Duration,
};
use uuid::Uuid;

/// The time of the whole simulation. Stands still until it is advanced.
#[derive(Clone)]
pub struct Time(Arc<Mutex<Timers>>);

struct Timers {
    now: DateTime<Utc>,
    asleep: BTreeMap<(DateTime<Utc>, u64), Waker>,
    slept: u64,
}

impl Time {
    pub fn new(now: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(Timers { now, asleep: BTreeMap::new(), slept: 0 })))
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.lock().now
    }

    /// Moves on, and wakes who slept until then.
    pub fn advance(&self, by: TimeDelta) {
        let awake = {
            let mut timers = self.lock();
            timers.now += by;
            let later = (timers.now + TimeDelta::nanoseconds(1), 0);
            let asleep = timers.asleep.split_off(&later);
            std::mem::replace(&mut timers.asleep, asleep)
        };
        awake.into_values().for_each(Waker::wake);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (time, key) = {
            let mut timers = self.lock();
            timers.slept += 1;
            (self.clone(), (timers.now + duration, timers.slept))
        };
        poll_fn(move |context| {
            let mut timers = time.lock();
            if timers.now >= key.0 {
                return Poll::Ready(());
            }
            timers.asleep.insert(key, context.waker().clone());
            Poll::Pending
        })
        .boxed()
    }

    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap()
    }
}

/// The environment of one process: its own clock and its own chance.
pub struct Local {
    time: Time,
    began: DateTime<Utc>,
    skew: TimeDelta,
    random: Mutex<StdRng>,
}

impl Local {
    /// `skew` is how far its clock is ahead.
    pub fn new(time: &Time, skew: TimeDelta, seed: u64) -> Arc<Self> {
        Arc::new(Self { time: time.clone(), began: time.now(), skew, random: Mutex::new(StdRng::seed_from_u64(seed)) })
    }

    /// What the true time will be when this process' clock shows `local`.
    pub fn truly(&self, local: DateTime<Utc>) -> DateTime<Utc> {
        local - self.skew
    }
}

impl Environment for Local {
    fn now(&self) -> DateTime<Utc> {
        self.time.now() + self.skew
    }

    fn uptime(&self) -> Duration {
        (self.time.now() - self.began).to_std().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.time.sleep(duration)
    }

    fn draw(&self) -> Uuid {
        drawn(&mut self.random.lock().unwrap())
    }
}

/// A version 4 UUID out of a seed.
pub fn drawn(random: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(random.random()).into_uuid()
}
