//! What the agent states: facts, in the order in which it learnt them. It decides nothing.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterRole, RunTime, Seq, StreamIx, WitnessIx};

use super::endpoint::{EndpointFact, EndpointKind};
use super::figures::BudgetUsed;
use super::handover::Move;
use super::latency::Sparse;
use super::load::LoadReport;
use super::mirror::identity::Identity;
use super::occupancy::Reading;
use super::parity::{self, Row};
use super::sample::SampleNote;
use super::status_page::PageFact;
use super::taint::TaintReason;
use super::tally::{BlindCause, IncidentKind, Route, Tally};
use super::webhook::WebhookSecond;

/// How one obligation ended that did not end as a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// Lost.
    Lost,
    /// Missed while offline, by the cause of the blind window.
    Missed(BlindCause),
    /// The same, or lost: by the clock of another process nobody can tell. It is no trial.
    Unsure(BlindCause),
}

/// What one witness hands on.
#[derive(Clone, Debug, Default)]
pub struct WitnessReport {
    /// Which witness.
    pub witness: WitnessIx,
    /// Counts since its last report.
    pub tally: Tally,
    /// Streams whose channel was confirmed for the first time, with the first seq owed to it.
    pub owed_from: Vec<(StreamIx, Seq)>,
    /// Streams whose channel was confirmed again for the first time, with the first seq that is
    /// owed on a later connection.
    pub again_from: Vec<(StreamIx, Seq)>,
    /// For each of its streams, the seq below which every obligation has ended.
    pub settled_below: Vec<(StreamIx, Seq)>,
    /// Every obligation since its last report that ended, but not as a delivery or void.
    pub shortfalls: Vec<(StreamIx, Seq, Shortfall)>,
    /// Obligations open now.
    pub pending: u64,
    /// Those of them that are past their deadline.
    pub overdue: u64,
    /// Those of these that no reconnect on purpose explains.
    pub unexplained: u64,
    /// Bytes that its connections carried since its last report, TLS and framing included.
    pub traffic: Traffic,
}

impl WitnessReport {
    /// Whether nothing has happened; what is open is a state, and left out.
    pub fn is_empty(&self) -> bool {
        let Self { tally, owed_from, again_from, settled_below, shortfalls, traffic, .. } = self;
        let is_settled = owed_from.is_empty() && again_from.is_empty() && settled_below.is_empty();
        is_settled && shortfalls.is_empty() && traffic.is_none() && *tally == Tally::default()
    }
}

/// Bytes by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Read from the cluster.
    pub received: u64,
    /// Written to it.
    pub sent: u64,
}

impl Traffic {
    /// Whether there was none.
    pub const fn is_none(&self) -> bool {
        self.received == 0 && self.sent == 0
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
    }
}

/// Publications by outcome: `sent = accepted + rejected + unknown + in flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Publications {
    /// All that were sent, or tried to be.
    pub sent: u64,
    /// Answered with a 2xx without an error in its body, or by a pong.
    pub accepted: u64,
    /// Certainly not taken.
    pub rejected: u64,
    /// Of unknown fate.
    pub unknown: u64,
    /// Unknown, but a witness got it.
    pub recovered: u64,
    /// Unknown, and no witness got it by the horizon.
    pub void: u64,
    /// Not sent: the bound on open requests was reached.
    pub unsent: u64,
}

impl std::ops::AddAssign for Publications {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.unknown += other.unknown;
        self.recovered += other.recovered;
        self.void += other.void;
        self.unsent += other.unsent;
    }
}

/// What one cluster's publisher hands on.
#[derive(Clone, Debug, Default)]
pub struct PublisherReport {
    /// Counts since its last report.
    pub publications: BTreeMap<Route, Publications>,
    /// Publications × assigned witnesses since its last report.
    pub obligations_opened: u64,
    /// Those that were rejected or whose fate is unknown, by the run's second of sending.
    pub unaccepted: BTreeMap<u64, u64>,
    /// Those that were not sent, by the run's second for which they were scheduled.
    pub unsent: BTreeMap<u64, u64>,
    /// From taking up to the answer, a dial included.
    pub durations: Sparse,
    /// From the scheduled instant to taking up.
    pub lags: Sparse,
    /// HTTP answers by status.
    pub responses: BTreeMap<u16, u64>,
    /// Publications that were refused or whose fate was unknown: when sent, and which.
    pub failures: Vec<PublicationFailure>,
    /// Failures that found no room in the list above.
    pub failures_dropped: u64,
    /// Answers that asked to slow down (429).
    pub throttled: u64,
    /// How much of its rate limit is used up (ratio), as the last answer said that did.
    pub rate_limit_used: Option<f64>,
}

