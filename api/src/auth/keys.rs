//! The public keys of an issuer: a JWK set (RFC 7517) reduced to the keys that may sign bearer tokens here.
//!
//! An issuer publishes keys for many uses. A key that cannot be used is left out with a reason, and the others go on.

use super::jws::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

/// Shorter RSA keys are refused (NIST SP 800-131A).
const LEAST_RSA_BITS: usize = 2048;
/// The verifier refuses longer ones, since a long modulus is a cheap way to keep it busy.
const GREATEST_RSA_BITS: usize = 4096;

/// A public key with the only algorithm that it is good for.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys with which an issuer signs.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

/// Why a key was left out of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Not for signatures, or not for checking them.
    #[error("it is not for signatures")]
    Use,
    /// Another kind of key, curve or algorithm.
    #[error("it is not for RS256, ES256 or EdDSA")]
    Algorithm,
    /// A part is missing or cannot be decoded, or its point is not on the curve.
    #[error("it is not well formed")]
    Malformed,
    /// An RSA key of fewer than 2,048 or more than 4,096 bits.
    #[error("its length is not 2048 to 4096 bits")]
    Length,
    /// It brings its private half: whoever could read the set can sign.
    #[error("its private half is published")]
    Private,
}

/// A key that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedKey {
    /// Its name, if it has one.
    pub kid: Option<String>,
    /// Why.
    pub reason: KeyRefusal,
}

/// The text is no JWK set at all.
#[derive(Debug, thiserror::Error)]
#[error("it is not a JWK set")]
pub struct NotAKeySet(#[source] serde_json::Error);

/// The members that matter. Others (`x5c`, `x5t`, ...) are passed over.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    d: Option<Value>,
}

impl KeySet {
    /// Reads a JWK set. Keys that cannot be used come back with the reason.
    ///
    /// # Errors
    /// [`NotAKeySet`] when it is not JSON, or not an object with a list of `keys`.
    pub fn parse(json: &[u8]) -> Result<(Self, Vec<RefusedKey>), NotAKeySet> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(NotAKeySet)?;
        let (mut keys, mut refused) = (Vec::new(), Vec::new());
        for key in set.keys {
            let kid = key.get("kid").and_then(Value::as_str).map(ToOwned::to_owned);
            match verifying_key(key) {
                Ok(key) => keys.push(key),
                Err(reason) => refused.push(RefusedKey { kid, reason }),
            }
        }
        Ok((Self { keys }, refused))
    }

    /// The keys of this name; issuers give each its own, but nothing demands it.
    pub(super) fn named(&self, kid: &str) -> Vec<&VerifyingKey> {
        self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).collect()
    }

    /// The key of this algorithm, if there is just one.
    pub(super) fn only(&self, algorithm: Algorithm) -> Option<&VerifyingKey> {
        let mut of_algorithm = self.keys.iter().filter(|key| key.algorithm == algorithm);
        of_algorithm.next().filter(|_| of_algorithm.next().is_none())
    }

    /// True when no token can be accepted with this set.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
}

