//! Connections left behind: after the run, the cluster's API shows its channels as empty again.

use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::verdict::Status;

use super::{Limits, Seen};

pub(super) fn check(figures: &Figures, cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let within = humantime::format_duration(limits.left_behind_within);
    let (status, detail) = match cluster.left_behind {
        None if !figures.is_ended => {
            (Status::Inconclusive, "the record ends before anybody asked the API".to_owned())
        }
        None => (Status::Inconclusive, "the API did not say which channels are left".to_owned()),
        Some(0) => (Status::Pass, "none".to_owned()),
        Some(left) => (
            Status::Fail,
            format!("{left} of the run's channels are still occupied {within} after it"),
        ),
    };
    Seen {
        status,
        observed: cluster.left_behind.map(|left| left as f64),
        limit: Some(0.0),
        unit: "count",
        evidence: cluster.opened,
        detail,
        ..Seen::default()
    }
}
