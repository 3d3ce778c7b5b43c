//! Who is still on old: a drain against a held pair, with clients that stay, leave and come back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use pusher_canary::model::application::Behaviour;
use pusher_canary::model::habit::{Habit, HabitOf};
use pusher_canary::model::{AppKey, ChannelName, ClusterRole, SocketId};
use pusher_canary::pusher::{auth, frame, socket_target};
use pusher_canary::rehearsal::webhooks::Address;
use pusher_canary::rehearsal::{Endpoint, PairConfig};
use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::outages::Door;
use crate::util::{Clusters, Doorbell, Folder, Outcome, Report, canary, deserted, section, turn};

/// Old is to be empty for four seconds, within eight.
const DRAIN: &str = r#"
[scenario]
name = "drain"
phase = "drain"
duration = "8s"

[canary]
deadline = "500ms"
horizon = "1s"

[drain]
refresh = "1s"

[gate]
drained_for = "4s"

[instrument]
schedule_lag_max = "2s"
runtime_stall_max = "2s"
receive_backlog_max = "2s"
"#;

/// Somebody's client, subscribed to a private and a presence channel.
struct Client(WebSocket<TcpStream>);

impl Client {
    fn on(endpoint: &Endpoint) -> Self {
        let authority = endpoint.ws_url.strip_prefix("ws://").unwrap();
        let stream = TcpStream::connect(authority).unwrap();
        let url = format!("{}{}", endpoint.ws_url, socket_target(&endpoint.key));
        let (mut socket, _) = tungstenite::client(url, stream).unwrap();
        let established = until(&mut socket, "pusher:connection_established");
        let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
        let id = SocketId::new(data["socket_id"].as_str().unwrap()).unwrap();
        let key: &AppKey = &endpoint.key;
        let member = r#"{"user_id":"a-user"}"#;
        for (channel, member) in [("private-orders", None), ("presence-room", Some(member))] {
            let channel = ChannelName::new(channel).unwrap();
            let auth = auth::channel(key, &endpoint.secret, &id, channel.as_str(), member);
            let subscribe = frame::subscribe(channel.as_str(), &auth, member);
            socket.send(Message::text(subscribe)).unwrap();
            until(&mut socket, "pusher_internal:subscription_succeeded");
        }
        Self(socket)
    }

    /// Leaves, and waits until the cluster knows.
    fn leave(mut self) {
        self.0.close(None).unwrap();
        while self.0.read().is_ok() {}
        let _ = self.0.get_mut().read_to_end(&mut Vec::new());
    }
}

fn until(socket: &mut WebSocket<TcpStream>, event: &str) -> Value {
    loop {
        let message = socket.read().unwrap();
        let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        if frame["event"] == event {
            return frame;
        }
    }
}

/// Runs the scenario, changed in its text, and `meanwhile` once old was read the first time.
fn drain(
    clusters: &Clusters,
    text: &str,
    more: &[&str],
    meanwhile: impl FnOnce(),
) -> (Outcome, Report) {
    let folder = Folder::new();
    let path = folder.write("drain.toml", text);
    let fixed = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let _turn = turn();
    let args = fixed.iter().chain(more);
    let mut running = canary(args).envs(clusters.variables()).within(folder.path()).start();
    running.page(|page| {
        let line = page.lines().find(|l| l.contains("occupied_channels{cluster=\"old\"}"));
        line.is_some_and(|line| !line.ends_with("NaN"))
    });
    meanwhile();
    let outcome = running.finish();
    let report = outcome.report();
    (outcome, report)
}

fn scenario(clusters: &Clusters) -> String {
    format!("{DRAIN}{}", clusters.sections.concat())
}

