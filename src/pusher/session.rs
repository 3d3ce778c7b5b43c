//! One connection to one cluster, from the first dial to the last close: handshake,
//! subscriptions, both heartbeat dialects, reconnecting as a correct client does.
//!
//! The state machine has no socket and no clock. Its driver calls, in this order and until nothing
//! is left to do: a `handle_*` method for each thing that happened, [`Session::poll_action`] for
//! what must be done, [`Session::poll_event`] for what became known, and then sleeps until
//! [`Session::next_deadline`], after which it calls [`Session::handle_timeout`].

mod config;
mod refusal;

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::model::{ChannelKind, ChannelName, RunTime, SocketId};

use super::close::{self, CloseCode, Retry};
use super::frame::{self, ErrorData, Established, ServerFrame};

pub use config::Config;
use refusal::{is_never_a_refusal, names};

/// Connections lost in a row, none of which had every channel subscribed, after which even a 42xx
/// waits: a cluster that closes each connection with 4200 must not be hammered.
const AT_ONCE_MAX: u32 = 3;
/// Shortest wait before a reconnect that is not immediate (Channels docs: protocol, 4100–4199).
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest such wait, before jitter.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What the driver must do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial; answer with [`Session::handle_connected`] or [`Session::handle_connect_failed`].
    Connect,
    /// Authorise the subscription for this socket; answer with [`Session::handle_authorized`] as
    /// long as [`Session::socket_id`] is still this one.
    Authorize(usize, SocketId),
    /// Send this text frame.
    Send(String),
    /// Close the socket, if there is one, or abandon the dial, and forget it: what still comes from
    /// it is not for the session.
    Close,
}

/// What became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The cluster confirmed the connection.
    Established(SocketId),
    /// The cluster confirmed the subscription.
    Subscribed(usize),
    /// The cluster refused a subscription or never answered it, or its authorisation failed; `None`
    /// where several were outstanding and the cluster named none.
    SubscriptionRefused(Option<usize>, ErrorData),
    /// An error frame about something else than an outstanding subscription, or before the
    /// connection was established.
    Error(ErrorData),
    /// The answer to the n-th ping of this connection, counted from 0.
    Pong(u64),
    /// The connection is gone, or never came to be.
    Disconnected(Disconnect),
}

/// How a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub cause: Cause,
    /// The last instant at which the connection was known to be alive. `None` if it was never
    /// established.
    pub last_heard: Option<RunTime>,
    /// Whether it is over for good: the session was stopped, or the cluster would refuse it again,
    /// and a client would give up. After a close with 4000 it would not over TLS
    /// ([`super::close::retry`]).
    pub gave_up: bool,
}

/// Why a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It could not be dialled.
    Dial(String),
    /// The cluster closed it, or it was cut.
    Closed(CloseCode),
    /// It was dialled, but not established in time, or with something else than the handshake.
    Handshake(String),
    /// A subscription was not confirmed in time, or refused.
    Subscription,
    /// Nothing came in answer to a ping.
    Silent,
    /// The agent closed it on purpose.
    Agent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubState {
    Idle,
    AwaitingAuthorization {
        since: RunTime,
    },
    Requested {
        since: RunTime,
    },
    Confirmed,
    /// Not to be had on this connection.
    Refused,
    /// Not wanted any more. Its number is free once no answer to it can come.
    Left {
        is_free: bool,
    },
}

