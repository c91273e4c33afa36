//! A caller of the API that does not give up: whatever is undecided is sent again with the same key, so it is done once.

use super::figures::Figures;
use anyhow::{Context, bail, ensure};
use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::{Method, StatusCode, header::RETRY_AFTER};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long one request may stay undecided: long enough for a role to be killed, started again and to catch up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longer than the API ever takes to answer.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Refusals of the moment: the same request may succeed when what is under way is finished.
const PASSING: [&str; 7] = ["busy", "wrong_phase", "step_taken", "platform_stale", "catalogue_moved", "expired", "failed"];

/// A client with one caller's token.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    figures: Arc<Figures>,
}

/// A request that changes something.
#[derive(Debug)]
pub struct Write<'a> {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The idempotency key.
    pub key: String,
    /// The body, if it has one.
    pub body: Option<Value>,
    /// When it happens, as in RFC 3339.
    pub at: Option<String>,
    /// The position that has to be seen before it is looked at.
    pub at_least: Option<&'a str>,
}

/// An answer that says that it is done, or shows what was asked for.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Value,
    /// Token of the position that it shows.
    pub position: Option<String>,
}

impl Answer {
    /// The id of what it is about.
    ///
    /// # Errors
    /// When it has none.
    pub fn id(&self) -> anyhow::Result<String> {
        self.body["id"].as_str().map(str::to_owned).with_context(|| format!("the answer has no id: {}", self.body))
    }
}

/// What an answer means for whoever asked.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    /// Undecided, or refused for the moment, for this reason.
    Again(String),
    Refused,
}

impl Client {
    /// A client of the API at `base`.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(base: &str, token: String, figures: Arc<Figures>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).tcp_nodelay(true).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token, figures })
    }

    /// Changes something; returns when that is on the journal.
    ///
    /// # Errors
    /// When it is refused for good, or stays undecided for five minutes.
    pub async fn write(&self, write: &Write<'_>) -> anyhow::Result<Answer> {
        let began = Instant::now();
        let answer = self.insist(&write.method, &write.path, |mut request| {
            request = request.header("Idempotency-Key", &write.key);
            if let Some(at) = &write.at {
                request = request.header("Cirrus-Effective-At", at);
            }
            if let Some(position) = write.at_least {
                request = request.header("Cirrus-At-Least", position);
            }
            if let Some(body) = &write.body {
                request = request.json(body);
            }
            request
        });
        let answer = answer.await.with_context(|| format!("{} was not done", write.key))?;
        self.figures.acknowledged(began.elapsed());
        Ok(answer)
    }

    /// Reads something as it is at this position or later.
    ///
    /// # Errors
    /// When it cannot be read within five minutes.
    pub async fn read(&self, path: &str, at_least: Option<&str>) -> anyhow::Result<Answer> {
        self.insist(&Method::GET, path, |request| match at_least {
            Some(position) => request.header("Cirrus-At-Least", position),
            None => request,
        })
        .await
    }

    async fn insist(
        &self,
        method: &Method,
        path: &str,
        complete: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let began = Instant::now();
        let backoff = ExponentialBuilder::new().with_min_delay(Duration::from_millis(50)).with_max_delay(Duration::from_secs(2));
        let mut delays = backoff.with_jitter().without_max_times().build();
        loop {
            let request = complete(self.http.request(method.clone(), &url).bearer_auth(&self.token));
            let (reason, said, wait) = match exchange(request).await {
                Ok(Exchange { status, answer, retry_after }) => match verdict(status, &answer.body) {
                    Verdict::Done => return Ok(answer),
                    Verdict::Refused => bail!("{method} {path}: {status}: {}", answer.body),
                    Verdict::Again(reason) => (reason, answer.body.to_string(), retry_after),
                },
                Err(problem) => ("no answer".to_owned(), format!("{problem:#}"), Duration::ZERO),
            };
            self.figures.sent_again(&reason);
            ensure!(began.elapsed() < PATIENCE, "{method} {path} is undecided after {} s: {reason}: {said}", PATIENCE.as_secs());
            tokio::time::sleep(delays.next().unwrap_or_default().max(wait)).await;
        }
    }
}

struct Exchange {
    status: StatusCode,
    answer: Answer,
    retry_after: Duration,
}

async fn exchange(request: reqwest::RequestBuilder) -> anyhow::Result<Exchange> {
    let response = request.send().await?;
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let position = header("Cirrus-Position");
    let retry_after = header(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    let body = response.bytes().await?;
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    Ok(Exchange { status, answer: Answer { body, position }, retry_after })
}

fn verdict(status: StatusCode, body: &Value) -> Verdict {
    let reason = body["reason"].as_str();
    match status {
        StatusCode::OK | StatusCode::CREATED => Verdict::Done,
        StatusCode::ACCEPTED => Verdict::Again("under way".to_owned()),
        _ if reason.is_some_and(|reason| PASSING.contains(&reason)) => Verdict::Again(reason.unwrap_or_default().to_owned()),
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let kind = body["type"].as_str().and_then(|uri| uri.rsplit('/').next()).unwrap_or_default();
            Verdict::Again(format!("{} {kind}", status.as_u16()))
        }
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_undecided_is_sent_again_and_what_makes_no_sense_ends_the_run() {
        let again = |reason: &str| Verdict::Again(reason.to_owned());
        for (status, body, expected) in [
            (201, json!({"id": "x"}), Verdict::Done),
            (200, json!({"changed": false}), Verdict::Done),
            (202, json!({"state": "under_way"}), again("under way")),
            (409, json!({"type": "/problems/state-conflict", "reason": "busy"}), again("busy")),
            (409, json!({"type": "/problems/state-conflict", "reason": "wrong_phase"}), again("wrong_phase")),
            (500, json!({"type": "/problems/internal", "reason": "failed"}), again("failed")),
            (503, json!({"type": "/problems/overloaded"}), again("503 overloaded")),
            (429, json!({"type": "/problems/too-many-requests"}), again("429 too-many-requests")),
            (409, json!({"type": "/problems/quota-exceeded", "reason": "quota_exceeded", "retryable": true}), Verdict::Refused),
            (422, json!({"reason": "key_reused"}), Verdict::Refused),
            (404, json!({"type": "/problems/not-found"}), Verdict::Refused),
            (401, Value::Null, Verdict::Refused),
            (500, json!({"type": "/problems/internal"}), Verdict::Refused),
        ] {
            assert_eq!(verdict(StatusCode::from_u16(status).unwrap(), &body), expected, "{status} {body}");
        }
    }
}
