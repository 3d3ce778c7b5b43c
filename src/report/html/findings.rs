//! Controls, advice, strata, incidents, and what a rehearsal's clusters counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::report::markup::clipped;
use crate::report::text::{grouped, is_fault};
use crate::report::{Advice, IncidentReport, Report};
use crate::verify::fact::Control;
use crate::verify::verdict::Status;

use super::{DETAIL_MAX, NAME_MAX, badge, plural, write_cards, write_more, write_table};

/// Incidents that are shown at once.
const INCIDENTS_FIRST: usize = 12;
/// Incidents that are shown where somebody asks for more.
const INCIDENTS_MAX: usize = 200;
/// Known failures that are shown.
const ADVICE_MAX: usize = 40;
/// Kinds of fault that are shown.
const FAULTS_MAX: usize = 40;

/// What a control does, and what must be found.
const fn meaning(control: Control) -> &'static str {
    match control {
        Control::SeesLoss => "a delivery withheld is found lost",
        Control::SeesLateness => "one held back past the deadline is found late",
        Control::SeesDuplicate => "one repeated is found a duplicate",
        Control::SeesReordering => "two swapped are found reordered",
        Control::SeesCorruption => "one damaged is found corrupt",
        Control::SeesRefusal => "a subscription with a wrong signature is refused",
        Control::HearsNothing => "a channel without events stays silent",
        Control::SeesOccupancy => "a channel that the canary is on is read as occupied",
    }
}

impl Report {
    pub(super) fn html_controls(&self, out: &mut String) -> std::fmt::Result {
        let shown = self.controls.iter().map(|c| c.name).collect::<BTreeSet<_>>();
        if shown.is_empty() {
            return writeln!(out, "<p>There were none: the detector is not proven.</p>");
        }
        let row = |control: Control| {
            let status = |role| {
                let of = self.controls.iter().find(|c| c.name == control && c.cluster == role);
                of.map_or("–".to_owned(), |c| match c.status {
                    Status::Inconclusive => format!("{}, did not fire", badge(c.status)),
                    status => badge(status),
                })
            };
            let cells = self.clusters.keys().map(|role| status(*role)).collect();
            let (name, meaning) = (control.as_str(), meaning(control));
            (format!("{name}<br><span class=\"quiet\">{meaning}</span>"), cells)
        };
        let rows: Vec<_> = shown.into_iter().map(row).collect();
        let caption = "Negative controls: what the canary did to deliveries of its own, and found";
        write_table(out, caption, &self.roles(), &rows)
    }

    pub(super) fn html_advice(&self, out: &mut String) -> std::fmt::Result {
        for Advice { cluster, failure, count, cause, cure } in self.advice.iter().take(ADVICE_MAX) {
            let failure = clipped(failure, NAME_MAX);
            let (cause, cure) = (clipped(cause, DETAIL_MAX), clipped(cure, DETAIL_MAX));
            let times = plural(*count, "time");
            writeln!(
                out,
                "<div class=\"advice\">\n<h3>{failure} <span class=\"quiet\">on {cluster}, {times}\
                 </span></h3>\n<p><b>Cause</b>: {cause}</p>\n<p><b>Cure</b>: {cure}</p>\n</div>"
            )?;
        }
        write_more(out, self.advice.len() as u64, ADVICE_MAX, "known failures")
    }

