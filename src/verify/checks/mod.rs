//! Checks: pure functions from figures and limits to findings. One file each.

mod auth;
mod blind;
mod budget;
mod connect;
mod controls;
mod coverage;
mod drained;
mod duplicates;
mod endpoint;
mod evidence;
mod handover;
mod inferiority;
mod instrument;
mod integrity;
mod late;
mod latency;
mod left_behind;
mod load;
mod loss;
mod mirror;
mod misrouting;
mod order;
mod pairs;
mod parity;
mod percent;
mod publish;
mod publish_time;
mod published;
mod status_page;
mod strata;
mod trend;
mod webhooks;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::time::human;
use crate::model::{ClusterRole, MemberRole};

use super::figures::{ClusterFigures, Figures};
use super::latency::Latencies;
use super::stats::{self, Interval};
use super::verdict::{Finding, Status};

use percent::percent_below;
pub use percent::{percent, percent_above};

/// What a run is for; decides which checks the verdict requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Both clusters reached, authorised, and one event each way per channel kind.
    Preflight,
    /// Everything on both clusters.
    DualPublish,
    /// Everything on new; on old its publish success and evidence.
    Cutover,
    /// Nobody is left on old. Nothing is published but controls on new.
    Drain,
    /// Everything on the one cluster.
    Steady,
}

impl Phase {
    /// Every phase that can be run.
    pub const ALL: [Self; 5] =
        [Self::Preflight, Self::DualPublish, Self::Cutover, Self::Drain, Self::Steady];

    /// The phase's name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::DualPublish => "dual-publish",
            Self::Cutover => "cutover",
            Self::Drain => "drain",
            Self::Steady => "steady",
        }
    }

    /// Whether canary events are published.
    pub const fn publishes(self) -> bool {
        !matches!(self, Self::Drain)
    }

    /// Whether the run subscribes to channels of this cluster. Who drains must not add to what is
    /// to be gone.
    pub const fn subscribes_on(self, role: ClusterRole) -> bool {
        !matches!((self, role), (Self::Drain, ClusterRole::Old))
    }
}

/// The limits of `[gate]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Highest loss rate, and highest rate of uncovered events (ratio).
    pub loss_rate_max: f64,
    /// Confidence of every inferential check (0 to 1).
    pub confidence: f64,
    /// Most duplicates.
    pub duplicates_max: u64,
    /// Most reordered deliveries.
    pub reordered_max: u64,
    /// Most obligations missed while offline, causes other than the agent's own, of all (ratio).
    pub missed_offline_ratio_max: f64,
    /// Most late deliveries of all (ratio).
    pub late_ratio_max: f64,
    /// The new cluster's p99 latency against the old one's (ratio).
    pub latency_p99_ratio_max: f64,
    /// The median latency of the last third of publishing against that of the first (ratio).
    pub latency_trend_ratio_max: f64,
    /// Added to what a latency is compared with.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub latency_slack: Duration,
    /// Highest p99 latency; null without an absolute limit.
    #[serde(with = "human::option")]
    #[schemars(with = "Option<human::Text>")]
    pub latency_p99_max: Option<Duration>,
    /// Highest p99 time to connect.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub connect_p99_max: Duration,
    /// Highest p99 time from taking a publication up to its answer.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub publish_p99_max: Duration,
    /// Least share of authorised subscriptions that the cluster confirms (ratio).
    pub auth_success_min: f64,
    /// Least share of publications that the cluster accepts (ratio).
    pub publish_success_min: f64,
    /// Time within which the cluster's API must show the run's channels as empty after it.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub left_behind_within: Duration,
    /// Time for which no channel of the old cluster may have been occupied at the end of a drain.
    /// Reports of the first versions lack it.
    #[serde(default, with = "human")]
    #[schemars(with = "human::Text", skip_serializing_if = "Duration::is_zero")]
    pub drained_for: Duration,
    /// How it is known that the old cluster is the one that users were on, where a drain never saw
    /// anybody there; without it such a drain is left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
    /// Highest p99 time until an auth endpoint of the application answers. Reports of the first
    /// versions lack it.
    #[serde(default = "endpoint::p99_max", with = "human", skip_serializing_if = "is_default_p99")]
    #[schemars(with = "human::Text")]
    pub auth_endpoint_p99_max: Duration,
    /// Most real events that one cluster alone carried, or carried otherwise or more often than the
    /// other, of all that were observed (ratio). Reports of the first versions lack it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mirror_ratio_max: f64,
    /// Most events that a client may miss because it moves, on average; null: none where it
    /// overlaps, and any number where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover_missed_max: Option<f64>,
    /// Least share of simulated clients that are taken in, of their tries that succeed and of their
    /// connections that stay (ratio). Reports of the first versions lack it.
    #[serde(default = "load::share_min", skip_serializing_if = "is_default_share")]
    pub load_connected_min: f64,
    /// Least share of what simulated clients are owed that they get in time (ratio).
    #[serde(default = "load::share_min", skip_serializing_if = "is_default_share")]
    pub load_delivered_min: f64,
    /// Most seconds that may be tainted (ratio).
    pub tainted_ratio_max: f64,
}

