//! A scenario without an end: what it serves, what it survives, and how it is told of changes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use pusher_canary::model::ClusterRole;
use pusher_canary::model::fault::{Fault, FaultKind};
use pusher_canary::rehearsal::PairConfig;
use rustix::process::Signal;
use serde_json::Value;

use crate::outages::Door;
use crate::schemas::{assert_report, assert_verdict};
use crate::util::{
    Clusters, Folder, Running, canary, request, request_as, scenario, section, turn,
};

/// A window of ten seconds holds five times the trials that the proof takes.
const WINDOW: [&str; 2] = ["--window", "10s"];

/// The watch of this scenario, once it serves.
fn watch(clusters: &Clusters, scenario: &Path, more: &[&str]) -> (Running, SocketAddr) {
    let fixed = ["watch", scenario.to_str().unwrap(), "--listen", "127.0.0.1:0", "-v"];
    let args = fixed.into_iter().chain(WINDOW).chain(more.iter().copied());
    let mut running = canary(args).envs(clusters.variables()).start();
    let address = running.metrics_address();
    (running, address)
}

/// A series of the page, by all that stands before its value; 0 where it is not there.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("pusher_canary_{series} ")));
    line.map_or(0.0, |value| value.parse().unwrap())
}

fn is_verdict(verdict: &str) -> impl Fn(&str) -> bool {
    let series = format!(r#"verdict{{verdict="{verdict}"}}"#);
    move |page| value(page, &series) == 1.0
}

fn json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = request(address, "GET", path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// The scenario's two sections with everything behind doors.
struct Doors {
    clusters: Clusters,
    /// Of each cluster: WebSockets, then the API.
    doors: [[Door; 2]; 2],
}

impl Doors {
    fn start() -> Self {
        let clusters = Clusters::start();
        let doors = ClusterRole::ALL.map(|role| {
            let endpoint = clusters.pair.endpoint(role);
            [endpoint.ws_url, endpoint.http_url]
                .map(|url| Door::before(url.split("://").nth(1).unwrap().to_owned()))
        });
        Self { clusters, doors }
    }

    fn scenario(&self, changes: &[(&str, &str)]) -> String {
        let mut text = self.clusters.scenario(changes);
        for (role, [ws, http]) in ClusterRole::ALL.into_iter().zip(&self.doors) {
            let mut endpoint = self.clusters.pair.endpoint(role);
            endpoint.ws_url = format!("ws://{}", ws.address());
            endpoint.http_url = format!("http://{}", http.address());
            let known = &self.clusters.sections[usize::from(role == ClusterRole::New)];
            text = text.replace(known, &section(role, &endpoint, None));
        }
        text
    }

    fn die(&self) {
        for door in self.doors.iter().flatten() {
            door.shut();
            door.empty();
        }
    }

    fn revive(&self) {
        self.doors.iter().flatten().for_each(Door::open);
    }
}

#[test]
fn a_watch_serves_its_verdict_as_an_alarm_and_leaves_when_it_is_asked_to() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[("recycle", "\"5s\"")]));
    let report = folder.file("report.json");
    let _turn = turn();
    let (mut running, address) =
        watch(&clusters, &path, &["--report-json", report.to_str().unwrap()]);
    assert_eq!(request(address, "GET", "/-/healthy"), (200, "healthy\n".to_owned()));
    running.page(is_verdict("GO"));
    assert_eq!(request(address, "GET", "/-/ready"), (200, "ready\n".to_owned()));

    assert_verdict(&request(address, "GET", "/api/verdict").1);
    let verdict = json(address, "/api/verdict");
    assert_eq!(verdict["proof"], false);
    assert_eq!(
        (&verdict["window_seconds"], &verdict["phase"]),
        (&10.0.into(), &"dual-publish".into())
    );
    assert!(verdict["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()));
    let checks = verdict["checks"].as_array().unwrap();
    let is_there = |name: &str| checks.iter().any(|check| check["name"] == name);
    assert!(is_there("loss") && is_there("budget") && !is_there("left-behind"));

    let (status, text) = request(address, "GET", "/api/report");
    assert_eq!(status, 200);
    assert_report(&text, false);
    let of_window: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&of_window["proof"], &of_window["looks"]), (&false.into(), &"rolling".into()));

    let live = json(address, "/api/live");
    assert_eq!(live["run"], verdict["run"]);
    for role in ["old", "new"] {
        let cluster = &live["clusters"][role];
        assert!(cluster["connections"]["ready"].as_u64().unwrap() >= 2, "{cluster}");
        assert!(cluster["window"]["delivered"].as_u64().unwrap() > 0, "{cluster}");
        let points = live["series"]["points"].as_array().unwrap();
        assert!(points.iter().any(|p| p["clusters"][role]["arrived"].as_u64() > Some(0)));
    }

    let (status, page) = request(address, "GET", "/");
    assert_eq!(status, 200);
    assert!(page.contains("<noscript>") && page.contains("api/live"), "{page}");
    for (method, path, status) in
        [("POST", "/api/verdict", 405), ("PUT", "/", 405), ("GET", "/api/other", 404)]
    {
        assert_eq!(request(address, method, path).0, status, "{method} {path}");
    }

    running.signal(Signal::TERM);
    let outcome = running.finish();
    outcome.assert_code(0);
    assert!(outcome.stdout.contains("the last 10s of a watch: an alarm, no proof"));
    let written = folder.read("report.json");
    assert_report(&written, false);
    // Nobody takes it for a proof: the gate does not.
    let gate = canary(["gate", "--no-history", "--report", report.to_str().unwrap()]).run();
    gate.assert_code(3);
    let said = gate.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("an alarm over a window that slides"), "{said}");
}

