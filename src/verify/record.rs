//! What is recorded of a run: how it began, what each second added, how it ended.
//!
//! The account is the sum of the seconds, and the journal writes all of it down: nothing else about
//! a run is ever judged. So a run that is judged again ends in the same report.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::time::nanos;
use crate::model::{ChannelName, ClusterRole, Member, RunId, RunTime, Seq, StreamIx};

use super::checks::Requirements;
use super::coverage::{ClusterTrials, Events};
use super::endpoint::{EndpointBegin, EndpointKind, EndpointSecond};
use super::fact::{ConnectStep, Control, ControlStatus, Publications, Sight, Traffic};
use super::figures::BudgetUsed;
use super::handover::{Move, Moves};
use super::latency::Sparse;
use super::load::{Load, LoadSecond};
use super::mirror::{self, MirrorReport};
use super::occupancy::{self, Watching};
use super::parity::{ParityBegin, Reading, Row};
use super::published::MirrorEvidence;
use super::sample::SampleNote;
use super::status_page::PageSecond;
use super::taint::Tainted;
use super::tally::{Beside, BlindCause, IncidentKind, Obligations, Route, Stratum};
use super::webhook::{Refusal, WebhookSecond};

/// Whether a count says nothing: it is left out, and read as nothing again.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
pub(super) const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How a run began: everything that was decided before the first connection, as far as it is
/// judged by or shown. No secret is part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// The version of the program that recorded it.
    pub version: String,
    /// The run.
    pub run: RunId,
    /// Which part of it is this process's.
    #[serde(default, skip_serializing_if = "Member::is_default")]
    pub member: Member,
    /// The scenario's name.
    pub scenario: String,
    /// The seed of everything random.
    pub seed: u64,
    /// What the findings are judged by.
    pub requirements: Requirements,
    /// The time of day at the clock's origin: nanoseconds since the Unix epoch.
    #[serde(with = "nanos")]
    pub origin: Duration,
    /// Publishing time as planned, in nanoseconds.
    #[serde(with = "nanos")]
    pub publishing: Duration,
    /// The clusters.
    pub clusters: Vec<ClusterRole>,
    /// Channel and route of each stream, in order.
    pub streams: Vec<(ChannelName, Route)>,
    /// Every stratum that the plan tries.
    pub strata: Vec<Stratum>,
    /// Every negative control that the plan makes.
    pub controls: Vec<Control>,
    /// Streams that no witness watches, by cluster; where another process publishes, all of
    /// them, as long as it is not known how they end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unwatched: BTreeMap<ClusterRole, u64>,
    /// How the occupancy of the clusters is read, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watching: Option<Watching>,
    /// The status page of each cluster that has one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub status_pages: BTreeMap<ClusterRole, String>,
    /// The application's auth endpoints for each cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<ClusterRole, BTreeMap<EndpointKind, EndpointBegin>>,
    /// How real events are matched, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirroring: Option<mirror::Rules>,
    /// How virtual clients move from old to new, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Moves>,
    /// How many simulated clients there are on each cluster, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// In what the apps must behave alike, where that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<ParityBegin>,
    /// What an earlier run saw of the application, where that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<MirrorEvidence>,
    /// From one reading of the API that webhooks are held against to the next, where they are
    /// received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks_refresh: Option<Duration>,
    /// The scenario with every default filled in, but for its secrets.
    pub settings: serde_json::Value,
}

impl Begin {
    /// The time of day at an instant, in milliseconds since the Unix epoch.
    pub fn unix_millis(&self, at: RunTime) -> i64 {
        let wall = self.origin.saturating_add(at.since(RunTime::ZERO));
        i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
    }
}

