//! Availability for a terminal: a strip for each component, one character a day.

use std::fmt::Write;

use anstyle::{AnsiColor, Color, Style};

use crate::report::text::grouped;

use super::{Availability, Level};

/// Days with failures that are shown one by one.
const FAILURES_SHOWN: usize = 10;

impl Level {
    /// The character of a day. Each level has another, so that nothing rests on colour.
    const fn character(self) -> char {
        match self {
            Self::Full => '█',
            Self::High => '▓',
            Self::Fair => '▒',
            Self::Low => '!',
            Self::Unknown => '·',
        }
    }

    const fn style(self) -> Style {
        let colour = match self {
            Self::Full | Self::High => AnsiColor::Green,
            Self::Fair => AnsiColor::Yellow,
            Self::Low => AnsiColor::Red,
            Self::Unknown => return Style::new().dimmed(),
        };
        Style::new().fg_color(Some(Color::Ansi(colour)))
    }

    fn shown(self) -> String {
        let style = self.style();
        format!("{style}{}{style:#}", self.character())
    }
}

impl Availability {
    /// The availability as text. Styled; whoever prints it strips that where colour is not wanted.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_strips(&mut out);
        let _ = self.write_failures(&mut out);
        out
    }

    fn write_strips(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}\n", self.title())?;
        if self.rows.is_empty() {
            return writeln!(out, "no run in this time: unknown");
        }
        for ((cluster, component), row) in &self.rows {
            let percent = row.total().percent();
            let figures = row.figures(*component, self.days);
            writeln!(out, "{cluster:<5}{:<10}{percent:<10}{figures}", component.as_str())?;
            // One style for a stretch of equal days: each day by itself would be mostly escapes.
            let mut before = None;
            for day in self.calendar() {
                let level = row.on(day).level();
                if before != Some(level) {
                    let end = before.map_or(Style::new(), Level::style);
                    write!(out, "{end:#}{}", level.style())?;
                    before = Some(level);
                }
                out.push(level.character());
            }
            writeln!(out, "{:#}", before.map_or(Style::new(), Level::style))?;
        }
        let key = |levels: &[Level]| -> String {
            let one = |level: &Level| format!("{} {}", level.shown(), level.meaning());
            levels.iter().map(one).collect::<Vec<_>>().join("   ")
        };
        writeln!(out)?;
        for levels in Level::ALL.chunks(3) {
            writeln!(out, "{}", key(levels))?;
        }
        Ok(())
    }

    /// The days on which something failed, with their figures.
    fn write_failures(&self, out: &mut String) -> std::fmt::Result {
        let failures = self.days_with_failures();
        if failures.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        for (day, cluster, component, counts) in failures.iter().take(FAILURES_SHOWN) {
            let (percent, component) = (counts.percent(), component.as_str());
            let (bad, samples) = (grouped(counts.bad), grouped(counts.samples()));
            let shown = counts.level().shown();
            writeln!(
                out,
                "{day} {shown} {cluster:<5}{component:<10}{percent:<10}{bad} of {samples} failed"
            )?;
        }
        if let Some(more) = failures.len().checked_sub(FAILURES_SHOWN).filter(|more| *more > 0) {
            writeln!(out, "and {more} more; --html names them all")?;
        }
        Ok(())
    }
}
