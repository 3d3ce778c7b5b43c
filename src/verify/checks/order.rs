//! Order: copies overtaken by an event of their stream whose request began only after theirs was
//! answered.

use crate::verify::figures::ClusterFigures;

use super::{Limits, Seen, anomalies};

pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let seen = cluster.beside.reordered.saturating_sub(cluster.excused.beside.reordered);
    anomalies(seen, limits.reordered_max, "out of order", cluster)
}
