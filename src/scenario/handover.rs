//! `[handover]`: virtual clients that move from old to new, and how.

use std::time::Duration;

use serde::Serialize;

use crate::model::ChannelKind;
use crate::model::time::human;
use crate::verify::checks::Phase;
use crate::verify::handover::{Fleet, Ramp, Way};

use super::file::{Canary, HOUR_MS, SECOND_MS, bounded, describe_excluded};
use super::reader::Section;

/// Most members of a presence channel, as hosted clusters have it.
const MEMBERS_MAX: u32 = 100;
/// Most virtual clients.
const CLIENTS_MAX: u64 = 2_000;

/// `[handover]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Handover {
    /// The ways that are tried.
    pub ways: Vec<Way>,
    /// Virtual clients, shared out to the ways.
    pub clients: u32,
    /// Channels that each of them subscribes to, at most.
    pub channels: usize,
    /// When the first one moves, counted from the first event; `None`: after a quarter of the
    /// publishing time.
    #[serde(with = "human::option")]
    pub begin: Option<Duration>,
    /// How the moves are spread.
    pub ramp: Ramp,
    /// Over what time they are; `None`: half of the publishing time.
    #[serde(with = "human::option")]
    pub over: Option<Duration>,
    /// For how long an overlapping client keeps old.
    #[serde(with = "human")]
    pub overlap: Duration,
    /// Whom the figures are projected to.
    pub fleet: Option<Fleet>,
}

/// Reads the section, if it is there.
pub(super) fn read(section: &mut Section<'_>, phase: Phase, canary: &Canary) -> Option<Handover> {
    if !section.is_present() {
        return None;
    }
    describe_excluded(section, "handover", excluded);
    if excluded(phase) {
        let phases = "dual-publish or cutover";
        let message = format!("clients move while events go to both clusters: {phases} alone");
        section.problem_as_a_whole(format!("{message}; remove [handover]"));
    }
    let known = Way::ALL.map(|way| (way.as_str(), way));
    let ways = section.choices_or("ways", "way to move", &known, &Way::ALL);
    let clients = section.integer("clients", 12, 1..CLIENTS_MAX) as u32;
    if (clients as usize) < ways.len() {
        section.problem("clients", "must be at least one for each of the ways");
    }
    let members = [ChannelKind::Presence, ChannelKind::PresenceCache]
        .iter()
        .map(|kind| canary.channels.get(kind).copied().unwrap_or_default())
        .sum::<u32>();
    if members > 0 && clients + canary.witnesses >= MEMBERS_MAX {
        let most = MEMBERS_MAX.saturating_sub(canary.witnesses + 1);
        let message = format!("must be at most {most} where channels are presence channels");
        section.problem("clients", message);
    }
    Some(Handover {
        ways,
        clients,
        channels: section.integer("channels", 4, 1..1_000) as usize,
        begin: time(section, "begin"),
        ramp: read_ramp(section),
        over: time(section, "over"),
        overlap: bounded(section, "overlap", "5s", 100..HOUR_MS),
        fleet: read_fleet(section.section("fleet")),
    })
}

/// Whether nobody can move in a phase.
const fn excluded(phase: Phase) -> bool {
    !matches!(phase, Phase::DualPublish | Phase::Cutover)
}

/// A time within a run.
fn time(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    let time = section.duration_if_given(key)?;
    if time > Duration::from_millis(7 * 24 * HOUR_MS) {
        section.problem(key, "must be between 0s and 7days");
        return None;
    }
    Some(time)
}

fn read_ramp(section: &mut Section<'_>) -> Ramp {
    let steps = section.integer("steps", 4, 1..1_000) as u32;
    let words = ["at-once", "linear", "steps"];
    match section.word("ramp", "linear", &words).as_deref() {
        Some("at-once") => Ramp::AtOnce,
        None | Some("linear") => Ramp::Linear,
        Some("steps") => Ramp::Steps(steps),
        Some(other) => {
            let message = format!("{other:?} is no ramp; use one of {}", words.join(", "));
            section.problem("ramp", message);
            Ramp::Linear
        }
    }
}

fn read_fleet(mut section: Section<'_>) -> Option<Fleet> {
    if !section.is_present() {
        return None;
    }
    if !section.requires("clients") {
        section.problem("clients", "is missing; say how many real clients will move");
    }
    let fleet = Fleet {
        clients: section.integer_if_given("clients", 1..1_000_000_000).unwrap_or(1),
        over: bounded(&mut section, "over", "1h", SECOND_MS..30 * 24 * HOUR_MS),
    };
    section.finish();
    Some(fleet)
}
