//! What simulated clients saw of a cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verify::load::{Load, LoadConnections, LoadFaults, LoadFigures};
use crate::verify::tally::Obligations;

use super::Summary;
use super::figures::{BrokenHistogram, duration};

/// Simulated clients of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadReport {
    /// How many there were to be.
    pub planned: u64,
    /// Seconds from the first event until the last of them was to connect.
    pub ramp_seconds: f64,
    /// What became of their connections.
    pub connections: LoadConnections,
    /// Clients that were connected at the end.
    pub connected: u64,
    /// Most of them at a time.
    pub connected_max: u64,
    /// What they were owed, by outcome.
    pub obligations: Obligations,
    /// Obligations that were open.
    pub pending: u64,
    /// What went wrong.
    pub faults: LoadFaults,
    /// That of it which tainted seconds excuse.
    pub excused: LoadFaults,
    /// Connections that were lost and tries that failed, by the reason, tainted seconds included.
    /// Of many reasons eight are told apart. Reports of the first versions lack it.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// From sending to receipt.
    pub latency_ms: Summary,
    /// From the dial to the last confirmation.
    pub connect_ms: Summary,
}

impl LoadReport {
    pub(super) fn of(figures: &LoadFigures) -> Self {
        Self {
            planned: figures.load.connections,
            ramp_seconds: figures.load.ramp.as_secs_f64(),
            connections: figures.connections,
            connected: figures.connected,
            connected_max: figures.connected_max,
            obligations: figures.obligations,
            pending: figures.pending,
            faults: figures.faults,
            excused: figures.excused,
            failures: figures.failures.clone(),
            latency_ms: Summary::of(&figures.latencies),
            connect_ms: Summary::of(&figures.connect),
        }
    }

    /// # Errors
    /// A histogram is broken.
    pub(super) fn figures(&self) -> Result<LoadFigures, BrokenHistogram> {
        Ok(LoadFigures {
            load: Load { connections: self.planned, ramp: duration(self.ramp_seconds) },
            connections: self.connections,
            connected: self.connected,
            connected_max: self.connected_max,
            obligations: self.obligations,
            pending: self.pending,
            faults: self.faults,
            excused: self.excused,
            failures: self.failures.clone(),
            latencies: self.latency_ms.latencies("load.latency_ms")?,
            connect: self.connect_ms.latencies("load.connect_ms")?,
        })
    }
}
