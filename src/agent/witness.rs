//! Drives one witness: a link, and the ledger that judges what comes over it.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{Clock, ClusterRole, RunTime, StreamIx, WitnessIx};
use crate::pusher::encrypt::SharedSecret;
use crate::pusher::frame::{Data, ErrorData, ServerFrame, Simple};
use crate::pusher::session::{Cause, Event};
use crate::verify::envelope::{self, Envelope};
use crate::verify::fact::{ConnectionFact, Fact, Sight, SightChange, WitnessReport};
use crate::verify::ledger::Ledger;
use crate::verify::taint::{TaintReason, taints};
use crate::verify::tally::BlindCause;

use super::link::{Ear, Link, LinkEvent, error_text};
use super::start::{StartFailure, Started};
use super::{Phases, next_tally_of, recycle_at};

/// Tells the run's start, once, that a connection is ready, or why it is not.
pub struct Readiness {
    started: Option<mpsc::Sender<Started>>,
    tries: u32,
}

impl Readiness {
    /// Tells it on `started`.
    pub const fn new(started: mpsc::Sender<Started>) -> Self {
        Self { started: Some(started), tries: 0 }
    }

    /// Nobody waits for it.
    pub const fn unasked() -> Self {
        Self { started: None, tries: 0 }
    }

    /// Whether the run goes on without it.
    fn is_given_up(&self) -> bool {
        self.started.as_ref().is_some_and(mpsc::Sender::is_closed)
    }

    async fn ready(&mut self) {
        if let Some(started) = self.started.take() {
            // Nobody listens after the start failed: the run is over.
            let _ = started.send(Started::Ready(self.tries)).await;
        }
    }

    async fn failed(&mut self, failure: impl FnOnce() -> StartFailure) {
        if let Some(started) = &self.started {
            let failure = failure();
            // A dial that failed is a lost connection as well: one try, told twice.
            let again = matches!(failure, StartFailure::Closed { cause: Cause::Dial(_), .. });
            self.tries += u32::from(!again);
            let _ = started.send(Started::Failed(failure, self.tries)).await;
        }
    }
}

/// States what happens to a connection.
pub struct ConnectionLog {
    role: ClusterRole,
    facts: mpsc::Sender<Fact>,
    readiness: Readiness,
    /// The witness that losing it makes blind, if it is one's.
    witness: Option<WitnessIx>,
    was_ready: bool,
    blind: Option<(RunTime, BlindCause)>,
    /// The cluster's last words, or what was wrong with them.
    last_error: Option<String>,
    /// Whether words of the cluster are left out, for it names channels in them.
    is_discreet: bool,
}

impl ConnectionLog {
    /// A log for one connection.
    pub const fn new(
        role: ClusterRole,
        facts: mpsc::Sender<Fact>,
        readiness: Readiness,
        witness: Option<WitnessIx>,
    ) -> Self {
        let (was_ready, blind, last_error, is_discreet) = (false, None, None, false);
        Self { role, facts, readiness, witness, was_ready, blind, last_error, is_discreet }
    }

    /// The same, without words of the cluster where these may name channels that nobody shall see.
    #[must_use]
    pub const fn discreet(mut self, is_discreet: bool) -> Self {
        self.is_discreet = is_discreet;
        self
    }

    async fn state(&self, at: RunTime, fact: ConnectionFact) {
        // The collector outlives every connection; if it is gone, the run has failed already.
        let _ = self.facts.send(Fact::Connection(self.role, at, fact)).await;
    }

    /// States that the witness's blind window changed, if it is a witness's.
    async fn sight(&self, at: RunTime, change: SightChange) {
        if let Some((witness, (since, cause))) = self.witness.zip(self.blind) {
            let sight = Sight { witness, since, cause, change };
            self.state(at, ConnectionFact::Sight(sight)).await;
        }
    }

    /// Notes what the link reported at `now`. (The link is only asked; its pending dial is no
    /// `Sync` thing, so a shared reference could not cross an await.)
    pub async fn note(&mut self, event: &LinkEvent, link: &mut Link, now: RunTime) {
        match event {
            LinkEvent::DialFailed(error) => {
                let failure = || StartFailure::Dial { role: self.role, error: error.clone() };
                self.readiness.failed(failure).await;
            }
            LinkEvent::Malformed(_) | LinkEvent::Asked(_) => {}
            LinkEvent::Broken(why) => self.last_error = Some(why.clone()),
            LinkEvent::Session(event) => self.note_session(event, link, now).await,
        }
    }

