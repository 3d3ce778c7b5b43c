//! Joins what the witnesses of a publication say, and what both clusters say of an event: trials,
//! publications lost, events covered, and the watermark.
//!
//! Witnesses hand on only what did not arrive, and how far they have settled each stream; all that
//! is settled and not named arrived. The rest is read from the publication books.

mod incidents;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ChannelName, ClusterRole, RunTime, Seq, StreamIx, WitnessIx};

use super::book::{Book, Outcome, Publication};
use super::fact::{Shortfall, WitnessReport};
use super::tally::{BlindCause, Epoch, Route, Stratum};

use incidents::Incidents;

/// Whole seconds after an event's own, vouched for by the vital signs, before it is joined: they
/// are read at least once a second, so any taint of its second is known then.
const TAINT_KNOWN_AFTER_SECONDS: u64 = 2;

/// Most events that may be joined while an earlier one is not: beyond it that one counts as never
/// settled, and the watermark starts anew behind it. A run with so long a gap has failed by its
/// pending obligations or its lapped publications already.
const UNORDERED_EVENTS_MAX: usize = 1 << 20;

/// Publications of one cluster, joined over its witnesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterTrials {
    /// Accepted or recovered, untainted, and with a witness that could have lost it.
    pub trials: u64,
    /// Trials that no witness got, and at least one lost.
    pub publications_lost: u64,
    /// Trials that one witness got and another lost.
    pub publications_partially_lost: u64,
    /// Publications that a witness lost, but in a tainted second.
    pub unattributed: u64,
    /// Incidents: failures at most 10 s apart are one.
    pub incidents: u64,
}

impl ClusterTrials {
    /// Trials that failed.
    pub const fn failures(&self) -> u64 {
        self.publications_lost + self.publications_partially_lost
    }

    /// What was added to an earlier sum.
    pub(super) const fn since(&self, earlier: &Self) -> Self {
        let lost = self.publications_lost - earlier.publications_lost;
        let partially = self.publications_partially_lost - earlier.publications_partially_lost;
        Self {
            trials: self.trials - earlier.trials,
            publications_lost: lost,
            publications_partially_lost: partially,
            unattributed: self.unattributed - earlier.unattributed,
            // One failure more may join two incidents.
            incidents: self.incidents.saturating_sub(earlier.incidents),
        }
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        self.trials += other.trials;
        self.publications_lost += other.publications_lost;
        self.publications_partially_lost += other.publications_partially_lost;
        self.unattributed += other.unattributed;
        self.incidents += other.incidents;
    }
}

/// Why an event is uncovered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum UncoveredCause {
    /// A cluster refused it.
    Rejected,
    /// Of unknown fate on a cluster, and no witness there got it.
    Void,
    /// A witness lost it.
    Lost,
    /// A witness was not subscribed for part of the time.
    MissedOffline,
}

impl UncoveredCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Void, Self::Lost, Self::MissedOffline];

    /// The cause's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Void => "void",
            Self::Lost => "lost",
            Self::MissedOffline => "missed_offline",
        }
    }
}

/// Events that are a trial on both clusters, by which of them lost it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Pairs {
    /// All of them.
    pub trials: u64,
    /// Lost on new, on old by no witness.
    pub only_new: u64,
    /// Lost on old, on new by no witness.
    pub only_old: u64,
    /// Lost on both.
    pub both: u64,
}

impl Pairs {
    fn note(&mut self, old_lost: bool, new_lost: bool) {
        self.trials += 1;
        match (old_lost, new_lost) {
            (false, false) => {}
            (false, true) => self.only_new += 1,
            (true, false) => self.only_old += 1,
            (true, true) => self.both += 1,
        }
    }
}

/// Settled events, joined over the clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// Every assigned witness on every cluster got it.
    pub covered: u64,
    /// The others, by cause.
    pub uncovered: BTreeMap<UncoveredCause, u64>,
    /// Events in untainted seconds.
    pub trials: u64,
    /// Those of them that are uncovered, by cause.
    pub failures: BTreeMap<UncoveredCause, u64>,
    /// Events that were not sent on every cluster, by the agent's own doing, and nowhere uncovered:
    /// not counted above.
    pub unsent: u64,
    /// Which cluster lost what both were tried with.
    pub pairs: Pairs,
    /// The scheduled instant of the first event after the last uncovered one.
    pub covered_since: Option<RunTime>,
    /// The scheduled instant of the last event before the first unsettled one.
    pub covered_until: Option<RunTime>,
}

