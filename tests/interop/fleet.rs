//! Several agents that do one run together, as a real Prometheus has seen them: one that is killed,
//! a cluster that loses, and a fleet of which all is well; each witnessing its own publications, or
//! what others publish.

#![allow(clippy::indexing_slicing, reason = "a JSON value without the key is null, not a panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use pusher_canary::model::ClusterRole;
use pusher_canary::rehearsal::{Pair, PairConfig};
use serde_json::Value;
use tempfile::TempDir;

use super::prometheus::{bin, get, missing, port, query, quietly, wait_until};
use super::servers::listen;
use super::{MACHINE, Program, execute, started};

/// How long an agent may take to its end.
const PATIENCE: Duration = Duration::from_secs(90);
const GATE_TIMEOUT: Duration = Duration::from_secs(30);

const GOOD: &str = "00000000-0000-4000-8000-00000000600d";
const KILLED: &str = "00000000-0000-4000-8000-00000000dead";
const APART: &str = "00000000-0000-4000-8000-0000000a9a27";
const BEREFT: &str = "00000000-0000-4000-8000-00000000be4e";
const HIDDEN: &str = "00000000-0000-4000-8000-000000001d1d";
const LOSING: &str = "00000000-0000-4000-8000-000000001055";

pub(super) fn trials(required: bool) -> Vec<Trial> {
    let missing = missing();
    let ignored = missing.is_some() && !required;
    let name = "fleet: what agents did together is judged by the last figures of each";
    let trial = |name: &str, test: fn() -> Result<(), String>| {
        let missing = missing.clone();
        let run = move || match missing {
            Some(missing) => Err(missing.into()),
            None => {
                let _alone = MACHINE.lock();
                test().map_err(Failed::from)
            }
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    let roles = "fleet: what some publish and others witness is judged by who sees it";
    let documented =
        "fleet: what docs/fleet.md has readers paste comes to the verdict that it shows";
    vec![trial(name, judged), trial(roles, judged_by_witnesses), trial(documented, pasted)]
}

/// One agent, what it says, and where its report goes.
struct Agent {
    program: Program,
    said: Receiver<String>,
    report: PathBuf,
    port: u16,
}

impl Agent {
    /// Waits until it has ended, and only serves any more.
    fn wait(&self) -> Result<(), String> {
        let (waiting, mut all) = (started(), String::new());
        while let Ok(line) = self.said.recv_timeout(PATIENCE.saturating_sub(waiting.elapsed())) {
            if line.contains("metrics stay for") {
                return Ok(());
            }
            all.push_str(&line);
            all.push('\n');
        }
        Err(format!("an agent did not end:\n{all}"))
    }

    /// Its trials on new, by its own report.
    fn trials(&self) -> Result<u64, String> {
        let text = std::fs::read_to_string(&self.report).map_err(|error| error.to_string())?;
        let report: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        report["clusters"]["new"]["trials"].as_u64().ok_or(text)
    }
}

/// A scenario of which 299 trials on each cluster are asked. What a cluster is called by: its URLs
/// for sockets and HTTP, its app's id, key and secret.
fn scenario(
    folder: &Path,
    name: &str,
    cluster: impl Fn(ClusterRole) -> [String; 5],
) -> Result<PathBuf, String> {
    let cluster = |role: ClusterRole| {
        let [ws_url, http_url, app_id, key, secret] = cluster(role);
        format!(
            "[clusters.{role}]\nws_url = \"{ws_url}\"\nhttp_url = \"{http_url}\"\n\
             app_id = \"{app_id}\"\nkey = \"{key}\"\nsecret = \"{secret}\"\n"
        )
    };
    let text = format!(
        "[scenario]\nname = \"fleet\"\nphase = \"dual-publish\"\nduration = \"8s\"\n{}{}\
         [canary]\nchannels = {{ public = 4, private = 4 }}\nrate = 100.0\n\
         deadline = \"1s\"\nhorizon = \"3s\"\nrecycle = \"off\"\n\
         [gate]\nloss_rate_max = 1e-2\nlatency_p99_ratio_max = 1000.0\n\
         latency_slack = \"2s\"\nlatency_trend_ratio_max = 1000.0\n\
         connect_p99_max = \"10s\"\npublish_p99_max = \"10s\"\n\
         [instrument]\nschedule_lag_max = \"2s\"\nruntime_stall_max = \"2s\"\n\
         receive_backlog_max = \"2s\"\n",
        cluster(ClusterRole::Old),
        cluster(ClusterRole::New)
    );
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    Ok(path)
}

/// A pair, and a scenario of it.
struct Clusters {
    pair: Pair,
    scenario: PathBuf,
}

impl Clusters {
    fn start(folder: &Path, name: &str, faults: &[&str]) -> Result<Self, String> {
        let faults = faults.iter().map(|fault| fault.parse().map_err(|error| format!("{error}")));
        let faults = faults.collect::<Result<_, String>>()?;
        let pair = Pair::start(PairConfig { seed: 7, faults, ..PairConfig::default() });
        let pair = pair.map_err(|error| error.to_string())?;
        let scenario = scenario(folder, name, |role| {
            let of = pair.endpoint(role);
            let secret = format!("${{{}_SECRET}}", role.as_str().to_uppercase());
            [of.ws_url, of.http_url, of.app_id.to_string(), of.key.to_string(), secret]
        })?;
        Ok(Self { pair, scenario })
    }

    /// The shards of one run, each with the port that it serves on.
    fn run(&self, folder: &Path, run: &str, ports: &[u16]) -> Result<Vec<Agent>, String> {
        let start = |(index, port): (usize, &u16)| self.shard(folder, run, index, ports, *port);
        ports.iter().enumerate().map(start).collect()
    }

    /// One of them.
    fn shard(
        &self,
        folder: &Path,
        run: &str,
        index: usize,
        all: &[u16],
        port: u16,
    ) -> Result<Agent, String> {
        let shards = all.len().to_string();
        self.agent(folder, run, port, &["--region", "eu", "--shards", &shards], index)
    }

    /// An agent that is told so of its part.
    fn agent(
        &self,
        folder: &Path,
        run: &str,
        port: u16,
        part: &[&str],
        index: usize,
    ) -> Result<Agent, String> {
        let secret = |role: ClusterRole| {
            let name = format!("{}_SECRET", role.as_str().to_uppercase());
            (name, self.pair.endpoint(role).secret.expose().to_owned())
        };
        let report = folder.join(format!("{run}-{port}.json"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_pusher-canary"));
        command
            .args(["run", "-q", "--linger", "2m", "--run", run])
            .args(part)
            .env("JOB_COMPLETION_INDEX", index.to_string())
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--report-json")
            .arg(&report)
            .arg(&self.scenario)
            .envs(ClusterRole::ALL.map(secret))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut program = Program::start(&mut command)?;
        let said = listen(program.0.stderr.take().ok_or("no standard error")?);
        Ok(Agent { program, said, report, port })
    }
}

/// Ten ports, and a Prometheus that scrapes them every second.
fn prometheus(folder: &TempDir) -> Result<([u16; 10], u16, Program), String> {
    let mut ports = [0; 10];
    for of in &mut ports {
        *of = port()?;
    }
    let targets: Vec<_> = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: fleet\n    \
         static_configs: [{{ targets: [{}], labels: {{ region: frankfurt }} }}]\n",
        targets.join(", ")
    );
    let path = folder.path().join("prometheus.yml");
    std::fs::write(&path, config).map_err(|error| error.to_string())?;
    let port = port()?;
    let server = quietly(
        Command::new(bin().join("prometheus"))
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}")),
    )?;
    wait_until(|| get(port, "/-/ready").err())?;
    Ok((ports, port, server))
}

/// The gate's outcome: its exit code, and what it found.
fn gate(folder: &Path, prometheus: u16, more: &[&str]) -> Result<(i32, Value), String> {
    let report = folder.join("gate.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pusher-canary"));
    command.args(["gate", "--prometheus", &format!("http://127.0.0.1:{prometheus}")]);
    let (status, said) =
        execute(command.args(more).arg("--report-json").arg(&report), GATE_TIMEOUT)?;
    let text = std::fs::read_to_string(&report).map_err(|error| error.to_string())?;
    let outcome = serde_json::from_str(&text).unwrap_or(Value::String(said));
    Ok((status.code().unwrap_or(-1), outcome))
}

fn expect(found: &(i32, Value), code: i32, said: &str) -> Result<(), String> {
    let (exit, outcome) = found;
    let reason = outcome["reason"].as_str().or(outcome.as_str()).unwrap_or_default();
    if *exit == code && reason.contains(said) {
        return Ok(());
    }
    Err(format!("exit code {exit} where {code} was expected, and {said:?} in {outcome:#}"))
}

fn judged() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (ports, prometheus, _prometheus) = prometheus(&folder)?;
    let good = Clusters::start(folder.path(), "good", &[])?;
    let losing = Clusters::start(folder.path(), "losing", &["new:drop=0.1"])?;
    let mut together = good.run(folder.path(), GOOD, &ports[..4])?;
    let mut broken = good.run(folder.path(), KILLED, &ports[4..8])?;
    let lost = losing.run(folder.path(), LOSING, &ports[8..])?;
    let mut killed = broken.pop().ok_or("no agent")?;
    // In the middle of its run.
    let sent = format!(
        "pusher_canary_publications_total{{instance=\"127.0.0.1:{}\",outcome=\"sent\"}} > 40",
        killed.port
    );
    wait_until(|| query(prometheus, &sent).map_or_else(Some, |found| none_of(&found)))?;
    killed.program.0.kill().map_err(|error| error.to_string())?;
    for agent in together.iter().chain(&broken).chain(&lost) {
        agent.wait()?;
    }
    let ended = "count(pusher_canary_run_ended_timestamp_seconds) == 9";
    wait_until(|| query(prometheus, ended).map_or_else(Some, |found| none_of(&found)))?;

    let gate = |run: &str, agents: &str| {
        let other = if run == GOOD { KILLED } else { GOOD };
        let why = format!("{other}=on purpose");
        let mut asked = vec!["--run", run, "--agents", agents];
        // That one is of another scenario.
        if run != LOSING {
            asked.extend(["--exclude", &why]);
        }
        gate(folder.path(), prometheus, &asked)
    };
    let peeked = self::gate(folder.path(), prometheus, &["--run", GOOD, "--agents", "4"])?;
    expect(&peeked, 3, &format!("run {KILLED} is of the same scenario"))?;
    let found = gate(GOOD, "4")?;
    expect(&found, 0, "publications lost, below")?;
    let outcome = &found.1;
    let mine = together.iter().map(Agent::trials).sum::<Result<u64, String>>()?;
    let check = |name: &str| {
        let checks = outcome["checks"].as_array().into_iter().flatten();
        let mut of = checks.filter(|c| c["name"] == name && c["cluster"] != "old");
        of.next().cloned().unwrap_or_default()
    };
    for name in ["loss", "evidence", "coverage"] {
        if check(name)["evidence"].as_u64() != Some(mine) || mine < 750 {
            return Err(format!("{name} is not of all {mine} trials: {}", check(name)));
        }
    }
    // Alone, none of them had enough.
    let agents = outcome["agents"].as_array().cloned().unwrap_or_default();
    let is_part = |agent: &Value| agent["verdict"] == "INCONCLUSIVE" && agent["region"] == "eu";
    if agents.len() != 4 || !agents.iter().all(is_part) {
        return Err(format!("four agents in eu: {agents:?}"));
    }
    expect(&gate(GOOD, "5")?, 3, "4 agents are known where --agents says 5")?;
    let name = format!("shard 3/4 in eu (127.0.0.1:{}) was not seen to end", killed.port);
    expect(&gate(KILLED, "4")?, 3, &name)?;
    expect(&gate(LOSING, "2")?, 1, "loss on new")?;
    let several = self::gate(folder.path(), prometheus, &["--agents", "4"])?;
    // Whoever tries a part again until it is good hides what it saw before.
    let first = together.remove(0);
    let port = first.port;
    drop(first);
    good.shard(folder.path(), GOOD, 0, &ports[..4], port)?.wait()?;
    wait_until(|| match gate(GOOD, "4") {
        Ok(found) => expect(&found, 3, "was started again in the course of the run").err(),
        Err(error) => Some(error),
    })?;
    // It says on stderr that one must be named.
    expect(&several, 2, "")
}