    async fn note_session(&mut self, event: &Event, link: &mut Link, now: RunTime) {
        match event {
            Event::Subscribed(at) => {
                let signed = link.session().channel(*at).is_some_and(|c| c.kind().needs_auth());
                if signed {
                    let took = link.signing(*at);
                    self.state(now, ConnectionFact::Authorized { took, confirmed: true }).await;
                }
                // One channel more makes it no other connection.
                if !self.was_ready && link.session().is_ready() {
                    self.ready(link, now).await;
                }
            }
            Event::SubscriptionRefused(at, error) => {
                let named = at.and_then(|at| link.session().channel(at));
                // Where the cluster names no channel, a signed one is the likely one.
                let is_signed = at.is_none_or(|at| link.was_signed(at));
                if is_signed && named.is_none_or(|channel| channel.kind().needs_auth()) {
                    let took = at.and_then(|at| link.signing(at));
                    self.state(now, ConnectionFact::Authorized { took, confirmed: false }).await;
                }
                self.last_error = self.words(error);
                let channel = at.and_then(|at| link.session().channel(at)).cloned();
                let why = error_text(error);
                let failure = || StartFailure::Subscription { role: self.role, channel, why };
                self.readiness.failed(failure).await;
            }
            Event::Error(error) => self.last_error = self.words(error),
            Event::Disconnected(lost) => {
                if !self.was_ready {
                    self.state(now, ConnectionFact::Failed).await;
                    self.still_blind(blind_cause(&lost.cause).0, now).await;
                    // Who was never there is owed nothing, and must not pass for one who sees.
                    let is_unseen = self.witness.is_some() && self.blind.is_none();
                    if is_unseen && self.readiness.is_given_up() {
                        self.blind = Some((now, blind_cause(&lost.cause).0));
                        self.sight(now, SightChange::Lost).await;
                    }
                    let why = self.last_error.clone();
                    let cause = lost.cause.clone();
                    let gave_up = lost.gave_up;
                    let failure = || StartFailure::Closed { role: self.role, cause, gave_up, why };
                    self.readiness.failed(failure).await;
                } else {
                    self.lost(&lost.cause, lost.last_heard.unwrap_or(now), now).await;
                }
                self.was_ready = false;
            }
            Event::Established(_) | Event::Pong(_) => {}
        }
    }

    fn words(&self, error: &ErrorData) -> Option<String> {
        (!self.is_discreet).then(|| error_text(error))
    }

    async fn ready(&mut self, link: &mut Link, now: RunTime) {
        self.was_ready = true;
        self.last_error = None;
        tracing::debug!(cluster = %self.role, "connection ready");
        let (phases, expires) = (link.phases(), link.certificate_expires());
        self.state(now, ConnectionFact::Ready { phases, expires }).await;
        self.sight(now, SightChange::Restored).await;
        self.blind = None;
        self.readiness.ready().await;
    }

    async fn lost(&mut self, cause: &Cause, last_heard: RunTime, now: RunTime) {
        let (blind, code) = blind_cause(cause);
        let why = describe(cause, self.last_error.take());
        if blind == BlindCause::Agent {
            tracing::debug!(cluster = %self.role, "reconnecting on purpose");
        } else {
            tracing::info!(cluster = %self.role, why, "connection lost");
        }
        let of_witness = self.witness.is_some();
        self.state(now, ConnectionFact::Lost { code, cause: blind, why, of_witness }).await;
        if of_witness && self.blind.is_none() {
            self.blind = Some((last_heard, blind));
            self.sight(now, SightChange::Lost).await;
        }
    }

    /// A reconnect failed: what began as the agent's own doing is not its doing any more.
    async fn still_blind(&mut self, cause: BlindCause, now: RunTime) {
        if let Some((_, known)) = &mut self.blind
            && *known == BlindCause::Agent
            && cause != BlindCause::Agent
        {
            *known = cause;
            self.sight(now, SightChange::NotRestored).await;
        }
    }
}

/// Why a witness is blind after its connection was lost, and the close code, if there was one.
pub fn blind_cause(cause: &Cause) -> (BlindCause, Option<u16>) {
    use crate::pusher::close::CloseCode;
    match cause {
        Cause::Closed(CloseCode::Code(code)) => (BlindCause::Close, Some(*code)),
        Cause::Closed(CloseCode::Dropped) => (BlindCause::Network, Some(1006)),
        Cause::Dial(_) | Cause::Silent => (BlindCause::Network, None),
        Cause::Handshake(_) | Cause::Subscription => (BlindCause::Handshake, None),
        Cause::Agent => (BlindCause::Agent, None),
    }
}

