//! Signatures of channel subscriptions and of user sign-in (Channels docs: auth signatures).
//!
//! All are lower-case hexadecimal HMAC-SHA256 under the app's secret, over the very strings that
//! are sent.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::{AppKey, Secret, SocketId};

/// HMAC-SHA256 of `message` under `secret`, in lower-case hexadecimal: 64 characters.
pub fn hmac_hex(secret: &Secret, message: &[u8]) -> String {
    hex::encode(keyed(secret, message).finalize().into_bytes())
}

/// Whether `signature`, in hexadecimal, is that of `message`; compared in constant time.
pub fn verify_hex(secret: &Secret, message: &[u8], signature: &str) -> bool {
    hex::decode(signature).is_ok_and(|bytes| keyed(secret, message).verify_slice(&bytes).is_ok())
}

fn keyed(secret: &Secret, message: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("any length");
    mac.update(message);
    mac
}

/// What is signed to subscribe: `socket_id:channel`, with `:channel_data` on presence channels.
pub fn channel_string(socket_id: &SocketId, channel: &str, channel_data: Option<&str>) -> String {
    match channel_data {
        Some(data) => format!("{socket_id}:{channel}:{data}"),
        None => format!("{socket_id}:{channel}"),
    }
}

/// The `auth` of a subscription: `key:signature`.
pub fn channel(
    key: &AppKey,
    secret: &Secret,
    socket_id: &SocketId,
    channel: &str,
    channel_data: Option<&str>,
) -> String {
    let text = channel_string(socket_id, channel, channel_data);
    format!("{key}:{}", hmac_hex(secret, text.as_bytes()))
}

/// What is signed to sign in: `socket_id::user::user_data`.
pub fn user_string(socket_id: &SocketId, user_data: &str) -> String {
    format!("{socket_id}::user::{user_data}")
}

/// The `auth` of a sign-in: `key:signature`.
pub fn user(key: &AppKey, secret: &Secret, socket_id: &SocketId, user_data: &str) -> String {
    format!("{key}:{}", hmac_hex(secret, user_string(socket_id, user_data).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_signature_verifies() {
        let secret = Secret::new("s");
        let good = hmac_hex(&secret, b"m");
        assert!(verify_hex(&secret, b"m", &good));
        for bad in ["", "zz", &good[..62], &format!("{good}00"), &good.replace('a', "b")] {
            assert!(!verify_hex(&secret, b"m", bad), "{bad}");
        }
        assert!(!verify_hex(&Secret::new("t"), b"m", &good));
        assert!(!verify_hex(&secret, b"n", &good));
    }
}
