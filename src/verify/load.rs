//! Simulated clients beside the witnesses: whether a cluster takes them in, keeps them, and brings
//! them what is published. What they see is counted by itself and proves nothing about loss: their
//! deliveries are of the same events as the witnesses'.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::time::nanos;

use super::fact::WitnessReport;
use super::latency::{Latencies, Sparse};
use super::record::is_zero;
use super::tally::{Beside, Obligations};

/// How many there are on each cluster, and how they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// Clients, each with a connection of its own.
    pub connections: u64,
    /// From the first event until the last of them connects, in nanoseconds.
    #[serde(with = "nanos")]
    #[schemars(with = "u64")]
    pub ramp: Duration,
}

/// Reasons that are told apart; what else there is counts as [`OTHER_REASONS`].
const REASONS_MAX: usize = 8;
/// Stands for the reasons beyond those.
const OTHER_REASONS: &str = "other reasons";

fn add_failures(mine: &mut BTreeMap<String, u64>, others: &BTreeMap<String, u64>) {
    for (why, count) in others {
        let has_room = mine.contains_key(why) || mine.len() < REASONS_MAX;
        let why = if has_room { why } else { OTHER_REASONS };
        *mine.entry(why.to_owned()).or_default() += count;
    }
}

/// What became of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadConnections {
    /// Clients that were told to connect.
    pub asked: u64,
    /// Clients that were connected and subscribed at least once.
    pub joined: u64,
    /// Connections that became ready, again ones included.
    pub opened: u64,
}

impl AddAssign for LoadConnections {
    fn add_assign(&mut self, other: Self) {
        self.asked += other.asked;
        self.joined += other.joined;
        self.opened += other.opened;
    }
}

/// What a client should have met and did not, or should not have met and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadFaults {
    /// Obligations that ended as lost.
    pub lost: u64,
    /// Those that were missed while offline.
    pub missed_offline: u64,
    /// Late deliveries.
    pub late: u64,
    /// Further copies of what was delivered.
    pub duplicates: u64,
    /// Copies that came out of order.
    pub reordered: u64,
    /// Copies that are damaged, came where they do not belong, or should not exist.
    pub wrong: u64,
    /// Connections that were ready and were lost.
    pub connections_lost: u64,
    /// Tries to connect that failed.
    pub tries_failed: u64,
}

impl LoadFaults {
    /// All of them.
    pub const fn total(&self) -> u64 {
        let of_connections = self.connections_lost + self.tries_failed;
        self.short() + self.duplicates + self.reordered + self.wrong + of_connections
    }

    /// Obligations that did not end as delivered in time.
    pub const fn short(&self) -> u64 {
        self.lost + self.missed_offline + self.late
    }

    /// Those that remain without `excused` ones.
    #[must_use]
    pub const fn without(&self, excused: &Self) -> Self {
        Self {
            lost: self.lost.saturating_sub(excused.lost),
            missed_offline: self.missed_offline.saturating_sub(excused.missed_offline),
            late: self.late.saturating_sub(excused.late),
            duplicates: self.duplicates.saturating_sub(excused.duplicates),
            reordered: self.reordered.saturating_sub(excused.reordered),
            wrong: self.wrong.saturating_sub(excused.wrong),
            connections_lost: self.connections_lost.saturating_sub(excused.connections_lost),
            tries_failed: self.tries_failed.saturating_sub(excused.tries_failed),
        }
    }

    fn add_beside(&mut self, beside: &Beside) {
        self.duplicates += beside.duplicates;
        self.reordered += beside.reordered;
        self.wrong += beside.corrupt + beside.misrouted + beside.unexpected;
    }
}

impl AddAssign for LoadFaults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.missed_offline += other.missed_offline;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.wrong += other.wrong;
        self.connections_lost += other.connections_lost;
        self.tries_failed += other.tries_failed;
    }
}

/// What one client hands on.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Which one, of its cluster.
    pub client: u32,
    /// Counts since its last report.
    pub connections: LoadConnections,
    /// From the dial to the last confirmation.
    pub connect: Sparse,
    /// Whether it is connected now.
    pub is_connected: bool,
    /// What its ledger says.
    pub ledger: WitnessReport,
    /// What its ledger does not count by seconds: obligations that ended as lost, by that of their
    /// sending, and what happened to its connection, by that of happening.
    pub faults: BTreeMap<u64, LoadFaults>,
    /// Connections that were lost and tries that failed, by the reason.
    pub failures: BTreeMap<String, u64>,
}

