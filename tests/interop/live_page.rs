//! The live page of a real watch in a real browser: a healthy pair, a restart of the agent, and a
//! loss that begins while somebody looks.

#![allow(clippy::indexing_slicing, reason = "a JSON value without the key is null, not a panic")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::Trial;
use pusher_canary::model::ClusterRole;
use pusher_canary::rehearsal::canary::EVENT;
use pusher_canary::rehearsal::{Pair, PairConfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::browser::{chromium, missing, modules};
use super::servers::listen;
use super::{MACHINE, Program, Report, Script, names, outcome, pass_on, read, started};

const SCRIPT: Script = Script {
    name: "live_page.mjs",
    source: include_str!("live_page.mjs"),
    program: "node",
    check: "check('",
};
/// Three verdicts, a silence and some looks.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(400);
/// How long a watch may take to serve, and to end.
const WATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Of so many events on their way to a witness one is lost. It shares no divisor with the number of
/// channels, which take turns: so each of them loses some.
const ONE_OF: u64 = 7;

pub(super) fn trials(required: bool) -> Vec<Trial> {
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
    names(&SCRIPT).into_iter().chain(["nothing panicked".to_owned()]).map(trial).collect()
}

/// Has the script look at the page of a watch, and does what it asks for.
fn run() -> Report {
    let _alone = MACHINE.lock();
    let mut watched = Watched::new()?;
    let address = watched.start("127.0.0.1:0")?;
    let screenshots = std::env::var_os("PUSHER_CANARY_SCREENSHOTS");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = json!({
        "modules": modules(),
        "browser": chromium(),
        "url": format!("http://{address}/"),
        "screenshots": screenshots.map(|folder| root.join(folder)),
    });
    let mut script = Program::start(
        Command::new(SCRIPT.program)
            .arg(root.join("tests/interop").join(SCRIPT.name))
            .env("PUSHER_CANARY_INTEROP_TARGET", target.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )?;
    pass_on(script.0.stderr.take());
    let mut answers = script.0.stdin.take().ok_or("no standard input")?;
    let said = listen(script.0.stdout.take().ok_or("no standard output")?);
    let (waiting, mut checks) = (started(), String::new());
    loop {
        let line = match said.recv_timeout(SCRIPT_TIMEOUT.saturating_sub(waiting.elapsed())) {
            Ok(line) => line,
            // Its output ends when it does.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("it did not end within {SCRIPT_TIMEOUT:?}:\n{checks}"));
            }
        };
        let asked: Value = serde_json::from_str(&line).map_err(|e| format!("{e}: {line}"))?;
        match asked["ask"].as_str() {
            None => {
                checks.push_str(&line);
                checks.push('\n');
                continue;
            }
            Some("stop") => watched.stop()?,
            Some("start") => drop(watched.start(&address)?),
            Some("lose") => watched.door.lose(),
            Some(_) => return Err(format!("nobody knows how: {line}")),
        }
        writeln!(answers, "done").map_err(|error| error.to_string())?;
    }
    let status = script.0.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("{status}; it printed:\n{checks}"));
    }
    let mut report = read(&checks, &names(&SCRIPT))?;
    watched.stop()?;
    let stopped = watched.pair.stop().map_err(|error| error.to_string());
    report.insert("nothing panicked".to_owned(), stopped);
    Ok(report)
}

/// A pair, and a watch of it that can be ended and started again.
struct Watched {
    /// With what it says.
    watch: Option<(Program, Receiver<String>)>,
    pair: Pair,
    door: Door,
    folder: TempDir,
}

impl Watched {
    fn new() -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let folder = tempfile::tempdir().map_err(text)?;
        let pair = Pair::start(PairConfig { seed: 7, ..PairConfig::default() }).map_err(text)?;
        let new = pair.endpoint(ClusterRole::New).ws_url;
        let door = Door::before(new.trim_start_matches("ws://").to_owned()).map_err(text)?;
        let scenario = scenario(&pair, door.address);
        std::fs::write(folder.path().join("scenario.toml"), scenario).map_err(text)?;
        Ok(Self { watch: None, pair, door, folder })
    }

    /// Starts the watch; returns where it serves.
    fn start(&mut self, address: &str) -> Result<String, String> {
        let secret = |role: ClusterRole| {
            let name = format!("{}_SECRET", role.as_str().to_uppercase());
            (name, self.pair.endpoint(role).secret.expose().to_owned())
        };
        let mut watch = Program::start(
            Command::new(env!("CARGO_BIN_EXE_pusher-canary"))
                .args(["watch", "--window", "20s", "-q", "--listen", address])
                .arg(self.folder.path().join("scenario.toml"))
                .envs(ClusterRole::ALL.map(secret))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        )?;
        let lines = listen(watch.0.stderr.take().ok_or("no standard error")?);
        let (waiting, mut said) = (started(), String::new());
        while let Ok(line) = lines.recv_timeout(WATCH_TIMEOUT.saturating_sub(waiting.elapsed())) {
            if let Some((_, url)) = line.split_once("live page on http://") {
                self.watch = Some((watch, lines));
                return Ok(url.trim_end_matches('/').to_owned());
            }
            said.push_str(&line);
            said.push('\n');
        }
        Err(format!("the watch does not serve:\n{said}"))
    }

    /// Asks the watch to end, and waits until it has.
    fn stop(&mut self) -> Result<(), String> {
        let (mut watch, lines) = self.watch.take().ok_or("there is no watch")?;
        let id = Pid::from_child(&watch.0);
        kill_process(id, Signal::TERM).map_err(|error| error.to_string())?;
        let (waiting, mut said) = (started(), String::new());
        loop {
            match lines.recv_timeout(WATCH_TIMEOUT.saturating_sub(waiting.elapsed())) {
                Ok(line) => {
                    said.push_str(&line);
                    said.push('\n');
                }
                // Its output ends when it does.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the watch did not end within {WATCH_TIMEOUT:?}:\n{said}"));
                }
            }
        }
        let status = watch.0.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the watch: {status}:\n{said}")) }
    }
}

