//! One client that moves from old to new while events are published to both: what it missed, what
//! it saw twice, and for how long it should have kept its old connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{ClusterRole, RunId, RunTime, Seq, StreamIx};
use crate::verify::book::{Book, Outcome, Publication};
use crate::verify::envelope::Envelope;

/// Most breaks of a connection that are kept in mind, the last ones.
const BREAKS_MAX: usize = 64;

/// A stream on one of the client's channels, with its publications on each cluster.
#[derive(Clone, Debug)]
pub struct Carried {
    /// Which.
    pub stream: StreamIx,
    /// On old.
    pub old: Arc<Book>,
    /// On new.
    pub new: Arc<Book>,
}

/// What a client did and got, around its move.
#[derive(Clone, Debug)]
pub struct Crossing {
    run: RunId,
    /// What came before the deadline of an event that the move did not touch is none of its.
    deadline: Duration,
    streams: Vec<Carried>,
    /// First copies.
    got: BTreeMap<(StreamIx, Seq), Got>,
    /// How many of them there were when the old ones were last forgotten.
    kept: usize,
    /// When it began to move.
    began: Option<RunTime>,
    /// When it left old on purpose.
    left_old: Option<RunTime>,
    /// Since when it is subscribed on old.
    on_old: Option<RunTime>,
    /// Times before that at which it was not, for no wish of its own; the last one may be open.
    old_breaks: Vec<(RunTime, RunTime)>,
    /// When it was subscribed on new.
    on_new: Option<RunTime>,
    /// When it had lost that again.
    lost_new: Option<RunTime>,
}

/// When the copies of one event came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Got {
    old: Option<RunTime>,
    new: Option<RunTime>,
    /// A copy came from old when the client had left.
    was_on_the_way: bool,
}

/// What a move came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    /// For how long the client was subscribed on neither cluster.
    pub blind: Duration,
    /// From the beginning of the move until it was subscribed on new.
    pub took: Duration,
    /// Events that were published meanwhile, or so near that they could have been missed.
    pub events: u64,
    /// Those of them that it got from neither.
    pub missed: u64,
    /// Those of the missed for which the move is not to blame: it was subscribed to one cluster
    /// throughout, which lost them, or had lost its connection to old before it moved.
    pub lost: u64,
    /// Those of the missed of which a copy came from old when the client had left already.
    pub on_the_way: u64,
    /// Those that it got from both.
    pub twice: u64,
    /// Those that it got from old alone though it was subscribed on new throughout.
    pub only_on_old: u64,
    /// For how long after its subscription on new the last copy came from old that new did not
    /// give: had it kept old for so long, it would have missed nothing. `None` if some event came
    /// from neither, or not from new when it should have: then nobody knows.
    pub overlap_needed: Option<Duration>,
}

impl Crossing {
    /// A client on channels that carry `streams`. First copies of an event come within `deadline`.
    pub const fn new(run: RunId, deadline: Duration, streams: Vec<Carried>) -> Self {
        Self {
            run,
            deadline,
            streams,
            got: BTreeMap::new(),
            kept: 0,
            began: None,
            left_old: None,
            on_old: None,
            old_breaks: Vec::new(),
            on_new: None,
            lost_new: None,
        }
    }

    /// An intact canary event came from a cluster. One of another run or cluster is none. What
    /// comes from old when the client has left is dropped, as a real client does.
    pub fn handle_delivery(&mut self, role: ClusterRole, envelope: &Envelope, now: RunTime) {
        let Some(which) = self.known(role, envelope) else { return };
        let has_left = self.left_old.is_some_and(|left| now > left);
        let got = self.got.entry(which).or_default();
        match role {
            ClusterRole::Old if has_left => got.was_on_the_way = true,
            ClusterRole::Old => _ = got.old.get_or_insert(now),
            ClusterRole::New => _ = got.new.get_or_insert(now),
        }
        if self.began.is_none() && self.got.len() > 2 * self.kept + 64 {
            self.forget(now);
        }
    }

