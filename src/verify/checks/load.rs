//! Load: whether the simulated clients are taken in, are kept, and get what is published in time.

use crate::verify::load::{LoadConnections, LoadFaults, LoadFigures};
use crate::verify::verdict::Status;

use super::{Limits, Seen, millis, ms, ratio, shown};

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
    // What tainted seconds excuse says nothing for the cluster, either.
    let owed = figures.owed().saturating_sub(figures.excused.short());
    let parts = [
        joined(figures, limits, is_ended),
        connections(figures, &faults, limits),
        deliveries(figures, (owed, &faults), limits, is_ended),
        copies(&faults, limits),
    ];
    let status = parts.iter().map(|(status, _)| *status).max().unwrap_or(Status::Inconclusive);
    let said: Vec<_> = parts.into_iter().map(|(_, said)| said).filter(|s| !s.is_empty()).collect();
    Seen {
        status,
        observed: (owed > 0).then(|| owed.saturating_sub(faults.short()) as f64 / owed as f64),
        limit: Some(limits.load_delivered_min),
        unit: "ratio",
        evidence: owed,
        detail: said.join("; "),
        ..Seen::default()
    }
}

fn joined(figures: &LoadFigures, limits: &Limits, is_ended: bool) -> (Status, String) {
    let LoadConnections { asked, joined, .. } = figures.connections;
    let (planned, least) = (figures.load.connections, limits.load_connected_min);
    let (taken, share) = ratio(joined, asked, |share| share >= least);
    let status = match taken {
        // Whoever is on the way may yet arrive.
        Status::Fail if !is_ended => Status::Inconclusive,
        Status::Pass if asked < planned => Status::Inconclusive,
        status => status,
    };
    let mut said = format!("{joined} of {planned} clients connected");
    if asked < planned {
        said += &format!(", {asked} were due by then");
    } else if taken == Status::Fail {
        said += &shown(share, taken, least, "needed");
    }
    (status, said)
}

/// Who is let in after many tries, or slowly, or is sent away again, is not taken in. Among few
/// clients one mishap is none of a share.
fn connections(figures: &LoadFigures, faults: &LoadFaults, limits: &Limits) -> (Status, String) {
    let LoadFaults { tries_failed: failed, connections_lost: lost, .. } = *faults;
    let opened = figures.connections.opened;
    let allowed = |of: u64| ((1.0 - limits.load_connected_min) * of as f64).ceil() as u64;
    let tries = opened + failed;
    let p99 = figures.connect.quantile_ms(0.99);
    let slow = p99.filter(|ms| *ms > millis(limits.connect_p99_max));
    let mut said = Vec::new();
    if failed > 0 {
        said.push(format!("{failed} of {tries} tries to connect failed"));
    }
    if failed > allowed(tries) {
        said.push(format!("{} allowed", allowed(tries)));
    }
    if lost > 0 {
        said.push(format!("{lost} of {opened} connections lost"));
    }
    if lost > allowed(opened) {
        said.push(format!("{} allowed", allowed(opened)));
    }
    if slow.is_some() {
        let limit = millis(limits.connect_p99_max);
        said.push(format!("connecting took {} ms (p99), {limit:.0} ms allowed", ms(slow)));
    }
    let is_bad = failed > allowed(tries) || lost > allowed(opened) || slow.is_some();
    (if is_bad { Status::Fail } else { Status::Pass }, said.join(", "))
}

fn deliveries(
    figures: &LoadFigures,
    (owed, faults): (u64, &LoadFaults),
    limits: &Limits,
    is_ended: bool,
) -> (Status, String) {
    let LoadFaults { lost, missed_offline, late, .. } = *faults;
    let in_time = owed.saturating_sub(faults.short());
    let (lossless, lost_share) = ratio(lost, owed, |share| share <= limits.loss_rate_max);
    let (timely, share) = ratio(in_time, owed, |share| share >= limits.load_delivered_min);
    let mut status = lossless.max(timely);
    let excused = figures.excused.short();
    let aside = if excused > 0 { format!(", {excused} in tainted seconds") } else { String::new() };
    if owed == 0 {
        return (status, format!("nothing was owed to them{aside}"));
    }
    // While a run goes on, something is under way at any time.
    let open = if is_ended { figures.pending } else { 0 };
    if open > 0 {
        status = status.max(Status::Inconclusive);
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
    said += &aside;
    if open > 0 {
        said += &format!(", {open} open");
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
        (wrong, 0, "corrupt, misrouted or unexpected"),
    ];
    let is_over = counts.iter().any(|(count, allowed, _)| count > allowed);
    let said = counts.iter().filter(|(count, ..)| *count > 0);
    let said: Vec<_> = said.map(|(n, max, what)| format!("{n} {what} ({max} allowed)")).collect();
    (if is_over { Status::Fail } else { Status::Pass }, said.join(", "))
}
