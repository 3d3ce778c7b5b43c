//! More tables: what was tried and proven, in which order and where it came, and what was left.

use super::findings::{row, table};
use super::*;

#[test]
fn strata() {
    let two = |events: [u64; 2]| {
        move |r: &mut Run| {
            let streams = [("private-a", Route::Trigger), ("presence-a", Route::Batch)];
            *r = Run::on(&ClusterRole::ALL, &streams, 1);
            r.live(0, events[0], 0, New);
            r.live(1, events[1], 0, New);
        }
    };
    table(
        "strata",
        Some(New),
        (Some(2.0), "count"),
        vec![
            row(
                two([0, 0]),
                (Inconclusive, Some(0.0), 0),
                "0 of 2 tried; no trial of private/trigger, presence/batch",
            ),
            row(
                two([9, 0]),
                (Inconclusive, Some(1.0), 9),
                "1 of 2 tried; no trial of presence/batch",
            ),
            row(two([9, 1]), (Pass, Some(2.0), 10), "2 of 2 tried"),
        ],
    );
    let mut none = Run::on(&ClusterRole::ALL, &[], 1);
    assert_eq!(none.finding("strata", Some(New)).status, Inconclusive);
}

#[test]
fn a_stratum_of_a_preflight_of_which_nothing_arrived_fails() {
    let streams = [("private-a", Route::Trigger), ("presence-a", Route::Batch)];
    for (lost, status, detail) in
        [(0, Pass, "2 of 2 tried"), (1, Fail, "2 of 2 tried; nothing arrived of presence/batch")]
    {
        let mut run = Run::on(&ClusterRole::ALL, &streams, 1);
        run.live(0, 1, 0, New);
        run.live(1, 1, lost, New);
        let found = run.finding_by("strata", Some(New), &asked(Phase::Preflight));
        assert_eq!((found.status, &*found.detail), (status, detail));
        assert!(found.required);
    }
}

#[test]
fn controls() {
    let came_out = |status: Vec<(Control, ControlStatus)>| {
        move |r: &mut Run| {
            r.prove();
            for (control, status) in status {
                r.story.apply(Fact::Control(New, control, status));
            }
        }
    };
    let failed = ControlStatus::Fail;
    table(
        "controls",
        Some(New),
        (Some(7.0), "count"),
        vec![
            row(
                |_| {},
                (Inconclusive, Some(0.0), 0),
                "0 of 7 fired; did not fire: sees-loss, sees-lateness, sees-duplicate, \
                 sees-reordering, sees-corruption, sees-refusal, hears-nothing",
            ),
            row(came_out(vec![]), (Pass, Some(7.0), 7), "7 of 7 fired"),
            // Nobody is accused of what is wrong with the agent's own eyes.
            row(
                came_out(vec![(Control::SeesLoss, ControlStatus::Fail)]),
                (Inconclusive, Some(6.0), 7),
                "6 of 7 fired; came out wrong: sees-loss",
            ),
            row(
                came_out(vec![
                    (Control::SeesRefusal, failed),
                    (Control::SeesRefusal, ControlStatus::Pass),
                ]),
                (Inconclusive, Some(6.0), 7),
                "6 of 7 fired; came out wrong: sees-refusal; the cluster accepts a subscription \
                 signed with a wrong secret",
            ),
        ],
    );
}

#[test]
fn left_behind() {
    let left = |left: Option<u64>| move |r: &mut Run| r.story.apply(Fact::LeftBehind(New, left));
    table(
        "left-behind",
        Some(New),
        (Some(0.0), "count"),
        vec![
            row(|_| {}, (Inconclusive, None, 0), "the API did not say which channels are left"),
            row(left(None), (Inconclusive, None, 0), "the API did not say which channels are left"),
            row(left(Some(0)), (Pass, Some(0.0), 0), "none"),
            row(
                left(Some(1)),
                (Fail, Some(1.0), 0),
                "1 of the run's channels are still occupied 1m 30s after it",
            ),
        ],
    );
}

#[test]
fn order() {
    let seen = |second: u64, reordered: u64| {
        move |r: &mut Run| {
            r.delivered(New, 50);
            r.beside(New, second, Beside { reordered, unordered: 40, ..default() });
            r.taint(7..8);
        }
    };
    table(
        "order",
        Some(New),
        (Some(1.0), "count"),
        vec![
            row(
                |_| {},
                (Inconclusive, Some(0.0), 0),
                "0 out of order among 0 deliveries, 1 allowed",
            ),
            row(seen(1, 0), (Pass, Some(0.0), 50), "0 out of order among 50 deliveries, 1 allowed"),
            row(seen(1, 1), (Pass, Some(1.0), 50), "1 out of order among 50 deliveries, 1 allowed"),
            row(seen(1, 2), (Fail, Some(2.0), 50), "2 out of order among 50 deliveries, 1 allowed"),
            row(seen(7, 9), (Pass, Some(0.0), 50), "0 out of order among 50 deliveries, 1 allowed"),
        ],
    );
}

#[test]
fn misrouting() {
    let seen = |second: u64, misrouted: u64| {
        move |r: &mut Run| {
            r.delivered(New, 50);
            r.beside(New, second, Beside { misrouted, corrupt: 3, ..default() });
            r.taint(7..8);
        }
    };
    let detail = |n: u64, of: u64| match (n, of) {
        (0, 0) => "0 on a wrong channel or cluster among 0 deliveries, 0 allowed",
        (0, _) => "0 on a wrong channel or cluster among 50 deliveries, 0 allowed",
        _ => "1 on a wrong channel or cluster among 50 deliveries, 0 allowed",
    };
    table(
        "misrouting",
        Some(New),
        (Some(0.0), "count"),
        vec![
            row(|_| {}, (Inconclusive, Some(0.0), 0), detail(0, 0)),
            row(seen(1, 0), (Pass, Some(0.0), 50), detail(0, 50)),
            row(seen(1, 1), (Fail, Some(1.0), 50), detail(1, 50)),
            row(seen(7, 9), (Pass, Some(0.0), 50), detail(0, 50)),
        ],
    );
}

#[test]
fn publish_time() {
    let seen = |count: u64, slow: u64, millis: u64| {
        move |r: &mut Run| {
            r.answers(New, slow, Duration::from_millis(millis));
            r.answers(New, count - slow, Duration::from_millis(20));
        }
    };
    table(
        "publish-time",
        Some(New),
        (Some(300.0), "ms"),
        vec![
            row(|_| {}, (Inconclusive, None, 0), "no publication was answered"),
            row(
                seen(3, 1, 299),
                (Pass, Some(298.751), 3),
                "slowest 298.8 ms of 3 answers (300 ms allowed)",
            ),
            row(
                seen(3, 1, 302),
                (Fail, Some(301.823), 3),
                "slowest 301.8 ms of 3 answers (300 ms allowed)",
            ),
            row(
                seen(299, 2, 9_000),
                (Pass, Some(20.015), 299),
                "p99 20.0 ms of 299 answers (300 ms allowed)",
            ),
            row(
                seen(299, 3, 9_000),
                (Fail, Some(9_003.007), 299),
                "p99 9003.0 ms of 299 answers (300 ms allowed)",
            ),
        ],
    );
}
