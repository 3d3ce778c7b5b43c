//! The report: one value, from which every form is rendered.

mod json;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::model::{Clock, ClusterRole, RunId, RunTime};
use crate::scenario::plan::Plan;
use crate::verify::account::{Account, ClusterAccount, PlacedIncident};
use crate::verify::checks::{self, Phase};
use crate::verify::coverage::ClusterTrials;
use crate::verify::fact::Publications;
use crate::verify::latency::Latencies;
use crate::verify::stats;
use crate::verify::tally::{Beside, BlindCause, Obligations};
use crate::verify::verdict::{Finding, Verdict};

pub use text::live;

/// The version of the report's form.
const SCHEMA: u32 = 1;

/// Everything about a finished run. Counts are exact.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this form.
    pub schema: u32,
    /// What measured.
    pub tool: Tool,
    /// The run.
    pub run: RunId,
    /// The scenario's name.
    pub scenario: String,
    /// What it was for.
    pub phase: Phase,
    /// Whether the verdict is a proof.
    pub proof: bool,
    /// The seed of everything random.
    pub seed: u64,
    /// The first scheduled event: RFC 3339.
    pub started_at: String,
    /// The last fact: RFC 3339.
    pub ended_at: String,
    /// Seconds of publishing that were planned.
    pub publishing_seconds: f64,
    /// Whether a signal ended publishing early.
    pub cut_short: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub checks: Vec<Finding>,
    /// Each cluster by itself.
    pub clusters: BTreeMap<ClusterRole, ClusterReport>,
    /// Both together.
    pub events: EventsReport,
    /// Proofs of the detector.
    pub controls: Vec<Control>,
    /// In rehearsals, what the clusters themselves counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<BTreeMap<ClusterRole, BTreeMap<String, u64>>>,
    /// The instrument's vital signs.
    pub instrument: InstrumentReport,
    /// The first incidents.
    pub incidents: Vec<IncidentReport>,
    /// How many more were stated, at each witness by itself, and found no room.
    pub incidents_dropped: u64,
}

/// What measured.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    /// `pusher-canary`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// A negative control.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// What it proves.
    pub name: String,
}

/// Obligations by outcome; they add up to `total`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ObligationsReport {
    /// All that were opened, and those that ended.
    #[serde(flatten)]
    pub counted: Obligations,
    /// Not ended.
    pub pending: u64,
}

/// One cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    /// Publications by outcome.
    pub publications: Publications,
    /// Publications × assigned witnesses, as the publisher counted.
    pub obligations_opened: u64,
    /// Obligations by outcome, as the witnesses counted.
    pub obligations: ObligationsReport,
    /// Trials that no witness got.
    pub publications_lost: u64,
    /// Trials that some witnesses got and others lost.
    pub publications_partially_lost: u64,
    /// Publications that can fail the loss check.
    pub trials: u64,
    /// Anomalies in tainted seconds.
    pub unattributed: u64,
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
    /// From the dial to the last confirmation.
    pub connect_ms: Summary,
    /// Each phase of connecting.
    pub connect_steps_ms: BTreeMap<&'static str, Summary>,
    /// From taking a publication up to its answer, a dial included.
    pub publish_ms: Summary,
    /// Making an authorisation.
    pub auth_ms: Summary,
    /// Connections.
    pub connections: ConnectionsReport,
    /// Blind windows.
    pub blind: BlindReport,
    /// HTTP answers to publications, by status.
    pub http_responses: BTreeMap<u16, u64>,
    /// Answers that asked to slow down.
    pub throttled: u64,
}

impl ClusterReport {
    /// Trials that failed.
    pub const fn failures(&self) -> u64 {
        self.publications_lost + self.publications_partially_lost
    }
}

/// Connections of one cluster.
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub struct BlindReport {
    /// How many began.
    pub windows: u64,
    /// How many of them ended.
    pub ended: u64,
    /// Their total length. What did not end lasted until the run's end, but for the agent's own.
    pub seconds: f64,
    /// The longest.
    pub longest_seconds: f64,
    /// Windows by cause.
    pub windows_by_cause: BTreeMap<BlindCause, u64>,
    /// Obligations missed, by the window's cause.
    pub missed_by_cause: BTreeMap<BlindCause, u64>,
}

