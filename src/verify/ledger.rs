//! One witness's ledger: every obligation is opened once, ends once, and the books balance.
//!
//! Owned by the witness's task: no lock, no message per delivery. It is told what happened by
//! `handle_*`, settles what can be settled in [`Ledger::advance`], and hands on what it counted in
//! [`Ledger::take_report`]. Time is an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{ChannelKind, ClusterRole, RunId, RunTime, Seq, StreamIx, WitnessIx};

use super::book::{Book, Outcome, Publication};
use super::envelope::Envelope;
use super::fact::{Shortfall, Traffic, WitnessReport};
use super::tally::Route;
use super::tally::{
    Beside, BlindCause, Epoch, Incident, IncidentKind, Obligations, Stratum, Tally,
};

/// Most blind windows of a channel that are told apart; the two oldest are joined beyond it, with
/// what lies between them: a client on such a connection saw nothing for certain.
const WINDOWS_MAX: usize = 64;

/// What holds for every obligation of a ledger.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The run; other runs' envelopes are foreign.
    pub run: RunId,
    /// The witness's cluster.
    pub cluster: ClusterRole,
    /// The witness.
    pub witness: WitnessIx,
    /// First copies within it are delivered.
    pub deadline: Duration,
    /// First copies within it, but after the deadline, are late; nothing by then is a shortfall.
    pub horizon: Duration,
}

/// A stream on one of the witness's channels.
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// Its index in the plan.
    pub stream: StreamIx,
    /// The place of its channel among the witness's channels.
    pub channel: usize,
    /// Its route.
    pub route: Route,
    /// Its publications on the witness's cluster.
    pub book: Arc<Book>,
}

#[derive(Clone, Copy, Debug)]
struct BlindWindow {
    from: RunTime,
    /// [`RunTime::NEVER`] while it is open.
    until: RunTime,
    cause: BlindCause,
}

#[derive(Debug)]
struct Channel {
    kind: ChannelKind,
    /// The last confirmation; `None` before the first.
    confirmed: Option<RunTime>,
    /// Whether that was the first.
    epoch: Epoch,
    /// Whether the next event may be a cache channel's replay.
    replay_expected: bool,
    windows: VecDeque<BlindWindow>,
}

impl Channel {
    /// Why the witness was blind for part of the span; `None` if it was not. The agent's own doing
    /// excuses much: it is the cause only where every break was, and none of them lasts.
    fn blind_during(&self, from: RunTime, until: RunTime) -> Option<BlindCause> {
        let breaks = self.windows.iter().filter(|w| w.from < until && w.until > from);
        let cause = |w: &BlindWindow| match w.cause {
            // It could have reconnected long ago, had it been let.
            BlindCause::Agent if w.until == RunTime::NEVER => BlindCause::Network,
            cause => cause,
        };
        breaks.map(cause).reduce(BlindCause::blamed)
    }
}

/// One obligation. Its flags stay after it ended, to tell a further copy from a first one.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// On which of its connections the witness was when the obligation opened.
    epoch: Epoch,
    settled: bool,
    /// When a first intact copy came, if by the horizon.
    received: Option<RunTime>,
    /// A first copy came after the horizon.
    came_after_horizon: bool,
}

#[derive(Debug)]
struct Stream {
    spec: StreamSpec,
    kind: ChannelKind,
    /// The seq of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// Every obligation below has ended.
    cursor: u64,
    /// The cursor as last reported.
    reported: u64,
    /// Highest seq received by the horizon.
    newest: Option<u64>,
    /// The first seq that is owed, until it was reported.
    owed_from: Option<Seq>,
    /// The first seq that is owed on a later connection, until it was reported.
    again_from: Option<Seq>,
}

impl Stream {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Nothing that was published until now is owed, for the witness was never there.
    fn owe_nothing_before_now(&mut self) {
        let head = self.spec.book.head();
        self.first = head.0;
        self.cursor = head.0;
        self.owed_from = Some(head);
    }

