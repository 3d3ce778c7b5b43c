//! Load: whether the simulated clients are taken in, are kept, and get what is published in time.

use crate::verify::load::{LoadConnections, LoadFaults, LoadFigures};
use crate::verify::verdict::Status;

use super::{Limits, Seen, ms, percent, ratio, shown};

/// The least share, of connections and of deliveries, unless a scenario has another.
pub(super) const fn share_min() -> f64 {
    0.999
}

/// What each part says; the worst one is the check's.
pub(super) fn check(figures: &LoadFigures, limits: &Limits, is_ended: bool) -> Seen {
    if figures.load.connections == 0 {
        let detail = "none of the clients is this shard's".to_owned();
        return Seen { status: Status::Pass, detail, ..Seen::default() };
    }
    let faults = figures.faults.without(&figures.excused);
    let parts = [
        connections(figures, limits, is_ended),
        deliveries(figures, &faults, limits),
        copies(&faults, limits),
    ];
    let owed = figures.owed();
    let late = faults.late + faults.missed_offline + faults.lost;
    let observed = (owed > 0).then(|| owed.saturating_sub(late) as f64 / owed as f64);
    let status = parts.iter().map(|(status, _)| *status).max().unwrap_or(Status::Inconclusive);
    let said: Vec<_> = parts.into_iter().map(|(_, said)| said).filter(|s| !s.is_empty()).collect();
    Seen {
        status,
        observed,
        limit: Some(limits.load_delivered_min),
        unit: "ratio",
        evidence: owed,
        detail: said.join("; "),
        ..Seen::default()
    }
}

fn connections(figures: &LoadFigures, limits: &Limits, is_ended: bool) -> (Status, String) {
    let LoadConnections { asked, joined, opened, failed, lost } = figures.connections;
    let (planned, least) = (figures.load.connections, limits.load_connected_min);
    let (taken, share) = ratio(joined, asked, |share| share >= least);
    let (kept, _) = ratio(opened.saturating_sub(lost), opened, |share| share >= least);
    let status = match taken.max(kept) {
        // Whoever is on the way may yet arrive.
        Status::Fail if kept != Status::Fail && !is_ended => Status::Inconclusive,
        Status::Pass if asked < planned => Status::Inconclusive,
        status => status,
    };
    let mut said = format!("{joined} of {planned} clients connected");
    if asked < planned {
        said += &format!(", {asked} were to by then");
    } else if taken == Status::Fail {
        said += &shown(share, taken, least, "needed");
    }
    if failed > 0 {
        said += &format!(", {failed} {} failed", if failed == 1 { "try" } else { "tries" });
    }
    if lost > 0 {
        said += &format!(", {lost} of {opened} connections lost");
    }
    if kept == Status::Fail {
        said += &format!(" ({} must stay)", percent(least));
    }
    (status, said)
}

fn deliveries(figures: &LoadFigures, faults: &LoadFaults, limits: &Limits) -> (Status, String) {
    let owed = figures.owed();
    let LoadFaults { lost, missed_offline, late, .. } = *faults;
    let in_time = owed.saturating_sub(lost + missed_offline + late);
    let (lossless, lost_share) = ratio(lost, owed, |share| share <= limits.loss_rate_max);
    let (timely, share) = ratio(in_time, owed, |share| share >= limits.load_delivered_min);
    let mut status = lossless.max(timely);
    if owed == 0 {
        return (status, "nothing was owed to them".to_owned());
    }
    if figures.pending > 0 && status == Status::Pass {
        status = Status::Inconclusive;
    }
    let mut said = format!("{in_time} of {owed} deliveries in time");
    said += &shown(share, timely, limits.load_delivered_min, "needed");
    for (count, what) in [(late, "late"), (missed_offline, "missed offline"), (lost, "lost")] {
        if count > 0 {
            said += &format!(", {count} {what}");
        }
    }
    if lossless == Status::Fail {
        said += &shown(lost_share, lossless, limits.loss_rate_max, "allowed");
    }
    if figures.pending > 0 {
        said += &format!(", {} open", figures.pending);
    }
    let p99 = figures.latencies.quantile_ms(0.99).or_else(|| figures.latencies.max_ms());
    if p99.is_some() {
        said += &format!(", p99 {} ms", ms(p99));
    }
    (status, said)
}

/// Copies that should not have come are held to the limits that witnesses' are.
fn copies(faults: &LoadFaults, limits: &Limits) -> (Status, String) {
    let LoadFaults { duplicates, reordered, wrong, .. } = *faults;
    let counts = [
        (duplicates, limits.duplicates_max, "duplicates"),
        (reordered, limits.reordered_max, "reordered"),
        (wrong, 0, "corrupt or misrouted"),
    ];
    let is_over = counts.iter().any(|(count, allowed, _)| count > allowed);
    let said = counts.iter().filter(|(count, ..)| *count > 0);
    let said: Vec<_> = said.map(|(n, max, what)| format!("{n} {what} ({max} allowed)")).collect();
    (if is_over { Status::Fail } else { Status::Pass }, said.join(", "))
}
