//! Issuers as they are met: found by discovery, changing their keys, down, lying, or a file.
//!
//! Time is an argument everywhere, so hours pass without waiting.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use api::auth::jws::{self, JwsError};
use api::auth::mint::{SigningKey, TokenContent};
use api::auth::source::{GREATEST_AGE, KeySource, LEAST_INTERVAL};
use api::auth::{AuthError, Authenticator, CLOCK_SKEW, Caller, ConfigError, IssuerConfig, Scope};
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower::ServiceExt;
use uuid::Uuid;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const TENANT: Uuid = Uuid::from_u128(7);

fn at(after: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW + after
}

/// A client that no proxy of the environment stands in front of.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(5)).build().unwrap()
}

/// An OpenID provider on 127.0.0.1 whose every answer the test chooses.
#[derive(Clone)]
struct Provider {
    issuer: String,
    answers: Arc<Mutex<Answers>>,
    discoveries: Arc<AtomicUsize>,
}

struct Answers {
    named: String,
    keys: String,
    status: StatusCode,
    redirects: bool,
}

impl Provider {
    async fn start(key: &SigningKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/realms/cloud", listener.local_addr().unwrap());
        let answers = Answers { named: issuer.clone(), keys: key.public_jwks(), status: StatusCode::OK, redirects: false };
        let provider = Self { issuer, answers: Arc::new(Mutex::new(answers)), discoveries: Arc::default() };
        let routes = Router::new()
            .route("/realms/cloud/.well-known/openid-configuration", get(Self::document))
            .route("/realms/cloud/certs", get(Self::certs))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    async fn document(State(provider): State<Self>) -> Json<Value> {
        provider.discoveries.fetch_add(1, Ordering::SeqCst);
        let named = provider.answers.lock().unwrap().named.clone();
        Json(json!({ "issuer": named, "jwks_uri": format!("{}/certs", provider.issuer), "token_endpoint": "ignored" }))
    }

    async fn certs(State(provider): State<Self>) -> Response {
        let answers = provider.answers.lock().unwrap();
        if answers.redirects {
            return Redirect::temporary("/elsewhere").into_response();
        }
        (answers.status, answers.keys.clone()).into_response()
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers.lock().unwrap());
    }

    fn discoveries(&self) -> usize {
        self.discoveries.load(Ordering::SeqCst)
    }

    fn authenticator(&self) -> Authenticator {
        let config = IssuerConfig {
            issuer: self.issuer.clone(),
            audience: "cirrus".into(),
            source: KeySource::Discovery,
            scope: Scope::Tenant(TENANT),
        };
        Authenticator::new(vec![config], &http()).unwrap()
    }

    fn token(&self, key: &SigningKey) -> String {
        let content = TokenContent {
            issuer: &self.issuer,
            audience: "cirrus",
            subject: "ada",
            name: Some("Ada L."),
            lifetime: Duration::from_secs(86_400),
        };
        key.sign(content, at(Duration::ZERO)).unwrap()
    }
}

#[tokio::test]
async fn a_caller_is_who_the_issuer_of_the_tenant_says() {
    let key = SigningKey::generate().unwrap();
    let provider = Provider::start(&key).await;

    let caller = provider.authenticator().caller(&provider.token(&key), at(Duration::ZERO)).await.unwrap();

    assert_eq!((&*caller.issuer, &*caller.subject, caller.name.as_deref()), (provider.issuer.as_str(), "ada", Some("Ada L.")));
    assert!(caller.token_id.is_some());
    assert!(caller.can_belong_to(TENANT) && !caller.can_belong_to(Uuid::from_u128(8)));
}

