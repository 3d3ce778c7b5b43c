//! What status pages said, in the report: beside what the canary saw itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::model::ClusterRole;
use crate::verify::account::Account;
use crate::verify::status_page::{
    ComponentStatus, PageFigures, Selection, Span, SpanKind, Watched,
};

use super::build::rfc3339_of;
use super::form;

/// A cluster's status page over a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderReport {
    /// The page.
    pub url: String,
    /// Readings.
    pub readings: u64,
    /// Tries to read it that failed.
    pub failures: u64,
    /// Whether the last try did not.
    pub readable: bool,
    /// Why one failed, the last that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The page as a whole, when it was last read.
    pub page: ComponentStatus,
    /// The components that are watched.
    pub components: Vec<ComponentReport>,
    /// Components that the scenario names and the page does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Those that it has instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offered: Vec<String>,
    /// How many components of the page found no room among those that are watched.
    pub unwatched: u64,
    /// Incidents and maintenances that concern what is watched, in the order of their beginning.
    pub spans: Vec<SpanReport>,
}

/// A component that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentReport {
    /// Its id on the page.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it was when it was last read.
    pub status: ComponentStatus,
    /// How it was at worst from the beginning of publishing to the end.
    pub worst: ComponentStatus,
}

/// An incident or a maintenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanReport {
    /// Which of the two.
    pub kind: SpanKind,
    /// Its id on the page.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// How bad it is, in the page's words.
    pub impact: String,
    /// How far it had come when it was last listed, in the page's words.
    pub state: String,
    /// The components that it names; none: it may concern all of them.
    pub components: Vec<String>,
    /// When it began, or is to begin: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub from: String,
    /// When it ended, or is planned to; null while that is not known.
    #[schemars(with = "Option<form::Instant>")]
    pub until: Option<String>,
    /// `from` in seconds since publishing began; before it, less than nothing.
    pub from_second: f64,
    /// `until` in the same.
    pub until_second: Option<f64>,
    /// Whether it is held against the cluster: it is an incident with an impact or a maintenance
    /// that had begun, and fell into the time from the beginning of publishing to the end.
    pub counts: bool,
    /// Where the provider tells more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Every cluster's that has a page.
pub(super) fn of(account: &Account) -> BTreeMap<ClusterRole, ProviderReport> {
    let begun = account.publishing().map(|(begun, _)| begun).unwrap_or_default();
    let begun = account.begin().unix_millis(begun);
    let pages = account.clusters().filter_map(|(role, cluster, _)| {
        Some((role, ProviderReport::new(cluster.status_page.as_ref()?, begun)))
    });
    pages.collect()
}

fn rfc3339(millis: i64) -> String {
    rfc3339_of(i128::from(millis) * 1_000_000)
}

/// The other way round; what is no time is the beginning of all of them.
fn millis(rfc3339: &str) -> i64 {
    let time = OffsetDateTime::parse(rfc3339, &Rfc3339);
    let millis = time.map(|time| time.unix_timestamp_nanos().div_euclid(1_000_000));
    millis.ok().and_then(|millis| i64::try_from(millis).ok()).unwrap_or_default()
}

impl ProviderReport {
    fn new(page: &PageFigures, begun: i64) -> Self {
        let component = |watched: &Watched| {
            let Watched { id, name, status, worst } = watched.clone();
            ComponentReport { id, name, status, worst }
        };
        let mut spans: Vec<_> = page.spans.iter().collect();
        spans.sort_by_key(|(span, _)| (span.from, span.id.clone()));
        Self {
            url: page.url.clone(),
            readings: page.readings,
            failures: page.failures,
            readable: page.is_read,
            failure: page.failure.clone(),
            page: page.page,
            components: page.components.iter().map(component).collect(),
            missing: page.selection.missing.clone(),
            offered: page.selection.offered.clone(),
            unwatched: page.selection.beyond,
            spans: spans.iter().map(|(s, counts)| SpanReport::new(s, *counts, begun)).collect(),
        }
    }

    /// The figures that it was made of.
    pub(super) fn figures(&self) -> PageFigures {
        let watched = |component: &ComponentReport| {
            let ComponentReport { id, name, status, worst } = component.clone();
            Watched { id, name, status, worst }
        };
        PageFigures {
            url: self.url.clone(),
            readings: self.readings,
            failures: self.failures,
            is_read: self.readable,
            failure: self.failure.clone(),
            page: self.page,
            components: self.components.iter().map(watched).collect(),
            selection: Selection {
                missing: self.missing.clone(),
                offered: self.offered.clone(),
                beyond: self.unwatched,
            },
            spans: self.spans.iter().map(|span| (span.figure(), span.counts)).collect(),
        }
    }
}

