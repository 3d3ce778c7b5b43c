//! What providers announced on their status pages: over time, and in words.

use std::fmt::Write;

use crate::model::ClusterRole;
use crate::report::Report;
use crate::report::markup::clipped;
use crate::report::providers::{ProviderReport, SpanReport};
use crate::verify::status_page::ComponentStatus;

use super::chart::{Look, write_looks};
use super::time::{Span, Time, Track, write_clock};
use super::{DETAIL_MAX, NAME_MAX, plural, write_cards, write_more};

/// Announcements that are shown of each cluster.
const SPANS_MAX: usize = 50;
/// Components that are named as not operational.
const COMPONENTS_MAX: usize = 20;

impl Report {
    pub(super) fn html_providers(&self, out: &mut String) -> std::fmt::Result {
        for (role, page) in &self.providers {
            write_page(out, *role, page)?;
        }
        let time = Time::of(self);
        let tracks: Vec<_> = self
            .providers
            .iter()
            .flat_map(|(role, page)| page.spans.iter().take(SPANS_MAX).map(|s| (*role, s)))
            .filter(|(_, span)| is_drawn(span, &time))
            .map(|(role, span)| track(role, span, &time))
            .collect();
        if tracks.is_empty() {
            return Ok(());
        }
        write_looks(out, &[(Look::Announced, "announced by the provider")])?;
        tracks.iter().try_for_each(|track| track.write(out))?;
        write_clock(out, &time.ticks())
    }
}

fn write_page(out: &mut String, role: ClusterRole, page: &ProviderReport) -> std::fmt::Result {
    let (url, state) = (clipped(&page.url, DETAIL_MAX), page.page.as_str().replace('_', " "));
    let readings = plural(page.readings, "reading");
    let failed = match (page.failures, &page.failure) {
        (0, _) => String::new(),
        (n, None) => format!(", {n} failed"),
        (n, Some(why)) => format!(", {n} failed: {}", clipped(why, DETAIL_MAX)),
    };
    writeln!(out, "<h3>{role}</h3>\n<p>{url}: {state}; {readings}{failed}.</p>")?;
    let bad: Vec<_> =
        page.components.iter().filter(|c| c.worst != ComponentStatus::Operational).collect();
    for component in bad.iter().take(COMPONENTS_MAX) {
        let worst = component.worst.as_str().replace('_', " ");
        let name = clipped(&component.name, NAME_MAX);
        writeln!(out, "<p><b>{name}</b>: {worst} at worst</p>")?;
    }
    write_more(out, bad.len() as u64, bad.len().min(COMPONENTS_MAX), "components")?;
    if page.spans.is_empty() {
        return writeln!(out, "<p class=\"quiet\">Nothing was announced for what is watched.</p>");
    }
    let headings = ["What", "From", "Until", "Impact", "Concerns", "Counts"];
    let rows: Vec<_> = page.spans.iter().take(SPANS_MAX).map(row).collect();
    let caption = format!("Incidents and maintenances that the provider of {role} announced");
    write_cards(out, "announced", &caption, &headings, &rows)?;
    let shown = page.spans.len().min(SPANS_MAX);
    write_more(out, page.spans.len() as u64, shown, "announcements")
}

fn row(span: &SpanReport) -> Vec<String> {
    let concerns = match span.components.as_slice() {
        [] => "all".to_owned(),
        names => names.join(", "),
    };
    let until = span.until.clone().unwrap_or_else(|| "not ended".to_owned());
    let what = format!("{}: {}, {}", span.kind.as_str(), span.name, span.state);
    let counts = if span.counts { "yes" } else { "no" };
    [&what, &span.from, &until, &span.impact, &concerns, counts]
        .map(|text| clipped(text, DETAIL_MAX))
        .to_vec()
}

/// Whether any of it lies within the run.
fn is_drawn(span: &SpanReport, time: &Time) -> bool {
    let until = span.until_second.unwrap_or(f64::INFINITY);
    time.at(until.max(span.from_second)) > 0.0 && time.at(span.from_second) < 1.0
}

fn track(role: ClusterRole, span: &SpanReport, time: &Time) -> Track {
    let name = format!("{}: {}", span.kind.as_str(), cut(&span.name, NAME_MAX));
    let (from, until) = (span.from_second, span.until_second);
    let drawn = Span { from, until, look: Look::Announced, name: name.clone() };
    Track { cluster: Some(role), name, bands: vec![drawn.band(time)] }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
