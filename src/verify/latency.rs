//! Latencies: sparse buckets where they are handed on, dense histograms where they are kept.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::stats::quantile_ranks;

/// Sub-buckets per power of two: a value is known to 1/256, that is 0.4 %.
const SUB_BITS: u32 = 8;
/// Longest latency kept apart, in microseconds: an hour.
const MAX_US: u64 = 3_600_000_000;

/// Counts by bucket, in the order of the buckets: what a ledger hands on. Buckets are log-linear
/// over microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    buckets: Vec<(u16, u32)>,
}

fn bucket(us: u64) -> u16 {
    let us = us.min(MAX_US);
    let shift = (64 - us.leading_zeros()).saturating_sub(SUB_BITS + 1);
    // At most 24 shifts of 256 sub-buckets: fits by far.
    u16::try_from((u64::from(shift) << SUB_BITS) + (us >> shift)).unwrap_or(u16::MAX)
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < 2 << SUB_BITS {
        return bucket;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    let low = (bucket - (shift << SUB_BITS)) << shift;
    low + (1 << shift) / 2
}

impl Sparse {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.add(bucket(us), 1);
    }

    fn add(&mut self, bucket: u16, count: u32) {
        match self.buckets.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => {
                if let Some((_, n)) = self.buckets.get_mut(at) {
                    *n = n.saturating_add(count);
                }
            }
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| u64::from(*n)).sum()
    }

    /// Latencies in seconds, with their counts, from the shortest.
    pub fn seconds(&self) -> impl Iterator<Item = (f64, u32)> {
        self.buckets.iter().map(|(b, n)| (middle(*b) as f64 / 1e6, *n))
    }
}

/// A dense histogram over microseconds, with three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds that the crate documents as sound")]
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("sound bounds"))
    }
}

impl Latencies {
    /// Adds what a ledger handed on.
    pub fn add(&mut self, sparse: &Sparse) {
        for (bucket, count) in &sparse.buckets {
            self.0.saturating_record_n(middle(*bucket), u64::from(*count));
        }
    }

    /// Adds one value.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        // Equal bounds: nothing can be out of range.
        let _ = self.0.add(&other.0);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The smallest value in milliseconds; `None` if there is none.
    pub fn min_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.min() as f64 / 1e3)
    }

    /// The largest value in milliseconds; `None` if there is none.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1e3)
    }

    /// The quantile `q` (0 to 1) in milliseconds; `None` without enough samples for an upper bound
    /// on it at 95 % confidence, which for 0.99 takes 299.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let (_, upper) = quantile_ranks(self.count(), q, 0.95);
        upper.map(|_| self.0.value_at_quantile(q) as f64 / 1e3)
    }

    /// The value of the `rank`-th smallest sample, counted from 1, in milliseconds; `None` if there
    /// are fewer samples.
    pub fn rank_ms(&self, rank: u64) -> Option<f64> {
        if rank == 0 || rank > self.count() {
            return None;
        }
        let mut below = 0;
        self.0
            .iter_recorded()
            .find(|bucket| {
                below += bucket.count_at_value();
                below >= rank
            })
            .map(|bucket| bucket.value_iterated_to() as f64 / 1e3)
    }

    /// How many values are at most each of `ends` (in seconds, ascending), and the sum of all
    /// values in seconds, to the histogram's resolution.
    pub fn cumulative(&self, ends: &[f64]) -> (Vec<u64>, f64) {
        let mut counts = vec![0; ends.len()];
        let mut sum = 0.0;
        for bucket in self.0.iter_recorded() {
            let seconds = bucket.value_iterated_to() as f64 / 1e6;
            let count = bucket.count_at_value();
            sum += seconds * count as f64;
            for (end, total) in ends.iter().zip(&mut counts) {
                if seconds <= *end {
                    *total += count;
                }
            }
        }
        (counts, sum)
    }

    /// The histogram in HdrHistogram's compressed form (V2, deflate), in base64.
    pub fn encoded(&self) -> String {
        use base64::Engine;
        use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail, and the counts are far below what the form can hold.
        let _ = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_value_back_to_half_a_percent() {
        let mut us = 0_u64;
        while us < MAX_US {
            let back = middle(bucket(us));
            let error = back.abs_diff(us) as f64 / (us.max(1)) as f64;
            assert!(error <= 0.005, "{us} came back as {back}");
            us += 1 + us / 97;
        }
        assert!(bucket(u64::MAX) == bucket(MAX_US));
    }

    #[test]
    fn buckets_grow_with_their_values() {
        let mut last = 0;
        for us in 0..100_000_u64 {
            let b = bucket(us);
            assert!(b >= last, "{us}");
            last = b;
        }
    }

    #[test]
    fn merging_is_adding_up() {
        let (mut a, mut b, mut all) = (Sparse::default(), Sparse::default(), Sparse::default());
        for us in [5, 900, 900, 70_000] {
            a.record(Duration::from_micros(us));
            all.record(Duration::from_micros(us));
        }
        for us in [900, 1_000_000] {
            b.record(Duration::from_micros(us));
            all.record(Duration::from_micros(us));
        }
        a.merge(&b);
        assert_eq!(a, all);
        assert_eq!(a.count(), 6);
    }

    #[test]
    fn ranks_and_quantiles_are_those_of_the_samples() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.min_ms(), latencies.quantile_ms(0.5)), (None, None));
        for ms in 1..=298 {
            latencies.record(Duration::from_millis(ms));
        }
        assert!((latencies.rank_ms(1).unwrap() - 1.0).abs() < 0.01);
        assert!((latencies.rank_ms(95).unwrap() - 95.0).abs() < 0.1);
        assert_eq!(latencies.rank_ms(299), None);
        assert_eq!(latencies.quantile_ms(0.99), None, "298 samples bound no p99");
        latencies.record(Duration::from_millis(299));
        assert!((latencies.quantile_ms(0.99).unwrap() - 297.0).abs() < 0.5);
        assert_eq!(latencies.quantile_ms(0.999), None);
        assert!(latencies.encoded().starts_with("HISTFAAA"));
    }
}