/// The publishers of two shards and a witness of each, in that order, started in this one.
fn apart(
    clusters: &Clusters,
    folder: &Path,
    run: &str,
    ports: &[u16],
) -> Result<Vec<Agent>, String> {
    let roles = [("publish", "eu"), ("witness", "us")];
    let parts = roles.iter().flat_map(|role| ["0/2", "1/2"].map(|shard| (role, shard)));
    let start = |(((role, region), shard), port): ((&(&str, &str), &str), &u16)| {
        let part = ["--role", role, "--region", region, "--shard", shard];
        clusters.agent(folder, run, *port, &part, 0)
    };
    parts.zip(ports).map(start).collect()
}

fn judged_by_witnesses() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (ports, prometheus, _prometheus) = prometheus(&folder)?;
    let good = Clusters::start(folder.path(), "good", &[])?;
    let losing = Clusters::start(folder.path(), "losing", &["new:drop=0.1"])?;
    let together = apart(&good, folder.path(), APART, &ports[..4])?;
    let mut bereft = apart(&good, folder.path(), BEREFT, &ports[4..8])?;
    // Of both witnesses of one shard.
    let part = ["--role", "publish", "--shard", "0/1"];
    let lost = [
        losing.agent(folder.path(), HIDDEN, ports[8], &part, 0)?,
        losing.agent(folder.path(), HIDDEN, ports[9], &["--role", "witness"], 0)?,
    ];
    let mut killed = bereft.pop().ok_or("no agent")?;
    let seen = format!(
        "pusher_canary_obligations_total{{instance=\"127.0.0.1:{}\",outcome=\"delivered\"}} > 4",
        killed.port
    );
    wait_until(|| query(prometheus, &seen).map_or_else(Some, |found| none_of(&found)))?;
    killed.program.0.kill().map_err(|error| error.to_string())?;
    for agent in together.iter().chain(&bereft).chain(&lost) {
        agent.wait()?;
    }
    let ended = "count(pusher_canary_run_ended_timestamp_seconds) == 9";
    wait_until(|| query(prometheus, ended).map_or_else(Some, |found| none_of(&found)))?;
    let gate = |run: &str, agents: &str, more: &[&str]| {
        let asked = [&["--run", run, "--agents", agents], more].concat();
        gate(folder.path(), prometheus, &asked)
    };
    let excluded = ["--exclude", &format!("{BEREFT}=a witness was killed on purpose")];
    let found = gate(APART, "4", &excluded)?;
    expect(&found, 0, "publications lost, below")?;
    let witnessed = together[2..].iter().map(Agent::trials).sum::<Result<u64, String>>()?;
    let checks = found.1["checks"].as_array().cloned().unwrap_or_default();
    let check = |name: &str| checks.iter().find(|c| c["name"] == name && c["cluster"] != "old");
    let evidence = |name: &str| check(name).and_then(|of| of["evidence"].as_u64());
    if evidence("loss") != Some(witnessed) || witnessed < 750 {
        return Err(format!("of {witnessed} trials, {:?}", check("loss")));
    }
    // Publishers are held to their own part.
    for (name, by) in [("publish", 2), ("instrument", 4)] {
        if evidence(name) != Some(by) {
            return Err(format!("{name} is not of {by} agents: {:?}", check(name)));
        }
    }
    if check("latency").is_some() {
        return Err("clocks of two processes were compared".to_owned());
    }
    expect(&gate(APART, "3", &excluded)?, 3, "4 agents are known where --agents says 3")?;
    let excluded = ["--exclude", &format!("{APART}=a run of the same scenario")];
    let name =
        format!("witness of shard 1/2 in us (127.0.0.1:{}) was not seen to end", killed.port);
    let found = gate(BEREFT, "4", &excluded)?;
    expect(&found, 3, &name)?;
    // All else that is open may only follow from it.
    let reason = found.1["reason"].as_str().unwrap_or_default();
    if !reason.starts_with(&name) {
        return Err(format!("it is not what is said first: {reason}"));
    }
    expect(&gate(HIDDEN, "2", &[])?, 1, "loss on new")?;
    expect(&gate(APART, "4", &["--exclude", "ffffffff-0000-4000-8000=typed wrong"])?, 2, "")
}