/// A lost connection, in a few words.
pub fn describe(cause: &Cause, last_error: Option<String>) -> String {
    let said = last_error.map_or(String::new(), |why| format!("; before that: {why}"));
    match cause {
        Cause::Dial(why) | Cause::Handshake(why) => format!("{why}{said}"),
        Cause::Closed(code) => {
            let meaning = crate::pusher::close::meaning(code.number());
            let dash = if meaning.is_empty() { "" } else { ", " };
            format!("closed with {code}{dash}{meaning}{said}")
        }
        Cause::Subscription => format!("a subscription was not confirmed{said}"),
        Cause::Silent => format!("silent: no answer to a ping{said}"),
        Cause::Agent => "closed by the agent on purpose".to_owned(),
    }
}

/// One of the run's channels, as its deliveries are read.
pub struct RunChannel {
    /// Its name.
    pub name: String,
    /// Its key, if it is encrypted.
    pub shared_secret: Option<SharedSecret>,
}

/// Channels of the run on one connection, in the order of its subscriptions.
pub struct RunChannels {
    channels: Vec<RunChannel>,
    /// Their places, in the order of their names.
    by_name: Vec<usize>,
    reader: envelope::Reader,
}

impl RunChannels {
    /// These, in the order of their subscriptions, with what `reader` reads.
    pub fn new(channels: Vec<RunChannel>, reader: envelope::Reader) -> Self {
        let mut by_name: Vec<_> = (0..channels.len()).collect();
        by_name.sort_by_key(|at| channels.get(*at).map(|channel| &channel.name));
        Self { channels, by_name, reader }
    }

    fn place(&self, name: &str) -> Option<usize> {
        let name_of = |at: &usize| self.channels.get(*at).map(|channel| channel.name.as_str());
        let found = self.by_name.binary_search_by(|at| name_of(at).cmp(&Some(name)));
        self.by_name.get(found.ok()?).copied()
    }

    /// Reads what most frames are: an intact envelope of the run in a frame of the simplest form,
    /// on the channel of its stream, which `place_of` knows. Of anything else
    /// [`RunChannels::read`] finds out what it is.
    pub fn read_simple(
        &self,
        frame: &Simple<'_>,
        place_of: impl FnOnce(StreamIx) -> Option<usize>,
    ) -> Option<(usize, Envelope)> {
        if !matches!(frame.event, envelope::EVENT | envelope::CLIENT_EVENT) {
            return None;
        }
        let envelope = self.reader.read(frame.data)?;
        let place = place_of(envelope.stream)?;
        let channel = self.channels.get(place)?;
        let is_plain = channel.shared_secret.is_none();
        (is_plain && channel.name == frame.channel).then_some((place, envelope))
    }

    /// Hands on a frame's channel and its data, opened where the channel is encrypted, if it is a
    /// canary event. One on a channel that was never subscribed is misrouted, wherever it belongs.
    pub fn read(&self, frame: &ServerFrame<'_>, take: impl FnOnce(usize, Option<&str>)) {
        if !matches!(&*frame.event, envelope::EVENT | envelope::CLIENT_EVENT) {
            return;
        }
        let place = frame.channel.as_deref().and_then(|name| self.place(name));
        let channel = place.and_then(|place| self.channels.get(place));
        let place = place.unwrap_or(usize::MAX);
        let data = frame.data();
        match (channel.and_then(|c| c.shared_secret.as_ref()), &data) {
            (Some(secret), Data::Text(sealed)) => take(place, secret.open(sealed).as_deref()),
            (Some(_), _) | (None, Data::Absent) => take(place, None),
            (None, data) => take(place, Some(data.json_text())),
        }
    }
}

/// Judges what comes over a witness's link.
pub struct Eyes<'a> {
    /// What judges.
    pub ledger: &'a mut Ledger,
    /// Its channels.
    pub channels: &'a RunChannels,
}

impl Ear for Eyes<'_> {
    fn take(&mut self, frame: &Simple<'_>, at: RunTime) -> bool {
        let read = self.channels.read_simple(frame, |stream| self.ledger.channel_of(stream));
        let Some((place, envelope)) = read else { return false };
        self.ledger.handle_heard(at);
        self.ledger.handle_envelope(place, Some(envelope), at);
        true
    }

    fn hear(&mut self, frame: Option<&ServerFrame<'_>>, at: RunTime) {
        self.ledger.handle_heard(at);
        if let Some(frame) = frame {
            self.channels.read(frame, |place, envelope| {
                self.ledger.handle_delivery(place, envelope, at);
            });
        }
    }
}

