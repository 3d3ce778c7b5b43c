//! The sample from refresh to refresh: what is watched, and what is left alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::channel::kind_of;
use crate::model::{ChannelName, ClusterRole};
use crate::scenario::plan::is_of_a_canary;
use crate::verify::sample::{LeftOut, SampleReading, Size, StratumReading};

use super::choice::{choose, rank};

/// A channel whose count nobody says is left alone in one refresh of so many.
const RESTS_EVERY: u64 = 10;

/// What one cluster says of its channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Occupied channels, each with its subscriptions, or with its members where it is a presence
    /// channel; `None` where the list does not say.
    pub channels: BTreeMap<String, Option<u64>>,
    /// The same of watched channels, where it was asked for one by one.
    pub asked: BTreeMap<String, u64>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Sampler {
    seed: u64,
    channels_max: usize,
    joins_presence: bool,
    opens_encrypted: bool,
    refreshes: u64,
    watched: BTreeMap<String, ChannelName>,
    /// Presence channels whose members are read.
    read: Vec<ChannelName>,
}

/// What is known of a channel on which somebody else is.
#[derive(Clone, Copy, Debug)]
struct Occupied {
    /// Whether that is certain on any cluster.
    is_certain: bool,
    /// How many others are there on all clusters, where every cluster lists it.
    size: Option<u64>,
}

impl Default for Occupied {
    fn default() -> Self {
        Self { is_certain: false, size: Some(0) }
    }
}

impl Sampler {
    /// One that watches nothing yet, and at most `channels_max` at a time. `opens_encrypted` says
    /// whether there is a key of encrypted channels for each cluster.
    pub fn new(
        seed: u64,
        channels_max: usize,
        joins_presence: bool,
        opens_encrypted: bool,
    ) -> Self {
        let (watched, read) = (BTreeMap::new(), Vec::new());
        Self { seed, channels_max, joins_presence, opens_encrypted, refreshes: 0, watched, read }
    }

    /// The channels that are to be watched on every cluster.
    pub fn watched(&self) -> impl Iterator<Item = &ChannelName> {
        self.watched.values()
    }

    /// The presence channels of which it is to be read who is there: as many as may be watched. It
    /// does not take being there oneself.
    pub fn read(&self) -> impl Iterator<Item = &ChannelName> {
        self.read.iter()
    }

    /// Chooses anew by what every cluster says.
    ///
    /// Each watched channel has one subscription of ours on each cluster, which counts for nobody.
    /// A channel is occupied as long as somebody else is on it, on whichever cluster: before
    /// clients move nobody is on new, and afterwards nobody on old, and it is there that events go
    /// missing.
    /// Where a cluster does not say how many are there, each channel is left alone for one refresh
    /// in ten: if nobody else was there, it is gone in the next.
    pub fn refresh(&mut self, listings: &BTreeMap<ClusterRole, Listing>) -> SampleReading {
        self.refreshes += 1;
        let mut reading = SampleReading::default();
        let mut occupied: BTreeMap<&str, Occupied> = BTreeMap::new();
        for (role, listing) in listings {
            reading.occupied.insert(*role, 0);
            for (name, listed) in &listing.channels {
                let own = u64::from(self.is_watched(name));
                let asked = || listing.asked.get(name).copied().filter(|_| own > 0);
                let count = listed.or_else(asked);
                if is_of_a_canary(name) || count.is_some_and(|count| count <= own) {
                    continue;
                }
                // Who is not there oneself sees others.
                let is_certain = count.is_some() || own == 0;
                let counts = if is_certain { &mut reading.occupied } else { &mut reading.unsaid };
                *counts.entry(*role).or_default() += 1;
                let known = occupied.entry(name).or_default();
                known.is_certain |= is_certain;
                let others = listed.map(|listed| listed.saturating_sub(own));
                known.size = known.size.zip(others).map(|(sum, others)| sum.saturating_add(others));
            }
        }
        let is_gone = |name: &&String| !occupied.contains_key(name.as_str());
        reading.vacated = self.watched.keys().filter(is_gone).count() as u64;
        let presence = occupied.keys().filter(|name| kind_of(name).is_presence());
        let presence = presence.filter_map(|name| ChannelName::new(*name).ok());
        self.read = presence.collect();
        self.read.sort_by_key(|name| rank(self.seed, name.as_str()));
        self.read.truncate(self.channels_max);
        let mut eligible: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for (name, known) in &occupied {
            match self.leaves_out(name) {
                Some(why) => *reading.left_out.entry(why).or_default() += 1,
                None => {
                    eligible.insert((*name).to_owned(), known.size);
                }
            }
        }
        let sample = choose(self.seed, &eligible, self.channels_max);
        let rests = |name: &String| {
            let is_certain = occupied.get(name.as_str()).is_some_and(|known| known.is_certain);
            let turn = rank(self.seed, name).wrapping_add(self.refreshes) % RESTS_EVERY;
            !is_certain && turn == 0 && self.is_watched(name)
        };
        let (rested, watched): (BTreeSet<_>, BTreeSet<_>) =
            sample.channels.into_iter().partition(rests);
        reading.rested = rested.len() as u64;
        reading.strata = sample
            .strata
            .iter()
            .map(|((kind, size), sampled)| StratumReading {
                kind: *kind,
                size: *size,
                channels: sampled.population,
                watched: Vec::new(),
            })
            .collect();
        for name in &watched {
            let size = Size::of(eligible.get(name).copied().flatten());
            let of = (kind_of(name), size);
            let stratum = reading.strata.iter_mut().find(|s| (s.kind, s.size) == of);
            stratum.into_iter().for_each(|stratum| stratum.watched.push(name.clone()));
        }
        let named = |name: String| Some((name.clone(), ChannelName::new(name).ok()?));
        self.watched = watched.into_iter().filter_map(named).collect();
        reading
    }

