//! What the tests from outside share: the real binary, scenarios in a folder of their own, clusters
//! to run against, and a report that is looked at as JSON.
//!
//! Nothing here sleeps. A test waits for a line, a page, a port or an exit, each with a bound, and
//! an [`Outcome`] that is around when its test fails shows all that the process said.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pusher_canary::model::{Clock, ClusterRole, RunTime};
use pusher_canary::rehearsal::{Endpoint, Pair, PairConfig};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;

use crate::schemas::{assert_bench, assert_matrix, assert_report};

/// How long a process may take before its test gives up on it. The longest test takes a third.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is seen how much memory a process has taken, while its end is awaited.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// Longest pause between two looks at a page, where nothing tells when it changes.
const SCRAPE_PERIOD: Duration = Duration::from_millis(60);
/// Runs that may measure at once: more would take each other's processor time.
const RUNS_MAX: usize = 2;
/// Characters of an output that a failure shows.
const SHOWN_MAX: usize = 100_000;

/// The scenario that most tests change: every channel kind, two witnesses, 400 events over 40
/// channels, so that a stream publishes only every 250 ms. Between two events of a stream every
/// answer has come, and what the clusters call reordered has an order.
pub const SCENARIO: &str = r#"
[scenario]
name = "it"
phase = "dual-publish"
duration = "2500ms"
CLUSTERS
[canary.channels]
public = 8
private = 8
presence = 4
encrypted = 8
cache = 4
private_cache = 4
presence_cache = 2
encrypted_cache = 2

[canary]
rate = 160.0
routes = ["trigger"]
witnesses = 2
deadline = "1s"
horizon = "2500ms"
recycle = "off"

[gate]
loss_rate_max = 1e-2
late_ratio_max = 1e-3
latency_p99_ratio_max = 1000.0    # a busy machine is no finding
latency_slack = "2s"
connect_p99_max = "10s"

[instrument]
schedule_lag_max = "2s"
runtime_stall_max = "2s"
receive_backlog_max = "2s"
"#;

/// From one event of a stream to its next, in [`SCENARIO`].
const STREAM_PERIOD_MS: f64 = 250.0;
/// Runs on a busy machine after which a test gives up on finding an order.
const TRIES_MAX: u32 = 4;

/// Events of [`SCENARIO`], on each cluster.
pub const EVENTS: u64 = 400;

/// A place among the runs that may measure at once; given back when it is dropped.
pub struct Turn(());

static TURNS: Mutex<usize> = Mutex::new(0);
static TURN_ENDED: Condvar = Condvar::new();

/// Waits for a turn. Every test that measures, or that is bounded in time, takes one.
pub fn turn() -> Turn {
    let taken = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let full = |taken: &mut usize| *taken >= RUNS_MAX;
    let mut taken: MutexGuard<'_, usize> =
        TURN_ENDED.wait_while(taken, full).unwrap_or_else(PoisonError::into_inner);
    *taken += 1;
    Turn(())
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        TURN_ENDED.notify_one();
    }
}

/// The seeds to go through: 1 to `PUSHER_CANARY_SEEDS`, which is 1 by default.
pub fn seeds() -> std::ops::RangeInclusive<u64> {
    let count = std::env::var("PUSHER_CANARY_SEEDS").ok();
    1..=count.map_or(1, |text| text.parse().expect("PUSHER_CANARY_SEEDS is no number"))
}

/// A folder for one test, gone with it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a file of this name is, or would be.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    pub fn names(&self) -> Vec<String> {
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> =
            fs::read_dir(self.path()).unwrap().map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

/// [`SCENARIO`] with these keys replaced: `("rate", "20.0")` and the like.
pub fn scenario(changes: &[(&str, &str)]) -> String {
    changed(&SCENARIO.replace("CLUSTERS\n", ""), changes)
}

fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (key, value) in changes {
        let start = format!("{key} = ");
        let line = text.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no key {key} to change")).to_owned();
        text = text.replace(&line, &format!("{start}{value}"));
    }
    text
}

