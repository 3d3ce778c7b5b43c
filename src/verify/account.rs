//! The sum so far: everything the agent stated, added up, with the instrument's vital signs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{AddAssign, RangeInclusive};
use std::time::Duration;

use crate::model::{ChannelName, ClusterRole, RunTime, Seq, StreamIx, WitnessIx};

use super::coverage::{ClusterTrials, Coverage, Events, SideSpec};
use super::fact::{
    ConnectPhases, ConnectionFact, Fact, PublicationFailure, Publications, PublisherReport,
    TaintReason, WitnessReport,
};
use super::latency::Latencies;
use super::tally::{Beside, BlindCause, Incident, IncidentKind, Obligations, Route, Stratum};

/// Most incidents that are kept, the first ones; the others are only counted.
pub const INCIDENTS_MAX: usize = 1_000;

/// Seconds for which anomalies are kept apart, so that a taint of their second finds them.
const SECONDS_KEPT: u64 = 10;

/// A stream, as the account knows it.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// Its channel.
    pub channel: ChannelName,
    /// Its route.
    pub route: Route,
    /// Its books and witnesses, one per cluster.
    pub sides: Vec<SideSpec>,
}

/// An incident with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedIncident {
    /// When.
    pub at: RunTime,
    /// What.
    pub kind: IncidentKind,
    /// On which cluster.
    pub cluster: ClusterRole,
    /// The stream, where one is concerned.
    pub stream: Option<StreamIx>,
    /// The event, where one is concerned.
    pub seq: Option<Seq>,
    /// How many witnesses it concerns.
    pub witnesses: u64,
    /// Why they were blind, where they missed something.
    pub cause: Option<BlindCause>,
    /// More, in a few words; may be empty.
    pub detail: String,
}

/// Blind windows of one cluster's witnesses.
#[derive(Clone, Debug, Default)]
pub struct Blindness {
    /// Windows that ended, by cause, with their total length.
    ended: BTreeMap<BlindCause, (u64, Duration)>,
    /// Windows that have not: when they began, and why they last.
    open: Vec<(RunTime, BlindCause)>,
    /// The longest that ended.
    longest: Duration,
    /// Missed obligations, by the cause of the window.
    pub missed: BTreeMap<BlindCause, u64>,
}

impl Blindness {
    /// Windows that began, by cause.
    pub fn windows(&self) -> BTreeMap<BlindCause, u64> {
        let mut windows: BTreeMap<_, _> =
            self.ended.iter().map(|(cause, (windows, _))| (*cause, *windows)).collect();
        for (_, cause) in &self.open {
            *windows.entry(*cause).or_default() += 1;
        }
        windows
    }

    /// Windows that have not ended.
    pub const fn open(&self) -> usize {
        self.open.len()
    }

    /// Windows that ended.
    pub fn ended(&self) -> u64 {
        self.ended.values().map(|(windows, _)| windows).sum()
    }

    /// Their length by cause, with that of open ones until `now`. An open one that the agent began
    /// is left out: it may yet turn out to be somebody else's doing, and no length ever shrinks.
    pub fn lengths(&self, now: RunTime) -> BTreeMap<BlindCause, Duration> {
        let mut lengths: BTreeMap<_, _> =
            self.ended.iter().map(|(cause, (_, length))| (*cause, *length)).collect();
        for (since, cause) in self.open.iter().filter(|(_, cause)| *cause != BlindCause::Agent) {
            *lengths.entry(*cause).or_default() += now.since(*since);
        }
        lengths
    }

    /// The longest, open ones until `now` included.
    pub fn longest(&self, now: RunTime) -> Duration {
        self.open.iter().map(|(since, _)| now.since(*since)).fold(self.longest, Duration::max)
    }

    /// The open window that began then.
    fn position(&self, since: RunTime) -> Option<usize> {
        self.open.iter().position(|(at, _)| *at == since)
    }
}

