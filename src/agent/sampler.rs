//! Finds out which real channels are occupied, chooses some of them, and has them watched on every
//! cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::channel::{PRESENCE_PREFIX, kind_of};
use crate::model::{ChannelName, RunTime};
use crate::net::http::Connection;
use crate::pusher::rest;
use crate::scenario::sample::{self, Listing, Sampling};
use crate::verify::fact::Fact;
use crate::verify::mirror::identity::Identifier;
use crate::verify::presence::Presence;
use crate::verify::sample::{Caches, SampleNote, SampleReading};

use super::Phases;
use super::occupancy::{ask, send};
use super::publisher::Wire;
use super::watcher::Order;

/// What an answer of an API takes, when it is reckoned how long many of them take.
const ANSWER: Duration = Duration::from_millis(100);

/// One cluster, as the sampler deals with it.
pub(super) struct Side {
    /// How to ask the API.
    wire: Arc<Wire>,
    /// Its watchers: those of the other cluster have the same channels.
    watchers: Vec<mpsc::Sender<Order>>,
    connection: Option<Connection>,
    /// When the next request may be sent.
    next_request: RunTime,
    /// Whether the API says how many are on one channel; `None` until it was asked.
    counts: Option<bool>,
    /// What it said.
    asked: BTreeMap<String, u64>,
}

/// See the module's documentation.
pub(super) struct Sampler {
    sampling: Sampling,
    /// Gone while it reckons on another thread: a list may have hundreds of thousands of channels.
    sampler: Option<sample::Sampler>,
    sides: Vec<Side>,
    /// Which watcher has which channel.
    assigned: BTreeMap<ChannelName, usize>,
    /// Presence channels whose members are read.
    presence: Vec<ChannelName>,
    /// What the ids of the watchers themselves begin with.
    own_users: String,
    /// Whether an auth endpoint says who they are.
    joins_as_somebody: bool,
    identifier: Arc<Identifier>,
    facts: mpsc::Sender<Fact>,
}

impl Side {
    /// A cluster with its watchers.
    pub(super) const fn new(wire: Arc<Wire>, watchers: Vec<mpsc::Sender<Order>>) -> Self {
        let (connection, next_request, counts) = (None, RunTime::ZERO, None);
        Self { wire, watchers, connection, next_request, counts, asked: BTreeMap::new() }
    }

    /// Waits for the next request's turn.
    async fn turn(&mut self, pause: Duration) {
        let clock = self.wire.clock;
        tokio::time::sleep_until(clock.instant(self.next_request).into()).await;
        self.next_request = clock.now().after(pause);
    }

    fn unix_seconds(&self) -> u64 {
        self.wire.clock.wall_now().as_secs()
    }

    /// Every occupied channel with one of the prefixes.
    async fn list(&mut self, prefixes: &[String], pause: Duration) -> Result<Listing, String> {
        let mut channels = BTreeMap::new();
        for Question { prefix, of_members, is_needed } in questions(prefixes) {
            self.turn(pause).await;
            let (signer, at) = (&self.wire.signer, self.unix_seconds());
            let request = match prefix {
                _ if of_members => signer.presence_channels(prefix, at),
                "" => signer.all_channels(at),
                _ => signer.channels(prefix, at),
            };
            let listed = match ask(&self.wire, &mut self.connection, request).await {
                Ok(listed) => listed,
                Err(why) if is_needed => return Err(why),
                Err(_) => continue,
            };
            for listed in listed {
                let is_presence = kind_of(&listed.name).is_presence();
                let members = listed.user_count.filter(|_| is_presence);
                let count = members.or(listed.subscription_count);
                let known = channels.entry(listed.name).or_insert(count);
                *known = members.or(*known);
            }
        }
        Ok(Listing { channels, asked: self.asked.clone() })
    }

    /// Asks who is on a presence channel; `None` if there is no answer that says so.
    async fn users(&mut self, channel: &ChannelName, pause: Duration) -> Option<BTreeSet<String>> {
        self.turn(pause).await;
        let request = self.wire.signer.users(channel, self.unix_seconds());
        let answer = send(&self.wire, &mut self.connection, &request).await.ok()?;
        rest::users(answer.status, &answer.body)
    }

    /// Asks whether a cache channel keeps an event; `None` if there is no answer that says so.
    async fn cached(&mut self, channel: &ChannelName, pause: Duration) -> Option<bool> {
        self.turn(pause).await;
        let request = self.wire.signer.cached(channel, self.unix_seconds());
        let answer = send(&self.wire, &mut self.connection, &request).await.ok()?;
        rest::cached(answer.status, &answer.body)
    }

    /// Asks how many are on one channel, if the API says such things.
    async fn count(&mut self, channel: &ChannelName, pause: Duration) {
        if self.counts == Some(false) || channel.kind().is_presence() {
            return;
        }
        self.turn(pause).await;
        let request = self.wire.signer.subscription_count(channel, self.unix_seconds());
        // An answer that does not come says nothing; the next refresh asks again.
        let Ok(answer) = send(&self.wire, &mut self.connection, &request).await else { return };
        if rest::is_throttled(answer.status, &answer.body) || answer.status >= 500 {
            return;
        }
        match rest::counted(answer.status, &answer.body) {
            Some(count) => {
                self.counts = Some(true);
                self.asked.insert(channel.to_string(), count);
            }
            // What is said of one channel is said of all.
            None => self.counts = self.counts.or(Some(false)),
        }
    }
}

