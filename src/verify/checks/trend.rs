//! Latency trend: the last third of publishing is not slower than the first. A queue that builds up
//! shows here before it shows anywhere else.

use crate::verify::figures::ClusterFigures;
use crate::verify::stats::{self, Comparison};
use crate::verify::verdict::Status;

use super::{Requirements, Seen, interval, millis, ms, range};

pub(super) fn check(cluster: &ClusterFigures, asked: &Requirements) -> Seen {
    let (opening, closing) = (&cluster.opening_latencies, &cluster.closing_latencies);
    let (first, last) = (interval(opening, 0.5, asked), interval(closing, 0.5, asked));
    let (ratio, slack) = (asked.limits.latency_trend_ratio_max, millis(asked.limits.latency_slack));
    let status = match stats::compare(last, first, ratio, slack) {
        Comparison::NotSlower => Status::Pass,
        Comparison::Slower => Status::Fail,
        Comparison::Undecided => Status::Inconclusive,
    };
    // More clients make each delivery slower, so it is what they all see that is compared.
    let after = if cluster.load.is_some() { " after the ramp" } else { "" };
    let allowed = first.lower.map(|ms| ms * ratio + slack);
    Seen {
        status,
        observed: last.upper,
        limit: allowed,
        unit: "ms",
        evidence: opening.count().min(closing.count()),
        detail: format!(
            "p50 of the first third{after} {}, of the last {}; {} ms allowed",
            range(first, opening),
            range(last, closing),
            ms(allowed)
        ),
        ..Seen::default()
    }
}