impl Events {
    /// What was added to an earlier sum; the watermark is that of now.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let less = |now: &BTreeMap<UncoveredCause, u64>, then: &BTreeMap<_, u64>| {
            let counts = now.iter().map(|(cause, n)| (*cause, n - then.get(cause).unwrap_or(&0)));
            counts.filter(|(_, count)| *count > 0).collect()
        };
        Self {
            covered: self.covered - earlier.covered,
            uncovered: less(&self.uncovered, &earlier.uncovered),
            trials: self.trials - earlier.trials,
            failures: less(&self.failures, &earlier.failures),
            unsent: self.unsent - earlier.unsent,
            pairs: Pairs {
                trials: self.pairs.trials - earlier.pairs.trials,
                only_new: self.pairs.only_new - earlier.pairs.only_new,
                only_old: self.pairs.only_old - earlier.pairs.only_old,
                both: self.pairs.both - earlier.pairs.both,
            },
            covered_since: self.covered_since,
            covered_until: self.covered_until,
        }
    }

    /// Adds another run's. The watermark is that of the later one; an uncovered event of either is
    /// not forgotten, as the counts show it.
    pub fn merge(&mut self, other: &Self) {
        self.covered += other.covered;
        for (cause, count) in &other.uncovered {
            *self.uncovered.entry(*cause).or_default() += count;
        }
        self.trials += other.trials;
        for (cause, count) in &other.failures {
            *self.failures.entry(*cause).or_default() += count;
        }
        self.unsent += other.unsent;
        self.pairs.trials += other.pairs.trials;
        self.pairs.only_new += other.pairs.only_new;
        self.pairs.only_old += other.pairs.only_old;
        self.pairs.both += other.pairs.both;
        self.covered_since = self.covered_since.max(other.covered_since);
        self.covered_until = self.covered_until.max(other.covered_until);
    }

    /// All uncovered events.
    pub fn uncovered_total(&self) -> u64 {
        self.uncovered.values().sum()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Short {
    lost: u32,
    missed: u32,
    missed_by_agent: u32,
    /// Those of the missed ones that may be lost.
    unsure: u32,
    /// Those of the missed ones whose witness was on a later connection.
    missed_again: u32,
}

impl Short {
    const fn total(&self) -> u32 {
        self.lost + self.missed_in_all()
    }

    const fn missed_in_all(&self) -> u32 {
        self.missed + self.missed_by_agent
    }
}

/// What an assigned witness has said of a stream.
#[derive(Clone, Copy, Debug, Default)]
struct Assigned {
    /// The first seq that is owed to it: publications before its first confirmation are not.
    owed_from: u64,
    /// The first seq that is owed on a later connection; `None` while it is on its first.
    again_from: Option<u64>,
    /// Every obligation below has ended.
    settled_below: u64,
}

/// One cluster's part of one stream.
#[derive(Debug)]
struct Side {
    role: ClusterRole,
    book: Arc<Book>,
    assigned: BTreeMap<WitnessIx, Assigned>,
    short: VecDeque<Short>,
}

impl Side {
    fn has_settled(&self, seq: u64) -> bool {
        self.book.head().0 > seq && self.assigned.values().all(|w| w.settled_below > seq)
    }

    /// To how many witnesses a publication is owed, and how many of them were on a later
    /// connection.
    fn witnesses(&self, seq: u64) -> (u32, u32) {
        let owed = || self.assigned.values().filter(|w| w.owed_from <= seq);
        let again = owed().filter(|w| w.again_from.is_some_and(|from| from <= seq)).count();
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        (count(owed().count()), count(again))
    }
}

#[derive(Debug)]
struct Stream {
    stratum: Stratum,
    /// Every event below is joined.
    base: u64,
    sides: Vec<Side>,
}

impl Stream {
    /// Goes to where its books begin, if that is later: the index of the first event there.
    fn begin(&mut self) -> Option<u64> {
        let first = self.sides.iter().map(|side| side.book.first()).max()?;
        if self.base >= first.0 {
            return None;
        }
        let read = self.sides.first()?.book.read(first)?;
        self.base = first.0;
        Some(read.index)
    }
}

/// How one event came out.
#[derive(Clone, Copy, Debug)]
enum Joined {
    Covered,
    Uncovered,
    Unsent,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Coverage {
    streams: Vec<Stream>,
    trials: BTreeMap<ClusterRole, ClusterTrials>,
    strata: BTreeMap<ClusterRole, BTreeMap<Stratum, u64>>,
    incidents: BTreeMap<ClusterRole, Incidents>,
    events: Events,
    /// Joined events in the order of the schedule, from `index_base` on.
    order: VecDeque<Option<(RunTime, Joined)>>,
    index_base: u64,
    lapped: u64,
}

/// A stream's book and assigned witnesses on one cluster.
#[derive(Clone, Debug)]
pub struct SideSpec {
    /// The cluster.
    pub role: ClusterRole,
    /// The stream's book there.
    pub book: Arc<Book>,
    /// The witnesses of its channel.
    pub witnesses: Vec<WitnessIx>,
}

/// A stream that is joined.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// Its channel.
    pub channel: ChannelName,
    /// Its route.
    pub route: Route,
    /// Its books and witnesses, one per cluster.
    pub sides: Vec<SideSpec>,
}

impl Coverage {
    /// Joins the given streams, in the order of their indices.
    pub fn new(streams: Vec<StreamInfo>) -> Self {
        let sides = streams.iter().flat_map(|stream| &stream.sides);
        let trials = sides.map(|side| (side.role, ClusterTrials::default())).collect();
        let side = |spec: SideSpec| Side {
            role: spec.role,
            book: spec.book,
            assigned: spec.witnesses.into_iter().map(|w| (w, Assigned::default())).collect(),
            short: VecDeque::new(),
        };
        let stream = |stream: StreamInfo| Stream {
            stratum: Stratum {
                kind: stream.channel.kind(),
                route: stream.route,
                epoch: Epoch::First,
            },
            base: 0,
            sides: stream.sides.into_iter().map(side).collect(),
        };
        Self {
            streams: streams.into_iter().map(stream).collect(),
            trials,
            strata: BTreeMap::new(),
            incidents: BTreeMap::new(),
            events: Events::default(),
            order: VecDeque::new(),
            index_base: 0,
            lapped: 0,
        }
    }

    /// One cluster's publications, joined.
    pub fn trials(&self, role: ClusterRole) -> ClusterTrials {
        let incidents = self.incidents.get(&role).map_or(0, Incidents::count);
        ClusterTrials { incidents, ..self.trials.get(&role).copied().unwrap_or_default() }
    }

    /// One cluster's trials by stratum since the last call. One that was tried by witnesses on
    /// their first connection and by others on a later one counts in both.
    pub fn take_strata(&mut self, role: ClusterRole) -> BTreeMap<Stratum, u64> {
        self.strata.remove(&role).unwrap_or_default()
    }

    /// The events, joined.
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// Publications that the book no longer showed: a fault of the agent.
    pub const fn lapped(&self) -> u64 {
        self.lapped
    }

    /// Takes in how far a witness has settled, and what did not reach it.
    pub fn handle_witness(&mut self, role: ClusterRole, report: &WitnessReport) {
        for (stream, seq) in &report.owed_from {
            if let Some(witness) = self.assigned(*stream, role, report.witness) {
                witness.owed_from = seq.0;
            }
        }
        for (stream, seq) in &report.again_from {
            if let Some(witness) = self.assigned(*stream, role, report.witness) {
                witness.again_from = Some(seq.0);
            }
        }
        for (stream, seq, shortfall) in &report.shortfalls {
            let witness = self.assigned(*stream, role, report.witness).copied();
            let again = witness.and_then(|w| w.again_from).is_some_and(|from| from <= seq.0);
            self.begin(stream.0 as usize);
            let Some(stream) = self.streams.get_mut(stream.0 as usize) else { continue };
            let Some(offset) = seq.0.checked_sub(stream.base) else { continue };
            let Some(side) = stream.sides.iter_mut().find(|s| s.role == role) else { continue };
            // What the book does not show was never owed; it bounds the list as well.
            if *seq >= side.book.head() {
                continue;
            }
            let Ok(offset) = usize::try_from(offset) else { continue };
            if offset >= side.short.len() {
                side.short.resize(offset + 1, Short::default());
            }
            if let Some(short) = side.short.get_mut(offset) {
                match shortfall {
                    Shortfall::Lost => short.lost += 1,
                    Shortfall::Missed(BlindCause::Agent) | Shortfall::Unsure(BlindCause::Agent) => {
                        short.missed_by_agent += 1;
                    }
                    Shortfall::Missed(_) | Shortfall::Unsure(_) => short.missed += 1,
                }
                short.unsure += u32::from(matches!(shortfall, Shortfall::Unsure(_)));
                if again && *shortfall != Shortfall::Lost {
                    short.missed_again += 1;
                }
            }
        }
        for (stream, seq) in &report.settled_below {
            if let Some(witness) = self.assigned(*stream, role, report.witness) {
                witness.settled_below = witness.settled_below.max(seq.0);
            }
        }
    }

    fn assigned(
        &mut self,
        stream: StreamIx,
        role: ClusterRole,
        witness: WitnessIx,
    ) -> Option<&mut Assigned> {
        let stream = self.streams.get_mut(stream.0 as usize)?;
        stream.sides.iter_mut().find(|s| s.role == role)?.assigned.get_mut(&witness)
    }

    /// Joins every event that is settled on all clusters. `tainted` tells whether a second of the
    /// run cannot be relied on; at the end of a run nothing is waited for.
    pub fn settle(&mut self, now: RunTime, is_end: bool, tainted: impl Fn(u64) -> bool) {
        (0..self.streams.len()).for_each(|at| self.begin(at));
        for at in 0..self.streams.len() {
            while let Some((index, scheduled, joined)) = self.settle_next(at, now, is_end, &tainted)
            {
                self.note_joined(index, scheduled, joined);
            }
        }
        while let Some(first) = self.order.front().copied() {
            if first.is_none() && self.order.len() <= UNORDERED_EVENTS_MAX {
                break;
            }
            self.order.pop_front();
            self.index_base += 1;
            if let Some((scheduled, _)) = first {
                self.events.covered_until = Some(scheduled).max(self.events.covered_until);
            }
            match first {
                Some((scheduled, Joined::Covered)) => {
                    self.events.covered_since.get_or_insert(scheduled);
                }
                Some((_, Joined::Uncovered)) | None => self.events.covered_since = None,
                Some((_, Joined::Unsent)) => {}
            }
        }
    }

    /// Goes to where a stream's books begin: what was published before is nobody's, and the
    /// watermark begins behind it.
    fn begin(&mut self, stream: usize) {
        let Some(first) = self.streams.get_mut(stream).and_then(Stream::begin) else { return };
        let gone = first.saturating_sub(self.index_base);
        let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(self.order.len());
        let is_uncovered = |of: &Option<_>| matches!(of, Some((_, Joined::Uncovered)));
        if self.order.drain(..gone).any(|of| is_uncovered(&of)) {
            self.events.covered_since = None;
        }
        self.index_base = self.index_base.max(first);
    }

    fn note_joined(&mut self, index: u64, scheduled: RunTime, joined: Joined) {
        let Some(offset) = index.checked_sub(self.index_base).and_then(|o| usize::try_from(o).ok())
        else {
            // The watermark went past it long ago.
            if matches!(joined, Joined::Uncovered) {
                self.events.covered_since = None;
            }
            return;
        };
        if offset > 2 * UNORDERED_EVENTS_MAX {
            // No schedule goes so far ahead: it was told by somebody who means no good.
            self.events.covered_since = None;
            return;
        }
        if offset >= self.order.len() {
            self.order.resize(offset + 1, None);
        }
        if let Some(slot) = self.order.get_mut(offset) {
            *slot = Some((scheduled, joined));
        }
    }

    fn settle_next(
        &mut self,
        at: usize,
        now: RunTime,
        is_end: bool,
        tainted: &impl Fn(u64) -> bool,
    ) -> Option<(u64, RunTime, Joined)> {
        let stream = self.streams.get_mut(at)?;
        let (seq, publications) = loop {
            let seq = stream.base;
            if stream.sides.is_empty() || !stream.sides.iter().all(|side| side.has_settled(seq)) {
                return None;
            }
            let read: Option<Vec<Publication>> =
                stream.sides.iter().map(|s| s.book.read(Seq(seq))).collect();
            if let Some(publications) = read {
                break (seq, publications);
            }
            // Lapped on a cluster: the event cannot be judged, which the account must not hide.
            self.lapped += 1;
            stream.base += 1;
            for side in &mut stream.sides {
                side.short.pop_front();
            }
        };
        let first = publications.first()?;
        let (index, scheduled) = (first.index, first.scheduled);
        let open = |p: &Publication| matches!(p.outcome, Outcome::InFlight | Outcome::Unknown);
        let newest = publications.iter().map(|p| p.sent).fold(scheduled, RunTime::max);
        let too_early = newest.second() + TAINT_KNOWN_AFTER_SECONDS > now.second() && !is_end;
        if too_early || publications.iter().any(open) {
            return None;
        }
        stream.base += 1;
        let mut event = EventJoin::default();
        let mut tried = BTreeMap::new();
        for (side, publication) in stream.sides.iter_mut().zip(&publications) {
            let short = side.short.pop_front().unwrap_or_default();
            let (witnesses, again) = side.witnesses(seq);
            let is_tainted =
                publication.tainted || short.unsure > 0 || tainted(publication.sent.second());
            let trials = self.trials.entry(side.role).or_default();
            let Some(lost) = event.add(publication, short, witnesses, is_tainted, trials) else {
                continue;
            };
            tried.insert(side.role, lost);
            // A stratum was tried where a witness in it could have lost it.
            let first = (witnesses - again) > (short.missed_in_all() - short.missed_again);
            let strata = [(Epoch::First, first), (Epoch::Again, again > short.missed_again)];
            for (epoch, _) in strata.into_iter().filter(|(_, could_lose)| *could_lose) {
                let strata = self.strata.entry(side.role).or_default();
                *strata.entry(Stratum { epoch, ..stream.stratum }).or_default() += 1;
            }
            if lost {
                self.incidents.entry(side.role).or_default().note(publication.sent);
            }
        }
        if let (Some(old), Some(new)) = (tried.get(&ClusterRole::Old), tried.get(&ClusterRole::New))
        {
            self.events.pairs.note(*old, *new);
        }
        Some((index, scheduled, event.finish(&mut self.events)))
    }
}

#[derive(Default)]
struct EventJoin {
    unsent: bool,
    tainted: bool,
    cause: Option<UncoveredCause>,
}

impl EventJoin {
    /// Adds one cluster's publication. Where it is a trial: whether it failed.
    fn add(
        &mut self,
        publication: &Publication,
        short: Short,
        witnesses: u32,
        is_tainted: bool,
        trials: &mut ClusterTrials,
    ) -> Option<bool> {
        self.tainted |= is_tainted;
        let got = witnesses.saturating_sub(short.total());
        let mut tried = None;
        let cause = match publication.outcome {
            Outcome::Unsent => {
                // The agent's own doing: it neither accuses the cluster nor is it a trial.
                self.unsent = true;
                self.tainted = true;
                return None;
            }
            Outcome::Rejected => Some(UncoveredCause::Rejected),
            Outcome::Void | Outcome::InFlight | Outcome::Unknown => Some(UncoveredCause::Void),
            Outcome::Accepted | Outcome::Recovered => {
                tried = count_trial(short, got, is_tainted, trials);
                if short.lost > 0 {
                    Some(UncoveredCause::Lost)
                } else if short.missed > 0 || got == 0 {
                    Some(UncoveredCause::MissedOffline)
                } else {
                    None
                }
            }
        };
        self.cause = match (self.cause, cause) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        tried
    }

    fn finish(self, events: &mut Events) -> Joined {
        if self.unsent && self.cause.is_none() {
            events.unsent += 1;
            return Joined::Unsent;
        }
        if !self.tainted {
            events.trials += 1;
            if let Some(cause) = self.cause {
                *events.failures.entry(cause).or_default() += 1;
            }
        }
        if let Some(cause) = self.cause {
            *events.uncovered.entry(cause).or_default() += 1;
            Joined::Uncovered
        } else {
            events.covered += 1;
            Joined::Covered
        }
    }
}

/// Counts a trial, if it is one: whether it failed.
fn count_trial(
    short: Short,
    got: u32,
    is_tainted: bool,
    trials: &mut ClusterTrials,
) -> Option<bool> {
    if got + short.lost == 0 {
        return None;
    }
    if is_tainted {
        trials.unattributed += u64::from(short.lost > 0);
        return None;
    }
    trials.trials += 1;
    match (short.lost, got) {
        (0, _) => {}
        (_, 0) => trials.publications_lost += 1,
        _ => trials.publications_partially_lost += 1,
    }
    Some(short.lost > 0)
}

#[cfg(test)]
mod tests;
