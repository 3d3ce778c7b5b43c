//! Secrets that cannot be printed by accident.

use std::fmt;

use zeroize::Zeroizing;

/// A secret: no `Display`, no `Serialize`, and a `Debug` that shows nothing of it. Its memory is
/// overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
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

/// The master key of an app's encrypted channels. Its `Debug` shows nothing of it, and its memory
/// is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Wraps a key.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key itself, for deriving channels' keys only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Hexadecimal digits of a signature: HMAC-SHA256.
const SIGNATURE_DIGITS: usize = 64;

/// A server's text with every signature in it replaced. Servers quote the one that they refuse, and
/// an error is shown, logged and reported.
pub fn without_signatures(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(digit) = rest.chars().next() {
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (taken, tail) = rest.split_at(if digits == 0 { digit.len_utf8() } else { digits });
        out.push_str(if digits >= SIGNATURE_DIGITS { "<signature>" } else { taken });
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
        assert_eq!(format!("{:?}", MasterKey::new([7; 32])), "<secret>");
    }

    #[test]
    fn signatures_are_taken_out_of_a_text_and_nothing_else_is() {
        let signature = "0123456789abcdef".repeat(4);
        let said = format!("expected é of 12.34:private-a, yet got {signature}\n");
        assert_eq!(
            without_signatures(&said),
            "expected é of 12.34:private-a, yet got <signature>\n"
        );
        assert_eq!(without_signatures(&signature), "<signature>");
        for text in ["", "é", "cafe", &"0".repeat(63), "0190f3d2-1111-7000-8000-0000000000ab"] {
            assert_eq!(without_signatures(text), text);
        }
    }
}
