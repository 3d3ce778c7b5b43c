//! Where a condition changes.

use std::f64::consts::FRAC_PI_2;

/// Newton steps before the interval is only halved.
const NEWTON_STEPS_MAX: u32 = 30;
const STEPS_MAX: u32 = 200;
/// How near the ends of the interval come to each other, relative to their distance from 0 and π/2.
const RESOLUTION: f64 = 1e-13;

/// The angle (0 to π/2) from which on `excess` is at least 0, rounded up. `excess` gives its value
/// and its derivative; it is negative below the angle that is sought, and not above.
pub(super) fn crossing(guess: f64, excess: impl Fn(f64) -> (f64, f64)) -> f64 {
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    let mut next = guess;
    for step in 0..STEPS_MAX {
        if high - low <= tolerance(high) {
            break;
        }
        // A guess that is no number is not inside either.
        let is_inside = low < next && next < high;
        let at = if is_inside && step < NEWTON_STEPS_MAX { next } else { 0.5 * (low + high) };
        let (value, slope) = excess(at);
        // A value that is no number counts as below: a limit may be too wide, not too narrow.
        if value >= 0.0 {
            high = at;
        } else {
            low = at;
        }
        // A little too far, so that the other end of the interval follows.
        let newton = value / slope;
        next = at - newton - newton.signum() * 0.4 * tolerance(at);
    }
    high
}

/// Near π/2 a number itself resolves no more.
fn tolerance(angle: f64) -> f64 {
    (RESOLUTION * angle.min(FRAC_PI_2 - angle)).max(2.0 * f64::EPSILON * angle)
}

/// How many of 1..=n hold, for a condition that holds up to some number and for none above.
pub(super) fn partition(n: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_crossing_is_found_in_few_steps_and_rounded_up() {
        for (root, power) in [(1e-5_f64, 2), (0.3, 2), (1.5, 2), (0.3, 1), (0.3, 5)] {
            let steps = Cell::new(0);
            let got = crossing(2.0 * root, |x| {
                steps.set(steps.get() + 1);
                let slope = f64::from(power) * x.powi(power - 1);
                (x.powi(power) - root.powi(power), slope)
            });
            assert!(got >= root * (1.0 - 1e-15), "{root}: {got}");
            assert!(got <= root * (1.0 + 2.0 * RESOLUTION), "{root}: {got}");
            assert!(steps.get() <= 14, "{root}: {steps:?}");
        }
    }

    #[test]
    fn a_crossing_is_found_without_a_usable_slope() {
        for slope in [0.0, f64::NAN, f64::INFINITY, -1.0] {
            let got = crossing(f64::NAN, |x| (x - 0.7, slope));
            assert!((got - 0.7).abs() < 1e-12, "{slope}: {got}");
        }
        assert!(crossing(0.5, |_| (f64::INFINITY, f64::NAN)) < 1e-12);
    }

    #[test]
    fn a_crossing_that_is_not_found_is_at_the_upper_end() {
        for value in [-1.0, f64::NEG_INFINITY, f64::NAN] {
            let got = crossing(0.5, |_| (value, 1.0));
            assert!((got - FRAC_PI_2).abs() < 1e-12, "{value}: {got}");
        }
    }

    #[test]
    fn a_partition_counts_what_holds() {
        for n in [0, 1, 2, 7, 100] {
            for holds in 0..=n {
                assert_eq!(partition(n, |i| i <= holds), holds);
            }
        }
    }
}
