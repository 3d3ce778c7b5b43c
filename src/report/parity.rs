//! In what two apps behave alike: from figures to the report, and back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ClusterRole;
use crate::verify::parity::{Likeness, ParityFigures, Reading, Row, RowFigures};

/// One row of what two apps have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParityRow {
    /// What is compared.
    pub row: Row,
    /// What was found, by cluster.
    pub readings: BTreeMap<ClusterRole, Reading>,
    /// What it comes to.
    pub likeness: Likeness,
    /// Why a difference is wanted, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// What to change; empty where nothing differs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl ParityRow {
    /// All that was found.
    pub(super) fn all(figures: &ParityFigures) -> Vec<Self> {
        let row = |(row, of): (&Row, &RowFigures)| Self {
            row: *row,
            readings: of.readings.clone(),
            likeness: of.likeness,
            accepted: of.accepted.clone(),
            advice: match of.likeness {
                Likeness::Differs => row.advice().to_owned(),
                _ => String::new(),
            },
        };
        figures.rows.iter().map(row).collect()
    }

    /// The figures that they were made of.
    pub(super) fn figures(rows: &[Self]) -> ParityFigures {
        let row = |row: &Self| {
            let (readings, accepted) = (row.readings.clone(), row.accepted.clone());
            (row.row, RowFigures { readings, likeness: row.likeness, accepted })
        };
        ParityFigures { rows: rows.iter().map(row).collect() }
    }

    /// What was found on a cluster, for people.
    pub(super) fn shown(&self, role: ClusterRole) -> String {
        self.readings.get(&role).map_or("not tested".to_owned(), Reading::shown)
    }

    /// The row in one sentence.
    pub(super) fn sentence(&self) -> String {
        let (old, new) = (self.shown(ClusterRole::Old), self.shown(ClusterRole::New));
        let found = if old == new { old } else { format!("{old} on old, {new} on new") };
        let likeness = self.likeness.as_str();
        let because = match (&self.accepted, self.likeness) {
            (Some(why), Likeness::Accepted) => format!(" ({why})"),
            (_, Likeness::Differs) => format!("; {}", self.advice),
            _ => String::new(),
        };
        format!("{likeness} {}: {}: {found}{because}", self.row.as_str(), self.row.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn what_is_judged_again_is_what_was_judged() {
        let rows = testing::parity("as our clients want it");
        assert_eq!(ParityRow::all(&ParityRow::figures(&rows)), rows);
    }

    #[test]
    fn each_row_says_what_was_found_and_what_helps() {
        let rows = testing::parity("as our clients want it");
        let said: Vec<_> = rows.iter().map(ParityRow::sentence).collect();
        assert_eq!(
            said,
            [
                "same cache-miss: a cache channel without an event tells of it: yes",
                "differs client-events: client events are delivered on: private, presence on old, unsupported \
                 (4301) on new; let the same kinds of channel have client events on both, where the server \
                 allows it",
                "accepted client-events-user-id: a client event names its sender: yes on old, no on new (as our clients \
                 want it)",
                "not tested several-channels: a publication to three channels arrives: once on each on old, not \
                 tested on new",
            ]
        );
    }
}
