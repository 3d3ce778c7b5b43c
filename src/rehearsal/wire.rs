//! Frames as a server sees them: what it sends, encoded, and what clients send, decoded.
//!
//! A codec of the rehearsal's own. It shares nothing with `pusher::frame`, so that an error in
//! either shows between them instead of cancelling out.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// An encoded text frame: cloning it copies no byte, so a fan-out encodes once.
pub use tokio_tungstenite::tungstenite::Utf8Bytes as Text;

/// Asks a client whether it is there.
pub const PING: &str = r#"{"event":"pusher:ping","data":"{}"}"#;
/// The answer to `pusher:ping`.
pub const PONG: &str = r#"{"event":"pusher:pong","data":"{}"}"#;

/// A frame from a client, as far as it is understood.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// `pusher:subscribe`.
    Subscribe(Subscribe),
    /// `pusher:unsubscribe` of this channel.
    Unsubscribe(String),
    /// `pusher:signin`.
    Signin(Signin),
    /// `pusher:ping`.
    Ping,
    /// `pusher:pong`: a sign of life, no more.
    Pong,
    /// An event named `client-…`.
    Event(ClientEvent),
}

/// The content of `pusher:subscribe`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Subscribe {
    /// The channel's name.
    pub channel: String,
    /// `key:signature`; empty or absent where none is needed.
    #[serde(default)]
    pub auth: Option<String>,
    /// The very string that was signed.
    #[serde(default)]
    pub channel_data: Option<String>,
}

/// The content of `pusher:signin`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Signin {
    /// `key:signature`.
    pub auth: String,
    /// The very string that was signed.
    pub user_data: String,
}

/// An event that a client sends to a channel.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientEvent {
    /// `client-…`.
    pub event: String,
    /// The channel's name.
    pub channel: String,
    /// The data in the form in which the sender gave it.
    pub data: Data,
}

/// An event's data, and the form in which it stands in frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A JSON string with this content.
    Text(String),
    /// Any other JSON value, as it was written.
    Json(String),
}

impl Data {
    /// The string's content, or the value's text.
    pub fn content(&self) -> &str {
        match self {
            Self::Text(text) | Self::Json(text) => text,
        }
    }
}

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// No JSON object with a string `event`.
    #[error("the message is not JSON with an event name")]
    Malformed,
    /// The event is known, its content does not fit.
    #[error("the data of the {0} message is not what this event needs")]
    Content(&'static str),
    /// Neither a protocol event nor one named `client-…`.
    #[error("client event rejected: its name must begin with client-")]
    Name,
}

/// Reads one text frame of a client.
///
/// # Errors
/// See [`InvalidFrame`]; the text of the error is fit for a `pusher:error`.
pub fn decode(text: &str) -> Result<ClientFrame, InvalidFrame> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        event: String,
        #[serde(default)]
        channel: Option<String>,
        #[serde(borrow, default)]
        data: Option<&'a RawValue>,
    }
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|_| InvalidFrame::Malformed)?;
    let data = match frame.data.map(RawValue::get) {
        None => Data::Json("null".to_owned()),
        Some(raw) => match serde_json::from_str::<String>(raw) {
            Ok(text) => Data::Text(text),
            Err(_) => Data::Json(raw.to_owned()),
        },
    };
    match frame.event.as_str() {
        "pusher:subscribe" => content(&data, "pusher:subscribe").map(ClientFrame::Subscribe),
        "pusher:unsubscribe" => {
            #[derive(Deserialize)]
            struct Unsubscribe {
                channel: String,
            }
            let Unsubscribe { channel } = content(&data, "pusher:unsubscribe")?;
            Ok(ClientFrame::Unsubscribe(channel))
        }
        "pusher:signin" => content(&data, "pusher:signin").map(ClientFrame::Signin),
        "pusher:ping" => Ok(ClientFrame::Ping),
        "pusher:pong" => Ok(ClientFrame::Pong),
        name if name.starts_with("client-") => match frame.channel {
            Some(channel) => {
                Ok(ClientFrame::Event(ClientEvent { event: frame.event, channel, data }))
            }
            None => Err(InvalidFrame::Content("client event")),
        },
        _ => Err(InvalidFrame::Name),
    }
}

fn content<'a, T: Deserialize<'a>>(data: &'a Data, event: &'static str) -> Result<T, InvalidFrame> {
    serde_json::from_str(data.content()).map_err(|_| InvalidFrame::Content(event))
}

#[derive(Serialize)]
struct Frame<'a, D> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    data: D,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

fn encode<D: Serialize>(event: &str, channel: Option<&str>, data: D) -> Text {
    json(&Frame { event, channel, data, user_id: None }).into()
}

/// Only a map with keys that are no strings could fail here, and none of ours has such.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// `pusher:connection_established`.
pub fn established(socket_id: &str, activity_timeout_s: u32) -> Text {
    #[derive(Serialize)]
    struct Established<'a> {
        socket_id: &'a str,
        activity_timeout: u32,
    }
    let data = json(&Established { socket_id, activity_timeout: activity_timeout_s });
    encode("pusher:connection_established", None, data)
}