/// The documentation's own commands, in seconds for minutes and on free ports.
fn pasted() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.md");
    let text = std::fs::read_to_string(documented).map_err(|error| error.to_string())?;
    let blocks = text.split("```bash\n").skip(1).filter_map(|block| block.split("```").next());
    let blocks: Vec<_> = blocks.collect();
    let [begin, shards, gate, end, roles] = blocks.as_slice() else {
        return Err(format!("there are {} blocks of commands", blocks.len()));
    };
    let path = scenario(folder.path(), "pasted", |role| {
        ["WS_URL", "HTTP_URL", "APP_ID", "APP_KEY", "APP_SECRET"]
            .map(|what| format!("${{{}_{what}}}", role.as_str().to_uppercase()))
    })?;
    let path = path.display().to_string();
    let mut script = [begin, shards, gate, end, begin, roles, end].map(|block| *block).concat();
    let ports = [port()?, port()?, port()?].map(|port| port.to_string());
    for (documented, here) in [
        ("scenarios/dual-publish.toml", &*path),
        ("--duration 2m", "--duration 8s"),
        ("--linger 30s", "--linger 5s"),
        ("scrape_interval: 5s", "scrape_interval: 1s"),
        // Told apart from what stands there already.
        ("127.0.0.1:919$i", "127.0.0.1:${agents[i]}"),
        (" 9190", " ${agents[0]}"),
        (" 9191", " ${agents[1]}"),
        ("127.0.0.1:9190", "127.0.0.1:AGENT_0"),
        ("127.0.0.1:9191", "127.0.0.1:AGENT_1"),
        ("127.0.0.1:9099", "127.0.0.1:PROMETHEUS"),
        ("AGENT_0", &ports[0]),
        ("AGENT_1", &ports[1]),
        ("PROMETHEUS", &ports[2]),
    ] {
        if !script.contains(documented) {
            return Err(format!("there is no {documented} any more"));
        }
        script = script.replace(documented, here);
    }
    let here = Path::new(env!("CARGO_BIN_EXE_pusher-canary")).parent().ok_or("no folder")?;
    let others = std::env::var("PATH").unwrap_or_default();
    let search = format!("{}:{}:{others}", here.display(), bin().display());
    let head =
        format!("trap 'kill $(jobs -p) 2>/dev/null' EXIT\nagents=({} {})\n", ports[0], ports[1]);
    let mut command = Command::new("bash");
    command.args(["-c", &(head + &script)]).env("PATH", search).env("TMPDIR", folder.path());
    let (_, said) = execute(&mut command, PATIENCE * 2)?;
    let found = said.lines().filter(|line| line.starts_with("GO  old: 0 of ")).count();
    if found == 2 { Ok(()) } else { Err(format!("{found} of 2 are GO:\n{said}")) }
}

/// What is to be said where nothing was found.
fn none_of(found: &[Value]) -> Option<String> {
    found.is_empty().then(|| "not yet".to_owned())
}
