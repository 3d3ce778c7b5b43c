//! Connecting: how long it takes, and how often the cluster confirms what was authorised.

use crate::verify::account::ClusterAccount;
use crate::verify::verdict::Status;

use super::{Limits, Seen, percent, ratio};

/// The published guidance: connect in under 50 ms.
const CONNECT_TARGET_MS: u32 = 50;

/// From the dial to the last confirmed channel, at p99 or, with fewer than 100 samples, at worst.
pub(super) fn time(cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let limit = limits.connect_p99_max.as_secs_f64() * 1e3;
    let evidence = cluster.connect.count();
    let observed = cluster.connect.quantile_ms(0.99).or_else(|| cluster.connect.max_ms());
    let status = match observed {
        None => Status::Inconclusive,
        Some(ms) if ms <= limit => Status::Pass,
        Some(_) => Status::Fail,
    };
    let detail = match observed {
        None => "no connection became ready".to_owned(),
        Some(ms) => {
            let what = if evidence >= 100 { "p99" } else { "slowest" };
            format!("{what} {ms:.1} ms of {evidence} connections (target {CONNECT_TARGET_MS} ms)")
        }
    };
    Seen { status, observed, limit: Some(limit), unit: "ms", evidence, detail }
}

/// The share of authorised subscriptions that the cluster confirmed.
pub(super) fn authorisation(cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let (confirmed, refused) = cluster.authorized;
    let all = confirmed + refused;
    let (status, observed) = ratio(confirmed, all, |r| r >= limits.auth_success_min);
    let detail = format!(
        "{confirmed} of {all} signed subscriptions confirmed{}",
        observed.map_or(String::new(), |r| format!(" ({})", percent(r)))
    );
    Seen {
        status,
        observed,
        limit: Some(limits.auth_success_min),
        unit: "ratio",
        evidence: all,
        detail,
    }
}
