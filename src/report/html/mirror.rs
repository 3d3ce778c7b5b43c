//! The application's own events: how both clusters carried them, and on how many channels.

use std::fmt::Write;

use crate::report::Report;
use crate::report::markup::clipped;
use crate::report::mirror::{DefectReport, SampleStratum};
use crate::report::text::grouped;
use crate::verify::mirror::Outcome;

use super::{DETAIL_MAX, NAME_MAX, write_cards, write_more, write_table};

/// Events and channels that are shown.
const DEFECTS_MAX: usize = 50;
/// Strata that are shown.
const STRATA_MAX: usize = 50;

impl Report {
    pub(super) fn html_mirror(&self, out: &mut String) -> std::fmt::Result {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        let sentences = mirror.sentences();
        writeln!(out, "<ul>")?;
        for said in &sentences {
            writeln!(out, "<li>{}</li>", clipped(said, DETAIL_MAX))?;
        }
        writeln!(out, "</ul>")?;
        let rows: Vec<_> = Outcome::ALL
            .iter()
            .map(|outcome| (outcome.meaning().to_owned(), vec![grouped(mirror.count(*outcome))]))
            .collect();
        write_table(out, "Real events by outcome", &["events"], &rows)?;
        if !mirror.one_sided.is_empty() {
            let rows: Vec<_> = mirror
                .one_sided
                .iter()
                .take(DEFECTS_MAX)
                .map(|(name, role)| vec![clipped(name, NAME_MAX), role.to_string()])
                .collect();
            let caption = "Channels that one cluster alone carried";
            write_cards(out, "one-sided", caption, &["channel", "published to only"], &rows)?;
            write_more(out, mirror.one_sided.len() as u64, rows.len(), "channels")?;
        }
        if !mirror.defects.is_empty() {
            let rows: Vec<_> = mirror.defects.iter().take(DEFECTS_MAX).map(cells).collect();
            let headings =
                ["first (UTC)", "channel", "event", "what", "missed or twice on", "how many"];
            let caption = "Events that were not the same on both, in the order of time";
            write_cards(out, "defects", caption, &headings, &rows)?;
            write_more(out, mirror.defects.len() as u64, rows.len(), "kinds of event")?;
        }
        let strata = &mirror.sample.strata;
        if strata.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = strata.iter().take(STRATA_MAX).map(row).collect();
        let caption = "Occupied channels by kind and number of subscriptions, at the last refresh";
        write_table(out, caption, &["occupied", "watched"], &rows)
    }
}

fn cells(defect: &DefectReport) -> Vec<String> {
    vec![
        clipped(defect.first.get(11..23).unwrap_or(&defect.first), NAME_MAX),
        clipped(&defect.channel, NAME_MAX),
        clipped(&defect.event, NAME_MAX),
        format!("<b>{}</b>", defect.outcome.meaning()),
        defect.cluster.map_or(String::new(), |role| role.to_string()),
        grouped(defect.count),
    ]
}

fn row(stratum: &SampleStratum) -> (String, Vec<String>) {
    let label = format!(
        "{}<br><span class=\"quiet\">subscriptions: {}</span>",
        stratum.kind,
        stratum.size.as_str()
    );
    (label, vec![grouped(stratum.channels), grouped(stratum.watched.len() as u64)])
}
