//! Duplicates: further copies of what a witness already received.

use crate::verify::figures::ClusterFigures;

use super::{Limits, Seen, anomalies};

pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let seen = cluster.beside.duplicates.saturating_sub(cluster.excused.beside.duplicates);
    anomalies(seen, limits.duplicates_max, "further copies", cluster)
}
