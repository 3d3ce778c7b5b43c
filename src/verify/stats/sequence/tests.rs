use rand::rngs::SmallRng;

use super::super::binomial::{ln_at_most, lower_bound, trials_needed, upper_bound};
use super::super::simulation::{count, most_misses, rng, trials_before_failure};
use super::*;

fn close(a: f64, b: f64, relative: f64) -> bool {
    (a - b).abs() <= relative * b.abs()
}

#[test]
fn the_evidence_is_that_of_confseq() {
    // confseq 0.0.11 (Howard and others): boundaries.beta_binomial_log_mixture(s=n/2 - k, v=n/4,
    // v_opt=3.164429802648119, g=0.5, h=0.5, alpha_opt=0.05, is_one_sided=True). Its prior has the
    // mean that is tested, so that it meets Jeffreys' at one half only; this v_opt makes r = 1/4.
    for (k, n, expected) in [
        (0, 1, 0.492_633_000_406_600_5),
        (0, 10, 5.888_305_216_397_979),
        (7, 10, -2.171_816_364_984_134_7),
        (40, 100, 0.153_017_727_190_529),
        (10, 100, 34.965_730_917_844_95),
        (400, 1_000, 17.148_734_794_609_666),
        (4_990, 10_000, -4.663_844_778_808_469),
    ] {
        let got = ln_evidence_against_at_least(0.5, k, n);
        assert!(close(got, expected, 1e-11), "{k} of {n}: {got}");
        let mirrored = ln_evidence_against_at_most(0.5, n - k, n);
        assert!(close(mirrored, expected, 1e-11), "{k} of {n}, mirrored: {mirrored}");
    }
}

#[test]
fn the_evidence_is_the_integral() {
    // mpmath 1.4 at 50 digits: log(quad(lambda t: (sin(t)/sin(x))**(2*k) *
    // (cos(t)/cos(x))**(2*(n-k)), [0, x]) / x) with x = asin(sqrt(p)); the first three also from
    // mpmath.betainc on the scale of the rate.
    for (p, k, n, expected) in [
        (0.3, 2, 30, 4.091_801_534_771_69),
        (0.05, 0, 100, 4.192_745_322_659_14),
        (0.5, 7, 10, -2.171_816_364_984_13),
        (1e-4, 0, 38_000, 3.006_034_754_100_82),
        (1e-4, 1, 50_000, 1.753_317_805_413_33),
        (1e-3, 10, 30_000, 7.541_393_811_722_02),
        (1e-9, 0, 100_000_000, 0.067_108_261_743_223_2),
        (0.99, 90, 100, 11.979_990_314_89),
        (0.3, 40, 100, -3.394_147_415_550_52),
        (0.01, 990_000, 100_000_000, 43.988_901_753_050_3),
        (0.501, 50_000_000, 100_000_000, 191.256_143_023_995),
    ] {
        let got = ln_evidence_against_at_least(p, k, n);
        assert!(close(got, expected, 1e-11), "{p}, {k} of {n}: {got}");
    }
}

#[test]
fn bounds_are_those_of_numerical_integration() {
    // mpmath 1.4 at 30 digits: where the integral above reaches log(20), by bisection.
    for (k, n, lower, upper) in [
        (0, 1, 0.0, 0.972_063_305_375_6),
        (0, 10, 0.0, 0.313_802_144_179_39),
        (1, 10, 4.720_722_896_291_2e-4, 0.503_725_737_823_5),
        (5, 10, 0.124_863_389_610_41, 0.875_136_610_389_59),
        (9, 10, 0.496_274_262_176_5, 0.999_527_927_710_37),
        (0, 38_000, 0.0, 9.969_010_413_816_7e-5),
        (3, 1_000, 1.241_784_866_546_7e-4, 0.010_786_079_685_023),
        (100, 1_000_000, 6.148_299_140_072e-5, 1.359_048_138_225_9e-4),
        (3, 100_000_000, 1.752_549_958_285e-10, 1.082_843_439_189_9e-7),
        (50_000_000, 100_000_000, 0.499_757_729_237_27, 0.500_242_270_762_73),
    ] {
        let got = (lower_bound_anytime(k, n, 0.95), upper_bound_anytime(k, n, 0.95));
        assert!(close(got.0, lower, 1e-9), "lower {k}/{n}: {got:?}");
        assert!(close(got.1, upper, 1e-11), "upper {k}/{n}: {got:?}");
    }
}

