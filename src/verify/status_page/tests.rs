//! What changed from one reading to the next, and what several runs add up to.

use super::*;

fn component(id: &str, status: ComponentStatus) -> Component {
    Component { id: id.to_owned(), name: id.to_uppercase(), status }
}

fn incident(id: &str) -> Span {
    let (id, impact) = (id.to_owned(), "major".to_owned());
    Span { id, impact, state: "identified".to_owned(), from: 1_000, ..Span::default() }
}

fn reading(at: i64, components: &[Component], spans: &[Span]) -> Reading {
    let (components, spans) = (components.to_vec(), spans.to_vec());
    Reading { at, page: ComponentStatus::Operational, components, spans, ..Reading::default() }
}

fn read(changes: &mut Changes, at: u64, reading: Reading) -> PageSecond {
    let mut second = PageSecond::default();
    let fact = PageFact::Read(Box::new(reading));
    changes.note(&mut second, RunTime::from_millis(at), fact);
    second
}

#[test]
fn only_what_changed_is_recorded() {
    let mut changes = Changes::default();
    let well = [component("a", ComponentStatus::Operational)];
    let first = read(&mut changes, 1, reading(5_000, &well, &[incident("i")]));
    assert_eq!((first.readings, first.components.len(), first.spans.len()), (1, 1, 1));
    assert_eq!(first.selection, Some(Selection::default()));

    let again = read(&mut changes, 2, reading(6_000, &well, &[incident("i")]));
    assert_eq!(again, PageSecond { readings: 1, ..PageSecond::default() });

    let ill = [component("a", ComponentStatus::MajorOutage)];
    let third = read(&mut changes, 3, reading(7_000, &ill, &[]));
    let ended = Span { until: Some(7_000), ..incident("i") };
    let expected = PageSecond {
        readings: 1,
        components: vec![(RunTime::from_millis(3), ill[0].clone())],
        spans: vec![ended],
        ..PageSecond::default()
    };
    assert_eq!(third, expected);
    // It stays so; and the true end, which is told later, replaces the one that was seen.
    assert_eq!(read(&mut changes, 4, reading(8_000, &ill, &[])).spans, []);
    let told = Span { until: Some(6_500), state: "resolved".to_owned(), ..incident("i") };
    let last = read(&mut changes, 5, reading(9_000, &ill, std::slice::from_ref(&told)));
    assert_eq!(last.spans, [told]);
}

#[test]
fn a_failure_is_said_once_and_counted_each_time() {
    let mut changes = Changes::default();
    let mut fail = |why: &str| {
        let mut second = PageSecond::default();
        changes.note(&mut second, RunTime::ZERO, PageFact::Failed(why.to_owned()));
        (second.failures, second.failed, second.failure)
    };
    assert_eq!(fail("no"), (1, true, Some("no".to_owned())));
    assert_eq!(fail("no"), (1, true, None));
    assert_eq!(fail("404"), (1, true, Some("404".to_owned())));
}

#[test]
fn there_is_a_bound_on_what_is_kept_and_what_counts_is_not_crowded_out() {
    let mut changes = Changes::default();
    let none = |n: usize| Span { impact: "none".to_owned(), ..incident(&format!("n{n}")) };
    let many: Vec<_> = (0..3 * SPANS_MAX).map(none).collect();
    let components: Vec<_> = (0..3 * COMPONENTS_MAX)
        .map(|n| component(&format!("c{n}"), ComponentStatus::Operational))
        .collect();
    let first = read(&mut changes, 1, reading(5_000, &components, &many));
    assert_eq!((first.components.len(), first.spans.len()), (COMPONENTS_MAX, SPANS_MAX));
    let second = read(&mut changes, 2, reading(6_000, &components, &[incident("i")]));
    assert_eq!(second.spans, [incident("i")]);
}

fn figures(worst: ComponentStatus, spans: Vec<(Span, bool)>) -> PageFigures {
    let (id, name) = ("a".to_owned(), "A".to_owned());
    let status = ComponentStatus::Operational;
    PageFigures {
        readings: 2,
        is_read: true,
        page: status,
        components: vec![Watched { id, name, status, worst }],
        spans,
        ..PageFigures::of("https://status.example.com")
    }
}

#[test]
fn runs_add_up_and_what_counted_in_one_of_them_counts() {
    let over = Span { until: Some(2_000), ..incident("i") };
    let mut sum = figures(ComponentStatus::PartialOutage, vec![(incident("i"), true)]);
    let mut later = figures(ComponentStatus::Operational, vec![(over.clone(), false)]);
    later.spans.push((incident("j"), true));
    later.selection.missing.push("B".to_owned());
    later.failures = 1;
    sum.merge(&later);
    assert_eq!((sum.readings, sum.failures, sum.is_read), (4, 1, true));
    assert_eq!(sum.components.len(), 1);
    assert_eq!(sum.components[0].worst, ComponentStatus::PartialOutage);
    assert_eq!(sum.spans, [(over, true), (incident("j"), true)]);
    assert_eq!(sum.selection.missing, ["B"]);
    // One that ended unread leaves the sum so, whichever comes first.
    let unread = PageFigures { is_read: false, failures: 1, ..PageFigures::of("") };
    let mut first = unread.clone();
    first.merge(&figures(ComponentStatus::Operational, vec![]));
    sum.merge(&unread);
    assert!(!first.is_read && !sum.is_read);
}
