//! Simulated clients, as a check.

use super::*;
use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::load::{Load, LoadConnections, LoadFaults, LoadFigures, LoadReport};

/// Ten thousand deliveries to a hundred clients, all of which connected and stayed.
fn good() -> LoadFigures {
    let load = Load { connections: 100, ramp: Duration::from_secs(10) };
    let connections = LoadConnections { asked: 100, joined: 100, opened: 100 };
    let obligations = Obligations { total: 10_000, delivered: 10_000, ..Obligations::default() };
    LoadFigures { connections, obligations, ..LoadFigures::new(load) }
}

/// The same with so many obligations that ended otherwise.
fn with(faults: LoadFaults) -> LoadFigures {
    let LoadFaults { lost, missed_offline, late, .. } = faults;
    let delivered = 10_000 - lost - missed_offline - late;
    let obligations = Obligations { total: 10_000, delivered, lost, missed_offline, late, void: 0 };
    LoadFigures { obligations, faults, ..good() }
}

fn finding(load: LoadFigures, is_ended: bool) -> Finding {
    let cluster = ClusterFigures { load: Some(load), ..ClusterFigures::default() };
    let clusters = BTreeMap::from([(New, cluster)]);
    let figures = Figures { clusters, is_ended, ..Figures::default() };
    let mut asked = asked(Phase::Steady);
    (asked.limits.load_connected_min, asked.limits.load_delivered_min) = (0.99, 0.999);
    asked.limits.loss_rate_max = 0.0005;
    let findings = judge(&figures, &asked);
    findings.into_iter().find(|finding| finding.name == "load").unwrap()
}

fn ended(load: LoadFigures) -> (Status, String) {
    let found = finding(load, true);
    (found.status, found.detail)
}

#[test]
fn clients_that_come_and_stay_and_get_everything_pass() {
    let found = finding(good(), true);
    assert_eq!((found.status, found.cluster, found.required), (Pass, Some(New), true));
    assert_eq!((found.observed, found.limit, found.evidence), (Some(1.0), Some(0.999), 10_000));
    assert_eq!(
        found.detail,
        "100 of 100 clients connected; 10000 of 10000 deliveries in time (100 %)"
    );
}

#[test]
fn clients_that_are_turned_away_fail_it() {
    let turned_away = |asked, joined| {
        let connections = LoadConnections { asked, joined, opened: joined };
        LoadFigures { connections, ..good() }
    };
    let (status, detail) = ended(turned_away(100, 98));
    assert_eq!(status, Fail);
    assert!(detail.starts_with("98 of 100 clients connected (98 %, 99 % needed); "), "{detail}");
    assert_eq!(ended(turned_away(100, 99)).0, Pass);
    // While it goes on they may be on their way.
    assert_eq!(finding(turned_away(100, 98), false).status, Inconclusive);
    // Where a run ends early nobody knows of the others.
    let (status, detail) = ended(turned_away(60, 60));
    assert_eq!(status, Inconclusive);
    assert!(detail.starts_with("60 of 100 clients connected, 60 were due by then; "), "{detail}");
}

/// The same, but for so many more connections.
fn connected(opened: u64, faults: LoadFaults) -> LoadFigures {
    let connections = LoadConnections { opened, ..good().connections };
    LoadFigures { connections, faults, ..good() }
}

#[test]
fn connections_that_do_not_stay_fail_it_at_once() {
    let lost = |lost| LoadFaults { connections_lost: lost, ..LoadFaults::default() };
    assert_eq!(ended(connected(102, lost(2))).0, Pass);
    let found = finding(connected(103, lost(3)), false);
    assert_eq!(found.status, Fail);
    let said = "100 of 100 clients connected; 3 of 103 connections lost, 2 allowed; ";
    assert!(found.detail.starts_with(said), "{}", found.detail);
    // Among few clients one is no share of them.
    let few =
        LoadFigures { load: Load { connections: 5, ..Load::default() }, ..connected(6, lost(1)) };
    let connections = LoadConnections { asked: 5, joined: 5, opened: 6 };
    assert_eq!(ended(LoadFigures { connections, ..few }).0, Pass);
}

