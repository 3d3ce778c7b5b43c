//! The report: one value, from which every form is rendered.

pub mod availability;
pub mod bench;
mod build;
mod endpoint;
mod figures;
mod fleet;
mod form;
mod handover;
mod html;
mod json;
mod junit;
pub mod live;
mod load;
mod markdown;
mod markup;
mod matrix;
mod mirror;
mod occupancy;
mod outcome;
mod parity;
mod pool;
pub mod providers;
mod reason;
mod rows;
pub mod runs;
pub mod schema;
mod text;
mod webhooks;

#[cfg(test)]
mod testing;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ChannelKind, ClusterRole, Member, RunId};
use crate::verify::checks::{Limits, Looks, Phase};
use crate::verify::coverage::Pairs;
use crate::verify::endpoint::EndpointKind;
use crate::verify::fact::{ConnectStep, Control, Publications};
use crate::verify::figures::{Anomalies, Windows};
use crate::verify::latency::Latencies;
use crate::verify::published::MirrorEvidence;
use crate::verify::taint::TaintReason;
use crate::verify::tally::{Beside, BlindCause, IncidentKind, Obligations, Route, Stratum};
use crate::verify::verdict::{Finding, Status, Verdict};
use crate::verify::webhook::Refusal;

use endpoint::EndpointReport;
use handover::HandoverReport;
pub use json::ReadError;
use load::LoadReport;
pub use matrix::{Drift, Matrix, MatrixHead};
use mirror::RealEventsReport;
pub use parity::ParityRow;
use providers::ProviderReport;
use webhooks::WebhooksReport;

pub use fleet::AgentReport;
pub use pool::{Excluded, Pool, PoolError, PooledRun, Rules, Source, left_out};
pub use text::live;

/// A time of day since the Unix epoch as RFC 3339, to the millisecond.
pub fn time_of_day(at: std::time::Duration) -> String {
    build::rfc3339_of(i128::try_from(at.as_nanos()).unwrap_or_default())
}

/// The version of the report's form.
pub const SCHEMA: u32 = 1;
/// What measured.
const TOOL: &str = "pusher-canary";

/// Everything about a finished run. Counts are exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this form.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// What measured.
    pub tool: Tool,
    /// The run.
    pub run: RunId,
    /// Which part of it is told of, where several processes did it together.
    #[serde(default, skip_serializing_if = "Member::is_default")]
    pub member: Member,
    /// The scenario's name.
    pub scenario: String,
    /// Equal for runs of one scenario, whatever their length, rate and seed.
    pub scenario_digest: String,
    /// What it was for.
    pub phase: Phase,
    /// Whether the verdict is a proof.
    pub proof: bool,
    /// When the bounds were looked at: `once`, or `anytime`, and then they hold at all times.
    pub looks: Looks,
    /// The seed of everything random.
    pub seed: u64,
    /// The first scheduled event: RFC 3339; empty if there was none.
    #[schemars(with = "form::InstantOrNothing")]
    pub started_at: String,
    /// The last fact: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub ended_at: String,
    /// Seconds in which events were published.
    pub publishing_seconds: f64,
    /// Seconds of publishing that were planned.
    pub planned_seconds: f64,
    /// Whether a signal ended publishing early.
    pub cut_short: bool,
    /// Whether the record has an end. One that lacks it was not written to its end, or lost it.
    pub complete: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict's reasons, in one paragraph.
    pub reason: String,
    /// What it rests on.
    pub checks: Vec<Finding>,
    /// Each cluster by itself.
    pub clusters: BTreeMap<ClusterRole, ClusterReport>,
    /// Both together.
    pub events: EventsReport,
    /// The application's own events, where they were watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<RealEventsReport>,
    /// Virtual clients that moved from old to new, where some were to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverReport>,
    /// How both apps behave, row by row, where that was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parity: Vec<ParityRow>,
    /// What an earlier run saw of the application, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<MirrorEvidence>,
    /// Requests to the webhook receiver that were no webhooks that count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub webhooks_refused: BTreeMap<Refusal, u64>,
    /// Channels of the application that are occupied on one of the clusters at least, as webhooks
    /// say, where they were received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupied_channels: Option<u64>,
    /// Proofs of the detector.
    pub controls: Vec<ControlReport>,
    /// In rehearsals, what the clusters themselves counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<BTreeMap<ClusterRole, BTreeMap<String, u64>>>,
    /// The instrument's vital signs.
    pub instrument: InstrumentReport,
    /// The first incidents, in the order of time.
    pub incidents: Vec<IncidentReport>,
    /// How many more were stated, at each witness by itself, and found no room.
    pub incidents_dropped: u64,
    /// Known failures among what was seen, each with its cause and its cure. Reports of the first
    /// versions lack it.
    #[serde(default)]
    #[schemars(skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<Advice>,
    /// What the clusters' providers said on their status pages, of each cluster that has one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub providers: BTreeMap<ClusterRole, ProviderReport>,
    /// Blind windows, in the order of their beginning.
    pub blind_windows: Vec<BlindWindowReport>,
    /// How it went over time.
    pub timeline: TimelineReport,
    /// What was asked.
    pub gate: Limits,
    /// The scenario with every default filled in, but for its secrets.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub settings: serde_json::Value,
}

