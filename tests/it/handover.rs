//! Virtual clients that move from old to new, held to what the clusters sent to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pusher_canary::model::ClusterRole;
use pusher_canary::rehearsal::pair::PairConfig;
use rustix::process::Signal;
use serde_json::Value;

use crate::outages::Door;
use crate::tap::{Tap, Traffic};
use crate::util::{Clusters, Folder, Report, canary, number, rehearse, scenario, section, turn};

/// How far away the tapped clusters are, in chunks of canary events: 25 events to each of 40 clients,
/// which are more than there ever are.
const AWAY: u64 = 1_000;

/// The channels of every scenario here.
const KINDS: &str = "public = 8\nprivate = 8\npresence = 4\nencrypted = 8\ncache = 4\n\
                     private_cache = 4\npresence_cache = 2\nencrypted_cache = 2\n";

/// Whom a virtual client of this number is on presence channels.
fn is_mover(user: &str, number: u64) -> bool {
    user.ends_with(&format!("-m{number}"))
}

/// Runs a scenario of two presence channels through taps; what the report says, and what the
/// clusters sent.
fn tapped(handover: &str, seed: u64) -> (Report, [Tap; 2]) {
    let folder = Folder::new();
    let clusters = Clusters::with(PairConfig { seed, ..PairConfig::default() }, None);
    let text = clusters.scenario(&[("rate", "200.0"), ("duration", "\"9s\"")]);
    let text = text.replace(KINDS, "presence = 2\n");
    let mut text = format!("{text}{handover}");
    let traffic = Arc::new(Traffic::default());
    let taps = ClusterRole::ALL.map(|role| {
        let mut endpoint = clusters.pair.endpoint(role);
        let written = section(role, &endpoint, None);
        let tap = Tap::before(endpoint.ws_url.strip_prefix("ws://").unwrap(), &traffic, AWAY);
        endpoint.ws_url = format!("ws://{}", tap.address());
        assert!(text.contains(&written));
        text = text.replace(&written, &section(role, &endpoint, None));
        tap
    });
    let path = folder.write("scenario.toml", &text);
    let _turn = turn();
    let args = ["run", path.to_str().unwrap(), "--report-json", "-"];
    let report = canary(args).envs(clusters.variables()).start().finish().judged();
    (report, taps)
}

#[test]
fn what_clients_miss_is_what_the_clusters_sent_to_nobody() {
    const WAYS: [&str; 3] = ["reload", "switch", "overlap"];
    let handover = "[handover]\nclients = 24\nchannels = 2\nbegin = \"1s\"\nover = \"3s\"\n\
                    overlap = \"1s\"\n";
    let (report, [old, new]) = tapped(handover, 7);
    let [old, new] = [old.sent(), new.sent()];
    let everything: BTreeSet<_> = old.values().chain(new.values()).flatten().copied().collect();
    assert_eq!(everything.len() as u64, report.figure("old", "publications.accepted"));
    let ways = &report.0["handover"]["ways"];
    let mut to_nobody = [0; 3];
    let mut twice = [0; 3];
    for number in 0..24 {
        let of = |sent: &BTreeMap<String, BTreeSet<_>>| {
            let mine = sent.iter().find(|(user, _)| is_mover(user, number));
            mine.map(|(_, events)| events.clone()).expect("somebody of this number")
        };
        let (from_old, from_new) = (of(&old), of(&new));
        let got: BTreeSet<_> = from_old.union(&from_new).collect();
        to_nobody[number as usize % 3] += (everything.len() - got.len()) as u64;
        twice[number as usize % 3] += from_old.intersection(&from_new).count() as u64;
    }
    for (at, way) in WAYS.into_iter().enumerate() {
        let of = &ways[way];
        assert_eq!((number(of, "planned"), number(of, "stranded")), (8, 0), "{way}: {of}");
        assert_eq!(number(of, "moved"), 8, "{way}: {of}");
        let missed = number(of, "missed") - number(of, "on_the_way");
        assert_eq!(missed, to_nobody[at], "{way}: {of}");
    }
    // A client that is gone for a dial and more has missed a good part of 200 events a second.
    assert!(to_nobody[0] >= 8 * 10, "{to_nobody:?}");
    // One that dials beforehand is gone for the subscription alone.
    assert!(to_nobody[1] < to_nobody[0] / 4, "{to_nobody:?}");
    // And who is on both misses nothing, gets a second of events twice, and could leave at once.
    assert_eq!(number(&ways["overlap"], "missed"), 0);
    assert!(twice[2] > 8 * 150, "{twice:?}");
    // But for the few that were on their way when it left old: those it drops.
    let seen_twice = number(&ways["overlap"], "twice");
    assert!((twice[2] - 8 * 4..=twice[2]).contains(&seen_twice), "{seen_twice} of {twice:?}");
    assert_eq!(report.status("handover", "both"), "pass");
}

