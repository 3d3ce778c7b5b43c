//! The sum so far: every second that was gathered, added up.

mod part;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::{ChannelName, ClusterRole, RunTime, StreamIx, WitnessIx};

use super::checks::Requirements;
use super::coverage::{ClusterTrials, Events};
use super::endpoint::EndpointFigures;
use super::fact::{ConnectStep, Sight, SightChange};
use super::figures::{Anomalies, ClusterFigures, Figures, Windows, add_all};
use super::handover::{HandoverFigures, Move};
use super::latency::{Latencies, sparse_bytes_max};
use super::load::{LoadFaults, LoadFigures};
use super::occupancy::Readings;
use super::parity::ParityFigures;
use super::presence::Presence;
use super::record::{Begin, ClusterSecond, IncidentNote, PlacedIncident, Second};
use super::sample::SampleNote;
use super::status_page::PageFigures;
use super::taint::{TaintReason, Tainted};
use super::tally::{BlindCause, Stratum};
use super::thinned::Thinned;
use super::timeline::{self, Slot, Timeline};
use super::webhook::WebhookFigures;

/// Seconds for which anomalies are kept apart, so that a taint of their second finds them.
const SECONDS_KEPT: u64 = 10;
/// Whole seconds after its own, vouched for by the vital signs, until a second is known to be
/// tainted or not.
const TAINT_KNOWN_AFTER_SECONDS: u64 = 2;
/// A delivery is handed on, and counted, at most so long after it was received.
const HANDED_ON_WITHIN: Duration = Duration::from_millis(500);
/// Most blind windows that are remembered one by one; the others are only counted.
pub const WINDOWS_MAX: usize = 1_000;

/// Most bytes that the latencies of a cluster take, if it has so many strata and none is longer
/// than the horizon.
pub fn bytes_max(strata: u64, horizon: Duration) -> u64 {
    // Those that figures have beside the strata's: eight of deliveries and requests, two of
    // simulated clients, and those of connecting, as a whole and by step.
    let histograms = strata + 8 + 2 + 1 + ConnectStep::ALL.len() as u64;
    let timeline = timeline::SLOTS_MAX as u64 * sparse_bytes_max(horizon);
    histograms * Latencies::bytes_max(horizon) + timeline
}

/// One blind window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlindWindow {
    /// Whose.
    pub witness: WitnessIx,
    /// When it began.
    pub from: RunTime,
    /// When it ended; `None` while it lasts.
    pub until: Option<RunTime>,
    /// Why it lasts, or lasted.
    pub cause: BlindCause,
}

/// What is known of one cluster beside its figures.
#[derive(Clone, Debug, Default)]
pub struct ClusterAccount {
    /// Latencies of deliveries, by stratum; of a run that is judged again, none.
    pub latencies: BTreeMap<Stratum, Latencies>,
    /// Blind windows, in the order of their beginning, as far as there was room.
    pub windows: Vec<BlindWindow>,
    /// Who is still on it, reading by reading; `None` where that is not read.
    pub occupancy: Option<Readings>,
    /// Blind windows that last.
    open: BTreeMap<WitnessIx, (RunTime, BlindCause)>,
    /// Anomalies of tainted seconds long past.
    unattributed: Anomalies,
    /// Those of each second for which it is not known yet whether it is tainted.
    recent: BTreeMap<u64, Anomalies>,
    /// What simulated clients met in tainted seconds long past, and in each second for which it is
    /// not known yet whether it is tainted.
    load: (LoadFaults, BTreeMap<u64, LoadFaults>),
    /// The seconds in which the slowest connection was made.
    slowest_connect: Option<(u64, RangeInclusive<u64>)>,
}

impl ClusterAccount {
    /// Blind windows that last.
    pub fn open_windows(&self) -> usize {
        self.open.len()
    }