#[tokio::test]
async fn a_new_key_works_at_once_and_the_old_one_until_it_is_withdrawn() {
    let (first, second) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let provider = Provider::start(&first).await;
    let authenticator = provider.authenticator();
    assert!(authenticator.caller(&provider.token(&first), at(Duration::ZERO)).await.is_ok());

    provider.change(|answers| answers.keys = second.public_jwks());

    let soon = at(LEAST_INTERVAL / 2);
    assert!(authenticator.caller(&provider.token(&first), soon).await.is_ok());
    assert_eq!(authenticator.caller(&provider.token(&second), soon).await, Err(JwsError::UnknownKey.into()), "asked a moment ago");
    assert_eq!(provider.discoveries(), 1);

    let later = at(LEAST_INTERVAL);
    assert!(authenticator.caller(&provider.token(&second), later).await.is_ok());
    assert_eq!(authenticator.caller(&provider.token(&first), later).await, Err(JwsError::UnknownKey.into()), "withdrawn");
}

#[tokio::test]
async fn a_withdrawn_key_is_gone_within_the_hour_even_if_nobody_brings_a_new_one() {
    let (first, second) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let provider = Provider::start(&first).await;
    let authenticator = provider.authenticator();
    assert!(authenticator.caller(&provider.token(&first), at(Duration::ZERO)).await.is_ok());

    provider.change(|answers| answers.keys = second.public_jwks());

    assert!(authenticator.caller(&provider.token(&first), at(GREATEST_AGE - Duration::from_secs(1))).await.is_ok());
    assert_eq!(authenticator.caller(&provider.token(&first), at(GREATEST_AGE)).await, Err(JwsError::UnknownKey.into()));
}

