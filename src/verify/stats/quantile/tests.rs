use rand::Rng;
use rand::rngs::SmallRng;

use super::super::simulation::{most_misses, rng};
use super::*;

type Ranks = (Option<u64>, Option<u64>);

#[test]
fn p99_has_an_upper_bound_from_299_samples_on() {
    assert_eq!(quantile_ranks(298, 0.99, 0.95).1, None);
    assert_eq!(quantile_ranks(299, 0.99, 0.95).1, Some(299));
    assert_eq!(quantile_ranks(0, 0.5, 0.95), (None, None));
    // Conover, Practical Nonparametric Statistics: the sign test's limits for a median of 10.
    assert_eq!(quantile_ranks(10, 0.5, 0.95), (Some(2), Some(9)));
}

#[test]
fn ranks_are_those_of_scipy_up_to_a_hundred_million() {
    // scipy 1.17: the largest r with binom.cdf(r - 1, n, q) <= 0.05, and the smallest with
    // binom.sf(r - 1, n, q) <= 0.05.
    for (n, q, lower, upper) in [
        (1_000, 0.5, 474, 527),
        (1_000, 0.99, 985, 996),
        (1_000_000, 0.99, 989_836, 990_164),
        (1_000_000, 0.999, 998_948, 999_053),
        (100_000_000, 0.5, 49_991_776, 50_008_225),
        (100_000_000, 0.99, 98_998_363, 99_001_637),
    ] {
        assert_eq!(quantile_ranks(n, q, 0.95), (Some(lower), Some(upper)), "{q} of {n}");
    }
}

#[test]
fn anytime_ranks_of_a_median_are_those_of_confseq() {
    // confseq 0.0.11, with the arguments named in sequence/tests.rs: the largest r whose r - 1
    // samples, and the smallest whose r samples reach log(20).
    for (n, lower, upper) in [
        (5, None, None),
        (6, Some(1), Some(6)),
        (100, Some(35), Some(66)),
        (1_000, Some(446), Some(555)),
        (1_000_000, Some(497_828), Some(502_173)),
        (100_000_000, Some(49_975_774), Some(50_024_227)),
    ] {
        assert_eq!(quantile_ranks_anytime(n, 0.5, 0.95), (lower, upper), "{n}");
    }
    assert_eq!(quantile_ranks_anytime(0, 0.5, 0.95), (None, None));
}

#[test]
fn anytime_ranks_of_p99_are_those_of_numerical_integration() {
    // mpmath 1.4 at 25 digits, from the integral named in sequence/tests.rs.
    for (n, lower, upper) in [
        (100, 95, None),
        (376, 364, None),
        (377, 365, Some(377)),
        (1_000, 977, Some(998)),
        (10_000, 9_859, Some(9_930)),
        (1_000_000, 989_551, Some(990_380)),
    ] {
        assert_eq!(quantile_ranks_anytime(n, 0.99, 0.95), (Some(lower), upper), "{n}");
    }
}

#[test]
fn at_any_time_takes_more_extreme_ranks_than_once() {
    for n in [6, 50, 400, 30_000] {
        for q in [0.1, 0.5, 0.99] {
            let (once, anytime) = (quantile_ranks(n, q, 0.95), quantile_ranks_anytime(n, q, 0.95));
            assert!(anytime.0 <= once.0, "{q} of {n}");
            assert!(anytime.1.unwrap_or(n + 1) >= once.1.unwrap_or(n + 1), "{q} of {n}");
        }
    }
}

#[test]
fn what_is_no_confidence_has_no_ranks() {
    for confidence in [1.0, 2.0, f64::NAN] {
        assert_eq!(quantile_ranks(1_000, 0.5, confidence), (None, None), "{confidence}");
        assert_eq!(quantile_ranks_anytime(1_000, 0.5, confidence), (None, None), "{confidence}");
    }
}

/// Runs whose samples put the quantile below its lower limit, and above its upper one.
fn misses(runs: u64, n: u64, q: f64, quantile: f64, mut sample: impl FnMut() -> f64) -> (u64, u64) {
    let (lower, upper) = quantile_ranks(n, q, 0.95);
    let mut misses = (0, 0);
    for _ in 0..runs {
        let mut samples: Vec<f64> = (0..n).map(|_| sample()).collect();
        samples.sort_unstable_by(f64::total_cmp);
        let value = |rank: u64| samples[rank as usize - 1];
        misses.0 += u64::from(lower.is_some_and(|r| value(r) > quantile));
        misses.1 += u64::from(upper.is_some_and(|r| value(r) < quantile));
    }
    misses
}

#[test]
fn ranks_miss_the_quantile_no_more_often_than_promised() {
    const RUNS: u64 = 4_000;
    let most = most_misses(RUNS, 0.05);
    // 299 samples have 4.95 % for the upper limit of p99, the worst that there is.
    for (n, q) in [(299, 0.99), (100, 0.9), (60, 0.5)] {
        let mut rng = rng(n);
        let got = misses(RUNS, n, q, q, || rng.random());
        assert!(got.0 <= most && got.1 <= most, "{q} of {n}: {got:?} of {RUNS}");
        assert!(got.0 + got.1 >= most / 3, "{q} of {n}: {got:?} of {RUNS}");
        // Ties: of five values, the one at which the distribution reaches q.
        let got = misses(RUNS, n, q, (5.0 * q).ceil(), || (5.0 * rng.random::<f64>()).ceil());
        assert!(got.0 <= most && got.1 <= most, "{q} of {n}, tied: {got:?} of {RUNS}");
    }
}

/// Whether the ranks, looked at after each sample, ever miss the quantile q of uniform samples. The
/// r-th smallest is above it if and only if fewer than r samples are at most it.
fn ever_missed(rng: &mut SmallRng, q: f64, ranks: &[Ranks]) -> (bool, bool) {
    let (mut below, mut missed) = (0, (false, false));
    for (lower, upper) in ranks {
        below += u64::from(rng.random::<f64>() <= q);
        missed.0 |= lower.is_some_and(|r| below < r);
        missed.1 |= upper.is_some_and(|r| below >= r);
    }
    missed
}

#[test]
fn looking_after_each_sample_misses_the_quantile_no_more_often_than_promised() {
    const RUNS: u64 = 2_000;
    let most = most_misses(RUNS, 0.05);
    for (q, horizon) in [(0.5, 500), (0.9, 800), (0.99, 1_500)] {
        let looked = |ranks: fn(u64, f64, f64) -> Ranks| {
            let ranks: Vec<_> = (1..=horizon).map(|n| ranks(n, q, 0.95)).collect();
            let mut rng = rng(horizon);
            let mut misses = (0, 0);
            for _ in 0..RUNS {
                let (above, below) = ever_missed(&mut rng, q, &ranks);
                misses.0 += u64::from(above);
                misses.1 += u64::from(below);
            }
            misses
        };
        let anytime = looked(quantile_ranks_anytime);
        assert!(anytime.0 <= most && anytime.1 <= most, "{q}: {anytime:?} of {RUNS}");
        // And the ranks for one look break theirs.
        let once = looked(quantile_ranks);
        assert!(once.0 > 2 * most && once.1 > 2 * most, "{q}: {once:?} of {RUNS}");
    }
}