    /// The length of windows by cause, with that of open ones until `now`. An open one that the
    /// agent began is left out: it may yet turn out to be somebody else's doing, and no length ever
    /// shrinks.
    pub fn lengths(
        &self,
        figures: &ClusterFigures,
        now: RunTime,
    ) -> BTreeMap<BlindCause, Duration> {
        let ended = |windows: &Windows| Duration::from_nanos(windows.nanos);
        let mut lengths: BTreeMap<_, _> =
            figures.windows.iter().map(|(cause, windows)| (*cause, ended(windows))).collect();
        for (since, cause) in self.open.values().filter(|(_, cause)| *cause != BlindCause::Agent) {
            *lengths.entry(*cause).or_default() += now.since(*since);
        }
        lengths
    }

    /// The longest window, open ones until `now` included.
    pub fn longest(&self, figures: &ClusterFigures, now: RunTime) -> Duration {
        let open = self.open.values().map(|(since, _)| now.since(*since));
        open.fold(figures.longest_window, Duration::max)
    }

    fn sight(&mut self, figures: &mut ClusterFigures, at: RunTime, sight: Sight) {
        let Sight { witness, since, cause, change } = sight;
        let mut shown = self.windows.iter_mut().rev().filter(|w| w.witness == witness);
        let shown = shown.find(|w| w.from == since);
        match change {
            SightChange::Lost => {
                self.open.insert(witness, (since, cause));
                figures.windows.entry(cause).or_default().began += 1;
                if self.windows.len() < WINDOWS_MAX {
                    self.windows.push(BlindWindow { witness, from: since, until: None, cause });
                }
            }
            SightChange::NotRestored => {
                let Some((_, known)) = self.open.get_mut(&witness) else { return };
                let before = std::mem::replace(known, cause);
                // It is a window of another cause now, as if it had begun so.
                let of_before = figures.windows.entry(before).or_default();
                of_before.began = of_before.began.saturating_sub(1);
                figures.windows.entry(cause).or_default().began += 1;
                if let Some(shown) = shown {
                    shown.cause = cause;
                }
            }
            SightChange::Restored => {
                self.open.remove(&witness);
                let length = at.since(since);
                let windows = figures.windows.entry(cause).or_default();
                windows.ended += 1;
                let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
                windows.nanos = windows.nanos.saturating_add(nanos);
                figures.longest_window = figures.longest_window.max(length);
                if let Some(shown) = shown {
                    shown.until = Some(at);
                    shown.cause = cause;
                }
            }
        }
    }

    /// Witnesses that are blind, by cause.
    fn blind(&self) -> BTreeMap<BlindCause, u64> {
        let mut blind = BTreeMap::new();
        for (_, cause) in self.open.values() {
            *blind.entry(*cause).or_default() += 1;
        }
        blind
    }

    /// Anomalies of tainted seconds.
    fn excused(&self, tainted: &Tainted) -> Anomalies {
        let mut sum = self.unattributed;
        for (_, anomalies) in self.recent.iter().filter(|(at, _)| tainted.excuses(**at)) {
            sum += *anomalies;
        }
        sum
    }

    /// The same of what simulated clients met.
    fn load_excused(&self, tainted: &Tainted) -> LoadFaults {
        let (mut sum, recent) = (self.load.0, &self.load.1);
        for (_, faults) in recent.iter().filter(|(at, _)| tainted.excuses(**at)) {
            sum += *faults;
        }
        sum
    }

    fn fold_seconds_before(&mut self, second: u64, tainted: &Tainted) {
        let kept = self.load.1.split_off(&second);
        for (at, faults) in std::mem::replace(&mut self.load.1, kept) {
            if tainted.excuses(at) {
                self.load.0 += faults;
            }
        }
        let kept = self.recent.split_off(&second);
        for (at, anomalies) in std::mem::replace(&mut self.recent, kept) {
            if tainted.excuses(at) {
                self.unattributed += anomalies;
            }
        }
    }

    /// Notes which anomalies fell into which second.
    fn note_anomalies(&mut self, second: &ClusterSecond) {
        for (at, beside) in &second.beside {
            self.recent.entry(*at).or_default().beside += *beside;
        }
        for (at, late) in &second.late {
            self.recent.entry(*at).or_default().late += late;
        }
        for (at, by_cause) in &second.missed {
            let others = by_cause.iter().filter(|(cause, _)| **cause != BlindCause::Agent);
            self.recent.entry(*at).or_default().missed += others.map(|(_, n)| n).sum::<u64>();
        }
        for (at, unaccepted) in &second.unaccepted {
            self.recent.entry(*at).or_default().unaccepted += unaccepted;
        }
        for (at, faults) in second.load.iter().flat_map(|load| &load.faults) {
            *self.load.1.entry(*at).or_default() += *faults;
        }
        for (at, unsent) in &second.unsent {
            self.recent.entry(*at).or_default().unsent += unsent;
        }
    }
}

