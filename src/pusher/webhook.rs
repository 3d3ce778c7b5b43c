//! A webhook's signature: HMAC-SHA256 of the raw body, under the secret of the app that
//! `X-Pusher-Key` names (Channels docs: webhooks).

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::model::{AppKey, Secret, WebhookKind};

use super::auth;

/// Bytes of a channel's name at most: more than any server allows.
const CHANNEL_BYTES_MAX: usize = 1_024;

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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Webhook {
    /// When it was sent: milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Something that happened to a channel. What its kind does not have is not there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "name", deserialize_with = "kind")]
    pub kind: WebhookKind,
    /// The channel; empty where none is named.
    #[serde(default)]
    pub channel: String,
    /// The member of a presence channel.
    #[serde(default, deserialize_with = "text")]
    pub user_id: Option<String>,
    /// The connection that sent a client event.
    #[serde(default, deserialize_with = "text")]
    pub socket_id: Option<String>,
    /// How many subscriptions there are.
    #[serde(default, deserialize_with = "count")]
    pub subscription_count: Option<u64>,
}

fn kind<'de, D: Deserializer<'de>>(name: D) -> Result<WebhookKind, D::Error> {
    String::deserialize(name).map(|name| WebhookKind::of(&name))
}

/// What somebody gave another form than the documents do is no reason to throw the rest away.
fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn count<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    Value::deserialize(value).map(|value| value.as_u64())
}

/// Reads a webhook's body; `None` if it is none. An event of a channel that names none that can be
/// is something else.
pub fn read(body: &[u8]) -> Option<Webhook> {
    let mut read: Webhook = serde_json::from_slice(body).ok()?;
    for event in &mut read.events {
        if event.channel.is_empty() || event.channel.len() > CHANNEL_BYTES_MAX {
            event.kind = WebhookKind::Other;
            event.channel.clear();
        }
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_to_channels_is_read_and_the_rest_is_something_else() {
        let body = br#"{"time_ms":1327078148132,"events":[
            {"name":"channel_occupied","channel":"private-a"},
            {"name":"member_added","channel":"presence-b","user_id":7},
            {"name":"client_event","channel":"presence-b","event":"client-x","data":"{}",
             "socket_id":"1.2","user_id":"7"},
            {"name":"channel_vacated"},
            {"name":"subscription_count","channel":"a","subscription_count":3,"more":null},
            {"name":"weather"}]}"#;
        let read = read(body).unwrap();
        assert_eq!(read.time_ms, 1_327_078_148_132);
        let event = |kind, channel: &str| Event {
            kind,
            channel: channel.to_owned(),
            user_id: None,
            socket_id: None,
            subscription_count: None,
        };
        let user = || Some("7".to_owned());
        assert_eq!(
            read.events,
            [
                event(WebhookKind::ChannelOccupied, "private-a"),
                Event { user_id: user(), ..event(WebhookKind::MemberAdded, "presence-b") },
                Event {
                    user_id: user(),
                    socket_id: Some("1.2".to_owned()),
                    ..event(WebhookKind::ClientEvent, "presence-b")
                },
                event(WebhookKind::Other, ""),
                Event { subscription_count: Some(3), ..event(WebhookKind::SubscriptionCount, "a") },
                event(WebhookKind::Other, ""),
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
