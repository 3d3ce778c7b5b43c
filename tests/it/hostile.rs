//! Clusters that mean harm: whatever they send, it takes bounded memory and time, it is an incident or
//! a sentence, and it is never GO.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pusher_canary::model::ClusterRole;
use serde_json::json;

use crate::liar::{Asked, Liar, Lie, Link, Raw, named};
use crate::util::{Clusters, Doorbell, Folder, Outcome, canary, section, turn};

/// More than a run of the tests' scenario takes, and far less than what is sent to it.
const MEMORY_MAX: u64 = 96 << 20;
/// Publishing, the horizon, a ping that nobody answers, and what is waited for after a run.
const TIME_MAX: Duration = Duration::from_secs(45);
const MIB: usize = 1 << 20;
/// A run that is over soon.
const BRIEF: [(&str, &str); 4] = [
    ("duration", "\"1s\""),
    ("deadline", "\"300ms\""),
    ("horizon", "\"800ms\""),
    ("connect_p99_max", "\"10s\"\nleft_behind_within = \"3s\""),
];

/// All cases where there is time for them, else the first of them.
fn some<T>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let is_long = std::env::var_os("PUSHER_CANARY_LONG").is_some();
    cases.into_iter().take(if is_long { usize::MAX } else { 2 })
}

/// From the first canary event on, this is written to whoever gets one.
struct Writes {
    has_struck: AtomicBool,
    what: Raw,
}

impl Lie for Writes {
    fn down(&self, to: &Link, text: String) {
        let is_canary = named(&text).0 == "pc-canary";
        to.tell(text);
        if is_canary {
            self.has_struck.store(true, Ordering::Relaxed);
            to.write(self.what.clone());
        }
    }
}

/// This stands in place of every answer to an upgrade.
struct Upgrades(Raw);

impl Lie for Upgrades {
    fn upgrade(&self, _: usize) -> Option<Raw> {
        Some(self.0.clone())
    }
}

/// This stands in place of every answer to a publication, or to whatever else is asked.
struct Replies {
    to_publications: bool,
    what: Raw,
}

impl Lie for Replies {
    fn raw(&self, asked: &Asked) -> Option<Raw> {
        (asked.publishes() == self.to_publications).then(|| self.what.clone())
    }
}

/// What is said is always what the cluster said, and something else besides.
struct Adds(Raw);

impl Lie for Adds {
    fn down(&self, to: &Link, text: String) {
        let is_canary = named(&text).0 == "pc-canary";
        to.tell(text);
        if is_canary {
            to.write(self.0.clone());
        }
    }
}

/// The handshake says this of how long a client may be silent, and of who it is.
struct Establishes {
    activity_timeout: &'static str,
    socket_id: String,
}