/// What a second added, or a shorter time. Counts are those since the one before, but for what is
/// said to be a sum or a state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// The instant at which it was closed.
    pub at: RunTime,
    /// Until when the vital signs are known.
    pub vouched: RunTime,
    /// Longest stall of the runtime, in nanoseconds.
    #[serde(with = "nanos")]
    pub stall: Duration,
    /// The instant at which publishing began, if it did.
    pub begun: Option<RunTime>,
    /// The instant at which it ended, if it did.
    pub published: Option<RunTime>,
    /// Whether it is the last one.
    pub last: bool,
    /// Seconds that turned out to be tainted.
    pub tainted: Tainted,
    /// From the scheduled instant to taking a publication up.
    pub lags: Sparse,
    /// Publications that left a book too early.
    #[serde(skip_serializing_if = "is_zero")]
    pub lapped: u64,
    /// Streams that another process publishes, of which all is known by now.
    #[serde(skip_serializing_if = "is_zero")]
    pub followed: u64,
    /// What each cluster did.
    pub clusters: BTreeMap<ClusterRole, ClusterSecond>,
    /// The joined events: a sum.
    pub events: Events,
    /// What became known of real events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Box<MirrorReport>>,
    /// What became known of the real channels, each with its instant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<(RunTime, SampleNote)>,
    /// Virtual clients that have moved, or could not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
    /// What probes found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probed: Vec<(ClusterRole, Row, Reading)>,
    /// Requests to the webhook receiver that were no webhooks that count.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub webhooks_refused: BTreeMap<Refusal, u64>,
    /// Channels of the application that are occupied on one of the clusters at least, as webhooks
    /// say: a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupied: Option<u64>,
    /// How much of a day's budget is used up, where that is counted: a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_used: Option<BudgetUsed>,
    /// Incidents, new ones and those that concern one witness more.
    pub incidents: Vec<IncidentNote>,
    /// Incidents that found no room.
    #[serde(skip_serializing_if = "is_zero")]
    pub incidents_dropped: u64,
}

