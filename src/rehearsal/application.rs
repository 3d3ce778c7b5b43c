//! A simulated application: it publishes real-looking events to both clusters, as a backend does in
//! a migration, with the mistakes that such a backend makes, and counts them. Its users sit on the
//! old cluster. Pure; the pair's thread calls it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::ClusterRole;
use crate::model::application::Behaviour;
use crate::pusher::encrypt::SharedSecret;

use super::endpoint::MASTER_KEY;
use super::hub::Publication;

/// What its channels are called, before their number.
const CHANNEL_PREFIX: &str = "private-orders-";
/// What those are called that are encrypted.
const ENCRYPTED_PREFIX: &str = "private-encrypted-orders-";
/// What its events are called.
const EVENTS: [&str; 3] = ["order-placed", "order-paid", "order-sent"];
/// Keeps the application's draws apart from the clusters'.
const SEED: u64 = 0x5bf0_3635_dcb5_4c1f;

/// What it did on one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationCounts {
    /// Events published, further copies included.
    pub application_published: u64,
    /// Events not published, which the other cluster got.
    pub application_skipped: u64,
    /// Events published twice.
    pub application_doubled: u64,
    /// Events published with other content than on the other cluster.
    pub application_altered: u64,
    /// Events of channels that the other cluster alone gets.
    pub application_forgotten: u64,
}

/// A mistake, for the fault log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub cluster: ClusterRole,
    /// `app-skip`, `app-double`, `app-alter` or `app-forget`.
    pub kind: &'static str,
    /// On which channel.
    pub channel: String,
    /// With which event.
    pub event: &'static str,
}

/// What is to be published now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Each event with its cluster, in order.
    pub events: Vec<(ClusterRole, Publication)>,
    /// The mistakes in it.
    pub mistakes: Vec<Mistake>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Application {
    behaviour: Behaviour,
    rng: SmallRng,
    published: u64,
    counts: BTreeMap<ClusterRole, ApplicationCounts>,
}

impl Application {
    /// One that has published nothing yet.
    pub fn new(behaviour: Behaviour, seed: u64) -> Self {
        let counts = ClusterRole::ALL.map(|role| (role, ApplicationCounts::default()));
        let rng = SmallRng::seed_from_u64(seed ^ SEED);
        Self { behaviour, rng, published: 0, counts: counts.into() }
    }

    /// Names of its channels.
    pub fn channels(&self) -> impl Iterator<Item = String> + use<> {
        let behaviour = self.behaviour;
        (0..behaviour.channels).map(move |number| channel(behaviour, number))
    }

    /// Its users on presence channels of a cluster: channel and user.
    pub fn members(
        &self,
        role: ClusterRole,
    ) -> impl Iterator<Item = (String, &'static str)> + use<> {
        let stays = match role {
            ClusterRole::Old => "stays",
            ClusterRole::New => "moved",
        };
        (0..self.behaviour.rooms).flat_map(move |number| {
            [stays, "is-on-both"].map(|user| (format!("presence-room-{number}"), user))
        })
    }

    /// What it published on old before the rehearsal began: one event on each cache channel.
    pub fn past(&self) -> impl Iterator<Item = Publication> + use<> {
        (0..self.behaviour.caches).map(|number| Publication {
            event: "order-placed".to_owned(),
            channel: format!("cache-orders-{number}"),
            data: format!("{{\"id\":\"cached-{number}\"}}"),
            except: None,
        })
    }

    /// What it did so far.
    pub const fn counts(&self) -> &BTreeMap<ClusterRole, ApplicationCounts> {
        &self.counts
    }

    /// What is due `after` its start.
    pub fn due(&mut self, after: Duration) -> Due {
        let mut due = Due::default();
        let wanted = (after.as_secs_f64() * self.behaviour.rate) as u64;
        while self.published < wanted && self.behaviour.channels > 0 {
            self.publish(&mut due);
            self.published += 1;
        }
        due
    }