/// What measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `pusher-canary`.
    pub name: Cow<'static, str>,
    /// The version that measured, whichever wrote the report.
    pub version: String,
}

impl Tool {
    /// This program, in a version.
    pub fn of(version: String) -> Self {
        Self { name: TOOL.into(), version }
    }
}

/// A negative control on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlReport {
    /// What it proves.
    pub name: Control,
    /// Where.
    pub cluster: ClusterRole,
    /// `pass` if it fired, `inconclusive` if it did not, `fail` if it came out wrong.
    pub status: Status,
}

/// Obligations by outcome; they add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObligationsReport {
    /// All that were opened, and those that ended.
    #[serde(flatten)]
    pub counted: Obligations,
    /// Not ended.
    pub pending: u64,
}

/// A stratum: kind of channel, route, and whether on a witness's first connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StratumReport {
    /// Trials in it.
    pub trials: u64,
    /// Obligations in it.
    pub obligations: Obligations,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterReport {
    /// Publications by outcome.
    pub publications: Publications,
    /// The same by route.
    pub publications_by_route: BTreeMap<Route, Publications>,
    /// Publications × assigned witnesses, as the publisher counted.
    pub obligations_opened: u64,
    /// Obligations by outcome, as the witnesses counted.
    pub obligations: ObligationsReport,
    /// Trials and obligations by stratum.
    pub strata: BTreeMap<Stratum, StratumReport>,
    /// Trials that no witness got.
    pub publications_lost: u64,
    /// Trials that some witnesses got and others lost.
    pub publications_partially_lost: u64,
    /// Publications that can fail the loss check.
    pub trials: u64,
    /// Anomalies in tainted seconds.
    pub unattributed: u64,
    /// Publications of tainted seconds that were lost.
    pub unattributed_losses: u64,
    /// The other anomalies of tainted seconds, by kind.
    pub excused: Anomalies,
    /// Counts beside the obligations.
    #[serde(flatten)]
    pub beside: Beside,
    /// The loss rate that is ruled out at `confidence`.
    pub loss_upper_bound: f64,
    /// Its confidence.
    pub confidence: f64,
    /// Times at which publications were lost, those at most 10 s apart being one.
    pub loss_incidents: u64,
    /// Incidents an hour that are ruled out at `confidence`, were they to come at random.
    pub incidents_per_hour_upper_bound: Option<f64>,
    /// From sending to receipt.
    pub latency_ms: Summary,
    /// Those of it that were received in tainted seconds, and are not judged.
    pub latency_tainted_ms: Summary,
    /// Those of the first third of publishing, tainted seconds left out.
    pub latency_opening_ms: Summary,
    /// Those of the last third.
    pub latency_closing_ms: Summary,
    /// Those that the first witness of each channel received.
    pub latency_first_witness_ms: Summary,
    /// From the dial to the last confirmation.
    pub connect_ms: Summary,
    /// Each step of connecting.
    pub connect_steps_ms: BTreeMap<ConnectStep, Summary>,
    /// Whether the slowest connection was made in a tainted second.
    pub slowest_connect_tainted: bool,
    /// From taking a publication up to its answer, a dial included.
    pub publish_ms: Summary,
    /// Making an authorisation.
    pub auth_ms: Summary,
    /// Signed subscriptions.
    pub authorised: AuthorisedReport,
    /// Connections.
    pub connections: ConnectionsReport,
    /// Blind windows.
    pub blind: BlindReport,
    /// HTTP answers to publications, by status.
    pub http_responses: BTreeMap<u16, u64>,
    /// Answers that asked to slow down.
    pub throttled: u64,
    /// Channels of the run that the API still showed as occupied after it; null if not known.
    pub left_behind: Option<u64>,
    /// Who is still on it, where that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupancy: Option<OccupancyReport>,
    /// What its app's webhooks said, where they were received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<WebhooksReport>,
    /// What simulated clients saw, where there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// The application's auth endpoints for it, where the scenario names some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<EndpointKind, EndpointReport>,
}

