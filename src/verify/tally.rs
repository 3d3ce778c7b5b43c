//! What a ledger hands on about once a second: counts by outcome, latencies as sparse buckets, and
//! the few incidents worth a line each. Tallies merge in any order: a commutative monoid.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::model::{ChannelKind, RunTime, Seq, StreamIx};

use super::latency::Sparse;

/// How an event is published.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// One HTTP request for one event.
    Trigger,
    /// The HTTP batch endpoint.
    Batch,
    /// A client event over a WebSocket.
    Client,
}

impl Route {
    /// Every route, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Trigger, Self::Batch, Self::Client];

    /// The route's name in scenarios and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Batch => "batch",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Route {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|route| route.as_str() == text).ok_or(())
    }
}

/// On which of its connections a witness was when an obligation opened. Some faults live only
/// behind a reconnect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Epoch {
    /// On the first on which the channel was confirmed.
    #[default]
    First,
    /// On a later one.
    Again,
}

/// What deliveries are counted by. Written as `private/trigger`, or `private/trigger/again`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stratum {
    /// The channel's kind.
    pub kind: ChannelKind,
    /// The route of publishing.
    pub route: Route,
    /// The witness's connection.
    pub epoch: Epoch,
}

impl JsonSchema for Stratum {
    fn schema_name() -> Cow<'static, str> {
        "Stratum".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds = ChannelKind::ALL.map(ChannelKind::as_str).join("|");
        let routes = Route::ALL.map(Route::as_str).join("|");
        let pattern = format!("^({kinds})/({routes})(/again)?$");
        json_schema!({ "type": "string", "pattern": pattern })
    }
}

impl fmt::Display for Stratum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, route, epoch } = self;
        let again = if *epoch == Epoch::Again { "/again" } else { "" };
        write!(f, "{kind}/{route}{again}")
    }
}

impl FromStr for Stratum {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a stratum is KIND/ROUTE or KIND/ROUTE/again";
        let mut parts = text.split('/');
        let kind = parts.next().and_then(|kind| kind.parse().ok()).ok_or(FORM)?;
        let route = parts.next().and_then(|route| route.parse().ok()).ok_or(FORM)?;
        let epoch = match (parts.next(), parts.next()) {
            (None, _) => Epoch::First,
            (Some("again"), None) => Epoch::Again,
            _ => return Err(FORM),
        };
        Ok(Self { kind, route, epoch })
    }
}

impl TryFrom<String> for Stratum {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Stratum> for String {
    fn from(stratum: Stratum) -> Self {
        stratum.to_string()
    }
}

/// Obligations by outcome. `total` is counted when an obligation opens, the others when it ends;
/// the books balance when `total = delivered + late + lost + missed_offline + void + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Obligations {
    /// All that were opened.
    pub total: u64,
    /// First intact copy within the deadline.
    pub delivered: u64,
    /// First intact copy after the deadline, before the horizon.
    pub late: u64,
    /// Nothing by the horizon, though subscribed without a break and proved alive since.
    pub lost: u64,
    /// Nothing by the horizon, and not subscribed for part of the time.
    pub missed_offline: u64,
    /// The publication was rejected, or unknown and never seen.
    pub void: u64,
}

impl Obligations {
    /// Those that ended.
    pub const fn settled(&self) -> u64 {
        self.delivered + self.late + self.lost + self.missed_offline + self.void
    }
}

impl AddAssign for Obligations {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.delivered += other.delivered;
        self.late += other.late;
        self.lost += other.lost;
        self.missed_offline += other.missed_offline;
        self.void += other.void;
    }
}

/// Counts beside the obligations: never instead of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Beside {
    /// Further copies of what a witness already received.
    pub duplicates: u64,
    /// First events after confirming a cache channel that were sent before it.
    pub replayed: u64,
    /// First copies that came after the first copy of a later event of their stream, whose request
    /// began after theirs was answered.
    pub reordered: u64,
    /// First copies overtaken by an event whose request overlapped theirs.
    pub unordered: u64,
    /// Canary events that are no intact envelope.
    pub corrupt: u64,
    /// Intact envelopes on a channel or cluster other than the one they were published to.
    pub misrouted: u64,
    /// Copies of publications that were rejected, or never made.
    pub unexpected: u64,
    /// Another run's envelopes: ignored.
    pub foreign: u64,
    /// First copies that came too late to change an outcome, copies of what the book has long
    /// forgotten, and copies of what was published before the witness's first confirmation: nothing
    /// of it was owed any more, or yet.
    pub after_horizon: u64,
}

impl AddAssign for Beside {
    fn add_assign(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.replayed += other.replayed;
        self.reordered += other.reordered;
        self.unordered += other.unordered;
        self.corrupt += other.corrupt;
        self.misrouted += other.misrouted;
        self.unexpected += other.unexpected;
        self.foreign += other.foreign;
        self.after_horizon += other.after_horizon;
    }
}

/// Why a witness was blind.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BlindCause {
    /// The cluster closed the connection with a close frame.
    Close,
    /// The connection was cut, fell silent, or could not be dialled.
    Network,
    /// The handshake or a subscription failed.
    Handshake,
    /// The agent reconnected on purpose.
    Agent,
}

