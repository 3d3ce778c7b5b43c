//! How a run went over time, in a bounded number of slots: when they run out, each two become one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{ClusterRole, RunTime};

use super::latency::{Latencies, Sparse};

/// Most slots of a timeline.
pub const SLOTS_MAX: usize = 240;

/// What one cluster did in a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// From sending to receipt, tainted seconds left out.
    pub latencies: Sparse,
    /// Obligations that ended as delivered or late.
    pub arrived: u64,
    /// Publications sent.
    pub sent: u64,
    /// Publications that were rejected, or whose fate is unknown.
    pub unaccepted: u64,
}

/// A part of a time, from 0 to 1.
fn share(part: Duration, whole: Duration) -> f64 {
    let share = part.as_secs_f64() / whole.as_secs_f64();
    if share.is_finite() { share.min(1.0) } else { 1.0 }
}

impl Slot {
    /// The counts of the time up to this share of it, less those that were `shared` already.
    fn part(&self, passed: f64, shared: &mut Self) -> Self {
        let up_to = |count: u64| if passed < 1.0 { (count as f64 * passed) as u64 } else { count };
        let mut part = Self::default();
        for (count, shared, part) in [
            (self.arrived, &mut shared.arrived, &mut part.arrived),
            (self.sent, &mut shared.sent, &mut part.sent),
            (self.unaccepted, &mut shared.unaccepted, &mut part.unaccepted),
        ] {
            *part = up_to(count).saturating_sub(*shared);
            *shared += *part;
        }
        part
    }

    fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.arrived += other.arrived;
        self.sent += other.sent;
        self.unaccepted += other.unaccepted;
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    start: RunTime,
    width: Duration,
    slots: BTreeMap<ClusterRole, Vec<Slot>>,
}

impl Timeline {
    /// A timeline that starts at `start`, with slots of a second at first.
    pub const fn new(start: RunTime) -> Self {
        Self { start, width: Duration::from_secs(1), slots: BTreeMap::new() }
    }

    /// When it starts.
    pub const fn start(&self) -> RunTime {
        self.start
    }

    /// The length of a slot.
    pub const fn width(&self) -> Duration {
        self.width
    }

    /// One cluster's slots, from the start on.
    pub fn slots(&self, role: ClusterRole) -> &[Slot] {
        self.slots.get(&role).map_or(&[], Vec::as_slice)
    }

    /// Adds what happened between two instants. Slots begin when publishing does, and what is
    /// added need not: counts are shared between the slots by their part of the time, and latencies
    /// belong to its middle. What was before the start belongs to the first slot.
    pub fn add(&mut self, role: ClusterRole, from: RunTime, until: RunTime, what: &Slot) {
        let from = from.max(self.start);
        let length = until.since(from);
        while self.place(until) >= SLOTS_MAX {
            self.widen();
        }
        let (first, last) = (self.place(from), self.place(until));
        let middle = self.place(from.after(length / 2));
        let mut shared = Slot::default();
        for place in first.min(last)..=last {
            // Shares of the sum so far, so that no count is lost to rounding.
            let end = self.start.after(self.width * (place as u32 + 1));
            let passed = if place == last { 1.0 } else { share(end.since(from), length) };
            let part = what.part(passed, &mut shared);
            let slots = self.slots.entry(role).or_default();
            if place >= slots.len() {
                slots.resize(place + 1, Slot::default());
            }
            if let Some(slot) = slots.get_mut(place) {
                slot.merge(&part);
                if place == middle {
                    slot.latencies.merge(&what.latencies);
                }
            }
        }
    }

    fn place(&self, at: RunTime) -> usize {
        let place = at.since(self.start).as_nanos() / self.width.as_nanos();
        usize::try_from(place).unwrap_or(usize::MAX)
    }

    fn widen(&mut self) {
        self.width *= 2;
        for slots in self.slots.values_mut() {
            let wide = slots.chunks(2).map(|pair| {
                let mut sum = Slot::default();
                pair.iter().for_each(|slot| sum.merge(slot));
                sum
            });
            *slots = wide.collect();
        }
    }

