//! What is published to a cluster, and how that ends.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pusher_canary::model::{AppId, AppKey, ClusterRole, RunId, Secret, Seq, StreamIx};
use pusher_canary::pusher::encrypt::SharedSecret;
use pusher_canary::rehearsal::App;
use pusher_canary::rehearsal::core::{Core, Setup};
use pusher_canary::rehearsal::hub::{Conn, Publication};
use pusher_canary::verify::book::{Book, Outcome};
use pusher_canary::verify::envelope::{self, Envelope};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::options::{Chances, ENCRYPTED, Options};
use super::record::{End, Known, Sent};
use super::{Happening, TALLY, World, run};

pub const MASTER_KEY: [u8; 32] = [7; 32];

/// One cluster, and what its publisher knows.
pub struct Cluster {
    pub role: ClusterRole,
    pub core: Core,
    pub app: App,
    pub chances: Chances,
    /// By stream.
    pub books: Vec<Arc<Book>>,
    pub sent: Vec<Sent>,
    undecided: Vec<usize>,
    pub published: HashMap<String, Known>,
    /// Whose connection it is, and which of its links.
    pub owners: HashMap<Conn, (usize, u64)>,
}

impl Cluster {
    pub fn new(role: ClusterRole, seed: u64, options: &Options, streams: usize) -> Self {
        let app = App {
            id: AppId::new("1").unwrap(),
            key: AppKey::new("key").unwrap(),
            secret: Secret::new("secret"),
        };
        let setup = Setup {
            role,
            app: app.clone(),
            seed,
            habits: BTreeSet::new(),
            faults: Vec::new(),
            has_webhooks: false,
            peek_key: None,
        };
        let book = |_| Arc::new(Book::new(options.events as usize));
        Self {
            role,
            core: Core::new(setup),
            app,
            // One may be as good as the other is bad.
            chances: Chances::draw(&mut SmallRng::seed_from_u64(seed)),
            books: (0..streams).map(book).collect(),
            sent: Vec::new(),
            undecided: Vec::new(),
            published: HashMap::new(),
            owners: HashMap::new(),
        }
    }
}

impl World {
    /// One event, to both clusters.
    pub fn publish(&mut self, index: u64) {
        (0..self.clusters.len()).for_each(|side| self.publish_to(side, index));
    }

    fn publish_to(&mut self, side: usize, index: u64) {
        let stream = (index % self.streams.len() as u64) as usize;
        let chances = self.clusters[side].chances.clone();
        let book = Arc::clone(&self.clusters[side].books[stream]);
        let is_unsent = self.strikes(chances.unsent);
        let seq = book.reserve(index, self.now, is_unsent);
        let end = match () {
            () if is_unsent => End::Unsent,
            () if self.strikes(chances.reject) => End::Rejected,
            () if self.strikes(chances.unanswered) => End::Unknown,
            () => End::Accepted,
        };
        let (order, at) = (self.order, self.now);
        let sent = self.clusters[side].sent.len();
        let line = Sent { stream, seq, order, at, end, answered: None };
        self.clusters[side].sent.push(line);
        self.agent.sent(self.clusters[side].role, end, at);
        if is_unsent {
            return;
        }
        book.stamp_sent(seq, self.now, false);
        let at_us = self.rng.random_range(0..1 << 50);
        let data = self.data((run(), side), stream, seq, at_us);
        self.clusters[side].published.insert(data.clone(), Known::Event(stream, seq));
        let (there, back) = (self.way(), self.way());
        let answer = match end {
            End::Unknown => self.options.deadline,
            _ => there + back,
        };
        self.queue(answer, Happening::Answer { side, sent });
        match end {
            // A liar delivers what it has refused, once the refusal is known.
            End::Rejected if self.strikes(chances.liar) => {
                let after = answer + Duration::from_millis(1);
                self.queue(after, Happening::Request { side, sent, data });
            }
            End::Rejected => {}
            End::Unknown if self.strikes(chances.unheard) => {}
            _ => self.queue(there, Happening::Request { side, sent, data }),
        }
    }

    /// What an event of this run, or of another, carries on a stream of a cluster.
    pub fn data(
        &mut self,
        (run, side): (RunId, usize),
        stream: usize,
        seq: Seq,
        at_us: u64,
    ) -> String {
        let ix = StreamIx(u32::try_from(stream).unwrap());
        let cluster = self.clusters[side].role;
        let plain = Envelope { run, cluster, stream: ix, seq, at_us }.encode(220);
        match &*self.streams[stream] {
            ENCRYPTED => {
                SharedSecret::derive(ENCRYPTED, &MASTER_KEY).seal(&plain, &self.rng.random())
            }
            _ => plain,
        }
    }

    pub fn request(&mut self, side: usize, sent: usize, data: String) {
        let cluster = &mut self.clusters[side];
        let channel = self.streams[cluster.sent[sent].stream].clone();
        let event = envelope::EVENT.to_owned();
        let request = cluster.core.request_arrived();
        let publication = Publication { event, channel, data, except: None };
        let (_, effects) = cluster.core.publish(self.now, vec![publication], &request);
        cluster.core.request_answered(&request);
        self.carry(side, effects);
    }

    pub fn answer(&mut self, side: usize, at: usize) {
        let cluster = &mut self.clusters[side];
        let sent = &mut cluster.sent[at];
        let (outcome, answered) = match sent.end {
            End::Accepted => (Outcome::Accepted, Some(self.now)),
            End::Rejected => (Outcome::Rejected, Some(self.now)),
            End::Unknown => (Outcome::Unknown, None),
            End::Unsent => return,
        };
        sent.answered = answered.map(|at| (self.order, at));
        cluster.books[sent.stream].settle(sent.seq, outcome, answered);
        self.agent.answered(cluster.role, outcome);
        if outcome == Outcome::Unknown {
            cluster.undecided.push(at);
        }
    }

    /// As the publisher's outbox does it.
    pub fn decide(&mut self, side: usize) {
        let (now, horizon) = (self.now, self.options.horizon);
        let Cluster { sent, books, undecided, role, .. } = &mut self.clusters[side];
        undecided.retain(|at| {
            let Sent { stream, seq, at, .. } = sent[*at];
            let seen = books[stream].read(seq).is_some_and(|publication| publication.seen);
            let is_due = now >= at.after(horizon).after(TALLY);
            if seen || is_due {
                let outcome = if seen { Outcome::Recovered } else { Outcome::Void };
                books[stream].settle(seq, outcome, None);
                self.agent.answered(*role, outcome);
            }
            !seen && !is_due
        });
        self.agent.published(*role);
    }
}
