//! Negative controls of one cluster: a witness of its own, whose deliveries are tampered with, and
//! a subscription that the cluster must refuse.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{ChannelName, Clock, ClusterRole, RunTime, Secret, SocketId};
use crate::net::dial::Target;
use crate::net::http;
use crate::pusher::auth;
use crate::pusher::frame::{self, ServerFrame};
use crate::pusher::rest::{self, Answer, Signer};
use crate::verify::book::{Book, Outcome};
use crate::verify::control::{Delivery, EVENT, Proofs, ROUND_EVENTS, ROUNDS_MAX, STREAM, Tamper};
use crate::verify::envelope::{self, BYTES_MIN, Envelope};
use crate::verify::fact::{Control, ControlStatus, Fact, WitnessReport};
use crate::verify::ledger::Ledger;
use crate::verify::tally::Tally;

use super::build::pong_timeout_of;
use super::link::Link;
use super::one_off;
use super::publisher::Wire;
use super::start::Started;
use super::witness::{ConnectionLog, Readiness, note_sight};
use super::{CONNECT_TIMEOUT, Phases, TALLY_PERIOD, next_tally};

/// A secret that is not the app's, but by a chance that nobody need think of.
const WRONG_SECRET: &str = "pusher-canary's wrong secret";

/// Places of the control witness's channels.
const CONTROL: usize = 0;
const GUARD: usize = 1;

/// See the module's documentation.
pub struct Controls {
    /// The cluster.
    pub role: ClusterRole,
    /// The process's clock.
    pub clock: Clock,
    /// The connection, which subscribes to the control channel and to the guard channel.
    pub link: Link,
    /// The ledger of the control stream.
    pub ledger: Ledger,
    /// The control stream's book.
    pub book: Arc<Book>,
    /// The control channel.
    pub channel: ChannelName,
    /// The channel whose subscription must be refused.
    pub refused: ChannelName,
    /// Where the WebSocket is.
    pub socket: Target,
    /// How to publish.
    pub wire: Arc<Wire>,
    /// When a first copy is late.
    pub deadline: Duration,
    /// When nothing more is awaited.
    pub horizon: Duration,
    /// Whether it is tried for as long as it takes, and said at once what is heard where nothing
    /// must be: the run has no end at which to say so.
    pub is_endless: bool,
    /// Where facts go.
    pub facts: mpsc::Sender<Fact>,
}

type Step<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Controls {
    /// Proves until `phases.leave`.
    pub async fn run(self, started: mpsc::Sender<Started>, phases: Phases) {
        let Self { role, clock, mut link, mut ledger, facts, .. } = self;
        let (book, channel, wire) = (self.book, self.channel, self.wire);
        let mut log = ConnectionLog::new(role, facts.clone(), Readiness::new(started), None);
        let mut tamper = Tamper::new(self.deadline, self.horizon);
        let mut proofs = Proofs::default();
        let mut heard = 0_u64;
        let mut round: Option<Step<()>> = None;
        let mut refusal: Option<Step<Option<bool>>> = None;
        let (mut rounds, mut next_round, mut refusals) = (0, RunTime::NEVER, 0);
        let (mut knows_refusal, mut silence) = (false, None);
        let ask = || -> Step<Option<bool>> {
            let signer = wire.signer.clone();
            let (target, channel) = (self.socket.clone(), self.refused.clone());
            Box::pin(refuses(target, clock, signer, channel))
        };
        let mut next_report = next_tally(clock.now());
        let mut begun = false;
        link.start();
        loop {
            let tick = tokio::time::sleep_until(clock.instant(next_report.min(next_round)).into());
            tokio::select! {
                () = phases.leave.cancelled() => break,
                () = phases.publishing.cancelled(), if !begun => {
                    begun = true;
                    next_round = clock.now();
                    refusal = Some(ask());
                }
                event = link.next(|frame, at| {
                    ledger.handle_heard(at);
                    let Some(frame) = frame else { return };
                    match hear(frame, channel.as_str()) {
                        Heard::Control(text) => {
                            for Delivery { text, at } in tamper.handle_delivery(&text, at) {
                                ledger.handle_delivery(CONTROL, Some(&text), at);
                            }
                        }
                        Heard::Canary(text) => ledger.handle_delivery(GUARD, Some(&text), at),
                        Heard::Other => {}
                    }
                    heard += u64::from(frame.channel.as_deref() != Some(channel.as_str()));
                }) => {
                    note_sight(&mut ledger, &event, link.session().last_heard());
                    log.note(&event, &mut link, clock.now()).await;
                }
                () = step(&mut round) => round = None,
                is_refused = step(&mut refusal) => {
                    refusals += 1;
                    let may_go_on = refusals < ROUNDS_MAX;
                    refusal = (is_refused.is_none() && may_go_on).then(ask);
                    if let Some(is_refused) = is_refused {
                        knows_refusal = true;
                        let status =
                            if is_refused { ControlStatus::Pass } else { ControlStatus::Fail };
                        state(&facts, role, Control::SeesRefusal, status).await;
                    }
                }
                () = tick => {
                    let now = clock.now();
                    if now >= next_round {
                        let may_go_on = (rounds < ROUNDS_MAX || self.is_endless)
                            && !phases.published.is_cancelled();
                        if may_go_on && self.is_endless && refusal.is_none() && !knows_refusal {
                            refusal = Some(ask());
                        }
                        let is_open = self.is_endless && !knows_refusal;
                        if may_go_on && (is_open || !proofs.is_complete()) {
                            let (wire, book) = (Arc::clone(&wire), Arc::clone(&book));
                            round = Some(Box::pin(publish(wire, book, channel.clone())));
                            rounds += 1;
                            let patience = pong_timeout_of(self.horizon) + 2 * TALLY_PERIOD;
                            next_round = now.after(self.horizon + patience);
                        } else {
                            next_round = RunTime::NEVER;
                        }
                    }
                    next_report = next_tally(now);
                    for Delivery { text, at } in tamper.release(now) {
                        ledger.handle_delivery(CONTROL, Some(&text), at);
                    }
                    ledger.advance(now);
                    settle(&mut ledger, &mut proofs, &facts, role).await;
                    let said = match heard {
                        // A whole round has been heard beside it.
                        0 => proofs.is_complete().then_some(ControlStatus::Pass),
                        _ => Some(ControlStatus::Fail),
                    };
                    if let Some(status) = said.filter(|_| self.is_endless && said != silence) {
                        silence = said;
                        state(&facts, role, Control::HearsNothing, status).await;
                    }
                }
            }
        }
        ledger.advance(clock.now());
        settle(&mut ledger, &mut proofs, &facts, role).await;
        // Who does not listen at the end may have heard nothing for that.
        if heard > 0 || link.session().is_ready() {
            let status = if heard > 0 { ControlStatus::Fail } else { ControlStatus::Pass };
            state(&facts, role, Control::HearsNothing, status).await;
        }
        link.stop().await;
    }
}

