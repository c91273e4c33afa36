//! Values of the domain as values of PostgreSQL.
//!
//! Two of them do not map one to one. A PostgreSQL text holds no NUL character, and its timestamps begin in the year -4712; both can reach the
//! journal in what a provider or an identity issuer said. One such value must not stop a read model, so it is replaced in the columns by
//! which rows are found. What was said stands unchanged in the row's JSON, in columns of type `json`: `jsonb` would round numbers and refuse NUL.

use crate::snapshot::{ReadError, value};
use chrono::{DateTime, Utc};
use domain::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::borrow::Cow;

/// A text without NUL characters.
pub fn text(s: &str) -> Cow<'_, str> {
    if s.contains('\0') { Cow::Owned(s.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(s) }
}

/// A time within the first 9,999 years, with the microseconds that PostgreSQL keeps.
pub fn time(at: Timestamp) -> Timestamp {
    const FIRST: i64 = -62_135_596_800_000_000;
    const LAST: i64 = 253_402_300_799_999_999;
    DateTime::<Utc>::from_timestamp_micros(at.timestamp_micros().clamp(FIRST, LAST)).expect("within the range of chrono")
}

/// A count as PostgreSQL's signed 64-bit integer; none here comes near its end.
pub fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count read back.
pub fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// The name of a unit variant, as the domain serialises it.
pub fn word<T: Serialize>(variant: &T) -> String {
    match serde_json::to_value(variant) {
        Ok(Value::String(word)) => word,
        other => unreachable!("a unit variant is a word: {other:?}"),
    }
}

/// The unit variant that [`word`] wrote.
pub fn variant<T: DeserializeOwned>(column: &'static str, word: &str) -> Result<T, ReadError> {
    value(column, serde_json::from_value(Value::String(word.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgresql_cannot_hold_is_replaced_and_everything_else_kept() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        assert_eq!(text("plain"), "plain");
        assert_eq!(time(DateTime::<Utc>::MIN_UTC).to_rfc3339(), "0001-01-01T00:00:00+00:00");
        let now = DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a valid time");
        assert_eq!(time(now), now);
    }
}
