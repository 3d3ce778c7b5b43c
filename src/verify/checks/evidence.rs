//! Evidence: a verdict never rests on silence.

use crate::model::{ClusterRole, MemberRole};
use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::tally::BlindCause;
use crate::verify::verdict::Status;

use super::{Looks, Phase, Requirements, Seen};

/// Fewest readings of a cluster's occupancy that a drain rests on.
const READINGS_MIN: u64 = 2;

/// Enough trials, and nothing left open: neither an obligation, nor a publication, nor a stream
/// that no witness watches, nor a witness that is blind: a cluster may have died when nothing was
/// owed any more.
pub(super) fn check(figures: &Figures, role: ClusterRole, asked: &Requirements) -> Seen {
    let Some(cluster) = figures.clusters.get(&role) else {
        return absent();
    };
    if !asked.phase.publishes() {
        return readings(cluster);
    }
    let needed = match asked.phase {
        Phase::Preflight => 1,
        _ => asked.trials_needed().max(1),
    };
    let trials = cluster.trials.trials;
    let is_rolling = asked.looks == Looks::Rolling;
    // While a run goes on some witness is always about to be back that it reconnects on purpose.
    let counts = |cause: BlindCause| !is_rolling || cause != BlindCause::Agent;
    let blind = cluster.blind.iter().filter(|(cause, _)| counts(**cause)).map(|(_, n)| n).sum();
    // Nobody shall be kept on a lossy old cluster because it is lossy.
    let (blind, overdue) = match (asked.phase, role) {
        (Phase::Cutover, ClusterRole::Old) => (0, 0),
        _ => (blind, cluster.unexplained),
    };
    let unwatched = figures.unwatched.get(&role).copied().unwrap_or_default();
    let blinded = (blind, "witnesses cannot see, and nothing vouches for the cluster");
    let why = match asked.role {
        MemberRole::Both => "streams have no witness",
        MemberRole::Publish => "streams are witnessed by other agents, if at all",
        MemberRole::Witness => "streams that were not followed from first to last",
    };
    let unwatched = (unwatched, why);
    let mut open = match is_rolling {
        // Something always is under way; what is past its deadline may be lost, unless we know why.
        true => vec![(overdue, "obligations overdue"), unwatched, blinded],
        false => vec![
            (cluster.pending, "obligations never settled"),
            (undecided(cluster), "publications never decided"),
            unwatched,
            blinded,
        ],
    };
    open.retain(|(count, _)| *count > 0);
    let is_enough = trials >= needed && open.is_empty();
    let status = if is_enough { Status::Pass } else { Status::Inconclusive };
    let mut detail = format!("{trials} trials of {needed} needed");
    for (count, what) in open {
        detail.push_str(&format!("; {count} {what}"));
    }
    Seen {
        status,
        observed: Some(trials as f64),
        limit: Some(needed as f64),
        unit: "count",
        evidence: trials,
        detail,
        ..Seen::default()
    }
}

/// A drain rests on what the API said: twice at least, and lately.
fn readings(cluster: &ClusterFigures) -> Seen {
    let read = cluster.occupancy.clone().unwrap_or_default();
    let is_enough = read.readings >= READINGS_MIN && read.is_current();
    let mut detail = format!("{} readings of {READINGS_MIN} needed", read.readings);
    if read.failed > 0 {
        detail.push_str(&format!("; {} failed, the last one: {}", read.failed, read.last_failure));
    }
    Seen {
        status: if is_enough { Status::Pass } else { Status::Inconclusive },
        observed: Some(read.readings as f64),
        limit: Some(READINGS_MIN as f64),
        unit: "count",
        evidence: read.readings,
        detail,
        ..Seen::default()
    }
}

/// A cluster that the phase asks for, and of which nothing is known.
fn absent() -> Seen {
    Seen {
        unit: "count",
        detail: "the cluster was not part of the run".to_owned(),
        ..Seen::default()
    }
}

/// Publications without an answer, and those of unknown fate that nothing has decided.
fn undecided(cluster: &ClusterFigures) -> u64 {
    let p = cluster.publications_total();
    cluster.in_flight() + p.unknown.saturating_sub(p.recovered + p.void)
}
