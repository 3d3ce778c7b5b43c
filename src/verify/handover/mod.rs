//! Virtual clients that move from old to new while events are published to both, as real clients
//! do: what each way of moving costs them.

pub mod crossing;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::RunTime;
use crate::model::time::human;

use super::latency::Latencies;
use super::stats::poisson_upper_bound;
use super::taint::Tainted;

pub use crossing::Crossed;

/// How a client moves.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// It closes its connection to old, then dials new and subscribes: a page that is loaded again,
    /// and what `disconnect()` and a new client come to.
    Reload,
    /// It connects to new beforehand, then leaves its channels on old and subscribes on new.
    Switch,
    /// It connects to new and subscribes, keeps old for a while, and drops what comes twice.
    Overlap,
}

impl Way {
    /// Every way, the cheapest to build first.
    pub const ALL: [Self; 3] = [Self::Reload, Self::Switch, Self::Overlap];

    /// Its name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Switch => "switch",
            Self::Overlap => "overlap",
        }
    }
}

/// How the moves of many clients are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ramp {
    /// All of them begin at one instant.
    AtOnce,
    /// One after the other, evenly.
    Linear,
    /// So many groups, evenly.
    Steps(u32),
}

impl Ramp {
    /// When the `at`-th of `all` moves begins, as a share of the whole time (0 to below 1).
    pub fn share(self, at: u64, all: u64) -> f64 {
        match self {
            Self::AtOnce => 0.0,
            Self::Linear => at as f64 / all.max(1) as f64,
            Self::Steps(steps) => {
                let steps = u64::from(steps.max(1));
                (at * steps / all.max(1)) as f64 / steps as f64
            }
        }
    }
}

/// A fleet of real clients that will move as the virtual ones did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fleet {
    /// How many they are.
    pub clients: u64,
    /// In how long they move.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub over: Duration,
}

/// How moves are planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moves {
    /// Virtual clients by way.
    pub clients: BTreeMap<Way, u64>,
    /// Channels that each of them subscribes to.
    pub channels: u64,
    /// Those of them, on average, that need a signature.
    pub signed_channels: f64,
    /// Events that each of them gets per second.
    pub events_per_second: f64,
    /// For how long an overlapping client keeps old after it is subscribed on new.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub overlap: Duration,
    /// How the moves are spread.
    pub ramp: Ramp,
    /// In how long all of them begin.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub over: Duration,
    /// Whom the figures are projected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
}

/// One client's move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// How it moved.
    pub way: Way,
    /// When it began.
    pub from: RunTime,
    /// When it had ended, or was given up.
    pub until: RunTime,
    /// What it came to; `None` if the client never was subscribed on new.
    pub crossed: Option<Crossed>,
    /// Why it was not, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What the moves of one way came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WayFigures {
    /// Clients that were to move so.
    pub planned: u64,
    /// Those that did. Tainted moves are left out, here and below.
    pub moved: u64,
    /// Those that never were subscribed on new.
    pub stranded: u64,
    /// Moves in tainted seconds: they accuse nobody, and acquit nobody.
    pub unattributed: u64,
    /// Why a client did not arrive, the last time; empty if all did.
    pub last_failure: String,
    /// For how long a client was subscribed on neither cluster.
    pub blind: Latencies,
    /// From the beginning of the move to the last confirmation on new.
    pub took: Latencies,
    /// Events around the moves.
    pub events: u64,
    /// Those of them that came from neither cluster.
    pub missed: u64,
    /// Those of the missed for which the moves are not to blame: see [`Crossed::lost`].
    pub lost: u64,
    /// Those of the missed of which a copy came from old when the client had left already.
    pub on_the_way: u64,
    /// Events that came from both.
    pub twice: u64,
    /// Events that came from old alone though the client was subscribed on new.
    pub only_on_old: u64,
    /// The overlap with which nothing would have been missed, of clients of which it is known.
    pub overlap_needed: Latencies,
}

impl WayFigures {
    /// Events that were missed because of the move.
    pub const fn missed_by_moving(&self) -> u64 {
        self.missed.saturating_sub(self.lost)
    }

    /// The same per move.
    pub fn missed_per_move(&self) -> Option<f64> {
        (self.moved > 0).then(|| self.missed_by_moving() as f64 / self.moved as f64)
    }

