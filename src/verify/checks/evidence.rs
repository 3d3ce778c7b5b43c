//! Evidence: a verdict never rests on silence.

use crate::model::ClusterRole;
use crate::verify::account::{Account, ClusterAccount};
use crate::verify::stats::trials_needed;
use crate::verify::tally::Stratum;
use crate::verify::verdict::Status;

use super::{Phase, Requirements, Seen};

/// Enough trials, some in every planned stratum, and nothing left open: neither an obligation, nor
/// a publication, nor a stream that no witness watches, nor a witness that is blind: a cluster may
/// have died when nothing was owed any more. In a preflight, which asks for no more than
/// one event each way, a stratum fails if it was tried and nothing of it arrived.
pub(super) fn check(account: &Account, role: ClusterRole, asked: &Requirements) -> Seen {
    let Some(cluster) = account.clusters().get(&role) else {
        return absent();
    };
    let limits = &asked.limits;
    let needed = match asked.phase {
        Phase::Preflight => 1,
        _ => trials_needed(limits.loss_rate_max, limits.confidence).max(1),
    };
    let trials = account.trials(role).trials;
    let planned = account.planned_strata(role);
    let untried: Vec<_> = planned.iter().filter(|(_, n)| **n == 0).map(|(s, _)| *s).collect();
    let silent: Vec<_> = match asked.phase {
        Phase::Preflight => planned
            .iter()
            .filter(|(stratum, trials)| **trials > 0 && arrived(cluster, stratum) == 0)
            .map(|(stratum, _)| *stratum)
            .collect(),
        _ => Vec::new(),
    };
    // Nobody shall be kept on a lossy old cluster because it is lossy.
    let blind = match (asked.phase, role) {
        (Phase::Cutover, ClusterRole::Old) => 0,
        _ => cluster.blindness.open() as u64,
    };
    let open = [
        (cluster.pending(), "obligations never settled"),
        (undecided(cluster), "publications never decided"),
        (account.unwatched(role), "streams have no witness"),
        (blind, "witnesses cannot see, and nothing vouches for the cluster"),
    ];
    let status = if !silent.is_empty() {
        Status::Fail
    } else if trials >= needed && untried.is_empty() && open.iter().all(|(n, _)| *n == 0) {
        Status::Pass
    } else {
        Status::Inconclusive
    };
    let mut detail = format!("{trials} trials of {needed} needed");
    for (strata, what) in [(silent, "nothing arrived of"), (untried, "no trial of")] {
        if !strata.is_empty() {
            let names: Vec<_> = strata.iter().map(|s| format!("{}/{}", s.kind, s.route)).collect();
            detail.push_str(&format!("; {what} {}", names.join(", ")));
        }
    }
    for (count, what) in open.into_iter().filter(|(count, _)| *count > 0) {
        detail.push_str(&format!("; {count} {what}"));
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

/// A cluster that the phase asks for, and of which the account knows nothing.
fn absent() -> Seen {
    Seen {
        status: Status::Inconclusive,
        observed: None,
        limit: None,
        unit: "count",
        evidence: 0,
        detail: "the cluster was not part of the run".to_owned(),
    }
}

fn arrived(cluster: &ClusterAccount, stratum: &Stratum) -> u64 {
    cluster.strata.get(stratum).map_or(0, |(o, _)| o.delivered + o.late)
}

/// Publications without an answer, and those of unknown fate that nothing has decided.
fn undecided(cluster: &ClusterAccount) -> u64 {
    let p = cluster.publications_total();
    cluster.in_flight + p.unknown.saturating_sub(p.recovered + p.void)
}
