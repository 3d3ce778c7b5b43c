//! Coverage: the exact bound on the rate of events that some client on one of the clusters missed.

use crate::verify::account::Account;

use super::{Bounded, Limits, Seen, bounded};

pub(super) fn check(account: &Account, limits: &Limits) -> Seen {
    let events = account.events();
    let (n, k) = (events.trials, events.failures);
    let Bounded { status, upper, claim } = bounded(k, n, limits.loss_rate_max, limits.confidence);
    let causes: Vec<_> = events
        .uncovered
        .iter()
        .map(|(cause, count)| format!("{} {}", cause.as_str(), count))
        .collect();
    let because =
        if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
    let detail = if n == 0 {
        "no event could be tried".to_owned()
    } else {
        format!("{k} of {n} events uncovered{because}; {claim}")
    };
    Seen {
        status,
        observed: Some(upper),
        limit: Some(limits.loss_rate_max),
        unit: "ratio",
        evidence: n,
        detail,
    }
}
