//! What a run costs, and whether its budget has that.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::verify::parity::Probe;
use crate::verify::tally::Route;
use crate::verify::{control, marker};

use super::super::file::Budget;
use super::Plan;

/// Messages that negative controls take on each app at most: publications and deliveries.
pub(super) const CONTROL_MESSAGES_MAX: u64 = 2 * control::ROUND_EVENTS * control::ROUNDS_MAX;
/// The negative controls' connection, and one that is there for a moment.
const OTHER_CONNECTIONS: usize = 2;

/// What helps a run that costs too many messages, or connections.
pub(super) const CURES: [&str; 2] = [
    "shorten the run, lower the rate or raise the budget",
    "plan fewer witnesses and clients or raise the budget",
];

/// What a run costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Canary events, on each cluster.
    pub events: u64,
    /// Messages billed to each app: a publication and each of its deliveries is one.
    pub messages: u64,
    /// Of these, the most that negative controls take.
    pub control_messages: u64,
    /// WebSocket connections to each app at a time. One of them is there for a moment only.
    pub connections: u64,
}

/// Why a scenario cannot be run as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan exceeds its budget: {0}")]
pub struct OverBudget(String);

impl Plan {
    /// What the planned run costs.
    pub fn bill(&self) -> Bill {
        let (events, duration) = (self.schedule.events(), self.schedule.duration());
        let role = self.member.role;
        let connections = self.witnesses.len()
            + self.senders.len()
            + self.sample.as_ref().map_or(0, |sample| sample.connections)
            + self.handover.as_ref().map_or(0, |handover| handover.movers.len())
            + self.load.as_ref().map_or(0, |load| load.clients.len())
            + self.parity.as_ref().map_or(0, |parity| connections(&parity.probes, 1))
            + if role.witnesses() { OTHER_CONNECTIONS } else { 0 }
            // Who witnesses what others publish listens to their markers.
            + usize::from(!role.publishes());
        Bill {
            events: if role.publishes() { events } else { 0 },
            messages: self.messages(events, duration),
            control_messages: self.control_messages(),
            connections: connections as u64,
        }
    }

    /// Messages billed to each app, at most, for so many events within such a time.
    pub fn messages(&self, events: u64, time: Duration) -> u64 {
        let published = u64::from(self.member.role.publishes());
        let delivered = events.saturating_mul(published + self.witnesses_per_channel());
        let markers = self.markers.as_ref().map_or(0, |_| marker::bulletins_max(events, time));
        let moved = self.handover.as_ref().map_or(0, |handover| handover.messages(time));
        let heard = self.own_streams().filter(|stream| stream.route != Route::Client);
        let channels = heard.map(|stream| stream.channel).collect::<BTreeSet<_>>().len();
        let loaded = self.load.as_ref().map_or(0, |load| load.messages(events, channels));
        let probes = self.parity.iter().flat_map(|parity| &parity.probes);
        let probed: u64 = probes.map(|probe| probe.messages()).sum();
        let beside = (probed + self.control_messages()).saturating_add(loaded);
        delivered.saturating_add(markers).saturating_add(moved).saturating_add(beside)
    }

    fn control_messages(&self) -> u64 {
        if self.member.role.witnesses() { CONTROL_MESSAGES_MAX } else { 0 }
    }

    /// Witnesses of each channel on each cluster.
    pub(super) fn witnesses_per_channel(&self) -> u64 {
        self.witnesses.iter().map(|w| u64::from(w.replica) + 1).max().unwrap_or_default()
    }
}

/// Connections that these probes have to an app at a time, if so many are made at once.
fn connections(probes: &[Probe], at_once: usize) -> usize {
    let mut connections: Vec<_> = probes.iter().map(|probe| probe.connections()).collect();
    connections.sort_by_key(|connections| Reverse(*connections));
    connections.iter().take(at_once).sum()
}

impl Bill {
    /// Adds what another process of the same run costs.
    pub(super) const fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.messages += other.messages;
        self.control_messages += other.control_messages;
        self.connections += other.connections;
    }

    /// What a comparison by these probes costs, so many of them at once.
    pub fn of_probes(probes: &[Probe], at_once: usize) -> Self {
        let messages = probes.iter().map(|probe| probe.messages()).sum();
        let connections = connections(probes, at_once) as u64;
        Self { events: 0, messages, control_messages: 0, connections }
    }

    /// # Errors
    /// What exceeds the budget, on so many clusters; the cures say what helps against too many
    /// messages and against too many connections.
    pub fn check(
        &self,
        budget: &Budget,
        clusters: usize,
        [fewer_messages, fewer_connections]: [&str; 2],
    ) -> Result<(), OverBudget> {
        let Self { messages, connections, .. } = *self;
        let both = messages.saturating_mul(clusters.max(1) as u64);
        let mut over = Vec::new();
        let mut compare = |what: &str, plan: u64, limit: u64, key: &str| {
            if plan > limit {
                over.push(format!("{plan} {what} where budget.{key} allows {limit}"));
            }
            plan > limit
        };
        let messages_max = budget.messages_max;
        let is_over = [
            compare("messages per app", messages, messages_max, "messages_max")
                | compare(
                    "messages together",
                    both,
                    budget.account_messages_max,
                    "account_messages_max",
                ),
            compare("connections per app", connections, budget.connections_max, "connections_max"),
        ];
        let cures = [fewer_messages, fewer_connections].into_iter().zip(is_over);
        let mut cures: Vec<_> =
            cures.filter(|(_, is_over)| *is_over).map(|(cure, _)| cure).collect();
        cures.dedup();
        if over.is_empty() {
            return Ok(());
        }
        Err(OverBudget(format!("{}; {}", over.join(", "), cures.join("; "))))
    }
}
