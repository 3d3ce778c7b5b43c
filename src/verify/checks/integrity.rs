//! Integrity: what arrives is what was published, and nothing that was refused.

use crate::verify::figures::ClusterFigures;

use super::{Seen, anomalies};

pub(super) fn check(cluster: &ClusterFigures) -> Seen {
    let excused = cluster.excused.beside;
    let corrupt = cluster.beside.corrupt.saturating_sub(excused.corrupt);
    let unexpected = cluster.beside.unexpected.saturating_sub(excused.unexpected);
    let mut seen = anomalies(corrupt + unexpected, 0, "damaged or unexpected", cluster);
    seen.detail = format!("{corrupt} corrupt, {unexpected} unexpected; none allowed");
    seen
}
