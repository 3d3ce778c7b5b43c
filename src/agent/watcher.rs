//! Watches real channels of one cluster over one connection: which ones is told while it runs.
//! Payloads end here: what is handed on are digests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{ChannelName, Clock, ClusterRole, MasterKey, RunTime};
use crate::pusher::encrypt::SharedSecret;
use crate::pusher::frame::{Data, ServerFrame};
use crate::pusher::session::Event;
use crate::verify::endpoint::{Answered, EndpointFact, EndpointKind};
use crate::verify::fact::{Fact, Seen};
use crate::verify::mirror::identity::{Identifier, Identity};
use crate::verify::sample::SampleNote;

use super::link::{Link, LinkEvent, error_text};
use super::witness::{ConnectionLog, Readiness, state_own_faults};
use super::{Phases, next_tally};

/// Most things that are seen before they are handed on, whatever the time.
const SEEN_MAX: usize = 4_096;

/// What a watcher is told.
#[derive(Debug)]
pub(super) enum Order {
    /// To watch a channel.
    Watch(ChannelName),
    /// To watch it no more.
    Leave(ChannelName),
}

/// See the module's documentation.
pub(super) struct Watcher {
    /// The cluster.
    pub(super) role: ClusterRole,
    /// The process's clock.
    pub(super) clock: Clock,
    /// The connection; not started.
    pub(super) link: Link,
    /// What events are known by.
    pub(super) identifier: Arc<Identifier>,
    /// Whether names are replaced.
    pub(super) redacts: bool,
    /// The key of the application's encrypted channels, where it is known.
    pub(super) master_key: Option<MasterKey>,
    /// Bytes that waited longer than this taint their second.
    pub(super) backlog_max: Duration,
    /// What to watch.
    pub(super) orders: mpsc::Receiver<Order>,
    /// Where facts go.
    pub(super) facts: mpsc::Sender<Fact>,
}

/// A channel that is watched.
struct Watched {
    /// Its number in the session.
    place: usize,
    /// Its name as it is handed on.
    shown: Arc<str>,
    /// Its key, if it is encrypted.
    shared_secret: Option<SharedSecret>,
    is_subscribed: bool,
}

/// What is handed on, and what it is made with.
struct Eyes {
    channels: HashMap<String, Watched>,
    /// Events' names as they are handed on: an application has few.
    events: HashMap<String, Arc<str>>,
    identifier: Arc<Identifier>,
    redacts: bool,
    seen: Vec<Seen>,
    client_events: u64,
}

/// Events' names that are kept at most: an application may put anything into one.
const EVENT_NAMES_MAX: usize = 1_024;

impl Watcher {
    /// Watches until `phases.leave`, then hands on the rest and leaves.
    pub(super) async fn run(self, phases: Phases) {
        let Self { role, clock, mut link, identifier, redacts, .. } = self;
        let Self { master_key, backlog_max, mut orders, facts, .. } = self;
        let log = ConnectionLog::new(role, facts.clone(), Readiness::unasked(), None);
        let mut log = log.discreet(redacts);
        let mut eyes = Eyes {
            channels: HashMap::new(),
            events: HashMap::new(),
            identifier,
            redacts,
            seen: Vec::new(),
            client_events: 0,
        };
        let mut next_report = next_tally(clock.now());
        let mut looked = clock.now();
        loop {
            let tick = tokio::time::sleep_until(clock.instant(next_report).into());
            tokio::select! {
                () = phases.leave.cancelled() => break,
                Some(order) = orders.recv() => {
                    // Whoever watches nothing needs no connection.
                    link.start();
                    eyes.obey(order, &mut link, master_key.as_ref());
                }
                event = link.next(|frame, at| {
                    if let Some(frame) = frame {
                        eyes.handle_frame(frame, at);
                    }
                }) => {
                    let now = clock.now();
                    eyes.note(&event, &link);
                    if let Some(why) = refusal(&event, redacts) {
                        let _ = facts.send(Fact::Sample(now, SampleNote::Refused(role, why))).await;
                    }
                    log.note(&event, &mut link, now).await;
                    if let LinkEvent::Asked(EndpointFact::Asked { answered, why, .. }) = event
                        && !matches!(answered, Answered::Refused | Answered::Nothing)
                    {
                        // A channel may be refused to whom the endpoint takes us for, and many ask
                        // at once: of the endpoint that says nothing.
                        let (kind, took) = (EndpointKind::AuthEndpoint, None);
                        let fact = EndpointFact::Asked { took, answered, why };
                        let _ = facts.send(Fact::Endpoint(role, kind, fact)).await;
                    }
                }
                () = tick => {
                    let now = clock.now();
                    next_report = next_tally(now);
                    state_own_faults(&mut link, backlog_max, (looked, now), &facts).await;
                    looked = now;
                    eyes.note_alive(&link);
                    hand_on(role, &mut eyes, &facts).await;
                }
            }
            if eyes.seen.len() >= SEEN_MAX {
                hand_on(role, &mut eyes, &facts).await;
            }
        }
        eyes.note_alive(&link);
        hand_on(role, &mut eyes, &facts).await;
        link.stop().await;
    }
}

