//! Two apps compared from outside.

use std::fmt::Write as _;

use crate::model::ClusterRole;
use crate::report::markup::clipped;
use crate::report::matrix::status;
use crate::report::{Matrix, ParityRow};
use crate::verify::parity::Likeness;

use super::{
    DETAIL_MAX, NAME_MAX, addresses, badge_saying, instant, write_cards, write_facts, write_more,
};

/// Readings that are not what they were.
const DRIFT_MAX: usize = 200;

impl Matrix {
    /// The matrix as an HTML page, like that of a run.
    pub fn to_html(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.html_page(&mut out);
        out
    }

    fn html_page(&self, out: &mut String) -> std::fmt::Result {
        let [mut facts, mut rows, mut drift] = [const { String::new() }; 3];
        self.html_facts(&mut facts)?;
        let sorted = |likeness: Likeness| self.of(likeness);
        let shown = [Likeness::Differs, Likeness::NotTested, Likeness::Accepted, Likeness::Same];
        let shown: Vec<_> = shown.into_iter().flat_map(sorted).collect();
        write_rows(&mut rows, &shown)?;
        self.html_drift(&mut drift)?;
        let sections =
            vec![("rows", "Old and new, row by row", rows), ("drift", "Not what it was", drift)];
        let findings = self.findings();
        self.outcome(&findings).write_page(out, &facts, sections)
    }

    fn html_facts(&self, out: &mut String) -> std::fmt::Result {
        let mut facts = vec![("scenario", clipped(&self.scenario, NAME_MAX))];
        facts.extend(addresses(&self.clusters));
        facts.push(("began", instant(&self.started_at)));
        facts.push(("ended", instant(&self.ended_at)));
        if !self.left_out.is_empty() {
            let names: Vec<_> = self.left_out.iter().map(|probe| probe.as_str()).collect();
            facts.push(("not tried", names.join(", ")));
        }
        write_facts(out, &facts)
    }

    fn html_drift(&self, out: &mut String) -> std::fmt::Result {
        if self.drift.is_empty() {
            for name in &self.baselines {
                writeln!(out, "<p>Everything is as it was in {}.</p>", clipped(name, NAME_MAX))?;
            }
            return Ok(());
        }
        let drift = self.drift.iter().take(DRIFT_MAX).map(|drift| {
            vec![
                drift.row.as_str().to_owned(),
                drift.cluster.as_str().to_owned(),
                clipped(&drift.then.shown(), DETAIL_MAX),
                clipped(&drift.now.shown(), DETAIL_MAX),
                clipped(&drift.baseline, NAME_MAX),
                clipped(drift.accepted.as_deref().unwrap_or_default(), DETAIL_MAX),
            ]
        });
        let drift: Vec<_> = drift.collect();
        let headings = ["row", "on", "then", "now", "then is", "accepted, because"];
        write_cards(out, "parity", "Readings that are not what they were", &headings, &drift)?;
        write_more(out, self.drift.len() as u64, DRIFT_MAX, "readings")
    }
}

/// Rows as a table: what, on each cluster, and what helps.
pub(super) fn write_rows(out: &mut String, rows: &[&ParityRow]) -> std::fmt::Result {
    let rows = rows.iter().map(|row| {
        vec![
            badge_saying(status(row.likeness), row.likeness.as_str()),
            format!("<b>{}</b><br>{}", row.row.as_str(), row.row.meaning()),
            clipped(&row.shown(ClusterRole::Old), DETAIL_MAX),
            clipped(&row.shown(ClusterRole::New), DETAIL_MAX),
            clipped(row.why(), DETAIL_MAX),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let headings = ["verdict", "what", "old", "new", "why, or what helps"];
    write_cards(out, "parity", "How both apps behave, as seen from outside", &headings, &rows)
}
