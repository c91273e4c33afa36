//! Extractors whose refusals are problems that name the field.
//!
//! [`JsonBody`] reads a body, [`Parameters`] a query, [`PathParameters`] a path. A path that cannot be read is answered with *not
//! found*, since an id that no rule could have made identifies nothing, like the id of another tenant.

use super::{Problem, ProblemType, push_segment};
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use serde_path_to_error::{Path as ErrorPath, Segment};

/// A JSON body: the typed value, and the document as it was sent, which the fingerprint of the request covers.
#[derive(Debug, Clone)]
pub struct JsonBody<T> {
    /// The body as the route's type.
    pub value: T,
    /// The same body as a document.
    pub document: Value,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            // The limit is the only refusal that is about this body; the others mean that it did not arrive.
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemType::BodyTooLarge),
                _ => Problem::new(ProblemType::RequestTimeout).detail("The body did not arrive completely."),
            }
        })?;
        parse(&bytes)
    }
}

/// The query string as `T`; what cannot be read is an `invalid-parameter` problem.
#[derive(Debug, Clone, FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub struct Parameters<T>(pub T);

/// The parameters of the path as `T`; what cannot be read is `not-found`.
#[derive(Debug, Clone, FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
pub struct PathParameters<T>(pub T);

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        let reason = std::error::Error::source(&rejection).map_or_else(|| rejection.body_text(), ToString::to_string);
        Problem::new(ProblemType::InvalidParameter).detail(format!("The query cannot be read: {reason}."))
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Problem::new(ProblemType::NotFound)
    }
}

/// Accepts `application/json` and `application/*+json`, with any parameters.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if json { Ok(()) } else { Err(Problem::new(ProblemType::UnsupportedMediaType).detail("Send the body as application/json.")) }
}

/// Reads a body that has arrived. Public to the crate's routes that read bodies in another way (an operation that is sent again).
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<T>, Problem> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        match inner.classify() {
            Category::Data => Problem::new(ProblemType::InvalidBody).field(pointer, sentence(without_place(&inner.to_string()))),
            Category::Syntax | Category::Eof | Category::Io => malformed(&inner),
        }
    })?;
    Ok(JsonBody { value, document })
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(ProblemType::MalformedJson).detail(sentence(&error.to_string()))
}

/// The place of an error as a JSON Pointer in a URI fragment (RFC 6901, section 6), as far as serde knows it.
fn pointer(path: &ErrorPath) -> String {
    let mut pointer = String::from("#");
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => push_segment(&mut pointer, key),
            Segment::Unknown => break,
        }
    }
    pointer
}

/// serde_json appends the place in the text; the pointer says it better.
fn without_place(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

/// A message of a parser as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::DefaultBodyLimit;
    use axum::routing::{get, post};
    use serde::Deserialize;
    use serde_json::json;
    use tower::ServiceExt;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Create {
        name: String,
        #[serde(default)]
        disks: Vec<Disk>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Disk {
        gib: u32,
    }

    fn refusal(body: &str) -> Problem {
        parse::<Create>(body.as_bytes())
            .map(|read| (read.value.name, read.value.disks.iter().map(|disk| disk.gib).sum::<u32>()))
            .unwrap_err()
    }

    #[test]
    fn a_wrong_body_is_refused_with_the_place_of_its_first_fault() {
        for (body, pointer, detail) in [
            (r#"{"name": 3}"#, "#/name", "Invalid type: integer `3`, expected a string."),
            (r#"{"name": "a", "disks": [{"gib": 1}, {"gib": -1}]}"#, "#/disks/1/gib", "Invalid value: integer `-1`, expected u32."),
            (r#"{"disks": []}"#, "#", "Missing field `name`."),
            (r#"{"name": "a", "colour": 1}"#, "#/colour", "Unknown field `colour`, expected `name` or `disks`."),
            (r#"{"name": "a", "a/b~c d": 1}"#, "#/a~1b~0c%20d", "Unknown field `a/b~c d`, expected `name` or `disks`."),
            (r#"{"name": "a", "name": "b"}"#, "#", "Duplicate field `name`."),
        ] {
            let problem = refusal(body);
            assert_eq!(problem.kind(), ProblemType::InvalidBody, "{body}");
            assert_eq!(problem.errors().len(), 1, "{body}");
            assert_eq!((problem.errors()[0].pointer.as_str(), problem.errors()[0].detail.as_str()), (pointer, detail), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_line_and_column() {
        for body in ["", "{", "{\"name\": \"a\"} x", "{'name': 1}", "\u{feff}{\"name\": \"a\"}"] {
            let problem = refusal(body);
            assert_eq!(problem.kind(), ProblemType::MalformedJson, "{body:?}");
            assert!(problem.to_string().contains("line 1 column"), "{problem}");
        }
    }

    #[test]
    fn nesting_that_would_exhaust_the_stack_is_refused() {
        assert_eq!(refusal(&"[".repeat(100_000)).kind(), ProblemType::MalformedJson);
    }

    async fn send(request: Request) -> (StatusCode, Value) {
        #[derive(Deserialize)]
        struct Page {
            limit: u32,
        }
        let app = Router::new()
            .route("/things", post(|body: JsonBody<Create>| async move { body.document.to_string() }))
            .route("/things", get(|Parameters(page): Parameters<Page>| async move { page.limit.to_string() }))
            .route("/things/{id}", get(|PathParameters(id): PathParameters<uuid::Uuid>| async move { id.to_string() }))
            .layer(DefaultBodyLimit::max(64));
        let response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    fn post_as(media_type: &str, body: String) -> Request {
        Request::post("/things").header(CONTENT_TYPE, media_type).body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn a_body_is_read_as_json_and_nothing_else() {
        let body = || json!({"name": "a"}).to_string();
        assert_eq!(send(post_as("application/json; charset=utf-8", body())).await, (StatusCode::OK, json!({"name": "a"})));
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            let (status, problem) = send(post_as(media_type, body())).await;
            assert_eq!((status, &problem["type"]), (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("/problems/unsupported-media-type")));
        }
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused_as_too_large() {
        let (status, problem) = send(post_as("application/json", json!({"name": "a".repeat(64)}).to_string())).await;
        assert_eq!((status, &problem["type"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("/problems/body-too-large")));
    }

    #[tokio::test]
    async fn a_wrong_query_names_the_parameter_and_a_wrong_path_says_nothing() {
        let get = |uri: &str| Request::get(uri).body(Body::empty()).unwrap();

        let (status, problem) = send(get("/things?limit=many")).await;
        assert_eq!((status, &problem["type"]), (StatusCode::BAD_REQUEST, &json!("/problems/invalid-parameter")));
        assert!(problem["detail"].as_str().unwrap().contains("limit"), "{problem}");

        let (status, problem) = send(get("/things/not-a-uuid")).await;
        assert_eq!(
            (status, problem),
            (StatusCode::NOT_FOUND, json!({"type": "/problems/not-found", "title": "There is nothing here", "status": 404}))
        );
    }
}
