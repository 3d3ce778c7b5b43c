//! One app of one cluster: its sockets, channels, members, cached events and signed-in users.
//!
//! Pure: no socket, no runtime, no clock. Whoever owns the links calls a `handle_*` method or a
//! command for each thing that happened, and carries out the [`Output`]s in order. The hub behaves
//! as the hosted service documents; it knows nothing of faults, which strike between it and the
//! sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::model::channel::kind_of;
use crate::model::habit::Habit;
use crate::model::{
    AppId, AppKey, ChannelKind, ChannelName, RunTime, Secret, SocketId, WebhookKind,
};
use crate::pusher::auth;

use super::alter::alter;
use super::channel::{Caches, Channel, Member};
use super::hooks::{Hook, Hooks};
use super::users::{SignIn, Users};
use super::wire::{self, ClientEvent, ClientFrame, Data, InvalidFrame, Signin, Subscribe, Text};

/// Seconds of silence after which clients are told to ping.
pub const ACTIVITY_TIMEOUT_S: u32 = 120;
/// Most client events of one connection within a second (Channels docs: events).
pub const CLIENT_EVENTS_PER_SECOND_MAX: usize = 10;
/// Most characters of an event's name.
pub const EVENT_NAME_CHARS_MAX: usize = 200;
/// Most bytes of an event's data (Channels docs: HTTP API reference).
pub const DATA_BYTES_MAX: usize = 10_240;
/// The same with the habit of small ones.
pub const SMALL_DATA_BYTES_MAX: usize = 10_000;
/// What the channel of one user's connections is called, before the user's id.
pub const TO_USER: &str = "#server-to-user-";

/// A connection, as the hub and the owner of the links call it between themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn(pub u64);

/// The app that a hub serves.
#[derive(Clone, Debug)]
pub struct App {
    /// Part of the HTTP API's path.
    pub id: AppId,
    /// Part of the WebSocket's path.
    pub key: AppKey,
    /// Signs.
    pub secret: Secret,
}

/// An event on its way to subscribers, encoded once for all of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The event's name.
    pub event: String,
    /// The channel.
    pub channel: Arc<str>,
    /// The data, as the publisher gave it.
    pub data: Data,
    /// The sender of a client event on a presence channel.
    pub user_id: Option<Arc<str>>,
    /// All of it as a frame.
    pub frame: Text,
}

/// What the owner of the links must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this frame.
    Send(Conn, Text),
    /// Send an event to each of these: the fan-out of one publication on one channel.
    Deliver(Vec<Conn>, Arc<Message>),
    /// Send a close frame with this code and reason. The hub has already forgotten the connection.
    Close(Conn, u16, &'static str),
}

/// An event that the application publishes on one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The event's name.
    pub event: String,
    /// The channel.
    pub channel: String,
    /// The data.
    pub data: String,
    /// A connection that shall not get it.
    pub except: Option<String>,
}

struct Socket {
    id: SocketId,
    channels: BTreeSet<Arc<str>>,
    user: Option<SignIn>,
    /// When its latest client events came: at most as many as are allowed within a second.
    events: VecDeque<RunTime>,
}

/// The state of one app. See the module.
pub struct Hub {
    app: App,
    rng: SmallRng,
    conn_next: u64,
    sockets: BTreeMap<Conn, Socket>,
    by_id: BTreeMap<SocketId, Conn>,
    channels: BTreeMap<Arc<str>, Channel>,
    caches: Caches,
    users: Users,
    habits: BTreeSet<Habit>,
    hooks: Hooks,
}

