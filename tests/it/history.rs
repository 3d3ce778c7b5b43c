//! Runs that are kept, listed, shown and added up by day: the real binary against a pair.

use std::fs;
use std::path::Path;
use std::thread;

use crate::exits::Untouched;
use crate::util::{Canary, Clusters, Folder, Outcome, Report, canary, number, turn};

/// Where `run` keeps its runs by default, in the folder for state.
const DEFAULT: &str = "pusher-canary/history.sqlite";

/// A pair, a scenario and a folder for state that several runs share.
struct Bench {
    folder: Folder,
    clusters: Clusters,
}

impl Bench {
    fn new() -> Self {
        let (folder, clusters) = (Folder::new(), Clusters::start());
        folder.write("scenario.toml", &clusters.scenario(&[]));
        Self { folder, clusters }
    }

    fn canary(&self, args: &[&str]) -> Canary {
        let state = self.folder.file("state");
        let canary = canary(args.iter()).within(self.folder.path());
        canary.envs(self.clusters.variables()).env("XDG_STATE_HOME", state.to_str().unwrap())
    }

    fn run(&self, more: &[&str]) -> Outcome {
        let args = ["run", "scenario.toml", "--report-json", "-"];
        let args: Vec<_> = args.iter().chain(more).copied().collect();
        let _turn = turn();
        self.canary(&args).run()
    }

    /// `history …`, which succeeds.
    fn history(&self, args: &[&str]) -> Outcome {
        let outcome = self.canary(&[&["history"], args].concat()).run();
        outcome.assert_code(0);
        assert_eq!(outcome.stderr, "");
        outcome
    }
}

fn id(report: &Report) -> &str {
    report.0["run"].as_str().unwrap()
}

fn exists(folder: &Folder, name: &str) -> bool {
    folder.file(name).exists()
}

#[test]
fn a_run_is_kept_listed_shown_and_added_up() {
    let bench = Bench::new();
    let outcome = bench.run(&[]);
    let report = outcome.judged();
    assert!(exists(&bench.folder, &format!("state/{DEFAULT}")));

    let list = bench.history(&["list"]).stdout.clone();
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let lines: Vec<_> = list.lines().skip(2).collect();
    assert_eq!(lines.len(), 2, "{list}");
    let started = report.0["started_at"].as_str().unwrap();
    let start = started[..16].replace('T', " ");
    assert!(lines[0].starts_with(&format!("{start}  it ")), "{list}");
    assert!(lines[0].ends_with(&format!("dual-publish  {}", report.verdict())), "{list}");
    let losses = format!("  {}  old 0/400  new 0/400", id(&report));
    assert_eq!(lines[1], losses);
    assert_eq!(bench.history(&["list", "--scenario", "other"]).stdout, "no runs\n");
    assert_eq!(bench.history(&["list", "--limit", "0"]).stdout, "no runs\n");

    // As the run itself had printed it, and with its exit code.
    let shown = bench.canary(&["history", "show", &id(&report)[..13], "--report-json", "-"]).run();
    assert_eq!(shown.code(), outcome.code());
    assert_eq!(shown.stdout, outcome.stdout);
    assert_eq!(shown.stderr, outcome.stderr);

    let strips = bench.history(&["availability", "--days", "3", "--html", "page.html"]);
    let owed = number(&report.0["clusters"]["new"], "obligations.total");
    let row = format!("new  deliver   100 %     {owed} samples, known on 1 of 3 days");
    assert!(strips.stdout.contains(&row), "{row:?} is missing");
    assert!(strips.stdout.contains("\n··█\n"), "no strip with today at its end");
    assert!(strips.stdout.contains("new  connect   unknown"), "few connections prove nothing");
    assert!(strips.stdout.contains("new  webhooks  unknown   none were received"));
    assert!(!strips.stdout.contains('\u{1b}'), "an escape sequence without a terminal");
    let page = bench.folder.read("page.html");
    assert!(page.starts_with("<!doctype html>"));
    let today = format!("title=\"{}: 100 %, {owed} samples\"", &started[..10]);
    assert!(page.contains(&today), "{today:?} is not in the page");

    let on_stdout = bench.canary(&["history", "availability", "--html", "-", "--days", "3"]).run();
    on_stdout.assert_code(0);
    assert_eq!(on_stdout.stdout, page);
    assert_eq!(on_stdout.stderr, strips.stdout);
}