/// The text of a `[clusters.…]` section; the secret is read from `PC_OLD_SECRET` or
/// `PC_NEW_SECRET`.
pub fn section(role: ClusterRole, endpoint: &Endpoint, ca_file: Option<&str>) -> String {
    let Endpoint { ws_url, wss_url, http_url, https_url, app_id, key, .. } = endpoint;
    let (ws, http) = if ca_file.is_some() { (wss_url, https_url) } else { (ws_url, http_url) };
    let tls = ca_file.map_or(String::new(), |path| format!("tls.ca_file = \"{path}\"\n"));
    let name = role.as_str().to_uppercase();
    format!(
        "[clusters.{role}]\nws_url = \"{ws}\"\nhttp_url = \"{http}\"\napp_id = \"{app_id}\"\n\
         key = \"{key}\"\nsecret = \"${{PC_{name}_SECRET}}\"\n{tls}\n"
    )
}

/// A pair in this process, and what a scenario needs to reach it.
pub struct Clusters {
    pub pair: Pair,
    /// The two sections; [`Clusters::scenario`] puts them in.
    pub sections: [String; 2],
    secrets: [String; 2],
}

impl Clusters {
    /// Without TLS.
    pub fn start() -> Self {
        Self::with(PairConfig { seed: 7, ..PairConfig::default() }, None)
    }

    /// With TLS; the certificate is written into the folder, as `ca.pem`.
    pub fn start_tls(folder: &Folder) -> Self {
        Self::with(PairConfig { seed: 7, ..PairConfig::default() }, Some(folder))
    }

    /// A pair made of this; with TLS where there is a folder for its certificate.
    pub fn with(config: PairConfig, folder: Option<&Folder>) -> Self {
        let pair = Pair::start(config).unwrap();
        let ca_file = folder.map(|folder| {
            folder.write("ca.pem", pair.ca_pem());
            "ca.pem"
        });
        let [old, new] = ClusterRole::ALL.map(|role| pair.endpoint(role));
        let sections =
            [section(ClusterRole::Old, &old, ca_file), section(ClusterRole::New, &new, ca_file)];
        let secrets = [old.secret.expose().to_owned(), new.secret.expose().to_owned()];
        Self { pair, sections, secrets }
    }

    /// [`SCENARIO`] against this pair.
    pub fn scenario(&self, changes: &[(&str, &str)]) -> String {
        changed(&SCENARIO.replace("CLUSTERS\n", &self.sections.concat()), changes)
    }

