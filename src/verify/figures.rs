//! The figures that checks read: plain sums, of one run or of several together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ClusterRole;

use super::coverage::{ClusterTrials, Events};
use super::endpoint::{EndpointFigures, EndpointKind};
use super::fact::{ConnectStep, Control, ControlStatus, Publications, Traffic};
use super::handover::HandoverFigures;
use super::latency::Latencies;
use super::load::LoadFigures;
use super::mirror::MirrorFigures;
use super::occupancy::OccupancyFigures;
use super::parity::ParityFigures;
use super::published::MirrorEvidence;
use super::sample::SampleFigures;
use super::status_page::PageFigures;
use super::taint::TaintReason;
use super::tally::{Beside, BlindCause, Obligations, Route, Stratum};
use super::webhook::{Refusal, WebhookFigures};

/// Anomalies that a tainted second excuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Anomalies {
    /// Those beside the obligations, by the second in which they happened.
    pub beside: Beside,
    /// Late deliveries, by the second of their arrival.
    pub late: u64,
    /// Obligations missed while offline, but by the agent's own doing, by the second of sending.
    pub missed: u64,
    /// Publications that were rejected or whose fate is unknown, by the second of sending.
    pub unaccepted: u64,
    /// Publications that were not sent, by the second for which they were scheduled.
    pub unsent: u64,
}

impl Anomalies {
    /// All of them.
    pub const fn total(&self) -> u64 {
        let Beside { duplicates, reordered, corrupt, misrouted, unexpected, .. } = self.beside;
        let beside = duplicates + reordered + corrupt + misrouted + unexpected;
        beside + self.late + self.missed + self.unaccepted + self.unsent
    }
}

impl AddAssign for Anomalies {
    fn add_assign(&mut self, other: Self) {
        self.beside += other.beside;
        self.late += other.late;
        self.missed += other.missed;
        self.unaccepted += other.unaccepted;
        self.unsent += other.unsent;
    }
}

/// Blind windows of one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Windows {
    /// How many began.
    pub began: u64,
    /// How many of them ended.
    pub ended: u64,
    /// The length of those that ended, in nanoseconds.
    pub nanos: u64,
    /// Obligations that fell into them.
    pub missed: u64,
}

impl AddAssign for Windows {
    fn add_assign(&mut self, other: Self) {
        self.began += other.began;
        self.ended += other.ended;
        self.nanos = self.nanos.saturating_add(other.nanos);
        self.missed += other.missed;
    }
}

/// What was under way when a time began, and ends in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Obligations that were open.
    pub obligations: u64,
    /// Publications without an answer.
    pub publications: u64,
}