impl ClusterReport {
    /// Trials that failed.
    pub const fn failures(&self) -> u64 {
        self.publications_lost + self.publications_partially_lost
    }
}

/// Who is still on one cluster, as its API says. Channels of canaries are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OccupancyReport {
    /// Seconds from one reading to the next, as planned.
    pub refresh_seconds: f64,
    /// Readings that were answered.
    pub readings: u64,
    /// Readings that were not.
    pub failed: u64,
    /// Why the last of those failed; empty if none did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_failure: String,
    /// Occupied channels at the last answer; null if there was none.
    pub channels: Option<u64>,
    /// Those of each kind.
    pub channels_by_kind: BTreeMap<ChannelKind, u64>,
    /// Subscriptions to them; null where the server does not list them.
    pub subscriptions: Option<u64>,
    /// Members of the presence channels among them; null where the API did not say.
    pub members: Option<u64>,
    /// Channels of canaries beside them.
    pub own_channels: u64,
    /// Most occupied channels at a time.
    pub peak_channels: u64,
    /// Whether any channel was ever listed, be it a canary's.
    pub has_shown: bool,
    /// For how many seconds up to the last answer no channel was occupied.
    pub empty_seconds: f64,
    /// Since when: RFC 3339; null while a channel is occupied.
    #[schemars(with = "Option<form::Instant>")]
    pub empty_since: Option<String>,
    /// Seconds from the last answer to the end of publishing.
    pub age_seconds: f64,
    /// Most seconds between two answers for what is between them to count as seen.
    pub gap_seconds_max: f64,
    /// Seconds from the last answer until the last channel empties, if it goes on as in the last
    /// readings; null where they do not become fewer.
    pub empty_in_seconds: Option<f64>,
    /// When that is: RFC 3339.
    #[schemars(with = "Option<form::Instant>")]
    pub empty_at: Option<String>,
    /// Readings over time, evenly thinned out where there are many.
    pub points: Vec<OccupancyPoint>,
}

/// One reading of a cluster's occupancy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OccupancyPoint {
    /// Seconds since publishing began.
    pub second: f64,
    /// Occupied channels.
    pub channels: u64,
    /// Members of presence channels; null where the API did not say.
    pub members: Option<u64>,
    /// Subscriptions; null where the server does not list them.
    pub subscriptions: Option<u64>,
}

/// Signed subscriptions of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorisedReport {
    /// Those that the cluster confirmed.
    pub confirmed: u64,
    /// Those that it refused.
    pub refused: u64,
}

/// Connections of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionsReport {
    /// Became ready.
    pub opened: u64,
    /// Never became ready.
    pub failed: u64,
    /// Were closed or cut, by code; 1006 where there was no close frame.
    pub closed_by_code: BTreeMap<u16, u64>,
    /// Were given up by the agent: silent, or with a subscription that was not confirmed.
    pub given_up: u64,
    /// Were ended by the agent to reconnect on purpose.
    pub recycled: u64,
}

/// Blind windows of one cluster's witnesses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlindReport {
    /// How many began.
    pub windows: u64,
    /// How many of them ended.
    pub ended: u64,
    /// Their total length. What did not end lasted until the run's end, but for the agent's own.
    pub seconds: f64,
    /// The longest.
    pub longest_seconds: f64,
    /// The longest of those that ended.
    pub longest_ended_seconds: f64,
    /// Windows by cause.
    pub windows_by_cause: BTreeMap<BlindCause, u64>,
    /// Obligations missed, by the window's cause.
    pub missed_by_cause: BTreeMap<BlindCause, u64>,
    /// All of it by cause, exactly.
    pub by_cause: BTreeMap<BlindCause, Windows>,
}