/// Both clusters together.
#[derive(Clone, Debug, Serialize)]
pub struct EventsReport {
    /// Settled on every cluster.
    pub total: u64,
    /// Every assigned witness on every cluster got it.
    pub covered: u64,
    /// The others.
    pub uncovered: u64,
    /// Why.
    pub uncovered_by_cause: BTreeMap<&'static str, u64>,
    /// Not sent on every cluster, by the agent's own doing.
    pub unsent: u64,
    /// The instant of the first event after the last uncovered one.
    pub covered_since: Option<String>,
    /// The instant of the last event before the first unsettled one.
    pub covered_until: Option<String>,
}

/// The instrument's vital signs.
#[derive(Clone, Debug, Serialize)]
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
    /// The task that panicked, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panicked: Option<String>,
}

/// Why seconds are tainted.
#[derive(Clone, Debug, Serialize)]
pub struct TaintReport {
    /// The reason.
    pub reason: &'static str,
    /// How many seconds.
    pub seconds: u64,
}

/// Times in milliseconds; quantiles are null without enough samples.
#[derive(Clone, Debug, Serialize)]
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
    pub histogram: Option<String>,
}

impl Summary {
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
#[derive(Clone, Debug, Serialize)]
pub struct IncidentReport {
    /// When: RFC 3339.
    pub at: String,
    /// What.
    pub kind: &'static str,
    /// Where.
    pub cluster: ClusterRole,
    /// The channel, where one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The stream, where one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<u32>,
    /// The event, where one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// How many witnesses it concerns.
    pub witnesses: u64,
    /// Why they were blind, where they missed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<BlindCause>,
    /// More, in a few words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What a report needs beside plan and account.
pub struct Circumstances {
    /// The process's clock.
    pub clock: Clock,
    /// The instant of the first scheduled event.
    pub started: RunTime,
    /// The instant of the last fact.
    pub ended: RunTime,
    /// Whether a signal ended publishing early.
    pub cut_short: bool,
    /// The task that panicked, if one did.
    pub panicked: Option<String>,
    /// What the rehearsal clusters counted.
    pub rehearsal: Option<BTreeMap<ClusterRole, BTreeMap<String, u64>>>,
}

/// An instant as RFC 3339, to the millisecond, always of the same length.
fn rfc3339(clock: &Clock, at: RunTime) -> String {
    let nanos = i128::try_from(clock.wall(at).as_nanos()).unwrap_or_default();
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else { return String::new() };
    let ((year, month, day), (hour, minute, second, milli)) =
        (at.to_calendar_date(), at.to_hms_milli());
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

impl Report {
    /// Judges an account and writes it down.
    pub fn new(plan: &Plan, account: &Account, circumstances: &Circumstances) -> Self {
        let Circumstances { clock, started, ended, cut_short, panicked, rehearsal } = circumstances;
        let findings = checks::judge(account, &plan.requirements);
        let mut verdict = Verdict::of(&findings);
        if panicked.is_some() && verdict == Verdict::Go {
            verdict = Verdict::Inconclusive;
        }
        let confidence = plan.requirements.limits.confidence;
        let (incidents, incidents_dropped) = account.incidents();
        let mut incidents: Vec<_> = incidents.iter().collect();
        incidents.sort_by_key(|incident| incident.at);
        let place = |incident: &&PlacedIncident| {
            let channel = incident.stream.and_then(|s| account.channel(s));
            IncidentReport {
                at: rfc3339(clock, incident.at),
                kind: incident.kind.as_str(),
                cluster: incident.cluster,
                channel: channel.map(|c| c.as_str().to_owned()),
                stream: incident.stream.map(|s| s.0),
                seq: incident.seq.map(|s| s.0),
                witnesses: incident.witnesses,
                cause: incident.cause,
                detail: incident.detail.clone(),
            }
        };
        let clusters = account.clusters().iter().map(|(role, cluster)| {
            let trials = account.trials(*role);
            (*role, cluster_report(account, cluster, trials, confidence, *ended))
        });
        Self {
            schema: SCHEMA,
            tool: Tool { name: "pusher-canary", version: env!("CARGO_PKG_VERSION") },
            run: plan.run,
            scenario: plan.name.clone(),
            phase: plan.requirements.phase,
            proof: true,
            seed: plan.seed,
            started_at: rfc3339(clock, *started),
            ended_at: rfc3339(clock, *ended),
            publishing_seconds: seconds(account.published_for()),
            cut_short: *cut_short,
            verdict,
            checks: findings,
            clusters: clusters.collect(),
            events: events_report(clock, account),
            controls: Vec::new(),
            rehearsal: rehearsal.clone(),
            instrument: instrument_report(account, panicked.clone()),
            incidents: incidents.iter().map(place).collect(),
            incidents_dropped,
        }
    }
}

fn cluster_report(
    account: &Account,
    cluster: &ClusterAccount,
    trials: ClusterTrials,
    confidence: f64,
    ended: RunTime,
) -> ClusterReport {
    let excused = cluster.unattributed(&account.instrument().tainted);
    let blindness = &cluster.blindness;
    let windows = blindness.windows();
    let hours = seconds(account.observed()) / 3_600.0;
    let per_hour = |upper: f64| (hours > 0.0 && trials.trials > 0).then(|| upper / hours);
    ClusterReport {
        publications: cluster.publications_total(),
        obligations_opened: cluster.obligations_opened,
        obligations: ObligationsReport {
            counted: cluster.obligations(),
            pending: cluster.pending(),
        },
        publications_lost: trials.publications_lost,
        publications_partially_lost: trials.publications_partially_lost,
        trials: trials.trials,
        unattributed: trials.unattributed + excused.total(),
        beside: cluster.beside,
        loss_upper_bound: stats::upper_bound(trials.failures(), trials.trials, confidence),
        confidence,
        loss_incidents: trials.incidents,
        incidents_per_hour_upper_bound: per_hour(stats::poisson_upper_bound(
            trials.incidents,
            confidence,
        )),
        latency_ms: Summary::of(&cluster.latencies()),
        connect_ms: Summary::of(&cluster.connect),
        connect_steps_ms: cluster
            .connect_steps
            .iter()
            .map(|(step, latencies)| (*step, Summary::of(latencies)))
            .collect(),
        publish_ms: Summary::of(&cluster.publish),
        auth_ms: Summary::of(&cluster.auth),
        connections: ConnectionsReport {
            opened: cluster.opened,
            failed: cluster.failed,
            closed_by_code: cluster.closed_by_code.clone(),
            given_up: cluster.given_up,
            recycled: cluster.recycled,
        },
        blind: BlindReport {
            windows: windows.values().sum(),
            ended: blindness.ended(),
            seconds: seconds(blindness.lengths(ended).values().sum()),
            longest_seconds: seconds(blindness.longest(ended)),
            windows_by_cause: windows,
            missed_by_cause: blindness.missed.clone(),
        },
        http_responses: cluster.responses.clone(),
        throttled: cluster.throttled,
    }
}

fn events_report(clock: &Clock, account: &Account) -> EventsReport {
    let events = account.events();
    let at = |at: Option<RunTime>| at.map(|at| rfc3339(clock, at));
    EventsReport {
        total: events.covered + events.uncovered_total(),
        covered: events.covered,
        uncovered: events.uncovered_total(),
        uncovered_by_cause: events.uncovered.iter().map(|(c, n)| (c.as_str(), *n)).collect(),
        unsent: events.unsent,
        covered_since: at(events.covered_since),
        covered_until: at(events.covered_until),
    }
}

fn instrument_report(account: &Account, panicked: Option<String>) -> InstrumentReport {
    let instrument = account.instrument();
    let reason = |(reason, seconds): (&crate::verify::fact::TaintReason, &u64)| TaintReport {
        reason: reason.as_str(),
        seconds: *seconds,
    };
    InstrumentReport {
        tainted_seconds: account.tainted_seconds(),
        seconds: account.seconds(),
        reasons: account.taint_reasons().iter().map(reason).collect(),
        schedule_lag_ms: Summary::of(&instrument.lag),
        runtime_stall_ms_max: seconds(instrument.stall_max) * 1e3,
        panicked,
    }
}
