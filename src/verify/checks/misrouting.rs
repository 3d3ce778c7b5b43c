//! Misrouting: what arrives belongs where it arrives.

use crate::verify::figures::ClusterFigures;

use super::{Seen, anomalies};

pub(super) fn check(cluster: &ClusterFigures) -> Seen {
    let seen = cluster.beside.misrouted.saturating_sub(cluster.excused.beside.misrouted);
    anomalies(seen, 0, "on a wrong channel or cluster", cluster)
}
