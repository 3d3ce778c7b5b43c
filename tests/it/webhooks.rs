//! Webhooks: what a matrix finds of them, what is believed of what is posted, and what it means for
//! a run and for who wants to know which channels are occupied.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use pusher_canary::model::habit::{Habit, HabitOf};
use pusher_canary::model::{Clock, ClusterRole};
use pusher_canary::net::tls;
use pusher_canary::pusher::webhook;
use pusher_canary::rehearsal::webhooks::Address;
use pusher_canary::rehearsal::{Endpoint, PairConfig};
use pusher_canary::verify::parity::{Probe, Row};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::util::{Clusters, Folder, Outcome, canary, deserted, rehearse, request, scenario, turn};

/// Each habit of webhooks with the row that it makes differ.
pub const HABITS: [(Habit, Row); 16] = [
    (Habit::SilentOccupancy, Row::WebhookOccupied),
    (Habit::SilentVacancy, Row::WebhookVacated),
    (Habit::SilentComers, Row::WebhookMemberAdded),
    (Habit::SilentLeavers, Row::WebhookMemberRemoved),
    (Habit::SilentClients, Row::WebhookClientEvent),
    (Habit::SilentMisses, Row::WebhookCacheMiss),
    (Habit::SilentCounts, Row::WebhookCount),
    (Habit::NamelessHooks, Row::WebhookSender),
    (Habit::NoHooks, Row::WebhookArrival),
    (Habit::LateHooks, Row::WebhookDelay),
    (Habit::LateLeavings, Row::WebhookLeavingDelay),
    (Habit::SingleHooks, Row::WebhookBatches),
    (Habit::ShuffledHooks, Row::WebhookOrder),
    (Habit::DoubledHooks, Row::WebhookDoubles),
    (Habit::ForgedHooks, Row::WebhookSignature),
    (Habit::UnsignedHooks, Row::WebhookSignature),
];

/// A pair that posts its webhooks to where this section of a scenario has them received.
fn with_webhooks(habits: Vec<HabitOf>) -> (Clusters, String, SocketAddr) {
    let authority = deserted();
    let address =
        |role: ClusterRole| (role, Address { authority, path: format!("/of-{}", role.as_str()) });
    let webhooks = ClusterRole::ALL.map(address).into();
    let clusters = Clusters::with(PairConfig { webhooks, habits, ..PairConfig::default() }, None);
    let section = format!(
        "[webhooks]\nlisten = \"{authority}\"\npath_old = \"/of-old\"\npath_new = \"/of-new\"\n"
    );
    (clusters, section, authority)
}

/// What a matrix says of the webhooks of two apps of which new has these habits.
fn compare(habits: &[Habit]) -> (Outcome, Value) {
    let habits = habits.iter().map(|habit| HabitOf(ClusterRole::New, *habit)).collect();
    let (clusters, webhooks, _) = with_webhooks(habits);
    compare_of(&clusters, &webhooks)
}

/// What a matrix says of the webhooks of this pair, where they are received so.
fn compare_of(clusters: &Clusters, webhooks: &str) -> (Outcome, Value) {
    let folder = Folder::new();
    folder.write("scenario.toml", &format!("{}{webhooks}", clusters.scenario(&[])));
    let args = ["parity", "scenario.toml", "-q", "--report-json", "-"];
    let args = args.into_iter().chain(["--only", "webhooks,client-events,kinds"]);
    let outcome = canary(args).envs(clusters.variables()).within(folder.path()).run();
    let matrix =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    (outcome, matrix)
}

/// The rows that are not the same.
fn differing(matrix: &Value) -> Vec<&str> {
    let rows = matrix["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["likeness"] != "same").map(|row| row["row"].as_str().unwrap()).collect()
}

fn reading<'a>(matrix: &'a Value, row: &str) -> &'a Value {
    let mut rows = matrix["rows"].as_array().unwrap().iter();
    &rows.find(|of| of["row"] == row).unwrap()["readings"]["new"]
}

