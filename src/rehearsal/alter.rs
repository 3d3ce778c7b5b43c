//! What habits do to data on its way.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::model::ChannelKind;
use crate::model::habit::Habit;

/// Digits from which on an integer may be larger than a double holds.
const LARGE_DIGITS: usize = 16;

/// The data as it is delivered.
pub fn alter(habits: &BTreeSet<Habit>, kind: ChannelKind, data: String) -> String {
    let mut data = data;
    for habit in habits {
        data = match habit {
            Habit::Compact => data.replace("\": ", "\":"),
            Habit::ShortNumbers if data.parse::<f64>().is_ok() && data.contains('.') => {
                data.trim_end_matches('0').to_owned()
            }
            Habit::NoNull if data == "null" => String::new(),
            Habit::EscapesUnicode => escaped(&data),
            Habit::Unescapes => data.replace("\\u0041", "A").replace("\\/", "/"),
            Habit::Doubles => rounded(&data),
            Habit::PadsPrivate if kind == ChannelKind::Private => data + " ",
            Habit::PadsPresence if kind == ChannelKind::Presence => data + " ",
            _ => data,
        };
    }
    data
}

fn escaped(data: &str) -> String {
    let mut out = String::with_capacity(data.len());
    for c in data.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Each run of many digits as a double has it.
fn rounded(data: &str) -> String {
    let mut out = String::with_capacity(data.len());
    let mut rest = data;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        out.push_str(before);
        match digits.parse::<f64>() {
            Ok(number) if digits.len() >= LARGE_DIGITS => out.push_str(&format!("{number:.0}")),
            _ => out.push_str(digits),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(habit: Habit, data: &str) -> String {
        alter(&BTreeSet::from([habit]), ChannelKind::Public, data.to_owned())
    }

    #[test]
    fn each_habit_alters_what_it_is_about() {
        for (habit, data, altered) in [
            (Habit::Compact, r#"{"a": 1}"#, r#"{"a":1}"#),
            (Habit::ShortNumbers, "1.500", "1.5"),
            (Habit::ShortNumbers, "1500", "1500"),
            (Habit::NoNull, "null", ""),
            (Habit::EscapesUnicode, "\"ł😀\"", "\"\\u0142\\ud83d\\ude00\""),
            (Habit::Unescapes, r#""\u0041\/""#, "\"A/\""),
            (Habit::Doubles, "[9007199254740993,12]", "[9007199254740992,12]"),
            (Habit::Echo, "1.500", "1.500"),
        ] {
            assert_eq!(of(habit, data), altered, "{habit:?}");
        }
    }
}
