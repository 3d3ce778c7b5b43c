//! The application's own events: a simulated application publishes to a pair, makes mistakes and
//! counts them, and the canary must arrive at the same, wherever it saw enough.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use pusher_canary::model::application::Behaviour;
use pusher_canary::model::{Clock, ClusterRole, RunTime};
use pusher_canary::rehearsal::PairConfig;
use serde_json::Value;

use crate::outages::Door;
use crate::util::{
    Clusters, Folder, Outcome, Report, Running, canary, number, section, seeds, turn,
};

/// Two seconds, as the scenario below has it, and what its clock and the test's may differ by.
const WINDOW: f64 = 2.0;
const SLACK: f64 = 0.4;
/// Runs of a seed after which a test gives up on a machine that is too busy.
const TRIES_MAX: usize = 3;
/// From a cut to the next subscription: a second of waiting, half as much of jitter, and a dial.
const RECONNECT_MAX: f64 = 2.5;

const SAMPLE: &str = "\n[sample]\nprefixes = [\"private-orders-\"]\nchannels = 200\nrefresh = \
                      \"3s\"\nwindow = \"2s\"\nrequests_per_second = 1000\n";

/// What the application does in most tests.
const BEHAVIOUR: Behaviour = Behaviour {
    channels: 20,
    encrypted: 0,
    rate: 100.0,
    skips: 0.0,
    doubles: 0.0,
    alters: 0.0,
    forgets: 0,
    rooms: 0,
    caches: 0,
};

/// A fault log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run against a pair with an application.
struct Watched {
    outcome: Outcome,
    report: Report,
    /// The application's mistakes.
    log: Vec<Value>,
    /// What the run recorded.
    journal: String,
}

/// Runs with `sample` in the scenario. New's WebSockets are behind a door; `happen` is called once
/// real events have been matched.
fn watch(
    seed: u64,
    behaviour: Behaviour,
    sample: &str,
    duration: &str,
    happen: impl FnOnce(&mut Running, &Door, Clock),
) -> Watched {
    let (folder, log, clock) = (Folder::new(), Log::default(), Clock::start());
    let mut clusters = Clusters::with(
        PairConfig {
            seed,
            application: Some(behaviour),
            fault_log: Some(Box::new(log.clone())),
            ..PairConfig::default()
        },
        None,
    );
    let mut endpoint = clusters.pair.endpoint(ClusterRole::New);
    let door = Door::before(endpoint.ws_url.strip_prefix("ws://").unwrap().to_owned());
    endpoint.ws_url = format!("ws://{}", door.address());
    let text = clusters.scenario(&[("duration", &format!("\"{duration}\"")), ("rate", "60.0")]);
    let text = text.replace(&clusters.sections[1], &section(ClusterRole::New, &endpoint, None));
    let path = folder.write("scenario.toml", &format!("{text}{sample}"));
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let journal = folder.file("journal");
    let args = args.into_iter().chain(["--journal", journal.to_str().unwrap(), "-v"]);
    let _turn = turn();
    let mut running = canary(args).envs(clusters.variables()).start();
    happen(&mut running, &door, clock);
    let outcome = running.finish();
    clusters.pair.stop().unwrap();
    let report = outcome.judged();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let log = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Watched { outcome, report, log, journal: folder.read("journal") }
}

/// Waits until some real event was found on both clusters.
fn mirrored(running: &mut Running) {
    running.page(|page| {
        let counted = r#"pusher_canary_mirror_events_total{outcome="mirrored"} "#;
        page.lines().any(|line| line.strip_prefix(counted).is_some_and(|n| n != "0"))
    });
}

/// Channel, event and what went wrong.
type Place = (String, String, String);

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

fn defects(report: &Report) -> Vec<(Place, u64, f64)> {
    let all = report.0["mirror"]["defects"].as_array().unwrap().iter();
    let place = |d: &Value| (text(d, "channel"), text(d, "event"), text(d, "outcome"));
    all.map(|d| (place(d), number(d, "count"), d["second"].as_f64().unwrap())).collect()
}

