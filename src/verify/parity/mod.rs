//! In what two apps behave alike and in what not, as probes found it from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ClusterRole;

/// A time that one cluster takes may be so many times the other's,
const TIME_RATIO_MAX: f64 = 2.0;
/// or so much longer.
const TIME_SLACK: Duration = Duration::from_secs(5);

/// One setting or habit of an app that shows from outside.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// How a presence channel counts and announces a user of two connections.
    PresenceUser,
    /// How long a member stays whose connection is cut without a close.
    PresenceCut,
    /// How long a member stays whose connection is open and silent.
    PresenceSilent,
    /// What a cache channel says that has nothing to repeat.
    CacheMiss,
    /// What it repeats.
    CacheReplay,
    /// On which kinds of channel client events are delivered.
    ClientEvents,
    /// Whether their sender gets them, too.
    ClientEventsEcho,
    /// Whether they name their sender on presence channels.
    ClientEventsUserId,
    /// How many of a burst are delivered.
    ClientEventsRate,
    /// Whether a connection is left out that a publication says shall be.
    SenderExclusion,
    /// What comes of one publication to several channels.
    SeveralChannels,
    /// What the answer to a publication says of its channels, if it is asked.
    PublicationInfo,
}

impl Row {
    /// Every row, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::PresenceUser,
        Self::PresenceCut,
        Self::PresenceSilent,
        Self::CacheMiss,
        Self::CacheReplay,
        Self::ClientEvents,
        Self::ClientEventsEcho,
        Self::ClientEventsUserId,
        Self::ClientEventsRate,
        Self::SenderExclusion,
        Self::SeveralChannels,
        Self::PublicationInfo,
    ];

    /// Its name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PresenceUser => "presence-user",
            Self::PresenceCut => "presence-cut",
            Self::PresenceSilent => "presence-silent",
            Self::CacheMiss => "cache-miss",
            Self::CacheReplay => "cache-replay",
            Self::ClientEvents => "client-events",
            Self::ClientEventsEcho => "client-events-echo",
            Self::ClientEventsUserId => "client-events-user-id",
            Self::ClientEventsRate => "client-events-rate",
            Self::SenderExclusion => "sender-exclusion",
            Self::SeveralChannels => "several-channels",
            Self::PublicationInfo => "publication-info",
        }
    }

    /// For people: what is compared.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::PresenceUser => "a user of two connections",
            Self::PresenceCut => "a member whose connection is cut leaves after",
            Self::PresenceSilent => "a member whose connection falls silent leaves after",
            Self::CacheMiss => "a cache channel without an event tells of it",
            Self::CacheReplay => "a cache channel repeats",
            Self::ClientEvents => "client events are delivered on",
            Self::ClientEventsEcho => "a client event goes to its sender",
            Self::ClientEventsUserId => "a client event names its sender",
            Self::ClientEventsRate => "of 20 client events at once are delivered",
            Self::SenderExclusion => "a connection that a publication excludes",
            Self::SeveralChannels => "a publication to three channels arrives",
            Self::PublicationInfo => "a publication's answer counts rightly",
        }
    }

    /// For people: what to change where the new app differs.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::PresenceUser => {
                "member lists and their events will differ; count users by id in the application"
            }
            Self::PresenceCut | Self::PresenceSilent => {
                "members will seem present for longer or shorter; see the server's activity timeout"
            }
            Self::CacheMiss => {
                "clients that load their state on pusher:cache_miss must not wait for it"
            }
            Self::CacheReplay => {
                "clients must fetch the last state themselves, or the server must cache"
            }
            Self::ClientEvents => "enable client events in the new app's settings",
            Self::ClientEventsEcho => {
                "senders must be ready to get, or not to get, their own events"
            }
            Self::ClientEventsUserId => "put the sender's id into the event's data",
            Self::ClientEventsRate => "set the new app's limit on client events as old has it",
            Self::SenderExclusion => "clients must know their own events by an id and drop them",
            Self::SeveralChannels => "publish to each channel by a request of its own",
            Self::PublicationInfo => {
                "what reads counts from the answer must ask the channel instead, or the new app must \
                 have subscription counts enabled"
            }
        }
    }
}

/// What finds rows: one connected experiment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Who is present.
    Presence,
    /// Who is present without a word: takes minutes.
    PresenceSilent,
    /// What cache channels keep.
    Cache,
    /// What clients send each other.
    ClientEvents,
    /// What a publication may ask for.
    Publication,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 5] =
        [Self::Presence, Self::PresenceSilent, Self::Cache, Self::ClientEvents, Self::Publication];

    /// Its name in scenarios.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::PresenceSilent => "presence-silent",
            Self::Cache => "cache",
            Self::ClientEvents => "client-events",
            Self::Publication => "publication",
        }
    }

    /// What it finds.
    pub const fn rows(self) -> &'static [Row] {
        match self {
            Self::Presence => &[Row::PresenceUser, Row::PresenceCut],
            Self::PresenceSilent => &[Row::PresenceSilent],
            Self::Cache => &[Row::CacheMiss, Row::CacheReplay],
            Self::ClientEvents => &[
                Row::ClientEvents,
                Row::ClientEventsEcho,
                Row::ClientEventsUserId,
                Row::ClientEventsRate,
            ],
            Self::Publication => {
                &[Row::SenderExclusion, Row::SeveralChannels, Row::PublicationInfo]
            }
        }
    }

    /// Whether it takes minutes.
    pub const fn is_slow(self) -> bool {
        matches!(self, Self::PresenceSilent)
    }
}