#[test]
fn the_evidence_is_worth_one_in_expectation() {
    // What makes it a martingale that begins at 1; above the rate it is worth less.
    for p in [0.001, 0.1, 0.5, 0.9] {
        for n in [1_u64, 7, 60] {
            let expected = |truth: f64| -> f64 {
                let mut mass = (1.0 - truth).powi(n as i32);
                let term = |k: u64| {
                    let worth = mass * ln_evidence_against_at_least(p, k, n).exp();
                    mass *= (n - k) as f64 / (k + 1) as f64 * truth / (1.0 - truth);
                    worth
                };
                (0..=n).map(term).sum()
            };
            assert!((expected(p) - 1.0).abs() < 1e-10, "{p} {n}: {}", expected(p));
            assert!(expected(1.05 * p) < 1.0, "{p} {n}: {}", expected(1.05 * p));
        }
    }
}

#[test]
fn a_limit_is_where_the_evidence_reaches_its_threshold() {
    for (k, n) in [(0, 1), (1, 2), (0, 40), (3, 40), (39, 40), (17, 60_000), (400, 1_000_000)] {
        for confidence in [0.5, 0.95, 0.999_999] {
            let threshold = ln_threshold(confidence);
            let upper = upper_bound_anytime(k, n, confidence);
            let evidence = |by: f64| {
                ln_evidence_against_at_least(1.0 - (1.0 - upper * by.min(1.0)) / by.max(1.0), k, n)
            };
            assert!(evidence(1.0 - 1e-6) < threshold, "{k}/{n}");
            assert!(evidence(1.0 + 1e-6) >= threshold, "{k}/{n}");
            let lower = lower_bound_anytime(k.max(1), n, confidence);
            let evidence = |by: f64| ln_evidence_against_at_most(lower * by, k.max(1), n);
            assert!(evidence(1.0 - 1e-6) >= threshold, "{k}/{n}");
            assert!(evidence(1.0 + 1e-6) < threshold, "{k}/{n}");
        }
    }
}

#[test]
fn the_slope_is_that_of_the_evidence() {
    for (angle, k, n) in [(0.4, 0, 20), (0.4, 5, 20), (1.5, 0, 1), (0.012, 3, 30_000)] {
        let (step, (_, slope)) = (1e-4 * angle, ln_evidence(angle, k, n));
        let ln = |angle: f64| ln_evidence(angle, k, n).0;
        let rise = (ln(angle + step) - ln(angle - step)) / (2.0 * step);
        assert!(close(slope, rise, 1e-4), "{angle}, {k} of {n}: {slope} {rise}");
    }
}

#[test]
fn without_trials_everything_is_possible() {
    for (k, n) in [(0, 0), (5, 0), (7, 7), (8, 7)] {
        assert!(close(upper_bound_anytime(k, n, 0.95), 1.0, 0.0), "{k} of {n}");
    }
    for (k, n) in [(0, 0), (5, 0), (0, 7), (0, u64::MAX)] {
        assert_eq!(lower_bound_anytime(k, n, 0.95).to_bits(), 0.0_f64.to_bits(), "{k} of {n}");
    }
}

#[test]
fn what_is_no_confidence_bounds_nothing() {
    for confidence in [1.0, 2.0, f64::NAN] {
        assert!(upper_bound_anytime(1, 1_000, confidence) > 1.0 - 1e-9, "{confidence}");
        assert!(lower_bound_anytime(1, 1_000, confidence) < 1e-9, "{confidence}");
        assert!(trials_needed_anytime(0.1, confidence) > 1 << 60, "{confidence}");
    }
}

#[test]
fn failures_raise_both_limits_and_clean_trials_lower_them() {
    for n in [1, 2, 10, 1_000, 38_000, 100_000_000] {
        for k in [0, 1, 2, 30, n / 100, n / 2, n - 1] {
            let limits = |k, n| (lower_bound_anytime(k, n, 0.95), upper_bound_anytime(k, n, 0.95));
            let (lower, upper) = limits(k, n);
            let (failed, kept) = (limits(k + 1, n + 1), limits(k, n + 1));
            if k < n {
                assert!(
                    kept.1 < upper && upper <= failed.1,
                    "{k}/{n}: {kept:?} {upper} {failed:?}"
                );
            }
            if (1..=n).contains(&k) {
                assert!(kept.0 < lower && lower < failed.0, "{k}/{n}: {kept:?} {lower} {failed:?}");
            }
        }
    }
}

