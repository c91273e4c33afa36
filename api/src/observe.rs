//! What is known of every request afterwards: its id, one line in the log, and metrics.

use crate::problem::Problem;
use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use std::time::Instant;
use tower_http::request_id::RequestId;
use uuid::Builder;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a caller that is taken over.
const LONGEST_ID: usize = 128;

/// Gives every request an id: the caller's, if it is one short word, or a random one. The answer names it.
pub async fn identify(mut request: Request, next: Next) -> Response {
    let word = |value: &&HeaderValue| !value.is_empty() && value.len() <= LONGEST_ID && value.as_bytes().iter().all(u8::is_ascii_graphic);
    let sent = request.headers().get(REQUEST_ID).filter(word).cloned();
    let id = sent.unwrap_or_else(|| {
        let id = Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        HeaderValue::from_str(&id).expect("a UUID is visible ASCII")
    });
    request.extensions_mut().insert(RequestId::new(id.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Writes one line a request, which can be read alone, and counts.
pub async fn observe(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default().to_owned();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let problem = response.extensions().get::<Problem>().map_or("", |problem| problem.kind().slug());
    let ms = took.as_secs_f64() * 1e3;
    if response.status().is_server_error() {
        tracing::warn!(request = id, %method, path, route, status, problem, ms, "{method} {path} was answered {status} {problem} in {ms:.1} ms");
    } else {
        tracing::info!(request = id, %method, path, route, status, problem, ms, "{method} {path} was answered {status} {problem} in {ms:.1} ms");
    }
    let labels = [("method", method.to_string()), ("route", route), ("status", status.to_string())];
    metrics::counter!("cirrus_http_requests_total", &labels).increment(1);
    metrics::histogram!("cirrus_http_request_seconds", &labels).record(took.as_secs_f64());
    response
}
