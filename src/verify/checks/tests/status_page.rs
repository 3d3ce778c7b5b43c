//! What a provider's status page says: histories that pass, fail and stay open. Publishing begins
//! at second 10, and the run ends at second 130.

use super::*;
use crate::verify::account::Account;
use crate::verify::gather::Gatherer;
use crate::verify::record::Begin;
use crate::verify::status_page::{
    Component, ComponentStatus, PageFact, Reading, Selection, Span, SpanKind,
};
use crate::verify::testing::begin;

const URL: &str = "https://status.example.com";
const BEGUN: u64 = 10;
const END: u64 = 130;

/// The time of day, so many seconds after the clock's origin.
fn wall(second: i64) -> i64 {
    (1_753_600_000 + second) * 1_000
}

fn component(id: &str, status: ComponentStatus) -> Component {
    Component { id: id.to_owned(), name: format!("{id} API"), status }
}

fn reading(status: ComponentStatus, spans: &[Span]) -> Reading {
    let components = vec![component("REST", status), component("Socket", Operational)];
    Reading { at: 0, page: Operational, components, spans: spans.to_vec(), ..default() }
}

fn incident(from: i64, until: Option<i64>) -> Span {
    Span {
        kind: SpanKind::Incident,
        id: "i1".to_owned(),
        name: "Delayed messages".to_owned(),
        impact: "minor".to_owned(),
        state: "investigating".to_owned(),
        components: vec!["REST API".to_owned()],
        from: wall(from),
        until: until.map(wall),
        link: None,
    }
}

fn maintenance(state: &str, from: i64, until: Option<i64>) -> Span {
    let (kind, state) = (SpanKind::Maintenance, state.to_owned());
    let (name, impact) = ("Upgrade".to_owned(), "maintenance".to_owned());
    Span { kind, state, name, impact, components: vec![], ..incident(from, until) }
}

