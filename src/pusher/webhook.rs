//! A webhook's signature: HMAC-SHA256 of the raw body, under the secret of the app that
//! `X-Pusher-Key` names (Channels docs: webhooks).

use serde::Deserialize;

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

/// What a webhook says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// When it was sent: milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What happened.
    pub events: Vec<Event>,
}

/// Something that happened to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody came to be on it.
    Occupied(String),
    /// Nobody is on it any more.
    Vacated(String),
    /// Somebody on it did something.
    Alive(String),
    /// Something else.
    Other,
}

/// Reads a webhook's body; `None` if it is none.
pub fn read(body: &[u8]) -> Option<Webhook> {
    #[derive(Deserialize)]
    struct Wire {
        time_ms: u64,
        events: Vec<WireEvent>,
    }
    #[derive(Deserialize)]
    struct WireEvent {
        name: String,
        #[serde(default)]
        channel: Option<String>,
    }
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let event = |event: WireEvent| match (&*event.name, event.channel) {
        ("channel_occupied", Some(channel)) => Event::Occupied(channel),
        ("channel_vacated", Some(channel)) => Event::Vacated(channel),
        ("member_added" | "client_event" | "cache_miss", Some(channel)) => Event::Alive(channel),
        _ => Event::Other,
    };
    Some(Webhook { time_ms: wire.time_ms, events: wire.events.into_iter().map(event).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_to_channels_is_read_and_the_rest_is_something_else() {
        let body = br#"{"time_ms":1327078148132,"events":[
            {"name":"channel_occupied","channel":"private-a"},
            {"name":"channel_vacated","channel":"private-a"},
            {"name":"member_added","channel":"presence-b","user_id":"7"},
            {"name":"channel_occupied"}]}"#;
        let read = read(body).unwrap();
        assert_eq!(read.time_ms, 1_327_078_148_132);
        let channel = || "private-a".to_owned();
        assert_eq!(
            read.events,
            [
                Event::Occupied(channel()),
                Event::Vacated(channel()),
                Event::Alive("presence-b".to_owned()),
                Event::Other
            ]
        );
        for none in [&b""[..], b"{}", b"[]", br#"{"time_ms":-1,"events":[]}"#, &[0xFF; 9]] {
            assert_eq!(super::read(none), None);
        }
    }

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
