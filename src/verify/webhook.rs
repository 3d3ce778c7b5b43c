//! What an app's webhooks say of who is there: a channel counts as occupied from the webhook that
//! says so until a later one takes it back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterRole, RunTime};

use super::record::is_zero;

/// Channels that are kept in mind; with more of them nobody can say any more that all are empty.
const CHANNELS_MAX: usize = 200_000;

/// A channel came to be occupied, or vacated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacancy {
    /// Its name.
    pub channel: String,
    /// Whether it is occupied now.
    pub is_occupied: bool,
}

/// Why a request is no webhook that counts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// Its signature is not that of an app of the scenario.
    Forged,
    /// It is signed, and too old to be anything but a repetition.
    Stale,
    /// It is signed, and no webhook that anybody understands.
    Unreadable,
}

/// A request to the webhook receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookFact {
    /// A webhook of this cluster's app.
    Genuine {
        /// The app's cluster.
        role: ClusterRole,
        /// When the app says that it sent it: milliseconds since the Unix epoch.
        sent_ms: u64,
        /// Channels that changed, but for those of canaries.
        vacancies: Vec<Vacancy>,
        /// Events that somebody on a channel did something.
        alive: u64,
        /// Events about channels of canaries.
        own: u64,
        /// Events of other kinds.
        others: u64,
    },
    /// Anything else.
    Refused(Refusal),
}

/// What a second added of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookSecond {
    /// Webhooks.
    pub genuine: u64,
    /// Events that a channel was occupied.
    #[serde(skip_serializing_if = "is_zero")]
    pub occupied: u64,
    /// Events that one was vacated.
    #[serde(skip_serializing_if = "is_zero")]
    pub vacated: u64,
    /// Events about channels of canaries.
    #[serde(skip_serializing_if = "is_zero")]
    pub own: u64,
    /// Events of other kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub others: u64,
    /// Channels that are occupied: a state.
    pub open: u64,
    /// When the last one of them was vacated, or told of: a state.
    pub changed: RunTime,
}

/// Which channels are occupied, as one app's webhooks say.
#[derive(Debug, Default)]
pub struct Channels {
    /// Each channel of which a webhook told, with the time of the last one.
    known: BTreeMap<String, (u64, bool)>,
    open: u64,
    /// Whether there were more than can be kept in mind.
    has_overflowed: bool,
}

impl Channels {
    /// Takes in what a webhook said. Webhooks come in any order, and more than once: of each
    /// channel the one that was sent last counts.
    pub fn note(
        &mut self,
        sent_ms: u64,
        vacancies: &[Vacancy],
        at: RunTime,
        to: &mut WebhookSecond,
    ) {
        for Vacancy { channel, is_occupied } in vacancies {
            *(if *is_occupied { &mut to.occupied } else { &mut to.vacated }) += 1;
            if !self.known.contains_key(channel) && self.known.len() >= CHANNELS_MAX {
                if self.has_overflowed {
                    continue;
                }
                self.known.retain(|_, (_, is_occupied)| *is_occupied);
                self.has_overflowed |= self.known.len() >= CHANNELS_MAX;
                if self.has_overflowed {
                    continue;
                }
            }
            let said = (sent_ms, *is_occupied);
            // One that comes again says nothing new. Of two of one instant, that somebody is there.
            let known = match self.known.entry(channel.clone()) {
                Entry::Vacant(unknown) => {
                    to.changed = at;
                    self.open += u64::from(*is_occupied);
                    unknown.insert(said);
                    continue;
                }
                Entry::Occupied(known) => known.into_mut(),
            };
            if said <= *known {
                continue;
            }
            let was = std::mem::replace(known, (sent_ms, *is_occupied)).1;
            match (was, *is_occupied) {
                (false, true) => self.open += 1,
                (true, false) => self.open -= 1,
                (false, false) | (true, true) => {}
            }
            to.changed = at;
        }
        to.open = self.open + u64::from(self.has_overflowed);
    }
}

/// What one app's webhooks came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookFigures {
    /// Webhooks.
    pub genuine: u64,
    /// Events that a channel was occupied.
    pub occupied: u64,
    /// Events that one was vacated.
    pub vacated: u64,
    /// Events about channels of canaries.
    pub own: u64,
    /// Events of other kinds.
    pub others: u64,
    /// Channels that are occupied, as far as they told of any.
    pub open: u64,
    /// For how long none has been.
    pub empty_for: Duration,
    /// When that changed last, in one run alone.
    pub changed: RunTime,
}

