//! What every write carries beside its body: who, under which key, and with which wishes.

use crate::{
    auth::{Authenticator, Caller},
    idempotency::{IdempotencyKey, RequestContent},
    position::{Positions, Tokens},
    problem::{Problem, ProblemType},
};
use axum::{
    extract::{FromRef, FromRequestParts, MatchedPath, Query, RawPathParams},
    http::{HeaderMap, HeaderName, header::IF_MATCH, request::Parts},
};
use domain::Timestamp;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tower_http::request_id::RequestId;

/// The request header with the position tokens that an answer must not be older than.
pub const AT_LEAST: HeaderName = HeaderName::from_static("cirrus-at-least");
/// The request header with the time at which something happened, for tenants with the effective clock.
pub const EFFECTIVE_AT: HeaderName = HeaderName::from_static("cirrus-effective-at");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A write, but for its body and its command.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    /// Which request the caller means.
    pub key: IdempotencyKey,
    /// Method and route template, `POST /v1/tenants/{tenant}/resources`.
    pub route: String,
    /// What has to be equal in every repetition.
    pub content: RequestContent,
    /// How long to wait for the outcome.
    pub patience: Patience,
    /// Only say what would become of it.
    pub validate_only: bool,
    /// On which generation it is to be done.
    pub if_match: IfMatch,
    /// When it happened.
    pub at: Option<Timestamp>,
    /// What the read models must have seen before the request is looked at.
    pub at_least: Positions,
    /// Id of the HTTP request.
    pub request_id: String,
    /// W3C trace context, if a valid one was sent.
    pub traceparent: Option<String>,
    /// Parameters of the query that nobody has read yet.
    unread: Vec<(String, String)>,
}

/// How long a caller wants to wait (RFC 7240).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until then the answer is the outcome.
    pub wait: Duration,
    /// The outcome is still wanted long after that.
    pub respond_async: bool,
}

/// `If-Match` (RFC 9110, section 13.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch {
    /// No condition, or `*`: the decider says whether there is anything.
    Any,
    /// This generation.
    Generation(u64),
    /// A tag that no resource ever has, weak ones included: they match nothing in this comparison.
    Nothing,
}

impl Asked {
    /// The same with this body, which the fingerprint covers.
    #[must_use]
    pub fn with_body(mut self, document: Value) -> Self {
        self.content.body = Some(document);
        self
    }

    /// A parameter of the query that is `true` or `false`, and false when absent.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.optional(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong_parameter(name, "is true or false")),
        }
    }

    /// A parameter of the query that has to be there once.
    ///
    /// # Errors
    /// 400 that names it.
    pub fn parameter(&mut self, name: &str) -> Result<String, Problem> {
        self.optional(name)?.ok_or_else(|| wrong_parameter(name, "is missing"))
    }

    /// A parameter of the query that may be there once.
    ///
    /// # Errors
    /// 400 that names it.
    pub fn optional(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut said = self.unread.extract_if(.., |(n, _)| n == name).map(|(_, value)| value);
        match (said.next(), said.next()) {
            (value, None) => Ok(value),
            _ => Err(wrong_parameter(name, "is given more than once")),
        }
    }

    /// Refuses a request with a parameter that no one has asked for: a misspelt wish must not be passed over.
    ///
    /// # Errors
    /// 400 that names it.
    pub fn finish_query(&self) -> Result<(), Problem> {
        match self.unread.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::new(ProblemType::InvalidParameter)
                .detail("There is no such parameter here.")
                .with("parameter", name.chars().take(100).collect::<String>())),
        }
    }

    /// The generation that the caller has seen, for a resource.
    ///
    /// # Errors
    /// 412 for a tag that no resource has.
    pub fn if_generation(&self) -> Result<Option<u64>, Problem> {
        match self.if_match {
            IfMatch::Any => Ok(None),
            IfMatch::Generation(generation) => Ok(Some(generation)),
            IfMatch::Nothing => Err(Problem::new(ProblemType::PreconditionFailed).detail("No generation has this entity tag.")),
        }
    }

    /// Refuses a condition on something that has no entity tag.
    ///
    /// # Errors
    /// 412.
    pub fn unconditional(&self) -> Result<(), Problem> {
        match self.if_match {
            IfMatch::Any => Ok(()),
            _ => Err(Problem::new(ProblemType::PreconditionFailed).detail("Only resources have entity tags.")),
        }
    }
}

/// A parameter of the query that cannot be used.
pub fn wrong_parameter(name: &str, problem: &str) -> Problem {
    Problem::new(ProblemType::InvalidParameter).detail(format!("The parameter {name} {problem}.")).with("parameter", name)
}

impl<S: Send + Sync> FromRequestParts<S> for Asked
where
    Arc<Authenticator>: FromRef<S>,
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let key = IdempotencyKey::from_headers(&parts.headers)?;
        let template = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let route = format!("{} {template}", parts.method);
        let path = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ProblemType::NotFound)?;
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)?;
        let headers = &parts.headers;
        let if_match = headers.get(IF_MATCH).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let content = RequestContent { path, if_match: if_match.clone(), ..RequestContent::default() };
        let wishes = query.iter().filter(|(name, _)| name != "validate_only");
        let content = content.with_query(wishes.map(|(name, value)| (name.as_str(), value.as_str())));
        let mut asked = Self {
            caller,
            key,
            route,
            content,
            patience: patience(headers),
            validate_only: false,
            if_match: parse_if_match(headers)?,
            at: effective_at(headers)?,
            at_least: at_least(headers, &Tokens::from_ref(state))?,
            request_id: request_id(parts),
            traceparent: traceparent(headers),
            unread: query,
        };
        asked.validate_only = asked.flag("validate_only")?;
        Ok(asked)
    }
}

