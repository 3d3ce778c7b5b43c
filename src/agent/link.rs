//! Drives one [`Session`] over one WebSocket at a time: dials, signs, sends, reads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::task::coop::unconstrained;
use tokio::time::Sleep;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use crate::model::secret::without_signatures;
use crate::model::{ChannelName, Clock, RunTime, SocketId};
use crate::net::dial::{self, DialError, Phases, ReadStamps, Socket, Target};
use crate::net::tls::read_certificate;
use crate::pusher::auth;
use crate::pusher::close::CloseCode;
use crate::pusher::encrypt::SharedSecret;
use crate::pusher::endpoint::{Signed, Subject};
use crate::pusher::frame::{ErrorData, PONG, ServerFrame, Simple};
use crate::pusher::rest::Signer;
use crate::pusher::session::{Action, Config, Event, Session};
use crate::verify::endpoint::EndpointFact;
use crate::verify::fact::{ConnectPhases, Traffic};

use super::endpoint::Endpoint;

/// Frames read in a row before other tasks get their turn.
const FRAMES_PER_TURN: u32 = 256;
/// Longest wait for a cluster to answer the close of a client that leaves.
const LEAVE_WAIT: Duration = Duration::from_secs(2);
/// Longest wait for a close frame to leave.
const CLOSE_WAIT: Duration = Duration::from_millis(100);

type Dial =
    Pin<Box<dyn Future<Output = Result<(Socket, Arc<ReadStamps>, Phases), DialError>> + Send>>;

/// What an auth endpoint answered for a subscription on one connection.
type Authorised = (usize, SocketId, EndpointFact, Result<Signed, String>);
type Authorisation = Pin<Box<dyn Future<Output = Authorised> + Send>>;

/// Spreads dials over time, so that a cluster's own limit on new connections is kept.
#[derive(Debug)]
pub struct ConnectGate {
    clock: Clock,
    interval: Duration,
    next: Mutex<RunTime>,
}

impl ConnectGate {
    /// At most `rate` dials per second.
    pub fn new(clock: Clock, rate: f64) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate);
        Self { clock, interval, next: Mutex::new(RunTime::ZERO) }
    }

    /// The instant at which one more connection may be dialled.
    pub fn reserve(&self) -> RunTime {
        // Held for two assignments.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (*next).max(self.clock.now());
        *next = slot.after(self.interval);
        slot
    }
}

/// What a link needs to know of its cluster.
#[derive(Debug)]
pub struct LinkTarget {
    /// Where to dial.
    pub target: Target,
    /// How to sign.
    pub signer: Signer,
    /// When to dial.
    pub gate: Arc<ConnectGate>,
    /// Where subscriptions are authorised, if not by the app's secret.
    pub endpoint: Option<Arc<Endpoint>>,
    /// `user_id` on presence channels that are signed for with the app's secret.
    pub user_id: String,
    /// Longest dial.
    pub dial_timeout: Duration,
}

/// What a link reports to its owner.
#[derive(Debug)]
pub enum LinkEvent {
    /// From the session.
    Session(Event),
    /// A dial failed; the session's own event follows.
    DialFailed(DialError),
    /// A frame that is no JSON object with an event came at this instant.
    Malformed(RunTime),
    /// The application's auth endpoint was asked for a signature.
    Asked(EndpointFact),
    /// The cluster broke the WebSocket protocol or a bound, in this way; the session's own event
    /// follows.
    Broken(String),
}

