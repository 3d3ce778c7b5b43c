//! Many faults at once, and an account of them that shares no code with the ledger's: what became
//! of every single publication follows from the clusters' fault log alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::util::{
    Folder, Held, Report, fault_log, in_order, number, rehearse, scenario, seeds, turn,
};

/// Every kind that leaves connections alone, rare enough for a report to name each incident.
const FAULTS: [&str; 8] = [
    "drop=0.03",
    "duplicate=0.03",
    "delay=0.03@1500ms",
    "reorder=0.03",
    "corrupt=0.03",
    "refuse=0.03",
    "lose-answer=0.04",
    "error-after=0.04",
];

/// Witnesses of each channel in the scenario.
const WITNESSES: u64 = 2;

/// A publication: cluster, stream, seq.
type Place = (String, u64, u64);

/// What the clusters did to one publication and its copies.
#[derive(Clone, Copy, Debug, Default)]
struct Suffered {
    refused: bool,
    /// Taken, but the answer does not say so.
    unsure: bool,
    /// There was no answer at all.
    unanswered: bool,
    dropped: u64,
    corrupted: u64,
    duplicated: u64,
    delayed: u64,
    /// Held for a later one, or delayed.
    held: u64,
    overtaken: u64,
}

/// What must be reported of one publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Expected {
    rejected: bool,
    unknown: bool,
    recovered: bool,
    void: bool,
    obligations_lost: u64,
    obligations_late: u64,
    obligations_void: u64,
    duplicates: u64,
    reordered: u64,
}

impl Suffered {
    /// The rules of the model, in the oracle's own words.
    fn expected(self) -> Expected {
        if self.refused {
            return Expected { rejected: true, obligations_void: WITNESSES, ..Expected::default() };
        }
        let missing = self.dropped + self.corrupted;
        if self.unsure && missing == WITNESSES {
            // Nobody got it, and the cluster never said that it took it: nobody is owed it.
            return Expected {
                unknown: true,
                void: true,
                obligations_void: WITNESSES,
                ..Expected::default()
            };
        }
        Expected {
            unknown: self.unsure,
            recovered: self.unsure,
            obligations_lost: missing,
            obligations_late: self.delayed,
            duplicates: self.duplicated,
            reordered: self.overtaken,
            ..Expected::default()
        }
    }
}

fn place(line: &Value) -> Place {
    let cluster = line["cluster"].as_str().unwrap().to_owned();
    (cluster, number(line, "stream"), number(line, "seq"))
}

fn suffered(log: &[Value]) -> BTreeMap<Place, Suffered> {
    let mut all = BTreeMap::<Place, Suffered>::new();
    for line in log {
        let one = all.entry(place(line)).or_default();
        match line["kind"].as_str().unwrap() {
            "drop" => one.dropped += 1,
            "corrupt" => one.corrupted += 1,
            "duplicate" => one.duplicated += 1,
            "delay" => {
                one.delayed += 1;
                one.held += 1;
            }
            "reorder" => one.held += 1,
            "overtaken" => one.overtaken += 1,
            "refuse" => one.refused = true,
            "error-after" => one.unsure = true,
            "lose-answer" => {
                one.unsure = true;
                one.unanswered = true;
            }
            other => panic!("a fault that nobody asked for: {other}"),
        }
    }
    all
}

/// For each kind of incident: which publications, and at how many witnesses.
type Incidents = BTreeMap<String, BTreeMap<Place, u64>>;

fn expected_incidents(expected: &BTreeMap<Place, Expected>) -> Incidents {
    let mut all = Incidents::new();
    for (place, e) in expected {
        let mut add = |kind: &str, is: bool, witnesses: u64| {
            if is {
                all.entry(kind.to_owned()).or_default().insert(place.clone(), witnesses);
            }
        };
        add("lost", e.obligations_lost > 0, e.obligations_lost);
        add("late", e.obligations_late > 0, e.obligations_late);
        add("duplicate", e.duplicates > 0, e.duplicates);
        add("reordered", e.reordered > 0, e.reordered);
        add("rejected", e.rejected, 0);
        add("recovered", e.recovered, 0);
        add("void", e.void, 0);
    }
    all
}

fn reported_incidents(report: &Report) -> Incidents {
    let mut all = Incidents::new();
    for incident in report.incidents() {
        let kind = incident["kind"].as_str().unwrap();
        // What cannot be read does not say where it belongs.
        if kind == "corrupt" {
            assert!(incident["seq"].is_null());
            continue;
        }
        let of_kind = all.entry(kind.to_owned()).or_default();
        let before = of_kind.insert(place(incident), number(incident, "witnesses"));
        assert_eq!(before, None, "{incident} is named twice");
    }
    all
}

