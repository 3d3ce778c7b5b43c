use super::super::simulation::{count, failures, most_misses, rng};
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
fn bounds_keep_nine_digits_up_to_a_hundred_million_trials() {
    // scipy 1.17: beta.ppf(0.95, k + 1, n - k) and beta.ppf(0.05, k, n - k + 1).
    for (k, n, lower, upper) in [
        (9, 10, 0.605_836_697_563_495, 0.994_883_803_108_176),
        (100, 1_000_000, 8.413_990_242_281_65e-5, 1.180_782_053_691_365e-4),
        (1_000_000, 100_000_000, 0.009_983_639_386_628, 0.010_016_381_564_362_2),
        (50_000_000, 100_000_000, 0.499_917_752_319_414, 0.500_082_247_680_586),
    ] {
        let got = (lower_bound(k, n, 0.95), upper_bound(k, n, 0.95));
        assert!((got.0 / lower - 1.0).abs() < 1e-9, "lower {k}/{n}: {got:?}");
        assert!((got.1 / upper - 1.0).abs() < 1e-9, "upper {k}/{n}: {got:?}");
    }
    let upper = upper_bound(3, 1_000, 0.999);
    assert!((upper / 0.012_996_697_147_763_7 - 1.0).abs() < 1e-9, "{upper}");
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
fn tails_are_those_of_scipy() {
    // scipy 1.17: binom.logcdf(k, n, p) and binom.logsf(k - 1, n, p), and where one of them rounds
    // to 0 there, that.
    for (k, n, p, most, least) in [
        (3, 10, 0.5, -1.760_987_810_561_301, -0.056_239_718_322_876),
        (10_000_000, 20_000_000, 0.5, -0.692_968_784_064_161, -0.692_968_784_064_161),
        (50_000_000, 100_000_000, 0.5, -0.693_067_395_286_994, -0.693_067_395_286_994),
        (9_995_000, 20_000_000, 0.5, -4.367_651_853_457_666, -0.012_747_239_390_011),
        (1_000_000, 100_000_000, 0.01, -0.692_615_392_295_677, -0.692_877_242_595_206),
        (0, 38_000, 1e-4, -3.800_190_012_667_617, 0.0),
        (40, 100_000_000, 1e-6, -25.613_520_151_587_565, 0.0),
        (3, 1_000_000_000, 1e-9, -0.019_170_746_925_774, -2.521_968_261_176_707),
        (4_000, 10_000, 0.5, -205.069_087_304_897_18, 0.0),
        (10, 10, 0.5, 0.0, -6.931_471_805_599_453),
    ] {
        let got = (ln_at_most(k, n, p), ln_at_least(k, n, p));
        assert!((got.0 - most).abs() < 1e-8, "{k} of {n}: {got:?}");
        assert!((got.1 - least).abs() < 1e-8, "{k} of {n}: {got:?}");
    }
    assert!(ln_at_least(11, 10, 0.5) < f64::MIN);
}

#[test]
fn the_slope_is_that_of_the_tail() {
    for (angle, k, n) in [(0.4, 0, 20), (0.4, 5, 20), (1.5, 0, 1), (0.012, 3, 30_000)] {
        let (step, (_, slope)) = (1e-4 * angle, ln_tail(angle, k, n));
        let rise = (ln_tail(angle + step, k, n).0 - ln_tail(angle - step, k, n).0) / (2.0 * step);
        assert!((slope / rise - 1.0).abs() < 1e-4, "{angle}, {k} of {n}: {slope} {rise}");
    }
}

#[test]
fn either_tail_leaves_the_other() {
    for (k, n, p) in [(0, 1, 0.3), (3, 10, 0.4), (700, 1_000, 0.69), (30, 1_000_000, 2e-5)] {
        let sum = ln_at_most(k, n, p).exp() + ln_at_least(k + 1, n, p).exp();
        assert!((sum - 1.0).abs() < 1e-12, "{k} of {n}: {sum}");
    }
}

#[test]
fn limits_miss_a_rate_no_more_often_than_promised() {
    const RUNS: u64 = 20_000;
    // Just beyond a limit of few failures, where a miss is most likely: nearly 5 %.
    let above = |k, n| upper_bound(k, n, 0.95) * 1.001;
    let below = |k, n| lower_bound(k, n, 0.95) * 0.999;
    for (n, p) in [
        (50, 0.02),
        (200, 0.1),
        (20, 0.5),
        (300, above(0, 300)),
        (1_000, above(2, 1_000)),
        (200, below(3, 200)),
        (1_000, below(10, 1_000)),
    ] {
        let mut rng = rng(n);
        let limits: Vec<(f64, f64)> =
            (0..=n).map(|k| (lower_bound(k, n, 0.95), upper_bound(k, n, 0.95))).collect();
        let mut misses = (0, 0);
        for _ in 0..RUNS {
            let (lower, upper) = limits[failures(&mut rng, n, p) as usize];
            misses.0 += u64::from(lower > p);
            misses.1 += u64::from(upper < p);
        }
        let most = most_misses(RUNS, 0.05);
        assert!(misses.0 <= most && misses.1 <= most, "{n} {p}: {misses:?} of {RUNS}");
    }
}

#[test]
fn a_limit_of_less_confidence_would_be_caught() {
    let mut rng = rng(1);
    let p = upper_bound(2, 1_000, 0.94) * 1.001;
    let limits: Vec<f64> = (0..=1_000).map(|k| upper_bound(k, 1_000, 0.94)).collect();
    let misses = count(20_000, || limits[failures(&mut rng, 1_000, p) as usize] < p);
    assert!(misses > most_misses(20_000, 0.05), "{misses}");
}
