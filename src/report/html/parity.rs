//! In what the two apps behave alike, beside a run.

use crate::report::Report;

use super::matrix::write_rows;

impl Report {
    pub(super) fn html_parity(&self, out: &mut String) -> std::fmt::Result {
        if self.parity.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.parity.iter().collect();
        write_rows(out, &rows)
    }
}
