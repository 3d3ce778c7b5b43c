//! One table for each check.

use super::*;

/// A row: what the run is like, and the finding it gives.
pub(super) struct Row {
    run: Box<dyn FnOnce(&mut Run)>,
    status: Status,
    observed: Option<f64>,
    evidence: u64,
    detail: &'static str,
}

pub(super) fn row(
    run: impl FnOnce(&mut Run) + 'static,
    (status, observed, evidence): (Status, Option<f64>, u64),
    detail: &'static str,
) -> Row {
    Row { run: Box::new(run), status, observed, evidence, detail }
}

/// Compares the whole finding of a check on new, in a dual-publish run, row by row.
pub(super) fn table(
    name: &'static str,
    cluster: Option<ClusterRole>,
    (limit, unit): (Option<f64>, &'static str),
    rows: Vec<Row>,
) {
    for Row { run: act, status, observed, evidence, detail } in rows {
        let mut run = Run::new();
        act(&mut run);
        let found = run.finding(name, cluster);
        let detail = detail.to_owned();
        let expected = Finding {
            name: name.into(),
            cluster,
            required: true,
            status,
            // Bounds are reckoned, not written: equal to nine digits.
            observed: observed.map(|o| match found.observed {
                Some(f) if (f - o).abs() < 1e-9 => f,
                _ => o,
            }),
            limit,
            target: found.target,
            unit: unit.into(),
            evidence,
            detail,
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn evidence() {
    table(
        "evidence",
        Some(New),
        (Some(29.0), "count"),
        vec![
            row(|_| {}, (Inconclusive, Some(0.0), 0), "0 trials of 29 needed"),
            row(
                |r| r.live(0, 28, 0, New),
                (Inconclusive, Some(28.0), 28),
                "28 trials of 29 needed",
            ),
            row(|r| r.live(0, 29, 0, New), (Pass, Some(29.0), 29), "29 trials of 29 needed"),
            row(|r| r.live(0, 30, 30, New), (Pass, Some(30.0), 30), "30 trials of 29 needed"),
            row(
                |r| {
                    r.live(0, 30, 0, New);
                    r.report(New, WitnessReport { pending: 3, ..default() });
                },
                (Inconclusive, Some(30.0), 30),
                "30 trials of 29 needed; 3 obligations never settled",
            ),
            row(
                |r| {
                    r.live(0, 30, 0, New);
                    let counts = Publications {
                        sent: 9,
                        accepted: 2,
                        unknown: 5,
                        void: 1,
                        recovered: 2,
                        ..default()
                    };
                    r.publications(New, counts, 0);
                },
                (Inconclusive, Some(30.0), 30),
                "30 trials of 29 needed; 4 publications never decided",
            ),
            row(
                |r| {
                    *r = Run::on(&ClusterRole::ALL, &[("private-a", Route::Trigger)], 0);
                    r.live(0, 30, 0, New);
                },
                (Inconclusive, Some(0.0), 0),
                "0 trials of 29 needed; 1 streams have no witness",
            ),
        ],
    );
}

#[test]
fn loss() {
    // scipy.stats.binomtest(k, n).proportion_ci, one-sided at 95 %.
    table(
        "loss",
        Some(New),
        (Some(0.1), "ratio"),
        vec![
            row(|_| {}, (Inconclusive, Some(1.0), 0), "no publication could be tried"),
            row(
                |r| r.live(0, 28, 0, New),
                (Inconclusive, Some(1.0 - 0.05_f64.powf(1.0 / 28.0)), 28),
                "0 of 28 publications lost; below 11 % at 95 % confidence, 10 % allowed",
            ),
            row(
                |r| r.live(0, 29, 0, New),
                (Pass, Some(1.0 - 0.05_f64.powf(1.0 / 29.0)), 29),
                "0 of 29 publications lost; below 9.9 % at 95 % confidence",
            ),
            // Old loses nothing of new's.
            row(
                |r| r.live(0, 29, 29, Old),
                (Pass, Some(1.0 - 0.05_f64.powf(1.0 / 29.0)), 29),
                "0 of 29 publications lost; below 9.9 % at 95 % confidence",
            ),
            // The lower bound of one failure in one trial is 0.05, of two in two 0.05^(1/2).
            row(
                |r| r.live(0, 1, 1, New),
                (Inconclusive, Some(1.0), 1),
                "1 of 1 publications lost; below 100 % at 95 % confidence, 10 % allowed",
            ),
            row(
                |r| r.live(0, 2, 2, New),
                (Fail, Some(1.0), 2),
                "2 of 2 publications lost; at least 22 % at 95 % confidence, 10 % allowed",
            ),
        ],
    );
}

#[test]
fn coverage() {
    table(
        "coverage",
        None,
        (Some(0.1), "ratio"),
        vec![
            row(|_| {}, (Inconclusive, Some(1.0), 0), "no event could be tried"),
            row(
                |r| r.live(0, 29, 0, New),
                (Pass, Some(1.0 - 0.05_f64.powf(1.0 / 29.0)), 29),
                "0 of 29 events uncovered; below 9.9 % at 95 % confidence",
            ),
            row(
                |r| r.live(0, 28, 0, New),
                (Inconclusive, Some(1.0 - 0.05_f64.powf(1.0 / 28.0)), 28),
                "0 of 28 events uncovered; below 11 % at 95 % confidence, 10 % allowed",
            ),
            row(
                |r| r.live(0, 2, 2, Old),
                (Fail, Some(1.0), 2),
                "2 of 2 events uncovered (lost 2); at least 22 % at 95 % confidence, 10 % allowed",
            ),
        ],
    );
}

#[test]
fn duplicates() {
    let seen = |second: u64, duplicates: u64| {
        move |r: &mut Run| {
            r.delivered(New, 50);
            r.beside(New, second, Beside { duplicates, ..default() });
            r.taint(7..8);
        }
    };
    table(
        "duplicates",
        Some(New),
        (Some(2.0), "count"),
        vec![
            row(
                |_| {},
                (Inconclusive, Some(0.0), 0),
                "0 further copies among 0 deliveries, 2 allowed",
            ),
            row(
                seen(1, 1),
                (Pass, Some(1.0), 50),
                "1 further copies among 50 deliveries, 2 allowed",
            ),
            row(
                seen(1, 2),
                (Pass, Some(2.0), 50),
                "2 further copies among 50 deliveries, 2 allowed",
            ),
            row(
                seen(1, 3),
                (Fail, Some(3.0), 50),
                "3 further copies among 50 deliveries, 2 allowed",
            ),
            // In a tainted second.
            row(
                seen(7, 99),
                (Pass, Some(0.0), 50),
                "0 further copies among 50 deliveries, 2 allowed",
            ),
        ],
    );
}

#[test]
fn integrity() {
    let seen = |second: u64, beside: Beside| {
        move |r: &mut Run| {
            r.delivered(New, 50);
            r.beside(New, second, beside);
            r.taint(7..8);
        }
    };
    let bad = Beside { corrupt: 1, unexpected: 3, ..default() };
    let harmless = Beside {
        duplicates: 9,
        replayed: 9,
        reordered: 9,
        unordered: 9,
        misrouted: 9,
        foreign: 9,
        after_horizon: 9,
        ..default()
    };
    let none = "0 corrupt, 0 unexpected; none allowed";
    table(
        "integrity",
        Some(New),
        (Some(0.0), "count"),
        vec![
            row(|_| {}, (Inconclusive, Some(0.0), 0), none),
            row(seen(1, harmless), (Pass, Some(0.0), 50), none),
            row(seen(7, bad), (Pass, Some(0.0), 50), none),
            row(seen(1, bad), (Fail, Some(4.0), 50), "1 corrupt, 3 unexpected; none allowed"),
            // Without a delivery, too: what came was wrong.
            row(
                move |r| r.beside(New, 1, Beside { corrupt: 1, ..default() }),
                (Fail, Some(1.0), 0),
                "1 corrupt, 0 unexpected; none allowed",
            ),
        ],
    );
}

#[test]
fn publish() {
    let seen = |accepted: u64, rejected: u64, unknown: u64| {
        move |r: &mut Run| {
            // What is not answered yet is neither accepted nor refused.
            let sent = accepted + rejected + unknown + 7;
            r.publications(New, Publications { sent, accepted, rejected, unknown, ..default() }, 0);
        }
    };
    let unsent = |taint: TaintReason| {
        move |r: &mut Run| {
            let counts = Publications { sent: 80, accepted: 80, unsent: 20, ..default() };
            let report = PublisherReport {
                publications: [(Route::Trigger, counts)].into(),
                unsent: [(3, 20)].into(),
                ..default()
            };
            r.story.apply(Fact::Publisher(New, Box::new(report)));
            r.story.apply(Fact::Taint(3, taint));
        }
    };
    let excused = |r: &mut Run| {
        let counts = Publications { sent: 100, accepted: 80, rejected: 20, ..default() };
        let report = PublisherReport {
            publications: [(Route::Trigger, counts)].into(),
            unaccepted: [(3, 15), (4, 5)].into(),
            ..default()
        };
        r.story.apply(Fact::Publisher(New, Box::new(report)));
        r.taint(3..4);
    };
    table(
        "publish",
        Some(New),
        (Some(0.9), "ratio"),
        vec![
            row(|_| {}, (Inconclusive, None, 0), "0 of 0 accepted; 0 rejected, 0 unknown"),
            row(
                seen(91, 4, 5),
                (Pass, Some(0.91), 100),
                "91 of 100 accepted (91 %); 4 rejected, 5 unknown",
            ),
            row(
                seen(90, 10, 0),
                (Pass, Some(0.9), 100),
                "90 of 100 accepted (90 %); 10 rejected, 0 unknown",
            ),
            row(
                seen(89, 0, 11),
                (Fail, Some(0.89), 100),
                "89 of 100 accepted (89 %, 90 % asked); 0 rejected, 11 unknown",
            ),
            row(
                excused,
                (Pass, Some(80.0 / 85.0), 85),
                "80 of 85 accepted (94.1 %); 20 rejected, 0 unknown",
            ),
            // A cluster that does not answer must not be excused by it.
            row(
                unsent(TaintReason::Unsent),
                (Fail, Some(0.8), 100),
                "80 of 100 accepted (80 %, 90 % asked); 0 rejected, 0 unknown, 20 not sent: \
                 canary.open_requests_max were unanswered already",
            ),
            row(
                unsent(TaintReason::RuntimeStall),
                (Pass, Some(1.0), 80),
                "80 of 80 accepted (100 %); 0 rejected, 0 unknown",
            ),
        ],
    );
}

#[test]
fn blind() {
    let seen = |missed_offline: u64, by_agent: u64| {
        move |r: &mut Run| {
            let delivered = 100 + by_agent - missed_offline;
            let total = delivered + missed_offline + 7;
            r.obligations(
                New,
                Obligations { total, delivered, missed_offline, void: 7, ..default() },
            );
            r.tally(
                New,
                Tally { missed: [((0, BlindCause::Agent), by_agent)].into(), ..default() },
            );
            let causes = [BlindCause::Agent, BlindCause::Close, BlindCause::Network];
            for (witness, cause) in (0..).zip(causes) {
                r.sight_lost(New, witness, RunTime::ZERO, cause);
            }
        }
    };
    table(
        "blind",
        Some(New),
        (Some(0.1), "ratio"),
        vec![
            row(|_| {}, (Inconclusive, None, 0), "0 of 0 missed while offline; 0 blind windows"),
            row(
                seen(9, 0),
                (Pass, Some(0.09), 100),
                "9 of 100 missed while offline (9.0 %); 2 blind windows",
            ),
            row(
                seen(10, 0),
                (Pass, Some(0.1), 100),
                "10 of 100 missed while offline (10 %); 2 blind windows",
            ),
            row(
                seen(11, 0),
                (Fail, Some(0.11), 100),
                "11 of 100 missed while offline (11 %, 10 % allowed); 2 blind windows",
            ),
            // What the agent missed by its own doing is neither missed nor owed.
            row(
                seen(40, 30),
                (Pass, Some(0.1), 100),
                "10 of 100 missed while offline (10 %); 2 blind windows",
            ),
            // More than there were: no underflow.
            row(
                |r| {
                    let missed = [((0, BlindCause::Agent), 5)].into();
                    r.tally(New, Tally { missed, ..default() });
                },
                (Inconclusive, None, 0),
                "0 of 0 missed while offline; 0 blind windows",
            ),
            // Nor what was published in a tainted second.
            row(
                move |r| {
                    r.taint(3..4);
                    seen(15, 0)(r);
                    let missed = [((2, BlindCause::Close), 10), ((3, BlindCause::Close), 5)];
                    r.tally(New, Tally { missed: missed.into(), ..default() });
                },
                (Fail, Some(10.0 / 95.0), 95),
                "10 of 95 missed while offline (11 %, 10 % allowed); 2 blind windows",
            ),
        ],
    );
}

#[test]
fn late() {
    let seen = |late: u64, excused: u64| {
        move |r: &mut Run| {
            let (total, delivered) = (107, 90 - late);
            let counts =
                Obligations { total, delivered, late, lost: 6, missed_offline: 4, void: 7 };
            r.obligations(New, counts);
            r.tally(New, Tally { late: [(7, excused)].into(), ..default() });
            r.taint(7..8);
        }
    };
    table(
        "late",
        Some(New),
        (Some(0.1), "ratio"),
        vec![
            row(|_| {}, (Inconclusive, None, 0), "0 of 0 after the deadline"),
            row(seen(9, 0), (Pass, Some(0.09), 100), "9 of 100 after the deadline (9.0 %)"),
            row(seen(10, 0), (Pass, Some(0.1), 100), "10 of 100 after the deadline (10 %)"),
            row(
                seen(11, 0),
                (Fail, Some(0.11), 100),
                "11 of 100 after the deadline (11 %, 10 % allowed)",
            ),
            row(seen(50, 45), (Pass, Some(0.05), 100), "5 of 100 after the deadline (5.0 %)"),
            row(seen(1, 2), (Pass, Some(0.0), 100), "0 of 100 after the deadline (0 %)"),
        ],
    );
}

#[test]
fn connect() {
    let ready = |count: u32, slow: u32, millis: u64| {
        move |r: &mut Run| {
            for n in 0..count {
                let millis = if n < slow { millis } else { 20 };
                let connect = Duration::from_millis(millis);
                let phases = ConnectPhases { connect, ..default() };
                r.connection(New, ConnectionFact::Ready { phases: Some(phases), expires: None });
            }
        }
    };
    table(
        "connect",
        Some(New),
        (Some(500.0), "ms"),
        vec![
            row(|_| {}, (Inconclusive, None, 0), "no connection became ready"),
            row(
                |r| r.connection(New, ConnectionFact::Failed),
                (Inconclusive, None, 0),
                "no connection became ready",
            ),
            row(
                ready(3, 1, 499),
                (Pass, Some(499.455), 3),
                "slowest 499.5 ms of 3 connections (500 ms allowed, target 50 ms)",
            ),
            row(
                ready(298, 1, 501),
                (Fail, Some(501.503), 298),
                "slowest 501.5 ms of 298 connections (500 ms allowed, target 50 ms); its slowest \
                 step is connect, up to 501.5 ms",
            ),
            // One of few, and perhaps our own slowness.
            row(
                move |r| {
                    r.taint(0..1);
                    ready(298, 1, 501)(r);
                },
                (Inconclusive, Some(501.503), 298),
                "slowest 501.5 ms of 298 connections, in a tainted second (500 ms allowed, target 50 ms); \
                 its slowest step is connect, up to 501.5 ms",
            ),
            row(
                ready(299, 2, 9_000),
                (Pass, Some(20.015), 299),
                "p99 20.0 ms of 299 connections (500 ms allowed, target 50 ms)",
            ),
            row(
                move |r| {
                    r.taint(0..1);
                    ready(299, 3, 9_000)(r);
                },
                (Fail, Some(9_003.007), 299),
                "p99 9003.0 ms of 299 connections (500 ms allowed, target 50 ms); its slowest step \
                 is connect, up to 9003.0 ms",
            ),
        ],
    );
}

#[test]
fn auth() {
    let seen = |yes: u32, no: u32| {
        move |r: &mut Run| {
            for n in 0..yes + no {
                let took = Duration::from_millis(1);
                r.connection(
                    New,
                    ConnectionFact::Authorized { took: Some(took), confirmed: n < yes },
                );
            }
        }
    };
    table(
        "auth",
        Some(New),
        (Some(0.9), "ratio"),
        vec![
            row(
                |_| {},
                (Inconclusive, None, 0),
                "0 of 0 signed subscriptions confirmed; signing took up to ? ms",
            ),
            row(
                seen(19, 1),
                (Pass, Some(0.95), 20),
                "19 of 20 signed subscriptions confirmed (95 %); signing took up to 1.0 ms",
            ),
            row(
                seen(18, 2),
                (Pass, Some(0.9), 20),
                "18 of 20 signed subscriptions confirmed (90 %); signing took up to 1.0 ms",
            ),
            row(
                seen(17, 3),
                (Fail, Some(0.85), 20),
                "17 of 20 signed subscriptions confirmed (85 %, 90 % asked); signing took up to 1.0 ms",
            ),
        ],
    );
}

#[test]
fn instrument() {
    let tainted = |seconds: u64| move |r: &mut Run| r.taint(0..seconds);
    let stepped = |r: &mut Run| r.story.apply(Fact::Taint(7, TaintReason::ClockStep));
    let settled = |r: &mut Run, total: u64, opened: u64| {
        r.delivered(New, total);
        r.publications(New, Publications { sent: 5, ..default() }, opened);
    };
    table(
        "instrument",
        None,
        (Some(0.05), "ratio"),
        vec![
            row(|_| {}, (Pass, Some(0.0), 100), "0 of 100 seconds tainted (0 %)"),
            row(
                tainted(4),
                (Pass, Some(0.04), 100),
                "4 of 100 seconds tainted (4.0 %); runtime stall in 4",
            ),
            row(
                tainted(5),
                (Pass, Some(0.05), 100),
                "5 of 100 seconds tainted (5.0 %); runtime stall in 5",
            ),
            row(
                tainted(6),
                (Inconclusive, Some(0.06), 100),
                "6 of 100 seconds tainted (6.0 %); runtime stall in 6",
            ),
            // One step is enough: no time of day can be compared any more.
            row(
                stepped,
                (Inconclusive, Some(0.01), 100),
                "1 of 100 seconds tainted (1.0 %); clock step in 1",
            ),
            row(
                |r| r.story = Story::new(&ClusterRole::ALL, Vec::new()),
                (Inconclusive, Some(1.0), 0),
                "no second was recorded",
            ),
            row(
                move |r| settled(r, 5, 5),
                (Pass, Some(0.0), 100),
                "0 of 100 seconds tainted (0 %)",
            ),
            row(
                move |r| settled(r, 4, 5),
                (Inconclusive, Some(0.0), 100),
                "0 of 100 seconds tainted (0 %); on new the publisher opened 5 obligations and the \
                 witnesses 4",
            ),
            row(
                |r| r.obligations(New, Obligations { total: 3, delivered: 4, ..default() }),
                (Inconclusive, Some(0.0), 100),
                "0 of 100 seconds tainted (0 %); on new the witnesses opened 3 obligations, \
                 settled 4 and hold 0",
            ),
            row(
                |r| r.publications(Old, Publications { sent: 1, accepted: 2, ..default() }, 0),
                (Inconclusive, Some(0.0), 100),
                "0 of 100 seconds tainted (0 %); on old more than the 1 publications sent have \
                 ended",
            ),
            row(
                |r| r.tally(New, Tally { lapped: 2, ..default() }),
                (Inconclusive, Some(0.0), 100),
                "0 of 100 seconds tainted (0 %); 2 publications lapped",
            ),
        ],
    );
}
