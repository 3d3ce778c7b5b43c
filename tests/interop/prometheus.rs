//! A watch as others see it: a real Prometheus scrapes it and evaluates the rules that ship, a real
//! Pushgateway and a real node exporter take what a run leaves, and a real Alertmanager tells of a
//! loss that was made on purpose.

#![allow(clippy::indexing_slicing, reason = "a JSON value without the key is null, not a panic")]

use std::collections::BTreeSet;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use pusher_canary::model::ClusterRole;
use pusher_canary::model::application::Behaviour;
use pusher_canary::rehearsal::webhooks::Address;
use pusher_canary::rehearsal::{Pair, PairConfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::servers::listen;
use super::{MACHINE, Program, base, execute, started};

/// How long anything may take to come up, and to be seen.
const PATIENCE: Duration = Duration::from_secs(90);
/// From one look at what is waited for to the next.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the checks of the rules may take; what they need is installed once.
const CHECK_TIMEOUT: Duration = Duration::from_secs(300);

/// What the application of the pair does.
const APPLICATION: Behaviour = Behaviour {
    channels: 4,
    encrypted: 0,
    rate: 20.0,
    skips: 0.0,
    doubles: 0.0,
    alters: 0.0,
    forgets: 0,
    rooms: 1,
    caches: 0,
};

/// A test by its name.
type Test = (&'static str, fn() -> Result<(), String>);

pub(super) fn trials(required: bool) -> Vec<Trial> {
    let tests: [Test; 4] = [
        ("rules, dashboards and their queries are sound", checked),
        ("every query has data, and all is quiet where all is well", quiet),
        ("grafana/up starts all of it and leaves nothing behind", up),
        ("loss fires the right alerts and no other, and somebody is told", loss),
    ];
    let missing = missing();
    if let (Some(missing), false) = (&missing, required) {
        eprintln!(
            "interop: IGNORED: prometheus: {missing}; `tests/interop/install prometheus` installs it"
        );
    }
    let trial = |(name, test): Test| {
        let (missing, ignored) = (missing.clone(), missing.is_some() && !required);
        let trial = Trial::test(format!("prometheus: {name}"), move || match missing {
            Some(missing) => Err(missing.into()),
            None => {
                let _alone = MACHINE.lock();
                test().map_err(Failed::from)
            }
        });
        trial.with_ignored_flag(ignored)
    };
    tests.map(trial).into()
}

/// Where Debian's programs are.
pub(super) fn bin() -> PathBuf {
    base().join("prometheus/usr/bin")
}

pub(super) fn missing() -> Option<String> {
    let marker = base().join("prometheus/installed");
    (!marker.is_file()).then(|| format!("{} does not exist", marker.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A script of the folder `grafana`, which finds Debian's programs.
fn grafana(script: &str) -> Command {
    let mut command = Command::new(root().join("grafana").join(script));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", bin().display()));
    command
}

fn checked() -> Result<(), String> {
    let (status, said) = execute(&mut grafana("check"), CHECK_TIMEOUT)?;
    if status.success() { Ok(()) } else { Err(format!("{status}:\n{said}")) }
}

/// A program that says nothing.
pub(super) fn quietly(command: &mut Command) -> Result<Program, String> {
    Program::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

pub(super) fn port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// The body of what a server answers with 200.
pub(super) fn get(port: u16, path: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Nothing comes in chunks to whoever speaks HTTP/1.0.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(format!("{head}\n{body}")),
    }
}

/// Waits until this says nothing any more.
pub(super) fn wait_until(mut lacks: impl FnMut() -> Option<String>) -> Result<(), String> {
    let waiting = started();
    loop {
        let Some(lack) = lacks() else { return Ok(()) };
        if waiting.elapsed() > PATIENCE {
            return Err(format!("after {PATIENCE:?}: {lack}"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a query finds: series, each with its labels.
pub(super) fn query(port: u16, expression: &str) -> Result<Vec<Value>, String> {
    let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
    let answer = get(port, &format!("/api/v1/query?query={query}"))?;
    let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    match &answer["data"]["result"] {
        Value::Array(found) if answer["data"]["resultType"] == "scalar" => {
            Ok(vec![Value::Array(found.clone())])
        }
        Value::Array(found) => Ok(found.clone()),
        _ => Err(answer.to_string()),
    }
}

/// A pair, a watch of it, and a Prometheus that scrapes it every second.
struct Sight {
    folder: TempDir,
    _pair: Pair,
    scenario: PathBuf,
    environment: [(&'static str, String); 2],
    _watch: Program,
    prometheus: u16,
    _prometheus: Program,
}

impl Sight {
    /// `faults` of the pair; alerts go to this Alertmanager, and more is scraped.
    fn start(faults: &[&str], alertmanager: u16, scraped: &[u16]) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let folder = tempfile::tempdir().map_err(text)?;
        let receiver = port()?;
        let address = |role: ClusterRole| {
            let authority = ([127, 0, 0, 1], receiver).into();
            (role, Address { authority, path: "/webhooks".to_owned() })
        };
        let faults = faults.iter().map(|fault| fault.parse().map_err(|error| format!("{error}")));
        let pair = Pair::start(PairConfig {
            seed: 7,
            faults: faults.collect::<Result<_, String>>()?,
            application: Some(APPLICATION),
            webhooks: ClusterRole::ALL.map(address).into(),
            ..PairConfig::default()
        });
        let pair = pair.map_err(text)?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).map(|()| path).map_err(|error| error.to_string())
        };
        write("ca.pem", pair.ca_pem())?;
        let scenario = write("scenario.toml", &scenario(&pair, receiver))?;
        let environment = [ClusterRole::Old, ClusterRole::New].map(|role| {
            let name = if role == ClusterRole::Old { "OLD_SECRET" } else { "NEW_SECRET" };
            (name, pair.endpoint(role).secret.expose().to_owned())
        });
        let (watch, prometheus) = (port()?, port()?);
        let canary = quietly(
            Command::new(env!("CARGO_BIN_EXE_pusher-canary"))
                .args(["watch", "--window", "20s", "-q"])
                .arg(&scenario)
                .args(["--listen", &format!("127.0.0.1:{watch}")])
                .envs(environment.clone()),
        )?;
        let rules = rules(&folder)?;
        let config = prometheus_config(watch, alertmanager, scraped, &rules)?;
        let config = write("prometheus.yml", &config)?;
        let server = quietly(
            Command::new(bin().join("prometheus"))
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{prometheus}")),
        )?;
        wait_until(|| get(prometheus, "/-/ready").err())?;
        Ok(Self {
            folder,
            _pair: pair,
            scenario,
            environment,
            _watch: canary,
            prometheus,
            _prometheus: server,
        })
    }

    /// Names of the alerts that fire, and their cluster where they have one.
    fn firing(&self) -> Result<BTreeSet<String>, String> {
        let found = query(self.prometheus, "ALERTS{alertstate=\"firing\"}")?;
        let of = |series: &Value| {
            let label = |name: &str| series["metric"][name].as_str().unwrap_or_default().to_owned();
            let (name, cluster) = (label("alertname"), label("cluster"));
            if cluster.is_empty() { name } else { format!("{name} {cluster}") }
        };
        Ok(found.iter().map(of).collect())
    }

    /// One bounded run, which leaves its figures.
    fn run(&self, more: &[&str]) -> Result<(), String> {
        // The watch receives the webhooks.
        let text = std::fs::read_to_string(&self.scenario).map_err(|error| error.to_string())?;
        let own = self.folder.path().join("run.toml");
        let webhooks = text.find("[webhooks]").unwrap_or(text.len());
        std::fs::write(&own, &text[..webhooks]).map_err(|error| error.to_string())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_pusher-canary"));
        command.args(["run", "--no-history", "-q", "--duration", "4s"]).arg(own).args(more);
        let (status, said) = execute(command.envs(self.environment.clone()), PATIENCE)?;
        match status.code() {
            // So short a run proves little.
            Some(0 | 1 | 3) => Ok(()),
            _ => Err(format!("{status}: {said}")),
        }
    }
}

/// Everything that a watch can see: TLS, a sample, webhooks.
fn scenario(pair: &Pair, receiver: u16) -> String {
    let cluster = |role: ClusterRole| {
        let of = pair.endpoint(role);
        format!(
            "[clusters.{role}]\nws_url = \"{}\"\nhttp_url = \"{}\"\napp_id = \"{}\"\nkey = \"{}\"\n\
             secret = \"${{{}_SECRET}}\"\ntls.ca_file = \"ca.pem\"\n",
            of.wss_url,
            of.https_url,
            of.app_id,
            of.key,
            role.as_str().to_uppercase()
        )
    };
    format!(
        "[scenario]\nname = \"seen\"\nphase = \"dual-publish\"\n{}{}\
         [canary]\nchannels = {{ public = 2, private = 2, presence = 1 }}\nrate = 50.0\n\
         deadline = \"1s\"\nhorizon = \"3s\"\nrecycle = \"5s\"\n\
         [gate]\nloss_rate_max = 1e-2\nlatency_p99_ratio_max = 1000.0\nlatency_slack = \"2s\"\n\
         latency_trend_ratio_max = 1000.0\nconnect_p99_max = \"10s\"\npublish_p99_max = \"10s\"\n\
         [instrument]\nschedule_lag_max = \"2s\"\nruntime_stall_max = \"2s\"\n\
         receive_backlog_max = \"2s\"\n\
         [budget]\nmessages_max = 100_000_000\naccount_messages_max = 200_000_000\n\
         [sample]\nprefixes = [\"\"]\nchannels = 8\nrefresh = \"2s\"\nid_pointer = \"/id\"\n\
         [status_page.new]\nurl = \"http://127.0.0.1:9\"\n\
         [webhooks]\nlisten = \"127.0.0.1:{receiver}\"\npath = \"/webhooks\"\nrefresh = \"5s\"\n",
        cluster(ClusterRole::Old),
        cluster(ClusterRole::New)
    )
}

/// The rules that ship, but for how long something must last: nobody waits for minutes here.
fn rules(folder: &TempDir) -> Result<PathBuf, String> {
    let shipped = root().join("grafana/rules/pusher-canary.yml");
    let text = std::fs::read_to_string(shipped).map_err(|error| error.to_string())?;
    let text = text.replace(" for: 1m\n", " for: 3s\n").replace(" for: 5m\n", " for: 5s\n");
    let path = folder.path().join("rules.yml");
    std::fs::write(&path, text).map(|()| path).map_err(|error| error.to_string())
}

/// The configuration that ships, with addresses of this test, and more often.
fn prometheus_config(
    watch: u16,
    alertmanager: u16,
    scraped: &[u16],
    rules: &Path,
) -> Result<String, String> {
    let shipped = root().join("grafana/prometheus.yml");
    let text = std::fs::read_to_string(shipped).map_err(|error| error.to_string())?;
    let targets: Vec<_> = scraped.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    let more = format!(
        "scrape_configs:\n  - job_name: finished-runs\n    honor_labels: true\n    \
         static_configs: [{{ targets: [{}] }}]\n",
        targets.join(", ")
    );
    let changes = [
        ("15s", "1s".to_owned()),
        ("127.0.0.1:9184", format!("127.0.0.1:{watch}")),
        ("127.0.0.1:9093", format!("127.0.0.1:{alertmanager}")),
        ("rules/pusher-canary.yml", rules.display().to_string()),
        ("scrape_configs:\n", more),
    ];
    changes.into_iter().try_fold(text, |text, (shipped, here)| match text.contains(shipped) {
        true => Ok(text.replace(shipped, &here)),
        false => Err(format!("grafana/prometheus.yml lacks {shipped}")),
    })
}

/// A query of the folder `grafana`, and where it stands.
struct Query {
    place: String,
    is_of_alert: bool,
    expression: String,
}

fn queries() -> Result<Vec<Query>, String> {
    let (status, lines) = execute(grafana("check").arg("--queries"), CHECK_TIMEOUT)?;
    if !status.success() {
        return Err(lines);
    }
    let query = |line: &str| {
        let [file, place, expression] =
            line.split('\t').collect::<Vec<_>>().try_into().map_err(|_| line.to_owned())?;
        let is_of_alert = place.starts_with("alert ");
        let place = format!("{file}: {place}");
        Ok(Query { place, is_of_alert, expression: expression.to_owned() })
    };
    lines.lines().map(query).collect()
}

/// The metrics that an expression names; what rules record has a line of its own.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !is_of_name(c));
    words.filter(|word| word.starts_with("pusher_canary_")).collect()
}

fn quiet() -> Result<(), String> {
    let (gateway, exporter) = (port()?, port()?);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let _gateway = quietly(
        Command::new(bin().join("prometheus-pushgateway"))
            .arg(format!("--web.listen-address=127.0.0.1:{gateway}")),
    )?;
    let _exporter = quietly(
        Command::new(bin().join("prometheus-node-exporter"))
            .args(["--collector.disable-defaults", "--collector.textfile"])
            .arg(format!("--collector.textfile.directory={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{exporter}")),
    )?;
    let sight = Sight::start(&[], port()?, &[gateway, exporter])?;
    wait_until(|| get(gateway, "/-/ready").err())?;
    let file = folder.path().join("canary.prom");
    let url = format!("http://127.0.0.1:{gateway}");
    sight.run(&[
        "--pushgateway",
        &url,
        "--pushgateway-delete",
        "--pushgateway-group",
        "team=a/b",
    ])?;
    sight.run(&["--metrics-file", &file.display().to_string()])?;
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if names.len() != 1 {
        return Err(format!("not one file: {names:?}"));
    }
    // Of each query something must be found; of an alert, of each metric that it names.
    let queries = queries()?;
    if queries.len() < 80 {
        return Err(format!("only {} queries", queries.len()));
    }
    wait_until(|| {
        let lacks = |query: &Query| -> Option<String> {
            let Query { place, is_of_alert, expression } = query;
            let found = match self::query(sight.prometheus, expression) {
                Ok(found) => found,
                Err(error) => return Some(format!("{place}: {expression}: {error}")),
            };
            if !found.is_empty() {
                return None;
            }
            let named = metrics(expression);
            let absent =
                |metric: &&&str| self::query(sight.prometheus, metric).is_ok_and(|f| f.is_empty());
            match named.iter().find(absent) {
                Some(metric) => Some(format!("{place}: no {metric}")),
                None if *is_of_alert || is_about_failures(expression) => None,
                None => Some(format!("{place}: nothing for {expression}")),
            }
        };
        let lacks: Vec<_> = queries.iter().filter_map(lacks).collect();
        (!lacks.is_empty()).then(|| lacks.join("\n"))
    })?;
    let firing = sight.firing()?;
    let expected = BTreeSet::from(["PusherCanaryWatchdog".to_owned()]);
    if firing != expected {
        return Err(format!("alerts where all is well: {firing:?}"));
    }
    // What a finished run left is told from what is at work.
    let ended = self::query(
        sight.prometheus,
        "count by (job) (pusher_canary_run_ended_timestamp_seconds)",
    )?;
    if ended.len() != 2 {
        return Err(format!("not both of the finished runs are there: {ended:?}"));
    }
    Ok(())
}

/// Whether an expression finds nothing where nothing fails, and nothing has just begun.
fn is_about_failures(expression: &str) -> bool {
    let of = ["== 2", "== 0", "> 0", "check_failed", "phase=\"cutover\"", "ALERTS{", " offset 1m"];
    of.iter().any(|of| expression.contains(of))
}

/// Starts everything by the documented command, looks whether it is seen, and ends it.
fn up() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut command = grafana("up");
    command.env("PUSHER_CANARY", env!("CARGO_BIN_EXE_pusher-canary")).env("TMPDIR", folder.path());
    let warnings = tempfile::tempfile().map_err(|error| error.to_string())?;
    let stderr = warnings.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let mut script = command.spawn().map_err(|error| error.to_string())?;
    let lines = listen(script.stdout.take().ok_or("no standard output")?);
    let seen = || -> Result<(), String> {
        let (waiting, mut said) = (started(), String::new());
        while let Ok(line) = lines.recv_timeout(PATIENCE.saturating_sub(waiting.elapsed())) {
            said.push_str(&line);
            said.push('\n');
            if line.starts_with("Ctrl-C") {
                let of = |name: &str| {
                    let line = said.lines().find(|line| line.starts_with(name))?;
                    let port = line.split("127.0.0.1:").nth(1)?;
                    port.split('/').next()?.trim().parse().ok()
                };
                let canary = of("canary").ok_or_else(|| said.clone())?;
                let prometheus = of("Prometheus").ok_or_else(|| said.clone())?;
                get(canary, "/api/verdict")?;
                return wait_until(|| match query(prometheus, "pusher_canary_build_info") {
                    Ok(found) if found.is_empty() => Some("nothing was scraped".to_owned()),
                    Ok(_) => None,
                    Err(error) => Some(error),
                });
            }
        }
        Err(format!("it did not come up:\n{said}"))
    };
    let seen = seen();
    let id = Pid::from_child(&script);
    kill_process(id, Signal::TERM).map_err(|error| error.to_string())?;
    script.wait().map_err(|error| error.to_string())?;
    let mut said = String::new();
    let read = (&warnings).rewind().and_then(|()| (&warnings).read_to_string(&mut said));
    read.map_err(|error| error.to_string())?;
    seen.map_err(|error| format!("{error}\n{said}"))?;
    if !said.is_empty() {
        return Err(format!("it warned of what it brings along: {said}"));
    }
    let left = std::fs::read_dir(folder.path()).map_err(|error| error.to_string())?.count();
    if left == 0 { Ok(()) } else { Err(format!("{left} things are left behind")) }
}

/// What is posted to this address, as it comes.
fn receiver() -> Result<(u16, Receiver<String>), String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let (heard, posts) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut bytes, mut chunk) = (Vec::new(), [0; 1 << 14]);
            loop {
                let whole = String::from_utf8_lossy(&bytes).into_owned();
                let body = whole.split_once("\r\n\r\n").and_then(|(head, body)| {
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1)?.lines().next()?;
                    (body.len() >= length.trim().parse().ok()?).then(|| body.to_owned())
                });
                if let Some(body) = body {
                    let _ = stream.write_all(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                    let _ = heard.send(body);
                    break;
                }
                match stream.read(&mut chunk) {
                    Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                    _ => break,
                }
            }
        }
    });
    Ok((port, posts))
}

fn loss() -> Result<(), String> {
    let (told, posts) = receiver()?;
    let alertmanager = port()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let shipped = std::fs::read_to_string(root().join("grafana/alertmanager.yml"));
    let config = shipped.map_err(|error| error.to_string())?;
    let config = config.replace("127.0.0.1:9095", &format!("127.0.0.1:{told}"));
    let config = config.replace("group_wait: 30s", "group_wait: 1s");
    let path = folder.path().join("alertmanager.yml");
    std::fs::write(&path, config).map_err(|error| error.to_string())?;
    let _alertmanager = quietly(
        Command::new(bin().join("prometheus-alertmanager"))
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg("--cluster.listen-address=")
            .arg(format!("--web.listen-address=127.0.0.1:{alertmanager}")),
    )?;
    wait_until(|| get(alertmanager, "/-/ready").err())?;
    let sight = Sight::start(&["new:drop=0.1"], alertmanager, &[])?;
    let expected: BTreeSet<_> = [
        "PusherCanaryLoss new",
        "PusherCanaryLossSeen new",
        "PusherCanaryUncovered both",
        "PusherCanaryNoGo",
        "PusherCanaryWatchdog",
    ]
    .map(str::to_owned)
    .into();
    wait_until(|| match sight.firing() {
        Ok(firing) if firing == expected => None,
        Ok(firing) => Some(format!("{firing:?} fire, and not {expected:?}")),
        Err(error) => Some(error),
    })?;
    let waiting = started();
    while let Ok(post) = posts.recv_timeout(PATIENCE.saturating_sub(waiting.elapsed())) {
        if post.contains("PusherCanaryLoss\"") && post.contains("\"cluster\":\"new\"") {
            // What says the same is held back: the pager tells the reason, and not the verdict.
            let no_go = post.contains("\"alertname\":\"PusherCanaryNoGo\"");
            return if no_go { Err(format!("NO-GO was told as well: {post}")) } else { Ok(()) };
        }
    }
    Err("nobody was told".to_owned())
}
