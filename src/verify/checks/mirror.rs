//! Mirror: whether the application published the same to both clusters, on the channels on which it
//! was watched.

use crate::model::ClusterRole;
use crate::verify::mirror::{MirrorFigures, Outcome};
use crate::verify::sample::SampleFigures;
use crate::verify::verdict::Status;

use super::{Limits, Seen, percent, ratio, shown};

/// Outcomes that are held against the application.
const DEFECTS: [Outcome; 4] =
    [Outcome::OnlyOnOld, Outcome::OnlyOnNew, Outcome::Altered, Outcome::Duplicated];
/// Channels that are named at most.
const NAMED_MAX: usize = 3;

/// More that could not be judged than could is as good as nothing seen: it passes nothing.
pub(super) fn check(sample: &SampleFigures, mirror: &MirrorFigures, limits: &Limits) -> Seen {
    let (limit, evidence) = (limits.mirror_ratio_max, mirror.observed());
    let defects: u64 = DEFECTS.iter().map(|outcome| mirror.count(*outcome)).sum();
    let (status, observed) = ratio(defects, evidence, |ratio| ratio <= limit);
    let unjudged = unjudged(mirror);
    let unreadable: u64 = mirror.unreadable.values().sum();
    let is_blind = status == Status::Pass && (unjudged > evidence || unreadable > 0);
    let status = if is_blind { Status::Inconclusive } else { status };
    let detail = if evidence == 0 {
        nothing(sample, mirror)
    } else {
        let what = if defects == 0 {
            format!("all of {evidence} real events the same on both clusters")
        } else {
            let ratio = shown(observed, status, limit, "allowed");
            let kinds = kinds(mirror);
            format!("{defects} of {evidence} real events not the same on both{ratio}: {kinds}")
        };
        let blind = if unreadable > 0 {
            format!("; {unreadable} encrypted ones could not be opened")
        } else if is_blind {
            format!("; {unjudged} more could not be judged, which is most of them")
        } else {
            String::new()
        };
        format!("{what}{blind}{}{}", one_sided(mirror), ruled_out(sample, mirror, limits))
    };
    Seen {
        status,
        observed,
        limit: Some(limit),
        unit: "ratio",
        evidence,
        detail,
        ..Seen::default()
    }
}

/// Copies of which nobody can say whether the other cluster carried the same.
fn unjudged(mirror: &MirrorFigures) -> u64 {
    let unreadable: u64 = mirror.unreadable.values().sum();
    mirror.count(Outcome::Unobservable) + mirror.left_out + unreadable
}

fn kinds(mirror: &MirrorFigures) -> String {
    let counted = DEFECTS.iter().map(|outcome| (*outcome, mirror.count(*outcome)));
    let counted = counted.filter(|(_, count)| *count > 0);
    let said = counted.map(|(outcome, count)| format!("{count} {}", outcome.meaning()));
    said.collect::<Vec<_>>().join(", ")
}

/// Channels that one cluster alone carries: one missing publisher, not many lost events.
fn one_sided(mirror: &MirrorFigures) -> String {
    let channels = mirror.one_sided();
    let of = |only: Outcome, role: ClusterRole| {
        let names: Vec<_> =
            channels.iter().filter(|(_, o)| **o == only).map(|(name, _)| name.as_str()).collect();
        let named = names.get(..names.len().min(NAMED_MAX)).unwrap_or_default().join(", ");
        let more = match names.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        match names.len() {
            0 => String::new(),
            1 => format!("; 1 channel is published to {role} only: {named}"),
            n => format!("; {n} channels are published to {role} only: {named}{more}"),
        }
    };
    let old = of(Outcome::OnlyOnOld, ClusterRole::Old);
    format!("{old}{}", of(Outcome::OnlyOnNew, ClusterRole::New))
}

/// What the watched channels say of all.
fn ruled_out(sample: &SampleFigures, mirror: &MirrorFigures, limits: &Limits) -> String {
    let told = sample.ruled_out(mirror, limits.confidence);
    let seen = format!("; seen on {} of {} channels", told.seen, told.channels);
    match told.at_most {
        Some(_) if told.seen == told.channels => format!("; seen on all {} channels", told.seen),
        Some(at_most) => {
            let share = percent(at_most as f64 / told.channels as f64);
            let sure = percent(limits.confidence);
            format!("{seen}: at most {at_most} ({share}) get events on one cluster only ({sure})")
        }
        _ => seen,
    }
}

/// Why no real event could be judged.
fn nothing(sample: &SampleFigures, mirror: &MirrorFigures) -> String {
    let (unjudged, unreadable) = (unjudged(mirror), mirror.unreadable.values().sum::<u64>());
    let because = if unreadable > 0 {
        format!("{unreadable} encrypted ones could not be opened: encryption_master_key is another")
    } else if unjudged > 0 {
        format!("{unjudged} came beside a break of a witness, or at the end")
    } else if sample.refreshes == 0 && !sample.last_failure.is_empty() {
        format!("the channels were never listed: {}", sample.last_failure)
    } else if sample.last.channels() == 0 {
        "no channel with one of the prefixes is occupied that could be watched".to_owned()
    } else if !sample.last_refusal.is_empty() {
        format!("subscriptions were refused: {}", sample.last_refusal)
    } else {
        "none came on the channels that were watched".to_owned()
    };
    format!("no real event could be judged: {because}")
}
