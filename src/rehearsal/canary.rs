//! What the clusters know of canary events: their name, their place in a stream, and how to spoil
//! one. The envelope's other fields are none of their business.

use rand::Rng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use crate::model::channel::kind_of;
use crate::pusher::encrypt::SharedSecret;

use super::hub::Message;
use super::wire::{self, Data, Text};

/// The name of published canary events.
pub const EVENT: &str = "pc-canary";
/// The name of canary events that clients send.
pub const CLIENT_EVENT: &str = "client-pc-canary";

/// A canary event's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The stream's index.
    pub stream: u64,
    /// The place in the stream.
    pub seq: u64,
}

/// Reads a canary event's place from its data. On an encrypted channel that takes the master key.
/// `None` if it cannot be read.
pub fn mark(channel: &str, data: &str, peek_key: Option<&[u8; 32]>) -> Option<Mark> {
    if kind_of(channel).is_encrypted() {
        let plain = SharedSecret::derive(channel, peek_key?).open(data)?;
        return serde_json::from_str(&plain).ok();
    }
    serde_json::from_str(data).ok()
}

/// The event's frame with exactly one ASCII letter or digit inside its data replaced by another
/// one, which differs by more than its case. `None` if there is none to replace.
pub fn corrupted(message: &Message, rng: &mut SmallRng) -> Option<Text> {
    let content = message.data.content();
    let places = match &message.data {
        Data::Text(text) => alphanumerics(text),
        // Outside of its strings, almost any change would spoil the whole frame.
        Data::Json(text) => alphanumerics_in_strings(text),
    };
    let place = *places.get(rng.random_range(0..places.len().max(1)))?;
    let mut bytes = content.as_bytes().to_vec();
    let byte = bytes.get_mut(place)?;
    *byte = another(*byte, rng);
    let content = String::from_utf8(bytes).ok()?;
    let data = match &message.data {
        Data::Text(_) => Data::Text(content),
        Data::Json(_) => Data::Json(content),
    };
    Some(wire::event(&message.event, &message.channel, &data, message.user_id.as_deref()))
}

fn another(byte: u8, rng: &mut SmallRng) -> u8 {
    let (first, size) = match byte {
        b'0'..=b'9' => (b'0', 10),
        b'a'..=b'z' => (b'a', 26),
        _ => (b'A', 26),
    };
    first + (byte - first + rng.random_range(1..size)) % size
}

fn alphanumerics(text: &str) -> Vec<usize> {
    let bytes = text.bytes().enumerate();
    bytes.filter(|(_, byte)| byte.is_ascii_alphanumeric()).map(|(at, _)| at).collect()
}

/// Letters and digits within the strings of a JSON text, escapes left out.
fn alphanumerics_in_strings(text: &str) -> Vec<usize> {
    let (mut places, mut in_string, mut skip) = (Vec::new(), false, 0_u32);
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
            skip = if byte == b'u' { 4 } else { 0 };
        } else if skip > 0 {
            skip -= 1;
        } else if byte == b'"' {
            in_string = !in_string;
        } else if in_string && byte == b'\\' {
            escaped = true;
        } else if in_string && byte.is_ascii_alphanumeric() {
            places.push(at);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn message(data: Data) -> Message {
        let frame = wire::event(EVENT, "private-a", &data, None);
        Message { event: EVENT.to_owned(), channel: "private-a".into(), data, user_id: None, frame }
    }

    /// The data of both frames, as JSON values.
    fn data_of(text: &str) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(text).unwrap()["data"].take()
    }

    #[test]
    fn the_place_is_read_leniently() {
        let at = |stream, seq| Some(Mark { stream, seq });
        assert_eq!(mark("a", r#"{"v":9,"seq":77,"pad":"x","stream":3}"#, None), at(3, 77));
        for bad in ["", "7", "{}", r#"{"stream":3}"#, r#"{"stream":-1,"seq":0}"#] {
            assert_eq!(mark("a", bad, None), None, "{bad}");
        }
    }

    #[test]
    fn an_encrypted_event_is_opened_with_the_master_key() {
        let (channel, key) = ("private-encrypted-a", [7; 32]);
        let sealed = SharedSecret::derive(channel, &key).seal(r#"{"stream":3,"seq":77}"#, &[1; 24]);
        assert_eq!(mark(channel, &sealed, Some(&key)), Some(Mark { stream: 3, seq: 77 }));
        assert_eq!(mark(channel, &sealed, Some(&[8; 32])), None);
        assert_eq!(mark(channel, &sealed, None), None);
    }

    #[test]
    fn corruption_replaces_one_letter_or_digit_and_leaves_the_frame_sound() {
        let mut rng = SmallRng::seed_from_u64(1);
        let text = r#"{"v":1,"at":"aZ\n \"é","pad":"00ff"}"#;
        for data in [Data::Text(text.to_owned()), Data::Json(text.to_owned())] {
            let message = message(data);
            let before = match &message.data {
                Data::Text(text) => text.clone(),
                Data::Json(_) => data_of(&message.frame).to_string(),
            };
            for _ in 0..500 {
                let after = match data_of(&corrupted(&message, &mut rng).unwrap()) {
                    serde_json::Value::String(text) => text,
                    value => value.to_string(),
                };
                if let Data::Json(_) = message.data {
                    // Keys may have changed their order; the number of characters has not.
                    assert_ne!(before, after);
                    assert_eq!(before.len(), after.len());
                    continue;
                }
                let differ: Vec<_> =
                    before.bytes().zip(after.bytes()).filter(|(a, b)| a != b).collect();
                let [(a, b)] = differ[..] else { panic!("{differ:?}") };
                assert!(a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric());
                assert!(!a.eq_ignore_ascii_case(&b));
            }
        }
    }

    #[test]
    fn what_holds_no_letter_or_digit_cannot_be_corrupted() {
        let mut rng = SmallRng::seed_from_u64(1);
        for data in [Data::Text("{}".to_owned()), Data::Json(r#"{"\u00e9\n":1}"#.to_owned())] {
            assert_eq!(corrupted(&message(data), &mut rng), None);
        }
    }
}