/// Anomalies that a tainted second excuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// Everything about one cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterAccount {
    /// Publications by outcome and route.
    pub publications: BTreeMap<Route, Publications>,
    /// Publications that are not answered yet.
    pub in_flight: u64,
    /// Publications × assigned witnesses, as the publisher counted.
    pub obligations_opened: u64,
    /// Obligations and latencies of deliveries, by stratum.
    pub strata: BTreeMap<Stratum, (Obligations, Latencies)>,
    /// Counts beside the obligations.
    pub beside: Beside,
    /// Those of tainted seconds long past.
    unattributed: Anomalies,
    /// Those of each second for which it is not known yet whether it is tainted.
    recent: BTreeMap<u64, Anomalies>,
    /// Blind windows.
    pub blindness: Blindness,
    /// From taking a publication up to the answer.
    pub publish: Latencies,
    /// From the dial to the last confirmation, and each phase of it.
    pub connect: Latencies,
    /// Each phase of connecting.
    pub connect_steps: BTreeMap<&'static str, Latencies>,
    /// From asking for an authorisation to having it.
    pub auth: Latencies,
    /// Authorised subscriptions: confirmed, and refused.
    pub authorized: (u64, u64),
    /// The seconds in which the slowest connection was made.
    slowest_connect: Option<(Duration, RangeInclusive<u64>)>,
    /// Connections that became ready.
    pub opened: u64,
    /// Connections that never became ready.
    pub failed: u64,
    /// Connections that were lost, by close code.
    pub closed_by_code: BTreeMap<u16, u64>,
    /// Connections that the agent gave up: silent ones, and those with a subscription that was not
    /// confirmed.
    pub given_up: u64,
    /// Connections that the agent closed to reconnect on purpose.
    pub recycled: u64,
    /// HTTP answers to publications, by status.
    pub responses: BTreeMap<u16, u64>,
    /// Answers that asked to slow down.
    pub throttled: u64,
    /// Open and overdue obligations of each witness, as last reported.
    open: BTreeMap<WitnessIx, (u64, u64)>,
}

impl ClusterAccount {
    /// Obligations of every stratum.
    pub fn obligations(&self) -> Obligations {
        let mut sum = Obligations::default();
        for (obligations, _) in self.strata.values() {
            sum += *obligations;
        }
        sum
    }

    /// Obligations open now, as the witnesses themselves counted.
    pub fn pending(&self) -> u64 {
        self.open.values().map(|(pending, _)| pending).sum()
    }

    /// Whether every obligation is accounted for: `total = settled + pending`.
    pub fn is_balanced(&self) -> bool {
        let all = self.obligations();
        all.total == all.settled() + self.pending()
    }

    /// Open obligations past their deadline, as the witnesses last reported.
    pub fn overdue(&self) -> u64 {
        self.open.values().map(|(_, overdue)| overdue).sum()
    }

    /// Publications of every route.
    pub fn publications_total(&self) -> Publications {
        let mut sum = Publications::default();
        for publications in self.publications.values() {
            sum += *publications;
        }
        sum
    }

    /// Latencies of deliveries of every stratum.
    pub fn latencies(&self) -> Latencies {
        let mut sum = Latencies::default();
        for (_, latencies) in self.strata.values() {
            sum.merge(latencies);
        }
        sum
    }

    /// Anomalies of tainted seconds.
    pub fn unattributed(&self, tainted: &Tainted) -> Anomalies {
        let mut sum = self.unattributed;
        for (_, anomalies) in self.recent.iter().filter(|(at, _)| tainted.excuses(**at)) {
            sum += *anomalies;
        }
        sum
    }

    fn witness(&mut self, report: &WitnessReport) {
        for (stratum, (obligations, latencies)) in &report.tally.strata {
            let mine = self.strata.entry(*stratum).or_default();
            mine.0 += *obligations;
            mine.1.add(latencies);
        }
        for (second, beside) in &report.tally.beside {
            self.beside += *beside;
            self.recent.entry(*second).or_default().beside += *beside;
        }
        for (second, late) in &report.tally.late {
            self.recent.entry(*second).or_default().late += late;
        }
        for ((second, cause), missed) in &report.tally.missed {
            *self.blindness.missed.entry(*cause).or_default() += missed;
            if *cause != BlindCause::Agent {
                self.recent.entry(*second).or_default().missed += missed;
            }
        }
        self.open.insert(report.witness, (report.pending, report.overdue));
    }

    fn publisher(&mut self, report: &PublisherReport) {
        for (route, publications) in &report.publications {
            *self.publications.entry(*route).or_default() += *publications;
        }
        self.obligations_opened += report.obligations_opened;
        // Several publishers report for one cluster, each of its own: only their sum counts.
        let all = self.publications_total();
        self.in_flight = all.sent.saturating_sub(all.accepted + all.rejected + all.unknown);
        self.publish.add(&report.durations);
        for (status, count) in &report.responses {
            *self.responses.entry(*status).or_default() += count;
        }
        self.throttled += report.throttled;
        for (second, unaccepted) in &report.unaccepted {
            self.recent.entry(*second).or_default().unaccepted += unaccepted;
        }
        for (second, unsent) in &report.unsent {
            self.recent.entry(*second).or_default().unsent += unsent;
        }
    }

