//! Merging is a commutative monoid.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;

fn incident(at: u64, kind: IncidentKind, seq: u64) -> Incident {
    let stream = Some(StreamIx(0));
    Incident { at: RunTime(at), kind, stream, seq: Some(Seq(seq)), cause: None }
}

fn random(rng: &mut SmallRng) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..rng.random_range(0..4) {
        let kind = ChannelKind::ALL[rng.random_range(0..3)];
        let route = Route::ALL[rng.random_range(0..3)];
        let epoch = [Epoch::First, Epoch::Again][rng.random_range(0..2)];
        let stratum = Stratum { kind, route, epoch };
        let (obligations, latencies) = tally.strata.entry(stratum).or_default();
        obligations.total += rng.random_range(0..9);
        obligations.delivered += rng.random_range(0..9);
        obligations.lost += rng.random_range(0..9);
        latencies.record(Duration::from_micros(rng.random_range(0..5_000)));
    }
    for _ in 0..rng.random_range(0..4) {
        let beside = tally.beside.entry(rng.random_range(0..5)).or_default();
        beside.duplicates += rng.random_range(0..3);
        beside.corrupt += rng.random_range(0..3);
        *tally.late.entry(rng.random_range(0..5)).or_default() += rng.random_range(1..3);
        let of = (rng.random_range(0..3), BlindCause::ALL[rng.random_range(0..4)]);
        *tally.missed.entry(of).or_default() += 1;
    }
    for _ in 0..rng.random_range(0..150) {
        let kind = [IncidentKind::Lost, IncidentKind::Late][rng.random_range(0..2)];
        tally.incident(incident(rng.random_range(0..50), kind, rng.random_range(0..9)));
    }
    tally.lapped = rng.random_range(0..2);
    tally.incidents_dropped += rng.random_range(0..2);
    tally
}

fn sum(tallies: &[Tally]) -> Tally {
    let mut sum = Tally::default();
    for tally in tallies {
        sum.merge(tally);
    }
    sum
}

#[test]
fn tallies_merge_in_any_order_and_grouping() {
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..200 {
        let mut tallies: Vec<_> = (0..rng.random_range(1..8)).map(|_| random(&mut rng)).collect();
        let in_order = sum(&tallies);
        tallies.shuffle(&mut rng);
        assert_eq!(sum(&tallies), in_order, "commutes");
        let (left, right) = tallies.split_at(rng.random_range(0..=tallies.len()));
        assert_eq!(sum(&[sum(left), sum(right)]), in_order, "associates");
        assert_eq!(sum(&[Tally::default(), in_order.clone()]), in_order, "nothing changes nothing");
    }
}

#[test]
fn a_full_tally_keeps_the_earliest_incidents_and_counts_the_rest() {
    let mut tally = Tally::default();
    for at in (0..300).rev() {
        tally.incident(incident(at, IncidentKind::Lost, at));
    }
    assert_eq!(tally.incidents.len(), INCIDENTS_PER_TALLY_MAX);
    assert_eq!(tally.incidents_dropped, 44);
    let expected: Vec<_> = (0..256).map(|at| incident(at, IncidentKind::Lost, at)).collect();
    assert_eq!(tally.incidents, expected);
    tally.merge(&tally.clone());
    assert_eq!((tally.incidents.len(), tally.incidents_dropped), (256, 44 + 44 + 256));
}