    pub(super) fn html_strata(&self, out: &mut String) -> std::fmt::Result {
        let strata: BTreeSet<_> = self.clusters.values().flat_map(|c| c.strata.keys()).collect();
        if strata.is_empty() {
            return Ok(());
        }
        let row = |stratum| {
            let cells = self.clusters.values().flat_map(|c| {
                let of = c.strata.get(stratum).copied().unwrap_or_default();
                let o = of.obligations;
                let arrived = o.delivered.saturating_add(o.late);
                [grouped(of.trials), format!("{} of {}", grouped(arrived), grouped(o.total))]
            });
            (stratum.to_string(), cells.collect::<Vec<_>>())
        };
        let rows: Vec<_> = strata.iter().map(|stratum| row(*stratum)).collect();
        let roles = self.clusters.keys();
        let headings = roles.flat_map(|r| [format!("{r} trials"), format!("{r} arrived")]);
        let headings: Vec<_> = headings.collect();
        let headings: Vec<_> = headings.iter().map(String::as_str).collect();
        writeln!(
            out,
            "<p class=\"quiet\">Kind of channel, route, and <i>again</i> where the witness had \
             reconnected before. A stratum without a trial proves nothing.</p>\n<div class=\"scroll\" \
             tabindex=\"0\" role=\"region\" aria-label=\"Table of strata\">"
        )?;
        write_table(out, "Trials and obligations by stratum", &headings, &rows)?;
        writeln!(out, "</div>")
    }

    pub(super) fn html_incidents(&self, out: &mut String) -> std::fmt::Result {
        if self.incidents.is_empty() && self.incidents_dropped == 0 {
            return writeln!(out, "<p>There were none.</p>");
        }
        let headings =
            ["time (UTC)", "on", "what", "channel", "stream", "event", "witnesses", "why"];
        let rows = |at_most| -> Vec<_> {
            self.telling_incidents(at_most).into_iter().map(cells).collect()
        };
        let caption = "Incidents in the order of time, the first of each kind among them";
        write_cards(out, "incidents", caption, &headings, &rows(INCIDENTS_FIRST))?;
        if self.incidents.len() > INCIDENTS_FIRST {
            let rows = rows(INCIDENTS_MAX);
            let count = plural(rows.len() as u64, "incident");
            writeln!(out, "<details><summary>{count} in the order of time</summary>")?;
            write_cards(out, "incidents", "The same, and others", &headings, &rows)?;
            writeln!(out, "</details>")?;
        }
        let all = (self.incidents.len() as u64).saturating_add(self.incidents_dropped);
        write_more(out, all, INCIDENTS_MAX.min(self.incidents.len()), "incidents")
    }

    pub(super) fn html_rehearsal(&self, out: &mut String) -> std::fmt::Result {
        let Some(counts) = &self.rehearsal else { return Ok(()) };
        let done = |role| counts.get(role).into_iter().flatten();
        let is_done = |(what, n): (&String, &u64)| {
            let is_done = *n > 0 && is_fault(what);
            is_done.then(|| what.clone())
        };
        let kinds: BTreeSet<_> = counts.keys().flat_map(|r| done(r).filter_map(is_done)).collect();
        if kinds.is_empty() {
            return writeln!(out, "<p>The clusters of the rehearsal did nothing wrong.</p>");
        }
        let row = |kind: &String| {
            let count = |role| counts.get(role).and_then(|c: &BTreeMap<_, _>| c.get(kind));
            let cells =
                self.clusters.keys().map(|r| grouped(count(r).copied().unwrap_or_default()));
            (clipped(&kind.replace('_', " "), NAME_MAX), cells.collect::<Vec<_>>())
        };
        let rows: Vec<_> = kinds.iter().take(FAULTS_MAX).map(row).collect();
        writeln!(
            out,
            "<p class=\"quiet\">What the clusters themselves counted. The canary does not know these \
             counts, and must arrive at them.</p>"
        )?;
        write_table(out, "Faults that were done", &self.roles(), &rows)?;
        write_more(out, kinds.len() as u64, FAULTS_MAX, "kinds of fault")
    }
}

/// An incident as the cells of a row.
fn cells(incident: &IncidentReport) -> Vec<String> {
    let shown = |number: Option<u64>| number.map_or(String::new(), |n| n.to_string());
    vec![
        clipped(incident.time(), NAME_MAX),
        incident.cluster.to_string(),
        format!("<b>{}</b>", incident.kind.as_str().replace('_', " ")),
        incident.channel.as_ref().map_or(String::new(), |channel| clipped(channel, NAME_MAX)),
        shown(incident.stream.map(u64::from)),
        shown(incident.seq),
        grouped(incident.witnesses),
        clipped(incident.why(), DETAIL_MAX),
    ]
}
