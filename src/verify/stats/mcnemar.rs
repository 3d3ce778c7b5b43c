//! Paired losses of two clusters.

use super::binomial::ln_at_least;

/// One-sided p-value (0 to 1) of the exact McNemar test that new loses more often than old: how
/// likely `only_new` or more of the discordant pairs would be new's, if each were either's with one
/// half. `only_new` counts the pairs that new alone lost, `only_old` those that old alone lost;
/// pairs that both lost or both kept say nothing. 1 without discordant pairs.
///
/// It holds for a number of pairs that was fixed beforehand, looked at once.
///
/// McNemar, "Note on the sampling error of the difference between correlated proportions or
/// percentages", Psychometrika 12 (1947); exact: conditional on the number of discordant pairs,
/// Binomial(n, 1/2).
pub fn mcnemar(only_new: u64, only_old: u64) -> f64 {
    ln_at_least(only_new, only_new.saturating_add(only_old), 0.5).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_p_value_is_half_of_that_of_statsmodels() {
        // statsmodels 0.15: mcnemar([[0, only_new], [only_old, 0]], exact=True).pvalue, two-sided:
        // twice the lesser tail, so that half of it is the one-sided value where new lost more.
        for (only_new, only_old, two_sided) in [
            (1, 0, 1.0),
            (5, 0, 0.0625),
            (10, 2, 0.038_574_218_75),
            (12, 5, 0.143_463_134_765_625),
            (60, 40, 0.056_887_933_640_980_89),
            (2_000, 1_000, 1.009_014_862_794_065e-75),
            (10_001_000, 9_999_000, 0.654_882_289_391_010_7),
            (10_004_000, 9_996_000, 0.073_674_295_528_527_11),
        ] {
            let got = mcnemar(only_new, only_old);
            assert!((got / (0.5 * two_sided) - 1.0).abs() < 1e-8, "{only_new} {only_old}: {got}");
        }
    }

    #[test]
    fn losses_of_old_alone_accuse_nobody() {
        for only_old in [0, 1, 100, u64::MAX] {
            assert_eq!(mcnemar(0, only_old).to_bits(), 1.0_f64.to_bits(), "{only_old}");
        }
        // scipy 1.17: binom.sf(1, 12, 0.5).
        assert!((mcnemar(2, 10) - 0.996_826_171_875).abs() < 1e-12);
        // scipy 1.17: binom.sf(9_999_999, 20_000_000, 0.5).
        assert!((mcnemar(10_000_000, 10_000_000) - 0.500_089_206_204_693).abs() < 1e-9);
    }

    #[test]
    fn the_tails_of_either_cluster_make_up_the_whole() {
        for (a, b) in [(1, 0), (3, 4), (60, 40), (9_999, 10_001), (5_000_300, 5_000_000)] {
            let sum = mcnemar(a, b) + mcnemar(b + 1, a - 1);
            assert!((sum - 1.0).abs() < 1e-10, "{a} {b}: {sum}");
        }
    }

    #[test]
    fn more_losses_of_new_are_less_likely() {
        for n in [10, 1_000, 20_000_000] {
            for k in [n / 2 - 1, n / 2, n / 2 + 3] {
                assert!(mcnemar(k + 1, n - k - 1) < mcnemar(k, n - k), "{k} of {n}");
            }
        }
        assert_eq!(mcnemar(10_000_000, 0).to_bits(), 0.0_f64.to_bits(), "below the least number");
    }

    #[test]
    fn equal_clusters_are_told_apart_no_more_often_than_promised() {
        // The size exactly: the mass of all outcomes whose p-value is at most alpha.
        for n in [1_u64, 5, 10, 30, 101, 400] {
            for alpha in [0.001, 0.05, 0.2] {
                let mut mass = 0.5_f64.powi(n as i32);
                let mut size = 0.0;
                for k in 0..=n {
                    if mcnemar(k, n - k) <= alpha {
                        size += mass;
                    }
                    mass *= (n - k) as f64 / (k + 1) as f64;
                }
                assert!(size <= alpha * (1.0 + 1e-9), "{n} {alpha}: {size}");
                assert!(n < 30 || size > 0.3 * alpha, "{n} {alpha}: {size} is needlessly small");
            }
        }
    }
}