impl Limits {
    /// Those of a judgement on nothing but rates of loss, duplicates and order: whatever else there
    /// is keeps the others.
    pub const fn of_sums(
        loss_rate_max: f64,
        confidence: f64,
        duplicates_max: u64,
        reordered_max: u64,
    ) -> Self {
        Self {
            loss_rate_max,
            confidence,
            duplicates_max,
            reordered_max,
            missed_offline_ratio_max: 1.0,
            late_ratio_max: 1.0,
            latency_p99_ratio_max: f64::MAX,
            latency_trend_ratio_max: f64::MAX,
            latency_slack: Duration::MAX,
            latency_p99_max: None,
            connect_p99_max: Duration::MAX,
            publish_p99_max: Duration::MAX,
            auth_success_min: 0.0,
            publish_success_min: 0.0,
            left_behind_within: Duration::MAX,
            drained_for: Duration::ZERO,
            unseen: None,
            auth_endpoint_p99_max: Duration::MAX,
            mirror_ratio_max: 1.0,
            handover_missed_max: None,
            load_connected_min: 0.0,
            load_delivered_min: 0.0,
            tainted_ratio_max: 1.0,
        }
    }
}

/// Whether a ratio is the default one: it is left out, and read as that again.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(ratio: &f64) -> bool {
    *ratio == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_both(role: &MemberRole) -> bool {
    *role == MemberRole::Both
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_default_share(least: &f64) -> bool {
    *least == load::share_min()
}

fn is_default_p99(limit: &Duration) -> bool {
    *limit == endpoint::p99_max()
}

/// When a bound is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Looks {
    /// Once, when a run of planned length has ended.
    #[default]
    Once,
    /// Whenever one likes: the bounds hold at all times at once.
    Anytime,
    /// Again and again at a window that slides over a run without an end, each time by the bound
    /// for one look: an alarm, and no proof.
    Rolling,
}

impl Looks {
    /// Whether a verdict by such looks is a proof.
    pub const fn proves(self) -> bool {
        !matches!(self, Self::Rolling)
    }
}

/// What the findings are judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requirements {
    /// The phase.
    pub phase: Phase,
    /// What the process does that is judged. Who publishes says nothing of deliveries; who
    /// witnesses what another process published says nothing of that process, nor of time, for
    /// their clocks differ.
    #[serde(default, skip_serializing_if = "is_both")]
    pub role: MemberRole,
    /// When bounds are looked at.
    pub looks: Looks,
    /// The limits.
    pub limits: Limits,
}

