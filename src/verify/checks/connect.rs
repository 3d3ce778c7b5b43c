//! Connecting: how long it takes, and how often the cluster confirms what was authorised.

use crate::verify::account::{Account, ClusterAccount};
use crate::verify::verdict::Status;

use super::{Limits, Seen, ratio, shown};

/// The published guidance: connect in under 50 ms.
const CONNECT_TARGET_MS: u32 = 50;

/// From the dial to the last confirmed channel, at p99 or, with too few samples for that, at worst.
pub(super) fn time(account: &Account, cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let limit = limits.connect_p99_max.as_secs_f64() * 1e3;
    let evidence = cluster.connect.count();
    let p99 = cluster.connect.quantile_ms(0.99);
    let observed = p99.or_else(|| cluster.connect.max_ms());
    // One sample out of few: it must not accuse where the slowness may be our own.
    let tainted =
        p99.is_none() && cluster.is_slowest_connect_tainted(&account.instrument().tainted);
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
            let allowed = if status == Status::Fail {
                format!("{limit:.0} ms allowed, ")
            } else {
                String::new()
            };
            let target = format!("{allowed}target {CONNECT_TARGET_MS} ms");
            format!("{what} {ms:.1} ms of {evidence} connections{when} ({target})")
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
        shown(observed, status, limits.auth_success_min, "asked")
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
