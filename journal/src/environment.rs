//! What parts of Cirrus take from outside beside logs and databases: time, waiting and chance.
//!
//! In production it is the operating system's. A simulation hands out virtual time, skews a process' clock, and draws from a seed, so that the same
//! code runs the same way twice.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

/// Time, waiting and chance of one process.
pub trait Environment: Send + Sync {
    /// The time of day, as this process' clock has it.
    fn now(&self) -> DateTime<Utc>;

    /// Time since some moment of its own; unlike the time of day it never jumps.
    fn uptime(&self) -> Duration;

    /// Waits so long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// 128 random bits, with those of a version 4 UUID in their place.
    fn draw(&self) -> Uuid;
}

/// The operating system's. Waiting needs a tokio runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

/// A moment of this process; the first one that anybody asked about.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Environment for System {
    fn now(&self) -> DateTime<Utc> {
        std::time::SystemTime::now().into()
    }

    fn uptime(&self) -> Duration {
        STARTED.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn draw(&self) -> Uuid {
        Uuid::new_v4()
    }
}