    fn is_watched(&self, name: &str) -> bool {
        self.watched.contains_key(name)
    }

    fn leaves_out(&self, name: &str) -> Option<LeftOut> {
        let kind = kind_of(name);
        if ChannelName::new(name).is_err() {
            Some(LeftOut::Name)
        } else if kind.is_presence() && !self.joins_presence {
            Some(LeftOut::Presence)
        } else {
            (kind.is_encrypted() && !self.opens_encrypted).then_some(LeftOut::Encrypted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterRole::{New, Old};

    fn listing(channels: impl IntoIterator<Item = (String, Option<u64>)>) -> Listing {
        Listing { channels: channels.into_iter().collect(), asked: BTreeMap::new() }
    }

    /// What the clusters list, where clients are on these channels, each on so many, and we are on
    /// what we watch. `counts` says whether they list how many.
    fn listings(
        sampler: &Sampler,
        clients: &[(ClusterRole, BTreeMap<String, u64>)],
        counts: bool,
    ) -> BTreeMap<ClusterRole, Listing> {
        let all = |clients: &BTreeMap<String, u64>| {
            let mut all = clients.clone();
            sampler.watched().for_each(|name| *all.entry(name.to_string()).or_default() += 1);
            listing(all.into_iter().map(|(name, count)| (name, counts.then_some(count))))
        };
        clients.iter().map(|(role, clients)| (*role, all(clients))).collect()
    }

    fn watched(sampler: &Sampler) -> BTreeSet<String> {
        sampler.watched().map(ToString::to_string).collect()
    }

    fn clients(names: impl IntoIterator<Item = String>) -> BTreeMap<String, u64> {
        names.into_iter().map(|name| (name, 3)).collect()
    }

    #[test]
    fn ten_thousand_channels_are_sampled_stably_for_an_hour_whichever_cluster_they_are_on() {
        let mut sampler = Sampler::new(7, 200, false, false);
        let all = |from: u64| clients((from..from + 10_000).map(|n| format!("private-{n}")));
        let mut before = BTreeSet::new();
        for minute in 0..60 {
            // In each minute ten clients leave for good, and others come; half have moved by then.
            let (mut old, mut new) = (all(10 * minute), BTreeMap::new());
            for name in old.keys().take(5_000).cloned().collect::<Vec<_>>() {
                new.insert(name.clone(), old.remove(&name).unwrap());
            }
            let reading = sampler.refresh(&listings(&sampler, &[(Old, old), (New, new)], true));
            assert_eq!((reading.channels(), reading.watched().count()), (10_000, 200));
            assert_eq!(reading.occupied, BTreeMap::from([(Old, 5_000), (New, 5_000)]));
            let now = watched(&sampler);
            let gone = before.difference(&now).count();
            assert!(minute == 0 || gone <= 20, "{gone} were given up for ten that went");
            before = now;
        }
    }

    #[test]
    fn a_channel_is_left_when_nobody_else_is_on_it_on_either_cluster() {
        let mut sampler = Sampler::new(7, 50, false, false);
        let names = || clients(["private-a".to_owned(), "private-b".to_owned()]);
        // Nobody has moved yet: on new there is nobody but us, and it is watched all the same.
        for _ in 0..20 {
            let told = listings(&sampler, &[(Old, names()), (New, BTreeMap::new())], true);
            let reading = sampler.refresh(&told);
            assert_eq!((reading.watched().count(), reading.vacated, reading.rested), (2, 0, 0));
            assert_eq!(reading.occupied, BTreeMap::from([(Old, 2), (New, 0)]));
        }
        let left = clients(["private-b".to_owned()]);
        let told = listings(&sampler, &[(Old, left), (New, BTreeMap::new())], true);
        let reading = sampler.refresh(&told);
        assert_eq!((reading.channels(), reading.vacated), (1, 1));
        assert_eq!(watched(&sampler), BTreeSet::from(["private-b".to_owned()]));
    }

    #[test]
    fn without_counts_each_channel_is_left_alone_for_one_refresh_in_ten() {
        let mut sampler = Sampler::new(7, 100, false, false);
        let names = clients((0..100).map(|n| format!("private-{n}")));
        let (mut rested, mut seen) = (BTreeMap::<String, u32>::new(), 0);
        for round in 0..31 {
            let told = listings(&sampler, &[(Old, names.clone()), (New, BTreeMap::new())], false);
            let reading = sampler.refresh(&told);
            let now = watched(&sampler);
            assert_eq!(now.len() as u64 + reading.rested, 100, "in round {round}");
            seen += now.len();
            for name in names.keys().filter(|name| !now.contains(*name)) {
                *rested.entry(name.clone()).or_default() += 1;
            }
        }
        assert!(rested.values().all(|times| (3..=4).contains(times)), "{rested:?}");
        assert!(rested.len() == 100 && seen > 2_750);
        // Everybody leaves. The lists still have what we are on; ten refreshes later nothing.
        for _ in 0..11 {
            let none = [(Old, BTreeMap::new()), (New, BTreeMap::new())];
            sampler.refresh(&listings(&sampler, &none, false));
        }
        assert_eq!(watched(&sampler), BTreeSet::new());
    }

    #[test]
    fn what_was_asked_one_by_one_tells_who_is_there_and_changes_no_stratum() {
        let mut sampler = Sampler::new(7, 2, false, false);
        let names = || (0..4).map(|n| (format!("private-{n}"), None));
        let first = BTreeMap::from([(Old, listing(names()))]);
        sampler.refresh(&first);
        let one = watched(&sampler).first().cloned().unwrap();
        let two = watched(&sampler).last().cloned().unwrap();
        let asked = BTreeMap::from([(one.clone(), 1), (two.clone(), 900)]);
        for _ in 0..20 {
            // Once we have left it, nobody is on the one of which one subscription was told.
            let is_listed = |name: &String| *name != one || watched(&sampler).contains(name);
            let listed = listing(names().filter(|(name, _)| is_listed(name)));
            let told = Listing { asked: asked.clone(), ..listed };
            let reading = sampler.refresh(&BTreeMap::from([(Old, told)]));
            assert!(watched(&sampler).contains(&two), "whoever is not alone never rests");
            assert!(reading.strata.iter().all(|stratum| stratum.size == Size::Unknown));
        }
        assert!(!watched(&sampler).contains(&one));
    }

    #[test]
    fn what_cannot_be_watched_is_left_out_and_said() {
        let names = ["presence-a", "private-encrypted-a", "a:b", "private-a", "pc-0190f3d2-1"];
        let told = || listing(names.iter().map(|name| ((*name).to_owned(), Some(5))));
        let mut sampler = Sampler::new(7, 9, false, false);
        let reading = sampler.refresh(&BTreeMap::from([(Old, told())]));
        let left_out = [(LeftOut::Encrypted, 1), (LeftOut::Presence, 1), (LeftOut::Name, 1)];
        assert_eq!(reading.left_out, BTreeMap::from(left_out));
        assert_eq!(reading.occupied, BTreeMap::from([(Old, 4)]));
        assert_eq!(watched(&sampler), BTreeSet::from(["private-a".to_owned()]));
        // Who is there can be read without being there.
        assert_eq!(sampler.read().map(ChannelName::as_str).collect::<Vec<_>>(), ["presence-a"]);
        let mut sampler = Sampler::new(7, 9, true, true);
        let reading = sampler.refresh(&BTreeMap::from([(Old, told())]));
        assert_eq!(reading.left_out, BTreeMap::from([(LeftOut::Name, 1)]));
        assert_eq!(reading.watched().count(), 3);
    }
}
