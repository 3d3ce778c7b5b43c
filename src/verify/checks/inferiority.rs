//! Latency of new against old: new is not slower.

use crate::verify::figures::ClusterFigures;
use crate::verify::latency::Latencies;
use crate::verify::stats::{self, Comparison, Interval};
use crate::verify::verdict::Status;

use super::{Requirements, Seen, interval, millis, ms, range};

/// The intervals of both p99 are compared. Two witnesses of one cluster see the same events: what
/// lies between them is noise, and as much of a difference between the clusters accuses nobody.
pub(super) fn check(old: &ClusterFigures, new: &ClusterFigures, asked: &Requirements) -> Seen {
    let limits = &asked.limits;
    let noise = noise_ms(old).into_iter().chain(noise_ms(new)).reduce(f64::max);
    let (old, new) = (old.judged_latencies(), new.judged_latencies());
    let (of_old, of_new) = (interval(&old, 0.99, asked), interval(&new, 0.99, asked));
    let (ratio, slack) = (limits.latency_p99_ratio_max, millis(limits.latency_slack));
    let status = match stats::compare(of_new, of_old, ratio, slack) {
        Comparison::NotSlower => Status::Pass,
        Comparison::Undecided => Status::Inconclusive,
        Comparison::Slower => {
            let beyond_noise = stats::compare(of_new, of_old, ratio, slack + noise.unwrap_or(0.0));
            if beyond_noise == Comparison::Slower { Status::Fail } else { Status::Inconclusive }
        }
    };
    let allowed = of_old.lower.map(|ms| ms * ratio + slack);
    let Interval { upper, .. } = of_new;
    let noise = noise.map_or(String::new(), |noise| {
        format!("; two witnesses of one cluster differ by {} ms", ms(Some(noise)))
    });
    Seen {
        status,
        observed: upper,
        limit: allowed,
        unit: "ms",
        evidence: old.count().min(new.count()),
        detail: format!(
            "p99 on new {}, on old {}; {} ms allowed{noise}",
            range(of_new, &new),
            range(of_old, &old),
            ms(allowed)
        ),
        ..Seen::default()
    }
}

/// By how much p99 differs between the first witness of each channel and the others.
fn noise_ms(cluster: &ClusterFigures) -> Option<f64> {
    let first = &cluster.first_witness_latencies;
    let mut others: Latencies = cluster.latencies.clone();
    others.subtract(first);
    let (first, others) = (first.quantile_ms(0.99)?, others.quantile_ms(0.99)?);
    Some((first - others).abs())
}
