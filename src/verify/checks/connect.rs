//! Connecting: how long it takes from the dial to the last confirmed channel, step by step.

use crate::verify::fact::ConnectStep;
use crate::verify::figures::ClusterFigures;
use crate::verify::verdict::Status;

use super::{Limits, Seen, millis};

/// The published guidance: connect in under 50 ms.
const TARGET_MS: f64 = 50.0;

/// At p99 or, with too few samples for that, at worst.
pub(super) fn check(cluster: &ClusterFigures, limits: &Limits) -> Seen {
    let limit = millis(limits.connect_p99_max);
    let evidence = cluster.connect.count();
    let p99 = cluster.connect.quantile_ms(0.99);
    let observed = p99.or_else(|| cluster.connect.max_ms());
    // One sample out of few: it must not accuse where the slowness may be our own.
    let tainted = p99.is_none() && cluster.is_slowest_connect_tainted;
    let status = match observed {
        None => Status::Inconclusive,
        Some(ms) if ms <= limit => Status::Pass,
        Some(_) if tainted => Status::Inconclusive,
        Some(_) => Status::Fail,
    };
    let detail = match observed {
        None => "no connection became ready".to_owned(),
        Some(ms) => {
            let what = if p99.is_some() { "p99" } else { "slowest" };
            let when = if tainted { ", in a tainted second" } else { "" };
            let allowed = format!("{limit:.0} ms allowed, target {TARGET_MS:.0} ms");
            let slowest = slowest_step(cluster).filter(|_| status != Status::Pass);
            let slowest = slowest.map_or(String::new(), |(step, ms)| {
                format!("; its slowest step is {}, up to {ms:.1} ms", step.as_str())
            });
            format!("{what} {ms:.1} ms of {evidence} connections{when} ({allowed}){slowest}")
        }
    };
    Seen {
        status,
        observed,
        limit: Some(limit),
        target: Some(TARGET_MS),
        unit: "ms",
        evidence,
        detail,
    }
}

fn slowest_step(cluster: &ClusterFigures) -> Option<(ConnectStep, f64)> {
    let steps =
        cluster.connect_steps.iter().filter_map(|(step, took)| Some((*step, took.max_ms()?)));
    steps.max_by(|a, b| a.1.total_cmp(&b.1))
}
