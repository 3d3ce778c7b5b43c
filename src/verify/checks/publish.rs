//! Publish success: the share of publications that the cluster accepted, of those that have ended
//! or could not be sent, because too many were unanswered.

use crate::verify::figures::ClusterFigures;

use super::{Limits, Seen, ratio, shown};

pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let excused = cluster.excused;
    let p = cluster.publications_total();
    let unsent = p.unsent.saturating_sub(excused.unsent);
    let ended = p.accepted + (p.rejected + p.unknown).saturating_sub(excused.unaccepted) + unsent;
    let (status, observed) = ratio(p.accepted, ended, |r| r >= limits.publish_success_min);
    let mut detail = format!(
        "{} of {ended} accepted{}; {} rejected, {} unknown",
        p.accepted,
        shown(observed, status, limits.publish_success_min, "asked"),
        p.rejected,
        p.unknown
    );
    if unsent > 0 {
        detail.push_str(&format!(
            ", {unsent} not sent: canary.open_requests_max were unanswered already"
        ));
    }
    Seen {
        status,
        observed,
        limit: Some(limits.publish_success_min),
        unit: "ratio",
        evidence: ended,
        detail,
        ..Seen::default()
    }
}
