//! The clients of the simulated cloud: the one that a worker drives it with, and the one that a test torments it with.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use futures::{FutureExt, future::BoxFuture};
use reqwest::{RequestBuilder, Url, header, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Transport,
    calls::{CallQuery, CallReport},
    cloud::Alteration,
    fault::Rule,
    object::{Address, Filter, Object, Page},
    outcome::Outcome,
    request::{Request, Verb},
};

/// Drives a simulated cloud over HTTP. Every call ends by its deadline; what was not answered by then is `Unknown`.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    settle_time: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one of HTTP.
    #[error("{0:?} is not the address of a provider: it is like http://127.0.0.1:8774")]
    Address(String),
    /// The HTTP library cannot start, or the caller's name does not fit into a header.
    #[error("no HTTP client")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// A client of the cloud at `base`. `caller` is the name under which the cloud's journal notes its calls. `settle_time` is at least the lag of the
    /// cloud's listings.
    ///
    /// # Errors
    /// The address or the name cannot be used.
    pub fn new(base: &str, caller: &str, settle_time: Duration) -> Result<Self, ClientError> {
        Ok(Self { http: http(caller)?, base: address(base)?, settle_time })
    }

    async fn exchange(&self, request: Request, deadline: DateTime<Utc>) -> Outcome<Value> {
        let Ok(left) = (deadline - DateTime::<Utc>::from(SystemTime::now())).to_std() else { return Outcome::not_sent() };
        if left.is_zero() {
            return Outcome::not_sent();
        }
        let call = self.encode(request).timeout(left);
        let answer = async {
            let response = call.send().await?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let body = response.bytes().await?;
            Ok::<_, reqwest::Error>((status, retry_after, body))
        };
        match answer.await {
            Ok((status, retry_after, body)) => {
                // A body that is no JSON comes from something between here and the cloud; the status then speaks alone.
                Outcome::of_answer(status, retry_after, serde_json::from_slice(&body).unwrap_or(Value::Null))
            }
            Err(error) if error.is_timeout() => Outcome::unknown("no answer before the deadline"),
            Err(error) => Outcome::unknown(with_causes(&error)),
        }
    }

    fn encode(&self, request: Request) -> RequestBuilder {
        let object = |address: &Address| path(&self.base, &["v1", &address.zone, &address.kind, &address.id]);
        match request {
            Request::Create { zone, kind, new } => self.http.post(path(&self.base, &["v1", &zone, &kind])).json(&new),
            Request::Get { address } => self.http.get(object(&address)),
            Request::List { zone, filter, limit, marker } => {
                self.http.get(listing(path(&self.base, &["v1", &zone]), &filter, limit, marker))
            }
            Request::Change { address, properties } => self.http.patch(object(&address)).json(&properties),
            Request::Act { address, action } => {
                self.http.post(path(&self.base, &["v1", &address.zone, &address.kind, &address.id, "action"])).json(&action)
            }
            Request::Delete { address } => self.http.delete(object(&address)),
        }
    }
}

impl Transport for Client {
    fn send(&self, request: Request, deadline: DateTime<Utc>) -> BoxFuture<'_, Outcome<Value>> {
        self.exchange(request, deadline).boxed()
    }

    fn settle_time(&self) -> Duration {
        self.settle_time
    }
}

/// Everything that no client of a real cloud could do: faults, vanishing, and the truth about what is there.
#[derive(Debug, Clone)]
pub struct Admin {
    http: reqwest::Client,
    base: Url,
}

impl Admin {
    /// For the simulated cloud at `base`.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        Ok(Self { http: http("admin")?, base: address(base)? })
    }

    /// Puts these rules in force instead of all before.
    ///
    /// # Errors
    /// As of every call here: no answer, or not a success.
    pub async fn set_faults(&self, rules: &[Rule]) -> Result<(), reqwest::Error> {
        self.http.put(path(&self.base, &["admin", "faults"])).json(rules).send().await?.error_for_status().map(|_| ())
    }

    /// The rules in force, with what is left of their counts.
    ///
    /// # Errors
    /// No answer, or not a success.
    pub async fn faults(&self) -> Result<Vec<Rule>, reqwest::Error> {
        success(self.http.get(path(&self.base, &["admin", "faults"]))).await
    }

    /// What was asked of the cloud.
    ///
    /// # Errors
    /// No answer, or not a success.
    pub async fn calls(&self, query: &CallQuery) -> Result<CallReport, reqwest::Error> {
        let mut url = path(&self.base, &["admin", "calls"]);
        add(&mut url, "operation", query.operation.map(Verb::as_str));
        add(&mut url, "kind", query.kind.as_deref());
        add(&mut url, "name", query.name.as_deref());
        add(&mut url, "did", query.did);
        add(&mut url, "after", query.after);
        add(&mut url, "limit", query.limit);
        success(self.http.get(url)).await
    }

    /// What is there in truth, in all zones.
    ///
    /// # Errors
    /// No answer, or not a success.
    pub async fn objects(&self, filter: &Filter) -> Result<Vec<Object>, reqwest::Error> {
        let mut objects = Vec::new();
        let mut marker = None;
        loop {
            let page: Page = success(self.http.get(listing(path(&self.base, &["admin", "objects"]), filter, 1000, marker))).await?;
            objects.extend(page.objects);
            marker = page.next;
            if marker.is_none() {
                return Ok(objects);
            }
        }
    }

    /// Lets an object vanish.
    ///
    /// # Errors
    /// No answer, or not a success, as when there is no such object.
    pub async fn vanish(&self, id: &str) -> Result<(), reqwest::Error> {
        self.http.delete(path(&self.base, &["admin", "objects", id])).send().await?.error_for_status().map(|_| ())
    }

    /// Changes an object behind the client's back.
    ///
    /// # Errors
    /// No answer, or not a success, as when there is no such object.
    pub async fn alter(&self, id: &str, alteration: &Alteration) -> Result<Object, reqwest::Error> {
        success(self.http.patch(path(&self.base, &["admin", "objects", id])).json(alteration)).await
    }
}

async fn success<T: DeserializeOwned>(call: RequestBuilder) -> Result<T, reqwest::Error> {
    call.send().await?.error_for_status()?.json().await
}

/// Without proxy and without redirects: the cloud is on this machine.
fn http(caller: &str) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().user_agent(caller).no_proxy().redirect(redirect::Policy::none()).build()
}

fn address(base: &str) -> Result<Url, ClientError> {
    let url = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| ClientError::Address(base.to_owned()))
}

fn path(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("an address of HTTP with a host can have a path").pop_if_empty().extend(segments);
    url
}

fn listing(mut url: Url, filter: &Filter, limit: usize, marker: Option<String>) -> Url {
    add(&mut url, "kind", filter.kind.as_deref());
    add(&mut url, "project", filter.project.as_deref());
    add(&mut url, "name", filter.name.as_deref());
    add(&mut url, "tag", filter.tag.as_ref().map(|(key, value)| format!("{key}={value}")));
    add(&mut url, "limit", Some(limit));
    add(&mut url, "marker", marker);
    url
}

fn add(url: &mut Url, name: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        url.query_pairs_mut().append_pair(name, &value.to_string());
    }
}

/// An error of the HTTP library says in its causes what happened.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
