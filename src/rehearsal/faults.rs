//! Faults as seeded data: the draws, what is done to copies and connections, the exact counts of
//! it, and the log.
//!
//! Pure, like the hub. What befalls a copy, a request or a connection follows from the seed and its
//! own place, not from what came before it: sockets are served in no certain order, and one seed
//! must do the same again. Each cluster has one [`Faults`] between its hub and its sockets.
//! Everything is counted when it is done: a delayed copy whose socket vanished in the meantime was
//! neither delayed nor delivered, and counts as nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::model::channel::kind_of;
use crate::model::fault::{Fault, FaultKind, FaultScope};
use crate::model::{ClusterRole, RunTime, SocketId, WebhookKind};

use super::canary::{Mark, corrupted};
use super::hub::{Conn, Message};
use super::wire::Text;

/// How long a copy is held for a later one to overtake it.
pub const HOLD_MAX: Duration = Duration::from_millis(600);
/// When after a connection's establishment its fault strikes, in milliseconds.
const STRIKE_AFTER_MS: std::ops::Range<u64> = 500..2500;
/// Most copies that wait on one socket. One more is sent at once, without its fault.
const LATE_MAX: usize = 8192;

/// What one cluster did on purpose so far. All but two count copies or events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCounts {
    /// Copies not sent.
    pub dropped: u64,
    /// Copies sent twice.
    pub duplicated: u64,
    /// Copies sent late by `delay`.
    pub delayed: u64,
    /// Late copies, by `delay` or `reorder`, that a later one of their stream overtook.
    pub reordered: u64,
    /// Copies sent with a letter or digit replaced.
    pub corrupted: u64,
    /// Events in requests answered 400 and not taken.
    pub refused: u64,
    /// Events taken in requests whose connection was cut without an answer.
    pub answers_lost: u64,
    /// Events taken in requests answered 503.
    pub errors_after: u64,
    /// Events left out of webhooks.
    pub webhooks_lost: u64,
    /// Connections closed.
    pub closed: u64,
    /// Connections that fell silent.
    pub silenced: u64,
}

/// A line of the fault log: one thing done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Milliseconds since the clusters' start.
    pub ms: u64,
    /// Which cluster did it.
    pub cluster: ClusterRole,
    /// The fault's kind, or `overtaken`: a late copy that counts as reordered.
    pub kind: &'static str,
    /// The connection; none for faults of publish requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketId>,
    /// The channel; none for faults of connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The event's name, where it is one of the application, or of a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<&'static str>,
    /// Stream and seq of the event, where they could be read.
    #[serde(flatten)]
    pub mark: Option<Mark>,
    /// The close code of `close`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// A publish request's place in the order of things: when it arrived, and when it was answered.
#[derive(Clone, Debug)]
pub struct Request {
    arrived: u64,
    /// [`u64::MAX`] until then, and for good if the connection was cut.
    answered: Arc<AtomicU64>,
}

impl Request {
    /// Whether this request arrived after `other` had been answered. Only then have their events
    /// an order that anybody could have seen.
    fn follows(&self, other: &Self) -> bool {
        self.arrived > other.answered.load(Ordering::Relaxed)
    }
}

/// What the owner of the links must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this frame.
    Send(Conn, Text),
    /// Close the connection with this code.
    Close(Conn, u16),
    /// Send nothing from here on, not even pongs, and discard what arrives.
    Mute(Conn),
    /// The end of that.
    Unmute(Conn),
}

/// A copy that waits.
struct Late {
    id: u64,
    message: Arc<Message>,
    mark: Option<Mark>,
    request: Request,
    /// `Delay` or `Reorder`.
    kind: FaultKind,
    overtaken: bool,
}

struct Link {
    socket: SocketId,
    muted: bool,
    late: Vec<Late>,
}

enum Timer {
    Late(Conn),
    Strike(Conn, FaultKind),
    Unmute(Conn),
}

