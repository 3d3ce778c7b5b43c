//! Publishes to one cluster over HTTP: routes `trigger` and `batch`. Open loop: no request waits
//! for another's answer, and none is ever sent twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::TaskTracker;

use crate::model::secret::without_signatures;
use crate::model::{ChannelName, Clock, ClusterRole, RunId, RunTime, Seq, StreamIx};
use crate::net::dial::DialError;
use crate::net::dial::Target;
use crate::net::http::{self, Connection, RequestError, Response};
use crate::pusher::encrypt::{NONCE_BYTES, SharedSecret};
use crate::pusher::rest::{self, Answer, Signer};
use crate::verify::book::Book;
use crate::verify::envelope::{self, Envelope};
use crate::verify::fact::Fact;
use crate::verify::taint::TaintReason;
use crate::verify::tally::Route;

use super::outbox::{Ended, Outbox, Sent};
use super::{TALLY_PERIOD, next_tally};

/// Fewest connections that are kept open and idle.
pub(super) const IDLE_MIN: usize = 4;
/// Stale connections that one request may meet before it counts as rejected.
const STALE_MAX: u32 = 3;
/// Connections that are dialled ahead of need between two hand-overs, at most: enough for a server
/// that closes after each answer at a few thousand a second.
const IDLE_DIALS_MAX: u32 = 1_000;
/// Longest dial of an HTTP connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Most characters of an answer that a report quotes.
const QUOTE_CHARS_MAX: usize = 200;

/// Events that the schedule wants published now, in one request.
#[derive(Debug)]
pub struct Job {
    /// The route: one event for `trigger`, several for `batch`.
    pub route: Route,
    /// The scheduled instant.
    pub scheduled: RunTime,
    /// Which events.
    pub events: Vec<(StreamIx, Seq)>,
    /// One of the cluster's open requests; given back with the answer.
    pub permit: OwnedSemaphorePermit,
}

/// What the publisher must know of a stream.
#[derive(Clone, Debug)]
pub struct StreamTarget {
    /// Its channel.
    pub channel: ChannelName,
    /// The key of its channel, if that is encrypted.
    pub shared_secret: Option<SharedSecret>,
    /// Its book on this cluster.
    pub book: Arc<Book>,
}

/// Everything that stays the same for all requests to a cluster.
#[derive(Debug)]
pub struct Wire {
    /// The process's clock.
    pub clock: Clock,
    /// The run.
    pub run: RunId,
    /// The cluster's role, for envelopes.
    pub role: ClusterRole,
    /// Where the HTTP API is.
    pub target: Target,
    /// How requests are signed.
    pub signer: Signer,
    /// The streams, in order.
    pub streams: Vec<StreamTarget>,
    /// Bytes of an envelope.
    pub payload_bytes: usize,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Most idle connections that are kept.
    pub idle_max: usize,
    /// Publications taken up later than this after their scheduled instant are tainted.
    pub lag_max: Duration,
    /// Where taints go.
    pub facts: mpsc::Sender<Fact>,
    /// Where connections' drivers run.
    pub tasks: TaskTracker,
}

impl Wire {
    /// The data of one event.
    pub fn data(&self, stream: StreamIx, seq: Seq, scheduled: RunTime) -> String {
        let at_us = u64::try_from(self.clock.wall(scheduled).as_micros()).unwrap_or(u64::MAX);
        let envelope = Envelope { run: self.run, cluster: self.role, stream, seq, at_us };
        let text = envelope.encode(self.payload_bytes);
        let secret = self.streams.get(stream.0 as usize).and_then(|s| s.shared_secret.as_ref());
        match secret {
            Some(secret) => secret.seal(&text, &self.nonce(stream, seq)),
            None => text,
        }
    }

