//! Tells witnesses in other processes what became of this one's publications: markers, once a
//! second, by way of every cluster.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::Clock;
use crate::net::http::{self, Connection};
use crate::pusher::auth;
use crate::pusher::rest::{self, Answer};
use crate::scenario::plan::MarkerPlan;
use crate::verify::marker::{self, Announcements};

use super::publisher::Wire;
use super::{CONNECT_TIMEOUT, Phases};

/// Bulletins that may wait for a cluster. What finds no room goes by way of the other.
const QUEUED_MAX: usize = 64;
/// Times that a bulletin is tried: whoever gets it twice takes it for one.
const TRIES: u32 = 3;

/// See the module's documentation.
pub struct Announcer {
    clock: Clock,
    markers: MarkerPlan,
    announcements: Announcements,
    couriers: Vec<mpsc::Sender<Arc<str>>>,
}

/// Carries bulletins to one cluster.
pub struct Courier {
    wire: Arc<Wire>,
    markers: MarkerPlan,
    bulletins: mpsc::Receiver<Arc<str>>,
}

impl Announcer {
    /// One that announces by way of these clusters, with a courier for each.
    pub fn new(
        clock: Clock,
        markers: &MarkerPlan,
        announcements: Announcements,
        wires: &[Arc<Wire>],
    ) -> (Self, Vec<Courier>) {
        let courier = |wire: &Arc<Wire>| {
            let (carry, bulletins) = mpsc::channel(QUEUED_MAX);
            (carry, Courier { wire: Arc::clone(wire), markers: markers.clone(), bulletins })
        };
        let (couriers, sent) = wires.iter().map(courier).unzip();
        (Self { clock, markers: markers.clone(), announcements, couriers }, sent)
    }

    /// Announces until everything is said, or `phases.leave`.
    pub async fn run(mut self, phases: Phases) {
        let wall_us = |at| u64::try_from(self.clock.wall(at).as_micros()).unwrap_or(u64::MAX);
        let mut next = self.clock.now();
        while !self.announcements.is_over() {
            next = next.after(marker::PERIOD);
            tokio::select! {
                () = phases.leave.cancelled() => break,
                () = tokio::time::sleep_until(self.clock.instant(next).into()) => {}
            }
            let is_published = phases.published.is_cancelled();
            for bulletin in self.announcements.next(is_published, self.clock.now(), wall_us) {
                let text = bulletin.encode();
                let signature = auth::hmac_hex(&self.markers.key, text.as_bytes());
                let text: Arc<str> = format!("{signature}.{text}").into();
                for courier in &self.couriers {
                    // Full, where the cluster does not answer.
                    let _ = courier.try_send(Arc::clone(&text));
                }
            }
        }
    }
}

impl Courier {
    /// Carries what comes, until nothing will come any more or `leave`.
    pub async fn run(mut self, leave: CancellationToken) {
        let mut idle = None;
        loop {
            let mut texts = Vec::new();
            tokio::select! {
                () = leave.cancelled() => break,
                count = self.bulletins.recv_many(&mut texts, rest::BATCH_EVENTS_MAX) => {
                    if count == 0 {
                        break;
                    }
                }
            }
            tokio::select! {
                () = leave.cancelled() => break,
                () = self.carry(&texts, &mut idle) => {}
            }
        }
    }

    async fn carry(&self, texts: &[Arc<str>], idle: &mut Option<Connection>) {
        let Self { wire, markers, .. } = self;
        let channel = markers.channel.as_str();
        let event = |data| rest::Event { name: marker::EVENT, channel, data };
        let events: Vec<_> = texts.iter().map(|text| event(text)).collect();
        for _ in 0..TRIES {
            let timestamp = wire.clock.wall_now().as_secs();
            let request = match events.as_slice() {
                [event] => wire.signer.trigger(event, timestamp),
                events => wire.signer.batch(events, timestamp),
            };
            let open = match idle.take() {
                Some(open) => Ok(open),
                None => http::connect(&wire.target, wire.clock, CONNECT_TIMEOUT, &wire.tasks).await,
            };
            let Ok(open) = open else { continue };
            let (answer, left) = open.send(&wire.target, &request, wire.timeout).await;
            *idle = left;
            if answer.is_ok_and(|a| rest::classify(a.status, &a.body) == Answer::Accepted) {
                return;
            }
        }
        tracing::warn!(cluster = %wire.role, "did not take the markers of a second");
    }
}
