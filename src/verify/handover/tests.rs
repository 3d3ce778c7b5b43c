use std::time::Duration;

use crate::model::RunTime;
use crate::verify::taint::{TaintReason, Tainted};
use crate::verify::testing::moves;

use super::*;

fn planned() -> Moves {
    let fleet = Fleet { clients: 6_000, over: Duration::from_secs(600) };
    Moves { fleet: Some(fleet), signed_channels: 3.0, ..moves() }
}

fn moved(way: Way, second: u64, missed: u64) -> Move {
    let crossed = Crossed {
        blind: Duration::from_millis(100 * missed),
        took: Duration::from_millis(200),
        events: 10,
        missed,
        overlap_needed: (missed == 0).then_some(Duration::from_millis(30)),
        ..Crossed::default()
    };
    let at = RunTime::from_millis(second * 1_000);
    Move { way, from: at, until: at, crossed: Some(crossed), why: String::new() }
}

#[test]
fn a_ramp_spreads_the_moves_as_it_says() {
    let shares = |ramp: Ramp| (0..4).map(|at| ramp.share(at, 4)).collect::<Vec<_>>();
    assert_eq!(shares(Ramp::AtOnce), [0.0; 4]);
    assert_eq!(shares(Ramp::Linear), [0.0, 0.25, 0.5, 0.75]);
    assert_eq!(shares(Ramp::Steps(2)), [0.0, 0.0, 0.5, 0.5]);
    // More steps than clients: some step has nobody.
    assert_eq!(shares(Ramp::Steps(8)), [0.0, 0.25, 0.5, 0.75]);
    assert_eq!(Ramp::Steps(3).share(9, 10), 2.0 / 3.0);
}

#[test]
fn a_move_in_a_tainted_second_counts_for_nobody() {
    let mut figures = HandoverFigures::new(planned());
    let mut tainted = Tainted::default();
    tainted.note(7, TaintReason::RuntimeStall);
    let slow = Move { until: RunTime::from_millis(7_100), ..moved(Way::Reload, 6, 9) };
    let moves = [moved(Way::Reload, 3, 2), slow, moved(Way::Overlap, 9, 0)];
    figures.recount(&moves, &tainted);
    let reload = &figures.ways[&Way::Reload];
    assert_eq!((reload.planned, reload.moved, reload.unattributed, reload.missed), (4, 1, 1, 2));
    assert_eq!(reload.missed_per_move(), Some(2.0));
    assert_eq!(
        (reload.overlap_needed.count(), reload.blind.max_ms().map(f64::round)),
        (0, Some(200.0))
    );
    let overlap = &figures.ways[&Way::Overlap];
    assert_eq!((overlap.moved, overlap.overlap_needed.max_ms().map(f64::round)), (1, Some(30.0)));
    // Again with less taint, as if nothing had been counted before.
    figures.recount(&moves, &Tainted::default());
    assert_eq!(figures.ways[&Way::Reload].missed, 11);
}

#[test]
fn who_does_not_arrive_is_stranded_and_says_why() {
    let mut figures = HandoverFigures::new(planned());
    let why = "closed with 4001".to_owned();
    let stranded = Move { crossed: None, why: why.clone(), ..moved(Way::Overlap, 1, 0) };
    figures.recount(&[stranded], &Tainted::default());
    let overlap = &figures.ways[&Way::Overlap];
    assert_eq!((overlap.moved, overlap.stranded, &overlap.last_failure), (0, 1, &why));
    assert_eq!(overlap.missed_per_move(), None);
    assert_eq!(figures.projected(Way::Overlap, 0.95), None);
}

#[test]
fn who_never_arrives_is_excused_by_no_single_second() {
    let mut figures = HandoverFigures::new(moves());
    let mut tainted = Tainted::default();
    tainted.note(7, TaintReason::RuntimeStall);
    let until = RunTime::from_millis(30_000);
    let stranded = Move { crossed: None, until, ..moved(Way::Reload, 1, 0) };
    figures.recount(std::slice::from_ref(&stranded), &tainted);
    assert_eq!(figures.ways[&Way::Reload].stranded, 1);
    (1..20).for_each(|second| tainted.note(second, TaintReason::RuntimeStall));
    figures.recount(&[stranded], &tainted);
    let reload = &figures.ways[&Way::Reload];
    assert_eq!((reload.stranded, reload.unattributed), (0, 1));
}

#[test]
fn runs_add_up() {
    let mut first = HandoverFigures::new(planned());
    first.recount(&[moved(Way::Reload, 3, 2)], &Tainted::default());
    let mut second = HandoverFigures::new(planned());
    second.recount(&[moved(Way::Reload, 4, 5), moved(Way::Overlap, 5, 0)], &Tainted::default());
    first.merge(&second);
    let reload = &first.ways[&Way::Reload];
    assert_eq!((reload.planned, reload.moved, reload.missed), (8, 2, 7));
    assert_eq!(first.moves.clients[&Way::Overlap], 8);
}

#[test]
fn a_fleet_moves_at_the_rate_of_its_ramp_and_misses_what_its_clients_would() {
    let mut figures = HandoverFigures::new(planned());
    figures.recount(
        &[moved(Way::Reload, 3, 4), moved(Way::Reload, 4, 2), moved(Way::Overlap, 5, 0)],
        &Tainted::default(),
    );
    let reload = figures.projected(Way::Reload, 0.95).unwrap();
    assert_eq!(reload.connects_per_second, 10.0);
    assert_eq!((reload.subscriptions_per_second, reload.signatures_per_second), (40.0, 30.0));
    assert_eq!((reload.events_missed, reload.connections_on_both), (18_000.0, 0.0));
    let overlap = figures.projected(Way::Overlap, 0.95).unwrap();
    // Five seconds of overlap, and the fifth of one that it takes to be on new.
    assert!((overlap.connections_on_both - 52.0).abs() < 0.01, "{overlap:?}");
    assert_eq!(overlap.events_missed, 0.0);
    // Nothing in one move is no promise: the rule of three.
    let most = overlap.events_missed_upper_bound;
    assert!((most - 6_000.0 * 2.9957).abs() < 1.0, "{most}");
    figures.moves.ramp = Ramp::Steps(4);
    let stepped = figures.projected(Way::Overlap, 0.95).unwrap();
    assert_eq!((stepped.connects_per_second, stepped.connections_on_both), (1_500.0, 1_500.0));
    figures.moves.ramp = Ramp::AtOnce;
    assert_eq!(figures.projected(Way::Reload, 0.95).unwrap().connects_per_second, 6_000.0);
}
