//! End-to-end encrypted channels: NaCl secretbox under a key of the channel's own
//! (Channels docs: encrypted channels).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a master key and of a shared secret.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce, which must never be used twice under one key.
pub const NONCE_BYTES: usize = 24;

/// The key of one encrypted channel. Its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    #[serde(borrow)]
    nonce: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    ciphertext: std::borrow::Cow<'a, str>,
}

impl SharedSecret {
    /// `SHA256(channel ‖ master key)`.
    pub fn derive(channel: &str, master_key: &[u8; KEY_BYTES]) -> Self {
        let mut hash = Sha256::new();
        hash.update(channel.as_bytes());
        hash.update(master_key);
        Self(Zeroizing::new(hash.finalize().into()))
    }

    /// Reads the base64 that an auth endpoint answers as `shared_secret`; `None` unless it holds
    /// [`KEY_BYTES`] bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
        bytes.as_slice().try_into().ok().map(|key| Self(Zeroizing::new(key)))
    }

    /// The base64 that an auth endpoint answers as `shared_secret`.
    pub fn to_base64(&self) -> String {
        BASE64.encode(*self.0)
    }

    fn cipher(&self) -> XSalsa20Poly1305 {
        XSalsa20Poly1305::new(&Key::from(*self.0))
    }

    /// The event `data` that carries `plaintext`: `{"nonce":…,"ciphertext":…}`.
    pub fn seal(&self, plaintext: &str, nonce: &[u8; NONCE_BYTES]) -> String {
        #[expect(clippy::expect_used, reason = "a secretbox takes a message of any length")]
        let sealed =
            self.cipher().encrypt(&Nonce::from(*nonce), plaintext.as_bytes()).expect("any length");
        let sealed =
            Sealed { nonce: BASE64.encode(nonce).into(), ciphertext: BASE64.encode(sealed).into() };
        serde_json::to_string(&sealed).unwrap_or_default()
    }

    /// The plaintext of an event's `data`; `None` if it is no sealed event, was altered, or was
    /// sealed under another key.
    pub fn open(&self, data: &str) -> Option<String> {
        let sealed: Sealed<'_> = serde_json::from_str(data).ok()?;
        let nonce: [u8; NONCE_BYTES] = BASE64.decode(&*sealed.nonce).ok()?.try_into().ok()?;
        let ciphertext = BASE64.decode(&*sealed.ciphertext).ok()?;
        let plain = self.cipher().decrypt(&Nonce::from(nonce), ciphertext.as_slice()).ok()?;
        String::from_utf8(plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sealed_event_does_not_open() {
        let secret = SharedSecret::derive("private-encrypted-a", &[1; KEY_BYTES]);
        let sealed = secret.seal("", &[2; NONCE_BYTES]);
        assert_eq!(secret.open(&sealed).as_deref(), Some(""));
        let short = sealed.replace("\"nonce\":\"", "\"nonce\":\"AAAA");
        for bad in ["", "plain", "{}", r#"{"nonce":"AA==","ciphertext":""}"#, &short] {
            assert_eq!(secret.open(bad), None, "{bad}");
        }
        let escaped = sealed.replace("\"nonce\":\"A", "\"nonce\":\"\\u0041");
        assert_eq!(secret.open(&escaped), secret.open(&sealed));
    }

    #[test]
    fn a_shared_secret_has_its_size_and_is_not_shown() {
        let secret = SharedSecret::derive("private-encrypted-a", &[1; KEY_BYTES]);
        assert_eq!(SharedSecret::from_base64(&secret.to_base64()), Some(secret.clone()));
        for bad in ["", "AAAA", "not base64", &BASE64.encode([0; 33])] {
            assert_eq!(SharedSecret::from_base64(bad), None, "{bad}");
        }
        assert_eq!(format!("{secret:?}"), "<secret>");
    }
}
