//! Finds out how an app behaves, while a run goes on.

use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::model::ClusterRole;
use crate::probes::{self, Site};
use crate::verify::fact::Fact;
use crate::verify::parity::Probe;

use super::Phases;

/// See the module's documentation.
pub struct Prober {
    /// The cluster.
    pub role: ClusterRole,
    /// Its app.
    pub site: Site,
    /// What is tried, one after the other.
    pub probes: Vec<Probe>,
    /// Where facts go.
    pub facts: mpsc::Sender<Fact>,
}

impl Prober {
    /// Tries everything once, unless the run ends before.
    pub async fn run(self, phases: Phases) {
        phases.publishing.cancelled().await;
        let found = probes::all(&self.site, &self.probes, 1, &phases.leave);
        let mut found = std::pin::pin!(found);
        while let Some((row, reading)) = found.next().await {
            // The collector outlives this; if it is gone, the run has failed already.
            let _ = self.facts.send(Fact::Probed(self.role, row, reading)).await;
        }
    }
}
