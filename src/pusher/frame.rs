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

/// A frame about an event on a channel in the form that servers write, taken apart without looking
/// at all of it: names without escapes, no blanks, no other members.
///
/// Nobody has looked into `data` yet. Whoever takes it must know every byte of it, or else parse
/// the whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simple<'a> {
    /// The event's name.
    pub event: &'a str,
    /// The channel.
    pub channel: &'a str,
    /// What stands between the quotes of `data`, if it is a string indeed.
    pub data: &'a str,
}

impl<'a> Simple<'a> {
    /// Takes a frame apart; `None` if it has another form.
    pub fn read(text: &'a str) -> Option<Self> {
        let (mut event, mut channel) = (None, None);
        let mut rest = text.strip_prefix('{')?;
        loop {
            let (name, value) = if let Some(value) = rest.strip_prefix(r#""event":""#) {
                (&mut event, value)
            } else if let Some(value) = rest.strip_prefix(r#""channel":""#) {
                (&mut channel, value)
            } else {
                break;
            };
            let (value, behind) = value.split_at_checked(simple_length(value))?;
            if name.replace(value).is_some() {
                return None;
            }
            rest = behind.strip_prefix("\",")?;
        }
        let data = rest.strip_prefix(r#""data":""#)?.strip_suffix(r#""}"#)?;
        let (data, channel) = match channel {
            Some(channel) => (data, channel),
            None => {
                let (data, channel) = data.rsplit_once(r#"","channel":""#)?;
                (data, Some(channel).filter(|text| simple_length(text) == text.len())?)
            }
        };
        Some(Self { event: event?, channel, data })
    }
}

/// How many bytes of a text stand for themselves in a JSON string, up to the first that does not.
fn simple_length(text: &str) -> usize {
    let is_simple = |byte: &u8| *byte >= b' ' && !matches!(byte, b'"' | b'\\');
    text.as_bytes().iter().take_while(|byte| is_simple(byte)).count()
}

/// The content of `pusher:connection_established`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Established<'a> {
    /// The new connection's id.
    #[serde(borrow)]
    pub socket_id: Cow<'a, str>,
    /// Seconds of silence after which a client should ping; `None` where that is no number from 0
    /// on, for such a server has an id all the same.
    #[serde(default, deserialize_with = "whole_seconds")]
    pub activity_timeout: Option<u64>,
}

fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Value::deserialize(deserializer)?.as_f64().filter(|seconds| *seconds >= 0.0);
    // What is longer than time is becomes the longest there is.
    Ok(number.map(|seconds| seconds as u64))
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

/// A client event; `data` is sent as a string. Every server takes the JSON text of an object;
/// Reverb takes no other text, and hands it on as an object of other bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_data_borrow_from_the_frame_unless_escaped() {
        let text = r#"{"event":"e","channel":"c","user_id":"u","data":"d"}"#;
        let frame = ServerFrame::parse(text).unwrap();
        assert!(matches!(frame.event, Cow::Borrowed("e")));
        assert!(matches!(frame.channel, Some(Cow::Borrowed("c"))));
        assert!(matches!(frame.user_id, Some(Cow::Borrowed("u"))));
        assert!(matches!(frame.data(), Data::Text(Cow::Borrowed("d"))));
        let text = r#"{"event":"\u0065","channel":"\"","data":"\\"}"#;
        let frame = ServerFrame::parse(text).unwrap();
        assert_eq!((&*frame.event, frame.channel.as_deref()), ("e", Some("\"")));
        assert_eq!(frame.data(), Data::Text("\\".into()));
    }

    #[test]
    fn a_handshake_with_a_strange_timeout_has_an_id_all_the_same() {
        for (written, seconds) in [
            ("120", Some(120)),
            ("30.5", Some(30)),
            ("0", Some(0)),
            ("-1", None),
            ("1e300", Some(u64::MAX)),
            ("\"soon\"", None),
            ("null", None),
        ] {
            let text = format!(r#"{{"socket_id":"1.2","activity_timeout":{written}}}"#);
            let read: Established<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!((&*read.socket_id, read.activity_timeout), ("1.2", seconds), "{written}");
        }
    }

    #[test]
    fn a_simple_frame_is_taken_apart_as_it_is_parsed() {
        for text in [
            r#"{"event":"e","channel":"c","data":"{\"a\":1}"}"#,
            r#"{"event":"e","data":"{\"a\":1}","channel":"c"}"#,
            r#"{"channel":"c","event":"e","data":"{\"a\":1}"}"#,
            r#"{"event":"é","channel":"c","data":""}"#,
        ] {
            let (simple, frame) = (Simple::read(text).unwrap(), ServerFrame::parse(text).unwrap());
            assert_eq!(
                (simple.event, Some(simple.channel)),
                (&*frame.event, frame.channel.as_deref())
            );
            let data: String = serde_json::from_str(&format!("\"{}\"", simple.data)).unwrap();
            assert_eq!(frame.data(), Data::Text(data.into()));
        }
        for text in [
            "",
            "{}",
            r#"{"event":"e","data":"d"}"#,
            r#"{"event":"e","channel":"c"}"#,
            r#"{"event":"e","channel":"c","data":{}}"#,
            r#"{"event":"e","channel":"c","data":"d"} "#,
            r#"{"event":"e","channel":"c","data":"d","user_id":"u"}"#,
            r#"{"event":"\u0065","channel":"c","data":"d"}"#,
            r#"{"event":"e","data":"d","channel":"\""}"#,
            r#"{"event":"e","event":"f","channel":"c","data":"d"}"#,
            "{\"event\":\"e\",\"channel\":\"\t\",\"data\":\"d\"}",
        ] {
            let found = Simple::read(text);
            let is_none = found.is_none_or(|found| found.data.contains('"'));
            assert!(is_none, "{text}: {found:?}");
        }
    }

    #[test]
    fn a_frame_is_not_lost_over_a_name_of_another_type() {
        for (name, read) in [("10", Some("10")), ("-1.5", Some("-1.5")), ("\"\"", Some(""))]
            .into_iter()
            .chain(["null", "true", "{}", "[1]", r#""\ud83d""#].map(|name| (name, None)))
        {
            let text = format!(r#"{{"event":"e","channel":{name},"user_id":{name},"data":"d"}}"#);
            let frame = ServerFrame::parse(&text).unwrap();
            assert_eq!((frame.channel.as_deref(), frame.user_id.as_deref()), (read, read));
        }
    }

    #[test]
    fn only_an_object_with_a_name_is_a_frame() {
        for text in ["", "{}", "[]", "null", r#"{"event":1}"#, r#"{"event":"e"} x"#, r#"{"event":"#]
        {
            assert!(ServerFrame::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn data_keeps_the_text_that_was_published() {
        let data = |json: &str| {
            let text = format!(r#"{{"event":"e","data":{json}}}"#);
            let frame = ServerFrame::parse(&text).unwrap();
            let data = frame.data();
            (data.json_text().to_owned(), data.decoded())
        };
        let long = r#""\u00e9 \ud83d\ude00 1.0""#;
        assert_eq!(data(long), ("é 😀 1.0".to_owned(), Value::from("é 😀 1.0")));
        assert_eq!(data(r#""1.0""#), ("1.0".to_owned(), Value::from(1.0)));
        assert_eq!(data(r#"{"a": 1}"#), (r#"{"a": 1}"#.to_owned(), serde_json::json!({"a": 1})));
        assert_eq!(data("null"), ("null".to_owned(), Value::Null));
        // No Rust string holds half a surrogate pair: the JSON text stands for it.
        assert_eq!(data(r#""\ud83d""#), (r#""\ud83d""#.to_owned(), Value::Null));
    }

    #[test]
    fn an_error_is_read_whatever_its_form() {
        for (data, code, message) in [
            (r#"{"code":4001,"message":"no"}"#, Some(4001), "no"),
            (r#""{\"code\":4200,\"message\":\"bad\"}""#, Some(4200), "bad"),
            (r#"{"code":null,"message":"no"}"#, None, "no"),
            (r#"{"type":"AuthError","error":"no","status":401}"#, Some(401), "no"),
            (r#"{"code":null,"status":401,"message":null,"error":"no"}"#, Some(401), "no"),
            (r#"{"code":"x","message":[]}"#, None, ""),
            (r#""plain""#, None, "plain"),
            ("7", None, ""),
            ("null", None, ""),
        ] {
            let text = format!(r#"{{"event":"pusher:error","data":{data}}}"#);
            let read = ErrorData::from_data(&ServerFrame::parse(&text).unwrap().data());
            assert_eq!(read, ErrorData { code, message: message.to_owned() }, "{data}");
        }
    }

    #[test]
    fn what_is_sent_is_escaped() {
        let frame = client_event("client-x", "presence-a", "\"\\\n\u{1}é");
        let expected = r#"{"event":"client-x","data":"\"\\\n\u0001é","channel":"presence-a"}"#;
        assert_eq!(frame, expected);
    }
}