fn verifying_key(key: Value) -> Result<VerifyingKey, KeyRefusal> {
    let jwk: Jwk = serde_json::from_value(key).map_err(|_| KeyRefusal::Malformed)?;
    let checks_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !checks_signatures {
        return Err(KeyRefusal::Use);
    }
    let (algorithm, name) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => (Algorithm::Rs256, "RS256"),
        ("EC", Some("P-256")) => (Algorithm::Es256, "ES256"),
        ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, "EdDSA"),
        _ => return Err(KeyRefusal::Algorithm),
    };
    if jwk.alg.as_deref().is_some_and(|alg| alg != name) {
        return Err(KeyRefusal::Algorithm);
    }
    if jwk.d.is_some() {
        return Err(KeyRefusal::Private);
    }
    let key = match algorithm {
        Algorithm::Rs256 => {
            let modulus = URL_SAFE_NO_PAD.decode(&jwk.n).map_err(|_| KeyRefusal::Malformed)?;
            let leading = modulus.iter().take_while(|byte| **byte == 0).count();
            let bits = (modulus.len() - leading) * 8 - modulus.get(leading).map_or(0, |byte| byte.leading_zeros() as usize);
            if !(LEAST_RSA_BITS..=GREATEST_RSA_BITS).contains(&bits) {
                return Err(KeyRefusal::Length);
            }
            DecodingKey::from_rsa_components(&jwk.n, &jwk.e)
        }
        Algorithm::Es256 => DecodingKey::from_ec_components(&jwk.x, &jwk.y),
        // The library takes the first 32 bytes of whatever it is given, and panics when there are fewer.
        Algorithm::EdDsa if URL_SAFE_NO_PAD.decode(&jwk.x).is_ok_and(|point| point.len() == 32) => DecodingKey::from_ed_components(&jwk.x),
        Algorithm::EdDsa => return Err(KeyRefusal::Malformed),
    }
    .map_err(|_| KeyRefusal::Malformed)?;
    // The library looks at a point or an exponent only when it verifies; an error (not a verdict) then means that the key is none.
    jsonwebtoken::crypto::verify("", b"", &key, algorithm.into()).map_err(|_| KeyRefusal::Malformed)?;
    Ok(VerifyingKey { kid: jwk.kid, algorithm, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(key: Value) -> Option<KeyRefusal> {
        let (keys, refused) = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        assert_eq!(keys.len() + refused.len(), 1);
        refused.first().map(|refused| refused.reason)
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    /// The example of RFC 7517, appendix A.1, and the one of RFC 8037, appendix A.2.
    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "1", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
    }
    fn ed() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "2", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }
    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "3", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB"})
    }

    #[test]
    fn a_key_is_good_for_one_algorithm_and_only_for_checking_signatures() {
        for good in [ec(), ed(), rsa(256), rsa(512)] {
            assert_eq!(refusal(good.clone()), None, "{good}");
            assert_eq!(refusal(with(good.clone(), "use", json!("sig"))), None);
            assert_eq!(refusal(with(good.clone(), "key_ops", json!(["verify"]))), None);
            assert_eq!(refusal(with(good.clone(), "use", json!("enc"))), Some(KeyRefusal::Use));
            assert_eq!(refusal(with(good.clone(), "key_ops", json!(["encrypt"]))), Some(KeyRefusal::Use));
            assert_eq!(refusal(with(good.clone(), "d", json!("AQ"))), Some(KeyRefusal::Private));
            for alg in ["HS256", "PS256", "RS512", "ES384", "none", ""] {
                assert_eq!(refusal(with(good.clone(), "alg", json!(alg))), Some(KeyRefusal::Algorithm), "{alg}");
            }
        }
    }

    #[test]
    fn keys_of_other_kinds_and_broken_ones_are_left_out() {
        assert_eq!(refusal(json!({"kty": "oct", "k": "AAAA"})), Some(KeyRefusal::Algorithm));
        assert_eq!(refusal(with(ec(), "crv", json!("P-521"))), Some(KeyRefusal::Algorithm));
        assert_eq!(refusal(with(ed(), "crv", json!("Ed448"))), Some(KeyRefusal::Algorithm));
        assert_eq!(refusal(with(ec(), "y", ec()["x"].clone())), Some(KeyRefusal::Malformed), "not on the curve");
        for length in [0, 1, 31, 33, 64] {
            assert_eq!(
                refusal(with(ed(), "x", json!(URL_SAFE_NO_PAD.encode(vec![1; length])))),
                Some(KeyRefusal::Malformed),
                "{length} bytes"
            );
        }
        assert_eq!(refusal(with(rsa(256), "n", json!("*"))), Some(KeyRefusal::Malformed));
        assert_eq!(refusal(with(rsa(256), "n", json!(""))), Some(KeyRefusal::Length));
        assert_eq!(refusal(rsa(255)), Some(KeyRefusal::Length));
        assert_eq!(refusal(rsa(513)), Some(KeyRefusal::Length));
        assert_eq!(refusal(json!("key")), Some(KeyRefusal::Malformed));
    }

    #[test]
    fn one_bad_key_does_not_spoil_the_set() {
        let set = json!({"keys": [{"kty": "PQ"}, ec(), with(ed(), "use", json!("enc")), rsa(256)]}).to_string();
        let (keys, refused) = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!((keys.len(), refused.len()), (2, 2));
        assert_eq!(refused[1], RefusedKey { kid: Some("2".into()), reason: KeyRefusal::Use });
    }

    #[test]
    fn what_is_no_set_is_refused_whole() {
        for text in ["", "[]", "{}", r#"{"keys": {}}"#, "<html>"] {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
