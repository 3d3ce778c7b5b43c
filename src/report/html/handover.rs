//! Clients that move from old to new: what each way of moving cost them.

use std::fmt::Write;

use crate::report::Report;
use crate::report::handover::WayReport;
use crate::report::markup::clipped;
use crate::report::text::{grouped, millis};
use crate::verify::handover::Way;

use super::{DETAIL_MAX, write_table};

impl Report {
    pub(super) fn html_handover(&self, out: &mut String) -> std::fmt::Result {
        let Some(handover) = &self.handover else { return Ok(()) };
        writeln!(out, "<ul>")?;
        for said in handover.sentences() {
            writeln!(out, "<li>{}</li>", clipped(said.trim_start(), DETAIL_MAX))?;
        }
        writeln!(out, "</ul>")?;
        let rows: Vec<_> = handover.ways.iter().map(row).collect();
        let headings = [
            "moved",
            "blind, median",
            "blind, longest",
            "events missed",
            "seen twice",
            "overlap needed",
        ];
        write_table(out, "Clients by their way to move", &headings, &rows)
    }
}

fn row((way, of): (&Way, &WayReport)) -> (String, Vec<String>) {
    let cells = vec![
        format!("{} of {}", grouped(of.moved), grouped(of.planned)),
        millis(of.blind_ms.p50),
        millis(of.blind_ms.max),
        grouped(of.missed),
        grouped(of.twice),
        millis(of.overlap_needed_ms.max),
    ];
    (way.as_str().to_owned(), cells)
}
