//! The publication book of one stream on one cluster: a bounded ring of atomic slots.
//!
//! The publisher writes a slot before the publication's first byte leaves; ledgers read it and set
//! only its `seen` bit. A slot holds a publication until the ring has gone round once more; whoever
//! asks for it later learns that it was lapped.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{RunTime, Seq};

const ACCEPTED: u64 = 1;
const REJECTED: u64 = 1 << 1;
const UNKNOWN: u64 = 1 << 2;
const RECOVERED: u64 = 1 << 3;
const VOID: u64 = 1 << 4;
const UNSENT: u64 = 1 << 5;
const SEEN: u64 = 1 << 6;
const TAINTED: u64 = 1 << 7;
const FLAG_BITS: u32 = 8;

/// How a publication stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Sent, not answered yet.
    InFlight,
    /// The cluster took it.
    Accepted,
    /// It is certain that the cluster did not take it.
    Rejected,
    /// It may have been taken, and it is not decided yet whether it is owed.
    Unknown,
    /// Unknown, but a witness got it: owed like an accepted one.
    Recovered,
    /// Unknown, and no witness got it by the horizon: not owed.
    Void,
    /// The bound on open requests was reached: not sent, not owed.
    Unsent,
}

/// One publication, as the book shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// How it stands.
    pub outcome: Outcome,
    /// The event's place in the run's schedule, counted from 0 over all streams.
    pub index: u64,
    /// The instant at which the schedule asked for it.
    pub scheduled: RunTime,
    /// The instant just before its first byte left.
    pub sent: RunTime,
    /// The instant of its answer, whatever that said.
    pub answered: Option<RunTime>,
    /// Whether a witness got it before the horizon.
    pub seen: bool,
    /// Whether it was sent too long after its scheduled instant to be a trial.
    pub tainted: bool,
}

#[derive(Debug, Default)]
struct Slot {
    /// `seq + 1` above the flags; 0 while the slot is being written.
    state: AtomicU64,
    index: AtomicU64,
    scheduled: AtomicU64,
    sent: AtomicU64,
    /// 0: not answered.
    answered: AtomicU64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Book {
    publications: usize,
    slots: Box<[Slot]>,
    mask: u64,
    head: AtomicU64,
    first: AtomicU64,
}

/// Slots of a book that remembers at least so many.
fn capacity(publications: usize) -> usize {
    publications.max(16).next_power_of_two()
}

impl Book {
    /// A book that remembers at least the last `publications` of its stream.
    pub fn new(publications: usize) -> Self {
        let capacity = capacity(publications);
        Self {
            publications,
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            mask: capacity as u64 - 1,
            head: AtomicU64::new(0),
            first: AtomicU64::new(0),
        }
    }

    /// Bytes of a book that remembers so many.
    pub fn bytes(publications: usize) -> u64 {
        (capacity(publications) * size_of::<Slot>()) as u64
    }

    /// Lets an empty book begin at a later seq than 0: what was before is nobody's. Called by the
    /// task that reserves.
    pub fn begin_at(&self, seq: Seq) {
        self.first.store(seq.0, Ordering::Release);
        self.head.store(seq.0, Ordering::Release);
    }

    /// The seq of the first publication that was ever in the book, or will be.
    pub fn first(&self) -> Seq {
        Seq(self.first.load(Ordering::Acquire))
    }

    /// How many publications it was asked to remember.
    pub const fn publications(&self) -> usize {
        self.publications
    }

    /// How many publications the book remembers.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The seq that the next reservation gets: all below are in the book, or were lapped.
    pub fn head(&self) -> Seq {
        Seq(self.head.load(Ordering::Acquire))
    }

    fn slot(&self, seq: Seq) -> Option<&Slot> {
        self.slots.get(usize::try_from(seq.0 & self.mask).ok()?)
    }

    /// Adds the stream's next publication, as yet in flight or, if `unsent`, never to be sent.
    /// Called by one task only.
    pub fn reserve(&self, index: u64, scheduled: RunTime, unsent: bool) -> Seq {
        let seq = self.head();
        if let Some(slot) = self.slot(seq) {
            // Readers must not take the new fields for the old publication's: the state goes first,
            // and each field is released after it.
            slot.state.store(0, Ordering::Release);
            slot.index.store(index, Ordering::Release);
            slot.scheduled.store(scheduled.0, Ordering::Release);
            slot.sent.store(scheduled.0, Ordering::Release);
            slot.answered.store(0, Ordering::Release);
            let flags = if unsent { UNSENT } else { 0 };
            slot.state.store((seq.0 + 1) << FLAG_BITS | flags, Ordering::Release);
        }
        self.head.store(seq.0 + 1, Ordering::Release);
        seq
    }

    /// Notes the instant just before the first byte leaves.
    pub fn stamp_sent(&self, seq: Seq, sent: RunTime, tainted: bool) {
        if let Some(slot) = self.current(seq) {
            slot.sent.store(sent.0, Ordering::Release);
            if tainted {
                slot.state.fetch_or(TAINTED, Ordering::AcqRel);
            }
        }
    }

