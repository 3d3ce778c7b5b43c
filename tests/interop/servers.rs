//! The agent against servers that others wrote: pairs of them on loopback, the real binary, and the
//! scenario that ships.
//!
//! Two pieces of our own code that agree prove nothing, so what the agent finds on the rehearsal
//! clusters is held here to independent implementations.

#![allow(clippy::indexing_slicing, reason = "a JSON value without the key is null, not a panic")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::valve::Valve;
use super::{MACHINE, base, execute, pass_on, started};

/// How long a server may take to serve.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Publishing, the horizon, and as much again as a run may take to prove connections alive.
const RUN_TIMEOUT: Duration = Duration::from_secs(180);
/// Two slow probes, one after the other, of a server that takes its time.
const SLOW_TIMEOUT: Duration = Duration::from_secs(600);
/// Most runs of a test whose machine was busy.
const RUNS_MAX: u32 = 3;
/// Checks that a busy machine leaves open, by its stalls or by too few seconds that count.
const TIMING: [&str; 6] =
    ["connect", "coverage", "evidence", "instrument", "latency-new-vs-old", "loss"];
/// How soon a user learns that a key or a secret is wrong.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server stands still: longer than the deadline of `dual-publish.toml`.
const FROZEN: Duration = Duration::from_secs(7);
/// How long nothing is read from a server: longer than it takes to fill what it keeps, and too short
/// to be taken for dead.
const UNREAD: Duration = Duration::from_secs(8);
/// Two megabytes a second.
const LARGE_EVENTS: &str = r#"
[scenario]
name = "slow-reader"
phase = "steady"
duration = "12s"

[clusters.new]
ws_url = "ws://127.0.0.1:VALVE"
http_url = "${NEW_HTTP_URL}"
app_id = "${NEW_APP_ID}"
key = "${NEW_APP_KEY}"
secret = "${NEW_APP_SECRET}"

[canary]
channels = { public = 1 }
routes = ["trigger"]
rate = 200.0
payload_bytes = 10_000
horizon = "15s"
recycle = "off"
"#;
/// The version that `tests/interop/install` installs.
const SOCKUDO: &str = "sockudo-5.2.0/bin/sockudo";

/// The key of the encrypted channels of the tests' own application.
const MASTER_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sockudo,
    Soketi,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Sockudo => "sockudo",
            Self::Soketi => "soketi",
        }
    }

    /// What keeps it from running.
    fn missing(self) -> Option<String> {
        let file = match self {
            Self::Sockudo => base().join(SOCKUDO),
            Self::Soketi => base().join("interop/soketi/installed"),
        };
        if !file.is_file() {
            return Some(format!("{} does not exist", file.display()));
        }
        let node = || Command::new("node").arg("--version").output();
        let no_node = self == Self::Soketi && !node().is_ok_and(|o| o.status.success());
        no_node.then(|| "node is not installed".to_owned())
    }

    /// What it says once it serves.
    const fn ready(self) -> &'static str {
        match self {
            Self::Sockudo => "http server listening",
            Self::Soketi => "Server is up and running",
        }
    }

    fn command(self, config: &Path) -> Command {
        let mut command = match self {
            Self::Sockudo => {
                let mut command = Command::new(base().join(SOCKUDO));
                command.arg("--config").arg(config);
                // These would override the file.
                command.env_remove("HOST").env_remove("PORT").env_remove("DEBUG");
                command
            }
            Self::Soketi => {
                let server = base().join("interop/soketi/node_modules/@soketi/soketi/bin");
                let mut command = Command::new("node");
                command.arg(server.join("server.js")).arg("start");
                command.arg(format!("--config={}", config.display()));
                // Its dependencies' age is no news to whoever reads a test's output.
                command.env("NODE_NO_WARNINGS", "1");
                command
            }
        };
        command.stdin(Stdio::null());
        command
    }

    /// The same with everything turned on that an app can have, its webhooks posted there.
    fn full_config(self, app: &App, ports: (u16, u16), webhooks: &str) -> Value {
        let mut config = self.config(app, ports.0, ports.1);
        let kinds = [
            "channel_occupied",
            "channel_vacated",
            "member_added",
            "member_removed",
            "client_event",
            "cache_miss",
            "subscription_count",
        ];
        let webhooks = json!([{ "url": webhooks, "event_types": kinds }]);
        match self {
            Self::Sockudo => {
                let policy = &mut config["app_manager"]["array"]["apps"][0]["policy"];
                policy["webhooks"] = webhooks;
                policy["features"]["enable_user_authentication"] = json!(true);
                policy["features"]["enable_watchlist_events"] = json!(true);
            }
            Self::Soketi => {
                let app = &mut config["appManager.array.apps"][0];
                app["webhooks"] = webhooks;
                app["enableUserAuthentication"] = json!(true);
            }
        }
        config
    }

    /// The configuration of one server with one app, limited as the hosted service limits.
    fn config(self, app: &App, port: u16, spare_port: u16) -> Value {
        match self {
            Self::Sockudo => json!({
                "debug": false,
                "host": "127.0.0.1",
                "port": port,
                "adapter": { "driver": "local" },
                "cache": { "driver": "memory" },
                "queue": { "driver": "memory" },
                "rate_limiter": { "enabled": false, "driver": "memory" },
                "metrics": { "enabled": false },
                // As it comes it drops messages, without a word to the client, once 256 wait.
                "websocket": { "max_messages": 200_000 },
                "shutdown_grace_period": 1,
                "user_authentication_timeout": 86_400,
                "app_manager": { "driver": "memory", "array": { "apps": [{
                    "id": app.id, "key": app.key, "secret": app.secret, "enabled": true,
                    "policy": {
                        "limits": {
                            "max_connections": 0,
                            "max_client_events_per_second": 0,
                            "max_event_payload_in_kb": 10,
                            "max_event_batch_size": 10,
                            "max_event_channels_at_once": 100,
                            "max_presence_members_per_channel": 100,
                            "max_presence_member_size_in_kb": 1,
                            "max_channel_name_length": 200,
                            "max_event_name_length": 200,
                        },
                        "features": { "enable_client_messages": true },
                    },
                }] } },
            }),
            Self::Soketi => json!({
                "debug": false,
                "host": "127.0.0.1",
                "port": port,
                "metrics.enabled": false,
                // Elsewhere it would announce itself on the network.
                "cluster.hostname": "127.0.0.1",
                "cluster.address": "127.0.0.1",
                "cluster.unicast": "127.0.0.1",
                "cluster.port": spare_port,
                "shutdownGracePeriod": 500,
                "userAuthenticationTimeout": 86_400_000,
                "eventLimits.maxPayloadInKb": 10,
                "eventLimits.maxBatchSize": 10,
                "eventLimits.maxChannelsAtOnce": 100,
                "appManager.array.apps": [{
                    "id": app.id, "key": app.key, "secret": app.secret, "enabled": true,
                    "maxConnections": -1,
                    "enableClientMessages": true,
                    "maxBackendEventsPerSecond": -1,
                    "maxClientEventsPerSecond": -1,
                    "maxReadRequestsPerSecond": -1,
                }],
            }),
        }
    }
}

