//! Who is calling: bearer tokens of known issuers, and nothing else.
//!
//! An issuer is known by configuration, for the platform or for exactly one tenant; a token is checked with its issuer's keys ([`source`],
//! [`keys`]), its signature by the algorithm of the key ([`jws`]), then issuer, audience and times. What is left is a [`Caller`]: a name on
//! a badge. What a caller may do is decided elsewhere, on grants that are events; no claim of a token gives a permission.

pub mod jws;
pub mod keys;
pub mod mint;
pub mod source;

use crate::problem::{Problem, ProblemType};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use jws::{JwsError, Unverified};
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use source::{IssuerKeys, KeySource};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// How far the clocks of an issuer and of this machine may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest subject that is accepted, in bytes (OpenID Connect Core, section 2). Longer names of people are cut to this.
const LONGEST_NAME: usize = 255;

/// For whom an issuer may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The provider's own people and programs; they may hold grants in every tenant.
    Platform,
    /// The people and programs of one tenant; to them no other tenant exists.
    Tenant(Uuid),
}

/// An issuer whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its URL, exactly as it stands in `iss`.
    pub issuer: String,
    /// The audience that its tokens must name: this platform, as that issuer calls it.
    pub audience: String,
    /// Where its keys are.
    pub source: KeySource,
    /// For whom it may speak.
    pub scope: Scope,
}

/// Why the configured issuers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// One issuer for two scopes would let one tenant's issuer name another tenant's people.
    #[error("issuer {0} is configured twice")]
    Twice(String),
    /// Without an audience, tokens for any other service would be accepted.
    #[error("issuer {0} has no audience")]
    NoAudience(String),
    /// It is asked for its keys over a network in the clear.
    #[error("issuer {0} is neither https nor a loopback address")]
    Insecure(String),
}

/// Somebody with a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who vouches for the subject.
    pub issuer: Arc<str>,
    /// The subject at that issuer: opaque, 1 to 255 bytes. Issuer and subject together are the identity.
    pub subject: Arc<str>,
    /// For whom the issuer may speak.
    pub scope: Scope,
    /// What the person is called, if the token says so. Personal: for showing, never for the log.
    pub name: Option<String>,
    /// The token's id (`jti`), if it has one.
    pub token_id: Option<String>,
}

impl Caller {
    /// False when the caller's issuer speaks for another tenant. True allows nothing yet.
    pub fn can_belong_to(&self, tenant: Uuid) -> bool {
        match self.scope {
            Scope::Platform => true,
            Scope::Tenant(own) => own == tenant,
        }
    }
}