/// Everything about one cluster that is added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterFigures {
    /// Publications by outcome and route.
    pub publications: BTreeMap<Route, Publications>,
    /// Publications × assigned witnesses, as the publisher counted.
    pub obligations_opened: u64,
    /// Obligations by stratum, as the witnesses counted.
    pub obligations: BTreeMap<Stratum, Obligations>,
    /// Obligations open now, as the witnesses counted.
    pub pending: u64,
    /// Those of them that are past their deadline.
    pub overdue: u64,
    /// Those of these that no reconnect on purpose explains.
    pub unexplained: u64,
    /// What was under way already when the time that these figures are of began: nothing, but in a
    /// part of a run.
    pub under_way: UnderWay,
    /// Witnesses that are blind now, by cause.
    pub blind: BTreeMap<BlindCause, u64>,
    /// Publications joined over their witnesses.
    pub trials: ClusterTrials,
    /// Trials by stratum. One that was tried by witnesses on their first connection and by others
    /// on a later one counts in both.
    pub strata: BTreeMap<Stratum, u64>,
    /// Counts beside the obligations.
    pub beside: Beside,
    /// The anomalies that tainted seconds excuse, of those counted elsewhere here.
    pub excused: Anomalies,
    /// Blind windows by cause.
    pub windows: BTreeMap<BlindCause, Windows>,
    /// The longest blind window that ended.
    pub longest_window: Duration,
    /// From sending to receipt.
    pub latencies: Latencies,
    /// Those of them that were received in tainted seconds.
    pub tainted_latencies: Latencies,
    /// Those of the first third of publishing, tainted seconds left out.
    pub opening_latencies: Latencies,
    /// Those of the last third.
    pub closing_latencies: Latencies,
    /// Those that the first witness of each channel received.
    pub first_witness_latencies: Latencies,
    /// From taking a publication up to the answer, a dial included.
    pub publish: Latencies,
    /// From the dial to the last confirmation.
    pub connect: Latencies,
    /// Each step of connecting.
    pub connect_steps: BTreeMap<ConnectStep, Latencies>,
    /// Whether the slowest connection was made in a tainted second.
    pub is_slowest_connect_tainted: bool,
    /// Making an authorisation.
    pub auth: Latencies,
    /// Authorised subscriptions that the cluster confirmed.
    pub confirmed: u64,
    /// Those that it refused.
    pub refused: u64,
    /// Connections that became ready.
    pub opened: u64,
    /// Tries to connect that failed.
    pub failed: u64,
    /// Connections that were lost, by close code.
    pub closed_by_code: BTreeMap<u16, u64>,
    /// Connections that the agent gave up: silent ones, and those with a subscription that was not
    /// confirmed.
    pub given_up: u64,
    /// Connections that the agent ended to reconnect on purpose.
    pub recycled: u64,
    /// HTTP answers to publications, by status.
    pub responses: BTreeMap<u16, u64>,
    /// Answers that asked to slow down.
    pub throttled: u64,
    /// How much of its rate limit is used up (ratio); `None` where no answer said so.
    pub rate_limit_used: Option<f64>,
    /// Bytes that witnesses' connections carried.
    pub traffic: Traffic,
    /// Until when its certificate is valid: seconds since 1970 in UTC; `None` without TLS.
    pub certificate_expires: Option<i64>,
    /// Negative controls that came out.
    pub controls: BTreeMap<Control, ControlStatus>,
    /// Channels of the run that the API still showed as occupied after it; `None` if that is not
    /// known.
    pub left_behind: Option<u64>,
    /// Who is still on it, where that was read.
    pub occupancy: Option<OccupancyFigures>,
    /// What its app's webhooks came to; `None` where none are received.
    pub webhooks: Option<WebhookFigures>,
    /// What simulated clients came to; `None` without any.
    pub load: Option<LoadFigures>,
    /// The application's auth endpoints for it.
    pub endpoints: BTreeMap<EndpointKind, EndpointFigures>,
    /// What its status page said; `None` without one.
    pub status_page: Option<PageFigures>,
}

impl ClusterFigures {
    /// Obligations of every stratum.
    pub fn obligations_total(&self) -> Obligations {
        let mut sum = Obligations::default();
        for obligations in self.obligations.values() {
            sum += *obligations;
        }
        sum
    }

    /// Whether every obligation is accounted for: `total = settled + pending`.
    pub fn is_balanced(&self) -> bool {
        let all = self.obligations_total();
        self.under_way.obligations + all.total == all.settled() + self.pending
    }

    /// Publications of every route.
    pub fn publications_total(&self) -> Publications {
        let mut sum = Publications::default();
        for publications in self.publications.values() {
            sum += *publications;
        }
        sum
    }

    /// Publications that are not answered yet.
    pub fn in_flight(&self) -> u64 {
        let all = self.publications_total();
        let begun = self.under_way.publications + all.sent;
        begun.saturating_sub(all.accepted + all.rejected + all.unknown)
    }

    /// Connections that are ready.
    pub fn ready(&self) -> u64 {
        let closed: u64 = self.closed_by_code.values().sum();
        self.opened.saturating_sub(closed + self.given_up + self.recycled)
    }

    /// Obligations missed while offline, by the cause of the blind window.
    pub fn missed(&self, cause: BlindCause) -> u64 {
        self.windows.get(&cause).map_or(0, |windows| windows.missed)
    }

    /// Blind windows of every cause.
    pub fn windows_total(&self) -> Windows {
        let mut sum = Windows::default();
        for windows in self.windows.values() {
            sum += *windows;
        }
        sum
    }

    /// Latencies that are judged: those of tainted seconds left out.
    pub fn judged_latencies(&self) -> Latencies {
        let mut judged = self.latencies.clone();
        judged.subtract(&self.tainted_latencies);
        judged
    }

