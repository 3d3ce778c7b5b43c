//! Follows what another process publishes: fills the books of this one from markers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{Clock, ClusterRole, RunId, RunTime, Seq, StreamIx};
use crate::pusher::auth;
use crate::pusher::frame::ServerFrame;
use crate::pusher::session::Event;
use crate::scenario::plan::MarkerPlan;
use crate::verify::book::{Book, Outcome};
use crate::verify::fact::Fact;
use crate::verify::ledger::CLOCK_SLACK;
use crate::verify::marker::{self, Bulletin, Entry, Fate, Following, Said, Told};
use crate::verify::tally::Route;

use super::link::{Link, LinkEvent};
use super::outbox::{Ended, Outbox, Sent};
use super::witness::{ConnectionLog, Readiness, describe};
use super::{MEMBERS_WAIT, Phases, next_tally};

/// Longest silence after one, beside the horizon: then the publisher is gone. A cluster may ask it
/// to pause for a minute, and that holds up its markers as well.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// From the first bulletin to what is done with it: others may be ahead of it, and one that was
/// faster tells better how far apart the clocks are.
const SETTLING: Duration = Duration::from_secs(2);
/// How long a bulletin's way counts for how far apart the clocks are: they drift.
const OFFSETS_KEPT: Duration = Duration::from_secs(60);
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
                }) => {
                    if let LinkEvent::Session(Event::Disconnected(lost)) = &event
                        && lost.gave_up
                    {
                        let why = describe(&lost.cause, None);
                        tracing::warn!(cluster = %role, why, "does not let anybody hear markers");
                    }
                    log.note(&event, &mut link, clock.now()).await;
                }
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
    /// The last instant of sending; `None` before the first publication that is owed.
    sent: Option<RunTime>,
    /// Whether something is missing that may be owed.
    has_gaps: bool,
    /// Whether something is missing just before what comes next, and nothing is owed so far.
    after_gap: bool,
    is_told: bool,
}

impl Followed {
    /// One with these books.
    pub fn new(stream: StreamIx, route: Route, books: BTreeMap<ClusterRole, Arc<Book>>) -> Self {
        Self {
            stream,
            route,
            books,
            following: Following::default(),
            sent: None,
            has_gaps: false,
            after_gap: false,
            is_told: false,
        }
    }
}

/// How far this process's clock is before the publisher's, in microseconds. What a bulletin takes
/// on its way is part of it, so the least of some time is nearest.
#[derive(Debug, Default)]
struct Offsets(VecDeque<(RunTime, i128)>);

impl Offsets {
    /// A bulletin came at `at` that seems to be so far off.
    fn note(&mut self, at: RunTime, own: i128) {
        self.0.push_back((at, own));
        while self.0.front().is_some_and(|(then, _)| then.after(OFFSETS_KEPT) < at) {
            self.0.pop_front();
        }
    }

