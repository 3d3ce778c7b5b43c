//! Duplicates: further copies of what a witness already received.

use crate::verify::account::{Account, ClusterAccount};
use crate::verify::verdict::Status;

use super::{Limits, Seen};

pub(super) fn check(account: &Account, cluster: &ClusterAccount, limits: &Limits) -> Seen {
    let excused = cluster.unattributed(&account.instrument().tainted).beside.duplicates;
    let seen = cluster.beside.duplicates.saturating_sub(excused);
    let obligations = cluster.obligations();
    let evidence = obligations.delivered + obligations.late;
    let status = match seen {
        n if n > limits.duplicates_max => Status::Fail,
        _ if evidence == 0 => Status::Inconclusive,
        _ => Status::Pass,
    };
    Seen {
        status,
        observed: Some(seen as f64),
        limit: Some(limits.duplicates_max as f64),
        unit: "count",
        evidence,
        detail: format!(
            "{seen} further copies among {evidence} deliveries, {} allowed",
            limits.duplicates_max
        ),
    }
}