impl Requirements {
    /// Trials without a failure that the asked proof takes.
    pub fn trials_needed(&self) -> u64 {
        let Limits { loss_rate_max, confidence, .. } = self.limits;
        match self.looks {
            Looks::Once | Looks::Rolling => stats::trials_needed(loss_rate_max, confidence),
            Looks::Anytime => stats::trials_needed_anytime(loss_rate_max, confidence),
        }
    }

    /// The rate that so many failures, or fewer, rule out.
    pub fn upper_bound(&self, failures: u64, trials: u64) -> f64 {
        let confidence = self.limits.confidence;
        match self.looks {
            Looks::Once | Looks::Rolling => stats::upper_bound(failures, trials, confidence),
            Looks::Anytime => stats::upper_bound_anytime(failures, trials, confidence),
        }
    }

    /// The rate that so many failures, or more, rule out.
    pub fn lower_bound(&self, failures: u64, trials: u64) -> f64 {
        let confidence = self.limits.confidence;
        match self.looks {
            Looks::Once | Looks::Rolling => stats::lower_bound(failures, trials, confidence),
            Looks::Anytime => stats::lower_bound_anytime(failures, trials, confidence),
        }
    }

    /// Whether the phase says something of this cluster. A run that lacks it cannot be judged.
    fn asks_for(&self, role: ClusterRole, figures: &Figures) -> bool {
        match self.phase {
            Phase::Preflight | Phase::DualPublish | Phase::Cutover | Phase::Drain => true,
            // One cluster, whichever it is.
            Phase::Steady => figures.clusters.is_empty() || figures.clusters.contains_key(&role),
        }
    }

    /// Whether the verdict rests on a check of a cluster that ended so. `both` checks have no
    /// cluster. A preflight has nothing to prove, so what lacks evidence is not required of it; but
    /// what it shows to be broken is broken. How fast both are is not its subject.
    fn requires(&self, check: &str, cluster: Option<ClusterRole>, seen: &Seen) -> bool {
        let is_shown = match check {
            // Which cluster is worse; how much either may lose is the subject of loss.
            "loss-new-vs-old" => true,
            "latency" => seen.limit.is_none(),
            // A page that cannot be read says nothing of the cluster.
            "status-page" => seen.status == Status::Inconclusive,
            // In a window nobody need have connected, and no channel need have come or gone.
            "connect" | "auth" | "webhooks" if self.looks == Looks::Rolling => {
                seen.status == Status::Inconclusive
            }
            _ => false,
        };
        if is_shown {
            return false;
        }
        match (self.phase, cluster) {
            (Phase::Preflight, _) => {
                let is_of_speed = matches!(
                    check,
                    "connect"
                        | "late"
                        | "latency"
                        | "latency-new-vs-old"
                        | "latency-trend"
                        | "publish-time"
                );
                // Whether the application publishes to both yet is not its subject either.
                seen.status == Status::Fail && !is_of_speed && check != "mirror"
                    || matches!(
                        check,
                        "evidence"
                            | "strata"
                            | "auth"
                            | "auth-endpoint"
                            | "user-auth-endpoint"
                            | "parity"
                            | "webhooks"
                            | "budget"
                            | "controls"
                            | "instrument"
                    )
            }
            (Phase::Cutover, Some(ClusterRole::Old)) => matches!(check, "publish" | "evidence"),
            // Joint checks would let the old cluster's lossiness keep people on it.
            (Phase::Cutover | Phase::Steady, None) => {
                matches!(check, "budget" | "handover" | "instrument" | "parity")
            }
            // What is wrong with old must keep nobody from leaving it for good.
            (Phase::Drain, Some(ClusterRole::Old)) => check != "status-page",
            (Phase::DualPublish | Phase::Drain | Phase::Steady, _) | (Phase::Cutover, Some(_)) => {
                true
            }
        }
    }