/// Who hears what comes over a link.
pub trait Ear {
    /// Takes a frame before anybody has parsed it, if it knows every byte of it; else it comes
    /// again as a whole. One about the protocol itself must be left alone.
    fn take(&mut self, frame: &Simple<'_>, at: RunTime) -> bool;

    /// Hears a frame, or that there was another sign of life.
    fn hear(&mut self, frame: Option<&ServerFrame<'_>>, at: RunTime);
}

/// One that hears whole frames alone.
struct Hearing<F>(F);

impl<F: FnMut(Option<&ServerFrame<'_>>, RunTime)> Ear for Hearing<F> {
    fn take(&mut self, _: &Simple<'_>, _: RunTime) -> bool {
        false
    }

    fn hear(&mut self, frame: Option<&ServerFrame<'_>>, at: RunTime) {
        (self.0)(frame, at);
    }
}

/// See the module's documentation.
pub struct Link {
    clock: Clock,
    target: Arc<LinkTarget>,
    session: Session,
    socket: Option<(Socket, Arc<ReadStamps>)>,
    /// A socket whose close frame came, and was not answered yet.
    leaving: Option<Box<Socket>>,
    dial: Option<Dial>,
    outgoing: VecDeque<String>,
    needs_flush: bool,
    /// Wakes its owner for the session's next deadline, or for an earlier one.
    wake: Pin<Box<Sleep>>,
    /// When that is.
    wakes: RunTime,
    phases: ConnectPhases,
    upgraded: RunTime,
    /// How long the last authorisation of each channel took to make.
    signing: HashMap<usize, Duration>,
    /// Keys of encrypted channels, as the auth endpoint gave them.
    shared_secrets: HashMap<usize, SharedSecret>,
    /// Places for which the auth endpoint gave no signature yet, or none.
    unsigned: HashSet<usize>,
    /// Authorisations that are asked for, if ever one was.
    authorising: Option<FuturesUnordered<Authorisation>>,
    /// The backlog of a socket that is gone, until it is asked for.
    lost_backlog: Duration,
    /// What it carried and was not asked for yet.
    lost_traffic: Traffic,
    certificate_expires: Option<i64>,
    /// Whether this machine was the reason that the last dial failed, and that one did since it was
    /// asked for.
    is_kept_here: (bool, bool),
    /// Whether the next dial has its place among all dials already.
    is_reserved: bool,
}

impl Link {
    /// A link that will keep `channels` subscribed, once [`Link::start`]ed.
    pub fn new(
        clock: Clock,
        target: Arc<LinkTarget>,
        config: Config,
        channels: impl IntoIterator<Item = ChannelName>,
    ) -> Self {
        Self {
            clock,
            target,
            session: Session::new(config, channels),
            socket: None,
            leaving: None,
            dial: None,
            outgoing: VecDeque::new(),
            needs_flush: false,
            wake: Box::pin(tokio::time::sleep(Duration::ZERO)),
            wakes: RunTime::NEVER,
            phases: ConnectPhases::default(),
            upgraded: RunTime::ZERO,
            signing: HashMap::new(),
            shared_secrets: HashMap::new(),
            unsigned: HashSet::new(),
            authorising: None,
            lost_backlog: Duration::ZERO,
            lost_traffic: Traffic::default(),
            certificate_expires: None,
            is_kept_here: (false, false),
            is_reserved: false,
        }
    }

    /// Dials for the first time at once, in a place that [`ConnectGate::reserve`] gave.
    pub fn start_reserved(&mut self) {
        self.is_reserved = true;
        self.start();
    }

    /// Dials for the first time.
    pub fn start(&mut self) {
        self.session.start(self.clock.now());
    }

    /// The session, to ask.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// How long the last authorisation of a channel took to make.
    pub fn signing(&self, at: usize) -> Option<Duration> {
        self.signing.get(&at).copied()
    }

    /// The key of an encrypted channel, where the auth endpoint gave one.
    pub fn shared_secret(&self, at: usize) -> Option<&SharedSecret> {
        self.shared_secrets.get(&at)
    }

    /// Reconnects on purpose.
    pub fn recycle(&mut self) {
        self.session.recycle(self.clock.now());
    }

    /// Whether the cluster had a signature to judge, when it was asked for this subscription.
    pub fn was_signed(&self, at: usize) -> bool {
        !self.unsigned.contains(&at)
    }

    /// The phases of the connection that has just become ready. `None` where an auth endpoint took
    /// part of the time: that is none of the cluster's.
    pub fn phases(&self) -> Option<ConnectPhases> {
        let whole = self.clock.now().since(self.upgraded);
        let subscribed = whole.saturating_sub(self.phases.established);
        let is_the_clusters = self.target.endpoint.is_none();
        is_the_clusters.then_some(ConnectPhases { subscribed, ..self.phases })
    }

    /// The longest time since the last call for which received bytes may have waited to be read.
    pub fn take_backlog(&mut self) -> Duration {
        let here = self.socket.as_ref().map_or(Duration::ZERO, |(_, stamps)| stamps.take_backlog());
        std::mem::take(&mut self.lost_backlog).max(here)
    }

    /// Whether this machine, and not the cluster, kept it from connecting at any time since the
    /// last call.
    pub fn take_kept_here(&mut self) -> bool {
        let (is, was) = self.is_kept_here;
        self.is_kept_here.1 = is;
        was
    }

    /// Bytes that its sockets carried since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        let here = self.socket.as_ref().map(|(_, stamps)| stamps.take_bytes());
        let (received, sent) = here.unwrap_or_default();
        let mut traffic = std::mem::take(&mut self.lost_traffic);
        traffic += Traffic { received, sent };
        traffic
    }

    /// Until when the cluster's certificate is valid, on the present connection.
    pub const fn certificate_expires(&self) -> Option<i64> {
        self.certificate_expires
    }

    /// Takes the socket away; how it did until now is remembered.
    fn take_socket(&mut self) -> Option<Socket> {
        self.lost_backlog = self.take_backlog();
        self.lost_traffic = self.take_traffic();
        self.socket.take().map(|(socket, _)| socket)
    }

    /// Keeps one more channel subscribed; returns its number. See [`Session::subscribe`].
    pub fn subscribe(&mut self, channel: ChannelName) -> usize {
        self.session.subscribe(channel, self.clock.now())
    }

    /// Keeps a channel subscribed no more.
    pub fn unsubscribe(&mut self, subscription: usize) {
        // Another channel may take its number.
        self.shared_secrets.remove(&subscription);
        self.session.unsubscribe(subscription);
    }

    /// Queues a text frame, and a ping behind it; returns the ping's number.
    pub fn send_with_ping(&mut self, frame: String) -> u64 {
        self.session.send(frame);
        self.session.ping(self.clock.now())
    }

    /// Closes the connection for good.
    pub async fn stop(&mut self) {
        self.session.stop(self.clock.now());
        self.close().await;
    }

    /// Closes the connection for good, as a client does that leaves. Returns the frames that came
    /// nevertheless until the cluster had closed it as well.
    pub async fn leave(mut self) -> Vec<String> {
        self.session.stop(self.clock.now());
        let mut late = Vec::new();
        let Some(mut socket) = self.take_socket() else { return late };
        let leaving = async {
            socket.close(Some(normal_close())).await.ok()?;
            while let Ok(message) = socket.next().await? {
                if let Message::Text(text) = message {
                    late.push(text.to_string());
                }
            }
            Some(())
        };
        // A peer that answers no close must not hold the agent up.
        let _ = tokio::time::timeout(LEAVE_WAIT, leaving).await;
        late
    }

    /// [`Link::next_for`], for an owner that hears whole frames alone.
    pub async fn next(
        &mut self,
        on_event: impl FnMut(Option<&ServerFrame<'_>>, RunTime),
    ) -> LinkEvent {
        self.next_for(Hearing(on_event)).await
    }

    /// Waits for the next thing that its owner must know. Frames that are not about the protocol
    /// itself are told to `ear` as they come, with the instant of their receipt, and so is the
    /// instant of every other sign of life. Cancel-safe.
    pub async fn next_for(&mut self, mut ear: impl Ear) -> LinkEvent {
        loop {
            self.act().await;
            if let Some(event) = self.session.poll_event() {
                if matches!(event, Event::Established(_)) {
                    self.phases.established = self.clock.now().since(self.upgraded);
                }
                return LinkEvent::Session(event);
            }
            // Out of budget, a socket would look drained: the backlog would not be seen.
            let happened = unconstrained(poll_fn(|cx| self.poll_next(cx, &mut ear))).await;
            if let Some(event) = happened {
                return event;
            }
        }
    }

    /// Ready with what the owner must know, or with nothing where the session wants to act. All
    /// that has come is taken at once: what is done once for many frames costs each little.
    fn poll_next(&mut self, cx: &mut Context<'_>, ear: &mut impl Ear) -> Poll<Option<LinkEvent>> {
        if let Some(dial) = &mut self.dial
            && let Poll::Ready(dialled) = dial.as_mut().poll(cx)
        {
            return Poll::Ready(self.dialled(dialled));
        }
        for turn in 0.. {
            let Some((socket, stamps)) = &mut self.socket else { break };
            if turn == FRAMES_PER_TURN {
                // Other tasks get their turn, and so does what else this one waits for: a flood
                // must not put off a deadline.
                cx.waker().wake_by_ref();
                break;
            }
            let written = poll_write(socket, &mut self.outgoing, &mut self.needs_flush, cx);
            let message = match written {
                Poll::Ready(Err(error)) => Some(Err(error)),
                _ => match socket.poll_next_unpin(cx) {
                    Poll::Ready(message) => message,
                    Poll::Pending => break,
                },
            };
            let at = stamps.last_read();
            let event = self.received(message, at, ear);
            if event.is_some() || self.session.wants_to_act() {
                return Poll::Ready(event);
            }
        }
        if let Some(authorising) = &mut self.authorising
            && let Poll::Ready(Some(authorised)) = authorising.poll_next_unpin(cx)
        {
            return Poll::Ready(Some(LinkEvent::Asked(self.authorised(authorised))));
        }
        self.poll_deadline(cx).map(|()| None)
    }

    /// Ready once the session has let a deadline pass. Each frame puts that off, so the timer is
    /// set anew only where it would come too late, or has come too early.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.session.next_deadline().unwrap_or(RunTime::NEVER);
        if deadline < self.wakes {
            self.wake_at(deadline);
        }
        while self.wake.as_mut().poll(cx).is_ready() {
            let now = self.clock.now();
            if deadline <= now {
                self.wakes = RunTime::ZERO;
                self.session.handle_timeout(now);
                return Poll::Ready(());
            }
            self.wake_at(deadline);
        }
        Poll::Pending
    }

    fn wake_at(&mut self, at: RunTime) {
        self.wakes = at;
        self.wake.as_mut().reset(self.clock.instant(at).into());
    }

    async fn act(&mut self) {
        if let Some(mut socket) = self.leaving.take() {
            // The answer to a close frame is queued already; a dead peer must not hold us up.
            let flushed = tokio::time::timeout(CLOSE_WAIT, socket.flush());
            // Every link has room for what it waits for, and this is rare.
            let _ = Box::pin(flushed).await;
        }
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect => self.connect(),
                Action::Authorize(at, socket_id) => self.authorize(at, &socket_id),
                // One answer at a time: a peer that asks and never reads must not fill the queue.
                Action::Send(frame) if frame == PONG && self.outgoing.contains(&frame) => {}
                Action::Send(frame) => self.outgoing.push_back(frame),
                Action::Close => Box::pin(self.close()).await,
            }
        }
    }

    fn connect(&mut self) {
        let (clock, target) = (self.clock, Arc::clone(&self.target));
        let begin = match std::mem::take(&mut self.is_reserved) {
            true => clock.now(),
            false => target.gate.reserve(),
        };
        self.session.handle_dial_put_off(begin);
        self.dial = Some(Box::pin(async move {
            tokio::time::sleep_until(clock.instant(begin).into()).await;
            dial::websocket(&target.target, clock, target.dial_timeout).await
        }));
    }

    fn authorize(&mut self, at: usize, socket_id: &SocketId) {
        let start = self.clock.now();
        let Some(channel) = self.session.channel(at).cloned() else { return };
        if let Some(endpoint) = self.target.endpoint.clone() {
            let socket_id = socket_id.clone();
            self.unsigned.insert(at);
            let authorising = self.authorising.get_or_insert_default();
            authorising.push(Box::pin(async move {
                let (fact, signed) = endpoint.ask(&socket_id, Subject::Channel(&channel)).await;
                (at, socket_id, fact, signed)
            }));
            return;
        }
        let channel_data = channel
            .kind()
            .is_presence()
            .then(|| serde_json::json!({ "user_id": self.target.user_id }).to_string());
        let Signer { key, secret, .. } = &self.target.signer;
        let auth = auth::channel(key, secret, socket_id, channel.as_str(), channel_data.as_deref());
        let now = self.clock.now();
        self.signing.insert(at, now.since(start));
        self.session.handle_authorized(at, Ok((auth, channel_data)), now);
    }

    /// An answer for a connection that is gone is no use any more.
    fn authorised(&mut self, (at, socket_id, fact, signed): Authorised) -> EndpointFact {
        if self.session.socket_id() == Some(&socket_id) {
            if signed.is_ok() {
                self.unsigned.remove(&at);
            }
            let answer = signed.map(|signed| {
                self.shared_secrets.remove(&at);
                self.shared_secrets.extend(signed.shared_secret.map(|secret| (at, secret)));
                (signed.auth, signed.channel_data)
            });
            let answer = answer.map_err(|why| format!("the auth endpoint: {why}"));
            self.session.handle_authorized(at, answer, self.clock.now());
        }
        fact
    }

    fn lose_socket(&mut self) {
        drop(self.take_socket());
        self.session.handle_closed(CloseCode::Dropped, self.clock.now());
    }

    async fn close(&mut self) {
        self.dial = None;
        self.outgoing.clear();
        self.needs_flush = false;
        if let Some(mut socket) = self.take_socket().map(Box::new) {
            let closing = Socket::close(&mut socket, Some(normal_close()));
            // A peer that takes nothing any more must not hold the agent up.
            let _ = tokio::time::timeout(CLOSE_WAIT, closing).await;
        }
    }

    fn dialled(
        &mut self,
        dialled: Result<(Socket, Arc<ReadStamps>, Phases), DialError>,
    ) -> Option<LinkEvent> {
        self.dial = None;
        let now = self.clock.now();
        let is_own = dialled.as_ref().is_err_and(|error| error.is_own);
        self.is_kept_here = (is_own, is_own || self.is_kept_here.1);
        match dialled {
            Ok((socket, stamps, phases)) => {
                self.phases = ConnectPhases {
                    resolve: phases.resolve,
                    connect: phases.connect,
                    tls: phases.tls,
                    upgrade: phases.upgrade,
                    ..ConnectPhases::default()
                };
                self.upgraded = now;
                let shown = socket.get_ref().certificates().first().and_then(read_certificate);
                self.certificate_expires = shown.map(|shown| shown.not_after);
                self.outgoing.clear();
                self.socket = Some((socket, stamps));
                self.session.handle_connected(now);
                None
            }
            Err(error) => {
                self.session.handle_connect_failed(error.message.clone(), now);
                Some(LinkEvent::DialFailed(error))
            }
        }
    }

    fn received(
        &mut self,
        message: Option<Result<Message, WsError>>,
        at: RunTime,
        ear: &mut impl Ear,
    ) -> Option<LinkEvent> {
        match message {
            Some(Ok(Message::Text(text))) if self.is_taken(&text, at, ear) => {
                self.session.handle_heartbeat(at);
                None
            }
            Some(Ok(Message::Text(text))) => match ServerFrame::parse(&text) {
                Ok(frame) => {
                    let is_protocol = ["pusher:", "pusher_internal:"]
                        .iter()
                        .any(|prefix| frame.event.starts_with(prefix));
                    ear.hear((!is_protocol).then_some(&frame), at);
                    self.session.handle_frame(&frame, at);
                    None
                }
                Err(_) => {
                    ear.hear(None, at);
                    self.session.handle_heartbeat(at);
                    Some(LinkEvent::Malformed(at))
                }
            },
            Some(Ok(Message::Close(frame))) => {
                self.leaving = self.take_socket().map(Box::new);
                // A close frame without a code is seen as 1005 by a browser.
                let code = frame.map_or(1005, |frame| u16::from(frame.code));
                ear.hear(None, at);
                self.session.handle_closed(CloseCode::Code(code), at);
                None
            }
            Some(Ok(_)) => {
                ear.hear(None, at);
                self.session.handle_heartbeat(at);
                None
            }
            Some(Err(error)) => {
                self.lose_socket();
                let broken = match &error {
                    WsError::Capacity(_) | WsError::Utf8(_) => true,
                    WsError::Protocol(e) => *e != ProtocolError::ResetWithoutClosingHandshake,
                    _ => false,
                };
                broken.then(|| LinkEvent::Broken(error.to_string()))
            }
            None => {
                self.lose_socket();
                None
            }
        }
    }

    /// Whether the owner took this frame without its being parsed. Before the handshake nothing but
    /// that may come.
    fn is_taken(&self, text: &str, at: RunTime, ear: &mut impl Ear) -> bool {
        self.session.socket_id().is_some()
            && Simple::read(text).is_some_and(|frame| ear.take(&frame, at))
    }
}

