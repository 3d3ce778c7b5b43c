//! Coverage: the bound on the rate of events that some client on one of the clusters missed.

use crate::verify::figures::Figures;

use super::{Requirements, Seen, bounded};

pub(super) fn check(figures: &Figures, asked: &Requirements) -> Seen {
    let events = &figures.events;
    let (n, k) = (events.trials, events.failures.values().sum());
    let causes: Vec<_> = events
        .failures
        .iter()
        .map(|(cause, count)| format!("{} {}", cause.as_str(), count))
        .collect();
    let because =
        if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
    let what = format!("{k} of {n} events uncovered{because}");
    bounded(k, n, asked, &what, "no event could be tried")
}
