//! Sends client events: route `client`. One connection for several streams, and no witness.
//!
//! A client event has no answer. A ping goes out behind each: the pong, without an error before
//! it, says that the cluster took the event.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::model::{ClusterRole, RunTime, Seq, StreamIx};
use crate::pusher::frame;
use crate::pusher::session::Event;
use crate::verify::envelope;
use crate::verify::fact::Fact;
use crate::verify::taint::TaintReason;
use crate::verify::tally::Route;

use super::link::{Link, LinkEvent, error_text};
use super::next_tally;
use super::outbox::{Ended, Outbox, Sent};
use super::publisher::Wire;
use super::start::Started;
use super::witness::{ConnectionLog, Readiness};

/// A client event that the schedule wants sent now.
#[derive(Debug)]
pub struct ClientJob {
    /// The scheduled instant.
    pub scheduled: RunTime,
    /// Its stream.
    pub stream: StreamIx,
    /// Its seq.
    pub seq: Seq,
    /// One of the cluster's open requests; given back when the event has ended.
    pub permit: OwnedSemaphorePermit,
}

/// A client event that waits for its pong.
struct Waiting {
    sent: Sent,
    ping: u64,
    _permit: OwnedSemaphorePermit,
}

/// See the module's documentation.
pub struct Sender {
    /// The cluster.
    pub role: ClusterRole,
    /// The sender's connection, subscribed to the channels that it sends on.
    pub link: Link,
    /// How events are made.
    pub wire: Arc<Wire>,
    /// Where publications are kept.
    pub outbox: Outbox,
    /// Where facts go.
    pub facts: mpsc::Sender<Fact>,
}

impl Sender {
    /// Sends what comes on `jobs` until it is closed and every publication is decided, or `stop`
    /// says that nobody waits any more.
    pub async fn run(
        self,
        mut jobs: mpsc::Receiver<ClientJob>,
        started: mpsc::Sender<Started>,
        stop: CancellationToken,
    ) {
        let Self { role, mut link, wire, mut outbox, facts } = self;
        let clock = wire.clock;
        let mut log = ConnectionLog::new(role, facts, Readiness::new(started), None);
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut next_report = next_tally(clock.now());
        let mut open = true;
        link.start();
        while open || !outbox.is_settled() {
            let tick = tokio::time::sleep_until(clock.instant(next_report).into());
            tokio::select! {
                () = stop.cancelled() => break,
                job = jobs.recv(), if open => match job {
                    None => open = false,
                    Some(job) => send(job, &mut link, &wire, &mut outbox, &mut waiting),
                },
                event = link.next(|_, _| {}) => {
                    if let LinkEvent::Session(event) = &event {
                        settle(event, clock.now(), &mut waiting, &mut outbox);
                    }
                    log.note(&event, &mut link, clock.now()).await;
                }
                () = tick => {
                    let now = clock.now();
                    next_report = next_tally(now);
                    if link.take_kept_here() {
                        wire.taint(now, TaintReason::NoConnection);
                    }
                    expire(now, wire.timeout, &mut waiting, &mut outbox);
                    outbox.decide(now);
                    outbox.hand_on().await;
                }
            }
        }
        link.stop().await;
        outbox.hand_on().await;
    }
}

fn send(
    job: ClientJob,
    link: &mut Link,
    wire: &Wire,
    outbox: &mut Outbox,
    waiting: &mut VecDeque<Waiting>,
) {
    let ClientJob { scheduled, stream, seq, permit } = job;
    outbox.take(Route::Client, stream);
    let lag = wire.lag(scheduled);
    outbox.note_lag(lag);
    let data = wire.data(stream, seq, scheduled);
    let at = wire.stamp(&[(stream, seq)], lag);
    let sent = Sent { route: Route::Client, stream, seq, at, known: at };
    let channel = wire.streams.get(stream.0 as usize).map(|s| &s.channel);
    match channel.filter(|_| link.session().is_ready()) {
        Some(channel) => {
            let event = frame::client_event(envelope::CLIENT_EVENT, channel.as_str(), &data);
            let ping = link.send_with_ping(event);
            waiting.push_back(Waiting { sent, ping, _permit: permit });
        }
        None => {
            let why = "the sender was not connected".to_owned();
            outbox.settle(sent, Ended::Rejected(why), None);
        }
    }
}

fn settle(event: &Event, now: RunTime, waiting: &mut VecDeque<Waiting>, outbox: &mut Outbox) {
    match event {
        Event::Pong(number) => {
            while let Some(first) = waiting.pop_front_if(|w| w.ping <= *number) {
                outbox.note_duration(now.since(first.sent.at));
                outbox.settle(first.sent, Ended::Accepted, Some(now));
            }
        }
        Event::Error(error) => {
            // Answers come in the order of the questions: it is about the oldest without a pong.
            if let Some(first) = waiting.pop_front() {
                let why = error_text(error);
                let ended = match error.code {
                    // A server that is about to close says so, which is no answer; Reverb answers
                    // what it cannot read with the same code.
                    Some(4200..=4299) => Ended::Unknown(why),
                    _ => Ended::Rejected(why),
                };
                outbox.note_duration(now.since(first.sent.at));
                outbox.settle(first.sent, ended, Some(now));
            }
        }
        Event::Disconnected(_) => {
            for left in waiting.drain(..) {
                let why = "the connection was lost before the pong".to_owned();
                outbox.settle(left.sent, Ended::Unknown(why), None);
            }
        }
        Event::Established(_) | Event::Subscribed(_) | Event::SubscriptionRefused(..) => {}
    }
}

fn expire(
    now: RunTime,
    timeout: std::time::Duration,
    waiting: &mut VecDeque<Waiting>,
    outbox: &mut Outbox,
) {
    while let Some(first) = waiting.pop_front_if(|w| w.sent.at.after(timeout) <= now) {
        let why = "no pong in time".to_owned();
        outbox.settle(first.sent, Ended::Unknown(why), None);
    }
}