/// Latencies of a second of which it is not known yet whether it is tainted.
#[derive(Clone, Debug)]
struct Undecided {
    /// The instants between which it was gathered.
    from: RunTime,
    at: RunTime,
    seconds: RangeInclusive<u64>,
    slots: Vec<(ClusterRole, Slot)>,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Account {
    begin: Begin,
    figures: Figures,
    clusters: BTreeMap<ClusterRole, ClusterAccount>,
    tainted: Tainted,
    incidents: Vec<PlacedIncident>,
    /// Incidents that were stated before the first of these.
    incidents_before: usize,
    incidents_dropped: u64,
    undecided: VecDeque<Undecided>,
    timeline: Timeline,
    presence: Thinned<(RunTime, Presence)>,
    moves: Vec<Move>,
    /// When publishing began, and when it ended or was last seen to go on. `None` before the first
    /// event: what happens until then does not count.
    publishing: Option<(RunTime, RunTime)>,
    is_published: bool,
    /// The first second that counts as one of publishing, where an earlier account has counted
    /// those before it.
    counted_from: u64,
    /// Seconds that are tainted and not kept one by one any more.
    forgotten: BTreeMap<TaintReason, u64>,
    forgotten_seconds: u64,
    /// The sums before this account began, and at its last second.
    sums_before: Sums,
    sums: Sums,
    /// The instant of the last second.
    at: RunTime,
}

/// What seconds state as a sum since the run began.
#[derive(Clone, Debug, Default)]
struct Sums {
    events: Events,
    trials: BTreeMap<ClusterRole, ClusterTrials>,
}

impl Account {
    /// An account of nothing, for a run that begins so.
    pub fn new(begin: Begin) -> Self {
        let mut figures = Figures {
            strata: begin.strata.iter().copied().collect(),
            controls: begin.controls.iter().copied().collect(),
            unwatched: begin.unwatched.clone(),
            mirror: begin.mirroring.map(|_| Default::default()),
            published: begin.published.clone(),
            parity: begin.parity.as_ref().map(ParityFigures::new),
            handover: begin.handover.clone().map(HandoverFigures::new),
            ..Figures::default()
        };
        for role in &begin.clusters {
            let status_page = begin.status_pages.get(role).map(|url| PageFigures::of(url));
            let endpoints = begin.endpoints.get(role).cloned().unwrap_or_default().into_iter();
            let endpoints =
                endpoints.map(|(kind, begin)| (kind, EndpointFigures::new(begin))).collect();
            let webhooks = begin.webhooks_refresh.map(WebhookFigures::new);
            let load = begin.load.map(LoadFigures::new);
            let cluster =
                ClusterFigures { status_page, endpoints, webhooks, load, ..Default::default() };
            figures.clusters.insert(*role, cluster);
        }
        let occupancy = begin
            .watching
            .map(|watching| Readings::new(watching.refresh, begin.requirements.limits.drained_for));
        let cluster =
            |_| ClusterAccount { occupancy: occupancy.clone(), ..ClusterAccount::default() };
        Self {
            clusters: begin.clusters.iter().map(|role| (*role, cluster(role))).collect(),
            begin,
            figures,
            tainted: Tainted::default(),
            incidents: Vec::new(),
            incidents_before: 0,
            incidents_dropped: 0,
            undecided: VecDeque::new(),
            timeline: Timeline::new(RunTime::ZERO),
            presence: Thinned::default(),
            moves: Vec::new(),
            publishing: None,
            is_published: false,
            counted_from: 0,
            forgotten: BTreeMap::new(),
            forgotten_seconds: 0,
            sums_before: Sums::default(),
            sums: Sums::default(),
            at: RunTime::ZERO,
        }
    }