/// Both clusters together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsReport {
    /// Settled on every cluster.
    pub total: u64,
    /// Every assigned witness on every cluster got it.
    pub covered: u64,
    /// The others.
    pub uncovered: u64,
    /// Why.
    pub uncovered_by_cause: BTreeMap<crate::verify::coverage::UncoveredCause, u64>,
    /// Events in untainted seconds.
    pub trials: u64,
    /// Those of them that are uncovered, by cause.
    pub failures_by_cause: BTreeMap<crate::verify::coverage::UncoveredCause, u64>,
    /// Not sent on every cluster, by the agent's own doing.
    pub unsent: u64,
    /// Which cluster lost what both were tried with.
    pub pairs: Pairs,
    /// The instant of the first event after the last uncovered one.
    #[schemars(with = "Option<form::Instant>")]
    pub covered_since: Option<String>,
    /// The instant of the last event before the first unsettled one.
    #[schemars(with = "Option<form::Instant>")]
    pub covered_until: Option<String>,
}

/// The instrument's vital signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstrumentReport {
    /// Seconds that cannot be relied on.
    pub tainted_seconds: u64,
    /// Seconds in which events were published.
    pub seconds: u64,
    /// How many seconds each reason taints.
    pub reasons: Vec<TaintReport>,
    /// From the scheduled instant to taking up.
    pub schedule_lag_ms: Summary,
    /// Longest stall of the runtime.
    pub runtime_stall_ms_max: f64,
    /// Publications that left a book too early: a fault of the agent.
    pub lapped: u64,
    /// Streams that no witness watches, by cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unwatched: BTreeMap<ClusterRole, u64>,
    /// The part of the agent that failed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Why seconds are tainted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaintReport {
    /// The reason.
    pub reason: TaintReason,
    /// How many seconds.
    pub seconds: u64,
}

/// Times in milliseconds; quantiles are null without enough samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// How many samples.
    pub count: u64,
    /// The smallest.
    pub min: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// 90 % are at most so long.
    pub p90: Option<f64>,
    /// 99 % are.
    pub p99: Option<f64>,
    /// 99.9 % are.
    pub p999: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// All of them: HdrHistogram V2, deflated, base64; null without samples.
    #[schemars(with = "Option<form::Histogram>")]
    pub histogram: Option<String>,
}

impl Summary {
    /// Of nothing.
    fn none() -> Self {
        Self::of(&Latencies::default())
    }

    fn of(latencies: &Latencies) -> Self {
        Self {
            count: latencies.count(),
            min: latencies.min_ms(),
            p50: latencies.quantile_ms(0.5),
            p90: latencies.quantile_ms(0.9),
            p99: latencies.quantile_ms(0.99),
            p999: latencies.quantile_ms(0.999),
            max: latencies.max_ms(),
            histogram: (latencies.count() > 0).then(|| latencies.encoded()),
        }
    }
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentReport {
    /// When: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub at: String,
    /// Seconds since publishing began; before it, less than nothing.
    pub second: i64,
    /// What.
    pub kind: IncidentKind,
    /// Where.
    pub cluster: ClusterRole,
    /// The channel, where one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The stream, where one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u32>,
    /// The event, where one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// How many witnesses it concerns.
    pub witnesses: u64,
    /// Why they were blind, where they missed something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<BlindCause>,
    /// More, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A known failure that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// On which cluster.
    pub cluster: ClusterRole,
    /// Its name: a code, a status, or what the cluster says.
    pub failure: Cow<'static, str>,
    /// How often it was seen.
    pub count: u64,
    /// Why it comes about.
    pub cause: Cow<'static, str>,
    /// What to do about it.
    pub cure: Cow<'static, str>,
}

/// A blind window of one witness. Seconds are counted from the beginning of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlindWindowReport {
    /// Where.
    pub cluster: ClusterRole,
    /// Whose.
    pub witness: u32,
    /// When it began.
    pub from: f64,
    /// When it ended; null if it did not.
    pub until: Option<f64>,
    /// Why it lasted.
    pub cause: BlindCause,
}

/// How a run went over time, in slots of equal length from the beginning of publishing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineReport {
    /// The length of a slot in seconds.
    pub slot_seconds: f64,
    /// The slots of each cluster.
    pub clusters: BTreeMap<ClusterRole, Vec<SlotReport>>,
    /// Tainted seconds since publishing began, of those in which events were published.
    pub tainted: Vec<u64>,
}

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotReport {
    /// Publications sent.
    pub sent: u64,
    /// Publications that were rejected or whose fate is unknown.
    pub unaccepted: u64,
    /// Deliveries, late ones included.
    pub arrived: u64,
    /// The median latency in milliseconds; null without deliveries.
    pub p50: Option<f64>,
    /// The largest of nine tenths of them.
    pub p90: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}