    fn known(&self, role: ClusterRole, envelope: &Envelope) -> Option<(StreamIx, Seq)> {
        let Envelope { run, cluster, stream, seq, .. } = *envelope;
        let carried = self.streams.iter().find(|carried| carried.stream == stream);
        let carried = carried.filter(|_| run == self.run && cluster == role)?;
        // After the move nothing is of interest any more.
        let sent = carried.old.read(seq)?.sent.min(carried.new.read(seq)?.sent);
        (sent <= self.end().unwrap_or(RunTime::NEVER)).then_some((stream, seq))
    }

    /// Forgets what came too long ago to be part of a move that has not begun.
    fn forget(&mut self, now: RunTime) {
        let deadline = self.deadline;
        let is_recent = |at: Option<RunTime>| at.is_some_and(|at| at.after(deadline) >= now);
        self.got.retain(|_, got| is_recent(got.old) || is_recent(got.new));
        self.kept = self.got.len();
    }

    /// It is subscribed on old, for the first time or again.
    pub fn handle_on_old(&mut self, now: RunTime) {
        if self.left_old.is_some() {
            return;
        }
        self.on_old = Some(now);
        if let Some((_, until)) = self.old_breaks.last_mut().filter(|b| b.1 == RunTime::NEVER) {
            *until = now;
        }
    }

    /// Its connection to old was lost; it was last known to be alive at `last_heard`.
    pub fn handle_old_lost(&mut self, last_heard: RunTime) {
        let is_open = self.old_breaks.last().is_some_and(|b| b.1 == RunTime::NEVER);
        if self.left_old.is_none() && self.on_old.is_some() && !is_open {
            self.old_breaks.push((last_heard, RunTime::NEVER));
        }
        if self.old_breaks.len() > BREAKS_MAX {
            self.old_breaks.remove(0);
        }
    }

    /// It begins to move.
    pub fn handle_began(&mut self, now: RunTime) {
        self.began = Some(now);
    }

    /// It leaves old for good.
    pub fn handle_left_old(&mut self, now: RunTime) {
        let left = *self.left_old.get_or_insert(now);
        // From now on it is not there by its own wish: what it misses is the move's doing.
        if let Some((_, until)) = self.old_breaks.last_mut().filter(|b| b.1 == RunTime::NEVER) {
            *until = left;
        }
    }

    /// It is subscribed on new, for the first time or again.
    pub fn handle_on_new(&mut self, now: RunTime) {
        self.on_new.get_or_insert(now);
    }

    /// Its connection to new was lost; it was last known to be alive at `last_heard`.
    pub fn handle_new_lost(&mut self, last_heard: RunTime) {
        if self.on_new.is_some() {
            self.lost_new.get_or_insert(last_heard);
        }
    }

    /// Whether it has left old.
    pub const fn has_left_old(&self) -> bool {
        self.left_old.is_some()
    }

    /// Forgets all that came: nobody asks any more.
    pub fn forget_all(&mut self) {
        self.streams.clear();
        self.got.clear();
    }

    /// When it began to move.
    pub const fn began(&self) -> Option<RunTime> {
        self.began
    }

    /// When it was subscribed on new.
    pub const fn on_new(&self) -> Option<RunTime> {
        self.on_new
    }

    /// When it had left old and was subscribed on new.
    pub fn end(&self) -> Option<RunTime> {
        Some(self.left_old?.max(self.on_new?))
    }

    /// What the move came to, of the events that were sent at most a deadline before it began or
    /// ended; `None` if it did not end, or a book does not reach back so far. To be asked when
    /// every publication is decided.
    pub fn settle(&self) -> Option<Crossed> {
        let (began, end, on_new) = (self.began?, self.end()?, self.on_new?);
        let left_old = self.left_old?;
        let begin = left_old.min(on_new);
        let mut crossed = Crossed {
            blind: on_new.since(left_old),
            took: on_new.since(began),
            overlap_needed: Some(Duration::ZERO),
            ..Crossed::default()
        };
        for carried in &self.streams {
            // Backwards from the newest: what was sent before the move is only a deadline away.
            let head = carried.old.head().min(carried.new.head());
            for seq in (0..head.0).rev().map(Seq) {
                // What was lapped may have been part of it.
                let (old, new) = (carried.old.read(seq)?, carried.new.read(seq)?);
                if old.sent.max(new.sent).after(self.deadline) < begin {
                    break;
                }
                if old.sent.min(new.sent) <= end && was_taken(&old) && was_taken(&new) {
                    let got = self.got.get(&(carried.stream, seq)).copied().unwrap_or_default();
                    self.count(&mut crossed, got, [old.sent, new.sent]);
                }
            }
        }
        Some(crossed)
    }

