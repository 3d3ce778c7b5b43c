//! Status page: what the provider itself says of the cluster.

use crate::verify::status_page::{ComponentStatus, PageFigures, Selection, Span};
use crate::verify::verdict::Status;

use super::Seen;

/// Grievances that a sentence names; the others are counted.
const NAMED_MAX: usize = 3;
/// Names of components that a sentence offers.
const OFFERED_MAX: usize = 12;

pub(super) fn check(page: &PageFigures) -> Seen {
    let is_bad = |status| status > ComponentStatus::Unknown;
    let bad = page.components.iter().filter(|c| is_bad(c.worst));
    let bad = bad.map(|c| format!("{} was {}", c.name, words(c.worst)));
    let spans = page.spans.iter().filter(|(_, counts)| *counts).map(|(span, _)| said(span));
    let against: Vec<_> = spans.chain(bad).collect();
    let (status, said) = match (against.is_empty(), doubt(page)) {
        (false, _) => (Status::Fail, some(&against, NAMED_MAX, "; ")),
        (true, Some(doubt)) => (Status::Inconclusive, doubt),
        (true, None) => (Status::Pass, well(page)),
    };
    Seen {
        status,
        observed: (page.readings > 0).then_some(against.len() as f64),
        limit: Some(0.0),
        unit: "count",
        evidence: page.readings,
        detail: format!("{}: {said}; {}", page.url, readings(page)),
        ..Seen::default()
    }
}

fn words(status: ComponentStatus) -> String {
    status.as_str().replace('_', " ")
}

/// The first of these, and how many more there are.
fn some(all: &[String], at_most: usize, between: &str) -> String {
    let mut text = all.iter().take(at_most).cloned().collect::<Vec<_>>().join(between);
    if all.len() > at_most {
        text.push_str(&format!("{between}and {} more", all.len() - at_most));
    }
    text
}

fn said(span: &Span) -> String {
    let of = match span.components.as_slice() {
        [] => "naming no component".to_owned(),
        named => format!("of {}", some(named, NAMED_MAX, ", ")),
    };
    format!("{} \"{}\" ({}) {of}", span.kind.as_str(), span.name, span.impact)
}

/// Why nothing can be said, though nothing speaks against the cluster.
fn doubt(page: &PageFigures) -> Option<String> {
    let Selection { missing, offered, .. } = &page.selection;
    let unknown: Vec<_> = page
        .components
        .iter()
        .filter(|c| c.worst == ComponentStatus::Unknown)
        .map(|c| c.name.clone())
        .collect();
    if !page.is_read {
        let why = page.failure.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        let when = if page.readings > 0 { " at last" } else { "" };
        return Some(format!("it could not be read{when}{why}"));
    }
    if !missing.is_empty() {
        let (missing, offered) = (quoted(missing), some(offered, OFFERED_MAX, ", "));
        return Some(format!("it has no component {missing}; it has {offered}"));
    }
    let named = some(&unknown, NAMED_MAX, ", ");
    (!unknown.is_empty()).then(|| format!("the status of {named} is a word that is not known"))
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    some(&names, NAMED_MAX, ", ")
}

fn well(page: &PageFigures) -> String {
    let beyond = match page.selection.beyond {
        0 => String::new(),
        more => format!(" of {}; name those that matter", page.components.len() as u64 + more),
    };
    format!("no incident, and {} components operational{beyond}", page.components.len())
}

fn readings(page: &PageFigures) -> String {
    let plural = if page.readings == 1 { "" } else { "s" };
    let failed = match page.failures {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!("{} reading{plural}{failed}", page.readings)
}
