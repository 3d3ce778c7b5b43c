//! What a provider's status page says of a cluster: readings as the agent states them, what changed
//! from one to the next, and their sum.
//!
//! Times on a page are times of day, in milliseconds since the Unix epoch: they may lie long before
//! the run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::RunTime;

use super::record::is_zero;

/// Most components of a page that are watched.
pub const COMPONENTS_MAX: usize = 50;
/// Most incidents and maintenances of a page that are kept, of those that can be held against it,
/// and as many of the others.
pub const SPANS_MAX: usize = 50;

/// How a component is, by what its provider says, from best to worst.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ComponentStatus {
    /// All is well.
    Operational,
    /// The page says something that is not known here, or nothing was read yet.
    #[default]
    Unknown,
    /// It is being worked on.
    UnderMaintenance,
    /// It is slow, or fails now and then.
    DegradedPerformance,
    /// Part of it does not work.
    PartialOutage,
    /// It does not work.
    MajorOutage,
}

impl ComponentStatus {
    /// Every status, from best to worst.
    pub const ALL: [Self; 6] = [
        Self::Operational,
        Self::Unknown,
        Self::UnderMaintenance,
        Self::DegradedPerformance,
        Self::PartialOutage,
        Self::MajorOutage,
    ];

    /// The status as pages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Unknown => "unknown",
            Self::UnderMaintenance => "under_maintenance",
            Self::DegradedPerformance => "degraded_performance",
            Self::PartialOutage => "partial_outage",
            Self::MajorOutage => "major_outage",
        }
    }
}

/// A component that is watched, as one reading found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Component {
    /// Its id on the page.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it is.
    pub status: ComponentStatus,
}

/// What a provider announces for a time.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Something that happened.
    #[default]
    Incident,
    /// Something that is done on purpose.
    Maintenance,
}

impl SpanKind {
    /// The kind's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Maintenance => "maintenance",
        }
    }
}

/// An incident or a maintenance that concerns what is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Span {
    /// Which of the two.
    pub kind: SpanKind,
    /// Its id on the page.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// How bad it is, in the page's words: `none`, `minor`, `major`, `critical`, …
    pub impact: String,
    /// How far it had come when it was last listed, in the page's words: `investigating`,
    /// `scheduled`, `resolved`, …
    pub state: String,
    /// The components that it names; none: it may concern all of them.
    pub components: Vec<String>,
    /// When it began, or is to begin.
    pub from: i64,
    /// When it ended, or is planned to; `None` while that is not known.
    pub until: Option<i64>,
    /// Where the provider tells more.
    pub link: Option<String>,
}

impl Span {
    /// Whether it can be held against the cluster: an incident with an impact, a maintenance that
    /// has begun.
    pub fn can_accuse(&self) -> bool {
        match self.kind {
            SpanKind::Incident => self.impact != "none",
            SpanKind::Maintenance => self.state != "scheduled",
        }
    }

    /// Whether it lies in part between these two times. One that ends as they begin, or begins as
    /// they end, does not.
    const fn overlaps(&self, from: i64, until: i64) -> bool {
        let ends_later = match self.until {
            Some(end) => end > from,
            None => true,
        };
        self.from < until && ends_later
    }
}

/// Which components are watched, as far as the page does not have them as the scenario asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Asked for, and not on the page.
    pub missing: Vec<String>,
    /// What is on the page; given where something is missing.
    pub offered: Vec<String>,
    /// Components of the page for which there was no room.
    pub beyond: u64,
}

/// What one reading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The time of day at which it was made.
    pub at: i64,
    /// The page as a whole.
    pub page: ComponentStatus,
    /// The components that are watched.
    pub components: Vec<Component>,
    /// Incidents and maintenances that concern them.
    pub spans: Vec<Span>,
    /// What is missing of what was asked for.
    pub selection: Selection,
}

/// What is stated of a status page.
#[derive(Clone, Debug)]
pub enum PageFact {
    /// It was read.
    Read(Box<Reading>),
    /// It could not be read, in a few words.
    Failed(String),
}

/// What a second learnt of a status page: counts, and what is not as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PageSecond {
    /// Readings.
    #[serde(skip_serializing_if = "is_zero")]
    pub readings: u64,
    /// Tries to read it that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u64,
    /// Whether the last of them failed.
    pub failed: bool,
    /// Why, where it is not known already.
    pub failure: Option<String>,
    /// The page as a whole, where it changed.
    pub page: Option<ComponentStatus>,
    /// Components that changed, each with the instant.
    pub components: Vec<(RunTime, Component)>,
    /// Incidents and maintenances that changed.
    pub spans: Vec<Span>,
    /// What is missing, where that changed.
    pub selection: Option<Selection>,
}

/// Turns readings into what changed.
#[derive(Debug, Default)]
pub struct Changes {
    failure: Option<String>,
    page: Option<ComponentStatus>,
    components: BTreeMap<String, Component>,
    spans: BTreeMap<(SpanKind, String), Span>,
    selection: Option<Selection>,
}

impl Changes {
    /// Adds what a fact changes to a second.
    pub fn note(&mut self, second: &mut PageSecond, at: RunTime, fact: PageFact) {
        match fact {
            PageFact::Failed(why) => {
                second.failures += 1;
                second.failed = true;
                if self.failure.as_ref() != Some(&why) {
                    second.failure = Some(why.clone());
                    self.failure = Some(why);
                }
            }
            PageFact::Read(reading) => {
                second.readings += 1;
                second.failed = false;
                self.read(second, at, *reading);
            }
        }
    }

