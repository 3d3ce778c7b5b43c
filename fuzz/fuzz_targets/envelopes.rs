#![no_main]
//! Envelopes: what was written is read back by whoever reads it, and what was changed on the way is
//! not taken for it.
//!
//! The input begins with the fields of an envelope, its length, and a place and a byte to change;
//! missing bytes are noughts. What follows is a text that may be an envelope of the same run.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use pusher_canary::model::{ClusterRole, RunId, Seq, StreamIx};
use pusher_canary::verify::envelope::{BYTES_MIN, Envelope, Reader};
use serde_json::Value;
use uuid::Uuid;

/// Bytes of an event's data at most.
const PAYLOAD_BYTES_MAX: u16 = 10_240;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok((written, payload_bytes, change)) = take(&mut input) else { return };
    let reader = Reader::new(written.run, written.cluster);
    let text = written.encode(payload_bytes);
    assert!(payload_bytes < BYTES_MIN || text.len() == payload_bytes);
    assert_eq!(Envelope::decode(&text), Some(written));
    assert_eq!(reader.read(&quoted(&text)), Some(written));
    check_changed(&written, &text, change);
    check_text(&reader, &String::from_utf8_lossy(input.take_rest()));
});

/// An envelope, the bytes that it shall have, and which of them is to become what.
fn take(input: &mut Unstructured<'_>) -> Result<(Envelope, usize, (usize, u8))> {
    let envelope = Envelope {
        run: RunId(Uuid::from_u128(input.arbitrary()?)),
        cluster: if input.arbitrary()? { ClusterRole::Old } else { ClusterRole::New },
        stream: StreamIx(input.arbitrary()?),
        seq: Seq(input.arbitrary()?),
        at_us: input.arbitrary()?,
    };
    let payload_bytes = input.arbitrary::<u16>()? % (PAYLOAD_BYTES_MAX + 1);
    let change = (usize::from(input.arbitrary::<u16>()?), input.arbitrary()?);
    Ok((envelope, usize::from(payload_bytes), change))
}

/// As it stands in a frame, between the quotes.
fn quoted(text: &str) -> String {
    let string = serde_json::to_string(text).expect("a text is JSON");
    string[1..string.len() - 1].to_owned()
}

/// A text with another byte at this place; `None` if that is no text, which no frame can carry.
fn changed(text: &str, (place, byte): (usize, u8)) -> Option<String> {
    let mut bytes = text.to_owned().into_bytes();
    let at = place % bytes.len();
    bytes[at] = byte;
    String::from_utf8(bytes).ok()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("an envelope is JSON")
}

/// Whoever reads a changed text reads nothing, unless nothing was changed that it says.
fn check_changed(written: &Envelope, text: &str, change: (usize, u8)) {
    let reader = Reader::new(written.run, written.cluster);
    if let Some(changed) = changed(text, change) {
        if let Some(read) = Envelope::decode(&changed) {
            assert_eq!(read, *written, "{changed}");
            assert_eq!(value(&changed), value(text));
        }
        check_text(&reader, &changed);
    }
    let text = quoted(text);
    if let Some(changed) = changed(&text, change)
        && let Some(read) = reader.read(&changed)
    {
        assert_eq!((read, &changed), (*written, &text));
    }
}

/// Whatever a reader takes, decoding takes alike. The reader may take less.
fn check_text(reader: &Reader, text: &str) {
    let escaped = quoted(text);
    let decoded = Envelope::decode(text);
    if let Some(read) = reader.read(&escaped) {
        assert_eq!(decoded, Some(read), "{text}");
    }
    if let Some(decoded) = decoded {
        let own = Reader::new(decoded.run, decoded.cluster).read(&escaped);
        assert!(own.is_none_or(|read| read == decoded), "{text}");
        assert_eq!(Envelope::decode(&decoded.encode(text.len().min(1 << 16))), Some(decoded));
    }
    // The same where the text is what stands between the quotes.
    if let Some(read) = reader.read(text) {
        let content = serde_json::from_str::<String>(&format!("\"{text}\""));
        let content = content.expect("a reader knows every byte of what it takes");
        assert_eq!(Envelope::decode(&content), Some(read), "{text}");
    }
}