    /// That by which the times of a bulletin are told which seems to be so far off. It is never
    /// much less than its own: a machine that slept has a clock that is behind, and what was so
    /// before is of no use.
    fn of(&self, own: i128) -> i128 {
        let least = self.0.iter().map(|(_, offset)| *offset).min().unwrap_or(own);
        let slack = i128::try_from(CLOCK_SLACK.as_micros()).unwrap_or_default();
        least.max(own - slack)
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
        let (mut offsets, mut held) = (Offsets::default(), Vec::new());
        let mut settled = None;
        let mut next_report = next_tally(clock.now());
        while !self.streams.values().all(|of| of.following.is_over()) {
            let tick = tokio::time::sleep_until(clock.instant(next_report).into());
            tokio::select! {
                () = stop.cancelled() => break,
                Some((bulletin, at)) = self.bulletins.recv() => {
                    if bulletin.run != self.run {
                        continue;
                    }
                    if settled.is_none() {
                        settled = Some(at.after(SETTLING));
                        phases.publishing.cancel();
                        self.state(Fact::Begun(at)).await;
                    }
                    let own = micros(&clock, at) - i128::from(bulletin.now_us);
                    offsets.note(at, own);
                    held.push((bulletin, at, own));
                    patience_ends = at.after(self.horizon + SILENCE_MAX);
                }
                () = tick => {
                    let now = clock.now();
                    next_report = next_tally(now);
                    self.hand_on(now).await;
                    if now > patience_ends {
                        if settled.is_some() {
                            let silence = humantime::format_duration(self.horizon + SILENCE_MAX);
                            tracing::warn!("the publisher was silent for {silence}; it is given up");
                        }
                        break;
                    }
                }
            }
            if settled.is_some_and(|settled| clock.now() >= settled) {
                for (bulletin, at, own) in held.drain(..) {
                    self.note(bulletin, at, offsets.of(own));
                }
                self.write(clock.now()).await;
            }
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

    /// Takes in a bulletin, its times told by this process's clock.
    fn note(&mut self, mut bulletin: Bulletin, at: RunTime, offset: i128) {
        let by_ours = |at_us: u64| u64::try_from(i128::from(at_us) + offset).unwrap_or_default();
        for marker in &mut bulletin.of {
            let Some(of) = self.streams.get_mut(&marker.stream) else { continue };
            marker.said.iter_mut().for_each(|said| said.1 = by_ours(said.1));
            if marker.before != 0 {
                marker.before = by_ours(marker.before);
            }
            of.following.note(marker, at);
        }
    }

    /// Writes into the books what is known by now.
    async fn write(&mut self, now: RunTime) {
        let (clock, owed_from) = (self.clock, self.ready.after(CLOCK_SLACK));
        let mut ended = 0;
        for of in self.streams.values_mut() {
            for (seq, entry) in of.following.take(now, marker::PATIENCE) {
                match entry {
                    Entry::Said(said) => {
                        let scheduled = instant(&clock, said.1);
                        if of.sent.is_some() || scheduled >= owed_from {
                            of.begin(seq);
                            of.write(&said, (scheduled, now), &mut self.outboxes);
                        } else {
                            of.after_gap = false;
                        }
                    }
                    Entry::Gap => of.write_gap(),
                }
            }
            // What was before the first marker is owed as well, if it was sent after all was ready.
            of.has_gaps |= instant(&clock, of.following.before()) >= owed_from;
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
    /// The books begin with the first publication that is owed. What is missing before it may have
    /// been owed, too.
    fn begin(&mut self, seq: Seq) {
        if self.sent.is_none() {
            self.has_gaps |= self.after_gap;
            self.books.values().for_each(|book| book.begin_at(seq));
        }
    }

    fn write(
        &mut self,
        said: &Said,
        (scheduled, told): (RunTime, RunTime),
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
            // A copy may wait for the books behind another that no marker covers yet.
            let known = told.after(marker::PATIENCE);
            outbox.settle(Sent { route, stream, seq, at, known }, ended, answered);
        }
    }

    /// One that no marker covers is owed by nobody, and is no trial.
    fn write_gap(&mut self) {
        let Some(sent) = self.sent else {
            self.after_gap = true;
            return;
        };
        self.has_gaps = true;
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

/// The instant of a time of day, in microseconds.
fn instant(clock: &Clock, at_us: u64) -> RunTime {
    let since = i128::from(at_us) - micros(clock, RunTime::ZERO);
    RunTime::ZERO.after(Duration::from_micros(u64::try_from(since.max(0)).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_way_of_a_minute_tells_how_far_apart_the_clocks_are() {
        let mut offsets = Offsets::default();
        let mut of = |at_ms: u64, own: i128| {
            offsets.note(RunTime::from_millis(at_ms), own);
            offsets.of(own)
        };
        assert_eq!(of(0, 80_000), 80_000);
        assert_eq!(of(1_000, 30_000), 30_000);
        // One that took longer tells nothing new.
        assert_eq!(of(2_000, 500_000), 30_000);
        // Half a minute's sleep of the publisher: its clock is behind from now on.
        assert_eq!(of(3_000, 30_030_000), 29_030_000);
        assert_eq!(of(61_000, 30_040_000), 29_040_000, "that of one second still counts");
        assert_eq!(of(61_001, 30_040_000), 29_040_000);
        assert_eq!(of(63_100, 30_030_000), 30_030_000, "and not any more");
    }

    /// A follower of one stream that was ready at the clock's origin, and what it states.
    fn follower() -> (Follower, Arc<Book>, mpsc::Receiver<Fact>) {
        let book = Arc::new(Book::new(16));
        let books = BTreeMap::from([(ClusterRole::New, Arc::clone(&book))]);
        let stream = StreamIx(0);
        let (facts, stated) = mpsc::channel(64);
        let (_, bulletins) = mpsc::channel(1);
        let horizon = Duration::from_secs(3);
        let outbox =
            Outbox::new(ClusterRole::New, horizon, vec![Arc::clone(&book)], vec![1], facts.clone());
        let follower = Follower {
            clock: Clock::start(),
            run: RunId(uuid::Uuid::nil()),
            streams: [(stream, Followed::new(stream, Route::Trigger, books))].into(),
            outboxes: [(ClusterRole::New, outbox)].into(),
            ready: RunTime::ZERO,
            horizon,
            bulletins,
            facts,
        };
        (follower, book, stated)
    }

    /// What is said of events from `from` on, of which the first was due so many seconds after the
    /// witness was ready.
    fn said(follower: &Follower, from: u64, due: &[u64], is_last: bool) -> Bulletin {
        let origin = u64::try_from(micros(&follower.clock, RunTime::ZERO)).unwrap();
        let told = |fate| Told(fate, 1_000, Some(2_000), false);
        let said = |(index, due): (u64, &u64)| {
            Said(index, origin + due * 1_000_000, [told(Fate::Absent), told(Fate::Accepted)])
        };
        let said: Vec<_> = (from..).zip(due).map(said).collect();
        let before = if from == 0 { 0 } else { said.first().map_or(origin, |s| s.1 - 1) };
        let marker = marker::Marker { stream: StreamIx(0), from: Seq(from), before, said, is_last };
        let text = format!(
            r#"{{"v":1,"run":"{}","now_us":{origin},"of":[{}]}}"#,
            follower.run,
            serde_json::to_string(&marker).unwrap()
        );
        Bulletin::decode(&text).unwrap()
    }

    /// Whether all that is owed of the stream is known, after these bulletins and a long wait.
    async fn is_whole(of: &[(u64, &[u64], bool)]) -> (bool, Seq, Seq) {
        let (mut follower, book, mut stated) = follower();
        for (from, due, is_last) in of {
            let bulletin = said(&follower, *from, due, *is_last);
            follower.note(bulletin, RunTime::ZERO, 0);
        }
        follower.write(RunTime::from_millis(60_000)).await;
        drop(follower);
        let mut whole = false;
        while let Some(fact) = stated.recv().await {
            whole |= matches!(fact, Fact::Followed(1));
        }
        (whole, book.first(), book.head())
    }

    #[tokio::test]
    async fn a_stream_is_whole_if_nothing_is_missing_that_was_sent_when_all_was_ready() {
        for (of, whole, first, head) in [
            (&[(0, &[2, 3][..], false), (2, &[4], true)][..], true, 0, 3),
            // Who comes late is owed nothing of what was before.
            (&[(7, &[0, 0, 5], true)], true, 9, 10),
            // But this one was owed, and nobody says what became of it.
            (&[(7, &[3, 4], true)], false, 7, 9),
            (&[(7, &[], true)], true, 0, 0),
            // Nor of this one in the middle.
            (&[(0, &[2, 3], false), (3, &[5], true)], false, 0, 4),
            // Of what is missing here it is known that it was before.
            (&[(0, &[0], false), (2, &[0, 5], true)], true, 3, 4),
            // Here it is not.
            (&[(0, &[0], false), (2, &[5], true)], false, 2, 3),
            // It did not end.
            (&[(0, &[2, 3], false)], false, 0, 2),
        ] {
            let found = is_whole(of).await;
            assert_eq!(found, (whole, Seq(first), Seq(head)), "{of:?}");
        }
    }
}
