//! What was asked, and what measured.

use std::fmt::Write;

use crate::report::Report;
use crate::report::markup::{clipped, entity};
use crate::report::text::printable;

use super::{NAME_MAX, write_facts, write_table};

/// Characters of the configuration.
const SETTINGS_MAX: usize = 30_000;

impl Report {
    pub(super) fn html_settings(&self, out: &mut String) -> std::fmt::Result {
        let limits = serde_json::to_value(&self.gate).unwrap_or_default();
        let value = |value: &serde_json::Value| match value {
            serde_json::Value::Null => "none".to_owned(),
            serde_json::Value::String(text) => clipped(text, NAME_MAX),
            other => clipped(&other.to_string(), NAME_MAX),
        };
        let limits = limits.as_object().into_iter().flatten();
        let rows: Vec<_> =
            limits.map(|(key, of)| (format!("<code>{key}</code>"), vec![value(of)])).collect();
        write_table(out, "Limits of the gate", &["limit"], &rows)?;
        let json = serde_json::to_string_pretty(&self.settings).unwrap_or_default();
        writeln!(
            out,
            "<details><summary>The whole scenario, with every default filled in</summary>\n<pre \
             tabindex=\"0\" role=\"region\" aria-label=\"The whole scenario\">{}</pre></details>",
            lines(&json, SETTINGS_MAX)
        )?;
        let version = clipped(&self.tool.version, NAME_MAX);
        let tool = clipped(&self.tool.name, NAME_MAX);
        let digest = clipped(&self.scenario_digest, NAME_MAX);
        let facts = [
            ("measured by", format!("{tool} {version}")),
            ("form of the report", self.schema.to_string()),
            ("seed", self.seed.to_string()),
            ("scenario's digest", format!("<code>{digest}</code>")),
        ];
        write_facts(out, &facts)
    }
}

/// A text of several lines, of at most so many characters.
fn lines(text: &str, chars_max: usize) -> String {
    let (mut chars, mut out) = (text.chars(), String::new());
    for c in chars.by_ref().take(chars_max) {
        match (c, entity(c)) {
            ('\n', _) => out.push('\n'),
            (_, Some(entity)) => out.push_str(entity),
            (c, None) => out.push(printable(c)),
        }
    }
    if chars.next().is_some() {
        out.push_str("\n…");
    }
    out
}
