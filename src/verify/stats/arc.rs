//! Integrals under the likelihood of a rate, on the scale of the angle φ with rate = sin²φ.
//!
//! A beta density becomes sin^a φ · cos^b φ there: smooth, log-concave, and about 1/√(a + b) wide
//! wherever it peaks (Anscombe, "The transformation of Poisson, binomial and negative-binomial
//! data", Biometrika 35 (1948)), so that a fixed rule integrates it for ten trials and for 10⁹.
//! statrs 0.19 cannot: its continued fraction for the incomplete beta function ends after 140
//! terms, and gives 1.54 for a probability of one half at 10⁸ trials.

use std::f64::consts::FRAC_PI_2;

/// Where the logarithm has fallen so far below its peak, nothing adds to a sum in f64.
const NEGLIGIBLE: f64 = 38.0;
/// Panels of one integral: more than 10⁻¹¹ of accuracy with the rule below, deep tails included.
const PANELS: u32 = 4;
/// Gauss–Legendre rule of 12 points on (−1, 1): the positive nodes and their weights.
const RULE: [(f64, f64); 6] = [
    (0.125_233_408_511_468_9, 0.249_147_045_813_402_8),
    (0.367_831_498_998_180_2, 0.233_492_536_538_354_8),
    (0.587_317_954_286_617_4, 0.203_167_426_723_065_92),
    (0.769_902_674_194_304_7, 0.160_078_328_543_346_23),
    (0.904_117_256_370_474_9, 0.106_939_325_995_318_43),
    (0.981_560_634_246_719_3, 0.047_175_336_386_511_83),
];

/// The angle of a rate (0 to 1), 0 to π/2.
pub(super) fn angle_of(rate: f64) -> f64 {
    rate.sqrt().atan2((1.0 - rate).sqrt())
}

/// The angle of the complementary rate.
pub(super) fn mirrored(angle: f64) -> f64 {
    FRAC_PI_2 - angle
}

/// sin^a φ · cos^b φ for φ from 0 to π/2, in units of its greatest value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arc {
    a: f64,
    b: f64,
    peak: f64,
}

impl Arc {
    /// With exponents of at least 0.
    pub(super) fn new(a: f64, b: f64) -> Self {
        Self { a, b, peak: a.sqrt().atan2(b.sqrt()) }
    }

    /// Natural logarithm of the value at an angle: 0 at the peak, negative elsewhere.
    pub(super) fn ln(&self, angle: f64) -> f64 {
        let (half_sin, half_cos) = (0.5 * (angle - self.peak)).sin_cos();
        let (sin, versine) = (2.0 * half_sin * half_cos, 2.0 * half_sin * half_sin);
        // sin(p + d) = sin p · (1 + cot p · sin d − (1 − cos d)), and likewise for the cosine: near
        // the peak p nothing cancels, whatever the exponents.
        let (cot, tan) = ((self.b / self.a).sqrt(), (self.a / self.b).sqrt());
        ln_power(self.a, cot * sin - versine) + ln_power(self.b, -tan * sin - versine)
    }

    /// Derivative of the logarithm.
    pub(super) fn slope(&self, angle: f64) -> f64 {
        let tan = angle.tan();
        let rise = if self.a > 0.0 { self.a / tan } else { 0.0 };
        rise - self.b * tan
    }

    /// Natural logarithm of the integral from `low` to `high`; −∞ if nothing lies between.
    pub(super) fn ln_integral(&self, low: f64, high: f64) -> f64 {
        let top = self.peak.max(low).min(high);
        let ln_top = self.ln(top);
        // The logarithm's second derivative is at most −bend, so this far from the top it has
        // fallen by NEGLIGIBLE.
        let bend = (self.a.sqrt() + self.b.sqrt()).powi(2);
        let slope = self.slope(top).abs();
        let reach = 2.0 * NEGLIGIBLE / (slope + (slope * slope + 2.0 * bend * NEGLIGIBLE).sqrt());
        let (from, to) = (low.max(top - reach), high.min(top + reach));
        let half = 0.5 * (to - from) / f64::from(PANELS);
        let value = |angle: f64| (self.ln(angle) - ln_top).exp();
        let panel = |index: u32| -> f64 {
            let middle = from + half * f64::from(2 * index + 1);
            let pair = |(node, weight): &(f64, f64)| {
                weight * (value(middle - half * node) + value(middle + half * node))
            };
            RULE.iter().map(pair).sum()
        };
        let sum: f64 = (0..PANELS).map(panel).sum();
        ln_top + (sum * half).ln()
    }
}

/// Natural logarithm of (1 + x)^exponent.
fn ln_power(exponent: f64, x: f64) -> f64 {
    // Rounding may take the base a little below zero.
    if exponent > 0.0 { exponent * x.max(-1.0).ln_1p() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integral(a: f64, b: f64, low: f64, high: f64) -> f64 {
        let arc = Arc::new(a, b);
        // In units of one, not of the peak.
        let ln_peak = ln_power(a, arc.peak.sin() - 1.0) + ln_power(b, arc.peak.cos() - 1.0);
        (ln_peak + arc.ln_integral(low, high)).exp()
    }

    #[test]
    fn integrals_with_a_closed_form_are_met() {
        let (low, high) = (0.3_f64, 1.1_f64);
        for (a, b, closed) in [
            (0.0, 0.0, high - low),
            (1.0, 0.0, low.cos() - high.cos()),
            (0.0, 1.0, high.sin() - low.sin()),
            (1.0, 1.0, 0.5 * (high.sin().powi(2) - low.sin().powi(2))),
            (1.0, 99.0, 0.01 * (low.cos().powi(100) - high.cos().powi(100))),
            (99.0, 1.0, 0.01 * (high.sin().powi(100) - low.sin().powi(100))),
            (1.0, 9_999.0, 1e-4 * (low.cos().powi(10_000) - high.cos().powi(10_000))),
        ] {
            let got = integral(a, b, low, high);
            assert!((got / closed - 1.0).abs() < 1e-10, "{a} {b}: {got} {closed}");
        }
    }

    #[test]
    fn an_empty_interval_has_no_integral() {
        assert!(Arc::new(3.0, 5.0).ln_integral(0.5, 0.5) < f64::MIN);
    }

    #[test]
    fn at_either_end_the_logarithm_is_a_number_or_minus_infinity() {
        for a in 1..60 {
            for b in 1..60 {
                let arc = Arc::new(f64::from(a), f64::from(b));
                for end in [0.0, FRAC_PI_2] {
                    assert!(arc.ln(end) < -30.0, "{a} {b}: {}", arc.ln(end));
                }
            }
        }
    }

    #[test]
    fn the_slope_is_that_of_the_logarithm() {
        for (a, b, angle) in [(0.0, 7.0, 0.4), (7.0, 0.0, 1.2), (20.0, 80.0, 0.2), (3.0, 3.0, 1.5)]
        {
            let arc = Arc::new(a, b);
            let rise = (arc.ln(angle + 1e-6) - arc.ln(angle - 1e-6)) / 2e-6;
            assert!((arc.slope(angle) / rise - 1.0).abs() < 1e-6, "{a} {b} {angle}");
        }
    }

    #[test]
    fn angles_give_their_rates_back() {
        for rate in [1e-12, 1e-9, 0.01, 0.5, 0.99] {
            let angle = angle_of(rate);
            assert!((angle.sin().powi(2) / rate - 1.0).abs() < 1e-12, "{rate}");
            assert!((mirrored(angle).cos().powi(2) / rate - 1.0).abs() < 1e-9, "{rate}");
        }
    }
}
