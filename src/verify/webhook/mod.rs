//! What apps' webhooks say of who is there: a channel counts as occupied from the webhook that says
//! so until a later one takes it back, and as vacated only when every app has said so. What the
//! APIs say differently, and for long, was told by a webhook that was lost.

mod occupied;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{RunTime, WebhookKind};

use super::figures::add_all;
use super::latency::{Latencies, Sparse};
use super::record::is_zero;

pub use occupied::{Listing, Occupied, Presence};

/// The longest that a reading of an API takes.
const READING_MAX: Duration = Duration::from_secs(15);

/// An instant, and the time of day at it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The instant.
    pub at: RunTime,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

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
    /// It has more bytes than are taken.
    Large,
    /// It did not come in time.
    Slow,
    /// Too many came at once, or no connection came about.
    Unheard,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Forged,
        Self::Misdirected,
        Self::Stale,
        Self::Unreadable,
        Self::Large,
        Self::Slow,
        Self::Unheard,
    ];

    /// Whether an app may have sent it that has done its part.
    pub const fn is_ours(self) -> bool {
        !matches!(self, Self::Forged)
    }

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Misdirected => "misdirected",
            Self::Stale => "stale",
            Self::Unreadable => "unreadable",
            Self::Large => "large",
            Self::Slow => "slow",
            Self::Unheard => "unheard",
        }
    }
}

/// A channel of which the API has shown what no webhook has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostWebhook {
    /// What ought to have been told.
    pub kind: WebhookKind,
    /// The channel's name, or a digest of it.
    pub channel: String,
    /// The readings of the API between which it happened.
    pub between: RangeInclusive<RunTime>,
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
    /// Requests to the receiver that were no webhooks that count.
    #[serde(skip)]
    pub refused: BTreeMap<Refusal, u64>,
    /// Events of webhooks that were not taken before, by kind.
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
    /// When the last of them was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<RunTime>,
    /// Readings that came to nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Why the last of those did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_failure: String,
    /// Webhooks that were found to be lost.
    #[serde(skip)]
    pub found_lost: Vec<LostWebhook>,
    /// How many that accuses the app of, by what they ought to have told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<WebhookKind, u64>,
    /// How many of them were due in a tainted second.
    #[serde(skip_serializing_if = "is_zero")]
    pub unattributed: u64,
    /// Channels of which API and webhooks have said different things for more than one reading, and
    /// webhooks that may yet come: a state.
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
    /// Takes in what came later in the same second.
    pub fn merge(&mut self, later: Self) {
        self.genuine += later.genuine;
        self.repeated += later.repeated;
        add_all(&mut self.refused, &later.refused);
        add_all(&mut self.kinds, &later.kinds);
        self.occupied += later.occupied;
        self.vacated += later.vacated;
        self.own += later.own;
        self.delays.merge(&later.delays);
        self.readings += later.readings;
        self.listed = self.listed.max(later.listed);
        self.read = self.read.max(later.read);
        self.failed += later.failed;
        if !later.last_failure.is_empty() {
            self.last_failure = later.last_failure;
        }
        self.found_lost.extend(later.found_lost);
        add_all(&mut self.lost, &later.lost);
        self.unattributed += later.unattributed;
        self.unsettled = later.unsettled;
        self.open = later.open;
        self.open_anywhere = later.open_anywhere;
        self.changed = self.changed.max(later.changed);
    }
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
    /// When the last of them was answered.
    pub read: Option<RunTime>,
    /// Readings that came to nothing.
    pub failed: u64,
    /// Why the last of those did; empty if none did.
    pub last_failure: String,
    /// When the first of them was, in one run alone.
    pub first_read: Option<RunTime>,
    /// The longest time from one to the next, in one run alone.
    pub gap: Duration,
    /// The longest time without a reading, from the beginning up to the end.
    pub unread_for: Duration,
    /// How long that may be, for webhooks to count as held against the API.
    pub unread_max: Duration,
    /// Webhooks that were found to be lost, by what they ought to have told.
    pub lost: BTreeMap<WebhookKind, u64>,
    /// Those of which the agent itself may be the cause: they were due in a tainted second.
    pub unattributed: u64,
    /// Channels of which API and webhooks have said different things for more than one reading, and
    /// webhooks that may yet come.
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
        self.lost.values().sum()
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
        if let Some(read) = second.read {
            self.gap = self.gap.max(read.since(self.read.unwrap_or(read)));
            self.first_read = self.first_read.or(self.read).or(Some(read));
            self.read = Some(read);
        }
        self.failed += second.failed;
        if !second.last_failure.is_empty() {
            self.last_failure.clone_from(&second.last_failure);
        }
        add_all(&mut self.lost, &second.lost);
        self.unattributed += second.unattributed;
        self.unsettled = second.unsettled;
        self.open = second.open;
        self.changed = self.changed.max(second.changed);
    }

    /// None yet, held against an API that is read so often.
    pub fn new(refresh: Duration) -> Self {
        // One reading may fail.
        let unread_max = refresh.saturating_mul(2).saturating_add(READING_MAX);
        Self { unread_max, ..Self::default() }
    }

    /// Reckons for how long nobody has been there at `now`, and nobody has looked, since `begun` at
    /// the longest.
    pub fn settle(&mut self, begun: RunTime, now: RunTime) {
        let since = self.changed.max(begun);
        self.empty_for = if self.open == 0 { now.since(since) } else { Duration::ZERO };
        // Until the first of them nobody looked, nor since the last.
        let before = self.first_read.unwrap_or(now).since(begun);
        self.unread_for = self.gap.max(before).max(now.since(self.read.unwrap_or(begun)));
    }

    /// Those of a time that begins now: no count, and what is a state as it is.
    pub(super) fn next(&self) -> Self {
        Self {
            read: self.read,
            last_failure: self.last_failure.clone(),
            unread_max: self.unread_max,
            unsettled: self.unsettled,
            open: self.open,
            empty_for: self.empty_for,
            changed: self.changed,
            ..Self::default()
        }
    }

    /// These and those of the time that follows, to be settled for both.
    pub(super) fn joined(&self, later: &Self) -> Self {
        let mut joined = later.clone();
        joined.genuine += self.genuine;
        joined.repeated += self.repeated;
        add_all(&mut joined.kinds, &self.kinds);
        joined.occupied += self.occupied;
        joined.vacated += self.vacated;
        joined.own += self.own;
        joined.delays.merge(&self.delays);
        joined.readings += self.readings;
        joined.listed = joined.listed.max(self.listed);
        joined.failed += self.failed;
        joined.first_read = self.first_read.or(later.first_read);
        joined.gap = joined.gap.max(self.gap);
        add_all(&mut joined.lost, &self.lost);
        joined.unattributed += self.unattributed;
        joined
    }

    /// Those of a run that ended later take their place, but for what was lost: what was open
    /// earlier, a later run that heard nothing knows nothing of.
    pub fn merge(&mut self, later: &Self) {
        let lost = std::mem::take(&mut self.lost);
        let unattributed = self.unattributed;
        let unread_for = self.unread_for.max(later.unread_for);
        self.clone_from(later);
        add_all(&mut self.lost, &lost);
        self.unattributed += unattributed;
        self.unread_for = unread_for;
    }
}
