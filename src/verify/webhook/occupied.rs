//! Which channels are occupied on which cluster: what webhooks say, held against what the APIs say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;

use crate::model::{ClusterRole, RunTime, WebhookKind};

use super::{LostWebhook, Moment, Told, WebhookSecond};

/// Channels of an app that are kept in mind; with more of them nobody can say any more that all are
/// empty.
const CHANNELS_MAX: usize = 200_000;
/// For so long after a webhook an API may still show what was before.
const LIST_LAG: Duration = Duration::from_secs(5);
/// What the API shows for so long is no pause that an app passes over, as it does with somebody who
/// is back within seconds.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// What an app tells was sent within so many milliseconds of when it happened.
const SENDING_MAX_MS: u64 = 10_000;
/// Webhooks about one channel that are waited for at a time.
const OWED_MAX: usize = 4;

/// That an API shows otherwise what a webhook told of a channel.
#[derive(Clone, Copy, Debug)]
struct Apart {
    /// The reading before it.
    after: RunTime,
    /// The first reading that shows it, with the time of day.
    since: Moment,
    /// The last one that does.
    until: RunTime,
    /// Whether a webhook was said to be lost for it.
    is_accused: bool,
}

/// A webhook that is waited for: what it is to tell of is over again, and was seen.
#[derive(Clone, Debug)]
struct Owed {
    kind: WebhookKind,
    /// Since when it is waited for.
    since: RunTime,
    /// The readings between which it happened.
    between: RangeInclusive<RunTime>,
    /// When it may have been sent by the app's clock: later than this, and no later than that.
    sent_ms: (u64, u64),
}

/// What is known of one channel on one cluster.
#[derive(Clone, Debug, Default)]
struct Known {
    is_own: bool,
    /// What webhooks said last, and when that was sent.
    told: Option<(u64, bool)>,
    /// When that came.
    told_at: RunTime,
    /// Whether two of one instant said different things: which of them is later, only the API
    /// can tell.
    is_ambiguous: bool,
    /// What the API said last.
    is_listed: bool,
    /// Whether both say different things.
    apart: Option<Apart>,
    /// What is waited for.
    owed: Vec<Owed>,
}

impl Known {
    /// Whether webhooks say that somebody is there; who was never told of is not.
    fn is_open(&self) -> bool {
        self.told.is_some_and(|(_, is_occupied)| is_occupied)
    }

    /// Whether the API shows what is no echo of an earlier state.
    fn is_evident(&self, apart: &Apart) -> bool {
        apart.since.at.since(self.told_at) >= LIST_LAG
    }

    /// Holds what webhooks told against what the API says now; the reading before was at `last`.
    fn compare(&mut self, now: Moment, last: RunTime) {
        if self.is_open() == self.is_listed {
            if let Some(apart) = self.apart.take() {
                self.back_again(&apart, now);
            }
            return;
        }
        let first = Apart { after: last, since: now, until: now.at, is_accused: false };
        self.apart.get_or_insert(first).until = now.at;
    }

    /// What was waited for longer than `lost_after`, and how much else is open.
    fn take_lost(
        &mut self,
        at: RunTime,
        lost_after: Duration,
    ) -> (Vec<(WebhookKind, RangeInclusive<RunTime>)>, u64) {
        let is_lost = |owed: &mut Owed| at.since(owed.since) >= lost_after;
        let lost = self.owed.extract_if(.., is_lost).map(|owed| (owed.kind, owed.between));
        let mut lost: Vec<_> = lost.collect();
        let mut open = self.owed.len() as u64;
        let kind = kind_of(!self.is_open());
        if let Some(apart) = &mut self.apart
            && !apart.is_accused
        {
            let lasted = at.since(apart.since.at);
            if lasted >= lost_after {
                apart.is_accused = true;
                lost.push((kind, apart.after..=apart.since.at));
            } else {
                open += u64::from(!lasted.is_zero());
            }
        }
        (lost, open)
    }

    /// Webhooks told the same twice, and in between the API showed the opposite.
    fn told_twice(&mut self, apart: &Apart, at: RunTime) {
        if !apart.is_accused && self.is_evident(apart) {
            let kind = kind_of(!self.is_open());
            self.owe(kind, apart.after..=apart.since.at, apart.since.wall_ms, at);
        }
    }