#[test]
fn runs_that_end_at_once_are_both_kept() {
    let bench = Bench::new();
    let runs: Vec<_> = thread::scope(|scope| {
        let run = || bench.run(&["--history", "shared/runs.sqlite", "--duration", "1s"]);
        let both = [scope.spawn(run), scope.spawn(run)];
        both.map(|one| one.join().unwrap()).into()
    });
    let list = bench.history(&["list", "--history", "shared/runs.sqlite"]);
    for run in &runs {
        assert!(list.stdout.contains(id(&run.judged())), "a run is not kept");
    }
    assert!(!exists(&bench.folder, "state"), "the default place is used as well");
}

#[test]
fn no_history_keeps_nothing() {
    let bench = Bench::new();
    bench.run(&["--no-history", "--duration", "1s"]).assert_code(3);
    assert_eq!(bench.folder.names(), ["scenario.toml"]);
    let path = bench.folder.file(&format!("state/{DEFAULT}"));
    let list = bench.canary(&["history", "list"]).run();
    list.assert_code(2);
    let missing = format!(
        "there is no history at {}; `run` keeps one there, unless it is told not to",
        path.display()
    );
    assert_eq!(list.sentence(), missing);
    assert_eq!(bench.folder.names(), ["scenario.toml"], "looking made something");
}

#[test]
fn no_color_is_honoured_by_the_history() {
    let bench = Bench::new();
    bench.run(&["--duration", "1s"]).assert_code(3);
    for args in [["history", "list"], ["history", "availability"]] {
        let forced = bench.canary(&args).env("CLICOLOR_FORCE", "1").run();
        assert!(forced.stdout.contains("\u{1b}["), "there is no colour to switch off");
        let plain = bench.canary(&args).env("NO_COLOR", "1").run();
        assert!(!plain.stdout.contains('\u{1b}'));
    }
}

#[test]
fn a_history_that_cannot_be_used_is_known_before_the_first_connection() {
    let untouched = Untouched::new();
    let named = |path: &str| untouched.run(&[], &["--history", path]);
    let folder = untouched.folder.path();
    fs::write(folder.join("text"), "no database ".repeat(1_000)).unwrap();
    for (path, said) in [
        ("text", "cannot use the history text: file is not a database"),
        ("text/history.sqlite", "cannot make the folder of the history text/history.sqlite: "),
        (".", "cannot use the history .: "),
    ] {
        let outcome = named(path);
        outcome.assert_code(2);
        let sentence = outcome.sentence();
        assert!(sentence.starts_with(said), "{sentence}");
        assert!(sentence.ends_with(" (--no-history keeps none)"), "{sentence}");
    }
}

#[test]
fn without_a_place_for_it_a_history_must_be_named() {
    let untouched = Untouched::new();
    let outcome = untouched.canary(&[], &[]).env("XDG_STATE_HOME", "").run();
    outcome.assert_code(2);
    assert_eq!(
        outcome.sentence(),
        "there is no place for a history: neither XDG_STATE_HOME nor HOME is set; name a file with \
         --history (--no-history keeps none)"
    );
}

#[test]
fn a_history_that_fails_after_the_run_costs_the_exit_code_and_not_the_report() {
    let bench = Bench::new();
    let args = ["run", "scenario.toml", "--report-json", "-", "--history", "runs.sqlite"];
    let more = ["--listen", "127.0.0.1:0"];
    let _turn = turn();
    let mut running = bench.canary(&[&args[..], &more].concat()).start();
    running.deliveries();
    let path = bench.folder.file("runs.sqlite");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let outcome = running.finish();
    outcome.assert_code(4);
    assert_eq!(outcome.report().verdict(), "GO");
    assert!(outcome.stderr.contains("loss rate below"), "the table is missing");
    let last = outcome.stderr.lines().last().unwrap();
    let said = "pusher-canary: the run is not kept: cannot use the history runs.sqlite: ";
    assert!(last.starts_with(said), "{last}");
}

#[test]
fn only_run_keeps_a_history() {
    let bench = Bench::new();
    let _turn = turn();
    for args in [
        &["rehearse", "scenario.toml", "--duration", "1s", "--journal", "run.jsonl"][..],
        &["report", "run.jsonl"],
        &["check", "--connect", "scenario.toml"],
    ] {
        bench.canary(args).run();
        assert!(!exists(&bench.folder, "state"), "{args:?} made a history");
    }
}

/// Every text that is in a file, however it is stored.
fn holds(path: &Path, text: &str) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_history_holds_no_secret() {
    let bench = Bench::new();
    bench.run(&["--history", "runs.sqlite", "--duration", "1s"]).assert_code(3);
    let path = bench.folder.file("runs.sqlite");
    assert!(holds(&path, "scenario_digest"), "this finds nothing in such a file");
    for (_, secret) in bench.clusters.variables() {
        assert!(!holds(&path, secret), "the history holds a secret");
    }
}