#[tokio::test]
async fn tokens_with_invented_keys_do_not_make_the_platform_ask_the_issuer_each_time() {
    let key = SigningKey::generate().unwrap();
    let provider = Provider::start(&key).await;
    let authenticator = provider.authenticator();

    for attempt in 0..50 {
        let forged = provider.token(&SigningKey::generate().unwrap());
        let refused = authenticator.caller(&forged, at(Duration::from_millis(attempt * 100))).await;
        assert_eq!(refused, Err(JwsError::UnknownKey.into()));
    }

    assert_eq!(provider.discoveries(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_locks_nobody_out_who_was_known() {
    let key = SigningKey::generate().unwrap();
    let provider = Provider::start(&key).await;
    let authenticator = provider.authenticator();
    assert!(authenticator.caller(&provider.token(&key), at(Duration::ZERO)).await.is_ok());

    provider.change(|answers| answers.status = StatusCode::SERVICE_UNAVAILABLE);

    for hours in 1..5 {
        assert!(authenticator.caller(&provider.token(&key), at(GREATEST_AGE * hours)).await.is_ok());
    }
    assert_eq!(provider.discoveries(), 5);
}

#[tokio::test]
async fn an_issuer_that_never_answered_gives_503_until_it_does() {
    let key = SigningKey::generate().unwrap();
    let provider = Provider::start(&key).await;
    provider.change(|answers| answers.status = StatusCode::BAD_GATEWAY);
    let authenticator = provider.authenticator();
    assert_eq!(authenticator.caller(&provider.token(&key), at(Duration::ZERO)).await, Err(AuthError::Unavailable));

    provider.change(|answers| answers.status = StatusCode::OK);

    assert_eq!(
        authenticator.caller(&provider.token(&key), at(LEAST_INTERVAL / 2)).await,
        Err(AuthError::Unavailable),
        "asked a moment ago"
    );
    assert!(authenticator.caller(&provider.token(&key), at(LEAST_INTERVAL)).await.is_ok());
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_not_unauthenticated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = IssuerConfig { issuer: issuer.clone(), audience: "cirrus".into(), source: KeySource::Discovery, scope: Scope::Platform };
    let authenticator = Authenticator::new(vec![config], &http()).unwrap();
    let content = TokenContent { issuer: &issuer, audience: "cirrus", subject: "ada", name: None, lifetime: Duration::from_secs(60) };
    let token = SigningKey::generate().unwrap().sign(content, at(Duration::ZERO)).unwrap();

    let refused = authenticator.caller(&token, at(Duration::ZERO)).await.unwrap_err();

    assert_eq!(refused, AuthError::Unavailable);
    assert_eq!(api::problem::Problem::from(refused).into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_document_of_another_issuer_a_redirect_and_a_flood_are_not_believed() {
    let key = SigningKey::generate().unwrap();
    let lies: [fn(&mut Answers); 4] = [
        |answers| answers.named = "https://id.example".into(),
        |answers| answers.redirects = true,
        |answers| answers.keys = " ".repeat(2 * 1024 * 1024),
        |answers| answers.keys = "<html>".into(),
    ];
    for lie in lies {
        let provider = Provider::start(&key).await;
        provider.change(lie);
        assert_eq!(provider.authenticator().caller(&provider.token(&key), at(Duration::ZERO)).await, Err(AuthError::Unavailable));
    }
}

#[tokio::test]
async fn many_first_tokens_at_once_ask_the_issuer_once() {
    let key = SigningKey::generate().unwrap();
    let provider = Provider::start(&key).await;
    let (authenticator, token) = (provider.authenticator(), provider.token(&key));

    let all = futures::future::join_all((0..100).map(|_| authenticator.caller(&token, at(Duration::ZERO)))).await;

    assert!(all.iter().all(Result::is_ok));
    assert_eq!(provider.discoveries(), 1);
}

/// An issuer in a file, and tokens of it that say whatever the test wants.
struct FileIssuer {
    directory: TempDir,
    key: EncodingKey,
    kid: String,
    authenticator: Authenticator,
}

impl FileIssuer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (private, public) = (directory.path().join("key.pem"), directory.path().join("jwks.json"));
        SigningKey::open_or_create(&private, &public).unwrap();
        let set: Value = serde_json::from_slice(&std::fs::read(&public).unwrap()).unwrap();
        let config = IssuerConfig {
            issuer: "https://dev.example".into(),
            audience: "cirrus".into(),
            source: KeySource::File(public),
            scope: Scope::Platform,
        };
        Self {
            key: EncodingKey::from_ed_pem(&std::fs::read(private).unwrap()).unwrap(),
            kid: set["keys"][0]["kid"].as_str().unwrap().to_owned(),
            authenticator: Authenticator::new(vec![config], &http()).unwrap(),
            directory,
        }
    }

    fn public(&self) -> PathBuf {
        self.directory.path().join("jwks.json")
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) }
    }

    fn token(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    /// What becomes of a token whose claims differ from good ones in this; `null` leaves a claim out.
    async fn with(&self, name: &str, value: Value) -> Result<Caller, AuthError> {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        self.authenticator.caller(&self.token(&self.header(), &claims), at(Duration::ZERO)).await
    }
}

fn claims() -> Value {
    json!({ "iss": "https://dev.example", "aud": "cirrus", "sub": "ada", "exp": NOW.as_secs() + 300 })
}

#[tokio::test]
async fn claims_decide_as_the_standards_say() {
    let issuer = FileIssuer::new();
    let (now, skew) = (NOW.as_secs(), CLOCK_SKEW.as_secs());
    for (name, value, expected) in [
        ("exp", json!(now + 300), Ok(())),
        ("exp", json!(now - skew + 1), Ok(())),
        ("exp", json!(now as f64 - skew as f64 + 0.5), Ok(())),
        ("exp", json!(now - skew), Err(AuthError::Expired)),
        ("exp", json!(0), Err(AuthError::Expired)),
        ("exp", json!(null), Err(AuthError::Claims)),
        ("exp", json!("tomorrow"), Err(AuthError::Claims)),
        ("nbf", json!(now + skew), Ok(())),
        ("nbf", json!(now + skew + 1), Err(AuthError::NotYet)),
        ("nbf", json!("now"), Err(AuthError::Claims)),
        ("aud", json!(["portal", "cirrus"]), Ok(())),
        ("aud", json!(["portal"]), Err(AuthError::Audience)),
        ("aud", json!([]), Err(AuthError::Audience)),
        ("aud", json!("cirrus2"), Err(AuthError::Audience)),
        ("aud", json!(null), Err(AuthError::Claims)),
        ("iss", json!("https://dev.example/"), Err(AuthError::Issuer)),
        ("iss", json!(null), Err(AuthError::Claims)),
        ("sub", json!("x".repeat(255)), Ok(())),
        ("sub", json!("x".repeat(256)), Err(AuthError::Claims)),
        ("sub", json!("ada\n"), Err(AuthError::Claims)),
        ("sub", json!(""), Err(AuthError::Claims)),
        ("sub", json!(null), Err(AuthError::Claims)),
        ("sub", json!(7), Err(AuthError::Claims)),
    ] {
        assert_eq!(issuer.with(name, value.clone()).await.map(drop), expected, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_name_is_for_showing_and_never_breaks_a_line() {
    let issuer = FileIssuer::new();
    let name = async |claim: &str, value: Value| issuer.with(claim, value).await.unwrap().name;
    assert_eq!(name("name", json!("Ada\u{1b}[2J\r\nLovelace ")).await.as_deref(), Some("Ada[2JLovelace"));
    assert_eq!(name("name", json!("ä".repeat(200))).await.map(|name| name.len()), Some(254));
    assert_eq!(name("preferred_username", json!("ada")).await.as_deref(), Some("ada"));
    assert_eq!(name("name", json!({})).await, None);
}

#[tokio::test]
async fn a_header_that_wants_more_than_a_signature_is_refused() {
    let issuer = FileIssuer::new();
    let outcome = async |header: Header| issuer.authenticator.caller(&issuer.token(&header, &claims()), at(Duration::ZERO)).await.map(drop);
    let typ = |typ: &str| Header { typ: Some(typ.into()), ..issuer.header() };

    assert_eq!(outcome(Header { typ: None, ..issuer.header() }).await, Ok(()));
    assert_eq!(outcome(typ("at+JWT")).await, Ok(()));
    assert_eq!(outcome(typ("application/at+jwt")).await, Ok(()));
    assert_eq!(outcome(typ("logout+jwt")).await, Err(JwsError::Type.into()));
    assert_eq!(outcome(typ("dpop+jwt")).await, Err(JwsError::Type.into()));
    assert_eq!(outcome(Header { crit: Some(vec!["exp".into()]), ..issuer.header() }).await, Err(JwsError::Critical.into()));
    assert_eq!(outcome(Header { kid: None, ..issuer.header() }).await, Ok(()), "there is only one key that it can mean");
    assert_eq!(outcome(Header { kid: Some("other".into()), ..issuer.header() }).await, Err(JwsError::UnknownKey.into()));
}

#[tokio::test]
async fn a_token_cannot_choose_its_algorithm() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let issuer = FileIssuer::new();
    let good = issuer.token(&issuer.header(), &claims());
    let (payload, signature) = good.split_once('.').unwrap().1.split_once('.').unwrap();
    for (alg, refusal) in [
        ("none", JwsError::Algorithm),
        ("None", JwsError::Algorithm),
        ("HS256", JwsError::Algorithm),
        ("eddsa", JwsError::Algorithm),
        ("RS256", JwsError::ConfusedAlgorithm),
        ("ES256", JwsError::ConfusedAlgorithm),
    ] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "kid": issuer.kid }).to_string());
        for signature in [signature, ""] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(issuer.authenticator.caller(&token, at(Duration::ZERO)).await, Err(refusal.into()), "{alg}");
        }
    }
    let twice = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","alg":"none","kid":"{}"}}"#, issuer.kid));
    assert_eq!(
        issuer.authenticator.caller(&format!("{twice}.{payload}.{signature}"), at(Duration::ZERO)).await,
        Err(JwsError::Malformed.into())
    );
}

