//! What an event of the application is known by: digests, never its text.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::model::channel::kind_of;

/// Bytes of a digest: two different texts share one with a chance of one in 2^128.
pub type Digest = [u8; 16];

/// Whole numbers below this are the same as floating-point numbers: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What one event is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The digest of its id, where it has one.
    pub id: Option<Digest>,
    /// The digest of its whole content.
    pub content: Digest,
}

/// Makes identities that nobody outside this run can compare with anything.
#[derive(Clone)]
pub struct Identifier {
    key: [u8; 32],
    /// Where an event's id is: a JSON pointer (RFC 6901).
    pointer: Option<String>,
}

/// What is digested: digests of an id and of a content are never equal.
#[derive(Clone, Copy)]
enum What {
    Id,
    Json,
    /// What is no JSON is known by its bytes.
    Bytes,
    Name,
}

impl Identifier {
    /// One for a run: `key` is to be drawn for it. `pointer` says where an event's id is.
    pub const fn new(key: [u8; 32], pointer: Option<String>) -> Self {
        Self { key, pointer }
    }

    /// The identity of this data. JSON is compared by its value: members in whatever order, numbers
    /// in whatever notation. An id is a string, a number or a truth value; where there is none, the
    /// content alone is known.
    pub fn identify(&self, data: &str) -> Identity {
        let Ok(json) = serde_json::from_str::<Value>(data) else {
            return Identity { id: None, content: self.digest(What::Bytes, data.as_bytes()) };
        };
        let id = self.pointer.as_ref().and_then(|pointer| json.pointer(pointer));
        let id = id.filter(|id| id.is_string() || id.is_number() || id.is_boolean());
        let id = id.map(|id| self.digest(What::Id, canonical(id.clone()).as_bytes()));
        Identity { id, content: self.digest(What::Json, canonical(json).as_bytes()) }
    }

    /// What a name is replaced with: always the same within a run.
    pub fn redact(&self, name: &str) -> String {
        let digest = self.digest(What::Name, name.as_bytes());
        let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("#{digits}")
    }

    /// The same for a channel's name: the prefix of its kind stays.
    pub fn redact_channel(&self, name: &str) -> String {
        format!("{}{}", kind_of(name).prefix(), self.redact(name))
    }

    fn digest(&self, what: What, text: &[u8]) -> Digest {
        let mut digest = Digest::default();
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return digest };
        mac.update(&[what as u8]);
        mac.update(text);
        let whole = mac.finalize().into_bytes();
        for (to, from) in digest.iter_mut().zip(whole) {
            *to = from;
        }
        digest
    }
}

/// A value as text that equal values share. Members are sorted by their names, as serde_json's maps
/// are.
fn canonical(mut value: Value) -> String {
    unify_numbers(&mut value);
    value.to_string()
}

/// Writes whole numbers as such: `1.0` and `1e0` are `1`.
fn unify_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < EXACT);
            if let Some(whole) = whole.filter(|_| number.is_f64()) {
                *number = (whole as i64).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(unify_numbers),
        Value::Object(members) => members.values_mut().for_each(unify_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: &str) -> Identity {
        Identifier::new([7; 32], Some("/order/id".to_owned())).identify(data)
    }

    #[test]
    fn json_is_known_by_its_value_and_anything_else_by_its_bytes() {
        for (one, other, is_same) in [
            (r#"{"a":1,"b":[true,null]}"#, r#"{ "b": [true, null], "a": 1 }"#, true),
            (r#"{"a":1}"#, r#"{"a":1.0}"#, true),
            (r#"{"a":100}"#, r#"{"a":1e2}"#, true),
            (r#"{"a":-0.0}"#, r#"{"a":0}"#, true),
            (r#""\u00fc""#, "\"ü\"", true),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            (r#"{"a":1}"#, r#"{"a":"1"}"#, false),
            (r#"{"a":0.1}"#, r#"{"a":0.10000001}"#, false),
            (r#"[1,2]"#, r#"[2,1]"#, false),
            (r#"9007199254740993"#, r#"9007199254740992"#, false),
            ("hello", "hello", true),
            ("hello", "\"hello\"", false),
            ("{\"a\":1", "{\"a\":1 ", false),
            ("", "null", false),
        ] {
            assert_eq!(of(one) == of(other), is_same, "{one} and {other}");
        }
    }

    #[test]
    fn an_id_is_what_the_pointer_finds_if_that_is_one() {
        let id = |data| of(data).id;
        assert!(id(r#"{"order":{"id":"a7"}}"#).is_some());
        assert_eq!(id(r#"{"order":{"id":7}}"#), id(r#"{"order":{"id":7.0},"more":1}"#));
        assert_ne!(id(r#"{"order":{"id":7}}"#), id(r#"{"order":{"id":"7"}}"#));
        for none in
            [r#"{"order":{}}"#, r#"{"order":{"id":null}}"#, r#"{"order":{"id":[1]}}"#, "7", "{"]
        {
            assert_eq!(id(none), None, "{none}");
        }
        let unnamed = Identifier::new([7; 32], None);
        assert_eq!(unnamed.identify(r#"{"order":{"id":"a7"}}"#).id, None);
    }

    #[test]
    fn another_run_knows_the_same_event_by_other_digests() {
        let other = Identifier::new([8; 32], Some("/order/id".to_owned()));
        let data = r#"{"order":{"id":"a7"}}"#;
        let (one, other) = (of(data), other.identify(data));
        assert!(one.id != other.id && one.content != other.content);
        // Nor is an id ever taken for a content.
        assert_ne!(of(r#"{"order":{"id":"a7"}}"#).id, Some(of("\"a7\"").content));
    }

    #[test]
    fn a_name_is_replaced_by_digits_that_keep_its_kind_and_differ_from_run_to_run() {
        let (one, other) = (Identifier::new([7; 32], None), Identifier::new([8; 32], None));
        let name = "private-encrypted-alice";
        let shown = one.redact_channel(name);
        assert_eq!(shown, one.redact_channel(name));
        assert_ne!(shown, other.redact_channel(name));
        assert!(shown.starts_with("private-encrypted-#") && shown.len() == 27, "{shown}");
        assert_eq!(one.redact("placed").len(), 9);
    }

    #[test]
    fn what_is_nested_deeper_than_anybody_reads_is_bytes() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(of(&deep), of(&deep));
        assert_eq!(of(&deep).id, None);
    }
}