impl SpanReport {
    fn new(span: &Span, counts: bool, begun: i64) -> Self {
        let since = |millis: i64| (i128::from(millis) - i128::from(begun)) as f64 / 1e3;
        Self {
            kind: span.kind,
            id: span.id.clone(),
            name: span.name.clone(),
            impact: span.impact.clone(),
            state: span.state.clone(),
            components: span.components.clone(),
            from: rfc3339(span.from),
            until: span.until.map(rfc3339),
            from_second: since(span.from),
            until_second: span.until.map(since),
            counts,
            link: span.link.clone(),
        }
    }

    fn figure(&self) -> Span {
        Span {
            kind: self.kind,
            id: self.id.clone(),
            name: self.name.clone(),
            impact: self.impact.clone(),
            state: self.state.clone(),
            components: self.components.clone(),
            from: millis(&self.from),
            until: self.until.as_deref().map(millis),
            link: self.link.clone(),
        }
    }

    /// It in one line.
    pub(super) fn line(&self, cluster: ClusterRole) -> String {
        let Self { kind, name, impact, state, from, .. } = self;
        let components = match self.components.join(", ") {
            none if none.is_empty() => String::new(),
            named => format!(" of {named}"),
        };
        let until = self.until.as_ref().map_or(String::new(), |until| format!(" to {until}"));
        let kind = kind.as_str();
        format!(
            "{cluster} provider: {kind} \"{name}\" ({impact}, {state}){components}, {from}{until}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    /// 2026-02-03T04:05:06.789Z.
    const BEGUN: i64 = 1_770_091_506_789;

    fn page() -> PageFigures {
        let component = |id: &str, worst| {
            let (id, name) = (id.to_owned(), id.to_uppercase());
            Watched { id, name, status: ComponentStatus::Operational, worst }
        };
        let incident = |id: &str, from: i64, until: Option<i64>| Span {
            id: id.to_owned(),
            name: "Delayed messages".to_owned(),
            impact: "minor".to_owned(),
            state: "resolved".to_owned(),
            components: vec!["A".to_owned()],
            from: BEGUN + from,
            until: until.map(|until| BEGUN + until),
            link: Some("https://stspg.io/a".to_owned()),
            ..Span::default()
        };
        PageFigures {
            readings: 3,
            failures: 1,
            failure: Some("HTTP 503".to_owned()),
            components: vec![
                component("a", ComponentStatus::MajorOutage),
                component("b", ComponentStatus::Operational),
            ],
            selection: Selection {
                missing: vec!["C".to_owned()],
                offered: vec!["A".to_owned(), "B".to_owned()],
                beyond: 7,
            },
            spans: vec![
                (incident("i", -90_500, Some(1_250)), true),
                (incident("j", 5_000, None), false),
            ],
            ..PageFigures::of("https://status.example.com")
        }
    }

    #[test]
    fn figures_go_into_a_report_and_come_out_as_they_were() {
        let report = ProviderReport::new(&page(), BEGUN);
        let text = serde_json::to_string(&report).unwrap();
        let read: ProviderReport = serde_json::from_str(&text).unwrap();
        assert_eq!(read.figures(), page());
    }

    #[test]
    fn times_are_shown_as_they_are_and_in_seconds_since_publishing_began() {
        let report = ProviderReport::new(&page(), BEGUN);
        let times: Vec<_> = report
            .spans
            .iter()
            .map(|s| (&*s.from, s.from_second, s.until.as_deref(), s.until_second))
            .collect();
        let expected = [
            ("2026-02-03T04:03:36.289Z", -90.5, Some("2026-02-03T04:05:08.039Z"), Some(1.25)),
            ("2026-02-03T04:05:11.789Z", 5.0, None, None),
        ];
        assert_eq!(times, expected);
    }

    #[test]
    fn a_report_of_a_run_without_pages_has_none_and_is_read() {
        let text = testing::report().to_json();
        assert!(!text.contains("providers"));
        assert_eq!(crate::report::Report::from_json(&text).unwrap(), testing::report());
    }

    #[test]
    fn the_table_names_what_is_held_against_a_cluster_first() {
        let mut report = testing::report();
        let mut page = ProviderReport::new(&page(), BEGUN);
        page.spans.reverse();
        page.spans.extend(vec![page.spans[0].clone(); 5]);
        report.providers.insert(ClusterRole::New, page);
        let text = anstream::adapter::strip_str(&report.to_text()).to_string();
        let first = "new provider: incident \"Delayed messages\" (minor, resolved) of A,\n  \
                     2026-02-03T04:03:36.289Z to 2026-02-03T04:05:08.039Z\nnew provider: incident";
        assert!(text.contains(first), "{text}");
        assert_eq!(text.matches("new provider: incident").count(), 5);
        assert!(text.contains("\nand 2 more announcements; --report-json names them\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
