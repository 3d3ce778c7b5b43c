//! Availability as a page: one file that loads nothing.

use std::fmt::Write;

use crate::model::ClusterRole;
use crate::report::markup::{escaped, write_begin, write_end};
use crate::report::text::grouped;

use super::{Availability, Component, Counts, Day, Level, Row};

const STYLE: &str = include_str!("page.css");

impl Level {
    /// The class of a day's bar. Each has a height of its own, so that nothing rests on colour.
    const fn class(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::High => "high",
            Self::Fair => "fair",
            Self::Low => "low",
            Self::Unknown => "unknown",
        }
    }
}

/// The share, and what it rests on.
fn told(counts: Counts) -> String {
    let (bad, samples) = (grouped(counts.bad), grouped(counts.samples()));
    match counts.samples() {
        0 => "unknown, no samples".to_owned(),
        _ if counts.bad == 0 => format!("{}, {samples} samples", counts.percent()),
        _ => format!("{}, {bad} of {samples} failed", counts.percent()),
    }
}

impl Availability {
    /// The availability as an HTML page: one file, for light and dark, wide and narrow screens.
    pub fn to_html(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_page(&mut out);
        out
    }

    fn write_page(&self, out: &mut String) -> std::fmt::Result {
        let title = self.title();
        write_begin(out, &format!("pusher-canary: {title}"), STYLE)?;
        let title = escaped(&title);
        writeln!(out, "<main>\n<h1>Availability</h1>\n<p class=\"quiet\">{title}</p>")?;
        if self.rows.is_empty() {
            writeln!(out, "<p>No run in this time: unknown.</p>")?;
        } else {
            self.write_key(out)?;
            for cluster in ClusterRole::ALL {
                self.write_cluster(out, cluster)?;
            }
            self.write_table(out)?;
        }
        write_meanings(out)?;
        writeln!(out, "</main>")?;
        write_end(out)
    }

    fn write_key(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "<ul class=\"key quiet\" aria-label=\"What the bars mean\">")?;
        for level in Level::ALL {
            let (class, meaning) = (level.class(), level.meaning());
            writeln!(out, "<li><i class=\"{class}\"></i>{meaning}</li>")?;
        }
        writeln!(out, "</ul>")
    }

    fn write_cluster(&self, out: &mut String, cluster: ClusterRole) -> std::fmt::Result {
        let rows = || self.rows.iter().filter(|((of, _), _)| *of == cluster);
        if rows().next().is_none() {
            return Ok(());
        }
        writeln!(out, "<section>\n<h2>{cluster}</h2>")?;
        for ((_, component), row) in rows() {
            self.write_row(out, cluster, *component, row)?;
        }
        writeln!(out, "</section>")
    }

    fn write_row(
        &self,
        out: &mut String,
        cluster: ClusterRole,
        component: Component,
        row: &Row,
    ) -> std::fmt::Result {
        let (name, percent) = (component.as_str(), row.total().percent());
        let figures = row.figures(component, self.days);
        writeln!(
            out,
            "<div class=\"component\">\n<div class=\"head\"><h3>{name}</h3>\
             <span class=\"quiet\">{figures}</span><span class=\"percent\">{percent}</span></div>\n\
             <div class=\"strip\" role=\"img\" aria-label=\"{cluster} {name}: {percent}, {figures}; \
             the table below has each day\">"
        )?;
        for day in self.calendar() {
            let counts = row.on(day);
            let class = counts.level().class();
            write!(out, "<i class=\"{class}\" title=\"{day}: {}\"></i>", told(counts))?;
        }
        writeln!(
            out,
            "</div>\n<div class=\"ends quiet\"><span>{}</span><span>{}</span></div>\n</div>",
            self.first,
            self.last()
        )
    }

    /// Every day that has samples, the newest first.
    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        let has_samples = |day: &Day| self.rows.values().any(|row| row.on(*day).samples() > 0);
        let shown: Vec<_> = self
            .rows
            .iter()
            .filter(|((_, component), _)| *component != Component::Webhooks)
            .collect();
        writeln!(
            out,
            "<section>\n<h2>Days</h2>\n<p class=\"quiet\">Days without samples are left out: they are \
             unknown.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"Table of days\">\n<table>\n<thead><tr><th scope=\"col\">day (UTC)</th>"
        )?;
        for ((cluster, component), _) in &shown {
            write!(out, "<th scope=\"col\">{cluster}<br>{}</th>", component.as_str())?;
        }
        writeln!(out, "</tr></thead>\n<tbody>")?;
        for day in self.calendar().rev().filter(has_samples) {
            write!(out, "<tr><th scope=\"row\">{day}</th>")?;
            for (_, row) in &shown {
                let counts = row.on(day);
                let (class, title) = (counts.level().class(), told(counts));
                write!(out, "<td class=\"{class}\" title=\"{title}\">{}</td>", counts.percent())?;
            }
            writeln!(out, "</tr>")?;
        }
        writeln!(out, "</tbody>\n</table>\n</div>\n</section>")
    }
}

/// What is counted of each component.
fn write_meanings(out: &mut String) -> std::fmt::Result {
    writeln!(out, "<section>\n<h2>What is counted</h2>\n<dl>")?;
    for component in Component::ALL {
        let (name, meaning) = (component.as_str(), component.meaning());
        writeln!(out, "<dt>{name}</dt><dd>{meaning}</dd>")?;
    }
    writeln!(
        out,
        "</dl>\n<p class=\"quiet\">A run belongs to the day on which it began. Shares are rounded \
         down. Reconnects that the canary makes on purpose are left out, and so is what failed in \
         seconds in which it could not rely on itself.</p>\n</section>"
    )
}
