//! Where a quantile lies, from order statistics.

use super::binomial::{ln_at_least, ln_at_most};
use super::search::partition;
use super::sequence::{ln_evidence_against_at_least, ln_evidence_against_at_most, ln_threshold};

/// Ranks (counted from 1) of the order statistics between which the quantile `q` of the
/// distribution lies: below the first with at most 1 − `confidence`, above the second likewise.
/// `None` where `n` samples cannot say so.
///
/// David and Nagaraja, "Order Statistics" (2003), section 7.1: the number of samples below the
/// quantile is Binomial(n, q).
pub fn quantile_ranks(n: u64, q: f64, confidence: f64) -> (Option<u64>, Option<u64>) {
    let ln_tail = (1.0 - confidence).ln();
    ranks(
        n,
        |count| ln_at_most(count, n, q) <= ln_tail,
        |count| ln_at_least(count, n, q) <= ln_tail,
    )
}

/// Ranks like those of [`quantile_ranks`], between which the quantile lies at all times at once:
/// with a probability of at least `confidence` for each of the two, it does after each sample of an
/// endless sequence. 0 < `q` < 1.
///
/// Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and
/// best-arm identification", Bernoulli 28 (2022), who invert a confidence sequence for the rate of
/// samples below the quantile; here it is [`upper_bound_anytime`](super::upper_bound_anytime)'s.
pub fn quantile_ranks_anytime(n: u64, q: f64, confidence: f64) -> (Option<u64>, Option<u64>) {
    let threshold = ln_threshold(confidence);
    ranks(
        n,
        |count| ln_evidence_against_at_least(q, count, n) >= threshold,
        |count| ln_evidence_against_at_most(q, count, n) >= threshold,
    )
}

/// The largest rank that is a lower limit and the smallest that is an upper one, by which numbers
/// of samples are implausibly few and which implausibly many.
///
/// The r-th smallest sample is above the quantile only if at most r − 1 samples are at most the
/// quantile: of a rate of at least q, that is too few. It is below the quantile only if r or more
/// samples are: of a rate of at most q, too many. Both rates are q itself unless samples tie with
/// the quantile, which makes the limits safer.
fn ranks(
    n: u64,
    are_too_few: impl Fn(u64) -> bool,
    are_too_many: impl Fn(u64) -> bool,
) -> (Option<u64>, Option<u64>) {
    let lower = partition(n, |r| are_too_few(r - 1));
    let upper = partition(n, |r| !are_too_many(r)) + 1;
    ((lower > 0).then_some(lower), (upper <= n).then_some(upper))
}

#[cfg(test)]
mod tests;
