//! Each kind of fault alone: the figure that it must move equals what the cluster that did it
//! counted, to the unit, and no other figure moves on either cluster.

use std::collections::BTreeMap;

use crate::util::{
    EVENTS, Folder, Held, Outcome, Report, in_order, rehearse, scenario, seeds, turn,
};

/// Witnesses of each channel in the scenario.
const WITNESSES: u64 = 2;

/// Every figure of a cluster that is 0 when nothing goes wrong.
const ANOMALIES: [&str; 22] = [
    "publications.rejected",
    "publications.unknown",
    "publications.recovered",
    "publications.void",
    "publications.unsent",
    "obligations.late",
    "obligations.lost",
    "obligations.missed_offline",
    "obligations.void",
    "obligations.pending",
    "duplicates",
    "replayed",
    "reordered",
    "unordered",
    "corrupt",
    "misrouted",
    "unexpected",
    "foreign",
    "after_horizon",
    "connections.failed",
    "blind.windows",
    "throttled",
];

/// The anomalies of a cluster that are not 0, and its connections that were lost.
pub fn moved(report: &Report, cluster: &str) -> BTreeMap<&'static str, u64> {
    let figures = ANOMALIES.into_iter().map(|name| (name, report.figure(cluster, name)));
    let connections = [
        ("closed_by_code", report.closed(cluster)),
        ("given_up", report.figure(cluster, "connections.given_up")),
        ("recycled", report.figure(cluster, "connections.recycled")),
    ];
    figures.chain(connections).filter(|(_, count)| *count > 0).collect()
}

