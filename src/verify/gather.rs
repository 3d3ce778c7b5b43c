//! Gathers what the agent states into seconds: joins the witnesses of each publication and both
//! clusters of each event, and gives every incident its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::model::{ClusterRole, RunTime, Seq, StreamIx, WitnessIx};

use super::coverage::{Coverage, StreamInfo};
use super::fact::{
    ConnectPhases, ConnectionFact, Fact, PublicationFailure, PublisherReport, Seen, WitnessReport,
};
use super::figures::add_all;
use super::load::LoadReport;
use super::mirror::{self, Copy, Mirror};
use super::record::{ClusterSecond, IncidentNote, PlacedIncident, Second};
use super::sample::SampleNote;
use super::status_page::Changes;
use super::taint::Tainted;
use super::tally::{BlindCause, Incident, IncidentKind};
use super::webhook::{LostWebhook, WebhookSecond};

/// Lost webhooks of one reading that are named.
const NAMED_MAX: usize = 20;

/// Seconds after which a run without an end forgets that one was tainted: whatever was sent in it
/// has ended.
const TAINTS_KEPT_SECONDS: u64 = 3 * 3_600;

/// Most incidents that are kept, the first ones; the others are only counted. A run without an end
/// keeps the last ones.
pub const INCIDENTS_MAX: usize = 1_000;

/// See the module's documentation.
#[derive(Debug)]
pub struct Gatherer {
    /// The clusters of the run.
    roles: Vec<ClusterRole>,
    coverage: Coverage,
    /// Witnesses below this index are the first of their channels.
    first_witnesses: u32,
    /// Open, overdue and unexplained obligations of each witness, as last reported.
    open: BTreeMap<(ClusterRole, WitnessIx), (u64, u64, u64)>,
    /// Open obligations of each simulated client, and whether it is connected.
    clients: BTreeMap<(ClusterRole, u32), (u64, bool)>,
    places: Places,
    tainted: Tainted,
    vouched: RunTime,
    is_publishing: bool,
    /// Whether each cluster's channels are all left, as last stated.
    left_behind: BTreeMap<ClusterRole, u64>,
    status_pages: BTreeMap<ClusterRole, Changes>,
    /// What real events are matched by, where they are.
    mirror: Option<Mirror>,
    is_endless: bool,
    /// What was gathered since the last one was closed.
    second: Second,
}

impl Gatherer {
    /// Gathers what is stated of these clusters and streams. Witnesses below `first_witnesses` are
    /// the first of their channels.
    pub fn new(roles: &[ClusterRole], streams: Vec<StreamInfo>, first_witnesses: u32) -> Self {
        Self {
            roles: roles.to_vec(),
            coverage: Coverage::new(streams),
            first_witnesses,
            open: BTreeMap::new(),
            clients: BTreeMap::new(),
            places: Places::default(),
            tainted: Tainted::default(),
            vouched: RunTime::ZERO,
            is_publishing: false,
            left_behind: BTreeMap::new(),
            status_pages: BTreeMap::new(),
            mirror: None,
            is_endless: false,
            second: Second::default(),
        }
    }

    /// The same, and real events are matched by these rules.
    #[must_use]
    pub fn mirroring(mut self, rules: Option<mirror::Rules>) -> Self {
        self.mirror = rules.map(Mirror::new);
        self
    }

    /// The same for a run without an end: it keeps in mind what is new, where another keeps what
    /// came first.
    #[must_use]
    pub fn endless(mut self, is_endless: bool) -> Self {
        self.is_endless = is_endless;
        self
    }

    /// Obligations open on all clusters, as the witnesses and the simulated clients themselves last
    /// counted.
    pub fn pending(&self) -> u64 {
        let of_clients = self.clients.values().map(|(pending, _)| pending);
        self.open.values().map(|(pending, ..)| pending).chain(of_clients).sum()
    }

