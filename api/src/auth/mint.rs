//! Tokens of one's own: an issuer in a file, for development and tests.
//!
//! A [`SigningKey`] is an Ed25519 key pair whose private half lies in a PEM file and whose public half lies in a JWK set beside it, which an
//! issuer with `source = File` reads. It is as good as any other issuer, so whoever can read the private file is anybody.

use super::jws::Algorithm;
use crate::key_file::{self, KeyFileError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};
use uuid::Uuid;
use zeroize::Zeroizing;

/// PKCS#8 of an Ed25519 key is these bytes and then the 32 bytes of the key (RFC 8410, section 10.3).
const PKCS8: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a signing key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// One of the two files.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The private file holds no Ed25519 key, or the library refuses to sign with it.
    #[error("the signing key cannot be used")]
    Key(#[from] jsonwebtoken::errors::Error),
}

/// What a token says. There are no roles in it: they are grants on the journal.
#[derive(Debug, Clone, Copy)]
pub struct TokenContent<'a> {
    /// The issuer, as it is configured.
    pub issuer: &'a str,
    /// The audience, as it is configured.
    pub audience: &'a str,
    /// Whom it is for.
    pub subject: &'a str,
    /// What the person is called.
    pub name: Option<&'a str>,
    /// How long it is valid.
    pub lifetime: Duration,
}

/// A key pair that signs tokens.
pub struct SigningKey {
    key: EncodingKey,
    public: Jwk,
    kid: String,
}

impl SigningKey {
    /// Draws a key pair that lives in memory only.
    ///
    /// # Errors
    /// [`MintError::Key`].
    pub fn generate() -> Result<Self, MintError> {
        Self::from_pem(&draw())
    }

    /// Reads the private key, or draws one if there is no such file; then sees to it that the public file fits.
    ///
    /// # Errors
    /// Any [`MintError`].
    pub fn open_or_create(private: &Path, public: &Path) -> Result<Self, MintError> {
        let pem = match key_file::read(private) {
            Err(KeyFileError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                key_file::create(private, draw().as_bytes(), 0o600)?;
                key_file::read(private)?
            }
            read => read?,
        };
        let key = Self::from_pem(&pem)?;
        let jwks = key.public_jwks();
        // Written only when it differs, so that a running API does not read it again for nothing.
        if std::fs::read_to_string(public).ok().as_deref() != Some(&jwks) {
            key_file::replace_public(public, jwks.as_bytes())?;
        }
        Ok(key)
    }

    fn from_pem(pem: &str) -> Result<Self, MintError> {
        let key = EncodingKey::from_ed_pem(pem.as_bytes())?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDsa.into())?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, public, kid })
    }

    /// The public half as a JWK set.
    pub fn public_jwks(&self) -> String {
        let set = JwkSet { keys: vec![self.public.clone()] };
        serde_json::to_string_pretty(&set).expect("a JWK has only string keys, so it is always JSON") + "\n"
    }

    /// Signs a token that is valid from now on.
    ///
    /// # Errors
    /// [`MintError::Key`].
    pub fn sign(&self, content: TokenContent<'_>, now: SystemTime) -> Result<String, MintError> {
        #[derive(Serialize)]
        struct Claims<'a> {
            iss: &'a str,
            sub: &'a str,
            aud: &'a str,
            iat: u64,
            nbf: u64,
            exp: u64,
            jti: Uuid,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            iss: content.issuer,
            sub: content.subject,
            aud: content.audience,
            iat: now.as_secs(),
            nbf: now.as_secs(),
            exp: now.saturating_add(content.lifetime).as_secs(),
            jti: uuid::Builder::from_random_bytes(rand::random()).into_uuid(),
            name: content.name,
        };
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDsa.into()) };
        Ok(encode(&header, &claims, &self.key)?)
    }
}

/// A new private key in PEM.
fn draw() -> Zeroizing<String> {
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&PKCS8);
    rand::fill(&mut der[16..]);
    Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *Zeroizing::new(STANDARD.encode(*der))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::jws::Unverified;
    use crate::auth::keys::KeySet;
    use std::os::unix::fs::MetadataExt;

    const CONTENT: TokenContent<'_> =
        TokenContent { issuer: "https://id.example", audience: "cirrus", subject: "ada", name: None, lifetime: Duration::from_secs(60) };

    fn published(path: &Path) -> KeySet {
        let (keys, refused) = KeySet::parse(&std::fs::read(path).unwrap()).unwrap();
        assert!(refused.is_empty() && keys.len() == 1);
        keys
    }

    #[test]
    fn a_token_is_verified_with_the_file_that_was_written_beside_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let (private, public) = (directory.path().join("key.pem"), directory.path().join("jwks.json"));

        let token = SigningKey::open_or_create(&private, &public).unwrap().sign(CONTENT, SystemTime::now()).unwrap();

        assert!(Unverified::parse(&token).unwrap().verify(&published(&public)).is_ok());
        assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&public).unwrap().contains("\"d\""));
    }

    #[test]
    fn a_second_start_goes_on_with_the_same_key_and_mends_the_public_file() {
        let directory = tempfile::tempdir().unwrap();
        let (private, public) = (directory.path().join("key.pem"), directory.path().join("jwks.json"));
        let before = SigningKey::open_or_create(&private, &public).unwrap();
        std::fs::write(&public, "{").unwrap();

        let after = SigningKey::open_or_create(&private, &public).unwrap();

        assert_eq!(after.kid, before.kid);
        let token = before.sign(CONTENT, SystemTime::now()).unwrap();
        assert!(Unverified::parse(&token).unwrap().verify(&published(&public)).is_ok());
        assert_ne!(SigningKey::generate().unwrap().kid, before.kid);
    }
}
