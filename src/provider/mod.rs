//! A provider's status page as statuspage.io writes it (its public API, version 2), without I/O.
//!
//! What is not known here is no mistake: pages differ, and grow. A page without its lists is one.

use std::collections::BTreeSet;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use crate::verify::status_page::{
    COMPONENTS_MAX, Component, ComponentStatus, Reading, SPANS_MAX, Selection, Span, SpanKind,
};

/// Where a page says how its components are, what happens now and what is planned.
pub const SUMMARY: &str = "/api/v2/summary.json";
/// Where it tells of its last incidents, those included that are over.
pub const INCIDENTS: &str = "/api/v2/incidents.json";

/// Characters of a name.
const NAME_MAX: usize = 200;
/// Characters of a link.
const LINK_MAX: usize = 300;
/// Characters of an id, and of a word such as a state.
const WORD_MAX: usize = 60;
/// Names of components that an incident is shown with.
const NAMES_MAX: usize = 20;

/// Why an answer is no status page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON: most often a web page.
    #[error("the answer is no JSON ({0})")]
    NoJson(String),
    /// It is something else.
    #[error("the answer is JSON of another form: it has no list of {0}")]
    OtherForm(&'static str),
}

/// What is read of a page.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// Names or ids of components; none: all of the page.
    pub components: &'a [String],
    /// What was over by then is left out: milliseconds since the Unix epoch.
    pub since: i64,
}

impl Watch<'_> {
    /// Reads a page at this time of day: its summary and, where it is given, its list of incidents.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn read(
        &self,
        summary: &str,
        incidents: Option<&str>,
        at: i64,
    ) -> Result<Reading, Unreadable> {
        let summary = parse(summary)?;
        let all = list(&summary, "components")?;
        let (components, selection) = self.select(all);
        let concerned = (!self.components.is_empty()).then(|| with_children(&components, all));
        let reader = SpanReader { at, since: self.since, concerned };
        let mut spans = Spans::default();
        spans.extend(reader.spans(list(&summary, "incidents")?, SpanKind::Incident));
        let maintenances = list(&summary, "scheduled_maintenances")?;
        spans.extend(reader.spans(maintenances, SpanKind::Maintenance));
        if let Some(incidents) = incidents {
            let incidents = parse(incidents)?;
            spans.extend(reader.spans(list(&incidents, "incidents")?, SpanKind::Incident));
        }
        let page = indicator(summary.get("status"));
        Ok(Reading { at, page, components, spans: spans.0, selection })
    }

    /// The components that are watched, and what is missing of what was asked for.
    fn select(&self, all: &[Value]) -> (Vec<Component>, Selection) {
        let (mut found, mut selection) = (Vec::<Component>::new(), Selection::default());
        let mut add = |component: Component| {
            if found.iter().any(|known| known.id == component.id) {
                return;
            }
            if found.len() < COMPONENTS_MAX {
                found.push(component);
            } else {
                selection.beyond += 1;
            }
        };
        if self.components.is_empty() {
            // A group is as bad as what is in it.
            let single = all.iter().filter(|c| c.get("group") != Some(&Value::Bool(true)));
            single.filter_map(component).for_each(&mut add);
            return (found, selection);
        }
        let mut missing = Vec::new();
        for wanted in self.components {
            let is_it = |c: &Component| c.id == *wanted || same_name(&c.name, wanted);
            let mut matching = all.iter().filter_map(component).filter(is_it).peekable();
            if matching.peek().is_none() {
                missing.push(wanted.clone());
            }
            matching.for_each(&mut add);
        }
        if !missing.is_empty() {
            let names = all.iter().filter_map(component).map(|c| c.name);
            selection.offered = names.take(COMPONENTS_MAX).collect();
        }
        selection.missing = missing;
        (found, selection)
    }
}

fn same_name(name: &str, wanted: &str) -> bool {
    name.to_lowercase() == text(wanted, NAME_MAX).to_lowercase()
}

fn parse(body: &str) -> Result<Value, Unreadable> {
    serde_json::from_str(body).map_err(|error| Unreadable::NoJson(error.to_string()))
}

fn list<'a>(page: &'a Value, name: &'static str) -> Result<&'a [Value], Unreadable> {
    page.get(name).and_then(Value::as_array).map(Vec::as_slice).ok_or(Unreadable::OtherForm(name))
}

/// What is in a list that may be missing.
fn elements<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A text on one line, of at most so many characters: pages are written by people.
fn text(raw: &str, chars_max: usize) -> String {
    let shown = |c: char| match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let raw: String = raw.chars().take(4 * chars_max).map(shown).collect();
    let words = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(chars_max).collect()
}

fn member(value: &Value, name: &str, chars_max: usize) -> Option<String> {
    let found = value.get(name).and_then(Value::as_str).map(|raw| text(raw, chars_max));
    found.filter(|text| !text.is_empty())
}

/// A component; `None` if it has neither id nor name.
fn component(value: &Value) -> Option<Component> {
    let (id, name) = (member(value, "id", WORD_MAX), member(value, "name", NAME_MAX));
    let name = name.or_else(|| id.clone())?;
    let status = value.get("status").and_then(Value::as_str).unwrap_or_default();
    let known = ComponentStatus::ALL.into_iter().find(|known| known.as_str() == status);
    let id = id.unwrap_or_else(|| name.clone());
    Some(Component { id, name, status: known.unwrap_or_default() })
}