#[test]
fn an_old_cluster_with_nobody_on_it_is_drained_and_never_connected_to() {
    let clusters = Clusters::start();
    let on_new = Client::on(&clusters.pair.endpoint(ClusterRole::New));
    let mut old = clusters.pair.endpoint(ClusterRole::Old);
    let doorbell = Doorbell::new();
    old.ws_url = format!("ws://{}", doorbell.address());
    let text = scenario(&clusters)
        .replace(&clusters.sections[0], &section(ClusterRole::Old, &old, None))
        .replace("[gate]", "[gate]\nunseen = \"this test made it\"");
    let (outcome, report) = drain(&clusters, &text, &[], || {});
    outcome.assert_code(0);
    assert!(report.0["reason"].as_str().unwrap().contains("this test made it"));
    assert!(!doorbell.rang(), "a drain has no WebSocket on old");
    assert_eq!(report.figure("old", "occupancy.channels"), 0);
    assert_eq!(report.figure("old", "connections.opened"), 0);
    assert_eq!(report.figure("old", "publications.sent"), 0);
    let on_both = ["private", "presence"]
        .map(|kind| report.figure("new", &format!("occupancy.channels_by_kind.{kind}")));
    assert_eq!(on_both, [1, 1], "of new it reads whoever is there");
    assert_eq!(report.figure("new", "occupancy.members"), 1);
    assert!(report.figure("new", "occupancy.own_channels") >= 1);
    let reason = report.0["reason"].as_str().unwrap();
    assert!(reason.ends_with("detector proven on new"), "{reason}");
    assert!(outcome.stderr.contains("GO  old: no channel occupied for"), "{}", outcome.stderr);
    on_new.leave();
}

#[test]
fn whoever_stays_on_old_keeps_it_and_is_counted_by_kind() {
    let clusters = Clusters::start();
    let client = Client::on(&clusters.pair.endpoint(ClusterRole::Old));
    let (outcome, report) =
        drain(&clusters, &scenario(&clusters), &["--journal", "drain.journal"], || {});
    outcome.assert_code(1);
    assert_eq!(report.verdict(), "NO-GO");
    assert_eq!(report.status("drained", "old"), "fail");
    assert_eq!(report.figure("old", "occupancy.channels"), 2);
    assert_eq!(report.figure("old", "occupancy.members"), 1);
    assert_eq!(report.figure("old", "occupancy.own_channels"), 0);
    assert!(outcome.stderr.contains("2 channels are still occupied"), "{}", outcome.stderr);
    client.leave();
}

#[test]
fn a_drain_until_proven_ends_once_the_last_client_was_gone_for_long_enough() {
    let clusters = Clusters::start();
    let client = Client::on(&clusters.pair.endpoint(ClusterRole::Old));
    let more = ["--until-proven", "--duration", "60s"];
    let (outcome, report) = drain(&clusters, &scenario(&clusters), &more, || client.leave());
    outcome.assert_code(0);
    assert_eq!(report.figure("old", "occupancy.peak_channels"), 2);
    assert_eq!(report.figure("old", "occupancy.channels"), 0);
    let lasted = report.0["publishing_seconds"].as_f64().unwrap();
    let empty = report.0["clusters"]["old"]["occupancy"]["empty_seconds"].as_f64().unwrap();
    assert!(empty >= 4.0 && lasted < 30.0, "{lasted} s, empty for {empty} s");
}

#[test]
fn an_api_that_falls_silent_is_no_empty_cluster() {
    let clusters = Clusters::start();
    let mut old = clusters.pair.endpoint(ClusterRole::Old);
    let door = Door::before(old.http_url.strip_prefix("http://").unwrap().to_owned());
    old.http_url = format!("http://{}", door.address());
    let text =
        scenario(&clusters).replace(&clusters.sections[0], &section(ClusterRole::Old, &old, None));
    let (outcome, report) = drain(&clusters, &text, &[], || {
        door.shut();
        door.empty();
    });
    outcome.assert_code(3);
    assert_eq!(report.verdict(), "INCONCLUSIVE");
    assert_eq!(report.status("drained", "old"), "inconclusive");
    assert!(report.figure("old", "occupancy.failed") > 3);
    assert!(outcome.stderr.contains("the API has not said who is there for"));
}