/// `pusher:error`: the one protocol frame whose data is an object. It names no channel, and most
/// have no code.
pub fn error(message: &str, code: Option<u16>) -> Text {
    #[derive(Serialize)]
    struct Error<'a> {
        message: &'a str,
        code: Option<u16>,
    }
    encode("pusher:error", None, Error { message, code })
}

/// `pusher_internal:subscription_succeeded` of a channel without members, with this data.
pub fn subscribed(channel: &str, data: Option<&str>) -> Text {
    #[derive(Serialize)]
    struct Bare<'a> {
        event: &'a str,
        channel: &'a str,
    }
    let event = "pusher_internal:subscription_succeeded";
    match data {
        Some(data) => encode(event, Some(channel), data),
        None => json(&Bare { event, channel }).into(),
    }
}

/// `pusher_internal:subscription_succeeded` of a presence channel: each user's id and, as raw JSON,
/// what the user's first authorisation told of them.
pub fn subscribed_presence<'a>(
    channel: &str,
    members: impl Iterator<Item = (&'a str, Option<&'a RawValue>)>,
) -> Text {
    #[derive(Serialize)]
    struct Data<'a> {
        presence: Presence<'a>,
    }
    #[derive(Serialize)]
    struct Presence<'a> {
        ids: Vec<&'a str>,
        hash: std::collections::BTreeMap<&'a str, Option<&'a RawValue>>,
        count: usize,
    }
    let hash: std::collections::BTreeMap<_, _> = members.collect();
    let presence = Presence { ids: hash.keys().copied().collect(), count: hash.len(), hash };
    encode("pusher_internal:subscription_succeeded", Some(channel), json(&Data { presence }))
}

/// `pusher_internal:member_added`.
pub fn member_added(channel: &str, user_id: &str, user_info: Option<&RawValue>) -> Text {
    #[derive(Serialize)]
    struct Added<'a> {
        user_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_info: Option<&'a RawValue>,
    }
    let data = json(&Added { user_id, user_info });
    encode("pusher_internal:member_added", Some(channel), data)
}

/// `pusher_internal:member_removed`.
pub fn member_removed(channel: &str, user_id: &str) -> Text {
    #[derive(Serialize)]
    struct Removed<'a> {
        user_id: &'a str,
    }
    encode("pusher_internal:member_removed", Some(channel), json(&Removed { user_id }))
}

/// `pusher_internal:subscription_count`.
pub fn subscription_count(channel: &str, count: usize) -> Text {
    #[derive(Serialize)]
    struct Count {
        subscription_count: usize,
    }
    let data = json(&Count { subscription_count: count });
    encode("pusher_internal:subscription_count", Some(channel), data)
}

/// `pusher:cache_miss`.
pub fn cache_miss(channel: &str) -> Text {
    encode("pusher:cache_miss", Some(channel), "{}")
}

/// `pusher:signin_success`, with the user data as it was signed.
pub fn signin_success(user_data: &str) -> Text {
    #[derive(Serialize)]
    struct Success<'a> {
        user_data: &'a str,
    }
    encode("pusher:signin_success", None, Success { user_data })
}

/// `pusher_internal:watchlist_events`: who is online and who offline; empty lists are left out.
pub fn watchlist(online: &[&str], offline: &[&str]) -> Text {
    #[derive(Serialize)]
    struct Events<'a> {
        events: Vec<Event<'a>>,
    }
    #[derive(Serialize)]
    struct Event<'a> {
        name: &'a str,
        user_ids: &'a [&'a str],
    }
    let events = [("online", online), ("offline", offline)]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(name, user_ids)| Event { name, user_ids })
        .collect();
    encode("pusher_internal:watchlist_events", None, json(&Events { events }))
}

