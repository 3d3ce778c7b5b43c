//! Instrument: a measurement that cannot vouch for itself must neither accuse nor acquit.

use crate::model::MemberRole;
use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::taint::TaintReason;
use crate::verify::verdict::Status;

use super::{Looks, Requirements, Seen, percent};

pub(super) fn check(figures: &Figures, asked: &Requirements) -> Seen {
    let limits = &asked.limits;
    // What a window begins with was opened before it, by one or by both.
    let is_whole = figures.is_ended && asked.looks != Looks::Rolling;
    // Nor is a publisher elsewhere known from its first event on.
    let can_compare = is_whole && asked.role == MemberRole::Both;
    let (tainted, seconds) = (figures.tainted_seconds, figures.seconds);
    let share = if seconds == 0 { 1.0 } else { tainted as f64 / seconds as f64 };
    let unbalanced: Vec<_> = figures
        .clusters
        .iter()
        .filter_map(|(role, cluster)| {
            Some(format!("; on {role} {}", imbalance(cluster, can_compare)?))
        })
        .collect();
    // Times of day are part of every signature and of the evidence: once they have jumped, what is
    // said of them cannot be compared any more.
    let is_stepped = figures.taint_reasons.contains_key(&TaintReason::ClockStep);
    let is_sound = !is_stepped && figures.lapped == 0;
    let keeps = seconds > 0 && share <= limits.tainted_ratio_max && is_sound;
    let status = if keeps && unbalanced.is_empty() { Status::Pass } else { Status::Inconclusive };
    let mut detail = match seconds {
        0 => "no second was recorded".to_owned(),
        _ => format!("{tainted} of {seconds} seconds tainted ({})", percent(share)),
    };
    for (reason, count) in &figures.taint_reasons {
        detail.push_str(&format!("; {} in {count}", reason.as_str()));
    }
    detail.extend(unbalanced);
    if figures.lapped > 0 {
        detail.push_str(&format!("; {} publications lapped", figures.lapped));
    }
    Seen {
        status,
        observed: Some(share),
        limit: Some(limits.tainted_ratio_max),
        unit: "ratio",
        evidence: seconds,
        detail,
        ..Seen::default()
    }
}

/// How a cluster's books do not balance. What publisher and witnesses count can be compared once
/// both have said everything.
fn imbalance(cluster: &ClusterFigures, can_compare: bool) -> Option<String> {
    let (all, opened) = (cluster.obligations_total(), cluster.obligations_opened);
    let p = cluster.publications_total();
    let sent = cluster.under_way.publications + p.sent;
    if !cluster.is_balanced() {
        let total = cluster.under_way.obligations + all.total;
        let (settled, pending) = (all.settled(), cluster.pending);
        Some(format!(
            "the witnesses opened {total} obligations, settled {settled} and hold {pending}"
        ))
    } else if can_compare && cluster.pending == 0 && opened != all.total {
        let total = all.total;
        Some(format!("the publisher opened {opened} obligations and the witnesses {total}"))
    } else if sent < p.accepted + p.rejected + p.unknown {
        Some(format!("more than the {sent} publications sent have ended"))
    } else {
        None
    }
}