#[tokio::test]
async fn a_token_that_is_too_long_is_not_looked_at() {
    let issuer = FileIssuer::new();
    assert_eq!(issuer.with("groups", json!("x".repeat(jws::LONGEST))).await, Err(JwsError::TooLong.into()));
    assert!(issuer.with("groups", json!("x".repeat(jws::LONGEST / 2))).await.is_ok());
}

#[tokio::test]
async fn a_key_that_is_taken_out_of_the_file_is_refused_from_then_on() {
    let issuer = FileIssuer::new();
    let token = issuer.token(&issuer.header(), &claims());
    let outcome = async || issuer.authenticator.caller(&token, at(Duration::ZERO)).await.map(drop);
    assert_eq!(outcome().await, Ok(()));
    let good = std::fs::read(issuer.public()).unwrap();

    std::fs::write(issuer.public(), "{ half a fi").unwrap();
    assert_eq!(outcome().await, Ok(()), "a file that cannot be read changes nothing");

    std::fs::write(issuer.public(), r#"{"keys": []}"#).unwrap();
    assert_eq!(outcome().await, Err(JwsError::UnknownKey.into()));

    std::fs::write(issuer.public(), good).unwrap();
    assert_eq!(outcome().await, Ok(()));

    std::fs::remove_file(issuer.public()).unwrap();
    assert_eq!(outcome().await, Ok(()), "nor does one that is missing");
}

#[test]
fn a_configuration_that_would_let_strangers_in_is_refused() {
    let config = |issuer: &str, audience: &str, scope| IssuerConfig {
        issuer: issuer.into(),
        audience: audience.into(),
        source: KeySource::Discovery,
        scope,
    };
    let refused = |configured: Vec<IssuerConfig>| Authenticator::new(configured, &http()).err().unwrap();
    let (platform, tenant) = (Scope::Platform, Scope::Tenant(TENANT));
    assert!(matches!(refused(vec![config("https://a", "c", platform), config("https://a", "c", tenant)]), ConfigError::Twice(_)));
    assert!(matches!(refused(vec![config("https://a", "", platform)]), ConfigError::NoAudience(_)));
    assert!(matches!(refused(vec![config("http://a.example", "c", platform)]), ConfigError::Insecure(_)));
}

#[test]
fn an_issuer_is_configured_in_a_few_words() {
    let read = |value: Value| serde_json::from_value::<IssuerConfig>(value);
    let common = |source: Value, scope: Value| json!({ "issuer": "https://a", "audience": "c", "source": source, "scope": scope });
    let discovered = read(common(json!("discovery"), json!("platform"))).unwrap();
    assert_eq!((discovered.source, discovered.scope), (KeySource::Discovery, Scope::Platform));
    let in_file = read(common(json!({ "file": "/k.json" }), json!({ "tenant": TENANT }))).unwrap();
    assert_eq!((in_file.source, in_file.scope), (KeySource::File("/k.json".into()), Scope::Tenant(TENANT)));
    assert!(read(common(json!("discovery"), json!("everybody"))).is_err());
}

#[derive(Clone)]
struct App(Arc<Authenticator>);

impl FromRef<App> for Arc<Authenticator> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.0)
    }
}