#[test]
fn an_old_cluster_on_which_nobody_was_ever_seen_is_not_drained() {
    let clusters = Clusters::start();
    let (outcome, report) = drain(&clusters, &scenario(&clusters), &[], || {});
    outcome.assert_code(3);
    assert_eq!(report.status("drained", "old"), "inconclusive");
    let reason = report.0["reason"].as_str().unwrap();
    assert!(reason.contains("nobody was ever seen there"), "{reason}");
}

#[test]
fn a_drain_is_judged_again_from_its_journal_to_the_byte() {
    let clusters = Clusters::start();
    let folder = Folder::new();
    let text = scenario(&clusters).replace("[gate]", "[gate]\nunseen = \"this test made it\"");
    folder.write("drain.toml", &text);
    let _turn = turn();
    let args = ["run", "drain.toml", "--journal", "j", "--report-json", "r.json", "--quiet"];
    let run = canary(args).envs(clusters.variables()).within(folder.path()).run();
    run.assert_code(0);
    let again = canary(["report", "j", "--report-json", "-"]).within(folder.path()).run();
    again.assert_code(0);
    assert_eq!(again.stdout, folder.read("r.json"));
    let gate = ["gate", "--report", "r.json", "--no-history"];
    let judged = canary(gate).within(folder.path()).run();
    judged.assert_code(0);
    assert!(judged.stdout.contains("GO  old: no channel occupied for"), "{}", judged.stdout);
}

/// A pair that posts its webhooks to where the scenario listens.
fn with_webhooks(habits: Vec<HabitOf>) -> (Clusters, String, SocketAddr) {
    let authority = deserted();
    let address = Address { authority, path: "/from-pusher".to_owned() };
    let webhooks = ClusterRole::ALL.map(|role| (role, address.clone())).into();
    let clusters = Clusters::with(PairConfig { webhooks, habits, ..PairConfig::default() }, None);
    let text = scenario(&clusters).replace("\"8s\"", "\"14s\"");
    let listen = format!("[webhooks]\nlisten = \"{authority}\"\npath = \"/from-pusher\"\n");
    (clusters, format!("{text}{listen}"), authority)
}

#[test]
fn old_is_drained_by_its_webhooks_as_well() {
    let (clusters, text, authority) = with_webhooks(Vec::new());
    let on_old = Client::on(&clusters.pair.endpoint(ClusterRole::Old));
    let mut refused = String::new();
    let (outcome, report) = drain(&clusters, &text, &["--until-proven"], || {
        on_old.leave();
        let body = r#"{"time_ms":1,"events":[{"name":"channel_occupied","channel":"forged"}]}"#;
        let endpoint = clusters.pair.endpoint(ClusterRole::Old);
        let mut stream = TcpStream::connect(authority).unwrap();
        let head = format!(
            "POST /from-pusher HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Pusher-Key: {}\r\n\
             X-Pusher-Signature: {}\r\nContent-Length: {}\r\n\r\n{body}",
            endpoint.key,
            "0".repeat(64),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.read_to_string(&mut refused).unwrap();
    });
    outcome.assert_code(0);
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert_eq!(report.0["webhooks_refused"], serde_json::json!({ "forged": 1 }));
    // Two channels that were left, and of which it may have heard before.
    assert_eq!(report.figure("old", "webhooks.vacated"), 2);
    assert_eq!(report.figure("old", "webhooks.open"), 0);
    assert!(report.figure("new", "webhooks.own") > 0, "the run's own channels on new");
    let detail = report.check("drained", "old")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("; by its webhooks for "), "{detail}");
}

#[test]
fn a_channel_that_was_never_vacated_by_webhook_leaves_a_drain_open() {
    let (clusters, text, _) = with_webhooks(vec![HabitOf(ClusterRole::Old, Habit::SilentVacancy)]);
    let on_old = Client::on(&clusters.pair.endpoint(ClusterRole::Old));
    let (outcome, report) = drain(&clusters, &text, &[], || on_old.leave());
    outcome.assert_code(3);
    let detail = report.check("drained", "old")["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("by its webhooks 2 channels were occupied and not vacated"),
        "{detail}"
    );
}

