//! The metrics page: complete from the first scrape on, what was declared, and equal to the report
//! at the end.

use std::collections::{BTreeMap, BTreeSet};

use pusher_canary::metrics::table::{self, Kind, Metric};

use rustix::process::Signal;

use crate::exits::Untouched;
use crate::status_page::{Provider, Says, section};
use crate::util::{
    Clusters, EVENTS, Folder, Report, canary, number, rehearse, request, scenario, turn,
};

/// One series of a page.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// A page in Prometheus' text format, read strictly.
#[derive(Debug, Default)]
struct Page {
    help: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
    series: Vec<Series>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        assert!(text.ends_with('\n'), "the last line does not end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                let before = page.help.insert(name.to_owned(), help.to_owned());
                assert_eq!(before, None, "{name} has two families");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                page.kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                page.series.push(series(line));
            }
        }
        let mut all = BTreeSet::new();
        for Series { name, labels, .. } in &page.series {
            assert!(all.insert((name, labels)), "{name}{labels:?} is there twice");
        }
        page
    }

    /// The one series with this name and these labels.
    #[track_caller]
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("{}{name}", table::PREFIX);
        let same = |s: &&Series| {
            let has = s.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            s.name == name && has.eq(labels.iter().copied())
        };
        let found = self.series.iter().find(same);
        found.unwrap_or_else(|| panic!("no series {name}{labels:?}")).value
    }

    /// The sum over every series with this name whose labels hold all of these.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("{}{name}", table::PREFIX);
        let has =
            |s: &Series, (n, v): &(&str, &str)| s.labels.iter().any(|l| l.0 == *n && l.1 == *v);
        let of = self.series.iter().filter(|s| s.name == name && labels.iter().all(|l| has(s, l)));
        of.map(|s| s.value).sum()
    }
}

/// `name{label="value",…} value`
fn series(line: &str) -> Series {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(at) => line.split_at(at),
        None => panic!("no value: {line}"),
    };
    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "a name: {line}");
    let (mut labels, mut rest) = (Vec::new(), rest);
    if let Some(inner) = rest.strip_prefix('{') {
        let (inner, value) = inner.split_once("} ").unwrap_or_else(|| panic!("no value: {line}"));
        for pair in inner.split("\",") {
            let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("a label: {line}"));
            let value = value.trim_end_matches('"');
            assert!(!value.contains(['"', '\\', '{']), "an odd label: {line}");
            labels.push((name.to_owned(), value.to_owned()));
        }
        rest = value;
    }
    let value = match rest.trim_start() {
        "+Inf" => f64::INFINITY,
        other => other.parse().unwrap_or_else(|_| panic!("no number: {line}")),
    };
    Series { name: name.to_owned(), labels, value }
}

fn assert_declared(page: &Page, metric: &Metric) {
    let name = format!("{}{}", table::PREFIX, metric.name);
    assert_eq!(page.help.get(&name).map(String::as_str), Some(metric.help), "help of {name}");
    let (kind, tails): (_, &[&str]) = match metric.kind {
        Kind::Counter => ("counter", &[""]),
        Kind::Gauge => ("gauge", &[""]),
        Kind::Histogram => ("histogram", &["_bucket", "_sum", "_count"]),
    };
    assert_eq!(page.kinds.get(&name).map(String::as_str), Some(kind), "kind of {name}");
    for tail in tails {
        let full = format!("{name}{tail}");
        let mut of_name = page.series.iter().filter(|s| s.name == full).peekable();
        assert!(of_name.peek().is_some(), "no series of {full}");
        for one in of_name {
            let mut labels: Vec<_> = one.labels.iter().map(|(name, _)| name.as_str()).collect();
            if *tail == "_bucket" {
                assert_eq!(labels.pop(), Some("le"), "the last label of {full}");
            }
            assert_eq!(labels, metric.labels, "labels of {full}");
        }
    }
}

/// Absent until they are known.
const TIMESTAMPS: [&str; 3] = [
    "certificate_expiry_timestamp_seconds",
    "covered_since_timestamp_seconds",
    "covered_until_timestamp_seconds",
];
/// Absent where no cluster has a status page, where no webhooks are received, where there are no
/// simulated clients, where nothing is watched without an end, and until the end.
const ELSEWHERE: [&str; 11] = [
    "provider_status",
    "occupied_channels_by_webhooks",
    "webhooks_total",
    "webhooks_refused_total",
    "webhook_delay_seconds",
    "load_clients",
    "load_deliveries_total",
    "window_seconds",
    "scenario_reload_success",
    "scenario_reload_timestamp_seconds",
    "run_ended_timestamp_seconds",
];