    /// Adds those of a run that ended later.
    pub fn merge(&mut self, other: &Self) {
        for (route, publications) in &other.publications {
            *self.publications.entry(*route).or_default() += *publications;
        }
        self.obligations_opened += other.obligations_opened;
        for (stratum, obligations) in &other.obligations {
            *self.obligations.entry(*stratum).or_default() += *obligations;
        }
        self.pending += other.pending;
        self.overdue += other.overdue;
        self.unexplained += other.unexplained;
        add_all(&mut self.blind, &other.blind);
        self.trials.merge(&other.trials);
        add_all(&mut self.strata, &other.strata);
        self.beside += other.beside;
        self.excused += other.excused;
        for (cause, windows) in &other.windows {
            *self.windows.entry(*cause).or_default() += *windows;
        }
        self.longest_window = self.longest_window.max(other.longest_window);
        self.latencies.merge(&other.latencies);
        self.tainted_latencies.merge(&other.tainted_latencies);
        self.opening_latencies.merge(&other.opening_latencies);
        self.closing_latencies.merge(&other.closing_latencies);
        self.first_witness_latencies.merge(&other.first_witness_latencies);
        self.publish.merge(&other.publish);
        self.is_slowest_connect_tainted = match self.connect.max_ms() >= other.connect.max_ms() {
            true => self.is_slowest_connect_tainted,
            false => other.is_slowest_connect_tainted,
        };
        self.connect.merge(&other.connect);
        for (step, latencies) in &other.connect_steps {
            self.connect_steps.entry(*step).or_default().merge(latencies);
        }
        self.auth.merge(&other.auth);
        self.confirmed += other.confirmed;
        self.refused += other.refused;
        self.opened += other.opened;
        self.failed += other.failed;
        add_all(&mut self.closed_by_code, &other.closed_by_code);
        self.given_up += other.given_up;
        self.recycled += other.recycled;
        add_all(&mut self.responses, &other.responses);
        self.throttled += other.throttled;
        self.rate_limit_used = other.rate_limit_used.or(self.rate_limit_used);
        self.traffic += other.traffic;
        self.certificate_expires = other.certificate_expires.or(self.certificate_expires);
        self.merge_controls(&other.controls);
        self.left_behind = self.left_behind.zip(other.left_behind).map(|(a, b)| a + b);
        match (&mut self.occupancy, &other.occupancy) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine @ None, Some(other)) => *mine = Some(other.clone()),
            (_, None) => {}
        }
        match (&mut self.webhooks, &other.webhooks) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine @ None, Some(other)) => *mine = Some(other.clone()),
            (_, None) => {}
        }
        match (&mut self.load, &other.load) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine @ None, Some(other)) => *mine = Some(other.clone()),
            (_, None) => {}
        }
        for (kind, endpoint) in &other.endpoints {
            match self.endpoints.get_mut(kind) {
                Some(mine) => mine.merge(endpoint),
                None => {
                    self.endpoints.insert(*kind, endpoint.clone());
                }
            }
        }
        match (&mut self.status_page, &other.status_page) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine @ None, Some(other)) => *mine = Some(other.clone()),
            (_, None) => {}
        }
    }

    /// Each run proves its own eyes: a control counts where it came out in all of them.
    fn merge_controls(&mut self, other: &BTreeMap<Control, ControlStatus>) {
        self.controls.retain(|control, _| other.contains_key(control));
        for (control, status) in &mut self.controls {
            *status = other.get(control).copied().unwrap_or(*status).max(*status);
        }
    }
}

/// Adds counts by what they are of.
pub(super) fn add_all<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (of, count) in other {
        *sum.entry(*of).or_default() += count;
    }
}

/// How much of what may be billed in a UTC day is used up (ratios).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetUsed {
    /// Of what may be billed to one app; it is the same for both.
    pub per_app: f64,
    /// Of what may be billed to both together.
    pub together: f64,
}

impl BudgetUsed {
    /// The one of which more is used up.
    pub fn most(&self) -> f64 {
        self.per_app.max(self.together)
    }
}