#[test]
fn webhooks_that_agree_are_the_same_and_as_documented() {
    let (outcome, matrix) = compare(&[]);
    outcome.assert_code(0);
    assert_eq!(differing(&matrix), [""; 0], "{matrix}");
    for (row, said) in [
        ("webhook-occupied", "told"),
        ("webhook-vacated", "told"),
        ("webhook-member-added", "told"),
        ("webhook-member-removed", "told"),
        ("webhook-client-event", "told"),
        ("webhook-cache-miss", "told"),
        ("webhook-count", "told"),
        ("webhook-sender", "socket_id and user_id"),
        ("webhook-batches", "several events"),
        ("webhook-order", "as it happened"),
        ("webhook-signature", "right"),
        ("webhook-doubles", "once"),
    ] {
        assert_eq!(reading(&matrix, row), &json!({ "value": said }), "{row}");
    }
    for row in ["webhook-delay", "webhook-leaving-delay"] {
        assert!(reading(&matrix, row)["millis"].as_u64().unwrap() < 2_500, "{matrix}");
    }
}

#[test]
fn webhooks_that_differ_in_one_habit_differ_in_that_row_alone() {
    // Most of the time is waited for what does not come.
    let compared = |(habit, row): (Habit, Row)| {
        thread::spawn(move || {
            let (outcome, matrix) = compare(&[habit]);
            outcome.assert_code(1);
            assert_eq!(differing(&matrix), [row.as_str()], "{habit:?}: {matrix}");
        })
    };
    for some in HABITS.chunks(8) {
        for one in some.iter().copied().map(compared).collect::<Vec<_>>() {
            one.join().unwrap();
        }
    }
    let mut rows: Vec<_> = HABITS.iter().map(|(_, row)| *row).collect();
    rows.sort();
    rows.dedup();
    assert_eq!(rows, Probe::Webhooks.rows());
}

#[test]
fn where_no_webhook_comes_from_either_nobody_knows_why() {
    let both = ClusterRole::ALL.map(|role| HabitOf(role, Habit::NoHooks)).to_vec();
    let (clusters, webhooks, _) = with_webhooks(both);
    let (outcome, matrix) = compare_of(&clusters, &webhooks);
    outcome.assert_code(3);
    let rows = Probe::Webhooks.rows().iter().map(|row| row.as_str());
    assert_eq!(differing(&matrix), rows.collect::<Vec<_>>());
}

#[test]
fn what_is_wrong_with_both_signatures_may_be_wrong_here() {
    let both = ClusterRole::ALL.map(|role| HabitOf(role, Habit::ForgedHooks)).to_vec();
    let (clusters, webhooks, _) = with_webhooks(both);
    let (outcome, matrix) = compare_of(&clusters, &webhooks);
    outcome.assert_code(3);
    assert_eq!(differing(&matrix), ["webhook-signature"], "{matrix}");
    assert_eq!(reading(&matrix, "webhook-signature"), &json!({ "failed": "wrong" }));
}

#[test]
fn one_path_serves_both_apps_and_one_that_is_another_apps_is_told_of() {
    let authority = deserted();
    let path = "/webhooks".to_owned();
    let address = |role: ClusterRole| (role, Address { authority, path: path.clone() });
    let webhooks = ClusterRole::ALL.map(address).into();
    let clusters = Clusters::with(PairConfig { webhooks, ..PairConfig::default() }, None);
    let listen = format!("[webhooks]\nlisten = \"{authority}\"\n");
    let (outcome, matrix) = compare_of(&clusters, &listen);
    outcome.assert_code(0);
    assert_eq!(differing(&matrix), [""; 0], "{matrix}");
    let (outcome, matrix) = compare_of(&clusters, &format!("{listen}path_new = \"/new\"\n"));
    outcome.assert_code(1);
    assert_eq!(differing(&matrix), ["webhook-signature"], "{matrix}");
    let said = "right, but posted to the other app's path";
    assert_eq!(reading(&matrix, "webhook-signature"), &json!({ "failed": said }));
}

#[test]
fn webhooks_are_compared_only_where_somebody_receives_them() {
    let (clusters, folder) = (Clusters::start(), Folder::new());
    folder.write("scenario.toml", &clusters.scenario(&[]));
    let args = ["parity", "scenario.toml", "--only", "webhooks"];
    let outcome = canary(args).envs(clusters.variables()).within(folder.path()).run();
    outcome.assert_code(2);
    let said = "--only webhooks needs webhooks in the scenario; see docs/scenario.md";
    assert_eq!(outcome.sentence(), said);
}

