//! Publish answer time: from taking a publication up to the answer, a dial included.

use crate::verify::figures::ClusterFigures;
use crate::verify::verdict::Status;

use super::{Limits, Seen, millis};

/// At p99 or, with too few samples for that, at worst.
pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let limit = millis(limits.publish_p99_max);
    let p99 = cluster.publish.quantile_ms(0.99);
    let observed = p99.or_else(|| cluster.publish.max_ms());
    let evidence = cluster.publish.count();
    let (status, detail) = match observed {
        None => (Status::Inconclusive, "no publication was answered".to_owned()),
        Some(ms) => {
            let status = if ms <= limit { Status::Pass } else { Status::Fail };
            let what = if p99.is_some() { "p99" } else { "slowest" };
            (status, format!("{what} {ms:.1} ms of {evidence} answers ({limit:.0} ms allowed)"))
        }
    };
    Seen { status, observed, limit: Some(limit), unit: "ms", evidence, detail, ..Seen::default() }
}