/// Why a client is refused: a sentence, and a code where there is one.
#[derive(Debug)]
struct Refusal {
    message: String,
    code: Option<u16>,
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message, code: None }
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl Hub {
    /// An app nobody is connected to. The seed decides the socket ids.
    pub fn new(app: App, seed: u64) -> Self {
        Self {
            app,
            rng: SmallRng::seed_from_u64(seed),
            conn_next: 1,
            sockets: BTreeMap::new(),
            by_id: BTreeMap::new(),
            channels: BTreeMap::new(),
            caches: Caches::default(),
            users: Users::default(),
            habits: BTreeSet::new(),
            hooks: Hooks::default(),
        }
    }

    /// The same, and it has webhooks. To be asked for behind the habits.
    #[must_use]
    pub fn with_webhooks(mut self) -> Self {
        self.hooks = Hooks::new(&self.habits);
        self
    }

    /// Takes what webhooks are to tell since the last call.
    pub fn take_hooks(&mut self) -> Vec<Hook> {
        self.hooks.take()
    }

    /// The same, and it does this otherwise than documented.
    #[must_use]
    pub fn with_habits(mut self, habits: BTreeSet<Habit>) -> Self {
        self.habits = habits;
        self
    }

    /// What it does otherwise than documented.
    pub const fn habits(&self) -> &BTreeSet<Habit> {
        &self.habits
    }

    /// Whether it does this otherwise than documented.
    pub fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    /// Whether members stay whose connection is cut.
    pub fn keeps_ghosts(&self) -> bool {
        self.has(Habit::Ghosts)
    }

    /// A connection is cut, and its members stay.
    pub fn handle_cut(&mut self, conn: Conn) {
        if let Some(socket) = self.sockets.remove(&conn) {
            self.by_id.remove(&socket.id);
        }
    }

    /// The app's identity.
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// Every open connection.
    pub fn connections(&self) -> impl Iterator<Item = Conn> {
        self.sockets.keys().copied()
    }

    /// The id by which the client knows a connection.
    pub fn socket_id(&self, conn: Conn) -> Option<&SocketId> {
        self.sockets.get(&conn).map(|socket| &socket.id)
    }

    /// The occupied channels whose names start with a prefix, in the order of their names.
    pub fn channels(&self, prefix: &str) -> impl Iterator<Item = (&str, &Channel)> {
        self.channels
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, channel)| (&**name, channel))
    }

    /// A channel, if it is occupied.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.get(name)
    }

    /// A cache channel's last event and for how long it will be kept.
    pub fn cached(&self, now: RunTime, name: &str) -> Option<(&str, Duration)> {
        self.caches.get(now, name).map(|(cached, left)| (cached.data.content(), left))
    }

    /// A client opened a connection with the app's key.
    pub fn handle_connected(&mut self) -> (Conn, Vec<Output>) {
        let conn = Conn(self.conn_next);
        self.conn_next += 1;
        let id = loop {
            let (a, b) =
                (self.rng.random_range(1..1_000_000), self.rng.random_range(1..100_000_000));
            match SocketId::new(&format!("{a}.{b}")) {
                Ok(id) if !self.by_id.contains_key(&id) => break id,
                _ => {}
            }
        };
        let timeout = if self.has(Habit::Activity30) { 30 } else { ACTIVITY_TIMEOUT_S };
        let frame = wire::established(id.as_str(), timeout);
        self.by_id.insert(id.clone(), conn);
        let (channels, events) = (BTreeSet::new(), VecDeque::new());
        self.sockets.insert(conn, Socket { id, channels, user: None, events });
        (conn, vec![Output::Send(conn, frame)])
    }

    /// A connection is gone, whoever ended it. Harmless if the hub has forgotten it already.
    pub fn handle_closed(&mut self, conn: Conn) -> Vec<Output> {
        let mut out = Vec::new();
        let Some(socket) = self.sockets.remove(&conn) else { return out };
        self.by_id.remove(&socket.id);
        for name in &socket.channels {
            self.leave(conn, name, &mut out);
        }
        if let Some(user) = &socket.user
            && self.users.leave(conn, user)
        {
            self.tell_watchers(&user.id, &mut out);
        }
        out
    }

    /// A client sent a text frame.
    pub fn handle_text(&mut self, now: RunTime, conn: Conn, text: &str) -> Vec<Output> {
        let mut out = Vec::new();
        if !self.sockets.contains_key(&conn) {
            return out;
        }
        let done = match wire::decode(text) {
            Ok(ClientFrame::Ping) => {
                out.push(Output::Send(conn, Text::from_static(wire::PONG)));
                Ok(())
            }
            Ok(ClientFrame::Pong) => Ok(()),
            Ok(ClientFrame::Subscribe(frame)) => self.subscribe(now, conn, &frame, &mut out),
            Ok(ClientFrame::Unsubscribe(name)) => {
                self.unsubscribe(conn, &name, &mut out);
                Ok(())
            }
            Ok(ClientFrame::Signin(frame)) => self.sign_in(conn, frame, &mut out),
            Ok(ClientFrame::Event(frame)) => self.client_event(now, conn, frame, &mut out),
            Err(InvalidFrame::Malformed) if self.has(Habit::SilentMalformed) => Ok(()),
            Err(error) => Err(error.to_string().into()),
        };
        if let Err(Refusal { message, code }) = done {
            out.push(Output::Send(conn, wire::error(&message, code)));
        }
        out
    }

    /// Publishes an event through the HTTP API. The name must be sound, see [`is_channel`].
    pub fn publish(&mut self, now: RunTime, publication: Publication) -> Vec<Output> {
        let Publication { event, channel, data, except } = publication;
        let data = Data::Text(alter(&self.habits, kind_of(&channel), data));
        let channel: Arc<str> = match self.channels.get_key_value(channel.as_str()) {
            Some((name, _)) => Arc::clone(name),
            None => channel.into(),
        };
        if kind_of(&channel).is_cache() && !self.has(Habit::NoCache) {
            self.caches.put(now, &channel, &event, &data);
        }
        let except = except.filter(|_| !self.has(Habit::NoExclusion));
        let except = except.and_then(|id| self.by_id.get(&SocketId::new(&id).ok()?).copied());
        let frame = wire::event(&event, &channel, &data, None);
        self.fan_out(Message { event, channel, data, user_id: None, frame }, except)
    }

    /// Closes every connection that has signed in as this user.
    pub fn terminate(&mut self, user_id: &str) -> Vec<Output> {
        let mut out = Vec::new();
        for conn in self.users.connections(user_id) {
            out.push(Output::Close(conn, 4009, "terminated by the app"));
            out.extend(self.handle_closed(conn));
        }
        out
    }

    /// Closes one connection.
    pub fn close(&mut self, conn: Conn, code: u16, reason: &'static str) -> Vec<Output> {
        if !self.sockets.contains_key(&conn) {
            return Vec::new();
        }
        let mut out = vec![Output::Close(conn, code, reason)];
        out.extend(self.handle_closed(conn));
        out
    }

    /// Whether the app has no channels of this kind.
    fn lacks(&self, kind: ChannelKind) -> bool {
        let habit = match kind {
            ChannelKind::Encrypted => Habit::NoEncrypted,
            ChannelKind::Cache => Habit::NoCacheChannels,
            ChannelKind::PrivateCache => Habit::NoPrivateCache,
            ChannelKind::PresenceCache => Habit::NoPresenceCache,
            ChannelKind::EncryptedCache => Habit::NoEncryptedCache,
            _ => return false,
        };
        self.has(habit)
    }

    /// Whether a connection has asked for nothing yet.
    pub fn is_idle(&self, conn: Conn) -> bool {
        let socket = self.sockets.get(&conn);
        socket.is_some_and(|socket| socket.channels.is_empty() && socket.user.is_none())
    }

    fn fan_out(&self, message: Message, except: Option<Conn>) -> Vec<Output> {
        let to = match self.channels.get(&message.channel) {
            Some(channel) => channel.subscribers_except(except),
            None => Vec::new(),
        };
        if to.is_empty() { Vec::new() } else { vec![Output::Deliver(to, Arc::new(message))] }
    }

    fn subscribe(
        &mut self,
        now: RunTime,
        conn: Conn,
        frame: &Subscribe,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(socket) = self.sockets.get(&conn) else { return Ok(()) };
        let name: Arc<str> = frame.channel.as_str().into();
        if socket.channels.contains(&name) {
            if self.has(Habit::Twice) {
                out.push(Output::Send(conn, wire::subscribed(&name, Some("{}"))));
                return Ok(());
            }
            return Err(format!("existing subscription to channel {name}").into());
        }
        if self.lacks(kind_of(&name)) {
            return Err(format!("{name} is of a kind that this app does not have").into());
        }
        let member = match name.strip_prefix(TO_USER) {
            Some(id) if socket.user.as_ref().is_some_and(|user| &*user.id == id) => None,
            Some(_) => {
                return Err(
                    format!("the connection has not signed in as the user of {name}").into()
                );
            }
            None => self.authorize(socket, frame)?,
        };
        let announces_each = self.has(Habit::MemberPerConnection);
        let is_bare = self.has(Habit::BareConfirmations);
        let tells_misses = !self.has(Habit::SilentMiss);
        let tells_counts = self.has(Habit::TellsCounts) && !kind_of(&name).is_presence();
        let is_new = !self.channels.contains_key(&name);
        let channel = self.channels.entry(Arc::clone(&name)).or_default();
        let is_full = member.as_ref().is_some_and(|member| channel.is_full_for(&member.id));
        if is_full && !self.habits.contains(&Habit::Crowds) {
            let message = format!("presence channel {name} has as many members as it may have");
            return Err(message.into());
        }
        let came = channel.join(conn, member.clone());
        if is_new {
            self.hooks.tell(WebhookKind::ChannelOccupied, &name, || []);
        }
        if kind_of(&name).is_presence() {
            let succeeded = wire::subscribed_presence(&name, channel.members());
            out.push(Output::Send(conn, succeeded));
        } else {
            let data = (!is_bare).then_some("{}");
            out.push(Output::Send(conn, wire::subscribed(&name, data)));
        }
        if let Some(member) = member.filter(|_| came || announces_each) {
            let user = || [("user_id", Value::from(&*member.id))];
            self.hooks.tell(WebhookKind::MemberAdded, &name, user);
            let frame = wire::member_added(&name, &member.id, member.info.as_deref());
            let others = channel.subscribers_except(Some(conn));
            out.extend(others.into_iter().map(|other| Output::Send(other, frame.clone())));
        }
        if kind_of(&name).is_cache() {
            let frame = match self.caches.get(now, &name) {
                Some((cached, _)) => Some(wire::event(&cached.event, &name, &cached.data, None)),
                None => {
                    self.hooks.tell(WebhookKind::CacheMiss, &name, || []);
                    tells_misses.then(|| wire::cache_miss(&name))
                }
            };
            out.extend(frame.map(|frame| Output::Send(conn, frame)));
        }
        let count = channel.subscription_count();
        if !kind_of(&name).is_presence() {
            let count = || [("subscription_count", count.into())];
            self.hooks.tell(WebhookKind::SubscriptionCount, &name, count);
        }
        if tells_counts {
            let frame = wire::subscription_count(&name, count);
            let all = channel.subscribers_except(None).into_iter();
            out.extend(all.map(|one| Output::Send(one, frame.clone())));
        }
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.channels.insert(name);
        }
        Ok(())
    }

    /// Whether the socket may subscribe, and as whom on a presence channel.
    fn authorize(&self, socket: &Socket, frame: &Subscribe) -> Result<Option<Member>, Refusal> {
        let name = match ChannelName::new(frame.channel.as_str()) {
            Ok(name) => name,
            Err(_) if self.is_let_in(&frame.channel) => return Ok(None),
            Err(error) => return Err(error.to_string().into()),
        };
        if !name.kind().needs_auth() {
            return Ok(None);
        }
        let data = frame.channel_data.as_deref();
        let signed = auth::channel_string(&socket.id, name.as_str(), data);
        if !(self.has(Habit::OpenCaches) && name.kind() == ChannelKind::PrivateCache) {
            self.verify(frame.auth.as_deref().unwrap_or_default(), &signed)?;
        }
        if !name.kind().is_presence() {
            return Ok(None);
        }
        // A signed-in user needs no channel_data; where both exist, the channel's own wins
        // (Channels docs: authorizing users).
        match data.or(socket.user.as_ref().map(|user| user.user_data.as_str())) {
            Some(data) => Ok(Some(Member::parse(data, &self.habits)?)),
            None => Err(format!("channel_data is required to subscribe to {name}").into()),
        }
    }

    /// Whether a name that is not sound is let pass.
    fn is_let_in(&self, name: &str) -> bool {
        let is_sound = |name: &str| ChannelName::new(name).is_ok();
        let start = name.get(..ChannelName::LENGTH_MAX);
        self.has(Habit::AnyName) && name.contains(' ')
            || self.has(Habit::Colons) && is_sound(&name.replace(':', "-"))
            || self.has(Habit::LongSubscriptions)
                && name.len() <= 200
                && start.is_some_and(is_sound)
    }

    fn verify(&self, auth: &str, signed: &str) -> Result<(), Refusal> {
        let Some((key, signature)) = auth.split_once(':') else {
            return Err("auth info required, of the form key:signature".into());
        };
        if key != self.app.key.as_str() {
            return Err(format!("invalid key in subscription auth: {key}").into());
        }
        if auth::verify_hex(&self.app.secret, signed.as_bytes(), signature) {
            Ok(())
        } else {
            let message = format!("invalid signature: expected HMAC SHA256 hex digest of {signed}");
            Err(Refusal { message, code: self.has(Habit::CodedRefusals).then_some(4009) })
        }
    }

    fn unsubscribe(&mut self, conn: Conn, name: &str, out: &mut Vec<Output>) {
        if let Some(socket) = self.sockets.get_mut(&conn)
            && let Some(name) = socket.channels.take(name)
        {
            self.leave(conn, &name, out);
        }
    }

    fn leave(&mut self, conn: Conn, name: &Arc<str>, out: &mut Vec<Output>) {
        let announces_each = self.has(Habit::MemberPerConnection);
        let Some(channel) = self.channels.get_mut(name) else { return };
        let user = channel.user_of(conn).filter(|_| announces_each).map(Arc::clone);
        if let Some(user_id) = channel.leave(conn).or(user) {
            let frame = wire::member_removed(name, &user_id);
            let others = channel.subscribers_except(Some(conn));
            out.extend(others.into_iter().map(|other| Output::Send(other, frame.clone())));
            let user = || [("user_id", Value::from(&*user_id))];
            self.hooks.tell(WebhookKind::MemberRemoved, name, user);
        }
        if !kind_of(name).is_presence() {
            let count = || [("subscription_count", channel.subscription_count().into())];
            self.hooks.tell(WebhookKind::SubscriptionCount, name, count);
        }
        if channel.is_vacant() {
            self.channels.remove(name);
            self.hooks.tell(WebhookKind::ChannelVacated, name, || []);
        }
    }

    fn client_event(
        &mut self,
        now: RunTime,
        conn: Conn,
        frame: ClientEvent,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(socket) = self.sockets.get_mut(&conn) else { return Ok(()) };
        let ClientEvent { event, channel, data } = frame;
        if !kind_of(&channel).needs_auth() || channel.starts_with('#') {
            return Err(
                "client event rejected: only private and presence channels take them".into()
            );
        }
        let Some(channel) = socket.channels.get(channel.as_str()).map(Arc::clone) else {
            return Err(format!("client event rejected: not subscribed to {channel}").into());
        };
        let bytes_max = match self.habits.contains(&Habit::SmallClientEvents) {
            true => SMALL_DATA_BYTES_MAX,
            false => DATA_BYTES_MAX,
        };
        if event.chars().count() > EVENT_NAME_CHARS_MAX || data.content().len() > bytes_max {
            return Err("client event rejected: its name or its data is too long".into());
        }
        if self.habits.contains(&Habit::NoClientEvents) {
            let message = "client event rejected: they are not enabled for this app";
            out.push(Output::Send(conn, wire::error(message, Some(4301))));
            return Ok(());
        }
        while socket.events.front().is_some_and(|at| now.since(*at) >= Duration::from_secs(1)) {
            socket.events.pop_front();
        }
        let is_limited = !self.habits.contains(&Habit::Unlimited);
        if socket.events.len() >= CLIENT_EVENTS_PER_SECOND_MAX && is_limited {
            let message = "client event rejected: more than 10 within a second";
            out.push(Output::Send(conn, wire::error(message, Some(4301))));
            return Ok(());
        }
        socket.events.push_back(now);
        let user_id = self.channels.get(&channel).and_then(|c| c.user_of(conn)).map(Arc::clone);
        self.hooks.tell(WebhookKind::ClientEvent, &channel, || {
            [
                ("event", event.as_str().into()),
                ("data", data.content().into()),
                ("socket_id", socket.id.as_str().into()),
                ("user_id", user_id.as_deref().map_or(Value::Null, Value::from)),
            ]
        });
        let user_id = user_id.filter(|_| !self.has(Habit::Anonymous));
        let except = (!self.has(Habit::Echo)).then_some(conn);
        let frame = wire::event(&event, &channel, &data, user_id.as_deref());
        out.extend(self.fan_out(Message { event, channel, data, user_id, frame }, except));
        Ok(())
    }

    fn sign_in(&mut self, conn: Conn, frame: Signin, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let Some(socket) = self.sockets.get(&conn) else { return Ok(()) };
        if self.has(Habit::NoSignIn) {
            return Err("sign-in rejected: it is not enabled for this app".into());
        }
        let signed = auth::user_string(&socket.id, &frame.user_data);
        if let Err(Refusal { message, .. }) = self.verify(&frame.auth, &signed) {
            if self.has(Habit::ShutsForgersOut) {
                out.push(Output::Send(conn, wire::error(&message, None)));
                out.extend(self.close(conn, 4009, "sign-in rejected"));
                return Ok(());
            }
            return Err(message.into());
        }
        let Some(mut user) = SignIn::parse(frame.user_data) else {
            return Err("sign-in rejected: user_data must be JSON with a string id".into());
        };
        if self.has(Habit::NoWatchlist) {
            user.watchlist.clear();
        }
        let before = socket.user.clone();
        if before.as_ref().is_some_and(|before| before.id != user.id) {
            return Err("sign-in rejected: the connection is another user's already".into());
        }
        if let Some(before) = &before {
            self.users.leave(conn, before);
        }
        // Signing in again may change the watchlist; the user has been online all the while.
        let came = self.users.enter(conn, &user) && before.is_none();
        out.push(Output::Send(conn, wire::signin_success(&user.user_data)));
        if user.cut {
            let message = "the watchlist is cut to its first 100 users";
            out.push(Output::Send(conn, wire::error(message, Some(4302))));
        }
        if !user.watchlist.is_empty() {
            let ids = || user.watchlist.iter().map(|id| &**id);
            let (online, offline): (Vec<_>, Vec<_>) =
                ids().partition(|id| self.users.is_online(id));
            out.push(Output::Send(conn, wire::watchlist(&online, &offline)));
        }
        if came {
            self.tell_watchers(&user.id, out);
        }
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.user = Some(user);
        }
        Ok(())
    }

    fn tell_watchers(&self, id: &str, out: &mut Vec<Output>) {
        let frame = if self.users.is_online(id) {
            wire::watchlist(&[id], &[])
        } else {
            wire::watchlist(&[], &[id])
        };
        let watchers = self.users.watchers(id).into_iter();
        out.extend(watchers.map(|conn| Output::Send(conn, frame.clone())));
    }
}

/// Whether an event may be published there: a sound channel name, or one user's connections.
pub fn is_channel(name: &str) -> bool {
    match name.strip_prefix(TO_USER) {
        Some(id) => !id.is_empty() && name.len() <= ChannelName::LENGTH_MAX,
        None => ChannelName::new(name).is_ok(),
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