/// Posts a body to the receiver; returns the status.
fn post(to: SocketAddr, path: &str, key: &str, signature: &str, body: &str) -> u16 {
    post_over(TcpStream::connect(to).unwrap(), path, (key, signature), body)
}

fn post_over(
    mut stream: impl Read + Write,
    path: &str,
    (key, signature): (&str, &str),
    body: &str,
) -> u16 {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Pusher-Key: {key}\r\n\
         X-Pusher-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    // Who closes TLS without a word has said what it had to say.
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A webhook's body, sent just now.
fn body(name: &str, channel: &str) -> String {
    let now = u64::try_from(Clock::start().wall_now().as_millis()).unwrap();
    json!({ "time_ms": now, "events": [{ "name": name, "channel": channel }] }).to_string()
}

const TIMES: [(&str, &str); 2] = [("duration", "\"8s\""), ("rate", "100.0")];
const SOON: &str = "refresh = \"1s\"\nlost_after = \"2s\"\n";

#[test]
fn a_run_believes_what_is_signed_once_and_on_its_own_path() {
    let (clusters, webhooks, to) = with_webhooks(Vec::new());
    let folder = Folder::new();
    let text = format!("{}{webhooks}{SOON}", clusters.scenario(&TIMES));
    folder.write("scenario.toml", &text);
    let _turn = turn();
    let args = ["run", "scenario.toml", "--report-json", "-", "--listen", "127.0.0.1:0"];
    let mut running = canary(args).envs(clusters.variables()).within(folder.path()).start();
    let address = running.metrics_address();
    running.page(|page| {
        let told =
            "webhooks_total{cluster=\"new\",event=\"channel_occupied\",outcome=\"received\"}";
        let line = page.lines().find(|line| line.contains(told));
        line.is_some_and(|line| !line.ends_with(" 0"))
    });
    let Endpoint { key, secret, .. } = clusters.pair.endpoint(ClusterRole::New);
    let of = |body: &str| webhook::sign(&secret, body.as_bytes());
    // Of this channel the API knows nothing: nobody is there.
    let occupied = body("channel_occupied", "private-forged");
    assert_eq!(post(to, "/of-new", key.as_str(), &"0".repeat(64), &occupied), 401);
    assert_eq!(post(to, "/of-new", key.as_str(), "", &occupied), 401);
    assert_eq!(post(to, "/of-new", "somebody", &of(&occupied), &occupied), 401);
    assert_eq!(post(to, "/of-old", key.as_str(), &of(&occupied), &occupied), 404);
    assert_eq!(post(to, "/of-both", key.as_str(), &of(&occupied), &occupied), 404);
    let unreadable = "{\"time_ms\":true}";
    assert_eq!(post(to, "/of-new", key.as_str(), &of(unreadable), unreadable), 400);
    let stale = r#"{"time_ms":1,"events":[{"name":"channel_occupied","channel":"a"}]}"#;
    assert_eq!(post(to, "/of-new", key.as_str(), &of(stale), stale), 200);
    let huge = body("channel_occupied", &"x".repeat(2 << 20));
    assert_eq!(post(to, "/of-new", key.as_str(), &of(&huge), &huge), 413);
    let seen = request(address, "GET", "/api/occupancy?prefix=private-forged").1;
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap()["channels"], json!([]));

    assert_eq!(post(to, "/of-new", key.as_str(), &of(&occupied), &occupied), 200);
    assert_eq!(post(to, "/of-new", key.as_str(), &of(&occupied), &occupied), 200);
    let seen = request(address, "GET", "/api/occupancy?prefix=private-forged").1;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let channel = &seen["channels"][0];
    assert_eq!(
        (&channel["channel"], &channel["state"], &channel["new"]["webhooks"], &seen["more"]),
        (&json!("private-forged"), &json!("occupied"), &json!("occupied"), &json!(false))
    );
    let vacated = body("channel_vacated", "private-forged");
    assert_eq!(post(to, "/of-new", key.as_str(), &of(&vacated), &vacated), 200);

    let outcome = running.finish();
    let report = outcome.report();
    let refused = ["misdirected", "stale", "unreadable", "large"].map(|why| (why, 1));
    let refused: BTreeMap<_, _> = refused.into_iter().chain([("forged", 3)]).collect();
    let refused = json!(refused);
    assert_eq!(report.0["webhooks_refused"], refused);
    assert_eq!(report.figure("new", "webhooks.repeated"), 1);
    assert_eq!(report.figure("new", "webhooks.occupied"), 1);
    assert_eq!(report.figure("new", "webhooks.vacated"), 1);
    assert_eq!(report.0["occupied_channels"], 0);
    assert!(report.figure("old", "webhooks.delay_ms.count") > 0);
    assert_eq!(report.status("webhooks", "old"), "pass", "{}", report.check("webhooks", "old"));
    assert_eq!(report.status("webhooks", "new"), "pass", "{}", report.check("webhooks", "new"));
    // No secret, no signature and no channel of the application is anywhere.
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    for hidden in [secret.expose(), &of(&occupied), "private-forged"] {
        assert!(!all.contains(hidden), "{hidden}");
    }
}

