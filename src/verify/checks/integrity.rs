//! Integrity: what arrives is what was published, where it was published, and only that.

use crate::verify::account::{Account, ClusterAccount};
use crate::verify::verdict::Status;

use super::Seen;

pub(super) fn check(account: &Account, cluster: &ClusterAccount) -> Seen {
    let excused = cluster.unattributed(&account.instrument().tainted).beside;
    let corrupt = cluster.beside.corrupt.saturating_sub(excused.corrupt);
    let misrouted = cluster.beside.misrouted.saturating_sub(excused.misrouted);
    let unexpected = cluster.beside.unexpected.saturating_sub(excused.unexpected);
    let seen = corrupt + misrouted + unexpected;
    let obligations = cluster.obligations();
    let evidence = obligations.delivered + obligations.late;
    let status = match seen {
        n if n > 0 => Status::Fail,
        _ if evidence == 0 => Status::Inconclusive,
        _ => Status::Pass,
    };
    Seen {
        status,
        observed: Some(seen as f64),
        limit: Some(0.0),
        unit: "count",
        evidence,
        detail: format!("{corrupt} corrupt, {misrouted} misrouted, {unexpected} unexpected"),
    }
}