/// What a cluster says that it did wrong.
fn done(report: &Report, cluster: &str) -> BTreeMap<String, u64> {
    let counts = report.0["rehearsal"][cluster].as_object().unwrap();
    let counts = counts.iter().map(|(what, count)| (what.clone(), count.as_u64().unwrap()));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn moves<const N: usize>(figures: [(&'static str, u64); N]) -> BTreeMap<&'static str, u64> {
    BTreeMap::from(figures)
}

/// Runs the scenario with one fault on new, for every seed.
fn alone(fault: &str, changes: &[(&str, &str)], hold: impl Fn(&Outcome, &Report)) {
    let folder = Folder::new();
    let path = folder.write("scenario.toml", &scenario(changes));
    for seed in seeds() {
        let _turn = turn();
        let is_held = fault.contains("delay") || fault.contains("reorder");
        let held = if is_held { Held::Some } else { Held::None };
        let outcome = in_order(held, || rehearse(&path, seed, &["--fault", fault]).run());
        let report = outcome.judged();
        assert_eq!(report.0["seed"], seed);
        assert_eq!(moved(&report, "old"), moves([]), "figures of old moved");
        assert_eq!(done(&report, "old"), BTreeMap::new(), "old did something wrong");
        for cluster in ["old", "new"] {
            let lost = report.figure(cluster, "publications_lost") * WITNESSES
                + report.figure(cluster, "publications_partially_lost");
            assert_eq!(lost, report.figure(cluster, "obligations.lost"), "lost on {cluster}");
        }
        hold(&outcome, &report);
    }
}

/// Holds a fault of deliveries or requests to a count of its own, and to what follows from it.
fn counted(
    fault: &str,
    count: &str,
    figures: impl Fn(u64, &Report) -> BTreeMap<&'static str, u64>,
    failing: &[(&str, &str)],
) {
    alone(fault, &[], |outcome, report| {
        let n = report.done("new", count);
        assert!(n > 0, "the fault never struck");
        assert_eq!(moved(report, "new"), figures(n, report));
        for (check, cluster) in failing {
            assert_eq!(report.status(check, cluster), "fail", "{check} of {cluster}");
        }
        assert_eq!(report.verdict(), if failing.is_empty() { "GO" } else { "NO-GO" });
        outcome.assert_code(i32::from(!failing.is_empty()));
    });
}

#[test]
fn a_clean_pair_shows_not_a_single_anomaly_and_is_go() {
    let folder = Folder::new();
    let every_route = [("routes", r#"["trigger", "batch", "client"]"#)];
    let path = folder.write("scenario.toml", &scenario(&every_route));
    for seed in seeds() {
        let _turn = turn();
        let outcome = in_order(Held::None, || rehearse(&path, seed, &[]).run());
        let report = outcome.judged();
        for cluster in ["old", "new"] {
            assert_eq!(moved(&report, cluster), moves([]), "figures of {cluster} moved");
            let sent = report.figure(cluster, "publications.sent");
            assert!(sent > EVENTS, "client events come on top of {EVENTS}");
            assert_eq!(sent, report.figure(cluster, "publications.accepted"));
            assert_eq!(sent, report.figure(cluster, "trials"));
            assert_eq!(sent * WITNESSES, report.figure(cluster, "obligations.delivered"));
            assert_eq!(sent, report.0["events"]["covered"]);
        }
        assert_eq!(report.0["events"]["uncovered"], 0);
        assert!(report.0["events"]["covered_since"].is_string());
        assert_eq!(report.incidents(), [] as [serde_json::Value; 0]);
        assert_eq!(report.verdict(), "GO");
        outcome.assert_code(0);
    }
}

#[test]
fn dropped_deliveries_are_lost() {
    let figures = |n, _: &Report| moves([("obligations.lost", n)]);
    let failing = [("loss", "new"), ("coverage", "both")];
    counted("new:drop=0.05", "dropped", figures, &failing);
}

#[test]
fn deliveries_sent_twice_are_duplicates() {
    let figures = |n, _: &Report| moves([("duplicates", n)]);
    counted("new:duplicate=0.05", "duplicated", figures, &[("duplicates", "new")]);
}

#[test]
fn deliveries_held_beyond_the_deadline_are_late_and_what_overtook_them_is_known() {
    let figures = |n, report: &Report| {
        let overtaken = report.done("new", "reordered");
        assert!(overtaken > 0, "nothing was overtaken");
        moves([("obligations.late", n), ("reordered", overtaken)])
    };
    counted("new:delay=0.05@1500ms", "delayed", figures, &[("late", "new")]);
}

#[test]
fn deliveries_that_a_later_one_overtook_are_reordered() {
    // No limit of the gate is about order: the figure is shown, and the verdict is not about it.
    let order = ("order", "new");
    counted("new:reorder=0.05", "reordered", |n, _| moves([("reordered", n)]), &[order]);
}

#[test]
fn damaged_deliveries_are_corrupt_and_lost() {
    let figures = |n, _: &Report| moves([("corrupt", n), ("obligations.lost", n)]);
    let failing = [("integrity", "new"), ("loss", "new"), ("coverage", "both")];
    counted("new:corrupt=0.05", "corrupted", figures, &failing);
}

#[test]
fn refused_publications_are_rejected_and_nobody_is_owed_them() {
    let figures =
        |n, _: &Report| moves([("publications.rejected", n), ("obligations.void", n * WITNESSES)]);
    let failing = [("publish", "new"), ("coverage", "both")];
    counted("new:refuse=0.05", "refused", figures, &failing);
}

fn recovered(n: u64, _: &Report) -> BTreeMap<&'static str, u64> {
    moves([("publications.unknown", n), ("publications.recovered", n)])
}

#[test]
fn publications_without_an_answer_are_unknown_until_a_witness_gets_them() {
    counted("new:lose-answer=0.05", "answers_lost", recovered, &[("publish", "new")]);
}

#[test]
fn publications_answered_503_are_unknown_until_a_witness_gets_them() {
    counted("new:error-after=0.05", "errors_after", recovered, &[("publish", "new")]);
}

#[test]
fn batches_are_refused_and_recovered_event_by_event() {
    let batch = [("routes", r#"["batch"]"#)];
    alone("new:refuse=0.2", &batch, |outcome, report| {
        let refused = report.done("new", "refused");
        assert!(refused > 0 && refused.is_multiple_of(10), "a batch has ten events");
        let void = ("obligations.void", refused * WITNESSES);
        assert_eq!(moved(report, "new"), moves([("publications.rejected", refused), void]));
        outcome.assert_code(1);
    });
    alone("new:lose-answer=0.2", &batch, |outcome, report| {
        let n = report.done("new", "answers_lost");
        assert!(n > 0 && n.is_multiple_of(10), "a batch has ten events");
        assert_eq!(moved(report, "new"), recovered(n, report));
        outcome.assert_code(1);
    });
}

/// Figures of new that a lost connection may move, each by an amount that nobody counts for us.
fn without<const N: usize>(report: &Report, names: [&str; N]) -> BTreeMap<&'static str, u64> {
    let mut figures = moved(report, "new");
    figures.retain(|name, _| !names.contains(name));
    figures
}

#[test]
fn closed_connections_are_blind_windows_and_what_fell_into_them_was_missed_not_lost() {
    // Half of the connections are hit, once, and half of those a second time.
    let changes = [("witnesses", "2\nchannels_per_connection = 10")];
    alone("new:close=0.5@4100", &changes, |outcome, report| {
        // One that strikes in the moment in which the agent leaves is done and not seen any more.
        let (done, closed) = (report.done("new", "closed"), report.closed("new"));
        let all_seen = closed == done || closed + 1 == done;
        assert!(closed > 0 && all_seen, "{closed} of {done} closes were seen");
        let codes = &report.0["clusters"]["new"]["connections"]["closed_by_code"];
        assert_eq!(*codes, serde_json::json!({ "4100": closed }));
        let missed = report.figure("new", "obligations.missed_offline");
        assert!(missed > 0, "4100 is followed by a second without a connection");
        // A cache channel replays its last event to whoever comes back.
        let others = without(report, ["replayed"]);
        // The connection of the negative controls is hit like any other, and makes nobody blind.
        let windows = report.figure("new", "blind.windows");
        assert!((closed - 2..=closed).contains(&windows), "{windows} windows, {closed} closes");
        let windows = ("blind.windows", windows);
        let missed = ("obligations.missed_offline", missed);
        assert_eq!(others, moves([("closed_by_code", closed), windows, missed]));
        assert_eq!(report.status("blind", "new"), "fail");
        outcome.assert_code(1);
    });
}

#[test]
fn closed_senders_are_connections_but_no_blind_windows() {
    let changes = [("routes", "[\"trigger\", \"client\"]\nclient_rate = 8.0")];
    alone("new:close=1@4200", &changes, |outcome, report| {
        let (closed, seen) = (report.done("new", "closed"), report.closed("new"));
        // One that strikes while the agent leaves is done and not seen any more.
        assert!(seen <= closed && seen > 0, "{seen} of {closed} closes were seen");
        let windows = report.figure("new", "blind.windows");
        assert!(windows < seen, "{windows} blind windows by {seen} closes, senders' included");
        assert_eq!(report.figure("new", "obligations.lost"), 0);
        assert_eq!(report.figure("new", "misrouted") + report.figure("new", "unexpected"), 0);
        // 4200 is followed by a reconnect at once: whether anything falls into so short a time is
        // chance, and with it the verdict.
        assert!(matches!(outcome.code(), Some(0 | 1 | 3)));
    });
}

#[test]
fn what_is_sent_into_a_silent_connection_was_missed_not_lost() {
    let changes = [("witnesses", "2\nchannels_per_connection = 10")];
    alone("new:silent=0.5", &changes, |outcome, report| {
        let silenced = report.done("new", "silenced");
        assert!(silenced > 0, "no connection fell silent");
        let given_up = report.figure("new", "connections.given_up");
        // One that falls silent when nothing is owed any more need not be noticed.
        assert!(given_up > 0 && given_up <= silenced, "{given_up} of {silenced} given up");
        let missed = report.figure("new", "obligations.missed_offline");
        assert!(missed > 0, "nothing was sent into the silence");
        let others = without(report, ["replayed"]);
        let windows = report.figure("new", "blind.windows");
        assert!((given_up - 1..=given_up).contains(&windows), "{windows} windows of {given_up}");
        let figures = [
            ("given_up", given_up),
            ("blind.windows", windows),
            ("obligations.missed_offline", missed),
        ];
        assert_eq!(others, moves(figures));
        let delivered = report.figure("new", "obligations.delivered");
        assert_eq!(delivered + missed, EVENTS * WITNESSES);
        assert_eq!(report.status("blind", "new"), "fail");
        outcome.assert_code(1);
    });
}
