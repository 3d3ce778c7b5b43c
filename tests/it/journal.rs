//! A run's record: what was killed is judged up to there, and what is judged again is the same.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use pusher_canary::journal;
use pusher_canary::report::Report;
use pusher_canary::verify::figures::ClusterFigures;
use pusher_canary::verify::verdict::Verdict;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::schemas::assert_report;
use crate::util::{Folder, Outcome, canary, rehearsal, scenario, turn};

/// Runs that are killed.
const KILLED: u64 = 50;
/// Of these, so many at a time.
const AT_ONCE: u64 = 5;

fn judge(folder: &Folder, name: &str) -> Outcome {
    let path = folder.file(name);
    canary(["report", path.to_str().unwrap(), "--report-json", "-"]).run()
}

#[track_caller]
fn assert_balanced(report: &Value) {
    for (role, cluster) in report["clusters"].as_object().unwrap() {
        let of = |name: &str| cluster["obligations"][name].as_u64().unwrap();
        let ended = of("delivered") + of("late") + of("lost") + of("missed_offline") + of("void");
        assert_eq!(of("total"), ended + of("pending"), "the books of {role}");
    }
}

#[test]
fn a_recorded_run_is_judged_again_to_the_same_byte() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let (journal, live) = (folder.file("journal"), folder.file("live.json"));
    let faults = ["--fault", "new:drop=0.02", "--fault", "new:close=0.5@4100"];
    let files = ["--journal", journal.to_str().unwrap(), "--report-json", live.to_str().unwrap()];
    let outcome = {
        let _turn = turn();
        rehearsal(&path, 3, &[faults, files].concat()).run()
    };
    outcome.assert_code(1);
    let again = judge(&folder, "journal");
    again.assert_code(1);
    assert_eq!(again.stdout, folder.read("live.json"));
    // The rehearsal's own counts are part of it, and so is the table.
    assert!(again.stderr.contains("faults done by new"), "{}", again.stderr);
    assert_eq!(again.stderr, outcome.stdout);
}

/// A rehearsal whose journal is read until it has so many bytes; then it is killed.
fn killed_after(folder: &Folder, bytes: usize) -> Vec<u8> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pusher-canary"))
        .args(["rehearse", folder.file("scenario.toml").to_str().unwrap(), "--journal", "-", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut written = vec![0; bytes];
    let mut stdout = child.stdout.take().unwrap();
    let mut filled = 0;
    while filled < bytes {
        match stdout.read(&mut written[filled..]).unwrap() {
            0 => break,
            count => filled += count,
        }
    }
    written.truncate(filled);
    child.kill().unwrap();
    child.wait().unwrap();
    stdout.read_to_end(&mut written).unwrap();
    written
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_judged_up_to_there() {
    let folder = Folder::new();
    let slow = [("rate", "20.0"), ("duration", "\"2s\"")];
    folder.write("scenario.toml", &scenario(&slow));
    let whole = killed_after(&folder, usize::MAX >> 40);
    let whole_length = whole.len();
    let mut rng = SmallRng::seed_from_u64(9);
    let moments: Vec<_> = (0..KILLED).map(|_| rng.random_range(1..whole_length * 3 / 4)).collect();
    let mut judged = 0;
    for some in moments.chunks(AT_ONCE as usize) {
        let records: Vec<_> = std::thread::scope(|scope| {
            let kill = |bytes: &usize| {
                let (folder, bytes) = (&folder, *bytes);
                scope.spawn(move || killed_after(folder, bytes))
            };
            let killed: Vec<_> = some.iter().map(kill).collect();
            killed.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for record in records {
            if !record.contains(&b'\n') {
                continue;
            }
            std::fs::write(folder.file("journal"), &record).unwrap();
            let outcome = judge(&folder, "journal");
            let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
            assert_balanced(&report);
            assert_ne!(report["verdict"], "GO");
            assert_eq!(report["complete"], false);
            let said = outcome.stderr.contains("the end of the run is missing");
            assert!(said, "{}", outcome.stderr);
            outcome.assert_code(if report["verdict"] == "NO-GO" { 1 } else { 3 });
            judged += 1;
        }
    }
    assert!(judged > KILLED * 9 / 10, "only {judged} had begun their record");
}

#[test]
fn the_books_balance_in_every_line_of_a_journal() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let outcome = {
        let _turn = turn();
        let faults = ["--fault", "new:drop=0.05", "--fault", "old:close=0.5@4100"];
        rehearsal(&path, 5, &[&faults[..], &["--journal", "-"]].concat()).run()
    };
    let text = outcome.stdout.as_bytes();
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let mut lines = 0;
    for end in ends {
        let recorded = journal::read(&text[..end]).unwrap();
        let balanced =
            recorded.account.figures().clusters.values().all(ClusterFigures::is_balanced);
        assert!(balanced, "in line {}", lines + 1);
        lines += 1;
    }
    assert!(lines >= 5, "a line a second, a first and a last one");
    // From one line to the next it is never more than a second, so that no more can be lost.
    let at = |line: std::io::Result<String>| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["record"]["second"]["at"].as_u64()
    };
    let seconds: Vec<_> = BufReader::new(text).lines().filter_map(at).collect();
    let longest = seconds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < 1_500_000_000, "{longest} ns");
}

#[test]
fn a_run_that_was_go_is_not_before_the_last_line_of_its_record() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let outcome = {
        let _turn = turn();
        rehearsal(&path, 6, &["--journal", "-", "-q"]).run()
    };
    outcome.assert_code(0);
    let text = outcome.stdout.as_bytes();
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let verdicts: Vec<_> = ends
        .map(|end| {
            let recorded = journal::read(&text[..end]).unwrap();
            let report = Report::new(&recorded.account, recorded.end.as_ref());
            assert_eq!(report.complete, end == text.len());
            report.verdict
        })
        .collect();
    let (last, before) = verdicts.split_last().unwrap();
    assert_eq!(*last, Verdict::Go);
    assert!(before.len() > 5 && before.iter().all(|v| *v == Verdict::Inconclusive), "{verdicts:?}");
}

