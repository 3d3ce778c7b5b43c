//! Follows what another process publishes: fills the books of this one from markers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{Clock, ClusterRole, RunId, RunTime, Seq, StreamIx};
use crate::pusher::auth;
use crate::pusher::frame::ServerFrame;
use crate::scenario::plan::MarkerPlan;
use crate::verify::book::{Book, Outcome};
use crate::verify::fact::Fact;
use crate::verify::ledger::CLOCK_SLACK;
use crate::verify::marker::{self, Bulletin, Entry, Fate, Following, Said, Told};
use crate::verify::tally::Route;

use super::link::Link;
use super::outbox::{Ended, Outbox, Sent};
use super::witness::{ConnectionLog, Readiness};
use super::{MEMBERS_WAIT, Phases, next_tally};

/// Longest silence after one, beside the horizon: then the publisher is gone.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Bulletins that may wait to be read.
pub const BULLETINS_QUEUED_MAX: usize = 1_024;

/// A bulletin, and when it came.
pub type Heard = (Bulletin, RunTime);

/// Hears one cluster's markers.
pub struct Listener {
    /// The cluster.
    pub role: ClusterRole,
    /// The process's clock.
    pub clock: Clock,
    /// The connection, which subscribes to the channel of markers.
    pub link: Link,
    /// How they are signed.
    pub markers: MarkerPlan,
    /// Who follows them.
    pub bulletins: mpsc::Sender<Heard>,
    /// Where facts go.
    pub facts: mpsc::Sender<Fact>,
}

impl Listener {
    /// Listens until `leave`.
    pub async fn run(self, leave: CancellationToken) {
        let Self { role, clock, mut link, markers, bulletins, facts } = self;
        let mut log = ConnectionLog::new(role, facts, Readiness::unasked(), None);
        link.start();
        loop {
            tokio::select! {
                () = leave.cancelled() => break,
                event = link.next(|frame, at| {
                    if let Some(bulletin) = frame.and_then(|frame| read(frame, &markers)) {
                        // Full, where somebody sends more than there are: what is missing is a gap.
                        let _ = bulletins.try_send((bulletin, at));
                    }
                }) => log.note(&event, &mut link, clock.now()).await,
            }
        }
        link.stop().await;
    }
}

/// The bulletin in a frame, if there is one that a publisher of this run signed.
fn read(frame: &ServerFrame<'_>, markers: &MarkerPlan) -> Option<Bulletin> {
    if frame.event != marker::EVENT || frame.channel.as_deref() != Some(markers.channel.as_str()) {
        return None;
    }
    let data = frame.data();
    let (signature, text) = data.json_text().split_once('.')?;
    auth::verify_hex(&markers.key, text.as_bytes(), signature).then(|| Bulletin::decode(text))?
}

/// A stream that another process publishes.
pub struct Followed {
    stream: StreamIx,
    route: Route,
    books: BTreeMap<ClusterRole, Arc<Book>>,
    following: Following,
    /// The last instant of sending; `None` before the first publication that counts.
    sent: Option<RunTime>,
    has_gaps: bool,
    is_told: bool,
}

impl Followed {
    /// One with these books.
    pub fn new(stream: StreamIx, route: Route, books: BTreeMap<ClusterRole, Arc<Book>>) -> Self {
        let (following, sent) = (Following::default(), None);
        Self { stream, route, books, following, sent, has_gaps: false, is_told: false }
    }
}

/// See the module's documentation.
pub struct Follower {
    /// The process's clock.
    pub clock: Clock,
    /// The run.
    pub run: RunId,
    /// The streams, by their index.
    pub streams: BTreeMap<StreamIx, Followed>,
    /// What is kept of publications, by cluster.
    pub outboxes: BTreeMap<ClusterRole, Outbox>,
    /// When every witness was ready. What was sent before is owed to nobody.
    pub ready: RunTime,
    /// When nothing more is awaited of a publication.
    pub horizon: Duration,
    /// What listeners hear.
    pub bulletins: mpsc::Receiver<Heard>,
    /// Where facts go.
    pub facts: mpsc::Sender<Fact>,
}

