//! Confidence sequences for a rate: limits that hold at all times at once.
//!
//! Against "the rate is at least p" stands the likelihood ratio of rates below p to p itself,
//! mixed over Jeffreys' prior Beta(1/2, 1/2) cut off at p: the evidence. While the rate is at least
//! p it is a nonnegative supermartingale that begins at 1, so that it ever reaches 1/(1 − C) with a
//! probability of at most 1 − C (Ville, "Étude critique de la notion de collectif", 1939). The
//! upper limit is the least p against which the evidence has reached it now; one need neither fix
//! when to look nor intersect the limits of different times. The lower limit mirrors it.
//!
//! Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
//! Mathematical Statistics 41 (1970); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
//! nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021), the
//! one-sided beta-binomial mixture.
//!
//! Only 0.6 % of the prior lies below a rate of 10⁻⁴. Were it not cut off at p, ruling out that
//! rate at 95 % would take 92,900 trials without a failure in place of 37,900.

use super::arc::{Arc, angle_of, mirrored};
use super::search::{crossing, partition};

/// Upper limit of the rate after `failures` in `trials`, at `confidence` (0 to 1) for all times at
/// once: with that probability the rate is at most this after each trial of an endless sequence.
/// 1 without a trial that did not fail.
///
/// Trials need not be independent: the rate is the least of their chances to fail, each given the
/// trials before it.
pub fn upper_bound_anytime(failures: u64, trials: u64, confidence: f64) -> f64 {
    if failures >= trials {
        return 1.0;
    }
    limit(failures, trials, confidence).sin().powi(2)
}

/// Lower limit of the rate after `failures` in `trials`, at `confidence` (0 to 1) for all times at
/// once. 0 without failures.
///
/// Trials need not be independent: the rate is the greatest of their chances to fail, each given
/// the trials before it.
pub fn lower_bound_anytime(failures: u64, trials: u64, confidence: f64) -> f64 {
    if failures == 0 || trials == 0 {
        return 0.0;
    }
    limit(trials.saturating_sub(failures), trials, confidence).cos().powi(2)
}

/// Fewest trials without a failure whose [`upper_bound_anytime`] is at most `rate` (0 < rate < 1):
/// at 95 % about a quarter more than [`trials_needed`](super::trials_needed).
pub fn trials_needed_anytime(rate: f64, confidence: f64) -> u64 {
    let threshold = ln_threshold(confidence);
    let suffice = |n: u64| ln_evidence_against_at_least(rate, 0, n) >= threshold;
    let mut most = 1;
    while most < u64::MAX / 2 && !suffice(most) {
        most *= 2;
    }
    partition(most, |n| !suffice(n)) + 1
}

/// Natural logarithm of the evidence against a rate of `rate` or more (0 < rate < 1), after
/// `failures` in `trials`. Each trial without a failure raises it, each failure lowers it.
pub(super) fn ln_evidence_against_at_least(rate: f64, failures: u64, trials: u64) -> f64 {
    ln_evidence(angle_of(rate), failures, trials).0
}

/// Natural logarithm of the evidence against a rate of `rate` or less (0 < rate < 1).
pub(super) fn ln_evidence_against_at_most(rate: f64, failures: u64, trials: u64) -> f64 {
    ln_evidence(mirrored(angle_of(rate)), trials.saturating_sub(failures), trials).0
}

/// What the logarithm of the evidence reaches with a probability of at most 1 − `confidence`.
pub(super) fn ln_threshold(confidence: f64) -> f64 {
    -(1.0 - confidence).ln()
}

/// The evidence against the angle's rate or more: its logarithm, and the derivative of that.
///
/// Jeffreys' prior is uniform in the angle, so that this is the mean of sin^2k φ · cos^2(n−k) φ
/// from 0 to the angle, in units of its value there.
fn ln_evidence(angle: f64, failures: u64, trials: u64) -> (f64, f64) {
    let kept = trials.saturating_sub(failures);
    let likelihood = Arc::new(2.0 * failures as f64, 2.0 * kept as f64);
    let ln = likelihood.ln_integral(0.0, angle) - likelihood.ln(angle) - angle.ln();
    (ln, -likelihood.slope(angle) + (-ln).exp_m1() / angle)
}

/// The least angle against which the evidence has reached its threshold. It has reached it against
/// all above as well: the logarithm g of the likelihood is concave, so that where the evidence M
/// exceeds 1, ln M ≤ max g − g(φ) ≤ −g′(φ) · φ, and the derivative of ln M, which is
/// −g′(φ) − (1 − 1/M) / φ, is not negative.
fn limit(failures: u64, trials: u64, confidence: f64) -> f64 {
    let (k, n) = (failures as f64, trials as f64);
    let threshold = ln_threshold(confidence);
    let guess = angle_of(k / n) + (threshold / n).sqrt();
    crossing(guess, |angle| {
        let (ln, slope) = ln_evidence(angle, failures, trials);
        (ln - threshold, slope)
    })
}

#[cfg(test)]
mod tests;