    /// How the run began.
    pub const fn begin(&self) -> &Begin {
        &self.begin
    }

    /// Judges by other requirements from now on, those of these settings.
    pub(super) fn require(&mut self, asked: Requirements, settings: serde_json::Value) {
        self.begin.requirements = asked;
        self.begin.settings = settings;
    }

    /// What the checks read.
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The clusters, in order, with their figures.
    pub fn clusters(
        &self,
    ) -> impl Iterator<Item = (ClusterRole, &ClusterFigures, &ClusterAccount)> {
        let figures = self.figures.clusters.iter();
        figures.zip(self.clusters.values()).map(|((role, f), cluster)| (*role, f, cluster))
    }

    /// The first incidents, and how many more there were.
    pub fn incidents(&self) -> (&[PlacedIncident], u64) {
        (&self.incidents, self.incidents_dropped)
    }

    /// How the run went over time.
    pub const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Who was on presence channels over time, where that was read.
    pub fn presence(&self) -> &[(RunTime, Presence)] {
        self.presence.points()
    }

    /// The seconds that cannot be relied on.
    pub const fn tainted(&self) -> &Tainted {
        &self.tainted
    }

    /// When publishing began, and when it ended or was last seen to go on.
    pub const fn publishing(&self) -> Option<(RunTime, RunTime)> {
        self.publishing
    }

    /// The instant of the last second.
    pub const fn at(&self) -> RunTime {
        self.at
    }

    /// The channel of a stream.
    pub fn channel(&self, stream: StreamIx) -> Option<&ChannelName> {
        self.begin.streams.get(stream.0 as usize).map(|(channel, _)| channel)
    }

    /// Adds a second.
    pub fn apply(&mut self, second: &Second) {
        let before = std::mem::replace(&mut self.at, second.at);
        if let Some(begun) = second.begun {
            self.publishing = Some((begun, begun));
            self.timeline = Timeline::new(begun);
        }
        self.tainted.merge(&second.tainted);
        self.note_publishing(second);
        self.figures.lag.add(&second.lags);
        self.figures.stall_max = self.figures.stall_max.max(second.stall);
        self.figures.lapped += second.lapped;
        for unwatched in self.figures.unwatched.values_mut() {
            *unwatched = unwatched.saturating_sub(second.followed);
        }
        self.figures.events = second.events.since(&self.sums_before.events);
        self.sums.events = second.events.clone();
        self.figures.budget_used = second.budget_used.or(self.figures.budget_used);
        self.figures.is_ended = second.last;
        self.note_mirror(second);
        if let Some(parity) = &mut self.figures.parity {
            for (role, row, reading) in &second.probed {
                parity.note(*role, *row, reading);
            }
        }
        add_all(&mut self.figures.webhooks_refused, &second.webhooks_refused);
        self.figures.occupied = second.occupied.or(self.figures.occupied);
        self.moves.extend(second.moves.iter().cloned());
        let mut slots = Vec::new();
        // Of a cluster on which nothing happened a record says nothing: that is a second, too.
        let nothing = ClusterSecond::default();
        for (role, cluster) in &mut self.clusters {
            let figures = self.figures.clusters.entry(*role).or_default();
            let added = second.clusters.get(role).unwrap_or(&nothing);
            slots.push((*role, add(figures, cluster, added)));
            let before = self.sums_before.trials.get(role).copied().unwrap_or_default();
            figures.trials = added.trials.since(&before);
            self.sums.trials.insert(*role, added.trials);
            if let (Some(page), Some(added)) = (&mut figures.status_page, &added.status_page) {
                page.add(added, self.publishing.map(|(begun, _)| begun));
            }
        }
        self.judge_status_pages();
        let from = RunTime(before.0.saturating_sub(HANDED_ON_WITHIN.as_nanos() as u64));
        let seconds = from.second()..=second.at.second();
        self.undecided.push_back(Undecided { from: before, at: second.at, seconds, slots });
        self.incidents_dropped += second.incidents_dropped;
        for note in &second.incidents {
            self.note_incident(note);
        }
        self.decide(second);
    }

