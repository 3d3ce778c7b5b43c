//! Limits for the mean of a Poisson count.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::gamma::gamma_lr;

/// Above this the sum takes long, and the approximation is as exact as its figures are.
const SUMMED_MAX: f64 = 1e9;

/// Upper limit of the one-sided interval for a Poisson mean: how many events could have been
/// expected where `seen` came, at `confidence` (0 to 1). 3.0 for none at 95 %.
///
/// Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936): the `confidence`
/// quantile of Gamma(k + 1, 1).
pub fn poisson_upper_bound(seen: u64, confidence: f64) -> f64 {
    let shape = seen as f64 + 1.0;
    if shape > SUMMED_MAX {
        // Wilson and Hilferty, "The distribution of chi-square", PNAS 17 (1931).
        let ninth = 1.0 / (9.0 * shape);
        let normal = Normal::standard().inverse_cdf(confidence);
        return shape * (1.0 - ninth + normal * ninth.sqrt()).powi(3);
    }
    // Far above any quantile that a confidence below one has.
    let (mut low, mut high) = (0.0, shape + 50.0 * shape.sqrt() + 50.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if gamma_lr(shape, middle) < confidence { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{count, exponential, most_misses, rng};
    use super::*;

    #[test]
    fn poisson_bounds_are_those_of_garwoods_table() {
        for (seen, upper) in [(0, 2.995_732), (1, 4.743_865), (2, 6.295_794), (10, 16.962_219)] {
            let got = poisson_upper_bound(seen, 0.95);
            assert!((got - upper).abs() < 1e-5, "{seen}: {got}");
        }
    }

    #[test]
    fn poisson_bounds_of_many_events_are_those_of_scipy() {
        // scipy 1.17: chi2.ppf(C, 2 * (seen + 1)) / 2.
        for (seen, confidence, upper) in [
            (100, 0.95, 118.079_272_782_097),
            (10_000, 0.95, 10_166.060_136_127),
            (1_000_000, 0.95, 1_001_646.422_767_6),
            (0, 0.999, 6.907_755_278_982),
            (1_000_000, 0.999, 1_003_094.083_914_97),
            (1_000_000_000_000, 0.95, 1_000_001_644_855.195_4),
            (1_000_000_000_000_000, 0.999, 1_000_000_097_721_729.8),
        ] {
            let got = poisson_upper_bound(seen, confidence);
            assert!((got / upper - 1.0).abs() < 1e-9, "{seen}: {got}");
        }
    }

    #[test]
    fn the_bound_misses_a_mean_no_more_often_than_promised() {
        const RUNS: u64 = 20_000;
        let bounds: Vec<f64> = (0..60).map(|seen| poisson_upper_bound(seen, 0.95)).collect();
        // The first two are just beyond a bound, where a miss is most likely: nearly 5 %.
        for (seed, mean) in [(1, 2.996), (2, 4.744), (3, 0.5), (4, 11.3)] {
            let mut rng = rng(seed);
            let misses = count(RUNS, || {
                let (mut seen, mut at) = (0, exponential(&mut rng));
                while at < mean {
                    (seen, at) = (seen + 1, at + exponential(&mut rng));
                }
                bounds[seen] < mean
            });
            assert!(misses <= most_misses(RUNS, 0.05), "{mean}: {misses} of {RUNS}");
            // None could miss a mean below the least bound.
            assert!(misses >= RUNS / 50 || mean < 2.9, "{mean}: {misses} of {RUNS}");
        }
    }
}
