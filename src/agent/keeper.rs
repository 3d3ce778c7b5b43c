//! Keeps in mind which channels are occupied, for everybody in the process who learns of it or
//! wants to know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::Permit;

use crate::model::{ChannelKind, ClusterRole, RunTime};
use crate::pusher::rest::Listed;
use crate::scenario::plan::{Plan, is_of_a_canary};
use crate::verify::fact::Fact;
use crate::verify::mirror::identity::Identifier;
use crate::verify::webhook::{Listing, Moment, Occupied, Presence, Refusal, Told, WebhookSecond};

/// Channels on one page at most.
const PAGE_CHANNELS_MAX: usize = 1_000;

/// See the module's documentation.
pub struct Keeper {
    kept: Mutex<Kept>,
    /// What names are replaced by, where they are not to be shown.
    redacts: Option<Identifier>,
    /// What the names of this run's own channels have in them.
    own: String,
}

struct Kept {
    occupied: Occupied,
    /// What was not told of yet.
    pending: BTreeMap<ClusterRole, WebhookSecond>,
}

impl Kept {
    fn add(&mut self, role: ClusterRole, second: WebhookSecond) {
        self.pending.entry(role).or_default().merge(second);
    }
}

/// What is served of it.
#[derive(Serialize)]
struct Page {
    /// Each channel, in the order of the names.
    channels: Vec<Line>,
    /// Whether there are more of them.
    more: bool,
}

#[derive(Serialize)]
struct Line {
    channel: String,
    /// Whether webhooks say that somebody is there, on either cluster: vacated only if both do.
    state: Presence,
    #[serde(flatten)]
    clusters: BTreeMap<&'static str, OnCluster>,
}

#[derive(Serialize)]
struct OnCluster {
    webhooks: Presence,
    api: Presence,
}

impl Keeper {
    /// Of a plan that receives webhooks, with what names are digested with.
    pub fn of(plan: &Plan, digest_key: [u8; 32]) -> Option<Arc<Self>> {
        let webhooks = plan.webhooks.as_ref()?;
        let roles = plan.clusters.iter().map(|cluster| cluster.role);
        let occupied = Occupied::new(roles, webhooks.lost_after);
        let kept = Mutex::new(Kept { occupied, pending: BTreeMap::new() });
        let redacts = webhooks.redact_channels.then(|| Identifier::new(digest_key, None));
        let own = plan.channel_stem();
        Some(Arc::new(Self { kept, redacts, own }))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, channel: &str) -> String {
        match &self.redacts {
            Some(identifier) => identifier.redact_channel(channel),
            None => channel.to_owned(),
        }
    }

    /// Takes in a webhook, so long after it was sent. It may have to wait for a list that is long.
    pub(super) fn note(
        &self,
        role: ClusterRole,
        sent_ms: u64,
        told: &[Told],
        now: Moment,
        age: Duration,
    ) {
        let told: Vec<_> = told.iter().filter(|told| is_told_of(&told.channel)).cloned().collect();
        let mut kept = self.lock();
        let mut second = kept.occupied.note(role, sent_ms, &told, now);
        second.delays.record(age);
        kept.add(role, second);
    }

    /// Takes in one that was taken before.
    pub(super) fn note_repeated(&self, role: ClusterRole) {
        self.lock().add(role, WebhookSecond { repeated: 1, ..WebhookSecond::default() });
    }

    /// Takes in a request to the receiver that was no webhook that counts.
    pub(super) fn note_refused(&self, role: ClusterRole, refusal: Refusal) {
        let refused = BTreeMap::from([(refusal, 1)]);
        self.lock().add(role, WebhookSecond { refused, ..WebhookSecond::default() });
    }

    /// Takes in what an API says is occupied. It takes as long as the list is.
    pub(super) fn list(&self, role: ClusterRole, all: &[Listed], now: Moment) {
        let listed = all.iter().filter(|listed| is_told_of(&listed.name));
        let listed = listed.map(|Listed { name, .. }| {
            let is_own = is_of_a_canary(name);
            // Whoever receives is there before the run is.
            Listing { name, is_own, is_due: is_own && name.contains(&self.own) }
        });
        let mut kept = self.lock();
        let mut second = kept.occupied.list(role, listed, now);
        for lost in &mut second.found_lost {
            lost.channel = self.shown(&lost.channel);
        }
        kept.add(role, second);
    }

    /// Takes in that an API did not say who is there, and why.
    pub(super) fn note_unread(&self, role: ClusterRole, why: &str) {
        // An answer that nobody understands may be full of names.
        let why = match (&self.redacts, why.split_once(": ")) {
            (Some(_), Some((why, _))) => why,
            _ => why,
        };
        let (failed, last_failure) = (1, why.to_owned());
        self.lock().add(role, WebhookSecond { failed, last_failure, ..WebhookSecond::default() });
    }

    /// Tells what was not told of yet, with the states as they are now. Whoever tells next tells of
    /// later ones.
    pub(super) fn tell(&self, role: ClusterRole, at: RunTime, place: Permit<'_, Fact>) {
        let mut kept = self.lock();
        let mut second = kept.pending.remove(&role).unwrap_or_default();
        second.merge(kept.occupied.now(role));
        place.send(Fact::Webhook(role, at, Box::new(second)));
    }

    /// The channels whose names start so, as JSON.
    pub fn page(&self, prefix: &str) -> String {
        // Whoever could ask for any would find out the names letter by letter.
        let kinds = ChannelKind::ALL.map(ChannelKind::prefix);
        let prefix = match self.redacts {
            Some(_) if !kinds.contains(&prefix) => "",
            _ => prefix,
        };
        let kept = self.lock();
        let all = kept.occupied.channels(prefix, PAGE_CHANNELS_MAX + 1);
        let mut lines: Vec<_> = all
            .map(|(name, clusters)| {
                let by_webhooks: Vec<_> =
                    clusters.values().map(|[webhooks, _]| *webhooks).collect();
                let state = match () {
                    () if by_webhooks.contains(&Presence::Occupied) => Presence::Occupied,
                    () if by_webhooks.contains(&Presence::Unknown) => Presence::Unknown,
                    () => Presence::Vacated,
                };
                let on = |(role, [webhooks, api]): (ClusterRole, [Presence; 2])| {
                    (role.as_str(), OnCluster { webhooks, api })
                };
                let clusters = clusters.into_iter().map(on).collect();
                Line { channel: self.shown(name), state, clusters }
            })
            .collect();
        let more = lines.len() > PAGE_CHANNELS_MAX;
        lines.truncate(PAGE_CHANNELS_MAX);
        if self.redacts.is_some() {
            lines.sort_by(|one, other| one.channel.cmp(&other.channel));
        }
        let page = Page { channels: lines, more };
        serde_json::to_string(&page).unwrap_or_default()
    }
}

/// Whether webhooks tell of a channel. A user's own connections are one that some servers list, and
/// no application knows.
fn is_told_of(channel: &str) -> bool {
    !channel.starts_with('#')
}