    /// The variables that the scenario reads.
    pub fn variables(&self) -> [(&'static str, &str); 2] {
        [("PC_OLD_SECRET", &self.secrets[0]), ("PC_NEW_SECRET", &self.secrets[1])]
    }
}

/// The binary, about to be started.
pub struct Canary {
    command: Command,
    shown: String,
    /// Where its JSON report goes, if it was asked for one.
    report: Option<PathBuf>,
    /// What it keeps for itself.
    state: Folder,
}

/// The binary with these arguments, in an environment of which it sees only what the test sets. Its
/// folder for state is one that goes with its outcome: no test writes into the user's history.
pub fn canary<I: AsRef<str>>(args: impl IntoIterator<Item = I>) -> Canary {
    started_by(Command::new(env!("CARGO_BIN_EXE_pusher-canary")), args)
}

/// The same, where no more than so many files may be open.
pub fn canary_with_files<I: AsRef<str>>(most: u32, args: impl IntoIterator<Item = I>) -> Canary {
    let mut shell = Command::new("sh");
    let line = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
    shell.args(["-c", &line, env!("CARGO_BIN_EXE_pusher-canary")]);
    started_by(shell, args)
}

fn started_by<I: AsRef<str>>(mut command: Command, args: impl IntoIterator<Item = I>) -> Canary {
    let state = Folder::new();
    command.env_clear().env("XDG_STATE_HOME", state.path()).stdin(Stdio::null());
    let mut shown = "pusher-canary".to_owned();
    let (mut report, mut is_report) = (None, false);
    for arg in args {
        if is_report {
            report = Some(PathBuf::from(arg.as_ref()));
        }
        is_report = arg.as_ref() == "--report-json";
        command.arg(arg.as_ref());
        shown.push(' ');
        shown.push_str(arg.as_ref());
    }
    Canary { command, shown, report, state }
}

/// A rehearsal of this scenario, with nothing asked for but what `more` says.
pub fn rehearsal(scenario: &Path, seed: u64, more: &[&str]) -> Canary {
    let seed = seed.to_string();
    let args = ["rehearse", scenario.to_str().unwrap(), "--seed", &seed];
    canary(args.into_iter().chain(more.iter().copied()))
}

/// `rehearse SCENARIO --report-json - --seed SEED` and more.
pub fn rehearse(scenario: &Path, seed: u64, more: &[&str]) -> Canary {
    let seed = seed.to_string();
    let fixed = ["rehearse", scenario.to_str().unwrap(), "--report-json", "-", "--seed", &seed];
    canary(fixed.iter().chain(more))
}

/// Runs until every publication was answered and, unless copies are `held` on purpose, delivered
/// before the next one of its stream was due. Two that are under way at once have no order, and
/// which of them is called overtaken depends on who is asked: what the clusters count can then not
/// be compared to the unit. A run that is not kept for that must hold in everything else: its books,
/// its exit code, and that nothing was late.
#[track_caller]
pub fn in_order(held: Held, run: impl Fn() -> Outcome) -> Outcome {
    for _ in 0..TRIES_MAX {
        let outcome = run();
        let report = outcome.judged();
        let slowest = report.slowest_ms(held);
        if slowest < STREAM_PERIOD_MS {
            return outcome;
        }
        if held == Held::None {
            for cluster in ["old", "new"] {
                assert_eq!(report.figure(cluster, "obligations.late"), 0, "late on {cluster}");
            }
        }
        eprintln!("publications overlapped, the slowest took {slowest} ms; once more");
    }
    panic!("publications overlapped in {TRIES_MAX} runs: this machine is too busy");
}

/// Whether a run's faults hold copies back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Some,
    None,
}

impl Canary {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn envs<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.command.envs(variables);
        self
    }

    /// Where names are those of this file: in a namespace of its own. Comes last.
    pub fn resolving(mut self, hosts: &Path) -> Self {
        let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.env_clear().args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(hosts).arg(self.command.get_program()).args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = self.command.get_current_dir() {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null());
        self.command = command;
        self
    }

    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.start().finish()
    }

    /// Starts it, to be watched.
    pub fn start(self) -> Running {
        let Self { mut command, shown, report, state } = self;
        let folder = command.get_current_dir().map(Path::to_owned).unwrap_or_default();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let clock = Clock::start();
        let mut child = command.spawn().unwrap();
        let (heard, events) = channel();
        let (mut stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let on_stderr = heard.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                // The test may have failed and gone.
                let _ = on_stderr.send(Heard::Line(line));
            }
            let _ = on_stderr.send(Heard::End);
        });
        thread::spawn(move || {
            let mut chunk = [0; 1 << 16];
            loop {
                match stdout.read(&mut chunk).unwrap() {
                    0 => break,
                    count => {
                        let _ = heard.send(Heard::Stdout(chunk[..count].to_vec()));
                    }
                }
            }
            let _ = heard.send(Heard::End);
        });
        let outcome = Outcome {
            command: shown,
            status: None,
            stdout: String::new(),
            stderr: String::new(),
            took: Duration::ZERO,
            peak_bytes: 0,
            report: report.map(|path| folder.join(path)),
            _state: state,
        };
        Running { child, events, clock, ends: 0, stdout: Vec::new(), outcome: Some(outcome) }
    }
}

enum Heard {
    Line(String),
    Stdout(Vec<u8>),
    End,
}

/// The binary at work. It is killed if its test fails.
pub struct Running {
    child: Child,
    events: Receiver<Heard>,
    clock: Clock,
    ends: u32,
    stdout: Vec<u8>,
    outcome: Option<Outcome>,
}

impl Running {
    fn so_far(&mut self) -> &mut Outcome {
        self.outcome.as_mut().unwrap()
    }