/// Whether a metric is there from the first scrape on.
fn is_there_at_once(metric: &Metric) -> bool {
    !TIMESTAMPS.contains(&metric.name) && !ELSEWHERE.contains(&metric.name)
}

fn assert_first(page: &Page) {
    for metric in table::ALL {
        if !is_there_at_once(metric) {
            assert!(!page.help.contains_key(&format!("{}{}", table::PREFIX, metric.name)));
        } else {
            assert_declared(page, metric);
        }
    }
    let absent = TIMESTAMPS.len() + ELSEWHERE.len();
    let ours = page.help.keys().filter(|name| name.starts_with(table::PREFIX));
    assert_eq!(ours.count(), table::ALL.len() - absent, "undeclared metrics");
    assert!(page.help.contains_key("process_resident_memory_bytes"));
    for cluster in ["old", "new"] {
        assert_eq!(page.value("loss_upper_bound_ratio", &[("cluster", cluster)]), 1.0);
        for name in ["obligations_total", "duplicates_total", "disconnects_total"] {
            assert_eq!(page.sum(name, &[("cluster", cluster)]), 0.0, "{name}");
        }
    }
    for (verdict, is) in [("GO", 0.0), ("NO-GO", 0.0), ("INCONCLUSIVE", 1.0)] {
        assert_eq!(page.value("verdict", &[("verdict", verdict)]), is, "verdict {verdict}");
    }
    for s in page.series.iter().filter(|s| s.name.ends_with("check_status")) {
        assert!(s.value == 1.0 || s.labels.iter().any(|(_, v)| v == "connect"), "{s:?}");
    }
}