/// One cluster's part of a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterSecond {
    /// Publications by route.
    pub publications: BTreeMap<Route, Publications>,
    /// Publications × assigned witnesses, as the publisher counts.
    #[serde(skip_serializing_if = "is_zero")]
    pub obligations_opened: u64,
    /// Obligations by stratum, as the witnesses count.
    pub obligations: BTreeMap<Stratum, Obligations>,
    /// Obligations that are open: a state.
    #[serde(skip_serializing_if = "is_zero")]
    pub pending: u64,
    /// Those of them that are past their deadline: a state.
    #[serde(skip_serializing_if = "is_zero")]
    pub overdue: u64,
    /// Those of these that no reconnect on purpose explains: a state.
    #[serde(skip_serializing_if = "is_zero")]
    pub unexplained: u64,
    /// From sending to receipt.
    pub latencies: Sparse,
    /// The same by stratum. It is shown while a run goes on and not recorded: nothing is judged by
    /// it, and it would be most of a journal.
    #[serde(skip)]
    pub latencies_by_stratum: BTreeMap<Stratum, Sparse>,
    /// The part of them that the first witness of each channel received.
    pub first_witness: Sparse,
    /// Counts beside the obligations, by the run's second in which they happened.
    pub beside: BTreeMap<u64, Beside>,
    /// Late deliveries by the run's second of their arrival.
    pub late: BTreeMap<u64, u64>,
    /// Missed obligations by the run's second of sending, and the cause of the blind window.
    pub missed: BTreeMap<u64, BTreeMap<BlindCause, u64>>,
    /// Publications that were rejected or whose fate is unknown, by the run's second of sending.
    pub unaccepted: BTreeMap<u64, u64>,
    /// Those that were not sent, by the run's second for which they were scheduled.
    pub unsent: BTreeMap<u64, u64>,
    /// The joined publications: a sum.
    pub trials: ClusterTrials,
    /// Trials by stratum. One that was tried by witnesses on their first connection and by others
    /// on a later one counts in both.
    pub strata: BTreeMap<Stratum, u64>,
    /// From taking a publication up to the answer, a dial included.
    pub publish: Sparse,
    /// HTTP answers to publications by status.
    pub responses: BTreeMap<u16, u64>,
    /// Answers that asked to slow down.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled: u64,
    /// How much of its rate limit is used up, where it says so: a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit_used: Option<f64>,
    /// Bytes that witnesses' connections carried.
    #[serde(skip_serializing_if = "Traffic::is_none")]
    pub traffic: Traffic,
    /// Until when its certificate is valid, where a connection was made with TLS: a state, seconds
    /// since 1970 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_expires: Option<i64>,
    /// Connections that became ready.
    #[serde(skip_serializing_if = "is_zero")]
    pub opened: u64,
    /// From the dial to the last confirmation.
    pub connect: Sparse,
    /// Each step of it.
    pub connect_steps: BTreeMap<ConnectStep, Sparse>,
    /// The slowest of them: how long, from which second to which.
    pub slowest_connect: Option<(u64, u64, u64)>,
    /// Tries to connect that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Connections that were lost, by close code.
    pub closed_by_code: BTreeMap<u16, u64>,
    /// Connections that the agent gave up.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_up: u64,
    /// Connections that the agent ended to reconnect on purpose.
    #[serde(skip_serializing_if = "is_zero")]
    pub recycled: u64,
    /// Making an authorisation.
    pub auth: Sparse,
    /// Authorised subscriptions that the cluster confirmed.
    #[serde(skip_serializing_if = "is_zero")]
    pub confirmed: u64,
    /// Those that it refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Blind windows that changed, each with the instant.
    pub sights: Vec<(RunTime, Sight)>,
    /// Negative controls that came out.
    pub controls: BTreeMap<Control, ControlStatus>,
    /// Channels of the run that the API still shows as occupied after it: a state. `None` if it was
    /// not asked yet, or gave no answer.
    pub left_behind: Option<u64>,
    /// What its API said of occupied channels, each with the instant of the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub occupancy: Vec<(RunTime, occupancy::Reading)>,
    /// What simulated clients saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Box<LoadSecond>>,
    /// What its auth endpoints answered.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<EndpointKind, EndpointSecond>,
    /// What its app's webhooks said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<WebhookSecond>,
    /// What was learnt of its status page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_page: Option<PageSecond>,
}

/// An incident with its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedIncident {
    /// When.
    pub at: RunTime,
    /// What.
    pub kind: IncidentKind,
    /// On which cluster.
    pub cluster: ClusterRole,
    /// The stream, where one is concerned.
    #[serde(default)]
    pub stream: Option<StreamIx>,
    /// The event, where one is concerned.
    #[serde(default)]
    pub seq: Option<Seq>,
    /// How many witnesses it concerns.
    #[serde(default)]
    pub witnesses: u64,
    /// Why they were blind, where they missed something.
    #[serde(default)]
    pub cause: Option<BlindCause>,
    /// More, in a few words; may be empty.
    #[serde(default)]
    pub detail: String,
}

/// What is said of incidents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentNote {
    /// There is one more.
    New(PlacedIncident),
    /// One that is known, by its place in the order of their coming, concerns more witnesses.
    Again {
        /// Its place, counted from 0.
        place: usize,
        /// How many it concerns now.
        witnesses: u64,
        /// Why they were blind, where they missed something.
        #[serde(default)]
        cause: Option<BlindCause>,
    },
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    /// When the last fact was in.
    pub at: RunTime,
    /// Whether a signal ended publishing early.
    pub cut_short: bool,
    /// The part of the agent that failed, if one did.
    pub failed: Option<String>,
    /// In rehearsals, what the clusters themselves counted.
    pub rehearsal: Option<BTreeMap<ClusterRole, BTreeMap<String, u64>>>,
}

/// One of the parts that a run's record consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first.
    Begin(Box<Begin>),
    /// Any number of them.
    Second(Box<Second>),
    /// The last.
    End(Box<End>),
}