    fn note_mirror(&mut self, second: &Second) {
        let Some((sample, mirror)) = &mut self.figures.mirror else { return };
        if let Some(report) = &second.mirror {
            mirror.add(report);
        }
        for (at, note) in &second.sample {
            sample.add(note);
            match note {
                SampleNote::Presence(presence) => self.presence.push((*at, *presence)),
                SampleNote::Refreshed(reading) => mirror.retain(reading.watched()),
                SampleNote::Caches(_) | SampleNote::Failed(..) | SampleNote::Refused(..) => {}
            }
        }
    }

    /// Judges what status pages announced by the time from the beginning of publishing until now.
    fn judge_status_pages(&mut self) {
        let Some((begun, _)) = self.publishing else { return };
        let (from, until) = (self.begin.unix_millis(begun), self.begin.unix_millis(self.at));
        for figures in self.figures.clusters.values_mut() {
            if let Some(page) = &mut figures.status_page {
                page.judge(from, until);
            }
        }
    }

    fn note_publishing(&mut self, second: &Second) {
        if let Some((first, last)) = &mut self.publishing {
            match second.published {
                Some(at) => *last = at.max(*first),
                None if !self.is_published => *last = second.at.max(*last),
                None => {}
            }
            self.is_published |= second.published.is_some();
        }
        self.count_tainted();
    }

    /// How long simulated clients were to come, from the start of publishing: until then there are
    /// more to bring each event to with each second.
    fn ramp(&self) -> Duration {
        self.begin.load.map_or(Duration::ZERO, |load| load.ramp)
    }

    fn count_tainted(&mut self) {
        let Some((first, last)) = self.publishing else { return };
        let (from, until) = (first.second().max(self.counted_from), last.second());
        self.figures.seconds = (until + 1).saturating_sub(from);
        self.figures.published_for = last.since(first);
        self.figures.tainted_seconds = self.forgotten_seconds;
        self.figures.taint_reasons.clone_from(&self.forgotten);
        if from > until {
            return;
        }
        for (_, reasons) in self.tainted.within(from..=until) {
            self.figures.tainted_seconds += 1;
            for reason in reasons {
                *self.figures.taint_reasons.entry(*reason).or_default() += 1;
            }
        }
    }

    fn note_incident(&mut self, note: &IncidentNote) {
        match note {
            IncidentNote::New(incident) => self.incidents.push(incident.clone()),
            IncidentNote::Again { place, witnesses, cause } => {
                let place = place.checked_sub(self.incidents_before);
                if let Some(known) = place.and_then(|place| self.incidents.get_mut(place)) {
                    known.witnesses = *witnesses;
                    known.cause = *cause;
                }
            }
        }
    }

