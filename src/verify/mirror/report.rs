//! What a matcher hands on: counts, and where on which channels.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{ClusterRole, RunTime};
use crate::verify::latency::Sparse;

/// Places of a report at most: the others are counted.
const PLACES_MAX: usize = 100;

/// How one real event ended, or what was wrong with it beside that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Both clusters carried it.
    Mirrored,
    /// Only old carried it.
    OnlyOnOld,
    /// Only new carried it.
    OnlyOnNew,
    /// Both carried it under one id, with other content.
    Altered,
    /// A further copy under an id that this cluster had carried already.
    Duplicated,
    /// Of two events, each cluster carried the other one first.
    Reordered,
    /// A witness did not see enough to say.
    Unobservable,
}

impl Outcome {
    /// Every outcome, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Mirrored,
        Self::OnlyOnOld,
        Self::OnlyOnNew,
        Self::Altered,
        Self::Duplicated,
        Self::Reordered,
        Self::Unobservable,
    ];

    /// Its name in reports and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mirrored => "mirrored",
            Self::OnlyOnOld => "only_on_old",
            Self::OnlyOnNew => "only_on_new",
            Self::Altered => "altered",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Unobservable => "unobservable",
        }
    }
}

/// Where something went wrong: a channel, an event's name, and the cluster that missed it or had it
/// twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The channel's name.
    pub channel: Arc<str>,
    /// The event's name.
    pub event: Arc<str>,
    /// What went wrong.
    pub outcome: Outcome,
    /// On which cluster, if on one.
    pub cluster: Option<ClusterRole>,
}

/// How often, and when first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The first copy's arrival.
    pub first: RunTime,
    /// How many.
    pub count: u64,
}

/// What became known since the last report. Reports add up in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorReport {
    /// Events by outcome.
    pub counts: BTreeMap<Outcome, u64>,
    /// From the copy on old to that on new, where new was later.
    pub new_later: Sparse,
    /// From the copy on new to that on old, where old was later.
    pub old_later: Sparse,
    /// Where something went wrong.
    pub defects: BTreeMap<Place, Defect>,
    /// Defects at places that found no room.
    pub defects_dropped: u64,
    /// Channels on which a pair was found for the first time.
    pub carried: Vec<Arc<str>>,
    /// Copies that were not looked at, for want of room.
    pub left_out: u64,
    /// Events that are kept in mind now.
    pub kept: u64,
}

impl MirrorReport {
    /// Counts events that say nothing of a place.
    pub(super) fn add(&mut self, outcome: Outcome, count: u64) {
        if count > 0 {
            *self.counts.entry(outcome).or_default() += count;
        }
    }

    /// Counts one event, and where it was.
    pub(super) fn note(
        &mut self,
        channel: &Arc<str>,
        event: &str,
        outcome: Outcome,
        cluster: Option<ClusterRole>,
        at: RunTime,
    ) {
        self.add(outcome, 1);
        let place = Place { channel: Arc::clone(channel), event: event.into(), outcome, cluster };
        if self.defects.len() >= PLACES_MAX && !self.defects.contains_key(&place) {
            self.defects_dropped += 1;
            return;
        }
        let defect = self.defects.entry(place).or_insert(Defect { first: at, count: 0 });
        defect.count += 1;
        defect.first = defect.first.min(at);
    }

    pub(super) fn note_skew(&mut self, old: RunTime, new: RunTime) {
        if new >= old {
            self.new_later.record(new.since(old));
        } else {
            self.old_later.record(old.since(new));
        }
    }

    /// Events with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }
}
