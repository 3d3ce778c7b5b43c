//! Blind windows: the share of obligations missed while offline, but by the agent's own doing.

use crate::verify::account::{Account, ClusterAccount};
use crate::verify::tally::BlindCause;

use super::{Limits, Seen, ratio, shown};

pub(super) fn check(account: &Account, cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let excused = cluster.unattributed(&account.instrument().tainted).missed;
    let all = cluster.obligations();
    let by_agent = cluster.blindness.missed.get(&BlindCause::Agent).copied().unwrap_or_default();
    let missed = all.missed_offline.saturating_sub(by_agent + excused);
    let owed = all.delivered + all.late + all.lost + missed;
    let (status, observed) = ratio(missed, owed, |r| r <= limits.missed_offline_ratio_max);
    let windows: u64 = cluster
        .blindness
        .windows()
        .iter()
        .filter(|(cause, _)| **cause != BlindCause::Agent)
        .map(|(_, windows)| windows)
        .sum();
    let detail = format!(
        "{missed} of {owed} missed while offline{}; {windows} blind {}",
        shown(observed, status, limits.missed_offline_ratio_max, "allowed"),
        if windows == 1 { "window" } else { "windows" }
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
