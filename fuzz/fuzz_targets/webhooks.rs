#![no_main]
//! Webhooks: nobody who lacks an app's secret is taken for it, and any body can be read.
//!
//! The input's first line is the header that names the key, the second the signature, and the rest
//! the body.

use libfuzzer_sys::fuzz_target;
use pusher_canary::model::{AppKey, Secret, WebhookKind};
use pusher_canary::pusher::webhook;

/// Bytes of a channel's name in what was read, at most.
const CHANNEL_BYTES_MAX: usize = 1_024;

/// Apps by key and secret, as a receiver knows them.
type Apps<'a> = [(&'a AppKey, &'a Secret); 3];

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (key, signature, body) = (part(), part(), part());
    let (key, signature) = (String::from_utf8_lossy(key), String::from_utf8_lossy(signature));
    let app = |key: &str, secret: &str| (AppKey::new(key).expect("a key"), Secret::new(secret));
    let old = app("0123456789abcdef0123", "fedcba98765432100123");
    let new = app("89abcdef0123456789ab", "76543210fedcba987654");
    // The first app of a key decides its secret.
    let namesake = app("0123456789abcdef0123", "another secret");
    let apps: Apps<'_> = [(&old.0, &old.1), (&new.0, &new.1), (&namesake.0, &namesake.1)];
    if let Some(at) = webhook::verify(&apps, &key, &signature, body) {
        let (known, secret) = apps[at];
        assert_eq!(&*key, known.as_str());
        assert_eq!(signature.to_ascii_lowercase(), webhook::sign(secret, body));
    }
    check_signed(&apps, body);
    check_read(body);
});

/// A body that is rightly signed is its app's, and with anything else about it nobody's.
fn check_signed(apps: &Apps<'_>, body: &[u8]) {
    let longer = [body, b"\n"].concat();
    let mut other = body.to_vec();
    if let Some(byte) = other.get_mut(body.len() / 2) {
        *byte ^= 1;
    }
    for at in 0..2 {
        let ((key, secret), (other_key, other_secret)) = (apps[at], apps[1 - at]);
        let verify = |key: &AppKey, signature: &str, body: &[u8]| {
            webhook::verify(apps, key.as_str(), signature, body)
        };
        let genuine = webhook::sign(secret, body);
        assert_eq!(verify(key, &genuine, body), Some(at));
        assert_eq!(verify(other_key, &genuine, body), None);
        assert_eq!(verify(key, &webhook::sign(other_secret, body), body), None);
        assert_eq!(verify(key, &webhook::sign(apps[2].1, body), body), None);
        assert_eq!(verify(key, &genuine, &longer), None);
        if other != body {
            assert_eq!(verify(key, &genuine, &other), None);
        }
        assert_eq!(verify(key, &genuine[..62], body), None);
        assert_eq!(verify(key, &format!("{genuine}00"), body), None);
        let place = body.len() % genuine.len();
        let digit = if genuine[place..].starts_with('0') { "1" } else { "0" };
        let altered = [&genuine[..place], digit, &genuine[place + 1..]].concat();
        assert_eq!(verify(key, &altered, body), None);
    }
}

/// What names no channel that can be is something else, and no name is longer than any can be.
fn check_read(body: &[u8]) {
    let Some(read) = webhook::read(body) else { return };
    for event in &read.events {
        assert!(event.channel.len() <= CHANNEL_BYTES_MAX, "{event:?}");
        assert!(!event.channel.is_empty() || event.kind == WebhookKind::Other, "{event:?}");
    }
}
