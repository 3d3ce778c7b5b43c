//! Loss: the bound on the rate at which a cluster loses publications.

use crate::verify::figures::ClusterFigures;

use super::{Requirements, Seen, bounded};

pub(super) fn check(cluster: &ClusterFigures, asked: &Requirements) -> Seen {
    let (n, k) = (cluster.trials.trials, cluster.trials.failures());
    let what = format!("{k} of {n} publications lost");
    bounded(k, n, asked, &what, "no publication could be tried")
}
