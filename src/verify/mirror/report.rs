//! What a matcher hands on: counts, and where on which channels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterRole, RunTime};
use crate::verify::latency::Sparse;

/// Defects of a report at most: the others are counted.
const DEFECTS_MAX: usize = 100;

/// How one real event ended, or what was wrong with it beside that.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
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

    /// For people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Mirrored => "mirrored",
            Self::OnlyOnOld => "on old only",
            Self::OnlyOnNew => "on new only",
            Self::Altered => "altered",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Unobservable => "unobservable",
        }
    }

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

/// Events of one name on one channel with which the same went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defect {
    /// The channel's name.
    pub channel: String,
    /// The event's name.
    pub event: String,
    /// What went wrong.
    pub outcome: Outcome,
    /// The cluster that missed them, or had them twice; `None` where it is no matter of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterRole>,
    /// When the first of them arrived.
    pub first: RunTime,
    /// How many there were.
    pub count: u64,
}

impl Defect {
    /// Whether another is of the same events.
    fn is_like(&self, other: &Self) -> bool {
        self.outcome == other.outcome
            && self.cluster == other.cluster
            && self.channel == other.channel
            && self.event == other.event
    }
}

/// Adds defects to a list of at most so many; returns how many events found no room in it.
pub(super) fn add_defects(list: &mut Vec<Defect>, more: &[Defect], most: usize) -> u64 {
    let mut dropped = 0;
    for defect in more {
        if let Some(known) = list.iter_mut().find(|known| known.is_like(defect)) {
            known.count += defect.count;
            known.first = known.first.min(defect.first);
        } else if list.len() < most {
            list.push(defect.clone());
        } else {
            dropped += defect.count;
        }
    }
    dropped
}

/// What became known since the last report. Reports add up in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MirrorReport {
    /// Events by outcome.
    pub counts: BTreeMap<Outcome, u64>,
    /// From the copy on old to that on new, where new was later.
    pub new_later: Sparse,
    /// From the copy on new to that on old, where old was later.
    pub old_later: Sparse,
    /// Where something went wrong.
    pub defects: Vec<Defect>,
    /// Events that went wrong where there was no room to say where.
    pub defects_dropped: u64,
    /// Channels on which a pair was found for the first time.
    pub carried: Vec<String>,
    /// Copies that were not looked at, for want of room.
    pub left_out: u64,
    /// Events of clients, which reach no other cluster: they are not matched.
    pub client_events: BTreeMap<ClusterRole, u64>,
    /// Encrypted events that the cluster's key does not open.
    pub unreadable: BTreeMap<ClusterRole, u64>,
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
        channel: &str,
        event: &str,
        outcome: Outcome,
        cluster: Option<ClusterRole>,
        at: RunTime,
    ) {
        self.add(outcome, 1);
        let (channel, event) = (channel.to_owned(), event.to_owned());
        let defect = Defect { channel, event, outcome, cluster, first: at, count: 1 };
        self.defects_dropped += add_defects(&mut self.defects, &[defect], DEFECTS_MAX);
    }

    pub(super) fn note_skew(&mut self, old: RunTime, new: RunTime) {
        if new >= old {
            self.new_later.record(new.since(old));
        } else {
            self.old_later.record(old.since(new));
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self { kept: self.kept, ..Self::default() }
    }

    /// Events with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }
}
