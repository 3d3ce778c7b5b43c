//! Handover: whether clients that move from old to new arrive there, and what they miss.

use crate::verify::handover::{HandoverFigures, Way, WayFigures};
use crate::verify::verdict::Status;

use super::{Limits, Seen};

/// Who arrives nowhere fails it. What a move may miss is the scenario's to say; but an overlap is
/// there to miss nothing.
pub(super) fn check(handover: &HandoverFigures, limits: &Limits) -> Seen {
    let limit_of = |way: Way| match (limits.handover_missed_max, way) {
        (Some(limit), _) => Some(limit),
        (None, Way::Overlap) => Some(0.0),
        (None, Way::Reload | Way::Switch) => None,
    };
    let mut status = Status::Pass;
    let (mut observed, mut evidence) = (None::<f64>, 0);
    for (way, figures) in &handover.ways {
        let missed = figures.missed_per_move();
        let is_over = missed.zip(limit_of(*way)).is_some_and(|(missed, limit)| missed > limit);
        let of_way = if figures.stranded > 0 || is_over {
            Status::Fail
        } else if figures.events == 0 || open(figures) > 0 || is_thin(figures) {
            Status::Inconclusive
        } else {
            Status::Pass
        };
        status = status.max(of_way);
        evidence += figures.moved + figures.stranded;
        if let (Some(missed), Some(_)) = (missed, limit_of(*way)) {
            observed = Some(observed.map_or(missed, |known| known.max(missed)));
        }
    }
    let parts = handover.ways.iter().map(|(way, figures)| describe(*way, figures, limit_of(*way)));
    Seen {
        status,
        observed,
        limit: limits.handover_missed_max,
        unit: "events",
        evidence,
        detail: parts.collect::<Vec<_>>().join("; "),
        ..Seen::default()
    }
}

/// Moves of which nothing was heard yet.
const fn open(figures: &WayFigures) -> u64 {
    figures.planned.saturating_sub(figures.moved + figures.stranded + figures.unattributed)
}

/// Whether too many moves count for nobody to speak for all of them.
const fn is_thin(figures: &WayFigures) -> bool {
    figures.moved + figures.stranded < figures.unattributed
}

fn describe(way: Way, figures: &WayFigures, limit: Option<f64>) -> String {
    let WayFigures { planned, moved, stranded, unattributed, .. } = figures;
    let mut said = format!("{}: {moved} of {planned} moved", way.as_str());
    if *stranded > 0 {
        said += &format!(", {stranded} never arrived ({})", figures.last_failure);
    }
    if *unattributed > 0 {
        said += &format!(", {unattributed} in tainted seconds");
    }
    let Some(missed) = figures.missed_per_move() else { return said };
    said += &match figures.missed_by_moving() {
        0 if figures.events == 0 => ", and no event was published meanwhile".to_owned(),
        0 => ", none missed an event by that".to_owned(),
        _ => format!(", {} events missed a move", tenths(missed)),
    };
    if let Some(limit) = limit.filter(|limit| missed > *limit) {
        said += &format!(" ({} allowed)", tenths(limit));
    }
    said
}

/// A mean for people. What is more than nothing is never shown as nothing.
fn tenths(mean: f64) -> String {
    match mean {
        n if n == n.trunc() => format!("{n:.0}"),
        n if n < 0.1 => format!("{n:.2e}"),
        n => format!("{n:.1}"),
    }
}