#[test]
fn exactly_the_applications_mistakes_are_named_but_for_those_beside_a_break() {
    let mut left = seeds().flat_map(|seed| [seed; TRIES_MAX]).peekable();
    while let Some(seed) = left.next() {
        let behaviour = Behaviour {
            channels: 200,
            encrypted: 0,
            rate: 500.0,
            skips: 1e-3,
            doubles: 2e-3,
            alters: 5e-4,
            forgets: 0,
            rooms: 0,
            caches: 0,
        };
        let sample = format!("{SAMPLE}id_pointer = \"/id\"\n");
        let mut cut = 0.0;
        let watched = watch(seed, behaviour, &sample, "18s", |running, door, clock| {
            mirrored(running);
            door.empty();
            cut = clock.now().since(RunTime::ZERO).as_secs_f64();
        });
        let Watched { outcome, report, log, .. } = watched;
        // When each mistake was made, in seconds since the pair began.
        let mut done: BTreeMap<Place, Vec<f64>> = BTreeMap::new();
        for line in &log {
            let outcome = match line["kind"].as_str().unwrap() {
                "app-skip" => "only_on_old",
                "app-double" => "duplicated",
                "app-alter" => "altered",
                other => panic!("{other} was not asked for"),
            };
            let place = (text(line, "channel"), text(line, "event"), outcome.to_owned());
            done.entry(place).or_default().push(number(line, "ms") as f64 / 1e3);
        }
        // Both clocks began at their own instants: what was made once and found once tells how far
        // apart.
        let found = defects(&report);
        let mut apart: Vec<f64> = found
            .iter()
            .filter(|(_, count, _)| *count == 1)
            .filter_map(|(place, _, at)| match done.get(place)?.as_slice() {
                [once] => Some(once - at),
                _ => None,
            })
            .collect();
        apart.sort_by(f64::total_cmp);
        assert!(apart.len() > 5, "seed {seed}: too little was found\n{outcome}");
        let apart = apart[apart.len() / 2];
        let tainted: Vec<_> = report.0["timeline"]["tainted"].as_array().unwrap().to_vec();
        let is_tainted = |at: f64| {
            let near = tainted.iter().filter_map(Value::as_f64);
            near.into_iter().any(|second| (at - second).abs() < WINDOW + 2.0)
        };
        let publishing = report.0["publishing_seconds"].as_f64().unwrap();
        // Whatever is judged for certain: after the first subscriptions and before the end, a window
        // from the break, and not in a tainted second.
        let is_certain = |at: f64| {
            let second = at - apart;
            let broken = cut - WINDOW - SLACK..cut + RECONNECT_MAX + WINDOW + SLACK;
            (WINDOW + 1.0..publishing - WINDOW).contains(&second)
                && !broken.contains(&at)
                && !is_tainted(second)
        };
        let mut counts: BTreeMap<&Place, u64> = BTreeMap::new();
        for (place, count, _) in &found {
            *counts.entry(place).or_default() += count;
        }
        for (place, count) in &counts {
            let made = done.get(*place).map_or(0, Vec::len) as u64;
            assert!(*count <= made, "seed {seed}: {place:?} {count} times, made {made} times");
        }
        let mut certain = 0;
        for (place, times) in &done {
            let sure = times.iter().filter(|at| is_certain(**at)).count() as u64;
            let named = counts.get(place).copied().unwrap_or_default();
            assert!(named >= sure, "seed {seed}: {place:?} named {named} of {sure}\n{outcome}");
            certain += sure;
        }
        if certain <= 5 && !tainted.is_empty() && left.peek() == Some(&seed) {
            eprintln!("seed {seed}: this machine was too busy; once more");
            continue;
        }
        assert!(certain > 5, "seed {seed}: the test is about nothing");
        // The other tries are not needed.
        while left.next_if_eq(&seed).is_some() {}
        let events = &report.0["mirror"]["events"];
        assert_eq!((number(events, "only_on_new"), number(events, "reordered")), (0, 0));
        assert!(number(events, "mirrored") > 4_000, "{events}");
        assert_eq!(report.status("mirror", "both"), "fail");
        outcome.assert_code(1);
    }
}

