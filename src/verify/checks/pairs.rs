//! Loss on new against loss on old, pair by pair: the exact McNemar test. It shows which is worse;
//! how much either may lose is the subject of loss.

use crate::verify::figures::Figures;
use crate::verify::stats;
use crate::verify::verdict::Status;

use super::{Limits, Seen};

pub(super) fn check(figures: &Figures, limits: &Limits) -> Seen {
    let pairs = figures.events.pairs;
    let p = stats::mcnemar(pairs.only_new, pairs.only_old);
    let limit = 1.0 - limits.confidence;
    let status = match pairs.trials {
        0 => Status::Inconclusive,
        _ if p <= limit => Status::Fail,
        _ => Status::Pass,
    };
    // Never so rounded that a small one seems to be none.
    let shown = if p < 0.01 { "< 0.01".to_owned() } else { format!("= {p:.2}") };
    let detail = format!(
        "{} lost on new alone, {} on old alone, {} on both, of {} events (p {shown})",
        pairs.only_new, pairs.only_old, pairs.both, pairs.trials
    );
    Seen {
        status,
        observed: (pairs.trials > 0).then_some(p),
        limit: Some(limit),
        unit: "probability",
        evidence: pairs.trials,
        detail,
        ..Seen::default()
    }
}
