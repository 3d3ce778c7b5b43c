//! Habits of a rehearsal cluster that are not those of the documents: the written form, and nothing
//! else.
//!
//! A habit is written `CLUSTER:HABIT`, such as `new:no-cache`.

use std::fmt;
use std::str::FromStr;

use super::ClusterRole;

/// What a cluster does otherwise than documented, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Habit {
    /// A member's user is announced for each of its connections.
    MemberPerConnection,
    /// A member stays whose connection is cut without a close.
    Ghosts,
    /// Cache channels do not tell that they have nothing to repeat.
    SilentMiss,
    /// Cache channels keep nothing.
    NoCache,
    /// Client events are refused.
    NoClientEvents,
    /// Client events go to their sender as well.
    Echo,
    /// Client events do not name their sender.
    Anonymous,
    /// Client events have no limit.
    Unlimited,
    /// A connection that a publication excludes gets it all the same.
    NoExclusion,
    /// A publication goes to one channel.
    OneChannel,
    /// The answer to a publication says nothing of its channels.
    NoInfo,
    /// No webhook tells that a channel was vacated.
    SilentVacancy,
}

impl Habit {
    /// Every habit.
    pub const ALL: [Self; 12] = [
        Self::MemberPerConnection,
        Self::Ghosts,
        Self::SilentMiss,
        Self::NoCache,
        Self::NoClientEvents,
        Self::Echo,
        Self::Anonymous,
        Self::Unlimited,
        Self::NoExclusion,
        Self::OneChannel,
        Self::NoInfo,
        Self::SilentVacancy,
    ];

    /// Its written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemberPerConnection => "member-per-connection",
            Self::Ghosts => "ghosts",
            Self::SilentMiss => "silent-miss",
            Self::NoCache => "no-cache",
            Self::NoClientEvents => "no-client-events",
            Self::Echo => "echo",
            Self::Anonymous => "anonymous",
            Self::Unlimited => "unlimited",
            Self::NoExclusion => "no-exclusion",
            Self::OneChannel => "one-channel",
            Self::NoInfo => "no-info",
            Self::SilentVacancy => "silent-vacancy",
        }
    }
}

/// A habit of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HabitOf(pub ClusterRole, pub Habit);

impl fmt::Display for HabitOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1.as_str())
    }
}

impl FromStr for HabitOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Habit::ALL.map(Habit::as_str).join(", ");
        let (cluster, habit) = text.split_once(':').ok_or("write CLUSTER:HABIT: new:no-cache")?;
        let cluster = cluster.parse().map_err(|_| format!("`{cluster}` is neither old nor new"))?;
        let habit = Habit::ALL.into_iter().find(|known| known.as_str() == habit);
        let habit = habit.ok_or_else(|| format!("is no habit; use one of {}", known()))?;
        Ok(Self(cluster, habit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for habit in Habit::ALL {
            let of = HabitOf(ClusterRole::New, habit);
            assert_eq!(of.to_string().parse(), Ok(of));
        }
        for bad in ["", "new", "both:echo", "new:shout", "new:"] {
            assert!(bad.parse::<HabitOf>().is_err(), "{bad}");
        }
    }
}
