//! Evidence: a verdict never rests on silence.

use crate::model::ClusterRole;
use crate::verify::account::Account;
use crate::verify::stats::trials_needed;
use crate::verify::verdict::Status;

use super::{Phase, Requirements, Seen};

pub(super) fn check(account: &Account, role: ClusterRole, asked: &Requirements) -> Seen {
    let needed = match asked.phase {
        // One event each way per channel kind is all that a preflight claims.
        Phase::Preflight => 1,
        _ => trials_needed(asked.limits.loss_rate_max, asked.limits.confidence),
    };
    let trials = account.trials(role).trials;
    let witnessless: Vec<_> = account
        .clusters()
        .get(&role)
        .map(|c| c.strata.iter().filter(|(_, (o, _))| o.settled() == 0).collect())
        .unwrap_or_default();
    let pending = account.clusters().get(&role).map_or(0, |c| c.pending());
    // A preflight judges no loss rate. That nothing at all arrives it must see all the same.
    let deaf: Vec<_> = account
        .clusters()
        .get(&role)
        .into_iter()
        .flat_map(|c| &c.strata)
        .filter(|(_, (o, _))| o.lost + o.missed_offline > 0 && o.delivered + o.late == 0)
        .map(|(stratum, _)| format!("{} by {}", stratum.kind, stratum.route.as_str()))
        .collect();
    let status = if asked.phase == Phase::Preflight && !deaf.is_empty() {
        Status::Fail
    } else if trials >= needed && pending == 0 && witnessless.is_empty() {
        Status::Pass
    } else {
        Status::Inconclusive
    };
    let mut detail = format!("{trials} trials of {needed} needed");
    if pending > 0 {
        detail.push_str(&format!("; {pending} obligations never settled"));
    }
    if !deaf.is_empty() {
        detail.push_str(&format!("; nothing arrived on {}", deaf.join(", ")));
    }
    Seen {
        status,
        observed: Some(trials as f64),
        limit: Some(needed as f64),
        unit: "count",
        evidence: trials,
        detail,
    }
}
