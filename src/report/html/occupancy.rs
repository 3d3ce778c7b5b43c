//! Who was there over time: the occupied channels of each cluster, reading by reading.

use std::fmt::Write;

use crate::model::ClusterRole;
use crate::report::text::grouped;
use crate::report::{OccupancyReport, Report};

use super::chart::{Axis, Line, Plot, write_key};
use super::time::Time;
use super::{latency, write_table};

/// Readings that are drawn and listed, the last ones: a report holds no more.
const POINTS_MAX: usize = 1_000;

impl Report {
    pub(super) fn html_occupancy(&self, out: &mut String) -> std::fmt::Result {
        let read: Vec<_> = self
            .clusters
            .iter()
            .filter_map(|(role, cluster)| Some((*role, cluster.occupancy.as_ref()?)))
            .filter(|(_, occupancy)| !occupancy.points.is_empty())
            .collect();
        let most = read.iter().flat_map(|(_, o)| o.points.iter().map(|point| point.channels)).max();
        let Some(most) = most else { return Ok(()) };
        let (time, axis) = (Time::of(self), Axis::counts(most));
        writeln!(
            out,
            "<p>Occupied channels, as the HTTP API lists them; channels of canaries are left out. \
             Times are of the day, in UTC.</p>"
        )?;
        let key: Vec<_> =
            read.iter().map(|(role, _)| (latency::look(*role), role.as_str())).collect();
        write_key(out, &key)?;
        let line = |(role, occupancy): &(ClusterRole, &OccupancyReport)| Line {
            class: latency::look(*role).to_owned(),
            points: last(occupancy)
                .iter()
                .map(|point| Some((time.at(point.second), axis.at(point.channels as f64))))
                .collect(),
        };
        let told: Vec<_> = read.iter().map(|(role, occupancy)| told(*role, occupancy)).collect();
        let across = time.ticks();
        let plot = Plot {
            label: format!("Occupied channels over time: {}", told.join("; ")),
            is_tall: true,
            across: &across,
            up: axis.ticks(),
            bands: Vec::new(),
            lines: read.iter().map(line).collect(),
            slots: Vec::new(),
        };
        plot.write(out)?;
        writeln!(out, "<details><summary>The chart in figures</summary>")?;
        for (role, occupancy) in &read {
            let count = |n: Option<u64>| n.map_or("–".to_owned(), grouped);
            let rows: Vec<_> = last(occupancy)
                .iter()
                .map(|point| {
                    let cells = [Some(point.channels), point.subscriptions, point.members];
                    (time.clock(point.second), cells.map(count).to_vec())
                })
                .collect();
            let caption = format!("Readings of {role}; times in UTC");
            write_table(out, &caption, &["channels", "subscriptions", "members"], &rows)?;
        }
        writeln!(out, "</details>")
    }
}

fn last(occupancy: &OccupancyReport) -> &[crate::report::OccupancyPoint] {
    let from = occupancy.points.len().saturating_sub(POINTS_MAX);
    occupancy.points.get(from..).unwrap_or_default()
}

fn told(role: ClusterRole, occupancy: &OccupancyReport) -> String {
    let now = occupancy.channels.map_or("not known".to_owned(), grouped);
    format!("{role} {} at most, {now} at the end", grouped(occupancy.peak_channels))
}