#[test]
fn at_any_time_is_a_stronger_promise_than_once() {
    for n in [1, 10, 1_000, 1_000_000] {
        for k in [0, 1, n / 10, n / 2] {
            assert!(upper_bound_anytime(k, n, 0.95) >= upper_bound(k, n, 0.95), "{k}/{n}");
            assert!(lower_bound_anytime(k, n, 0.95) <= lower_bound(k, n, 0.95), "{k}/{n}");
        }
    }
}

#[test]
fn trials_needed_are_the_fewest_that_suffice() {
    // mpmath, from the integral above: its excess over log(20) is negative at one trial fewer.
    for (rate, n) in [(0.5, 6), (1e-2, 377), (1e-3, 3_787), (1e-4, 37_883)] {
        assert_eq!(trials_needed_anytime(rate, 0.95), n);
        assert!(upper_bound_anytime(0, n, 0.95) <= rate, "{rate}");
        assert!(upper_bound_anytime(0, n - 1, 0.95) > rate, "{rate}");
    }
    for (rate, confidence) in [(1e-6, 0.95), (1e-4, 0.5), (1e-4, 0.999_9), (0.99, 0.95)] {
        let n = trials_needed_anytime(rate, confidence);
        assert!(upper_bound_anytime(0, n, confidence) <= rate, "{rate} {confidence}");
        assert!(upper_bound_anytime(0, n - 1, confidence) > rate, "{rate} {confidence}");
        assert!(n >= trials_needed(rate, confidence), "{rate} {confidence}");
    }
}

/// Whether a limit that rules out `k` failures in `n` trials of the true rate is ever met on the
/// way to `horizon`. Trials without a failure only add to the evidence against a rate or more, so
/// that looking before each failure, and at the end, is looking at every time.
fn ever_missed_from_above(
    rng: &mut SmallRng,
    rate: f64,
    horizon: u64,
    rules_out: impl Fn(u64, u64) -> bool,
) -> bool {
    let (mut failures, mut trials) = (0, 0);
    loop {
        let before = (trials + trials_before_failure(rng, rate)).min(horizon);
        if rules_out(failures, before) {
            return true;
        }
        if before == horizon {
            return false;
        }
        (failures, trials) = (failures + 1, before + 1);
    }
}

/// The same from below: evidence against a rate or less comes from failures alone, so that looking
/// right after each of them is looking at every time.
fn ever_missed_from_below(
    rng: &mut SmallRng,
    rate: f64,
    horizon: u64,
    rules_out: impl Fn(u64, u64) -> bool,
) -> bool {
    let (mut failures, mut trials) = (0, 0);
    loop {
        (failures, trials) = (failures + 1, trials + trials_before_failure(rng, rate) + 1);
        if trials > horizon {
            return false;
        }
        if rules_out(failures, trials) {
            return true;
        }
    }
}

const SEQUENCES: [(f64, u64); 3] = [(0.2, 300), (0.01, 5_000), (1e-3, 40_000)];

#[test]
fn looking_all_the_time_misses_a_rate_no_more_often_than_promised() {
    const RUNS: u64 = 1_500;
    let threshold = ln_threshold(0.95);
    for (rate, horizon) in SEQUENCES {
        let mut rng = rng(horizon);
        // The limit is below the rate if and only if the evidence against it has been reached.
        let upper = count(RUNS, || {
            ever_missed_from_above(&mut rng, rate, horizon, |k, n| {
                ln_evidence_against_at_least(rate, k, n) >= threshold
            })
        });
        let lower = count(RUNS, || {
            ever_missed_from_below(&mut rng, rate, horizon, |k, n| {
                ln_evidence_against_at_most(rate, k, n) >= threshold
            })
        });
        let most = most_misses(RUNS, 0.05);
        assert!(upper <= most && lower <= most, "{rate}: {upper} and {lower} of {RUNS}");
        // And it is no empty promise.
        assert!(upper >= RUNS / 200 && lower >= RUNS / 200, "{rate}: {upper} and {lower}");
    }
}

#[test]
fn the_bound_for_one_look_breaks_its_promise_when_looked_at_all_the_time() {
    const RUNS: u64 = 600;
    for (rate, horizon) in SEQUENCES {
        let mut rng = rng(horizon);
        let misses = count(RUNS, || {
            ever_missed_from_above(&mut rng, rate, horizon, |k, n| {
                ln_at_most(k, n, rate) <= 0.05_f64.ln()
            })
        });
        assert!(misses > 2 * most_misses(RUNS, 0.05), "{rate}: {misses} of {RUNS}");
    }
}