struct App {
    id: &'static str,
    key: &'static str,
    secret: &'static str,
}

const OLD: App = App { id: "1001", key: "old-app-key-1001", secret: "old-app-secret-1001" };
const NEW: App = App { id: "2002", key: "new-app-key-2002", secret: "new-app-secret-2002" };

/// A server that runs; it ends with this value, whatever becomes of the test.
struct Server {
    child: Child,
    kind: Kind,
    config: PathBuf,
    port: u16,
    /// What it says once it serves.
    said: Receiver<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended by itself, or is ended now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Where everything is turned on, webhooks are posted to this address.
    fn start(kind: Kind, app: &App, folder: &Path, webhooks: Option<&str>) -> Result<Self, String> {
        Self::start_with(kind, app, folder, webhooks, |_| {})
    }

    /// The same, with its configuration changed.
    fn start_with(
        kind: Kind,
        app: &App,
        folder: &Path,
        webhooks: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self, String> {
        // Both are held until both are known, so that they differ.
        let (first, second) = (free()?, free()?);
        let (port, spare_port) = (port_of(&first)?, port_of(&second)?);
        let config = folder.join(format!("{}-{}.json", kind.name(), app.id));
        let mut text = match webhooks {
            Some(webhooks) => kind.full_config(app, (port, spare_port), webhooks),
            None => kind.config(app, port, spare_port),
        };
        change(&mut text);
        std::fs::write(&config, text.to_string()).map_err(to_text)?;
        drop((first, second));
        let (child, said) = Self::spawn(kind, &config)?;
        Ok(Self { child, kind, config, port, said })
    }

    /// Starts the process, and waits until it says that it serves.
    fn spawn(kind: Kind, config: &Path) -> Result<(Child, Receiver<String>), String> {
        let name = kind.name();
        let child = kind.command(config).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("{name} does not start: {error}"))?;
        let heard = listen(child.stdout.take().ok_or("no standard output")?);
        pass_on(child.stderr.take());
        match hear(&heard, kind.ready(), START_TIMEOUT) {
            Ok(()) => Ok((child, heard)),
            Err(said) => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{name} does not serve; it said:\n{said}"))
            }
        }
    }

    /// Ends it as a power cut would, and starts it again in the same place.
    fn kill_and_restart(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(to_text)?;
        (self.child, self.said) = Self::spawn(self.kind, &self.config)?;
        Ok(())
    }
}

/// The lines of an output, as they come; it is read to its end whether or not anybody listens.
pub(super) fn listen(output: impl Read + Send + 'static) -> Receiver<String> {
    let (heard, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = heard.send(line);
        }
    });
    lines
}

