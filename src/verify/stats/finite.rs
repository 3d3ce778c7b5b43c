//! What a sample of a finite population rules out.

/// So many are looked for one by one.
const STEPS_MAX: u64 = 1_000_000;

/// A part of a population, of which some were drawn at random, each as likely as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// How many there are.
    pub population: u64,
    /// How many of them were looked at: never more than there are.
    pub sampled: u64,
}

/// The upper bound on how many of all the strata together are defective, if none of those that were
/// looked at is: the most that leave a chance of at least `1 - confidence` of drawing none, with a
/// `confidence` from 0 to 1.
///
/// By the hypergeometric distribution: of `n` of which `d` are defective, `m` that were drawn hold
/// none with the chance `C(n - d, m) / C(n, m)`, and strata are drawn independently. Cochran,
/// "Sampling Techniques" (3rd ed., 1977), section 3.6. Each defective one more costs a stratum a
/// larger factor than the one before, so the most for a given chance are found one by one, always
/// where they cost least. Of more than a million they are taken together, some at a time, each for
/// the price of the first of them: the bound may then be too high, by a millionth of all.
pub fn defective_upper_bound(strata: &[Sampled], confidence: f64) -> u64 {
    let least = (1.0 - confidence).ln();
    let mut chance = 0.0;
    let mut defective = vec![0_u64; strata.len()];
    let population = strata.iter().map(|stratum| stratum.population).fold(0, u64::saturating_add);
    let mut together = (population / STEPS_MAX).max(1);
    loop {
        let costs = strata.iter().zip(&mut defective).filter_map(|(stratum, defective)| {
            let rest = stratum.population - *defective;
            let missed = rest.checked_sub(stratum.sampled).filter(|missed| *missed > 0)?;
            let some = missed.min(together);
            Some(((missed as f64 / rest as f64).ln(), some, defective))
        });
        let cheapest = costs.max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((cost, some, of)) = cheapest else { break };
        if chance + cost * some as f64 >= least {
            chance += cost * some as f64;
            *of += some;
        } else if together > 1 {
            together /= 2;
        } else {
            break;
        }
    }
    defective.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(strata: &[(u64, u64)], confidence: f64) -> u64 {
        let strata: Vec<_> =
            strata.iter().map(|&(population, sampled)| Sampled { population, sampled }).collect();
        defective_upper_bound(&strata, confidence)
    }

    #[test]
    fn the_bound_of_one_stratum_is_that_of_scipy() {
        // scipy 1.17.1: max(d for d in range(n - m + 1) if hypergeom.pmf(0, n, d, m) >= 1 - c).
        for (stratum, confidence, expected) in [
            ((100, 10), 0.95, 24),
            ((1_000, 50), 0.95, 56),
            ((10_000, 200), 0.95, 147),
            ((10_000, 200), 0.99, 225),
            ((50, 49), 0.95, 0),
            ((7, 1), 0.95, 6),
            ((250, 125), 0.999, 9),
        ] {
            assert_eq!(bound(&[stratum], confidence), expected, "{stratum:?}");
        }
    }

    #[test]
    fn whatever_was_looked_at_entirely_is_sound_and_nothing_looked_at_rules_out_nothing() {
        assert_eq!(bound(&[(10, 10), (7, 7)], 0.95), 0);
        assert_eq!(bound(&[(10, 0), (7, 0)], 0.95), 17);
        assert_eq!(bound(&[(10, 10), (7, 0)], 0.95), 7);
        assert_eq!(bound(&[], 0.95), 0);
    }

    #[test]
    fn of_several_strata_it_is_the_worst_of_all_ways_to_share_them() {
        let chance = |(n, m): (u64, u64), d: u64| -> f64 {
            (0..m).map(|i| (n - i).saturating_sub(d) as f64 / (n - i) as f64).product()
        };
        for strata in [[(12, 3), (9, 5)], [(20, 2), (5, 4)], [(8, 1), (8, 7)], [(15, 6), (15, 6)]] {
            let [one, other] = strata;
            let mut worst = 0;
            for a in 0..=one.0 {
                for b in 0..=other.0 {
                    if chance(one, a) * chance(other, b) >= 0.05 - 1e-12 {
                        worst = worst.max(a + b);
                    }
                }
            }
            assert_eq!(bound(&strata, 0.95), worst, "{strata:?}");
        }
    }
}