/// A publication that the cluster did not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationFailure {
    /// When it was sent.
    pub at: RunTime,
    /// Its stream.
    pub stream: StreamIx,
    /// Its seq.
    pub seq: Seq,
    /// Rejected; or of unknown fate, and then recovered or void.
    pub kind: IncidentKind,
    /// The answer, or what happened instead, in a few words.
    pub why: String,
}

/// The phases of one successful connection, each from the end of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectPhases {
    /// Name to addresses.
    pub resolve: Duration,
    /// TCP.
    pub connect: Duration,
    /// TLS; zero without it.
    pub tls: Duration,
    /// The WebSocket upgrade.
    pub upgrade: Duration,
    /// Until `pusher:connection_established`.
    pub established: Duration,
    /// Until the last of its channels was confirmed.
    pub subscribed: Duration,
}

impl ConnectPhases {
    /// From the dial to the last confirmation.
    pub fn total(&self) -> Duration {
        self.resolve + self.connect + self.tls + self.upgrade + self.established + self.subscribed
    }

    /// How long each step took, in their order.
    pub const fn steps(&self) -> [(ConnectStep, Duration); 6] {
        [
            (ConnectStep::Resolve, self.resolve),
            (ConnectStep::Connect, self.connect),
            (ConnectStep::Tls, self.tls),
            (ConnectStep::Upgrade, self.upgrade),
            (ConnectStep::Established, self.established),
            (ConnectStep::Subscribed, self.subscribed),
        ]
    }
}

/// A step of connecting.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ConnectStep {
    /// Name to addresses.
    Resolve,
    /// TCP.
    Connect,
    /// TLS.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
    /// Until `pusher:connection_established`.
    Established,
    /// Until the last channel was confirmed.
    Subscribed,
}

impl ConnectStep {
    /// Every step, in order.
    pub const ALL: [Self; 6] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Upgrade,
        Self::Established,
        Self::Subscribed,
    ];

    /// The step's name in reports and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Established => "established",
            Self::Subscribed => "subscribed",
        }
    }
}

/// A witness's blind window: how it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Whose.
    pub witness: WitnessIx,
    /// When it became blind.
    pub since: RunTime,
    /// Why.
    pub cause: BlindCause,
    /// What happened to the window.
    pub change: SightChange,
}

/// What happens to a blind window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SightChange {
    /// It began: the witness lost sight of its channels.
    Lost,
    /// The agent had begun it on purpose, and giving sight back failed: it lasts for another cause.
    NotRestored,
    /// It ended: the witness sees all its channels again.
    Restored,
}

/// Something about a connection.
#[derive(Clone, Debug)]
pub enum ConnectionFact {
    /// Established, and every channel confirmed.
    Ready {
        /// How long each phase took; `None` where that is not known of the cluster alone.
        phases: Option<ConnectPhases>,
        /// Until when the cluster's certificate is valid: seconds since 1970 in UTC; `None` without
        /// TLS.
        expires: Option<i64>,
    },
    /// A dial, or what follows up to the last confirmation, failed.
    Failed,
    /// A connection that was ready was lost.
    Lost {
        /// The close code; `None` for what only the agent saw: silence, a subscription's timeout,
        /// its own wish.
        code: Option<u16>,
        /// What happened.
        cause: BlindCause,
        /// In a few words.
        why: String,
        /// Whether it was a witness's; a sender's makes nobody blind.
        of_witness: bool,
    },
    /// What a witness can see has changed.
    Sight(Sight),
    /// A subscription that needs a signature was confirmed or refused.
    Authorized {
        /// How long signing took; `None` where we did not sign.
        took: Option<Duration>,
        /// Whether the cluster confirmed it.
        confirmed: bool,
    },
}

/// A negative control: what the agent does to itself, on streams of their own, to see that it is
/// found.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// A delivery that is withheld must be found lost.
    SeesLoss,
    /// One that is held back past the deadline must be found late.
    SeesLateness,
    /// One that is repeated must be found a duplicate.
    SeesDuplicate,
    /// Two that are swapped must be found reordered.
    SeesReordering,
    /// One that is damaged must be found corrupt.
    SeesCorruption,
    /// A subscription that is signed with a wrong secret must be refused.
    SeesRefusal,
    /// A channel on which nothing is published must stay silent.
    HearsNothing,
    /// A channel to which the run is subscribed must be among the occupied ones.
    SeesOccupancy,
}

impl Control {
    /// Those of a run that publishes, in the order in which they are shown.
    pub const OF_DELIVERY: [Self; 7] = [
        Self::SeesLoss,
        Self::SeesLateness,
        Self::SeesDuplicate,
        Self::SeesReordering,
        Self::SeesCorruption,
        Self::SeesRefusal,
        Self::HearsNothing,
    ];

