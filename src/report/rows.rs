//! The table of old and new, row by row: what text, Markdown and page have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::MemberRole;
use crate::verify::checks::percent_above;
use crate::verify::tally::BlindCause;

use super::load::LoadReport;
use super::text::{grouped, millis};
use super::{ClusterReport, OccupancyReport, Report, Summary, WebhooksReport};

impl Report {
    /// The table of old and new: each row's label, which says by its indent what it is part of, and
    /// what stands under each cluster.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'static str, Vec<String>)> {
        let rows = if self.phase.publishes() { ROWS } else { DRAIN_ROWS };
        let is_own = |row: &&Row| match self.member.role {
            MemberRole::Both => true,
            MemberRole::Publish => !OF_WITNESSES.contains(&row.label),
            MemberRole::Witness => !OF_PUBLISHERS.contains(&row.label),
        };
        let rows = rows.iter().filter(is_own).map(|row| {
            let cells: Vec<_> = self.clusters.values().map(row.cell).collect();
            (row, cells)
        });
        // A row of zeroes, or of what is not known, says nothing that its absence does not.
        let says = |cell: &String| cell != "0" && cell != "–";
        let telling = rows.filter(move |(row, cells)| !row.hide_zero || cells.iter().any(says));
        telling.map(|(row, cells)| (row.label, cells))
    }
}

struct Row {
    label: &'static str,
    hide_zero: bool,
    cell: fn(&ClusterReport) -> String,
}

const fn row(label: &'static str, cell: fn(&ClusterReport) -> String) -> Row {
    Row { label, hide_zero: false, cell }
}

const fn anomaly(label: &'static str, cell: fn(&ClusterReport) -> String) -> Row {
    Row { label, hide_zero: true, cell }
}

const ROWS: &[Row] = &[
    row("publications sent", |c| grouped(c.publications.sent)),
    row("  accepted", |c| grouped(c.publications.accepted)),
    anomaly("  rejected", |c| grouped(c.publications.rejected)),
    anomaly("  unknown", |c| grouped(c.publications.unknown)),
    anomaly("    of these recovered", |c| grouped(c.publications.recovered)),
    anomaly("    of these void", |c| grouped(c.publications.void)),
    anomaly("  unsent", |c| grouped(c.publications.unsent)),
    anomaly("  answered 429", |c| grouped(c.throttled)),
    row("obligations", |c| grouped(c.obligations.counted.total)),
    row("  delivered", |c| grouped(c.obligations.counted.delivered)),
    row("  late", |c| grouped(c.obligations.counted.late)),
    row("  lost", |c| grouped(c.obligations.counted.lost)),
    row("  missed offline", |c| grouped(c.obligations.counted.missed_offline)),
    anomaly("    by reconnects on purpose", |c| grouped(own(&c.blind.missed_by_cause))),
    anomaly("  void", |c| grouped(c.obligations.counted.void)),
    anomaly("  pending", |c| grouped(c.obligations.pending)),
    row("duplicates", |c| grouped(c.beside.duplicates)),
    anomaly("reordered", |c| grouped(c.beside.reordered)),
    anomaly("corrupt", |c| grouped(c.beside.corrupt)),
    anomaly("misrouted", |c| grouped(c.beside.misrouted)),
    anomaly("unexpected", |c| grouped(c.beside.unexpected)),
    anomaly("connections lost", |c| {
        grouped(c.connections.closed_by_code.values().sum::<u64>() + c.connections.given_up)
    }),
    anomaly("reconnects on purpose", |c| grouped(c.connections.recycled)),
    anomaly("blind windows", |c| grouped(c.blind.windows)),
    anomaly("  by reconnects on purpose", |c| grouped(own(&c.blind.windows_by_cause))),
    anomaly("anomalies in tainted seconds", |c| grouped(c.unattributed)),
    row("delivery p50", |c| millis(c.latency_ms.p50)),
    row("delivery p99", |c| millis(c.latency_ms.p99)),
    row("delivery max", |c| millis(c.latency_ms.max)),
    row("publish answer p99", |c| millis(p99_or_max(&c.publish_ms))),
    row("connect p99", |c| millis(p99_or_max(&c.connect_ms))),
    row("loss rate below", |c| percent_above(c.loss_upper_bound)),
    anomaly("webhooks", |c| of_webhooks(c, |w| w.received)),
    anomaly("  events lost", |c| of_webhooks(c, |w| w.lost.values().sum())),
    anomaly("simulated clients connected", |c| of_load(c, |load| grouped(load.connections.joined))),
    anomaly("  at a time", |c| of_load(c, |load| grouped(load.connected_max))),
    anomaly("  connecting p99", |c| of_load(c, |load| millis(p99_or_max(&load.connect_ms)))),
    anomaly("  deliveries", |c| of_load(c, |load| grouped(load.obligations.delivered))),
    anomaly("  delivery p99", |c| of_load(c, |load| millis(p99_or_max(&load.latency_ms)))),
];

