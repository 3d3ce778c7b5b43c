//! Histories on virtual time. After every call the books must balance.

mod beside;
mod following;
mod outcomes;
mod random;

use uuid::Uuid;

use super::*;

const DEADLINE: Duration = Duration::from_secs(5);
const HORIZON: Duration = Duration::from_secs(30);
const RUN: RunId = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab));
const OTHER_RUN: RunId = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ac));

/// The instant so many milliseconds into the run.
const fn ms(millis: u64) -> RunTime {
    RunTime::from_millis(millis)
}

/// One nanosecond after.
const fn just_after(at: RunTime) -> RunTime {
    RunTime(at.0 + 1)
}

/// One witness on the new cluster, with a private channel (place 0, stream 0) and a cache channel
/// (place 1, stream 1); stream 2 is on a channel that it does not watch.
struct World {
    ledger: Ledger,
    books: [Arc<Book>; 3],
    /// All that was handed on.
    sum: Tally,
    shortfalls: Vec<(u32, u64, Shortfall)>,
    owed_from: Vec<(StreamIx, Seq)>,
    settled_below: [u64; 3],
    overdue: u64,
    unexplained: u64,
}

impl World {
    /// A witness that is not subscribed yet.
    fn unsubscribed() -> Self {
        Self::with(false)
    }

    /// The same, of what this process publishes or, if it `follows`, another one.
    fn with(follows: bool) -> Self {
        let config = Config {
            run: RUN,
            cluster: ClusterRole::New,
            witness: WitnessIx(7),
            deadline: DEADLINE,
            horizon: HORIZON,
            follows,
        };
        let books = [(); 3].map(|()| Arc::new(Book::new(16)));
        let spec = |at: usize, route: Route| StreamSpec {
            stream: StreamIx(at as u32),
            channel: at,
            route,
            book: Arc::clone(&books[at]),
        };
        // Out of order: the ledger sorts them.
        let streams = vec![spec(1, Route::Batch), spec(0, Route::Trigger)];
        let kinds = [ChannelKind::Private, ChannelKind::PrivateCache];
        Self {
            ledger: Ledger::new(config, &kinds, streams),
            books,
            sum: Tally::default(),
            shortfalls: Vec::new(),
            owed_from: Vec::new(),
            settled_below: [0; 3],
            overdue: 0,
            unexplained: 0,
        }
    }

    /// A witness that was subscribed at once.
    fn new() -> Self {
        let mut world = Self::unsubscribed();
        world.subscribe(0, ms(0));
        world.subscribe(1, ms(0));
        world
    }

    /// Takes in what the ledger hands on, and adds it up.
    fn check(&mut self) {
        let report = self.ledger.take_report();
        assert_eq!(report.witness, WitnessIx(7));
        assert_eq!(report.pending, self.ledger.pending());
        self.sum.merge(&report.tally);
        for (stream, seq, shortfall) in report.shortfalls {
            self.shortfalls.push((stream.0, seq.0, shortfall));
        }
        self.owed_from.extend(report.owed_from);
        for (stream, seq) in report.settled_below {
            let below = &mut self.settled_below[stream.0 as usize];
            assert!(seq.0 > *below || *below == 0, "a stream never settles backwards");
            *below = seq.0;
        }
        (self.overdue, self.unexplained) = (report.overdue, report.unexplained);
        let all = self.sum.obligations();
        assert_eq!(all.total, all.settled() + self.ledger.pending(), "the books balance: {all:?}");
        let (latencies, delivered) = self
            .sum
            .strata
            .values()
            .fold((0, 0), |sum, (o, l)| (sum.0 + l.count(), sum.1 + o.delivered + o.late));
        let expected = if self.ledger.config.follows { 0 } else { delivered };
        assert_eq!(latencies, expected, "every delivery has a latency, and nothing else");
    }

    // The publisher.

    /// Sends stream 0's next event.
    fn send(&mut self, at: RunTime) -> u64 {
        self.send_on(0, at)
    }

    fn send_on(&mut self, stream: usize, at: RunTime) -> u64 {
        let seq = self.books[stream].reserve(0, at, false);
        self.books[stream].stamp_sent(seq, at, false);
        self.check();
        seq.0
    }

    fn settle(&mut self, seq: u64, outcome: Outcome, answered: Option<RunTime>) {
        self.books[0].settle(Seq(seq), outcome, answered);
        self.check();
    }

    /// Sends stream 0's next event and has it accepted ten milliseconds later.
    fn accepted(&mut self, at: RunTime) -> u64 {
        let seq = self.send(at);
        self.settle(seq, Outcome::Accepted, Some(at.after(Duration::from_millis(10))));
        seq
    }

    // The connection.

    fn subscribe(&mut self, channel: usize, at: RunTime) {
        self.ledger.handle_subscribed(channel, at);
        self.heard(at);
    }

    fn lose(&mut self, last_heard: RunTime, cause: BlindCause) {
        self.ledger.handle_lost(last_heard, cause);
        self.check();
    }

    fn heard(&mut self, at: RunTime) {
        self.ledger.handle_heard(at);
        self.check();
    }

    /// A copy of stream 0's event comes.
    fn copy(&mut self, seq: u64, at: RunTime) {
        self.copy_of(0, seq, 0, at);
    }

    fn copy_of(&mut self, stream: u32, seq: u64, channel: usize, at: RunTime) {
        self.envelope(RUN, ClusterRole::New, stream, seq, channel, at);
    }

    fn envelope(
        &mut self,
        run: RunId,
        cluster: ClusterRole,
        stream: u32,
        seq: u64,
        channel: usize,
        at: RunTime,
    ) {
        let (stream, seq) = (StreamIx(stream), Seq(seq));
        let text = Envelope { run, cluster, stream, seq, at_us: 1 }.encode(0);
        self.text(channel, Some(&text), at);
    }

    fn text(&mut self, channel: usize, text: Option<&str>, at: RunTime) {
        self.ledger.handle_heard(at);
        self.ledger.handle_delivery(channel, text, at);
        self.check();
    }

    fn advance(&mut self, at: RunTime) {
        self.ledger.advance(at);
        self.check();
    }

    /// Nothing more happens, but the connection proves alive, until everything is decided.
    fn finish(&mut self) {
        let far = ms(1_000_000);
        self.heard(far);
        self.advance(far);
        assert_eq!(self.ledger.pending(), 0, "everything is decided in the end");
    }

    // What was counted.

    fn obligations(&self) -> Obligations {
        self.sum.obligations()
    }

    fn beside(&self) -> Beside {
        let mut sum = Beside::default();
        for beside in self.sum.beside.values() {
            sum += *beside;
        }
        sum
    }

    fn incidents(&self) -> Vec<(IncidentKind, RunTime, Option<u64>)> {
        self.sum.incidents.iter().map(|i| (i.kind, i.at, i.seq.map(|s| s.0))).collect()
    }
}

fn none() -> Obligations {
    Obligations::default()
}

fn nothing() -> Beside {
    Beside::default()
}
