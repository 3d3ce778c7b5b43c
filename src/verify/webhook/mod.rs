//! What apps' webhooks say of who is there: a channel counts as occupied from the webhook that says
//! so until a later one takes it back, and as vacated only when every app has said so. What the
//! APIs say differently, and for long, was told by a webhook that was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterRole, RunTime, WebhookKind};

use super::figures::add_all;
use super::latency::{Latencies, Sparse};
use super::record::is_zero;

/// Channels of an app that are kept in mind; with more of them nobody can say any more that all are
/// empty.
const CHANNELS_MAX: usize = 200_000;
/// Lost webhooks of one reading that are named.
const NAMED_MAX: usize = 20;

/// Something that a webhook tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What happened.
    pub kind: WebhookKind,
    /// The channel.
    pub channel: String,
    /// Whether it is one of a canary's.
    pub is_own: bool,
}

/// Why a request is no webhook that counts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// Its signature is not that of an app of the scenario.
    Forged,
    /// It is signed by an app whose webhooks go to another path.
    Misdirected,
    /// It is signed, and too old to be anything but a repetition.
    Stale,
    /// It is signed, and no webhook that anybody understands.
    Unreadable,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Forged, Self::Misdirected, Self::Stale, Self::Unreadable];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Misdirected => "misdirected",
            Self::Stale => "stale",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A channel of which the API says for long what no webhook did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWebhook {
    /// What ought to have been told.
    pub kind: WebhookKind,
    /// The channel's name, or a digest of it.
    pub channel: String,
}

/// What a second added of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookSecond {
    /// Webhooks that were not taken before.
    pub genuine: u64,
    /// Webhooks that were.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeated: u64,
    /// Their events, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<WebhookKind, u64>,
    /// Events that a channel was occupied, but for those of canaries.
    #[serde(skip_serializing_if = "is_zero")]
    pub occupied: u64,
    /// Events that one was vacated.
    #[serde(skip_serializing_if = "is_zero")]
    pub vacated: u64,
    /// Events about channels of canaries.
    #[serde(skip_serializing_if = "is_zero")]
    pub own: u64,
    /// From when the app says that it sent them to their arrival.
    pub delays: Sparse,
    /// Readings of the API that webhooks were held against.
    #[serde(skip_serializing_if = "is_zero")]
    pub readings: u64,
    /// Most channels that the API listed in one of them, those of canaries included.
    #[serde(skip_serializing_if = "is_zero")]
    pub listed: u64,
    /// Webhooks that were found to be lost, by what they ought to have told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<WebhookKind, u64>,
    /// Some of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost_ones: Vec<LostWebhook>,
    /// Channels of which API and webhooks have said different things for more than one reading: a
    /// state.
    pub unsettled: u64,
    /// Channels that are occupied: a state.
    pub open: u64,
    /// Channels that are occupied on one of the clusters at least: a state, of all of them.
    #[serde(skip)]
    pub open_anywhere: u64,
    /// When the last one of its own was vacated, or told of: a state.
    pub changed: RunTime,
}

impl WebhookSecond {
    /// Webhooks that were found to be lost.
    pub fn all_lost(&self) -> u64 {
        all(&self.lost)
    }

    /// Takes in what came later in the same second.
    pub fn merge(&mut self, later: Self) {
        self.genuine += later.genuine;
        self.repeated += later.repeated;
        add_all(&mut self.kinds, &later.kinds);
        self.occupied += later.occupied;
        self.vacated += later.vacated;
        self.own += later.own;
        self.delays.merge(&later.delays);
        self.readings += later.readings;
        self.listed = self.listed.max(later.listed);
        add_all(&mut self.lost, &later.lost);
        self.lost_ones.extend(later.lost_ones);
        self.unsettled = later.unsettled;
        self.open = later.open;
        self.open_anywhere = later.open_anywhere;
        self.changed = self.changed.max(later.changed);
    }
}

/// What is known of one channel on one cluster.
#[derive(Clone, Debug, Default)]
struct Known {
    is_own: bool,
    /// What webhooks said last, and when that was sent.
    told: Option<(u64, bool)>,
    /// Whether two of one instant said different things: which of them is later, only the API
    /// can tell.
    is_ambiguous: bool,
    /// What the API said last.
    is_listed: bool,
    /// Since which reading both have said different things.
    apart: Option<RunTime>,
    /// Whether that was told already.
    is_accused: bool,
}

impl Known {
    /// Whether webhooks say that somebody is there; who was never told of is not.
    fn is_open(&self) -> bool {
        self.told.is_some_and(|(_, is_occupied)| is_occupied)
    }
}

/// One app's channels.
#[derive(Debug, Default)]
struct Channels {
    known: BTreeMap<String, Known>,
    open: u64,
    /// Whether there were more than can be kept in mind.
    has_overflowed: bool,
    /// Whether the API has said once what there is.
    was_listed: bool,
    unsettled: u64,
    changed: RunTime,
}