/// Waits for a line with these words; without one, all that was said instead.
fn hear(lines: &Receiver<String>, words: &str, timeout: Duration) -> Result<(), String> {
    let (waiting, mut said) = (started(), String::new());
    while let Ok(line) = lines.recv_timeout(timeout.saturating_sub(waiting.elapsed())) {
        if line.contains(words) {
            return Ok(());
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}

fn to_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn free() -> Result<TcpListener, String> {
    TcpListener::bind(("127.0.0.1", 0)).map_err(to_text)
}

fn port_of(listener: &TcpListener) -> Result<u16, String> {
    Ok(listener.local_addr().map_err(to_text)?.port())
}

/// Two servers, and what points a scenario at them.
struct Servers {
    old: Server,
    new: Server,
    folder: TempDir,
}

impl Servers {
    fn start(old: Kind, new: Kind) -> Result<Self, String> {
        Self::start_posting(old, new, None)
    }

    /// The same with everything turned on, and webhooks posted to this port.
    fn start_posting(old: Kind, new: Kind, webhooks: Option<u16>) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(to_text)?;
        let url = |role: &str| webhooks.map(|port| format!("http://127.0.0.1:{port}/{role}"));
        let old = Server::start(old, &OLD, folder.path(), url("old").as_deref())?;
        let new = Server::start(new, &NEW, folder.path(), url("new").as_deref())?;
        Ok(Self { old, new, folder })
    }

    /// The real binary with every variable that the scenarios read.
    fn canary(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pusher-canary"));
        // These runs are no part of the user's history.
        command.env("XDG_STATE_HOME", self.folder.path());
        for (role, server, app) in [("OLD", &self.old, &OLD), ("NEW", &self.new, &NEW)] {
            command
                .env(format!("{role}_WS_URL"), format!("ws://127.0.0.1:{}", server.port))
                .env(format!("{role}_HTTP_URL"), format!("http://127.0.0.1:{}", server.port))
                .env(format!("{role}_APP_ID"), app.id)
                .env(format!("{role}_APP_KEY"), app.key)
                .env(format!("{role}_APP_SECRET"), app.secret);
        }
        command
    }

    /// Runs the binary to a report. An INCONCLUSIVE where nothing was lost and only time was short
    /// says that the machine was busy with something else, and is tried again; a NO-GO never is.
    fn report(&self, arguments: &[&str], scenario: &Path) -> Result<(i32, Value, String), String> {
        for left in (0..RUNS_MAX).rev() {
            let mut command = self.canary();
            command.arg("run").arg(scenario).args(arguments).args(["--report-json", "-"]);
            let (code, stdout, stderr) = self.run(&mut command, RUN_TIMEOUT)?;
            let report: Value = serde_json::from_str(&stdout)
                .map_err(|error| format!("exit code {code}: {error}; stderr:\n{stderr}"))?;
            if left == 0 || code != 3 || !machine_was_busy(&report) {
                return Ok((code, report, stderr));
            }
            eprintln!("interop: the machine was busy; once more, after this:\n{stderr}");
        }
        Err("nothing was run".to_owned())
    }

    /// Runs the binary to its end: exit code, stdout, stderr.
    fn run(
        &self,
        command: &mut Command,
        timeout: Duration,
    ) -> Result<(i32, String, String), String> {
        let path: PathBuf = self.folder.path().join("stderr");
        let stderr = File::create(&path).map_err(to_text)?;
        let (status, stdout) = execute(command.stderr(stderr), timeout)?;
        let stderr = std::fs::read_to_string(&path).map_err(to_text)?;
        let code = status.code().ok_or_else(|| format!("{status}; it said:\n{stderr}"))?;
        Ok((code, stdout, stderr))
    }
}

/// Whether nothing was lost, nothing missed but by reconnects on purpose, and no check but those of
/// time did not pass.
fn machine_was_busy(report: &Value) -> bool {
    let lost = |role: &&str| {
        let cluster = &report["clusters"][*role];
        let missed = &cluster["obligations"]["missed_offline"];
        let by_agent = &cluster["blind"]["missed_by_cause"]["agent"];
        cluster["obligations"]["lost"] != 0
            || missed.as_u64() != Some(by_agent.as_u64().unwrap_or(0))
    };
    let checks = report["checks"].as_array().into_iter().flatten();
    let mut open = checks.filter(|c| c["required"] == true && c["status"] != "pass");
    !["old", "new"].iter().any(lost)
        && open.all(|check| TIMING.iter().any(|name| check["name"] == *name))
}

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name)
}

