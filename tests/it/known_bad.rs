//! Servers that misbehave as servers do, each with what must be found of it, and how soon.
//!
//! Each stands before the new cluster, which is sound, and lies about it. The old cluster is sound
//! throughout, and nothing may be held against it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pusher_canary::model::{AppKey, ClusterRole, Secret, SocketId};
use pusher_canary::pusher::auth;
use serde_json::{Value, json};

use crate::faults::moved;
use crate::liar::{Asked, Liar, Lie, Link, Strikes, Welcome, named};
use crate::util::{Clusters, Folder, Outcome, Report, canary, section, turn};

/// The deadline and the horizon of the tests' scenario.
const DEADLINE: Duration = Duration::from_secs(1);
const HORIZON: Duration = Duration::from_millis(2500);
/// A deadline with which witnesses may take turns within a short run, and the keys that let them.
const SHORT_DEADLINE: Duration = Duration::from_millis(400);
const RECYCLING: [(&str, &str); 3] =
    [("deadline", "\"400ms\""), ("recycle", "\"2s\""), ("duration", "\"5s\"")];
/// How much later than by its definition something may show.
const SLACK: Duration = Duration::from_secs(2);
/// Answers of the API before it begins to lie: those of a run that has begun well.
const SOUND_ANSWERS: usize = 40;

/// A line of the metrics page with one of these texts in each place and another value than 0.
struct Sign {
    what: &'static str,
    texts: &'static [&'static str],
    within: Duration,
}

const fn overdue(deadline: Duration) -> Sign {
    let texts = &["pusher_canary_overdue{", "cluster=\"new\""];
    Sign { what: "overdue", texts, within: deadline.saturating_add(SLACK) }
}

const fn lost() -> Sign {
    let texts = &["pusher_canary_obligations_total{", "cluster=\"new\"", "outcome=\"lost\""];
    Sign { what: "lost", texts, within: HORIZON.saturating_add(SLACK) }
}

/// What grows when a blind window ends.
const BLIND: &str = "pusher_canary_blind_seconds_total{";