    fn publish(&mut self, due: &mut Due) {
        let Behaviour { channels, skips, doubles, alters, forgets, .. } = self.behaviour;
        let number = self.rng.random_range(0..channels);
        let at = self.rng.random_range(0..EVENTS.len());
        let Some(event) = EVENTS.get(at).copied() else { return };
        let cents: u32 = self.rng.random_range(100..100_000);
        let [is_skipped, is_doubled, is_altered] =
            [skips, doubles, alters].map(|chance| self.rng.random_bool(chance));
        let is_forgotten = number < forgets;
        let channel = channel(self.behaviour, number);
        let order = |cents: u32| {
            let total = format!("{}.{:02}", cents / 100, cents % 100);
            json!({ "id": format!("o-{}", self.published), "total": total }).to_string()
        };
        let shared_secret = (number < self.behaviour.encrypted)
            .then(|| SharedSecret::derive(&channel, &MASTER_KEY));
        // As SDKs do it, each copy is sealed by itself.
        let mut publication = |cents| Publication {
            event: event.to_owned(),
            channel: channel.clone(),
            data: match &shared_secret {
                Some(secret) => secret.seal(&order(cents), &self.rng.random()),
                None => order(cents),
            },
            except: None,
        };
        let mut events = vec![(ClusterRole::Old, publication(cents))];
        if is_doubled {
            events.push((ClusterRole::Old, publication(cents)));
        }
        if !is_skipped && !is_forgotten {
            events.push((ClusterRole::New, publication(cents + u32::from(is_altered))));
        }
        let mut mistake = |role, is_done, kind, count: fn(&mut ApplicationCounts) -> &mut u64| {
            if is_done {
                *count(self.counts.entry(role).or_default()) += 1;
                due.mistakes.push(Mistake { cluster: role, kind, channel: channel.clone(), event });
            }
        };
        let (old, new) = (ClusterRole::Old, ClusterRole::New);
        mistake(new, is_forgotten, "app-forget", |c| &mut c.application_forgotten);
        mistake(new, is_skipped && !is_forgotten, "app-skip", |c| &mut c.application_skipped);
        mistake(old, is_doubled, "app-double", |c| &mut c.application_doubled);
        let reaches_new = !is_skipped && !is_forgotten;
        mistake(new, is_altered && reaches_new, "app-alter", |c| &mut c.application_altered);
        for (role, _) in &events {
            self.counts.entry(*role).or_default().application_published += 1;
        }
        due.events.extend(events);
    }
}

fn channel(behaviour: Behaviour, number: u32) -> String {
    let prefix = if number < behaviour.encrypted { ENCRYPTED_PREFIX } else { CHANNEL_PREFIX };
    format!("{prefix}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterRole::{New, Old};

    fn behaviour() -> Behaviour {
        Behaviour {
            channels: 20,
            encrypted: 0,
            rate: 500.0,
            skips: 0.01,
            doubles: 0.02,
            alters: 0.005,
            forgets: 1,
            rooms: 0,
            caches: 0,
        }
    }

    #[test]
    fn what_it_counts_is_what_it_published_and_the_seed_decides_all_of_it() {
        let run = |seed| {
            let mut application = Application::new(behaviour(), seed);
            let mut all = Due::default();
            for tick in 1..=6_000 {
                let due = application.due(Duration::from_millis(10 * tick));
                all.events.extend(due.events);
                all.mistakes.extend(due.mistakes);
            }
            (all, application.counts().clone())
        };
        let (due, counts) = run(1);
        assert_eq!(run(1), (due.clone(), counts.clone()));
        assert_ne!(run(2).1, counts);
        let of = |role| due.events.iter().filter(move |(of, _)| *of == role);
        let done = |kind| due.mistakes.iter().filter(|m| m.kind == kind).count() as u64;
        let (old, new) = (counts[&Old], counts[&New]);
        assert_eq!(of(Old).count() as u64, old.application_published);
        assert_eq!(of(New).count() as u64, new.application_published);
        // 30,000 events: each got to old once, and to new if it was neither skipped nor forgotten.
        assert_eq!(old.application_published - old.application_doubled, 30_000);
        let missing = new.application_skipped + new.application_forgotten;
        assert_eq!(new.application_published + missing, 30_000);
        assert_eq!(done("app-skip"), new.application_skipped);
        assert_eq!(done("app-double"), old.application_doubled);
        assert_eq!(done("app-alter"), new.application_altered);
        assert_eq!(done("app-forget"), new.application_forgotten);
        // Five deviations of the binomial, and of 19 in 20 channels.
        assert!((200..=370).contains(&new.application_skipped), "{new:?}");
        assert!((478..=722).contains(&old.application_doubled), "{old:?}");
        assert!(of(New).all(|(_, event)| event.channel != "private-orders-0"));
    }

    #[test]
    fn one_without_channels_publishes_nothing() {
        let mut application = Application::new(Behaviour { channels: 0, ..behaviour() }, 1);
        assert_eq!(application.due(Duration::from_secs(9)), Due::default());
    }
}
