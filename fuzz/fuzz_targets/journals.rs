#![no_main]
//! Journals: any is read, or refused with a reason; what was written is read, and judged again.
//!
//! The input is a journal. Each of its lines that holds a record, with a chain or without one, is
//! also chained anew: a fuzzer does not find SHA-256 by itself.

use libfuzzer_sys::fuzz_target;
use pusher_canary::journal::{self, Encoder, JournalError, Recorded};
use pusher_canary::report::Report;
use pusher_canary::verify::record::Record;
use pusher_canary_fuzz::check_report;

fuzz_target!(|input: &[u8]| {
    if let Ok(recorded) = journal::read(input) {
        assert!(journal::is_journal(input));
        judge(&recorded);
    }
    let text = String::from_utf8_lossy(input);
    let records: Vec<_> = text.lines().filter_map(record_of).collect();
    let written = chained(&records);
    // What says nothing is left out of what is written, and so nothing of that the second time.
    let again = written.lines().map(|line| record_of(line).expect("what was written is a record"));
    assert_eq!(chained(&again.collect::<Vec<_>>()), written);
    let cut = input.len() % (written.len() + 1);
    for length in [written.len(), cut] {
        match journal::read(&written.as_bytes()[..length]) {
            Ok(recorded) => judge(&recorded),
            Err(
                JournalError::Empty | JournalError::Misplaced(_) | JournalError::Number { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }
});

/// The record of a line, be it chained or bare.
fn record_of(line: &str) -> Option<Record> {
    let behind_head = line.strip_prefix(r#"{"record":"#);
    let chained = behind_head.and_then(|tail| tail.rsplit_once(r#","chain":""#));
    serde_json::from_str(chained.map_or(line, |(record, _)| record)).ok()
}

/// Records as a journal.
fn chained(records: &[Record]) -> String {
    let mut encoder = Encoder::default();
    records.iter().map(|record| encoder.line(record)).collect()
}

/// Judges a recorded run as `pusher-canary report` does.
fn judge(recorded: &Recorded) {
    check_report(&Report::new(&recorded.account, recorded.end.as_ref()));
}