    /// What a check saw, as a finding.
    fn finding(&self, name: &'static str, cluster: Option<ClusterRole>, seen: Seen) -> Finding {
        Finding {
            name: name.into(),
            cluster,
            required: self.requires(name, cluster, &seen),
            status: seen.status,
            observed: seen.observed,
            limit: seen.limit,
            target: seen.target,
            unit: seen.unit.into(),
            evidence: seen.evidence,
            detail: seen.detail,
        }
    }
}

/// What a check saw: all of a finding but its identity.
struct Seen {
    status: Status,
    observed: Option<f64>,
    limit: Option<f64>,
    target: Option<f64>,
    unit: &'static str,
    evidence: u64,
    detail: String,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            status: Status::Inconclusive,
            observed: None,
            limit: None,
            target: None,
            unit: "count",
            evidence: 0,
            detail: String::new(),
        }
    }
}

/// Judges figures. Every check, for each cluster where it has one, in a fixed order. A cluster that
/// the phase asks for and the figures do not know has a finding too: it lacks evidence.
pub fn judge(figures: &Figures, asked: &Requirements) -> Vec<Finding> {
    let mut findings = Vec::new();
    let roles = ClusterRole::ALL.into_iter().filter(|r| asked.asks_for(*r, figures));
    for role in roles {
        let evidence = evidence::check(figures, role, asked);
        findings.push(asked.finding("evidence", Some(role), evidence));
        let Some(cluster) = figures.clusters.get(&role) else { continue };
        if asked.phase.publishes() {
            judge_cluster(figures, role, cluster, asked, &mut findings);
        } else {
            judge_drain(figures, role, cluster, asked, &mut findings);
        }
        for (kind, endpoint) in &cluster.endpoints {
            let seen = endpoint::check(endpoint, &asked.limits);
            findings.push(asked.finding(kind.as_str(), Some(role), seen));
        }
        if let Some(load) = &cluster.load {
            let seen = load::check(load, &asked.limits, figures.is_ended);
            findings.push(asked.finding("load", Some(role), seen));
        }
        if let Some(told) = &cluster.webhooks {
            let refused = &figures.webhooks_refused;
            findings.push(asked.finding("webhooks", Some(role), webhooks::check(told, refused)));
        }
        if let Some(page) = &cluster.status_page {
            let seen = status_page::check(page);
            findings.push(asked.finding("status-page", Some(role), seen));
        }
    }
    if asked.phase.publishes()
        && asked.role.witnesses()
        && let (Some(old), Some(new)) =
            (figures.clusters.get(&ClusterRole::Old), figures.clusters.get(&ClusterRole::New))
    {
        findings.extend([
            asked.finding("coverage", None, coverage::check(figures, asked)),
            asked.finding("loss-new-vs-old", None, pairs::check(figures, &asked.limits)),
        ]);
        if asked.role.publishes() {
            let seen = inferiority::check(old, new, asked);
            findings.push(asked.finding("latency-new-vs-old", None, seen));
        }
    }
    if let Some((sample, mirror)) = &figures.mirror {
        let seen = mirror::check(sample, mirror, &asked.limits);
        findings.push(asked.finding("mirror", None, seen));
    }
    if let Some(evidence) = &figures.published {
        findings.push(asked.finding(
            "published",
            None,
            published::check(evidence, figures.published_for),
        ));
    }
    if let Some(parity) = &figures.parity {
        findings.push(asked.finding("parity", None, parity::check(parity)));
    }
    if let Some(handover) = &figures.handover {
        let seen = handover::check(handover, &asked.limits);
        findings.push(asked.finding("handover", None, seen));
    }
    if let Some(used) = figures.budget_used {
        findings.push(asked.finding("budget", None, budget::check(used)));
    }
    findings.push(asked.finding("instrument", None, instrument::check(figures, asked)));
    findings
}

/// What a run that ends as soon as it can is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every required check that can be decided by now passes, on enough trials.
    Stands,
    /// A required check of a rate or a quantile fails. It has said so by a bound that holds at all
    /// times, so no more trials are owed to it.
    Failed,
    /// Neither.
    Open,
}