#[test]
fn what_new_does_wrong_is_an_alarm_and_its_limits_are_taken_while_it_goes_on() {
    let folder = Folder::new();
    let fault: Fault = "new:duplicate=0.05".parse().unwrap();
    assert_eq!(fault.kind, FaultKind::Duplicate);
    let config = PairConfig { seed: 7, faults: vec![fault], ..PairConfig::default() };
    let clusters = Clusters::with(config, None);
    let strict = clusters.scenario(&[]);
    let path = folder.write("scenario.toml", &strict);
    let _turn = turn();
    let (mut running, address) = watch(&clusters, &path, &[]);
    running.page(is_verdict("NO-GO"));
    let run = json(address, "/api/verdict")["run"].clone();
    assert!(json(address, "/api/verdict")["reasons"][0].as_str().unwrap().contains("duplicates"));
    let incidents = json(address, "/api/live")["incidents"].clone();
    let is_duplicate = |i: &Value| i["kind"] == "duplicate" && i["cluster"] == "new";
    assert!(incidents.as_array().unwrap().iter().all(is_duplicate), "{incidents}");

    // Its limits are taken in place, and nothing is counted anew.
    let lenient = strict.replace("[gate]\n", "[gate]\nduplicates_max = 1_000_000\n");
    folder.write("scenario.toml", &lenient);
    running.signal(Signal::HUP);
    running.page(is_verdict("GO"));
    assert_eq!(json(address, "/api/verdict")["run"], run);
    let reload = json(address, "/api/live")["reload"].clone();
    assert!(reload["at"].is_string() && reload["error"].is_null(), "{reload}");

    // What is wrong is said, and the scenario stays as it was.
    folder.write("scenario.toml", &lenient.replace("duplicates_max", "duplicats_max"));
    running.signal(Signal::HUP);
    let is_stale = |page: &str| page.contains("pusher_canary_scenario_reload_success 0\n");
    let page = running.page(is_stale);
    assert!(is_verdict("GO")(&page));
    running.line("the scenario is kept as it was");
    let reload = json(address, "/api/live")["reload"].clone();
    assert!(reload["error"].as_str().unwrap().contains("duplicats_max"), "{reload}");

    // Neither is one whose credentials are refused: what is watched goes on, and is not begun anew.
    folder.write("scenario.toml", &lenient.replace("${PC_NEW_SECRET}", "no-such-secret"));
    running.signal(Signal::HUP);
    running.line("clusters.new.app_id, .key and .secret");
    let page = running.page(|_| true);
    assert!(is_stale(&page) && is_verdict("GO")(&page));
    assert_eq!(json(address, "/api/verdict")["run"], run);

    // Another rate is another account; nothing goes dark in between.
    folder.write("scenario.toml", &lenient.replace("rate = 160.0", "rate = 150.0"));
    running.signal(Signal::HUP);
    let info = format!("run=\"{}\"", run.as_str().unwrap());
    running.page(|page| {
        assert!(page.contains("pusher_canary_run_info"), "{page}");
        !page.contains(&info) && is_verdict("GO")(page)
    });
    running.signal(Signal::INT);
    running.finish().assert_code(0);
}

