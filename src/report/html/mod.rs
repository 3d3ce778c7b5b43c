//! The report as a page: one file that loads nothing and runs nothing, for any screen and for
//! paper. The verdict and its reasons come first, and everything in it is bounded.

mod chart;
mod checks;
mod clusters;
mod course;
mod findings;
mod handover;
mod head;
mod latency;
mod matrix;
mod mirror;
mod occupancy;
mod parity;
mod pool;
mod providers;
mod settings;
mod time;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::model::ClusterRole;
use crate::verify::verdict::Status;

use super::Report;
use super::markup::{clipped, write_begin, write_end};
use super::outcome::Outcome;
use super::text::{grouped, word};

const STYLE: &str = include_str!("page.css");
/// Characters of a name, and of any other short text.
const NAME_MAX: usize = 200;
/// Characters of a check's detail, or an incident's.
const DETAIL_MAX: usize = 400;
/// Characters of the verdict's reasons.
const REASON_MAX: usize = 6_000;

/// A section: what an address ends with to lead there, its heading, and its body.
type Section = (&'static str, &'static str, String);

/// What writes the body of a section. One that writes nothing is left out.
type Write = fn(&Report, &mut String) -> fmt::Result;

const SECTIONS: [(&str, &str, Write); 14] = [
    ("clusters", "Old and new", Report::html_clusters),
    ("occupancy", "Who was there", Report::html_occupancy),
    ("mirror", "Real events", Report::html_mirror),
    ("parity", "How both apps behave", Report::html_parity),
    ("handover", "Clients that move", Report::html_handover),
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
        let (mut facts, mut sections) = (String::new(), Vec::new());
        self.html_facts(&mut facts)?;
        for (id, heading, write) in SECTIONS {
            let mut body = String::new();
            write(self, &mut body)?;
            sections.push((id, heading, body));
        }
        self.outcome().html_page(out, &facts, sections)
    }
}

impl Outcome<'_> {
    /// The page of a verdict that rests on checks: the verdict, these facts, the checks, these
    /// sections, what the words mean.
    fn html_page(&self, out: &mut String, facts: &str, between: Vec<Section>) -> fmt::Result {
        let (mut checks, mut words) = (String::new(), String::new());
        self.html_checks(&mut checks)?;
        self.html_words(&mut words)?;
        let mut sections = vec![("checks", "Checks", checks)];
        sections.extend(between);
        sections.push(("words", "What the words mean", words));
        self.write_page(out, facts, sections)
    }

    /// A page: the verdict, these facts, these sections.
    fn write_page(&self, out: &mut String, facts: &str, mut sections: Vec<Section>) -> fmt::Result {
        sections.retain(|(_, _, body)| !body.is_empty());
        write_begin(out, &format!("{}: {}", self.word, self.scenario), STYLE)?;
        writeln!(out, "<a class=\"skip\" href=\"#verdict\">To the verdict</a>")?;
        chart::write_patterns(out)?;
        writeln!(out, "<header>pusher-canary</header>\n<main id=\"verdict\" tabindex=\"-1\">")?;
        self.html_verdict(out)?;
        out.push_str(facts);
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

/// An instant as the report says it: RFC 3339; empty if there is none.
fn instant(at: &str) -> String {
    match at {
        "" => "–".to_owned(),
        at => format!("<time>{}</time>", clipped(at, NAME_MAX)),
    }
}

/// What each cluster is, as facts.
fn addresses(of: &BTreeMap<ClusterRole, String>) -> impl Iterator<Item = (&'static str, String)> {
    of.iter().map(|(role, address)| (role.as_str(), clipped(address, NAME_MAX)))
}

/// Facts, each with what it is a fact of. They are markup already.
fn write_facts(out: &mut String, facts: &[(&str, String)]) -> fmt::Result {
    writeln!(out, "<dl class=\"facts\">")?;
    for (what, value) in facts {
        writeln!(out, "<div><dt>{what}</dt><dd>{value}</dd></div>")?;
    }
    writeln!(out, "</dl>")
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
    badge_saying(status, word(status))
}

/// The look of a status, with another word.
fn badge_saying(status: Status, said: &str) -> String {
    let (sign, class) = (sign(status), word(status));
    format!("<span class=\"status {class}\"><span aria-hidden=\"true\">{sign}</span> {said}</span>")
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