impl Follower {
    /// Follows until every stream has ended and everything of it is decided, or the publisher is
    /// not heard of any more. `stop` ends it early.
    pub async fn run(mut self, stop: CancellationToken, phases: Phases) {
        let clock = self.clock;
        let mut patience_ends = self.ready.after(MEMBERS_WAIT);
        // How far this clock is before the publisher's, in microseconds: what the fastest marker
        // took is part of it.
        let mut offset = None;
        let mut next_report = next_tally(clock.now());
        while !self.streams.values().all(|of| of.following.is_over()) {
            let tick = tokio::time::sleep_until(clock.instant(next_report).into());
            tokio::select! {
                () = stop.cancelled() => break,
                Some((bulletin, at)) = self.bulletins.recv() => {
                    if bulletin.run != self.run {
                        continue;
                    }
                    if offset.is_none() {
                        phases.publishing.cancel();
                        tracing::info!("the publisher is heard");
                        self.state(Fact::Begun(at)).await;
                    }
                    let least = micros(&clock, at) - i128::from(bulletin.now_us);
                    offset = Some(offset.map_or(least, |known: i128| known.min(least)));
                    patience_ends = at.after(self.horizon + SILENCE_MAX);
                    for marker in &bulletin.of {
                        if let Some(of) = self.streams.get_mut(&marker.stream) {
                            of.following.note(marker, at);
                        }
                    }
                }
                () = tick => {
                    let now = clock.now();
                    next_report = next_tally(now);
                    self.hand_on(now).await;
                    if now > patience_ends {
                        tracing::warn!("the publisher is not heard of any more");
                        break;
                    }
                }
            }
            self.write(offset.unwrap_or_default(), clock.now()).await;
        }
        self.state(Fact::Published(clock.now())).await;
        while !self.outboxes.values().all(Outbox::is_settled) {
            next_report = next_tally(clock.now());
            tokio::select! {
                () = phases.leave.cancelled() => break,
                () = tokio::time::sleep_until(clock.instant(next_report).into()) => {}
            }
            self.hand_on(clock.now()).await;
        }
        self.hand_on(clock.now()).await;
    }

    async fn state(&self, fact: Fact) {
        // The collector outlives every task; if it is gone, the run has failed already.
        let _ = self.facts.send(fact).await;
    }

    async fn hand_on(&mut self, now: RunTime) {
        for outbox in self.outboxes.values_mut() {
            outbox.decide(now);
            outbox.hand_on().await;
        }
    }

    /// Writes into the books what is known by now.
    async fn write(&mut self, offset: i128, now: RunTime) {
        let (clock, owed_from) = (self.clock, self.ready.after(CLOCK_SLACK));
        let mut ended = 0;
        for of in self.streams.values_mut() {
            for (seq, entry) in of.following.take(now, marker::PATIENCE) {
                match entry {
                    Entry::Said(said) => {
                        let scheduled = instant(&clock, said.1, offset);
                        if of.sent.is_some() || scheduled >= owed_from {
                            of.begin(seq);
                            of.write(&said, scheduled, &mut self.outboxes);
                        }
                    }
                    Entry::Gap => of.write_gap(),
                }
            }
            if of.following.is_over() && !of.has_gaps && !std::mem::replace(&mut of.is_told, true) {
                ended += 1;
            }
        }
        if ended > 0 {
            self.state(Fact::Followed(ended)).await;
        }
    }
}

impl Followed {
    /// The books begin with the first publication that is owed.
    fn begin(&self, seq: Seq) {
        if self.sent.is_none() {
            self.books.values().for_each(|book| book.begin_at(seq));
        }
    }

    fn write(
        &mut self,
        said: &Said,
        scheduled: RunTime,
        outboxes: &mut BTreeMap<ClusterRole, Outbox>,
    ) {
        let (route, stream) = (self.route, self.stream);
        for (role, outbox) in outboxes {
            let Some(book) = self.books.get(role) else { continue };
            let Told(fate, sent, answered, is_tainted) = said.on(*role);
            let at = scheduled.after(Duration::from_micros(sent.into()));
            let answered = answered.map(|took| at.after(Duration::from_micros(took.into())));
            let seq = book.reserve(said.0, scheduled, fate == Fate::Unsent);
            self.sent = self.sent.max(Some(at));
            let ended = match fate {
                Fate::Accepted => Ended::Accepted,
                Fate::Rejected => Ended::Rejected("its publisher says so".to_owned()),
                Fate::Unknown | Fate::Absent => {
                    Ended::Unknown("its publisher does not know".to_owned())
                }
                Fate::Unsent => {
                    outbox.note_unsent(route, scheduled);
                    continue;
                }
            };
            book.stamp_sent(seq, at, is_tainted);
            outbox.take(route, stream);
            outbox.settle(Sent { route, stream, seq, at }, ended, answered);
        }
    }

    /// One that no marker covers is owed by nobody, and is no trial.
    fn write_gap(&mut self) {
        self.has_gaps = true;
        let Some(sent) = self.sent else { return };
        for book in self.books.values() {
            let seq = book.reserve(0, sent, false);
            book.stamp_sent(seq, sent, true);
            book.settle(seq, Outcome::Unknown, None);
            book.settle(seq, Outcome::Void, None);
        }
    }
}

/// The time of day at an instant, in microseconds.
fn micros(clock: &Clock, at: RunTime) -> i128 {
    i128::try_from(clock.wall(at).as_micros()).unwrap_or(i128::MAX)
}

/// The instant of a time of day by the publisher's clock, in microseconds.
fn instant(clock: &Clock, at_us: u64, offset: i128) -> RunTime {
    let since = i128::from(at_us) + offset - micros(clock, RunTime::ZERO);
    RunTime::ZERO.after(Duration::from_micros(u64::try_from(since.max(0)).unwrap_or(u64::MAX)))
}