impl Lie for Establishes {
    fn down(&self, to: &Link, text: String) {
        if named(&text).0 != "pusher:connection_established" {
            return to.tell(text);
        }
        let Self { activity_timeout, socket_id } = self;
        let data =
            format!(r#"{{"socket_id":"{socket_id}","activity_timeout":{activity_timeout}}}"#);
        let frame = json!({ "event": "pusher:connection_established", "data": data });
        to.tell(frame.to_string());
    }
}

/// A run against a cluster in whose place somebody else answers.
fn run(lie: Arc<dyn Lie>, changes: &[(&str, &str)]) -> Outcome {
    let changes = [&BRIEF[..], changes].concat();
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let real = clusters.pair.endpoint(ClusterRole::New);
    let liar = Liar::before(&real, lie);
    let lied = section(ClusterRole::New, &liar.endpoint(&real), None);
    let text = clusters.scenario(&changes).replace(&clusters.sections[1], &lied);
    let path = folder.write("scenario.toml", &text);
    let _turn = turn();
    canary(["run", path.to_str().unwrap(), "--report-json", "-"]).envs(clusters.variables()).run()
}

#[track_caller]
fn assert_bounded(name: &str, outcome: &Outcome) {
    let (peak, took) = (outcome.peak_bytes >> 20, outcome.took);
    println!("{name}: exit code {:?}, {peak} MiB, {took:.1?}", outcome.code());
    assert!(outcome.peak_bytes > 0 && outcome.peak_bytes < MEMORY_MAX, "{name}: {peak} MiB");
    assert!(took < TIME_MAX, "{name}: {took:?}");
    assert!(matches!(outcome.code(), Some(1..=3)), "{name}: {:?}", outcome.code());
    assert!(!outcome.stderr.contains("panicked"), "{name} panicked");
    if outcome.stdout.is_empty() {
        let last = outcome.stderr.lines().last().unwrap_or_default();
        println!("  {last}");
        assert!(last.starts_with("pusher-canary: new cluster: "), "{name}: {last}");
    } else {
        assert_ne!(outcome.judged().verdict(), "GO", "{name}");
    }
}

/// A frame's head as a server writes it, for a payload of so many bytes.
fn head(first: u8, bytes: u64) -> Vec<u8> {
    [&[first, 127][..], &bytes.to_be_bytes()].concat()
}

const FINAL_TEXT: u8 = 0x81;
const FIRST_TEXT: u8 = 0x01;
const FINAL_PING: u8 = 0x89;
/// The bit that says that a frame is compressed, which nobody asked for.
const COMPRESSED: u8 = 0x40;

fn frame(text: &str) -> Vec<u8> {
    [head(FINAL_TEXT, text.len() as u64), text.as_bytes().to_vec()].concat()
}

#[test]
fn frames_that_mean_harm_are_no_go() {
    let many = |again: Vec<u8>| Raw { again, bytes: 256 * MIB, ..Raw::default() };
    let after = |head: Vec<u8>, again: Vec<u8>| Raw { head, ..many(again) };
    let part = [vec![0x00, 126, 0x40, 0x00], vec![b'x'; 0x4000]].concat();
    for (name, what) in some([
        ("a message of a gibibyte", after(head(FINAL_TEXT, 1 << 30), vec![b'x'; 1 << 16])),
        ("a message of all bytes that there are", Raw::of(head(FINAL_TEXT, u64::MAX >> 1))),
        ("a message whose parts never end", after(vec![FIRST_TEXT, 1, b'"'], part)),
        ("a compressed message", Raw::of(vec![FINAL_TEXT | COMPRESSED, 4, 1, 2, 3, 4])),
        ("text that is no UTF-8", Raw::of(vec![FINAL_TEXT, 4, 0xFF, 0xFE, 0xC0, 0x80])),
        ("a frame that is masked", Raw::of(vec![FINAL_TEXT, 0x81, 1, 2, 3, 4, 5])),
        ("a kind of frame that there is not", Raw::of(vec![0x83, 1, 0])),
        ("a ping of a kibibyte", Raw::of(head(FINAL_PING, 1_024))),
        ("a close frame of one byte", Raw::of(vec![0x88, 1, 3])),
        ("what is no JSON", Raw::of(frame("{\"event\":").repeat(100))),
        ("text that is empty", Raw::of(frame(""))),
        ("what is no WebSocket", Raw::of("HTTP/1.1 200 OK\r\n\r\n".repeat(1_000))),
        (
            "an error that asks to go",
            Raw::of(frame(r#"{"event":"pusher:error","data":{"code":4001,"message":"go"}}"#)),
        ),
    ]) {
        let lie = Arc::new(Writes { has_struck: AtomicBool::new(false), what });
        let outcome = run(Arc::clone(&lie) as Arc<dyn Lie>, &[]);
        assert!(lie.has_struck.load(Ordering::Relaxed), "{name} was never sent");
        assert_bounded(name, &outcome);
    }
}

#[test]
fn frames_that_say_nothing_change_nothing() {
    let flood = |frame: Vec<u8>, times: usize| Raw {
        bytes: times * frame.len(),
        again: frame,
        ..Raw::default()
    };
    let deep = format!(r#"{{"event":"x","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let unknown = frame(r#"{"event":"order-shipped","channel":"orders","data":"{\"id\":1}"}"#);
    // Each of two witnesses gets so many with every one of 40 events a second.
    for (name, what) in some([
        ("JSON in a hundred thousand lists", Raw::of(frame(&deep))),
        ("a hundred thousand unknown events a second", flood(unknown, 1_250)),
        ("pings that want as many pongs", flood(vec![FINAL_PING, 1, b'x'], 2_500)),
        ("questions whether it is there", flood(frame(r#"{"event":"pusher:ping"}"#), 2_500)),
    ]) {
        let outcome = run(Arc::new(Adds(what)), &[("rate", "40.0"), ("loss_rate_max", "0.1")]);
        let (peak, took) = (outcome.peak_bytes >> 20, outcome.took);
        println!("{name}: {:?}, {peak} MiB, {took:.1?}", outcome.code());
        assert!(outcome.peak_bytes < MEMORY_MAX && took < TIME_MAX, "{name}: {peak} MiB, {took:?}");
        let report = outcome.judged();
        for figure in ["obligations.lost", "duplicates", "corrupt", "misrouted", "unexpected"] {
            assert_eq!(report.figure("new", figure), 0, "{figure} by {name}");
        }
    }
}

#[test]
fn handshakes_that_mean_harm_are_a_sentence_or_no_go() {
    let doorbell = Doorbell::new();
    let away = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        doorbell.address()
    );
    let start = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    let header = b"X-Filler: 0123456789abcdef0123456789abcdef\r\n".to_vec();
    let endless = Raw { head: start.clone(), again: header, bytes: 256 * MIB, ..Raw::default() };
    let line =
        Raw { again: vec![b'x'; 1 << 16], head: start.clone(), bytes: 256 * MIB, ..Raw::default() };
    let slow =
        Raw { head: start, again: b"X".to_vec(), bytes: 1_000, pause: Duration::from_millis(100) };
    for (name, what) in some([
        ("an upgrade that leads elsewhere", Raw::of(away)),
        ("headers without an end", endless),
        ("a header without an end", line),
        ("a byte every tenth of a second", slow),
        (
            "a key that was not asked for",
            Raw::of(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            ),
        ),
        ("bytes", Raw::of(vec![0xFF; 4_096])),
    ]) {
        assert_bounded(name, &run(Arc::new(Upgrades(what)), &[]));
    }
    assert!(!doorbell.rang(), "it went where it was sent");
    for (name, activity_timeout, socket_id) in some([
        ("no time to be silent", "0", "1.1".to_owned()),
        ("longer than time is", "1e300", "1.1".to_owned()),
        ("an id of a hundred kibibytes", "120", "1".repeat(100 << 10)),
        ("an id that is none", "120", "../../etc".to_owned()),
    ]) {
        assert_bounded(name, &run(Arc::new(Establishes { activity_timeout, socket_id }), &[]));
    }
}

#[test]
fn answers_that_mean_harm_are_no_go() {
    let doorbell = Doorbell::new();
    let answer = |head: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n").into_bytes();
    let after = |head: &str, again: Vec<u8>| Raw {
        head: answer(head),
        again,
        bytes: 64 * MIB,
        ..Raw::default()
    };
    let away = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        doorbell.address()
    );
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 1 << 16], b"\r\n".to_vec()].concat();
    let deep = "[".repeat(200_000);
    let deep = format!("Content-Length: {}\r\n\r\n{deep}", deep.len());
    let cases = || {
        [
            (
                "headers without an end",
                Raw {
                    again: b"X-Filler: 0\r\n".to_vec(),
                    bytes: 64 * MIB,
                    head: b"HTTP/1.1 200 OK\r\n".to_vec(),
                    ..Raw::default()
                },
            ),
            ("a body of a gibibyte", after("Content-Length: 1073741824\r\n", vec![b' '; 1 << 16])),
            ("parts without an end", after("Transfer-Encoding: chunked\r\n", chunk.clone())),
            ("a redirect", Raw::of(away.clone())),
            (
                "compressed nonsense",
                Raw::of(
                    answer("Content-Encoding: gzip\r\nContent-Length: 4\r\n")
                        .into_iter()
                        .chain([0x1F, 0x8B, 8, 0])
                        .collect::<Vec<u8>>(),
                ),
            ),
            ("JSON in lists without an end", Raw::of(format!("HTTP/1.1 200 OK\r\n{deep}"))),
            (
                "text that is no UTF-8",
                Raw::of([answer("Content-Length: 3\r\n"), vec![0xFF; 3]].concat()),
            ),
            ("nothing", Raw::default()),
        ]
    };
    for (name, what) in some(cases()) {
        let lie = Replies { to_publications: true, what };
        assert_bounded(name, &run(Arc::new(lie), &[("rate", "20.0")]));
    }
    for (name, what) in some(cases()) {
        let lie = Replies { to_publications: false, what };
        assert_bounded(name, &run(Arc::new(lie), &[("rate", "20.0")]));
    }
    assert!(!doorbell.rang(), "it went where it was sent");
}