    /// Takes in what is said within `at_most`; whether there was anything.
    fn hear(&mut self, at_most: Duration) -> bool {
        match self.events.recv_timeout(at_most) {
            Ok(Heard::Line(line)) => {
                let stderr = &mut self.so_far().stderr;
                stderr.push_str(&line);
                stderr.push('\n');
            }
            Ok(Heard::Stdout(chunk)) => {
                self.stdout.extend(chunk);
                self.so_far().stdout = String::from_utf8_lossy(&self.stdout).into_owned();
            }
            Ok(Heard::End) => self.ends += 1,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Notes how much memory it has taken so far, if it is still there.
    fn look(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let peak = status.unwrap_or_default();
        let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let so_far = self.so_far();
        so_far.peak_bytes = so_far.peak_bytes.max(peak.unwrap_or(0) * 1_024);
    }

    fn left(&self, bound: Duration) -> Duration {
        bound.saturating_sub(self.clock.now().since(RunTime::ZERO))
    }

    /// Waits for a line on stderr that holds `text`; gives the whole line.
    pub fn line(&mut self, text: &str) -> String {
        loop {
            let said = self.so_far().stderr.lines().find(|line| line.contains(text));
            if let Some(line) = said {
                return line.to_owned();
            }
            let left = self.left(PATIENCE);
            assert!(self.ends < 2 && self.hear(left), "no line on stderr with {text:?}");
        }
    }

    /// Waits until stdout holds `text`.
    pub fn printed(&mut self, text: &str) {
        while !self.so_far().stdout.contains(text) {
            let left = self.left(PATIENCE);
            assert!(self.ends < 2 && self.hear(left), "nothing on stdout with {text:?}");
        }
    }

    /// The address that it serves metrics on.
    pub fn metrics_address(&mut self) -> SocketAddr {
        let line = self.line("metrics on http://");
        let address = line.split("http://").nth(1).unwrap().trim_end_matches("/metrics");
        address.parse().unwrap()
    }

    /// Scrapes until the page shows what is asked for.
    pub fn page(&mut self, asked: impl Fn(&str) -> bool) -> String {
        let address = self.metrics_address();
        loop {
            let (status, page) = request(address, "GET", "/metrics");
            assert_eq!(status, 200);
            if asked(&page) {
                return page;
            }
            // Until it says something, or it is time for another look.
            self.hear(SCRAPE_PERIOD);
            assert!(self.ends < 2, "it ended before its page showed what was asked for");
        }
    }

    /// Scrapes for so long, and looks at each page; returns how long the slowest answer took.
    pub fn pages(&mut self, time: Duration, look: impl Fn(&str)) -> Duration {
        let (address, clock) = (self.metrics_address(), Clock::start());
        let mut slowest = Duration::ZERO;
        while clock.now().since(RunTime::ZERO) < time {
            let asked = clock.now();
            let (status, page) = request(address, "GET", "/metrics");
            slowest = slowest.max(clock.now().since(asked));
            assert_eq!(status, 200);
            look(&page);
            self.hear(SCRAPE_PERIOD);
            assert!(self.ends < 2, "it ended while it was scraped");
        }
        slowest
    }

    /// Waits until witnesses get what is published.
    pub fn deliveries(&mut self) {
        self.page(|page| {
            let delivered = |line: &&str| line.contains(r#"outcome="delivered""#);
            let roles = ["old", "new"].map(|role| format!("cluster=\"{role}\""));
            let some = |role: &String| {
                page.lines().filter(delivered).any(|l| l.contains(role) && !l.ends_with(" 0"))
            };
            roles.iter().all(some)
        });
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets it have so many files open from now on, and no more.
    pub fn limit_files(&self, most: u64) {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).unwrap();
    }

    /// Waits for its end, as long as if it had just begun: the test may have taken its time.
    pub fn finish(mut self) -> Outcome {
        let asked = self.clock.now();
        while self.ends < 2 {
            let left = PATIENCE.saturating_sub(self.clock.now().since(asked));
            assert!(!left.is_zero(), "it did not end within {PATIENCE:?}");
            self.hear(left.min(LOOK_PERIOD));
            self.look();
        }
        let status = self.child.wait().unwrap();
        let took = self.clock.now().since(RunTime::ZERO);
        let mut outcome = self.outcome.take().unwrap();
        outcome.status = Some(status);
        outcome.took = took;
        outcome.assert_schema();
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            // It may have ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What the binary did. Shows all of it when the test that holds it fails.
pub struct Outcome {
    command: String,
    status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    /// The most memory that it was seen to take.
    pub peak_bytes: u64,
    /// Where its JSON report went.
    report: Option<PathBuf>,
    /// Its folder for state.
    _state: Folder,
}

impl Outcome {
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), Some(code), "the exit code");
        self
    }

    /// Makes sure that a JSON report, where one was written, keeps its schema: no test has to ask.
    fn assert_schema(&self) {
        let Some(path) = self.report.as_ref().filter(|_| self.code() != Some(2)) else { return };
        let text = match path.file_name() {
            Some(name) if name == "-" => self.stdout.clone(),
            _ if path.is_file() => fs::read_to_string(path).unwrap(),
            _ => String::new(),
        };
        // What has measured nothing writes nothing; a file of before may be there then.
        if !text.is_empty() {
            let is_of =
                |command: &str| self.command.starts_with(&format!("pusher-canary {command} "));
            match (is_of("gate"), is_of("parity"), is_of("bench")) {
                (_, true, _) => assert_matrix(&text),
                (_, _, true) => assert_bench(&text),
                (is_of_gate, _, _) => assert_report(&text, is_of_gate),
            }
        }
    }

    /// The report on stdout.
    #[track_caller]
    pub fn report(&self) -> Report {
        let json: Value = serde_json::from_str(&self.stdout).expect("no JSON report on stdout");
        Report(json)
    }

    /// The report, after making sure that the exit code is that of its verdict and that its books
    /// balance.
    #[track_caller]
    pub fn judged(&self) -> Report {
        let report = self.report();
        let code = match report.0["verdict"].as_str().unwrap() {
            "GO" => 0,
            "NO-GO" => 1,
            "INCONCLUSIVE" => 3,
            other => panic!("verdict {other}"),
        };
        self.assert_code(code);
        report.assert_balance();
        report
    }

    /// The same of a witness of another process' publications, which that one alone counted from
    /// their beginning.
    #[track_caller]
    pub fn judged_apart(&self) -> Report {
        let mut report = self.report();
        for cluster in report.0["clusters"].as_object_mut().unwrap().values_mut() {
            cluster["obligations_opened"] = cluster["obligations"]["total"].clone();
        }
        report.assert_balance();
        self.report()
    }

    /// The one sentence on stderr of a command that could not do its work.
    #[track_caller]
    pub fn sentence(&self) -> &str {
        let sentence = self.stderr.strip_prefix("pusher-canary: ").expect("no sentence on stderr");
        assert_eq!(sentence.lines().count(), 1, "more than one line on stderr");
        sentence.trim_end()
    }
}

fn shorter(text: &str) -> String {
    let left = text.chars().count().saturating_sub(SHOWN_MAX);
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    if left > 0 { format!("{shown}… and {left} more characters") } else { shown }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map_or("killed by the test".to_owned(), |s| s.to_string());
        writeln!(f, "command: {}", self.command)?;
        writeln!(f, "status: {status}, after {:?}", self.took)?;
        writeln!(f, "stdout:\n{}", shorter(&self.stdout))?;
        writeln!(f, "stderr:\n{}", shorter(&self.stderr))
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if thread::panicking() {
            // Kept by the test's harness with the rest of what the test printed.
            println!("{self}");
        }
    }
}

/// A report, looked at as anybody would who reads the file.
pub struct Report(pub Value);

impl Report {
    /// A figure of a cluster, such as `obligations.lost`.
    #[track_caller]
    pub fn figure(&self, cluster: &str, path: &str) -> u64 {
        number(&self.0["clusters"][cluster], path)
    }

