//! Drives one simulated client: it connects when its time has come, stays, and counts what comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{Clock, ClusterRole, RunTime, StreamIx};
use crate::pusher::session::Event;
use crate::verify::book::Book;
use crate::verify::fact::{Fact, Shortfall};
use crate::verify::latency::Sparse;
use crate::verify::ledger::Ledger;
use crate::verify::load::{LoadConnections, LoadFaults, LoadReport};

use super::link::{ConnectGate, Link, LinkEvent};
use super::witness::{Eyes, RunChannels, describe, note_sight, state_own_faults};
use super::{Phases, TALLY_PERIOD};

/// Most of a reason that is kept.
const REASON_CHARS: usize = 200;

/// See the module's documentation.
pub struct Client {
    pub(super) role: ClusterRole,
    /// Which one, of its cluster.
    pub(super) client: u32,
    pub(super) clock: Clock,
    pub(super) link: Link,
    /// When its cluster may be dialled.
    pub(super) gate: Arc<ConnectGate>,
    pub(super) ledger: Ledger,
    pub(super) channels: RunChannels,
    /// The publications of each stream that it hears.
    pub(super) books: BTreeMap<StreamIx, Arc<Book>>,
    /// When it connects, counted from the start of publishing.
    pub(super) after: Duration,
    /// Bytes that waited longer than this taint their second.
    pub(super) backlog_max: Duration,
    pub(super) facts: mpsc::Sender<Fact>,
}

/// What a client has not handed on yet.
#[derive(Default)]
struct Counts {
    connections: LoadConnections,
    connect: Sparse,
    faults: BTreeMap<u64, LoadFaults>,
    failures: BTreeMap<String, u64>,
    has_joined: bool,
    is_connected: bool,
}

impl Client {
    /// Waits for its time, then stays until `phases.leave`.
    ///
    /// It is boxed since a future that is given something by value keeps room for it twice.
    pub async fn run(mut self: Box<Self>, phases: Phases) {
        tokio::select! {
            () = phases.leave.cancelled() => return,
            () = phases.publishing.cancelled() => {}
        }
        let due = self.clock.now().after(self.after);
        // Whoever has not come by the last event would hear nothing.
        let until = async |at: RunTime| {
            tokio::select! {
                () = phases.published.cancelled() => false,
                () = phases.leave.cancelled() => false,
                () = tokio::time::sleep_until(self.clock.instant(at).into()) => true,
            }
        };
        if !until(due).await || !until(self.gate.reserve()).await {
            return;
        }
        let mut counts = Counts::default();
        counts.connections.asked = 1;
        let mut looked = self.clock.now();
        let mut next_report = looked.after(TALLY_PERIOD);
        self.link.start_reserved();
        loop {
            let tick = tokio::time::sleep_until(self.clock.instant(next_report).into());
            let eyes = Eyes { ledger: &mut self.ledger, channels: &self.channels };
            tokio::select! {
                () = phases.leave.cancelled() => break,
                event = self.link.next_for(eyes) => {
                    note_sight(&mut self.ledger, &event, self.link.session().last_heard());
                    counts.note(self.role, &event, &self.link, self.clock.now());
                }
                () = tick => {
                    let now = self.clock.now();
                    next_report = now.after(TALLY_PERIOD);
                    let looks = (looked, now);
                    state_own_faults(&mut self.link, self.backlog_max, looks, &self.facts).await;
                    looked = now;
                    self.hand_on(&mut counts).await;
                }
            }
        }
        self.hand_on(&mut counts).await;
        self.link.stop().await;
    }

    async fn hand_on(&mut self, counts: &mut Counts) {
        self.ledger.advance(self.clock.now());
        let ledger = self.ledger.take_report();
        for (stream, seq, shortfall) in &ledger.shortfalls {
            if *shortfall == Shortfall::Lost {
                let publication = self.books.get(stream).and_then(|book| book.read(*seq));
                let sent = publication.map_or_else(|| self.clock.now(), |of| of.sent);
                counts.at(sent).lost += 1;
            }
        }
        let report = LoadReport {
            client: self.client,
            connections: std::mem::take(&mut counts.connections),
            connect: std::mem::take(&mut counts.connect),
            is_connected: counts.is_connected,
            faults: std::mem::take(&mut counts.faults),
            failures: std::mem::take(&mut counts.failures),
            ledger,
        };
        // The collector outlives every connection; if it is gone, the run has failed already.
        let _ = self.facts.send(Fact::Load(self.role, Box::new(report))).await;
    }
}

impl Counts {
    fn at(&mut self, instant: RunTime) -> &mut LoadFaults {
        self.faults.entry(instant.second()).or_default()
    }

    fn note(&mut self, role: ClusterRole, event: &LinkEvent, link: &Link, now: RunTime) {
        match event {
            LinkEvent::Session(Event::Subscribed(_)) if link.session().is_ready() => {
                self.connections.opened += 1;
                self.connections.joined += u64::from(!self.has_joined);
                (self.has_joined, self.is_connected) = (true, true);
                if let Some(phases) = link.phases() {
                    self.connect.record(phases.total());
                }
            }
            LinkEvent::Session(Event::Disconnected(lost)) => {
                let was_connected = std::mem::take(&mut self.is_connected);
                let faults = self.at(now);
                faults.connections_lost += u64::from(was_connected);
                faults.tries_failed += u64::from(!was_connected);
                // A cluster may have a say in it.
                let why: String = describe(&lost.cause, None).chars().take(REASON_CHARS).collect();
                match was_connected {
                    true => tracing::debug!(cluster = %role, why, "a client's connection lost"),
                    false => tracing::debug!(cluster = %role, why, "a client did not connect"),
                }
                *self.failures.entry(why).or_default() += 1;
            }
            LinkEvent::Session(_)
            | LinkEvent::DialFailed(_)
            | LinkEvent::Malformed(_)
            | LinkEvent::Asked(_)
            | LinkEvent::Broken(_) => {}
        }
    }
}