    /// The API showed something else for a while, and shows again what webhooks told last.
    fn back_again(&mut self, apart: &Apart, now: Moment) {
        let (away, back) = (kind_of(!self.is_open()), kind_of(self.is_open()));
        let lasted = apart.until.since(apart.since.at);
        if !apart.is_accused {
            if lasted < PAUSE_MAX || !self.is_evident(apart) {
                return;
            }
            self.owe(away, apart.after..=apart.since.at, apart.since.wall_ms, now.at);
        }
        self.owe(back, apart.until..=now.at, now.wall_ms, now.at);
    }

    fn owe(
        &mut self,
        kind: WebhookKind,
        between: RangeInclusive<RunTime>,
        seen_ms: u64,
        since: RunTime,
    ) {
        if self.owed.len() < OWED_MAX {
            let from_ms = self.told.map_or(0, |(sent_ms, _)| sent_ms);
            let sent_ms = (from_ms, seen_ms.saturating_add(SENDING_MAX_MS));
            self.owed.push(Owed { kind, since, between, sent_ms });
        }
    }

    /// One that was sent at `sent_ms`, by a clock that is ahead by so much, may be what is waited
    /// for.
    fn settle_owed(&mut self, kind: WebhookKind, sent_ms: u64, ahead_ms: u64) {
        let is_it = |owed: &Owed| {
            let (after, until) = owed.sent_ms;
            owed.kind == kind && sent_ms > after && sent_ms <= until.saturating_add(ahead_ms)
        };
        if let Some(at) = self.owed.iter().position(is_it) {
            self.owed.remove(at);
        }
    }
}

const fn kind_of(is_occupied: bool) -> WebhookKind {
    match is_occupied {
        true => WebhookKind::ChannelOccupied,
        false => WebhookKind::ChannelVacated,
    }
}

/// One app's channels.
#[derive(Debug, Default)]
struct Channels {
    known: BTreeMap<String, Known>,
    open: u64,
    /// Whether there were more than can be kept in mind.
    has_overflowed: bool,
    /// When the API said last what there is.
    read: Option<RunTime>,
    /// By how much the app's clock is ahead at least, in milliseconds.
    ahead_ms: u64,
    unsettled: u64,
    changed: RunTime,
}

impl Channels {
    /// What is known of a channel, if there is room for it.
    fn entry(&mut self, name: &str, is_own: bool) -> Option<&mut Known> {
        if !self.known.contains_key(name) {
            if self.known.len() >= CHANNELS_MAX && !self.has_overflowed {
                self.known.retain(|_, known| {
                    known.is_open() || known.is_listed || !known.owed.is_empty()
                });
            }
            if self.known.len() >= CHANNELS_MAX {
                self.has_overflowed = true;
                return None;
            }
            self.known.insert(name.to_owned(), Known { is_own, ..Known::default() });
        }
        self.known.get_mut(name)
    }
}

/// A channel that the API lists.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is one of a canary's.
    pub is_own: bool,
    /// Whether it came to be occupied when webhooks were received already.
    pub is_due: bool,
}

/// What is known of a channel on one cluster, from both sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Somebody is there.
    Occupied,
    /// Nobody is.
    Vacated,
    /// Nothing was said.
    Unknown,
}

/// Which channels are occupied on which cluster, as webhooks say, held against what the APIs say.
/// A channel counts as vacated only when every app has said so.
#[derive(Debug)]
pub struct Occupied {
    clusters: BTreeMap<ClusterRole, Channels>,
    open_anywhere: u64,
    lost_after: Duration,
}

impl Occupied {
    /// Nothing yet, of these clusters. What API and webhooks say differently for longer than
    /// `lost_after` is lost.
    pub fn new(roles: impl IntoIterator<Item = ClusterRole>, lost_after: Duration) -> Self {
        let clusters = roles.into_iter().map(|role| (role, Channels::default())).collect();
        Self { clusters, open_anywhere: 0, lost_after }
    }

