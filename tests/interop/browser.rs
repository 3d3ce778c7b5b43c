//! The report's page in a real browser, on reports that were measured and on some that no run would
//! ever write.

#![allow(clippy::indexing_slicing, reason = "a JSON value without the key is null, not a panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::Trial;
use pusher_canary::model::{ClusterRole, RunId};
use pusher_canary::report::{Matrix, MatrixHead, Pool, Report, Rules, Source};
use pusher_canary::verify::parity::{ConnectTime, ParityBegin, ParityFigures, Probe, Reading, Row};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{MACHINE, Script, base, execute, names, outcome, read};

const SCRIPT: Script = Script {
    name: "browser.mjs",
    source: include_str!("browser.mjs"),
    program: "node",
    check: "check('",
};
/// What a Chromium may be called.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// A page takes seconds; there are some checks, pages and looks.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(400);
const RUN_TIMEOUT: Duration = Duration::from_secs(90);
/// The rehearsal whose page is looked at: something of everything goes wrong on new.
const SCENARIO: &str = include_str!("browser.toml");
const FAULTS: [&str; 5] = [
    "new:drop=0.01",
    "new:close=0.3@4200",
    "new:silent=0.15",
    "new:delay=0.02@150ms",
    "old:delay=0.003@40ms",
];

/// Text that tries to leave wherever a page puts it.
const HOSTILE: &str = "</title></style></script><script>globalThis.hacked=1</script><img src=x \
    onerror=globalThis.hacked=1>\" onmouseover=\"globalThis.hacked=1\" x='</svg></td></table><svg \
    onload=globalThis.hacked=1>&lt;b&gt; javascript:globalThis.hacked=1 {{1}} \u{202e}\u{0}";

pub fn trials(required: bool) -> Vec<Trial> {
    let missing = missing();
    if let (Some(missing), false) = (&missing, required) {
        eprintln!(
            "interop: IGNORED: {}: {missing}; `tests/interop/install browser` installs it",
            SCRIPT.name
        );
    }
    let report = Arc::new(OnceLock::new());
    let ignored = missing.is_some() && !required;
    let trial = |check: String| {
        let (report, missing) = (Arc::clone(&report), missing.clone());
        let name = format!("{}: {check}", SCRIPT.name);
        let trial = Trial::test(name, move || match missing {
            Some(missing) => Err(missing.into()),
            None => outcome(report.get_or_init(run), &check),
        });
        trial.with_ignored_flag(ignored)
    };
    names(&SCRIPT).into_iter().map(trial).collect()
}