const fn normal_close() -> CloseFrame {
    CloseFrame { code: WsCloseCode::Normal, reason: Utf8Bytes::from_static("") }
}

/// Writes what is queued. Nothing is lost if it is cancelled: a frame leaves the queue in the
/// moment in which the socket's buffer takes it.
fn poll_write(
    socket: &mut Socket,
    outgoing: &mut VecDeque<String>,
    needs_flush: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), WsError>> {
    while !outgoing.is_empty() {
        std::task::ready!(Pin::new(&mut *socket).poll_ready(cx))?;
        if let Some(frame) = outgoing.pop_front() {
            Pin::new(&mut *socket).start_send(Message::text(frame))?;
            *needs_flush = true;
        }
    }
    if *needs_flush {
        std::task::ready!(Pin::new(&mut *socket).poll_flush(cx))?;
        *needs_flush = false;
    }
    Poll::Ready(Ok(()))
}

/// An error's text for people, where the cluster may have said nothing at all.
pub fn error_text(error: &ErrorData) -> String {
    let code = error.code.map_or(String::new(), |code| format!(" (code {code})"));
    if error.message.is_empty() {
        format!("no reason given{code}")
    } else {
        let message: String = without_signatures(&error.message).chars().take(300).collect();
        format!("{message}{code}")
    }
}
