//! One cluster without its sockets: the hub, and the faults between it and the links.
//!
//! Pure. The owner of the links calls a method for each thing that happened, carries out the
//! [`Effect`]s in order, and calls [`Core::handle_timeout`] at [`Core::next_deadline`].

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::model::fault::{Fault, FaultKind, FaultScope};
use crate::model::habit::Habit;
use crate::model::{ClusterRole, RunTime};
use crate::pusher::auth;

use super::canary::{self, Mark};
use super::faults::{Action, Done, FaultCounts, Faults, Request};
use super::hooks::Hook;
use super::hub::{App, Conn, Hub, Message, Output, Publication};
use super::wire::Text;

/// Keeps the draws of the faults apart from those of the socket ids.
const FAULT_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the owner of the links must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this frame.
    Send(Conn, Text),
    /// Send a close frame with this code and reason, then end the connection.
    Close(Conn, u16, &'static str),
    /// Send nothing from here on, not even pongs, and discard what arrives.
    Mute(Conn),
    /// The end of that.
    Unmute(Conn),
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which cluster of the pair it is.
    pub role: ClusterRole,
    /// The app it serves.
    pub app: App,
    /// Decides its socket ids and the draws of its faults.
    pub seed: u64,
    /// What it does otherwise than documented, always.
    pub habits: BTreeSet<Habit>,
    /// What it does wrong; the other cluster's faults are skipped.
    pub faults: Vec<Fault>,
    /// Whether the app has webhooks.
    pub has_webhooks: bool,
    /// The master key of the run's encrypted canaries, to read their places with.
    pub peek_key: Option<[u8; 32]>,
}

/// What became of a publish request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Taken, to be answered 200.
    Yes,
    /// Not taken, to be answered 400.
    Refused,
    /// Taken; the connection is to be cut without an answer.
    Unanswered,
    /// Taken, to be answered 503.
    Denied,
}

/// One cluster. See the module.
pub struct Core {
    /// Read by the HTTP API, changed by the core alone.
    hub: Hub,
    faults: Faults,
    /// Whether anybody wants to know a canary event's place.
    marks: bool,
    peek_key: Option<[u8; 32]>,
}

impl Core {
    /// A cluster that nobody is connected to.
    pub fn new(setup: Setup) -> Self {
        let faults = Faults::new(setup.role, &setup.faults, setup.seed ^ FAULT_SEED);
        let hub = Hub::new(setup.app, setup.seed).with_habits(setup.habits);
        Self {
            hub: if setup.has_webhooks { hub.with_webhooks() } else { hub },
            marks: faults.any(FaultScope::Delivery) || faults.any(FaultScope::Publish),
            faults,
            peek_key: setup.peek_key,
        }
    }

    /// The app's state, to read.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What was done on purpose so far.
    pub const fn counts(&self) -> FaultCounts {
        self.faults.counts()
    }

    /// Takes the lines of the fault log since the last call.
    pub fn take_done(&mut self) -> Vec<Done> {
        self.faults.take_done()
    }

    /// Takes what webhooks are to tell since the last call.
    pub fn take_hooks(&mut self, now: RunTime) -> Vec<Hook> {
        let mut hooks = self.hub.take_hooks();
        hooks.retain(|hook| {
            let channel = hook.event.get("channel").and_then(Value::as_str).unwrap_or_default();
            !self.faults.loses_webhook(now, hook.kind, channel)
        });
        hooks
    }

    /// When [`Core::handle_timeout`] must be called next.
    pub fn next_deadline(&self) -> RunTime {
        self.faults.next_deadline()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: RunTime) -> Vec<Effect> {
        let mut out = Vec::new();
        let actions = self.faults.handle_timeout(now);
        self.act(now, actions, &mut out);
        out
    }