    const fn stratum(&self, epoch: Epoch) -> Stratum {
        Stratum { kind: self.kind, route: self.spec.route, epoch }
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// Whether a later event than `seq` was received whose request began after this one's was
    /// `answered`. An answer that has not come yet cannot have come before anything began.
    fn was_overtaken(&self, seq: u64, answered: Option<RunTime>) -> bool {
        let Some((answered, newest)) = answered.zip(self.newest) else { return false };
        let at = |seq: u64| self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?);
        (seq.saturating_add(1)..=newest)
            .filter(|later| at(*later).is_some_and(|e| e.received.is_some()))
            .filter_map(|later| self.spec.book.read(Seq(later)))
            .any(|later| later.sent > answered)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Ledger {
    config: Config,
    channels: Vec<Channel>,
    /// In the order of their indices.
    streams: Vec<Stream>,
    last_heard: RunTime,
    tally: Tally,
    shortfalls: Vec<(StreamIx, Seq, Shortfall)>,
    overdue: u64,
    unexplained: u64,
}

impl Ledger {
    /// A ledger for a witness on `channels`, which carry `streams`.
    pub fn new(config: Config, channels: &[ChannelKind], mut streams: Vec<StreamSpec>) -> Self {
        streams.sort_by_key(|s| s.stream);
        let channel = |kind: &ChannelKind| Channel {
            kind: *kind,
            confirmed: None,
            epoch: Epoch::First,
            replay_expected: false,
            windows: VecDeque::new(),
        };
        let kind_of = |at: usize| channels.get(at).copied().unwrap_or(ChannelKind::Public);
        let stream = |spec: StreamSpec| Stream {
            kind: kind_of(spec.channel),
            spec,
            first: 0,
            entries: VecDeque::new(),
            cursor: 0,
            reported: 0,
            newest: None,
            owed_from: None,
            again_from: None,
        };
        Self {
            config,
            channels: channels.iter().map(channel).collect(),
            streams: streams.into_iter().map(stream).collect(),
            last_heard: RunTime::ZERO,
            tally: Tally::default(),
            shortfalls: Vec::new(),
            overdue: 0,
            unexplained: 0,
        }
    }

    // Getters.

    /// The witness that it belongs to.
    pub const fn witness(&self) -> WitnessIx {
        self.config.witness
    }

    /// Obligations open now: counted by themselves, so that the books can be seen to balance.
    pub fn pending(&self) -> u64 {
        let open = |s: &Stream| {
            let below_cursor = usize::try_from(s.cursor - s.first).unwrap_or(usize::MAX);
            s.entries.iter().skip(below_cursor).filter(|e| !e.settled).count() as u64
        };
        self.streams.iter().map(open).sum()
    }

    // What happened.

    /// The cluster confirmed the subscription to a channel.
    pub fn handle_subscribed(&mut self, channel: usize, now: RunTime) {
        let Some(state) = self.channels.get_mut(channel) else { return };
        if state.confirmed.is_none() {
            // Obligations begin with the first confirmation: what was published before is not owed.
            let mine = self.streams.iter_mut().filter(|s| s.spec.channel == channel);
            mine.for_each(Stream::owe_nothing_before_now);
        } else if state.epoch == Epoch::First {
            // What was published until now was owed on the first connection.
            for stream in self.streams.iter_mut().filter(|s| s.spec.channel == channel) {
                open(stream, Epoch::First, &mut self.tally);
                stream.again_from = Some(Seq(stream.next()));
            }
            state.epoch = Epoch::Again;
        }
        state.confirmed = Some(now);
        state.replay_expected = state.kind.is_cache();
        if let Some(window) = state.windows.back_mut()
            && window.until == RunTime::NEVER
        {
            window.until = now;
        }
    }

    /// The connection was lost; it was last known to be alive at `last_heard`, where blindness
    /// begins. Of a channel that is blind already, it is a reconnect that failed.
    pub fn handle_lost(&mut self, last_heard: RunTime, cause: BlindCause) {
        for channel in &mut self.channels {
            if let Some(window) = channel.windows.back_mut()
                && window.until == RunTime::NEVER
            {
                window.cause = window.cause.blamed(cause);
                continue;
            }
            if channel.confirmed.is_none() {
                continue;
            }
            channel.replay_expected = false;
            let from = last_heard.max(channel.confirmed.unwrap_or_default());
            channel.windows.push_back(BlindWindow { from, until: RunTime::NEVER, cause });
            if channel.windows.len() > WINDOWS_MAX
                && let (Some(oldest), Some(next)) =
                    (channel.windows.pop_front(), channel.windows.front_mut())
            {
                next.from = oldest.from;
                next.cause = oldest.cause.blamed(next.cause);
            }
        }
    }

    /// A frame of any kind, pongs included, came on the connection at `now`.
    pub fn handle_heard(&mut self, now: RunTime) {
        self.last_heard = self.last_heard.max(now);
    }

    /// A canary event came on a channel at `now`. `envelope` is its data, decrypted where the
    /// channel is encrypted; `None` if it could not be.
    pub fn handle_delivery(&mut self, channel: usize, envelope: Option<&str>, now: RunTime) {
        let expects_replay =
            self.channels.get_mut(channel).is_some_and(|c| std::mem::take(&mut c.replay_expected));
        let Some(envelope) = envelope.and_then(Envelope::decode) else {
            self.beside(now, IncidentKind::Corrupt, None, |b| &mut b.corrupt);
            return;
        };
        if envelope.run != self.config.run {
            self.tally.beside.entry(now.second()).or_default().foreign += 1;
            return;
        }
        let which = Some((envelope.stream, envelope.seq));
        let at = self.streams.binary_search_by_key(&envelope.stream, |s| s.spec.stream);
        let at = at.ok().filter(|at| {
            envelope.cluster == self.config.cluster
                && self.streams.get(*at).is_some_and(|s| s.spec.channel == channel)
        });
        let Some(at) = at else {
            self.beside(now, IncidentKind::Misrouted, which, |b| &mut b.misrouted);
            return;
        };
        self.handle_intact(at, envelope.seq, expects_replay, now);
    }

    /// An intact envelope came where it belongs.
    fn handle_intact(&mut self, at: usize, seq: Seq, expects_replay: bool, now: RunTime) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        let which = Some((stream.spec.stream, seq));
        let channel = self.channels.get(stream.spec.channel);
        let confirmed = channel.and_then(|c| c.confirmed);
        if let Some(channel) = channel
            && confirmed.is_some()
            && seq.0 >= stream.next()
        {
            open(stream, channel.epoch, &mut self.tally);
        }
        match stream.spec.book.read(seq) {
            // Whatever else such a copy is: the cluster said that it would not exist.
            Some(p) if matches!(p.outcome, Outcome::Rejected | Outcome::Unsent) => {
                self.beside(now, IncidentKind::Unexpected, which, |b| &mut b.unexpected);
            }
            Some(p) if expects_replay && confirmed > Some(p.sent) => {
                self.tally.beside.entry(now.second()).or_default().replayed += 1;
            }
            Some(publication) => self.receive(at, seq, publication, now),
            // Lapped: its outcome is long settled, whichever copy this is.
            None if seq < stream.spec.book.head() => {
                self.tally.beside.entry(now.second()).or_default().after_horizon += 1;
            }
            None => self.beside(now, IncidentKind::Unexpected, which, |b| &mut b.unexpected),
        }
    }

    fn receive(&mut self, at: usize, seq: Seq, publication: Publication, now: RunTime) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        let which = Some((stream.spec.stream, seq));
        let Some(entry) = stream.entry(seq.0) else {
            // Published before the witness's first confirmation: not owed.
            self.tally.beside.entry(now.second()).or_default().after_horizon += 1;
            return;
        };
        if entry.received.is_some() || entry.came_after_horizon {
            self.beside(now, IncidentKind::Duplicate, which, |b| &mut b.duplicates);
            return;
        }
        let latency = now.since(publication.sent);
        if latency > self.config.horizon || entry.settled {
            entry.came_after_horizon = true;
            self.tally.beside.entry(now.second()).or_default().after_horizon += 1;
            return;
        }
        entry.received = Some(now);
        // A copy of what is not answered yet is held: the answer may be that it was rejected.
        let owed = publication.outcome != Outcome::InFlight;
        entry.settled = owed;
        let epoch = entry.epoch;
        stream.spec.book.mark_seen(seq);
        let is_overtaken = stream.newest > Some(seq.0);
        let is_reordered = is_overtaken && stream.was_overtaken(seq.0, publication.answered);
        stream.newest = stream.newest.max(Some(seq.0));
        if owed {
            let (deadline, sent) = (self.config.deadline, publication.sent);
            count_delivery(stream, (seq, epoch), sent, latency, deadline, &mut self.tally);
        }
        if is_reordered {
            self.beside(now, IncidentKind::Reordered, which, |b| &mut b.reordered);
        } else if is_overtaken {
            self.tally.beside.entry(now.second()).or_default().unordered += 1;
        }
    }

