//! What a publisher keeps of its publications: the book's entries, the counts, and those of
//! unknown fate until they are decided.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{ClusterRole, RunTime, Seq, StreamIx};
use crate::verify::book::{Book, Outcome};
use crate::verify::fact::{Fact, PublicationFailure, PublisherReport};
use crate::verify::tally::{IncidentKind, Route};

use super::TALLY_PERIOD;

/// Most failures that one report names; the rest is only counted.
const FAILURES_PER_REPORT_MAX: usize = 256;

/// A publication that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Its route.
    pub route: Route,
    /// Its stream.
    pub stream: StreamIx,
    /// Its seq.
    pub seq: Seq,
    /// When its first byte left.
    pub at: RunTime,
    /// From when on every witness can know of it; the same instant, where this process sent it.
    pub known: RunTime,
}

/// How a publication ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The cluster took it.
    Accepted,
    /// It is certain that the cluster did not; why.
    Rejected(String),
    /// It may have been taken; why that is not known.
    Unknown(String),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Outbox {
    role: ClusterRole,
    horizon: Duration,
    books: Vec<Arc<Book>>,
    witnesses: Vec<u64>,
    undecided: VecDeque<(Sent, String)>,
    report: PublisherReport,
    in_flight: u64,
    facts: mpsc::Sender<Fact>,
}

impl Outbox {
    /// An outbox for one cluster. `books` and `witnesses` (how many a stream's channel has) are in
    /// the order of the streams.
    pub fn new(
        role: ClusterRole,
        horizon: Duration,
        books: Vec<Arc<Book>>,
        witnesses: Vec<u64>,
        facts: mpsc::Sender<Fact>,
    ) -> Self {
        Self {
            role,
            horizon,
            books,
            witnesses,
            undecided: VecDeque::new(),
            report: PublisherReport::default(),
            in_flight: 0,
            facts,
        }
    }

    /// The schedule handed over a publication.
    pub fn take(&mut self, route: Route, stream: StreamIx) {
        self.report.publications.entry(route).or_default().sent += 1;
        self.in_flight += 1;
        let witnesses = self.witnesses.get(stream.0 as usize).copied().unwrap_or_default();
        self.report.obligations_opened += witnesses;
    }

    /// The publisher did not send one that was scheduled for this instant.
    pub fn note_unsent(&mut self, route: Route, scheduled: RunTime) {
        self.report.publications.entry(route).or_default().unsent += 1;
        *self.report.unsent.entry(scheduled.second()).or_default() += 1;
    }

    /// How long after its scheduled instant a publication was taken up.
    pub fn note_lag(&mut self, lag: Duration) {
        self.report.lags.record(lag);
    }

    /// An answer took so long, a dial that it needed included.
    pub fn note_duration(&mut self, duration: Duration) {
        self.report.durations.record(duration);
    }

    /// How a publication ended, and when its answer came, if one did.
    pub fn settle(&mut self, sent: Sent, ended: Ended, answered: Option<RunTime>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if !matches!(ended, Ended::Accepted) {
            *self.report.unaccepted.entry(sent.at.second()).or_default() += 1;
        }
        let counts = self.report.publications.entry(sent.route).or_default();
        let outcome = match &ended {
            Ended::Accepted => {
                counts.accepted += 1;
                Outcome::Accepted
            }
            Ended::Rejected(_) => {
                counts.rejected += 1;
                Outcome::Rejected
            }
            Ended::Unknown(_) => {
                counts.unknown += 1;
                Outcome::Unknown
            }
        };
        if let Some(book) = self.books.get(sent.stream.0 as usize) {
            book.settle(sent.seq, outcome, answered);
        }
        match ended {
            Ended::Accepted => {}
            Ended::Rejected(why) => self.fail(sent, IncidentKind::Rejected, why),
            Ended::Unknown(why) => self.undecided.push_back((sent, why)),
        }
    }

    /// An HTTP answer came, which may tell how much of a rate limit is used up.
    pub fn note_response(&mut self, status: u16, rate_limit_used: Option<f64>) {
        self.report.rate_limit_used = rate_limit_used.or(self.report.rate_limit_used);
        *self.report.responses.entry(status).or_default() += 1;
    }

    /// An answer asked to slow down.
    pub fn note_throttled(&mut self) {
        self.report.throttled += 1;
    }

    fn fail(&mut self, sent: Sent, kind: IncidentKind, why: String) {
        if self.report.failures.len() < FAILURES_PER_REPORT_MAX {
            let (at, stream, seq) = (sent.at, sent.stream, sent.seq);
            self.report.failures.push(PublicationFailure { at, stream, seq, kind, why });
        } else {
            self.report.failures_dropped += 1;
        }
    }

