//! Literal counts, and a real report with figures changed.

use super::*;

const GO: &str = include_str!("../../../tests/fixtures/reports/go.json");
/// 2026-11-22.
const TODAY: Day = Day(20_779);

fn counts(good: u64, bad: u64) -> Counts {
    Counts { good, bad }
}

fn go() -> Report {
    Report::from_json(GO).unwrap()
}

/// What the old cluster of the report counts after a change.
fn counted(component: Component, change: impl FnOnce(&mut ClusterReport)) -> Counts {
    let mut report = go();
    let old = report.clusters.get_mut(&ClusterRole::Old).unwrap();
    change(old);
    old.counts(component).unwrap()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn shares_are_rounded_down_and_are_100_only_where_nothing_failed() {
    for (good, bad, shown) in [
        (100, 0, "100 %"),
        (24_999, 1, "99.996 %"),
        (999_999, 1, "99.999 %"),
        (u64::MAX / 2, 1, "99.999 %"),
        (2, 98, "2.000 %"),
        (1, 999_999, "0.000 %"),
        (0, 100, "0.000 %"),
        (66_666, 33_334, "66.666 %"),
    ] {
        assert_eq!(counts(good, bad).percent(), shown, "{good} and {bad}");
    }
}

#[test]
fn below_100_samples_a_share_is_unknown_whatever_it_is() {
    for counts in [counts(0, 0), counts(99, 0), counts(0, 99), counts(50, 49)] {
        assert_eq!((counts.level(), counts.percent()), (Level::Unknown, "unknown".to_owned()));
    }
    assert_eq!(counts(0, 100).level(), Level::Low);
    assert_eq!(counts(100, 0).level(), Level::Full);
}

#[test]
fn levels_begin_exactly_where_they_say() {
    for (good, bad, level) in [
        (1_000_000, 0, Level::Full),
        (999_999, 1, Level::High),
        (9_990, 10, Level::High),
        (9_989, 11, Level::Fair),
        (9_900, 100, Level::Fair),
        (9_899, 101, Level::Low),
    ] {
        assert_eq!(counts(good, bad).level(), level, "{good} and {bad}");
    }
}

#[test]
fn days_are_those_of_the_calendar_in_utc() {
    for (text, day, shown) in [
        ("1970-01-01T00:00:00.000Z", 0, "1970-01-01"),
        ("2024-02-29T23:59:59.999Z", 19_782, "2024-02-29"),
        ("2026-11-22T22:34:52.017Z", 20_779, "2026-11-22"),
        ("2026-11-23T00:00:00.000Z", 20_780, "2026-11-23"),
    ] {
        let found = Day::of(instant(text).unwrap());
        assert_eq!((found, found.to_string().as_str()), (Day(day), shown));
    }
}

#[test]
fn a_run_without_an_event_began_when_it_ended() {
    let mut report = go();
    assert_eq!(Some(report.started()), instant(&report.started_at));
    report.started_at.clear();
    assert_eq!(Some(report.started()), instant(&report.ended_at));
}

#[test]
fn a_good_run_has_counts_of_everything_but_webhooks() {
    let report = go();
    let old = &report.clusters[&ClusterRole::Old];
    let found: Vec<_> = Component::ALL.into_iter().map(|c| old.counts(c)).collect();
    let all = [counts(3_197, 0), counts(6_394, 0), counts(5, 0), counts(20, 0)];
    assert_eq!(found[..4], all.map(Some));
    assert_eq!(found[4], None);
}

#[test]
fn deliveries_may_be_late_and_what_is_void_or_pending_is_no_sample() {
    let found = counted(Component::Deliver, |c| {
        let all = &mut c.obligations.counted;
        (all.delivered, all.late, all.lost, all.missed_offline, all.void) = (900, 50, 7, 3, 30);
        c.obligations.pending = 10;
    });
    assert_eq!(found, counts(950, 10));
}

#[test]
fn what_the_canary_did_to_itself_is_no_failure_of_a_cluster() {
    let found = counted(Component::Deliver, |c| {
        let all = &mut c.obligations.counted;
        (all.delivered, all.lost, all.missed_offline) = (900, 7, 20);
        c.blind.missed_by_cause = [(BlindCause::Agent, 11), (BlindCause::Network, 9)].into();
        // In tainted seconds.
        c.excused.missed = 4;
        c.unattributed_losses = 2;
    });
    assert_eq!(found, counts(900, 5 + 5));
}

#[test]
fn recovered_publications_are_good_and_unsent_ones_are_not() {
    let found = counted(Component::Publish, |c| {
        let p = &mut c.publications;
        (p.accepted, p.rejected, p.unknown, p.recovered, p.void, p.unsent) = (900, 8, 9, 6, 3, 5);
    });
    assert_eq!(found, counts(906, 8 + 3 + 5));
}

#[test]
fn publications_of_tainted_seconds_accuse_nobody_and_acquit_nobody() {
    let found = counted(Component::Publish, |c| {
        let p = &mut c.publications;
        (p.accepted, p.rejected, p.unknown, p.recovered, p.void, p.unsent) = (900, 8, 9, 6, 3, 5);
        (c.excused.unaccepted, c.excused.unsent) = (10, 4);
    });
    // Six of the ten may be those that were recovered.
    assert_eq!(found, counts(906, 8 + 3 - 4 + 1));
}

#[test]
fn connections_and_authorisations_count_their_failures() {
    let found = counted(Component::Connect, |c| c.connections.failed = 3);
    assert_eq!(found, counts(5, 3));
    let found = counted(Component::Auth, |c| c.authorised.refused = 2);
    assert_eq!(found, counts(20, 2));
}

/// Ten days: one without a failure, one with few samples, one bad, the others without a run.
fn ten_days() -> Availability {
    let mut shown = Availability::new(None, TODAY, 10);
    for (before, counted) in [
        (0, counts(1_000, 0)),
        (2, counts(60, 39)),
        (3, counts(900, 100)),
        (9, counts(99_999, 1)),
        (10, counts(0, 1_000_000)),
    ] {
        shown.add(TODAY.before(before), ClusterRole::New, Component::Deliver, counted);
    }
    shown
}

#[test]
fn a_strip_has_a_character_for_each_day_and_unknown_looks_unlike_bad() {
    let text = plain(&ten_days().to_text());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "availability by day, 2026-11-13 to 2026-11-22 (UTC)");
    let at = lines.iter().position(|line| line.starts_with("new  deliver")).unwrap();
    // The eleventh day is not shown, nor counted.
    assert_eq!(lines[at], "new  deliver   99.862 %  102,099 samples, known on 3 of 10 days");
    assert_eq!(lines[at + 1], "▓·····!··█");
    assert!(lines.contains(&"new  webhooks  unknown   none were received"), "{text}");
    assert!(lines.contains(&"new  auth      unknown   nothing was counted"), "{text}");
    assert!(!text.contains("old"), "there was no old cluster");
}