    /// Takes in a webhook that comes now. Webhooks come in any order, and more than once: of each
    /// channel the one that was sent last counts, and within one its last event.
    pub fn note(
        &mut self,
        role: ClusterRole,
        sent_ms: u64,
        told: &[Told],
        now: Moment,
    ) -> WebhookSecond {
        if let Some(of) = self.clusters.get_mut(&role) {
            of.ahead_ms = of.ahead_ms.max(sent_ms.saturating_sub(now.wall_ms));
        }
        let mut second = WebhookSecond { genuine: 1, ..WebhookSecond::default() };
        let mut last: BTreeMap<&str, (&Told, bool)> = BTreeMap::new();
        for told in told {
            *second.kinds.entry(told.kind).or_default() += 1;
            let is_occupied = match told.kind {
                WebhookKind::ChannelOccupied => true,
                WebhookKind::ChannelVacated => false,
                kind => {
                    second.own += u64::from(told.is_own);
                    if is_sign_of_life(kind) && !told.is_own {
                        self.touch(role, now.at);
                    }
                    continue;
                }
            };
            match (told.is_own, is_occupied) {
                (true, _) => second.own += 1,
                (false, true) => second.occupied += 1,
                (false, false) => second.vacated += 1,
            }
            last.insert(&told.channel, (told, is_occupied));
        }
        for (told, is_occupied) in last.into_values() {
            self.set(role, told, (sent_ms, is_occupied), now.at);
        }
        self.state(role, second)
    }