#[derive(Debug)]
struct Subscription {
    channel: ChannelName,
    kind: ChannelKind,
    state: SubState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not started, or given up, or stopped.
    Idle,
    /// Waits to dial.
    Waiting { until: RunTime },
    /// Dialling.
    Connecting { deadline: RunTime },
    /// Waits for `pusher:connection_established`.
    Handshaking { deadline: RunTime },
    /// Established.
    Open,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Session {
    config: Config,
    rng: SmallRng,
    state: State,
    subscriptions: Vec<Subscription>,
    socket_id: Option<SocketId>,
    last_heard: RunTime,
    ping_after: Duration,
    ping_deadline: Option<RunTime>,
    pings_sent: u64,
    pongs_heard: u64,
    /// Whether it is to be left on purpose at the next sign of life.
    recycling: bool,
    failures: u32,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Session {
    /// A session that will keep `channels` subscribed, each named once: servers do not say which of
    /// two subscriptions to one channel they answer. It does nothing before [`Session::start`].
    pub fn new(config: Config, channels: impl IntoIterator<Item = ChannelName>) -> Self {
        let subscriptions = channels
            .into_iter()
            .map(|channel| Subscription { kind: channel.kind(), channel, state: SubState::Idle })
            .collect();
        Self {
            rng: SmallRng::seed_from_u64(config.seed),
            state: State::Idle,
            subscriptions,
            socket_id: None,
            last_heard: RunTime::ZERO,
            ping_after: config.ping_after,
            ping_deadline: None,
            pings_sent: 0,
            pongs_heard: 0,
            recycling: false,
            failures: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            config,
        }
    }

    // Getters.

    /// The channel of a subscription.
    pub fn channel(&self, subscription: usize) -> Option<&ChannelName> {
        self.subscriptions.get(subscription).map(|s| &s.channel)
    }

    /// Whether every channel is confirmed on the present connection.
    pub fn is_ready(&self) -> bool {
        self.state == State::Open
            && self.subscriptions.iter().all(|s| {
                matches!(s.state, SubState::Confirmed | SubState::Refused | SubState::Left { .. })
            })
    }

    /// Whether the connection is established.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The present connection's id; `None` unless it is established.
    pub const fn socket_id(&self) -> Option<&SocketId> {
        self.socket_id.as_ref()
    }

    /// The instant of the last sign of life on the present connection, or on the last one if there
    /// is none.
    pub const fn last_heard(&self) -> RunTime {
        self.last_heard
    }

    // Commands.

    /// Dials for the first time, or again after the session gave up or was stopped.
    pub fn start(&mut self, now: RunTime) {
        if self.state == State::Idle {
            self.connect(now);
        }
    }

    /// Sends `pusher:ping`; returns its number on this connection, to be found again in
    /// [`Event::Pong`]. Unless [`Session::is_open`] it sends nothing, and the number means nothing.
    pub fn ping(&mut self, now: RunTime) -> u64 {
        let number = self.pings_sent;
        if self.is_open() {
            self.pings_sent += 1;
            self.ping_deadline.get_or_insert(now.after(self.config.pong_timeout));
            self.actions.push_back(Action::Send(frame::PING.to_owned()));
        }
        number
    }

    /// Sends a text frame; nothing unless [`Session::is_open`]. Frames and pings keep their order.
    pub fn send(&mut self, frame: String) {
        if self.is_open() {
            self.actions.push_back(Action::Send(frame));
        }
    }

    /// Closes the connection on purpose and dials again at once, as soon as it has proved alive:
    /// one that is dead already was not ended by us. Nothing unless [`Session::is_ready`].
    pub fn recycle(&mut self, now: RunTime) {
        if self.is_ready() && !self.recycling {
            self.recycling = true;
            self.ping(now);
        }
    }

    /// Gives up for good, with a last [`Event::Disconnected`] whether or not there is a connection.
    pub fn stop(&mut self, now: RunTime) {
        if self.state != State::Idle {
            self.leave(Cause::Agent, Retry::Never, now);
        }
    }

    /// Keeps one more channel subscribed, on this connection and on every later one; returns its
    /// number. It must not be among those that are kept already.
    pub fn subscribe(&mut self, channel: ChannelName, now: RunTime) -> usize {
        let kind = channel.kind();
        let wanted = Subscription { channel, kind, state: SubState::Idle };
        let free =
            self.subscriptions.iter().position(|s| s.state == SubState::Left { is_free: true });
        let at = free.unwrap_or(self.subscriptions.len());
        match self.subscriptions.get_mut(at) {
            Some(left) => *left = wanted,
            None => self.subscriptions.push(wanted),
        }
        self.request(at, now);
        at
    }

    /// Keeps a channel subscribed no more. There is no answer to that: events that were under way
    /// may still come.
    pub fn unsubscribe(&mut self, subscription: usize) {
        let Some(sub) = self.subscriptions.get_mut(subscription) else { return };
        if matches!(sub.state, SubState::Confirmed | SubState::Requested { .. }) {
            let frame = frame::unsubscribe(sub.channel.as_str());
            self.actions.push_back(Action::Send(frame));
        }
        let is_free = !matches!(sub.state, SubState::AwaitingAuthorization { .. });
        sub.state = SubState::Left { is_free };
    }

    // What happened.

    /// The dial that was asked for begins at `at`, not before: what is waited until then is the
    /// driver's own wish.
    pub fn handle_dial_put_off(&mut self, at: RunTime) {
        if let State::Connecting { deadline } = &mut self.state {
            *deadline = at.after(self.config.connect_timeout);
        }
    }

    /// The dial succeeded: the WebSocket is open.
    pub fn handle_connected(&mut self, now: RunTime) {
        if let State::Connecting { deadline } = self.state {
            self.last_heard = now;
            self.state = State::Handshaking { deadline };
        }
    }

    /// The dial failed.
    pub fn handle_connect_failed(&mut self, why: String, now: RunTime) {
        if matches!(self.state, State::Connecting { .. }) {
            self.lose(Cause::Dial(why), Retry::BackOff, now);
        }
    }

    /// Anything came that is no readable text frame: most often a ping or a pong of the WebSocket
    /// layer, which is what the hosted service sends to a quiet client.
    pub fn handle_heartbeat(&mut self, now: RunTime) {
        self.note_alive(now);
        self.recycle_alive(now);
    }

    /// A text frame came at `now`. Frames that are not about the protocol itself change nothing
    /// but the instant of the last sign of life, unless they come before the handshake.
    pub fn handle_frame(&mut self, frame: &ServerFrame<'_>, now: RunTime) {
        self.note_alive(now);
        match self.state {
            State::Idle | State::Waiting { .. } | State::Connecting { .. } => {}
            State::Handshaking { .. } => self.handle_first_frame(frame, now),
            State::Open => self.handle_open_frame(frame, now),
        }
        self.recycle_alive(now);
    }

    /// The socket is gone: by a close frame that came at `now`, or cut.
    pub fn handle_closed(&mut self, code: CloseCode, now: RunTime) {
        if matches!(self.state, State::Idle | State::Waiting { .. }) {
            return;
        }
        if matches!(code, CloseCode::Code(_)) {
            self.note_alive(now);
        }
        self.lose(Cause::Closed(code), close::retry(code), now);
    }

    /// The answer to [`Action::Authorize`]: `auth` and `channel_data`, or why there is none. An
    /// answer for an earlier socket must not be handed in: its signature would be refused on this
    /// one.
    pub fn handle_authorized(
        &mut self,
        subscription: usize,
        answer: Result<(String, Option<String>), String>,
        now: RunTime,
    ) {
        let Some(sub) = self.subscriptions.get_mut(subscription) else { return };
        if !matches!(sub.state, SubState::AwaitingAuthorization { .. }) {
            return;
        }
        match answer {
            Ok((auth, channel_data)) => {
                sub.state = SubState::Requested { since: now };
                let frame = frame::subscribe(sub.channel.as_str(), &auth, channel_data.as_deref());
                self.actions.push_back(Action::Send(frame));
            }
            Err(message) => {
                self.refuse(subscription, ErrorData { code: None, message }, now);
            }
        }
    }

    /// The instant of [`Session::next_deadline`] has come.
    pub fn handle_timeout(&mut self, now: RunTime) {
        match &self.state {
            State::Idle => {}
            State::Waiting { until } if *until <= now => self.connect(now),
            State::Connecting { deadline } if *deadline <= now => {
                let why = "no connection in time".to_owned();
                self.leave(Cause::Dial(why), Retry::BackOff, now);
            }
            State::Handshaking { deadline, .. } if *deadline <= now => {
                let why = "pusher:connection_established did not come in time".to_owned();
                self.leave(Cause::Handshake(why), Retry::BackOff, now);
            }
            State::Open => self.handle_open_timeout(now),
            State::Waiting { .. } | State::Connecting { .. } | State::Handshaking { .. } => {}
        }
    }

    // What to do, what is known, and when to come back.

    /// The next thing to do; `None` if there is nothing now.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing that became known.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is something to do, or something new is known.
    pub fn wants_to_act(&self) -> bool {
        !self.actions.is_empty() || !self.events.is_empty()
    }

    /// When [`Session::handle_timeout`] wants to be called; `None` if nothing is waited for.
    pub fn next_deadline(&self) -> Option<RunTime> {
        match &self.state {
            State::Idle => None,
            State::Waiting { until } => Some(*until),
            State::Connecting { deadline } | State::Handshaking { deadline, .. } => Some(*deadline),
            State::Open => {
                let silence = match self.ping_deadline {
                    Some(deadline) => deadline,
                    None => self.last_heard.after(self.ping_after),
                };
                self.subscriptions
                    .iter()
                    .filter_map(|s| self.subscription_deadline(s.state))
                    .chain([silence])
                    .min()
            }
        }
    }

    // Inside.

    fn note_alive(&mut self, now: RunTime) {
        if matches!(self.state, State::Handshaking { .. } | State::Open) {
            self.last_heard = now;
            self.ping_deadline = None;
        }
    }

    /// Something came on the connection: if it is to be left on purpose, it may be now.
    fn recycle_alive(&mut self, now: RunTime) {
        if self.recycling && self.is_ready() {
            self.leave(Cause::Agent, Retry::AtOnce, now);
        }
    }

    fn subscription_deadline(&self, state: SubState) -> Option<RunTime> {
        match state {
            SubState::AwaitingAuthorization { since } | SubState::Requested { since } => {
                Some(since.after(self.config.subscribe_timeout))
            }
            SubState::Idle | SubState::Confirmed | SubState::Refused | SubState::Left { .. } => {
                None
            }
        }
    }

    fn connect(&mut self, now: RunTime) {
        self.state = State::Connecting { deadline: now.after(self.config.connect_timeout) };
        self.actions.push_back(Action::Connect);
    }

    fn handle_first_frame(&mut self, frame: &ServerFrame<'_>, now: RunTime) {
        match &*frame.event {
            "pusher:connection_established" => self.handle_established(frame, now),
            "pusher:error" => {
                let error = ErrorData::from_data(&frame.data());
                let code = error.code.and_then(|code| u16::try_from(code).ok());
                self.events.push_back(Event::Error(error));
                // As the first frame it stands for the close, which some servers never send.
                // Without a code, the close that follows says more; the deadline bounds the wait.
                if let Some(code) = code.map(CloseCode::Code) {
                    self.leave(Cause::Closed(code), close::retry(code), now);
                }
            }
            other => {
                let why = format!("the first frame was {other}, not the handshake");
                self.leave(Cause::Handshake(why), Retry::BackOff, now);
            }
        }
    }

    fn handle_open_frame(&mut self, frame: &ServerFrame<'_>, now: RunTime) {
        match &*frame.event {
            "pusher_internal:subscription_succeeded" => {
                self.handle_confirmation(frame.channel.as_deref());
            }
            "pusher:error" | "pusher:subscription_error" => {
                let error = ErrorData::from_data(&frame.data());
                self.handle_error(frame.channel.as_deref(), error, now);
            }
            "pusher:ping" => self.actions.push_back(Action::Send(frame::PONG.to_owned())),
            "pusher:pong" if self.pongs_heard < self.pings_sent => {
                self.events.push_back(Event::Pong(self.pongs_heard));
                self.pongs_heard += 1;
            }
            _ => {}
        }
    }

    fn handle_established(&mut self, frame: &ServerFrame<'_>, now: RunTime) {
        let data = frame.data();
        let established = data.read::<Established<'_>>();
        let socket_id = established.as_ref().and_then(|e| SocketId::new(&e.socket_id).ok());
        let (Some(established), Some(socket_id)) = (established, socket_id) else {
            let why = "pusher:connection_established without a socket id".to_owned();
            self.leave(Cause::Handshake(why), Retry::BackOff, now);
            return;
        };
        let asked = established.activity_timeout.filter(|s| *s > 0).map(Duration::from_secs);
        self.ping_after = asked.map_or(self.config.ping_after, |s| s.min(self.config.ping_after));
        self.ping_deadline = None;
        self.pings_sent = 0;
        self.pongs_heard = 0;
        self.state = State::Open;
        self.socket_id = Some(socket_id.clone());
        for at in 0..self.subscriptions.len() {
            self.request(at, now);
        }
        self.events.push_back(Event::Established(socket_id));
        if self.subscriptions.is_empty() {
            self.failures = 0;
        }
    }

    /// Asks for a subscription that is wanted, where there is a connection to ask on.
    fn request(&mut self, at: usize, now: RunTime) {
        let Some(sub) = self.subscriptions.get_mut(at) else { return };
        let (SubState::Idle, Some(socket_id)) = (sub.state, &self.socket_id) else { return };
        if sub.kind.needs_auth() {
            sub.state = SubState::AwaitingAuthorization { since: now };
            self.actions.push_back(Action::Authorize(at, socket_id.clone()));
        } else {
            sub.state = SubState::Requested { since: now };
            let frame = frame::subscribe(sub.channel.as_str(), "", None);
            self.actions.push_back(Action::Send(frame));
        }
    }

    fn handle_confirmation(&mut self, channel: Option<&str>) {
        let Some(at) = self.position(channel) else { return };
        let Some(sub) = self.subscriptions.get_mut(at) else { return };
        if matches!(sub.state, SubState::Requested { .. }) {
            sub.state = SubState::Confirmed;
            self.events.push_back(Event::Subscribed(at));
            if self.is_ready() {
                self.failures = 0;
            }
        }
    }

    /// An error frame on the open connection. Its code is not the code of a close: the connection
    /// stays, unless a subscription was refused.
    fn handle_error(&mut self, channel: Option<&str>, error: ErrorData, now: RunTime) {
        match self.refused_by(channel, &error) {
            Refusal::Of(at) => self.refuse(at, error, now),
            // One of several was refused, and nobody says which: its timeout will tell.
            Refusal::OfOne => self.events.push_back(Event::SubscriptionRefused(None, error)),
            Refusal::None => self.events.push_back(Event::Error(error)),
        }
    }

    /// What an error frame says about the outstanding subscriptions. There is no correlation: the
    /// channel stands beside the error, or in its text, or it must be guessed.
    fn refused_by(&self, channel: Option<&str>, error: &ErrorData) -> Refusal {
        let named = |at: &usize| match (channel, self.channel(*at)) {
            (Some(named), Some(ours)) => named == ours.as_str(),
            (None, Some(ours)) => names(&error.message, ours.as_str()),
            (_, None) => false,
        };
        let mut outstanding = (0..self.subscriptions.len()).filter(|at| self.is_outstanding(*at));
        if let Some(at) = outstanding.clone().find(named) {
            return Refusal::Of(at);
        }
        let about_another = channel.is_some() || (0..self.subscriptions.len()).any(|at| named(&at));
        if about_another || is_never_a_refusal(error.code) {
            return Refusal::None;
        }
        match (outstanding.next(), outstanding.next()) {
            (None, _) => Refusal::None,
            (Some(at), None) => Refusal::Of(at),
            (Some(_), Some(_)) => Refusal::OfOne,
        }
    }

    fn is_outstanding(&self, at: usize) -> bool {
        self.subscriptions.get(at).is_some_and(|s| matches!(s.state, SubState::Requested { .. }))
    }

    /// Gives a subscription up on this connection, or leaves it: subscribing twice on one is an
    /// error by itself.
    fn refuse(&mut self, at: usize, error: ErrorData, now: RunTime) {
        self.events.push_back(Event::SubscriptionRefused(Some(at), error));
        match self.subscriptions.get_mut(at) {
            Some(sub) if self.config.tolerates_refusals => sub.state = SubState::Refused,
            _ => self.leave(Cause::Subscription, Retry::BackOff, now),
        }
    }

    fn handle_open_timeout(&mut self, now: RunTime) {
        let overdue = |s: &Subscription| {
            self.subscription_deadline(s.state).is_some_and(|deadline| deadline <= now)
        };
        let unanswered: Vec<usize> =
            (0..).zip(&self.subscriptions).filter(|(_, s)| overdue(s)).map(|(at, _)| at).collect();
        if !unanswered.is_empty() {
            let message = "no answer in time".to_owned();
            let error = ErrorData { code: None, message };
            for at in &unanswered {
                self.events.push_back(Event::SubscriptionRefused(Some(*at), error.clone()));
                if let Some(sub) = self.subscriptions.get_mut(*at) {
                    sub.state = SubState::Refused;
                }
            }
            if !self.config.tolerates_refusals {
                self.leave(Cause::Subscription, Retry::BackOff, now);
                return;
            }
        }
        match self.ping_deadline {
            Some(deadline) if deadline <= now => {
                self.leave(Cause::Silent, Retry::BackOff, now);
            }
            Some(_) => {}
            None if self.last_heard.after(self.ping_after) <= now => {
                self.ping(now);
            }
            None => {}
        }
    }

    fn position(&self, channel: Option<&str>) -> Option<usize> {
        let channel = channel?;
        let is_left = |s: &Subscription| matches!(s.state, SubState::Left { .. });
        self.subscriptions.iter().position(|s| s.channel.as_str() == channel && !is_left(s))
    }

    /// The session ends the connection itself.
    fn leave(&mut self, cause: Cause, retry: Retry, now: RunTime) {
        self.actions.push_back(Action::Close);
        self.lose(cause, retry, now);
    }

    /// The connection is gone; decides when to dial again.
    fn lose(&mut self, cause: Cause, retry: Retry, now: RunTime) {
        let was_open = self.state == State::Open;
        for sub in &mut self.subscriptions {
            sub.state = match sub.state {
                SubState::Left { .. } => SubState::Left { is_free: true },
                _ => SubState::Idle,
            };
        }
        self.socket_id = None;
        self.ping_deadline = None;
        self.recycling = false;
        // Frames queued for a socket that is gone must not go out on the next one.
        self.actions.retain(|action| *action == Action::Close);
        let gave_up = matches!(retry, Retry::Never | Retry::WithTls);
        let comes_back = self.config.retries_refused_after.filter(|_| cause != Cause::Agent);
        self.state = if gave_up {
            comes_back.map_or(State::Idle, |after| State::Waiting { until: now.after(after) })
        } else {
            let at_once = retry == Retry::AtOnce && self.failures < AT_ONCE_MAX;
            let wait = if at_once { Duration::ZERO } else { self.backoff() };
            State::Waiting { until: now.after(wait) }
        };
        if cause != Cause::Agent {
            self.failures = self.failures.saturating_add(1);
        }
        self.events.push_back(Event::Disconnected(Disconnect {
            cause,
            last_heard: was_open.then_some(self.last_heard),
            gave_up,
        }));
    }

    fn backoff(&mut self) -> Duration {
        let doubled = BACKOFF_MIN.saturating_mul(1 << self.failures.min(5));
        // Jitter only lengthens: a second is the least that the protocol asks for.
        doubled.min(BACKOFF_MAX).mul_f64(1.0 + self.rng.random::<f64>() * 0.5)
    }
}

/// What an error frame says about the outstanding subscriptions.
enum Refusal {
    None,
    Of(usize),
    OfOne,
}

#[cfg(test)]
mod tests;