    fn beside(
        &mut self,
        now: RunTime,
        kind: IncidentKind,
        which: Option<(StreamIx, Seq)>,
        count: impl FnOnce(&mut Beside) -> &mut u64,
    ) {
        *count(self.tally.beside.entry(now.second()).or_default()) += 1;
        let (stream, seq) = which.unzip();
        self.tally.incident(Incident { at: now, kind, stream, seq, cause: None });
    }

    // The passing of time.

    /// Opens what the books show, and settles what can be settled at `now`.
    pub fn advance(&mut self, now: RunTime) {
        (self.overdue, self.unexplained) = (0, 0);
        for stream in &mut self.streams {
            let Some(channel) = self.channels.get(stream.spec.channel) else { continue };
            if channel.confirmed.is_none() {
                // However long it takes: what others got of it need not wait.
                if stream.first != stream.spec.book.head().0 {
                    stream.owe_nothing_before_now();
                }
                continue;
            }
            open(stream, channel.epoch, &mut self.tally);
            let judge = Judge { config: &self.config, channel, last_heard: self.last_heard, now };
            for seq in stream.cursor..stream.next() {
                settle(stream, Seq(seq), &judge, &mut self.tally, &mut self.shortfalls);
                let Some(entry) = stream.entry(seq).copied() else { continue };
                if entry.settled {
                    if stream.cursor == seq {
                        stream.cursor = seq + 1;
                    }
                    continue;
                }
                let Some(sent) = stream.spec.book.read(Seq(seq)).map(|p| p.sent) else { continue };
                let due = sent.after(self.config.deadline);
                if now > due && entry.received.is_none() {
                    self.overdue += 1;
                    let is_ours = channel.blind_during(sent, due) == Some(BlindCause::Agent);
                    self.unexplained += u64::from(!is_ours);
                }
            }
            while stream.entries.len() > stream.spec.book.capacity() && stream.first < stream.cursor
            {
                stream.entries.pop_front();
                stream.first += 1;
            }
        }
        self.forget_old_windows(now);
    }

