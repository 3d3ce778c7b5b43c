//! Which of the application's channels are watched, refresh by refresh, and what that says of those
//! that are not.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ChannelKind, ClusterRole};

use super::mirror::MirrorFigures;
use super::presence::Presence;
use super::stats::{self, Sampled};

/// How many subscriptions a channel has, by order of magnitude.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// The cluster does not say.
    Unknown,
    /// At most one.
    One,
    /// Two to nine.
    Few,
    /// Ten to 99.
    Tens,
    /// 100 to 999.
    Hundreds,
    /// 1,000 or more.
    Thousands,
}

impl Size {
    /// That of so many subscriptions.
    pub const fn of(subscriptions: Option<u64>) -> Self {
        match subscriptions {
            None => Self::Unknown,
            Some(0 | 1) => Self::One,
            Some(2..=9) => Self::Few,
            Some(10..=99) => Self::Tens,
            Some(100..=999) => Self::Hundreds,
            Some(_) => Self::Thousands,
        }
    }

    /// Its name for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "not known",
            Self::One => "1",
            Self::Few => "2 to 9",
            Self::Tens => "10 to 99",
            Self::Hundreds => "100 to 999",
            Self::Thousands => "1,000 or more",
        }
    }
}

/// Why an occupied channel cannot be watched.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// It is encrypted, and the scenario has no key for it on each cluster.
    Encrypted,
    /// It is a presence channel, and the scenario does not allow to appear there.
    Presence,
    /// Its name breaks the documented rules.
    Name,
}

impl LeftOut {
    /// For people: what is left out.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted, without a key",
            Self::Presence => "presence channels, which are not joined",
            Self::Name => "with a name against the rules",
        }
    }
}

/// The occupied channels of one kind and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StratumReading {
    /// Their kind.
    pub kind: ChannelKind,
    /// Their size.
    pub size: Size,
    /// How many there are, on both clusters together.
    pub channels: u64,
    /// Those of them that are watched.
    pub watched: Vec<String>,
}

/// What a refresh came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SampleReading {
    /// Channels on which somebody else is, as each cluster says.
    pub occupied: BTreeMap<ClusterRole, u64>,
    /// Channels that are watched, and of which a cluster does not say whether anybody else is
    /// there.
    pub unsaid: BTreeMap<ClusterRole, u64>,
    /// Those of both clusters together that can be watched.
    pub strata: Vec<StratumReading>,
    /// Those that cannot.
    pub left_out: BTreeMap<LeftOut, u64>,
    /// Channels left because nobody but the canary was there.
    pub vacated: u64,
    /// Channels left for this one refresh, to see whether anybody else is there.
    pub rested: u64,
}

impl SampleReading {
    /// Channels that can be watched.
    pub fn channels(&self) -> u64 {
        self.strata.iter().map(|stratum| stratum.channels).sum()
    }

    /// Occupied channels as a cluster lists them, but for those on which it says that nobody else
    /// is; `None` before it listed any.
    pub fn listed(&self, role: ClusterRole) -> Option<u64> {
        let unsaid = self.unsaid.get(&role).copied().unwrap_or_default();
        self.occupied.get(&role).map(|occupied| occupied + unsaid)
    }

    /// Names of the channels that are watched.
    pub fn watched(&self) -> impl Iterator<Item = &str> {
        self.strata.iter().flat_map(|stratum| stratum.watched.iter().map(String::as_str))
    }
}

/// What cache channels keep on each cluster.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Caches {
    /// Channels of which both clusters told.
    pub channels: u64,
    /// Those that keep an event on old.
    pub old: u64,
    /// Those that keep one on new.
    pub new: u64,
    /// Those that keep one on old and none on new: who moves there finds the cache cold.
    pub cold: u64,
}

impl Caches {
    /// Adds a channel.
    pub fn add(&mut self, old: bool, new: bool) {
        self.channels += 1;
        self.old += u64::from(old);
        self.new += u64::from(new);
        self.cold += u64::from(old && !new);
    }
}

/// Something about the sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleNote {
    /// It was refreshed.
    Refreshed(SampleReading),
    /// Who was on presence channels, as both clusters said.
    Presence(Presence),
    /// What the watched cache channels keep, as both clusters said.
    Caches(Caches),
    /// A cluster did not list its channels: in a few words.
    Failed(ClusterRole, String),
    /// A cluster refused a subscription to a channel of the sample: in a few words.
    Refused(ClusterRole, String),
}

/// What the sample came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleFigures {
    /// Refreshes.
    pub refreshes: u64,
    /// Times at which a cluster did not list its channels.
    pub failed: BTreeMap<ClusterRole, u64>,
    /// Why, the last time; empty if that was never so.
    pub last_failure: String,
    /// Subscriptions that a cluster refused.
    pub refused: BTreeMap<ClusterRole, u64>,
    /// Why, the last time; empty if that was never so.
    pub last_refusal: String,
    /// Channels left because nobody but the canary was there.
    pub vacated: u64,
    /// Channels left for one refresh.
    pub rested: u64,
    /// The last refresh.
    pub last: SampleReading,
    /// Who was on presence channels, the last time.
    pub presence: Option<Presence>,
    /// What the watched cache channels kept, the last time.
    pub caches: Option<Caches>,
}