/// See the module's documentation.
pub struct Witness {
    /// The cluster.
    pub role: ClusterRole,
    /// The process's clock.
    pub clock: Clock,
    /// The connection.
    pub link: Link,
    /// The ledger.
    pub ledger: Ledger,
    /// Its channels.
    pub channels: RunChannels,
    /// When it first reconnects on purpose, counted from the start of publishing, and how long
    /// after that again.
    pub recycle: Option<(Duration, Duration)>,
    /// Bytes that waited longer than this taint their second.
    pub backlog_max: Duration,
    /// Where facts go.
    pub facts: mpsc::Sender<Fact>,
}

impl Witness {
    /// Watches until `phases.leave`, then hands on the rest and leaves.
    ///
    /// It is boxed since a future that is given something by value keeps room for it twice.
    pub async fn run(mut self: Box<Self>, started: mpsc::Sender<Started>, phases: Phases) {
        let clock = self.clock;
        let place = self.ledger.witness();
        let readiness = Readiness::new(started);
        let mut log = ConnectionLog::new(self.role, self.facts.clone(), readiness, Some(place));
        let mut next_report = next_tally_of(place, clock.now());
        let mut recycle_next = RunTime::NEVER;
        let mut scheduled = self.recycle.is_none();
        // When the backlog was last looked at, and what was last said to be open.
        let (mut looked, mut told) = (clock.now(), None);
        self.link.start();
        loop {
            let tick = tokio::time::sleep_until(clock.instant(next_report).into());
            let recycle_due = tokio::time::sleep_until(clock.instant(recycle_next).into());
            let eyes = Eyes { ledger: &mut self.ledger, channels: &self.channels };
            tokio::select! {
                () = phases.leave.cancelled() => break,
                () = phases.publishing.cancelled(), if !scheduled => {
                    scheduled = true;
                    let first = self.recycle.map(|(first, _)| first);
                    recycle_next = recycle_at(clock.now(), first);
                }
                // Once nothing is published any more, a reconnect could show nothing.
                () = recycle_due, if !phases.published.is_cancelled() => {
                    let period = self.recycle.map(|(_, period)| period);
                    recycle_next = recycle_at(clock.now(), period);
                    self.link.recycle();
                }
                event = self.link.next_for(eyes) => {
                    note_sight(&mut self.ledger, &event, self.link.session().last_heard());
                    // Every witness has room for what it waits for, and this is rare.
                    Box::pin(log.note(&event, &mut self.link, clock.now())).await;
                }
                () = tick => {
                    let now = clock.now();
                    next_report = next_tally_of(place, now);
                    let looks = (looked, now);
                    state_own_faults(&mut self.link, self.backlog_max, looks, &self.facts).await;
                    looked = now;
                    self.hand_on(&mut told).await;
                }
            }
        }
        self.hand_on(&mut told).await;
        self.link.stop().await;
    }

    /// Hands on what is new. Whoever says that nothing has changed since `told` only takes time.
    async fn hand_on(&mut self, told: &mut Option<(u64, u64, u64)>) {
        self.ledger.advance(self.clock.now());
        let traffic = self.link.take_traffic();
        let report = WitnessReport { traffic, ..self.ledger.take_report() };
        let open = (report.pending, report.overdue, report.unexplained);
        if told.replace(open) == Some(open) && report.is_empty() {
            return;
        }
        // The collector outlives every witness; if it is gone, the run has failed already.
        let _ = self.facts.send(Fact::Witness(self.role, Box::new(report))).await;
    }
}

/// States what this machine, and no cluster, was the reason of between two looks: bytes that waited
/// too long to be read, and that there was no connection.
pub(super) async fn state_own_faults(
    link: &mut Link,
    backlog_max: Duration,
    (looked, now): (RunTime, RunTime),
    facts: &mpsc::Sender<Fact>,
) {
    let backlog = (link.take_backlog() > backlog_max).then_some(TaintReason::ReceiveBacklog);
    let kept = link.take_kept_here().then_some(TaintReason::NoConnection);
    for taint in backlog.into_iter().chain(kept).flat_map(|reason| taints(looked, now, reason)) {
        // The collector outlives every connection; if it is gone, the run has failed already.
        let _ = facts.send(taint).await;
    }
}