#[test]
fn clients_that_are_let_in_after_many_tries_or_slowly_are_not_taken_in() {
    let failed = |failed| LoadFaults { tries_failed: failed, ..LoadFaults::default() };
    assert_eq!(ended(connected(100, failed(2))).0, Pass);
    let (status, detail) = ended(connected(100, failed(3)));
    assert_eq!(status, Fail);
    let said = "100 of 100 clients connected; 3 of 103 tries to connect failed, 2 allowed; ";
    assert!(detail.starts_with(said), "{detail}");
    let mut slow = good();
    (0..300).for_each(|_| slow.connect.record(Duration::from_millis(501)));
    let (status, detail) = ended(slow);
    assert_eq!(status, Fail);
    assert!(detail.contains("; connecting took 501.2 ms (p99), 500 ms allowed; "), "{detail}");
}

#[test]
fn few_clients_tell_by_a_lower_quantile_that_they_connect_slowly() {
    let connecting = |clients: u64, ms: u64| {
        let mut load = good();
        (0..clients).for_each(|_| load.connect.record(Duration::from_millis(ms)));
        finding(load, true)
    };
    for (clients, quantile) in [(200, "p90"), (20, "p50")] {
        let found = connecting(clients, 501);
        assert_eq!((found.status, found.evidence), (Fail, clients));
        let said = format!("; connecting took 501.2 ms ({quantile}), 500 ms allowed; ");
        assert!(found.detail.contains(&said), "{}", found.detail);
        // What failed is what is compared.
        assert_eq!((found.observed, found.limit), (Some(501.247), Some(500.0)));
        assert_eq!(found.unit, "ms");
        assert_eq!(connecting(clients, 499).status, Pass);
    }
    // Of three the slowest may be slow by our own doing.
    assert_eq!(connecting(3, 501).status, Inconclusive);
}

#[test]
fn why_clients_do_not_connect_or_stay_is_said() {
    let failures = [("closed with 4004".to_owned(), 8), ("cut".to_owned(), 1)].into();
    let faults = LoadFaults { tries_failed: 8, connections_lost: 1, ..LoadFaults::default() };
    let found = finding(LoadFigures { failures, ..connected(100, faults) }, true);
    let said = "8 of 108 tries to connect failed, 2 allowed, 1 of 100 connections lost, mostly: \
                closed with 4004 (8 times); ";
    assert!(found.detail.contains(said), "{}", found.detail);
    let share = found.observed.unwrap();
    assert!((share - 100.0 / 108.0).abs() < 1e-9 && found.limit == Some(0.99), "{share}");
}

#[test]
fn what_comes_too_late_or_not_at_all_is_held_to_its_limits() {
    let (status, detail) =
        ended(with(LoadFaults { late: 6, missed_offline: 4, ..Default::default() }));
    assert_eq!(status, Pass, "{detail}");
    let (status, detail) =
        ended(with(LoadFaults { late: 7, missed_offline: 4, ..Default::default() }));
    assert_eq!(status, Fail);
    let said =
        "; 9989 of 10000 deliveries in time (99.89 %, 99.9 % needed), 7 late, 4 missed offline";
    assert!(detail.contains(said), "{detail}");
    // A loss is held to what witnesses may lose as well.
    assert_eq!(ended(with(LoadFaults { lost: 5, ..Default::default() })).0, Pass);
    let (status, detail) = ended(with(LoadFaults { lost: 6, ..Default::default() }));
    assert_eq!(status, Fail);
    assert!(detail.ends_with(", 6 lost (0.060 %, 0.050 % allowed)"), "{detail}");
}

