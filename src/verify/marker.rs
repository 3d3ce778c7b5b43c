//! Markers: what the publisher of a stream says of its publications to witnesses in other
//! processes, which have no book of it.
//!
//! A marker covers the seqs of one stream since the last one, up to the first that is not answered
//! yet, and says once more what the two before it said. Those of all streams go to every cluster
//! as [`Bulletin`]s, once a second, the last one three times; each says what became of a
//! publication on all clusters, so that a cluster which loses one hides nothing that the other does
//! not tell. [`Announcements`] makes them from books;
//! [`Following`] puts those of a stream in order on the other side, where what none covers becomes
//! a gap that is named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{ClusterRole, RunId, RunTime, Seq, StreamIx};

use super::book::{Book, Outcome};

/// The version of a bulletin's form.
const VERSION: u32 = 1;
/// The name of bulletins among a channel's events.
pub const EVENT: &str = "pc-marker";
/// How often markers are sent.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long a marker may come behind others before what it covers is given up: a publication waits
/// for its answer, and a marker that was not taken is sent on another connection.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How often each publication is said, a bulletin apart, and the end of all streams.
const TIMES_SAID: usize = 3;
/// Publications and markers in one bulletin: with the longest values they fit into an event of
/// 10 kB.
const ROOM: usize = 80;
/// Seqs that may be said ahead of what is missing, and the highest that there can be: what is
/// beyond is nobody's marker.
const AHEAD_MAX: u64 = 1 << 17;
const SEQ_MAX: u64 = 1 << 48;

/// Bulletins on so many events within such a time, at most.
pub fn bulletins_max(events: u64, time: Duration) -> u64 {
    // Each event is said so often, and needs one marker each time at most.
    let full = events.saturating_mul(2 * TIMES_SAID as u64) / (ROOM as u64 - 1);
    full.saturating_add(time.as_secs() + 2 * TIMES_SAID as u64)
}

/// What became of a publication on one cluster, as its publisher knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The cluster took it.
    #[serde(rename = "a")]
    Accepted,
    /// It is certain that it did not.
    #[serde(rename = "r")]
    Rejected,
    /// It may have.
    #[serde(rename = "u")]
    Unknown,
    /// It was never sent.
    #[serde(rename = "n")]
    Unsent,
    /// The run does not have this cluster.
    #[default]
    #[serde(rename = "-")]
    Absent,
}

impl Fate {
    /// That of a publication in the publisher's book; `None` while it is not answered.
    const fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::InFlight => None,
            Outcome::Accepted => Some(Self::Accepted),
            Outcome::Rejected => Some(Self::Rejected),
            Outcome::Unknown | Outcome::Recovered | Outcome::Void => Some(Self::Unknown),
            Outcome::Unsent => Some(Self::Unsent),
        }
    }
}

/// An event on one cluster: fate, when its first byte left (microseconds after the scheduled
/// instant), when it was answered (microseconds after that; `None` if it was not), and whether it
/// was sent too late to be a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told(pub Fate, pub u32, pub Option<u32>, pub bool);

/// One event of a stream: its place in the schedule, over all streams of its publisher; the
/// scheduled instant (microseconds since the Unix epoch, by the publisher's clock); and what became
/// of it on old and on new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said(pub u64, pub u64, pub [Told; 2]);

impl Said {
    /// What became of it on a cluster.
    pub const fn on(&self, role: ClusterRole) -> Told {
        let [old, new] = self.2;
        match role {
            ClusterRole::Old => old,
            ClusterRole::New => new,
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// The stream.
    #[serde(rename = "s")]
    pub stream: StreamIx,
    /// The first seq that it covers.
    pub from: Seq,
    /// The scheduled instant of the one before, as those that are said; 0 if there is none.
    pub before: u64,
    /// What it covers, seq by seq.
    pub said: Vec<Said>,
    /// Whether nothing of the stream comes behind it.
    #[serde(rename = "last")]
    pub is_last: bool,
}

impl Marker {
    /// The first seq behind it.
    const fn until(&self) -> u64 {
        self.from.0 + self.said.len() as u64
    }
}

/// Markers that travel together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulletin {
    v: u32,
    /// The run.
    pub run: RunId,
    /// When it was sent: microseconds since the Unix epoch, by the publisher's clock.
    pub now_us: u64,
    /// The markers.
    pub of: Vec<Marker>,
}

impl Bulletin {
    /// The bulletin as text.
    pub fn encode(&self) -> String {
        // Numbers, lists and letters: nothing of it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a bulletin; `None` if it is none.
    pub fn decode(text: &str) -> Option<Self> {
        let bulletin: Self = serde_json::from_str(text).ok()?;
        let fits = |of: &Marker| of.said.len() <= ROOM && of.from.0 <= SEQ_MAX;
        (bulletin.v == VERSION && bulletin.of.iter().all(fits)).then_some(bulletin)
    }
}

/// The books of one stream, and what is said of them already.
#[derive(Debug)]
struct Announced {
    stream: StreamIx,
    books: BTreeMap<ClusterRole, Arc<Book>>,
    next: u64,
    /// Where it was before each of the last bulletins, the oldest first.
    before: [u64; TIMES_SAID - 1],
    /// The scheduled instant of the last publication before those: 0 if there is none.
    before_us: u64,
}

impl Announced {
    fn is_done(&self) -> bool {
        self.books.values().all(|book| book.head().0 <= self.next)
    }