#[test]
fn a_watch_starts_while_both_clusters_are_dead_and_is_never_go_until_they_live() {
    let (folder, doors) = (Folder::new(), Doors::start());
    doors.die();
    // A door that is shut takes a port for a minute of whoever knocks, and there are only so many.
    let path = folder.write("scenario.toml", &doors.scenario(&[("rate", "60.0")]));
    let _turn = turn();
    let (mut running, address) = watch(&doors.clusters, &path, &[]);
    let is_go = is_verdict("GO");
    let rejected = r#"publications_total{cluster="new",route="trigger",outcome="rejected"}"#;
    let page = running.page(|page| {
        assert!(!is_go(page));
        value(page, rejected) > 100.0
    });
    assert!(value(&page, r#"errors_total{cluster="old",feature="connect"}"#) > 0.0);
    assert_eq!(value(&page, r#"connections{cluster="old",state="ready"}"#), 0.0);
    assert_eq!(request(address, "GET", "/-/ready").0, 200, "it publishes, and nobody takes it");
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    let count = series(&page);

    doors.revive();
    let page = running.page(&is_go);
    // Timestamps of what was covered are known only then.
    assert!(series(&page) >= count && series(&page) <= count + 2, "{count}: {page}");
    assert_eq!(value(&page, "check_status{check=\"controls\",cluster=\"new\"}"), 0.0);

    // And again: it notices at once, and recovers by itself.
    doors.die();
    let is_noticed = |page: &str| !is_go(page);
    running.page(is_noticed);
    let before = value(&running.page(|_| true), rejected);
    running.page(|page| {
        assert!(!is_go(page), "GO while both are dead");
        value(page, rejected) > before + 500.0
    });
    // However long it lasts.
    let is_long = std::env::var_os("PUSHER_CANARY_LONG").is_some();
    let time = Duration::from_secs(if is_long { 300 } else { 1 });
    let slowest = running.pages(time, |page| assert!(!is_go(page), "GO while both are dead"));
    if is_long {
        println!("both dead for {time:?}: the slowest scrape took {slowest:?}");
        assert!(slowest < Duration::from_millis(100), "{slowest:?}");
    }
    doors.revive();
    running.page(&is_go);
    running.signal(Signal::TERM);
    running.finish().assert_code(0);
}

#[test]
fn a_witness_that_is_never_let_in_keeps_go_away() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let mut endpoint = clusters.pair.endpoint(ClusterRole::New);
    // Of four witnesses and the one for the controls, three are let in: some witness never is.
    let door = Door::for_the_first(endpoint.ws_url.split("://").nth(1).unwrap().to_owned(), 3);
    endpoint.ws_url = format!("ws://{}", door.address());
    let text = clusters.scenario(&[("witnesses", "4")]);
    let text = text.replace(&clusters.sections[1], &section(ClusterRole::New, &endpoint, None));
    let path = folder.write("scenario.toml", &text);
    let _turn = turn();
    let (mut running, address) = watch(&clusters, &path, &[]);
    let trials = r#"check_observed{check="evidence",cluster="new"}"#;
    let is_go = is_verdict("GO");
    running.page(|page| {
        assert!(!is_go(page), "GO with a witness that nobody lets in");
        value(page, trials) > 400.0
    });
    let live = json(address, "/api/live");
    assert!(live["clusters"]["new"]["connections"]["blind_witnesses"].as_u64() > Some(0), "{live}");
    running.signal(Signal::TERM);
    running.finish().assert_code(0);
}

#[test]
fn what_may_be_billed_in_a_day_is_spared_and_then_nothing_is_published_any_more() {
    let _turn = turn();
    for (messages, is_used_up) in [(4_000, false), (44, true)] {
        let (folder, clusters) = (Folder::new(), Clusters::start());
        let budget = format!("[budget]\nmessages_max = {messages}\n");
        let path = folder.write("scenario.toml", &(clusters.scenario(&[]) + &budget));
        let (mut running, address) = watch(&clusters, &path, &[]);
        running.line("[budget] lasts");
        let used = r#"budget_used_ratio{cluster="new"}"#;
        let sent = r#"publications_total{cluster="new",route="trigger",outcome="sent"}"#;
        let page = running.page(|page| value(page, used) >= if is_used_up { 1.0 } else { 0.9 });
        // Three messages for each event, and those of the controls.
        let most = (f64::from(messages) - 42.0) / 3.0;
        assert!(value(&page, sent) <= most, "{} of {most}", value(&page, sent));
        let page = running.page(is_verdict("INCONCLUSIVE"));
        assert!(value(&page, sent) <= most + 1.0, "{} of {most}", value(&page, sent));
        let verdict = json(address, "/api/verdict");
        let checks = verdict["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "budget").unwrap();
        assert_eq!(check["status"] == "inconclusive", is_used_up, "{check}");
        running.signal(Signal::TERM);
        running.finish().assert_code(0);
    }
}

#[test]
fn others_than_this_machine_read_only_what_a_web_configuration_allows() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let args = ["watch", path.to_str().unwrap(), "--listen", "0.0.0.0:0"];
    let refused = canary(args).envs(clusters.variables()).run();
    refused.assert_code(2);
    assert!(refused.stderr.contains("--web-config-file"));

    let hash = bcrypt::hash("open sesame", 4).unwrap();
    let text = format!(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n\
         basic_auth_users:\n  ali: \"{hash}\"\n"
    );
    let web = folder.write("web.yml", &text);
    let _turn = turn();
    let (running, address) = watch(&clusters, &path, &["--web-config-file", web.to_str().unwrap()]);
    for path in ["/metrics", "/", "/api/report", "/-/healthy"] {
        assert_eq!(request(address, "GET", path).0, 401, "{path}");
        assert_eq!(request_as(address, path, "ali:close sesame").0, 401, "{path}");
    }
    let (status, answer) = request_as(address, "/metrics", "ali:open sesame");
    assert_eq!(status, 200);
    let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(head.contains("x-frame-options: deny"), "{head}");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    outcome.assert_code(0);
    assert!(!outcome.stdout.contains("sesame") && !outcome.stderr.contains("sesame"));
}

#[test]
fn a_scenario_that_cannot_be_watched_is_refused_before_anything_is_served() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let wrong = [clusters.variables()[0], ("PC_NEW_SECRET", "not-the-secret")];
    let args = ["watch", path.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let refused = canary(args).envs(wrong).run();
    refused.assert_code(2);
    assert!(refused.stderr.contains("clusters.new"));
    let path = folder.write("other.toml", &scenario(&[]));
    let args = ["watch", path.to_str().unwrap(), "--window", "1s"];
    canary(args).envs(clusters.variables()).run().assert_code(2);
    assert!(refused.took < Duration::from_secs(15), "{:?}", refused.took);
}

#[test]
fn a_run_that_lingers_shows_how_it_ended_until_it_is_told_to_go() {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let path = folder.write("scenario.toml", &clusters.scenario(&[]));
    let file = folder.file("canary.prom");
    let args = ["run", path.to_str().unwrap(), "--listen", "127.0.0.1:0", "--linger", "10m"];
    let more = ["--metrics-file", file.to_str().unwrap()];
    let _turn = turn();
    let mut running = canary(args.into_iter().chain(more)).envs(clusters.variables()).start();
    let page = running.page(|page| value(page, "run_ended_timestamp_seconds") > 0.0);
    assert!(is_verdict("GO")(&page), "{page}");
    running.line("metrics stay for 10m");
    // The report is out already.
    running.printed("GO  ");
    running.signal(Signal::TERM);
    running.finish().assert_code(0);
    // The same is in the file, but for what the node exporter has of its own.
    let of_run = |text: &str| {
        let is_of_run = |line: &&str| !line.contains("process_");
        text.lines().filter(is_of_run).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of_run(&folder.read("canary.prom")), of_run(&page));
    assert_eq!(folder.names(), ["canary.prom", "scenario.toml"], "nothing else is left");
}
