//! Frames as a client sees them: what servers send, decoded by borrowing, and what clients send,
//! encoded in the key order of pusher-js.
//!
//! `data` arrives as a JSON string, as an object or not at all, depending on frame and server; all
//! three forms are taken everywhere.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A frame from a server. Borrows from the frame's text where nothing is escaped.
#[derive(Debug, Deserialize)]
pub struct ServerFrame<'a> {
    /// The event's name.
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    /// The channel, absent on frames about the connection.
    #[serde(borrow, default, deserialize_with = "lenient_name")]
    pub channel: Option<Cow<'a, str>>,
    /// The sender of a client event on a presence channel: what its authorisation said, in decimal
    /// digits where that was a number.
    #[serde(borrow, default, deserialize_with = "lenient_name")]
    pub user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// A name that a frame must not be lost over: a string, a number as its digits, or else nothing.
fn lenient_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(from)?.map_or("null", RawValue::get);
    Ok(match raw.bytes().next() {
        Some(b'"') => unescaped(raw),
        Some(b'-' | b'0'..=b'9') => Some(raw.into()),
        _ => None,
    })
}

/// The content of a JSON string; `None` if it holds a lone surrogate, which no Rust string can.
fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.0)
}

/// A frame's `data`, in the form in which the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// No `data`, or `null`.
    Absent,
    /// A JSON string: the content after unescaping, as the publisher gave it.
    Text(Cow<'a, str>),
    /// Any other JSON value, as it stood in the frame.
    Json(&'a str),
}

impl<'a> Data<'a> {
    /// The JSON text inside: the string's content, or the value itself.
    pub fn json_text(&self) -> &str {
        match self {
            Self::Absent => "null",
            Self::Text(text) => text,
            Self::Json(text) => text,
        }
    }

    /// The value as pusher-js hands it on: a string is tried as JSON and kept if it is none.
    pub fn decoded(&self) -> Value {
        match self {
            Self::Text(text) => serde_json::from_str(text)
                .unwrap_or_else(|_| Value::String(text.clone().into_owned())),
            other => serde_json::from_str(other.json_text()).unwrap_or_default(),
        }
    }

    /// Reads the JSON text inside into `T`; `None` if it does not fit.
    pub fn read<'s, T: Deserialize<'s>>(&'s self) -> Option<T> {
        serde_json::from_str(self.json_text()).ok()
    }
}

impl<'a> ServerFrame<'a> {
    /// Reads one text frame.
    ///
    /// # Errors
    /// The text is no JSON object with a string `event`.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The `data`, unescaped if it is a string.
    pub fn data(&self) -> Data<'a> {
        let Some(raw) = self.data.map(RawValue::get) else { return Data::Absent };
        if raw == "null" {
            return Data::Absent;
        }
        if !raw.starts_with('"') {
            return Data::Json(raw);
        }
        // The frame parsed, so its string is sound but for a lone surrogate, which no Rust string
        // can hold: the raw form stands for it.
        unescaped(raw).map_or(Data::Json(raw), Data::Text)
    }
}

/// The content of `pusher:connection_established`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Established<'a> {
    /// The new connection's id.
    #[serde(borrow)]
    pub socket_id: Cow<'a, str>,
    /// Seconds of silence after which a client should ping.
    #[serde(default)]
    pub activity_timeout: Option<u64>,
}

/// The content of `pusher:error` and of soketi's `pusher:subscription_error`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorData {
    /// The code, where the server gave an integer.
    pub code: Option<i64>,
    /// The text, empty where the server gave none.
    pub message: String,
}

impl ErrorData {
    /// Reads whatever the server put there; never fails.
    pub fn from_data(data: &Data<'_>) -> Self {
        let value = data.decoded();
        let text = |key| value.get(key).and_then(Value::as_str);
        let number = |key| value.get(key).and_then(Value::as_i64);
        let message = text("message").or_else(|| text("error")).or(value.as_str());
        Self {
            code: number("code").or_else(|| number("status")),
            message: message.unwrap_or_default().to_owned(),
        }
    }
}

#[derive(Serialize)]
struct ClientFrame<'a, D> {
    event: &'a str,
    data: D,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

fn encode<D: Serialize>(event: &str, data: D, channel: Option<&str>) -> String {
    // Only a map with non-string keys or a failing `Serialize` can make this fail.
    serde_json::to_string(&ClientFrame { event, data, channel }).unwrap_or_default()
}

/// `pusher:subscribe`. `auth` is empty for channels that need none; `channel_data` is the very
/// string that was signed.
pub fn subscribe(channel: &str, auth: &str, channel_data: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Subscribe<'a> {
        auth: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel_data: Option<&'a str>,
        channel: &'a str,
    }
    encode("pusher:subscribe", Subscribe { auth, channel_data, channel }, None)
}

/// `pusher:unsubscribe`; no server acknowledges it.
pub fn unsubscribe(channel: &str) -> String {
    #[derive(Serialize)]
    struct Unsubscribe<'a> {
        channel: &'a str,
    }
    encode("pusher:unsubscribe", Unsubscribe { channel }, None)
}

/// `pusher:signin`; `user_data` is the very string that was signed.
pub fn signin(auth: &str, user_data: &str) -> String {
    #[derive(Serialize)]
    struct Signin<'a> {
        auth: &'a str,
        user_data: &'a str,
    }
    encode("pusher:signin", Signin { auth, user_data }, None)
}

/// A client event; `data` is sent as a string, which every server takes.
pub fn client_event(event: &str, channel: &str, data: &str) -> String {
    encode(event, data, Some(channel))
}

/// A client event whose `data` is any JSON value.
pub fn client_event_value(event: &str, channel: &str, data: &Value) -> String {
    encode(event, data, Some(channel))
}

/// `pusher:ping` with the empty object that pusher-js sends.
pub const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
/// The answer to a server's `pusher:ping`.
pub const PONG: &str = r#"{"event":"pusher:pong","data":{}}"#;