/// A list that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question<'a> {
    /// What the channels' names begin with.
    prefix: &'a str,
    /// Whether with the number of members, which can be asked of presence channels only.
    of_members: bool,
    /// Whether nothing is known without its answer.
    is_needed: bool,
}

fn questions(prefixes: &[String]) -> Vec<Question<'_>> {
    let mut questions = Vec::new();
    for prefix in prefixes {
        let of_members = prefix.starts_with(PRESENCE_PREFIX);
        questions.push(Question { prefix, of_members, is_needed: true });
        // Such a list may hold presence channels, and not say how many are there.
        if !of_members && PRESENCE_PREFIX.starts_with(prefix.as_str()) {
            let (prefix, of_members) = (PRESENCE_PREFIX, true);
            questions.push(Question { prefix, of_members, is_needed: false });
        }
    }
    questions
}

impl Sampler {
    /// A sampler for these clusters. `opens_encrypted` says whether there is a key of the
    /// application's encrypted channels for each of them.
    pub(super) fn new(
        seed: u64,
        sampling: Sampling,
        opens_encrypted: bool,
        sides: Vec<Side>,
        (identifier, own_users, joins_as_somebody): (Arc<Identifier>, String, bool),
        facts: mpsc::Sender<Fact>,
    ) -> Self {
        let Sampling { channels, join_presence, .. } = sampling;
        let sampler = sample::Sampler::new(seed, channels, join_presence, opens_encrypted);
        let sampler = Some(sampler);
        let (assigned, presence) = (BTreeMap::new(), Vec::new());
        Self {
            sampling,
            sampler,
            sides,
            assigned,
            presence,
            own_users,
            joins_as_somebody,
            identifier,
            facts,
        }
    }

    /// Refreshes the sample from the beginning of publishing to its end.
    pub(super) async fn run(mut self, phases: Phases) {
        tokio::select! {
            () = phases.published.cancelled() => {}
            () = phases.leave.cancelled() => {}
            () = self.refresh_again_and_again() => {}
        }
        // The watchers' orders end with this task, and they go on watching.
    }

    async fn refresh_again_and_again(&mut self) {
        let Some(clock) = self.sides.first().map(|side| side.wire.clock) else { return };
        let mut due = clock.now();
        loop {
            self.refresh().await;
            let refresh = self.sampling.refresh;
            due = due.after(refresh).max(clock.now());
            // How many are on each channel is asked as late as there is time for: then our own
            // subscriptions are counted, too.
            let caches = self.assigned.keys().filter(|channel| channel.kind().is_cache());
            let channels = self.assigned.len() + self.presence.len() + caches.count();
            let channels = u32::try_from(channels).unwrap_or(u32::MAX);
            let takes = (self.pause() + ANSWER) * channels;
            let from = clock.now().after(refresh.saturating_sub(takes).max(refresh / 2));
            tokio::time::sleep_until(clock.instant(from.min(due)).into()).await;
            let until = clock.instant(due).into();
            let now = clock.now();
            let halfway = now.after(due.since(now) / 2);
            let reading = async {
                self.read_presence(halfway).await;
                self.read_caches(halfway).await;
                self.count().await;
            };
            let _ = tokio::time::timeout_at(until, reading).await;
            tokio::time::sleep_until(until).await;
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.sampling.requests_per_second)
    }

    async fn refresh(&mut self) {
        let (pause, prefixes) = (self.pause(), &self.sampling.prefixes);
        let list = self.sides.iter_mut().map(|side| async {
            let role = side.wire.role;
            (role, side.list(prefixes, pause).await)
        });
        let listed = futures_util::future::join_all(list).await;
        let mut listings = BTreeMap::new();
        let mut is_whole = true;
        for (role, listed) in listed {
            match listed {
                Ok(listing) => {
                    listings.insert(role, listing);
                }
                Err(why) => {
                    is_whole = false;
                    self.state(SampleNote::Failed(role, why)).await;
                }
            }
        }
        // Half of the picture would make half of the channels look empty.
        if is_whole && let Some(mut sampler) = self.sampler.take() {
            let reckoning = tokio::task::spawn_blocking(move || {
                let reading = sampler.refresh(&listings);
                (sampler, reading)
            });
            // It panics only by a fault of ours, and then the process says so.
            let Ok((sampler, reading)) = reckoning.await else { return };
            let wanted = sampler.watched().cloned().collect();
            self.presence = sampler.read().cloned().collect();
            self.sampler = Some(sampler);
            let reading = self.shown(reading);
            // Stated first: what is not watched any more must be forgotten before it is left.
            self.state(SampleNote::Refreshed(reading)).await;
            self.order(wanted).await;
        }
    }