type Test = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Every test of this file.
pub fn trials(required: bool) -> Vec<Trial> {
    use Kind::{Sockudo, Soketi};
    let kinds = [Sockudo, Soketi];
    let missing = kinds.map(Kind::missing);
    for (kind, missing) in kinds.iter().zip(&missing) {
        if let (Some(missing), false) = (missing, required) {
            let name = kind.name();
            eprintln!(
                "interop: IGNORED: {name}: {missing}; `tests/interop/install {name}` installs it"
            );
        }
    }
    let missing_of = |needed: &[Kind]| {
        kinds.iter().zip(&missing).filter(|(k, _)| needed.contains(k)).find_map(|(_, m)| m.clone())
    };
    let mut trials = Vec::new();
    let mut add = |name: String, needed: &[Kind], test: Test| {
        let missing = missing_of(needed);
        let ignored = missing.is_some() && !required;
        let trial = Trial::test(name, move || match missing {
            Some(missing) => Err(Failed::from(missing)),
            None => test().map_err(Failed::from),
        });
        trials.push(trial.with_ignored_flag(ignored));
    };
    for (old, new) in [(Sockudo, Sockudo), (Soketi, Soketi), (Soketi, Sockudo)] {
        let name = format!("{} to {}: nothing is lost", old.name(), new.name());
        add(name, &[old, new], Box::new(move || nothing_is_lost(old, new)));
    }
    // The same server twice is tried where there is time for it.
    let is_long = std::env::var_os("PUSHER_CANARY_LONG").is_some();
    let same = is_long.then_some((Sockudo, Sockudo));
    for (old, new) in same.into_iter().chain([(Soketi, Sockudo)]) {
        let (from, to) = (old.name(), new.name());
        let name = format!("{from} to {to}: what an application forgets to publish is named");
        add(name, &[old, new], Box::new(move || an_application_is_watched(old, new)));
        let name = format!("{from} to {to}: clients move, and apps behave as is known");
        add(name, &[old, new], Box::new(move || clients_move(old, new)));
        let name = format!("{from} to {to}: a matrix finds what differs and nothing else");
        add(name, &[old, new], Box::new(move || apps_are_compared(old, new)));
    }
    let name = "sockudo: what it drops for a slow reader in silence is lost, to the unit";
    add(name.to_owned(), &[Sockudo], Box::new(silent_drops_are_counted));
    for kind in kinds.into_iter().filter(|_| is_long) {
        let name = format!("{}: frozen and thawed it is slow, and loses nothing", kind.name());
        add(name, &[kind], Box::new(move || frozen_and_thawed(kind)));
    }
    for kind in kinds {
        let name = format!("{}: a preflight passes on every kind and route", kind.name());
        add(name, &[kind], Box::new(move || preflight_passes(kind)));
        let name = format!("{}: a kill and a restart in mid-run are misses, never GO", kind.name());
        add(name, &[kind], Box::new(move || killed_and_restarted(kind)));
        let name = format!("{}: a client that stays keeps old from being drained", kind.name());
        add(name, &[kind], Box::new(move || a_straggler_is_found(kind)));
        for (what, variable) in [("secret", "NEW_APP_SECRET"), ("key", "NEW_APP_KEY")] {
            let name = format!("{}: a wrong {what} is named", kind.name());
            add(name, &[kind], Box::new(move || wrong_credential_is_named(kind, variable)));
        }
    }
    trials
}

/// What `dual-publish.toml` asks is proved where `PUSHER_CANARY_LONG` says so; else, that it can be
/// asked.
fn nothing_is_lost(old: Kind, new: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let servers = Servers::start(old, new)?;
    let is_long = std::env::var_os("PUSHER_CANARY_LONG").is_some();
    let (duration, path) = if is_long {
        ("70s", scenario("dual-publish.toml"))
    } else {
        let text = std::fs::read_to_string(scenario("dual-publish.toml"));
        let text = text.map_err(to_text)?;
        let proof = "loss_rate_max = 1e-4";
        if !text.contains(proof) {
            return Err("dual-publish.toml asks for another proof than this test knows".to_owned());
        }
        let path = servers.folder.path().join("dual-publish.toml");
        std::fs::write(&path, text.replace(proof, "loss_rate_max = 1e-3")).map_err(to_text)?;
        ("10s", path)
    };
    let arguments = ["--rate", "500", "--duration", duration];
    let (code, report, stderr) = servers.report(&arguments, &path)?;
    let mut wrong = Vec::new();
    let mut expect = |what: String, got: &Value, wanted: Value| {
        if *got != wanted {
            wrong.push(format!("{what} is {got}, not {wanted}"));
        }
    };
    expect("the exit code".to_owned(), &json!(code), json!(0));
    expect("the verdict".to_owned(), &report["verdict"], json!("GO"));
    for role in ["old", "new"] {
        let cluster = &report["clusters"][role];
        let obligations = &cluster["obligations"];
        let outcomes = ["delivered", "late", "lost", "missed_offline", "void", "pending"];
        let sum: u64 = outcomes.iter().filter_map(|o| obligations[*o].as_u64()).sum();
        let of = |what: &str| format!("{what} on {role}");
        expect(of("the books' sum"), &json!(sum), obligations["total"].clone());
        expect(of("obligations opened"), &cluster["obligations_opened"], json!(sum));
        for (place, name) in [
            (&cluster["publications"], "rejected"),
            (&cluster["publications"], "unsent"),
            (&cluster["publications"], "unknown"),
            (obligations, "pending"),
            (obligations, "lost"),
            (obligations, "late"),
            (cluster, "duplicates"),
            (cluster, "reordered"),
            (cluster, "corrupt"),
            (cluster, "misrouted"),
            (cluster, "unexpected"),
        ] {
            expect(of(name), &place[name], json!(0));
        }
    }
    eprintln!("interop: {} to {}:\n{stderr}", old.name(), new.name());
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}\n{stderr}", wrong.join("; "))) }
}

