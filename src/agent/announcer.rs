//! Tells witnesses in other processes what became of this one's publications: markers, once a
//! second, by way of every cluster.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{Clock, RunTime};
use crate::net::http::{self, Connection};
use crate::pusher::auth;
use crate::pusher::rest::{self, Answer};
use crate::scenario::plan::MarkerPlan;
use crate::verify::marker::{self, Announcements, Bulletin};

use super::publisher::Wire;
use super::{CONNECT_TIMEOUT, Phases};

/// Bulletins that may wait for a cluster, about 8 MB of them: what finds no room goes by way of the
/// other, or was said before and will be again.
const QUEUED_MAX: usize = 1_024;
/// Times that a bulletin is tried: whoever gets it twice takes it for one.
const TRIES: u32 = 3;
/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(300);

/// See the module's documentation.
pub struct Announcer {
    clock: Clock,
    announcements: Announcements,
    couriers: Vec<mpsc::Sender<Bulletin>>,
}

/// Carries bulletins to one cluster.
pub struct Courier {
    wire: Arc<Wire>,
    markers: MarkerPlan,
    bulletins: mpsc::Receiver<Bulletin>,
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
        (Self { clock, announcements, couriers }, sent)
    }

    /// Announces until everything is said, or `phases.leave`.
    pub async fn run(mut self, phases: Phases) {
        let wall_us = |at| wall_us(&self.clock, at);
        let mut next = self.clock.now();
        while !self.announcements.is_over() {
            next = next.after(marker::PERIOD);
            tokio::select! {
                () = phases.leave.cancelled() => break,
                () = tokio::time::sleep_until(self.clock.instant(next).into()) => {}
            }
            let is_published = phases.published.is_cancelled();
            for bulletin in self.announcements.next(is_published, wall_us) {
                for courier in &self.couriers {
                    // Full, where the cluster does not answer.
                    let _ = courier.try_send(bulletin.clone());
                }
            }
        }
    }
}

/// The time of day at an instant, in microseconds.
fn wall_us(clock: &Clock, at: RunTime) -> u64 {
    u64::try_from(clock.wall(at).as_micros()).unwrap_or(u64::MAX)
}

impl Courier {
    /// Carries what comes, until nothing will come any more or `leave`.
    pub async fn run(mut self, leave: CancellationToken) {
        let mut idle = None;
        loop {
            let mut bulletins = Vec::new();
            tokio::select! {
                () = leave.cancelled() => break,
                count = self.bulletins.recv_many(&mut bulletins, rest::BATCH_EVENTS_MAX) => {
                    if count == 0 {
                        break;
                    }
                }
            }
            tokio::select! {
                () = leave.cancelled() => break,
                () = self.carry(bulletins, &mut idle) => {}
            }
        }
    }

    async fn carry(&self, mut bulletins: Vec<Bulletin>, idle: &mut Option<Connection>) {
        let Self { wire, markers, .. } = self;
        let clock = wire.clock;
        for _ in 0..TRIES {
            let open = match idle.take() {
                Some(open) => Ok(open),
                None => http::connect(&wire.target, clock, CONNECT_TIMEOUT, &wire.tasks).await,
            };
            if let Ok(open) = open {
                // By what it says of now the other side knows how far apart the clocks are.
                bulletins.iter_mut().for_each(|of| of.now_us = wall_us(&clock, clock.now()));
                let request = self.request(&bulletins);
                let (answer, left) = open.send(&wire.target, &request, wire.timeout).await;
                *idle = left;
                if answer.is_ok_and(|a| rest::classify(a.status, &a.body) == Answer::Accepted) {
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        let channel = markers.channel.as_str();
        tracing::warn!(cluster = %wire.role, channel, "did not take the markers of a second");
    }

    fn request(&self, bulletins: &[Bulletin]) -> rest::Request {
        let Self { wire, markers, .. } = self;
        let signed = |bulletin: &Bulletin| {
            let text = bulletin.encode();
            format!("{}.{text}", auth::hmac_hex(&markers.key, text.as_bytes()))
        };
        let texts: Vec<_> = bulletins.iter().map(signed).collect();
        let channel = markers.channel.as_str();
        let event = |data| rest::Event { name: marker::EVENT, channel, data };
        let events: Vec<_> = texts.iter().map(|text| event(text)).collect();
        let timestamp = wire.clock.wall_now().as_secs();
        match events.as_slice() {
            [event] => wire.signer.trigger(event, timestamp),
            events => wire.signer.batch(events, timestamp),
        }
    }
}
