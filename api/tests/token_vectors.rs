//! Signed tokens against two oracles: Project Wycheproof, and the cookbook of RFC 7520.
//!
//! What is signed with RS256, ES256 or EdDSA must get the oracle's verdict; everything else must be refused, valid or not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use api::auth::jws::{JwsError, Unverified};
use api::auth::keys::KeySet;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    let directory = std::env::var_os("CIRRUS_DATA").map(PathBuf::from);
    directory.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")).join(name)
}

fn oracle(name: &str) -> Value {
    let path = data(name);
    let mut text = String::new();
    let file = File::open(&path).unwrap_or_else(|error| panic!("{} is needed for this test: {error}", path.display()));
    let mut reader: Box<dyn Read> = if name.ends_with(".gz") { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    reader.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn verify(token: &str, key: &Value) -> Result<Vec<u8>, JwsError> {
    let (keys, _) = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
    Unverified::parse(token)?.verify(&keys).map(<[u8]>::to_vec)
}

/// The payload as it stands in a token, for comparing it with what was verified.
fn payload(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()
}

/// The algorithm that a group's key is for: what it says, or else what its kind and curve say.
fn supported(key: &Value) -> bool {
    let algorithm = key["alg"].as_str();
    match (key["kty"].as_str(), key["crv"].as_str()) {
        (Some("RSA"), _) => matches!(algorithm, None | Some("RS256")),
        (Some("EC"), Some("P-256")) => matches!(algorithm, None | Some("ES256")),
        (Some("OKP"), Some("Ed25519")) => matches!(algorithm, None | Some("EdDSA")),
        _ => false,
    }
}

#[test]
fn every_wycheproof_vector_gets_its_verdict_or_is_refused() {
    let oracle = oracle("wycheproof_json_web_signature_test.json.gz");
    let (mut accepted, mut refused, mut unsupported) = (0, 0, 0);
    let mut wrong = Vec::new();
    for group in oracle["testGroups"].as_array().unwrap() {
        // Groups of shared secrets have no public key; their secret is then offered as one, which must not help.
        let key = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), ToOwned::to_owned);
            let expected = test["result"] == "valid" && supported(key);
            let verdict = verify(&token, key);
            match &verdict {
                Ok(verified) => {
                    assert_eq!(*verified, payload(&token));
                    accepted += 1;
                }
                Err(_) if supported(key) => refused += 1,
                Err(_) => unsupported += 1,
            }
            if verdict.is_ok() != expected {
                wrong.push(format!("{} {}: {verdict:?}", test["tcId"], test["comment"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((accepted, refused, unsupported), (10, 266, 125));
    assert_eq!(json!(accepted + refused + unsupported), oracle["numberOfTests"]);
}

#[test]
fn the_cookbook_is_accepted_where_it_signs_with_rs256_in_compact_form() {
    let oracle = oracle("rfc7520_jws_jwk_cookbook.json");
    let keys: Vec<Value> =
        oracle.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("jwk/")).map(|(_, key)| key.clone()).collect();
    assert_eq!(keys.len(), 6);
    let (set, refused) = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    assert_eq!((set.len(), refused.len()), (1, 5), "only the public RSA key is of use: {refused:?}");

    let mut verdicts = BTreeMap::new();
    for (name, example) in oracle.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("jws/")) {
        for (form, output) in example["output"].as_object().unwrap() {
            let token = output.as_str().map_or_else(|| output.to_string(), ToOwned::to_owned);
            let verdict = Unverified::parse(&token).and_then(|token| token.verify(&set).map(<[u8]>::to_vec));
            verdicts.insert(format!("{} {form}", &name[4..7]), verdict);
        }
    }

    assert_eq!(verdicts.len(), 20);
    let accepted: Vec<&String> = verdicts.iter().filter(|(_, verdict)| verdict.is_ok()).map(|(name, _)| name).collect();
    assert_eq!(accepted, ["4_1 compact"]);
    let said = oracle["jws/4_1.rsa_v15_signature.json"]["input"]["payload"].as_str().unwrap();
    assert_eq!(verdicts["4_1 compact"], Ok(said.as_bytes().to_vec()));
    for (name, reason) in [("4_2 compact", JwsError::Algorithm), ("4_3 compact", JwsError::Algorithm), ("4_4 compact", JwsError::Algorithm)]
    {
        assert_eq!(verdicts[name], Err(reason), "{name}");
    }
}