/// Counts that are on the page and in the report, for one cluster.
fn assert_equal(page: &Page, report: &Report, cluster: &str) {
    let of = |labels: &[(&'static str, &'static str)], name: &str| {
        let mut all = vec![("cluster", cluster)];
        all.extend(labels);
        page.sum(name, &all)
    };
    let figure = |path: &str| report.figure(cluster, path) as f64;
    for outcome in ["sent", "accepted", "rejected", "unknown", "recovered", "void", "unsent"] {
        let shown = of(&[("outcome", outcome)], "publications_total");
        assert_eq!(shown, figure(&format!("publications.{outcome}")), "{outcome} on {cluster}");
    }
    for outcome in ["delivered", "late", "lost", "missed_offline", "void"] {
        let shown = of(&[("outcome", outcome)], "obligations_total");
        assert_eq!(shown, figure(&format!("obligations.{outcome}")), "{outcome} on {cluster}");
    }
    for (name, path) in [
        ("obligations_opened_total", "obligations_opened"),
        ("obligations_pending", "obligations.pending"),
        ("duplicates_total", "duplicates"),
        ("reordered_total", "reordered"),
        ("corrupt_total", "corrupt"),
        ("misrouted_total", "misrouted"),
        ("unexpected_total", "unexpected"),
        ("delivery_latency_seconds_count", "latency_ms.count"),
        ("publish_duration_seconds_count", "publish_ms.count"),
        ("auth_duration_seconds_count", "auth_ms.count"),
        ("connections", "connections.opened"),
    ] {
        assert_eq!(of(&[], name), figure(path), "{name} of {cluster}");
    }
    assert_eq!(of(&[], "overdue"), 0.0);
    let bound = report.0["clusters"][cluster]["loss_upper_bound"].as_f64().unwrap();
    assert!((of(&[], "loss_upper_bound_ratio") - bound).abs() < 1e-12);
    let responses: u64 = report.0["clusters"][cluster]["http_responses"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(of(&[], "http_responses_total"), responses as f64);
}

#[test]
fn before_the_first_event_every_series_is_there_at_its_start() {
    // They accept connections and say nothing: the run waits for them, and its page is as it began.
    let untouched = Untouched::new();
    let mut running = untouched.start(&[], &["--listen", "127.0.0.1:0"]);
    let address = running.metrics_address();
    let (status, text) = request(address, "GET", "/metrics");
    assert_eq!(status, 200);
    assert_first(&Page::parse(&text));
    running.signal(Signal::INT);
    running.finish().assert_code(3);
}

#[test]
fn the_page_is_complete_at_once_and_ends_as_the_report_says() {
    let folder = Folder::new();
    // Time enough between the last event's settling and the end for the page to be seen.
    let changes = [("horizon", "\"5s\""), ("routes", r#"["trigger", "batch"]"#)];
    let path = folder.write("scenario.toml", &scenario(&changes));
    let more =
        ["--listen", "127.0.0.1:0", "--fault", "new:duplicate=0.05", "--fault", "old:refuse=0.05"];
    let _turn = turn();
    let mut running = rehearse(&path, 1, &more).start();
    let address = running.metrics_address();
    let (status, text) = request(address, "GET", "/metrics");
    assert_eq!(status, 200);
    let first = Page::parse(&text);
    for metric in table::ALL.iter().filter(|metric| is_there_at_once(metric)) {
        assert_declared(&first, metric);
    }

    assert_eq!(request(address, "GET", "/").0, 404);
    assert_eq!(request(address, "GET", "/metrics/x").0, 404);
    assert_eq!(request(address, "POST", "/metrics").0, 405);
    assert_eq!(request(address, "DELETE", "/").0, 405);

    let text = running.page(|text| {
        let page = Page::parse(text);
        page.sum("events_total", &[]) == EVENTS as f64
            && page.sum("obligations_pending", &[]) == 0.0
    });
    let outcome = running.finish();
    let report = outcome.judged();
    let page = Page::parse(&text);
    for metric in table::ALL.iter().filter(|metric| !ELSEWHERE.contains(&metric.name)) {
        assert_declared(&page, metric);
    }
    for cluster in ["old", "new"] {
        assert_equal(&page, &report, cluster);
    }
    let events = &report.0["events"];
    assert_eq!(
        page.value("events_total", &[("coverage", "covered")]),
        number(events, "covered") as f64
    );
    let rejected = number(events, "uncovered_by_cause.rejected");
    assert!(rejected > 0);
    assert_eq!(page.value("events_total", &[("coverage", "rejected")]), rejected as f64);
    assert_eq!(page.value("verdict", &[("verdict", "NO-GO")]), 1.0);
    assert_eq!(report.verdict(), "NO-GO");
    for finding in report.0["checks"].as_array().unwrap() {
        let name = finding["name"].as_str().unwrap();
        // They come out when the last connection is closed, and this page with it.
        if matches!(name, "controls" | "left-behind") {
            continue;
        }
        let cluster = finding["cluster"].as_str().unwrap_or("both");
        let status = match finding["status"].as_str().unwrap() {
            "pass" => 0.0,
            "inconclusive" => 1.0,
            _ => 2.0,
        };
        let labels = [("check", name), ("cluster", cluster)];
        assert_eq!(page.value("check_status", &labels), status, "{name} of {cluster}");
        // What the last second adds may move a third of the run by a bucket.
        if !matches!(name, "instrument" | "latency-trend") {
            let observed = finding["observed"].as_f64().unwrap_or(f64::NAN);
            let shown = page.value("check_observed", &labels);
            // Reading JSON may miss a number's last binary digit.
            let same = (shown - observed).abs() <= 1e-12 * observed.abs()
                || shown.is_nan() && observed.is_nan();
            assert!(same, "{name} of {cluster}: {shown} on the page, {observed} in the report");
        }
    }
    let run = [
        ("run", report.0["run"].as_str().unwrap()),
        ("scenario", report.0["scenario"].as_str().unwrap()),
        ("scenario_digest", report.0["scenario_digest"].as_str().unwrap()),
        ("phase", "dual-publish"),
        ("shard", "0"),
        ("shards", "1"),
        ("region", ""),
        ("role", "both"),
    ];
    assert_eq!(page.value("run_info", &run), 1.0);
}

#[test]
fn what_a_status_page_says_is_there_from_the_first_scrape_on_and_follows_it() {
    let folder = Folder::new();
    let clusters = Clusters::start();
    let provider = Provider::start(Says::Nothing);
    let page = section("new", &provider.url(), "components = [\"Channels REST API\"]");
    let path = folder.write("scenario.toml", &(clusters.scenario(&[]) + &page));
    let _turn = turn();
    let args = ["run", path.to_str().unwrap(), "-q", "--listen", "127.0.0.1:0"];
    let mut running = canary(args).envs(clusters.variables()).start();
    let address = running.metrics_address();
    let first = Page::parse(&request(address, "GET", "/metrics").1);
    let declared = table::ALL.iter().find(|metric| metric.name == ELSEWHERE[0]).unwrap();
    assert_declared(&first, declared);
    let of = |component| [("cluster", "new"), ("component", component)];
    assert_eq!(first.value(ELSEWHERE[0], &of("page")), -1.0);
    provider.says(Says::ill());
    // What was asked before is not answered any more; the last reading is.
    let known = r#"provider_status{cluster="new",component="Channels REST API"} 2"#;
    let text = running.page(|text| text.contains(known));
    let page = Page::parse(&text);
    assert_eq!(page.value(ELSEWHERE[0], &of("page")), 2.0);
    // Components that are not watched have no series, and a cluster without a page has none.
    assert_eq!(page.sum(ELSEWHERE[0], &[]), 4.0);
    running.finish().assert_code(1);
}
