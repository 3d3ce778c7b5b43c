//! What is printed, and where: the table, the JSON report, and nothing that nobody asked for.

use serde_json::Value;

use crate::util::{Folder, Outcome, canary, rehearse, scenario, turn};

/// Every key that others may rely on; `*` stands for both clusters.
const CONTRACT: &str = "
schema tool.name tool.version run scenario phase proof seed started_at ended_at verdict checks
clusters.*.publications.sent clusters.*.publications.accepted clusters.*.publications.rejected
clusters.*.publications.unknown clusters.*.publications.recovered clusters.*.publications.void
clusters.*.publications.unsent clusters.*.obligations_opened clusters.*.obligations.total
clusters.*.obligations.delivered clusters.*.obligations.late clusters.*.obligations.lost
clusters.*.obligations.missed_offline clusters.*.obligations.void clusters.*.obligations.pending
clusters.*.publications_lost clusters.*.publications_partially_lost clusters.*.trials
clusters.*.unattributed clusters.*.duplicates clusters.*.replayed clusters.*.reordered
clusters.*.unordered clusters.*.corrupt clusters.*.misrouted clusters.*.unexpected
clusters.*.foreign clusters.*.after_horizon clusters.*.loss_upper_bound clusters.*.confidence
clusters.*.latency_ms.count clusters.*.latency_ms.min clusters.*.latency_ms.p50
clusters.*.latency_ms.p90 clusters.*.latency_ms.p99 clusters.*.latency_ms.p999
clusters.*.latency_ms.max clusters.*.latency_ms.histogram clusters.*.connect_ms.count
clusters.*.publish_ms.count clusters.*.auth_ms.count clusters.*.connections.opened
clusters.*.connections.failed clusters.*.connections.closed_by_code events.total events.covered
events.uncovered events.covered_since events.covered_until controls rehearsal.*.dropped
rehearsal.*.duplicated rehearsal.*.delayed rehearsal.*.reordered rehearsal.*.corrupted
rehearsal.*.refused rehearsal.*.answers_lost rehearsal.*.errors_after rehearsal.*.closed
instrument.tainted_seconds instrument.reasons instrument.schedule_lag_ms.count
instrument.runtime_stall_ms_max incidents";

const CHECK: &str = "name required status observed limit unit evidence detail";
const INCIDENT: &str = "at kind cluster channel stream seq witnesses";

#[track_caller]
fn assert_key(value: &Value, path: &str) {
    let mut at = value;
    for name in path.split('.') {
        at = at.get(name).unwrap_or_else(|| panic!("{path} is missing"));
    }
}

