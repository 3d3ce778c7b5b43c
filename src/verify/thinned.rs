//! A course over time that is to be drawn: of however many points so many are kept, evenly.

/// Points that are kept at most.
pub const POINTS_MAX: usize = 480;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinned<T> {
    points: Vec<T>,
    /// Points that came.
    came: u64,
    /// Points that come for each that is kept.
    stride: u64,
}

impl<T> Default for Thinned<T> {
    fn default() -> Self {
        Self { points: Vec::new(), came: 0, stride: 1 }
    }
}

impl<T> Thinned<T> {
    /// One more comes. Where there are too many, every other one is dropped.
    pub fn push(&mut self, point: T) {
        if self.came.is_multiple_of(self.stride) {
            self.points.push(point);
        }
        self.came += 1;
        if self.points.len() > POINTS_MAX {
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// Those that are kept, in their order.
    pub fn points(&self) -> &[T] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_come_they_are_bounded_and_evenly_apart() {
        for count in [0, 1, POINTS_MAX, POINTS_MAX + 1, 10_000] {
            let mut course = Thinned::default();
            (0..count).for_each(|point| course.push(point));
            let points = course.points();
            assert!(points.len() <= POINTS_MAX && points.len() >= count.min(POINTS_MAX / 2));
            let steps: Vec<_> = points.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(steps.windows(2).all(|pair| pair[0] == pair[1]), "{count}");
            assert_eq!(points.first().copied(), (count > 0).then_some(0));
        }
    }
}
