//! The published list of problem types: every error that a caller of the API can meet.
//!
//! A slug and its status are a promise, as programs branch on them; titles and meanings may be reworded. The list is one table, so
//! that the enum, the page at `/problems` and the answers cannot disagree.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

/// Declares the enum, [`ProblemType::ALL`] and the three lookups from one table.
///
/// The doc comment of a variant is also what `/problems/{slug}` says about it.
macro_rules! problem_types {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:ident, $slug:literal, $title:literal;)+) => {
        /// One kind of problem, in the sense of RFC 9457.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemType {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ProblemType {
            /// Every problem type, in the order in which `/problems` lists them.
            pub const ALL: &'static [ProblemType] = &[$(ProblemType::$name),+];

            /// The last segment of the type's URI; never changed once published.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// A few words, equal in every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// The status with which it is answered.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What it means and what the caller can do about it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

problem_types! {
    /// The body is not well-formed JSON. `detail` has the line and the column.
    MalformedJson = BAD_REQUEST, "malformed-json", "The body is not JSON";
    /// The body is JSON, but not what this route takes. `errors` points to each field.
    InvalidBody = UNPROCESSABLE_ENTITY, "invalid-body", "The body does not have the expected form";
    /// A query parameter or a header has a value that this route does not take.
    InvalidParameter = BAD_REQUEST, "invalid-parameter", "A parameter is not valid";
    /// Every write needs the header `Idempotency-Key`, so that it can be sent again without being done twice.
    MissingIdempotencyKey = BAD_REQUEST, "missing-idempotency-key", "The header Idempotency-Key is missing";
    /// `Idempotency-Key` is one header of 1 to 255 visible ASCII characters.
    InvalidIdempotencyKey = BAD_REQUEST, "invalid-idempotency-key", "The header Idempotency-Key is not valid";
    /// The same key was already used with another request. Use a new key for a new request.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The key belongs to another request";
    /// The position token was not issued here, was altered, or belongs to another journal.
    InvalidPositionToken = BAD_REQUEST, "invalid-position-token", "The position token is not valid";
    /// The page token was altered, or belongs to another caller, filter or order. Start the list again.
    InvalidPageToken = BAD_REQUEST, "invalid-page-token", "The page token is not valid";
    /// The body is larger than this route takes.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// Bodies are `application/json`.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The media type of the body is not supported";
    /// There is something at this path, but it has no such method. `Allow` lists those that it has.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here";
    /// There is nothing here, or nothing that the caller may know of: both are answered alike.
    NotFound = NOT_FOUND, "not-found", "There is nothing here";
    /// The request carries no valid bearer token.
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "A valid bearer token is needed";
    /// The caller belongs to the tenant, but no role of the caller allows this.
    Forbidden = FORBIDDEN, "forbidden", "The caller's roles do not allow this";
    /// Too many of the caller's requests were refused in a short time. Wait as long as `Retry-After` says.
    TooManyRefusals = TOO_MANY_REQUESTS, "too-many-refusals", "Too many refused requests";
    /// The tenant has too many requests under way. Wait as long as `Retry-After` says.
    TooManyRequests = TOO_MANY_REQUESTS, "too-many-requests", "Too many requests at once";
    /// The cell's or the tenant's quota has no room. The answer says level, dimension, limit, used and asked.
    QuotaExceeded = CONFLICT, "quota-exceeded", "The quota has no room for this";
    /// The thing is in a state in which this cannot be done.
    StateConflict = CONFLICT, "state-conflict", "The present state does not allow this";
    /// Something else still uses it. The answer lists the users' ids.
    InUse = CONFLICT, "in-use", "It is still in use";
    /// The name or reference is already taken.
    AlreadyExists = CONFLICT, "already-exists", "It exists already";
    /// `If-Match` names a generation that is no longer the present one. Read again, then decide.
    PreconditionFailed = PRECONDITION_FAILED, "precondition-failed", "It has changed in the meantime";
    /// The request is well formed, but contradicts a rule of the platform.
    Refused = UNPROCESSABLE_ENTITY, "refused", "The request was refused";
    /// The data was erased at the wish of the person whom it concerned.
    Erased = GONE, "erased", "The data was erased";
    /// The whole request took too long to arrive or to answer. A write may be sent again with the same key.
    RequestTimeout = REQUEST_TIMEOUT, "request-timeout", "The request took too long";
    /// The platform has more work than it can take at the moment. Wait as long as `Retry-After` says.
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", "The platform is busy";
    /// The read models have not reached the position that `at_least` asks for. Try again after `Retry-After`.
    PositionNotReached = SERVICE_UNAVAILABLE, "position-not-reached", "The position is not reached yet";
    /// The read models are too far behind to answer truthfully. Try again after `Retry-After`.
    ReadsStale = SERVICE_UNAVAILABLE, "reads-stale", "The read models are behind";
    /// The platform cannot fetch the keys of the token's issuer. Try again after `Retry-After`.
    IssuerUnavailable = SERVICE_UNAVAILABLE, "issuer-unavailable", "The token's issuer cannot be reached";
    /// A fault of the platform. The request id leads its operators to the cause.
    Internal = INTERNAL_SERVER_ERROR, "internal", "The platform has failed";
}

impl ProblemType {
    /// The type's URI reference, relative to the API: `/problems/{slug}`.
    pub fn uri(self) -> String {
        format!("/problems/{}", self.slug())
    }

    /// The type with this slug.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.slug() == slug)
    }

    /// The type that says what a bare status says, for answers that did not begin as a problem.
    ///
    /// They come from the router and from layers; a status that none of those gives has no type.
    pub fn from_status(status: StatusCode) -> Option<Self> {
        Some(match status {
            StatusCode::BAD_REQUEST => Self::InvalidParameter,
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::UNPROCESSABLE_ENTITY => Self::InvalidBody,
            StatusCode::TOO_MANY_REQUESTS => Self::TooManyRequests,
            StatusCode::SERVICE_UNAVAILABLE => Self::Overloaded,
            other if other.is_server_error() => Self::Internal,
            _ => return None,
        })
    }
}

impl Serialize for ProblemType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.uri())
    }
}

#[cfg(test)]
mod tests {
    use super::ProblemType;
    use std::collections::HashSet;

    #[test]
    fn every_type_has_a_slug_of_its_own_an_error_status_and_a_meaning() {
        let slugs: HashSet<&str> = ProblemType::ALL.iter().map(|known| known.slug()).collect();
        assert_eq!(slugs.len(), ProblemType::ALL.len());
        for known in ProblemType::ALL {
            let status = known.status();
            assert!(status.is_client_error() || status.is_server_error(), "{known:?} answers {status}");
            assert!(known.meaning().len() > 20, "{known:?} does not say what it means");
            assert!(known.slug().bytes().all(|b| b == b'-' || b.is_ascii_lowercase()), "{known:?}");
            assert_eq!(ProblemType::from_slug(known.slug()), Some(*known));
        }
    }

    #[test]
    fn a_bare_status_becomes_a_type_with_that_status() {
        for known in ProblemType::ALL {
            if let Some(named) = ProblemType::from_status(known.status()) {
                assert_eq!(named.status(), known.status());
            }
        }
    }
}