/// An event on a channel. `user_id` names the sender of a client event on a presence channel.
pub fn event(event: &str, channel: &str, data: &Data, user_id: Option<&str>) -> Text {
    let channel = Some(channel);
    match data {
        Data::Text(data) => json(&Frame { event, channel, data, user_id }),
        Data::Json(text) => {
            let raw: Option<Box<RawValue>> = RawValue::from_string(text.clone()).ok();
            // Only what was cut from a sound frame gets here, so the text is JSON; were it none,
            // its text stands for it.
            let data = raw.or_else(|| to_raw_value(text).ok());
            json(&Frame { event, channel, data, user_id })
        }
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn client_frames_are_read_as_pusher_js_writes_them() {
        let subscribe = |channel: &str, auth: &str, channel_data: Option<&str>| {
            ClientFrame::Subscribe(Subscribe {
                channel: channel.to_owned(),
                auth: Some(auth.to_owned()),
                channel_data: channel_data.map(str::to_owned),
            })
        };
        let client = |data: Data, channel: &str| {
            let (event, channel) = ("client-canary".to_owned(), channel.to_owned());
            ClientFrame::Event(ClientEvent { event, channel, data })
        };
        for (text, frame) in [
            (
                r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"canary-1"}}"#,
                subscribe("canary-1", "", None),
            ),
            (
                r#"{"event":"pusher:subscribe","data":{"auth":"k:5a","channel_data":"{\"user_id\":\"agent-1\"}","channel":"presence-room-7"}}"#,
                subscribe("presence-room-7", "k:5a", Some(r#"{"user_id":"agent-1"}"#)),
            ),
            (
                r#"{"event":"pusher:unsubscribe","data":{"channel":"canary-1"}}"#,
                ClientFrame::Unsubscribe("canary-1".to_owned()),
            ),
            (
                r#"{"event":"pusher:signin","data":{"auth":"k:34","user_data":"{\"id\":\"agent-1\"}"}}"#,
                ClientFrame::Signin(Signin {
                    auth: "k:34".to_owned(),
                    user_data: r#"{"id":"agent-1"}"#.to_owned(),
                }),
            ),
            (r#"{"event":"pusher:ping","data":{}}"#, ClientFrame::Ping),
            (r#"{"event":"pusher:ping"}"#, ClientFrame::Ping),
            (r#"{"event":"pusher:pong","data":{}}"#, ClientFrame::Pong),
            (
                r#"{"event":"client-canary","data":{"seq": 1},"channel":"presence-room-7"}"#,
                client(Data::Json(r#"{"seq": 1}"#.to_owned()), "presence-room-7"),
            ),
            (
                r#"{"event":"client-canary","data":"text \"1\"","channel":"private-a"}"#,
                client(Data::Text(r#"text "1""#.to_owned()), "private-a"),
            ),
        ] {
            assert_eq!(decode(text), Ok(frame), "{text}");
        }
    }

    #[test]
    fn frames_that_say_nothing_are_told_apart() {
        for (text, error) in [
            ("", InvalidFrame::Malformed),
            ("{", InvalidFrame::Malformed),
            ("[]", InvalidFrame::Malformed),
            (r#"{"event":7}"#, InvalidFrame::Malformed),
            (r#"{"event":"pusher:subscribe"}"#, InvalidFrame::Content("pusher:subscribe")),
            (r#"{"event":"pusher:signin","data":{}}"#, InvalidFrame::Content("pusher:signin")),
            (r#"{"event":"client-x","data":1}"#, InvalidFrame::Content("client event")),
            (r#"{"event":"x-client-y","channel":"private-a"}"#, InvalidFrame::Name),
            (r#"{"event":"pusher:unheard-of"}"#, InvalidFrame::Name),
        ] {
            assert_eq!(decode(text), Err(error), "{text}");
        }
    }

    #[test]
    fn server_frames_are_those_of_the_protocol_document() {
        let info = raw(r#"{"role":"probe"}"#);
        let members = [("agent-1", Some(&*info)), ("agent-2", None)];
        for (frame, text) in [
            (
                established("5621.9034127", 120),
                r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"5621.9034127\",\"activity_timeout\":120}"}"#,
            ),
            (
                error("Client event rejected", Some(4301)),
                r#"{"event":"pusher:error","data":{"message":"Client event rejected","code":4301}}"#,
            ),
            (
                error("Invalid signature", None),
                r#"{"event":"pusher:error","data":{"message":"Invalid signature","code":null}}"#,
            ),
            (
                subscribed("canary-1", Some("{}")),
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"canary-1","data":"{}"}"#,
            ),
            (
                subscribed_presence("presence-room-7", members.into_iter()),
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-room-7","data":"{\"presence\":{\"ids\":[\"agent-1\",\"agent-2\"],\"hash\":{\"agent-1\":{\"role\":\"probe\"},\"agent-2\":null},\"count\":2}}"}"#,
            ),
            (
                member_added("presence-room-7", "agent-3", Some(&raw(r#"{"role":"x"}"#))),
                r#"{"event":"pusher_internal:member_added","channel":"presence-room-7","data":"{\"user_id\":\"agent-3\",\"user_info\":{\"role\":\"x\"}}"}"#,
            ),
            (
                member_removed("presence-room-7", "agent-3"),
                r#"{"event":"pusher_internal:member_removed","channel":"presence-room-7","data":"{\"user_id\":\"agent-3\"}"}"#,
            ),
            (
                cache_miss("cache-rates"),
                r#"{"event":"pusher:cache_miss","channel":"cache-rates","data":"{}"}"#,
            ),
            (
                signin_success(r#"{"id":"agent-1"}"#),
                r#"{"event":"pusher:signin_success","data":{"user_data":"{\"id\":\"agent-1\"}"}}"#,
            ),
            (
                watchlist(&["agent-2"], &["agent-3"]),
                r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"agent-2\"]},{\"name\":\"offline\",\"user_ids\":[\"agent-3\"]}]}"}"#,
            ),
            (
                event("canary", "canary-1", &Data::Text(r#"{"seq":0}"#.to_owned()), None),
                r#"{"event":"canary","channel":"canary-1","data":"{\"seq\":0}"}"#,
            ),
            (
                event(
                    "client-canary",
                    "presence-room-7",
                    &Data::Json(r#"{"seq":10}"#.to_owned()),
                    Some("agent-2"),
                ),
                r#"{"event":"client-canary","channel":"presence-room-7","data":{"seq":10},"user_id":"agent-2"}"#,
            ),
        ] {
            assert_eq!(frame.as_str(), text);
        }
    }
}
