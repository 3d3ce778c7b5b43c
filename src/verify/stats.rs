//! Bounds on what was not seen: exact binomial limits and quantile intervals.

use statrs::function::beta::beta_reg;
use statrs::function::gamma::gamma_lr;

/// Upper limit of the one-sided Clopper–Pearson interval: the rate that `failures` or fewer in
/// `trials` rule out at `confidence` (0 to 1). 1 without trials.
///
/// Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
/// binomial", Biometrika 26 (1934): the `confidence` quantile of Beta(k + 1, n − k).
pub fn upper_bound(failures: u64, trials: u64, confidence: f64) -> f64 {
    if failures >= trials {
        return 1.0;
    }
    let (k, n) = (failures as f64, trials as f64);
    beta_quantile(k + 1.0, n - k, confidence)
}

/// Lower limit of the one-sided Clopper–Pearson interval: the rate that `failures` or more in
/// `trials` rule out at `confidence`. 0 without failures.
pub fn lower_bound(failures: u64, trials: u64, confidence: f64) -> f64 {
    if failures == 0 || trials == 0 {
        return 0.0;
    }
    let (k, n) = (failures.min(trials) as f64, trials as f64);
    beta_quantile(k, n - k + 1.0, 1.0 - confidence)
}

/// Fewest trials without a failure whose upper bound is at most `rate` (0 < rate < 1).
pub fn trials_needed(rate: f64, confidence: f64) -> u64 {
    // At k = 0 the bound is 1 − (1 − C)^(1/n).
    let exact = (1.0 - confidence).ln() / (-rate).ln_1p();
    exact.ceil() as u64
}

/// Upper limit of the one-sided interval for a Poisson mean: how many events could have been
/// expected where `seen` came. 3.0 for none at 95 %.
///
/// Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936): the `confidence`
/// quantile of Gamma(k + 1, 1).
pub fn poisson_upper_bound(seen: u64, confidence: f64) -> f64 {
    let shape = seen as f64 + 1.0;
    // Far above any quantile that a confidence below one has.
    let (mut low, mut high) = (0.0, shape + 50.0 * shape.sqrt() + 50.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if gamma_lr(shape, middle) < confidence { low = middle } else { high = middle }
    }
    high
}

/// The `p` quantile of Beta(a, b), by bisection of its distribution function.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // 200 halvings of [0, 1] end at the resolution of the number itself, however small it is.
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if beta_reg(a, b, middle) < p { low = middle } else { high = middle }
    }
    high
}

/// Ranks (counted from 1) of the order statistics between which the quantile `q` of the
/// distribution lies: below the first with at most 1 − `confidence`, above the second likewise.
/// `None` where `n` samples cannot say so.
///
/// David and Nagaraja, "Order Statistics" (2003), section 7.1: the number of samples below the
/// quantile is Binomial(n, q).
pub fn quantile_ranks(n: u64, q: f64, confidence: f64) -> (Option<u64>, Option<u64>) {
    let tail = 1.0 - confidence;
    // P(X ≤ k) of Binomial(n, q) is the regularised incomplete beta function I(1−q; n−k, k+1).
    let at_most = |k: u64| {
        if k >= n { 1.0 } else { beta_reg((n - k) as f64, k as f64 + 1.0, 1.0 - q) }
    };
    // Lower: the largest r with P(X ≤ r − 1) ≤ tail, so that the r-th sample is below the quantile.
    let below = partition(n, |r| at_most(r - 1) <= tail);
    let lower = (below > 0).then_some(below);
    // Upper: the smallest r with P(X ≥ r) ≤ tail.
    let upper = partition(n, |r| 1.0 - at_most(r - 1) > tail) + 1;
    (lower, (upper <= n).then_some(upper))
}

/// How many of 1..=n hold, for a condition that holds up to some number and for none above.
fn partition(n: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 + 1e-6 * b.abs()
    }

    #[test]
    fn bounds_are_those_of_scipy() {
        // scipy 1.x: beta.ppf(0.95, k + 1, n - k) and beta.ppf(0.05, k, n - k + 1).
        for (k, n, lower, upper) in [
            (0, 10, 0.0, 0.258_865_545),
            (1, 10, 0.005_116_197, 0.394_163_302),
            (5, 10, 0.222_441_101, 0.777_558_899),
            (10, 10, 0.741_134_449, 1.0),
            (0, 2_995, 0.0, 0.000_999_744),
            (3, 1_000, 0.000_818_175, 0.007_735_245),
        ] {
            let got = (lower_bound(k, n, 0.95), upper_bound(k, n, 0.95));
            assert!((got.0 - lower).abs() < 1e-8, "lower {k}/{n}: {got:?}");
            assert!((got.1 - upper).abs() < 1e-8, "upper {k}/{n}: {got:?}");
        }
    }

    #[test]
    fn without_failures_the_bound_has_a_closed_form() {
        for n in [1, 59, 2_995, 29_956, 10_000_000] {
            let closed = 1.0 - 0.05_f64.powf(1.0 / n as f64);
            assert!(close(upper_bound(0, n, 0.95), closed), "{n}");
        }
        assert!(close(upper_bound(0, 0, 0.95), 1.0));
        assert_eq!(lower_bound(0, 100, 0.95).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn poisson_bounds_are_those_of_garwoods_table() {
        for (seen, upper) in [(0, 2.995_732), (1, 4.743_865), (2, 6.295_794), (10, 16.962_219)] {
            let got = poisson_upper_bound(seen, 0.95);
            assert!((got - upper).abs() < 1e-5, "{seen}: {got}");
        }
    }

    #[test]
    fn the_sample_sizes_are_the_published_ones() {
        assert_eq!(trials_needed(1e-4, 0.95), 29_956);
        assert_eq!(trials_needed(1e-3, 0.95), 2_995);
        for rate in [0.5, 1e-2, 1e-3, 1e-4, 1e-6] {
            let n = trials_needed(rate, 0.95);
            assert!(upper_bound(0, n, 0.95) <= rate * (1.0 + 1e-9), "{rate}: {n} is too few");
            assert!(upper_bound(0, n - 1, 0.95) > rate, "{rate}: {n} is too many");
        }
    }

    #[test]
    fn p99_has_an_upper_bound_from_299_samples_on() {
        assert_eq!(quantile_ranks(298, 0.99, 0.95).1, None);
        assert_eq!(quantile_ranks(299, 0.99, 0.95).1, Some(299));
        assert_eq!(quantile_ranks(0, 0.5, 0.95), (None, None));
        // Conover, Practical Nonparametric Statistics: the sign test's limits for a median of 10.
        assert_eq!(quantile_ranks(10, 0.5, 0.95), (Some(2), Some(9)));
    }
}