/// How a page is as a whole.
fn indicator(status: Option<&Value>) -> ComponentStatus {
    match status.and_then(|status| status.get("indicator")).and_then(Value::as_str) {
        Some("none") => ComponentStatus::Operational,
        Some("maintenance") => ComponentStatus::UnderMaintenance,
        Some("minor") => ComponentStatus::DegradedPerformance,
        Some("major") => ComponentStatus::PartialOutage,
        Some("critical") => ComponentStatus::MajorOutage,
        _ => ComponentStatus::Unknown,
    }
}

/// The ids of components, and of those that are in the groups among them.
fn with_children(watched: &[Component], all: &[Value]) -> BTreeSet<String> {
    let mut ids: BTreeSet<_> = watched.iter().map(|c| c.id.clone()).collect();
    let is_child = |c: &&Value| member(c, "group_id", WORD_MAX).is_some_and(|g| ids.contains(&g));
    let children: Vec<_> =
        all.iter().filter(is_child).filter_map(|c| member(c, "id", WORD_MAX)).collect();
    ids.extend(children);
    ids
}

/// Spans, each once, and of either sort no more than are kept.
#[derive(Default)]
struct Spans(Vec<Span>);

impl Extend<Span> for Spans {
    fn extend<I: IntoIterator<Item = Span>>(&mut self, spans: I) {
        for span in spans {
            let is_known = self.0.iter().any(|s| (s.kind, &s.id) == (span.kind, &span.id));
            let alike = self.0.iter().filter(|s| s.can_accuse() == span.can_accuse()).count();
            if !is_known && alike < SPANS_MAX {
                self.0.push(span);
            }
        }
    }
}

/// Reads incidents and maintenances.
struct SpanReader {
    at: i64,
    since: i64,
    /// The ids of what is watched; `None`: everything is.
    concerned: Option<BTreeSet<String>>,
}

impl SpanReader {
    fn spans<'a>(&'a self, list: &'a [Value], kind: SpanKind) -> impl Iterator<Item = Span> + 'a {
        list.iter().filter_map(move |value| self.span(value, kind))
    }

    fn span(&self, value: &Value, kind: SpanKind) -> Option<Span> {
        let id = member(value, "id", WORD_MAX)?;
        let named = named(value);
        let concerns = |ids: &BTreeSet<String>| named.iter().any(|(id, _)| ids.contains(id));
        if !named.is_empty() && !self.concerned.as_ref().is_none_or(concerns) {
            return None;
        }
        let state = member(value, "status", WORD_MAX).unwrap_or_default();
        let (from, until) = match kind {
            SpanKind::Incident => self.times_of_incident(value, &state),
            SpanKind::Maintenance => self.times_of_maintenance(value, &state),
        };
        if until.is_some_and(|until| until <= self.since) {
            return None;
        }
        let link = member(value, "shortlink", LINK_MAX);
        let is_address = |link: &String| {
            Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        Some(Span {
            kind,
            name: member(value, "name", NAME_MAX).unwrap_or_else(|| id.clone()),
            id,
            impact: member(value, "impact", WORD_MAX).unwrap_or_default(),
            state,
            components: named.into_iter().map(|(_, name)| name).take(NAMES_MAX).collect(),
            from,
            until,
            link: link.filter(is_address),
        })
    }

    fn times_of_incident(&self, value: &Value, state: &str) -> (i64, Option<i64>) {
        let from = first_time(value, &["started_at", "created_at"]).unwrap_or(self.at);
        let is_over = matches!(state, "resolved" | "postmortem");
        let until = time_of(value, "resolved_at");
        let until = match is_over {
            true => until.or(time_of(value, "updated_at")).or(Some(self.at)),
            false => until,
        };
        // What is under way has begun, whatever the provider's clock says.
        (if is_over { from } else { from.min(self.at) }, until)
    }

    /// `started_at` is here when it was announced.
    fn times_of_maintenance(&self, value: &Value, state: &str) -> (i64, Option<i64>) {
        let planned = first_time(value, &["scheduled_for", "created_at"]).unwrap_or(self.at);
        match state {
            "scheduled" => (planned, time_of(value, "scheduled_until")),
            "completed" => {
                let until = first_time(value, &["resolved_at", "updated_at"]);
                (planned, Some(until.unwrap_or(self.at)))
            }
            // It began early, or it is under way for as long as it takes.
            _ if planned > self.at => (time_of(value, "updated_at").unwrap_or(self.at), None),
            _ => (planned, None),
        }
    }
}

/// Ids and names of the components that an incident names: itself or, where it does not, in its
/// updates.
fn named(value: &Value) -> Vec<(String, String)> {
    let own = elements(value, "components").filter_map(component);
    let own: Vec<_> = own.map(|c| (c.id, c.name)).collect();
    if !own.is_empty() {
        return own;
    }
    let updates = elements(value, "incident_updates");
    let affected = updates.flat_map(|update| elements(update, "affected_components"));
    let mut found = Vec::new();
    for one in affected {
        let Some(id) = member(one, "code", WORD_MAX) else { continue };
        let name = member(one, "name", NAME_MAX).unwrap_or_else(|| id.clone());
        if !found.contains(&(id.clone(), name.clone())) && found.len() < COMPONENTS_MAX {
            found.push((id, name));
        }
    }
    found
}

fn first_time(value: &Value, names: &[&str]) -> Option<i64> {
    names.iter().find_map(|name| time_of(value, name))
}

/// A time of day as milliseconds since the Unix epoch.
fn time_of(value: &Value, name: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(value.get(name)?.as_str()?, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests;