#[test]
fn a_drain_without_a_webhook_of_old_is_open_and_one_that_cannot_listen_does_not_start() {
    let clusters = Clusters::start();
    let on_old = Client::on(&clusters.pair.endpoint(ClusterRole::Old));
    let authority = deserted();
    let listen = format!("[webhooks]\nlisten = \"{authority}\"\n");
    let text = format!("{}{listen}", scenario(&clusters));
    let (outcome, report) = drain(&clusters, &text, &[], || on_old.leave());
    outcome.assert_code(3);
    let detail = report.check("drained", "old")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("but no webhook of its app told of that"), "{detail}");
    let folder = Folder::new();
    let path = folder.write("drain.toml", &text);
    let _taken = TcpListener::bind(authority).unwrap();
    let args = ["run", path.to_str().unwrap()];
    let outcome = canary(args).envs(clusters.variables()).within(folder.path()).run();
    outcome.assert_code(2);
    assert!(outcome.stderr.contains("webhooks.listen: cannot listen on"), "{}", outcome.stderr);
}

#[test]
fn a_drain_rests_on_a_run_that_watched_the_application() {
    let (folder, seed) = (Folder::new(), 7);
    let application = Some(Behaviour {
        channels: 5,
        encrypted: 0,
        rate: 50.0,
        skips: 0.0,
        doubles: 0.0,
        alters: 0.0,
        forgets: 0,
        rooms: 0,
        caches: 0,
    });
    let clusters = Clusters::with(PairConfig { seed, application, ..Default::default() }, None);
    let sample = "[sample]\nprefixes = [\"private-orders-\"]\nid_pointer = \"/id\"\n\
                  refresh = \"2s\"\nwindow = \"2s\"\nrequests_per_second = 100\n";
    let text = format!("{}{sample}", clusters.scenario(&[("duration", "\"8s\"")]));
    let path = folder.write("mirror.toml", &text);
    let report = folder.file("mirror.json");
    let run = |path: &Path, more: &[&str]| {
        let _turn = turn();
        let args = ["run", path.to_str().unwrap()].into_iter().chain(more.iter().copied());
        canary(args).envs(clusters.variables()).within(folder.path()).start().finish()
    };
    run(&path, &["--report-json", report.to_str().unwrap()]);
    let watched: Value = serde_json::from_str(&folder.read("mirror.json")).unwrap();
    assert!(watched["mirror"]["observed"].as_u64().unwrap() > 50, "{}", watched["mirror"]);
    let text = scenario(&clusters)
        .replace("\"8s\"", "\"1s\"")
        .replace("[drain]", "[drain]\nmirror_report = \"told.json\"");
    let drain = folder.write("drain.toml", &text);
    let told = |change: &dyn Fn(&mut Value)| {
        let mut report = watched.clone();
        change(&mut report);
        folder.write("told.json", &report.to_string());
        let outcome = run(&drain, &["--report-json", "-"]);
        let check = outcome.report().check("published", "both").clone();
        (check["status"].as_str().unwrap().to_owned(), check["detail"].to_string())
    };
    assert_eq!(told(&|_| {}).0, "pass");
    let (status, detail) = told(&|report| report["mirror"]["events"]["only_on_new"] = 3.into());
    assert_eq!(status, "fail");
    assert!(detail.contains("3 of"), "{detail}");
    let long_ago = Value::from("2020-01-01T00:00:00.000Z");
    assert_eq!(told(&|report| report["ended_at"] = long_ago.clone()).0, "inconclusive");
    let (status, detail) =
        told(&|report| report["settings"]["clusters"]["old"]["app_id"] = "another".into());
    assert_eq!(status, "inconclusive");
    assert!(detail.contains("was of another app on old"), "{detail}");
    folder.write("told.json", "{}");
    let outcome = run(&drain, &[]);
    outcome.assert_code(2);
    let said = "drain.mirror_report: told.json is no report of pusher-canary";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}