fn works(program: &str) -> bool {
    let mut command = Command::new(program);
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(super) fn modules() -> PathBuf {
    base().join("interop/browser")
}

/// A Chromium: the driver asks for a path.
pub(super) fn chromium() -> Option<PathBuf> {
    BROWSERS.into_iter().find(|name| works(name)).and_then(on_path)
}

/// What keeps the script from running.
pub(super) fn missing() -> Option<String> {
    let marker = modules().join("installed");
    if !marker.is_file() {
        return Some(format!("{} does not exist", marker.display()));
    }
    chromium().is_none().then(|| "no Chromium is installed".to_owned())
}

/// Makes the pages and has the script look at them.
fn run() -> Result<std::collections::HashMap<String, Result<(), String>>, String> {
    let _alone = MACHINE.lock();
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let measured = rehearse(folder.path())?;
    let gate = gate(&measured)?.to_html();
    std::fs::write(folder.path().join("gate.html"), gate).map_err(|error| error.to_string())?;
    for (name, text) in [("matrix", "10,240 bytes and no more"), ("hostile-matrix", HOSTILE)] {
        let page = matrix(text).to_html();
        let path = folder.path().join(format!("{name}.html"));
        std::fs::write(path, page).map_err(|error| error.to_string())?;
    }
    let [go, no_go] = [fixture("go")?, fixture("no-go")?];
    let (hostile, long) = (hostile(measured.clone()), long(measured));
    for (name, report) in [("go", go), ("no-go", no_go), ("hostile", hostile), ("long", long)] {
        let report = Report::from_json(&report.to_string()).map_err(|e| format!("{name}: {e}"))?;
        let path = folder.path().join(format!("{name}.html"));
        std::fs::write(path, report.to_html()).map_err(|error| error.to_string())?;
    }
    let all = ["rehearsal", "go", "no-go", "hostile", "long", "gate", "matrix", "hostile-matrix"];
    let file = |name: &str| folder.path().join(format!("{name}.html"));
    let pages = all.map(|name| json!({ "name": name, "file": file(name) }));
    let screenshots = std::env::var_os("PUSHER_CANARY_SCREENSHOTS");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = json!({
        "modules": modules(),
        "browser": chromium(),
        "pages": pages,
        "screenshots": screenshots.map(|folder| root.join(folder)),
    });
    let (status, lines) = execute(
        Command::new(SCRIPT.program)
            .arg(root.join("tests/interop").join(SCRIPT.name))
            .env("PUSHER_CANARY_INTEROP_TARGET", target.to_string())
            .stderr(Stdio::piped()),
        SCRIPT_TIMEOUT,
    )?;
    if !status.success() {
        return Err(format!("{status}; it printed:\n{lines}"));
    }
    read(&lines, &names(&SCRIPT))
}

/// Where a program is: the driver asks for a path.
fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A rehearsal that ends in NO-GO: its page is left in the folder, its report returned.
fn rehearse(folder: &Path) -> Result<Value, String> {
    let scenario = folder.join("scenario.toml");
    std::fs::write(&scenario, SCENARIO).map_err(|error| error.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pusher-canary"));
    command.current_dir(folder).arg("rehearse").arg(&scenario).args(["--seed", "3"]);
    command.args(FAULTS.iter().flat_map(|fault| ["--fault", fault]));
    command.args(["--report-html", "rehearsal.html", "--report-json", "-"]);
    command.stderr(Stdio::null());
    let (status, json) = execute(&mut command, RUN_TIMEOUT)?;
    if status.code() != Some(1) {
        return Err(format!("the rehearsal ended with {status}, and not as NO-GO"));
    }
    serde_json::from_str(&json).map_err(|error| error.to_string())
}

/// Some runs together, one of them left out.
fn gate(measured: &Value) -> Result<Pool, String> {
    let run = |run: u128, name: &str| {
        let mut report = measured.clone();
        report["run"] = json!(RunId(Uuid::from_u128(run)));
        let report = Report::from_json(&report.to_string()).map_err(|error| error.to_string())?;
        Ok::<_, String>(Source { name: name.to_owned(), is_named: true, report })
    };
    let left_out = run(3, "left out")?;
    let excluded = vec![(left_out.report.run.to_string(), HOSTILE.repeat(3))];
    let named = run(1, "reports/2026/11/25/dual-publish.json")?;
    let sources = vec![named, run(2, HOSTILE)?, left_out];
    let rules = Rules {
        now: Duration::ZERO,
        max_age: Duration::from_secs(3_600),
        excluded,
        history_counts: false,
        rehearsals_count: false,
    };
    Pool::new(sources, &rules).map_err(|error| error.to_string())
}

fn fixture(name: &str) -> Result<Value, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("tests/fixtures/reports/{name}.json"));
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Two apps compared, with every kind of reading, of every likeness, and with this text wherever text
/// may come from outside.
fn matrix(text: &str) -> Matrix {
    let text = text.to_owned();
    let took = ConnectTime { tls_ms: 7, upgrade_ms: 12, ..ConnectTime::default() };
    let readings = [
        Reading::Value(text.clone()),
        Reading::Value("refused".to_owned()),
        Reading::Millis(1_234),
        Reading::Skew(-40),
        Reading::Days(3),
        Reading::ConnectTime(took),
        Reading::Longer(20_000),
        Reading::Unsupported(text.clone()),
        Reading::Failed(text.clone()),
        Reading::NotApplicable(text.clone()),
        Reading::NotTested(text.clone()),
    ];
    let rows = Row::ALL.into_iter().filter(|row| !Probe::Heartbeats.rows().contains(row));
    let rows: Vec<_> = rows.collect();
    let accept = rows.iter().step_by(9).map(|row| (*row, text.clone())).collect();
    let begin = ParityBegin { rows: rows.iter().copied().collect(), accept };
    let compared = |shift: usize| {
        let mut figures = ParityFigures::new(&begin);
        for (at, row) in rows.iter().enumerate() {
            for (role, from) in [(ClusterRole::Old, at), (ClusterRole::New, at + at % 3 * shift)] {
                let reading = readings.iter().cycle().nth(from % readings.len());
                reading.into_iter().for_each(|reading| figures.note(role, *row, reading));
            }
        }
        let url = |scheme: &str| format!("{scheme}://{text}");
        let head = MatrixHead {
            version: text.clone(),
            scenario: text.clone(),
            began: Duration::from_secs(1_767_225_600),
            ended: Duration::from_secs(1_767_225_652),
            settings: json!({ "clusters": { "old": { "ws_url": url("ws") }, "new": {} } }),
            left_out: vec![Probe::Heartbeats],
        };
        (head, figures)
    };
    let (head, figures) = compared(1);
    let then = Matrix::new(head.clone(), &figures, &[]);
    let (_, figures) = compared(2);
    Matrix::new(head, &figures, &[(text, then)])
}

/// The report with hostile text wherever text may come from outside.
fn hostile(mut report: Value) -> Value {
    for key in ["scenario", "scenario_digest", "reason", "started_at", "ended_at"] {
        report[key] = HOSTILE.into();
    }
    report["tool"] = json!({ "name": HOSTILE, "version": HOSTILE });
    report["instrument"]["failed"] = HOSTILE.into();
    for check in report["checks"].as_array_mut().into_iter().flatten() {
        for key in ["name", "unit", "detail"] {
            check[key] = HOSTILE.into();
        }
    }
    for incident in report["incidents"].as_array_mut().into_iter().flatten() {
        for key in ["at", "channel", "detail"] {
            incident[key] = HOSTILE.into();
        }
    }
    report["advice"] = json!([{
        "cluster": "new", "failure": HOSTILE, "count": 3, "cause": HOSTILE, "cure": HOSTILE,
    }]);
    report["rehearsal"] = json!({ "new": { HOSTILE: 3 } });
    report["settings"] = json!({ HOSTILE: [HOSTILE, { HOSTILE: HOSTILE }] });
    report
}

/// The report of a long and eventful run: every slot, every cause, large numbers, long names.
fn long(mut report: Value) -> Value {
    let day = 86_400.0;
    report["scenario"] = "a-name-without-a-blank-".repeat(8).into();
    report["verdict"] = "INCONCLUSIVE".into();
    report["started_at"] = "2026-12-30T22:13:20.000Z".into();
    report["publishing_seconds"] = (3.0 * day).into();
    report["planned_seconds"] = (7.0 * day).into();
    report["cut_short"] = true.into();
    let slot = |n: u32| {
        let ms = 0.004 * 1.07_f64.powi(n as i32 % 120 * 2);
        let p50 = (n % 50 != 7).then_some(ms);
        json!({
            "sent": 1_234_567_000 + 5_000_000 * u64::from(n % 31), "arrived": 2_400_000_000_u64,
            "unaccepted": n % 9, "p50": p50, "p90": p50.map(|ms| ms * 3.0),
            "max": p50.map(|ms| ms * 40.0),
        })
    };
    let slots: Vec<_> = (0..240).map(slot).collect();
    report["timeline"] = json!({
        "slot_seconds": 3.0 * day / 240.0,
        "clusters": { "old": slots, "new": slots },
        "tainted": (0..4_000).map(|n| n * 61).collect::<Vec<_>>(),
    });
    let window = |n: u32| {
        let from = f64::from(n) * 431.0;
        json!({
            "cluster": if n.is_multiple_of(3) { "old" } else { "new" }, "witness": n % 40, "from": from,
            "until": (n != 599).then_some(from + f64::from(n % 17) * 60.0),
            "cause": (["close", "network", "handshake", "agent"])[n as usize % 4],
        })
    };
    report["blind_windows"] = (0..600).map(window).collect();
    report
}