/// Probes that come and go on channels of their own, which webhooks are to tell of.
const COMING_AND_GOING: &str = "[parity]\nprobes = [\"presence\", \"cache\"]\n";

#[test]
fn a_webhook_that_is_lost_is_an_incident_and_no_go() {
    let folder = Folder::new();
    let webhooks = "[webhooks]\nlisten = \"127.0.0.1:0\"\n";
    let habits = "[rehearsal]\nhabits = [\"new:silent-vacancy\"]\n";
    let times = [("duration", "\"12s\""), ("rate", "100.0")];
    let text = format!("{}{webhooks}{SOON}{habits}{COMING_AND_GOING}", scenario(&times));
    let path = folder.write("scenario.toml", &text);
    let outcome = rehearse(&path, 7, &[]).run();
    outcome.assert_code(1);
    let report = outcome.judged();
    assert_eq!(report.status("webhooks", "old"), "pass", "{}", report.check("webhooks", "old"));
    assert_eq!(report.status("webhooks", "new"), "fail");
    let detail = report.check("webhooks", "new")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("came or went without one"), "{detail}");
    let lost = report.figure("new", "webhooks.lost.channel_vacated");
    let told: Vec<_> =
        report.incidents().iter().filter(|incident| incident["kind"] == "webhook_lost").collect();
    assert_eq!(told.len() as u64, lost, "{told:?}");
    assert!(lost >= 1);
    assert_eq!(told[0]["cluster"], "new");
    assert!(told[0]["detail"].as_str().unwrap().starts_with("channel_vacated of "), "{told:?}");
}

#[test]
fn of_webhooks_that_a_cluster_loses_each_is_found_and_no_other() {
    let folder = Folder::new();
    let text = format!("{}[webhooks]\nlisten = \"127.0.0.1:0\"\n{SOON}", scenario(&TIMES));
    let path = folder.write("scenario.toml", &text);
    let log = folder.path().join("faults.jsonl");
    let more = ["--fault", "new:lose-webhook=0.3", "--fault-log", log.to_str().unwrap()];
    let outcome = rehearse(&path, 7, &more).run();
    let report = outcome.judged();
    // Of what comes once, and stays for the whole run. Who leaves does so after the last reading.
    let done = std::fs::read_to_string(&log).unwrap();
    let lost: BTreeSet<_> = done
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|done| done["kind"] == "lose-webhook" && done["event"] == "channel_occupied")
        .map(|done| format!("channel_occupied of {}", done["channel"].as_str().unwrap()))
        .collect();
    assert!(lost.len() > 3, "{lost:?}");
    let incidents = report.incidents();
    let found = incidents.iter().filter(|incident| incident["kind"] == "webhook_lost");
    let found: BTreeSet<_> =
        found.map(|incident| incident["detail"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, lost);
    assert_eq!(report.figure("new", "webhooks.lost.channel_occupied"), lost.len() as u64);
    assert_eq!(report.status("webhooks", "old"), "pass");
    assert_eq!(report.status("webhooks", "new"), "fail");
}

