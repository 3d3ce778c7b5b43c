//! Blind windows: the share of obligations missed while offline, but by the agent's own doing.

use crate::verify::account::ClusterAccount;
use crate::verify::tally::BlindCause;

use super::{Limits, Seen, percent, ratio};

pub(super) fn check(cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let all = cluster.obligations();
    let by_agent = cluster.blindness.missed.get(&BlindCause::Agent).copied().unwrap_or_default();
    let missed = all.missed_offline.saturating_sub(by_agent);
    let owed = all.settled() - all.void - all.missed_offline + missed;
    let (status, observed) = ratio(missed, owed, |r| r <= limits.missed_offline_ratio_max);
    let windows: u64 = cluster
        .blindness
        .begun
        .iter()
        .filter(|(cause, _)| **cause != BlindCause::Agent)
        .map(|(_, windows)| windows)
        .sum();
    let detail = format!(
        "{missed} of {owed} missed while offline{}, in {windows} blind windows",
        observed.map_or(String::new(), |r| format!(" ({})", percent(r)))
    );
    Seen {
        status,
        observed,
        limit: Some(limits.missed_offline_ratio_max),
        unit: "ratio",
        evidence: owed,
        detail,
    }
}
