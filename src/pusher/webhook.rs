//! A webhook's signature: HMAC-SHA256 of the raw body, under the secret of the app that
//! `X-Pusher-Key` names (Channels docs: webhooks).

use crate::model::{AppKey, Secret};

use super::auth;

/// The value of `X-Pusher-Signature` for `body`.
pub fn sign(secret: &Secret, body: &[u8]) -> String {
    auth::hmac_hex(secret, body)
}

/// Whether a webhook is genuine: the first of `apps` whose key stands in `X-Pusher-Key` decides
/// the secret. Returns that app's place in `apps`; `None` for an unknown key or a false signature.
pub fn verify(
    apps: &[(&AppKey, &Secret)],
    key_header: &str,
    signature_header: &str,
    body: &[u8],
) -> Option<usize> {
    let at = apps.iter().position(|(key, _)| key.as_str() == key_header)?;
    let (_, secret) = apps.get(at)?;
    auth::verify_hex(secret, body, signature_header).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_header_chooses_the_secret() {
        let key = |text| AppKey::new(text).unwrap();
        let (old, new) = ((key("old"), Secret::new("a")), (key("new"), Secret::new("b")));
        let apps = [(&old.0, &old.1), (&new.0, &new.1)];
        let body = br#"{"time_ms":1,"events":[]}"#;
        let signature = sign(&new.1, body);
        assert_eq!(verify(&apps, "new", &signature, body), Some(1));
        assert_eq!(verify(&apps, "old", &signature, body), None);
        assert_eq!(verify(&apps, "other", &signature, body), None);
        assert_eq!(verify(&apps, "new", &signature, &body[1..]), None);
        assert_eq!(verify(&apps, "new", "", body), None);
    }
}
