//! Negative controls: a detector that was never seen to detect is not trusted.

use crate::verify::fact::{Control, ControlStatus};
use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::verdict::Status;

use super::Seen;

/// Whatever is wrong with the agent's own eyes accuses nobody, so this check never fails.
pub(super) fn check(figures: &Figures, cluster: &ClusterFigures) -> Seen {
    let (planned, mut silent, mut wrong) = (figures.controls.len(), Vec::new(), Vec::new());
    for control in &figures.controls {
        match cluster.controls.get(control) {
            Some(ControlStatus::Pass) => {}
            Some(ControlStatus::Fail) => wrong.push(control.as_str()),
            None => silent.push(control.as_str()),
        }
    }
    let proven = planned - silent.len() - wrong.len();
    let status = if planned > 0 && proven == planned { Status::Pass } else { Status::Inconclusive };
    let mut detail = format!("{proven} of {planned} fired");
    if !silent.is_empty() {
        detail.push_str(&format!("; did not fire: {}", silent.join(", ")));
    }
    if !wrong.is_empty() {
        detail.push_str(&format!("; came out wrong: {}", wrong.join(", ")));
    }
    if cluster.controls.get(&Control::SeesRefusal) == Some(&ControlStatus::Fail) {
        detail.push_str("; the cluster accepts a subscription signed with a wrong secret");
    }
    Seen {
        status,
        observed: Some(proven as f64),
        limit: Some(planned as f64),
        unit: "count",
        evidence: cluster.controls.len() as u64,
        detail,
        ..Seen::default()
    }
}
