//! Checks: pure functions from an account and the limits to findings. One file each.

mod blind;
mod connect;
mod coverage;
mod duplicates;
mod evidence;
mod instrument;
mod integrity;
mod latency;
mod loss;
mod publish;

use std::time::Duration;

use serde::Serialize;

use crate::model::ClusterRole;

use super::account::{Account, ClusterAccount};
use super::stats;
use super::verdict::{Finding, Status};

/// What a run is for; decides which checks the verdict requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Both clusters reached, authorised, and one event each way per channel kind.
    Preflight,
    /// Everything on both clusters.
    DualPublish,
    /// Everything on new; on old its publish success and evidence.
    Cutover,
    /// Everything on the one cluster.
    Steady,
}

impl Phase {
    /// Every phase that can be run.
    pub const ALL: [Self; 4] = [Self::Preflight, Self::DualPublish, Self::Cutover, Self::Steady];

    /// The phase's name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::DualPublish => "dual-publish",
            Self::Cutover => "cutover",
            Self::Steady => "steady",
        }
    }
}

/// The limits of `[gate]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Highest loss rate, and highest rate of uncovered events (ratio).
    pub loss_rate_max: f64,
    /// Confidence of every inferential check (0 to 1).
    pub confidence: f64,
    /// Most duplicates.
    pub duplicates_max: u64,
    /// Most obligations missed while offline, causes other than the agent's own, of all (ratio).
    pub missed_offline_ratio_max: f64,
    /// Most late deliveries of all (ratio).
    pub late_ratio_max: f64,
    /// The new cluster's p99 latency against the old one's (ratio).
    pub latency_p99_ratio_max: f64,
    /// Added to the old cluster's p99 before it is compared.
    pub latency_slack: Duration,
    /// Highest p99 latency; `None`: no absolute limit.
    pub latency_p99_max: Option<Duration>,
    /// Highest p99 time to connect.
    pub connect_p99_max: Duration,
    /// Least share of authorised subscriptions that the cluster confirms (ratio).
    pub auth_success_min: f64,
    /// Least share of publications that the cluster accepts (ratio).
    pub publish_success_min: f64,
    /// Most seconds that may be tainted (ratio).
    pub tainted_ratio_max: f64,
}

/// What the findings are judged by.
#[derive(Clone, Debug)]
pub struct Requirements {
    /// The phase.
    pub phase: Phase,
    /// The limits.
    pub limits: Limits,
}

impl Requirements {
    /// Whether the phase says something of this cluster. A run that lacks it cannot be judged.
    fn asks_for(&self, role: ClusterRole, account: &Account) -> bool {
        match self.phase {
            Phase::Preflight | Phase::DualPublish | Phase::Cutover => true,
            // One cluster, whichever it is.
            Phase::Steady => {
                account.clusters().is_empty() || account.clusters().contains_key(&role)
            }
        }
    }

    /// Whether the verdict rests on a check of a cluster that ended so. `both` checks have no
    /// cluster. A preflight has nothing to prove, so what lacks evidence is not required of it; but
    /// what it shows to be broken is broken. How fast both are is not its subject.
    fn requires(&self, check: &str, cluster: Option<ClusterRole>, status: Status) -> bool {
        match (self.phase, cluster) {
            (Phase::Preflight, _) => {
                let is_of_speed =
                    matches!(check, "connect" | "late" | "latency" | "latency-new-vs-old");
                status == Status::Fail && !is_of_speed
                    || matches!(check, "evidence" | "auth" | "instrument")
            }
            (Phase::Cutover, Some(ClusterRole::Old)) => matches!(check, "publish" | "evidence"),
            // Joint checks would let the old cluster's lossiness keep people on it.
            (Phase::Cutover, None) => check == "instrument",
            (Phase::Steady, None) => check == "instrument",
            (Phase::DualPublish | Phase::Steady, _) | (Phase::Cutover, Some(_)) => true,
        }
    }