/// Tells a ledger what its link told. `heard` is the instant of the last frame: that of the
/// confirmation, where it is one.
pub fn note_sight(ledger: &mut Ledger, event: &LinkEvent, heard: RunTime) {
    match event {
        LinkEvent::Session(Event::Subscribed(at)) => ledger.handle_subscribed(*at, heard),
        LinkEvent::Session(Event::Disconnected(lost)) => {
            ledger.handle_lost(lost.last_heard.unwrap_or(heard), blind_cause(&lost.cause).0);
        }
        // It may have been a canary event: what cannot be read has not been delivered.
        LinkEvent::Malformed(at) => ledger.handle_delivery(usize::MAX, None, *at),
        LinkEvent::Session(_)
        | LinkEvent::DialFailed(_)
        | LinkEvent::Asked(_)
        | LinkEvent::Broken(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::model::{ChannelKind, RunId, Seq};
    use crate::pusher::encrypt::SharedSecret;
    use crate::verify::book::{Book, Outcome};
    use crate::verify::ledger::{Config, StreamSpec};
    use crate::verify::tally::Route;

    const CHANNEL: &str = "pc-x-public-0";

    /// A witness of one channel, and the book of its stream.
    fn witness(shared_secret: Option<SharedSecret>) -> (Ledger, RunChannels, Arc<Book>) {
        let (run, cluster) = (RunId(Uuid::from_u128(7)), ClusterRole::New);
        let config = Config {
            run,
            cluster,
            witness: WitnessIx(0),
            deadline: Duration::from_secs(5),
            horizon: Duration::from_secs(30),
            follows: false,
        };
        let book = Arc::new(Book::new(64));
        let stream = StreamSpec {
            stream: StreamIx(0),
            channel: 0,
            route: Route::Trigger,
            book: Arc::clone(&book),
        };
        let mut ledger = Ledger::new(config, &[ChannelKind::Public], vec![stream]);
        ledger.handle_subscribed(0, RunTime::ZERO);
        let channel = RunChannel { name: CHANNEL.to_owned(), shared_secret };
        let reader = envelope::Reader::new(run, cluster);
        (ledger, RunChannels::new(vec![channel], reader), book)
    }

    /// The frame of an event, on this channel.
    fn frame(channel: &str, seq: Seq) -> String {
        let (run, cluster) = (RunId(Uuid::from_u128(7)), ClusterRole::New);
        let envelope = Envelope { run, cluster, stream: StreamIx(0), seq, at_us: 1 };
        let data = serde_json::to_string(&envelope.encode(256)).unwrap();
        format!(r#"{{"event":"pc-canary","channel":"{channel}","data":{data}}}"#)
    }

    #[test]
    fn a_delivery_allocates_nothing() {
        const EVENTS: u64 = 10_000;
        let (mut ledger, channels, book) = witness(None);
        let frames: Vec<_> = (0..EVENTS).map(|seq| frame(CHANNEL, Seq(seq))).collect();
        let mut allocated = 0;
        for (ms, text) in (0..).zip(&frames) {
            let (sent, at) = (RunTime::from_millis(ms), RunTime::from_millis(ms + ms % 5));
            let seq = book.reserve(ms, sent, false);
            book.settle(seq, Outcome::Accepted, Some(sent));
            let counted = allocation_counter::measure(|| {
                let frame = Simple::read(text).unwrap();
                assert!(Eyes { ledger: &mut ledger, channels: &channels }.take(&frame, at));
            });
            // What has to grow has grown by then.
            allocated += if ms < 1_000 { 0 } else { counted.count_total };
            if ms % 50 == 0 {
                ledger.advance(at);
            }
        }
        assert_eq!(allocated, 0);
        let obligations = ledger.take_report().tally.obligations();
        assert_eq!((obligations.total, obligations.delivered), (EVENTS, EVENTS));
    }

    #[test]
    fn what_is_not_where_it_belongs_is_left_to_the_long_way() {
        let takes = |shared_secret, channel| {
            let (mut ledger, channels, book) = witness(shared_secret);
            book.reserve(0, RunTime::ZERO, false);
            let text = frame(channel, Seq(0));
            let frame = Simple::read(&text).unwrap();
            Eyes { ledger: &mut ledger, channels: &channels }.take(&frame, RunTime::ZERO)
        };
        assert!(takes(None, CHANNEL));
        assert!(!takes(None, "pc-x-public-1"), "another channel");
        let secret = SharedSecret::derive(CHANNEL, &[0; 32]);
        assert!(!takes(Some(secret), CHANNEL), "it should have been sealed");
    }
}