    /// Goes back to where what is said again begins.
    fn rewind(&mut self, wall_us: impl Fn(RunTime) -> u64) {
        let [first, ..] = self.before;
        self.before.rotate_left(1);
        if let Some(last) = self.before.last_mut() {
            *last = self.next;
        }
        self.next = first;
        if let Some(said) = first.checked_sub(1).and_then(|seq| self.said(Seq(seq), wall_us)) {
            self.before_us = said.1;
        }
    }

    fn said(&self, seq: Seq, wall_us: impl Fn(RunTime) -> u64) -> Option<Said> {
        let mut said = Said(0, 0, [Told::default(); 2]);
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        for (told, role) in said.2.iter_mut().zip(ClusterRole::ALL) {
            let Some(book) = self.books.get(&role) else { continue };
            let shown = book.read(seq)?;
            let answered = shown.answered.map(|at| micros(at.since(shown.sent)));
            let sent = micros(shown.sent.since(shown.scheduled));
            *told = Told(Fate::of(shown.outcome)?, sent, answered, shown.tainted);
            (said.0, said.1) = (shown.index, wall_us(shown.scheduled));
        }
        Some(said)
    }
}

/// The publisher's side: makes markers from the books of its streams.
#[derive(Debug)]
pub struct Announcements {
    run: RunId,
    streams: Vec<Announced>,
    ends_said: usize,
}

impl Announcements {
    /// Those of these streams, of which each cluster has a book.
    pub fn new(
        run: RunId,
        streams: impl IntoIterator<Item = (StreamIx, BTreeMap<ClusterRole, Arc<Book>>)>,
    ) -> Self {
        let announced = |(stream, books)| {
            let before = [0; TIMES_SAID - 1];
            Announced { stream, books, next: 0, before, before_us: 0 }
        };
        Self { run, streams: streams.into_iter().map(announced).collect(), ends_said: 0 }
    }

    /// Whether everything is said, as often as it must be.
    pub const fn is_over(&self) -> bool {
        self.ends_said >= TIMES_SAID
    }

    /// What was answered since the last time, and what was said the two times before. That may be
    /// nothing: then it says that the publisher is alive. `is_published` when nothing will be sent
    /// any more; `wall_us` tells the time of day of an instant in microseconds. When it is sent,
    /// a bulletin is not told yet.
    pub fn next(&mut self, is_published: bool, wall_us: impl Fn(RunTime) -> u64) -> Vec<Bulletin> {
        let bulletin = |of| Bulletin { v: VERSION, run: self.run, now_us: 0, of };
        let (mut bulletins, mut of, mut room) = (Vec::new(), Vec::new(), ROOM);
        for stream in &mut self.streams {
            stream.rewind(&wall_us);
            let mut before = stream.before_us;
            loop {
                let (from, mut said) = (Seq(stream.next), Vec::new());
                while said.len() + 1 < room
                    && let Some(one) = stream.said(Seq(stream.next), &wall_us)
                {
                    said.push(one);
                    stream.next += 1;
                }
                let is_last = is_published && stream.is_done();
                let is_full = said.len() + 1 >= room;
                if !said.is_empty() || is_last {
                    room -= said.len() + 1;
                    let last = said.last().map(|said| said.1);
                    of.push(Marker { stream: stream.stream, from, before, said, is_last });
                    before = last.unwrap_or(before);
                }
                if !is_full {
                    break;
                }
                bulletins.push(bulletin(std::mem::take(&mut of)));
                room = ROOM;
                if is_last {
                    break;
                }
            }
        }
        if !of.is_empty() || bulletins.is_empty() {
            bulletins.push(bulletin(of));
        }
        if is_published && self.streams.iter().all(Announced::is_done) {
            self.ends_said += 1;
        }
        bulletins
    }
}

/// What the books of a stream get next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A publication.
    Said(Said),
    /// One that no marker covers.
    Gap,
}

/// The witness's side of one stream: puts markers in order.
#[derive(Debug, Default)]
pub struct Following {
    /// The first seq that is not handed on; `None` before the first marker.
    next: Option<u64>,
    /// The scheduled instant of the last publication before the first that is handed on; 0 if
    /// there is none.
    before: u64,
    /// Whether anything was handed on.
    has_begun: bool,
    /// What is said of later ones, and when that came.
    ahead: BTreeMap<u64, (Said, RunTime)>,
    /// The seq behind the last publication, once that is known.
    end: Option<u64>,
}

impl Following {
    /// Whether all of the stream was handed on, and no more than that: a publisher that was started
    /// again ends elsewhere.
    pub fn is_over(&self) -> bool {
        self.end.is_some() && self.next == self.end
    }