#[test]
fn days_with_failures_are_named_the_newest_first() {
    let text = plain(&ten_days().to_text());
    let named: Vec<_> = text.lines().filter(|line| line.starts_with("2026")).collect();
    assert_eq!(
        named,
        [
            "2026-11-19 ! new  deliver   90.000 %  100 of 1,000 failed",
            "2026-11-13 ▓ new  deliver   99.999 %  1 of 100,000 failed",
        ]
    );
}

#[test]
fn a_time_without_runs_is_unknown() {
    let empty = Availability::new(Some("cutover"), TODAY, 90);
    let title = "availability of cutover by day, 2026-08-25 to 2026-11-22 (UTC)";
    assert_eq!(empty.to_text(), format!("{title}\n\nno run in this time: unknown\n"));
    assert!(empty.to_html().contains("No run in this time: unknown."));
}

#[test]
fn a_page_has_each_day_in_a_strip_and_those_with_samples_in_a_table() {
    let page = ten_days().to_html();
    let strips = Component::ALL.len();
    assert_eq!(page.matches("title=\"2026-11-22: ").count(), strips);
    assert_eq!(page.matches("<i class=").count(), strips * 10 + Level::ALL.len());
    assert!(page.contains("<i class=\"low\" title=\"2026-11-19: 90.000 %, 100 of 1,000 failed\">"));
    assert!(page.contains("<i class=\"unknown\" title=\"2026-11-18: unknown, no samples\">"));
    assert_eq!(page.matches("<th scope=\"row\">").count(), 4);
}

#[test]
fn a_page_loads_nothing_and_a_name_in_it_is_text() {
    let mut shown = Availability::new(Some("<b>\"a\" & 'b'</b>"), TODAY, 10);
    shown.add(TODAY, ClusterRole::Old, Component::Deliver, counts(100, 0));
    let page = shown.to_html();
    assert!(page.contains("of &lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt; by day"));
    for word in ["http://", "https://", "url(", "@import", "src=", "href=", "<script"] {
        assert!(!page.contains(word), "{word} is in the page");
    }
}