#[test]
fn what_tainted_seconds_excuse_accuses_nobody() {
    let faults =
        LoadFaults { late: 7, missed_offline: 4, connections_lost: 9, ..Default::default() };
    let excused = LoadFaults { late: 2, connections_lost: 9, ..Default::default() };
    let (status, detail) = ended(LoadFigures { excused, ..with(faults) });
    assert_eq!(status, Pass);
    // Nor do they say anything for it.
    let said = "; 9989 of 9998 deliveries in time (99.91 %), 5 late, 4 missed offline, 2 in tainted \
                seconds";
    assert!(detail.ends_with(said), "{detail}");
}

#[test]
fn needless_copies_are_held_to_the_limits_of_witnesses() {
    let faults = |duplicates, reordered, wrong| LoadFigures {
        faults: LoadFaults { duplicates, reordered, wrong, ..Default::default() },
        ..good()
    };
    assert_eq!(ended(faults(2, 1, 0)).0, Pass);
    for over in [(3, 0, 0), (0, 2, 0), (0, 0, 1)] {
        assert_eq!(ended(faults(over.0, over.1, over.2)).0, Fail, "{over:?}");
    }
    let (_, detail) = ended(faults(3, 0, 1));
    assert!(
        detail.ends_with(
            "; 3 duplicates (2 allowed), 1 corrupt, misrouted or unexpected (0 allowed)"
        ),
        "{detail}"
    );
}

#[test]
fn nothing_owed_and_what_is_open_say_nothing() {
    let nothing = LoadFigures { obligations: Obligations::default(), ..good() };
    assert_eq!(ended(nothing).0, Inconclusive);
    let (status, detail) = ended(LoadFigures { pending: 3, ..good() });
    assert_eq!(status, Inconclusive);
    assert!(detail.ends_with(", 3 open"), "{detail}");
    // While a run goes on something always is.
    assert_eq!(finding(LoadFigures { pending: 3, ..good() }, false).status, Pass);
}

#[test]
fn a_shard_without_clients_has_nothing_to_say_against_anybody() {
    let (status, detail) = ended(LoadFigures::new(Load::default()));
    assert_eq!((status, &*detail), (Pass, "none of the clients is this shard's"));
}

/// What a client hands on of a second in which one delivery was late and one obligation lost.
fn report(client: u32, second: u64) -> Box<LoadReport> {
    let obligations =
        Obligations { total: 3, delivered: 1, late: 1, lost: 1, ..Default::default() };
    let strata = BTreeMap::from([(STRATUM, (obligations, Sparse::default()))]);
    let late = BTreeMap::from([(second, 1)]);
    let tally = Tally { strata, late, ..Tally::default() };
    let ledger = WitnessReport { tally, pending: 2, ..WitnessReport::default() };
    let connections = LoadConnections { asked: 1, joined: 1, opened: 1 };
    Box::new(LoadReport {
        client,
        connections,
        is_connected: client > 0,
        ledger,
        faults: BTreeMap::from([(second, LoadFaults { lost: 1, ..LoadFaults::default() })]),
        ..LoadReport::default()
    })
}

#[test]
fn clients_add_up_beside_the_witnesses_and_taints_excuse_what_they_missed() {
    let mut run = Run::new();
    run.story.load(Load { connections: 2, ramp: Duration::ZERO });
    for (client, second) in [(0, 3), (1, 40)] {
        run.story.apply(Fact::Load(New, report(client, second)));
    }
    run.taint(40..41);
    run.end();
    let figures = run.story.account.figures();
    let of = |role| figures.clusters[&role].load.clone().unwrap();
    let new = of(New);
    assert_eq!((new.connections.joined, new.connected, new.connected_max), (2, 1, 1));
    assert_eq!((new.obligations.total, new.pending, new.owed()), (6, 4, 6));
    assert_eq!(new.faults, LoadFaults { lost: 2, late: 2, ..LoadFaults::default() });
    assert_eq!(new.excused, LoadFaults { lost: 1, late: 1, ..LoadFaults::default() });
    assert_eq!(of(Old).connections, LoadConnections::default());
    // Nothing of it is the witnesses'.
    assert_eq!(figures.clusters[&New].obligations_total(), Obligations::default());
    assert_eq!(figures.clusters[&New].opened, 0);
}