    /// The control's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SeesLoss => "sees-loss",
            Self::SeesLateness => "sees-lateness",
            Self::SeesDuplicate => "sees-duplicate",
            Self::SeesReordering => "sees-reordering",
            Self::SeesCorruption => "sees-corruption",
            Self::SeesRefusal => "sees-refusal",
            Self::HearsNothing => "hears-nothing",
            Self::SeesOccupancy => "sees-occupancy",
        }
    }
}

/// How a control came out. One of which nothing was stated has not fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlStatus {
    /// What was done was found as what it is.
    Pass,
    /// It was found as something else, or the cluster let pass what it must refuse.
    Fail,
}

/// What a connection to real channels saw.
#[derive(Clone, Debug)]
pub enum Seen {
    /// It is subscribed to the channel from this instant on.
    Subscribed(Arc<str>, RunTime),
    /// It is subscribed to none of these any more.
    Blind(Vec<Arc<str>>),
    /// A copy of an event of the application came.
    Copy {
        /// The channel.
        channel: Arc<str>,
        /// The event's name.
        event: Arc<str>,
        /// What it is known by.
        identity: Identity,
        /// When it came.
        at: RunTime,
    },
    /// So many events of clients came.
    ClientEvents(u64),
    /// An event came on the channel that its key does not open.
    Unreadable(Arc<str>, RunTime),
    /// It was alive at this instant, and subscribed to these.
    Alive(Vec<Arc<str>>, RunTime),
}

/// A fact, stated by the agent.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Publishing begins at this instant: what was before it does not count.
    Begun(RunTime),
    /// From a witness.
    Witness(ClusterRole, Box<WitnessReport>),
    /// From a publisher.
    Publisher(ClusterRole, Box<PublisherReport>),
    /// From whoever holds a connection.
    Connection(ClusterRole, RunTime, ConnectionFact),
    /// A negative control came out; a failure stays one.
    Control(ClusterRole, Control, ControlStatus),
    /// After the run: how many of its channels the API still shows as occupied; `None` if it gave
    /// no answer.
    LeftBehind(ClusterRole, Option<u64>),
    /// What a cluster's API said of occupied channels, or why it said nothing, and when.
    Occupancy(ClusterRole, RunTime, Reading),
    /// The cluster's status page was read, or could not be.
    StatusPage(ClusterRole, RunTime, PageFact),
    /// Something about one of the application's auth endpoints.
    Endpoint(ClusterRole, EndpointKind, EndpointFact),
    /// What a connection to real channels saw, in the order in which it happened.
    Seen(ClusterRole, Vec<Seen>),
    /// Something about which real channels are watched.
    Sample(RunTime, SampleNote),
    /// From a simulated client.
    Load(ClusterRole, Box<LoadReport>),
    /// A virtual client has moved from old to new, or could not.
    Moved(Box<Move>),
    /// An app's webhook came, or its API was read to hold them against.
    Webhook(ClusterRole, RunTime, Box<WebhookSecond>),
    /// How an app behaves.
    Probed(ClusterRole, Row, parity::Reading),
    /// How much of a day's budget is used up.
    Budget(BudgetUsed),
    /// Of so many more streams that another process publishes, all is known from their first event
    /// on to their last.
    Followed(u64),
    /// A second cannot be relied on.
    Taint(u64, TaintReason),
    /// The last event was handed over, or a signal ended publishing: what comes now is waited for.
    Published(RunTime),
    /// The vital signs up to this instant are stated; this long the runtime stalled just before.
    Vouched(RunTime, Duration),
}

impl From<ControlStatus> for super::verdict::Status {
    fn from(status: ControlStatus) -> Self {
        match status {
            ControlStatus::Pass => Self::Pass,
            ControlStatus::Fail => Self::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_empty_if_nothing_at_all_has_happened() {
        assert!(WitnessReport { pending: 3, ..WitnessReport::default() }.is_empty());
        let place = vec![(StreamIx(0), Seq(1))];
        let shortfalls = vec![(StreamIx(0), Seq(1), Shortfall::Lost)];
        for report in [
            WitnessReport { owed_from: place.clone(), ..WitnessReport::default() },
            WitnessReport { again_from: place.clone(), ..WitnessReport::default() },
            WitnessReport { settled_below: place, ..WitnessReport::default() },
            WitnessReport { shortfalls, ..WitnessReport::default() },
            WitnessReport { traffic: Traffic { received: 1, sent: 0 }, ..WitnessReport::default() },
            WitnessReport {
                tally: Tally { lapped: 1, ..Tally::default() },
                ..WitnessReport::default()
            },
        ] {
            assert!(!report.is_empty(), "{report:?}");
        }
    }
}