/// Limits of time are such as a busy machine keeps. No witness reconnects on purpose, so that each
/// incident is one that was made.
fn scenario(pair: &Pair, door: SocketAddr) -> String {
    let cluster = |role: ClusterRole| {
        let of = pair.endpoint(role);
        let ws_url = match role {
            ClusterRole::Old => of.ws_url.clone(),
            ClusterRole::New => format!("ws://{door}"),
        };
        format!(
            "[clusters.{role}]\nws_url = \"{ws_url}\"\nhttp_url = \"{}\"\napp_id = \"{}\"\n\
             key = \"{}\"\nsecret = \"${{{}_SECRET}}\"\n",
            of.http_url,
            of.app_id,
            of.key,
            role.as_str().to_uppercase()
        )
    };
    format!(
        "[scenario]\nname = \"cutover-rehearsal\"\nphase = \"dual-publish\"\n{}{}\
         [canary]\nchannels = {{ public = 2, private = 2, presence = 1 }}\nrate = 50.0\n\
         deadline = \"2s\"\nhorizon = \"4s\"\nrecycle = \"off\"\n\
         [gate]\nloss_rate_max = 1e-2\nlatency_p99_ratio_max = 1000.0\nlatency_slack = \"2s\"\n\
         latency_trend_ratio_max = 1000.0\nconnect_p99_max = \"10s\"\npublish_p99_max = \"10s\"\n\
         [instrument]\nschedule_lag_max = \"2s\"\nruntime_stall_max = \"2s\"\n\
         receive_backlog_max = \"2s\"\n\
         [budget]\nmessages_max = 100_000_000\naccount_messages_max = 200_000_000\n",
        cluster(ClusterRole::Old),
        cluster(ClusterRole::New)
    )
}

/// Stands before a cluster's WebSockets, and loses events once it is told to. A fault of the pair
/// would be there from its start.
struct Door {
    address: SocketAddr,
    is_losing: Arc<AtomicBool>,
}

impl Door {
    /// One before `target`, an authority.
    fn before(target: String) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let is_losing = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&is_losing);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Whoever cannot be let through sees the end of the connection.
                let _ = let_through(client, &target, Arc::clone(&shared));
            }
        });
        Ok(Self { address, is_losing })
    }

    fn lose(&self) {
        self.is_losing.store(true, Ordering::Relaxed);
    }
}

fn let_through(client: TcpStream, target: &str, is_losing: Arc<AtomicBool>) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asking, mut asked) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        // However one side ends, the other is to see its end.
        let _ = io::copy(&mut asking, &mut asked);
        let _ = asked.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let _ = carry(&server, &mut &client, &is_losing);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Carries what a server says: the head of its answer, then frame by frame.
fn carry(server: impl Read, client: &mut impl Write, is_losing: &AtomicBool) -> io::Result<()> {
    let mut server = BufReader::new(server);
    let mut line: Vec<u8> = Vec::new();
    while line != b"\r\n" {
        line.clear();
        if server.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        client.write_all(&line)?;
    }
    let (name, mut events) = (format!("\"{EVENT}\""), 0_u64);
    loop {
        let mut head = [0; 2];
        server.read_exact(&mut head)?;
        let mut frame = head.to_vec();
        // Servers mask nothing: the second byte is a length, or says how long the length is.
        let [_, length] = head;
        let length = match length {
            126 => {
                let mut longer = [0; 2];
                server.read_exact(&mut longer)?;
                frame.extend(longer);
                u64::from(u16::from_be_bytes(longer))
            }
            127 => {
                let mut longer = [0; 8];
                server.read_exact(&mut longer)?;
                frame.extend(longer);
                u64::from_be_bytes(longer)
            }
            length => u64::from(length),
        };
        server.by_ref().take(length).read_to_end(&mut frame)?;
        if is_losing.load(Ordering::Relaxed)
            && frame.windows(name.len()).any(|part| part == name.as_bytes())
        {
            events += 1;
            if events.is_multiple_of(ONE_OF) {
                continue;
            }
        }
        client.write_all(&frame)?;
    }
}