    /// Never the same for two events of a run, which is all that a nonce must be.
    fn nonce(&self, stream: StreamIx, seq: Seq) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        let cluster = self.role as u32;
        let parts = self.run.0.as_bytes().iter().rev().take(8).copied();
        let parts = parts.chain((stream.0 ^ cluster << 31).to_be_bytes());
        for (byte, value) in nonce.iter_mut().zip(parts.chain(seq.0.to_be_bytes())) {
            *byte = value;
        }
        nonce
    }

    fn request(&self, job: &Job) -> rest::Request {
        let data: Vec<String> =
            job.events.iter().map(|(s, q)| self.data(*s, *q, job.scheduled)).collect();
        let events: Vec<rest::Event<'_>> = job
            .events
            .iter()
            .zip(&data)
            .filter_map(|((stream, _), data)| {
                let channel = self.streams.get(stream.0 as usize)?.channel.as_str();
                Some(rest::Event { name: envelope::EVENT, channel, data })
            })
            .collect();
        let timestamp = self.clock.wall_now().as_secs();
        match (job.route, events.as_slice()) {
            (Route::Trigger, [event]) => self.signer.trigger(event, timestamp),
            (_, events) => self.signer.batch(events, timestamp),
        }
    }

    /// How late a publication is taken up, which is our own doing: what its dial takes is not. Too
    /// late is a taint of its second.
    pub fn lag(&self, scheduled: RunTime) -> Duration {
        let now = self.clock.now();
        let lag = now.since(scheduled);
        if lag > self.lag_max {
            self.taint(now, TaintReason::ScheduleLag);
        }
        lag
    }

    /// States that a second cannot be relied on.
    pub(super) fn taint(&self, at: RunTime, reason: TaintReason) {
        // A full queue is a collector that does not run: a stall, which taints as well.
        let _ = self.facts.try_send(Fact::Taint(at.second(), reason));
    }

    /// Stamps events just before their first byte leaves.
    pub fn stamp(&self, events: &[(StreamIx, Seq)], lag: Duration) -> RunTime {
        let at = self.clock.now();
        for (stream, seq) in events {
            if let Some(target) = self.streams.get(stream.0 as usize) {
                target.book.stamp_sent(*seq, at, lag > self.lag_max);
            }
        }
        at
    }

    async fn dial(&self) -> Result<Connection, DialError> {
        http::connect(&self.target, self.clock, DIAL_TIMEOUT, &self.tasks).await
    }
}

/// How one request went.
pub struct Done {
    job: Job,
    lag: Duration,
    sent: RunTime,
    answered: Option<RunTime>,
    result: Result<Response, (bool, String)>,
    idle: Option<Connection>,
}

impl Done {
    /// The connection, if it can be used again, and whether the cluster took all events.
    pub fn accepted(self) -> (Option<Connection>, bool) {
        let is_accepted = self.result.is_ok_and(|response| {
            rest::classify(response.status, &response.body) == Answer::Accepted
        });
        (self.idle, is_accepted)
    }
}

/// Sends one request; a connection that proves stale before a byte was written is replaced.
pub async fn publish(wire: &Wire, job: Job, connection: Option<Connection>) -> Done {
    let lag = wire.lag(job.scheduled);
    let request = wire.request(&job);
    let mut connection = connection;
    let mut sent = wire.clock.now();
    for _ in 0..STALE_MAX {
        let open = match connection.take() {
            Some(open) => open,
            None => match wire.dial().await {
                Ok(open) => open,
                Err(error) => {
                    if error.is_own {
                        wire.taint(sent, TaintReason::NoConnection);
                    }
                    let result = Err((true, error.message));
                    return Done { job, lag, sent, answered: None, result, idle: None };
                }
            },
        };
        sent = wire.stamp(&job.events, lag);
        let (result, idle) = open.send(&wire.target, &request, wire.timeout).await;
        let answered = Some(wire.clock.now());
        match result {
            Ok(response) => {
                // What is signed says when it was, and nobody takes what is of another hour.
                if wire.clock.is_stepped() && rest::is_unauthorised(response.status, &response.body)
                {
                    wire.taint(sent, TaintReason::ClockStep);
                }
                return Done { job, lag, sent, answered, result: Ok(response), idle };
            }
            Err(RequestError::NotSent) => {}
            Err(RequestError::Lost(why)) => {
                let result = Err((false, why));
                return Done { job, lag, sent, answered: None, result, idle: None };
            }
        }
    }
    let why = "every connection was closed before the request was sent".to_owned();
    Done { job, lag, sent, answered: None, result: Err((true, why)), idle: None }
}