    /// Closes a connection that has asked for nothing yet.
    pub fn close_idle(&mut self, now: RunTime, conn: Conn) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.hub.is_idle(conn) {
            let outputs = self.hub.close(conn, 4009, "nothing was asked for in time");
            self.carry(now, outputs, None, &mut out);
        }
        out
    }

    /// A client opened a connection with the app's key.
    pub fn handle_connected(&mut self, now: RunTime) -> (Conn, Vec<Effect>) {
        let mut out = Vec::new();
        let (conn, outputs) = self.hub.handle_connected();
        if let Some(socket_id) = self.hub.socket_id(conn) {
            self.faults.handle_connected(now, conn, socket_id.clone());
        }
        self.carry(now, outputs, None, &mut out);
        (conn, out)
    }

    /// A connection is gone without a word.
    pub fn handle_cut(&mut self, now: RunTime, conn: Conn) -> Vec<Effect> {
        if self.hub.keeps_ghosts() {
            self.faults.handle_closed(conn);
            self.hub.handle_cut(conn);
            return Vec::new();
        }
        self.handle_closed(now, conn)
    }

    /// A connection is gone, whoever ended it.
    pub fn handle_closed(&mut self, now: RunTime, conn: Conn) -> Vec<Effect> {
        let mut out = Vec::new();
        self.faults.handle_closed(conn);
        let outputs = self.hub.handle_closed(conn);
        self.carry(now, outputs, None, &mut out);
        out
    }

    /// A client sent a text frame.
    pub fn handle_text(&mut self, now: RunTime, conn: Conn, text: &str) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.faults.is_muted(conn) {
            return out;
        }
        let outputs = self.hub.handle_text(now, conn, text);
        // A client event is a request of its own. Nobody answers it, yet one that comes later on
        // the same connection was certainly sent later.
        let request = self.faults.request_arrived();
        self.faults.request_answered(&request);
        self.carry(now, outputs, Some(&request), &mut out);
        out
    }

    /// A publish request's head arrived.
    pub fn request_arrived(&mut self) -> Request {
        self.faults.request_arrived()
    }

    /// The request was answered.
    pub fn request_answered(&mut self, request: &Request) {
        self.faults.request_answered(request);
    }

    /// Publishes the events of one request, unless a fault strikes it.
    pub fn publish(
        &mut self,
        now: RunTime,
        events: Vec<Publication>,
        request: &Request,
    ) -> (Taken, Vec<Effect>) {
        let canaries = self.canaries(&events);
        let fault = canaries.first().and_then(|(_, mark)| self.faults.draw_publish(*mark));
        let mut out = Vec::new();
        if fault != Some(FaultKind::Refuse) {
            for event in events {
                let outputs = self.hub.publish(now, event);
                self.carry(now, outputs, Some(request), &mut out);
            }
        }
        let Some(fault) = fault else { return (Taken::Yes, out) };
        self.faults.publish_fault_done(now, fault, &canaries);
        let taken = match fault {
            FaultKind::Refuse => Taken::Refused,
            FaultKind::LoseAnswer => Taken::Unanswered,
            FaultKind::ErrorAfter => Taken::Denied,
            _ => Taken::Yes,
        };
        (taken, out)
    }

    /// Seats a user of the application, without a link of its own, on a channel; `user` is who it
    /// is on a presence channel. No fault strikes it, and it leaves only with the cluster.
    pub fn seat(&mut self, now: RunTime, channel: &str, user: Option<&str>) {
        let (conn, _) = self.hub.handle_connected();
        let Some(socket_id) = self.hub.socket_id(conn).cloned() else { return };
        let App { key, secret, .. } = self.hub.app().clone();
        let data = user.map(|user| serde_json::json!({ "user_id": user }).to_string());
        let auth = auth::channel(&key, &secret, &socket_id, channel, data.as_deref());
        let mut data =
            serde_json::json!({ "channel": channel, "auth": auth, "channel_data": data });
        if let (None, Some(data)) = (user, data.as_object_mut()) {
            data.remove("channel_data");
        }
        let frame = serde_json::json!({ "event": "pusher:subscribe", "data": data });
        self.hub.handle_text(now, conn, &frame.to_string());
    }

    /// Publishes an event of the application, which no fault strikes.
    pub fn publish_for_application(&mut self, now: RunTime, event: Publication) -> Vec<Effect> {
        let mut out = Vec::new();
        let outputs = self.hub.publish(now, event);
        self.carry(now, outputs, None, &mut out);
        out
    }

    /// Closes every connection that has signed in as this user.
    pub fn terminate(&mut self, now: RunTime, user_id: &str) -> Vec<Effect> {
        let mut out = Vec::new();
        let outputs = self.hub.terminate(user_id);
        self.carry(now, outputs, None, &mut out);
        out
    }

    /// Closes every connection, silent ones included, as a node does that is taken out of service.
    pub fn close_all(&mut self) -> Vec<Effect> {
        let all: Vec<_> = self.hub.connections().collect();
        let mut out = Vec::with_capacity(all.len());
        for conn in all {
            self.faults.handle_closed(conn);
            // What others would learn by it, they learn by their own close.
            self.hub.handle_closed(conn);
            out.push(Effect::Close(conn, 4200, "the cluster is shutting down"));
        }
        out
    }

    fn canaries(&self, events: &[Publication]) -> Vec<(Arc<str>, Option<Mark>)> {
        if !self.faults.any(FaultScope::Publish) {
            return Vec::new();
        }
        let canaries = events.iter().filter(|event| event.event == canary::EVENT);
        let peek_key = self.peek_key.as_ref();
        canaries
            .map(|e| (e.channel.as_str().into(), canary::mark(&e.channel, &e.data, peek_key)))
            .collect()
    }

    /// Turns what the hub says into what the links do. Events come with the request they came by.
    fn carry(
        &mut self,
        now: RunTime,
        outputs: Vec<Output>,
        request: Option<&Request>,
        out: &mut Vec<Effect>,
    ) {
        for output in outputs {
            match (output, request) {
                (Output::Send(conn, frame), _) => self.send(conn, frame, out),
                (Output::Deliver(to, message), Some(request)) if is_canary(&message) => {
                    self.deliver(now, &to, &message, request, out);
                }
                (Output::Deliver(to, message), _) => {
                    for conn in to {
                        self.send(conn, message.frame.clone(), out);
                    }
                }
                (Output::Close(conn, code, reason), _) => {
                    if !self.faults.is_muted(conn) {
                        out.push(Effect::Close(conn, code, reason));
                    }
                    self.faults.handle_closed(conn);
                }
            }
        }
    }

    fn deliver(
        &mut self,
        now: RunTime,
        to: &[Conn],
        message: &Arc<Message>,
        request: &Request,
        out: &mut Vec<Effect>,
    ) {
        let mark = if self.marks {
            let (channel, data) = (&message.channel, message.data.content());
            canary::mark(channel, data, self.peek_key.as_ref())
        } else {
            None
        };
        for to in (0..).zip(to.iter().copied()) {
            let actions = self.faults.handle_delivery(now, to, message, mark, request);
            self.act(now, actions, out);
        }
    }

    fn send(&self, conn: Conn, frame: Text, out: &mut Vec<Effect>) {
        if !self.faults.is_muted(conn) {
            out.push(Effect::Send(conn, frame));
        }
    }

    fn act(&mut self, now: RunTime, actions: Vec<Action>, out: &mut Vec<Effect>) {
        for action in actions {
            match action {
                Action::Send(conn, frame) => self.send(conn, frame, out),
                Action::Close(conn, code) => {
                    let outputs = self.hub.close(conn, code, "closed by a rehearsal fault");
                    self.carry(now, outputs, None, out);
                }
                Action::Mute(conn) => out.push(Effect::Mute(conn)),
                Action::Unmute(conn) => out.push(Effect::Unmute(conn)),
            }
        }
    }
}

