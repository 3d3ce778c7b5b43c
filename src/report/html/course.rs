//! How the run went over time: latency and delivery of each cluster, its connections, and what
//! happened when.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::ClusterRole;
use crate::report::text::{grouped, millis};
use crate::report::{BlindWindowReport, Report, SlotReport};
use crate::verify::tally::{BlindCause, IncidentKind};
use crate::verify::timeline::SLOTS_MAX;

use super::chart::{Axis, Band, Line, Look, Plot, write_key, write_looks};
use super::time::{Span, Time, Track, write_clock};
use super::{plural, write_table};

/// Witnesses of a cluster that have a row of their own.
const WITNESSES_MAX: usize = 32;
/// Blind windows that are marked in a row, and in a chart of the cluster.
const WINDOWS_MAX: usize = 200;

/// What of a slot a line shows.
type Value = fn(&SlotReport) -> Option<f64>;
/// A line of each cluster's chart: its look and its value.
type Series = [(&'static str, Value); 3];

const LATENCIES: Series = [("dotted", |s| s.max), ("dashed", |s| s.p90), ("", |s| s.p50)];
const DELIVERIES: Series = [
    ("dashed", |s| Some(s.sent as f64)),
    ("", |s| Some(s.arrived as f64)),
    ("bad dotted", |s| (s.unaccepted > 0).then_some(s.unaccepted as f64)),
];

const fn look(cause: BlindCause) -> Look {
    match cause {
        BlindCause::Close => Look::Close,
        BlindCause::Network => Look::Network,
        BlindCause::Handshake => Look::Handshake,
        BlindCause::Agent => Look::Agent,
    }
}

/// Charts of one kind, for each cluster: lines over slots.
struct Charts<'a> {
    name: &'static str,
    axis: Axis,
    series: &'a Series,
    /// What a slot says in words, and all of a cluster's slots together.
    told: fn(&SlotReport) -> String,
    summary: fn(&[SlotReport]) -> String,
}

impl Report {
    pub(super) fn html_course(&self, out: &mut String) -> std::fmt::Result {
        let time = Time::of(self);
        let slots = || self.timeline.clusters.values().flatten();
        if slots().next().is_none() {
            return Ok(());
        }
        if !self.phase.publishes() {
            return self.write_tracks(out, &time);
        }
        self.write_legend(out, &time)?;
        let latencies = slots().flat_map(|s| [s.p50, s.p90, s.max]).flatten();
        self.write_charts(
            out,
            &time,
            &Charts {
                name: "Latency",
                axis: Axis::millis(latencies),
                series: &LATENCIES,
                told: |s| {
                    let [p50, p90, max] = [s.p50, s.p90, s.max].map(millis);
                    format!("p50 {p50}, p90 {p90}, max {max}")
                },
                summary: |slots| {
                    let most = slots.iter().filter_map(|s| s.max).reduce(f64::max);
                    let median = slots.iter().filter_map(|s| s.p50).reduce(f64::max);
                    format!("highest p50 {}, highest max {}", millis(median), millis(most))
                },
            },
        )?;
        let counts = slots().flat_map(|s| [s.sent, s.arrived, s.unaccepted]);
        self.write_charts(
            out,
            &time,
            &Charts {
                name: "Delivery",
                axis: Axis::counts(counts.max().unwrap_or_default()),
                series: &DELIVERIES,
                told: |s| {
                    let [sent, arrived] = [s.sent, s.arrived].map(grouped);
                    let unaccepted = grouped(s.unaccepted);
                    format!("{sent} sent, {arrived} arrived, {unaccepted} unaccepted")
                },
                summary: |slots| {
                    let sum = |of: fn(&SlotReport) -> u64| {
                        grouped(slots.iter().map(of).fold(0, u64::saturating_add))
                    };
                    let (sent, arrived) = (sum(|s| s.sent), sum(|s| s.arrived));
                    format!("{sent} sent, {arrived} arrived, {} unaccepted", sum(|s| s.unaccepted))
                },
            },
        )?;
        self.write_tracks(out, &time)?;
        self.write_slots(out, &time)
    }

    fn write_legend(&self, out: &mut String, time: &Time) -> std::fmt::Result {
        let (from, length) = (time.clock(0.0), self.timeline.slot_seconds);
        writeln!(
            out,
            "<p>Times are of the day, in UTC. Publishing began at {from}. A point stands for {length} \
             s. An obligation arrives once for each witness, so that more arrives than is sent.</p>"
        )?;
        let meaning = |cause: BlindCause| match cause {
            BlindCause::Close => "blind: the cluster closed the connection",
            BlindCause::Network => "blind: cut, silent or not dialled",
            BlindCause::Handshake => "blind: handshake or subscription failed",
            BlindCause::Agent => "blind: reconnected on purpose",
        };
        let is_seen = |cause: &BlindCause| self.blind_windows.iter().any(|w| w.cause == *cause);
        let causes = BlindCause::ALL.into_iter().filter(is_seen);
        let mut looks: Vec<_> = causes.map(|cause| (look(cause), meaning(cause))).collect();
        if !self.timeline.tainted.is_empty() {
            looks.push((Look::Tainted, "tainted: the canary itself was late or stalled"));
        }
        if looks.is_empty() { Ok(()) } else { write_looks(out, &looks) }
    }

    /// What lies behind the lines of a cluster's charts.
    fn backdrop(&self, role: ClusterRole, time: &Time) -> Vec<Band> {
        let windows = self.blind_windows.iter().filter(|w| w.cluster == role);
        let mut bands = self.tainted(time);
        bands.extend(windows.take(WINDOWS_MAX).map(|window| {
            let band = span(window).band(time);
            Band { title: String::new(), ..band }
        }));
        bands
    }

    fn tainted(&self, time: &Time) -> Vec<Band> {
        let seconds = self.timeline.tainted.iter().map(|second| *second as f64);
        time.seconds(seconds, Look::Tainted, |from, until| {
            format!("tainted: {} to {}", time.clock(from), time.clock(until))
        })
    }

    fn write_charts(&self, out: &mut String, time: &Time, charts: &Charts<'_>) -> std::fmt::Result {
        let Charts { name, axis, series, told, summary } = charts;
        writeln!(out, "<h3>{name}</h3>")?;
        let key: &[_] = match *name {
            "Latency" => &[("text", "p50"), ("text dashed", "p90"), ("text dotted", "max")],
            _ => &[("text", "arrived"), ("text dashed", "sent"), ("bad dotted", "unaccepted")],
        };
        write_key(out, key)?;
        let (across, width) = (time.ticks(), self.timeline.slot_seconds);
        for (role, slots) in &self.timeline.clusters {
            let slots = slots.get(..SLOTS_MAX).unwrap_or(slots);
            let middle = |n: usize| time.at((n as f64 + 0.5) * width);
            let line = |(class, value): &(&str, Value)| Line {
                class: format!("{role} {class}"),
                points: (0..)
                    .zip(slots)
                    .map(|(n, slot)| Some((middle(n), axis.at(value(slot)?))))
                    .collect(),
            };
            let named = |(n, slot): (usize, &SlotReport)| Band {
                from: time.at(n as f64 * width),
                until: time.at((n + 1) as f64 * width),
                look: None,
                title: format!("{role} {}: {}", time.clock(n as f64 * width), told(slot)),
            };
            let told = summary(slots);
            writeln!(
                out,
                "<p class=\"panel\"><b>{role}</b> <span class=\"quiet\">{told}</span></p>"
            )?;
            let plot = Plot {
                label: format!("{name} of {role} over time: {told}"),
                is_tall: false,
                across: &across,
                up: axis.ticks(),
                bands: self.backdrop(*role, time),
                lines: series.iter().map(line).collect(),
                slots: (0..).zip(slots).map(named).collect(),
            };
            plot.write(out)?;
        }
        Ok(())
    }

    fn write_tracks(&self, out: &mut String, time: &Time) -> std::fmt::Result {
        let rows = "Witnesses that were never blind have no row.";
        // What has no row at a time may still have happened then.
        let named = match self.incidents_dropped {
            0 => String::new(),
            more => format!(
                "Marked are the incidents that the report names, the first {}. {} more have no mark.",
                grouped(self.incidents.len() as u64),
                grouped(more)
            ),
        };
        let groups = [
            ("Connections", "No witness was blind.", rows, self.connections(time)),
            ("What happened when", "Nothing.", &named, self.happenings(time)),
        ];
        for (name, nothing, note, tracks) in groups {
            writeln!(out, "<h3>{name}</h3>")?;
            if tracks.is_empty() {
                writeln!(out, "<p class=\"quiet\">{nothing}</p>")?;
                continue;
            }
            if !note.is_empty() {
                writeln!(out, "<p class=\"quiet\">{note}</p>")?;
            }
            tracks.iter().try_for_each(|track| track.write(out))?;
            write_clock(out, &time.ticks())?;
        }
        Ok(())
    }

    /// A row for each witness that was blind.
    fn connections(&self, time: &Time) -> Vec<Track> {
        let mut tracks = Vec::new();
        for role in self.clusters.keys() {
            let mut witnesses: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
            for window in self.blind_windows.iter().filter(|w| w.cluster == *role) {
                witnesses.entry(window.witness).or_default().push(span(window));
            }
            let more = witnesses.len().saturating_sub(WITNESSES_MAX);
            for (witness, spans) in witnesses.into_iter().take(WITNESSES_MAX) {
                let lengths: Vec<_> =
                    spans.iter().filter_map(|s| Some((s.until? - s.from).max(0.0))).collect();
                let blind = plural(spans.len() as u64, "blind window");
                let mut name = format!("witness {witness}: {blind}");
                if !lengths.is_empty() {
                    name.push_str(&format!(", {:.2} s", lengths.iter().sum::<f64>()));
                }
                if lengths.len() < spans.len() {
                    name.push_str(", still blind at the end");
                }
                tracks.push(Track {
                    cluster: Some(*role),
                    name,
                    bands: spans.iter().take(WINDOWS_MAX).map(|span| span.band(time)).collect(),
                });
            }
            if more > 0 {
                let name = format!("and {}", plural(more as u64, "more witness"));
                tracks.push(Track { cluster: Some(*role), name, bands: Vec::new() });
            }
        }
        tracks
    }

    /// A row for each kind of incident on each cluster, and one for tainted seconds.
    fn happenings(&self, time: &Time) -> Vec<Track> {
        let mut kinds: BTreeMap<(ClusterRole, &str), Vec<f64>> = BTreeMap::new();
        for incident in &self.incidents {
            let key = (incident.cluster, IncidentKind::as_str(incident.kind));
            kinds.entry(key).or_default().push(incident.second as f64);
        }
        let track = |((cluster, kind), seconds): ((ClusterRole, &str), Vec<f64>)| {
            let kind = kind.replace('_', " ");
            let count = plural(seconds.len() as u64, "incident");
            let title =
                |from, until| format!("{kind}: {} to {}", time.clock(from), time.clock(until));
            Track {
                cluster: Some(cluster),
                bands: time.seconds(seconds.into_iter(), Look::Incident, title),
                name: format!("{kind}: {count}"),
            }
        };
        let mut tracks: Vec<_> = kinds.into_iter().map(track).collect();
        let bands = self.tainted(time);
        if !bands.is_empty() {
            let seconds = plural(self.timeline.tainted.len() as u64, "tainted second");
            tracks.push(Track { cluster: None, name: format!("the canary: {seconds}"), bands });
        }
        tracks
    }

    /// The same as the charts, in figures.
    fn write_slots(&self, out: &mut String, time: &Time) -> std::fmt::Result {
        let clusters = &self.timeline.clusters;
        let length = clusters.values().map(Vec::len).max().unwrap_or_default().min(SLOTS_MAX);
        let mut headings = Vec::new();
        for role in clusters.keys() {
            for figure in ["p50", "p90", "max", "sent", "arrived", "unaccepted"] {
                headings.push(format!("{role} {figure}"));
            }
        }
        let cells = |n: usize| -> Vec<String> {
            let of = |slots: &Vec<SlotReport>| match slots.get(n) {
                None => ["–"; 6].map(str::to_owned),
                Some(s) => {
                    let [p50, p90, max] = [s.p50, s.p90, s.max].map(millis);
                    let [sent, arrived, unaccepted] =
                        [s.sent, s.arrived, s.unaccepted].map(grouped);
                    [p50, p90, max, sent, arrived, unaccepted]
                }
            };
            clusters.values().flat_map(of).collect()
        };
        let clock = |n: usize| time.clock(n as f64 * self.timeline.slot_seconds);
        let rows: Vec<_> = (0..length).map(|n| (clock(n), cells(n))).collect();
        let headings: Vec<_> = headings.iter().map(String::as_str).collect();
        writeln!(
            out,
            "<details><summary>The charts in figures</summary>\n<div class=\"scroll\" tabindex=\"0\" \
             role=\"region\" aria-label=\"The charts in figures\">"
        )?;
        write_table(out, "Latency and delivery by slot; times in UTC", &headings, &rows)?;
        writeln!(out, "</div></details>")
    }
}

/// A blind window as a span.
fn span(window: &BlindWindowReport) -> Span {
    let BlindWindowReport { witness, from, until, cause, .. } = *window;
    Span { from, until, look: look(cause), name: format!("witness {witness}, {}", cause.meaning()) }
}
