//! A provider that is not asked more often than it likes.

use crate::provider::{Outcome, Request, Transport};
use chrono::{DateTime, Utc};
use futures::{FutureExt, future::BoxFuture};
use governor::{DefaultDirectRateLimiter, Jitter, Quota, RateLimiter};
use serde_json::Value;
use std::{num::NonZeroU32, time::Duration};

/// Waits before each call until the rate allows it. A call whose deadline passes meanwhile is not made.
pub struct Paced<T> {
    inner: T,
    limit: DefaultDirectRateLimiter,
}

/// Calls that wait for the same moment spread over this long.
const JITTER: Duration = Duration::from_millis(20);

impl<T> Paced<T> {
    /// At most so many calls a second.
    pub fn new(inner: T, calls_per_second: NonZeroU32) -> Self {
        Self { inner, limit: RateLimiter::direct(Quota::per_second(calls_per_second)) }
    }
}

impl<T: Transport> Transport for Paced<T> {
    fn send(&self, request: Request, deadline: DateTime<Utc>) -> BoxFuture<'_, Outcome<Value>> {
        async move {
            self.limit.until_ready_with_jitter(Jitter::up_to(JITTER)).await;
            if Utc::now() >= deadline {
                return Outcome::Busy { reason: "too many calls were waiting".to_owned(), retry_after: None };
            }
            self.inner.send(request, deadline).await
        }
        .boxed()
    }

    fn settle_time(&self) -> Duration {
        self.inner.settle_time()
    }
}