    /// What a cluster itself counted.
    #[track_caller]
    pub fn done(&self, cluster: &str, what: &str) -> u64 {
        number(&self.0["rehearsal"][cluster], what)
    }

    /// The connections of a cluster that were closed by it or cut.
    pub fn closed(&self, cluster: &str) -> u64 {
        let codes = &self.0["clusters"][cluster]["connections"]["closed_by_code"];
        codes.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
    }

    pub fn verdict(&self) -> &str {
        self.0["verdict"].as_str().unwrap()
    }

    /// The longest time from an event's scheduled instant to its answer and, unless copies are
    /// held, to its delivery.
    fn slowest_ms(&self, held: Held) -> f64 {
        let max = |of: &Value| of["max"].as_f64().unwrap_or_default();
        let lag = max(&self.0["instrument"]["schedule_lag_ms"]);
        let clusters = self.0["clusters"].as_object().unwrap().values();
        let took = clusters.map(|cluster| match held {
            Held::Some => max(&cluster["publish_ms"]),
            Held::None => max(&cluster["publish_ms"]).max(max(&cluster["latency_ms"])),
        });
        lag + took.fold(0.0, f64::max)
    }

    /// How a check ended; of `both` clusters where it is about both.
    #[track_caller]
    pub fn status(&self, check: &str, cluster: &str) -> &str {
        self.check(check, cluster)["status"].as_str().unwrap()
    }