    /// Notes how a publication ended, once; `answered` is the instant of the answer, if there was
    /// one.
    pub fn settle(&self, seq: Seq, outcome: Outcome, answered: Option<RunTime>) {
        if let Some(slot) = self.current(seq) {
            if let Some(answered) = answered {
                slot.answered.store(answered.0.max(1), Ordering::Release);
            }
            let flag = match outcome {
                Outcome::InFlight => 0,
                Outcome::Accepted => ACCEPTED,
                Outcome::Rejected => REJECTED,
                Outcome::Unknown => UNKNOWN,
                Outcome::Recovered => RECOVERED,
                Outcome::Void => VOID,
                Outcome::Unsent => UNSENT,
            };
            slot.state.fetch_or(flag, Ordering::AcqRel);
        }
    }

    /// Notes that a witness got it before the horizon.
    pub fn mark_seen(&self, seq: Seq) {
        if let Some(slot) = self.current(seq)
            && slot.state.load(Ordering::Relaxed) & SEEN == 0
        {
            slot.state.fetch_or(SEEN, Ordering::AcqRel);
        }
    }

    fn current(&self, seq: Seq) -> Option<&Slot> {
        self.slot(seq).filter(|s| holds(s.state.load(Ordering::Acquire), seq))
    }

    /// What the book shows about `seq`; `None` if it was not reserved yet, or was lapped.
    pub fn read(&self, seq: Seq) -> Option<Publication> {
        let slot = self.slot(seq)?;
        let state = slot.state.load(Ordering::Acquire);
        let publication = Publication {
            outcome: outcome(state),
            index: slot.index.load(Ordering::Acquire),
            scheduled: RunTime(slot.scheduled.load(Ordering::Acquire)),
            sent: RunTime(slot.sent.load(Ordering::Acquire)),
            answered: Some(slot.answered.load(Ordering::Acquire)).filter(|a| *a != 0).map(RunTime),
            seen: state & SEEN != 0,
            tainted: state & TAINTED != 0,
        };
        // Lapped while reading: the fields may belong to a later publication.
        let unchanged = holds(state, seq) && holds(slot.state.load(Ordering::Acquire), seq);
        unchanged.then_some(publication)
    }
}

/// Whether a slot's state is that of `seq`, which may be anything: envelopes come from outside.
const fn holds(state: u64, seq: Seq) -> bool {
    matches!((state >> FLAG_BITS).checked_sub(1), Some(held) if held == seq.0)
}

const fn outcome(state: u64) -> Outcome {
    // Decisions about an unknown publication come on top of the unknown bit.
    if state & RECOVERED != 0 {
        Outcome::Recovered
    } else if state & VOID != 0 {
        Outcome::Void
    } else if state & UNKNOWN != 0 {
        Outcome::Unknown
    } else if state & REJECTED != 0 {
        Outcome::Rejected
    } else if state & ACCEPTED != 0 {
        Outcome::Accepted
    } else if state & UNSENT != 0 {
        Outcome::Unsent
    } else {
        Outcome::InFlight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_read_as_it_was_written() {
        let book = Book::new(16);
        assert_eq!(book.read(Seq(0)), None, "nothing is reserved yet");
        let seq = book.reserve(5, RunTime(100), false);
        assert_eq!((seq, book.head()), (Seq(0), Seq(1)));
        book.stamp_sent(seq, RunTime(110), true);
        book.mark_seen(seq);
        book.settle(seq, Outcome::Unknown, None);
        let shown = book.read(seq).unwrap();
        assert_eq!(
            shown,
            Publication {
                outcome: Outcome::Unknown,
                index: 5,
                scheduled: RunTime(100),
                sent: RunTime(110),
                answered: None,
                seen: true,
                tainted: true,
            }
        );
        book.settle(seq, Outcome::Recovered, Some(RunTime(120)));
        let shown = book.read(seq).unwrap();
        assert_eq!((shown.outcome, shown.answered), (Outcome::Recovered, Some(RunTime(120))));
    }

    #[test]
    fn a_lapped_publication_is_gone_and_cannot_be_written_any_more() {
        let book = Book::new(16);
        for index in 0..=16 {
            book.reserve(index, RunTime(index), false);
        }
        assert_eq!(book.read(Seq(0)), None);
        book.mark_seen(Seq(0));
        book.settle(Seq(0), Outcome::Rejected, None);
        let lapping = book.read(Seq(16)).unwrap();
        assert_eq!((lapping.outcome, lapping.seen), (Outcome::InFlight, false));
    }

    #[test]
    fn a_seq_that_no_book_can_hold_is_not_in_it() {
        let book = Book::new(1);
        for seq in [u64::MAX, u64::MAX - 1, 1 << 56, (1 << 56) - 1] {
            assert_eq!(book.read(Seq(seq)), None, "{seq}");
        }
    }

    #[test]
    fn a_book_that_begins_later_shows_nothing_of_what_was_before() {
        let book = Book::new(16);
        book.begin_at(Seq(40));
        assert_eq!((book.first(), book.head(), book.read(Seq(39))), (Seq(40), Seq(40), None));
        assert_eq!(book.reserve(9, RunTime(1), false), Seq(40));
        assert_eq!((book.first(), book.head()), (Seq(40), Seq(41)));
        assert_eq!(book.read(Seq(40)).map(|shown| shown.index), Some(9));
    }

    #[test]
    fn an_unsent_publication_is_unsent_from_the_start() {
        let book = Book::new(1);
        let seq = book.reserve(0, RunTime(1), true);
        assert_eq!(book.read(seq).unwrap().outcome, Outcome::Unsent);
    }
}
