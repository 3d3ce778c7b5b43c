//! Instrument: a measurement that cannot vouch for itself must neither accuse nor acquit.

use crate::verify::account::Account;
use crate::verify::verdict::Status;

use super::{Limits, Seen, percent};

pub(super) fn check(account: &Account, limits: &Limits) -> Seen {
    let instrument = account.instrument();
    let (tainted, seconds) = (instrument.tainted.count(), account.seconds());
    let share = if seconds == 0 { 1.0 } else { tainted as f64 / seconds as f64 };
    let unbalanced = account
        .clusters()
        .iter()
        .find(|(_, c)| c.pending() == 0 && c.obligations_opened != c.obligations().total);
    let keeps = share <= limits.tainted_ratio_max && instrument.lapped == 0;
    let status = if keeps && unbalanced.is_none() { Status::Pass } else { Status::Inconclusive };
    let mut detail = format!("{tainted} of {seconds} seconds tainted ({})", percent(share));
    for (reason, count) in instrument.tainted.reasons() {
        detail.push_str(&format!("; {} in {count}", reason.as_str()));
    }
    if let Some((role, cluster)) = unbalanced {
        detail.push_str(&format!(
            "; on {role} the publisher opened {} obligations and the witnesses {}",
            cluster.obligations_opened,
            cluster.obligations().total
        ));
    }
    if instrument.lapped > 0 {
        detail.push_str(&format!("; {} publications lapped", instrument.lapped));
    }
    Seen {
        status,
        observed: Some(share),
        limit: Some(limits.tainted_ratio_max),
        unit: "ratio",
        evidence: seconds,
        detail,
    }
}
