//! Keys and what they do: AES-256-GCM with a random nonce, for fields and for other keys.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a nonce. Each key encrypts a few values only, so random nonces do not repeat (NIST SP 800-38D, section 8.3: up to 2^32).
pub(super) const NONCE: usize = 12;

/// The first 8 bytes of a digest of a key: names a key without telling anything about it.
pub(super) type KeyId = [u8; 8];

/// A key of 256 bits. It leaves memory when it is dropped, and is never shown.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// The ciphertext was altered, or belongs to another key or another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Altered;

impl Key {
    /// Takes over 32 bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Draws a key.
    pub(super) fn draw() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    pub(super) fn id(&self) -> KeyId {
        let digest = Sha256::new_with_prefix(b"cirrus key id\0").chain_update(self.0.as_slice()).finalize();
        let (id, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        *id
    }

    /// A nonce and then the ciphertext with its tag. `bound` is authenticated and not contained.
    pub(super) fn encrypt(&self, plain: &[u8], bound: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand::random();
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: bound });
        [nonce.as_slice(), &sealed.expect("AES-GCM takes up to 64 GiB")].concat()
    }

    /// What was encrypted with this key and this `bound`.
    pub(super) fn decrypt(&self, sealed: &[u8], bound: &[u8]) -> Result<Zeroizing<Vec<u8>>, Altered> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(Altered)?;
        let plain = self.cipher().decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: bound });
        plain.map(Zeroizing::new).map_err(|_| Altered)
    }

    /// Another key, encrypted with this one: 60 bytes.
    pub(super) fn wrap(&self, key: &Key, bound: &[u8]) -> Vec<u8> {
        self.encrypt(key.0.as_slice(), bound)
    }

    /// A key that was wrapped with this one.
    pub(super) fn unwrap(&self, wrapped: &[u8], bound: &[u8]) -> Result<Key, Altered> {
        let plain = self.decrypt(wrapped, bound)?;
        let bytes = plain.as_slice().try_into().map_err(|_| Altered)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// A digest of a value that nobody without this key can compute, and so nobody can search for.
    pub(super) fn blind(&self, value: &[u8]) -> [u8; 32] {
        // A key of its own: this one also wraps.
        let blinding: Zeroizing<[u8; 32]> = Zeroizing::new(mac(self.0.as_slice(), b"cirrus blinding key 1"));
        mac(blinding.as_slice(), value)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new_from_slice(self.0.as_slice()).expect("the key has 32 bytes")
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn only_the_same_key_at_the_same_place_opens_what_it_sealed() {
        let sealed = key(1).encrypt(b"secret", b"here");
        assert_eq!(key(1).decrypt(&sealed, b"here").unwrap().as_slice(), b"secret");
        assert!(key(2).decrypt(&sealed, b"here").is_err());
        assert!(key(1).decrypt(&sealed, b"there").is_err());
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert!(key(1).decrypt(&altered, b"here").is_err(), "byte {index}");
            assert!(key(1).decrypt(&sealed[..index], b"here").is_err(), "cut at {index}");
        }
    }

    #[test]
    fn the_same_value_is_never_sealed_to_the_same_bytes() {
        assert_ne!(key(1).encrypt(b"secret", b""), key(1).encrypt(b"secret", b""));
    }

    #[test]
    fn a_wrapped_key_has_60_bytes_and_comes_back() {
        let wrapped = key(1).wrap(&key(9), b"tenant");
        assert_eq!(wrapped.len(), 60);
        assert_eq!(key(1).unwrap(&wrapped, b"tenant").unwrap().id(), key(9).id());
        assert!(key(1).unwrap(&key(1).encrypt(b"short", b"tenant"), b"tenant").is_err());
    }

    /// The ciphertext is that of the test case 16 of McGrew and Viega's GCM specification (AES-256, 60 bytes, with associated data).
    #[test]
    fn sealing_is_aes_256_gcm_as_the_standard_has_it() {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let key = Key::new(Zeroizing::new(bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").try_into().unwrap()));
        let sealed = bytes(concat!(
            "cafebabefacedbaddecaf888",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ));
        let plain = key.decrypt(&sealed, &bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2")).unwrap();
        assert_eq!(
            hex::encode(plain.as_slice()),
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        );
    }
}