/// What a sample rules out: channels to which the application publishes on one cluster only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuledOut {
    /// Channels that can be watched.
    pub channels: u64,
    /// Those of them on which both clusters were seen to carry something.
    pub seen: u64,
    /// Of all channels, at most so many are published to one cluster only. `None` where such a
    /// channel was found: then nothing is ruled out.
    pub at_most: Option<u64>,
}

impl SampleFigures {
    /// Takes in a note.
    pub fn add(&mut self, note: &SampleNote) {
        match note {
            SampleNote::Refreshed(reading) => {
                self.refreshes += 1;
                self.vacated += reading.vacated;
                self.rested += reading.rested;
                self.last = reading.clone();
            }
            SampleNote::Presence(presence) => self.presence = Some(*presence),
            SampleNote::Caches(caches) => self.caches = Some(*caches),
            SampleNote::Failed(role, why) => {
                *self.failed.entry(*role).or_default() += 1;
                self.last_failure.clone_from(why);
            }
            SampleNote::Refused(role, why) => {
                *self.refused.entry(*role).or_default() += 1;
                self.last_refusal.clone_from(why);
            }
        }
    }

    /// Adds those of a run that ended later.
    pub fn merge(&mut self, later: &Self) {
        self.refreshes += later.refreshes;
        super::figures::add_all(&mut self.failed, &later.failed);
        super::figures::add_all(&mut self.refused, &later.refused);
        for (mine, later) in [
            (&mut self.last_failure, &later.last_failure),
            (&mut self.last_refusal, &later.last_refusal),
        ] {
            if !later.is_empty() {
                mine.clone_from(later);
            }
        }
        self.vacated += later.vacated;
        self.rested += later.rested;
        if later.refreshes > 0 {
            self.last = later.last.clone();
        }
        self.presence = later.presence.or(self.presence);
        self.caches = later.caches.or(self.caches);
    }

    /// What the channels that were watched last say of all, with a `confidence` from 0 to 1. A
    /// silent channel says nothing: it counts as not watched.
    pub fn ruled_out(&self, mirror: &MirrorFigures, confidence: f64) -> RuledOut {
        let seen = |name: &&String| mirror.carried.contains(*name);
        let strata: Vec<_> = self
            .last
            .strata
            .iter()
            .map(|stratum| {
                let sampled = stratum.watched.iter().filter(seen).count() as u64;
                Sampled { population: stratum.channels.max(sampled), sampled }
            })
            .collect();
        let is_clean = mirror.one_sided().is_empty();
        RuledOut {
            channels: strata.iter().map(|stratum| stratum.population).sum(),
            seen: strata.iter().map(|stratum| stratum.sampled).sum(),
            at_most: is_clean.then(|| stats::defective_upper_bound(&strata, confidence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(channels: u64, watched: &[&str]) -> SampleReading {
        let watched = watched.iter().map(|name| (*name).to_owned()).collect();
        let (kind, size) = (ChannelKind::Private, Size::Few);
        SampleReading {
            strata: vec![StratumReading { kind, size, channels, watched }],
            vacated: 1,
            rested: 2,
            ..SampleReading::default()
        }
    }

    #[test]
    fn silent_channels_rule_out_nothing_and_carrying_ones_what_the_hypergeometric_says() {
        let names: Vec<_> = (0..50).map(|n| format!("private-{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut figures = SampleFigures::default();
        figures.add(&SampleNote::Refreshed(reading(1_000, &names)));
        let mut mirror = MirrorFigures::default();
        let told = figures.ruled_out(&mirror, 0.95);
        assert_eq!(told, RuledOut { channels: 1_000, seen: 0, at_most: Some(1_000) });
        mirror.carried.extend(names.iter().map(|name| (*name).to_owned()));
        mirror.carried.insert("private-of-another-refresh".to_owned());
        // As scipy has it, see `stats::finite`.
        let told = figures.ruled_out(&mirror, 0.95);
        assert_eq!(told, RuledOut { channels: 1_000, seen: 50, at_most: Some(56) });
    }

    #[test]
    fn the_last_refresh_counts_and_what_was_left_adds_up() {
        let mut figures = SampleFigures::default();
        figures.add(&SampleNote::Refreshed(reading(10, &["a"])));
        figures.add(&SampleNote::Refused(ClusterRole::New, "full".to_owned()));
        let mut later = SampleFigures::default();
        later.add(&SampleNote::Failed(ClusterRole::Old, "HTTP 503".to_owned()));
        let mut without = figures.clone();
        without.merge(&later);
        assert_eq!(without.last, figures.last, "a run that read nothing hides none");
        later.add(&SampleNote::Refreshed(reading(20, &["b", "c"])));
        figures.merge(&later);
        assert_eq!((figures.refreshes, figures.vacated, figures.rested), (2, 2, 4));
        assert_eq!(figures.last.watched().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((&*figures.last_failure, &*figures.last_refusal), ("HTTP 503", "full"));
        assert_eq!(figures.refused, BTreeMap::from([(ClusterRole::New, 1)]));
    }
}