    /// The scheduled instant of the last publication of which nothing was said; 0 if there is
    /// none.
    pub const fn before(&self) -> u64 {
        self.before
    }

    /// A marker came. The earliest of the first ones says where the stream is.
    pub fn note(&mut self, marker: &Marker, now: RunTime) {
        if !self.has_begun && self.next.is_none_or(|next| marker.from.0 < next) {
            (self.next, self.before) = (Some(marker.from.0), marker.before);
        }
        let Some(next) = self.next else { return };
        for (seq, said) in (marker.from.0..).zip(&marker.said) {
            if seq >= next && seq - next < AHEAD_MAX {
                self.ahead.entry(seq).or_insert((*said, now));
            }
        }
        if marker.is_last {
            self.end = Some(marker.until());
        }
    }

    /// What can be handed on at `now`, each with its seq, in order. What is missing before
    /// something that came longer than `patience` ago is a gap: its marker would have come with it.
    pub fn take(&mut self, now: RunTime, patience: Duration) -> Vec<(Seq, Entry)> {
        let mut taken = Vec::new();
        let Some(mut next) = self.next else { return taken };
        while let Some((first, (said, came))) = self.ahead.first_key_value() {
            if *first == next {
                taken.push((Seq(next), Entry::Said(*said)));
                self.ahead.pop_first();
            } else if came.after(patience) < now {
                taken.push((Seq(next), Entry::Gap));
            } else {
                break;
            }
            next += 1;
        }
        self.next = Some(next);
        self.has_begun |= !taken.is_empty();
        taken
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RUN: RunId = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab));
    const PATIENCE: Duration = Duration::from_secs(10);
    const NOW_US: u64 = 1_753_600_000_000_000;

    fn said(index: u64) -> Said {
        let told = |fate| Told(fate, 120, Some(4_000), false);
        Said(index, NOW_US + index, [told(Fate::Accepted), told(Fate::Unknown)])
    }

    fn marker(from: u64, count: u64, is_last: bool) -> Marker {
        let said = (from..from + count).map(said).collect();
        let before = from.checked_sub(1).map_or(0, |last| NOW_US + last);
        Marker { stream: StreamIx(3), from: Seq(from), before, said, is_last }
    }

    fn bulletin(of: Vec<Marker>) -> Bulletin {
        Bulletin { v: VERSION, run: RUN, now_us: NOW_US, of }
    }