    fn note(&mut self, moved: &Move, tainted: &Tainted) {
        let (from, until) = (moved.from.second(), moved.until.second());
        let excused = tainted.excused(from..=until) as u64;
        // Who never arrives has had a whole horizon for it: a stall of a second is no excuse.
        let is_excused = match moved.crossed {
            Some(_) => excused > 0,
            None => 2 * excused > until.saturating_sub(from).saturating_add(1),
        };
        if is_excused {
            self.unattributed += 1;
            return;
        }
        let Some(crossed) = &moved.crossed else {
            self.stranded += 1;
            self.last_failure.clone_from(&moved.why);
            return;
        };
        self.moved += 1;
        self.blind.record(crossed.blind);
        self.took.record(crossed.took);
        self.events += crossed.events;
        self.missed += crossed.missed;
        self.lost += crossed.lost;
        self.on_the_way += crossed.on_the_way;
        self.twice += crossed.twice;
        self.only_on_old += crossed.only_on_old;
        if let Some(needed) = crossed.overlap_needed {
            self.overlap_needed.record(needed);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        self.moved += other.moved;
        self.stranded += other.stranded;
        self.unattributed += other.unattributed;
        if !other.last_failure.is_empty() {
            self.last_failure.clone_from(&other.last_failure);
        }
        self.blind.merge(&other.blind);
        self.took.merge(&other.took);
        self.events += other.events;
        self.missed += other.missed;
        self.lost += other.lost;
        self.on_the_way += other.on_the_way;
        self.twice += other.twice;
        self.only_on_old += other.only_on_old;
        self.overlap_needed.merge(&other.overlap_needed);
    }
}

/// What the moves of a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct HandoverFigures {
    /// How they were planned.
    pub moves: Moves,
    /// What they came to, by way.
    pub ways: BTreeMap<Way, WayFigures>,
}

impl HandoverFigures {
    /// Figures of moves that are planned so.
    pub fn new(moves: Moves) -> Self {
        let way = |(way, planned): (&Way, &u64)| {
            (*way, WayFigures { planned: *planned, ..WayFigures::default() })
        };
        Self { ways: moves.clients.iter().map(way).collect(), moves }
    }

    /// Reckons them anew: what is tainted may be learnt late.
    pub fn recount(&mut self, moved: &[Move], tainted: &Tainted) {
        *self = Self::new(self.moves.clone());
        for moved in moved {
            self.ways.entry(moved.way).or_default().note(moved, tainted);
        }
    }

    /// Adds those of a run that ended later.
    pub fn merge(&mut self, other: &Self) {
        for (way, figures) in &other.ways {
            self.ways.entry(*way).or_default().merge(figures);
        }
        let planned = self.ways.iter().map(|(way, figures)| (*way, figures.planned));
        self.moves = Moves { clients: planned.collect(), ..other.moves.clone() };
    }

    /// What the whole fleet would meet if it moved so; `None` where none is given, or no client
    /// moved so. Bounds hold at this confidence if one event is missed independently of another.
    pub fn projected(&self, way: Way, confidence: f64) -> Option<Projection> {
        let fleet = self.moves.fleet?;
        let figures = self.ways.get(&way)?;
        let per_move = figures.missed_per_move()?;
        let most = poisson_upper_bound(figures.missed_by_moving(), confidence);
        let clients = fleet.clients as f64;
        let seconds = fleet.over.as_secs_f64().max(1.0);
        let together = match self.moves.ramp {
            Ramp::AtOnce => clients,
            Ramp::Linear => clients / seconds,
            Ramp::Steps(steps) => clients / f64::from(steps.max(1)),
        };
        let took = figures.took.max_ms().unwrap_or_default() / 1e3;
        let kept = match way {
            Way::Reload => 0.0,
            Way::Switch => took,
            Way::Overlap => took + self.moves.overlap.as_secs_f64(),
        };
        Some(Projection {
            connects_per_second: together,
            subscriptions_per_second: together * self.moves.channels as f64,
            signatures_per_second: together * self.moves.signed_channels,
            connections_on_both: match self.moves.ramp {
                Ramp::Linear => together * kept,
                Ramp::AtOnce => {
                    if kept > 0.0 {
                        clients
                    } else {
                        0.0
                    }
                }
                // Groups that have begun to move when the first of them has not left yet.
                Ramp::Steps(steps) => together * (kept * f64::from(steps.max(1)) / seconds).ceil(),
            }
            .min(clients),
            events_missed: clients * per_move,
            events_missed_upper_bound: clients * most / figures.moved as f64,
        })
    }
}

/// What a fleet would meet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Projection {
    /// New connections to new, per second; where many move at once, within the worst second.
    pub connects_per_second: f64,
    /// Subscriptions on new, likewise.
    pub subscriptions_per_second: f64,
    /// Those of them that the auth endpoint must sign.
    pub signatures_per_second: f64,
    /// Most connections that are open to old and new both for the same clients.
    pub connections_on_both: f64,
    /// Events that clients miss, all together, if each gets as many as a virtual one does.
    pub events_missed: f64,
    /// What it is below, at the gate's confidence.
    pub events_missed_upper_bound: f64,
}

#[cfg(test)]
mod tests;
