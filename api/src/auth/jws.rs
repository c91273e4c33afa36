//! Signed tokens in compact form (RFC 7515), as far as bearer tokens need it.
//!
//! The algorithm belongs to the key: a token may only repeat it. So nothing that a token says can choose a weaker algorithm, turn a
//! public key into a shared secret, or do without a signature. Keys that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.

use super::keys::KeySet;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};

/// Tokens of more characters are refused unread. Tokens of real issuers, with many groups, reach 4 KiB.
pub const LONGEST: usize = 8 * 1024;

/// The algorithms that are accepted (RFC 7518, RFC 8037): signatures with public keys only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Es256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// Why a token's signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// More than [`LONGEST`] characters.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url, of which the first is a header.
    #[error("the token is not a signed token in compact form")]
    Malformed,
    /// `none`, a shared secret, or another algorithm than the three.
    #[error("the token is not signed with RS256, ES256 or EdDSA")]
    Algorithm,
    /// It demands extensions, of which none is known here.
    #[error("the token demands an extension that is not known here")]
    Critical,
    /// Its type says that it is something else than an access token.
    #[error("the token is of another type")]
    Type,
    /// No key of its issuer has its `kid`.
    #[error("the token's key is not among its issuer's")]
    UnknownKey,
    /// Its issuer's key of that `kid` is of another algorithm.
    #[error("the token names another algorithm than its key's")]
    ConfusedAlgorithm,
    /// Everything fits but the signature.
    #[error("the token's signature is wrong")]
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// True for a member that is there, whatever its value.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(from).map(|_| true)
}

/// A token that was taken apart and of which nothing is believed yet.
pub struct Unverified<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    /// Header and payload as they were sent, with the dot between them: what the signature covers.
    signed: &'a str,
    payload: Vec<u8>,
    signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Any [`JwsError`] but those about keys and signature.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > LONGEST {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        if payload.contains('.') {
            return Err(JwsError::Malformed);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| JwsError::Malformed)?;
        // A member that is given twice is refused here: two readers could each believe another one.
        let header: Header = serde_json::from_slice(&header).map_err(|_| JwsError::Malformed)?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            "EdDSA" => Algorithm::EdDsa,
            _ => return Err(JwsError::Algorithm),
        };
        if header.crit {
            return Err(JwsError::Critical);
        }
        if !header.typ.as_deref().is_none_or(is_access_token) {
            return Err(JwsError::Type);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| JwsError::Malformed)?;
        Ok(Self { algorithm, kid: header.kid, signed, payload, signature })
    }

    /// What the token says, if it is to be believed. For choosing the issuer whose keys decide that, and for nothing else.
    pub fn claimed<'b, T: Deserialize<'b>>(&'b self) -> Option<T> {
        serde_json::from_slice(&self.payload).ok()
    }

    /// The payload, once a key of the set has been found to have signed it.
    ///
    /// A token that names no key is accepted only if the set has a single key of its algorithm.
    ///
    /// # Errors
    /// [`JwsError::UnknownKey`], [`JwsError::ConfusedAlgorithm`] or [`JwsError::Signature`].
    pub fn verify(&self, keys: &KeySet) -> Result<&[u8], JwsError> {
        let candidates = match &self.kid {
            Some(kid) => keys.named(kid),
            None => keys.only(self.algorithm).into_iter().collect(),
        };
        if candidates.is_empty() {
            return Err(JwsError::UnknownKey);
        }
        if candidates.iter().all(|key| key.algorithm != self.algorithm) {
            return Err(JwsError::ConfusedAlgorithm);
        }
        let signed = candidates.iter().filter(|key| key.algorithm == self.algorithm).any(|key| {
            let verdict = jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), &key.key, key.algorithm.into());
            verdict.unwrap_or(false)
        });
        if signed { Ok(&self.payload) } else { Err(JwsError::Signature) }
    }
}

/// `JWT`, as most issuers write, or `at+jwt` of RFC 9068; a logout token or a proof of possession is signed with the same keys.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}