    /// Decides what it was too early to decide: what is excused by a taint of its second.
    fn decide(&mut self, second: &Second) {
        // After a stall, what happened may be known before the stall is.
        let known = second.at.min(second.vouched).second();
        let before = if second.last { u64::MAX } else { known.saturating_sub(SECONDS_KEPT) };
        while let Some(next) = self.undecided.front() {
            if next.seconds.end().saturating_add(TAINT_KNOWN_AFTER_SECONDS) > known && !second.last
            {
                break;
            }
            let is_tainted = self.tainted.excused(next.seconds.clone()) > 0;
            let Some(Undecided { from, at, slots, .. }) = self.undecided.pop_front() else { break };
            for (role, mut slot) in slots {
                if is_tainted && let Some(figures) = self.figures.clusters.get_mut(&role) {
                    figures.tainted_latencies.add(&std::mem::take(&mut slot.latencies));
                }
                self.timeline.add(role, from, at, &slot);
            }
        }
        if let Some(handover) = &mut self.figures.handover {
            handover.recount(&self.moves, &self.tainted);
        }
        let (begun, end) = self.publishing.unwrap_or_default();
        let ramp = self.ramp();
        for (role, figures) in &mut self.figures.clusters {
            let Some(cluster) = self.clusters.get_mut(role) else { continue };
            cluster.fold_seconds_before(before, &self.tainted);
            figures.excused = cluster.excused(&self.tainted);
            if let Some(load) = &mut figures.load {
                load.excused = cluster.load_excused(&self.tainted);
            }
            figures.blind = cluster.blind();
            let slowest = cluster.slowest_connect.clone().map(|(_, seconds)| seconds);
            figures.is_slowest_connect_tainted =
                slowest.is_some_and(|seconds| self.tainted.excused(seconds) > 0);
            (figures.opening_latencies, figures.closing_latencies) =
                self.timeline.thirds(*role, ramp, end);
            if let Some(webhooks) = &mut figures.webhooks {
                webhooks.settle(begun, end);
            }
            figures.occupancy = cluster.occupancy.as_ref().map(|readings| readings.figures(end));
        }
    }
}

/// Adds one cluster's part of a second; returns what it is on the timeline.
fn add(figures: &mut ClusterFigures, cluster: &mut ClusterAccount, second: &ClusterSecond) -> Slot {
    let mut slot = Slot::default();
    for (route, publications) in &second.publications {
        *figures.publications.entry(*route).or_default() += *publications;
        slot.sent += publications.sent;
        slot.unaccepted += publications.rejected + publications.unknown;
    }
    figures.obligations_opened += second.obligations_opened;
    for (stratum, obligations) in &second.obligations {
        *figures.obligations.entry(*stratum).or_default() += *obligations;
        slot.arrived += obligations.delivered + obligations.late;
    }
    (figures.pending, figures.overdue) = (second.pending, second.overdue);
    figures.unexplained = second.unexplained;
    for (stratum, latencies) in &second.latencies_by_stratum {
        cluster.latencies.entry(*stratum).or_default().add(latencies);
    }
    figures.latencies.add(&second.latencies);
    slot.latencies = second.latencies.clone();
    figures.first_witness_latencies.add(&second.first_witness);
    for beside in second.beside.values() {
        figures.beside += *beside;
    }
    for (cause, missed) in second.missed.values().flatten() {
        figures.windows.entry(*cause).or_default().missed += missed;
    }
    cluster.note_anomalies(second);
    for (stratum, trials) in &second.strata {
        *figures.strata.entry(*stratum).or_default() += trials;
    }
    figures.publish.add(&second.publish);
    add_all(&mut figures.responses, &second.responses);
    figures.throttled += second.throttled;
    figures.rate_limit_used = second.rate_limit_used.or(figures.rate_limit_used);
    figures.traffic += second.traffic;
    figures.certificate_expires = second.certificate_expires.or(figures.certificate_expires);
    add_connections(figures, cluster, second);
    for (control, status) in &second.controls {
        let known = figures.controls.entry(*control).or_insert(*status);
        *known = (*known).max(*status);
    }
    for (kind, added) in &second.endpoints {
        if let Some(endpoint) = figures.endpoints.get_mut(kind) {
            endpoint.add(added);
        }
    }
    figures.left_behind = second.left_behind;
    if let (Some(load), Some(added)) = (&mut figures.load, &second.load) {
        load.add(added);
    }
    if let (Some(webhooks), Some(added)) = (&mut figures.webhooks, &second.webhooks) {
        webhooks.add(added);
    }
    for (at, reading) in &second.occupancy {
        if let Some(readings) = &mut cluster.occupancy {
            readings.note(*at, reading);
        }
    }
    slot
}

fn add_connections(
    figures: &mut ClusterFigures,
    cluster: &mut ClusterAccount,
    second: &ClusterSecond,
) {
    figures.opened += second.opened;
    figures.failed += second.failed;
    add_all(&mut figures.closed_by_code, &second.closed_by_code);
    figures.given_up += second.given_up;
    figures.recycled += second.recycled;
    figures.connect.add(&second.connect);
    for (step, took) in &second.connect_steps {
        figures.connect_steps.entry(*step).or_default().add(took);
    }
    if let Some((nanos, from, to)) = second.slowest_connect
        && cluster.slowest_connect.as_ref().is_none_or(|(slowest, _)| nanos > *slowest)
    {
        cluster.slowest_connect = Some((nanos, from..=to));
    }
    figures.auth.add(&second.auth);
    figures.confirmed += second.confirmed;
    figures.refused += second.refused;
    for (at, sight) in &second.sights {
        cluster.sight(figures, *at, *sight);
    }
}

#[cfg(test)]
mod tests;