    #[test]
    fn a_bulletin_is_read_as_it_was_written_and_nothing_else_is_one() {
        let whole = bulletin(vec![marker(0, 0, false), marker(7, 1, false), marker(120, 3, true)]);
        let text = whole.encode();
        assert_eq!(Bulletin::decode(&text), Some(whole));
        assert_eq!(
            bulletin(vec![marker(7, 1, true)]).encode(),
            [
                &format!(r#"{{"v":1,"run":"{RUN}","now_us":{NOW_US},"of":[{{"s":3,"from":7,"#),
                r#""before":1753600000000006,"#,
                r#""said":[[7,1753600000000007,[["a",120,4000,false],["u",120,4000,false]]]],"#,
                r#""last":true}]}"#,
            ]
            .concat()
        );
        let far = Marker { from: Seq(SEQ_MAX + 1), ..marker(0, 0, false) };
        for wrong in [
            text.replace(r#""v":1"#, r#""v":2"#),
            text.replace(r#""u""#, r#""x""#),
            text.replace(r#""now_us""#, r#""then_us""#),
            "not json".to_owned(),
            bulletin(vec![marker(0, ROOM as u64 + 1, false)]).encode(),
            bulletin(vec![far]).encode(),
        ] {
            assert_eq!(Bulletin::decode(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_longest_bulletins_fit_an_event() {
        let told = Told(Fate::Unsent, u32::MAX, Some(u32::MAX), false);
        let longest = Said(1 << 40, NOW_US * 4, [told; 2]);
        let of = |said: usize| Marker {
            stream: StreamIx(u32::MAX),
            from: Seq(SEQ_MAX),
            before: NOW_US * 4,
            said: vec![longest; said],
            is_last: false,
        };
        let one = bulletin(vec![of(ROOM - 1)]).encode();
        let many = bulletin((0..ROOM / 2).map(|_| of(1)).collect()).encode();
        // What signs it is before it.
        assert!(one.len() < 9_900 && many.len() < 9_900, "{} {}", one.len(), many.len());
    }

    /// Two streams on both clusters, each with so many publications.
    fn books(counts: [u64; 2]) -> Vec<(StreamIx, BTreeMap<ClusterRole, Arc<Book>>)> {
        let stream = |(at, count): (u32, u64)| {
            let books = ClusterRole::ALL.map(|role| (role, Arc::new(Book::new(1_024))));
            for (_, book) in &books {
                for index in 0..count {
                    let scheduled = RunTime::from_millis(100 * index);
                    let seq = book.reserve(2 * index, scheduled, false);
                    book.stamp_sent(seq, scheduled.after(Duration::from_millis(1)), index == 1);
                }
            }
            (StreamIx(at), books.into())
        };
        (0..).zip(counts).map(stream).collect()
    }

    fn wall_us(at: RunTime) -> u64 {
        at.0 / 1_000
    }

    #[test]
    fn markers_cover_what_is_answered_on_every_cluster_and_say_it_three_times() {
        let streams = books([3, 0]);
        let book = |role| Arc::clone(&streams[0].1[&role]);
        let (old, new) = (book(ClusterRole::Old), book(ClusterRole::New));
        let mut announcements = Announcements::new(RUN, streams);
        let mut next = |is_published| announcements.next(is_published, wall_us);
        let silent = next(false);
        assert_eq!((silent.len(), &*silent[0].of), (1, &[][..]), "it is alive");
        old.settle(Seq(0), Outcome::Accepted, Some(RunTime::from_millis(3)));
        new.settle(Seq(0), Outcome::Rejected, None);
        old.settle(Seq(1), Outcome::Accepted, None);
        // The second waits for its answer on new: the end is not there, but for the other stream.
        let first = next(true);
        let told = [
            Told(Fate::Accepted, 1_000, Some(2_000), false),
            Told(Fate::Rejected, 1_000, None, false),
        ];
        let expected = Said(0, 0, told);
        assert_eq!(first.len(), 1);
        let [of, other] = &*first[0].of else { panic!("{first:?}") };
        assert_eq!((of.from, &*of.said, of.is_last), (Seq(0), &[expected][..], false));
        assert_eq!((other.stream, other.from, other.is_last), (StreamIx(1), Seq(0), true));
        for (book, seq) in [(&new, 1), (&old, 2), (&new, 2)] {
            book.settle(Seq(seq), Outcome::Unknown, None);
        }
        old.settle(Seq(2), Outcome::Void, None);
        let last = next(true);
        let of = &last[0].of[0];
        let fates: Vec<_> = of.said.iter().map(|said| said.2.map(|told| told.0)).collect();
        let (accepted, unknown) = (Fate::Accepted, Fate::Unknown);
        assert_eq!(fates, [[accepted, Fate::Rejected], [accepted, unknown], [unknown; 2]]);
        assert!(of.said[1].2[0].3 && !of.said[2].2[0].3, "the one that was sent too late");
        assert_eq!((of.from, of.before, of.is_last), (Seq(0), 0, true));
        // The first has been said three times then, and the others as often at the end.
        for from in [0, 1] {
            let again = next(true);
            let of = &again[0].of[0];
            let before = if from == 0 { 0 } else { wall_us(RunTime::ZERO) };
            assert_eq!((of.from, of.before), (Seq(from), before));
            assert_eq!((of.said.len() as u64, of.is_last), (3 - from, true));
        }
        assert!(announcements.is_over());
    }

    #[test]
    fn what_finds_no_room_in_one_bulletin_is_in_the_next() {
        let streams = books([200, 30]);
        let all: Vec<_> = streams.iter().flat_map(|(_, books)| books.values().cloned()).collect();
        for book in all {
            (0..200).for_each(|seq| book.settle(Seq(seq), Outcome::Accepted, None));
        }
        let mut announcements = Announcements::new(RUN, streams);
        let bulletins = announcements.next(true, wall_us);
        let mut following = [Following::default(), Following::default()];
        for bulletin in &bulletins {
            let taken: usize = bulletin.of.iter().map(|marker| marker.said.len() + 1).sum();
            assert!(taken <= ROOM, "{taken}");
            let read = Bulletin::decode(&bulletin.encode()).unwrap();
            for marker in &read.of {
                following[marker.stream.0 as usize].note(marker, RunTime::ZERO);
            }
        }
        let taken = following.each_mut().map(|of| of.take(RunTime::ZERO, PATIENCE).len());
        assert_eq!((taken, bulletins.len()), ([200, 30], 3));
        assert!(following.iter().all(Following::is_over));
    }

    #[test]
    fn what_comes_late_or_twice_is_put_in_order() {
        let mut following = Following::default();
        let at = RunTime::from_millis;
        assert_eq!(following.take(at(0), PATIENCE), []);
        following.note(&marker(5, 2, false), at(1_000));
        following.note(&marker(10, 2, true), at(2_000));
        let entries =
            |of: &[u64]| of.iter().map(|i| (Seq(*i), Entry::Said(said(*i)))).collect::<Vec<_>>();
        assert_eq!(following.take(at(2_000), PATIENCE), entries(&[5, 6]));
        assert!(!following.is_over());
        // Its copy on the other cluster.
        following.note(&marker(5, 2, false), at(2_500));
        following.note(&marker(7, 3, false), at(3_000));
        assert_eq!(following.take(at(3_000), PATIENCE), entries(&[7, 8, 9, 10, 11]));
        assert!(following.is_over());
    }

    #[test]
    fn it_begins_with_the_earliest_of_the_first_markers_and_says_what_was_before() {
        let mut following = Following::default();
        following.note(&marker(9, 1, false), RunTime::ZERO);
        // By way of the other cluster.
        following.note(&marker(7, 3, false), RunTime::ZERO);
        following.note(&marker(8, 0, false), RunTime::ZERO);
        assert_eq!(following.before(), NOW_US + 6);
        assert_eq!(following.take(RunTime::ZERO, PATIENCE)[0].0, Seq(7));
        // What was handed on was handed on.
        following.note(&marker(5, 2, false), RunTime::ZERO);
        assert_eq!(following.before(), NOW_US + 6);
        let mut ended = Following::default();
        ended.note(&marker(7, 0, true), RunTime::ZERO);
        assert_eq!((ended.is_over(), ended.before()), (true, NOW_US + 6));
    }

    #[test]
    fn a_publisher_that_begins_again_never_ends() {
        let mut following = Following::default();
        following.note(&marker(0, 9, false), RunTime::ZERO);
        assert_eq!(following.take(RunTime::ZERO, PATIENCE).len(), 9);
        following.note(&marker(0, 5, true), RunTime::ZERO);
        assert_eq!(following.take(RunTime::ZERO, PATIENCE), []);
        assert!(!following.is_over());
    }

    #[test]
    fn what_no_marker_covers_is_a_gap_once_another_has_waited_for_it() {
        let mut following = Following::default();
        let at = RunTime::from_millis;
        following.note(&marker(0, 1, false), at(0));
        following.note(&marker(3, 1, true), at(1_000));
        following.note(&marker(AHEAD_MAX + 1, 1, false), at(1_000));
        assert_eq!(following.take(at(11_000), PATIENCE), [(Seq(0), Entry::Said(said(0)))]);
        let taken = following.take(at(11_001), PATIENCE);
        let expected = [(Seq(1), Entry::Gap), (Seq(2), Entry::Gap), (Seq(3), Entry::Said(said(3)))];
        assert_eq!(taken, expected);
        assert!(following.is_over());
    }
}