    /// Whether the slowest connection was made in a tainted second: it may be our own slowness.
    pub fn is_slowest_connect_tainted(&self, tainted: &Tainted) -> bool {
        let seconds = self.slowest_connect.clone().map(|(_, seconds)| seconds);
        seconds.into_iter().flatten().any(|second| tainted.excuses(second))
    }

    fn ready(&mut self, phases: &ConnectPhases, at: RunTime) {
        self.opened += 1;
        let took = phases.total();
        if self.slowest_connect.as_ref().is_none_or(|(slowest, _)| took > *slowest) {
            let begun = RunTime(at.0.saturating_sub(u64::try_from(took.as_nanos()).unwrap_or(0)));
            self.slowest_connect = Some((took, begun.second()..=at.second()));
        }
        self.connect.record(took);
        for (step, took) in phases.steps() {
            self.connect_steps.entry(step).or_default().record(took);
        }
    }

    fn fold_seconds_before(&mut self, second: u64, tainted: &Tainted) {
        let kept = self.recent.split_off(&second);
        for (at, anomalies) in std::mem::replace(&mut self.recent, kept) {
            if tainted.excuses(at) {
                self.unattributed += anomalies;
            }
        }
    }
}

/// The seconds of the run that cannot be relied on, and why.
#[derive(Clone, Debug, Default)]
pub struct Tainted {
    seconds: BTreeMap<u64, BTreeSet<TaintReason>>,
}

impl Tainted {
    /// Whether what happened in this second may be our own doing. Where publications were not sent,
    /// and nothing else was wrong, the cluster had left too many unanswered: that excuses nothing
    /// of what it did to the others, though the second counts as tainted.
    pub fn excuses(&self, second: u64) -> bool {
        let mut reasons = self.seconds.get(&second).into_iter().flatten();
        reasons.any(|reason| *reason != TaintReason::Unsent)
    }
}

/// The instrument's vital signs.
#[derive(Clone, Debug, Default)]
pub struct Instrument {
    /// The seconds that cannot be relied on.
    pub tainted: Tainted,
    /// From the scheduled instant to taking a publication up.
    pub lag: Latencies,
    /// Longest stall of the runtime.
    pub stall_max: Duration,
    /// Publications that left the book too early.
    pub lapped: u64,
}

type IncidentKey = (IncidentKind, ClusterRole, StreamIx, Seq);

/// See the module's documentation.
#[derive(Debug)]
pub struct Account {
    clusters: BTreeMap<ClusterRole, ClusterAccount>,
    /// Channel and route of each stream, in order.
    streams: Vec<(ChannelName, Route)>,
    coverage: Coverage,
    instrument: Instrument,
    incidents: Vec<PlacedIncident>,
    /// The place of each incident of an event, and the witnesses that met it.
    incident_of: HashMap<IncidentKey, (usize, BTreeSet<WitnessIx>)>,
    incidents_dropped: u64,
    /// When publishing began, and when it ended or was last seen to go on. `None` before the first
    /// event: what happens until then does not count.
    publishing: Option<(RunTime, RunTime)>,
    is_published: bool,
    /// Until when the vital signs are known.
    vouched: RunTime,
    is_ended: bool,
}

impl Account {
    /// An account of nothing, for these clusters and streams.
    pub fn new(roles: &[ClusterRole], streams: Vec<StreamInfo>) -> Self {
        let named = streams.iter().map(|s| (s.channel.clone(), s.route)).collect();
        Self {
            clusters: roles.iter().map(|r| (*r, ClusterAccount::default())).collect(),
            streams: named,
            coverage: Coverage::new(streams.into_iter().map(|s| s.sides).collect()),
            instrument: Instrument::default(),
            incidents: Vec::new(),
            incident_of: HashMap::new(),
            incidents_dropped: 0,
            publishing: None,
            is_published: false,
            vouched: RunTime::ZERO,
            is_ended: false,
        }
    }

    /// The clusters, in order.
    pub const fn clusters(&self) -> &BTreeMap<ClusterRole, ClusterAccount> {
        &self.clusters
    }

    /// One cluster's joined publications.
    pub fn trials(&self, role: ClusterRole) -> ClusterTrials {
        self.coverage.trials(role)
    }

    /// The joined events.
    pub const fn events(&self) -> &Events {
        self.coverage.events()
    }

