//! Holds the documents to the program: every command in them is run by some test, most of them here,
//! and every key of a scenario stands in `docs/scenario.md` with its real default.
//!
//! Runs are made shorter than the documents have them: the tests of `tests/it` and `tests/interop`
//! are about verdicts, this one is about commands that work.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pusher_canary::metrics::table::{self, Kind, Metric, PREFIX};
use pusher_canary::model::ClusterRole;
use pusher_canary::model::habit::Habit;
use pusher_canary::rehearsal::{Pair, PairConfig};
use pusher_canary::scenario::file::{self, Clusters, Surroundings};
use pusher_canary::verify::parity::Probe;
use serde_json::Value;
use tempfile::TempDir;

/// How a documented command is tested.
enum Tested {
    /// In this file, with these arguments, ending in one of these codes. 3 is among them where a
    /// short run has too little evidence, or a busy machine taints it.
    Here(&'static [&'static str], &'static [i32]),
    /// In this file, until it has said where its clusters are.
    Held(&'static [&'static str]),
    /// By another file, which holds this text.
    By(&'static str, &'static str),
}

use Tested::{By, Held, Here};

/// A word of the arguments that stands for a copy of this scenario with a short horizon.
const SHORT: &str = "short/";

const COMMANDS: &[(&str, Tested)] = &[
    ("cargo run --release -- rehearse", By(".ci/full", "cargo run --release --locked -- rehearse")),
    ("cargo test", By(".ci/run", "cargo test --locked")),
    ("cargo test --test sim -- --nocapture", By(".ci/run", "cargo test --locked")),
    (".ci/run", By(".ci/full", "\n.ci/run\n")),
    (
        "tests/interop/install sdk browser prometheus network sockudo soketi",
        By(".ci/run", "tests/interop/install sdk browser prometheus network sockudo soketi"),
    ),
    (
        "tests/interop/install sockudo soketi",
        By(".ci/run", "tests/interop/install sdk browser prometheus network sockudo soketi"),
    ),
    (
        "tests/interop/install network",
        By(".ci/run", "tests/interop/install sdk browser prometheus network sockudo soketi"),
    ),
    (
        "PUSHER_CANARY_INTEROP=required cargo test --test interop sockudo",
        By(".ci/run", "PUSHER_CANARY_INTEROP=required cargo test"),
    ),
    (
        "PUSHER_CANARY_INTEROP=required cargo test --test it around",
        By(".ci/run", "PUSHER_CANARY_INTEROP=required cargo test"),
    ),
    (
        "PUSHER_CANARY_LONG=1 cargo test --test it hostile -- --nocapture",
        By(".ci/full", "PUSHER_CANARY_LONG=1"),
    ),
    ("tests/supply-chain", By(".ci/full", "\ntests/supply-chain\n")),
    ("tests/supply-chain sbom", By(".ci/full", "\ntests/supply-chain sbom\n")),
    ("fuzz/run", By(".ci/full", "\nfuzz/run 5\n")),
    ("cargo test --test it known_bad -- --nocapture", By(".ci/run", "cargo test --locked")),
    (
        "PUSHER_CANARY_INTEROP=required cargo test --test interop",
        By(".ci/run", "PUSHER_CANARY_INTEROP=required cargo test"),
    ),
    (
        "PUSHER_CANARY_SCREENSHOTS=docs cargo test --test interop browser",
        By(".ci/run", "PUSHER_CANARY_SCREENSHOTS:-target/screenshots"),
    ),
    (
        "cargo run -- rehearse --panic-in witness",
        Here(&["rehearse", "--panic-in", "witness", "--duration", "1s"], &[4]),
    ),
    (
        "pusher-canary rehearse --fault new:drop=0.02",
        Here(&["rehearse", "--fault", "new:drop=0.02", "--duration", "2s"], &[1, 3]),
    ),
    (
        "pusher-canary check scenarios/dual-publish.toml",
        Here(&["check", "scenarios/dual-publish.toml"], &[0]),
    ),
    (
        "pusher-canary check --connect scenarios/dual-publish.toml",
        Here(&["check", "--connect", "scenarios/dual-publish.toml"], &[0]),
    ),
    ("pusher-canary bench", Here(&["bench", "--brief"], &[0])),
    (
        "PUSHER_CANARY_WORLDS=10000 cargo test --test sim outcomes",
        By(".ci/full", "PUSHER_CANARY_WORLDS:-10000"),
    ),
    ("benches/instructions", By(".ci/run", "\nbenches/instructions\n")),
    ("cargo bench", By(".ci/run", "cargo test --locked --bench hot_path")),
    ("grafana/up", By("tests/interop/prometheus.rs", "grafana(\"up\")")),
    ("benches/measure accuracy", By(".ci/full", "benches/measure \"$what\" --brief")),
    ("benches/compare/compare", By(".ci/full", "benches/compare/compare --brief")),
    (
        "pusher-canary run scenarios/preflight.toml --pushgateway http://127.0.0.1:9091",
        By("tests/interop/prometheus.rs", "\"--pushgateway\""),
    ),
    (
        "pusher-canary run scenarios/preflight.toml --metrics-file /var/lib/node_exporter/canary.prom",
        By("tests/interop/prometheus.rs", "\"--metrics-file\""),
    ),
    (
        "pusher-canary run scenarios/preflight.toml --listen 127.0.0.1:9184 --linger 2m",
        By("tests/it/watch.rs", "\"--linger\""),
    ),
    (
        "pusher-canary watch scenarios/dual-publish.toml",
        By("tests/it/watch.rs", "a_watch_serves_its_verdict"),
    ),
    (
        "pusher-canary watch scenarios/dual-publish.toml --window 15m",
        By("tests/it/watch.rs", "const WINDOW: [&str; 2] = [\"--window\""),
    ),
    (
        "pusher-canary run scenarios/preflight.toml",
        Here(&["run", "short/preflight.toml", "--duration", "2s"], &[0, 3]),
    ),
    (
        "pusher-canary run scenarios/dual-publish.toml",
        Here(&["run", "short/dual-publish.toml", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary rehearse scenarios/handover.toml",
        Here(&["rehearse", "short/handover.toml", "--duration", "10s"], &[3]),
    ),
    (
        "pusher-canary rehearse scenarios/load.toml",
        Here(&["rehearse", "short/load.toml", "--duration", "10s"], &[3]),
    ),
    (
        "pusher-canary rehearse scenarios/load.toml --fault new:close=0.05@4100",
        Here(
            &["rehearse", "short/load.toml", "--fault", "new:close=0.05@4100", "--duration", "2s"],
            &[1, 3],
        ),
    ),
    (
        "pusher-canary run scenarios/load.toml",
        Here(&["run", "short/load.toml", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary run scenarios/handover.toml",
        By("tests/interop/servers.rs", "scenario(\"handover.toml\")"),
    ),
    (
        "pusher-canary rehearse habits.toml",
        Here(&["rehearse", "short/habits.toml", "--duration", "8s"], &[1]),
    ),
    (
        "pusher-canary rehearse scenarios/real-events.toml",
        Here(&["rehearse", "short/real-events.toml", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary run scenarios/real-events.toml",
        Here(&["run", "short/real-events.toml", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary run scenarios/cutover.toml --report-json report.json",
        Here(&["run", "short/cutover.toml", "--report-json", "-", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary run scenarios/drain.toml",
        Here(&["run", "short/drain.toml", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary run scenarios/steady.toml",
        Here(&["run", "short/steady.toml", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary run scenarios/cutover.toml --until-proven",
        Here(&["run", "short/cutover.toml", "--until-proven", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary run scenarios/cutover.toml --journal cutover.journal",
        Here(&["run", "short/cutover.toml", "--journal", "short/j", "--duration", "2s"], &[3]),
    ),
    (
        "pusher-canary report cutover.journal --report-json report.json",
        Here(&["report", "short/j", "--report-json", "short/r"], &[3]),
    ),
    (
        "pusher-canary gate --report report.json cutover.journal",
        Here(&["gate", "--report", "short/r", "short/j"], &[3]),
    ),
    (
        "pusher-canary gate --report report.json --report-junit gate.xml --report-markdown - >> \
         \"$GITHUB_STEP_SUMMARY\"",
        Here(
            &[
                "gate",
                "--report",
                "short/r",
                "--report-junit",
                "short/gate.xml",
                "--report-markdown",
                "-",
            ],
            &[3],
        ),
    ),
    ("pusher-canary history list", Here(&["history", "list"], &[0])),
    ("pusher-canary history show 01a20437", By("tests/it/history.rs", r#"["history", "show", "#)),
    (
        "pusher-canary history availability --html availability.html",
        Here(&["history", "availability", "--html", "-"], &[0]),
    ),
    ("pusher-canary schema scenario > scenario.schema.json", Here(&["schema", "scenario"], &[0])),
    ("pusher-canary schema report > report.schema.json", Here(&["schema", "report"], &[0])),
    ("pusher-canary schema gate > gate.schema.json", Here(&["schema", "gate"], &[0])),
    (
        "pusher-canary parity scenarios/preflight.toml",
        Here(&["parity", "--skip", "idle", "scenarios/preflight.toml"], &[0]),
    ),
    ("pusher-canary schema parity > parity.schema.json", Here(&["schema", "parity"], &[0])),
    (
        "pusher-canary completions bash > ~/.local/share/bash-completion/completions/pusher-canary",
        Here(&["completions", "bash"], &[0]),
    ),
    ("pusher-canary rehearse --hold", Held(&["rehearse", "--hold"])),
    (
        "pusher-canary rehearse --hold --fault new:drop=0.02",
        Held(&["rehearse", "--hold", "--fault", "new:drop=0.02"]),
    ),
    (
        "pusher-canary rehearse --hold --ca-file ca.pem",
        Held(&["rehearse", "--hold", "--ca-file", "short/ca.pem"]),
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    top.into_iter().chain(docs.filter(|path| path.extension().is_some_and(|e| e == "md"))).collect()
}

/// The commands of a document: `$ …` in a console's block, every line of a shell's.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut language = None;
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            language = language.is_none().then_some(fence);
            continue;
        }
        let command = match language {
            Some("console") => line.strip_prefix("$ "),
            Some("sh") => Some(line),
            _ => None,
        };
        let command = command.map(|c| c.split(" #").next().unwrap_or_default().trim());
        found.extend(command.filter(|c| !c.is_empty()).map(str::to_owned));
    }
    found
}

#[test]
fn every_documented_command_is_run_by_a_test() {
    let mut seen = BTreeSet::new();
    let scenarios: String = fs::read_dir(root().join("scenarios"))
        .unwrap()
        .map(|entry| read(&entry.unwrap().path()))
        .collect();
    for path in documents() {
        for command in commands(&read(&path)) {
            if let Some(variables) = command.strip_prefix("export ") {
                for variable in variables.split(' ') {
                    let name = variable.split('=').next().unwrap();
                    let read = scenarios.contains(&format!("${{{name}}}"));
                    assert!(read, "{}: no scenario reads {name}", path.display());
                }
                continue;
            }
            let known = COMMANDS.iter().any(|(known, _)| *known == command);
            assert!(known, "{}: no test runs {command:?}", path.display());
            seen.insert(command);
        }
    }
    for (command, tested) in COMMANDS {
        assert!(seen.contains(*command), "no document has {command:?} any more");
        if let By(file, text) = tested {
            assert!(read(&root().join(file)).contains(text), "{file} does not run {command:?}");
        }
    }
}

/// The real binary at the root of the work tree, on a pair of clusters for its variables.
fn program(pair: &Pair, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pusher-canary"));
    command.current_dir(root()).stdin(Stdio::null()).env("XDG_STATE_HOME", folder);
    for argument in arguments {
        match argument.strip_prefix(SHORT) {
            Some(name) => command.arg(folder.join(name)),
            None => command.arg(argument),
        };
    }
    for role in ClusterRole::ALL {
        let endpoint = pair.endpoint(role);
        let prefix = role.as_str().to_uppercase();
        command
            .env(format!("{prefix}_WS_URL"), endpoint.ws_url)
            .env(format!("{prefix}_HTTP_URL"), endpoint.http_url)
            .env(format!("{prefix}_APP_ID"), endpoint.app_id.as_str())
            .env(format!("{prefix}_APP_KEY"), endpoint.key.as_str())
            .env(format!("{prefix}_APP_SECRET"), endpoint.secret.expose());
    }
    command
}

/// A folder with every scenario, its horizon made short.
fn short_scenarios() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        let text = read(&path);
        let times = |line: &&str| !line.starts_with("deadline") && !line.starts_with("horizon");
        let kept = |line| match line {
            line if str::starts_with(line, "overlap") => "overlap = \"500ms\"",
            line => line,
        };
        let lines: Vec<_> = text.lines().filter(times).map(kept).collect();
        let short = "[canary]\ndeadline = \"1s\"\nhorizon = \"2s\"";
        let text = match text.contains("[canary]") {
            true => lines.join("\n").replace("[canary]", short),
            false => format!("{}\n{short}\n", lines.join("\n")),
        };
        fs::write(folder.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let text = read(&root().join("docs/parity.md"));
    let habits = text.split("```toml\n").find(|block| block.contains("[rehearsal]")).unwrap();
    let habits = habits.split("```").next().unwrap();
    fs::write(folder.path().join("habits.toml"), habits).unwrap();
    folder
}

#[test]
fn documented_commands_end_as_they_must() {
    let (pair, folder) = (Pair::start(PairConfig::default()).unwrap(), short_scenarios());
    for (documented, tested) in COMMANDS {
        let Here(arguments, codes) = tested else { continue };
        let output = program(&pair, folder.path(), arguments).output().unwrap();
        let code = output.status.code().unwrap();
        assert!(
            codes.contains(&code),
            "{documented}: exit code {code}, not {codes:?}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_preflight_is_no_go_where_nothing_arrives() {
    let (pair, folder) = (Pair::start(PairConfig::default()).unwrap(), short_scenarios());
    let arguments = ["rehearse", "short/preflight.toml", "--duration", "2s"];
    let mut command = program(&pair, folder.path(), &arguments);
    let output = command.args(["--fault", "new:drop=1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing arrived of"), "{said}");
}

#[test]
fn a_held_pair_says_where_it_is_and_ends_by_a_signal() {
    let (pair, folder) = (Pair::start(PairConfig::default()).unwrap(), short_scenarios());
    for (documented, tested) in COMMANDS {
        let Held(arguments) = tested else { continue };
        let mut command = program(&pair, folder.path(), arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut told = BTreeSet::new();
        let mut line = String::new();
        while !told.contains("NEW_APP_SECRET") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "{documented}: it ended early");
            let name = line.strip_prefix("export ").and_then(|l| l.split('=').next());
            told.extend(name.map(str::to_owned));
        }
        let scenario = read(&root().join("scenarios/dual-publish.toml"));
        for variable in scenario.lines().filter(|l| !l.starts_with('#')) {
            let name = variable.split("${").nth(1).and_then(|v| v.split('}').next());
            assert!(name.is_none_or(|n| told.contains(n)), "{documented} does not tell {name:?}");
        }
        let signal = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(signal.unwrap().success());
        stdout.read_to_string(&mut line).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{documented}");
    }
}

#[test]
fn help_is_there_for_every_command() {
    for arguments in
        [&["--help"][..], &["rehearse", "--help"], &["check", "-h"], &["history", "list", "-h"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_pusher-canary")).args(arguments).output();
        assert!(output.unwrap().status.success());
    }
}

struct Nothing;

impl Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

/// Key and default of every row of `docs/scenario.md`.
fn documented_keys() -> Vec<(String, Option<String>)> {
    let text = read(&root().join("docs/scenario.md"));
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(|c| c.trim().trim_matches('`')).collect();
        let default = Some(cells[1].to_owned()).filter(|d| !d.is_empty());
        (cells[0].to_owned(), default)
    })
    .collect()
}

/// The scenario that these lines make, without clusters.
fn scenario_of(lines: &str) -> String {
    let read = file::read("docs/scenario.md", lines, Clusters::Ignored, &Nothing);
    format!("{:#?}", read.unwrap_or_else(|problems| panic!("{problems}")))
}

/// What a section needs that is nothing without it.
const NEEDED: &str =
    "sample.prefixes = [\"\"]\nhandover.fleet.clients = 1\nwebhooks.listen = \"127.0.0.1:0\"\n";

/// A scenario of which nothing is written that has a default.
fn default_scenario() -> String {
    scenario_of(&format!("{NEEDED}rehearsal.application = {{}}\nparity = {{}}\nload = {{}}\n"))
}

#[test]
fn documented_defaults_are_the_real_ones() {
    let written: String = documented_keys()
        .into_iter()
        .filter_map(|(key, default)| Some(format!("{key} = {}\n", default?)))
        .collect();
    assert_eq!(scenario_of(&format!("{NEEDED}{written}")), default_scenario());
}

/// Every key of the scenario's schema with its form, sections included.
fn described_keys(form: &Value, at: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, form) in form["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        found.extend(described_keys(form, &path));
        found.push((path, form.clone()));
    }
    found
}

#[test]
fn every_key_of_a_scenario_is_documented_and_its_schema_says_the_same() {
    let documented: BTreeMap<_, _> = documented_keys().into_iter().collect();
    let text = read(&root().join("docs/scenario.md"));
    let mut defaults = String::new();
    for (key, form) in described_keys(&pusher_canary::scenario::schema::scenario(), "") {
        if let Some(default) = form.get("default") {
            // JSON is TOML, but for the colons of a table.
            defaults.push_str(&format!("{key} = {}\n", default.to_string().replace("\":", "\"=")));
        }
        // A kind of channel is documented with its section, and old's keys are new's.
        let documented_as = key.replace(".old", ".new");
        let row = documented.get(&documented_as);
        let is_section = form["type"] == "object" && form.get("default").is_none();
        if is_section || key.starts_with("canary.channels.") {
            continue;
        }
        let default = row.unwrap_or_else(|| panic!("docs/scenario.md does not explain {key}"));
        assert_eq!(default.is_some(), form.get("default").is_some(), "the default of {key}");
        let meaning = form["description"].as_str().unwrap_or_default();
        assert!(text.contains(&format!(" | {meaning} |\n")), "{key}: {meaning:?}");
    }
    assert_eq!(scenario_of(&format!("{NEEDED}{defaults}")), default_scenario());
}

#[test]
fn every_key_that_the_reader_knows_is_described() {
    let described = described_keys(&pusher_canary::scenario::schema::scenario(), "");
    let keys: BTreeSet<_> = described.iter().map(|(key, _)| key.as_str()).collect();
    let sections = described.iter().filter(|(_, form)| form["type"] == "object");
    for section in sections.map(|(key, _)| key.as_str()).chain([""]) {
        let unknown = "no_key_is_called_so";
        let key = if section.is_empty() { unknown.into() } else { format!("{section}.{unknown}") };
        let source = format!("clusters.new = {{}}\nclusters.old = {{}}\n{key} = 1");
        let source = if section.starts_with("clusters.") { format!("{key} = 1") } else { source };
        let problems = file::read("", &source, Clusters::Read, &Nothing).expect_err("a problem");
        let list = problems.list.iter().find_map(|p| p.message.split("known here: ").nth(1));
        for known in list.expect("a list of known keys").split(", ") {
            let key = key.replace(unknown, known);
            assert!(keys.contains(key.as_str()), "the schema lacks {key}");
        }
    }
}

#[test]
fn every_metric_is_documented_as_it_is_declared() {
    let row = |metric: &Metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, help) = (metric.name, metric.help);
        format!("| `{PREFIX}{name}` | {kind} | {} | {help} |\n", labels.join(", "))
    };
    let declared: String = table::ALL.iter().map(row).collect();
    let page = read(&root().join("docs/metrics.md"));
    let prefix = format!("| `{PREFIX}");
    let written = page.lines().filter(|line| line.starts_with(&prefix));
    let written: String = written.map(|line| format!("{line}\n")).collect();
    assert!(written == declared, "docs/metrics.md must have these rows:\n{declared}");
}

#[test]
fn every_known_failure_is_in_the_troubleshooting_guide() {
    let guide = read(&root().join("docs/troubleshooting.md"));
    for known in pusher_canary::model::known::ALL {
        let row = format!("| {} | {} | {} |", known.name, known.cause, known.cure);
        assert!(guide.contains(&row), "docs/troubleshooting.md lacks {row}");
    }
}

#[test]
fn every_picture_of_the_readme_is_there_and_small() {
    let readme = read(&root().join("README.md"));
    let ends = readme.match_indices(".png").map(|(at, _)| &readme[..at + ".png".len()]);
    let names: Vec<_> = ends.filter_map(|text| text.rsplit(['(', '"']).next()).collect();
    assert!(!names.is_empty(), "the README shows no picture");
    for name in names {
        let bytes = fs::metadata(root().join(name)).map(|data| data.len());
        assert!(bytes.as_ref().is_ok_and(|bytes| *bytes < 200_000), "{name}: {bytes:?}");
    }
}

/// The table of `docs/parity.md` as it must be.
fn parity_table() -> String {
    let mut table = String::from(
        "| probe | messages | row | what is compared | what to change |\n|---|---|---|---|---|\n",
    );
    for probe in Probe::ALL {
        let (mut name, mut messages) =
            (format!("`{}`", probe.as_str()), probe.messages().to_string());
        for row in probe.rows() {
            let (row, meaning, advice) = (row.as_str(), row.meaning(), row.advice());
            table += &format!("| {name} | {messages} | `{row}` | {meaning} | {advice} |\n");
            name.clear();
            messages.clear();
        }
    }
    table
}

#[test]
fn every_row_of_a_matrix_is_documented() {
    let text = fs::read_to_string(root().join("docs/parity.md")).unwrap();
    let table = parity_table();
    assert!(text.contains(&table), "docs/parity.md must have this table:\n\n{table}");
}

/// The table of habits as it must be, from what the source says of each.
fn habits_table() -> String {
    let source = read(&root().join("src/model/habit.rs"));
    let mut table = String::from("| habit | what the cluster does |\n|---|---|\n");
    let mut said: Vec<&str> = Vec::new();
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("/// ") {
            Some(more) => said.push(more),
            None => {
                let name = line.split('"').nth(1).filter(|name| {
                    line.ends_with('"') && Habit::ALL.iter().any(|habit| habit.as_str() == *name)
                });
                if let Some(name) = name {
                    table += &format!("| `{name}` | {} |\n", said.join(" "));
                }
                said.clear();
            }
        }
    }
    table
}

#[test]
fn every_habit_of_a_rehearsal_is_documented() {
    let (text, table) = (read(&root().join("docs/parity.md")), habits_table());
    assert_eq!(table.lines().count(), Habit::ALL.len() + 2);
    assert!(text.contains(&table), "docs/parity.md must have this table:\n\n{table}");
}