impl WebhookFigures {
    /// Takes in what a second added.
    pub fn add(&mut self, second: &WebhookSecond) {
        self.genuine += second.genuine;
        self.occupied += second.occupied;
        self.vacated += second.vacated;
        self.own += second.own;
        self.others += second.others;
        self.open = second.open;
        self.changed = self.changed.max(second.changed);
    }

    /// Reckons for how long nobody has been there at `now`, since `begun` at the longest.
    pub fn settle(&mut self, begun: RunTime, now: RunTime) {
        let since = self.changed.max(begun);
        self.empty_for = if self.open == 0 { now.since(since) } else { Duration::ZERO };
    }

    /// Those of a run that ended later take their place: what was open earlier, a later run that
    /// heard nothing knows nothing of.
    pub fn merge(&mut self, later: &Self) {
        self.clone_from(later);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vacancy(channel: &str, is_occupied: bool) -> Vacancy {
        Vacancy { channel: channel.to_owned(), is_occupied }
    }

    fn told(webhooks: &[(u64, &[Vacancy])]) -> WebhookFigures {
        let (mut channels, mut figures) = (Channels::default(), WebhookFigures::default());
        for (at, (sent_ms, vacancies)) in (1..).zip(webhooks) {
            let mut second = WebhookSecond { genuine: 1, ..WebhookSecond::default() };
            channels.note(*sent_ms, vacancies, RunTime::from_millis(1_000 * at), &mut second);
            figures.add(&second);
        }
        figures.settle(RunTime::ZERO, RunTime::from_millis(60_000));
        figures
    }

    #[test]
    fn an_app_is_empty_from_the_webhook_that_vacates_its_last_channel() {
        let figures =
            told(&[(10, &[vacancy("a", true), vacancy("b", true)]), (20, &[vacancy("a", false)])]);
        assert_eq!((figures.open, figures.empty_for), (1, Duration::ZERO));
        let figures = told(&[
            (10, &[vacancy("a", true), vacancy("b", true)]),
            (20, &[vacancy("a", false)]),
            (30, &[vacancy("b", false)]),
        ]);
        assert_eq!((figures.open, figures.empty_for), (0, Duration::from_secs(57)));
        assert_eq!((figures.genuine, figures.occupied, figures.vacated), (3, 2, 2));
        // Nobody told of anybody: nothing changed since the beginning.
        assert_eq!(told(&[]).empty_for, Duration::from_secs(60));
    }

    #[test]
    fn webhooks_may_come_twice_and_in_any_order() {
        let occupied = (10, &[vacancy("a", true)][..]);
        let vacated = (20, &[vacancy("a", false)][..]);
        assert_eq!(told(&[vacated, occupied]).open, 0);
        assert_eq!(told(&[occupied, occupied, vacated, vacated]).open, 0);
        assert_eq!(told(&[occupied, vacated, occupied]).open, 0);
        let again = (30, &[vacancy("a", true)][..]);
        assert_eq!(told(&[occupied, again, vacated]).open, 1);
    }

    #[test]
    fn a_channel_that_was_occupied_before_anybody_listened_may_be_vacated() {
        let figures = told(&[(10, &[vacancy("a", false)])]);
        assert_eq!((figures.open, figures.vacated), (0, 1));
        assert_eq!(figures.empty_for, Duration::from_secs(59), "somebody was there until then");
    }

    #[test]
    fn more_channels_than_can_be_kept_in_mind_are_never_all_empty() {
        let mut channels = Channels::default();
        let mut second = WebhookSecond::default();
        let all: Vec<_> =
            (0..=CHANNELS_MAX).map(|n| vacancy(&format!("private-{n}"), true)).collect();
        channels.note(1, &all, RunTime::ZERO, &mut second);
        assert_eq!(second.open, CHANNELS_MAX as u64 + 1);
        let gone: Vec<_> = all.iter().map(|v| vacancy(&v.channel, false)).collect();
        channels.note(2, &gone, RunTime::ZERO, &mut second);
        assert!(second.open >= 1, "{}", second.open);
    }
}