    fn count(&self, crossed: &mut Crossed, got: Got, [sent_old, sent_new]: [RunTime; 2]) {
        let on_new = self.on_new.unwrap_or(RunTime::NEVER);
        let was_on_new = sent_new >= on_new
            && self.lost_new.is_none_or(|lost| sent_new.after(self.deadline) <= lost);
        crossed.events += 1;
        match (got.old, got.new) {
            (None, None) => {
                crossed.missed += 1;
                if was_on_new || self.was_on_old(sent_old) || self.was_cut_off(sent_old) {
                    crossed.lost += 1;
                } else {
                    crossed.on_the_way += u64::from(got.was_on_the_way);
                    crossed.overlap_needed = None;
                }
            }
            (Some(_), Some(_)) => crossed.twice += 1,
            // Lost by new, or never on its way to a subscription that it had confirmed.
            (Some(_), None) if was_on_new => {
                crossed.only_on_old += 1;
                crossed.overlap_needed = None;
            }
            (Some(at), None) => {
                let needed = at.since(on_new);
                crossed.overlap_needed = crossed.overlap_needed.map(|known| known.max(needed));
            }
            (None, Some(_)) => {}
        }
    }

    /// Whether it was subscribed on old from the instant of sending to the deadline.
    fn was_on_old(&self, sent: RunTime) -> bool {
        self.on_old.is_some_and(|since| since <= sent)
            && self.left_old.is_some_and(|left| sent.after(self.deadline) <= left)
            && !self.was_cut_off(sent)
    }

    /// Whether its connection to old was broken meanwhile, for no wish of its own.
    fn was_cut_off(&self, sent: RunTime) -> bool {
        let until = sent.after(self.deadline);
        self.old_breaks.iter().any(|(from, to)| *from < until && *to > sent)
    }
}

