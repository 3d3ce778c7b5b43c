//! `[load]`: simulated clients beside the witnesses, how many and how they come.

use std::time::Duration;

use serde::Serialize;

use crate::model::ChannelKind;
use crate::model::time::human;
use crate::verify::checks::Phase;
use crate::verify::tally::Route;

use super::file::{Canary, HOUR_MS, bounded, describe_excluded};
use super::reader::Section;

/// Most simulated clients on each cluster.
const CONNECTIONS_MAX: u64 = 20_000;

/// `[load]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Clients on each cluster, each with a connection of its own.
    pub connections: u32,
    /// From the first event until the last of them connects; half of the publishing time at most.
    #[serde(with = "human")]
    pub ramp: Duration,
}

/// Reads the section, if it is there.
pub(super) fn read(section: &mut Section<'_>, phase: Phase, canary: &Canary) -> Option<Load> {
    if !section.is_present() {
        return None;
    }
    describe_excluded(section, "load", excluded);
    if excluded(phase) {
        let phases = "dual-publish, cutover or steady";
        let message = format!("simulated clients need events over a time: {phases} alone");
        section.problem_as_a_whole(format!("{message}; remove [load]"));
    }
    if !canary.channels.iter().any(|(kind, count)| *count > 0 && is_for(*kind)) {
        let message = "its clients subscribe to any channel but presence channels, and \
                       canary.channels has no other; add one, or remove [load]";
        section.problem_as_a_whole(message);
    }
    if canary.routes == [Route::Client] {
        let message = "its clients hear what is published over HTTP; add trigger or batch to \
                       canary.routes, or remove [load]";
        section.problem_as_a_whole(message);
    }
    Some(Load {
        connections: section.integer("connections", 50, 1..CONNECTIONS_MAX) as u32,
        ramp: bounded(section, "ramp", "2m", 0..7 * 24 * HOUR_MS),
    })
}

/// Whether simulated clients subscribe to such channels. Each of many members of a presence channel
/// is told of all others.
pub(super) const fn is_for(kind: ChannelKind) -> bool {
    !kind.is_presence()
}

/// Whether there is nothing for clients to receive in a phase, or no time.
const fn excluded(phase: Phase) -> bool {
    !matches!(phase, Phase::DualPublish | Phase::Cutover | Phase::Steady)
}
