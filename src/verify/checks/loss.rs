//! Loss: the exact bound on the rate at which a cluster loses publications.

use crate::verify::coverage::ClusterTrials;

use super::{Limits, Seen, bounded};

pub(super) fn check(trials: ClusterTrials, limits: &Limits) -> Seen {
    let (n, k) = (trials.trials, trials.failures());
    let what = format!("{k} of {n} publications lost");
    bounded(k, n, limits, &what, "no publication could be tried")
}
