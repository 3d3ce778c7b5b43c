//! Latencies: sparse buckets where they are handed on, dense histograms where they are kept.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::stats::quantile_ranks;

/// Sub-buckets per power of two: a value is known to 1/256, that is 0.4 %.
const SUB_BITS: u32 = 8;
/// Longest latency kept apart, in microseconds: an hour.
const MAX_US: u64 = 3_600_000_000;

/// Counts by bucket, in the order of the buckets: what a ledger hands on. Buckets are log-linear
/// over microseconds.
///
/// Serialised as base64 of LEB128 numbers: for each bucket its distance from the one before, and
/// its count. As lists of decimal numbers, latencies would be most of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    buckets: Vec<(u16, u32)>,
}

impl Serialize for Sparse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for (bucket, count) in &self.buckets {
            put(&mut bytes, u32::from(bucket - last));
            put(&mut bytes, *count);
            last = *bucket;
        }
        serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Sparse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(&*text).map_err(D::Error::custom)?;
        let (mut rest, mut last, mut sparse) = (bytes.as_slice(), 0, Self::default());
        while !rest.is_empty() {
            let pair = take(&mut rest).zip(take(&mut rest));
            let (distance, count) = pair.ok_or_else(|| D::Error::custom("a bucket is cut off"))?;
            let bucket = u16::try_from(distance).ok().and_then(|by| by.checked_add(last));
            let bucket = bucket.filter(|bucket| middle(*bucket) <= 2 * MAX_US);
            last = bucket.ok_or_else(|| D::Error::custom("there is no such bucket"))?;
            sparse.add(last, count);
        }
        Ok(sparse)
    }
}

/// Appends a number in LEB128: seven bits to a byte, the low ones first.
fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number in LEB128 from the front; `None` if there is none.
fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for shift in (0..32).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u32::from(first & 0x7F);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
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

    /// Whether nothing was counted.
    pub const fn is_empty(&self) -> bool {
        self.buckets.is_empty()
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

/// Most bytes of sparse counts of latencies up to the longest one.
pub fn sparse_bytes_max(longest: Duration) -> u64 {
    let buckets = u64::from(bucket(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX))) + 1;
    // A list that grows has room for twice as many.
    2 * buckets * size_of::<(u16, u32)>() as u64
}

/// A dense histogram over microseconds, with three significant digits.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl std::fmt::Debug for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (min, max) = (self.min_ms(), self.max_ms());
        write!(f, "Latencies({} from {min:?} to {max:?} ms)", self.count())
    }
}

/// By what was counted, however far either has grown.
impl PartialEq for Latencies {
    fn eq(&self, other: &Self) -> bool {
        let counted = |latencies: &Self| {
            let buckets = latencies.0.iter_recorded();
            buckets.map(|b| (b.value_iterated_to(), b.count_at_value())).collect::<Vec<_>>()
        };
        counted(self) == counted(other)
    }
}

impl Default for Latencies {
    fn default() -> Self {
        // It grows with the longest value: most of these never hold one of a second.
        #[expect(clippy::expect_used, reason = "three digits are among those that the crate takes")]
        Self(Histogram::new(3).expect("three digits"))
    }
}

impl Latencies {
    /// Most bytes of one whose longest latency is this.
    pub fn bytes_max(longest: Duration) -> u64 {
        let mut full = Self::default();
        full.record(longest);
        (full.0.distinct_values() * size_of::<u64>()) as u64
    }

    /// Adds what a ledger handed on.
    pub fn add(&mut self, sparse: &Sparse) {
        for (bucket, count) in &sparse.buckets {
            self.count_value(middle(*bucket), u64::from(*count));
        }
    }

    /// Adds one value.
    pub fn record(&mut self, latency: Duration) {
        self.count_value(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), 1);
    }

    fn count_value(&mut self, us: u64, count: u64) {
        // It grows as far as this, so nothing can be out of range.
        let _ = self.0.record_n(us.min(MAX_US), count);
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        // It grows as far as the other did: nothing can be out of range.
        let _ = self.0.add(&other.0);
    }

    /// Takes away what is part of it.
    pub fn subtract(&mut self, part: &Self) {
        // A part of it: nothing can be out of range, or be missing.
        let _ = self.0.subtract(&part.0);
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

    /// The 99th percentile, or the next of the 90th and the median that so few samples tell, and
    /// the name of it; `None` where they tell none of these.
    pub fn highest_told_ms(&self) -> Option<(&'static str, f64)> {
        let told = [("p99", 0.99), ("p90", 0.9), ("p50", 0.5)].into_iter();
        told.filter_map(|(name, q)| Some((name, self.quantile_ms(q)?))).next()
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
        use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail, and the counts are far below what the form can hold.
        let _ = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        STANDARD.encode(bytes)
    }

    /// Reads what [`Latencies::encoded`] wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        use hdrhistogram::serialization::Deserializer;
        let bytes = STANDARD.decode(text).ok()?;
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        // Other digits, or longer values, would be another program's.
        let mut latencies = Self::default();
        let is_ours = read.sigfig() == latencies.0.sigfig() && read.max() <= 2 * MAX_US;
        is_ours.then(|| latencies.0.add(&read).ok())??;
        Some(latencies)
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
    fn latencies_are_written_and_read_without_loss_and_nonsense_is_refused() {
        let mut sparse = Sparse::default();
        for us in [0, 1, 300, 300, 70_000, 1_000_000, u64::MAX] {
            sparse.record(Duration::from_micros(us));
        }
        sparse.add(9, u32::MAX);
        let text = serde_json::to_string(&sparse).unwrap();
        assert_eq!(serde_json::from_str::<Sparse>(&text).unwrap(), sparse);
        assert_eq!(serde_json::to_string(&Sparse::default()).unwrap(), "\"\"");
        // A bucket without its count, a number without its end, one that is too big, no base64.
        for bad in ["AQ", "AYA", "/////w8B", "////////AQ", "gICAgBAB", "!"] {
            assert!(serde_json::from_str::<Sparse>(&format!("\"{bad}\"")).is_err(), "{bad}");
        }
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
        let encoded = latencies.encoded();
        assert!(encoded.starts_with("HISTFAAA"));
        assert_eq!(Latencies::decode(&encoded), Some(latencies.clone()));
        for bad in ["", "HISTFAAA", "!", &encoded[..encoded.len() - 8]] {
            assert_eq!(Latencies::decode(bad), None, "{bad}");
        }
        let mut rest = latencies.clone();
        rest.subtract(&latencies);
        assert_eq!(rest, Latencies::default());
    }
}
