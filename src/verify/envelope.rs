//! The canary's data: a JSON object that describes itself, with a checksum over every value.
//!
//! Written as `{"v":1,"run":…,"cluster":…,"stream":…,"seq":…,"at":…,"pad":…,"sum":…}`. `sum` is the
//! CRC-32 of the text before `,"sum"` in exactly this form. It is reckoned again from the values,
//! so that a server which re-serialises a client event's data (Reverb does) breaks nothing, while
//! any changed value does.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use crate::model::{ClusterRole, RunId, Seq, StreamIx};

/// The version of the envelope's form.
const VERSION: u32 = 1;
/// Fewest bytes that hold an envelope with the longest values of every field.
pub const BYTES_MIN: usize = 192;
/// What envelopes are padded with, over and over.
const PAD: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// The event name of canary events published over HTTP.
pub const EVENT: &str = "pc-canary";
/// The event name of canary events sent as client events, which the protocol wants prefixed.
pub const CLIENT_EVENT: &str = "client-pc-canary";

/// What a canary event says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The run that published it.
    pub run: RunId,
    /// The cluster that it was published to.
    pub cluster: ClusterRole,
    /// Its stream.
    pub stream: StreamIx,
    /// Its place in the stream.
    pub seq: Seq,
    /// The scheduled instant: microseconds since the Unix epoch.
    pub at_us: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    v: u32,
    #[serde(borrow)]
    run: Cow<'a, str>,
    cluster: ClusterRole,
    stream: u32,
    seq: u64,
    at: u64,
    #[serde(borrow)]
    pad: Cow<'a, str>,
    #[serde(borrow)]
    sum: Cow<'a, str>,
}

impl Envelope {
    /// The envelope as text, padded to `payload_bytes`; longer only if that is below
    /// [`BYTES_MIN`].
    pub fn encode(&self, payload_bytes: usize) -> String {
        const TAIL_BYTES: usize = r#"","sum":"01234567"}"#.len();
        let mut text = String::with_capacity(payload_bytes.max(BYTES_MIN));
        // Writing to a String cannot fail.
        let _ = self.write_head(&mut text);
        while text.len() + TAIL_BYTES < payload_bytes {
            let room = payload_bytes - TAIL_BYTES - text.len();
            text.push_str(PAD.get(..room).unwrap_or(PAD));
        }
        text.push('"');
        let sum = crc32fast::hash(text.as_bytes());
        let _ = write!(text, r#","sum":"{sum:08x}"}}"#);
        text
    }

    /// Reads an envelope; `None` unless every value is what was written.
    pub fn decode(text: &str) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_str(text).ok()?;
        let run = Uuid::try_parse(&wire.run).ok()?;
        // One way of writing each value: a letter in the other case is a changed letter.
        let mut written = Uuid::encode_buffer();
        let lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if *run.hyphenated().encode_lower(&mut written) != *wire.run
            || wire.sum.len() != 8
            || !wire.sum.bytes().all(lower_hex)
        {
            return None;
        }
        let envelope = Self {
            run: RunId(run),
            cluster: wire.cluster,
            stream: StreamIx(wire.stream),
            seq: Seq(wire.seq),
            at_us: wire.at,
        };
        let mut sum = Crc(crc32fast::Hasher::new());
        envelope.write_head(&mut sum).ok()?;
        sum.write_str(&wire.pad).ok()?;
        sum.write_str("\"").ok()?;
        let written = u32::from_str_radix(&wire.sum, 16).ok()?;
        (wire.v == VERSION && sum.0.finalize() == written).then_some(envelope)
    }

