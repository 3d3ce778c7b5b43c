//! Published: no event of the application went to new only, as an earlier run saw it. Whoever is
//! still on old would have missed it.

use std::time::Duration;

use crate::verify::published::MirrorEvidence;
use crate::verify::verdict::Status;

use super::{Seen, seconds};

/// `read_for` is for how long this run has gone on: as long as that, the report has aged.
pub(super) fn check(evidence: &MirrorEvidence, read_for: Duration) -> Seen {
    let MirrorEvidence { run, age, age_max, observed, only_on_new, problem } = evidence;
    let age = *age + read_for;
    let (status, detail) = if !problem.is_empty() {
        (Status::Inconclusive, format!("run {run} {problem}"))
    } else if age > *age_max {
        let (age, most) = (seconds(age), seconds(*age_max));
        (Status::Inconclusive, format!("run {run} ended {age} ago, {most} allowed"))
    } else if *only_on_new > 0 {
        let seen = format!("run {run} saw {only_on_new} of {observed} real events on new only");
        (Status::Fail, format!("{seen}: whoever is on old misses them"))
    } else if *observed == 0 {
        (Status::Inconclusive, format!("run {run} saw no real event"))
    } else {
        let age = seconds(age);
        (
            Status::Pass,
            format!("none of {observed} real events on new only, as run {run} saw {age} ago"),
        )
    };
    Seen {
        status,
        observed: Some(*only_on_new as f64),
        limit: Some(0.0),
        unit: "count",
        evidence: *observed,
        detail,
        ..Seen::default()
    }
}
