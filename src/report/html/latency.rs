//! Latencies by percentile: old and new as two lines, by nines, and the figures in a table.

use std::fmt::Write;

use crate::model::ClusterRole;
use crate::report::text::{grouped, millis};
use crate::report::{ClusterReport, Report, Summary};
use crate::verify::latency::Latencies;

use super::chart::{Axis, Line, Plot, Tick, write_key};
use super::write_table;

/// Points of a line.
const POINTS: u32 = 400;
/// Most nines that are marked.
const NINES_MAX: f64 = 7.0;
/// What is timed, and where its figures are.
type Timed = (&'static str, fn(&ClusterReport) -> &Summary);
const SUMMARIES: [Timed; 4] = [
    ("Delivery, from sending to receipt", |c| &c.latency_ms),
    ("Delivery in tainted seconds, not judged", |c| &c.latency_tainted_ms),
    ("Publish, up to the answer", |c| &c.publish_ms),
    ("Connect, up to the last confirmation", |c| &c.connect_ms),
];
/// Quantiles in the tables.
type Quantile = (&'static str, fn(&Summary) -> Option<f64>);
const QUANTILES: [Quantile; 6] = [
    ("min", |s| s.min),
    ("p50", |s| s.p50),
    ("p90", |s| s.p90),
    ("p99", |s| s.p99),
    ("p99.9", |s| s.p999),
    ("max", |s| s.max),
];

/// How many nines the axis has room for: the largest sample is at the end of its line.
fn nines(count: u64) -> f64 {
    (2.0 * count.max(1) as f64).log10()
}

impl Report {
    pub(super) fn html_latency(&self, out: &mut String) -> std::fmt::Result {
        if self.clusters.is_empty() || !self.phase.publishes() {
            return Ok(());
        }
        let read = |(role, c): (&ClusterRole, &ClusterReport)| {
            let latencies = c.latency_ms.latencies("latency_ms").ok()?;
            (latencies.count() > 0).then_some((*role, latencies))
        };
        let read: Vec<_> = self.clusters.iter().filter_map(read).collect();
        if read.is_empty() {
            writeln!(out, "<p>No delivery was timed.</p>")?;
        } else {
            write_plot(out, &read)?;
        }
        self.write_quantiles(out)
    }

    fn write_quantiles(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "<div class=\"abreast\">")?;
        for (what, of) in SUMMARIES {
            let summaries: Vec<_> = self.clusters.values().map(of).collect();
            if summaries.iter().all(|summary| summary.count == 0) {
                continue;
            }
            let row = |name: &str, cell: &dyn Fn(&Summary) -> String| {
                (name.to_owned(), summaries.iter().map(|summary| cell(summary)).collect())
            };
            let mut rows: Vec<(String, Vec<String>)> = vec![row("samples", &|s| grouped(s.count))];
            for (quantile, value) in QUANTILES {
                rows.push(row(quantile, &|summary| millis(value(summary))));
            }
            write_table(out, what, &self.roles(), &rows)?;
        }
        writeln!(out, "</div>\n<p class=\"quiet\">A dash: too few samples.</p>")
    }
}

fn write_plot(out: &mut String, read: &[(ClusterRole, Latencies)]) -> std::fmt::Result {
    let most = read.iter().map(|(_, latencies)| latencies.count()).max().unwrap_or(1);
    let end = nines(most).ceil().max(1.0);
    let curves: Vec<_> = read.iter().map(|(role, l)| (*role, curve(l, end))).collect();
    let axis = Axis::millis(curves.iter().flat_map(|(_, curve)| curve).map(|(_, ms)| *ms));
    let line = |(role, curve): &(ClusterRole, Vec<(f64, f64)>)| {
        let points = curve.iter().map(|(nines, ms)| Some((nines / end, axis.at(*ms))));
        Line { class: look(*role).to_owned(), points: points.collect() }
    };
    let told = read.iter().map(|(role, latencies)| {
        let at = |q| millis(latencies.quantile_ms(q));
        let (p50, p99, max) = (at(0.5), at(0.99), millis(latencies.max_ms()));
        format!("{role}: p50 {p50}, p99 {p99}, at most {max}")
    });
    let told: Vec<_> = told.collect();
    writeln!(
        out,
        "<figure>\n<figcaption>Delivery latency by percentile, from sending to receipt. Each step to \
         the right leaves a tenth of the deliveries above it; a line ends at its slowest one. The \
         scale is logarithmic.</figcaption>"
    )?;
    let key: Vec<_> = read.iter().map(|(role, _)| (look(*role), role.as_str())).collect();
    write_key(out, &key)?;
    let plot = Plot {
        label: format!("Delivery latency by percentile. {}.", told.join("; ")),
        is_tall: true,
        across: &percentiles(end),
        up: axis.ticks(),
        bands: Vec::new(),
        lines: curves.iter().map(line).collect(),
        slots: Vec::new(),
    };
    plot.write(out)?;
    writeln!(out, "</figure>")
}

/// The look of a cluster's line: its colour, and whether it is broken.
pub(super) const fn look(role: ClusterRole) -> &'static str {
    match role {
        ClusterRole::Old => "old dashed",
        ClusterRole::New => "new",
    }
}

/// The latency at so many nines, step by step, up to the largest.
fn curve(latencies: &Latencies, end: f64) -> Vec<(f64, f64)> {
    let count = latencies.count();
    let last = nines(count);
    let grid = (0..POINTS).map(|n| f64::from(n) / f64::from(POINTS) * end);
    let grid = grid.take_while(|nines| *nines < last).chain([last]);
    let at = |nines: f64| {
        let below = 1.0 - 10_f64.powf(-nines);
        let rank = ((below * count as f64).ceil() as u64).clamp(1, count);
        Some((nines, latencies.rank_ms(rank)?))
    };
    grid.filter_map(at).collect()
}

/// 0 %, 90 %, 99 % and so on.
fn percentiles(end: f64) -> Vec<Tick> {
    let shown = end.min(NINES_MAX) as u32;
    let label = |nines: u32| match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    };
    let tick = |nines: u32| Tick {
        at: f64::from(nines) / end,
        label: label(nines),
        is_spare: shown > 4 && nines % 2 == 1,
    };
    (0..=shown).map(tick).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_curve_goes_by_nines_from_the_least_to_the_largest() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let curve = curve(&latencies, 4.0);
        let at = |nines: f64| curve.iter().find(|(x, _)| *x >= nines - 1e-9).unwrap().1;
        assert!((at(1.0) - 900.0).abs() < 1.0, "90 %: {}", at(1.0));
        assert!((at(2.0) - 990.0).abs() < 1.0, "99 %: {}", at(2.0));
        let (first, last) = (curve.first().unwrap(), curve.last().unwrap());
        assert!((first.1 - 1.0).abs() < 0.1, "{first:?}");
        assert!((last.1 - 1_000.0).abs() < 1.0 && last.0 > 3.0, "{last:?}");
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }

    #[test]
    fn percentiles_are_marked_by_nines() {
        let labels: Vec<_> = percentiles(5.0).into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert_eq!(percentiles(12.0).len(), 8);
    }
}
