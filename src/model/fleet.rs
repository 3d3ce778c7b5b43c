//! Several processes that do one run together: which part of it is whose.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most shards of a run.
pub const SHARDS_MAX: u32 = 1_000;

/// A part of a run's channels: every `of`th of them, from the `index`th on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Shard {
    /// Which part, counted from 0.
    pub index: u32,
    /// How many parts there are, from 1 to [`SHARDS_MAX`].
    pub of: u32,
}

impl Shard {
    /// All of a run.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// A part of so many.
    ///
    /// # Errors
    /// There is no such part: in a few words.
    pub fn new(index: u32, of: u32) -> Result<Self, String> {
        if !(1..=SHARDS_MAX).contains(&of) {
            return Err(format!("there may be 1 to {SHARDS_MAX} shards"));
        }
        if index >= of {
            return Err(format!("shards count from 0: the last of {of} is {}", of - 1));
        }
        Ok(Self { index, of })
    }

    /// Whether the channel with this place among all is part of it.
    pub const fn has(self, channel: usize) -> bool {
        channel % self.of as usize == self.index as usize
    }

    /// Whether it is all of a run.
    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u32>().ok();
        let both = text.split_once('/').and_then(|(i, n)| Some((number(i)?, number(n)?)));
        let (index, of) = both.ok_or("must be I/N, such as 0/4")?;
        Self::new(index, of)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What a process does with its part of a run.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// It publishes, and witnesses what it published.
    #[default]
    Both,
    /// It publishes, and tells others what became of it.
    Publish,
    /// It witnesses what another process published.
    Witness,
}

impl MemberRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Both, Self::Publish, Self::Witness];

    /// The role's name on the command line, in reports and in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Publish => "publish",
            Self::Witness => "witness",
        }
    }

    /// Whether it publishes canary events.
    pub const fn publishes(self) -> bool {
        !matches!(self, Self::Witness)
    }

    /// Whether it watches for them.
    pub const fn witnesses(self) -> bool {
        !matches!(self, Self::Publish)
    }
}

impl FromStr for MemberRole {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or("must be publish, witness or both")
    }
}

/// A process's part in a run.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Member {
    /// Its channels.
    pub shard: Shard,
    /// What it does with them. Reports of the first fleets lack it.
    #[serde(default)]
    pub role: MemberRole,
    /// Where it is, as whoever started it calls the place; may be empty.
    pub region: String,
}

impl Member {
    /// Whether all of the run is its own, and nobody has said where it is.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether others have a part in its run.
    pub fn has_others(&self) -> bool {
        self.others().is_some()
    }

    /// What others did of its run, in words; `None` where nobody did.
    pub fn others(&self) -> Option<&'static str> {
        match (self.role, self.shard.is_whole()) {
            (MemberRole::Both, true) => None,
            (MemberRole::Both, false) => Some("other agents did the rest of the run"),
            (MemberRole::Publish, true) => Some("other agents witness what it published"),
            (MemberRole::Publish, false) => {
                Some("other agents witness what it published, and did the rest of the run")
            }
            (MemberRole::Witness, true) => Some("another agent published what it saw"),
            (MemberRole::Witness, false) => {
                Some("another agent published what it saw, and others did the rest of the run")
            }
        }
    }

    /// Whether others subscribe to its channels, and may do so longer than it.
    pub const fn shares_channels(&self) -> bool {
        !matches!(self.role, MemberRole::Both)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            MemberRole::Both => write!(f, "shard {}", self.shard)?,
            MemberRole::Publish => write!(f, "publisher of shard {}", self.shard)?,
            MemberRole::Witness => write!(f, "witness of shard {}", self.shard)?,
        }
        if self.region.is_empty() { Ok(()) } else { write!(f, " in {}", self.region) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_is_part_of_exactly_one_shard() {
        for of in [1, 2, 3, 7] {
            let shards: Vec<_> = (0..of).map(|index| Shard::new(index, of).unwrap()).collect();
            for channel in 0..50 {
                assert_eq!(shards.iter().filter(|shard| shard.has(channel)).count(), 1);
            }
        }
    }

    #[test]
    fn a_shard_is_read_as_it_is_shown_and_no_other_text_is_one() {
        let shard: Shard = "3/4".parse().unwrap();
        assert_eq!((shard, shard.to_string()), (Shard { index: 3, of: 4 }, "3/4".to_owned()));
        for (text, why) in [
            ("4/4", "the last of 4 is 3"),
            ("0/0", "1 to 1000 shards"),
            ("0/1001", "1 to 1000 shards"),
            ("1", "must be I/N"),
            ("-1/2", "must be I/N"),
            ("a/b", "must be I/N"),
            ("", "must be I/N"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