/// What became of a reading in a second of the run.
type Read = (u64, Result<Reading, &'static str>);

fn account(history: Vec<Read>) -> Account {
    let status_pages = BTreeMap::from([(New, URL.to_owned())]);
    let mut account = Account::new(Begin { status_pages, ..begin(&ClusterRole::ALL, &[]) });
    let mut gatherer = Gatherer::new(&ClusterRole::ALL, Vec::new(), 1);
    let mut history = history.into_iter().peekable();
    for second in 0..=END {
        let at = RunTime::from_millis(second * 1_000);
        if second == BEGUN {
            gatherer.handle(Fact::Begun(at));
        }
        while let Some((_, read)) = history.next_if(|(when, _)| *when == second) {
            let fact = match read {
                Err(why) => PageFact::Failed(why.to_owned()),
                Ok(reading) => {
                    let at = wall(i64::try_from(second).unwrap());
                    PageFact::Read(Box::new(Reading { at, ..reading }))
                }
            };
            gatherer.handle(Fact::StatusPage(New, at, fact));
        }
        account.apply(&gatherer.close(at, second == END));
    }
    assert!(history.next().is_none(), "a reading that is out of order");
    account
}

#[track_caller]
fn ends(history: Vec<Read>, status: Status, detail: &str) {
    let account = account(history);
    let found = judge(account.figures(), &asked(Phase::DualPublish));
    let found: Vec<_> = found.into_iter().filter(|f| f.name == "status-page").collect();
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(finding.cluster, Some(New));
    assert_eq!((finding.status, &*finding.detail), (status, &*format!("{URL}: {detail}")));
    assert_eq!(finding.required, status != Inconclusive, "an open one is not required");
}

use ComponentStatus::{MajorOutage, Operational, PartialOutage, UnderMaintenance, Unknown};

const WELL: &str = "no incident, and 2 components operational; 2 readings";

/// Read at the start and at the end.
fn twice(spans: &[Span]) -> Vec<Read> {
    vec![(1, Ok(reading(Operational, spans))), (128, Ok(reading(Operational, spans)))]
}

#[test]
fn a_page_that_says_that_all_is_well_passes() {
    ends(twice(&[]), Pass, WELL);
    // Tries that failed in between leave no gap: what is announced later counts as well.
    let mut history = twice(&[]);
    history.insert(1, (60, Err("no answer within 5s")));
    let detail = "no incident, and 2 components operational; 2 readings, 1 failed";
    ends(history, Pass, detail);
}

#[test]
fn an_incident_counts_if_it_was_under_way_while_the_run_went_on() {
    let minor = "incident \"Delayed messages\" (minor) of REST API; 2 readings";
    for (from, until, status) in [
        (-3_600, None, Fail),
        (-3_600, Some(11), Fail),
        (20, Some(30), Fail),
        (129, None, Fail),
        // Over before publishing began, or as it began; from the very end on, or later.
        (-3_600, Some(5), Pass),
        (-3_600, Some(10), Pass),
        (130, None, Pass),
        (500, None, Pass),
    ] {
        let history = twice(&[incident(from, until)]);
        ends(history, status, if status == Fail { minor } else { WELL });
    }
    let none = Span { impact: "none".to_owned(), ..incident(20, None) };
    ends(twice(&[none]), Pass, WELL);
    let of_all = Span { components: vec![], ..incident(20, None) };
    let detail = "incident \"Delayed messages\" (minor) naming no component; 2 readings";
    ends(twice(&[of_all]), Fail, detail);
}

#[test]
fn an_incident_that_is_posted_late_and_back_dated_counts() {
    let mut history = twice(&[]);
    history.pop();
    let late = Span { state: "resolved".to_owned(), ..incident(40, Some(50)) };
    history.push((128, Ok(reading(Operational, &[late]))));
    ends(history, Fail, "incident \"Delayed messages\" (minor) of REST API; 2 readings");
}

#[test]
fn an_incident_that_is_listed_no_longer_has_ended() {
    let open = incident(-3_600, None);
    let mut history = vec![(1, Ok(reading(Operational, &[open])))];
    history.extend([(6, Ok(reading(Operational, &[]))), (128, Ok(reading(Operational, &[])))]);
    ends(history, Pass, "no incident, and 2 components operational; 3 readings");
}

#[test]
fn a_maintenance_counts_once_it_has_begun() {
    let detail = "maintenance \"Upgrade\" (maintenance) naming no component; 2 readings";
    for (state, from, until, status) in [
        ("scheduled", 20, Some(80), Pass),
        ("in_progress", 20, None, Fail),
        ("verifying", -600, None, Fail),
        ("completed", -600, Some(60), Fail),
        ("completed", -600, Some(9), Pass),
    ] {
        let history = twice(&[maintenance(state, from, until)]);
        ends(history, status, if status == Fail { detail } else { WELL });
    }
}

#[test]
fn a_component_counts_by_how_it_was_from_the_beginning_of_publishing_on() {
    let was = |history: &[(u64, ComponentStatus)]| {
        let read = |(at, status): &(u64, ComponentStatus)| (*at, Ok(reading(*status, &[])));
        history.iter().map(read).collect::<Vec<_>>()
    };
    let well = "no incident, and 2 components operational; 3 readings";
    // What it was before publishing began is forgiven; what it still was then is not.
    ends(was(&[(1, MajorOutage), (5, Operational), (128, Operational)]), Pass, well);
    for history in [
        [(1, PartialOutage), (60, Operational), (128, Operational)],
        [(1, Operational), (60, PartialOutage), (128, Operational)],
        [(1, Operational), (60, Operational), (128, PartialOutage)],
        [(1, UnderMaintenance), (60, PartialOutage), (128, Operational)],
    ] {
        ends(was(&history), Fail, "REST API was partial outage; 3 readings");
    }
    let unknown = was(&[(1, Operational), (60, Unknown), (128, Operational)]);
    let detail = "the status of REST API is a word that is not known; 3 readings";
    ends(unknown, Inconclusive, detail);
}

#[test]
fn a_page_that_cannot_be_read_says_nothing_unless_it_has_said_something_bad() {
    ends(vec![], Inconclusive, "it could not be read; 0 readings");
    let failed = vec![(1, Err("no")), (60, Err("no answer within 5s"))];
    let detail = "it could not be read (no answer within 5s); 0 readings, 2 failed";
    ends(failed, Inconclusive, detail);
    let mut history = twice(&[]);
    history.push((129, Err("HTTP 503")));
    let detail = "it could not be read at last (HTTP 503); 2 readings, 1 failed";
    ends(history, Inconclusive, detail);
    let mut history = twice(&[incident(20, None)]);
    history.push((129, Err("HTTP 503")));
    let detail = "incident \"Delayed messages\" (minor) of REST API; 2 readings, 1 failed";
    ends(history, Fail, detail);
}

#[test]
fn a_component_that_the_page_does_not_have_leaves_it_open() {
    let selection = Selection {
        missing: vec!["Sockets".to_owned()],
        offered: ["REST API", "Socket API"].map(str::to_owned).to_vec(),
        beyond: 0,
    };
    let renamed = Reading { selection, ..reading(Operational, &[]) };
    let history = vec![(1, Ok(reading(Operational, &[]))), (128, Ok(renamed))];
    let detail = "it has no component \"Sockets\"; it has REST API, Socket API; 2 readings";
    ends(history, Inconclusive, detail);
}

#[test]
fn many_grievances_are_counted_and_a_page_without_room_says_so() {
    let of = |id: &str| Span { id: id.to_owned(), ..incident(20, None) };
    let history = twice(&[of("1"), of("2"), of("3"), of("4"), of("5")]);
    let account = account(history);
    let found = judge(account.figures(), &asked(Phase::DualPublish));
    let finding = found.iter().find(|f| f.name == "status-page").unwrap();
    assert_eq!((finding.observed, finding.evidence), (Some(5.0), 2));
    assert!(finding.detail.ends_with("; and 2 more; 2 readings"), "{}", finding.detail);
    let selection = Selection { beyond: 7, ..default() };
    let full = Reading { selection, ..reading(Operational, &[]) };
    let detail =
        "no incident, and 2 components operational of 9; name those that matter; 1 reading";
    ends(vec![(128, Ok(full))], Pass, detail);
}

#[test]
fn a_cluster_without_a_page_has_no_such_check() {
    let account = account(twice(&[]));
    let found = judge(account.figures(), &asked(Phase::DualPublish));
    assert!(!found.iter().any(|f| f.name == "status-page" && f.cluster == Some(Old)));
}

#[test]
fn what_a_page_says_is_required_as_the_phase_has_it_and_silence_never() {
    for (phase, role, status, is) in [
        (Phase::DualPublish, Old, Fail, true),
        (Phase::DualPublish, New, Pass, true),
        (Phase::Steady, New, Fail, true),
        (Phase::Cutover, New, Fail, true),
        (Phase::Cutover, Old, Fail, false),
        (Phase::Preflight, New, Fail, true),
        (Phase::Preflight, New, Pass, false),
        (Phase::DualPublish, New, Inconclusive, false),
        (Phase::Cutover, New, Inconclusive, false),
        (Phase::Steady, New, Inconclusive, false),
    ] {
        let seen = Seen { status, ..Seen::default() };
        assert_eq!(asked(phase).requires("status-page", Some(role), &seen), is, "{phase:?}");
    }
}