    fn read(&mut self, second: &mut PageSecond, at: RunTime, reading: Reading) {
        if self.page != Some(reading.page) {
            self.page = Some(reading.page);
            second.page = self.page;
        }
        if self.selection.as_ref() != Some(&reading.selection) {
            second.selection = Some(reading.selection.clone());
            self.selection = Some(reading.selection);
        }
        for component in reading.components {
            let has_room = self.components.len() < COMPONENTS_MAX;
            match self.components.get_mut(&component.id) {
                Some(known) if *known == component => continue,
                Some(known) => *known = component.clone(),
                None if has_room => {
                    self.components.insert(component.id.clone(), component.clone());
                }
                None => continue,
            }
            second.components.push((at, component));
        }
        let mut seen = Vec::new();
        for span in reading.spans {
            let key = (span.kind, span.id.clone());
            seen.push(key.clone());
            let alike = self.spans.values().filter(|s| s.can_accuse() == span.can_accuse());
            match self.spans.get(&key) {
                Some(known) if *known == span => continue,
                None if alike.count() >= SPANS_MAX => continue,
                _ => {}
            }
            self.spans.insert(key, span.clone());
            second.spans.push(span);
        }
        // A page lists what is under way. What it lists no longer has ended since it was last read.
        for (key, span) in &mut self.spans {
            if span.until.is_none() && span.can_accuse() && !seen.contains(key) {
                span.until = Some(reading.at.max(span.from));
                second.spans.push(span.clone());
            }
        }
    }
}

/// A component over a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its id on the page.
    pub id: String,
    /// Its name when it was first read.
    pub name: String,
    /// How it was when it was last read.
    pub status: ComponentStatus,
    /// How it was at worst from the beginning of publishing on.
    pub worst: ComponentStatus,
}

/// What a cluster's status page said over a run, or over several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageFigures {
    /// The page.
    pub url: String,
    /// Readings.
    pub readings: u64,
    /// Tries to read it that failed.
    pub failures: u64,
    /// Whether the last try, of every run, could be read.
    pub is_read: bool,
    /// Why one failed, the last that did.
    pub failure: Option<String>,
    /// The page as a whole, when it was last read.
    pub page: ComponentStatus,
    /// The components that are watched.
    pub components: Vec<Watched>,
    /// What is missing of what was asked for.
    pub selection: Selection,
    /// Incidents and maintenances, each with whether it counts: it can be held against the cluster,
    /// and fell into the time from the beginning of publishing to the end.
    pub spans: Vec<(Span, bool)>,
}

impl PageFigures {
    /// Nothing was read yet.
    pub fn of(url: &str) -> Self {
        Self { url: url.to_owned(), ..Self::default() }
    }

    /// Adds a second of a run that has been publishing since `begun`, if it has begun.
    pub fn add(&mut self, second: &PageSecond, begun: Option<RunTime>) {
        self.readings += second.readings;
        self.failures += second.failures;
        if second.readings + second.failures > 0 {
            self.is_read = !second.failed;
        }
        if let Some(failure) = &second.failure {
            self.failure = Some(failure.clone());
        }
        self.page = second.page.unwrap_or(self.page);
        if let Some(selection) = &second.selection {
            self.selection = selection.clone();
        }
        for (at, component) in &second.components {
            let Component { id, name, status } = component.clone();
            let Some(known) = self.components.iter_mut().find(|known| known.id == id) else {
                self.components.push(Watched { id, name, status, worst: status });
                continue;
            };
            // What it was before publishing began counts no more once it is another.
            let counts = begun.is_some_and(|begun| *at > begun);
            known.worst = if counts { known.worst.max(status) } else { status };
            known.status = status;
        }
        for span in &second.spans {
            match self.find(span) {
                Some((known, _)) => *known = span.clone(),
                None => self.spans.push((span.clone(), false)),
            }
        }
    }

    /// Judges which incidents and maintenances fell into this time.
    pub fn judge(&mut self, from: i64, until: i64) {
        for (span, counts) in &mut self.spans {
            *counts = span.can_accuse() && span.overlaps(from, until);
        }
    }

    /// Those of a time that begins now: no count, and everything as it is.
    pub(super) fn next(&self) -> Self {
        let mut next = Self { readings: 0, failures: 0, ..self.clone() };
        next.components.iter_mut().for_each(|component| component.worst = component.status);
        next
    }

    /// Keeps no incident and no maintenance that was over by then.
    pub(super) fn forget_before(&mut self, then: i64) {
        self.spans.retain(|(span, _)| span.until.is_none_or(|until| until > then));
    }

    /// Adds another run's, a later one.
    pub fn merge(&mut self, other: &Self) {
        self.readings += other.readings;
        self.failures += other.failures;
        self.is_read &= other.is_read;
        self.failure = other.failure.clone().or(self.failure.take());
        self.page = other.page;
        for component in &other.components {
            match self.components.iter_mut().find(|known| known.id == component.id) {
                Some(known) => {
                    known.worst = known.worst.max(component.worst);
                    known.status = component.status;
                }
                None => self.components.push(component.clone()),
            }
        }
        let Selection { missing, offered, beyond } = &other.selection;
        let new = missing.iter().filter(|name| !self.selection.missing.contains(name));
        let new: Vec<_> = new.cloned().collect();
        self.selection.missing.extend(new);
        if !offered.is_empty() {
            self.selection.offered.clone_from(offered);
        }
        self.selection.beyond = self.selection.beyond.max(*beyond);
        for (span, counts) in &other.spans {
            match self.find(span) {
                Some((known, counted)) => {
                    *known = span.clone();
                    *counted |= counts;
                }
                None => self.spans.push((span.clone(), *counts)),
            }
        }
    }

    fn find(&mut self, span: &Span) -> Option<&mut (Span, bool)> {
        self.spans.iter_mut().find(|(known, _)| (known.kind, &known.id) == (span.kind, &span.id))
    }
}

#[cfg(test)]
mod tests;
