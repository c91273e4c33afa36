//! Errors as the caller sees them: RFC 9457 `application/problem+json`, with a published list of types.
//!
//! A handler returns `Result<_, Problem>`. [`finish`] is the outermost layer: it adds the request id to each problem, and makes a
//! problem of whatever the router or another layer refused with a bare status, so that there is one form of error and no other.
//! [`registry`] is the list of types, [`extract`] turns unreadable requests into problems that name the field.

pub mod extract;
pub mod registry;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use tower_http::request_id::RequestId;
use utoipa::ToSchema;

pub use registry::ProblemType;

/// The media type of RFC 9457.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One field that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where in the body: a JSON Pointer as a URI fragment (RFC 6901, section 6), such as `#/spec/memory_mib`.
    pub pointer: String,
    /// What is wrong with it, in a sentence.
    pub detail: String,
}

/// The body of an error answer (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// Which problem: a URI reference below `/problems`, where its meaning can be read.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "/problems/quota-exceeded")]
    kind: ProblemType,
    /// The kind in a few words.
    title: &'static str,
    /// The HTTP status, again.
    status: u16,
    /// What is particular about this occurrence, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The request id, which operators can search for.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// What else the kind promises, such as the limit of a quota.
    #[serde(flatten)]
    members: Map<String, Value>,
}

/// An error answer: what kind, what about this occurrence, and what a program needs to go on.
///
/// Behind a box, since it is the rare half of nearly every result in this crate.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Answer>);

#[derive(Debug, Clone, PartialEq)]
struct Answer {
    document: ProblemDocument,
    headers: HeaderMap,
}

impl Problem {
    /// A problem of this kind about which nothing more is said.
    pub fn new(kind: ProblemType) -> Self {
        let document = ProblemDocument {
            kind,
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: None,
            instance: None,
            errors: Vec::new(),
            members: Map::new(),
        };
        Self(Box::new(Answer { document, headers: HeaderMap::new() }))
    }

    /// Says in a sentence what is particular about this occurrence. It is shown to the caller, so it names nothing of another tenant.
    #[must_use]
    pub fn detail(mut self, sentence: impl Into<String>) -> Self {
        self.0.document.detail = Some(sentence.into());
        self
    }

    /// Names a field; `pointer` is a URI fragment such as `#/spec/memory_mib`.
    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>, sentence: impl Into<String>) -> Self {
        self.0.document.errors.push(FieldError { pointer: pointer.into(), detail: sentence.into() });
        self
    }

    /// Adds an extension member. It cannot replace one that RFC 9457 or this type defines.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        debug_assert!(!["type", "title", "status", "detail", "instance", "errors"].contains(&name), "{name} has a meaning of its own");
        self.0.document.members.insert(name.to_owned(), value.into());
        self
    }

    /// Tells the caller how long to wait, in whole seconds, rounded up and at least one.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The kind of this problem.
    pub fn kind(&self) -> ProblemType {
        self.0.document.kind
    }

    /// The body that it is answered with.
    pub fn document(&self) -> &ProblemDocument {
        &self.0.document
    }

    /// The fields that are wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.document.errors
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.document.title)?;
        self.0.document.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl std::error::Error for Problem {}

/// As the document that the caller gets.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.document.serialize(serializer)
    }
}

impl From<ProblemType> for Problem {
    fn from(kind: ProblemType) -> Self {
        Self::new(kind)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0.document).expect("a problem has only string keys, so it is always JSON");
        let mut response = (self.kind().status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        // An error is about this caller and this moment; no cache may give it to another.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.0.headers.clone());
        response.extensions_mut().insert(self);
        response
    }
}

