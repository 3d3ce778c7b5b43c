//! What is written is read, and what was changed is found.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::model::{ClusterRole, RunTime};
use crate::verify::fact::Fact;
use crate::verify::gather::Gatherer;
use crate::verify::record::{Begin, Second};
use crate::verify::status_page::{Component, PageFact, Reading, Span};
use crate::verify::taint::TaintReason;
use crate::verify::testing::begin;

/// What is read of a status page in a second: a name is missing in the first, and a component has
/// no name in the second; the third cannot be read.
fn page(second: u64) -> PageFact {
    let mut reading = Reading { at: 1_753_600_001_000, ..Reading::default() };
    match second {
        1 => reading.selection.missing.push("a".to_owned()),
        2 => reading.components.push(Component { id: "i".to_owned(), ..Component::default() }),
        _ => return PageFact::Failed("HTTP 503".to_owned()),
    }
    reading.spans.push(Span { id: "s".to_owned(), ..Span::default() });
    PageFact::Read(Box::new(reading))
}

/// A record of three seconds, of which little was seen.
fn records() -> Vec<Record> {
    let mut gatherer = Gatherer::new(&ClusterRole::ALL, Vec::new(), 1);
    let status_pages = BTreeMap::from([(ClusterRole::New, "https://status".to_owned())]);
    let begin = Begin { status_pages, ..begin(&ClusterRole::ALL, &[]) };
    let mut records = vec![Record::Begin(Box::new(begin))];
    gatherer.handle(Fact::Begun(RunTime::from_millis(300)));
    for second in 1..=3_u64 {
        gatherer.handle(Fact::Taint(second, TaintReason::ClockStep));
        let at = RunTime::from_millis(1_000 * second);
        gatherer.handle(Fact::Vouched(at, Duration::from_millis(second)));
        gatherer.handle(Fact::LeftBehind(ClusterRole::Old, Some(0)));
        gatherer.handle(Fact::StatusPage(ClusterRole::New, at, page(second)));
        records.push(Record::Second(Box::new(gatherer.close(at, second == 3))));
    }
    let at = RunTime::from_millis(3_100);
    records.push(Record::End(Box::new(End { at, cut_short: true, ..End::default() })));
    records
}

fn written(records: &[Record]) -> String {
    let mut encoder = Encoder::default();
    records.iter().map(|record| encoder.line(record)).collect()
}

/// What a record sums up to.
fn figures(recorded: &Recorded) -> String {
    let Recorded { account, end, .. } = recorded;
    format!("{:?} {:?} {end:?}", account.figures(), account.timeline())
}

#[test]
fn what_was_written_is_read_back_to_the_last_count() {
    let records = records();
    let text = written(&records);
    let recorded = read(text.as_bytes()).unwrap();
    assert!(is_journal(text.as_bytes()) && !recorded.is_cut);
    let mut account = None;
    for record in &records {
        match record {
            Record::Begin(begin) => account = Some(Account::new((**begin).clone())),
            Record::Second(second) => account.as_mut().unwrap().apply(second),
            Record::End(end) => assert_eq!(recorded.end.as_ref(), Some(&**end)),
        }
    }
    let live = Recorded { account: account.unwrap(), end: recorded.end.clone(), is_cut: false };
    assert_eq!(figures(&recorded), figures(&live));
    // Nothing of the channels is left, which is not the same as nothing known.
    let left = |role| recorded.account.figures().clusters[&role].left_behind;
    assert_eq!((left(ClusterRole::Old), left(ClusterRole::New)), (Some(0), None));
    let page = &recorded.account.figures().clusters[&ClusterRole::New].status_page;
    let page = page.as_ref().unwrap();
    // A name that is missing no longer is no more, which is not the same as nothing new.
    assert!(page.selection.missing.is_empty() && !page.is_read, "{page:?}");
    assert_eq!((page.readings, page.failures, page.spans.len()), (2, 1, 1));
}

#[test]
fn a_second_of_nothing_is_a_short_line_and_reads_as_nothing() {
    let nothing = Second { at: RunTime(7), ..Second::default() };
    let mut encoder = Encoder::default();
    let line = encoder.line(&Record::Second(Box::new(nothing.clone())));
    assert!(line.len() < 200, "{line}");
    let record = unchain(line.trim_end().as_bytes(), &mut Link::default()).unwrap();
    assert_eq!(serde_json::from_str::<Record>(record).unwrap(), Record::Second(nothing.into()));
}

#[test]
fn a_journal_that_is_cut_off_at_any_byte_is_judged_up_to_its_last_whole_line() {
    let text = written(&records());
    let ends: Vec<_> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    for length in 0..=text.len() {
        let read = read(&text.as_bytes()[..length]);
        let whole = ends.iter().filter(|end| **end <= length).count();
        match read {
            Err(error) => assert_eq!((error, whole), (JournalError::Empty, 0), "{length} bytes"),
            Ok(recorded) => {
                assert!(whole > 0);
                assert_eq!(recorded.is_cut, !ends.contains(&length), "{length} bytes");
                assert_eq!(recorded.end.is_some(), whole == ends.len());
                assert_eq!(recorded.account.figures().is_ended, whole >= 4);
            }
        }
    }
}

#[test]
fn a_changed_byte_is_named_with_its_line() {
    let text = written(&records());
    for (at, byte) in text.bytes().enumerate().step_by(3).filter(|(_, byte)| *byte != b'\n') {
        let mut changed = text.clone().into_bytes();
        changed[at] = if byte == b'7' { b'8' } else { b'7' };
        let line = text[..at].matches('\n').count() + 1;
        assert_eq!(read(&changed).unwrap_err(), JournalError::Broken(line), "byte {at}");
    }
}

#[test]
fn a_line_that_is_left_out_repeated_or_moved_breaks_the_chain_where_it_is_missed() {
    let text = written(&records());
    let lines: Vec<_> = text.lines().collect();
    let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let broken = |lines: &[&str]| read(join(lines).as_bytes()).unwrap_err();
    assert_eq!(broken(&[lines[0], lines[2], lines[3]]), JournalError::Broken(2));
    assert_eq!(broken(&[lines[0], lines[1], lines[1]]), JournalError::Broken(3));
    assert_eq!(broken(&[lines[1], lines[0]]), JournalError::Broken(1));
    assert_eq!(broken(&[lines[0], "", lines[1]]), JournalError::Broken(2));
}

#[test]
fn what_fits_the_chain_and_stands_in_the_wrong_place_is_refused() {
    let records = records();
    for (order, line) in [(vec![1, 2], 1), (vec![0, 0], 2), (vec![0, 4, 1], 3), (vec![0, 4, 4], 3)]
    {
        let moved: Vec<_> = order.iter().map(|at: &usize| records[*at].clone()).collect();
        let error = read(written(&moved).as_bytes()).unwrap_err();
        assert_eq!(error, JournalError::Misplaced(line), "{order:?}");
    }
}

#[test]
fn a_record_of_another_version_is_named_with_its_line() {
    let mut last = Link::default();
    let record = r#"{"tomorrow":{}}"#;
    last = last.next(record);
    let line = format!("{HEAD}{record}{SEAM}{}\"}}\n", last.0);
    let error = read(line.as_bytes()).unwrap_err();
    assert!(matches!(error, JournalError::Unreadable { line: 1, .. }), "{error}");
    assert!(!is_journal(b"{\"schema\":1}"));
}