#[test]
fn an_application_that_publishes_the_same_to_both_passes() {
    let sample = format!("{SAMPLE}id_pointer = \"/id\"\n");
    let mut page = String::new();
    let watched = watch(7, BEHAVIOUR, &sample, "6s", |running, _, _| {
        mirrored(running);
        page = running.page(|_| true);
    });
    let Watched { outcome, report, .. } = watched;
    assert_eq!(report.status("mirror", "both"), "pass", "{outcome}");
    outcome.assert_code(0);
    let mirror = &report.0["mirror"];
    assert!(number(mirror, "observed") > 300, "{mirror}");
    assert_eq!(mirror["defects"], serde_json::json!([]));
    let sample = &mirror["sample"];
    assert_eq!((number(sample, "channels"), number(sample, "watched")), (20, 20));
    assert_eq!((number(sample, "seen"), number(sample, "one_sided_at_most")), (20, 0));
    // One user on each channel of old, and nobody but the canary on new.
    assert_eq!(sample["occupied"], serde_json::json!({ "old": 20, "new": 0 }));
    assert_eq!(number(sample, "vacated"), 0);
    assert!(page.contains("pusher_canary_occupied_channels{cluster=\"old\"} 20"), "{page}");
}

#[test]
fn no_payload_is_written_and_no_name_where_names_are_redacted() {
    let behaviour = Behaviour { skips: 0.1, ..BEHAVIOUR };
    for (more, shows_names) in [("", true), ("redact_channels = true\n", false)] {
        let sample = format!("{SAMPLE}id_pointer = \"/id\"\n{more}");
        let mut page = String::new();
        let watched = watch(7, behaviour, &sample, "6s", |running, _, _| {
            mirrored(running);
            page = running.page(|_| true);
        });
        let Watched { outcome, report, journal, .. } = watched;
        outcome.assert_code(1);
        assert!(!defects(&report).is_empty(), "{outcome}");
        let said = format!("{}{}{journal}", outcome.stdout, outcome.stderr);
        // The prefix is the scenario's own.
        for name in ["private-orders-1", "order-placed"] {
            assert_eq!(said.contains(name), shows_names, "{name}");
        }
        for payload in ["\"o-", "\\\"o-", "o-1"] {
            assert!(!said.contains(payload), "{payload} in {said}");
        }
        assert!(!page.contains("orders"), "a metric has a channel's name");
    }
}

#[test]
fn a_channel_that_is_published_to_one_cluster_only_is_named_as_that() {
    let behaviour = Behaviour { forgets: 1, ..BEHAVIOUR };
    let watched = watch(7, behaviour, SAMPLE, "6s", |_, _, _| {});
    let Watched { outcome, report, log, .. } = watched;
    let one_sided = serde_json::json!({ "private-orders-0": "old" });
    assert_eq!(report.0["mirror"]["one_sided"], one_sided, "{outcome}");
    assert!(log.iter().all(|line| line["kind"] == "app-forget"));
    let check = report.check("mirror", "both");
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.contains("1 channel is published to old only: private-orders-0"), "{detail}");
    assert_eq!(report.0["mirror"]["sample"]["one_sided_at_most"], Value::Null);
    outcome.assert_code(1);
}

#[test]
fn caches_that_are_cold_on_new_are_counted() {
    let behaviour = Behaviour { caches: 3, ..BEHAVIOUR };
    let sample = SAMPLE.replace("[\"private-orders-\"]", "[\"private-orders-\", \"cache-\"]");
    let Watched { outcome, report, .. } = watch(7, behaviour, &sample, "8s", |_, _, _| {});
    let caches = serde_json::json!({ "channels": 3, "old": 3, "new": 0, "cold": 3 });
    assert_eq!(report.0["mirror"]["sample"]["caches"], caches, "{outcome}");
    let words = outcome.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = "3 cache channels: an event is kept for 3 on old, 0 on new; 3 would find it cold on";
    assert!(words.contains(said), "{outcome}");
}

