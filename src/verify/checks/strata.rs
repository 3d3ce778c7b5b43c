//! Strata: every kind of channel was tried by every route, and where witnesses reconnect on
//! purpose, on a later connection as well.

use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::tally::Stratum;
use crate::verify::verdict::Status;

use super::{Phase, Seen};

/// In a preflight, which asks for no more than one event each way, a stratum fails if it was tried
/// and nothing of it arrived.
pub(super) fn check(figures: &Figures, cluster: &ClusterFigures, phase: Phase) -> Seen {
    let trials = |s: &&Stratum| cluster.strata.get(s).copied().unwrap_or_default();
    let arrived = |s: &&Stratum| cluster.obligations.get(s).map_or(0, |o| o.delivered + o.late);
    let planned = figures.strata.len();
    let untried: Vec<_> = figures.strata.iter().filter(|s| trials(s) == 0).collect();
    let silent: Vec<_> = match phase {
        Phase::Preflight => {
            figures.strata.iter().filter(|s| trials(s) > 0 && arrived(s) == 0).collect()
        }
        _ => Vec::new(),
    };
    let status = match (planned, silent.is_empty(), untried.is_empty()) {
        (1.., true, true) => Status::Pass,
        (_, false, _) => Status::Fail,
        _ => Status::Inconclusive,
    };
    let tried = planned - untried.len();
    let mut detail = format!("{tried} of {planned} tried");
    for (strata, what) in [(silent, "nothing arrived of"), (untried, "no trial of")] {
        if !strata.is_empty() {
            let names: Vec<_> = strata.iter().map(ToString::to_string).collect();
            detail.push_str(&format!("; {what} {}", names.join(", ")));
        }
    }
    Seen {
        status,
        observed: Some(tried as f64),
        limit: Some(planned as f64),
        unit: "count",
        evidence: cluster.trials.trials,
        detail,
        ..Seen::default()
    }
}