/// The faults of one cluster. See the module.
pub struct Faults {
    cluster: ClusterRole,
    faults: Vec<Fault>,
    seed: u64,
    /// Canary events whose place cannot be read, which the draws tell apart by their number.
    unmarked: u64,
    tick: u64,
    timer_next: u64,
    links: BTreeMap<Conn, Link>,
    /// By instant, then in the order in which they were set.
    timers: BTreeMap<(RunTime, u64), Timer>,
    counts: FaultCounts,
    /// How often something was to be told by a webhook.
    told: BTreeMap<String, u64>,
    done: Vec<Done>,
}

impl Faults {
    /// Those of `faults` that are this cluster's. The seed decides every draw.
    pub fn new(cluster: ClusterRole, faults: &[Fault], seed: u64) -> Self {
        Self {
            cluster,
            faults: faults.iter().filter(|fault| fault.cluster == cluster).copied().collect(),
            seed,
            unmarked: 0,
            tick: 0,
            timer_next: 0,
            links: BTreeMap::new(),
            timers: BTreeMap::new(),
            counts: FaultCounts::default(),
            told: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// What was done so far.
    pub const fn counts(&self) -> FaultCounts {
        self.counts
    }

    /// Whether there is anything to draw for in this scope.
    pub fn any(&self, scope: FaultScope) -> bool {
        self.faults.iter().any(|fault| fault.kind.scope() == scope)
    }

    /// Whether nothing is sent on this connection, and what arrives is discarded.
    pub fn is_muted(&self, conn: Conn) -> bool {
        self.links.get(&conn).is_some_and(|link| link.muted)
    }

    /// When [`Faults::handle_timeout`] must be called next.
    pub fn next_deadline(&self) -> RunTime {
        self.timers.keys().next().map_or(RunTime::NEVER, |(at, _)| *at)
    }

    /// Takes the lines of the log since the last call.
    pub fn take_done(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.done)
    }

    /// A publish request's head arrived.
    pub fn request_arrived(&mut self) -> Request {
        self.tick += 1;
        Request { arrived: self.tick, answered: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// The request was answered.
    pub fn request_answered(&mut self, request: &Request) {
        self.tick += 1;
        request.answered.store(self.tick, Ordering::Relaxed);
    }

    /// A connection was established. Decides whether, how and when a fault strikes it.
    pub fn handle_connected(&mut self, now: RunTime, conn: Conn, socket: SocketId) {
        if let Some((kind, mut rng)) = self.draw(FaultScope::Connection, [conn.0, 0, 0]) {
            let after = Duration::from_millis(rng.random_range(STRIKE_AFTER_MS));
            self.set_timer(now.after(after), Timer::Strike(conn, kind));
        }
        self.links.insert(conn, Link { socket, muted: false, late: Vec::new() });
    }

    /// A connection is gone, and with it what waited for it.
    pub fn handle_closed(&mut self, conn: Conn) {
        self.links.remove(&conn);
    }

    /// A canary event is due on one of its connections, the `copy`th. Decides what becomes of it.
    pub fn handle_delivery(
        &mut self,
        now: RunTime,
        (copy, conn): (u64, Conn),
        message: &Arc<Message>,
        mark: Option<Mark>,
        request: &Request,
    ) -> Vec<Action> {
        let mut out = Vec::new();
        let waiting = match self.links.get(&conn) {
            Some(link) if !link.muted => link.late.len(),
            _ => return out,
        };
        let frame = || message.frame.clone();
        let place = self.place(mark, copy);
        match self.draw(FaultScope::Delivery, place) {
            Some((kind @ FaultKind::Drop, _)) => {
                self.counts.dropped += 1;
                self.log_copy(now, kind.as_str(), conn, message, mark);
            }
            Some((kind @ FaultKind::Duplicate, _)) => {
                self.counts.duplicated += 1;
                self.log_copy(now, kind.as_str(), conn, message, mark);
                out.extend([Action::Send(conn, frame()), Action::Send(conn, frame())]);
                self.overtake(now, conn, mark, request, &mut out);
            }
            Some((kind @ FaultKind::Corrupt, mut rng)) => match corrupted(message, &mut rng) {
                // Its stream and seq are not to be believed any more, so it overtakes nothing.
                Some(corrupted) => {
                    self.counts.corrupted += 1;
                    self.log_copy(now, kind.as_str(), conn, message, mark);
                    out.push(Action::Send(conn, corrupted));
                }
                None => out.push(Action::Send(conn, frame())),
            },
            Some((kind @ (FaultKind::Delay(_) | FaultKind::Reorder), _)) if waiting < LATE_MAX => {
                let wait = if let FaultKind::Delay(by) = kind { by } else { HOLD_MAX };
                let id = self.set_timer(now.after(wait), Timer::Late(conn));
                let (message, request) = (Arc::clone(message), request.clone());
                let late = Late { id, message, mark, request, kind, overtaken: false };
                self.links.entry(conn).and_modify(|link| link.late.push(late));
            }
            _ => {
                out.push(Action::Send(conn, frame()));
                self.overtake(now, conn, mark, request, &mut out);
            }
        }
        out
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: RunTime) -> Vec<Action> {
        let mut out = Vec::new();
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            let ((_, id), timer) = entry.remove_entry();
            match timer {
                Timer::Late(conn) => {
                    let Some(link) = self.links.get_mut(&conn) else { continue };
                    let Some(at) = link.late.iter().position(|late| late.id == id) else {
                        continue;
                    };
                    let late = link.late.remove(at);
                    self.send_late(now, conn, &late, &mut out);
                    self.overtake(now, conn, late.mark, &late.request, &mut out);
                }
                Timer::Strike(conn, kind) => self.strike(now, conn, kind, &mut out),
                Timer::Unmute(conn) => {
                    if let Some(link) = self.links.get_mut(&conn) {
                        link.muted = false;
                        out.push(Action::Unmute(conn));
                    }
                }
            }
        }
        out
    }

    /// Draws for a publish request whose first canary event has this place.
    pub fn draw_publish(&mut self, first: Option<Mark>) -> Option<FaultKind> {
        let place = self.place(first, 0);
        self.draw(FaultScope::Publish, place).map(|(kind, _)| kind)
    }

    /// The drawn fault was done to a request with these canary events.
    pub fn publish_fault_done(
        &mut self,
        now: RunTime,
        kind: FaultKind,
        events: &[(Arc<str>, Option<Mark>)],
    ) {
        let count = match kind {
            FaultKind::Refuse => &mut self.counts.refused,
            FaultKind::LoseAnswer => &mut self.counts.answers_lost,
            FaultKind::ErrorAfter => &mut self.counts.errors_after,
            _ => return,
        };
        *count += events.len() as u64;
        for (channel, mark) in events {
            self.log(now, kind.as_str(), None, Some(channel), *mark, None);
        }
    }

    /// Whether this is left out of the webhooks. What befalls the coming and going of a channel
    /// follows from its name, but for the run that is in it, and from how often it came and went.
    pub fn loses_webhook(&mut self, now: RunTime, kind: WebhookKind, channel: &str) -> bool {
        if !self.any(FaultScope::Webhook) {
            return false;
        }
        let end = channel.rsplit('-').next().unwrap_or_default();
        let name = format!("{} {end} {}", kind_of(channel).prefix(), kind.as_str());
        let count = self.told.entry(name.clone()).or_default();
        *count += 1;
        let place = [u64::from(crc32fast::hash(name.as_bytes())), *count, 0];
        if self.draw(FaultScope::Webhook, place).is_none() {
            return false;
        }
        self.counts.webhooks_lost += 1;
        self.log(now, FaultKind::LoseWebhook.as_str(), None, Some(channel), None, None);
        if let Some(done) = self.done.last_mut() {
            done.event = Some(kind.as_str());
        }
        true
    }

    fn strike(&mut self, now: RunTime, conn: Conn, kind: FaultKind, out: &mut Vec<Action>) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let socket = link.socket.clone();
        match kind {
            FaultKind::Close(code) => {
                // What waits for it would be counted, and never leave.
                link.late.clear();
                self.counts.closed += 1;
                self.log(now, kind.as_str(), Some(socket), None, None, Some(code));
                out.push(Action::Close(conn, code));
            }
            FaultKind::Silent(duration) => {
                link.muted = true;
                link.late.clear();
                self.counts.silenced += 1;
                self.log(now, kind.as_str(), Some(socket), None, None, None);
                out.push(Action::Mute(conn));
                if let Some(duration) = duration {
                    self.set_timer(now.after(duration), Timer::Unmute(conn));
                }
            }
            _ => {}
        }
    }

    /// A copy was sent: marks the late ones that it overtook, and sends those that were held for
    /// that; they may overtake others in turn.
    fn overtake(
        &mut self,
        now: RunTime,
        conn: Conn,
        mark: Option<Mark>,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        let Some(mark) = mark else { return };
        let mut sent = vec![(mark, request.clone())];
        while let Some((mark, request)) = sent.pop() {
            let Some(link) = self.links.get_mut(&conn) else { return };
            for late in &mut link.late {
                let earlier =
                    late.mark.is_some_and(|m| m.stream == mark.stream && m.seq < mark.seq);
                late.overtaken |= earlier && request.follows(&late.request);
            }
            let held = |late: &mut Late| late.overtaken && late.kind == FaultKind::Reorder;
            let mut released: Vec<Late> = link.late.extract_if(.., held).collect();
            released.sort_by_key(|late| late.mark.map(|mark| mark.seq));
            for late in released {
                self.send_late(now, conn, &late, out);
                sent.extend(late.mark.map(|mark| (mark, late.request)));
            }
        }
    }

    fn send_late(&mut self, now: RunTime, conn: Conn, late: &Late, out: &mut Vec<Action>) {
        out.push(Action::Send(conn, late.message.frame.clone()));
        if matches!(late.kind, FaultKind::Delay(_)) {
            self.counts.delayed += 1;
        }
        self.log_copy(now, late.kind.as_str(), conn, &late.message, late.mark);
        if late.overtaken {
            self.counts.reordered += 1;
            self.log_copy(now, "overtaken", conn, &late.message, late.mark);
        }
    }

    /// What tells a copy or a request apart from every other.
    fn place(&mut self, mark: Option<Mark>, copy: u64) -> [u64; 3] {
        match mark {
            Some(mark) => [mark.stream, mark.seq, copy],
            None => {
                self.unmarked += 1;
                [u64::MAX, self.unmarked, copy]
            }
        }
    }

    /// One draw, which at most one fault of the scope wins; with what else is to be drawn for it.
    fn draw(&self, scope: FaultScope, place: [u64; 3]) -> Option<(FaultKind, SmallRng)> {
        let of_scope = self.faults.iter().filter(|fault| fault.kind.scope() == scope);
        let mut of_scope = of_scope.peekable();
        of_scope.peek()?;
        let mixed = |seed, part| SmallRng::seed_from_u64(seed ^ part).random();
        let seed = [scope as u64].into_iter().chain(place).fold(self.seed, mixed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut left: f64 = rng.random();
        for fault in of_scope {
            if left < fault.probability {
                return Some((fault.kind, rng));
            }
            left -= fault.probability;
        }
        None
    }

    fn set_timer(&mut self, at: RunTime, timer: Timer) -> u64 {
        self.timer_next += 1;
        self.timers.insert((at, self.timer_next), timer);
        self.timer_next
    }

    fn log_copy(
        &mut self,
        now: RunTime,
        kind: &'static str,
        conn: Conn,
        message: &Message,
        mark: Option<Mark>,
    ) {
        let socket = self.links.get(&conn).map(|link| link.socket.clone());
        self.log(now, kind, socket, Some(&message.channel), mark, None);
    }

    fn log(
        &mut self,
        now: RunTime,
        kind: &'static str,
        socket: Option<SocketId>,
        channel: Option<&str>,
        mark: Option<Mark>,
        code: Option<u16>,
    ) {
        let ms = u64::try_from(now.since(RunTime::ZERO).as_millis()).unwrap_or(u64::MAX);
        let channel = channel.map(str::to_owned);
        let (cluster, event) = (self.cluster, None);
        self.done.push(Done { ms, cluster, kind, socket, channel, event, mark, code });
    }
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
