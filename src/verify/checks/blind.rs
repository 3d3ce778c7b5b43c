//! Blind windows: the share of obligations missed while offline, but by the agent's own doing.

use crate::verify::figures::ClusterFigures;
use crate::verify::tally::BlindCause;

use super::{Limits, Seen, ratio, shown};

pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let all = cluster.obligations_total();
    let by_agent = cluster.missed(BlindCause::Agent);
    let missed = all.missed_offline.saturating_sub(by_agent + cluster.excused.missed);
    let owed = all.delivered + all.late + all.lost + missed;
    let (status, observed) = ratio(missed, owed, |r| r <= limits.missed_offline_ratio_max);
    let others = cluster.windows.iter().filter(|(cause, _)| **cause != BlindCause::Agent);
    let windows: u64 = others.map(|(_, windows)| windows.began).sum();
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
        ..Seen::default()
    }
}
