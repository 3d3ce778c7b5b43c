//! Simulated clients, held to what the clusters did to them.

use std::fs;

use pusher_canary::rehearsal::pair::PairConfig;
use serde_json::Value;

use crate::util::{
    Clusters, Folder, Held, Report, canary, canary_with_files, in_order, rehearse, scenario, seeds,
    turn,
};

const CLIENTS: u64 = 40;
const LOAD: &str = "[load]\nconnections = 40\nramp = \"1s\"\n";

/// A figure of the simulated clients of new.
fn of_load(report: &Report, name: &str) -> u64 {
    report.figure("new", &format!("load.{name}"))
}

/// Faults that are not written are none.
fn faults(report: &Report, name: &str) -> u64 {
    report.0["clusters"]["new"]["load"]["faults"][name].as_u64().unwrap_or_default()
}

fn rehearsed(folder: &Folder, faults: &[&str], more: &[&str], seed: u64) -> Report {
    let path = folder.write("scenario.toml", &format!("{}{LOAD}", scenario(&[])));
    let faults = faults.iter().flat_map(|fault| ["--fault", fault]);
    let args: Vec<_> = faults.chain(more.iter().copied()).collect();
    in_order(Held::None, || rehearse(&path, seed, &args).run()).judged()
}

#[test]
fn clients_that_nothing_happens_to_get_everything_and_the_run_is_go() {
    let folder = Folder::new();
    let _turn = turn();
    let page = folder.path().join("page.prom");
    let clusters = Clusters::start();
    // After the ramp there must be something to compare.
    let text = clusters.scenario(&[("duration", "\"4s\"")]) + LOAD;
    let path = folder.write("scenario.toml", &text);
    let (path, to) = (path.to_str().unwrap(), page.to_str().unwrap());
    let args = ["run", path, "--report-json", "-", "--metrics-file", to];
    let run = || canary(args).envs(clusters.variables()).run();
    let report = in_order(Held::None, run).judged();
    assert_eq!(report.verdict(), "GO");
    let page = fs::read_to_string(&page).unwrap();
    for cluster in ["old", "new"] {
        let total = report.figure(cluster, "load.obligations.total");
        for (name, value) in [
            ("load_clients{cluster=\"CLUSTER\",state=\"planned\"}", CLIENTS),
            ("load_clients{cluster=\"CLUSTER\",state=\"connected\"}", CLIENTS),
            ("load_deliveries_total{cluster=\"CLUSTER\",outcome=\"delivered\"}", total),
            ("load_deliveries_total{cluster=\"CLUSTER\",outcome=\"lost\"}", 0),
        ] {
            let line = format!("\npusher_canary_{} {value}\n", name.replace("CLUSTER", cluster));
            assert!(page.contains(&line), "{line} is missing");
        }
        let of = |name: &str| report.figure(cluster, &format!("load.{name}"));
        assert_eq!(of("connections.joined"), CLIENTS);
        assert_eq!((of("connected"), of("connected_max")), (CLIENTS, CLIENTS));
        assert!(of("obligations.total") > 0);
        assert_eq!(of("obligations.delivered"), of("obligations.total"));
        assert_eq!(of("latency_ms.count"), of("obligations.total"));
        assert_eq!(report.status("load", cluster), "pass");
    }
}

#[test]
fn what_clients_lose_or_get_twice_or_damaged_is_what_the_cluster_did_to_the_unit() {
    let folder = Folder::new();
    let journal = folder.path().join("journal");
    let journal = journal.to_str().unwrap();
    let struck = ["new:drop=0.01", "new:duplicate=0.01", "new:corrupt=0.005"];
    for seed in seeds() {
        let _turn = turn();
        let _ = fs::remove_file(journal);
        let report = rehearsed(&folder, &struck, &["--journal", journal], seed);
        let done = |what| report.done("new", what);
        let both = |witnesses: &str, clients: &str| {
            report.figure("new", witnesses) + faults(&report, clients)
        };
        assert_eq!(both("obligations.lost", "lost"), done("dropped") + done("corrupted"));
        assert_eq!(both("duplicates", "duplicates"), done("duplicated"));
        assert_eq!(both("corrupt", "wrong"), done("corrupted"));
        assert_eq!(faults(&report, "lost"), of_load(&report, "obligations.lost"));
        assert!(faults(&report, "lost") > 0 && faults(&report, "duplicates") > 0);
        let [old, new] = ["old", "new"].map(|cluster| report.status("load", cluster).to_owned());
        assert_eq!((&*old, &*new), ("pass", "fail"));
        // Whoever judges it again finds the same.
        let again = canary(["report", journal, "--report-json", "-"]).run().judged();
        assert_eq!(again.0["clusters"], report.0["clusters"]);
        assert_eq!(again.0["checks"], report.0["checks"]);
    }
}