#[test]
fn what_was_changed_cut_off_or_is_no_journal_is_named_and_concludes_nothing() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[("duration", "\"1s\"")]));
    let outcome = {
        let _turn = turn();
        rehearsal(&path, 1, &["--journal", "-", "-q"]).run()
    };
    let text = outcome.stdout.clone();
    let third = text.match_indices('\n').nth(1).unwrap().0 + 40;
    let mut changed = text.clone().into_bytes();
    changed[third] = b'#';
    folder.write("changed", &String::from_utf8(changed).unwrap());
    folder.write("short", &text[..100]);
    folder.write("other", "{\"schema\":1}\n");
    folder.write("empty", "");
    for (name, said) in [
        ("changed", "line 3 does not fit the lines before it"),
        ("short", "holds no whole line"),
        ("other", "line 1 does not fit the lines before it"),
        ("empty", "holds no whole line"),
    ] {
        let outcome = judge(&folder, name);
        outcome.assert_code(3);
        assert_eq!(outcome.stdout, "", "{name}");
        let sentence = outcome.sentence();
        assert!(sentence.contains(said) && sentence.contains(name), "{sentence}");
    }
    judge(&folder, "missing").assert_code(2);
}

#[test]
fn a_record_is_never_written_over_and_has_one_writer() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[("duration", "\"1s\"")]));
    let kept = folder.write("kept", "a record\n");
    let outcome = rehearsal(&path, 1, &["--journal", kept.to_str().unwrap()]).run();
    outcome.assert_code(2);
    assert!(outcome.sentence().contains("it holds a record already"), "{}", outcome.stderr);
    assert_eq!(folder.read("kept"), "a record\n");

    let shared = folder.file("shared");
    let held = std::fs::File::create(&shared).unwrap();
    held.lock().unwrap();
    let outcome = rehearsal(&path, 1, &["--journal", shared.to_str().unwrap()]).run();
    outcome.assert_code(2);
    assert!(outcome.sentence().contains("another process writes it"), "{}", outcome.stderr);
}

#[test]
fn a_full_disk_is_the_agents_own_failure() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let outcome = rehearsal(&path, 1, &["--journal", "/dev/full"]).run();
    outcome.assert_code(4);
    let sentence = outcome.sentence();
    assert!(sentence.starts_with("--journal: No space left on device"), "{sentence}");
}

#[test]
fn a_journal_that_cannot_be_written_any_more_ends_the_run_and_keeps_what_was_gathered() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[("duration", "\"60s\"")]));
    let report = folder.file("report.json");
    let _turn = turn();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pusher-canary"))
        .args(["rehearse", path.to_str().unwrap(), "--journal", "-"])
        .args(["--report-json", report.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its beginning, and two seconds; then nobody takes any more.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        lines.next().unwrap().unwrap();
    }
    drop(lines);
    let outcome = child.wait_with_output().unwrap();
    assert_eq!(outcome.status.code(), Some(4));
    assert_report(&folder.read("report.json"), false);
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    assert_ne!(report["verdict"], "GO");
    assert_eq!(report["cut_short"], true);
    let failed = report["instrument"]["failed"].as_str().unwrap();
    assert_eq!(failed, "the journal could not be written: Broken pipe (os error 32)");
    assert!(report["clusters"]["new"]["obligations"]["delivered"].as_u64().unwrap() > 0);
    assert_balanced(&report);
}

#[test]
fn two_outputs_on_stdout_are_a_usage_error() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let outcome = rehearsal(&path, 1, &["--journal", "-", "--report-json", "-"]).run();
    outcome.assert_code(2);
    assert_eq!(
        outcome.sentence(),
        "--journal and --report-json cannot both be -; name a file for one"
    );
}