async fn state(
    facts: &mpsc::Sender<Fact>,
    role: ClusterRole,
    control: Control,
    status: ControlStatus,
) {
    // The collector outlives every witness; if it is gone, the run has failed already.
    let _ = facts.send(Fact::Control(role, control, status)).await;
}

/// States what the ledger found. Nothing of the control stream is handed on but that; a canary
/// event on one of these channels is misrouted, as it would be anywhere.
async fn settle(
    ledger: &mut Ledger,
    proofs: &mut Proofs,
    facts: &mpsc::Sender<Fact>,
    role: ClusterRole,
) {
    let WitnessReport { witness, tally, .. } = ledger.take_report();
    for incident in &tally.incidents {
        if let Some(control) = proofs.handle_incident(incident) {
            tracing::debug!(cluster = %role, control = control.as_str(), "control fired");
            state(facts, role, control, ControlStatus::Pass).await;
        }
    }
    let misrouted = tally.only_misrouted();
    if misrouted != Tally::default() {
        let report = WitnessReport { witness, tally: misrouted, ..WitnessReport::default() };
        let _ = facts.send(Fact::Witness(role, Box::new(report))).await;
    }
}

/// Waits for a step, if there is one.
async fn step<T>(step: &mut Option<Step<T>>) -> T {
    match step {
        Some(step) => step.await,
        None => pending().await,
    }
}

/// What a frame on one of the control witness's channels is.
enum Heard {
    /// A control event where it belongs.
    Control(String),
    /// A canary event, which belongs elsewhere.
    Canary(String),
    /// Anything else.
    Other,
}

fn hear(frame: &ServerFrame<'_>, channel: &str) -> Heard {
    let text = || frame.data().json_text().to_owned();
    match &*frame.event {
        EVENT if frame.channel.as_deref() == Some(channel) => Heard::Control(text()),
        envelope::EVENT | envelope::CLIENT_EVENT => Heard::Canary(text()),
        _ => Heard::Other,
    }
}

/// Publishes one round, each event after the answer to the one before.
async fn publish(wire: Arc<Wire>, book: Arc<Book>, channel: ChannelName) {
    let mut connection = None;
    for _ in 0..ROUND_EVENTS {
        let now = wire.clock.now();
        let seq = book.reserve(0, now, false);
        let at_us = u64::try_from(wire.clock.wall(now).as_micros()).unwrap_or(u64::MAX);
        let envelope = Envelope { run: wire.run, cluster: wire.role, stream: STREAM, seq, at_us };
        let data = envelope.encode(BYTES_MIN);
        let event = rest::Event { name: EVENT, channel: channel.as_str(), data: &data };
        let request = wire.signer.trigger(&event, wire.clock.wall_now().as_secs());
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => http::connect(&wire.target, wire.clock, CONNECT_TIMEOUT, &wire.tasks).await,
        };
        let Ok(open) = open else {
            book.settle(seq, Outcome::Rejected, None);
            continue;
        };
        book.stamp_sent(seq, wire.clock.now(), false);
        let (answer, idle) = open.send(&wire.target, &request, wire.timeout).await;
        connection = idle;
        let outcome = match answer.map(|a| rest::classify(a.status, &a.body)) {
            Ok(Answer::Accepted) => Outcome::Accepted,
            Ok(Answer::Rejected) => Outcome::Rejected,
            // It is not waited for whether it was taken: another round will tell.
            Ok(Answer::Unknown) | Err(_) => Outcome::Void,
        };
        book.settle(seq, outcome, Some(wire.clock.now()));
    }
}

/// Whether the cluster refuses a subscription that is signed with a wrong secret; `None` if it gave
/// no answer that says so.
async fn refuses(
    target: Target,
    clock: Clock,
    signer: Signer,
    channel: ChannelName,
) -> Option<bool> {
    let ask = |socket_id: SocketId| async move {
        let secret = Secret::new(WRONG_SECRET);
        let auth = auth::channel(&signer.key, &secret, &socket_id, channel.as_str(), None);
        Some(frame::subscribe(channel.as_str(), &auth, None))
    };
    one_off::refuses(&target, clock, one_off::SUBSCRIBED, ask).await
}
