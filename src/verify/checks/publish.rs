//! Publish success: the share of publications that the cluster accepted.

use crate::verify::account::ClusterAccount;

use super::{Limits, Seen, percent, ratio};

pub(super) fn check(cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let p = cluster.publications_total();
    let (status, observed) = ratio(p.accepted, p.sent, |r| r >= limits.publish_success_min);
    let detail = format!(
        "{} of {} accepted{}; {} rejected, {} unknown",
        p.accepted,
        p.sent,
        observed.map_or(String::new(), |r| format!(" ({})", percent(r))),
        p.rejected,
        p.unknown
    );
    Seen {
        status,
        observed,
        limit: Some(limits.publish_success_min),
        unit: "ratio",
        evidence: p.sent,
        detail,
    }
}
