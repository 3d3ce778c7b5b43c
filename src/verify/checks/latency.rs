//! Latency: p99 against the scenario's limit, where it sets one, and beside the published guidance.

use crate::verify::figures::ClusterFigures;
use crate::verify::stats::Interval;
use crate::verify::verdict::Status;

use super::{Requirements, Seen, interval, millis, ms, range};

/// The published guidance: deliver in under 100 ms.
const TARGET_MS: f64 = 100.0;

pub(super) fn check(cluster: &ClusterFigures, asked: &Requirements) -> Seen {
    let latencies = cluster.judged_latencies();
    let Interval { lower, upper } = interval(&latencies, 0.99, asked);
    let limit = asked.limits.latency_p99_max.map(millis);
    let status = match (limit, lower, upper) {
        (None, _, Some(_)) => Status::Pass,
        (Some(limit), _, Some(upper)) if upper <= limit => Status::Pass,
        (Some(limit), Some(lower), _) if lower > limit => Status::Fail,
        _ => Status::Inconclusive,
    };
    let allowed = limit.map_or("no limit".to_owned(), |ms| format!("{ms:.0} ms allowed"));
    let shown = range(Interval { lower, upper }, &latencies);
    Seen {
        status,
        observed: upper,
        limit,
        target: Some(TARGET_MS),
        unit: "ms",
        evidence: latencies.count(),
        detail: format!("p99 {shown} ({allowed}, target {} ms)", ms(Some(TARGET_MS))),
    }
}
