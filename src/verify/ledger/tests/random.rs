//! Short random histories against an oracle that shares no code with the ledger: it goes through
//! the whole list of facts once for each obligation and each copy.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const HISTORIES: u64 = 4_000;
const EVENTS_MAX: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Sent(u64),
    Unsent(u64),
    Answered(u64, Outcome),
    Decided(u64, Outcome),
    Subscribed,
    /// With the instant of the connection's last frame.
    Lost(RunTime, BlindCause),
    Copy(u64),
    /// A copy of an event that is never published.
    Invented,
    Corrupt,
    Foreign,
    Misrouted,
    Heard,
    Advanced,
}

type Facts = Vec<(RunTime, What)>;

/// Makes a history up and has the ledger live through it.
struct Drama {
    rng: SmallRng,
    world: World,
    /// 0: a private channel, 1: a cache channel.
    stream: usize,
    facts: Facts,
    now: RunTime,
    last_heard: RunTime,
    sent: BTreeMap<u64, RunTime>,
    open: Vec<u64>,
    undecided: Vec<u64>,
}

impl Drama {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let stream = rng.random_range(0..2);
        Self {
            rng,
            world: World::unsubscribed(),
            stream,
            facts: Vec::new(),
            now: ms(0),
            last_heard: ms(0),
            sent: BTreeMap::new(),
            open: Vec::new(),
            undecided: Vec::new(),
        }
    }

    fn act(&mut self, what: What) {
        let (now, stream) = (self.now, self.stream);
        let book = Arc::clone(&self.world.books[stream]);
        self.facts.push((now, what));
        let ix = stream as u32;
        match what {
            What::Sent(seq) => {
                assert_eq!(book.reserve(seq, now, false), Seq(seq));
                book.stamp_sent(Seq(seq), now, false);
                self.sent.insert(seq, now);
                self.open.push(seq);
            }
            What::Unsent(seq) => assert_eq!(book.reserve(seq, now, true), Seq(seq)),
            What::Answered(seq, outcome) => {
                let answered = (outcome != Outcome::Unknown).then_some(now);
                book.settle(Seq(seq), outcome, answered);
            }
            What::Decided(seq, outcome) => book.settle(Seq(seq), outcome, None),
            What::Subscribed => self.world.subscribe(stream, now),
            What::Lost(last_heard, cause) => self.world.lose(last_heard, cause),
            What::Copy(seq) => self.world.copy_of(ix, seq, stream, now),
            What::Invented => self.world.copy_of(ix, 1_000, stream, now),
            What::Corrupt => self.world.text(stream, Some("{"), now),
            What::Foreign => self.world.envelope(OTHER_RUN, ClusterRole::New, ix, 0, stream, now),
            What::Misrouted => self.world.envelope(RUN, ClusterRole::Old, ix, 0, stream, now),
            What::Heard => self.world.heard(now),
            What::Advanced => self.world.advance(now),
        }
        self.world.check();
        if !matches!(
            what,
            What::Sent(_)
                | What::Unsent(_)
                | What::Answered(..)
                | What::Decided(..)
                | What::Lost(..)
                | What::Advanced
        ) {
            self.last_heard = now;
        }
    }

    fn next_seq(&self) -> u64 {
        self.world.books[self.stream].head().0
    }

    /// One random thing that may happen now, and whatever is due.
    fn step(&mut self) {
        let steps = [0, 0, 1, 10, 500, 2_500, 5_000, 30_000];
        let step = steps[self.rng.random_range(0..steps.len())];
        self.now = RunTime(ms(step).0 + self.now.0 + self.rng.random_range(0..2));
        self.answer_and_decide(false);
        let cause = BlindCause::ALL[self.rng.random_range(0..4)];
        let what = match self.rng.random_range(0..100) {
            0..25 if self.next_seq() < EVENTS_MAX => What::Sent(self.next_seq()),
            25..27 if self.next_seq() < EVENTS_MAX => What::Unsent(self.next_seq()),
            27..37 => What::Subscribed,
            37..43 => What::Lost(self.last_heard, cause),
            43..80 if self.next_seq() > 0 => {
                let newest = self.next_seq() - 1;
                What::Copy(newest.saturating_sub(self.rng.random_range(0..4)))
            }
            80..82 => What::Invented,
            82..84 => What::Corrupt,
            84..86 => What::Foreign,
            86..88 => What::Misrouted,
            88..92 => What::Heard,
            _ => What::Advanced,
        };
        self.act(what);
    }

    /// Answers some of what is open, or all of it, and decides what is due, as a publisher does.
    fn answer_and_decide(&mut self, is_end: bool) {
        for seq in std::mem::take(&mut self.open) {
            if is_end || self.rng.random_bool(0.5) {
                let outcomes = [Outcome::Accepted, Outcome::Unknown, Outcome::Rejected];
                let at = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2][self.rng.random_range(0..10)];
                self.act(What::Answered(seq, outcomes[at]));
                if outcomes[at] == Outcome::Unknown {
                    self.undecided.push(seq);
                }
            } else {
                self.open.push(seq);
            }
        }
        for seq in std::mem::take(&mut self.undecided) {
            let seen = self.world.books[self.stream].read(Seq(seq)).unwrap().seen;
            let due = self.sent[&seq].after(HORIZON).after(Duration::from_secs(1));
            let by_another = self.rng.random_bool(0.1);
            if seen || by_another {
                self.act(What::Decided(seq, Outcome::Recovered));
            } else if self.now >= due {
                self.act(What::Decided(seq, Outcome::Void));
            } else {
                self.undecided.push(seq);
            }
        }
    }

    fn play(mut self) -> (World, Facts, bool) {
        // Mostly the witness is there from the start.
        if self.rng.random_bool(0.8) {
            self.act(What::Subscribed);
        }
        for _ in 0..self.rng.random_range(10..60) {
            self.step();
        }
        self.act(What::Subscribed);
        self.answer_and_decide(true);
        self.now = self.now.after(Duration::from_secs(3_600));
        self.answer_and_decide(true);
        self.act(What::Heard);
        self.act(What::Advanced);
        (self.world, self.facts, self.stream == 1)
    }
}