    /// The latencies of the first and of the last third of the time from so long after the start
    /// until `end`: of as few slots as cover it. Nothing, where the two would share one.
    pub fn thirds(
        &self,
        role: ClusterRole,
        after: Duration,
        end: RunTime,
    ) -> (Latencies, Latencies) {
        let (mut opening, mut closing) = (Latencies::default(), Latencies::default());
        let length = end.since(self.start.after(after));
        // The last slot is seldom a whole one: what covers a third is counted in time.
        let slots_in = |time: Duration| time.as_nanos() as f64 / self.width.as_nanos() as f64;
        let skipped = slots_in(after).ceil() as usize;
        let opened = slots_in(after + length / 3).ceil() as usize;
        let closed = slots_in(after + length - length / 3).floor() as usize;
        if skipped < opened && opened <= closed {
            let slots = self.slots(role);
            let first = slots.iter().take(opened).skip(skipped);
            first.for_each(|slot| opening.add(&slot.latencies));
            // What comes after the last event was sent in the last third as well.
            slots.iter().skip(closed).for_each(|slot| closing.add(&slot.latencies));
        }
        (opening, closing)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;

    fn slot(ms: u64) -> Slot {
        let mut slot = Slot { arrived: 1, sent: 1, ..Slot::default() };
        slot.latencies.record(Duration::from_millis(ms));
        slot
    }

    #[test]
    fn slots_stay_bounded_and_keep_every_count() {
        let mut timeline = Timeline::new(RunTime::from_millis(5_000));
        for second in 0..100_000_u64 {
            let at = RunTime::from_millis(5_000 + 1_000 * second);
            timeline.add(ClusterRole::New, at, at, &slot(second / 1_000));
        }
        let slots = timeline.slots(ClusterRole::New);
        assert!(slots.len() <= SLOTS_MAX && slots.len() > SLOTS_MAX / 2, "{}", slots.len());
        assert_eq!(timeline.width(), Duration::from_secs(512));
        assert_eq!(slots.iter().map(|s| s.arrived).sum::<u64>(), 100_000);
        assert_eq!(slots.first().unwrap().arrived, 512);
        assert!(timeline.slots(ClusterRole::Old).is_empty());
    }

    #[test]
    fn an_even_pace_is_even_however_seconds_and_slots_lie() {
        for (step, offset) in [(900, 0), (900, 350), (1_000, 10), (1_310, 700), (3_700, 0)] {
            let mut timeline = Timeline::new(RunTime::from_millis(2_000));
            let (mut from, mut all) = (RunTime::from_millis(2_000 - offset), 0);
            while from < RunTime::from_millis(60_000) {
                let until = from.after(Duration::from_millis(step));
                let paced = Slot { sent: step, arrived: 2 * step, ..Slot::default() };
                all += step;
                timeline.add(ClusterRole::New, from, until, &paced);
                from = until;
            }
            let slots = timeline.slots(ClusterRole::New);
            assert_eq!(slots.iter().map(|slot| slot.sent).sum::<u64>(), all);
            // The first has what was before the start as well, and the last ones may be cut off.
            for slot in &slots[1..slots.len() - 4] {
                assert!(slot.sent.abs_diff(1_000) <= 1, "every {step} ms: {}", slot.sent);
                assert!(slot.arrived.abs_diff(2_000) <= 1, "every {step} ms: {}", slot.arrived);
            }
        }
    }

    #[test]
    fn thirds_are_the_fewest_slots_that_cover_a_third_of_publishing_time() {
        let mut timeline = Timeline::new(RunTime::ZERO);
        for second in 0..9 {
            let at = RunTime::from_millis(1_000 * second + 500);
            timeline.add(ClusterRole::New, at, at, &slot(second + 1));
        }
        for (end, opening, closing) in [
            (9_000, 1..=3, 7..=9),
            (8_900, 1..=3, 6..=9),
            (8_300, 1..=3, 6..=9),
            (6_000, 1..=2, 5..=9),
            // A last slot of half a second tells too little by itself.
            (4_450, 1..=2, 3..=9),
            (3_000, 1..=1, 3..=9),
            (2_500, 1..=1, 2..=9),
            (1_500, 1..=1, 2..=9),
        ]
            as [(u64, RangeInclusive<u64>, RangeInclusive<u64>); 8]
        {
            let (first, last) =
                timeline.thirds(ClusterRole::New, Duration::ZERO, RunTime::from_millis(end));
            for (third, seconds) in [(first, opening), (last, closing)] {
                assert_eq!(third.count(), seconds.clone().count() as u64, "{end} ms: {seconds:?}");
                let (fastest, slowest) = (third.min_ms().unwrap(), third.max_ms().unwrap());
                let seen = (fastest.round() as u64, slowest.round() as u64);
                assert_eq!(seen, (*seconds.start(), *seconds.end()), "{end} ms");
            }
        }
        // In one slot there is nothing to compare.
        for end in [0, 1, 900, 1_000] {
            let (opening, closing) =
                timeline.thirds(ClusterRole::New, Duration::ZERO, RunTime::from_millis(end));
            assert_eq!((opening.count(), closing.count()), (0, 0), "{end} ms");
        }
    }

    #[test]
    fn thirds_of_what_comes_after_a_ramp_have_nothing_of_the_ramp() {
        let mut timeline = Timeline::new(RunTime::ZERO);
        for second in 0..9 {
            let at = RunTime::from_millis(1_000 * second + 500);
            timeline.add(ClusterRole::New, at, at, &slot(second + 1));
        }
        for (after, opening, closing) in [(3_000, 4..=5, 8..=9), (2_500, 4..=5, 7..=9)] {
            let end = RunTime::from_millis(9_000);
            let (first, last) =
                timeline.thirds(ClusterRole::New, Duration::from_millis(after), end);
            for (third, seconds) in [(first, opening), (last, closing)] {
                let seen = (third.min_ms().unwrap().round(), third.max_ms().unwrap().round());
                assert_eq!(seen, (f64::from(*seconds.start()), f64::from(*seconds.end())));
            }
        }
        // A run that ended within it has nothing to compare.
        let (opening, closing) =
            timeline.thirds(ClusterRole::New, Duration::from_secs(5), RunTime::from_millis(4_000));
        assert_eq!((opening.count(), closing.count()), (0, 0));
    }
}