fn is_canary(message: &Message) -> bool {
    message.event == canary::EVENT || message.event == canary::CLIENT_EVENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, AppKey, Secret};
    use crate::pusher::encrypt::SharedSecret;

    fn core(faults: &[&str], peek_key: Option<[u8; 32]>) -> Core {
        let app = App {
            id: AppId::new("1").unwrap(),
            key: AppKey::new("key").unwrap(),
            secret: Secret::new("secret"),
        };
        let faults = faults.iter().map(|text| text.parse().unwrap()).collect();
        Core::new(Setup {
            role: ClusterRole::New,
            app,
            seed: 1,
            habits: BTreeSet::new(),
            faults,
            has_webhooks: false,
            peek_key,
        })
    }

    fn subscriber(core: &mut Core) -> Conn {
        let (conn, _) = core.handle_connected(RunTime::ZERO);
        let frame = r#"{"event":"pusher:subscribe","data":{"channel":"canary-1"}}"#;
        assert_eq!(core.handle_text(RunTime::ZERO, conn, frame).len(), 1);
        conn
    }

    fn publish(core: &mut Core, channel: &str, data: &str) -> (Taken, Vec<Effect>) {
        let (event, channel) = ("pc-canary".to_owned(), channel.to_owned());
        let event = Publication { event, channel, data: data.to_owned(), except: None };
        let request = core.request_arrived();
        core.publish(RunTime::ZERO, vec![event], &request)
    }

    #[test]
    fn a_silent_connection_stays_subscribed_sends_nothing_and_hears_nothing() {
        let mut core = core(&["new:silent@1s"], None);
        let conn = subscriber(&mut core);
        assert_eq!(publish(&mut core, "canary-1", "{}").1.len(), 1);
        let at = core.next_deadline();
        assert_eq!(core.handle_timeout(at), [Effect::Mute(conn)]);
        assert_eq!(publish(&mut core, "canary-1", "{}"), (Taken::Yes, vec![]));
        let ping = r#"{"event":"pusher:ping"}"#;
        assert_eq!(core.handle_text(at, conn, ping), []);
        let unsubscribe = r#"{"event":"pusher:unsubscribe","data":{"channel":"canary-1"}}"#;
        assert_eq!(core.handle_text(at, conn, unsubscribe), []);
        let end = core.next_deadline();
        assert_eq!(core.handle_timeout(end), [Effect::Unmute(conn)]);
        assert_eq!(publish(&mut core, "canary-1", "{}").1.len(), 1);
        assert_eq!(core.handle_text(end, conn, ping).len(), 1);
        assert_eq!(core.counts().silenced, 1);
    }

    #[test]
    fn a_closed_connection_is_forgotten_at_once() {
        let mut core = core(&["new:close@4100", "new:delay=1@10s"], None);
        let conn = subscriber(&mut core);
        assert_eq!(publish(&mut core, "canary-1", "{}").1, []);
        let at = core.next_deadline();
        let closed = Effect::Close(conn, 4100, "closed by a rehearsal fault");
        assert_eq!(core.handle_timeout(at), [closed]);
        assert!(core.hub().channel("canary-1").is_none());
        assert_eq!(core.handle_closed(at, conn), []);
        assert_eq!(core.handle_timeout(core.next_deadline()), []);
        assert_eq!((core.counts().closed, core.counts().delayed), (1, 0));
    }

    #[test]
    fn a_replay_from_the_cache_and_other_events_draw_nothing() {
        let mut core = core(&["new:drop=1"], None);
        publish(&mut core, "cache-a", "{}");
        let (conn, _) = core.handle_connected(RunTime::ZERO);
        let frame = r#"{"event":"pusher:subscribe","data":{"channel":"cache-a"}}"#;
        assert_eq!(core.handle_text(RunTime::ZERO, conn, frame).len(), 2);
        let (event, channel) = ("other".to_owned(), "cache-a".to_owned());
        let other = Publication { event, channel, data: "{}".to_owned(), except: None };
        let request = core.request_arrived();
        assert_eq!(core.publish(RunTime::ZERO, vec![other], &request).1.len(), 1);
        assert_eq!(core.counts(), FaultCounts::default());
        assert_eq!(publish(&mut core, "cache-a", "{}").1, []);
        assert_eq!(core.counts().dropped, 1);
    }

    #[test]
    fn places_of_encrypted_canaries_are_read_with_the_master_key() {
        let channel = "private-encrypted-a";
        let sealed =
            SharedSecret::derive(channel, &[7; 32]).seal(r#"{"stream":3,"seq":9}"#, &[0; 24]);
        let mut core = core(&["new:refuse=1"], Some([7; 32]));
        assert_eq!(publish(&mut core, channel, &sealed), (Taken::Refused, vec![]));
        assert_eq!(core.take_done()[0].mark, Some(Mark { stream: 3, seq: 9 }));
    }
}