/// What must have been counted.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    obligations: Obligations,
    beside: Beside,
    missed: BTreeMap<(u64, BlindCause), u64>,
}

struct Oracle<'a> {
    facts: &'a Facts,
    is_cache: bool,
}

impl Oracle<'_> {
    fn position(&self, is: impl Fn(&What) -> bool) -> Option<usize> {
        self.facts.iter().position(|(_, what)| is(what))
    }

    fn sent(&self, seq: u64) -> (usize, RunTime) {
        let at = self.position(|w| *w == What::Sent(seq)).unwrap();
        (at, self.facts[at].0)
    }

    fn answer(&self, seq: u64) -> (usize, Outcome) {
        let at = self.position(|w| matches!(w, What::Answered(s, _) if *s == seq)).unwrap();
        let What::Answered(_, outcome) = self.facts[at].1 else { unreachable!() };
        (at, outcome)
    }

    fn is_owed(&self, seq: u64) -> bool {
        let sent = self.position(|w| *w == What::Sent(seq));
        let begun = self.position(|w| *w == What::Subscribed).unwrap();
        sent.is_some_and(|sent| sent > begun)
    }

    fn is_refused(&self, seq: u64, by: usize) -> bool {
        let unsent = self.position(|w| *w == What::Unsent(seq)).is_some();
        unsent || matches!(self.answer(seq), (at, Outcome::Rejected) if at < by)
    }

    /// Whether the fact at `at` is the first event after a confirmation, and older than that.
    fn is_replay(&self, at: usize, seq: u64) -> bool {
        let before = &self.facts[..at];
        let Some(confirmed) = before.iter().rposition(|(_, w)| *w == What::Subscribed) else {
            return false;
        };
        let event_or_break = |w: &What| {
            use What::{Copy, Corrupt, Foreign, Invented, Lost, Misrouted};
            matches!(w, Copy(_) | Corrupt | Foreign | Invented | Misrouted | Lost(..))
        };
        self.is_cache
            && !before[confirmed..].iter().any(|(_, w)| event_or_break(w))
            && self.sent(seq).1 < before[confirmed].0
    }

    /// Copies that are neither replays nor of what was refused by then.
    fn copies(&self, seq: u64) -> Vec<usize> {
        let copy = |at: &usize| self.facts[*at].1 == What::Copy(seq);
        (0..self.facts.len())
            .filter(copy)
            .filter(|at| !self.is_refused(seq, *at) && !self.is_replay(*at, seq))
            .collect()
    }

    /// The first copy, if it came by the horizon to a witness to which it was owed.
    fn received(&self, seq: u64) -> Option<usize> {
        let first = *self.copies(seq).first()?;
        let in_time = self.facts[first].0.0 - self.sent(seq).1.0 <= HORIZON.as_nanos() as u64;
        (in_time && self.is_owed(seq)).then_some(first)
    }

    /// The cause of the first break in the span that is not the agent's own doing; else the
    /// agent, if there was a break at all. A break that lasts is not its doing.
    fn blind(&self, facts: &[(RunTime, What)], span: (RunTime, RunTime)) -> Option<BlindCause> {
        let (mut confirmed, mut since, mut causes) = (None, None, Vec::new());
        let mut window = Vec::new();
        for (at, what) in facts {
            match what {
                What::Subscribed => {
                    if since.take().is_some_and(|since| since < span.1) && *at > span.0 {
                        causes.append(&mut window);
                    }
                    window.clear();
                    confirmed = Some(*at);
                }
                What::Lost(heard, cause) => {
                    if let Some(confirmed) = confirmed {
                        since.get_or_insert(confirmed.max(*heard));
                        window.push(*cause);
                    }
                }
                _ => {}
            }
        }
        if since.is_some_and(|since| since < span.1) {
            causes.append(&mut window);
            causes.push(BlindCause::Network);
        }
        causes.iter().find(|c| **c != BlindCause::Agent).or(causes.first()).copied()
    }

    /// Why nothing was received of what was owed; `None` if it was lost. Decided by the first
    /// advance at which it can be.
    fn shortfall(&self, seq: u64, sent: RunTime, due: RunTime) -> Option<BlindCause> {
        let is_decided = |w: &What| match w {
            What::Answered(s, outcome) => *s == seq && *outcome == Outcome::Accepted,
            What::Decided(s, _) => *s == seq,
            _ => false,
        };
        let is_frame = |w: &What| {
            use What::{Copy, Corrupt, Foreign, Heard, Invented, Misrouted, Subscribed};
            matches!(w, Subscribed | Copy(_) | Invented | Corrupt | Foreign | Misrouted | Heard)
        };
        for (place, (at, what)) in self.facts.iter().enumerate() {
            let before = &self.facts[..place];
            let may_end = *what == What::Advanced && at.0 > sent.0 + HORIZON.as_nanos() as u64;
            if !may_end || !before.iter().any(|(_, w)| is_decided(w)) {
                continue;
            }
            let cause = self.blind(before, (sent, due));
            // Nothing was lost, and nothing is the agent's own doing, before the connection has
            // proved alive.
            let is_alive = before.iter().any(|(at, w)| is_frame(w) && *at >= due);
            if is_alive || cause.is_some_and(|cause| cause != BlindCause::Agent) {
                return cause;
            }
        }
        unreachable!("the last advance decides everything")
    }

    fn obligation(&self, seq: u64, counts: &mut Counts) {
        let (_, sent) = self.sent(seq);
        let due = RunTime(sent.0 + DEADLINE.as_nanos() as u64);
        let all = &mut counts.obligations;
        all.total += 1;
        let (_, answer) = self.answer(seq);
        let void = self.position(|w| *w == What::Decided(seq, Outcome::Void)).is_some();
        match (answer, self.received(seq)) {
            (Outcome::Rejected, received) => {
                all.void += 1;
                counts.beside.unexpected += u64::from(received.is_some());
            }
            (_, Some(received)) if self.facts[received].0 <= due => all.delivered += 1,
            (_, Some(_)) => all.late += 1,
            (_, None) if void => all.void += 1,
            (_, None) => match self.shortfall(seq, sent, due) {
                None => all.lost += 1,
                Some(cause) => {
                    all.missed_offline += 1;
                    *counts.missed.entry((sent.second(), cause)).or_default() += 1;
                }
            },
        }
    }

    fn order(&self, seq: u64, beside: &mut Beside) {
        let Some(received) = self.received(seq) else { return };
        let overtakers: Vec<u64> = (seq + 1..EVENTS_MAX)
            .filter(|later| self.is_owed(*later))
            .filter(|later| self.received(*later).is_some_and(|at| at < received))
            .collect();
        let (at, answer) = self.answer(seq);
        let answered = self.facts[at].0;
        let known = at < received && answer != Outcome::Unknown;
        if known && overtakers.iter().any(|later| self.sent(*later).1 > answered) {
            beside.reordered += 1;
        } else if !overtakers.is_empty() {
            beside.unordered += 1;
        }
    }

    fn count(&self) -> Counts {
        let mut counts = Counts::default();
        for (at, (_, what)) in self.facts.iter().enumerate() {
            let beside = &mut counts.beside;
            match what {
                What::Sent(seq) if self.is_owed(*seq) => {
                    self.obligation(*seq, &mut counts);
                    self.order(*seq, &mut counts.beside);
                }
                What::Copy(seq) if self.is_refused(*seq, at) => beside.unexpected += 1,
                What::Copy(seq) if self.is_replay(at, *seq) => beside.replayed += 1,
                What::Copy(seq) if !self.is_owed(*seq) => beside.after_horizon += 1,
                What::Copy(seq) if self.copies(*seq)[0] != at => beside.duplicates += 1,
                What::Copy(seq) if self.received(*seq) != Some(at) => beside.after_horizon += 1,
                What::Invented => beside.unexpected += 1,
                What::Corrupt => beside.corrupt += 1,
                What::Foreign => beside.foreign += 1,
                What::Misrouted => beside.misrouted += 1,
                _ => {}
            }
        }
        counts
    }
}

#[test]
fn the_ledger_counts_what_a_brute_force_oracle_counts() {
    let mut all = Counts::default();
    for seed in 0..HISTORIES {
        let (world, facts, is_cache) = Drama::new(seed).play();
        let counted = Counts {
            obligations: world.obligations(),
            beside: world.beside(),
            missed: world.sum.missed.clone(),
        };
        let expected = Oracle { facts: &facts, is_cache }.count();
        assert_eq!(counted, expected, "seed {seed}, cache channel: {is_cache}: {facts:#?}");
        assert_eq!(world.ledger.pending(), 0, "seed {seed}");
        all.obligations += counted.obligations;
        all.beside += counted.beside;
    }
    // The histories are worth their name: everything happens in them, and often.
    let Obligations { total, delivered, late, lost, missed_offline, void } = all.obligations;
    let b = all.beside;
    for count in [
        total,
        delivered,
        late,
        lost,
        missed_offline,
        void,
        b.duplicates,
        b.replayed,
        b.reordered,
        b.unordered,
        b.corrupt,
        b.misrouted,
        b.unexpected,
        b.foreign,
        b.after_horizon,
    ] {
        assert!(count > 100, "{all:?}");
    }
}