/// Appends a member name to a pointer in a URI fragment (RFC 6901, section 6): escaped for the pointer, then for the URI.
pub(crate) fn push_segment(pointer: &mut String, name: &str) {
    pointer.push('/');
    for byte in name.bytes() {
        match byte {
            b'~' => pointer.push_str("~0"),
            b'/' => pointer.push_str("~1"),
            _ if byte.is_ascii_alphanumeric() || b"-._!$&'()*+,;=:@?".contains(&byte) => pointer.push(char::from(byte)),
            _ => pointer.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The outermost layer (inside the one that sets the request id): every error leaves as a problem that carries the request id.
pub async fn finish(request: Request, next: Next) -> Response {
    let instance = request.extensions().get::<RequestId>().and_then(|id| instance(id.header_value()));
    let mut response = next.run(request).await;
    let mut problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None => match ProblemType::from_status(response.status()) {
            Some(kind) if kind.status() == response.status() || kind == ProblemType::Internal => Problem::new(kind),
            _ => return response,
        },
    };
    let mut headers = std::mem::take(response.headers_mut());
    headers.remove(CONTENT_LENGTH);
    headers.remove(CONTENT_TYPE);
    problem.0.document.instance = instance;
    let mut finished = problem.into_response();
    for (name, value) in &headers {
        finished.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    finished
}

/// The request id as a URI: `urn:uuid:` for a UUID. Other ids stay out, since they need not be valid in a URI.
fn instance(request_id: &HeaderValue) -> Option<String> {
    let id = uuid::Uuid::parse_str(request_id.to_str().ok()?).ok()?;
    Some(id.urn().to_string())
}

/// What `/problems` says about one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemDescription {
    /// The type's URI reference, as it stands in `type`.
    #[serde(rename = "type")]
    pub uri: String,
    /// The kind in a few words.
    pub title: &'static str,
    /// The HTTP status with which it is answered.
    pub status: u16,
    /// What it means and what can be done.
    pub meaning: &'static str,
}

impl From<ProblemType> for ProblemDescription {
    fn from(kind: ProblemType) -> Self {
        Self { uri: kind.uri(), title: kind.title(), status: kind.status().as_u16(), meaning: kind.meaning().trim() }
    }
}

/// `GET /problems` and `GET /problems/{slug}`: the published list. Needs no token.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/problems", get(list)).route("/problems/{slug}", get(one))
}

async fn list() -> Json<Vec<ProblemDescription>> {
    Json(ProblemType::ALL.iter().copied().map(ProblemDescription::from).collect())
}

async fn one(Path(slug): Path<String>) -> Result<Json<ProblemDescription>, Problem> {
    let kind = ProblemType::from_slug(&slug).ok_or(ProblemType::NotFound)?;
    Ok(Json(kind.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use serde_json::json;
    use tower::ServiceExt;
    use tower_http::request_id::{MakeRequestId, SetRequestIdLayer};

    #[derive(Clone)]
    struct Fixed;
    impl MakeRequestId for Fixed {
        fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
            Some(RequestId::new(HeaderValue::from_static("67e55044-10b1-426f-9247-bb680e5fe0c8")))
        }
    }

    fn app() -> Router {
        let refuse = || async {
            Problem::new(ProblemType::QuotaExceeded)
                .detail("The cell has room for 2 vcpus, 4 were asked.")
                .with("limit", 10)
                .retry_after(Duration::from_millis(1200))
        };
        Router::new()
            .merge(routes())
            .route("/refuse", get(refuse))
            .route("/post", post(|| async { "done" }))
            .route("/broken", get(|| async { (StatusCode::BAD_GATEWAY, "secret details") }))
            .layer(from_fn(finish))
            .layer(SetRequestIdLayer::x_request_id(Fixed))
    }

    async fn ask(path: &str) -> (StatusCode, HeaderMap, Value) {
        let response = app().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_problem_carries_its_members_its_headers_and_the_request_id() {
        let (status, headers, body) = ask("/refuse").await;

        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(headers[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(headers[RETRY_AFTER], "2");
        assert_eq!(
            body,
            json!({
                "type": "/problems/quota-exceeded",
                "title": "The quota has no room for this",
                "status": 409,
                "detail": "The cell has room for 2 vcpus, 4 were asked.",
                "instance": "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
                "limit": 10,
            })
        );
    }

    #[tokio::test]
    async fn what_the_router_refuses_is_a_problem_too() {
        let (status, headers, body) = ask("/nowhere").await;
        assert_eq!((status, &body["type"]), (StatusCode::NOT_FOUND, &json!("/problems/not-found")));
        assert_eq!(headers[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(body["instance"], json!("urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8"));

        let (status, headers, body) = ask("/post").await;
        assert_eq!((status, &body["type"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("/problems/method-not-allowed")));
        assert_eq!(headers["allow"], "POST");
    }

    #[tokio::test]
    async fn an_inner_failure_keeps_its_details_to_itself() {
        let (status, _, body) = ask("/broken").await;
        assert_eq!((status, &body["type"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("/problems/internal")));
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn every_type_that_is_answered_can_be_looked_up() {
        let (_, _, all) = ask("/problems").await;
        assert_eq!(all.as_array().unwrap().len(), ProblemType::ALL.len());
        for description in all.as_array().unwrap() {
            let (status, _, found) = ask(description["type"].as_str().unwrap()).await;
            assert_eq!((status, &found), (StatusCode::OK, description));
        }
        assert_eq!(ask("/problems/no-such-type").await.0, StatusCode::NOT_FOUND);
    }
}
