//! Who is present on which cluster: while clients move, the members of one channel are on both, and
//! those of the one do not see those of the other.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The members of some presence channels at one time. One in two channels counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Presence {
    /// How many channels were read on each cluster.
    pub channels: u64,
    /// Members on old.
    pub old: u64,
    /// Members on new.
    pub new: u64,
    /// Members on both.
    pub both: u64,
    /// Members that do not see everybody who is present in their channel: they are on one cluster
    /// alone, and somebody is on the other alone.
    pub split: u64,
}

impl Presence {
    /// Adds a channel with these members on each cluster.
    pub fn add(&mut self, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        let both = old.intersection(new).count() as u64;
        let (on_old, on_new) = (old.len() as u64, new.len() as u64);
        let (only_old, only_new) = (on_old - both, on_new - both);
        self.channels += 1;
        self.old += on_old;
        self.new += on_new;
        self.both += both;
        if only_old > 0 && only_new > 0 {
            self.split += only_old + only_new;
        }
    }

    /// Members on either cluster.
    pub const fn union(&self) -> u64 {
        self.old + self.new - self.both
    }

    /// The share of members that do not see everybody; `None` without a member.
    pub fn split_ratio(&self) -> Option<f64> {
        (self.union() > 0).then(|| self.split as f64 / self.union() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_split_where_some_are_on_one_cluster_alone_and_others_on_the_other() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let of = |old: &[&str], new: &[&str]| {
            let mut presence = Presence::default();
            presence.add(&set(old), &set(new));
            (presence.union(), presence.both, presence.split)
        };
        assert_eq!(of(&["a", "b"], &[]), (2, 0, 0), "nobody has moved");
        assert_eq!(of(&["a"], &["b", "c"]), (3, 0, 3));
        assert_eq!(of(&["a", "b"], &["b", "c"]), (3, 1, 2), "who is on both sees all");
        assert_eq!(of(&["a", "b"], &["a", "b"]), (2, 2, 0));
        assert_eq!(of(&["a", "b"], &["a"]), (2, 1, 0), "all are on old");
        let mut sum = Presence::default();
        sum.add(&set(&["a"]), &set(&["b"]));
        sum.add(&set(&["a", "b"]), &set(&[]));
        assert_eq!((sum.channels, sum.union(), sum.split_ratio()), (2, 4, Some(0.5)));
        assert_eq!(Presence::default().split_ratio(), None);
    }
}
