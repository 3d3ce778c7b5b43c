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