    /// Takes in what the API says now is occupied.
    pub fn list<'a>(
        &mut self,
        role: ClusterRole,
        listed: impl IntoIterator<Item = Listing<'a>>,
        now: Moment,
    ) -> WebhookSecond {
        let read = Some(now.at);
        let mut second = WebhookSecond { readings: 1, read, ..WebhookSecond::default() };
        let lost_after = self.lost_after;
        let Some(of) = self.clusters.get_mut(&role) else { return second };
        let last = std::mem::replace(&mut of.read, read);
        of.known.values_mut().for_each(|known| known.is_listed = false);
        let mut were_there = Vec::new();
        for Listing { name, is_own, is_due } in listed {
            let Some(known) = of.entry(name, is_own) else { continue };
            known.is_listed = true;
            second.listed += 1;
            // Who was there before anybody listened is not told of until he leaves.
            if last.is_none() && !is_due && known.told.is_none() {
                let kind = WebhookKind::ChannelOccupied;
                were_there.push(Told { kind, channel: name.to_owned(), is_own });
            }
        }
        for told in &were_there {
            self.set(role, told, (0, true), now.at);
        }
        self.settle_ambiguous(role, now.at);
        let Some(of) = self.clusters.get_mut(&role) else { return second };
        of.unsettled = 0;
        for (name, known) in &mut of.known {
            known.compare(now, last.unwrap_or(now.at));
            let (lost, is_open) = known.take_lost(now.at, lost_after);
            of.unsettled += is_open;
            // Whether it was told of before the list was full nobody knows.
            if !of.has_overflowed {
                second.found_lost.extend(lost.into_iter().map(|(kind, between)| LostWebhook {
                    kind,
                    channel: name.clone(),
                    between,
                }));
            }
        }
        self.state(role, second)
    }

    /// Takes the API's word where webhooks of one instant contradict each other.
    fn settle_ambiguous(&mut self, role: ClusterRole, at: RunTime) {
        let Some(of) = self.clusters.get_mut(&role) else { return };
        let mut gone = Vec::new();
        for (name, known) in of.known.iter_mut().filter(|(_, known)| known.is_ambiguous) {
            known.is_ambiguous = false;
            if let (Some((sent_ms, true)), false) = (known.told, known.is_listed) {
                let kind = WebhookKind::ChannelVacated;
                let told = Told { kind, channel: name.clone(), is_own: known.is_own };
                gone.push((told, sent_ms.saturating_add(1)));
            }
        }
        for (told, sent_ms) in gone {
            self.set(role, &told, (sent_ms, false), at);
        }
    }

    /// Nothing new of this cluster.
    pub fn now(&self, role: ClusterRole) -> WebhookSecond {
        self.state(role, WebhookSecond::default())
    }

    /// The first channels of the application whose names start so, with what is known of each on
    /// each cluster: by webhooks, and by the API.
    pub fn channels<'a>(
        &'a self,
        prefix: &'a str,
        most: usize,
    ) -> impl Iterator<Item = (&'a str, BTreeMap<ClusterRole, [Presence; 2]>)> {
        let from = |of: &'a Channels| {
            let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
            let names = of
                .known
                .range::<str, _>(from)
                .take_while(move |(name, _)| name.starts_with(prefix));
            let names = names.filter(|(_, known)| !known.is_own);
            names.map(|(name, _)| name.as_str()).take(most)
        };
        let names: BTreeSet<&str> = self.clusters.values().flat_map(from).collect();
        names.into_iter().take(most).map(|name| {
            let of = self.clusters.iter().map(|(role, of)| (*role, of.presence(name)));
            (name, of.collect())
        })
    }

    /// Somebody did something: nobody can say that nothing has changed.
    fn touch(&mut self, role: ClusterRole, at: RunTime) {
        if let Some(of) = self.clusters.get_mut(&role) {
            of.changed = of.changed.max(at);
        }
    }

    fn set(&mut self, role: ClusterRole, told: &Told, said: (u64, bool), at: RunTime) {
        let elsewhere = self.clusters.iter().filter(|(of, _)| **of != role);
        let is_open_elsewhere =
            elsewhere.filter_map(|(_, of)| of.known.get(&told.channel)).any(Known::is_open);
        let Some(of) = self.clusters.get_mut(&role) else { return };
        let ahead_ms = of.ahead_ms;
        let Some(known) = of.entry(&told.channel, told.is_own) else { return };
        known.settle_owed(kind_of(said.1), said.0, ahead_ms);
        match known.told {
            Some(before) if said.0 == before.0 && said.1 != before.1 => {
                known.is_ambiguous = true;
                // Until the API tells, somebody is there.
                if before.1 {
                    return;
                }
            }
            // One that comes again says nothing new.
            Some(before) if said.0 <= before.0 => return,
            _ => known.is_ambiguous = false,
        }
        let was_open = known.is_open();
        if let Some(apart) = known.apart.take()
            && was_open == said.1
        {
            known.told_twice(&apart, at);
        }
        (known.told, known.told_at) = (Some(said), at);
        if told.is_own {
            return;
        }
        of.changed = of.changed.max(at);
        match (was_open, said.1) {
            (false, true) => {
                of.open += 1;
                self.open_anywhere += u64::from(!is_open_elsewhere);
            }
            (true, false) => {
                of.open -= 1;
                self.open_anywhere -= u64::from(!is_open_elsewhere);
            }
            (false, false) | (true, true) => {}
        }
    }

    /// The same with the states as they are now.
    fn state(&self, role: ClusterRole, second: WebhookSecond) -> WebhookSecond {
        let Some(of) = self.clusters.get(&role) else { return second };
        let has_overflowed = self.clusters.values().any(|of| of.has_overflowed);
        WebhookSecond {
            // Of what found no room nobody can say anything.
            unsettled: of.unsettled + u64::from(of.has_overflowed),
            open: of.open + u64::from(of.has_overflowed),
            open_anywhere: self.open_anywhere + u64::from(has_overflowed),
            changed: of.changed,
            ..second
        }
    }
}

impl Channels {
    /// By webhooks, and by the API.
    fn presence(&self, name: &str) -> [Presence; 2] {
        let said = |is_there: bool| match is_there {
            true => Presence::Occupied,
            false => Presence::Vacated,
        };
        let known = self.known.get(name);
        let is_listed = known.is_some_and(|known| known.is_listed);
        let told = match known.and_then(|known| known.told) {
            Some((_, is_occupied)) => said(is_occupied),
            // Who was not there when the API first said who is, and was neither told of nor seen
            // since.
            None if self.read.is_some() && !self.has_overflowed && !is_listed => Presence::Vacated,
            None => Presence::Unknown,
        };
        [told, if self.read.is_some() { said(is_listed) } else { Presence::Unknown }]
    }
}

/// Whether somebody must be there who causes this.
const fn is_sign_of_life(kind: WebhookKind) -> bool {
    matches!(kind, WebhookKind::MemberAdded | WebhookKind::ClientEvent | WebhookKind::CacheMiss)
}

#[cfg(test)]
mod tests;
