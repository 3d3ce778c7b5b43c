//! Keeps in mind which channels are occupied, for everybody in the process who learns of it or
//! wants to know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::model::{ClusterRole, RunTime};
use crate::pusher::rest::Listed;
use crate::scenario::plan::{Plan, is_of_a_canary};
use crate::verify::mirror::identity::Identifier;
use crate::verify::webhook::{Occupied, Presence, Told, WebhookSecond};

/// Channels on one page at most.
const PAGE_CHANNELS_MAX: usize = 1_000;

/// See the module's documentation.
pub struct Keeper {
    occupied: Mutex<Occupied>,
    /// What names are replaced by, where they are not to be shown.
    redacts: Option<Identifier>,
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
        let occupied = Mutex::new(Occupied::new(roles, webhooks.lost_after));
        let redacts = webhooks.redact_channels.then(|| Identifier::new(digest_key, None));
        Some(Arc::new(Self { occupied, redacts }))
    }

    fn lock(&self) -> MutexGuard<'_, Occupied> {
        self.occupied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, channel: &str) -> String {
        match &self.redacts {
            Some(identifier) => identifier.redact_channel(channel),
            None => channel.to_owned(),
        }
    }

    /// Takes in a webhook.
    pub(super) fn note(
        &self,
        role: ClusterRole,
        sent_ms: u64,
        told: &[Told],
        at: RunTime,
    ) -> WebhookSecond {
        self.lock().note(role, sent_ms, told, at)
    }

    /// Nothing new.
    pub(super) fn now(&self, role: ClusterRole) -> WebhookSecond {
        self.lock().now(role)
    }

    /// Takes in what an API says is occupied.
    pub(super) fn list(&self, role: ClusterRole, all: &[Listed], at: RunTime) -> WebhookSecond {
        let listed = all.iter().map(|listed| (listed.name.as_str(), is_of_a_canary(&listed.name)));
        let mut second = self.lock().list(role, listed, at);
        for lost in &mut second.lost_ones {
            lost.channel = self.shown(&lost.channel);
        }
        second
    }

    /// The channels whose names start so, as JSON.
    pub fn page(&self, prefix: &str) -> String {
        let occupied = self.lock();
        let mut all = occupied.channels(prefix);
        let lines = all.by_ref().take(PAGE_CHANNELS_MAX).map(|(name, clusters)| {
            let by_webhooks: Vec<_> = clusters.values().map(|[webhooks, _]| *webhooks).collect();
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
        });
        let channels = lines.collect();
        let page = Page { channels, more: all.next().is_some() };
        serde_json::to_string(&page).unwrap_or_default()
    }
}