/// What is not known to one who publishes alone.
const OF_WITNESSES: [&str; 10] = [
    "obligations",
    "  delivered",
    "  late",
    "  lost",
    "  missed offline",
    "duplicates",
    "delivery p50",
    "delivery p99",
    "delivery max",
    "loss rate below",
];

/// What is not known to one who witnesses alone: by whose clock a publication was sent.
const OF_PUBLISHERS: [&str; 5] =
    ["  late", "delivery p50", "delivery p99", "delivery max", "publish answer p99"];

const DRAIN_ROWS: &[Row] = &[
    row("channels occupied", |c| of_last(c, |o| o.channels)),
    row("  at most, meanwhile", |c| of_last(c, |o| Some(o.peak_channels))),
    anomaly("  subscriptions", |c| of_last(c, |o| o.subscriptions)),
    row("  members of presence channels", |c| of_last(c, |o| o.members)),
    anomaly("  canary channels, left out", |c| of_last(c, |o| Some(o.own_channels))),
    row("empty for", |c| {
        let empty = c.occupancy.as_ref().map_or(0.0, |o| o.empty_seconds);
        // Rounded down: never longer than it was.
        humantime::format_duration(Duration::from_secs(empty as u64)).to_string()
    }),
    anomaly("empty at this pace at (UTC)", |c| {
        let at = c.occupancy.as_ref().and_then(|o| o.empty_at.as_ref());
        at.map_or("–".to_owned(), |at| at.get(..16).unwrap_or(at).replace('T', " "))
    }),
    row("readings", |c| of_last(c, |o| Some(o.readings))),
    anomaly("  failed", |c| of_last(c, |o| Some(o.failed))),
    anomaly("webhooks", |c| of_webhooks(c, |w| w.received)),
    anomaly("  events lost", |c| of_webhooks(c, |w| w.lost.values().sum())),
    anomaly("  channels occupied", |c| of_webhooks(c, |w| w.occupied)),
    anomaly("  channels vacated", |c| of_webhooks(c, |w| w.vacated)),
    anomaly("  occupied and not vacated", |c| of_webhooks(c, |w| w.open)),
];

/// A count of what webhooks told, or a dash where none are received.
fn of_webhooks(cluster: &ClusterReport, count: fn(&WebhooksReport) -> u64) -> String {
    cluster.webhooks.as_ref().map_or("–".to_owned(), |webhooks| grouped(count(webhooks)))
}

/// What simulated clients saw, or a dash where there are none.
fn of_load(cluster: &ClusterReport, shown: fn(&LoadReport) -> String) -> String {
    cluster.load.as_ref().map_or("–".to_owned(), shown)
}

/// A count of the last reading, or a dash where it is not known.
fn of_last(cluster: &ClusterReport, count: fn(&OccupancyReport) -> Option<u64>) -> String {
    cluster.occupancy.as_ref().and_then(count).map_or("–".to_owned(), grouped)
}

/// How much of it is the agent's own doing.
fn own(by_cause: &BTreeMap<BlindCause, u64>) -> u64 {
    by_cause.get(&BlindCause::Agent).copied().unwrap_or_default()
}

fn p99_or_max(summary: &Summary) -> Option<f64> {
    summary.p99.or(summary.max)
}