impl BlindCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Close, Self::Network, Self::Handshake, Self::Agent];

    /// The cause's name in reports and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Network => "network",
            Self::Handshake => "handshake",
            Self::Agent => "agent",
        }
    }

    /// The cause, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Close => "the cluster had closed the connection",
            Self::Network => "the connection was cut, silent or could not be dialled",
            Self::Handshake => "the handshake or a subscription had failed",
            Self::Agent => "while the agent reconnected on purpose",
        }
    }

    /// Of two causes of one blindness, the first that is not the agent's own doing.
    #[must_use]
    pub const fn blamed(self, other: Self) -> Self {
        match self {
            Self::Agent => other,
            _ => self,
        }
    }
}

/// Something worth a line of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// An obligation ended as lost.
    Lost,
    /// An obligation ended as missed while offline.
    MissedOffline,
    /// An obligation ended as late.
    Late,
    /// A further copy.
    Duplicate,
    /// A first copy out of order.
    Reordered,
    /// A canary event that is no intact envelope.
    Corrupt,
    /// An intact envelope where it does not belong.
    Misrouted,
    /// A copy of a publication that was rejected, or never made.
    Unexpected,
    /// A publication that the cluster refused.
    Rejected,
    /// A publication of unknown fate that some witness got.
    Recovered,
    /// A publication of unknown fate that no witness got.
    Void,
    /// A connection was lost.
    Disconnected,
    /// A webhook did not come that the API shows to be due.
    WebhookLost,
}

impl IncidentKind {
    /// The kind's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::MissedOffline => "missed_offline",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered",
            Self::Corrupt => "corrupt",
            Self::Misrouted => "misrouted",
            Self::Unexpected => "unexpected",
            Self::Rejected => "rejected",
            Self::Recovered => "recovered",
            Self::Void => "void",
            Self::Disconnected => "disconnected",
            Self::WebhookLost => "webhook_lost",
        }
    }
}

/// One incident at one witness. Ordered by its instant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incident {
    /// When: of sending for what did not arrive, of receipt for what did.
    pub at: RunTime,
    /// What.
    pub kind: IncidentKind,
    /// The stream, where it is known.
    pub stream: Option<StreamIx>,
    /// The event, where it is known.
    pub seq: Option<Seq>,
    /// Why the witness was blind, where it missed something.
    pub cause: Option<BlindCause>,
}

/// Most incidents that one tally carries, the earliest; the rest is only counted.
pub const INCIDENTS_PER_TALLY_MAX: usize = 256;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Obligations and latencies of the delivered ones, by stratum.
    pub strata: BTreeMap<Stratum, (Obligations, Sparse)>,
    /// Counts beside the obligations, by the run's second in which they happened.
    pub beside: BTreeMap<u64, Beside>,
    /// Late deliveries by the run's second of their arrival.
    pub late: BTreeMap<u64, u64>,
    /// Missed obligations by the run's second of sending, and the cause of the blind window.
    pub missed: BTreeMap<(u64, BlindCause), u64>,
    /// What deserves a line, in order.
    pub incidents: Vec<Incident>,
    /// Incidents that found no room.
    pub incidents_dropped: u64,
    /// Publications that the book no longer showed when they were asked for: a fault of the agent.
    pub lapped: u64,
}

impl Tally {
    /// Obligations of every stratum.
    pub fn obligations(&self) -> Obligations {
        let mut sum = Obligations::default();
        for (obligations, _) in self.strata.values() {
            sum += *obligations;
        }
        sum
    }

    /// Adds another tally: both commute, and [`Tally::default`] changes nothing.
    pub fn merge(&mut self, other: &Self) {
        for (stratum, (obligations, latencies)) in &other.strata {
            let mine = self.strata.entry(*stratum).or_default();
            mine.0 += *obligations;
            mine.1.merge(latencies);
        }
        for (second, beside) in &other.beside {
            *self.beside.entry(*second).or_default() += *beside;
        }
        for (second, late) in &other.late {
            *self.late.entry(*second).or_default() += late;
        }
        for (of, missed) in &other.missed {
            *self.missed.entry(*of).or_default() += missed;
        }
        for incident in &other.incidents {
            self.incident(*incident);
        }
        self.incidents_dropped += other.incidents_dropped;
        self.lapped += other.lapped;
    }

    /// What of it is misrouted.
    #[must_use]
    pub fn only_misrouted(&self) -> Self {
        let mut only = Self::default();
        for (second, beside) in self.beside.iter().filter(|(_, beside)| beside.misrouted > 0) {
            let misrouted = Beside { misrouted: beside.misrouted, ..Beside::default() };
            only.beside.insert(*second, misrouted);
        }
        let incidents = self.incidents.iter().filter(|i| i.kind == IncidentKind::Misrouted);
        only.incidents = incidents.copied().collect();
        only
    }

    /// Notes an incident. Where the tally is full, the latest one is only counted: which ones are
    /// kept does not depend on the order in which they come.
    pub fn incident(&mut self, incident: Incident) {
        let at = self.incidents.partition_point(|known| *known <= incident);
        self.incidents.insert(at, incident);
        if self.incidents.len() > INCIDENTS_PER_TALLY_MAX {
            self.incidents.pop();
            self.incidents_dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests;