#[test]
fn the_overlap_that_is_needed_is_that_by_which_old_is_the_slower() {
    let folder = Folder::new();
    let handover = "[handover]\nclients = 12\nover = \"2s\"\nbegin = \"1s\"\noverlap = \"1s\"\n";
    let text = scenario(&[("duration", "\"6s\""), ("rate", "300.0")]);
    let path = folder.write("scenario.toml", &format!("{text}{handover}"));
    let delay = ["--fault", "old:delay=1@300ms"];
    let report = rehearse(&path, 7, &delay).run().judged();
    let ways = &report.0["handover"]["ways"];
    let needed = ways["overlap"]["overlap_needed_ms"]["max"].as_f64().unwrap();
    assert!((200.0..=400.0).contains(&needed), "{needed}");
    assert_eq!(number(&ways["overlap"], "missed"), 0);
    // Whoever leaves at once misses what was still to come from old.
    for way in ["reload", "switch"] {
        assert!(number(&ways[way], "missed") > 10, "{way}: {}", ways[way]);
    }
}

#[test]
fn a_limit_on_what_a_move_misses_is_kept_or_broken() {
    let folder = Folder::new();
    let handover = "[handover]\nways = [\"reload\"]\nclients = 3\nover = \"1s\"\nbegin = \"1s\"\n\
                    overlap = \"100ms\"\n[handover.fleet]\nclients = 1000\n";
    let text = scenario(&[("duration", "\"5s\""), ("rate", "300.0")]);
    let text = text.replace("[gate]\n", "[gate]\nhandover_missed_max = 0.5\n");
    let path = folder.write("scenario.toml", &format!("{text}{handover}"));
    let delay = ["--fault", "old:delay=1@300ms"];
    let outcome = rehearse(&path, 7, &delay).run();
    outcome.assert_code(1);
    let report = outcome.judged();
    assert_eq!(report.status("handover", "both"), "fail");
    let reload = &report.0["handover"]["ways"]["reload"];
    let missed = number(reload, "missed") as f64;
    let projected = reload["fleet"]["events_missed"].as_f64().unwrap();
    assert!((projected - missed / 3.0 * 1_000.0).abs() < 1e-6, "{projected} of {missed}");
}

#[test]
fn clients_that_cannot_get_to_new_are_stranded_and_it_is_said_why() {
    let folder = Folder::new();
    let clusters = Clusters::start();
    let endpoint = clusters.pair.endpoint(ClusterRole::New);
    let door = Door::before(endpoint.ws_url.strip_prefix("ws://").unwrap().to_owned());
    let mut behind = endpoint;
    let written = section(ClusterRole::New, &behind, None);
    behind.ws_url = format!("ws://{}", door.address());
    let text = clusters.scenario(&[("duration", "\"8s\""), ("horizon", "\"2s\"")]);
    let text = text.replace(&written, &section(ClusterRole::New, &behind, None));
    let handover = "[handover]\nclients = 3\nbegin = \"3s\"\nramp = \"at-once\"\n\
                    overlap = \"500ms\"\n";
    let path = folder.write("scenario.toml", &format!("{text}{handover}"));
    let _turn = turn();
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let mut running = canary(args).envs(clusters.variables()).start();
    running.deliveries();
    door.shut();
    let outcome = running.finish();
    outcome.assert_code(1);
    let report = outcome.judged();
    let check = report.check("handover", "both");
    assert_eq!(check["status"], "fail");
    let detail = check["detail"].as_str().unwrap();
    assert_eq!(detail.matches("1 never arrived (").count(), 3, "{detail}");
    let why = &report.0["handover"]["ways"]["reload"]["last_failure"];
    assert!(why.as_str().is_some_and(|why| !why.is_empty()), "{why}");
}

#[test]
fn a_run_that_is_ended_before_anybody_moved_proves_nothing_of_moving() {
    let folder = Folder::new();
    let handover = "[handover]\nclients = 3\nbegin = \"8s\"\nover = \"1s\"\noverlap = \"1s\"\n";
    let text = scenario(&[("duration", "\"20s\""), ("rate", "900.0")]);
    let path = folder.write("scenario.toml", &format!("{text}{handover}"));
    let _turn = turn();
    let args = ["rehearse", path.to_str().unwrap(), "--report-json", "-"];
    let args = args.into_iter().chain(["--listen", "127.0.0.1:0"]);
    let mut running = canary(args).start();
    running.deliveries();
    running.signal(Signal::TERM);
    let outcome = running.finish();
    let report = outcome.report();
    assert_eq!(report.status("handover", "both"), "inconclusive");
    assert_eq!(report.0["handover"]["ways"]["reload"]["moved"], Value::from(0));
    outcome.assert_code(3);
}
