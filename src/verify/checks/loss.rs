//! Loss: the exact bound on the rate at which a cluster loses publications.

use crate::verify::coverage::ClusterTrials;

use super::{Bounded, Limits, Seen, bounded};

pub(super) fn check(trials: ClusterTrials, limits: &Limits) -> Seen {
    let (n, k) = (trials.trials, trials.failures());
    let Bounded { status, upper, claim } = bounded(k, n, limits.loss_rate_max, limits.confidence);
    let detail = if n == 0 {
        "no publication could be tried".to_owned()
    } else {
        format!("{k} of {n} publications lost; {claim}")
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