    /// Everything before the padding's first character.
    fn write_head(&self, out: &mut impl Write) -> fmt::Result {
        write_start(out, self.run, self.cluster)?;
        write!(out, r#"{},"seq":{},"at":{},"pad":""#, self.stream.0, self.seq.0, self.at_us)
    }
}

/// Everything before the stream's number: the same for a whole run.
fn write_start(out: &mut impl Write, run: RunId, cluster: ClusterRole) -> fmt::Result {
    write!(out, r#"{{"v":{VERSION},"run":"{run}","cluster":"{cluster}","stream":"#)
}

/// Reads one run's envelopes where they stand in frames: as the content of a JSON string, whose
/// quotes are escaped. It knows the one form that [`Envelope::encode`] writes, and allocates
/// nothing: this is done for every delivery.
#[derive(Clone, Debug)]
pub struct Reader {
    run: RunId,
    cluster: ClusterRole,
    /// What every envelope begins with, its quotes escaped.
    start: Arc<str>,
    /// The checksum of that, as it was before its quotes were escaped.
    sum: crc32fast::Hasher,
}

impl Reader {
    /// One for what this run publishes to this cluster.
    pub fn new(run: RunId, cluster: ClusterRole) -> Self {
        let mut start = String::new();
        // Writing to a String cannot fail.
        let _ = write_start(&mut start, run, cluster);
        let mut sum = crc32fast::Hasher::new();
        sum.update(start.as_bytes());
        Self { run, cluster, start: start.replace('"', "\\\"").into(), sum }
    }

    /// Reads an envelope. `None` for anything but an intact one of the run in the usual form: what
    /// it is, if it is one, [`Envelope::decode`] says.
    pub fn read(&self, quoted: &str) -> Option<Envelope> {
        const TAIL_BYTES: usize = r#"\",\"sum\":\"01234567\"}"#.len();
        let mut rest = quoted.as_bytes().strip_prefix(self.start.as_bytes())?;
        let mut head = Head { bytes: [0; HEAD_BYTES_MAX], written: 0 };
        let stream = u32::try_from(head.number(&mut rest)?).ok()?;
        head.literal(&mut rest, br#",\"seq\":"#, br#","seq":"#)?;
        let seq = head.number(&mut rest)?;
        head.literal(&mut rest, br#",\"at\":"#, br#","at":"#)?;
        let at_us = head.number(&mut rest)?;
        head.literal(&mut rest, br#",\"pad\":\""#, br#","pad":""#)?;
        let (pad, tail) = rest.split_at_checked(rest.len().checked_sub(TAIL_BYTES)?)?;
        if !pad.chunks(PAD.len()).all(|part| PAD.as_bytes().starts_with(part)) {
            return None;
        }
        let written = tail.strip_prefix(br#"\",\"sum\":\""#)?.strip_suffix(br#"\"}"#)?;
        let mut sum = self.sum.clone();
        // In one piece where it fits: short ones take longer.
        if head.written + pad.len() < HEAD_BYTES_MAX {
            head.put(pad)?;
            head.put(b"\"")?;
            sum.update(head.bytes.get(..head.written)?);
        } else {
            sum.update(head.bytes.get(..head.written)?);
            sum.update(pad);
            sum.update(b"\"");
        }
        (written == hex(sum.finalize())).then_some(Envelope {
            run: self.run,
            cluster: self.cluster,
            stream: StreamIx(stream),
            seq: Seq(seq),
            at_us,
        })
    }
}

/// Room for what is between the run and the padding, which is 71 bytes at most, and for the padding
/// of an event of the usual size.
const HEAD_BYTES_MAX: usize = 256;

/// The text that the checksum is reckoned over, put together from what was read.
struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    written: usize,
}

impl Head {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.written + bytes.len();
        self.bytes.get_mut(self.written..end)?.copy_from_slice(bytes);
        self.written = end;
        Some(())
    }

    /// Takes this text from the front of `rest`.
    fn literal(&mut self, rest: &mut &[u8], quoted: &[u8], plain: &[u8]) -> Option<()> {
        *rest = rest.strip_prefix(quoted)?;
        self.put(plain)
    }

    /// Takes a number from the front of `rest`, in the one form that JSON has for it.
    fn number(&mut self, rest: &mut &[u8]) -> Option<u64> {
        let (mut number, mut length) = (0_u64, 0);
        for digit in rest.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|d| *d < 10) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            length += 1;
        }
        let (digits, behind) = rest.split_at_checked(length)?;
        if digits.is_empty() || length > 1 && digits.starts_with(b"0") {
            return None;
        }
        *rest = behind;
        self.put(digits)?;
        Some(number)
    }
}

/// A checksum as it is written: eight hexadecimal digits, of which no letter is a capital.
fn hex(sum: u32) -> [u8; 8] {
    std::array::from_fn(|place| {
        let value = (sum >> (28 - 4 * place)) as u8 & 0xF;
        value + if value < 10 { b'0' } else { b'a' - 10 }
    })
}

struct Crc(crc32fast::Hasher);

impl Write for Crc {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            run: RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab)),
            cluster: ClusterRole::New,
            stream: StreamIx(3),
            seq: Seq(77),
            at_us: 1_753_600_000_123_456,
        }
    }

    #[test]
    fn an_envelope_is_as_long_as_asked_and_reads_back() {
        for bytes in [BYTES_MIN, 256, 1_000, 10_240] {
            let text = envelope().encode(bytes);
            assert_eq!(text.len(), bytes);
            assert_eq!(Envelope::decode(&text), Some(envelope()));
        }
    }

    #[test]
    fn the_longest_values_fit_the_smallest_payload() {
        let longest = Envelope {
            stream: StreamIx(u32::MAX),
            seq: Seq(u64::MAX),
            at_us: u64::MAX,
            ..envelope()
        };
        assert_eq!(longest.encode(BYTES_MIN).len(), BYTES_MIN);
    }

    #[test]
    fn the_checksum_is_the_crc_32_of_the_text_before_it() {
        // Reckoned with Python's zlib.crc32 over the literal below.
        let text = concat!(
            r#"{"v":1,"run":"01900000-0000-7000-8000-0000000000ab","cluster":"new","#,
            r#""stream":3,"seq":77,"at":1753600000123456,"pad":"","sum":"SUM"}"#
        );
        let sum = crc32fast::hash(text.split(r#","sum""#).next().unwrap_or_default().as_bytes());
        let text = text.replace("SUM", &format!("{sum:08x}"));
        assert_eq!(Envelope::decode(&text), Some(envelope()));
    }

    #[test]
    fn any_changed_letter_or_digit_is_found() {
        let text = envelope().encode(256);
        for (at, byte) in text.bytes().enumerate().filter(|(_, b)| b.is_ascii_alphanumeric()) {
            let other = if byte == b'7' { b'3' } else { b'7' };
            let flipped = byte ^ if byte.is_ascii_alphabetic() { 0x20 } else { 1 };
            for changed_to in [other, flipped, b'+'] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = changed_to;
                let changed = String::from_utf8(bytes).unwrap();
                assert_eq!(Envelope::decode(&changed), None, "at {at}: {changed}");
            }
        }
    }

    /// As it stands in a frame.
    fn quoted(text: &str) -> String {
        let string = serde_json::to_string(text).unwrap();
        string[1..string.len() - 1].to_owned()
    }

    #[test]
    fn a_reader_reads_what_its_run_wrote_and_nothing_else() {
        let Envelope { run, cluster, .. } = envelope();
        let reader = Reader::new(run, cluster);
        for at_us in [0, 7, u64::MAX] {
            for bytes in [BYTES_MIN, BYTES_MIN + 1, 256, 1_000, 10_240] {
                let (stream, seq) = (StreamIx(u32::MAX), Seq(at_us));
                let written = Envelope { stream, seq, at_us, ..envelope() };
                assert_eq!(reader.read(&quoted(&written.encode(bytes))), Some(written));
            }
        }
        let other_run = RunId(Uuid::from_u128(7));
        for other in [
            Envelope { run: other_run, ..envelope() },
            Envelope { cluster: ClusterRole::Old, ..envelope() },
        ] {
            assert_eq!(reader.read(&quoted(&other.encode(256))), None);
        }
        // Not as a string stands in a frame.
        assert_eq!(reader.read(&envelope().encode(256)), None);
        assert_eq!(reader.read(""), None);
    }

    #[test]
    fn what_a_reader_reads_decoding_reads_alike_whatever_byte_is_changed() {
        let Envelope { run, cluster, .. } = envelope();
        let reader = Reader::new(run, cluster);
        let text = quoted(&envelope().encode(256));
        let mut tried = 0;
        for at in 0..text.len() {
            for byte in 0x20..0x7F {
                let mut changed = text.clone().into_bytes();
                changed[at] = byte;
                let changed = String::from_utf8(changed).unwrap();
                if let Some(read) = reader.read(&changed) {
                    let content: String = serde_json::from_str(&format!("\"{changed}\"")).unwrap();
                    assert_eq!(Envelope::decode(&content), Some(read), "{changed}");
                    assert_eq!(changed, text);
                }
                tried += 1;
            }
            assert_eq!(reader.read(&format!("{}{}", &text[..at], &text[at + 1..])), None);
            assert_eq!(reader.read(&text[..at]), None);
        }
        assert!(tried > 20_000);
    }

    #[test]
    fn a_reserialised_envelope_is_intact_and_one_with_more_or_fewer_fields_is_not() {
        let value: serde_json::Value = serde_json::from_str(&envelope().encode(256)).unwrap();
        assert_eq!(Envelope::decode(&format!("{value:#}")), Some(envelope()));
        let mut more = value.clone();
        more["x"] = 1.into();
        assert_eq!(Envelope::decode(&more.to_string()), None);
        let mut fewer = value;
        fewer.as_object_mut().unwrap().remove("pad");
        assert_eq!(Envelope::decode(&fewer.to_string()), None);
        assert_eq!(Envelope::decode("not json"), None);
    }
}