/// A run with something in every row of the table.
fn eventful(folder: &Folder, more: &[&str]) -> Outcome {
    let routes = [("routes", r#"["trigger", "batch", "client"]"#)];
    let path = folder.write("scenario.toml", &scenario(&routes));
    let mut args = vec!["rehearse", path.to_str().unwrap(), "--seed", "1"];
    let faults = [
        "new:drop=0.02",
        "new:duplicate=0.02",
        "new:delay=0.02@1500ms",
        "new:reorder=0.02",
        "new:corrupt=0.02",
        "new:refuse=0.02",
        "new:lose-answer=0.02",
        "new:error-after=0.02",
        "new:close=0.4",
    ];
    args.extend(faults.iter().flat_map(|fault| ["--fault", fault]));
    args.extend(more);
    let _turn = turn();
    let outcome = canary(args).within(folder.path()).run();
    outcome.assert_code(1);
    outcome
}

/// What the table always shows, in this order.
#[track_caller]
fn assert_table(text: &str) {
    let mut rest = text;
    for word in [
        "it (dual-publish) rehearsed, run ",
        "old",
        "new",
        "publications sent",
        "  accepted",
        "  of these recovered",
        "obligations",
        "  delivered",
        "  lost",
        "  missed offline",
        "duplicates",
        "corrupt",
        "events covered on both",
        "faults done by new: ",
        "fail  new  loss",
        "pass  old  evidence",
        "NO-GO  ",
    ] {
        let at = rest.find(word).unwrap_or_else(|| panic!("{word:?} is missing, or out of place"));
        rest = &rest[at + word.len()..];
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "more than 80 columns: {line}");
    }
    assert!(!text.contains('\u{1b}'), "an escape sequence without a terminal");
}

#[test]
fn the_table_goes_to_stdout_within_80_columns_and_without_colours() {
    let folder = Folder::new();
    let outcome = eventful(&folder, &[]);
    assert_table(&outcome.stdout);
    assert_eq!(outcome.stderr, "", "nothing to say beside the table");
    assert_eq!(folder.names(), ["scenario.toml"], "something was written beside the scenario");
}

#[test]
fn json_on_stdout_sends_the_table_to_stderr_and_holds_every_key_of_the_contract() {
    let folder = Folder::new();
    let outcome = eventful(&folder, &["--report-json", "-"]);
    assert_table(&outcome.stderr);
    let report = outcome.report();
    for path in CONTRACT.split_whitespace() {
        for role in ["old", "new"] {
            assert_key(&report.0, &path.replace('*', role));
        }
    }
    for finding in report.0["checks"].as_array().unwrap() {
        CHECK.split_whitespace().for_each(|key| assert_key(finding, key));
    }
    let kinds: Vec<_> = report.incidents().iter().map(|i| i["kind"].as_str().unwrap()).collect();
    for kind in ["lost", "late", "duplicate", "reordered", "corrupt", "rejected", "disconnected"] {
        assert!(kinds.contains(&kind), "no incident of kind {kind}");
    }
    for incident in report.incidents().iter().filter(|i| i["kind"] == "lost") {
        INCIDENT.split_whitespace().for_each(|key| assert_key(incident, key));
    }
    for key in ["started_at", "ended_at"] {
        let at = report.0[key].as_str().unwrap();
        assert!(humantime::parse_rfc3339(at).is_ok(), "{key} is no RFC 3339: {at}");
    }
    assert_eq!(report.0["schema"], 1);
    assert_eq!(report.0["tool"]["name"], "pusher-canary");
    assert_eq!(report.0["tool"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report.0["proof"], true);
    assert_eq!(report.0["phase"], "dual-publish");
}

#[test]
fn json_in_a_file_leaves_the_table_on_stdout() {
    let folder = Folder::new();
    let outcome = eventful(&folder, &["--report-json", "report.json"]);
    assert_table(&outcome.stdout);
    assert_eq!(folder.names(), ["report.json", "scenario.toml"]);
    let report: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
    assert_eq!(report["verdict"], "NO-GO");
}

#[test]
fn nothing_that_is_read_is_written_over_and_no_two_things_go_into_one_file() {
    let folder = Folder::new();
    eventful(&folder, &["--journal", "run.journal", "--report-json", "report.json", "-q"]);
    let (journal, report) = (folder.read("run.journal"), folder.read("report.json"));
    folder.write("h", "");
    let (over, twice) = ("would write over", "cannot both be");
    for (arguments, said) in [
        (&["report", "run.journal", "--report-json", "./run.journal"][..], over),
        (&["gate", "--report", "report.json", "--report-html", "report.json"], over),
        (&["rehearse", "scenario.toml", "--report-json", "scenario.toml"], over),
        (&["rehearse", "--journal", "new", "--report-json", "./new", "--duration", "1s"], twice),
        (&["report", "run.journal", "--report-json", "x", "--report-html", "x"], twice),
        (&["history", "--history", "report.json", "availability", "--html", "report.json"], over),
        (&["gate", "--history", "h", "--report", "report.json", "--report-html", "h"], over),
        (&["report", "report.json"], "is no journal; a report as JSON is for gate --report"),
    ] {
        let outcome = canary(arguments).within(folder.path()).run();
        outcome.assert_code(2);
        assert!(outcome.sentence().contains(said), "{arguments:?}: {}", outcome.stderr);
    }
    assert_eq!(folder.read("run.journal"), journal);
    assert_eq!(folder.read("report.json"), report);
    assert_eq!(folder.names(), ["h", "report.json", "run.journal", "scenario.toml"]);
    let nowhere =
        ["report", "run.journal", "--report-json", "/dev/null", "--report-html", "/dev/null"];
    canary(nowhere).within(folder.path()).run().assert_code(1);
}

/// Every form with the flag that asks for it, and the file that these tests have it written to.
const FORMS: [(&str, &str); 4] = [
    ("--report-json", "report.json"),
    ("--report-html", "report.html"),
    ("--report-junit", "report.xml"),
    ("--report-markdown", "report.md"),
];

#[test]
fn all_forms_of_one_run_tell_the_same_verdict_and_its_journal_gives_the_same_bytes() {
    let folder = Folder::new();
    let flags: Vec<_> = FORMS.iter().flat_map(|(flag, file)| [*flag, *file]).collect();
    eventful(&folder, &[&flags[..], &["--journal", "run.journal"]].concat());
    let written = FORMS.map(|(_, file)| folder.read(file));
    let [json, html, junit, markdown] = &written;
    let report: Value = serde_json::from_str(json).unwrap();
    assert_eq!(report["verdict"], "NO-GO");
    assert!(junit.contains("<property name=\"verdict\" value=\"NO-GO\"/>"), "{junit}");
    assert!(!junit.contains(" failures=\"0\""), "{junit}");
    assert!(markdown.starts_with("## ❌ NO-GO: it\n"), "{markdown}");
    assert!(html.contains("<title>NO-GO: it</title>"), "{html}");
    let checks = report["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|c| c["required"] == true && c["status"] == "fail");
    for finding in failed {
        let name = finding["name"].as_str().unwrap();
        let on = finding["cluster"].as_str().unwrap_or("both");
        let case = format!("<testcase name=\"{name}\" classname=\"pusher-canary.it.{on}\">\n");
        assert!(junit.contains(&format!("{case}      <failure type=\"fail\"")), "{junit}");
        assert!(markdown.contains(&format!("| ❌ fail | {name} | {on} | ")), "{markdown}");
        let (badge, on) = ("✕</span> fail</span></td>", format!("data-label=\"on\">{on}</td>"));
        let is_row = |row: &&str| row.contains(badge) && row.contains(&on);
        let named = format!("<b>{name}</b>");
        assert!(html.lines().filter(is_row).any(|row| row.contains(&named)), "{html}");
    }
    let again = Folder::new();
    let journal = folder.file("run.journal");
    let args = ["report", journal.to_str().unwrap()].into_iter().chain(flags);
    canary(args).within(again.path()).run().assert_code(1);
    for ((flag, file), written) in FORMS.iter().zip(&written) {
        assert_eq!(&again.read(file), written, "{flag} of the journal");
    }
}

#[test]
fn one_form_may_go_to_stdout_and_two_may_not() {
    let folder = Folder::new();
    for (at, (first, _)) in FORMS.iter().enumerate() {
        for (second, _) in &FORMS[at + 1..] {
            let outcome = canary(["rehearse", first, "-", second, "-"]).run();
            outcome.assert_code(2);
            let sentence = format!("{first} and {second} cannot both be -; name a file for one");
            assert_eq!(outcome.sentence(), sentence);
        }
    }
    let path = folder.write("scenario.toml", &scenario(&[]));
    let args = ["rehearse", path.to_str().unwrap(), "--duration", "1s", "--report-markdown", "-"];
    let _turn = turn();
    let outcome = canary(args).run();
    assert!(outcome.stdout.starts_with("## ⚠️ INCONCLUSIVE: it\n"));
    assert!(outcome.stderr.contains("\nINCONCLUSIVE  "));
}

#[test]
fn quiet_prints_nothing() {
    let folder = Folder::new();
    let outcome = eventful(&folder, &["--quiet", "--report-json", "report.json"]);
    assert_eq!((&*outcome.stdout, &*outcome.stderr), ("", ""));
    assert_eq!(folder.names(), ["report.json", "scenario.toml"]);
}

#[test]
fn no_color_is_honoured_even_where_colours_are_forced() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let args = ["rehearse", path.to_str().unwrap(), "--duration", "1s"];
    let _turn = turn();
    let forced = canary(args).env("CLICOLOR_FORCE", "1").run();
    assert!(forced.stdout.contains("\u{1b}["), "there is no colour to switch off");
    let plain = canary(args).env("NO_COLOR", "1").run();
    assert!(!plain.stdout.contains('\u{1b}') && !plain.stderr.contains('\u{1b}'));
}

#[test]
fn a_run_that_cannot_prove_what_is_asked_says_so_first_and_is_inconclusive() {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(&[]));
    let _turn = turn();
    let outcome = rehearse(&path, 1, &["--duration", "1s"]).run();
    outcome.assert_code(3);
    let warning = "pusher-canary: warning: 160 events cannot prove a loss rate below 1.0 % at 95 % \
                   confidence, which takes 299; the verdict will not be GO";
    assert_eq!(outcome.stderr.lines().next(), Some(warning));
    assert_eq!(outcome.judged().verdict(), "INCONCLUSIVE");
}
