//! One client that moves from old to new while events are published to both: what it missed, what
//! it saw twice, and for how long it should have kept its old connection.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{ClusterRole, RunTime, Seq, StreamIx};

/// What a client did and got, around its move.
#[derive(Clone, Debug, Default)]
pub struct Crossing {
    /// First copies, by cluster.
    got: BTreeMap<(StreamIx, Seq), Got>,
    /// When its last connection to old was gone.
    left_old: Option<RunTime>,
    /// When it was subscribed on new.
    on_new: Option<RunTime>,
}

/// When the copies of one event came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Got {
    old: Option<RunTime>,
    new: Option<RunTime>,
}

/// A publication that every cluster took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its stream.
    pub stream: StreamIx,
    /// Its place in the stream.
    pub seq: Seq,
    /// When it was sent.
    pub sent: RunTime,
}

/// What a move came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// For how long the client was subscribed on neither cluster.
    pub blind: Duration,
    /// Events that were published meanwhile, or so near that they could have been missed.
    pub events: u64,
    /// Those of them that it got from neither.
    pub missed: u64,
    /// Those that it got from both.
    pub twice: u64,
    /// For how long after its subscription on new the last copy came from old that new did not
    /// give: had it kept old for so long, it would have missed nothing. `None` if some event came
    /// from neither, so that nobody knows.
    pub overlap_needed: Option<Duration>,
}

impl Crossing {
    /// A copy of an event came.
    pub fn note_delivery(&mut self, role: ClusterRole, stream: StreamIx, seq: Seq, at: RunTime) {
        let got = self.got.entry((stream, seq)).or_default();
        let copy = match role {
            ClusterRole::Old => &mut got.old,
            ClusterRole::New => &mut got.new,
        };
        copy.get_or_insert(at);
    }

    /// It has no connection to old any more.
    pub fn note_left_old(&mut self, at: RunTime) {
        self.left_old.get_or_insert(at);
    }

    /// It is subscribed on new.
    pub fn note_on_new(&mut self, at: RunTime) {
        self.on_new.get_or_insert(at);
    }

    /// What the move came to, of the events that were sent at most `deadline` before it began or
    /// ended; `None` if it did not end. Whatever came later than that is no matter of the move.
    pub fn settle(
        &self,
        published: impl IntoIterator<Item = Published>,
        deadline: Duration,
    ) -> Option<Crossed> {
        let (left_old, on_new) = (self.left_old?, self.on_new?);
        let (begin, end) = (left_old.min(on_new), left_old.max(on_new));
        let mut crossed = Crossed { blind: on_new.since(left_old), ..Crossed::default() };
        let mut needed = Some(Duration::ZERO);
        for Published { stream, seq, sent } in published {
            if sent.after(deadline) < begin || sent > end {
                continue;
            }
            crossed.events += 1;
            match self.got.get(&(stream, seq)).copied().unwrap_or_default() {
                Got { old: None, new: None } => {
                    crossed.missed += 1;
                    needed = None;
                }
                Got { old: Some(_), new: Some(_) } => crossed.twice += 1,
                Got { old: Some(at), new: None } => {
                    needed = needed.map(|needed| needed.max(at.since(on_new)));
                }
                Got { old: None, new: Some(_) } => {}
            }
        }
        crossed.overlap_needed = needed;
        Some(crossed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClusterRole::{New, Old};

    const DEADLINE: Duration = Duration::from_millis(500);

    fn ms(ms: u64) -> RunTime {
        RunTime::from_millis(ms)
    }

    /// An event every 100 ms, sent at the same instant to both clusters, of which each takes so
    /// long to deliver it, to whoever is subscribed when it does.
    fn moved(left_old: u64, on_new: u64, [old, new]: [u64; 2]) -> Crossed {
        let mut crossing = Crossing::default();
        let published =
            (0..100_u64).map(|n| Published { stream: StreamIx(0), seq: Seq(n), sent: ms(100 * n) });
        for event in published.clone() {
            let at = |takes: u64| event.sent.after(Duration::from_millis(takes));
            if at(old) < ms(left_old) {
                crossing.note_delivery(Old, event.stream, event.seq, at(old));
            }
            if at(new) >= ms(on_new) {
                crossing.note_delivery(New, event.stream, event.seq, at(new));
            }
        }
        crossing.note_left_old(ms(left_old));
        crossing.note_on_new(ms(on_new));
        crossing.settle(published, DEADLINE).unwrap()
    }

    #[test]
    fn who_is_on_neither_cluster_misses_what_is_published_meanwhile() {
        // Blind from 5,000 to 6,000: events 50 to 59 find nobody.
        let crossed = moved(5_000, 6_000, [10, 10]);
        assert_eq!((crossed.blind, crossed.missed), (Duration::from_secs(1), 10));
        assert_eq!((crossed.twice, crossed.overlap_needed), (0, None));
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
    fn a_move_that_did_not_end_comes_to_nothing() {
        let mut crossing = Crossing::default();
        crossing.note_left_old(ms(5));
        assert_eq!(crossing.settle([], DEADLINE), None);
    }
}