/// The id that the outermost layer has given to the request.
pub fn request_id(parts: &Parts) -> String {
    let id = parts.extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    id.unwrap_or_default().to_owned()
}

/// The positions of all tokens in `Cirrus-At-Least`; several are separated by commas, or stand in several headers.
///
/// # Errors
/// 400 for what is no token of this platform.
pub fn at_least(headers: &HeaderMap, tokens: &Tokens) -> Result<Positions, Problem> {
    let mut positions = Positions::default();
    for value in headers.get_all(AT_LEAST) {
        let value = value.to_str().map_err(|_| ProblemType::InvalidPositionToken)?;
        for token in value.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            positions.merge(&tokens.read(token)?);
        }
    }
    Ok(positions)
}

fn effective_at(headers: &HeaderMap) -> Result<Option<Timestamp>, Problem> {
    let mut values = headers.get_all(EFFECTIVE_AT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let at = value.to_str().ok().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    match (at, values.next()) {
        (Some(at), None) => Ok(Some(at.to_utc())),
        _ => Err(Problem::new(ProblemType::InvalidParameter)
            .detail("Cirrus-Effective-At is one time as in RFC 3339, such as 2026-11-21T10:00:00Z.")
            .with("header", "Cirrus-Effective-At")),
    }
}

fn parse_if_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(IfMatch::Any) };
    let several = || Problem::new(ProblemType::InvalidParameter).detail("Name one entity tag.").with("header", "If-Match");
    if values.next().is_some() {
        return Err(several());
    }
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(IfMatch::Any);
    }
    let Some(tag) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return Ok(IfMatch::Nothing) };
    if tag.contains('"') {
        return Err(several());
    }
    let canonical = |generation: &u64| generation.to_string() == tag;
    Ok(tag.parse().ok().filter(canonical).map_or(IfMatch::Nothing, IfMatch::Generation))
}

/// The longest that a request waits for its outcome.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Preferences that are not understood, or make no sense, are as if they were not there (RFC 7240, section 2).
fn patience(headers: &HeaderMap) -> Patience {
    let (mut respond_async, mut wait) = (false, None);
    for value in headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()) {
        for preference in value.split(',') {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => respond_async = true,
                "wait" => wait = wait.or(value.trim().trim_matches('"').parse().ok().map(Duration::from_secs)),
                _ => {}
            }
        }
    }
    let usual = if respond_async { Duration::ZERO } else { LONGEST_WAIT };
    Patience { wait: wait.unwrap_or(usual).min(LONGEST_WAIT), respond_async }
}

/// A `traceparent` of version 00 (W3C Trace Context, section 3.2); anything else is not carried on.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    let valid = match parts.as_slice() {
        ["00", trace, span, flags] => hex(trace, 32) && nonzero(trace) && hex(span, 16) && nonzero(span) && hex(flags, 2),
        _ => false,
    };
    (valid && values.next().is_none()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_a_strong_tag_of_a_generation_matches_anything() {
        for (sent, expected) in [
            ("*", IfMatch::Any),
            ("\"3\"", IfMatch::Generation(3)),
            (" \"3\" ", IfMatch::Generation(3)),
            ("W/\"3\"", IfMatch::Nothing),
            ("\"03\"", IfMatch::Nothing),
            ("\"+3\"", IfMatch::Nothing),
            ("\"abc\"", IfMatch::Nothing),
            ("3", IfMatch::Nothing),
        ] {
            assert_eq!(parse_if_match(&headers(&[("if-match", sent)])).unwrap(), expected, "{sent}");
        }
        assert_eq!(parse_if_match(&HeaderMap::new()).unwrap(), IfMatch::Any);
        assert_eq!(parse_if_match(&headers(&[("if-match", "\"3\", \"4\"")])).unwrap_err().kind(), ProblemType::InvalidParameter);
    }

    #[test]
    fn a_caller_who_does_not_wait_is_answered_at_once_and_nobody_waits_longer_than_the_longest() {
        let seconds = Duration::from_secs;
        for (sent, wait, respond_async) in [
            ("", LONGEST_WAIT, false),
            ("respond-async", Duration::ZERO, true),
            ("respond-async, wait=3", seconds(3), true),
            ("wait=2; x=y, return=minimal", seconds(2), false),
            ("Wait=\"4\"", seconds(4), false),
            ("wait=86400", LONGEST_WAIT, false),
            ("wait=soon", LONGEST_WAIT, false),
        ] {
            assert_eq!(patience(&headers(&[("prefer", sent)])), Patience { wait, respond_async }, "{sent}");
        }
    }

    #[test]
    fn a_trace_is_carried_on_only_when_it_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(&headers(&[("traceparent", good)])).as_deref(), Some(good));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(traceparent(&headers(&[("traceparent", bad)])), None, "{bad}");
        }
    }

    #[test]
    fn an_effective_time_is_one_of_rfc_3339() {
        let at = |sent| effective_at(&headers(&[("cirrus-effective-at", sent)]));
        assert_eq!(at("2026-11-21T11:00:00+01:00").unwrap().unwrap().to_rfc3339(), "2026-11-21T10:00:00+00:00");
        for bad in ["yesterday", "2026-11-21", "1700000000", "2026-11-21T10:00:00"] {
            assert_eq!(at(bad).unwrap_err().kind(), ProblemType::InvalidParameter, "{bad}");
        }
    }
}