    /// Windows that no open obligation can reach any more.
    fn forget_old_windows(&mut self, now: RunTime) {
        // An obligation stays open past its horizon until its connection proves alive or dead,
        // which the session's own bounds decide within less than this.
        let reach = self.config.horizon * 4 + Duration::from_secs(60);
        for channel in &mut self.channels {
            while channel.windows.front().is_some_and(|w| w.until.after(reach) < now) {
                channel.windows.pop_front();
            }
        }
    }

    // What is handed on.

    /// Everything counted since the last call.
    pub fn take_report(&mut self) -> WitnessReport {
        let (mut owed_from, mut again_from) = (Vec::new(), Vec::new());
        for stream in &mut self.streams {
            let ix = stream.spec.stream;
            owed_from.extend(stream.owed_from.take().map(|seq| (ix, seq)));
            again_from.extend(stream.again_from.take().map(|seq| (ix, seq)));
        }
        let mut settled_below = Vec::new();
        for stream in self.streams.iter_mut().filter(|s| s.cursor != s.reported) {
            stream.reported = stream.cursor;
            settled_below.push((stream.spec.stream, Seq(stream.cursor)));
        }
        WitnessReport {
            witness: self.config.witness,
            tally: std::mem::take(&mut self.tally),
            owed_from,
            again_from,
            settled_below,
            shortfalls: std::mem::take(&mut self.shortfalls),
            pending: self.pending(),
            overdue: self.overdue,
            unexplained: self.unexplained,
            traffic: Traffic::default(),
        }
    }
}

/// Opens an obligation for each publication that the book shows and the stream has not yet.
fn open(stream: &mut Stream, epoch: Epoch, tally: &mut Tally) {
    for seq in stream.next()..stream.spec.book.head().0 {
        let unsent = stream.spec.book.read(Seq(seq)).is_some_and(|p| p.outcome == Outcome::Unsent);
        stream.entries.push_back(Entry { epoch, settled: unsent, ..Entry::default() });
        if !unsent {
            obligations(tally, stream.stratum(epoch)).total += 1;
        }
    }
}

fn obligations(tally: &mut Tally, stratum: Stratum) -> &mut Obligations {
    &mut tally.strata.entry(stratum).or_default().0
}

