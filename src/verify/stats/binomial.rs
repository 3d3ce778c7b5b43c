//! Exact limits for a rate at a fixed number of trials, and the binomial tails behind them.

use std::f64::consts::FRAC_PI_2;

use super::arc::{Arc, angle_of, mirrored};
use super::search::crossing;

/// Upper limit of the one-sided Clopper–Pearson interval: the rate that `failures` or fewer in
/// `trials` rule out at `confidence` (0 to 1). 1 without trials.
///
/// Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
/// binomial", Biometrika 26 (1934): the `confidence` quantile of Beta(k + 1, n − k).
pub fn upper_bound(failures: u64, trials: u64, confidence: f64) -> f64 {
    if failures >= trials {
        return 1.0;
    }
    limit(failures, trials, confidence).sin().powi(2)
}

/// Lower limit of the one-sided Clopper–Pearson interval: the rate that `failures` or more in
/// `trials` rule out at `confidence`. 0 without failures.
pub fn lower_bound(failures: u64, trials: u64, confidence: f64) -> f64 {
    if failures == 0 || trials == 0 {
        return 0.0;
    }
    limit(trials.saturating_sub(failures), trials, confidence).cos().powi(2)
}

/// Fewest trials without a failure whose upper bound is at most `rate` (0 < rate < 1).
pub fn trials_needed(rate: f64, confidence: f64) -> u64 {
    // At k = 0 the bound is 1 − (1 − C)^(1/n).
    let exact = (1.0 - confidence).ln() / (-rate).ln_1p();
    exact.ceil() as u64
}

/// Natural logarithm of the probability that at most `count` of `n` trials of rate `p` (0 < p < 1)
/// succeed.
pub(super) fn ln_at_most(count: u64, n: u64, p: f64) -> f64 {
    if count >= n { 0.0 } else { ln_tail(angle_of(p), count, n).0 }
}

/// Natural logarithm of the probability that at least `count` of `n` trials of rate `p`
/// (0 < p < 1) succeed.
pub(super) fn ln_at_least(count: u64, n: u64, p: f64) -> f64 {
    match n.checked_sub(count) {
        None => f64::NEG_INFINITY,
        Some(_) if count == 0 => 0.0,
        Some(rest) => ln_tail(mirrored(angle_of(p)), rest, n).0,
    }
}

/// The probability of at most `count` (below `n`) at the angle's rate: its logarithm, and the
/// derivative of that. It is the part of Beta(count + 1, n − count) above the rate.
fn ln_tail(angle: f64, count: u64, n: u64) -> (f64, f64) {
    let (k, rest) = (count as f64, n.saturating_sub(count) as f64);
    let density = Arc::new(2.0 * k + 1.0, 2.0 * rest - 1.0);
    let above = density.ln_integral(angle, FRAC_PI_2);
    let below = density.ln_integral(0.0, angle);
    // −ln(1 + below/above), where either may be far beyond the other.
    let ln_odds = below - above;
    let ln = -ln_odds.max(0.0) - (-ln_odds.abs()).exp().ln_1p();
    (ln, -(density.ln(angle) - above).exp())
}

/// The least angle that `failures` or fewer in `trials` rule out.
fn limit(failures: u64, trials: u64, confidence: f64) -> f64 {
    let (k, n) = (failures as f64, trials as f64);
    let ln_level = (1.0 - confidence).ln();
    let guess = angle_of(k / n) + (-ln_level / n).sqrt();
    crossing(guess, |angle| {
        let (ln, slope) = ln_tail(angle, failures, trials);
        (ln_level - ln, -slope)
    })
}

#[cfg(test)]
mod tests;