/// The figures of one run, or of several together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Each cluster.
    pub clusters: BTreeMap<ClusterRole, ClusterFigures>,
    /// Events joined over the clusters.
    pub events: Events,
    /// The application's own events, and the channels on which they were watched; `None` where none
    /// were.
    pub mirror: Option<(SampleFigures, MirrorFigures)>,
    /// Virtual clients that moved from old to new; `None` where none were to.
    pub handover: Option<HandoverFigures>,
    /// How both apps behave; `None` where that is not asked.
    pub parity: Option<ParityFigures>,
    /// What an earlier run saw of the application; `None` where none is asked.
    pub published: Option<MirrorEvidence>,
    /// Requests to the webhook receiver that were no webhooks that count.
    pub webhooks_refused: BTreeMap<Refusal, u64>,
    /// Channels of the application that are occupied on one of the clusters at least, as webhooks
    /// say; `None` where none are received.
    pub occupied: Option<u64>,
    /// Most of what may be billed today that is used up (ratio), by cluster and together; `None`
    /// where nobody counts it.
    pub budget_used: Option<BudgetUsed>,
    /// Strata that were to be tried, on every cluster.
    pub strata: BTreeSet<Stratum>,
    /// Controls that were to come out, on every cluster.
    pub controls: BTreeSet<Control>,
    /// Streams that no witness watches, by cluster.
    pub unwatched: BTreeMap<ClusterRole, u64>,
    /// Seconds in which events were published. Those that are only waited are left out: they would
    /// make tainted ones look few.
    pub seconds: u64,
    /// How many of them are tainted.
    pub tainted_seconds: u64,
    /// How many of them each reason taints.
    pub taint_reasons: BTreeMap<TaintReason, u64>,
    /// For how long events were published.
    pub published_for: Duration,
    /// From the scheduled instant to taking a publication up.
    pub lag: Latencies,
    /// Longest stall of the runtime.
    pub stall_max: Duration,
    /// Publications that left a book too early.
    pub lapped: u64,
    /// Whether every run's last second is part of it.
    pub is_ended: bool,
}

impl Figures {
    /// For how long events were published, tainted seconds left out.
    pub fn observed(&self) -> Duration {
        self.published_for.saturating_sub(Duration::from_secs(self.tainted_seconds))
    }

    /// Whether a channel needs a signature to be subscribed to.
    pub fn has_signed_channels(&self) -> bool {
        self.strata.iter().any(|stratum| stratum.kind.needs_auth())
    }

    /// Adds those of a run that ended later.
    pub fn merge(&mut self, other: &Self) {
        for (role, cluster) in &other.clusters {
            match self.clusters.get_mut(role) {
                Some(mine) => mine.merge(cluster),
                None => {
                    self.clusters.insert(*role, cluster.clone());
                }
            }
        }
        self.events.merge(&other.events);
        match (&mut self.mirror, &other.mirror) {
            (Some((sample, mirror)), Some((others, mirrored))) => {
                sample.merge(others);
                mirror.merge(mirrored);
            }
            (mine @ None, Some(other)) => *mine = Some(other.clone()),
            (_, None) => {}
        }
        match (&mut self.handover, &other.handover) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine @ None, Some(other)) => *mine = Some(other.clone()),
            (_, None) => {}
        }
        match (&mut self.parity, &other.parity) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine @ None, Some(other)) => *mine = Some(other.clone()),
            (_, None) => {}
        }
        if other.published.is_some() {
            self.published.clone_from(&other.published);
        }
        add_all(&mut self.webhooks_refused, &other.webhooks_refused);
        self.occupied = other.occupied.or(self.occupied);
        self.budget_used = other.budget_used.or(self.budget_used);
        self.strata.extend(&other.strata);
        self.controls.extend(&other.controls);
        add_all(&mut self.unwatched, &other.unwatched);
        self.seconds += other.seconds;
        self.tainted_seconds += other.tainted_seconds;
        add_all(&mut self.taint_reasons, &other.taint_reasons);
        self.published_for += other.published_for;
        self.lag.merge(&other.lag);
        self.stall_max = self.stall_max.max(other.stall_max);
        self.lapped += other.lapped;
        self.is_ended &= other.is_ended;
    }
}
