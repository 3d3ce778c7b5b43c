//! What a run's mirror came to.

use std::collections::{BTreeMap, BTreeSet};

use crate::verify::latency::Latencies;

use super::report::{Defect, MirrorReport, Outcome, add_defects};

/// Defects that are kept at most: the others are counted.
const DEFECTS_MAX: usize = 1_000;

/// The sum of all reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MirrorFigures {
    /// Events by outcome.
    pub counts: BTreeMap<Outcome, u64>,
    /// From the copy on old to that on new, where new was later.
    pub new_later: Latencies,
    /// From the copy on new to that on old, where old was later.
    pub old_later: Latencies,
    /// Where something went wrong.
    pub defects: Vec<Defect>,
    /// Events that went wrong where there was no room to say where.
    pub defects_dropped: u64,
    /// Channels on which both clusters carried something.
    pub carried: BTreeSet<String>,
    /// Copies that were not looked at, for want of room.
    pub left_out: u64,
}

impl MirrorFigures {
    /// Adds what became known.
    pub fn add(&mut self, report: &MirrorReport) {
        for (outcome, count) in &report.counts {
            *self.counts.entry(*outcome).or_default() += count;
        }
        self.new_later.add(&report.new_later);
        self.old_later.add(&report.old_later);
        self.defects_dropped += report.defects_dropped;
        self.defects_dropped += add_defects(&mut self.defects, &report.defects, DEFECTS_MAX);
        self.carried.extend(report.carried.iter().cloned());
        self.left_out += report.left_out;
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (outcome, count) in &other.counts {
            *self.counts.entry(*outcome).or_default() += count;
        }
        self.new_later.merge(&other.new_later);
        self.old_later.merge(&other.old_later);
        self.defects_dropped += other.defects_dropped;
        self.defects_dropped += add_defects(&mut self.defects, &other.defects, DEFECTS_MAX);
        self.carried.extend(other.carried.iter().cloned());
        self.left_out += other.left_out;
    }

    /// Events with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    /// Events of which enough was seen to say whether both clusters carried the same.
    pub fn observed(&self) -> u64 {
        [Outcome::Mirrored, Outcome::OnlyOnOld, Outcome::OnlyOnNew, Outcome::Altered]
            .into_iter()
            .map(|outcome| self.count(outcome))
            .sum()
    }

    /// Channels on which one cluster alone carried anything, each with what it says of all its
    /// events: that cluster's name follows from it.
    pub fn one_sided(&self) -> BTreeMap<String, Outcome> {
        let is_hole = |d: &&Defect| matches!(d.outcome, Outcome::OnlyOnOld | Outcome::OnlyOnNew);
        let mut sides: BTreeMap<String, BTreeSet<Outcome>> = BTreeMap::new();
        for defect in self.defects.iter().filter(is_hole) {
            sides.entry(defect.channel.clone()).or_default().insert(defect.outcome);
        }
        let one = |(channel, sides): (String, BTreeSet<Outcome>)| {
            let only = sides.first().copied().filter(|_| sides.len() == 1)?;
            (!self.carried.contains(&channel)).then_some((channel, only))
        };
        sides.into_iter().filter_map(one).collect()
    }
}