/// Sums over the publications of one cluster, by the name of the report's figure.
fn expected_figures(
    suffered: &BTreeMap<Place, Suffered>,
    expected: &BTreeMap<Place, Expected>,
    cluster: &str,
) -> Vec<(&'static str, u64)> {
    let sum = |figure: fn(&Expected) -> u64| {
        expected.iter().filter(|(place, _)| place.0 == cluster).map(|(_, e)| figure(e)).sum()
    };
    let corrupted =
        suffered.iter().filter(|(place, _)| place.0 == cluster).map(|(_, s)| s.corrupted).sum();
    vec![
        ("publications.rejected", sum(|e| e.rejected.into())),
        ("publications.unknown", sum(|e| e.unknown.into())),
        ("publications.recovered", sum(|e| e.recovered.into())),
        ("publications.void", sum(|e| e.void.into())),
        ("publications.unsent", 0),
        ("publications_lost", sum(|e| (e.obligations_lost == WITNESSES).into())),
        ("publications_partially_lost", sum(|e| (e.obligations_lost == 1).into())),
        ("obligations.lost", sum(|e| e.obligations_lost)),
        ("obligations.late", sum(|e| e.obligations_late)),
        ("obligations.void", sum(|e| e.obligations_void)),
        ("obligations.missed_offline", 0),
        ("duplicates", sum(|e| e.duplicates)),
        ("reordered", sum(|e| e.reordered)),
        ("corrupt", corrupted),
        ("replayed", 0),
        ("misrouted", 0),
        ("unexpected", 0),
        ("after_horizon", 0),
    ]
}

/// Events by what kept them from being covered: the gravest of both clusters.
fn uncovered(expected: &BTreeMap<Place, Expected>) -> BTreeMap<String, u64> {
    let mut causes = BTreeMap::<(u64, u64), (u32, &str)>::new();
    for ((_, stream, seq), e) in expected {
        let cause = match e {
            Expected { rejected: true, .. } => (0, "rejected"),
            Expected { void: true, .. } => (1, "void"),
            Expected { obligations_lost: 1.., .. } => (2, "lost"),
            _ => continue,
        };
        let known = causes.entry((*stream, *seq)).or_insert(cause);
        *known = cause.min(*known);
    }
    let mut counts = BTreeMap::new();
    for (_, cause) in causes.values() {
        *counts.entry((*cause).to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn every_publication_comes_out_as_the_fault_log_says() {
    let folder = Folder::new();
    let routes = [("routes", r#"["trigger", "batch", "client"]"#)];
    let path = folder.write("scenario.toml", &scenario(&routes));
    let faults = ["old", "new"].map(|role| FAULTS.map(|fault| format!("{role}:{fault}")));
    for seed in seeds() {
        let _turn = turn();
        let log = format!("faults-{seed}.jsonl");
        let log_path = folder.file(&log);
        let mut args = vec!["--fault-log", log_path.to_str().unwrap()];
        args.extend(faults.iter().flatten().flat_map(|fault| ["--fault", fault]));
        let outcome = in_order(Held::Some, || rehearse(&path, seed, &args).run());
        let report = outcome.judged();
        let suffered = suffered(&fault_log(&folder, &log));
        let expected: BTreeMap<_, _> =
            suffered.iter().map(|(place, s)| (place.clone(), s.expected())).collect();

        assert_eq!(report.0["incidents_dropped"], 0, "the report cannot name every incident");
        assert_eq!(reported_incidents(&report), expected_incidents(&expected));
        for cluster in ["old", "new"] {
            for (figure, count) in expected_figures(&suffered, &expected, cluster) {
                assert_eq!(report.figure(cluster, figure), count, "{figure} of {cluster}");
            }
            // What was never answered was in the air for good: being overtaken is no disorder then.
            let unordered: u64 = suffered
                .iter()
                .filter(|(place, s)| place.0 == cluster && s.unanswered)
                .map(|(_, s)| s.held)
                .sum();
            assert!(report.figure(cluster, "unordered") <= unordered, "unordered of {cluster}");
            let sent = report.figure(cluster, "publications.sent");
            let void = report.figure(cluster, "publications.rejected")
                + report.figure(cluster, "publications.void");
            assert_eq!(report.figure(cluster, "trials"), sent - void, "trials of {cluster}");
        }
        let causes = &report.0["events"]["uncovered_by_cause"];
        let causes: BTreeMap<String, u64> = serde_json::from_value(causes.clone()).unwrap();
        assert_eq!(causes, uncovered(&expected));
        outcome.assert_code(1);
    }
}
