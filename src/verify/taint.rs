//! Seconds that cannot be relied on: what happened in them accuses nobody, and acquits nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::RunTime;

use super::fact::Fact;

/// Why a second's measurements cannot be relied on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaintReason {
    /// A publication was taken up too long after its scheduled instant.
    ScheduleLag,
    /// The runtime did not run a task that was due.
    RuntimeStall,
    /// Received bytes waited too long to be read.
    ReceiveBacklog,
    /// Too few file descriptors are left.
    FileDescriptors,
    /// The wall clock was stepped.
    ClockStep,
    /// This machine, and no cluster, kept a connection from being made.
    NoConnection,
    /// A publication was not sent, because too many requests were open.
    Unsent,
}

impl TaintReason {
    /// The reason's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScheduleLag => "schedule lag",
            Self::RuntimeStall => "runtime stall",
            Self::ReceiveBacklog => "receive backlog",
            Self::FileDescriptors => "file descriptors",
            Self::ClockStep => "clock step",
            Self::NoConnection => "no connection by this machine's fault",
            Self::Unsent => "unsent publications",
        }
    }
}

/// States a taint of every second from one instant to another.
pub fn taints(from: RunTime, to: RunTime, reason: TaintReason) -> impl Iterator<Item = Fact> {
    (from.second()..=to.second()).map(move |second| Fact::Taint(second, reason))
}

/// The seconds of the run that cannot be relied on, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tainted {
    seconds: BTreeMap<u64, BTreeSet<TaintReason>>,
}

impl Tainted {
    /// Notes that a second cannot be relied on.
    pub fn note(&mut self, second: u64, reason: TaintReason) {
        self.seconds.entry(second).or_default().insert(reason);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        for (second, reasons) in &other.seconds {
            self.seconds.entry(*second).or_default().extend(reasons);
        }
    }

    /// Those of this second and of later ones.
    #[must_use]
    pub fn since(&self, second: u64) -> Self {
        let seconds = self.seconds.range(second..);
        Self { seconds: seconds.map(|(at, reasons)| (*at, reasons.clone())).collect() }
    }

    /// Takes those before this second away.
    pub(super) fn take_before(&mut self, second: u64) -> Self {
        let kept = self.seconds.split_off(&second);
        Self { seconds: std::mem::replace(&mut self.seconds, kept) }
    }

    /// The reasons of each tainted second of a range.
    pub fn within(
        &self,
        seconds: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (u64, &BTreeSet<TaintReason>)> {
        // One that ends before it begins has none, and must not be asked for.
        let range = (!seconds.is_empty()).then(|| self.seconds.range(seconds));
        range.into_iter().flatten().map(|(second, reasons)| (*second, reasons))
    }

    /// Whether what happened in this second may be our own doing. Where publications were not sent,
    /// and nothing else was wrong, the cluster had left too many unanswered: that excuses nothing
    /// of what it did to the others, though the second counts as tainted.
    pub fn excuses(&self, second: u64) -> bool {
        self.excused(second..=second) > 0
    }

    /// How many seconds of a range excuse what happened in them.
    pub fn excused(&self, seconds: RangeInclusive<u64>) -> usize {
        let is_excuse = |reason: &TaintReason| *reason != TaintReason::Unsent;
        self.within(seconds).filter(|(_, reasons)| reasons.iter().any(is_excuse)).count()
    }
}