/// Client events and batches as well, which `dual-publish.toml` leaves out.
fn preflight_passes(kind: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let servers = Servers::start(kind, kind)?;
    let text = std::fs::read_to_string(scenario("preflight.toml"));
    let text = text.map_err(to_text)?;
    let routes = r#"routes = ["trigger"]"#;
    if !text.contains(routes) {
        return Err("preflight.toml has other routes than this test replaces".to_owned());
    }
    let path = servers.folder.path().join("preflight.toml");
    let text = text.replace(routes, r#"routes = ["trigger", "batch", "client"]"#);
    std::fs::write(&path, text).map_err(to_text)?;
    let (code, report, stderr) = servers.report(&[], &path)?;
    let lost = ["old", "new"].map(|role| &report["clusters"][role]["obligations"]["lost"]);
    if code == 0 && report["verdict"] == "GO" && lost.iter().all(|lost| **lost == 0) {
        return Ok(());
    }
    Err(format!("exit code {code}\n{stderr}"))
}

/// A run in whose middle something happens: how it ended, and its report.
fn run_while(
    servers: &mut Servers,
    scenario: &Path,
    arguments: &[&str],
    happen: impl FnOnce(&mut Servers) -> Result<(), String>,
) -> Result<(ExitStatus, Value), String> {
    let path = servers.folder.path().join("report.json");
    let mut command = servers.canary();
    command.arg("run").arg(scenario).args(arguments).args(["-v", "--report-json"]).arg(&path);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(to_text)?;
    let said = listen(child.stderr.take().ok_or("no standard error")?);
    let in_full_swing = hear(&said, "publishing begins", START_TIMEOUT);
    let happened = in_full_swing.and_then(|()| happen(servers));
    // Its output ends when it does.
    let ended = hear(&said, "run ends", RUN_TIMEOUT);
    if happened.is_err() || ended.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().map_err(to_text)?;
    happened.and(ended)?;
    let report = std::fs::read_to_string(&path).map_err(to_text)?;
    Ok((status, serde_json::from_str(&report).map_err(to_text)?))
}

/// What the new server takes before its witnesses are back is missed, and nothing is lost.
fn killed_and_restarted(kind: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let mut servers = Servers::start(kind, kind)?;
    let arguments = ["--rate", "200", "--duration", "8s"];
    let scenario = scenario("dual-publish.toml");
    let (status, report) =
        run_while(&mut servers, &scenario, &arguments, |servers| servers.new.kill_and_restart())?;
    let (old, new) = (&report["clusters"]["old"], &report["clusters"]["new"]);
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let holds = matches!(status.code(), Some(1 | 3))
        && report["verdict"] != "GO"
        && count(&new["blind"]["windows"]) > 0
        && new["blind"]["windows"] == new["blind"]["ended"]
        && count(&new["obligations"]["missed_offline"]) > 0
        && new["obligations"]["lost"] == 0
        && new["obligations"]["pending"] == 0
        && old["obligations"]["delivered"] == old["obligations"]["total"];
    eprintln!("interop: {}, killed: {status}: {}", kind.name(), new["obligations"]);
    if holds { Ok(()) } else { Err(format!("{status}: {report:#}")) }
}

/// As it comes, sockudo drops what waits for a subscriber beyond 256 messages, and goes on. Of each it
/// writes a line: so many are lost.
fn silent_drops_are_counted() -> Result<(), String> {
    let _alone = MACHINE.lock();
    let mut servers = Servers::start(Kind::Sockudo, Kind::Sockudo)?;
    servers.new = Server::start_with(Kind::Sockudo, &NEW, servers.folder.path(), None, |config| {
        config.as_object_mut().and_then(|config| config.remove("websocket"));
    })?;
    let valve = Valve::before(servers.new.port)?;
    let path = servers.folder.path().join("slow-reader.toml");
    let steady = LARGE_EVENTS.replace("VALVE", &valve.port.to_string());
    std::fs::write(&path, steady).map_err(to_text)?;
    let (status, report) = run_while(&mut servers, &path, &[], |_| {
        valve.shut(true);
        // Nothing tells that a client has not read for long enough.
        std::thread::sleep(UNREAD);
        valve.shut(false);
        Ok(())
    })?;
    let new = &report["clusters"]["new"];
    let said = servers.new.said.try_iter();
    let dropped = said.filter(|line| line.contains("Client buffer full")).count();
    eprintln!("interop: sockudo dropped {dropped}: {status}: {}", new["obligations"]);
    let holds = dropped > 0
        && status.code() == Some(1)
        && new["obligations"]["lost"] == dropped
        && new["obligations"]["pending"] == 0
        && new["connections"]["closed_by_code"] == json!({})
        && new["publications"]["accepted"] == new["publications"]["sent"];
    if holds { Ok(()) } else { Err(format!("{status}, dropped {dropped}: {report:#}")) }
}

/// A server that stands still for longer than the deadline is late, and has lost nothing.
fn frozen_and_thawed(kind: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let mut servers = Servers::start(kind, kind)?;
    let arguments = ["--rate", "100", "--duration", "12s"];
    let scenario = scenario("dual-publish.toml");
    let (status, report) = run_while(&mut servers, &scenario, &arguments, |servers| {
        let new = Pid::from_child(&servers.new.child);
        kill_process(new, Signal::STOP).map_err(to_text)?;
        // Nothing tells that a process that stands still has stood still for long enough.
        std::thread::sleep(FROZEN);
        kill_process(new, Signal::CONT).map_err(to_text)
    })?;
    let (old, new) = (&report["clusters"]["old"], &report["clusters"]["new"]);
    eprintln!("interop: {}, frozen: {status}: {}", kind.name(), new["obligations"]);
    let holds = status.code() == Some(1)
        && new["obligations"]["late"].as_u64() > Some(0)
        && new["obligations"]["lost"] == 0
        && new["obligations"]["pending"] == 0
        && old["obligations"]["delivered"] == old["obligations"]["total"];
    if holds { Ok(()) } else { Err(format!("{status}: {report:#}")) }
}

fn wrong_credential_is_named(kind: Kind, variable: &str) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let servers = Servers::start(kind, kind)?;
    let waiting = started();
    let (code, stdout, stderr) = servers.run(
        servers
            .canary()
            .arg("run")
            .arg(scenario("dual-publish.toml"))
            .args(["--duration", "70s", "--rate", "500"])
            .env(variable, "not-the-right-one"),
        RUN_TIMEOUT,
    )?;
    let took = waiting.elapsed();
    let said = format!("exit code {code} after {took:?}, and it said:\n{stdout}{stderr}");
    let named = stderr.lines().any(|line| line.starts_with("pusher-canary: new cluster: "));
    if code == 2 && named && took < REFUSAL_TIMEOUT && !stderr.contains(NEW.secret) {
        eprintln!("interop: {}: {variable}: {said}", kind.name());
        return Ok(());
    }
    Err(said)
}