    /// Takes in a fact.
    pub fn handle(&mut self, fact: Fact) {
        match fact {
            Fact::Begun(at) => {
                self.is_publishing = true;
                self.second.begun = Some(at);
            }
            Fact::Published(at) => self.second.published = Some(at),
            Fact::Witness(role, report) => self.witness(role, *report),
            Fact::Load(role, report) => self.client(role, &report),
            Fact::Publisher(role, report) => self.publisher(role, *report),
            Fact::Connection(role, at, fact) => self.connection(role, at, fact),
            Fact::Control(role, control, status) => {
                let known = self.cluster(role).controls.entry(control).or_insert(status);
                *known = (*known).max(status);
            }
            Fact::LeftBehind(role, left) => {
                match left {
                    Some(left) => self.left_behind.insert(role, left),
                    None => self.left_behind.remove(&role),
                };
            }
            Fact::Occupancy(role, at, reading) => {
                self.cluster(role).occupancy.push((at, reading));
            }
            Fact::StatusPage(role, at, fact) => {
                let cluster = self.second.clusters.entry(role).or_default();
                let second = cluster.status_page.get_or_insert_default();
                self.status_pages.entry(role).or_default().note(second, at, fact);
            }
            Fact::Endpoint(role, kind, fact) => {
                self.cluster(role).endpoints.entry(kind).or_default().note(fact);
            }
            Fact::Webhook(role, at, second) => self.webhook(role, at, *second),
            Fact::Probed(role, row, reading) => self.second.probed.push((role, row, reading)),
            Fact::Budget(used) => self.second.budget_used = Some(used),
            Fact::Followed(streams) => self.second.followed += streams,
            Fact::Moved(moved) => self.second.moves.push(*moved),
            Fact::Seen(role, seen) => self.seen(role, seen),
            Fact::Sample(at, note) => {
                if let (Some(mirror), SampleNote::Refreshed(reading)) = (&mut self.mirror, &note) {
                    mirror.retain(&reading.watched().collect());
                }
                self.second.sample.push((at, note));
            }
            Fact::Taint(second, reason) => {
                self.tainted.note(second, reason);
                self.second.tainted.note(second, reason);
            }
            Fact::Vouched(until, stall) => {
                self.vouched = self.vouched.max(until);
                if self.is_publishing {
                    self.second.stall = self.second.stall.max(stall);
                }
            }
        }
    }

    /// Closes the second at `now`: joins what is settled by then. `is_last` when no fact will come
    /// any more, and nothing is waited for.
    pub fn close(&mut self, now: RunTime, is_last: bool) -> Second {
        // After a stall, what became of publications may be known before the stall is.
        let known = now.min(self.vouched);
        let tainted = &self.tainted;
        let lapped = self.coverage.lapped();
        self.coverage.settle(known, is_last, |second| tainted.excuses(second));
        self.second.lapped += self.coverage.lapped() - lapped;
        for role in self.roles.clone() {
            let trials = self.coverage.trials(role);
            let (pending, overdue, unexplained) = self.open_of(role);
            let left_behind = self.left_behind.get(&role).copied();
            let strata = self.coverage.take_strata(role);
            let cluster = self.cluster(role);
            (cluster.trials, cluster.pending, cluster.overdue) = (trials, pending, overdue);
            cluster.unexplained = unexplained;
            (cluster.strata, cluster.left_behind) = (strata, left_behind);
        }
        self.count_clients();
        if let Some(mirror) = &mut self.mirror {
            mirror.advance(known, &self.tainted);
            if is_last {
                mirror.finish();
            }
            let report = mirror.take_report();
            self.second.mirror = (!report.is_empty()).then(|| Box::new(report));
        }
        if self.is_endless {
            self.tainted.take_before(known.second().saturating_sub(TAINTS_KEPT_SECONDS));
            self.places.make_room();
        }
        self.second.at = now;
        self.second.vouched = self.vouched;
        self.second.last = is_last;
        self.second.events = self.coverage.events().clone();
        std::mem::take(&mut self.second)
    }

    fn open_of(&self, role: ClusterRole) -> (u64, u64, u64) {
        let mine = self.open.iter().filter(|((of, _), _)| *of == role);
        mine.fold((0, 0, 0), |sum, (_, open)| (sum.0 + open.0, sum.1 + open.1, sum.2 + open.2))
    }

    fn cluster(&mut self, role: ClusterRole) -> &mut ClusterSecond {
        self.second.clusters.entry(role).or_default()
    }

    fn witness(&mut self, role: ClusterRole, report: WitnessReport) {
        self.coverage.handle_witness(role, &report);
        let WitnessReport { witness, tally, pending, overdue, unexplained, traffic, .. } = report;
        self.open.insert((role, witness), (pending, overdue, unexplained));
        self.second.lapped += tally.lapped;
        self.second.incidents_dropped += tally.incidents_dropped;
        for incident in &tally.incidents {
            let note = self.places.witnessed(role, witness, incident);
            self.note(note);
        }
        let is_first = witness.0 < self.first_witnesses;
        let cluster = self.cluster(role);
        cluster.traffic += traffic;
        for (stratum, (obligations, latencies)) in &tally.strata {
            *cluster.obligations.entry(*stratum).or_default() += *obligations;
            cluster.latencies.merge(latencies);
            cluster.latencies_by_stratum.entry(*stratum).or_default().merge(latencies);
            if is_first {
                cluster.first_witness.merge(latencies);
            }
        }
        for (second, beside) in &tally.beside {
            *cluster.beside.entry(*second).or_default() += *beside;
        }
        for (second, late) in &tally.late {
            *cluster.late.entry(*second).or_default() += late;
        }
        for ((second, cause), missed) in &tally.missed {
            *cluster.missed.entry(*second).or_default().entry(*cause).or_default() += missed;
        }
    }