    async fn state(&self, note: SampleNote) {
        let at = self.sides.first().map_or(RunTime::ZERO, |side| side.wire.clock.now());
        // The collector outlives this; if it is gone, the run has failed already.
        let _ = self.facts.send(Fact::Sample(at, note)).await;
    }

    /// A reading with the names that are shown.
    fn shown(&self, mut reading: SampleReading) -> SampleReading {
        if self.sampling.redact_channels {
            for name in reading.strata.iter_mut().flat_map(|stratum| &mut stratum.watched) {
                *name = self.identifier.redact_channel(name);
            }
        }
        reading
    }

    /// Tells the watchers what has changed, so that they watch these.
    async fn order(&mut self, wanted: BTreeSet<ChannelName>) {
        let gone = self.assigned.extract_if(.., |channel, _| !wanted.contains(channel));
        for (channel, at) in gone.collect::<Vec<_>>() {
            for side in &mut self.sides {
                side.asked.remove(channel.as_str());
                tell(&side.watchers, at, Order::Leave(channel.clone())).await;
            }
        }
        let watchers = self.sides.iter().map(|side| side.watchers.len()).min().unwrap_or_default();
        let mut loads = vec![0_usize; watchers];
        for at in self.assigned.values() {
            loads.get_mut(*at).into_iter().for_each(|load| *load += 1);
        }
        for channel in wanted {
            if self.assigned.contains_key(&channel) {
                continue;
            }
            let least = loads.iter_mut().enumerate().min_by_key(|(_, load)| **load);
            let Some((at, load)) = least else { continue };
            *load += 1;
            for side in &self.sides {
                tell(&side.watchers, at, Order::Watch(channel.clone())).await;
            }
            self.assigned.insert(channel, at);
        }
    }

    /// Asks each cluster who is on presence channels. One that no cluster can tell of is left out.
    async fn read_presence(&mut self, until: RunTime) {
        if self.presence.is_empty() {
            return;
        }
        let (pause, mut presence) = (self.pause(), Presence::default());
        for channel in &self.presence {
            // As whom an endpoint let us in is not known: where we are, nobody is counted.
            if self.joins_as_somebody && self.assigned.contains_key(channel) {
                continue;
            }
            if self.sides.iter().any(|side| side.wire.clock.now() >= until) {
                break;
            }
            let ask = self.sides.iter_mut().map(|side| side.users(channel, pause));
            if let [Some(old), Some(new)] = futures_util::future::join_all(ask).await.as_mut_slice()
            {
                for users in [&mut *old, &mut *new] {
                    users.retain(|user| !user.starts_with(&self.own_users));
                }
                presence.add(old, new);
            }
        }
        self.state(SampleNote::Presence(presence)).await;
    }

    /// Asks each cluster what the watched cache channels keep. One of which a cluster tells nothing
    /// is left out.
    async fn read_caches(&mut self, until: RunTime) {
        let (pause, mut caches) = (self.pause(), Caches::default());
        let of_caches = self.assigned.keys().filter(|channel| channel.kind().is_cache());
        for channel in of_caches {
            // Some of them would be taken for all.
            if self.sides.iter().any(|side| side.wire.clock.now() >= until) {
                return;
            }
            let ask = self.sides.iter_mut().map(|side| side.cached(channel, pause));
            if let [Some(old), Some(new)] = *futures_util::future::join_all(ask).await {
                caches.add(old, new);
            }
        }
        if caches.channels > 0 {
            self.state(SampleNote::Caches(caches)).await;
        }
    }

    /// Asks each cluster how many are on each watched channel.
    async fn count(&mut self) {
        let (pause, assigned) = (self.pause(), &self.assigned);
        let ask = self.sides.iter_mut().map(|side| async {
            // What was counted before is not known any more.
            side.asked.clear();
            for channel in assigned.keys() {
                side.count(channel, pause).await;
            }
        });
        futures_util::future::join_all(ask).await;
    }
}

async fn tell(watchers: &[mpsc::Sender<Order>], at: usize, order: Order) {
    if let Some(watcher) = watchers.get(at) {
        // A watcher ends only with the run.
        let _ = watcher.send(order).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_asked_for_wherever_presence_channels_may_be_listed() {
        let of = |prefixes: &[&str]| {
            let prefixes: Vec<_> = prefixes.iter().map(|p| (*p).to_owned()).collect();
            let asked = questions(&prefixes).into_iter();
            asked.map(|q| (q.prefix.to_owned(), q.of_members, q.is_needed)).collect::<Vec<_>>()
        };
        let question =
            |prefix: &str, of_members, is_needed| (prefix.to_owned(), of_members, is_needed);
        assert_eq!(
            of(&["private-orders-", "presence-room-"]),
            [question("private-orders-", false, true), question("presence-room-", true, true)]
        );
        assert_eq!(
            of(&["", "presence-"]),
            [
                question("", false, true),
                question("presence-", true, false),
                question("presence-", true, true)
            ]
        );
        assert_eq!(of(&["pre"]).len(), 2);
    }
}
