//! What several targets hold a report to, whatever it was read from.

use pusher_canary::report::{Pool, Report};

/// Characters of a report as Markdown at most, as its forms promise.
const MARKDOWN_CHARS_MAX: usize = 60_000;

/// Holds the forms for people to what they promise: what came from outside stays text in them.
pub fn check_forms(text: &str, markdown: &str, html: &str, junit: &str) {
    assert!(!text.is_empty());
    let chars = markdown.chars().count();
    assert!(chars <= MARKDOWN_CHARS_MAX, "the Markdown has {chars} characters");
    for form in [html, junit] {
        assert!(!form.contains("<script"), "a script is left");
        let is_plain = form.chars().all(|c| !c.is_control() || c == '\n');
        assert!(is_plain, "a control character is left");
    }
}

/// Renders a report in every form. What is written as JSON must be read again as the same.
pub fn check_report(report: &Report) {
    let (html, junit) = (report.to_html(), report.to_junit());
    check_forms(&report.to_text(), &report.to_markdown(), &html, &junit);
    let written = report.to_json();
    let read = Report::from_json(&written).expect("what was written is a report");
    assert_eq!(read.to_json(), written);
}

/// The same of an outcome of several runs, or of several agents.
pub fn check_pool(pool: &Pool) {
    let (html, junit) = (pool.to_html(), pool.to_junit());
    check_forms(&pool.to_text(), &pool.to_markdown(), &html, &junit);
    let written = pool.to_json();
    let read: Pool = serde_json::from_str(&written).expect("what was written is an outcome");
    assert_eq!(read.to_json(), written);
}