    /// The instrument's vital signs.
    pub const fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    /// The first incidents, and how many more there were.
    pub fn incidents(&self) -> (&[PlacedIncident], u64) {
        (&self.incidents, self.incidents_dropped)
    }

    /// The channel of a stream.
    pub fn channel(&self, stream: StreamIx) -> Option<&ChannelName> {
        self.streams.get(stream.0 as usize).map(|(channel, _)| channel)
    }

    /// Whether a planned channel needs a signature to be subscribed to.
    pub fn has_signed_channels(&self) -> bool {
        self.streams.iter().any(|(channel, _)| channel.kind().needs_auth())
    }

    /// The trials of every planned stratum on one cluster, those without any included. What was
    /// planned and never tried is known only from here: it leaves no trace in the counts.
    pub fn planned_strata(&self, role: ClusterRole) -> BTreeMap<Stratum, u64> {
        let mut strata = BTreeMap::new();
        for (ix, (channel, route)) in (0..).zip(&self.streams) {
            let stratum = Stratum { kind: channel.kind(), route: *route };
            let (trials, _) = self.coverage.stream_trials(StreamIx(ix), role);
            *strata.entry(stratum).or_default() += trials;
        }
        strata
    }

    /// Planned streams that no witness watches on one cluster.
    pub fn unwatched(&self, role: ClusterRole) -> u64 {
        let watched = |ix| self.coverage.stream_trials(StreamIx(ix), role).1 > 0;
        (0..).zip(&self.streams).filter(|(ix, _)| !watched(*ix)).count() as u64
    }

    /// How many seconds were published in. Those that are only waited are left out: they would make
    /// tainted ones look few.
    pub fn seconds(&self) -> u64 {
        self.publishing.map_or(0, |(first, last)| last.second() - first.second() + 1)
    }

    /// The tainted ones of those seconds. Others excuse what happens in them, and do not count.
    fn tainted(&self) -> impl Iterator<Item = &BTreeSet<TaintReason>> {
        let seconds = self.publishing.map(|(first, last)| first.second()..=last.second());
        let tainted = &self.instrument.tainted.seconds;
        seconds.into_iter().flat_map(|seconds| tainted.range(seconds)).map(|(_, reasons)| reasons)
    }

    /// How many of those seconds are tainted.
    pub fn tainted_seconds(&self) -> u64 {
        self.tainted().count() as u64
    }

    /// How many of those seconds each reason taints.
    pub fn taint_reasons(&self) -> BTreeMap<TaintReason, u64> {
        let mut counts = BTreeMap::new();
        for reason in self.tainted().flatten() {
            *counts.entry(*reason).or_default() += 1;
        }
        counts
    }

    /// For how long events were published.
    pub fn published_for(&self) -> Duration {
        self.publishing.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }

    /// For how long events were published, tainted seconds left out.
    pub fn observed(&self) -> Duration {
        let Some((first, last)) = self.publishing else { return Duration::ZERO };
        last.since(first).saturating_sub(Duration::from_secs(self.tainted_seconds()))
    }