#[tokio::test]
async fn a_route_that_takes_a_caller_challenges_everybody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (private, public) = (directory.path().join("key.pem"), directory.path().join("jwks.json"));
    let key = SigningKey::open_or_create(&private, &public).unwrap();
    let config = IssuerConfig { issuer: "dev".into(), audience: "cirrus".into(), source: KeySource::File(public), scope: Scope::Platform };
    let app = App(Arc::new(Authenticator::new(vec![config], &http()).unwrap()));
    let routes = Router::new().route("/me", get(|caller: Caller| async move { caller.subject.to_string() })).with_state(app);
    let content = TokenContent { issuer: "dev", audience: "cirrus", subject: "ada", name: None, lifetime: Duration::from_secs(60) };
    let token = key.sign(content, SystemTime::now()).unwrap();
    let ask = async |authorizations: &[&str]| {
        let mut request = Request::get("/me");
        for value in authorizations {
            request = request.header(AUTHORIZATION, *value);
        }
        routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };

    assert_eq!(ask(&[&format!("Bearer {token}")]).await.status(), StatusCode::OK);
    assert_eq!(ask(&[&format!("bearer  {token}")]).await.status(), StatusCode::OK);
    for (authorizations, challenge) in [
        (vec![], "Bearer"),
        (vec!["Basic YWRhOmFkYQ=="], "Bearer"),
        (vec!["Bearer"], "Bearer"),
        (vec!["Bearer a", "Bearer b"], "Bearer"),
        (vec!["Bearer a.b.c"], "Bearer error=\"invalid_token\""),
    ] {
        let response = ask(&authorizations).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{authorizations:?}");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge, "{authorizations:?}");
    }
}