impl Channels {
    /// What is known of a channel, if there is room for it.
    fn entry(&mut self, name: &str, is_own: bool) -> Option<&mut Known> {
        if !self.known.contains_key(name) {
            if self.known.len() >= CHANNELS_MAX && !self.has_overflowed {
                self.known.retain(|_, known| known.is_open() || known.is_listed);
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

    /// Takes in a webhook that came at `at`. Webhooks come in any order, and more than once: of
    /// each channel the one that was sent last counts, and within one its last event.
    pub fn note(
        &mut self,
        role: ClusterRole,
        sent_ms: u64,
        told: &[Told],
        at: RunTime,
    ) -> WebhookSecond {
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
                        self.touch(role, at);
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
            self.set(role, told, (sent_ms, is_occupied), at);
        }
        self.state(role, second)
    }

    /// Takes in what the API says is occupied.
    pub fn list<'a>(
        &mut self,
        role: ClusterRole,
        listed: impl IntoIterator<Item = Listing<'a>>,
        at: RunTime,
    ) -> WebhookSecond {
        let mut second = WebhookSecond { readings: 1, ..WebhookSecond::default() };
        let lost_after = self.lost_after;
        let Some(of) = self.clusters.get_mut(&role) else { return second };
        let is_first = !std::mem::replace(&mut of.was_listed, true);
        of.known.values_mut().for_each(|known| known.is_listed = false);
        let mut were_there = Vec::new();
        for Listing { name, is_own, is_due } in listed {
            let Some(known) = of.entry(name, is_own) else { continue };
            known.is_listed = true;
            second.listed += 1;
            // Who was there before anybody listened is not told of until he leaves.
            if is_first && !is_due && known.told.is_none() {
                were_there.push(Told {
                    kind: WebhookKind::ChannelOccupied,
                    channel: name.to_owned(),
                    is_own,
                });
            }
        }
        for told in &were_there {
            self.set(role, told, (0, true), at);
        }
        self.settle_ambiguous(role, at);
        let Some(of) = self.clusters.get_mut(&role) else { return second };
        of.unsettled = 0;
        for (name, known) in &mut of.known {
            if known.is_open() == known.is_listed {
                (known.apart, known.is_accused) = (None, false);
                continue;
            }
            let apart = at.since(*known.apart.get_or_insert(at));
            of.unsettled += u64::from(!apart.is_zero() && !known.is_accused);
            // Whether it was told of before the list was full nobody knows.
            if apart < lost_after || known.is_accused || of.has_overflowed {
                continue;
            }
            known.is_accused = true;
            of.unsettled -= u64::from(!apart.is_zero());
            let kind = match known.is_listed {
                true => WebhookKind::ChannelOccupied,
                false => WebhookKind::ChannelVacated,
            };
            *second.lost.entry(kind).or_default() += 1;
            if second.lost_ones.len() < NAMED_MAX {
                second.lost_ones.push(LostWebhook { kind, channel: name.clone() });
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
        let Some(known) = of.entry(&told.channel, told.is_own) else { return };
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
        known.told = Some(said);
        known.apart = None;
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
        let told = match known.and_then(|known| known.told) {
            Some((_, is_occupied)) => said(is_occupied),
            // Who was not there when the API first said who is, and was not told of since.
            None if self.was_listed && !self.has_overflowed => Presence::Vacated,
            None => Presence::Unknown,
        };
        let listed = known.is_some_and(|known| known.is_listed);
        [told, if self.was_listed { said(listed) } else { Presence::Unknown }]
    }
}

/// Whether somebody must be there who causes this.
const fn is_sign_of_life(kind: WebhookKind) -> bool {
    matches!(kind, WebhookKind::MemberAdded | WebhookKind::ClientEvent | WebhookKind::CacheMiss)
}

/// How many of all kinds.
fn all(counts: &BTreeMap<WebhookKind, u64>) -> u64 {
    counts.values().sum()
}

/// What one app's webhooks came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookFigures {
    /// Webhooks that were not taken before.
    pub genuine: u64,
    /// Webhooks that were.
    pub repeated: u64,
    /// Their events, by kind.
    pub kinds: BTreeMap<WebhookKind, u64>,
    /// Events that a channel was occupied, but for those of canaries.
    pub occupied: u64,
    /// Events that one was vacated.
    pub vacated: u64,
    /// Events about channels of canaries.
    pub own: u64,
    /// From when the app says that it sent them to their arrival.
    pub delays: Latencies,
    /// Readings of the API that they were held against.
    pub readings: u64,
    /// Most channels that the API listed in one of them, those of canaries included.
    pub listed: u64,
    /// Webhooks that were found to be lost, by what they ought to have told.
    pub lost: BTreeMap<WebhookKind, u64>,
    /// Channels of which API and webhooks have said different things for more than one reading.
    pub unsettled: u64,
    /// Channels that are occupied, as far as they told of any.
    pub open: u64,
    /// For how long none has been.
    pub empty_for: Duration,
    /// When that changed last, in one run alone.
    pub changed: RunTime,
}

impl WebhookFigures {
    /// Webhooks that were found to be lost.
    pub fn all_lost(&self) -> u64 {
        all(&self.lost)
    }

    /// Takes in what a second added.
    pub fn add(&mut self, second: &WebhookSecond) {
        self.genuine += second.genuine;
        self.repeated += second.repeated;
        add_all(&mut self.kinds, &second.kinds);
        self.occupied += second.occupied;
        self.vacated += second.vacated;
        self.own += second.own;
        self.delays.add(&second.delays);
        self.readings += second.readings;
        self.listed = self.listed.max(second.listed);
        add_all(&mut self.lost, &second.lost);
        self.unsettled = second.unsettled;
        self.open = second.open;
        self.changed = self.changed.max(second.changed);
    }

    /// Reckons for how long nobody has been there at `now`, since `begun` at the longest.
    pub fn settle(&mut self, begun: RunTime, now: RunTime) {
        let since = self.changed.max(begun);
        self.empty_for = if self.open == 0 { now.since(since) } else { Duration::ZERO };
    }

    /// Those of a run that ended later take their place, but for what was lost: what was open
    /// earlier, a later run that heard nothing knows nothing of.
    pub fn merge(&mut self, later: &Self) {
        let lost = std::mem::take(&mut self.lost);
        self.clone_from(later);
        add_all(&mut self.lost, &lost);
    }
}

#[cfg(test)]
mod tests;
