//! The search for the largest number that is taken. Pure.

/// Asks for numbers that rise, up to the first that is not taken, and then for those in between;
/// for those below the first where not even that is taken.
#[derive(Debug)]
pub(super) struct Largest {
    tried: &'static [usize],
    taken: Option<usize>,
    refused: Option<usize>,
}

impl Largest {
    /// Nothing was asked for yet.
    pub(super) const fn of(tried: &'static [usize]) -> Self {
        Self { tried, taken: None, refused: None }
    }

    /// What to ask for next; `None` at the end.
    pub(super) fn next(&self) -> Option<usize> {
        match (self.taken, self.refused) {
            (None, None) => self.tried.first().copied(),
            (Some(taken), None) => self.tried.iter().copied().find(|number| *number > taken),
            (taken, Some(refused)) => {
                let taken = taken.unwrap_or_default();
                (refused.saturating_sub(taken) > 1).then_some(taken.midpoint(refused))
            }
        }
    }

    /// Whether this number is taken.
    pub(super) const fn note(&mut self, number: usize, is_taken: bool) {
        if is_taken {
            self.taken = Some(number);
        } else {
            self.refused = Some(number);
        }
    }

    /// Whether more than one is taken.
    pub(super) const fn is_several(&self) -> bool {
        matches!(self.taken, Some(2..))
    }

    /// The smallest that is not taken, if any was not.
    pub(super) const fn refused(&self) -> Option<usize> {
        self.refused
    }

    /// In words.
    pub(super) fn said(&self, what: &str) -> String {
        match (self.taken, self.refused) {
            (Some(number), Some(_)) => format!("{number}{what}"),
            (Some(number), None) => format!("{number}{what} and more"),
            (None, _) => "none".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_found_to_the_unit() {
        for (limit, said) in [
            (10_240, "10240 bytes"),
            (12_345, "12345 bytes"),
            (10_000, "10000 bytes"),
            (9_999, "9999 bytes"),
            (1, "1 bytes"),
            (0, "none"),
            (20_480, "20480 bytes and more"),
        ] {
            let mut largest = Largest::of(&[10_000, 10_240, 20_480]);
            while let Some(number) = largest.next() {
                largest.note(number, number <= limit);
            }
            assert_eq!((largest.said(" bytes").as_str(), largest.is_several()), (said, limit > 1));
        }
    }
}
