//! Numbers in what others wrote.

/// Nothing that is counted, and no time of a run in nanoseconds, comes near it: it is thirteen
/// days, or a million a second for decades. Thousands of them add up to no overflow.
pub const LARGEST: u64 = 1 << 50;
/// Digits of a number that are shown.
const SHOWN: usize = 20;

/// Keys of a time of day in nanoseconds, of what starts random numbers, and of limits: users set
/// these as high as they like.
const ANY: [&str; 7] = [
    "origin",
    "seed",
    "duplicates_max",
    "reordered_max",
    "messages_max",
    "account_messages_max",
    "connections_max",
];

/// The first whole number above [`LARGEST`] in a JSON text that this program is to have written, if
/// there is one; its first digits, if it has many.
pub fn too_large(text: &str) -> Option<&str> {
    let mut rest = text;
    let mut last = "";
    loop {
        let at = rest.find(|c: char| c == '"' || c.is_ascii_digit())?;
        let (_, found) = rest.split_at(at);
        if let Some(open) = found.strip_prefix('"') {
            let end = end_of_string(open);
            let (string, after) = open.split_at(end);
            (last, rest) = (string, after.get(1..).unwrap_or_default());
            continue;
        }
        let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
        let end = found.find(|c| !is_of_number(c)).unwrap_or(found.len());
        let (number, after) = found.split_at(end);
        let is_whole = number.bytes().all(|byte| byte.is_ascii_digit());
        let is_large = is_whole && number.parse::<u64>().map_or(true, |number| number > LARGEST);
        if is_large && !ANY.contains(&last) {
            return Some(number.get(..SHOWN).unwrap_or(number));
        }
        rest = after;
    }
}

/// Where a string ends of which the opening quote is gone.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_beyond_all_counting_are_found_and_nothing_else_is() {
        assert_eq!(too_large(r#"{"a":[1,1125899906842625]}"#), Some("1125899906842625"));
        assert_eq!(too_large("18446744073709551616"), Some("18446744073709551616"));
        assert_eq!(too_large("[-1125899906842625]"), Some("1125899906842625"));
        for sound in [
            "",
            "{}",
            "[1125899906842624]",
            r#"{"at":"1125899906842625"}"#,
            r#"{"a\\\"1125899906842625":0}"#,
            r#"{"\\":0}"#,
            "[1.0e300,1125899906842625.5,-1e99]",
            r#"{"seed":18446744073709551615}"#,
            r#"{"unended"#,
            "\"\\",
            "é1",
        ] {
            assert_eq!(too_large(sound), None, "{sound}");
        }
        let hidden = r#"{"seed":1,"a\"":9999999999999999}"#;
        assert_eq!(too_large(hidden), Some("9999999999999999"));
    }
}
