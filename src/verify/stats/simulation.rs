//! Chance for tests, from fixed seeds.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub(super) fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// How many trials of this rate pass before the next failure.
pub(super) fn trials_before_failure(rng: &mut SmallRng, rate: f64) -> u64 {
    let uniform = 1.0 - rng.random::<f64>();
    (uniform.ln() / (-rate).ln_1p()) as u64
}

/// Failures of this rate in so many trials.
pub(super) fn failures(rng: &mut SmallRng, trials: u64, rate: f64) -> u64 {
    let mut failures = 0;
    let mut at = trials_before_failure(rng, rate);
    while at < trials {
        failures += 1;
        at += 1 + trials_before_failure(rng, rate);
    }
    failures
}

/// From the exponential distribution of mean 1.
pub(super) fn exponential(rng: &mut SmallRng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

/// Most misses in so many runs that a miss rate of `nominal` explains: its one-sided band of
/// 99.9 %, by the normal approximation with half a miss for continuity.
pub(super) fn most_misses(runs: u64, nominal: f64) -> u64 {
    let expected = runs as f64 * nominal;
    (expected + 3.0902 * (expected * (1.0 - nominal)).sqrt() + 0.5) as u64
}

/// How many runs miss.
pub(super) fn count(runs: u64, mut is_miss: impl FnMut() -> bool) -> u64 {
    (0..runs).map(|_| u64::from(is_miss())).sum()
}
