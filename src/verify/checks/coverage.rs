//! Coverage: the exact bound on the rate of events that some client on one of the clusters missed.

use crate::verify::account::Account;

use super::{Limits, Seen, bounded};

pub(super) fn check(account: &Account, limits: &Limits) -> Seen {
    let events = account.events();
    let (n, k) = (events.trials, events.failures.values().sum());
    let causes: Vec<_> = events
        .failures
        .iter()
        .map(|(cause, count)| format!("{} {}", cause.as_str(), count))
        .collect();
    let because =
        if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
    let what = format!("{k} of {n} events uncovered{because}");
    bounded(k, n, limits, &what, "no event could be tried")
}
