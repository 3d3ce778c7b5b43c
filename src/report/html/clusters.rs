//! Old and new side by side: the figures of the text's table, blind windows, connections.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use crate::report::markup::escaped;
use crate::report::text::{grouped, watermark};
use crate::report::{ClusterReport, Report};
use crate::verify::tally::BlindCause;

use super::write_table;

/// Close codes and HTTP statuses that are shown.
const CODES_MAX: usize = 40;

type Rows = Vec<(String, Vec<String>)>;

impl Report {
    /// The clusters' names, as headings of columns.
    pub(super) fn roles(&self) -> Vec<&'static str> {
        self.clusters.keys().map(|role| role.as_str()).collect()
    }

    /// A row with a cell for each cluster.
    fn row(&self, label: &str, cell: impl Fn(&ClusterReport) -> String) -> (String, Vec<String>) {
        (label.to_owned(), self.clusters.values().map(cell).collect())
    }

    pub(super) fn html_clusters(&self, out: &mut String) -> std::fmt::Result {
        if self.clusters.is_empty() {
            return writeln!(out, "<p>Nothing was measured on any cluster.</p>");
        }
        let indented = |(label, cells): (&str, Vec<String>)| {
            let bare = label.trim_start();
            let label = match (label.len() - bare.len()) / 2 {
                0 => bare.to_owned(),
                1 => format!("<span class=\"in\">{bare}</span>"),
                _ => format!("<span class=\"in in2\">{bare}</span>"),
            };
            (label, cells)
        };
        let rows: Rows = self.rows().map(indented).collect();
        writeln!(out, "<div class=\"abreast\">\n<div>")?;
        write_table(out, "What each cluster did", &self.roles(), &rows)?;
        if let Some((label, covered)) = self.covered() {
            writeln!(out, "<p><b>{label}</b>: {covered}</p>")?;
        }
        let events = &self.events;
        if let Some(mark) = watermark(events.covered_since.as_ref(), events.covered_until.as_ref())
        {
            writeln!(out, "<p><b>watermark (UTC)</b>: {}</p>", escaped(&mark))?;
        }
        let causes = events.uncovered_by_cause.iter().filter(|(_, n)| **n > 0);
        let causes: Vec<_> = causes
            .map(|(cause, n)| format!("{} {}", cause.as_str().replace('_', " "), grouped(*n)))
            .collect();
        if !causes.is_empty() {
            writeln!(out, "<p><b>uncovered by cause</b>: {}</p>", causes.join(", "))?;
        }
        writeln!(out, "</div>\n<div>")?;
        self.write_blindness(out)?;
        write_table(out, "Connections and answers", &self.roles(), &self.connection_rows())?;
        writeln!(out, "</div>\n</div>")
    }

    fn write_blindness(&self, out: &mut String) -> std::fmt::Result {
        if self.clusters.values().all(|c| c.blind.windows == 0) {
            return writeln!(out, "<p><b>blind windows</b>: none</p>");
        }
        let seconds = |seconds: f64| format!("{seconds:.1} s");
        let mut rows = vec![
            self.row("windows", |c| grouped(c.blind.windows)),
            self.row("that did not end", |c| {
                grouped(c.blind.windows.saturating_sub(c.blind.ended))
            }),
            self.row("total length", |c| seconds(c.blind.seconds)),
            self.row("longest", |c| seconds(c.blind.longest_seconds)),
        ];
        for cause in BlindCause::ALL {
            let of = |c: &ClusterReport| c.blind.by_cause.get(&cause).copied().unwrap_or_default();
            if self.clusters.values().all(|c| of(c).began == 0 && of(c).missed == 0) {
                continue;
            }
            rows.push(self.row(cause.meaning(), |c| grouped(of(c).began)));
            let length = |c: &ClusterReport| Duration::from_nanos(of(c).nanos).as_secs_f64();
            rows.push(self.row("<span class=\"in\">length of those that ended</span>", |c| {
                seconds(length(c))
            }));
            rows.push(
                self.row("<span class=\"in\">obligations missed</span>", |c| grouped(of(c).missed)),
            );
        }
        write_table(out, "Blind windows, and their causes", &self.roles(), &rows)
    }

    fn connection_rows(&self) -> Rows {
        let mut rows = vec![
            self.row("connections that became ready", |c| grouped(c.connections.opened)),
            self.row("that did not", |c| grouped(c.connections.failed)),
            self.row("given up by the canary", |c| grouped(c.connections.given_up)),
            self.row("reconnects on purpose", |c| grouped(c.connections.recycled)),
        ];
        let all = self.clusters.values();
        let codes: BTreeSet<_> = all.flat_map(|c| c.connections.closed_by_code.keys()).collect();
        for code in codes.into_iter().take(CODES_MAX) {
            let label = match code {
                1006 => "cut without a close frame (1006)".to_owned(),
                code => format!("closed by the cluster with {code}"),
            };
            rows.push(self.row(&label, |c| count(c.connections.closed_by_code.get(code))));
        }
        let statuses: BTreeSet<_> =
            self.clusters.values().flat_map(|c| c.http_responses.keys()).collect();
        for status in statuses.into_iter().take(CODES_MAX) {
            let label = format!("HTTP answers {status}");
            rows.push(self.row(&label, |c| count(c.http_responses.get(status))));
        }
        rows.push(self.row("signed subscriptions confirmed", |c| grouped(c.authorised.confirmed)));
        rows.push(self.row("signed subscriptions refused", |c| grouped(c.authorised.refused)));
        rows.push(self.row("channels left behind", |c| {
            c.left_behind.map_or("not known".to_owned(), grouped)
        }));
        rows
    }
}

fn count(of: Option<&u64>) -> String {
    grouped(of.copied().unwrap_or_default())
}