/// What a second added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadSecond {
    /// Connections.
    pub connections: LoadConnections,
    /// Clients that are connected: a state.
    #[serde(skip_serializing_if = "is_zero")]
    pub connected: u64,
    /// Obligations that are open: a state.
    #[serde(skip_serializing_if = "is_zero")]
    pub pending: u64,
    /// Obligations by outcome.
    pub obligations: Obligations,
    /// Faults by the run's second: of late and needless copies that of their arrival, of what did
    /// not come that of its sending.
    pub faults: BTreeMap<u64, LoadFaults>,
    /// Connections that were lost and tries that failed, by the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, u64>,
    /// From sending to receipt.
    pub latencies: Sparse,
    /// From the dial to the last confirmation.
    pub connect: Sparse,
}

impl LoadSecond {
    /// Adds what a client handed on, but for what is a state.
    pub fn add(&mut self, report: &LoadReport) {
        self.connections += report.connections;
        self.connect.merge(&report.connect);
        let tally = &report.ledger.tally;
        for (obligations, latencies) in tally.strata.values() {
            self.obligations += *obligations;
            self.latencies.merge(latencies);
        }
        let faults = &mut self.faults;
        for (second, beside) in &tally.beside {
            faults.entry(*second).or_default().add_beside(beside);
        }
        for (second, late) in &tally.late {
            faults.entry(*second).or_default().late += late;
        }
        for ((second, _), missed) in &tally.missed {
            faults.entry(*second).or_default().missed_offline += missed;
        }
        for (second, others) in &report.faults {
            *faults.entry(*second).or_default() += *others;
        }
        faults.retain(|_, faults| faults.total() > 0);
        add_failures(&mut self.failures, &report.failures);
    }
}

/// What a cluster's clients came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadFigures {
    /// As planned.
    pub load: Load,
    /// Connections.
    pub connections: LoadConnections,
    /// Clients that are connected now.
    pub connected: u64,
    /// Most of them at a time.
    pub connected_max: u64,
    /// Obligations by outcome.
    pub obligations: Obligations,
    /// Obligations that are open.
    pub pending: u64,
    /// What went wrong.
    pub faults: LoadFaults,
    /// That of it which tainted seconds excuse.
    pub excused: LoadFaults,
    /// Connections that were lost and tries that failed, by the reason, tainted seconds included.
    pub failures: BTreeMap<String, u64>,
    /// From sending to receipt.
    pub latencies: Latencies,
    /// From the dial to the last confirmation.
    pub connect: Latencies,
}

impl LoadFigures {
    /// Figures of nothing yet.
    pub fn new(load: Load) -> Self {
        Self { load, ..Self::default() }
    }

    /// Adds a second.
    pub fn add(&mut self, second: &LoadSecond) {
        self.connections += second.connections;
        (self.connected, self.pending) = (second.connected, second.pending);
        self.connected_max = self.connected_max.max(second.connected);
        self.obligations += second.obligations;
        second.faults.values().for_each(|faults| self.faults += *faults);
        add_failures(&mut self.failures, &second.failures);
        self.latencies.add(&second.latencies);
        self.connect.add(&second.connect);
    }

    /// Adds those of a run that ended later.
    pub fn merge(&mut self, other: &Self) {
        self.load.connections += other.load.connections;
        self.load.ramp = self.load.ramp.max(other.load.ramp);
        self.connections += other.connections;
        self.connected += other.connected;
        self.connected_max = self.connected_max.max(other.connected_max);
        self.obligations += other.obligations;
        self.pending += other.pending;
        self.faults += other.faults;
        self.excused += other.excused;
        add_failures(&mut self.failures, &other.failures);
        self.latencies.merge(&other.latencies);
        self.connect.merge(&other.connect);
    }

    /// Obligations that ended otherwise than void.
    pub const fn owed(&self) -> u64 {
        let Obligations { delivered, late, lost, missed_offline, .. } = self.obligations;
        delivered + late + lost + missed_offline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_reasons_there_are_eight_are_told_apart_and_none_is_left_out() {
        let mut figures = LoadFigures::default();
        for reason in 0..20 {
            let failures = [(format!("reason {reason:02}"), 2)].into();
            figures.add(&LoadSecond { failures, ..LoadSecond::default() });
        }
        let mut sum = figures.clone();
        sum.merge(&figures);
        for (figures, times) in [(figures, 1), (sum, 2)] {
            assert_eq!(figures.failures.len(), REASONS_MAX + 1);
            assert_eq!(figures.failures.values().sum::<u64>(), 40 * times);
            assert_eq!(figures.failures.get(OTHER_REASONS), Some(&(24 * times)));
        }
    }
}