#[test]
fn clients_whose_connections_are_closed_come_again_and_are_counted() {
    let folder = Folder::new();
    let _turn = turn();
    let report = rehearsed(&folder, &["new:close=0.3@4200"], &[], 7);
    let lost = faults(&report, "connections_lost");
    let closed = report.closed("new") + lost + faults(&report, "tries_failed");
    assert_eq!(closed, report.done("new", "closed"));
    assert!(lost > 0);
    let failures = report.0["clusters"]["new"]["load"]["failures"].as_object().unwrap();
    let told: u64 = failures.values().filter_map(Value::as_u64).sum();
    assert_eq!(told, lost + faults(&report, "tries_failed"));
    assert!(failures.keys().any(|why| why.starts_with("closed with 4200")), "{failures:?}");
    assert_eq!(of_load(&report, "connections.joined"), CLIENTS);
    assert_eq!(of_load(&report, "connected") + lost, of_load(&report, "connections.opened"));
    let settled = ["delivered", "late", "lost", "missed_offline", "void"]
        .map(|end| of_load(&report, &format!("obligations.{end}")));
    assert_eq!(settled.iter().sum::<u64>(), of_load(&report, "obligations.total"));
    assert_eq!(report.status("load", "new"), "fail");
    assert_eq!(report.status("load", "old"), "pass");
}

#[test]
fn clients_are_billed_before_they_connect() {
    let folder = Folder::new();
    let clusters = Clusters::with(PairConfig { seed: 7, ..PairConfig::default() }, None);
    let write = |load: &str| {
        let text = clusters.scenario(&[]) + load;
        folder.write("scenario.toml", &text)
    };
    let messages = |load: &str| {
        let args = ["check", write(load).to_str().unwrap()].map(str::to_owned);
        let outcome = canary(args).envs(clusters.variables()).run();
        let line = outcome.stdout.lines().find(|line| line.starts_with("messages")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(messages(LOAD) > messages(""));
    let path = write("[load]\nconnections = 400\n");
    let outcome = canary(["run", path.to_str().unwrap()]).envs(clusters.variables()).run();
    outcome.assert_code(2);
    let said = "connections per app where budget.connections_max allows";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}

#[test]
fn who_cannot_come_in_time_is_said_beforehand() {
    let folder = Folder::new();
    let clusters = Clusters::with(PairConfig { seed: 7, ..PairConfig::default() }, None);
    let slow = clusters.scenario(&[("duration", "\"4s\"")]) + LOAD;
    let slow = slow.replace("[canary]\n", "[canary]\nconnect_rate = 2.0\n");
    let path = folder.write("scenario.toml", &slow);
    let said = "by canary.connect_rate the clients of [load] need 40s to connect, and publishing \
                takes 4s";
    let outcome = canary(["check", path.to_str().unwrap()]).envs(clusters.variables()).run();
    outcome.assert_code(0);
    assert!(outcome.stdout.contains(&format!("{said}: the verdict CANNOT be GO")));
}

#[test]
fn a_ramp_that_is_not_the_scenarios_and_too_few_open_files_are_said_beforehand() {
    let folder = Folder::new();
    let clusters = Clusters::with(PairConfig { seed: 7, ..PairConfig::default() }, None);
    let text = clusters.scenario(&[("duration", "\"4s\"")]);
    let path = folder.write("scenario.toml", &format!("{text}{}", LOAD.replace("1s", "1h")));
    let said = "the ramp of the load takes 2s instead of 1h: half of the run is left to see whether \
                they stay";
    let scenario = path.to_str().unwrap();
    let outcome = canary(["check", scenario]).envs(clusters.variables()).run();
    outcome.assert_code(0);
    assert!(outcome.stdout.contains(said) && outcome.stderr.is_empty(), "{outcome}");
    let outcome = canary(["run", scenario]).envs(clusters.variables()).run();
    assert!(outcome.stderr.contains(&format!("warning: {said}")), "{outcome}");
    let outcome = canary_with_files(100, ["check", scenario]).envs(clusters.variables()).run();
    outcome.assert_code(0);
    let said = "warning: here the plan takes a limit of about ";
    assert!(outcome.stderr.contains(said), "{outcome}");
}

#[test]
fn clients_are_where_events_are_published_and_roles_refuse_them() {
    let folder = Folder::new();
    let clusters = Clusters::start();
    let path = folder.write("scenario.toml", &(clusters.scenario(&[]) + LOAD));
    let run = "01a2177f-0000-7000-8000-000000000000";
    for role in ["publish", "witness"] {
        let args = ["run", path.to_str().unwrap(), "--role", role, "--run", run];
        let outcome = canary(args).envs(clusters.variables()).run();
        outcome.assert_code(2);
        let said =
            format!("--role {role}: the clients of [load] must be where events are published");
        assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    }
}
