//! In what the two apps behave alike, row by row.

use crate::model::ClusterRole;
use crate::report::Report;
use crate::report::markup::clipped;
use crate::verify::parity::Likeness;

use super::{DETAIL_MAX, write_cards};

impl Report {
    pub(super) fn html_parity(&self, out: &mut String) -> std::fmt::Result {
        if self.parity.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self
            .parity
            .iter()
            .map(|row| {
                let accepted = row.accepted.as_deref();
                let accepted = accepted.filter(|_| row.likeness == Likeness::Accepted);
                let why = accepted.unwrap_or(&row.advice);
                vec![
                    row.row.meaning().to_owned(),
                    clipped(&row.shown(ClusterRole::Old), DETAIL_MAX),
                    clipped(&row.shown(ClusterRole::New), DETAIL_MAX),
                    format!("<b>{}</b>", row.likeness.as_str()),
                    clipped(why, DETAIL_MAX),
                ]
            })
            .collect();
        let caption = "How both apps behave, as seen from outside";
        write_cards(
            out,
            "parity",
            caption,
            &["what", "old", "new", "verdict", "why, or what helps"],
            &rows,
        )
    }
}
