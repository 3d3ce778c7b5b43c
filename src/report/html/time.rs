//! What goes on over time: the axis, spans, and tracks on which spans are marked.

use std::fmt::Write;

use crate::model::ClusterRole;
use crate::report::Report;
use crate::report::availability::Day;
use crate::report::markup::escaped;

use super::chart::{Band, Look, Tick};

/// Most marks of the axis.
const TICKS_MAX: f64 = 8.0;
/// Longest time that is drawn, in seconds: more than a year. A run takes a week at most.
const LONGEST: f64 = 4e7;
/// Columns in which seconds are marked: seconds that share one are one mark.
const COLUMNS: f64 = 600.0;
/// Steps from mark to mark, in seconds; weeks are doubled beyond them.
const STEPS: [f64; 20] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
    10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0,
];
const DAY: f64 = 86_400.0;

/// The time of a run, in seconds since publishing began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Time {
    /// When publishing began, in seconds since the Unix epoch.
    start: f64,
    /// How long what is drawn lasted.
    end: f64,
}

impl Time {
    /// The time of a run: all of its publishing, and all of its slots.
    pub(super) fn of(report: &Report) -> Self {
        let slots = report.timeline.clusters.values().map(Vec::len).max().unwrap_or_default();
        let shown = slots as f64 * report.timeline.slot_seconds;
        let end = [report.publishing_seconds, shown].into_iter().fold(1.0, f64::max);
        Self { start: report.started().as_secs_f64(), end: end.min(LONGEST) }
    }

    /// Where an instant lies, from 0 to 1.
    pub(super) fn at(&self, second: f64) -> f64 {
        let at = second / self.end;
        if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) }
    }

    /// An instant as the time of its day, in UTC.
    pub(super) fn clock(&self, second: f64) -> String {
        let of_day = (self.start + second).max(0.0).rem_euclid(DAY) as u64;
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        format!("{hour:02}:{minute:02}:{second:02}")
    }

    /// Round times of the day; where a day begins, that day.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let is_enough = |step: &f64| self.end / step <= TICKS_MAX;
        let weeks = |weeks: &f64| Some(weeks * 2.0).filter(|next| *next < LONGEST);
        let longer = std::iter::successors(Some(2.0 * 604_800.0), weeks);
        let step = STEPS.into_iter().chain(longer).find(is_enough).unwrap_or(LONGEST);
        let first = (self.start / step).ceil() * step - self.start;
        let times = (0..=TICKS_MAX as u32).map(|n| first + f64::from(n) * step);
        let times = times.take_while(|second| *second <= self.end).enumerate();
        let tick = |(n, second): (usize, f64)| {
            // Half a millisecond: the sum of doubles must not fall into the second before.
            let at = second + 5e-4;
            let clock = self.clock(at);
            let label = match step {
                step if step < 60.0 => clock,
                step if step >= 3_600.0 && clock == "00:00:00" => self.day(at),
                _ => clock.get(..5).unwrap_or_default().to_owned(),
            };
            Tick { at: self.at(second), label, is_spare: n % 2 == 1 }
        };
        times.map(tick).collect()
    }

    /// Month and day.
    fn day(&self, second: f64) -> String {
        let day = Day((self.start + second).div_euclid(DAY) as i64).to_string();
        day.get(5..).unwrap_or_default().to_owned()
    }

    /// Single seconds as bands, neighbours as one; `title` names one by its first and last second.
    pub(super) fn seconds(
        &self,
        seconds: impl Iterator<Item = f64>,
        look: Look,
        title: impl Fn(f64, f64) -> String,
    ) -> Vec<Band> {
        let width = (self.end / COLUMNS).max(1.0);
        let within = seconds.map(|second| second.clamp(0.0, self.end));
        let columns = within.map(|second| ((second / width) as u32, second));
        let mut columns: Vec<_> = columns.filter(|(_, second)| second.is_finite()).collect();
        columns.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut runs: Vec<(u32, u32, f64, f64)> = Vec::new();
        for (column, second) in columns {
            match runs.last_mut() {
                Some((_, last, _, until)) if column <= *last + 1 => {
                    (*last, *until) = (column, second);
                }
                _ => runs.push((column, column, second, second)),
            }
        }
        let band = |(first, last, from, until): (u32, u32, f64, f64)| Band {
            from: self.at(f64::from(first) * width),
            until: self.at(f64::from(last + 1) * width),
            look: Some(look),
            title: title(from, until),
        };
        runs.into_iter().map(band).collect()
    }
}

/// Something that lasted, on one cluster or on the agent's side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// When it began, in seconds since publishing began.
    pub(super) from: f64,
    /// When it ended; `None` if it did not.
    pub(super) until: Option<f64>,
    /// How it looks.
    pub(super) look: Look,
    /// What it was. No markup yet.
    pub(super) name: String,
}

impl Span {
    /// As a band, with its name and its times.
    pub(super) fn band(&self, time: &Time) -> Band {
        let until = self.until.unwrap_or(f64::INFINITY);
        Band {
            from: time.at(self.from),
            until: time.at(until.max(self.from)),
            look: Some(self.look),
            title: format!("{}: {}", self.name, self.times(time)),
        }
    }

    /// From when to when.
    pub(super) fn times(&self, time: &Time) -> String {
        let from = time.clock(self.from);
        match self.until {
            Some(until) => format!("{from}, for {:.1} s", (until - self.from).max(0.0)),
            None => format!("{from}, it did not end"),
        }
    }
}

/// A row below the charts on which spans are marked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Track {
    /// Where; `None` for the agent itself.
    pub(super) cluster: Option<ClusterRole>,
    /// What it shows, in a line. No markup yet.
    pub(super) name: String,
    /// What is marked.
    pub(super) bands: Vec<Band>,
}

impl Track {
    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        let on = self.cluster.map_or(String::new(), |cluster| format!("{cluster} "));
        let name = format!("{on}{}", self.name);
        let name = escaped(name.trim_end());
        writeln!(
            out,
            "<div class=\"track\"><p class=\"quiet\">{name}</p><svg role=\"img\" \
             aria-label=\"{name}, over time\">"
        )?;
        for band in &self.bands {
            band.write(out)?;
        }
        writeln!(out, "</svg></div>")
    }
}

/// The axis below a group of tracks.
pub(super) fn write_clock(out: &mut String, ticks: &[Tick]) -> std::fmt::Result {
    write!(out, "<div class=\"clock\" aria-hidden=\"true\"><svg>")?;
    super::chart::write_across(out, ticks)?;
    writeln!(out, "</svg></div>")
}