/// An official client stays on old, and then goes: who is there is counted as it is.
fn a_straggler_is_found(kind: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let servers = Servers::start(kind, kind)?;
    let text = std::fs::read_to_string(scenario("drain.toml"));
    let text = text.map_err(to_text)?;
    let path = servers.folder.path().join("drain.toml");
    let quick = "\n[canary]\ndeadline = \"1s\"\nhorizon = \"2s\"\n";
    let text = text.replace(r#"drained_for = "10m""#, r#"drained_for = "4s""#);
    let text = text.replace(r#"refresh = "15s""#, r#"refresh = "1s""#) + quick;
    std::fs::write(&path, text).map_err(to_text)?;

    let mut straggler = straggle(&servers.old)?;
    let found = servers.report(&["--duration", "6s"], &path);
    let left = straggler.kill().and_then(|()| straggler.wait());
    left.map_err(to_text)?;
    let (code, report, stderr) = found?;
    let seen = &report["clusters"]["old"]["occupancy"];
    let kinds = json!({ "public": 1, "private": 1, "presence": 1 });
    eprintln!("interop: {}: {}", kind.name(), seen["channels_by_kind"]);
    // Members are what sockudo lists, and subscriptions what soketi does.
    let (what, count) = match kind {
        Kind::Sockudo => ("members", 1),
        Kind::Soketi => ("subscriptions", 3),
    };
    if code != 1 || seen["channels_by_kind"] != kinds || seen[what] != count {
        return Err(format!("exit code {code}: {seen:#}\n{stderr}"));
    }
    // Both servers find out by themselves that it is gone, and that somebody was there is known.
    let text = std::fs::read_to_string(&path).map_err(to_text)?;
    let text = text.replace("[gate]", "[gate]\nunseen = \"a client was here\"");
    std::fs::write(&path, text).map_err(to_text)?;
    let arguments = ["--duration", "60s", "--until-proven"];
    let (code, report, stderr) = servers.report(&arguments, &path)?;
    let seen = &report["clusters"]["old"]["occupancy"];
    if code == 0 && seen["channels"] == 0 && stderr.contains("detector proven on new") {
        return Ok(());
    }
    Err(format!("exit code {code}: {seen:#}\n{stderr}"))
}

/// An application on official SDKs publishes to both servers, and forgets one event in ten on one
/// channel: those are named, and no other.
fn an_application_is_watched(old: Kind, new: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let servers = Servers::start(old, new)?;
    let text = std::fs::read_to_string(scenario("real-events.toml"));
    let text = text.map_err(to_text)?;
    let key = format!("encryption_master_key = \"{MASTER_KEY}\"\n");
    let mut text = text.replace("[\"private-orders-\"]", "[\"\"]");
    for (from, to) in [
        ("refresh = \"60s\"", "refresh = \"4s\""),
        ("window = \"5s\"", "window = \"2s\""),
        ("requests_per_second = 5.0", "requests_per_second = 100"),
        ("loss_rate_max = 1e-3", "loss_rate_max = 5e-2"),
        ("rate = 20.0", "rate = 20.0\ndeadline = \"1s\"\nhorizon = \"3s\""),
        ("[clusters.old]\n", &format!("[clusters.old]\n{key}")),
        ("[clusters.new]\n", &format!("[clusters.new]\n{key}")),
    ] {
        if !text.contains(from) {
            return Err(format!("real-events.toml lacks {from}"));
        }
        text = text.replace(from, to);
    }
    let path = servers.folder.path().join("real-events.toml");
    std::fs::write(&path, text).map_err(to_text)?;
    let of = |server: &Server, app: &App| {
        let App { id, key, secret } = app;
        json!({ "port": server.port, "id": id, "key": key, "secret": secret })
    };
    let target = json!({
        "sdk": base().join("interop/sdk"),
        "masterKey": MASTER_KEY,
        "old": of(&servers.old, &OLD),
        "new": of(&servers.new, &NEW),
    });
    let (mut application, said) = client("application.mjs", &target, "publishing")?;
    let found = servers.report(&["--duration", "16s"], &path);
    let left = application.kill().and_then(|()| application.wait());
    left.map_err(to_text)?;
    let (code, report, stderr) = found?;
    let skipped = said.iter().filter(|line| line.starts_with("skipped ")).count();
    let mirror = &report["mirror"];
    let count = |of: &str| mirror["events"][of].as_u64().unwrap_or_default();
    let defects = mirror["defects"].as_array().cloned().unwrap_or_default();
    let is_forgotten = |defect: &Value| {
        defect["channel"] == "private-orders-c"
            && defect["event"] == "order-placed"
            && defect["outcome"] == "only_on_old"
    };
    let carried =
        json!(["orders-a", "private-encrypted-orders-d", "private-orders-b", "private-orders-c"]);
    eprintln!("interop: {} to {}, {skipped} skipped:\n{stderr}", old.name(), new.name());
    let holds = code == 1
        && report["verdict"] == "NO-GO"
        && defects.iter().all(is_forgotten)
        && (5..=skipped as u64).contains(&count("only_on_old"))
        && count("mirrored") > 300
        && ["only_on_new", "altered", "duplicated"].iter().all(|of| count(of) == 0)
        && mirror.get("unreadable").is_none()
        && mirror["carried"] == carried;
    if holds { Ok(()) } else { Err(format!("exit code {code}: {mirror:#}\n{stderr}")) }
}

/// Virtual clients move between real servers, of which it is known how they behave.
fn clients_move(old: Kind, new: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let servers = Servers::start(old, new)?;
    let text = std::fs::read_to_string(scenario("handover.toml"));
    let mut text = text.map_err(to_text)?;
    // A server takes two minutes and more to miss a connection that says nothing.
    let is_long = std::env::var_os("PUSHER_CANARY_LONG").is_some();
    let (duration, rate, probes, all) = match is_long {
        true => (
            "160s",
            "rate = 60.0\ndeadline = \"1s\"\nhorizon = \"3s\"",
            "[parity]\nprobes = [\"presence\", \"presence-silent\", \"cache\", \"client-events\", \
             \"publication\"]\n\n[canary]\n",
            13,
        ),
        false => (
            "14s",
            "rate = 300.0\ndeadline = \"1s\"\nhorizon = \"3s\"",
            "[parity]\nprobes = [\"presence\", \"cache\", \"client-events\", \"publication\"]\n\n[canary]\n",
            12,
        ),
    };
    for (from, to) in
        [("overlap = \"5s\"", "overlap = \"1s\""), ("rate = 20.0", rate), ("[canary]\n", probes)]
    {
        if !text.contains(from) {
            return Err(format!("handover.toml lacks {from}"));
        }
        text = text.replace(from, to);
    }
    let path = servers.folder.path().join("handover.toml");
    std::fs::write(&path, text).map_err(to_text)?;
    let (code, report, stderr) = servers.report(&["--duration", duration], &path)?;
    eprintln!("interop: {} to {}:\n{stderr}", old.name(), new.name());
    let mut wrong = Vec::new();
    for way in ["reload", "switch", "overlap"] {
        let of = &report["handover"]["ways"][way];
        if of["moved"] != 10 || of["stranded"] != 0 {
            wrong.push(format!("{way}: {of:#}"));
        }
    }
    if report["handover"]["ways"]["overlap"]["missed"] != 0 {
        wrong.push("an overlap missed something".to_owned());
    }
    // soketi takes client events on public channels and four bytes more of them, its publications answer nothing, and sockudo's
    // client events name nobody.
    let known = match (old, new) {
        (Kind::Soketi, Kind::Sockudo) => {
            json!([
                "client-events",
                "client-events-user-id",
                "size-client-event",
                "publication-info",
            ])
        }
        _ => json!([]),
    };
    let rows = report["parity"].as_array().cloned().unwrap_or_default();
    let differing = rows.iter().filter(|row| row["likeness"] != "same").map(|row| &row["row"]);
    let differing = differing.cloned().collect::<Vec<_>>();
    if json!(differing) != known || rows.len() != all {
        wrong.push(format!("{differing:?} differ of {} rows", rows.len()));
    }
    let ends = if known == json!([]) { code != 1 } else { code == 1 };
    if wrong.is_empty() && ends {
        return Ok(());
    }
    Err(format!("exit code {code}: {}\n{stderr}", wrong.join("\n")))
}

/// In what soketi and sockudo differ, as they are configured here: each seen by hand, once, and told
/// in the documents.
fn soketi_is_not_sockudo() -> BTreeSet<&'static str> {
    let documents = include_str!("../../docs/parity.md");
    let section = documents.split("\n## ").find(|section| section.starts_with("soketi against"));
    let rows = section.into_iter().flat_map(|section| section.lines());
    rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

/// Two apps on real servers are compared from outside.
fn apps_are_compared(old: Kind, new: Kind) -> Result<(), String> {
    let _alone = MACHINE.lock();
    let held = free()?;
    let port = port_of(&held)?;
    let servers = Servers::start_posting(old, new, Some(port))?;
    let text = std::fs::read_to_string(scenario("preflight.toml"));
    let mut text = text.map_err(to_text)?;
    // What takes minutes is tried where there is time for it.
    let is_slow = old != new && std::env::var_os("PUSHER_CANARY_LONG").is_some();
    let (pace, limit) = match is_slow {
        true => ("--slow", SLOW_TIMEOUT),
        false => ("--skip=idle", RUN_TIMEOUT),
    };
    if is_slow {
        let room = "[budget]\nconnections_max = 150\n";
        text = text
            .replace("[budget]\n", room)
            .replace("messages_max = 3_000", "messages_max = 9_000");
        text = text.replace("account_messages_max = 6_000", "account_messages_max = 18_000");
    }
    let webhooks = format!(
        "{text}\n[webhooks]\nlisten = \"127.0.0.1:{port}\"\npath_old = \"/old\"\n\
         path_new = \"/new\"\n"
    );
    let path = servers.folder.path().join("scenario.toml");
    std::fs::write(&path, webhooks).map_err(to_text)?;
    drop(held);
    let mut command = servers.canary();
    command.arg("parity").arg(path).args([pace, "--report-json", "-"]);
    let (code, stdout, stderr) = servers.run(&mut command, limit)?;
    eprintln!("interop: {} to {}:\n{stderr}", old.name(), new.name());
    let matrix: Value = serde_json::from_str(&stdout)
        .map_err(|error| format!("exit code {code}: {error}; stderr:\n{stderr}"))?;
    let rows = matrix["rows"].as_array().cloned().unwrap_or_default();
    let of = |likeness: &str| {
        let rows = rows.iter().filter(|row| row["likeness"] == likeness);
        rows.filter_map(|row| row["row"].as_str()).collect::<BTreeSet<_>>()
    };
    let mut known = if old == new { BTreeSet::new() } else { soketi_is_not_sockudo() };
    if is_slow {
        known.extend(["quiet-ping-frame", "server-ping"]);
    }
    let ends = if known.is_empty() { 0 } else { 1 };
    if of("differs") == known && of("not-tested").is_empty() && code == ends {
        return Ok(());
    }
    Err(format!("exit code {code}\n{stderr}"))
}

/// Starts an official client on a server, and waits until it is subscribed.
fn straggle(server: &Server) -> Result<Child, String> {
    let sdk = base().join("interop/sdk");
    let App { id, key, secret } = OLD;
    let target = json!({ "sdk": sdk, "port": server.port, "id": id, "key": key, "secret": secret });
    client("straggler.mjs", &target, "subscribed").map(|(child, _)| child)
}

/// Starts a script on official SDKs, and waits until it says that it is ready. What it says
/// afterwards comes as it says it.
fn client(script: &str, target: &Value, ready: &str) -> Result<(Child, Receiver<String>), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
    let child = Command::new("node")
        .arg(script)
        .env("PUSHER_CANARY_INTEROP_TARGET", target.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(to_text)?;
    pass_on(child.stderr.take());
    let heard = listen(child.stdout.take().ok_or("no standard output")?);
    match hear(&heard, ready, START_TIMEOUT) {
        Ok(()) => Ok((child, heard)),
        Err(said) => {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("the client is not {ready}; it said:\n{said}"))
        }
    }
}
