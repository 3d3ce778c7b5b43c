//! Latency: late deliveries, an absolute limit on p99, and new against old.

use std::time::Duration;

use crate::verify::account::{Account, ClusterAccount};
use crate::verify::latency::Latencies;
use crate::verify::stats::quantile_ranks;
use crate::verify::verdict::Status;

use super::{Limits, Seen, ratio, shown};

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds for people; a question mark where they are not known.
fn ms(ms: Option<f64>) -> String {
    ms.map_or("?".to_owned(), |ms| format!("{ms:.1}"))
}

/// The share of deliveries that came after the deadline.
pub(super) fn late(account: &Account, cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let excused = cluster.unattributed(&account.instrument().tainted).late;
    let all = cluster.obligations();
    let late = all.late.saturating_sub(excused);
    let owed = all.settled() - all.void;
    let (status, observed) = ratio(late, owed, |r| r <= limits.late_ratio_max);
    let detail = format!(
        "{late} of {owed} after the deadline{}",
        shown(observed, status, limits.late_ratio_max, "allowed")
    );
    Seen {
        status,
        observed,
        limit: Some(limits.late_ratio_max),
        unit: "ratio",
        evidence: owed,
        detail,
    }
}

/// Where the quantile 0.99 lies: the interval's ends, in milliseconds.
fn p99(latencies: &Latencies, confidence: f64) -> (Option<f64>, Option<f64>) {
    let (lower, upper) = quantile_ranks(latencies.count(), 0.99, confidence);
    (lower.and_then(|r| latencies.rank_ms(r)), upper.and_then(|r| latencies.rank_ms(r)))
}

/// p99 against the scenario's limit; `None` where it sets none.
pub(super) fn absolute(cluster: &ClusterAccount, limits: &Limits) -> Option<Seen> {
    let limit = millis(limits.latency_p99_max?);
    let latencies = cluster.latencies();
    let (lower, upper) = p99(&latencies, limits.confidence);
    let status = match (lower, upper) {
        (_, Some(upper)) if upper <= limit => Status::Pass,
        (Some(lower), _) if lower > limit => Status::Fail,
        _ => Status::Inconclusive,
    };
    Some(Seen {
        status,
        observed: upper,
        limit: Some(limit),
        unit: "ms",
        evidence: latencies.count(),
        detail: format!("p99 between {} and {} ms, {limit:.0} ms allowed", ms(lower), ms(upper)),
    })
}

/// New is not slower than old: the intervals of both p99 compared.
pub(super) fn new_against_old(old: &ClusterAccount, new: &ClusterAccount, limits: &Limits) -> Seen {
    let (old, new) = (old.latencies(), new.latencies());
    let ((old_low, old_high), (new_low, new_high)) =
        (p99(&old, limits.confidence), p99(&new, limits.confidence));
    let allowed = |ms: f64| ms * limits.latency_p99_ratio_max + millis(limits.latency_slack);
    let status = match (old_low.zip(new_high), old_high.zip(new_low)) {
        (Some((old, new)), _) if new <= allowed(old) => Status::Pass,
        (_, Some((old, new))) if new > allowed(old) => Status::Fail,
        _ => Status::Inconclusive,
    };
    Seen {
        status,
        observed: new_high,
        limit: old_low.map(allowed),
        unit: "ms",
        evidence: old.count().min(new.count()),
        detail: format!(
            "p99 on new {}–{} ms, on old {}–{} ms, {} ms allowed",
            ms(new_low),
            ms(new_high),
            ms(old_low),
            ms(old_high),
            ms(old_low.map(allowed))
        ),
    }
}