    fn client(&mut self, role: ClusterRole, report: &LoadReport) {
        let LoadReport { client, is_connected, ledger, .. } = report;
        self.clients.insert((role, *client), (ledger.pending, *is_connected));
        self.second.lapped += ledger.tally.lapped;
        self.cluster(role).load.get_or_insert_default().add(report);
    }

    /// States how many clients are connected, and what they wait for.
    fn count_clients(&mut self) {
        for ((role, _), (pending, is_connected)) in &self.clients {
            let cluster = self.second.clusters.entry(*role).or_default();
            let load = cluster.load.get_or_insert_default();
            load.pending += pending;
            load.connected += u64::from(*is_connected);
        }
    }

    fn publisher(&mut self, role: ClusterRole, report: PublisherReport) {
        self.second.lags.merge(&report.lags);
        self.second.incidents_dropped += report.failures_dropped;
        for failure in &report.failures {
            let note = self.places.failed(role, failure);
            self.note(note);
        }
        let cluster = self.cluster(role);
        for (route, publications) in report.publications {
            *cluster.publications.entry(route).or_default() += publications;
        }
        cluster.obligations_opened += report.obligations_opened;
        cluster.publish.merge(&report.durations);
        add_all(&mut cluster.responses, &report.responses);
        cluster.throttled += report.throttled;
        cluster.rate_limit_used = report.rate_limit_used.or(cluster.rate_limit_used);
        add_all(&mut cluster.unaccepted, &report.unaccepted);
        add_all(&mut cluster.unsent, &report.unsent);
    }

    fn webhook(&mut self, role: ClusterRole, at: RunTime, mut second: WebhookSecond) {
        for (named, lost) in std::mem::take(&mut second.found_lost).into_iter().enumerate() {
            let LostWebhook { kind, channel, between } = lost;
            let mut seconds = between.start().second()..=between.end().second();
            if seconds.any(|second| self.tainted.excuses(second)) {
                second.unattributed += 1;
                continue;
            }
            *second.lost.entry(kind).or_default() += 1;
            if named >= NAMED_MAX {
                self.second.incidents_dropped += 1;
                continue;
            }
            let note = self.places.push(PlacedIncident {
                at,
                kind: IncidentKind::WebhookLost,
                cluster: role,
                stream: None,
                seq: None,
                witnesses: 0,
                cause: None,
                detail: format!("{} of {channel}", kind.as_str()),
            });
            self.note(note);
        }
        add_all(&mut self.second.webhooks_refused, &second.refused);
        self.second.occupied = Some(second.open_anywhere);
        self.cluster(role).webhooks.get_or_insert_default().merge(second);
    }

    fn seen(&mut self, role: ClusterRole, seen: Vec<Seen>) {
        let Some(mirror) = &mut self.mirror else { return };
        for seen in seen {
            match seen {
                Seen::Subscribed(channel, at) => mirror.note_subscribed(role, &channel, at),
                Seen::Blind(channels) => {
                    channels.iter().for_each(|channel| mirror.note_blind(role, channel));
                }
                Seen::Copy { channel, event, identity, at } => {
                    let (channel, event) = (&*channel, &*event);
                    mirror.note_copy(&Copy { role, channel, event, identity, at });
                }
                Seen::ClientEvents(count) => mirror.note_client_events(role, count),
                Seen::Unreadable(channel, at) => mirror.note_unreadable(role, &channel, at),
                Seen::Alive(channels, at) => {
                    channels.iter().for_each(|channel| mirror.note_alive(role, channel, at));
                }
            }
        }
    }

