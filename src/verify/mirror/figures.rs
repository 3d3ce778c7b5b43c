//! What a run's mirror came to.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ClusterRole;
use crate::verify::figures::add_all;
use crate::verify::latency::Latencies;

use super::report::{Defect, MirrorReport, Outcome, add_defects};

/// Channels that are remembered before some are forgotten.
const CARRIED_MAX: usize = 100_000;
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
    /// Events of clients, which reach no other cluster.
    pub client_events: BTreeMap<ClusterRole, u64>,
    /// Encrypted events that the cluster's key does not open.
    pub unreadable: BTreeMap<ClusterRole, u64>,
}

impl MirrorFigures {
    /// Adds what became known.
    pub fn add(&mut self, report: &MirrorReport) {
        add_all(&mut self.counts, &report.counts);
        self.new_later.add(&report.new_later);
        self.old_later.add(&report.old_later);
        self.defects_dropped += report.defects_dropped;
        self.defects_dropped += add_defects(&mut self.defects, &report.defects, DEFECTS_MAX);
        self.carried.extend(report.carried.iter().cloned());
        self.left_out += report.left_out;
        add_all(&mut self.client_events, &report.client_events);
        add_all(&mut self.unreadable, &report.unreadable);
    }

    /// Where there are very many channels that carried something, keeps those that are watched, and
    /// those on which something went wrong: of the others nothing is asked any more.
    pub fn retain<'a>(&mut self, watched: impl Iterator<Item = &'a str>) {
        if self.carried.len() <= CARRIED_MAX {
            return;
        }
        let watched: BTreeSet<_> = watched.collect();
        let named: BTreeSet<_> = self.defects.iter().map(|d| d.channel.as_str()).collect();
        let is_kept = |channel: &str| watched.contains(channel) || named.contains(channel);
        self.carried.retain(|channel| is_kept(channel));
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        add_all(&mut self.counts, &other.counts);
        self.new_later.merge(&other.new_later);
        self.old_later.merge(&other.old_later);
        self.defects_dropped += other.defects_dropped;
        self.defects_dropped += add_defects(&mut self.defects, &other.defects, DEFECTS_MAX);
        self.carried.extend(other.carried.iter().cloned());
        self.left_out += other.left_out;
        add_all(&mut self.client_events, &other.client_events);
        add_all(&mut self.unreadable, &other.unreadable);
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