/// How the proof stands. To be asked again and again only where the bounds hold at all times.
pub fn proof(figures: &Figures, asked: &Requirements) -> Proof {
    // These come out only when the last connection is closed.
    const AT_THE_END: [&str; 3] = ["controls", "evidence", "left-behind"];
    const INFERENTIAL: [&str; 4] = ["coverage", "latency", "latency-new-vs-old", "loss"];
    let findings = judge(figures, asked);
    let mut required = findings.iter().filter(|finding| finding.required);
    let has_failed =
        |finding: &Finding| finding.status == Status::Fail && INFERENTIAL.contains(&&*finding.name);
    if required.clone().any(has_failed) {
        return Proof::Failed;
    }
    let is_enough = |finding: &Finding| match &*finding.name {
        "evidence" => finding.limit.is_some_and(|needed| finding.evidence as f64 >= needed),
        name => finding.status == Status::Pass || AT_THE_END.contains(&name),
    };
    if required.all(is_enough) { Proof::Stands } else { Proof::Open }
}

/// A drain asks whether anybody is left on old, and of new that who reads can see.
fn judge_drain(
    figures: &Figures,
    role: ClusterRole,
    cluster: &ClusterFigures,
    asked: &Requirements,
    findings: &mut Vec<Finding>,
) {
    let of = |name, seen| asked.finding(name, Some(role), seen);
    match role {
        ClusterRole::Old => findings.push(of("drained", drained::check(cluster, &asked.limits))),
        ClusterRole::New => {
            findings.push(of("controls", controls::check(figures, cluster)));
            if asked.looks != Looks::Rolling {
                let seen = left_behind::check(figures, cluster, &asked.limits);
                findings.push(of("left-behind", seen));
            }
        }
    }
}

fn judge_cluster(
    figures: &Figures,
    role: ClusterRole,
    cluster: &ClusterFigures,
    asked: &Requirements,
    findings: &mut Vec<Finding>,
) {
    let of = |name, seen| asked.finding(name, Some(role), seen);
    let limits = &asked.limits;
    let (publishes, witnesses) = (asked.role.publishes(), asked.role.witnesses());
    if witnesses {
        findings.extend([
            of("strata", strata::check(figures, cluster, asked)),
            of("controls", controls::check(figures, cluster)),
            of("loss", loss::check(cluster, asked)),
            of("duplicates", duplicates::check(cluster, limits)),
            of("order", order::check(cluster, limits)),
            of("integrity", integrity::check(cluster)),
            of("misrouting", misrouting::check(cluster)),
            of("blind", blind::check(cluster, limits)),
        ]);
    }
    if publishes && witnesses {
        findings.extend([
            of("late", late::check(cluster, limits)),
            of("latency", latency::check(cluster, asked)),
            of("latency-trend", trend::check(cluster, asked)),
        ]);
    }
    if publishes {
        findings.extend([
            of("publish", publish::check(cluster, limits)),
            of("publish-time", publish_time::check(cluster, limits)),
        ]);
    }
    if !witnesses {
        return;
    }
    findings.push(of("connect", connect::check(cluster, limits)));
    // Where nothing is signed there is nothing to refuse; that is no lack of evidence.
    if figures.has_signed_channels() {
        findings.push(of("auth", auth::check(cluster, limits)));
    }
    // It is asked when the last connection is closed: of all processes on these channels.
    if asked.looks != Looks::Rolling && publishes {
        findings.push(of("left-behind", left_behind::check(figures, cluster, limits)));
    }
}

