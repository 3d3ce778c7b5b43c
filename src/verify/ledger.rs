//! One witness's ledger: every obligation is opened once, ends once, and the books balance.
//!
//! Owned by the witness's task: no lock, no message per delivery. It is told what happened by
//! `handle_*`, settles what can be settled in [`Ledger::advance`], and hands on what it counted in
//! [`Ledger::take_report`]. Time is an argument.

mod settle;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{ChannelKind, ClusterRole, RunId, RunTime, Seq, StreamIx, WitnessIx};

use super::book::{Book, Outcome, Publication};
use super::envelope::Envelope;
use super::fact::{Shortfall, Traffic, WitnessReport};
use super::tally::{
    Beside, BlindCause, Epoch, Incident, IncidentKind, Obligations, Route, Stratum, Tally,
};

use settle::{Judge, settle};

/// Most blind windows of a channel that are told apart; the two oldest are joined beyond it, with
/// what lies between them: a client on such a connection saw nothing for certain.
const WINDOWS_MAX: usize = 64;

/// How far an instant of sending may be off that another process's clock has told: what the fastest
/// of a minute's markers took, and the drift of that time.
pub const CLOCK_SLACK: Duration = Duration::from_secs(1);

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
    /// Whether another process publishes. Its books come behind the deliveries, its instants are
    /// those of another clock: whatever comes by the horizon is delivered, no latency is known, and
    /// the witness must have seen a little more to call anything lost.
    pub follows: bool,
}

impl Config {
    fn slack(&self) -> Duration {
        if self.follows { CLOCK_SLACK } else { Duration::ZERO }
    }

    /// First copies that take longer are late.
    const fn late_after(&self) -> Duration {
        if self.follows { self.horizon } else { self.deadline }
    }
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
    /// The first confirmation that was not the first; `None` before it.
    confirmed_again: Option<RunTime>,
    /// Whether the next event may be a cache channel's replay.
    replay_expected: bool,
    windows: VecDeque<BlindWindow>,
}

impl Channel {
    /// On which connection an obligation is owed that opens now, of a publication of which the book
    /// came so much later that it may be from before.
    fn epoch_of(&self, sent: RunTime, slack: Duration) -> Epoch {
        match self.confirmed_again {
            Some(again) if sent > again.after(slack) => Epoch::Again,
            _ => Epoch::First,
        }
    }

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

/// One obligation. Its flags stay after it ended, to tell a further copy from a first one. Each
/// witness has as many as its books remember publications: they are kept small.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When a first intact copy came, if by the horizon; [`RunTime::NEVER`] before.
    received: RunTime,
    /// On which of its connections the witness was when the obligation opened.
    epoch: Epoch,
    settled: bool,
    /// A first copy came after the horizon.
    came_after_horizon: bool,
}

impl Entry {
    const fn new(epoch: Epoch, settled: bool) -> Self {
        Self { received: RunTime::NEVER, epoch, settled, came_after_horizon: false }
    }

    fn received(&self) -> Option<RunTime> {
        Some(self.received).filter(|at| *at != RunTime::NEVER)
    }
}

/// An intact copy of a publication of which the book does not know yet.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    seq: Seq,
    at: RunTime,
    replay_of: Option<RunTime>,
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
    /// Whether one is owed on a later connection.
    is_again: bool,
    /// Copies in the order of their coming, from the first one on that the book does not know.
    ahead: VecDeque<Ahead>,
}

impl Stream {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Nothing below is owed: the witness was never there, or nobody says what it was.
    fn owe_nothing_before(&mut self, seq: Seq) {
        self.first = seq.0;
        self.cursor = seq.0;
        self.owed_from = Some(seq);
    }

