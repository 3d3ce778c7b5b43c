//! Authorisation: the share of signed subscriptions that the cluster confirmed, and how long making
//! a signature took.

use crate::verify::figures::ClusterFigures;

use super::{Limits, Seen, ms, ratio, shown};

/// The published guidance: at least 99.9 % succeed.
const TARGET: f64 = 0.999;

pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let all = cluster.confirmed + cluster.refused;
    let (status, observed) = ratio(cluster.confirmed, all, |r| r >= limits.auth_success_min);
    let slowest = cluster.auth.quantile_ms(0.99).or_else(|| cluster.auth.max_ms());
    let detail = format!(
        "{} of {all} signed subscriptions confirmed{}; signing took up to {} ms",
        cluster.confirmed,
        shown(observed, status, limits.auth_success_min, "asked"),
        ms(slowest)
    );
    Seen {
        status,
        observed,
        limit: Some(limits.auth_success_min),
        target: Some(TARGET),
        unit: "ratio",
        evidence: all,
        detail,
    }
}