impl Eyes {
    fn obey(&mut self, order: Order, link: &mut Link, master_key: Option<&MasterKey>) {
        match order {
            Order::Watch(channel) => {
                let name = channel.as_str();
                let shown = self.shown_channel(name);
                let key = master_key.filter(|_| channel.kind().is_encrypted());
                let shared_secret = key.map(|key| SharedSecret::derive(name, key.expose()));
                let name = name.to_owned();
                let place = link.subscribe(channel);
                let watched = Watched { place, shown, shared_secret, is_subscribed: false };
                self.channels.insert(name, watched);
            }
            Order::Leave(channel) => {
                if let Some(watched) = self.channels.remove(channel.as_str()) {
                    link.unsubscribe(watched.place);
                    self.seen.push(Seen::Blind(vec![watched.shown]));
                }
            }
        }
    }

    fn handle_frame(&mut self, frame: &ServerFrame<'_>, at: RunTime) {
        let Some(watched) = frame.channel.as_deref().and_then(|name| self.channels.get(name))
        else {
            return;
        };
        if frame.event.starts_with("client-") {
            self.client_events += 1;
            return;
        }
        let identity = identify(&self.identifier, watched.shared_secret.as_ref(), &frame.data());
        let channel = Arc::clone(&watched.shown);
        let Some(identity) = identity else {
            self.seen.push(Seen::Unreadable(channel, at));
            return;
        };
        let event = match self.events.get(&*frame.event) {
            Some(shown) => Arc::clone(shown),
            None => self.shown_event(&frame.event),
        };
        self.seen.push(Seen::Copy { channel, event, identity, at });
    }

    fn shown_channel(&self, name: &str) -> Arc<str> {
        if self.redacts { self.identifier.redact_channel(name).into() } else { name.into() }
    }

    fn shown_event(&mut self, name: &str) -> Arc<str> {
        let shown: Arc<str> =
            if self.redacts { self.identifier.redact(name).into() } else { name.into() };
        if self.events.len() < EVENT_NAMES_MAX {
            self.events.insert(name.to_owned(), Arc::clone(&shown));
        }
        shown
    }

    /// Notes what the link reported.
    fn note(&mut self, event: &LinkEvent, link: &Link) {
        match event {
            LinkEvent::Session(Event::Subscribed(at)) => {
                let channel = link.session().channel(*at);
                let watched = channel.and_then(|name| self.channels.get_mut(name.as_str()));
                // Whoever was told to leave meanwhile has left.
                if let Some(watched) = watched.filter(|watched| watched.place == *at) {
                    watched.is_subscribed = true;
                    let is_encrypted = channel.is_some_and(|name| name.kind().is_encrypted());
                    if let Some(secret) = link.shared_secret(*at).filter(|_| is_encrypted) {
                        watched.shared_secret = Some(secret.clone());
                    }
                    let at = link.session().last_heard();
                    self.seen.push(Seen::Subscribed(Arc::clone(&watched.shown), at));
                }
            }
            LinkEvent::Session(Event::Disconnected(lost)) => {
                let blind: Vec<_> = self.subscribed().collect();
                self.channels.values_mut().for_each(|watched| watched.is_subscribed = false);
                if let Some(last) = lost.last_heard.filter(|_| !blind.is_empty()) {
                    self.seen.push(Seen::Alive(blind.clone(), last));
                }
                self.seen.push(Seen::Blind(blind));
            }
            LinkEvent::Session(_)
            | LinkEvent::DialFailed(_)
            | LinkEvent::Asked(_)
            | LinkEvent::Malformed(_)
            | LinkEvent::Broken(_) => {}
        }
    }

    fn subscribed(&self) -> impl Iterator<Item = Arc<str>> {
        let watched = self.channels.values().filter(|watched| watched.is_subscribed);
        watched.map(|watched| Arc::clone(&watched.shown))
    }

    fn note_alive(&mut self, link: &Link) {
        let alive: Vec<_> = self.subscribed().collect();
        if !alive.is_empty() {
            self.seen.push(Seen::Alive(alive, link.session().last_heard()));
        }
    }
}

/// What an event is known by; `None` if it is encrypted, and the key does not open it.
fn identify(
    identifier: &Identifier,
    shared_secret: Option<&SharedSecret>,
    data: &Data<'_>,
) -> Option<Identity> {
    match (shared_secret, data) {
        (Some(secret), Data::Text(sealed)) => Some(identifier.identify(&secret.open(sealed)?)),
        (Some(_), _) => None,
        (None, Data::Absent) => Some(identifier.identify("")),
        (None, data) => Some(identifier.identify(data.json_text())),
    }
}

/// What a cluster said to a subscription that it refused. Servers name the channel in it.
fn refusal(event: &LinkEvent, redacts: bool) -> Option<String> {
    match event {
        LinkEvent::Session(Event::SubscriptionRefused(..)) if redacts => {
            Some("its words are left out, for they may name the channel".to_owned())
        }
        LinkEvent::Session(Event::SubscriptionRefused(_, error)) => Some(error_text(error)),
        _ => None,
    }
}

async fn hand_on(role: ClusterRole, eyes: &mut Eyes, facts: &mpsc::Sender<Fact>) {
    let mut seen = std::mem::take(&mut eyes.seen);
    match std::mem::take(&mut eyes.client_events) {
        0 => {}
        count => seen.push(Seen::ClientEvents(count)),
    }
    if !seen.is_empty() {
        // The collector outlives every watcher; if it is gone, the run has failed already.
        let _ = facts.send(Fact::Seen(role, seen)).await;
    }
}
