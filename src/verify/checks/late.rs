//! Late: the share of deliveries that came after the deadline.

use crate::verify::figures::ClusterFigures;

use super::{Limits, Seen, ratio, shown};

pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let all = cluster.obligations_total();
    let late = all.late.saturating_sub(cluster.excused.late);
    let owed = all.settled() - all.void;
    let (status, observed) = ratio(late, owed, |r| r <= limits.late_ratio_max);
    let shown = shown(observed, status, limits.late_ratio_max, "allowed");
    Seen {
        status,
        observed,
        limit: Some(limits.late_ratio_max),
        unit: "ratio",
        evidence: owed,
        detail: format!("{late} of {owed} after the deadline{shown}"),
        ..Seen::default()
    }
}
