//! How much one caller and one tenant may ask of the API, before anything reaches the log.
//!
//! [`RefusalLimit`] slows down callers whose requests are refused again and again: a refused command is a record on the journal for
//! ever, and a caller who guesses ids or tokens is to learn little. Requests that succeed never count. [`InFlight`] bounds the requests
//! under way, in all and for each tenant, so that one tenant cannot take the places of all others.

use crate::problem::{Problem, ProblemType};
use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Callers share this many places, by a hash with a seed of this process: memory is bounded whatever is sent (about 5 MiB), nobody can
/// choose whom to share a place with, and an honest caller shares an offender's place once in 65,536.
const PLACES: usize = 1 << 16;

/// A limit of refused requests a caller (GCRA: a burst, then a steady rate).
pub struct RefusalLimit<C: Clock = DefaultClock> {
    refusals: RateLimiter<usize, DashMapStateStore<usize>, C, NoOpMiddleware<C::Instant>>,
    seed: RandomState,
    clock: C,
    begin: C::Instant,
    /// Until when each place is closed, in nanoseconds since `begin`.
    closed: Box<[AtomicU64]>,
}

impl RefusalLimit {
    /// Allows a caller `burst` refusals at once and `per_minute` of them in the long run.
    pub fn new(per_minute: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::with_clock(per_minute, burst, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RefusalLimit<C> {
    /// The same with a clock of the caller's.
    pub fn with_clock(per_minute: NonZeroU32, burst: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        Self {
            refusals: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            seed: RandomState::new(),
            begin: clock.now(),
            clock,
            closed: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Asked before a request is looked at.
    ///
    /// # Errors
    /// 429 with `Retry-After` while the caller has been refused too often.
    pub fn admit(&self, caller: &impl Hash) -> Result<(), Problem> {
        let closed_until = self.closed[self.place(caller)].load(Ordering::Relaxed);
        let wait = closed_until.saturating_sub(self.now());
        if wait == 0 {
            return Ok(());
        }
        Err(Problem::new(ProblemType::TooManyRefusals).retry_after(Duration::from_nanos(wait)))
    }

    /// Told after each refusal: unauthenticated, without a grant, forbidden, or refused by the decider.
    pub fn refused(&self, caller: &impl Hash) {
        let place = self.place(caller);
        if let Err(not_until) = self.refusals.check_key(&place) {
            let until = not_until.earliest_possible().duration_since(self.begin);
            self.closed[place].fetch_max(until.into(), Ordering::Relaxed);
        }
    }

    fn place(&self, caller: &impl Hash) -> usize {
        (self.seed.hash_one(caller) % PLACES as u64) as usize
    }

    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.begin).into()
    }
}

/// A limit of requests under way, in all and a tenant.
#[derive(Debug, Clone)]
pub struct InFlight {
    inner: Arc<Counts>,
}

#[derive(Debug)]
struct Counts {
    a_tenant: u32,
    in_all: u32,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    total: u32,
    /// Only tenants with a request under way, so never more than `in_all`.
    by_tenant: HashMap<Uuid, u32>,
}

impl InFlight {
    /// Allows `a_tenant` requests at once to each tenant and `in_all` to all together.
    pub fn new(a_tenant: u32, in_all: u32) -> Self {
        Self { inner: Arc::new(Counts { a_tenant, in_all, under_way: Mutex::default() }) }
    }

    /// Takes a place until the permit is dropped.
    ///
    /// Ask when it is known that the caller belongs to the tenant: asked before, strangers could fill the tenant's places, and would
    /// learn from a 429 that it exists.
    ///
    /// # Errors
    /// 429 when the tenant has no place left, 503 when the process has none; both with `Retry-After`.
    pub fn enter(&self, tenant: Uuid) -> Result<Permit, Problem> {
        let mut under_way = self.inner.lock();
        let busy = |kind| Problem::new(kind).retry_after(Duration::from_secs(1));
        if under_way.total >= self.inner.in_all {
            return Err(busy(ProblemType::Overloaded));
        }
        if under_way.by_tenant.get(&tenant).is_some_and(|count| *count >= self.inner.a_tenant) {
            return Err(
                busy(ProblemType::TooManyRequests).detail(format!("{} requests of this tenant are under way.", self.inner.a_tenant))
            );
        }
        under_way.total += 1;
        *under_way.by_tenant.entry(tenant).or_default() += 1;
        Ok(Permit { counts: Arc::clone(&self.inner), tenant })
    }

    /// How many requests are under way, for the metrics.
    pub fn total(&self) -> u32 {
        self.inner.lock().total
    }
}

impl Counts {
    fn lock(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        // The counts are whole after every statement, so a panic elsewhere does not spoil them.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the requests under way; dropping it, also by cancellation, gives it back.
#[derive(Debug)]
#[must_use = "the place is given back when the permit is dropped"]
pub struct Permit {
    counts: Arc<Counts>,
    tenant: Uuid,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut under_way = self.counts.lock();
        under_way.total -= 1;
        if let Some(count) = under_way.by_tenant.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                under_way.by_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse;
    use governor::clock::FakeRelativeClock;

    fn retry_after(problem: Problem) -> u64 {
        problem.into_response().headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap()
    }

    fn limit(clock: &FakeRelativeClock) -> RefusalLimit<FakeRelativeClock> {
        RefusalLimit::with_clock(NonZeroU32::new(6).unwrap(), NonZeroU32::new(3).unwrap(), clock.clone())
    }

    #[test]
    fn a_caller_who_is_refused_too_often_waits_while_others_go_on() {
        let clock = FakeRelativeClock::default();
        let limit = limit(&clock);

        for _ in 0..3 {
            assert!(limit.admit(&"mallory").is_ok());
            limit.refused(&"mallory");
        }
        assert!(limit.admit(&"mallory").is_ok(), "the burst itself is allowed");
        limit.refused(&"mallory");

        let problem = limit.admit(&"mallory").unwrap_err();
        assert_eq!(problem.kind(), ProblemType::TooManyRefusals);
        assert_eq!(retry_after(problem), 10);
        assert!(limit.admit(&"ada").is_ok());

        clock.advance(Duration::from_secs(10));
        assert!(limit.admit(&"mallory").is_ok());
    }

    #[test]
    fn requests_that_succeed_never_count() {
        let limit = limit(&FakeRelativeClock::default());
        for _ in 0..1_000 {
            assert!(limit.admit(&"ada").is_ok());
        }
    }

    #[test]
    fn a_million_callers_take_no_more_memory_than_the_places() {
        let limit = limit(&FakeRelativeClock::default());
        for caller in 0..1_000_000_u32 {
            limit.refused(&caller);
        }
        assert!(limit.refusals.len() <= PLACES);
    }

    #[test]
    fn a_tenant_that_has_taken_all_its_places_leaves_those_of_others() {
        let in_flight = InFlight::new(2, 10);
        let (busy, calm) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = in_flight.enter(busy).unwrap();
        let _second = in_flight.enter(busy).unwrap();

        let problem = in_flight.enter(busy).unwrap_err();
        assert_eq!(problem.kind(), ProblemType::TooManyRequests);
        assert_eq!(retry_after(problem), 1);
        let _other = in_flight.enter(calm).unwrap();

        drop(first);
        let _again = in_flight.enter(busy).unwrap();
    }

    #[test]
    fn a_full_process_answers_503_and_forgets_tenants_without_requests() {
        let in_flight = InFlight::new(2, 3);
        let permits: Vec<Permit> = (0..3).map(|tenant| in_flight.enter(Uuid::from_u128(tenant)).unwrap()).collect();

        assert_eq!(in_flight.enter(Uuid::from_u128(9)).unwrap_err().kind(), ProblemType::Overloaded);

        drop(permits);
        assert_eq!(in_flight.total(), 0);
        assert!(in_flight.inner.lock().by_tenant.is_empty());
    }
}