    /// What a check saw, as a finding.
    fn finding(&self, name: &'static str, cluster: Option<ClusterRole>, seen: Seen) -> Finding {
        Finding {
            name,
            cluster,
            required: self.requires(name, cluster, seen.status),
            status: seen.status,
            observed: seen.observed,
            limit: seen.limit,
            unit: seen.unit,
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
    unit: &'static str,
    evidence: u64,
    detail: String,
}

/// Judges an account. Every check, for each cluster where it has one, in a fixed order. A cluster
/// that the phase asks for and the account does not know has a finding too: it lacks evidence.
pub fn judge(account: &Account, requirements: &Requirements) -> Vec<Finding> {
    let mut findings = Vec::new();
    let roles = ClusterRole::ALL.into_iter().filter(|r| requirements.asks_for(*r, account));
    for role in roles {
        let evidence = evidence::check(account, role, requirements);
        findings.push(requirements.finding("evidence", Some(role), evidence));
        if let Some(cluster) = account.clusters().get(&role) {
            judge_cluster(account, role, cluster, requirements, &mut findings);
        }
    }
    if let (Some(old), Some(new)) =
        (account.clusters().get(&ClusterRole::Old), account.clusters().get(&ClusterRole::New))
    {
        let both = |name, seen| requirements.finding(name, None, seen);
        findings.push(both("coverage", coverage::check(account, &requirements.limits)));
        let seen = latency::new_against_old(old, new, &requirements.limits);
        findings.push(both("latency-new-vs-old", seen));
    }
    let seen = instrument::check(account, &requirements.limits);
    findings.push(requirements.finding("instrument", None, seen));
    findings
}

fn judge_cluster(
    account: &Account,
    role: ClusterRole,
    cluster: &ClusterAccount,
    requirements: &Requirements,
    findings: &mut Vec<Finding>,
) {
    let of = |name, seen| requirements.finding(name, Some(role), seen);
    let limits = &requirements.limits;
    findings.extend([
        of("loss", loss::check(account.trials(role), limits)),
        of("duplicates", duplicates::check(account, cluster, limits)),
        of("integrity", integrity::check(account, cluster)),
        of("publish", publish::check(account, cluster, limits)),
        of("blind", blind::check(account, cluster, limits)),
        of("late", latency::late(account, cluster, limits)),
        of("connect", connect::time(account, cluster, limits)),
    ]);
    // Where nothing is signed there is nothing to refuse; that is no lack of evidence.
    if account.has_signed_channels() {
        findings.push(of("auth", connect::authorisation(cluster, limits)));
    }
    if let Some(seen) = latency::absolute(cluster, limits) {
        findings.push(of("latency", seen));
    }
}

/// Judges a rate by its exact bounds: pass if the upper one keeps the limit, fail if the lower one
/// breaks it. `what` says what was counted, `nothing` what to say where there was no trial.
fn bounded(failures: u64, trials: u64, limits: &Limits, what: &str, nothing: &str) -> Seen {
    let (limit, confidence) = (limits.loss_rate_max, limits.confidence);
    let upper = stats::upper_bound(failures, trials, confidence);
    let lower = stats::lower_bound(failures, trials, confidence);
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

/// A ratio as a percentage, as near as two significant digits tell: of what is missing to 100 %,
/// where that is less.
pub fn percent(ratio: f64) -> String {
    rounded(ratio, f64::round)
}

/// An upper bound as a percentage. Never less than it is: "below" must stay true.
pub fn percent_above(ratio: f64) -> String {
    rounded(ratio, f64::ceil)
}

/// A lower bound as a percentage. Never more than it is: "at least" must stay true.
fn percent_below(ratio: f64) -> String {
    rounded(ratio, f64::floor)
}

fn rounded(ratio: f64, round: fn(f64) -> f64) -> String {
    let percent = ratio * 100.0;
    let telling = percent.min(100.0 - percent);
    if telling <= 0.0 {
        return format!("{percent:.0} %");
    }
    let decimals = (1.0 - telling.log10().floor()).clamp(0.0, 12.0);
    let scale = 10_f64.powf(decimals);
    // A decimal fraction has no exact double: 0.05 % is not to become 0.051 % for that.
    let nearest = (percent * scale).round();
    let scaled =
        if (percent * scale - nearest).abs() < 1e-6 { nearest } else { round(percent * scale) };
    let text = format!("{:.*}", decimals as usize, scaled / scale);
    // Near 100 % the digits tell how much is missing, and noughts at their end tell nothing.
    let text = if percent > 10.0 && text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &*text
    };
    format!("{text} %")
}

#[cfg(test)]
mod tests;