    /// Decides the publications of unknown fate that a witness got, or that are one tally past the
    /// horizon: only then has every witness said what it got.
    pub fn decide(&mut self, now: RunTime) {
        let mut left = VecDeque::new();
        for (sent, why) in std::mem::take(&mut self.undecided) {
            let Some(book) = self.books.get(sent.stream.0 as usize) else { continue };
            let seen = book.read(sent.seq).is_some_and(|p| p.seen);
            let due = sent.at.after(self.horizon).max(sent.known).after(TALLY_PERIOD);
            if !seen && now < due {
                left.push_back((sent, why));
                continue;
            }
            let outcome = if seen { Outcome::Recovered } else { Outcome::Void };
            book.settle(sent.seq, outcome, None);
            let counts = self.report.publications.entry(sent.route).or_default();
            if seen {
                counts.recovered += 1;
                self.fail(sent, IncidentKind::Recovered, why);
            } else {
                counts.void += 1;
                self.fail(sent, IncidentKind::Void, why);
            }
        }
        self.undecided = left;
    }

    /// Whether every publication has ended and is decided.
    pub fn is_settled(&self) -> bool {
        self.in_flight == 0 && self.undecided.is_empty()
    }

    /// Hands on what was counted since the last time.
    pub async fn hand_on(&mut self) {
        let report = std::mem::take(&mut self.report);
        // The collector outlives every publisher; if it is gone, the run has failed already.
        let _ = self.facts.send(Fact::Publisher(self.role, Box::new(report))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: Duration = Duration::from_secs(30);

    fn outbox() -> (Outbox, Arc<Book>, mpsc::Receiver<Fact>) {
        let book = Arc::new(Book::new(16));
        let (facts, facts_in) = mpsc::channel(4);
        let books = vec![Arc::clone(&book)];
        (Outbox::new(ClusterRole::New, HORIZON, books, vec![3], facts), book, facts_in)
    }

    /// Sends the stream's next event, with the given end.
    fn send(outbox: &mut Outbox, book: &Book, at: RunTime, ended: Ended) -> Seq {
        let seq = book.reserve(0, at, false);
        outbox.take(Route::Trigger, StreamIx(0));
        let sent = Sent { route: Route::Trigger, stream: StreamIx(0), seq, at, known: at };
        book.stamp_sent(seq, at, false);
        outbox.settle(sent, ended, None);
        seq
    }

    fn unknown() -> Ended {
        Ended::Unknown("timeout".to_owned())
    }

    #[test]
    fn an_unknown_publication_is_recovered_as_soon_as_a_witness_got_it() {
        let (mut outbox, book, _facts) = outbox();
        let seq = send(&mut outbox, &book, RunTime::ZERO, unknown());
        outbox.decide(RunTime::from_millis(100));
        assert!(!outbox.is_settled());
        book.mark_seen(seq);
        outbox.decide(RunTime::from_millis(200));
        assert!(outbox.is_settled());
        assert_eq!(book.read(seq).unwrap().outcome, Outcome::Recovered);
        let counts = outbox.report.publications[&Route::Trigger];
        assert_eq!((counts.unknown, counts.recovered, counts.void), (1, 1, 0));
        let kinds: Vec<_> = outbox.report.failures.iter().map(|f| f.kind).collect();
        assert_eq!(kinds, [IncidentKind::Recovered]);
    }

    #[test]
    fn an_unknown_publication_is_void_one_tally_past_the_horizon_and_not_before() {
        let (mut outbox, book, _facts) = outbox();
        let seq = send(&mut outbox, &book, RunTime::ZERO, unknown());
        let due = RunTime::ZERO.after(HORIZON).after(TALLY_PERIOD);
        outbox.decide(RunTime(due.0 - 1));
        assert_eq!(book.read(seq).unwrap().outcome, Outcome::Unknown);
        outbox.decide(due);
        assert_eq!(book.read(seq).unwrap().outcome, Outcome::Void);
        assert!(outbox.is_settled());
        let failures: Vec<_> =
            outbox.report.failures.iter().map(|f| (f.seq, f.kind, &*f.why)).collect();
        assert_eq!(failures, [(seq, IncidentKind::Void, "timeout")]);
        // Seen in the last moment, it is recovered.
        let seq = send(&mut outbox, &book, RunTime::ZERO, unknown());
        book.mark_seen(seq);
        outbox.decide(due);
        assert_eq!(book.read(seq).unwrap().outcome, Outcome::Recovered);
    }

    #[tokio::test]
    async fn sent_is_accepted_rejected_unknown_and_in_flight_at_all_times() {
        let (mut outbox, book, mut facts) = outbox();
        outbox.take(Route::Trigger, StreamIx(0));
        let rejected = Ended::Rejected("HTTP 413".to_owned());
        for ended in [Ended::Accepted, rejected, unknown()] {
            send(&mut outbox, &book, RunTime::ZERO, ended);
        }
        outbox.hand_on().await;
        let Some(Fact::Publisher(ClusterRole::New, report)) = facts.recv().await else {
            panic!("no report");
        };
        let counts = report.publications[&Route::Trigger];
        assert_eq!((counts.sent, counts.accepted, counts.rejected, counts.unknown), (4, 1, 1, 1));
        assert_eq!(report.obligations_opened, 12);
        assert_eq!(report.unaccepted, [(0, 2)].into());
        assert_eq!(report.failures.len(), 1, "what is undecided is no failure yet");
        assert!(!outbox.is_settled());
    }
}
