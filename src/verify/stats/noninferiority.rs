//! Is new's quantile no worse than old's, or is it?

/// Where a quantity lies, in any unit: at least `lower` and at most `upper`, each a one-sided limit
/// of its own. `None` where the samples do not suffice for one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The lower limit.
    pub lower: Option<f64>,
    /// The upper limit.
    pub upper: Option<f64>,
}

/// What two intervals say of new against old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// New is at most what is allowed, wherever both lie within their intervals.
    NotSlower,
    /// New is above what is allowed, wherever both lie within their intervals.
    Slower,
    /// Either is possible.
    Undecided,
}

/// Compares new with what old allows it: old · `ratio` + `slack` (both at least 0; `slack` in the
/// intervals' unit).
///
/// Each answer rests on two limits. If each of them is wrong with a probability of at most 1 − C,
/// a wrong answer of either kind has one of at most 2 (1 − C) (Bonferroni), whether or not old and
/// new are independent. For independent samples it is less: at 95 % below 1 % for samples of one
/// size, as both limits must err together (simulated), and up to 5 % where one sample is far the
/// larger. Callers who need 1 − C in every case pass limits at (1 + C) / 2. With limits that hold
/// at all times at once, so does the answer.
///
/// Schenker and Gentleman, "On judging the significance of differences by examining the overlap
/// between confidence intervals", The American Statistician 55 (2001), on how conservative it is.
pub fn compare(new: Interval, old: Interval, ratio: f64, slack: f64) -> Comparison {
    let allowed = |old: f64| old * ratio + slack;
    match (new.upper.zip(old.lower), new.lower.zip(old.upper)) {
        (Some((new, old)), _) if new <= allowed(old) => Comparison::NotSlower,
        (_, Some((new, old))) if new > allowed(old) => Comparison::Slower,
        _ => Comparison::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;

    use super::super::quantile::quantile_ranks;
    use super::super::simulation::{exponential, most_misses, rng};
    use super::*;

    fn interval(lower: f64, upper: f64) -> Interval {
        Interval { lower: Some(lower), upper: Some(upper) }
    }

    #[test]
    fn an_answer_takes_the_limits_that_face_each_other() {
        let old = interval(10.0, 12.0);
        for (new, answer) in [
            (interval(1.0, 25.0), Comparison::NotSlower),
            (interval(1.0, 25.1), Comparison::Undecided),
            (interval(29.0, 90.0), Comparison::Undecided),
            (interval(29.1, 90.0), Comparison::Slower),
        ] {
            // 10 · 2 + 5 = 25, and 12 · 2 + 5 = 29.
            assert_eq!(compare(new, old, 2.0, 5.0), answer, "{new:?}");
        }
    }

    #[test]
    fn a_limit_that_is_missing_decides_nothing() {
        let (none, old) = (Interval::default(), interval(10.0, 12.0));
        assert_eq!(compare(none, old, 2.0, 5.0), Comparison::Undecided);
        assert_eq!(compare(old, none, 2.0, 5.0), Comparison::Undecided);
        let no_upper = Interval { upper: None, ..old };
        let no_lower = Interval { lower: None, ..old };
        assert_eq!(compare(no_lower, no_upper, 2.0, 5.0), Comparison::NotSlower);
        assert_eq!(compare(no_upper, old, 2.0, 5.0), Comparison::Undecided);
        assert_eq!(compare(old, no_lower, 2.0, 5.0), Comparison::Undecided);
        assert_eq!(compare(no_upper, no_lower, 0.5, 0.0), Comparison::Slower);
    }

    #[test]
    fn what_is_no_number_decides_nothing() {
        let (bad, good) = (interval(f64::NAN, f64::NAN), interval(5.0, 6.0));
        for (new, old, ratio) in [(good, bad, 1.0), (bad, good, 1.0), (good, good, f64::NAN)] {
            assert_eq!(compare(new, old, ratio, 0.0), Comparison::Undecided, "{new:?} {old:?}");
        }
    }

    const SAMPLES: u64 = 300;

    /// The interval of p90 of so many latencies, exponential with mean 1, stretched and shifted.
    fn p90(rng: &mut SmallRng, ratio: f64, slack: f64) -> Interval {
        let mut samples: Vec<f64> = (0..SAMPLES).map(|_| exponential(rng)).collect();
        samples.sort_unstable_by(f64::total_cmp);
        let (lower, upper) = quantile_ranks(SAMPLES, 0.9, 0.95);
        let value = |rank: u64| samples[rank as usize - 1] * ratio + slack;
        Interval { lower: lower.map(value), upper: upper.map(value) }
    }

    /// How often new, so much slower than old, is called not slower, and slower, than 2 · old + 1.
    fn answers(
        runs: u64,
        ratio: f64,
        slack: f64,
        old: fn(&mut SmallRng) -> Interval,
    ) -> (u64, u64) {
        let mut rng = rng(7);
        let mut answers = (0, 0);
        for _ in 0..runs {
            let (old, new) = (old(&mut rng), p90(&mut rng, ratio, slack));
            match compare(new, old, 2.0, 1.0) {
                Comparison::NotSlower => answers.0 += 1,
                Comparison::Slower => answers.1 += 1,
                Comparison::Undecided => {}
            }
        }
        answers
    }

    /// Old from as many samples as new.
    fn sampled(rng: &mut SmallRng) -> Interval {
        p90(rng, 1.0, 0.0)
    }

    /// Old from so many samples that its quantile is known.
    fn known(_: &mut SmallRng) -> Interval {
        interval(std::f64::consts::LN_10, std::f64::consts::LN_10)
    }

    #[test]
    fn at_the_boundary_either_answer_is_rarely_given() {
        const RUNS: u64 = 2_500;
        // Promised are 10 %: 1 % where both limits must err together, 5 % where one may.
        for (old, nominal) in [(sampled as fn(&mut SmallRng) -> Interval, 0.01), (known, 0.05)] {
            let (not_slower, slower) = answers(RUNS, 2.0, 1.0, old);
            for wrong in [not_slower, slower] {
                assert!(wrong <= most_misses(RUNS, nominal), "{not_slower} {slower} of {RUNS}");
                assert!(wrong > 0, "{not_slower} {slower} of {RUNS}");
            }
        }
    }

    #[test]
    fn away_from_the_boundary_the_right_answer_is_given() {
        assert_eq!(answers(500, 1.0, 0.0, sampled), (500, 0));
        assert_eq!(answers(500, 2.0, 7.0, sampled), (0, 500));
    }
}