/// Why a request has no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No header `Authorization`, or several, or another scheme.
    #[error("the request needs one header Authorization with a bearer token")]
    Missing,
    /// The token is not one, or its signature is wrong.
    #[error(transparent)]
    Token(#[from] JwsError),
    /// Nobody has configured its issuer.
    #[error("the token's issuer is not known here")]
    Issuer,
    /// A claim is missing or has another form.
    #[error("the token lacks a claim, or has one of another form")]
    Claims,
    /// It is for another service.
    #[error("the token is for another audience")]
    Audience,
    /// It is not valid any more.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// Its issuer's keys cannot be had.
    #[error("the keys of the token's issuer cannot be had")]
    Unavailable,
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let (kind, challenge) = match error {
            AuthError::Unavailable => return Problem::new(ProblemType::IssuerUnavailable).retry_after(source::LEAST_INTERVAL),
            AuthError::Missing => (ProblemType::Unauthenticated, "Bearer"),
            _ => (ProblemType::Unauthenticated, "Bearer error=\"invalid_token\""),
        };
        Problem::new(kind).detail(format!("{error}.")).header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

/// Tells who is calling.
pub struct Authenticator {
    issuers: HashMap<String, Issuer>,
}

struct Issuer {
    /// The issuer's name, shared by its callers.
    name: Arc<str>,
    audience: String,
    scope: Scope,
    keys: IssuerKeys,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    /// Seconds since 1970; RFC 7519 allows fractions.
    exp: f64,
    nbf: Option<f64>,
    jti: Option<String>,
    name: Option<Value>,
    preferred_username: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Authenticator {
    /// Accepts the tokens of these issuers; `http` is the client of [`source::http_client`]. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(configured: Vec<IssuerConfig>, http: &Client) -> Result<Self, ConfigError> {
        let mut issuers = HashMap::new();
        for IssuerConfig { issuer, audience, source, scope } in configured {
            if audience.is_empty() {
                return Err(ConfigError::NoAudience(issuer));
            }
            if source == KeySource::Discovery {
                source::secure(&issuer).map_err(|_| ConfigError::Insecure(issuer.clone()))?;
            }
            let keys = IssuerKeys::new(issuer.clone(), source, http.clone());
            let known = Issuer { name: issuer.as_str().into(), audience, scope, keys };
            if issuers.insert(issuer.clone(), known).is_some() {
                return Err(ConfigError::Twice(issuer));
            }
        }
        Ok(Self { issuers })
    }

    /// Who is calling with these headers.
    ///
    /// # Errors
    /// Any [`AuthError`].
    pub async fn authenticate(&self, headers: &HeaderMap, now: SystemTime) -> Result<Caller, AuthError> {
        self.caller(bearer(headers)?, now).await
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Any [`AuthError`] but [`AuthError::Missing`].
    pub async fn caller(&self, token: &str, now: SystemTime) -> Result<Caller, AuthError> {
        #[derive(Deserialize)]
        struct Claimed {
            iss: String,
        }
        let token = Unverified::parse(token)?;
        let claimed: Claimed = token.claimed().ok_or(AuthError::Claims)?;
        let issuer = self.issuers.get(&claimed.iss).ok_or(AuthError::Issuer)?;

        let keys = issuer.keys.current(now).await.map_err(|_| AuthError::Unavailable)?;
        let newer;
        let payload = match token.verify(&keys) {
            Err(JwsError::UnknownKey) => {
                newer = issuer.keys.refreshed(&keys, now).await;
                token.verify(&newer)?
            }
            verdict => verdict?,
        };
        issuer.accept(payload, now)
    }
}

impl Issuer {
    /// Checks the claims of a payload that the issuer has signed.
    fn accept(&self, payload: &[u8], now: SystemTime) -> Result<Caller, AuthError> {
        let claims: Claims = serde_json::from_slice(payload).map_err(|_| AuthError::Claims)?;
        let for_us = match &claims.aud {
            Audience::One(audience) => *audience == self.audience,
            Audience::Several(audiences) => audiences.contains(&self.audience),
        };
        if claims.iss != *self.name {
            return Err(AuthError::Issuer);
        }
        if !for_us {
            return Err(AuthError::Audience);
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let skew = CLOCK_SKEW.as_secs_f64();
        if claims.exp + skew <= now {
            return Err(AuthError::Expired);
        }
        if claims.nbf.is_some_and(|nbf| nbf - skew > now) {
            return Err(AuthError::NotYet);
        }
        if claims.sub.is_empty() || claims.sub.len() > LONGEST_NAME || claims.sub.chars().any(char::is_control) {
            return Err(AuthError::Claims);
        }
        let text = |claim: Option<Value>| claim.as_ref().and_then(Value::as_str).map(shown).filter(|name| !name.is_empty());
        Ok(Caller {
            issuer: Arc::clone(&self.name),
            subject: claims.sub.into(),
            scope: self.scope,
            name: text(claims.name).or_else(|| text(claims.preferred_username)),
            token_id: claims.jti,
        })
    }
}

/// A name for showing: without control characters, not longer than a subject.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().filter(|letter| !letter.is_control()).collect();
    shown.truncate(shown.floor_char_boundary(LONGEST_NAME));
    shown.trim().to_owned()
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1). Tokens in queries and forms end in logs and are not accepted.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(AuthError::Missing);
    };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(AuthError::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim_start_matches(' ')) } else { Err(AuthError::Missing) }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(caller) = parts.extensions.get::<Caller>() {
            return Ok(caller.clone());
        }
        let authenticator = Arc::<Authenticator>::from_ref(state);
        let caller = authenticator.authenticate(&parts.headers, SystemTime::now()).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}
