//! Official SDKs against a rehearsal pair, which holds the embedded clusters to the protocol; other
//! people's validators against the schemas; in [`servers`] the agent against servers that others
//! wrote, in [`browser`] its reports and in [`live_page`] the page of a watch in a browser, in
//! [`prometheus`] what it serves and leaves, with all of Prometheus, and in [`fleet`] several agents
//! that Prometheus has seen.
//!
//! Each script does all that its SDKs can do and reports one check a line; each check is a test of
//! its own here. SDKs and servers live outside the work tree, where `tests/interop/install` puts
//! them. Where something is missing the tests are ignored, aloud; with
//! `PUSHER_CANARY_INTEROP=required` they fail.

mod browser;
mod fleet;
mod live_page;
mod prometheus;
mod servers;
mod valve;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use pusher_canary::model::ClusterRole;
use pusher_canary::rehearsal::{Pair, PairConfig};

/// How long a whole script may take; it has shorter limits on each check.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(180);

/// Held by whatever measures: a run that waits for another test's processor measures that test. A
/// test that panicked under it has left nothing half done, so its poison means nothing.
static MACHINE: Mutex<()> = Mutex::new(());

/// A script, and what runs it.
struct Script {
    name: &'static str,
    source: &'static str,
    program: &'static str,
    /// What the lines begin with that name its checks.
    check: &'static str,
}

/// A program that ends with this value.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Result<Self, String> {
        let shown = format!("{:?}", command.get_program());
        command.spawn().map(Self).map_err(|error| format!("{shown}: {error}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SCRIPTS: [Script; 3] = [
    Script { name: "sdk.mjs", source: include_str!("sdk.mjs"), program: "node", check: "check('" },
    Script {
        name: "sdk.py",
        source: include_str!("sdk.py"),
        program: "python3",
        check: "@check('",
    },
    Script {
        name: "schema.py",
        source: include_str!("schema.py"),
        program: "python3",
        check: "@check('",
    },
];

/// What a script reported: each check's name, and why it failed if it did.
type Report = Result<HashMap<String, Result<(), String>>, String>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var("PUSHER_CANARY_INTEROP").is_ok_and(|value| value == "required");
    let sdk = base().join("interop").join("sdk");
    let mut trials = Vec::new();
    for script in &SCRIPTS {
        let missing = missing(script, &sdk);
        if let (Some(missing), false) = (&missing, required) {
            eprintln!(
                "interop: IGNORED: {}: {missing}; `tests/interop/install` installs it",
                script.name
            );
        }
        let report = Arc::new(OnceLock::new());
        let ignored = missing.is_some() && !required;
        for check in names(script).into_iter().chain(["nothing panicked".to_owned()]) {
            let (report, missing, sdk) = (Arc::clone(&report), missing.clone(), sdk.clone());
            let name = format!("{}: {check}", script.name);
            let trial = Trial::test(name, move || match missing {
                Some(missing) => Err(missing.into()),
                None => outcome(report.get_or_init(|| run(script, &sdk)), &check),
            });
            trials.push(trial.with_ignored_flag(ignored));
        }
    }
    trials.extend(servers::trials(required));
    trials.extend(browser::trials(required));
    trials.extend(live_page::trials(required));
    trials.extend(prometheus::trials(required));
    trials.extend(fleet::trials(required));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The folder that `tests/interop/install` fills.
fn base() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    match std::env::var_os("PUSHER_CANARY_CACHE") {
        Some(cache) => cache.into(),
        None => home().join(".cache").join("pusher-canary"),
    }
}

fn names(script: &Script) -> Vec<String> {
    let lines = script.source.lines();
    let quoted = lines.filter_map(|line| line.strip_prefix(script.check)?.split_once('\''));
    quoted.map(|(name, _)| name.to_owned()).collect()
}

/// What keeps a script from running.
fn missing(script: &Script, sdk: &Path) -> Option<String> {
    let version = Command::new(script.program).arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Some(format!("{} is not installed", script.program));
    }
    let marker = sdk.join("installed");
    (!marker.is_file()).then(|| format!("{} does not exist", marker.display()))
}