/// What a probe found on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// This.
    Value(String),
    /// This took so long, in milliseconds.
    Millis(u64),
    /// It took longer than this, in milliseconds: nobody waited any longer.
    Longer(u64),
    /// The cluster refuses it, in these words.
    Unsupported(String),
    /// There is nothing of it to compare, for this reason.
    NotApplicable(String),
    /// Nothing, for this reason.
    NotTested(String),
}

impl Reading {
    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Self::Value(value) => value.clone(),
            Self::Millis(millis) if *millis < 10_000 => format!("{millis} ms"),
            Self::Millis(millis) => format!("{} s", millis / 1_000),
            Self::Longer(millis) => format!("not within {} s", millis / 1_000),
            Self::Unsupported(why) => format!("unsupported ({why})"),
            Self::NotApplicable(why) => format!("not applicable ({why})"),
            Self::NotTested(why) => format!("not tested ({why})"),
        }
    }

    /// Whether two clusters behave alike.
    fn compared(&self, other: &Self) -> Likeness {
        let alike = |are: bool| if are { Likeness::Same } else { Likeness::Differs };
        let near = |millis: u64| millis as f64 * TIME_RATIO_MAX + TIME_SLACK.as_millis() as f64;
        match (self, other) {
            (Self::NotTested(_), _) | (_, Self::NotTested(_)) => Likeness::NotTested,
            // What is not there cannot differ; another row says that it is not there.
            (Self::NotApplicable(_), _) | (_, Self::NotApplicable(_)) => Likeness::Same,
            (Self::Millis(one), Self::Millis(two)) => {
                alike(*one.max(two) as f64 <= near(*one.min(two)))
            }
            // How much longer it takes nobody waited to see.
            (Self::Longer(_), Self::Longer(_)) => Likeness::NotTested,
            (Self::Longer(waited), Self::Millis(took))
            | (Self::Millis(took), Self::Longer(waited)) => {
                if *waited as f64 > near(*took) {
                    Likeness::Differs
                } else {
                    Likeness::NotTested
                }
            }
            // In which words is each server's own affair.
            (Self::Unsupported(_), Self::Unsupported(_)) => Likeness::Same,
            (one, other) => alike(one == other),
        }
    }
}

/// What a row comes to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Likeness {
    /// Both behave alike.
    Same,
    /// They do not, and that is wanted.
    Accepted,
    /// Nobody knows.
    NotTested,
    /// They do not.
    Differs,
}

impl Likeness {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Accepted => "accepted",
            Self::NotTested => "not tested",
            Self::Differs => "differs",
        }
    }
}

/// What is probed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParityBegin {
    /// The rows that are looked at.
    pub rows: BTreeSet<Row>,
    /// Differences that are wanted, and why.
    pub accept: BTreeMap<Row, String>,
}

/// One row's readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFigures {
    /// What was found, by cluster.
    pub readings: BTreeMap<ClusterRole, Reading>,
    /// What it comes to.
    pub likeness: Likeness,
    /// Why a difference is wanted, if it is.
    pub accepted: Option<String>,
}

impl RowFigures {
    fn judge(&mut self) {
        let of = |role| self.readings.get(&role);
        let Some((old, new)) = of(ClusterRole::Old).zip(of(ClusterRole::New)) else { return };
        self.likeness = match old.compared(new) {
            Likeness::Differs if self.accepted.is_some() => Likeness::Accepted,
            likeness => likeness,
        };
    }
}

/// What probes found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityFigures {
    /// Row by row.
    pub rows: BTreeMap<Row, RowFigures>,
}

impl ParityFigures {
    /// Nothing was found yet.
    pub fn new(begin: &ParityBegin) -> Self {
        let row = |row: &Row| {
            let (readings, likeness) = (BTreeMap::new(), Likeness::NotTested);
            let accepted = begin.accept.get(row).cloned();
            (*row, RowFigures { readings, likeness, accepted })
        };
        Self { rows: begin.rows.iter().map(row).collect() }
    }

    /// Takes in a reading; the last one counts.
    pub fn note(&mut self, role: ClusterRole, row: Row, reading: &Reading) {
        if let Some(figures) = self.rows.get_mut(&row) {
            figures.readings.insert(role, reading.clone());
            figures.judge();
        }
    }

    /// How many rows came to this.
    pub fn count(&self, likeness: Likeness) -> u64 {
        self.rows.values().filter(|row| row.likeness == likeness).count() as u64
    }

    /// Adds those of a run that ended later. Where either has the worse, it stays.
    pub fn merge(&mut self, other: &Self) {
        for (row, figures) in &other.rows {
            match self.rows.get(row) {
                Some(mine) if mine.likeness > figures.likeness => {}
                _ => _ = self.rows.insert(*row, figures.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
