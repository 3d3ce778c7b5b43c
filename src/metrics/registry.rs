//! An account as series. Every series is there from the first scrape on: counters at 0, loss
//! bounds at 1, checks and verdict inconclusive; timestamps are absent until they are known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[cfg(target_os = "linux")]
use prometheus::core::Collector;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto;
use prometheus::{Encoder, TextEncoder};

use crate::model::{ChannelKind, ClusterRole, Member, RunTime, WebhookKind};
use crate::scenario::settings;
use crate::verify::account::{Account, ClusterAccount};
use crate::verify::checks;
use crate::verify::coverage::UncoveredCause;
use crate::verify::endpoint::{Answered, EndpointKind};
use crate::verify::fact::{ConnectStep, Traffic};
use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::latency::Latencies;
use crate::verify::mirror::{MirrorFigures, Outcome};
use crate::verify::status_page::{ComponentStatus, Watched};
use crate::verify::tally::{BlindCause, Obligations, Route};
use crate::verify::verdict::{Status, Verdict};
use crate::verify::webhook::Refusal;

use super::table::{self, Kind, Metric, PREFIX};

/// Upper ends of the buckets of every histogram, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Close codes with a series of their own; all others are `other`.
const CODES: [u16; 12] = [1000, 1001, 1006, 1011, 1012, 4001, 4004, 4009, 4100, 4200, 4201, 4202];
/// Classes of HTTP statuses.
const STATUS_CLASSES: [&str; 5] = ["2xx", "4xx", "429", "5xx", "other"];

/// The page under construction.
#[derive(Default)]
struct Page(Vec<proto::MetricFamily>);

impl Page {
    fn add(&mut self, metric: Metric, labels: &[&str], fill: impl FnOnce(&mut proto::Metric)) {
        let name = format!("{PREFIX}{}", metric.name);
        let known = self.0.last().is_some_and(|family| family.name() == name);
        if !known {
            let mut family = proto::MetricFamily::default();
            family.set_name(name);
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => proto::MetricType::COUNTER,
                Kind::Gauge => proto::MetricType::GAUGE,
                Kind::Histogram => proto::MetricType::HISTOGRAM,
            });
            self.0.push(family);
        }
        let mut series = proto::Metric::default();
        let pairs = metric.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        series.set_label(pairs.collect());
        fill(&mut series);
        if let Some(family) = self.0.last_mut() {
            family.mut_metric().push(series);
        }
    }

    fn count(&mut self, metric: Metric, labels: &[&str], value: u64) {
        self.add(metric, labels, |series| {
            let mut counter = proto::Counter::default();
            counter.set_value(value as f64);
            series.set_counter(counter);
        });
    }

    fn seconds_total(&mut self, metric: Metric, labels: &[&str], value: Duration) {
        self.add(metric, labels, |series| {
            let mut counter = proto::Counter::default();
            counter.set_value(value.as_secs_f64());
            series.set_counter(counter);
        });
    }

    fn gauge(&mut self, metric: Metric, labels: &[&str], value: f64) {
        self.add(metric, labels, |series| {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            series.set_gauge(gauge);
        });
    }

    fn histogram(&mut self, metric: Metric, labels: &[&str], latencies: &Latencies) {
        self.add(metric, labels, |series| {
            let mut histogram = proto::Histogram::default();
            let (counts, sum) = latencies.cumulative(&BUCKETS);
            let buckets = BUCKETS.iter().zip(counts).map(|(end, count)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*end);
                bucket.set_cumulative_count(count);
                bucket
            });
            histogram.set_bucket(buckets.collect());
            histogram.set_sample_count(latencies.count());
            histogram.set_sample_sum(sum);
            series.set_histogram(histogram);
        });
    }
}

/// What a page is made of.
#[derive(Clone, Copy)]
pub struct Scrape<'a> {
    /// Everything since the run began: what counts.
    pub total: &'a Account,
    /// What is judged: the same, or in a watch what lies within its window.
    pub judged: &'a Account,
    /// A watch's own.
    pub watch: Option<Watch>,
    /// How the run ended, once it has.
    pub ended: Option<Ended>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: RunTime,
    /// What it came to.
    pub verdict: Verdict,
    /// Whether the agent itself failed.
    pub has_failed: bool,
}