/// Whether the cluster is known to have taken it.
const fn was_taken(publication: &Publication) -> bool {
    matches!(publication.outcome, Outcome::Accepted | Outcome::Recovered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClusterRole::{New, Old};
    use uuid::Uuid;

    const DEADLINE: Duration = Duration::from_millis(500);
    const RUN: RunId = RunId(Uuid::from_u128(7));

    fn ms(ms: u64) -> RunTime {
        RunTime::from_millis(ms)
    }

    fn event(cluster: ClusterRole, seq: u64) -> Envelope {
        let (stream, seq) = (StreamIx(3), Seq(seq));
        Envelope { run: RUN, cluster, stream, seq, at_us: 0 }
    }

    /// A client, and what is published: an event every 100 ms, sent at the same instant to both
    /// clusters.
    struct World {
        crossing: Crossing,
        books: [Arc<Book>; 2],
    }

    impl World {
        fn new(events: u64) -> Self {
            let books = [(); 2].map(|()| Arc::new(Book::new(10_000)));
            for book in &books {
                for n in 0..events {
                    let seq = book.reserve(n, ms(100 * n), false);
                    book.settle(seq, Outcome::Accepted, None);
                }
            }
            let [old, new] = books.clone();
            let carried = Carried { stream: StreamIx(3), old, new };
            Self { crossing: Crossing::new(RUN, DEADLINE, vec![carried]), books }
        }

        /// Each cluster takes so long to deliver an event to whoever is subscribed when it does.
        fn moved(mut self, left_old: u64, on_new: u64, [old, new]: [u64; 2]) -> Self {
            let mut copies: Vec<_> = (0..100)
                .flat_map(|n| [(100 * n + old, Old, n), (100 * n + new, New, n)])
                .filter(|(at, role, _)| match role {
                    Old => *at < left_old,
                    New => *at >= on_new,
                })
                .collect();
            copies.sort_by_key(|(at, ..)| *at);
            let begin = left_old.min(on_new);
            self.crossing.handle_on_old(ms(0));
            let mut is_begun = false;
            for (at, role, n) in copies {
                if at >= begin && !is_begun {
                    is_begun = true;
                    self.begin(left_old, on_new);
                }
                self.crossing.handle_delivery(role, &event(role, n), ms(at));
            }
            self
        }

        fn begin(&mut self, left_old: u64, on_new: u64) {
            self.crossing.handle_began(ms(left_old.min(on_new)));
            self.crossing.handle_left_old(ms(left_old));
            self.crossing.handle_on_new(ms(on_new));
        }
    }

    fn moved(left_old: u64, on_new: u64, takes: [u64; 2]) -> Crossed {
        World::new(100).moved(left_old, on_new, takes).crossing.settle().unwrap()
    }

    #[test]
    fn who_is_on_neither_cluster_misses_what_is_published_meanwhile() {
        // Blind from 5,000 to 6,000: events 50 to 59 find nobody.
        let crossed = moved(5_000, 6_000, [10, 10]);
        assert_eq!((crossed.blind, crossed.missed), (Duration::from_secs(1), 10));
        assert_eq!((crossed.twice, crossed.overlap_needed), (0, None));
        assert_eq!((crossed.lost, crossed.took), (0, Duration::from_secs(1)));
        // From half a second before it began until it ended.
        assert_eq!(crossed.events, 16);
    }

    #[test]
    fn who_is_on_both_for_a_while_misses_nothing_and_sees_some_twice() {
        let crossed = moved(6_000, 5_000, [10, 10]);
        assert_eq!((crossed.blind, crossed.missed), (Duration::ZERO, 0));
        assert_eq!(crossed.twice, 10);
        assert_eq!(crossed.overlap_needed, Some(Duration::ZERO));
    }

    #[test]
    fn the_overlap_that_is_needed_is_what_old_is_slower_by() {
        // New had delivered before the client was there what old delivers only afterwards.
        let crossed = moved(6_000, 5_000, [350, 10]);
        assert_eq!((crossed.missed, crossed.overlap_needed), (0, Some(Duration::from_millis(250))));
        // Without that overlap those are missed: 4,700 to 4,900.
        assert_eq!(moved(5_000, 5_000, [350, 10]).missed, 3);
        // A new one that is the slower gives what old gave already.
        assert_eq!(moved(5_000, 5_000, [10, 350]).missed, 0);
    }

    #[test]
    fn what_a_cluster_loses_of_a_client_that_was_there_throughout_is_not_the_moves_doing() {
        let mut world = World::new(100).moved(6_000, 5_000, [10, 10]);
        // Sent at 4,700, 1,300 ms before old was left; and at 5,300, when new was subscribed to.
        for n in [47, 53] {
            world.crossing.got.remove(&(StreamIx(3), Seq(n)));
        }
        let crossed = world.crossing.settle().unwrap();
        assert_eq!((crossed.missed, crossed.lost), (2, 2));
        assert_eq!(crossed.overlap_needed, Some(Duration::ZERO));
        // Whether old had to be kept for it nobody knows, if new alone lost it.
        let mut world = World::new(100).moved(6_000, 5_000, [10, 10]);
        world.crossing.got.get_mut(&(StreamIx(3), Seq(57))).unwrap().new = None;
        let crossed = world.crossing.settle().unwrap();
        assert_eq!((crossed.missed, crossed.only_on_old, crossed.overlap_needed), (0, 1, None));
        // But for as long as it was not there itself: it had lost its connection to new.
        world.crossing.handle_new_lost(ms(5_600));
        let crossed = world.crossing.settle().unwrap();
        let needed = Some(Duration::from_millis(710));
        assert_eq!((crossed.only_on_old, crossed.overlap_needed), (0, needed));
    }

    #[test]
    fn a_copy_that_comes_when_the_client_has_left_was_on_its_way() {
        let mut world = World::new(100).moved(5_000, 6_000, [10, 10]);
        world.crossing.handle_delivery(Old, &event(Old, 50), ms(5_010));
        let crossed = world.crossing.settle().unwrap();
        assert_eq!((crossed.missed, crossed.on_the_way), (10, 1));
    }

    #[test]
    fn an_event_that_one_cluster_was_sent_within_the_move_and_the_other_after_it_counts() {
        let mut world = World::new(100).moved(5_000, 6_000, [10, 10]);
        world.books[0].stamp_sent(Seq(60), ms(6_001), false);
        world.crossing.handle_delivery(New, &event(New, 60), ms(6_010));
        assert_eq!(world.crossing.settle().unwrap().missed, 10);
        // As if it had come only now.
        world.crossing.got.remove(&(StreamIx(3), Seq(60)));
        world.crossing.handle_delivery(New, &event(New, 60), ms(6_010));
        assert_eq!(world.crossing.settle().unwrap().missed, 10);
    }

    #[test]
    fn what_was_not_taken_by_both_clusters_is_not_asked_of_a_client() {
        let world = World::new(100).moved(5_000, 6_000, [10, 10]);
        world.books[1].settle(Seq(52), Outcome::Rejected, None);
        world.books[0].settle(Seq(53), Outcome::Unknown, None);
        let crossed = world.crossing.settle().unwrap();
        assert_eq!((crossed.events, crossed.missed), (14, 8));
    }

    #[test]
    fn what_a_broken_connection_to_old_missed_before_the_move_is_not_the_moves_doing() {
        let mut world = World::new(100);
        world.crossing.handle_on_old(ms(0));
        world.crossing.handle_old_lost(ms(4_550));
        world.crossing.handle_on_old(ms(4_850));
        for n in [45, 49] {
            world.crossing.handle_delivery(Old, &event(Old, n), ms(100 * n + 10));
        }
        world.begin(5_000, 6_000);
        let crossed = world.crossing.settle().unwrap();
        // Sent at 4,600 to 4,800, and at 6,000, when it was on new; and from 5,000 for the move.
        assert_eq!((crossed.blind, crossed.lost), (Duration::from_secs(1), 4));
        assert_eq!(crossed.missed - crossed.lost, 10);
        // One that is still broken when the client moves excuses nothing that comes later.
        let mut world = World::new(100);
        world.crossing.handle_on_old(ms(0));
        world.crossing.handle_old_lost(ms(4_000));
        world.begin(5_000, 6_000);
        let crossed = world.crossing.settle().unwrap();
        assert_eq!(crossed.blind, Duration::from_secs(1));
        // Sent at 4,500 to 4,900, and at 6,000; from 5,000 to 5,900 for the move.
        assert_eq!((crossed.missed, crossed.lost), (16, 6));
    }

    #[test]
    fn a_book_that_does_not_reach_back_to_the_move_tells_nothing_of_it() {
        let mut world = World::new(100).moved(5_000, 6_000, [10, 10]);
        assert!(world.crossing.settle().is_some());
        let short = || Arc::new(Book::new(16));
        let (old, new) = (short(), short());
        for book in [&old, &new] {
            for n in 0..100 {
                let seq = book.reserve(n, ms(100 * n), false);
                book.settle(seq, Outcome::Accepted, None);
            }
        }
        world.crossing.streams = vec![Carried { stream: StreamIx(3), old, new }];
        assert_eq!(world.crossing.settle(), None);
    }

    #[test]
    fn what_is_no_event_of_this_client_is_not_noted() {
        let mut world = World::new(100);
        let other = Envelope {
            run: RunId(Uuid::from_u128(8)),
            cluster: Old,
            stream: StreamIx(3),
            seq: Seq(1),
            at_us: 0,
        };
        for event in [event(New, 1), other, Envelope { stream: StreamIx(4), ..event(Old, 1) }] {
            world.crossing.handle_delivery(Old, &event, ms(110));
        }
        assert!(world.crossing.got.is_empty());
    }

    #[test]
    fn memory_is_that_of_the_last_deadline_until_the_move_and_of_nothing_after_it() {
        let mut world = World::new(10_000);
        world.crossing.handle_on_old(ms(0));
        for n in 0..9_000 {
            world.crossing.handle_delivery(Old, &event(Old, n), ms(100 * n + 10));
        }
        assert!(world.crossing.got.len() < 100, "{}", world.crossing.got.len());
        world.begin(900_000, 900_100);
        let kept = world.crossing.got.len();
        for n in 9_002..9_900 {
            world.crossing.handle_delivery(New, &event(New, n), ms(100 * n + 10));
        }
        assert_eq!(world.crossing.got.len(), kept);
    }

    #[test]
    fn a_move_that_did_not_end_comes_to_nothing() {
        let mut world = World::new(100);
        world.crossing.handle_began(ms(5));
        world.crossing.handle_left_old(ms(5));
        assert_eq!(world.crossing.settle(), None);
    }
}
