//! The journal: a run's record as JSON lines, each chained to the one before by a hash.
//!
//! Pure: records in, lines out, and back. A line is `{"record":…,"chain":"…"}`, where the chain is
//! the first 128 bits of SHA-256 over the chain before and the record as it is written. It shows
//! damage and clumsy hands, not forgery: whoever rewrites all of it can chain it anew.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::number;
use crate::verify::account::Account;
use crate::verify::record::{End, Record};

/// The version of the journal's form, part of the first link.
const FORM: &str = "pusher-canary journal 1";
/// What stands between a record and its chain.
const SEAM: &str = r#","chain":""#;
const HEAD: &str = r#"{"record":"#;

/// A link of the chain: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link(String);

impl Default for Link {
    fn default() -> Self {
        Self(String::new()).next(FORM)
    }
}

impl Link {
    fn next(&self, record: &str) -> Self {
        let hash = Sha256::new().chain_update(&self.0).chain_update(record).finalize();
        let mut digits = hex::encode(hash);
        digits.truncate(32);
        Self(digits)
    }
}

/// Writes lines.
#[derive(Debug, Default)]
pub struct Encoder {
    last: Link,
}

impl Encoder {
    /// The next line, with its line break.
    pub fn line(&mut self, record: &Record) -> String {
        // Every map key is a string or a number, so this cannot fail.
        let value = serde_json::to_value(record).unwrap_or_default();
        let record = match record {
            Record::Second(_) => thin(value, false),
            Record::Begin(_) | Record::End(_) => value,
        };
        let record = record.to_string();
        self.last = self.last.next(&record);
        format!("{HEAD}{record}{SEAM}{}\"}}\n", self.last.0)
    }
}

/// Members of a second that hold nothing but counts: there, a nought says nothing.
const COUNTS: [&str; 5] = ["publications", "obligations", "beside", "trials", "events"];

/// Leaves out members that say nothing: what is missing in a second is read as nothing again.
fn thin(value: Value, is_count: bool) -> Value {
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => is_count && number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    };
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| {
                let thin = thin(value, is_count || COUNTS.contains(&key.as_str()));
                (key, thin)
            });
            Value::Object(members.filter(|(_, value)| !says_nothing(value)).collect())
        }
        other => other,
    }
}

/// Why a journal cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Nothing that could be judged stands in it.
    #[error("holds no whole line: nothing of the run was recorded")]
    Empty,
    /// A line is not what was written.
    #[error("line {0} does not fit the lines before it: the journal was changed or damaged there")]
    Broken(usize),
    /// A line fits, and cannot be understood.
    #[error("line {line} cannot be read: {why}; use the version of pusher-canary that wrote it")]
    Unreadable {
        /// Which, counted from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// A line holds a number to which nothing of a run comes.
    #[error(
        "line {line} holds {number}, to which nothing of a run comes: it was changed or damaged"
    )]
    Number {
        /// Which, counted from 1.
        line: usize,
        /// The number, or how it begins.
        number: String,
    },
    /// A line stands where it cannot.
    #[error("line {0} is not in its place: a record begins once, and ends once")]
    Misplaced(usize),
}

/// Whether a text begins as a journal does.
pub fn is_journal(text: &[u8]) -> bool {
    text.starts_with(HEAD.as_bytes())
}

/// What a journal tells of a run.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The sum of its seconds.
    pub account: Account,
    /// How it ended; `None` if that is missing.
    pub end: Option<End>,
    /// Whether the last line was cut off.
    pub is_cut: bool,
}

/// Reads a journal. A last line without its line break is left out: the process was killed while
/// it wrote.
///
/// # Errors
/// See [`JournalError`].
pub fn read(text: &[u8]) -> Result<Recorded, JournalError> {
    let (mut last, mut account, mut end) = (Link::default(), None::<Account>, None);
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, cut) = text.split_at(whole);
    let Some(lines) = lines.strip_suffix(b"\n") else { return Err(JournalError::Empty) };
    for (number, line) in (1..).zip(lines.split(|byte| *byte == b'\n')) {
        let record = unchain(line, &mut last).ok_or(JournalError::Broken(number))?;
        if let Some(large) = number::too_large(record) {
            return Err(JournalError::Number { line: number, number: large.to_owned() });
        }
        let unreadable = |why: serde_json::Error| JournalError::Unreadable {
            line: number,
            why: why.to_string(),
        };
        match (serde_json::from_str(record).map_err(unreadable)?, &mut account) {
            (Record::Begin(begin), None) => account = Some(Account::new(*begin)),
            (Record::Second(second), Some(account)) if end.is_none() => account.apply(&second),
            (Record::End(at), Some(_)) if end.is_none() => end = Some(*at),
            _ => return Err(JournalError::Misplaced(number)),
        }
    }
    let account = account.ok_or(JournalError::Empty)?;
    Ok(Recorded { account, end, is_cut: !cut.is_empty() })
}

/// The record of a line, if it fits the chain.
fn unchain<'a>(line: &'a [u8], last: &mut Link) -> Option<&'a str> {
    let line = std::str::from_utf8(line).ok()?;
    let (record, chain) = line.strip_prefix(HEAD)?.rsplit_once(SEAM)?;
    let next = last.next(record);
    (chain.strip_suffix("\"}")? == next.0).then(|| *last = next)?;
    Some(record)
}

#[cfg(test)]
mod tests;
