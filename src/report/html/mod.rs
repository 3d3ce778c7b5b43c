//! The report as a page: one file that loads nothing and runs nothing, for any screen and for
//! paper. The verdict and its reasons come first, and everything in it is bounded.

mod chart;
mod checks;
mod clusters;
mod course;
mod findings;
mod head;
mod latency;
mod occupancy;
mod providers;
mod settings;
mod time;
mod words;

#[cfg(test)]
mod tests;

use std::fmt::{self, Write};

use crate::verify::verdict::Status;

use super::Report;
use super::markup::{write_begin, write_end};
use super::text::{grouped, word};

const STYLE: &str = include_str!("page.css");
/// Characters of a name, and of any other short text.
const NAME_MAX: usize = 200;
/// Characters of a check's detail, or an incident's.
const DETAIL_MAX: usize = 400;
/// Characters of the verdict's reasons.
const REASON_MAX: usize = 6_000;

/// A section: what an address ends with to lead there, its heading, and what writes it. One that
/// writes nothing is left out.
type Section = (&'static str, &'static str, fn(&Report, &mut String) -> fmt::Result);

const SECTIONS: [Section; 12] = [
    ("checks", "Checks", Report::html_checks),
    ("clusters", "Old and new", Report::html_clusters),
    ("occupancy", "Who was there", Report::html_occupancy),
    ("latency", "Latency by percentile", Report::html_latency),
    ("course", "Over time", Report::html_course),
    ("providers", "What providers announced", Report::html_providers),
    ("controls", "Negative controls", Report::html_controls),
    ("advice", "Known failures", Report::html_advice),
    ("strata", "Strata", Report::html_strata),
    ("incidents", "Incidents", Report::html_incidents),
    ("rehearsal", "Faults done on purpose", Report::html_rehearsal),
    ("settings", "Configuration", Report::html_settings),
];

impl Report {
    /// The report as an HTML page: one file, for light and dark, wide and narrow screens, and
    /// paper.
    pub fn to_html(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.html_page(&mut out);
        out
    }

    fn html_page(&self, out: &mut String) -> fmt::Result {
        let mut sections = Vec::new();
        let words: Section = ("words", "What the words mean", Self::html_words);
        for (id, heading, write) in SECTIONS.into_iter().chain([words]) {
            let mut body = String::new();
            write(self, &mut body)?;
            if !body.is_empty() {
                sections.push((id, heading, body));
            }
        }
        write_begin(out, &format!("{}: {}", self.verdict.as_str(), self.scenario), STYLE)?;
        writeln!(out, "<a class=\"skip\" href=\"#verdict\">To the verdict</a>")?;
        chart::write_patterns(out)?;
        writeln!(out, "<header>pusher-canary</header>\n<main id=\"verdict\" tabindex=\"-1\">")?;
        self.html_head(out)?;
        write!(out, "<nav aria-label=\"On this page\"><ul>")?;
        for (id, heading, _) in &sections {
            write!(out, "<li><a href=\"#{id}\">{heading}</a></li>")?;
        }
        writeln!(out, "</ul></nav>")?;
        for (id, heading, body) in &sections {
            writeln!(
                out,
                "<section id=\"{id}\" aria-labelledby=\"{id}-heading\">\n\
                 <h2 id=\"{id}-heading\">{heading}</h2>\n{body}</section>"
            )?;
        }
        writeln!(out, "</main>")?;
        write_end(out)
    }
}

/// The sign of a status: a shape of its own, so that nothing rests on colour.
const fn sign(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Inconclusive => "?",
        Status::Fail => "✕",
    }
}

fn badge(status: Status) -> String {
    let (sign, word) = (sign(status), word(status));
    format!("<span class=\"status {word}\"><span aria-hidden=\"true\">{sign}</span> {word}</span>")
}

/// So many of something.
fn plural(count: u64, what: &str) -> String {
    let ending = match (count, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {what}{ending}", grouped(count))
}

/// How many of something there are beyond those that are shown.
fn write_more(out: &mut String, all: u64, shown: usize, what: &str) -> fmt::Result {
    match all.saturating_sub(shown as u64) {
        0 => Ok(()),
        more => writeln!(out, "<p>and {} more {what}</p>", grouped(more)),
    }
}

/// A table of figures. Labels and cells are markup already, headings are plain words.
fn write_table(
    out: &mut String,
    caption: &str,
    headings: &[&str],
    rows: &[(String, Vec<String>)],
) -> fmt::Result {
    write!(out, "<table class=\"figures\">\n<caption>{caption}</caption>\n<thead><tr><td></td>")?;
    for heading in headings {
        write!(out, "<th scope=\"col\">{heading}</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for (label, cells) in rows {
        write!(out, "<tr><th scope=\"row\">{label}</th>")?;
        for cell in cells {
            write!(out, "<td>{cell}</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>\n</table>")
}

/// A table that becomes a list of cards where the screen is narrow. Roles are named, because a
/// browser forgets them with the table's look. Cells are markup already; empty ones have no label.
fn write_cards(
    out: &mut String,
    class: &str,
    caption: &str,
    headings: &[&str],
    rows: &[Vec<String>],
) -> fmt::Result {
    writeln!(
        out,
        "<table class=\"cards {class}\" role=\"table\">\n<caption>{caption}</caption>\n\
         <thead role=\"rowgroup\"><tr role=\"row\">"
    )?;
    for heading in headings {
        write!(out, "<th scope=\"col\" role=\"columnheader\">{heading}</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody role=\"rowgroup\">")?;
    for row in rows {
        write!(out, "<tr role=\"row\">")?;
        for (heading, cell) in headings.iter().zip(row) {
            match cell.as_str() {
                "" => write!(out, "<td role=\"cell\"></td>")?,
                cell => write!(out, "<td role=\"cell\" data-label=\"{heading}\">{cell}</td>")?,
            }
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>\n</table>")
}
