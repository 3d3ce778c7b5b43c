//! Failures close in time, gathered into incidents.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::RunTime;

/// Failures at most so far apart belong to one incident.
const INCIDENT_GAP: Duration = Duration::from_secs(10);
/// Incidents whose begin and end are remembered; of older ones only the number is.
const INCIDENTS_OPEN_MAX: usize = 1_024;

/// The failures of one cluster, gathered into incidents. Streams settle apart, so failures do not
/// come in the order of sending.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    /// Begin and end of each, in order and never closer than the gap.
    spans: BTreeMap<RunTime, RunTime>,
    forgotten: u64,
}

impl Incidents {
    pub(super) fn note(&mut self, at: RunTime) {
        let reach = |end: RunTime| end.after(INCIDENT_GAP);
        let (mut begin, mut end) = (at, at);
        // At most one before it and one behind it are near enough.
        let before = self.spans.range(..=at).next_back().map(|(b, e)| (*b, *e));
        if let Some((b, e)) = before.filter(|(_, e)| reach(*e) >= at) {
            self.spans.remove(&b);
            (begin, end) = (b, e.max(at));
        }
        let behind = self.spans.range(at..).next().map(|(b, e)| (*b, *e));
        if let Some((b, e)) = behind.filter(|(b, _)| reach(at) >= *b) {
            self.spans.remove(&b);
            end = e;
        }
        self.spans.insert(begin, end);
        if self.spans.len() > INCIDENTS_OPEN_MAX {
            self.spans.pop_first();
            self.forgotten += 1;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.forgotten + self.spans.len() as u64
    }
}
