//! Load: whether the simulated clients are taken in, are kept, and get what is published in time.

use crate::verify::load::{LoadConnections, LoadFaults, LoadFigures};
use crate::verify::verdict::Status;

use super::{Limits, Seen, millis, ms, ratio, shown};

/// The least share, of connections and of deliveries, unless a scenario has another.
pub(super) const fn share_min() -> f64 {
    0.999
}

/// What one part of the check says.
struct Part {
    status: Status,
    /// Empty where there is nothing to say.
    said: String,
    /// What was seen, and what is compared with it: shares, or milliseconds.
    observed: Option<f64>,
    limit: f64,
    unit: &'static str,
    /// On how many of something it rests.
    evidence: u64,
}

impl Part {
    fn share(status: Status, said: String, (observed, limit): (Option<f64>, f64), of: u64) -> Self {
        Self { status, said, observed, limit, unit: "ratio", evidence: of }
    }
}

/// Each part is judged for itself; the worst one is the check's.
pub(super) fn check(figures: &LoadFigures, limits: &Limits, is_ended: bool) -> Seen {
    if figures.load.connections == 0 {
        let detail = "none of the clients is this shard's".to_owned();
        return Seen { status: Status::Pass, detail, ..Seen::default() };
    }
    let faults = figures.faults.without(&figures.excused);
    // What tainted seconds excuse says nothing for the cluster, either.
    let owed = figures.owed().saturating_sub(figures.excused.short());
    // What a client is there for is shown where nothing is wrong.
    let parts = [
        deliveries(figures, (owed, &faults), limits, is_ended),
        joined(figures, limits, is_ended),
        kept(figures, &faults, limits),
        connecting(figures, limits),
        copies(&faults, limits),
    ];
    let status = parts.iter().map(|part| part.status).max().unwrap_or(Status::Inconclusive);
    let [deliveries, joined, kept, connecting, copies] = &parts;
    let said = [joined, kept, connecting, deliveries, copies].map(|part| part.said.as_str());
    let said: Vec<_> = said.into_iter().filter(|said| !said.is_empty()).collect();
    let shown = parts.iter().find(|part| part.status == status).unwrap_or(deliveries);
    Seen {
        status,
        observed: shown.observed,
        limit: Some(shown.limit),
        unit: shown.unit,
        evidence: shown.evidence,
        detail: said.join("; "),
        ..Seen::default()
    }
}

fn joined(figures: &LoadFigures, limits: &Limits, is_ended: bool) -> Part {
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
    Part::share(status, said, (share, least), asked)
}

/// Who is let in after many tries, or is sent away again, is not taken in. Among few clients one
/// mishap is none of a share.
fn kept(figures: &LoadFigures, faults: &LoadFaults, limits: &Limits) -> Part {
    let LoadFaults { tries_failed: failed, connections_lost: lost, .. } = *faults;
    let opened = figures.connections.opened;
    let tries = opened + failed;
    let least = limits.load_connected_min;
    let allowed = |of: u64| ((1.0 - least) * of as f64).ceil() as u64;
    let mut said = Vec::new();
    let mut is_bad = false;
    let mut share = None;
    for (bad, of, what) in
        [(failed, tries, "tries to connect failed"), (lost, opened, "connections lost")]
    {
        if bad > 0 {
            said.push(format!("{bad} of {of} {what}"));
        }
        if bad > allowed(of) {
            said.push(format!("{} allowed", allowed(of)));
            share = share.or(Some(1.0 - bad as f64 / of as f64));
            is_bad = true;
        }
    }
    if failed + lost > 0
        && let Some((why, count)) = figures.failures.iter().max_by_key(|(_, count)| **count)
    {
        said.push(format!("mostly: {why} ({count} times)"));
    }
    let status = if is_bad { Status::Fail } else { Status::Pass };
    Part::share(status, said.join(", "), (share, least), tries)
}

/// The highest quantile that so many clients tell. Of very few the slowest may be so by our own
/// doing, and accuses nobody.
fn connecting(figures: &LoadFigures, limits: &Limits) -> Part {
    let quantile = figures.connect.highest_told_ms();
    let slowest = figures.connect.max_ms().map(|slowest| ("at most", slowest));
    let told = quantile.or(slowest);
    let limit = millis(limits.connect_p99_max);
    let is_slow = told.is_some_and(|(_, took)| took > limit);
    let status = match is_slow {
        true if quantile.is_some() => Status::Fail,
        true => Status::Inconclusive,
        false => Status::Pass,
    };
    let mut said = told.map_or(String::new(), |(what, took)| {
        format!("connecting took {} ms ({what})", ms(Some(took)))
    });
    if is_slow {
        said += &format!(", {limit:.0} ms allowed");
    }
    let (observed, evidence) = (told.map(|(_, took)| took), figures.connect.count());
    Part { status, said, observed, limit, unit: "ms", evidence }
}

fn deliveries(
    figures: &LoadFigures,
    (owed, faults): (u64, &LoadFaults),
    limits: &Limits,
    is_ended: bool,
) -> Part {
    let LoadFaults { lost, missed_offline, late, .. } = *faults;
    let in_time = owed.saturating_sub(faults.short());
    let least = limits.load_delivered_min;
    let (lossless, lost_share) = ratio(lost, owed, |share| share <= limits.loss_rate_max);
    let (timely, share) = ratio(in_time, owed, |share| share >= least);
    let mut status = lossless.max(timely);
    let excused = figures.excused.short();
    let aside = if excused > 0 { format!(", {excused} in tainted seconds") } else { String::new() };
    if owed == 0 {
        let said = format!("nothing was owed to them{aside}");
        return Part::share(status, said, (None, least), owed);
    }
    // While a run goes on, something is under way at any time.
    let open = if is_ended { figures.pending } else { 0 };
    if open > 0 {
        status = status.max(Status::Inconclusive);
    }
    let mut said = format!("{in_time} of {owed} deliveries in time");
    said += &shown(share, timely, least, "needed");
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
    let compared = match (lossless, timely) {
        (Status::Fail, Status::Pass) => (lost_share, limits.loss_rate_max),
        _ => (share, least),
    };
    Part::share(status, said, compared, owed)
}

/// Copies that should not have come are held to the limits that witnesses' are.
fn copies(faults: &LoadFaults, limits: &Limits) -> Part {
    let LoadFaults { duplicates, reordered, wrong, .. } = *faults;
    let counts = [
        (duplicates, limits.duplicates_max, "duplicates"),
        (reordered, limits.reordered_max, "reordered"),
        (wrong, 0, "corrupt, misrouted or unexpected"),
    ];
    let over = counts.iter().find(|(count, allowed, _)| count > allowed);
    let said = counts.iter().filter(|(count, ..)| *count > 0);
    let said: Vec<_> = said.map(|(n, max, what)| format!("{n} {what} ({max} allowed)")).collect();
    let (count, allowed, _) = over.copied().unwrap_or_default();
    Part {
        status: if over.is_some() { Status::Fail } else { Status::Pass },
        said: said.join(", "),
        observed: over.map(|_| count as f64),
        limit: allowed as f64,
        unit: "",
        evidence: count,
    }
}