    /// Adds the next obligation. The oldest goes for it, if it has ended and a copy of it would be
    /// none that anybody waits for.
    fn push(&mut self, entry: Entry) {
        let most = self.spec.book.publications();
        if self.entries.capacity() == 0 {
            // A list that doubles would have room for twice as many, and use all of it in turn.
            self.entries.reserve_exact(most);
        }
        while self.entries.len() >= most && self.first < self.cursor {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(entry);
    }

    /// Whether a copy waits for the book.
    fn is_ahead(&self, seq: Seq) -> bool {
        self.ahead.iter().any(|copy| copy.seq == seq)
    }

    /// Moves the cursor past what has ended: of most there is nothing more to look at.
    fn pass_settled(&mut self) {
        let below = usize::try_from(self.cursor - self.first).unwrap_or(usize::MAX);
        let ended = self.entries.iter().skip(below).take_while(|entry| entry.settled);
        self.cursor += ended.count() as u64;
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
            .filter(|later| at(*later).is_some_and(|e| e.received().is_some()))
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
            confirmed_again: None,
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
            is_again: false,
            ahead: VecDeque::new(),
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

    /// Most bytes that it keeps of a stream whose book remembers so many publications.
    pub fn bytes(publications: usize) -> u64 {
        (publications * size_of::<Entry>()) as u64
    }

    // Getters.

    /// The witness that it belongs to.
    pub const fn witness(&self) -> WitnessIx {
        self.config.witness
    }

    /// The place of a stream's channel among the witness's channels; `None` if it has none there.
    pub fn channel_of(&self, stream: StreamIx) -> Option<usize> {
        let at = self.streams.binary_search_by_key(&stream, |s| s.spec.stream).ok()?;
        self.streams.get(at).map(|stream| stream.spec.channel)
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
            mine.for_each(|stream| stream.owe_nothing_before(stream.spec.book.head()));
        } else if state.epoch == Epoch::First {
            // What was published until now was owed on the first connection.
            for stream in self.streams.iter_mut().filter(|s| s.spec.channel == channel) {
                open(stream, state, &self.config, &mut self.tally);
            }
            state.epoch = Epoch::Again;
            state.confirmed_again = Some(now);
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
        self.handle_envelope(channel, envelope.and_then(Envelope::decode), now);
    }

    /// The same of an envelope that was read already; `None` if nothing intact was.
    pub fn handle_envelope(&mut self, channel: usize, envelope: Option<Envelope>, now: RunTime) {
        let state = self.channels.get_mut(channel);
        let replay_of =
            state.and_then(|c| c.confirmed.filter(|_| std::mem::take(&mut c.replay_expected)));
        let Some(envelope) = envelope else {
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
        let copy = Ahead { seq: envelope.seq, at: now, replay_of };
        if !self.config.follows {
            self.handle_intact(at, copy);
        } else if let Some(stream) = self.streams.get_mut(at) {
            // Each waits for those before it, so that they are seen in the order of their coming.
            // One that is far ahead would keep all others waiting for ever.
            let capacity = stream.spec.book.capacity();
            let head = stream.spec.book.head().0;
            // Where the book begins is known with its first publication.
            let reach = if head == 0 { u64::MAX } else { head.saturating_add(capacity as u64) };
            if stream.ahead.len() < capacity && copy.seq.0 < reach {
                stream.ahead.push_back(copy);
            } else {
                self.tally.lapped += 1;
            }
        }
    }

    /// Takes in the copies of which the books know by now.
    fn catch_up(&mut self) {
        for at in 0..self.streams.len() {
            while let Some(stream) = self.streams.get_mut(at)
                && let Some(copy) = stream.ahead.pop_front_if(|c| c.seq < stream.spec.book.head())
            {
                self.handle_intact(at, copy);
            }
        }
    }

    /// An intact envelope came where it belongs.
    fn handle_intact(&mut self, at: usize, copy: Ahead) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        let Ahead { seq, at: now, replay_of } = copy;
        let which = Some((stream.spec.stream, seq));
        if let Some(channel) = self.channels.get(stream.spec.channel)
            && channel.confirmed.is_some()
            && seq.0 >= stream.next()
        {
            open(stream, channel, &self.config, &mut self.tally);
        }
        // By another clock it may seem to have been sent after it was replayed.
        let may_be_replay = replay_of.is_some() && self.config.follows;
        let is_known =
            may_be_replay && stream.entry(seq.0).is_some_and(|entry| entry.received().is_some());
        let slack = if is_known { self.config.slack() } else { Duration::ZERO };
        match stream.spec.book.read(seq) {
            // Whatever else such a copy is: the cluster said that it would not exist.
            Some(p) if matches!(p.outcome, Outcome::Rejected | Outcome::Unsent) => {
                self.beside(now, IncidentKind::Unexpected, which, |b| &mut b.unexpected);
            }
            Some(p) if replay_of.is_some_and(|confirmed| confirmed.after(slack) > p.sent) => {
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
            // Published before the witness's first confirmation, and not owed; or ended so long
            // ago that it is not kept any more.
            self.tally.beside.entry(now.second()).or_default().after_horizon += 1;
            return;
        };
        if entry.received().is_some() || entry.came_after_horizon {
            self.beside(now, IncidentKind::Duplicate, which, |b| &mut b.duplicates);
            return;
        }
        let latency = now.since(publication.sent);
        if latency > self.config.horizon || entry.settled {
            entry.came_after_horizon = true;
            self.tally.beside.entry(now.second()).or_default().after_horizon += 1;
            return;
        }
        entry.received = now;
        // A copy of what is not answered yet is held: the answer may be that it was rejected.
        let owed = publication.outcome != Outcome::InFlight;
        entry.settled = owed;
        let epoch = entry.epoch;
        stream.spec.book.mark_seen(seq);
        let is_overtaken = stream.newest > Some(seq.0);
        let is_reordered = is_overtaken && stream.was_overtaken(seq.0, publication.answered);
        stream.newest = stream.newest.max(Some(seq.0));
        if owed {
            let which = (seq, epoch);
            count_delivery(stream, which, publication.sent, latency, &self.config, &mut self.tally);
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
        self.catch_up();
        (self.overdue, self.unexplained) = (0, 0);
        let slack = self.config.slack();
        for stream in &mut self.streams {
            let Some(channel) = self.channels.get(stream.spec.channel) else { continue };
            if channel.confirmed.is_none() {
                // However long it takes: what others got of it need not wait.
                let head = stream.spec.book.head();
                if stream.first != head.0 {
                    stream.owe_nothing_before(head);
                }
                continue;
            }
            open(stream, channel, &self.config, &mut self.tally);
            let judge = Judge { config: &self.config, channel, last_heard: self.last_heard, now };
            stream.pass_settled();
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
                let due = sent.after(self.config.deadline + slack);
                if now > due && entry.received().is_none() {
                    self.overdue += 1;
                    let is_ours = channel.blind_during(sent, due) == Some(BlindCause::Agent);
                    self.unexplained += u64::from(!is_ours);
                }
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
fn open(stream: &mut Stream, channel: &Channel, config: &Config, tally: &mut Tally) {
    let first = stream.spec.book.first();
    if first.0 > stream.next() {
        stream.owe_nothing_before(first);
    }
    for seq in stream.next()..stream.spec.book.head().0 {
        let publication = stream.spec.book.read(Seq(seq));
        let unsent = publication.is_some_and(|p| p.outcome == Outcome::Unsent);
        let epoch = match publication {
            Some(publication) if config.follows => {
                channel.epoch_of(publication.sent, config.slack())
            }
            _ => channel.epoch,
        };
        if epoch == Epoch::Again && !std::mem::replace(&mut stream.is_again, true) {
            stream.again_from = Some(Seq(seq));
        }
        stream.push(Entry::new(epoch, unsent));
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
    config: &Config,
    tally: &mut Tally,
) {
    let (counts, latencies) = tally.strata.entry(stream.stratum(epoch)).or_default();
    if !config.follows {
        latencies.record(latency);
    }
    if latency <= config.late_after() {
        counts.delivered += 1;
        return;
    }
    counts.late += 1;
    *tally.late.entry(sent.after(latency).second()).or_default() += 1;
    let (kind, stream) = (IncidentKind::Late, Some(stream.spec.stream));
    tally.incident(Incident { at: sent, kind, stream, seq: Some(seq), cause: None });
}

#[cfg(test)]
mod tests;