fn outcome(report: &Report, check: &str) -> Result<(), Failed> {
    let report = report.as_ref().map_err(Failed::from)?;
    match report.get(check) {
        Some(Ok(())) => Ok(()),
        Some(Err(detail)) => Err(detail.into()),
        None => Err("the script did not report this check".into()),
    }
}

/// Runs a script against a pair of its own.
fn run(script: &Script, sdk: &Path) -> Report {
    let _alone = MACHINE.lock();
    let faults = vec!["old:close@4200".parse().map_err(|error| format!("{error}"))?];
    let config = PairConfig { seed: 1, faults, ..PairConfig::default() };
    let mut pair = Pair::start(config).map_err(|error| format!("the pair: {error}"))?;
    let mut ca = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    ca.write_all(pair.ca_pem().as_bytes()).map_err(|error| error.to_string())?;
    let endpoint = |role| {
        let endpoint = pair.endpoint(role);
        serde_json::json!({
            "ws_url": endpoint.ws_url,
            "wss_url": endpoint.wss_url,
            "http_url": endpoint.http_url,
            "https_url": endpoint.https_url,
            "app_id": endpoint.app_id.as_str(),
            "key": endpoint.key.as_str(),
            "secret": endpoint.secret.expose(),
        })
    };
    let target = serde_json::json!({
        "sdk": sdk,
        "root": env!("CARGO_MANIFEST_DIR"),
        "program": env!("CARGO_BIN_EXE_pusher-canary"),
        "ca_file": ca.path(),
        "old": endpoint(ClusterRole::Old),
        "new": endpoint(ClusterRole::New),
    });
    let (status, lines) = execute(
        Command::new(script.program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script.name))
            .env("PUSHER_CANARY_INTEROP_TARGET", target.to_string())
            .env("NODE_EXTRA_CA_CERTS", ca.path())
            .env("NODE_NO_WARNINGS", "1")
            .env("PYTHONPATH", sdk.join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::piped()),
        SCRIPT_TIMEOUT,
    )?;
    if !status.success() {
        return Err(format!("{status}; it printed:\n{lines}"));
    }
    let mut report = read(&lines, &names(script))?;
    let stopped = pair.stop().map_err(|error| error.to_string());
    report.insert("nothing panicked".to_owned(), stopped);
    Ok(report)
}

#[expect(clippy::disallowed_methods, reason = "a test's patience is no part of the agent")]
fn started() -> Instant {
    Instant::now()
}

/// Says what a program says to its standard error. Node must not have ours: it makes whatever pipe it
/// gets one that takes no more than fits, for everybody who writes to it.
fn pass_on(stderr: Option<impl Read + Send + 'static>) {
    let Some(stderr) = stderr else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            eprintln!("{line}");
        }
    });
}

/// The status and the standard output of a command, which is killed where it takes too long.
fn execute(command: &mut Command, timeout: Duration) -> Result<(ExitStatus, String), String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    pass_on(child.stderr.take());
    let mut stdout = child.stdout.take().ok_or("no standard output")?;
    let (heard, read) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let result = stdout.read_to_string(&mut text).map(|_| text);
        // Nobody listens any more if it took too long.
        let _ = heard.send(result);
    });
    // Its output ends when it does.
    let text = read.recv_timeout(timeout);
    if text.is_err() {
        // It may have ended in this moment.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let text = text.map_err(|_| format!("it did not end within {timeout:?}"))?;
    Ok((status, text.map_err(|error| error.to_string())?))
}

/// What a script prints for each check.
#[derive(serde::Deserialize)]
struct Line {
    check: String,
    ok: bool,
    #[serde(default)]
    detail: String,
}

fn read(lines: &str, names: &[String]) -> Result<HashMap<String, Result<(), String>>, String> {
    let mut report = HashMap::new();
    for line in lines.lines() {
        let Line { check, ok, detail } =
            serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        if !names.contains(&check) {
            return Err(format!("the script reported a check that is not listed: {line}"));
        }
        report.insert(check, if ok { Ok(()) } else { Err(detail) });
    }
    Ok(report)
}