/// What is known of a watch beside its accounts.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Its window.
    pub window: Duration,
    /// Whether the scenario as it is now is the one that is watched.
    pub is_current: bool,
    /// When the scenario was last taken: time of day since the Unix epoch.
    pub taken: Duration,
}

impl<'a> Scrape<'a> {
    /// Of a run with an end.
    pub const fn of_run(account: &'a Account, ended: Option<Ended>) -> Self {
        Self { total: account, judged: account, watch: None, ended }
    }
}

/// Renders the metrics of a run in Prometheus' text format, for whoever has a process of its own.
pub fn render(scrape: Scrape<'_>) -> String {
    text(&of_run(scrape))
}

/// The same with the process's own, by the names that every exporter gives them.
pub fn render_served(scrape: Scrape<'_>) -> String {
    let mut page = of_run(scrape);
    #[cfg(target_os = "linux")]
    page.0.extend(ProcessCollector::for_self().collect());
    text(&page)
}

fn text(page: &Page) -> String {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail, and every family has a series.
    let _ = TextEncoder::new().encode(&page.0, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn of_run(scrape: Scrape<'_>) -> Page {
    let mut page = Page::default();
    let account = scrape.total;
    let begin = account.begin();
    let labels: BTreeSet<(ChannelKind, Route)> =
        begin.streams.iter().map(|(channel, route)| (channel.kind(), *route)).collect();
    let clusters: Vec<Cluster<'_>> = account.clusters().collect();
    publications(&mut page, &labels, &clusters);
    deliveries(&mut page, &labels, &clusters, account);
    connections(&mut page, &clusters, account.figures(), account.at());
    requests(&mut page, &clusters, account.figures());
    occupancy(&mut page, &clusters, account.figures());
    webhooks(&mut page, &clusters, account.figures());
    load(&mut page, &clusters);
    mirror(&mut page, account.figures());
    conclusions(&mut page, scrape);
    providers(&mut page, &clusters);
    instrument(&mut page, scrape);
    page
}

/// A cluster with its figures.
type Cluster<'a> = (ClusterRole, &'a ClusterFigures, &'a ClusterAccount);
/// One figure of a cluster.
type Figure = fn(&ClusterFigures) -> u64;

fn publications(
    page: &mut Page,
    labels: &BTreeSet<(ChannelKind, Route)>,
    clusters: &[Cluster<'_>],
) {
    let routes: BTreeSet<_> = labels.iter().map(|(_, route)| route).collect();
    for (role, figures, _) in clusters {
        for route in &routes {
            let p = figures.publications.get(route).copied().unwrap_or_default();
            for (outcome, count) in [
                ("sent", p.sent),
                ("accepted", p.accepted),
                ("rejected", p.rejected),
                ("unknown", p.unknown),
                ("recovered", p.recovered),
                ("void", p.void),
                ("unsent", p.unsent),
            ] {
                let labels = [role.as_str(), route.as_str(), outcome];
                page.count(table::PUBLICATIONS, &labels, count);
            }
        }
    }
    for (role, figures, _) in clusters {
        page.count(table::OBLIGATIONS_OPENED, &[role.as_str()], figures.obligations_opened);
    }
}

const fn by_outcome(of: &Obligations) -> [(&'static str, u64); 5] {
    [
        ("delivered", of.delivered),
        ("late", of.late),
        ("lost", of.lost),
        ("missed_offline", of.missed_offline),
        ("void", of.void),
    ]
}

fn deliveries(
    page: &mut Page,
    labels: &BTreeSet<(ChannelKind, Route)>,
    clusters: &[Cluster<'_>],
    account: &Account,
) {
    let kinds: BTreeSet<_> = labels.iter().map(|(kind, _)| *kind).collect();
    for (role, figures, _) in clusters {
        for kind in &kinds {
            let mut sum = Obligations::default();
            for (_, obligations) in figures.obligations.iter().filter(|(s, _)| s.kind == *kind) {
                sum += *obligations;
            }
            for (outcome, count) in by_outcome(&sum) {
                page.count(table::OBLIGATIONS, &[role.as_str(), kind.as_str(), outcome], count);
            }
        }
    }
    for (role, figures, _) in clusters {
        page.gauge(table::OBLIGATIONS_PENDING, &[role.as_str()], figures.pending as f64);
    }
    for (role, figures, _) in clusters {
        page.gauge(table::OVERDUE, &[role.as_str()], figures.overdue as f64);
    }
    let beside: [(Metric, Figure); 5] = [
        (table::DUPLICATES, |c| c.beside.duplicates),
        (table::REORDERED, |c| c.beside.reordered),
        (table::CORRUPT, |c| c.beside.corrupt),
        (table::MISROUTED, |c| c.beside.misrouted),
        (table::UNEXPECTED, |c| c.beside.unexpected),
    ];
    for (metric, value) in beside {
        for (role, figures, _) in clusters {
            page.count(metric, &[role.as_str()], value(figures));
        }
    }
    let events = &account.figures().events;
    page.count(table::EVENTS, &["covered"], events.covered);
    for cause in UncoveredCause::ALL {
        let count = events.uncovered.get(&cause).copied().unwrap_or_default();
        page.count(table::EVENTS, &[cause.as_str()], count);
    }
    for (role, figures, _) in clusters {
        let of = &figures.trials;
        let delivered = of.trials.saturating_sub(of.failures());
        for (outcome, count) in [
            ("delivered", delivered),
            ("partially_lost", of.publications_partially_lost),
            ("lost", of.publications_lost),
        ] {
            page.count(table::TRIALS, &[role.as_str(), outcome], count);
        }
    }
    for (role, figures, _) in clusters {
        page.gauge(table::LOSS_INCIDENTS, &[role.as_str()], figures.trials.incidents as f64);
    }
    let failed: u64 = events.failures.values().sum();
    page.count(table::EVENT_TRIALS, &["covered"], events.trials.saturating_sub(failed));
    for cause in UncoveredCause::ALL {
        let count = events.failures.get(&cause).copied().unwrap_or_default();
        page.count(table::EVENT_TRIALS, &[cause.as_str()], count);
    }
    let pairs = events.pairs;
    let lost = pairs.only_old + pairs.only_new + pairs.both;
    for (lost_on, count) in [
        ("neither", pairs.trials.saturating_sub(lost)),
        ("old", pairs.only_old),
        ("new", pairs.only_new),
        ("both", pairs.both),
    ] {
        page.count(table::EVENT_PAIRS, &[lost_on], count);
    }
    for (role, _, cluster) in clusters {
        for (kind, route) in labels {
            let of = cluster.latencies.iter();
            let of = of.filter(|(s, _)| (s.kind, s.route) == (*kind, *route));
            let mut latencies = Latencies::default();
            of.for_each(|(_, part)| latencies.merge(part));
            let labels = [role.as_str(), route.as_str(), kind.as_str()];
            page.histogram(table::DELIVERY_LATENCY, &labels, &latencies);
        }
    }
    for (role, figures, _) in clusters {
        page.histogram(table::PUBLISH_DURATION, &[role.as_str()], &figures.publish);
    }
}

fn connections(page: &mut Page, clusters: &[Cluster<'_>], all: &Figures, now: RunTime) {
    let none = Latencies::default();
    for (role, figures, _) in clusters {
        for step in ConnectStep::ALL {
            let took = figures.connect_steps.get(&step).unwrap_or(&none);
            page.histogram(table::CONNECT_DURATION, &[role.as_str(), step.as_str()], took);
        }
    }
    for (role, figures, _) in clusters {
        page.histogram(table::AUTH_DURATION, &[role.as_str()], &figures.auth);
    }
    for (role, figures, _) in clusters {
        page.count(table::AUTH, &[role.as_str(), "confirmed"], figures.confirmed);
        page.count(table::AUTH, &[role.as_str(), "refused"], figures.refused);
    }
    for (role, figures, _) in clusters {
        page.gauge(table::CONNECTIONS, &[role.as_str(), "ready"], figures.ready() as f64);
    }
    for (role, figures, _) in clusters {
        let mut other = 0;
        let mut known = BTreeMap::from(CODES.map(|code| (code, 0)));
        for (code, count) in &figures.closed_by_code {
            *known.get_mut(code).unwrap_or(&mut other) += count;
        }
        for (code, count) in known {
            page.count(table::DISCONNECTS, &[role.as_str(), &code.to_string()], count);
        }
        page.count(table::DISCONNECTS, &[role.as_str(), "other"], other);
        // Silent ones, and those that never confirmed a subscription: nobody gave a code.
        page.count(table::DISCONNECTS, &[role.as_str(), "none"], figures.given_up);
    }
    for (role, figures, cluster) in clusters {
        let lengths = cluster.lengths(figures, now);
        for cause in BlindCause::ALL {
            let length = lengths.get(&cause).copied().unwrap_or_default();
            page.seconds_total(table::BLIND_SECONDS, &[role.as_str(), cause.as_str()], length);
        }
    }
    for (role, figures, _) in clusters {
        let blind: u64 = figures.blind.values().sum();
        page.gauge(table::BLIND_WITNESSES, &[role.as_str()], blind as f64);
    }
    for (role, ..) in clusters {
        let unwatched = all.unwatched.get(role).copied().unwrap_or_default();
        page.gauge(table::UNWATCHED_STREAMS, &[role.as_str()], unwatched as f64);
    }
    for (role, figures, _) in clusters {
        if let Some(expires) = figures.certificate_expires {
            page.gauge(table::CERTIFICATE_EXPIRY, &[role.as_str()], expires as f64);
        }
    }
    for (role, figures, _) in clusters {
        let Traffic { received, sent } = figures.traffic;
        page.count(table::BYTES, &[role.as_str(), "received"], received);
        page.count(table::BYTES, &[role.as_str(), "sent"], sent);
    }
}

fn requests(page: &mut Page, clusters: &[Cluster<'_>], all: &Figures) {
    for (role, figures, _) in clusters {
        for class in STATUS_CLASSES {
            let of_class = |status: &u16| match class {
                "429" => *status == 429,
                "4xx" => (400..500).contains(status) && *status != 429,
                "5xx" => *status >= 500,
                "2xx" => (200..300).contains(status),
                _ => *status < 200 || (300..400).contains(status),
            };
            let count = figures.responses.iter().filter(|(s, _)| of_class(s)).map(|(_, n)| n).sum();
            page.count(table::HTTP_RESPONSES, &[role.as_str(), "publish", class], count);
        }
    }
    for (role, figures, _) in clusters {
        let used = figures.rate_limit_used.unwrap_or(f64::NAN);
        page.gauge(table::RATE_LIMIT_USED, &[role.as_str()], used);
    }
    for (role, figures, _) in clusters {
        let published = figures.publications_total();
        let unsigned = |kind| {
            let answered = figures.endpoints.get(&kind).map(|endpoint| &endpoint.answered);
            let answered = answered.into_iter().flatten();
            let unsigned = answered.filter(|(answered, _)| **answered != Answered::Signed);
            unsigned.map(|(_, count)| count).sum()
        };
        let read = figures.occupancy.as_ref().map_or(0, |read| read.failed);
        let held_against = figures.webhooks.as_ref().map_or(0, |told| told.failed);
        let sampled = all.mirror.as_ref().and_then(|(sample, _)| sample.failed.get(role));
        for (feature, count) in [
            ("connect", figures.failed),
            ("subscribe", figures.refused),
            ("publish", published.rejected + published.unknown),
            ("auth_endpoint", unsigned(EndpointKind::AuthEndpoint)),
            ("user_auth_endpoint", unsigned(EndpointKind::UserAuthEndpoint)),
            ("api", read + held_against + sampled.copied().unwrap_or_default()),
            ("status_page", figures.status_page.as_ref().map_or(0, |page| page.failures)),
        ] {
            page.count(table::ERRORS, &[role.as_str(), feature], count);
        }
    }
}

fn occupancy(page: &mut Page, clusters: &[Cluster<'_>], all: &Figures) {
    for (role, figures, _) in clusters {
        let read = figures.occupancy.as_ref().filter(|read| read.readings > 0);
        let sampled = all.mirror.as_ref().and_then(|(sample, _)| sample.last.listed(*role));
        let count = read.map(|read| read.last.total()).or(sampled);
        let count = count.map_or(f64::NAN, |n| n as f64);
        page.gauge(table::OCCUPIED_CHANNELS, &[role.as_str()], count);
    }
    let presence = all.mirror.as_ref().and_then(|(sample, _)| sample.presence);
    for (role, figures, _) in clusters {
        let read = figures.occupancy.as_ref().filter(|read| read.readings > 0);
        let sampled = presence.map(|members| match role {
            ClusterRole::Old => members.old,
            ClusterRole::New => members.new,
        });
        let count = read.and_then(|read| read.last.members).or(sampled);
        page.gauge(table::PRESENCE_MEMBERS, &[role.as_str()], count.map_or(f64::NAN, |n| n as f64));
    }
    let split = presence.and_then(|presence| presence.split_ratio());
    page.gauge(table::PRESENCE_SPLIT, &[], split.unwrap_or(f64::NAN));
    for (role, figures, _) in clusters {
        let read = figures.occupancy.as_ref().filter(|read| read.readings > 0);
        let count = read.and_then(|read| read.last.subscriptions);
        let count = count.map_or(f64::NAN, |n| n as f64);
        page.gauge(table::CHANNEL_SUBSCRIBERS, &[role.as_str()], count);
    }
}

fn mirror(page: &mut Page, figures: &Figures) {
    let none = MirrorFigures::default();
    let mirror = figures.mirror.as_ref().map_or(&none, |(_, mirror)| mirror);
    for outcome in Outcome::ALL {
        page.count(table::MIRROR_EVENTS, &[outcome.as_str()], mirror.count(outcome));
    }
    page.histogram(table::MIRROR_SKEW, &["new"], &mirror.new_later);
    page.histogram(table::MIRROR_SKEW, &["old"], &mirror.old_later);
}

fn conclusions(page: &mut Page, scrape: Scrape<'_>) {
    let account = scrape.judged;
    let asked = &account.begin().requirements;
    let findings = checks::judge(account.figures(), asked);
    for (role, figures) in &account.figures().clusters {
        let bound = asked.upper_bound(figures.trials.failures(), figures.trials.trials);
        page.gauge(table::LOSS_UPPER_BOUND, &[role.as_str()], bound);
    }
    let cluster = |c: Option<ClusterRole>| c.map_or("both", ClusterRole::as_str);
    for finding in &findings {
        let status = match finding.status {
            Status::Pass => 0.0,
            Status::Inconclusive => 1.0,
            Status::Fail => 2.0,
        };
        page.gauge(table::CHECK_STATUS, &[&finding.name, cluster(finding.cluster)], status);
    }
    for finding in &findings {
        // A check that saw nothing has no figure to show: not a number, rather than none at all.
        let observed = finding.observed.unwrap_or(f64::NAN);
        page.gauge(table::CHECK_OBSERVED, &[&finding.name, cluster(finding.cluster)], observed);
    }
    for finding in &findings {
        let limit = finding.limit.unwrap_or(f64::NAN);
        page.gauge(table::CHECK_LIMIT, &[&finding.name, cluster(finding.cluster)], limit);
    }
    for finding in &findings {
        let required = f64::from(u8::from(finding.required));
        page.gauge(table::CHECK_REQUIRED, &[&finding.name, cluster(finding.cluster)], required);
    }
    page.gauge(table::CONFIDENCE, &[], asked.limits.confidence);
    // What a record lacks, or a fault of ours, is no finding.
    let verdict = scrape.ended.map_or_else(|| Verdict::of(&findings), |ended| ended.verdict);
    for known in Verdict::ALL {
        let is = f64::from(u8::from(known == verdict));
        page.gauge(table::VERDICT, &[known.as_str()], is);
    }
}

fn webhooks(page: &mut Page, clusters: &[Cluster<'_>], figures: &Figures) {
    let told = || clusters.iter().filter_map(|(role, of, _)| Some((role, of.webhooks.as_ref()?)));
    if told().next().is_none() {
        return;
    }
    for (role, of) in told() {
        page.gauge(table::OCCUPIED_BY_WEBHOOKS, &[role.as_str()], of.open as f64);
    }
    let occupied = figures.occupied.unwrap_or_default();
    page.gauge(table::OCCUPIED_BY_WEBHOOKS, &["any"], occupied as f64);
    for (role, of) in told() {
        for kind in WebhookKind::ALL {
            let labels = [role.as_str(), kind.as_str(), "received"];
            page.count(table::WEBHOOKS, &labels, of.kinds.get(&kind).copied().unwrap_or_default());
        }
        for kind in [WebhookKind::ChannelOccupied, WebhookKind::ChannelVacated] {
            let labels = [role.as_str(), kind.as_str(), "lost"];
            page.count(table::WEBHOOKS, &labels, of.lost.get(&kind).copied().unwrap_or_default());
        }
        page.count(table::WEBHOOKS, &[role.as_str(), "any", "repeated"], of.repeated);
    }
    for (role, of) in told() {
        page.histogram(table::WEBHOOK_DELAY, &[role.as_str()], &of.delays);
    }
    for reason in Refusal::ALL {
        let count = figures.webhooks_refused.get(&reason).copied().unwrap_or_default();
        page.count(table::WEBHOOKS_REFUSED, &[reason.as_str()], count);
    }
}

fn load(page: &mut Page, clusters: &[Cluster<'_>]) {
    let load = || clusters.iter().filter_map(|(role, of, _)| Some((role, of.load.as_ref()?)));
    for (role, load) in load() {
        for (state, clients) in [("planned", load.load.connections), ("connected", load.connected)]
        {
            page.gauge(table::LOAD_CLIENTS, &[role.as_str(), state], clients as f64);
        }
    }
    for (role, load) in load() {
        for (outcome, count) in by_outcome(&load.obligations) {
            page.count(table::LOAD_DELIVERIES, &[role.as_str(), outcome], count);
        }
    }
}

/// The components of a page are at most as many as are watched, and each has a label of its own.
fn providers(page: &mut Page, clusters: &[Cluster<'_>]) {
    for (role, figures, _) in clusters {
        let Some(said) = &figures.status_page else { continue };
        let value = |status: ComponentStatus| match status {
            _ if !said.is_read => -1.0,
            ComponentStatus::Unknown => -1.0,
            ComponentStatus::Operational => 0.0,
            ComponentStatus::UnderMaintenance => 1.0,
            ComponentStatus::DegradedPerformance => 2.0,
            ComponentStatus::PartialOutage => 3.0,
            ComponentStatus::MajorOutage => 4.0,
        };
        page.gauge(table::PROVIDER_STATUS, &[role.as_str(), "page"], value(said.page));
        let mut taken = BTreeSet::from(["page".to_owned()]);
        for Watched { id, name, status, .. } in &said.components {
            let label = match taken.contains(name) {
                false => name.clone(),
                true => format!("{name} ({id})"),
            };
            if taken.insert(label.clone()) {
                page.gauge(table::PROVIDER_STATUS, &[role.as_str(), &label], value(*status));
            }
        }
    }
}

fn instrument(page: &mut Page, scrape: Scrape<'_>) {
    let Scrape { total, watch, ended, .. } = scrape;
    let (begin, figures) = (total.begin(), total.figures());
    let wall = |at: RunTime| (begin.origin + at.since(RunTime::ZERO)).as_secs_f64();
    if let Some(since) = figures.events.covered_since {
        page.gauge(table::COVERED_SINCE, &[], wall(since));
    }
    if let Some(until) = figures.events.covered_until {
        page.gauge(table::COVERED_UNTIL, &[], wall(until));
    }
    let payload = begin.settings.pointer("/canary/payload_bytes");
    let payload = payload.and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
    page.gauge(table::MESSAGE_BYTES, &[], payload);
    let used = figures.budget_used;
    for role in figures.clusters.keys() {
        let used = used.map_or(f64::NAN, |used| used.per_app);
        page.gauge(table::BUDGET_USED, &[role.as_str()], used);
    }
    page.gauge(table::BUDGET_USED, &["both"], used.map_or(f64::NAN, |used| used.together));
    if let Some(Watch { window, is_current, taken }) = watch {
        page.gauge(table::WINDOW, &[], window.as_secs_f64());
        page.gauge(table::RELOAD_SUCCESS, &[], f64::from(u8::from(is_current)));
        page.gauge(table::RELOAD_AT, &[], taken.as_secs_f64());
    }
    page.gauge(table::OBSERVED, &[], figures.observed().as_secs_f64());
    page.count(table::TAINTED_SECONDS, &[], figures.tainted_seconds);
    page.histogram(table::SCHEDULE_LAG, &[], &figures.lag);
    page.gauge(table::RUNTIME_STALL, &[], figures.stall_max.as_secs_f64());
    let (run, phase) = (begin.run.to_string(), begin.requirements.phase.as_str());
    let Member { shard, role, region } = &begin.member;
    let (index, of) = (shard.index.to_string(), shard.of.to_string());
    let digest = settings::digest(&begin.settings);
    let info = [&*run, &begin.scenario, &digest, phase, &index, &of, region, role.as_str()];
    page.gauge(table::RUN_INFO, &info, 1.0);
    let is_rehearsed = begin.settings.get("clusters").is_some_and(|of| of == "embedded");
    page.gauge(table::REHEARSED, &[], f64::from(u8::from(is_rehearsed)));
    page.gauge(table::RUN_STARTED, &[], wall(RunTime::ZERO));
    let has_failed = ended.is_some_and(|ended| ended.has_failed);
    page.gauge(table::RUN_FAILED, &[], f64::from(u8::from(has_failed)));
    if let Some(Ended { at, .. }) = ended {
        page.gauge(table::RUN_ENDED, &[], wall(at));
    }
    page.gauge(table::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fact::Fact;
    use crate::verify::gather::Gatherer;
    use crate::verify::record::Begin;
    use crate::verify::status_page::{Component, PageFact, Reading};
    use crate::verify::testing::begin;

    #[test]
    fn every_component_has_one_series_of_its_own_whatever_it_is_called() {
        let status_pages = BTreeMap::from([(ClusterRole::New, "https://status".to_owned())]);
        let mut account = Account::new(Begin { status_pages, ..begin(&[ClusterRole::New], &[]) });
        let shown = |account: &Account| {
            let text = render(Scrape::of_run(account, None));
            let of = text.lines().filter(|l| l.starts_with("pusher_canary_provider_status"));
            of.map(|line| line.split_once("component=").unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&account), [r#""page"} -1"#]);
        let component = |(id, name): (&str, &str)| Component {
            id: id.to_owned(),
            name: name.to_owned(),
            status: ComponentStatus::MajorOutage,
        };
        let named = [("1", "API"), ("2", "API"), ("3", "page"), ("4", "a \"b\""), ("5", "API (2)")];
        let components = named.map(component).to_vec();
        let reading =
            Reading { page: ComponentStatus::PartialOutage, components, ..<_>::default() };
        let mut gatherer = Gatherer::new(&[ClusterRole::New], Vec::new(), 1);
        let mut tell = |fact| {
            gatherer.handle(Fact::StatusPage(ClusterRole::New, RunTime::ZERO, fact));
            account.apply(&gatherer.close(RunTime::ZERO, false));
            shown(&account)
        };
        let series = [
            r#""page"} 3"#,
            r#""API"} 4"#,
            r#""API (2)"} 4"#,
            r#""page (3)"} 4"#,
            r#""a \"b\""} 4"#,
            r#""API (2) (5)"} 4"#,
        ];
        assert_eq!(tell(PageFact::Read(Box::new(reading))), series);
        let unknown = tell(PageFact::Failed("no answer".to_owned()));
        assert!(unknown.len() == 6 && unknown.iter().all(|s| s.ends_with(" -1")), "{unknown:?}");
    }
}