#[test]
fn members_of_presence_channels_are_counted_where_they_are_and_where_they_are_apart() {
    let behaviour = Behaviour { rooms: 5, ..BEHAVIOUR };
    for (joins, watched) in [("", 20), ("join_presence = true\n", 25)] {
        let sample =
            SAMPLE.replace("[\"private-orders-\"]", "[\"private-orders-\", \"presence-\"]");
        let mut page = String::new();
        let watched_too =
            watch(7, behaviour, &format!("{sample}{joins}"), "8s", |running, _, _| {
                page =
                    running.page(|page| page.contains("presence_split_ratio 0.6666666666666666"));
            });
        let Watched { outcome, report, .. } = watched_too;
        // In each room one is on old, one on new, and one on both; who watches counts for nobody.
        let presence =
            serde_json::json!({ "channels": 5, "old": 10, "new": 10, "both": 5, "split": 10 });
        let sample = &report.0["mirror"]["sample"];
        assert_eq!(sample["presence"], presence, "{outcome}");
        assert_eq!(number(sample, "watched"), watched);
        assert_eq!(number(&report.0["mirror"]["presence"][0], "union"), 15);
        assert!(page.contains("pusher_canary_presence_members{cluster=\"new\"} 10"), "{page}");
        let said = "members of 5 presence channels: 10 on old, 10 on new, 5 of them on both; 10 do";
        let words = outcome.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(said), "{outcome}");
        outcome.assert_code(0);
    }
}

#[test]
fn where_no_channel_is_occupied_nothing_is_proven() {
    let sample = SAMPLE.replace("private-orders-", "private-nobody-");
    let Watched { outcome, report, .. } = watch(7, BEHAVIOUR, &sample, "3s", |_, _, _| {});
    assert_eq!(report.status("mirror", "both"), "inconclusive");
    let detail = report.check("mirror", "both")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("no channel with one of the prefixes is occupied"), "{detail}");
    outcome.assert_code(3);
}

#[test]
fn a_large_application_is_sampled_within_the_bound_on_requests() {
    let (folder, seed) = (Folder::new(), 7);
    let behaviour = Behaviour { channels: 10_000, ..BEHAVIOUR };
    let config = PairConfig { seed, application: Some(behaviour), ..PairConfig::default() };
    let clusters = Clusters::with(config, None);
    let mut endpoint = clusters.pair.endpoint(ClusterRole::Old);
    let (address, asked) = count_lists(endpoint.http_url.strip_prefix("http://").unwrap());
    endpoint.http_url = format!("http://{address}");
    let text = clusters.scenario(&[("duration", "\"8s\""), ("rate", "60.0")]);
    let text = text.replace(&clusters.sections[0], &section(ClusterRole::Old, &endpoint, None));
    let sample = SAMPLE.replace("= 1000", "= 10.0").replace("\"3s\"", "\"1s\"");
    let path = folder.write("scenario.toml", &format!("{text}{sample}"));
    let _turn = turn();
    let args = ["run", path.to_str().unwrap(), "--report-json", "-"];
    let outcome = canary(args).envs(clusters.variables()).start().finish();
    let report = outcome.judged();
    let sample = &report.0["mirror"]["sample"];
    assert_eq!(number(sample, "channels"), 10_000);
    // There is no time to count, so one in ten is left alone.
    assert!((150..=200).contains(&number(sample, "watched")), "{sample}");
    assert!(number(sample, "refreshes") >= 5, "{sample}");
    let asked = *asked.lock().unwrap();
    // Ten a second for the eight seconds of publishing, and the two that every run asks beside.
    assert!((20..=90).contains(&asked), "{asked} requests");
    // On 200 of 10,000 channels there is little to see in so short a time, and nothing wrong.
    let at_most = number(sample, "one_sided_at_most");
    assert!((100..10_000).contains(&at_most), "{sample}");
}

/// Stands before a cluster's HTTP API and counts what is asked about channels.
fn count_lists(target: &str) -> (std::net::SocketAddr, Arc<Mutex<u64>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(0)));
    let (target, counter) = (target.to_owned(), Arc::clone(&count));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
            let (mut back, mut answers) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut answers, &mut back);
                let _ = back.shutdown(std::net::Shutdown::Both);
            });
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                let mut bytes = [0; 65_536];
                while let Ok(read @ 1..) = io::Read::read(&mut client, &mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..read]);
                    *counter.lock().unwrap() += text.matches("GET /apps/").count() as u64;
                    if server.write_all(&bytes[..read]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (address, count)
}