/// A sign that shows as soon as it happens.
const fn at_once(what: &'static str, texts: &'static [&'static str]) -> Sign {
    Sign { what, texts, within: SLACK }
}

impl Sign {
    fn shows(&self, page: &str) -> bool {
        page.lines()
            .any(|line| self.texts.iter().all(|text| line.contains(text)) && !line.ends_with(" 0"))
    }
}

/// Runs against a cluster for which somebody lies. Each sign must show in time, in this order.
fn run(lie: &Arc<impl Lies>, changes: &[(&str, &str)], signs: &[Sign]) -> (Outcome, Report) {
    run_against(&Clusters::start(), lie, changes, signs)
}

/// A scenario whose new cluster is lied about for as long as the liar is there.
fn lied_about(
    folder: &Folder,
    clusters: &Clusters,
    lie: &Arc<impl Lies>,
    changes: &[(&str, &str)],
) -> (PathBuf, Liar) {
    let real = clusters.pair.endpoint(ClusterRole::New);
    let liar = Liar::before(&real, Arc::clone(lie) as Arc<dyn Lie>);
    let lied = section(ClusterRole::New, &liar.endpoint(&real), None);
    let text = clusters.scenario(changes).replace(&clusters.sections[1], &lied);
    (folder.write("scenario.toml", &text), liar)
}

fn run_against(
    clusters: &Clusters,
    lie: &Arc<impl Lies>,
    changes: &[(&str, &str)],
    signs: &[Sign],
) -> (Outcome, Report) {
    let folder = Folder::new();
    let (path, _liar) = lied_about(&folder, clusters, lie, changes);
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let _turn = turn();
    let mut running = canary(args).envs(clusters.variables()).start();
    for sign in signs {
        running.page(|page| sign.shows(page));
        let took = lie.strikes().since_first();
        println!("{} showed after {:.1} s", sign.what, took.as_secs_f64());
        assert!(took <= sign.within, "{} showed after {took:?}", sign.what);
    }
    let outcome = running.finish();
    let report = outcome.judged();
    assert!(lie.strikes().count() > 0, "it never lied");
    let mut of_old = moved(&report, "old");
    if of_old.remove("recycled").is_some() {
        // What comes of reconnecting on purpose.
        for own in ["blind.windows", "obligations.missed_offline", "replayed"] {
            of_old.remove(own);
        }
    }
    assert_eq!(of_old, BTreeMap::new(), "figures of old moved");
    (outcome, report)
}

/// A lie that knows when it was told.
trait Lies: Lie {
    fn strikes(&self) -> &Strikes;
}

/// The outcome of a run in which these checks failed, and which is NO-GO for that.
#[track_caller]
fn assert_fails(report: &Report, checks: &[(&str, &str)]) {
    for (check, cluster) in checks {
        assert_eq!(report.status(check, cluster), "fail", "{check} of {cluster}");
    }
    assert_eq!(report.verdict(), "NO-GO");
}

macro_rules! lies {
    ($($name:ident),* $(,)?) => {$(
        impl Lies for $name {
            fn strikes(&self) -> &Strikes {
                &self.strikes
            }
        }
    )*};
}

lies!(
    Answers, DeafLater, Repeats, Strangers, Objects, Pongless, Loops, Threshold, Forger, Replays,
    Deaf, Noise,
);

/// After a while the API answers so, and passes nothing on.
struct Answers {
    strikes: Strikes,
    answer: (u16, &'static str),
    asked: AtomicUsize,
}

impl Answers {
    fn with(status: u16, body: &'static str) -> Arc<Self> {
        let answer = (status, body);
        Arc::new(Self { strikes: Strikes::new(), answer, asked: AtomicUsize::new(0) })
    }
}

impl Lie for Answers {
    fn api(&self, asked: &Asked) -> Option<(u16, String)> {
        let is_time =
            asked.publishes() && self.asked.fetch_add(1, Ordering::Relaxed) >= SOUND_ANSWERS;
        is_time.then(|| {
            self.strikes.strike();
            (self.answer.0, self.answer.1.to_owned())
        })
    }
}

#[test]
fn an_api_that_answers_200_while_nobody_receives_is_no_go() {
    let lie = Answers::with(200, "{}");
    let (_outcome, report) = run(&lie, &[], &[overdue(DEADLINE), lost()]);
    assert_fails(&report, &[("loss", "new"), ("coverage", "both")]);
    // Two witnesses of each.
    assert_eq!(report.figure("new", "obligations.lost"), lie.strikes.count() * 2);
    assert_eq!(report.figure("new", "publications_lost"), lie.strikes.count());
}

#[test]
fn a_store_behind_the_api_that_fails_after_the_start_is_no_go_at_once() {
    let unknown = at_once(
        "unknown publications",
        &["pusher_canary_publications_total{", "cluster=\"new\"", "outcome=\"unknown\""],
    );
    let errors = at_once("errors", &["pusher_canary_errors_total{", "\"new\"", "\"publish\""]);
    let lie = Answers::with(500, r#"{"error":"READONLY You can't write against a replica"}"#);
    let (outcome, report) = run(&lie, &[], &[errors, unknown]);
    assert_fails(&report, &[("publish", "new"), ("coverage", "both")]);
    assert_eq!(report.figure("new", "publications.void"), lie.strikes.count());
    assert_eq!(report.figure("new", "blind.windows"), 0, "every connection looks healthy");
    assert!(outcome.stdout.contains("READONLY"), "what the API said is not told");
}

#[test]
fn an_error_that_is_answered_with_200_is_a_rejection() {
    let rejected = at_once(
        "rejected publications",
        &["pusher_canary_publications_total{", "cluster=\"new\"", "outcome=\"rejected\""],
    );
    let lie = Answers::with(200, r#"{"ok":false,"error":"Payload too large","code":413}"#);
    let (_outcome, report) = run(&lie, &[], &[rejected]);
    assert_fails(&report, &[("publish", "new"), ("coverage", "both")]);
    assert_eq!(report.figure("new", "publications.rejected"), lie.strikes.count());
}

/// Who comes after the first publication is taken in, and gets nothing.
struct DeafLater {
    strikes: Strikes,
    has_begun: AtomicBool,
    /// Connections that were there before.
    before: Mutex<usize>,
}

impl Lie for DeafLater {
    fn welcome(&self, nth: usize) -> Welcome {
        if !self.has_begun.load(Ordering::Relaxed) {
            *self.before.lock().unwrap() = nth;
        }
        Welcome::Through
    }

    fn down(&self, to: &Link, text: String) {
        let (event, channel) = named(&text);
        // A cache channel repeats its last event to whoever comes, which nobody is owed.
        if event != "pc-canary" || channel.contains("cache-") {
            return to.tell(text);
        }
        self.has_begun.store(true, Ordering::Relaxed);
        if to.nth <= *self.before.lock().unwrap() {
            return to.tell(text);
        }
        self.strikes.strike();
    }
}

#[test]
fn a_connection_that_is_deaf_behind_its_reconnect_is_no_go() {
    let lie = Arc::new(DeafLater {
        strikes: Strikes::new(),
        has_begun: AtomicBool::new(false),
        before: Mutex::new(0),
    });
    let signs = [overdue(SHORT_DEADLINE), lost()];
    let (_outcome, report) = run(&lie, &RECYCLING, &signs);
    assert_fails(&report, &[("loss", "new"), ("coverage", "both")]);
    // What was sent before the channel was confirmed again is missed, though it was on its way.
    let lost = report.figure("new", "obligations.lost");
    let missed = report.figure("new", "obligations.missed_offline");
    let kept = lie.strikes.count();
    assert!(lost > 0 && lost <= kept && kept <= lost + missed, "{lost} and {missed} of {kept}");
}

/// One canary event of twenty comes twice on its connection.
struct Repeats {
    strikes: Strikes,
    said: AtomicUsize,
}

impl Lie for Repeats {
    fn down(&self, to: &Link, text: String) {
        let is_due = named(&text).0 == "pc-canary"
            && self.said.fetch_add(1, Ordering::Relaxed).is_multiple_of(20);
        to.tell(text.as_str());
        if is_due {
            self.strikes.strike();
            to.tell(text);
        }
    }
}

#[test]
fn copies_on_one_connection_are_duplicates_at_once() {
    let duplicates = at_once("duplicates", &["pusher_canary_duplicates_total{", "\"new\""]);
    let lie = Arc::new(Repeats { strikes: Strikes::new(), said: AtomicUsize::new(0) });
    let (_outcome, report) = run(&lie, &[], &[duplicates]);
    assert_fails(&report, &[("duplicates", "new")]);
    assert_eq!(report.figure("new", "duplicates"), lie.strikes.count());
}

/// Some events reach those who subscribed to another channel.
struct Strangers {
    strikes: Strikes,
    said: AtomicUsize,
}

impl Lie for Strangers {
    fn down(&self, to: &Link, text: String) {
        let (event, channel) = named(&text);
        to.tell(text.as_str());
        let is_due = event == "pc-canary"
            && !channel.contains("encrypted")
            && self.said.fetch_add(1, Ordering::Relaxed).is_multiple_of(20);
        if is_due {
            // As another app's cluster would have published it.
            let other = text.replace(r#"\"cluster\":\"new\""#, r#"\"cluster\":\"old\""#);
            assert_ne!(other, text, "an envelope says for which cluster it is");
            self.strikes.strike();
            to.tell(resealed(&other));
        }
    }
}

/// The frame with the checksum that its envelope would have had.
fn resealed(frame: &str) -> String {
    let mut frame: Value = serde_json::from_str(frame).unwrap();
    let data = frame["data"].as_str().unwrap();
    let (signed, _) = data.split_once(",\"sum\"").unwrap();
    let sum = crc32fast::hash(signed.as_bytes());
    frame["data"] = json!(format!("{signed},\"sum\":\"{sum:08x}\"}}"));
    frame.to_string()
}

#[test]
fn another_apps_events_are_misrouted_at_once() {
    let misrouted = at_once("misrouted", &["pusher_canary_misrouted_total{", "\"new\""]);
    let lie = Arc::new(Strangers { strikes: Strikes::new(), said: AtomicUsize::new(0) });
    let (_outcome, report) = run(&lie, &[], &[misrouted]);
    assert_fails(&report, &[("misrouting", "new")]);
    assert_eq!(report.figure("new", "misrouted"), lie.strikes.count());
}

/// Data comes as the object that it is the text of.
struct Objects {
    strikes: Strikes,
}

impl Lie for Objects {
    fn down(&self, to: &Link, text: String) {
        let mut frame: Value = serde_json::from_str(&text).unwrap();
        let is_canary = frame["event"] == "pc-canary";
        let data = frame["data"].as_str().and_then(|data| serde_json::from_str::<Value>(data).ok());
        match data.filter(|data| is_canary && data.is_object()) {
            Some(data) => {
                self.strikes.strike();
                frame["data"] = data;
                to.tell(frame.to_string());
            }
            None => to.tell(text),
        }
    }
}

#[test]
fn data_that_comes_as_an_object_is_corrupt_at_once() {
    let corrupt = at_once("corrupt", &["pusher_canary_corrupt_total{", "\"new\""]);
    let lie = Arc::new(Objects { strikes: Strikes::new() });
    let (_outcome, report) = run(&lie, &[], &[corrupt]);
    assert_fails(&report, &[("integrity", "new"), ("loss", "new")]);
}

/// Asks for pings each second, and answers none.
struct Pongless {
    strikes: Strikes,
}

impl Lie for Pongless {
    fn down(&self, to: &Link, text: String) {
        let asked = text.replace(r#"\"activity_timeout\":120"#, r#"\"activity_timeout\":1"#);
        to.tell(asked);
    }

    fn up(&self, from: &Link, text: String) {
        if named(&text).0 == "pusher:ping" {
            self.strikes.strike();
        } else {
            from.ask(text);
        }
    }
}

#[test]
fn pings_that_nobody_answers_end_connections_and_lose_nothing() {
    // An event every five seconds: in between there is nothing to be heard but pongs.
    let changes = [
        ("duration", "\"9s\""),
        ("rate", "0.2"),
        ("public", "1"),
        ("private", "0"),
        ("presence", "0"),
        ("encrypted", "0"),
        ("cache", "0"),
        ("private_cache", "0"),
        ("presence_cache", "0"),
        ("encrypted_cache", "0"),
    ];
    let given_up =
        Sign { what: "given up", within: HORIZON + SLACK, ..at_once("", &[BLIND, "\"new\""]) };
    let lie = Arc::new(Pongless { strikes: Strikes::new() });
    let (_outcome, report) = run(&lie, &changes, &[given_up]);
    let blind = &report.0["clusters"]["new"]["blind"];
    assert!(report.figure("new", "connections.given_up") >= 3, "they were kept");
    assert!(blind["windows"].as_u64() >= Some(2), "{blind}");
    assert_eq!(report.figure("new", "obligations.lost"), 0, "nobody proved alive");
}

/// From the first canary event on, whoever comes is established, and closed with 4200.
struct Loops {
    strikes: Strikes,
    has_begun: AtomicBool,
}

impl Lie for Loops {
    fn down(&self, to: &Link, text: String) {
        let event = named(&text).0;
        to.tell(text);
        if event == "pc-canary" && !self.has_begun.swap(true, Ordering::Relaxed)
            || event == "pusher:connection_established" && self.has_begun.load(Ordering::Relaxed)
        {
            self.strikes.strike();
            to.close(4200);
        }
    }
}

#[test]
fn a_cluster_that_closes_whoever_comes_again_is_no_go_and_is_not_stormed() {
    let closed =
        at_once("closes", &["pusher_canary_disconnects_total{", "\"new\"", "code=\"4200\""]);
    let lie = Arc::new(Loops { strikes: Strikes::new(), has_begun: AtomicBool::new(false) });
    let (outcome, report) = run(&lie, &[], &[closed]);
    assert_fails(&report, &[("blind", "new")]);
    // 4200 asks to come again at once: who is closed again and again waits longer each time.
    let rate = lie.strikes.count() as f64 / outcome.took.as_secs_f64();
    assert!(rate < 5.0, "{rate} connections a second");
}

/// So many are let through; whoever comes after them is not.
struct Threshold {
    strikes: Strikes,
    many: usize,
    then: Welcome,
}

impl Lie for Threshold {
    fn welcome(&self, nth: usize) -> Welcome {
        if nth < self.many {
            return Welcome::Through;
        }
        self.strikes.strike();
        self.then
    }
}

#[test]
fn connections_that_are_accepted_and_never_established_are_never_go() {
    for (then, told) in [
        (Welcome::Mute, "the WebSocket upgrade was not answered"),
        (Welcome::Unestablished, "pusher:connection_established did not come in time"),
    ] {
        // From the start on: nothing is measured, and the sentence says why.
        let (folder, clusters) = (Folder::new(), Clusters::start());
        let lie = Arc::new(Threshold { strikes: Strikes::new(), many: 0, then });
        let (path, _liar) = lied_about(&folder, &clusters, &lie, &[]);
        let _turn = turn();
        let args = ["run", path.to_str().unwrap(), "--report-json", "-"];
        let outcome = canary(args).envs(clusters.variables()).run();
        outcome.assert_code(3);
        assert!(outcome.sentence().contains(told), "it is not told what was waited for");
    }
}

#[test]
fn a_reconnect_that_is_accepted_and_never_established_is_no_go() {
    for then in [Welcome::Mute, Welcome::Unestablished] {
        // Two witnesses and the controls are in; whoever comes again is not.
        let lie = Arc::new(Threshold { strikes: Strikes::new(), many: 4, then });
        let (outcome, report) = run(&lie, &RECYCLING, &[]);
        assert_fails(&report, &[("blind", "new")]);
        outcome.assert_code(1);
    }
}

/// Whoever signs with whatever secret is let in.
struct Forger {
    strikes: Strikes,
    key: AppKey,
    secret: Secret,
    sockets: Mutex<HashMap<usize, String>>,
}

impl Lie for Forger {
    fn down(&self, to: &Link, text: String) {
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["event"] == "pusher:connection_established" {
            let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
            let socket = data["socket_id"].as_str().unwrap().to_owned();
            self.sockets.lock().unwrap().insert(to.nth, socket);
        }
        to.tell(text);
    }

    fn up(&self, from: &Link, text: String) {
        let mut frame: Value = serde_json::from_str(&text).unwrap();
        let signed = frame["data"]["auth"].as_str().unwrap_or_default();
        if signed.is_empty() {
            return from.ask(text);
        }
        let socket = SocketId::new(&self.sockets.lock().unwrap()[&from.nth]).unwrap();
        let (channel, data) =
            (frame["data"]["channel"].as_str().unwrap(), frame["data"]["channel_data"].as_str());
        let right = auth::channel(&self.key, &self.secret, &socket, channel, data);
        if right != signed {
            self.strikes.strike();
            frame["data"]["auth"] = json!(right);
        }
        from.ask(frame.to_string());
    }
}

#[test]
fn a_cluster_that_lets_in_whoever_has_the_wrong_secret_is_never_go() {
    let clusters = Clusters::start();
    let real = clusters.pair.endpoint(ClusterRole::New);
    let lie = Arc::new(Forger {
        strikes: Strikes::new(),
        key: real.key,
        secret: real.secret,
        sockets: Mutex::default(),
    });
    let (outcome, report) = run_against(&clusters, &lie, &[], &[]);
    assert_eq!(report.status("controls", "new"), "inconclusive");
    assert_eq!(report.verdict(), "INCONCLUSIVE");
    assert_eq!(lie.strikes.count(), 1, "nothing but the control was signed wrongly");
    outcome.assert_code(3);
}

/// Whoever subscribes gets the channel's last event, of whatever kind the channel is.
struct Replays {
    strikes: Strikes,
    last: Mutex<HashMap<String, String>>,
}

impl Lie for Replays {
    fn down(&self, to: &Link, text: String) {
        let (event, channel) = named(&text);
        to.tell(text.as_str());
        if event == "pc-canary" {
            self.last.lock().unwrap().insert(channel, text);
        } else if event == "pusher_internal:subscription_succeeded"
            && !channel.contains("cache-")
            && let Some(last) = self.last.lock().unwrap().get(&channel)
        {
            self.strikes.strike();
            to.tell(last.as_str());
        }
    }
}

#[test]
fn channels_that_repeat_their_last_event_to_whoever_comes_have_duplicates() {
    let duplicates = at_once("duplicates", &["pusher_canary_duplicates_total{", "\"new\""]);
    let lie = Arc::new(Replays { strikes: Strikes::new(), last: Mutex::default() });
    let (_outcome, report) = run(&lie, &RECYCLING, &[duplicates]);
    assert_fails(&report, &[("duplicates", "new")]);
}

/// Subscriptions to this kind of channel are confirmed, and never made.
struct Deaf {
    strikes: Strikes,
    prefix: &'static str,
}

impl Lie for Deaf {
    fn up(&self, from: &Link, text: String) {
        let frame: Value = serde_json::from_str(&text).unwrap();
        let channel = frame["data"]["channel"].as_str().unwrap_or_default();
        if frame["event"] != "pusher:subscribe"
            || !channel.starts_with(self.prefix)
            || channel.contains("control")
            || channel.contains("guard")
        {
            return from.ask(text);
        }
        self.strikes.strike();
        let confirmed = json!({
            "event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"
        });
        from.tell(confirmed.to_string());
    }
}

#[test]
fn a_kind_of_channel_that_is_confirmed_and_never_subscribed_is_no_go() {
    let lie = Arc::new(Deaf { strikes: Strikes::new(), prefix: "private-encrypted-" });
    let (_outcome, report) = run(&lie, &[], &[]);
    assert_fails(&report, &[("loss", "new"), ("coverage", "both")]);
    let lost = report.figure("new", "obligations.lost");
    assert!(lost > 0 && lost < report.figure("new", "obligations.total") / 2, "{lost} lost");
}

/// What nobody published is said on a channel that must stay silent.
struct Noise {
    strikes: Strikes,
}

impl Lie for Noise {
    fn down(&self, to: &Link, text: String) {
        let (event, channel) = named(&text);
        to.tell(text);
        if event == "pusher_internal:subscription_succeeded" && channel.contains("guard") {
            self.strikes.strike();
            let noise = json!({ "event": "order-shipped", "channel": channel, "data": "{}" });
            to.tell(noise.to_string());
        }
    }
}

#[test]
fn an_event_that_nobody_published_is_never_go() {
    let lie = Arc::new(Noise { strikes: Strikes::new() });
    let (_outcome, report) = run(&lie, &[], &[]);
    assert_eq!(report.verdict(), "INCONCLUSIVE");
    assert_eq!(report.status("controls", "new"), "inconclusive");
}