    /// Whether no fact will come any more.
    pub const fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Takes in a fact.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Begun(at) => {
                self.publishing = Some((at, at));
            }
            Fact::Published(at) => {
                self.is_published = true;
                if let Some((first, last)) = &mut self.publishing {
                    *last = at.max(*first);
                }
            }
            Fact::Witness(role, report) => {
                self.coverage.handle_witness(role, &report);
                self.instrument.lapped += report.tally.lapped;
                self.incidents_dropped += report.tally.incidents_dropped;
                for incident in &report.tally.incidents {
                    self.place(role, report.witness, incident);
                }
                self.clusters.entry(role).or_default().witness(&report);
            }
            Fact::Publisher(role, report) => {
                self.instrument.lag.add(&report.lags);
                self.incidents_dropped += report.failures_dropped;
                for failure in &report.failures {
                    self.place_failure(role, failure);
                }
                self.clusters.entry(role).or_default().publisher(&report);
            }
            Fact::Connection(role, at, fact) => self.connection(role, at, fact),
            Fact::Taint(second, reason) => {
                self.instrument.tainted.seconds.entry(second).or_default().insert(reason);
            }
            Fact::Vouched(until, stall) => {
                self.vouched = self.vouched.max(until);
                if self.publishing.is_some() {
                    self.instrument.stall_max = self.instrument.stall_max.max(stall);
                }
            }
        }
    }

    /// Time has passed: joins what is settled. `is_end` when no fact will come any more.
    pub fn advance(&mut self, now: RunTime, is_end: bool) {
        self.is_ended = is_end;
        if let Some((_, last)) = &mut self.publishing
            && !self.is_published
        {
            *last = now.max(*last);
        }
        let tainted = &self.instrument.tainted;
        // After a stall, what became of publications may be known before the stall is.
        let known = now.min(self.vouched);
        self.coverage.settle(known, is_end, |second| tainted.excuses(second));
        for cluster in self.clusters.values_mut() {
            let before =
                if is_end { u64::MAX } else { known.second().saturating_sub(SECONDS_KEPT) };
            cluster.fold_seconds_before(before, tainted);
        }
        self.instrument.lapped = self.instrument.lapped.max(self.coverage.lapped());
    }

    fn connection(&mut self, role: ClusterRole, at: RunTime, fact: ConnectionFact) {
        let cluster = self.clusters.entry(role).or_default();
        match fact {
            ConnectionFact::Ready { phases } => cluster.ready(&phases, at),
            ConnectionFact::Failed => cluster.failed += 1,
            ConnectionFact::SightRestored { since, cause } => {
                let length = at.since(since);
                if let Some(window) = cluster.blindness.position(since) {
                    cluster.blindness.open.swap_remove(window);
                }
                let ended = cluster.blindness.ended.entry(cause).or_default();
                *ended = (ended.0 + 1, ended.1 + length);
                cluster.blindness.longest = cluster.blindness.longest.max(length);
            }
            ConnectionFact::SightLost { since, cause } => {
                cluster.blindness.open.push((since, cause));
            }
            ConnectionFact::SightNotRestored { since, cause } => {
                let window = cluster.blindness.position(since);
                if let Some(window) = window.and_then(|at| cluster.blindness.open.get_mut(at)) {
                    window.1 = cause;
                }
            }
            ConnectionFact::Authorized { took, confirmed } => {
                cluster.auth.record(took);
                let (yes, no) = &mut cluster.authorized;
                *(if confirmed { yes } else { no }) += 1;
            }
            ConnectionFact::Lost { code, cause, why, of_witness } => {
                match (code, cause) {
                    (Some(code), _) => *cluster.closed_by_code.entry(code).or_default() += 1,
                    (None, BlindCause::Agent) => cluster.recycled += 1,
                    (None, _) => cluster.given_up += 1,
                }
                if cause != BlindCause::Agent {
                    self.push(PlacedIncident {
                        at,
                        kind: IncidentKind::Disconnected,
                        cluster: role,
                        stream: None,
                        seq: None,
                        witnesses: u64::from(of_witness),
                        cause: Some(cause),
                        detail: why,
                    });
                }
            }
        }
    }

    /// Places a witness's incident; those of one event at several witnesses become one.
    fn place(&mut self, role: ClusterRole, witness: WitnessIx, incident: &Incident) {
        let key = incident.stream.zip(incident.seq).map(|(s, q)| (incident.kind, role, s, q));
        if let Some((at, witnesses)) = key.and_then(|key| self.incident_of.get_mut(&key)) {
            witnesses.insert(witness);
            if let Some(known) = self.incidents.get_mut(*at) {
                known.witnesses = witnesses.len() as u64;
                known.cause =
                    known.cause.into_iter().chain(incident.cause).reduce(BlindCause::blamed);
            }
            return;
        }
        let placed = PlacedIncident {
            at: incident.at,
            kind: incident.kind,
            cluster: role,
            stream: incident.stream,
            seq: incident.seq,
            witnesses: 1,
            cause: incident.cause,
            detail: String::new(),
        };
        if let (Some(at), Some(key)) = (self.push(placed), key) {
            self.incident_of.insert(key, (at, BTreeSet::from([witness])));
        }
    }

    fn place_failure(&mut self, role: ClusterRole, failure: &PublicationFailure) {
        self.push(PlacedIncident {
            at: failure.at,
            kind: failure.kind,
            cluster: role,
            stream: Some(failure.stream),
            seq: Some(failure.seq),
            witnesses: 0,
            cause: None,
            detail: failure.why.clone(),
        });
    }

    fn push(&mut self, incident: PlacedIncident) -> Option<usize> {
        if self.incidents.len() >= INCIDENTS_MAX {
            self.incidents_dropped += 1;
            return None;
        }
        self.incidents.push(incident);
        Some(self.incidents.len() - 1)
    }
}

#[cfg(test)]
mod tests;
