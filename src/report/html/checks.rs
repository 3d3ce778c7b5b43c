//! Checks, each with all that it found, the failing ones first.

use std::fmt::Write;

use crate::report::markup::{clipped, escaped};
use crate::report::outcome::Outcome;
use crate::report::text::{figure, grouped, on};
use crate::verify::verdict::Finding;

use super::{DETAIL_MAX, NAME_MAX, badge, plural, write_cards, write_more};

/// Checks that are shown.
const CHECKS_MAX: usize = 120;
const HEADINGS: [&str; 9] = [
    "status",
    "check",
    "on",
    "what was seen",
    "compared",
    "limit",
    "target",
    "evidence",
    "required",
];

impl Outcome<'_> {
    pub(super) fn html_checks(&self, out: &mut String) -> std::fmt::Result {
        let (passed, open) = (self.passed(), self.failed_or_open());
        match open.len() {
            0 => writeln!(out, "<p>None failed, and none is open.</p>")?,
            _ => write_some(out, "Failed and open checks, those that are required first", &open)?,
        }
        if passed.is_empty() {
            return Ok(());
        }
        let count = plural(passed.len() as u64, "check");
        writeln!(out, "<details><summary>{count} passed</summary>")?;
        write_some(out, "Checks that passed", &passed)?;
        writeln!(out, "</details>")
    }
}

fn write_some(out: &mut String, caption: &str, findings: &[&Finding]) -> std::fmt::Result {
    let rows: Vec<_> = findings.iter().take(CHECKS_MAX).map(|finding| cells(finding)).collect();
    write_cards(out, "checks", caption, &HEADINGS, &rows)?;
    write_more(out, findings.len() as u64, CHECKS_MAX, "checks")
}

/// A check as the cells of a row.
fn cells(finding: &Finding) -> Vec<String> {
    let Finding { name, cluster, required, status, detail, unit, evidence, .. } = finding;
    let shown = |value: Option<f64>| match value {
        // A number and its unit stay in one line.
        Some(value) => escaped(&figure(value, unit)).replace(' ', "\u{a0}"),
        None => String::new(),
    };
    let required = if *required { "yes" } else { "no, shown" };
    vec![
        badge(*status),
        format!("<b>{}</b>", clipped(name, NAME_MAX)),
        on(*cluster).to_owned(),
        clipped(detail, DETAIL_MAX),
        shown(finding.observed),
        shown(finding.limit),
        shown(finding.target),
        grouped(*evidence),
        required.to_owned(),
    ]
}