    fn connection(&mut self, role: ClusterRole, at: RunTime, fact: ConnectionFact) {
        let cluster = self.cluster(role);
        match fact {
            ConnectionFact::Ready { phases, expires } => {
                cluster.certificate_expires = expires.or(cluster.certificate_expires);
                ready(cluster, phases.as_ref(), at);
            }
            ConnectionFact::Failed => cluster.failed += 1,
            ConnectionFact::Sight(sight) => cluster.sights.push((at, sight)),
            ConnectionFact::Authorized { took, confirmed } => {
                took.into_iter().for_each(|took| cluster.auth.record(took));
                *(if confirmed { &mut cluster.confirmed } else { &mut cluster.refused }) += 1;
            }
            ConnectionFact::Lost { code, cause, why, of_witness } => {
                match (code, cause) {
                    (Some(code), _) => *cluster.closed_by_code.entry(code).or_default() += 1,
                    (None, BlindCause::Agent) => cluster.recycled += 1,
                    (None, _) => cluster.given_up += 1,
                }
                if cause != BlindCause::Agent {
                    let note = self.places.push(PlacedIncident {
                        at,
                        kind: IncidentKind::Disconnected,
                        cluster: role,
                        stream: None,
                        seq: None,
                        witnesses: u64::from(of_witness),
                        cause: Some(cause),
                        detail: why,
                    });
                    self.note(note);
                }
            }
        }
    }

    fn note(&mut self, said: Said) {
        match said {
            Said::Note(note) => self.second.incidents.push(note),
            Said::NoRoom => self.second.incidents_dropped += 1,
            Said::Known => {}
        }
    }
}

fn ready(cluster: &mut ClusterSecond, phases: Option<&ConnectPhases>, at: RunTime) {
    cluster.opened += 1;
    let Some(phases) = phases else { return };
    let took = phases.total();
    let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    if cluster.slowest_connect.is_none_or(|(slowest, ..)| nanos(took) > slowest) {
        let begun = RunTime(at.0.saturating_sub(nanos(took)));
        cluster.slowest_connect = Some((nanos(took), begun.second(), at.second()));
    }
    cluster.connect.record(took);
    for (step, took) in phases.steps() {
        cluster.connect_steps.entry(step).or_default().record(took);
    }
}

type IncidentKey = (IncidentKind, ClusterRole, StreamIx, Seq);

/// What is to be said of an incident that was stated.
enum Said {
    /// This.
    Note(IncidentNote),
    /// Nothing: it is known.
    Known,
    /// Nothing, but that there was one more.
    NoRoom,
}

/// An incident that has a place, and may concern more witnesses.
#[derive(Debug)]
struct Placed {
    place: usize,
    witnesses: BTreeSet<WitnessIx>,
    cause: Option<BlindCause>,
}

/// The place of each incident of an event, and the witnesses that met it.
#[derive(Debug, Default)]
struct Places {
    taken: usize,
    /// Of those, how many count as gone: they leave room for others.
    gone: usize,
    by_event: HashMap<IncidentKey, Placed>,
}

impl Places {
    /// Places a witness's incident; those of one event at several witnesses become one.
    fn witnessed(&mut self, role: ClusterRole, witness: WitnessIx, incident: &Incident) -> Said {
        let Incident { at, kind, stream, seq, cause } = *incident;
        let key = stream.zip(seq).map(|(stream, seq)| (kind, role, stream, seq));
        if let Some(known) = key.and_then(|key| self.by_event.get_mut(&key)) {
            if !known.witnesses.insert(witness) {
                return Said::Known;
            }
            known.cause = known.cause.into_iter().chain(cause).reduce(BlindCause::blamed);
            return Said::Note(IncidentNote::Again {
                place: known.place,
                witnesses: known.witnesses.len() as u64,
                cause: known.cause,
            });
        }
        let place = self.taken;
        let said = self.push(PlacedIncident {
            at,
            kind,
            cluster: role,
            stream,
            seq,
            witnesses: 1,
            cause,
            detail: String::new(),
        });
        if let (Said::Note(_), Some(key)) = (&said, key) {
            let witnesses = BTreeSet::from([witness]);
            self.by_event.insert(key, Placed { place, witnesses, cause });
        }
        said
    }

    fn failed(&mut self, role: ClusterRole, failure: &PublicationFailure) -> Said {
        self.push(PlacedIncident {
            at: failure.at,
            kind: failure.kind,
            cluster: role,
            stream: Some(failure.stream),
            seq: Some(failure.seq),
            witnesses: 0,
            cause: None,
            detail: failure.why.clone(),
        })
    }

    /// Forgets all but the newest, so that each second finds room for as many as a whole run.
    fn make_room(&mut self) {
        self.gone = self.taken;
        let oldest = self.taken.saturating_sub(INCIDENTS_MAX);
        self.by_event.retain(|_, placed| placed.place >= oldest);
    }

    fn push(&mut self, incident: PlacedIncident) -> Said {
        if self.taken - self.gone >= INCIDENTS_MAX {
            return Said::NoRoom;
        }
        self.taken += 1;
        Said::Note(IncidentNote::New(incident))
    }
}
