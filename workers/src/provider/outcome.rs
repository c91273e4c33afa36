//! What a client may conclude from a provider's answer, or from the lack of one.
//!
//! The five outcomes differ in what is known about the world afterwards, and that alone decides what may be done next:
//!
//! | outcome | the call | next |
//! |---|---|---|
//! | `Done` | took effect, or is under way | look until it settles |
//! | `Refused` | had no effect and will not have | tell the customer, or plan anew |
//! | `Busy` | had no effect | the same call later |
//! | `Absent` | the object is not there | a delete is done; anything else plans anew |
//! | `Unknown` | may have had its effect, may have it yet | look, after the settle time |
//!
//! An answer counts as `Refused`, `Busy` or `Absent` only when the service itself says so with a 4xx status. Every 5xx, also 503, is `Unknown`: a
//! proxy in front of a service answers it after the service has done its work.

use std::time::Duration;

use serde_json::Value;

/// What is known after a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// Accepted; for a create, change or delete the work may still be under way.
    Done(T),
    /// The provider will not do it; nothing was done.
    Refused {
        /// In the provider's words.
        reason: String,
        /// The same call may succeed later although nothing about it changes (quota, state of the object).
        retryable: bool,
        /// The provider's quota that stood in the way, in the provider's word for it.
        dimension: Option<String>,
    },
    /// Not now: another task is under way, or the caller is too fast. Nothing was done.
    Busy {
        /// In the provider's words.
        reason: String,
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The object that the call names is not there.
    Absent,
    /// Nobody knows whether it was done.
    Unknown {
        /// Time-out, connection cut, or the 5xx answer.
        why: String,
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
    },
}

impl<T> Outcome<T> {
    /// The same conclusion about another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        self.and_then(|value| Outcome::Done(f(value)))
    }

    /// Goes on only when the call was done.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Outcome<U>) -> Outcome<U> {
        match self {
            Self::Done(value) => f(value),
            Self::Refused { reason, retryable, dimension } => Outcome::Refused { reason, retryable, dimension },
            Self::Busy { reason, retry_after } => Outcome::Busy { reason, retry_after },
            Self::Absent => Outcome::Absent,
            Self::Unknown { why, retry_after } => Outcome::Unknown { why, retry_after },
        }
    }

    /// The value of a call that was done.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            _ => None,
        }
    }

    /// Nobody knows whether it was done.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// An outcome of which only the reason is known.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into(), retry_after: None }
    }

    /// The outcome of a call whose deadline had passed before it was sent: nothing was done.
    #[must_use]
    pub fn not_sent() -> Self {
        Self::Busy { reason: "the deadline had passed, so nothing was sent".to_owned(), retry_after: None }
    }
}

impl Outcome<Value> {
    /// Reads a complete answer: HTTP status, `Retry-After` in seconds, body.
    #[must_use]
    pub fn of_answer(status: u16, retry_after: Option<u64>, body: Value) -> Self {
        let retry_after = retry_after.map(Duration::from_secs);
        if (200..300).contains(&status) {
            return Self::Done(body);
        }
        let said = message(&body);
        let reason = said.map_or_else(|| format!("the provider answered {status}"), str::to_owned);
        let dimension = quota_dimension(&reason);
        match status {
            404 if said.is_some() => Self::Absent,
            // Something on the way, or a wrong address, has answered in place of the service.
            404 => Self::unknown("a 404 that no service of the provider has given"),
            408 | 500.. => Self::Unknown { why: format!("{status}: {reason}"), retry_after },
            429 => Self::Busy { reason, retry_after },
            409 if reason.contains("task_state") => Self::Busy { reason, retry_after },
            400..500 => Self::Refused { retryable: dimension.is_some() || status == 409, reason, dimension },
            _ => Self::unknown(format!("{status}: {reason}")),
        }
    }
}

/// The text of an OpenStack error: `{"forbidden": {"code": 403, "message": "..."}}`, whatever the outer name is.
fn message(body: &Value) -> Option<&str> {
    body.as_object()?.values().find_map(|error| error.get("message")?.as_str())
}

/// Which quota an error text speaks of. OpenStack tells it in prose only, each service in its own.
///
/// - Nova: `Quota exceeded for cores: Requested 4, but already used 1 of 3 cores`
/// - Neutron: `Quota exceeded for resources: ['floatingip'].`
/// - Cinder: `VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. ...`, and
///   `VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'.`
#[must_use]
pub fn quota_dimension(text: &str) -> Option<String> {
    let between = |from: &str, to: &str| {
        let start = text.find(from)? + from.len();
        let length = text[start..].find(to)?;
        Some(text[start..start + length].to_owned())
    };
    between("Quota exceeded for resources: ['", "'")
        .or_else(|| between("Quota exceeded for ", ":"))
        .or_else(|| between("exceeds allowed ", " quota"))
        .or_else(|| between("exceeded for quota '", "'"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_service_tells_its_quota_in_its_own_prose() {
        let cases = [
            ("Quota exceeded for cores: Requested 4, but already used 1 of 3 cores", Some("cores")),
            ("Quota exceeded for resources: ['floatingip'].", Some("floatingip")),
            (
                "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. Requested 1000G",
                Some("gigabytes"),
            ),
            ("VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'.", Some("volumes")),
            ("Instance x could not be found.", None),
        ];
        for (text, dimension) in cases {
            assert_eq!(quota_dimension(text).as_deref(), dimension, "{text}");
        }
    }

    #[test]
    fn a_404_from_a_wrong_address_is_not_taken_for_a_delete_that_is_done() {
        assert!(Outcome::of_answer(404, None, Value::Null).is_unknown());
    }

    #[test]
    fn only_a_4xx_of_the_service_itself_counts_as_not_done() {
        let answer = |status| Outcome::of_answer(status, None, json!({"error": {"code": status, "message": "said so"}}));
        assert!(matches!(answer(202), Outcome::Done(_)));
        assert!(matches!(answer(400), Outcome::Refused { retryable: false, .. }));
        assert!(matches!(answer(404), Outcome::Absent));
        assert!(matches!(answer(409), Outcome::Refused { retryable: true, .. }));
        assert!(matches!(answer(429), Outcome::Busy { .. }));
        for status in [408, 500, 502, 503, 504, 599, 302] {
            assert!(answer(status).is_unknown(), "{status}");
        }
    }
}