/// Publishes what comes on `jobs` until it is closed and every publication is decided. `slow_down`
/// is told how long a 429 asked to wait.
pub async fn run(
    wire: Arc<Wire>,
    mut outbox: Outbox,
    mut jobs: mpsc::Receiver<Job>,
    warm: Vec<Connection>,
    slow_down: mpsc::Sender<Duration>,
) {
    let idle_max = wire.idle_max;
    let mut idle = warm;
    let mut idle_wanted = idle.len().max(IDLE_MIN);
    let mut requests = FuturesUnordered::new();
    let mut dials = FuturesUnordered::new();
    let mut next_report = next_tally(wire.clock.now());
    // One that fails, or that is closed as soon as it is there, must not be dialled without end.
    let (mut open, mut dials_left) = (true, IDLE_DIALS_MAX);
    while open || !outbox.is_settled() {
        // Replace what was used up or closed: some servers close after each answer.
        idle.retain(Connection::is_usable);
        while open && dials_left > 0 && idle.len() + dials.len() < idle_wanted {
            dials.push(wire.dial());
            dials_left -= 1;
        }
        let tick = tokio::time::sleep_until(wire.clock.instant(next_report).into());
        tokio::select! {
            job = jobs.recv(), if open => match job {
                None => open = false,
                Some(job) => {
                    for (stream, _) in &job.events {
                        outbox.take(job.route, *stream);
                    }
                    let connection = idle.pop();
                    if connection.is_none() {
                        // What was kept did not suffice: keep one more from now on.
                        idle_wanted = (idle_wanted + 1).min(idle_max);
                    }
                    requests.push(publish(&wire, job, connection));
                }
            },
            Some(done) = requests.next() => {
                finish(done, &mut outbox, &mut idle, &slow_down);
                idle.truncate(idle_max);
            }
            Some(dialled) = dials.next() => match dialled {
                Ok(connection) => idle.push(connection),
                // The next request that finds no connection dials itself, and says why it failed.
                Err(_) => dials_left = 0,
            },
            () = tick => {
                let now = wire.clock.now();
                next_report = next_tally(now);
                outbox.decide(now);
                outbox.hand_on().await;
                dials_left = IDLE_DIALS_MAX;
            }
        }
    }
    outbox.hand_on().await;
}

fn finish(
    done: Done,
    outbox: &mut Outbox,
    idle: &mut Vec<Connection>,
    slow_down: &mpsc::Sender<Duration>,
) {
    let Done { job, lag, sent, answered, result, idle: connection } = done;
    idle.extend(connection);
    let ended = match result {
        Ok(response) => {
            outbox.note_response(response.status, response.rate_limit_used);
            if rest::is_throttled(response.status, &response.body) {
                outbox.note_throttled();
                let wait = response.retry_after.unwrap_or(TALLY_PERIOD);
                // Full means that a wait is asked for already.
                let _ = slow_down.try_send(wait);
            }
            let said = || format!("HTTP {}: {}", response.status, quote(&response.body));
            match rest::classify(response.status, &response.body) {
                Answer::Accepted => Ended::Accepted,
                Answer::Rejected => Ended::Rejected(said()),
                Answer::Unknown => Ended::Unknown(said()),
            }
        }
        Err((true, why)) => Ended::Rejected(why),
        Err((false, why)) => Ended::Unknown(why),
    };
    for (stream, seq) in job.events {
        let publication = Sent { route: job.route, stream, seq, at: sent, known: sent };
        outbox.note_lag(lag);
        if let Some(answered) = answered {
            outbox.note_duration(answered.since(job.scheduled.after(lag)));
        }
        outbox.settle(publication, ended.clone(), answered);
    }
    drop(job.permit);
}

/// The beginning of an answer, on one line.
pub(super) fn quote(body: &str) -> String {
    let line: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    without_signatures(&line).chars().take(QUOTE_CHARS_MAX).collect()
}
