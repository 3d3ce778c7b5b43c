//! The report as JSON: the form that other programs may rely on.

use super::Report;

impl Report {
    /// The report as JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        // Every map key is a string or a number, so this cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
