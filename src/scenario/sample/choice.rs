//! Which real channels are watched: a choice that is the same on both clusters and in every
//! process, and that changes only where channels come and go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::model::ChannelKind;
use crate::model::channel::kind_of;
use crate::verify::sample::Size;
use crate::verify::stats::Sampled;

/// The channels of one kind and size.
pub type Stratum = (ChannelKind, Size);

/// A choice of channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The channels that are watched.
    pub channels: BTreeSet<String>,
    /// How many there are of each stratum, and how many of them are watched.
    pub strata: BTreeMap<Stratum, Sampled>,
}

/// Chooses at most `channels_max` of the occupied channels, each given with its subscriptions on
/// all clusters together, where they are known. Every stratum gets as many as every other, as far
/// as it has them.
///
/// By rendezvous hashing (Thaler and Ravishankar, "A name-based mapping scheme for rendezvous",
/// 1996): each name has a rank of its own, drawn from `seed` and the name alone, and the lowest
/// ranks of a stratum are chosen. A channel that comes or goes displaces at most one other of its
/// stratum, and one of another where it makes room for it.
pub fn choose(seed: u64, occupied: &BTreeMap<String, Option<u64>>, channels_max: usize) -> Sample {
    let mut strata: BTreeMap<Stratum, Vec<(u64, &str)>> = BTreeMap::new();
    for (name, subscriptions) in occupied {
        let stratum = (kind_of(name), Size::of(*subscriptions));
        strata.entry(stratum).or_default().push((rank(seed, name), name));
    }
    let mut sample = Sample::default();
    for (stratum, of) in &mut strata {
        of.sort_unstable_by_key(|rank| Reverse(*rank));
        let sampled = Sampled { population: of.len() as u64, sampled: 0 };
        sample.strata.insert(*stratum, sampled);
    }
    while sample.channels.len() < channels_max && strata.values().any(|of| !of.is_empty()) {
        for (stratum, of) in &mut strata {
            if sample.channels.len() == channels_max {
                break;
            }
            let (Some((_, name)), Some(sampled)) = (of.pop(), sample.strata.get_mut(stratum))
            else {
                continue;
            };
            sample.channels.insert(name.to_owned());
            sampled.sampled += 1;
        }
    }
    sample
}

/// A channel's rank: the first eight bytes of SHA-256 over the seed and the name.
pub(super) fn rank(seed: u64, name: &str) -> u64 {
    let digest = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(name).finalize();
    digest.iter().take(8).fold(0, |rank, byte| rank << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupied(names: impl IntoIterator<Item = String>) -> BTreeMap<String, Option<u64>> {
        names.into_iter().map(|name| (name, Some(2))).collect()
    }

    fn many() -> BTreeMap<String, Option<u64>> {
        occupied((0..10_000).map(|n| format!("private-order-{n}")))
    }

    #[test]
    fn the_choice_is_that_of_the_seed_and_of_nothing_else() {
        let many = many();
        let chosen = choose(7, &many, 200).channels;
        assert_eq!(chosen.len(), 200);
        assert_eq!(choose(7, &many, 200).channels, chosen);
        let other = choose(8, &many, 200).channels;
        assert!(other.intersection(&chosen).count() < 20, "another seed chooses others");
        // A rank that was drawn elsewhere: printf '\0\0\0\0\0\0\0\7orders' | sha256sum.
        assert_eq!(rank(7, "orders"), 0x7ec8_c577_4389_d70b);
    }

    #[test]
    fn channels_that_come_and_go_displace_no_more_than_themselves() {
        let mut now = many();
        let mut chosen = choose(7, &now, 200).channels;
        for round in 0..50 {
            let gone = now.keys().nth(round * 131).cloned().unwrap();
            now.remove(&gone);
            now.insert(format!("private-new-{round}"), Some(3));
            let next = choose(7, &now, 200).channels;
            let left = chosen.difference(&next).count();
            assert!(left <= 2, "{left} were given up for one that went and one that came");
            assert!(left == 0 || !now.contains_key(&gone), "{gone}");
            chosen = next;
        }
    }

    #[test]
    fn each_stratum_has_its_share_and_a_small_one_all_that_it_has() {
        let mut of = many();
        for n in 0..3 {
            of.insert(format!("presence-room-{n}"), Some(40));
        }
        of.extend((0..500).map(|n| (format!("news-{n}"), None)));
        of.insert("private-everybody".to_owned(), Some(120_000));
        let sample = choose(1, &of, 100);
        let sampled = |population, sampled| Sampled { population, sampled };
        let expected = BTreeMap::from([
            ((ChannelKind::Public, Size::Unknown), sampled(500, 48)),
            ((ChannelKind::Private, Size::Few), sampled(10_000, 48)),
            ((ChannelKind::Private, Size::Thousands), sampled(1, 1)),
            ((ChannelKind::Presence, Size::Tens), sampled(3, 3)),
        ]);
        assert_eq!(sample.strata, expected);
        assert_eq!(sample.channels.len(), 100);
    }

    #[test]
    fn with_room_for_all_all_are_chosen_and_with_none_nobody_is() {
        let few = occupied(["a".to_owned(), "private-b".to_owned()]);
        assert_eq!(choose(1, &few, 9).channels.len(), 2);
        assert_eq!(choose(1, &few, 0).channels.len(), 0);
        assert_eq!(choose(1, &BTreeMap::new(), 9), Sample::default());
    }

    #[test]
    fn every_channel_is_as_likely_as_any_other() {
        // Chosen by 400 seeds, each with a chance of one in ten: 40, give or take 5 deviations.
        let hundred = occupied((0..100).map(|n| format!("private-{n}")));
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for seed in 0..400 {
            for name in choose(seed, &hundred, 10).channels {
                *times.entry(name).or_default() += 1;
            }
        }
        assert_eq!(times.len(), 100);
        assert!(times.values().all(|count| (10..=70).contains(count)), "{times:?}");
    }
}