    /// A check; of `both` clusters where it is about both.
    #[track_caller]
    pub fn check(&self, check: &str, cluster: &str) -> &Value {
        let of =
            |f: &&Value| f["name"] == check && f["cluster"].as_str().unwrap_or("both") == cluster;
        let finding = self.0["checks"].as_array().unwrap().iter().find(of);
        finding.unwrap_or_else(|| panic!("no check {check} of {cluster}"))
    }

    pub fn incidents(&self) -> &[Value] {
        self.0["incidents"].as_array().unwrap()
    }

    #[track_caller]
    fn assert_balance(&self) {
        for (role, cluster) in self.0["clusters"].as_object().unwrap() {
            let of = |path: &str| number(cluster, path);
            let ended: u64 = ["delivered", "late", "lost", "missed_offline", "void", "pending"]
                .iter()
                .map(|outcome| of(&format!("obligations.{outcome}")))
                .sum();
            assert_eq!(of("obligations.total"), ended, "obligations of {role}");
            assert_eq!(of("obligations_opened"), of("obligations.total"), "opened on {role}");
            assert_eq!(of("obligations.pending"), 0, "pending on {role}");
            let answered: u64 = ["accepted", "rejected", "unknown"]
                .iter()
                .map(|outcome| of(&format!("publications.{outcome}")))
                .sum();
            assert_eq!(of("publications.sent"), answered, "publications of {role}");
            let decided = of("publications.recovered") + of("publications.void");
            assert_eq!(of("publications.unknown"), decided, "unknown publications of {role}");
        }
    }
}

/// A number in a JSON value, by the names on the way to it.
#[track_caller]
pub fn number(value: &Value, path: &str) -> u64 {
    let found = path.split('.').fold(value, |value, name| &value[name]);
    found.as_u64().unwrap_or_else(|| panic!("{path} is {found}"))
}

/// The lines of a fault log.
pub fn fault_log(folder: &Folder, name: &str) -> Vec<Value> {
    folder.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One HTTP/1.1 request by hand: status and body.
pub fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// The same, with a user and a password.
pub fn request_as(address: SocketAddr, path: &str, user: &str) -> (u16, String) {
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(user);
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Basic {credentials}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// A port that nobody listens on, and that the system gives to nobody: those that it gives away lie
/// above, and a test beside this one opens hundreds of connections.
pub fn deserted() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: u16 = 12_000;
    let start = (std::process::id() % u32::from(PORTS)) as u16;
    loop {
        let place = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % PORTS;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", 20_000 + place)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// A port that notices whoever comes.
pub struct Doorbell(TcpListener);

impl Doorbell {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Whether anybody has connected.
    pub fn rang(&self) -> bool {
        self.0.accept().is_ok()
    }
}
