//! The slope of a trend that a few outliers do not bend.

/// The median of the slopes of all pairs of points `(x, y)`, in units of y for each of x; `None`
/// where no two points have another x. It takes the square of their number.
///
/// Theil, "A rank-invariant method of linear and polynomial regression analysis", Proc. KNAW 53
/// (1950); Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968).
pub fn theil_sen_slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes = Vec::new();
    for (at, (x1, y1)) in points.iter().enumerate() {
        let later = points.iter().skip(at + 1).filter(|(x2, _)| x2 != x1);
        slopes.extend(later.map(|(x2, y2)| (y2 - y1) / (x2 - x1)));
    }
    slopes.sort_by(f64::total_cmp);
    let (low, high) = (slopes.len().checked_sub(1)? / 2, slopes.len() / 2);
    Some((slopes.get(low)? + slopes.get(high)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_scipy() {
        // scipy 1.17.1: scipy.stats.theilslopes(y, x)[0].
        for (points, slope) in [
            (&[(0.0, 20.0), (10.0, 18.0), (20.0, 16.0), (30.0, 14.0), (40.0, 12.0)][..], -0.2),
            (&[(0.0, 20.0), (10.0, 18.0), (20.0, 60.0), (30.0, 14.0), (40.0, 12.0)], -0.2),
            (
                &[
                    (0.0, 101.0),
                    (7.0, 97.5),
                    (19.0, 83.0),
                    (31.0, 90.0),
                    (40.0, 66.0),
                    (52.0, 61.0),
                ],
                -0.809_523_809_523_809_5,
            ),
            (&[(0.0, 5.0), (0.0, 6.0), (1.0, 5.0), (1.0, 4.0), (2.0, 3.0)], -1.0),
            (&[(0.0, 9.0), (1.0, 4.0), (3.0, 3.0), (7.0, 8.0)], -0.321_428_571_428_571_4),
        ] {
            let got = theil_sen_slope(points).unwrap();
            assert!((got - slope).abs() < 1e-12, "{points:?}: {got}");
        }
    }

    #[test]
    fn without_two_places_there_is_no_slope() {
        for points in [&[][..], &[(1.0, 2.0)], &[(1.0, 2.0), (1.0, 3.0)]] {
            assert_eq!(theil_sen_slope(points), None, "{points:?}");
        }
    }
}
