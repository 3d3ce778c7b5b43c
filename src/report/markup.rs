//! What the HTML pages share: text that stays text, and a document that loads nothing.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::text::printable;

/// Colours, type and tables of every page.
const BASE: &str = include_str!("base.css");
/// Characters of a page's title.
const TITLE_MAX: usize = 200;

/// What stands in HTML and XML, within elements and attributes alike, for a character that means
/// something there.
pub(super) const fn entity(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        _ => None,
    }
}

/// A text as it stands in HTML, in an attribute too.
pub(super) fn escaped(text: &str) -> String {
    clipped(text, usize::MAX)
}

/// The same of at most so many of its characters, and an ellipsis where there were more.
pub(super) fn clipped(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    for c in chars.by_ref().take(chars_max) {
        match entity(c) {
            Some(entity) => out.push_str(entity),
            None => out.push(printable(c)),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// Begins a page up to its body. `title` is no markup yet, `style` is what the page adds to the
/// common one. A browser may use that style, known by its hash, and load nothing whatsoever.
pub(super) fn write_begin(out: &mut String, title: &str, style: &str) -> std::fmt::Result {
    let style = format!("\n{BASE}{style}");
    let hash = STANDARD.encode(Sha256::digest(&style));
    let title = clipped(title, TITLE_MAX);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body>"
    )
}

/// Ends a page.
pub(super) fn write_end(out: &mut String) -> std::fmt::Result {
    writeln!(out, "</body>\n</html>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_markup_is_escaped_and_what_has_no_shape_is_replaced() {
        assert_eq!(
            escaped("<a b=\"c\">&'\n\u{1b}ü"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39; \u{fffd}ü"
        );
        assert_eq!(escaped("a\u{202e}b"), "a\u{fffd}b");
    }

    #[test]
    fn a_clipped_text_is_cut_between_characters_and_not_within_what_stands_for_one() {
        assert_eq!(clipped("<<<", 2), "&lt;&lt;…");
        assert_eq!(clipped("üü", 2), "üü");
    }
}
