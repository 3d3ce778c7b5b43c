//! Secrets that cannot be printed by accident.

use std::fmt;

/// A secret: no `Display`, no `Serialize`, and a `Debug` that shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for signing only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Hexadecimal digits in a row that may be a signature: longer than a key, an MD5 or a UUID.
const SIGNATURE_DIGITS_MIN: usize = 40;

/// A text from elsewhere with everything that looks like a signature replaced: clusters quote what
/// they were sent when they refuse it.
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let length = from.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(length);
        out.push_str(before);
        out.push_str(if length >= SIGNATURE_DIGITS_MIN { "<signature>" } else { digits });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
    }

    #[test]
    fn signatures_are_replaced_and_keys_are_kept() {
        let signature = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        let text = format!("got key 278d425bdf160c739803:{signature}, é face");
        assert_eq!(redacted(&text), "got key 278d425bdf160c739803:<signature>, é face");
        assert_eq!(redacted(signature), "<signature>");
        assert_eq!(redacted(""), "");
    }
}