#[test]
fn an_app_that_sends_no_webhooks_is_not_passed() {
    let folder = Folder::new();
    let webhooks = "[webhooks]\nlisten = \"127.0.0.1:0\"\n";
    let habits = "[rehearsal]\nhabits = [\"new:no-hooks\"]\n";
    let text = format!("{}{webhooks}{SOON}{habits}", scenario(&TIMES));
    let path = folder.write("scenario.toml", &text);
    let report = rehearse(&path, 7, &[]).run().judged();
    assert_ne!(report.status("webhooks", "new"), "pass");
    let detail = report.check("webhooks", "new")["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("no webhook of its app came"), "{detail}");
    assert_ne!(report.verdict(), "GO");
}

#[test]
fn webhooks_may_come_by_tls_and_names_of_channels_may_stay_here() {
    let (clusters, folder, to) = (Clusters::start(), Folder::new(), deserted());
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    folder.write("cert.pem", &own.cert.pem());
    folder.write("key.pem", &own.signing_key.serialize_pem());
    folder.write("other.pem", &other.signing_key.serialize_pem());
    let webhooks = |key: &str| {
        format!(
            "[webhooks]\nlisten = \"{to}\"\nredact_channels = true\n\
             tls.cert_file = \"cert.pem\"\ntls.key_file = \"{key}.pem\"\n{SOON}"
        )
    };
    let scenario = |key: &str| format!("{}{}", clusters.scenario(&TIMES), webhooks(key));
    for (key, said) in [
        ("other", "the certificate in cert_file and the key in key_file do not belong together"),
        ("cert", "key_file holds no private key in PEM form"),
    ] {
        folder.write("scenario.toml", &scenario(key));
        for command in ["check", "run"] {
            let canary = canary([command, "scenario.toml"]).envs(clusters.variables());
            let outcome = canary.within(folder.path()).run();
            outcome.assert_code(2);
            assert_eq!(outcome.sentence(), format!("webhooks.tls: {said}"));
        }
    }

    folder.write("scenario.toml", &scenario("key"));
    let _turn = turn();
    let args = ["run", "scenario.toml", "--report-json", "-", "--listen", "127.0.0.1:0"];
    let mut running = canary(args).envs(clusters.variables()).within(folder.path()).start();
    let address = running.metrics_address();
    // Whoever publishes has opened everything else.
    running.page(|page| {
        let sent = "publications_total{cluster=\"new\"";
        page.lines().any(|line| line.contains(sent) && !line.ends_with(" 0"))
    });
    let Endpoint { key, secret, .. } = clusters.pair.endpoint(ClusterRole::New);
    let config = tls::client_config(Some(&own.cert.pem())).unwrap();
    let send = |body: &str| {
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(config.clone(), name).unwrap();
        let stream = StreamOwned::new(client, TcpStream::connect(to).unwrap());
        let signature = webhook::sign(&secret, body.as_bytes());
        post_over(stream, "/webhooks", (key.as_str(), &signature), body)
    };
    // Of this channel the API knows nothing: that it was vacated is lost.
    let name = "private-for-your-eyes\nGO  only";
    assert_eq!(send(&body("channel_occupied", name)), 200);
    let seen = request(address, "GET", "/api/occupancy?prefix=private-for").1;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["channels"].as_array().unwrap().len(), 1, "a prefix would tell the name");
    assert_eq!(seen["channels"][0]["state"], "occupied");
    assert_eq!(request(address, "GET", "/api/occupancy?prefx=private-for").0, 400);
    // Without TLS nobody is understood.
    let mut plain = TcpStream::connect(to).unwrap();
    plain.write_all(b"POST /webhooks HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _ = plain.read_to_end(&mut Vec::new());
    let outcome = running.finish();
    let report = outcome.report();
    assert_eq!(report.0["webhooks_refused"], json!({ "unheard": 1 }));
    assert_eq!(report.figure("new", "webhooks.lost.channel_vacated"), 1);
    // It may be the agent that did not hear that it was vacated.
    assert_eq!(report.status("webhooks", "new"), "inconclusive");
    let all = format!("{seen}{}{}", outcome.stdout, outcome.stderr);
    for hidden in ["your-eyes", secret.expose(), &own.signing_key.serialize_pem()] {
        assert!(!all.contains(hidden), "{hidden}");
    }
}
