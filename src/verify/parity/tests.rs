use super::*;
use ClusterRole::{New, Old};

fn value(text: &str) -> Reading {
    Reading::Value(text.to_owned())
}

fn begin() -> ParityBegin {
    ParityBegin {
        rows: [Row::CacheMiss, Row::PresenceCut, Row::ClientEventsUserId].into(),
        accept: [(Row::ClientEventsUserId, "read from data".to_owned())].into(),
    }
}

fn likeness(row: Row, old: &Reading, new: &Reading) -> Likeness {
    let mut figures = ParityFigures::new(&begin());
    figures.note(Old, row, old);
    figures.note(New, row, new);
    figures.rows[&row].likeness
}

#[test]
fn a_row_is_the_same_or_differs_by_what_was_found() {
    let row = Row::CacheMiss;
    assert_eq!(likeness(row, &value("told"), &value("told")), Likeness::Same);
    assert_eq!(likeness(row, &value("told"), &value("not told")), Likeness::Differs);
    let refused = |why: &str| Reading::Unsupported(why.to_owned());
    assert_eq!(likeness(row, &refused("4301"), &refused("no such thing")), Likeness::Same);
    assert_eq!(likeness(row, &value("told"), &refused("4301")), Likeness::Differs);
    let skew = |old, new| likeness(row, &Reading::Skew(old), &Reading::Skew(new));
    assert_eq!(skew(82, 83), Likeness::Same);
    assert_eq!(skew(0, -4), Likeness::Differs);
}

#[test]
fn what_is_not_there_is_the_same_only_where_another_row_says_that_it_is_not_there() {
    let moot = Reading::NotApplicable("client events are not delivered".to_owned());
    let row = Row::ClientEventsEcho;
    let judged = |told: [&str; 2], old: &Reading, new: &Reading| {
        let rows = [row, Row::ClientEvents].into();
        let mut figures = ParityFigures::new(&ParityBegin { rows, ..ParityBegin::default() });
        // In whatever order they come.
        figures.note(Old, row, old);
        figures.note(New, row, new);
        figures.note(Old, Row::ClientEvents, &value(told[0]));
        figures.note(New, Row::ClientEvents, &value(told[1]));
        figures.rows[&row].likeness
    };
    assert_eq!(judged(["private", "nothing"], &value("no"), &moot), Likeness::Same);
    assert_eq!(judged(["private", "private"], &value("no"), &moot), Likeness::NotTested);
    assert_eq!(judged(["nothing", "nothing"], &moot, &moot), Likeness::Same);
    assert_eq!(judged(["private", "nothing"], &value("no"), &value("yes")), Likeness::Differs);
}

#[test]
fn a_reading_has_a_bounded_text() {
    let mut figures = ParityFigures::new(&begin());
    figures.note(Old, Row::CacheMiss, &value(&"ü".repeat(100_000)));
    let kept = &figures.rows[&Row::CacheMiss].readings[&Old];
    let Reading::Value(kept) = kept else { panic!("{kept:?}") };
    assert!(kept.starts_with(&"ü".repeat(READING_CHARS_MAX)) && kept.chars().count() < 330);
    // What is cut off makes two of them differ all the same.
    let other = "ü".repeat(99_999) + "u";
    figures.note(New, Row::CacheMiss, &value(&other));
    assert_eq!(figures.rows[&Row::CacheMiss].likeness, Likeness::Differs);
}

#[test]
fn a_difference_that_is_wanted_is_accepted_and_one_that_is_not_there_is_the_same() {
    let row = Row::ClientEventsUserId;
    assert_eq!(likeness(row, &value("yes"), &value("no")), Likeness::Accepted);
    assert_eq!(likeness(row, &value("yes"), &value("yes")), Likeness::Same);
}

#[test]
fn what_one_cluster_was_not_asked_is_not_tested_and_is_never_accepted() {
    let row = Row::ClientEventsUserId;
    let nothing = Reading::NotTested("cluster unreachable".to_owned());
    assert_eq!(likeness(row, &value("yes"), &nothing), Likeness::NotTested);
    let mut figures = ParityFigures::new(&begin());
    assert_eq!(figures.count(Likeness::NotTested), 3);
    figures.note(Old, row, &value("yes"));
    assert_eq!(figures.rows[&row].likeness, Likeness::NotTested);
    // A row that nobody asked for is not looked at.
    figures.note(Old, Row::CacheReplay, &value("x"));
    assert_eq!(figures.rows.len(), 3);
}

#[test]
fn times_are_alike_within_a_factor_of_two_and_five_seconds() {
    let of = |old, new| likeness(Row::PresenceCut, &Reading::Millis(old), &Reading::Millis(new));
    assert_eq!(of(3, 4_900), Likeness::Same);
    assert_eq!(of(3, 5_100), Likeness::Differs);
    assert_eq!(of(150_000, 75_000), Likeness::Same);
    assert_eq!(of(10_000, 26_000), Likeness::Differs);
    let longer =
        |took| likeness(Row::PresenceCut, &Reading::Millis(took), &Reading::Longer(10_000));
    assert_eq!(longer(3), Likeness::Differs);
    assert_eq!(longer(2_500), Likeness::NotTested, "the other may take just as long");
    let both = likeness(Row::PresenceCut, &Reading::Longer(10_000), &Reading::Longer(10_000));
    assert_eq!(both, Likeness::NotTested);
}

#[test]
fn of_several_runs_the_worse_row_stays() {
    let mut sound = ParityFigures::new(&begin());
    sound.note(Old, Row::CacheMiss, &value("told"));
    sound.note(New, Row::CacheMiss, &value("told"));
    let mut worse = sound.clone();
    worse.note(New, Row::CacheMiss, &value("not told"));
    let mut one = sound.clone();
    one.merge(&worse);
    assert_eq!(one.rows[&Row::CacheMiss].likeness, Likeness::Differs);
    one.merge(&sound);
    assert_eq!(one.rows[&Row::CacheMiss].likeness, Likeness::Differs);
}

#[test]
fn every_row_is_found_by_one_probe() {
    let found: Vec<_> = Probe::ALL.iter().flat_map(|probe| probe.rows()).copied().collect();
    assert_eq!(found, Row::ALL);
    for row in Row::ALL {
        let name = serde_json::to_value(row).unwrap();
        assert_eq!(name, row.as_str());
    }
    for probe in Probe::ALL {
        assert_eq!(serde_json::to_value(probe).unwrap(), probe.as_str());
    }
}

#[test]
fn readings_are_shown_as_people_write_them() {
    assert_eq!(Reading::Millis(42).shown(), "42 ms");
    assert_eq!(Reading::Millis(120_400).shown(), "120 s");
    assert_eq!(
        [0, 82, -3].map(|s| Reading::Skew(s).shown()),
        ["right", "82 s ahead", "3 s behind"]
    );
    assert_eq!(Reading::Unsupported("4301".to_owned()).shown(), "unsupported (4301)");
    assert_eq!(Reading::NotTested("silent".to_owned()).shown(), "not tested (silent)");
}