/// Judges a rate by its bounds: pass if the upper one keeps the limit, fail if the lower one breaks
/// it. `what` says what was counted, `nothing` what to say where there was no trial.
fn bounded(failures: u64, trials: u64, asked: &Requirements, what: &str, nothing: &str) -> Seen {
    let (limit, confidence) = (asked.limits.loss_rate_max, asked.limits.confidence);
    let upper = asked.upper_bound(failures, trials);
    let lower = asked.lower_bound(failures, trials);
    let (sure, allowed) = (percent(confidence), percent(limit));
    let (below, least) = (percent_above(upper), percent_below(lower));
    let (status, detail) = if trials == 0 {
        (Status::Inconclusive, nothing.to_owned())
    } else if upper <= limit {
        (Status::Pass, format!("{what}; below {below} at {sure} confidence"))
    } else if lower > limit {
        let claim = format!("at least {least} at {sure} confidence, {allowed} allowed");
        (Status::Fail, format!("{what}; {claim}"))
    } else {
        let claim = format!("below {below} at {sure} confidence, {allowed} allowed");
        (Status::Inconclusive, format!("{what}; {claim}"))
    };
    Seen {
        status,
        observed: Some(upper),
        limit: Some(limit),
        unit: "ratio",
        evidence: trials,
        detail,
        ..Seen::default()
    }
}

/// Judges a count of anomalies among the deliveries.
fn anomalies(seen: u64, allowed: u64, what: &str, cluster: &ClusterFigures) -> Seen {
    let obligations = cluster.obligations_total();
    let evidence = obligations.delivered + obligations.late;
    let status = match seen {
        n if n > allowed => Status::Fail,
        _ if evidence == 0 => Status::Inconclusive,
        _ => Status::Pass,
    };
    Seen {
        status,
        observed: Some(seen as f64),
        limit: Some(allowed as f64),
        unit: "count",
        evidence,
        detail: format!("{seen} {what} among {evidence} deliveries, {allowed} allowed"),
        ..Seen::default()
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds for people; a question mark where they are not known.
fn ms(ms: Option<f64>) -> String {
    ms.map_or("?".to_owned(), |ms| format!("{ms:.1}"))
}

/// An interval for people, and of how many samples it is where they are too few for it.
fn range(interval: Interval, samples: &Latencies) -> String {
    let Interval { lower, upper } = interval;
    let known = match (lower, upper) {
        (Some(_), Some(_)) => return format!("{}–{} ms", ms(lower), ms(upper)),
        (Some(_), None) => format!("at least {} ms", ms(lower)),
        (None, Some(_)) => format!("at most {} ms", ms(upper)),
        (None, None) => "unknown".to_owned(),
    };
    let n = samples.count();
    format!("{known} from {n} {}", if n == 1 { "sample" } else { "samples" })
}

/// Where the quantile `q` lies, in milliseconds.
fn interval(latencies: &Latencies, q: f64, asked: &Requirements) -> Interval {
    let (n, confidence) = (latencies.count(), asked.limits.confidence);
    let (lower, upper) = match asked.looks {
        Looks::Once | Looks::Rolling => stats::quantile_ranks(n, q, confidence),
        Looks::Anytime => stats::quantile_ranks_anytime(n, q, confidence),
    };
    Interval {
        lower: lower.and_then(|rank| latencies.rank_ms(rank)),
        upper: upper.and_then(|rank| latencies.rank_ms(rank)),
    }
}

/// Judges a ratio as it was seen, on at least one sample.
fn ratio(part: u64, whole: u64, keeps: impl Fn(f64) -> bool) -> (Status, Option<f64>) {
    if whole == 0 {
        return (Status::Inconclusive, None);
    }
    let ratio = part as f64 / whole as f64;
    (if keeps(ratio) { Status::Pass } else { Status::Fail }, Some(ratio))
}

/// A ratio as it was seen, in brackets, and where it fails the limit beside it.
fn shown(observed: Option<f64>, status: Status, limit: f64, word: &str) -> String {
    match (observed, status) {
        (None, _) => String::new(),
        (Some(ratio), Status::Fail) => {
            format!(" ({}, {} {word})", percent(ratio), percent(limit))
        }
        (Some(ratio), _) => format!(" ({})", percent(ratio)),
    }
}

/// Whole seconds, as people write them. Never more than it is.
fn seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests;