fn count_delivery(
    stream: &Stream,
    (seq, epoch): (Seq, Epoch),
    sent: RunTime,
    latency: Duration,
    deadline: Duration,
    tally: &mut Tally,
) {
    let (counts, latencies) = tally.strata.entry(stream.stratum(epoch)).or_default();
    latencies.record(latency);
    if latency <= deadline {
        counts.delivered += 1;
        return;
    }
    counts.late += 1;
    *tally.late.entry(sent.after(latency).second()).or_default() += 1;
    let (kind, stream) = (IncidentKind::Late, Some(stream.spec.stream));
    tally.incident(Incident { at: sent, kind, stream, seq: Some(seq), cause: None });
}

/// What an obligation is judged by.
struct Judge<'a> {
    config: &'a Config,
    channel: &'a Channel,
    last_heard: RunTime,
    now: RunTime,
}

/// How an obligation without a first copy ends.
enum End {
    Pending,
    Void,
    Short(Shortfall),
}

impl Judge<'_> {
    fn end(&self, publication: &Publication) -> End {
        match publication.outcome {
            Outcome::InFlight | Outcome::Unknown => return End::Pending,
            Outcome::Rejected | Outcome::Void | Outcome::Unsent => return End::Void,
            Outcome::Accepted | Outcome::Recovered => {}
        }
        let due = publication.sent.after(self.config.deadline);
        // A copy that comes at the horizon itself still counts, so nothing is decided at it.
        if self.now <= publication.sent.after(self.config.horizon) {
            End::Pending
        } else if let Some(cause) = self.channel.blind_during(publication.sent, due) {
            End::Short(Shortfall::Missed(cause))
        } else if self.last_heard >= due {
            End::Short(Shortfall::Lost)
        } else {
            // Nothing came since: the connection must prove alive or dead first.
            End::Pending
        }
    }
}

/// Settles one obligation, if it can be.
fn settle(
    stream: &mut Stream,
    seq: Seq,
    judge: &Judge<'_>,
    tally: &mut Tally,
    shortfalls: &mut Vec<(StreamIx, Seq, Shortfall)>,
) {
    let Some(entry) = stream.entry(seq.0).copied() else { return };
    if entry.settled {
        return;
    }
    let (stratum, index) = (stream.stratum(entry.epoch), stream.spec.stream);
    let Some(publication) = stream.spec.book.read(seq) else {
        tally.lapped += 1;
        obligations(tally, stratum).void += 1;
        mark_settled(stream, seq);
        return;
    };
    if let Some(received) = entry.received {
        match publication.outcome {
            Outcome::InFlight => return,
            // Void: the publisher gave it up in the very moment in which this witness got it.
            Outcome::Accepted | Outcome::Unknown | Outcome::Recovered | Outcome::Void => {
                let latency = received.since(publication.sent);
                let deadline = judge.config.deadline;
                let which = (seq, entry.epoch);
                count_delivery(stream, which, publication.sent, latency, deadline, tally);
            }
            Outcome::Rejected | Outcome::Unsent => {
                obligations(tally, stratum).void += 1;
                tally.beside.entry(received.second()).or_default().unexpected += 1;
                let (at, kind, stream) = (received, IncidentKind::Unexpected, Some(index));
                tally.incident(Incident { at, kind, stream, seq: Some(seq), cause: None });
            }
        }
        mark_settled(stream, seq);
        return;
    }
    let (kind, cause) = match judge.end(&publication) {
        End::Pending => return,
        End::Void => {
            obligations(tally, stratum).void += 1;
            mark_settled(stream, seq);
            return;
        }
        End::Short(shortfall) => {
            shortfalls.push((index, seq, shortfall));
            match shortfall {
                Shortfall::Lost => {
                    obligations(tally, stratum).lost += 1;
                    (IncidentKind::Lost, None)
                }
                Shortfall::Missed(cause) => {
                    obligations(tally, stratum).missed_offline += 1;
                    let of = (publication.sent.second(), cause);
                    *tally.missed.entry(of).or_default() += 1;
                    (IncidentKind::MissedOffline, Some(cause))
                }
            }
        }
    };
    let incident =
        Incident { at: publication.sent, kind, stream: Some(index), seq: Some(seq), cause };
    tally.incident(incident);
    mark_settled(stream, seq);
}

fn mark_settled(stream: &mut Stream, seq: Seq) {
    if let Some(entry) = stream.entry(seq.0) {
        entry.settled = true;
    }
}

#[cfg(test)]
mod tests;
