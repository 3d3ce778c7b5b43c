//! Strata: every kind of channel was tried by every route, and where witnesses reconnect on
//! purpose, on a later connection as well.

use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::tally::{Epoch, Stratum};
use crate::verify::verdict::Status;

use super::{Looks, Phase, Requirements, Seen};

/// In a preflight, which asks for no more than one event each way, a stratum fails if it was tried
/// and nothing of it arrived. In a window that slides every witness may have reconnected before it
/// began: there either connection will do.
pub(super) fn check(figures: &Figures, cluster: &ClusterFigures, asked: &Requirements) -> Seen {
    let is_rolling = asked.looks == Looks::Rolling;
    let trials = |s: &&Stratum| {
        let of = |epoch| cluster.strata.get(&Stratum { epoch, ..**s }).copied().unwrap_or_default();
        if is_rolling { of(Epoch::First) + of(Epoch::Again) } else { of(s.epoch) }
    };
    let arrived = |s: &&Stratum| {
        let of = |epoch| {
            let of = cluster.obligations.get(&Stratum { epoch, ..**s });
            of.map_or(0, |o| o.delivered + o.late)
        };
        if is_rolling { of(Epoch::First) + of(Epoch::Again) } else { of(s.epoch) }
    };
    let planned = || figures.strata.iter().filter(|s| !is_rolling || s.epoch == Epoch::First);
    let untried: Vec<_> = planned().filter(|s| trials(s) == 0).collect();
    let silent: Vec<_> = match asked.phase {
        Phase::Preflight => planned().filter(|s| trials(s) > 0 && arrived(s) == 0).collect(),
        _ => Vec::new(),
    };
    let planned = planned().count();
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
