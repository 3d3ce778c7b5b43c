//! Trials, events and the watermark.

use super::*;

use ClusterRole::{New, Old};

const AGENT: Shortfall = Shortfall::Missed(BlindCause::Agent);
const NETWORK: Shortfall = Shortfall::Missed(BlindCause::Network);
const LOST: Shortfall = Shortfall::Lost;

/// Streams with two witnesses on each cluster. Every event is scheduled a second after the one
/// before, and sent when it is scheduled.
struct World {
    coverage: Coverage,
    roles: Vec<ClusterRole>,
    books: Vec<Vec<Arc<Book>>>,
    index: u64,
    tainted: Vec<u64>,
}

impl World {
    fn new(streams: usize) -> Self {
        Self::on(&[Old, New], streams, 2)
    }

    fn on(roles: &[ClusterRole], streams: usize, witnesses: u32) -> Self {
        let books: Vec<Vec<_>> =
            (0..streams).map(|_| roles.iter().map(|_| Arc::new(Book::new(16))).collect()).collect();
        let side = |(role, book): (&ClusterRole, &Arc<Book>)| SideSpec {
            role: *role,
            book: Arc::clone(book),
            witnesses: (0..witnesses).map(WitnessIx).collect(),
        };
        let stream = |books: &Vec<Arc<Book>>| StreamInfo {
            channel: ChannelName::new("private-a").unwrap(),
            route: Route::Trigger,
            sides: roles.iter().zip(books).map(side).collect(),
        };
        let coverage = Coverage::new(books.iter().map(stream).collect());
        Self { coverage, roles: roles.to_vec(), books, index: 0, tainted: Vec::new() }
    }

    /// Publishes the stream's next event on every cluster, with the given outcomes.
    fn publish(&mut self, stream: usize, outcomes: &[Outcome]) -> u64 {
        let scheduled = RunTime::from_millis(1_000 * self.index);
        let mut seq = Seq(0);
        for (book, outcome) in self.books[stream].iter().zip(outcomes) {
            seq = book.reserve(self.index, scheduled, *outcome == Outcome::Unsent);
            book.settle(seq, *outcome, None);
        }
        self.index += 1;
        seq.0
    }

    /// A witness says that it has settled a stream up to and with `seq`, and what it did not get.
    fn report(
        &mut self,
        at: (ClusterRole, u32),
        stream: u32,
        seq: u64,
        short: &[(u64, Shortfall)],
    ) {
        let stream = StreamIx(stream);
        let report = WitnessReport {
            witness: WitnessIx(at.1),
            settled_below: vec![(stream, Seq(seq + 1))],
            shortfalls: short.iter().map(|(seq, short)| (stream, Seq(*seq), *short)).collect(),
            ..WitnessReport::default()
        };
        self.coverage.handle_witness(at.0, &report);
    }

    /// Every witness has settled a stream up to and with `seq`; these did not get it.
    fn all_report(&mut self, stream: u32, seq: u64, short: &[((ClusterRole, u32), Shortfall)]) {
        for role in self.roles.clone() {
            for witness in 0..2 {
                let mine = |(at, _): &&((ClusterRole, u32), Shortfall)| *at == (role, witness);
                let short: Vec<_> = short.iter().filter(mine).map(|(_, s)| (seq, *s)).collect();
                self.report((role, witness), stream, seq, &short);
            }
        }
    }

    fn settle_at(&mut self, now: RunTime, is_end: bool) {
        let tainted = self.tainted.clone();
        self.coverage.settle(now, is_end, |second| tainted.contains(&second));
    }

    fn settle(&mut self) {
        self.settle_at(RunTime::from_millis(1_000_000), false);
    }

    fn trials(&self, role: ClusterRole) -> (u64, u64, u64, u64) {
        let t = self.coverage.trials(role);
        (t.trials, t.publications_lost, t.publications_partially_lost, t.unattributed)
    }

    fn strata(&mut self, role: ClusterRole) -> Vec<(String, u64)> {
        let trials = self.coverage.take_strata(role);
        trials.into_iter().map(|(stratum, trials)| (stratum.to_string(), trials)).collect()
    }

    fn watermark(&self) -> (Option<u64>, Option<u64>) {
        let events = self.coverage.events();
        (events.covered_since.map(RunTime::second), events.covered_until.map(RunTime::second))
    }
}

const TAKEN: [Outcome; 2] = [Outcome::Accepted; 2];

/// One event: its outcomes, what did not arrive, what becomes of it.
fn one(outcomes: [Outcome; 2], short: &[((ClusterRole, u32), Shortfall)]) -> World {
    let mut world = World::new(1);
    let seq = world.publish(0, &outcomes);
    world.all_report(0, seq, short);
    world.settle();
    world
}

#[test]
fn an_event_that_everyone_got_is_covered_and_a_trial_on_both() {
    for outcome in [Outcome::Accepted, Outcome::Recovered] {
        let world = one([Outcome::Accepted, outcome], &[]);
        let expected = Events {
            covered: 1,
            trials: 1,
            pairs: Pairs { trials: 1, ..Pairs::default() },
            covered_since: Some(RunTime::ZERO),
            covered_until: Some(RunTime::ZERO),
            ..Events::default()
        };
        assert_eq!(*world.coverage.events(), expected);
        assert_eq!((world.trials(Old), world.trials(New)), ((1, 0, 0, 0), (1, 0, 0, 0)));
    }
}

#[test]
fn a_publication_is_delivered_to_all_partially_lost_or_lost() {
    for (short, trials) in [
        (vec![], (1, 0, 0, 0)),
        (vec![((New, 0), LOST)], (1, 0, 1, 0)),
        (vec![((New, 0), LOST), ((New, 1), LOST)], (1, 1, 0, 0)),
        // Who could not see it cannot say that it was lost, nor that it was not.
        (vec![((New, 0), LOST), ((New, 1), NETWORK)], (1, 1, 0, 0)),
        (vec![((New, 0), NETWORK)], (1, 0, 0, 0)),
        (vec![((New, 0), NETWORK), ((New, 1), AGENT)], (0, 0, 0, 0)),
    ] {
        let world = one(TAKEN, &short);
        assert_eq!(world.trials(New), trials, "{short:?}");
        assert_eq!(world.trials(Old), (1, 0, 0, 0));
    }
}

#[test]
fn an_uncovered_event_has_the_worst_cause() {
    use Outcome::{Accepted, Recovered, Rejected, Void};
    use UncoveredCause as Cause;
    for (outcomes, short, cause) in [
        ([Rejected, Accepted], vec![], Cause::Rejected),
        ([Accepted, Void], vec![], Cause::Void),
        (TAKEN, vec![((Old, 0), LOST)], Cause::Lost),
        (TAKEN, vec![((New, 1), NETWORK)], Cause::MissedOffline),
        // Before the others: rejected, then void, then lost.
        ([Rejected, Void], vec![], Cause::Rejected),
        ([Void, Accepted], vec![((New, 0), LOST)], Cause::Void),
        ([Recovered, Accepted], vec![((Old, 0), NETWORK), ((New, 0), LOST)], Cause::Lost),
        (TAKEN, vec![((New, 0), NETWORK), ((New, 1), LOST)], Cause::Lost),
        // Blind by the agent's own doing, and nobody else got it.
        (TAKEN, vec![((New, 0), AGENT), ((New, 1), AGENT)], Cause::MissedOffline),
        (TAKEN, vec![((New, 0), AGENT), ((New, 1), LOST)], Cause::Lost),
    ] {
        let world = one(outcomes, &short);
        let events = world.coverage.events();
        let uncovered: Vec<_> = events.uncovered.clone().into_iter().collect();
        assert_eq!(uncovered, [(cause, 1)], "{outcomes:?} {short:?}");
        assert_eq!((events.covered, events.trials), (0, 1));
        assert_eq!(events.failures, events.uncovered);
        assert_eq!(events.uncovered_total(), 1);
        assert_eq!(world.watermark(), (None, Some(0)));
    }
}

#[test]
fn a_witness_blind_by_the_agent_s_doing_is_left_out_if_another_got_it() {
    let world = one(TAKEN, &[((New, 0), AGENT)]);
    assert_eq!((world.coverage.events().covered, world.trials(New)), (1, (1, 0, 0, 0)));
}

#[test]
fn rejected_and_void_publications_are_no_trials() {
    let world = one([Outcome::Rejected, Outcome::Void], &[]);
    assert_eq!((world.trials(Old), world.trials(New)), ((0, 0, 0, 0), (0, 0, 0, 0)));
}

#[test]
fn without_a_witness_nothing_is_covered_or_tried() {
    let mut world = World::on(&[New], 1, 0);
    world.publish(0, &[Outcome::Accepted]);
    world.settle();
    let events = world.coverage.events();
    assert_eq!((events.covered, events.uncovered_total()), (0, 1));
    assert_eq!(world.trials(New), (0, 0, 0, 0));
    assert_eq!(world.strata(New), []);
}

#[test]
fn a_tainted_second_leaves_the_trials_and_its_losses_are_unattributed() {
    for by_second in [true, false] {
        let mut world = World::new(1);
        let seq = world.publish(0, &TAKEN);
        if by_second {
            world.tainted = vec![0];
        } else {
            // Sent too late: only this publication is tainted, on its own cluster.
            world.books[0][1].stamp_sent(Seq(seq), RunTime::ZERO, true);
        }
        world.all_report(0, seq, &[((New, 0), LOST)]);
        world.settle();
        assert_eq!(world.trials(New), (0, 0, 0, 1));
        assert_eq!(world.trials(Old), (u64::from(!by_second), 0, 0, 0));
        let events = world.coverage.events();
        assert_eq!((events.trials, events.uncovered_total()), (0, 1));
        assert_eq!(events.failures, [].into());
        // Shown to the watermark all the same: it must not call safe what nobody saw.
        assert_eq!(world.watermark(), (None, Some(0)));
    }
}

#[test]
fn an_event_unsent_on_one_cluster_is_left_out_unless_the_other_failed_it() {
    let world = one([Outcome::Accepted, Outcome::Unsent], &[]);
    let events = world.coverage.events();
    assert_eq!((events.unsent, events.covered, events.trials), (1, 0, 0));
    assert_eq!(world.trials(Old), (1, 0, 0, 0), "there it was tried");
    assert_eq!(world.trials(New), (0, 0, 0, 0));
    assert_eq!(world.watermark(), (None, Some(0)));

    let world = one([Outcome::Accepted, Outcome::Unsent], &[((Old, 0), LOST)]);
    let events = world.coverage.events();
    assert_eq!((events.unsent, events.uncovered_total(), events.trials), (0, 1, 0));
}

#[test]
fn an_event_is_joined_only_when_everyone_has_settled_it_and_it_is_decided() {
    let mut world = World::new(1);
    let seq = world.publish(0, &[Outcome::Accepted, Outcome::InFlight]);
    for at in [(Old, 0), (Old, 1), (New, 0)] {
        world.report(at, 0, seq, &[]);
    }
    world.settle();
    assert_eq!(world.watermark(), (None, None), "one witness is still missing");
    world.report((New, 1), 0, seq, &[]);
    world.settle();
    assert_eq!(world.watermark(), (None, None), "not answered yet");
    world.books[0][1].settle(Seq(seq), Outcome::Unknown, None);
    world.settle_at(RunTime::from_millis(1_000_000), true);
    assert_eq!(world.watermark(), (None, None), "not decided yet, not even at the end");
    world.books[0][1].settle(Seq(seq), Outcome::Recovered, None);
    world.settle();
    assert_eq!(world.watermark(), (Some(0), Some(0)));
}

#[test]
fn one_side_that_never_settles_holds_everything_back() {
    let mut world = World::new(1);
    for _ in 0..3 {
        let seq = world.publish(0, &TAKEN);
        world.report((New, 0), 0, seq, &[(seq, LOST)]);
        world.report((New, 1), 0, seq, &[]);
    }
    world.settle_at(RunTime::from_millis(1_000_000), true);
    assert_eq!(*world.coverage.events(), Events::default());
    assert_eq!(world.trials(New), (0, 0, 0, 0));
}

#[test]
fn an_event_waits_until_a_taint_of_its_second_would_be_known() {
    let mut world = World::new(1);
    let seq = world.publish(0, &TAKEN);
    world.all_report(0, seq, &[]);
    world.settle_at(RunTime::from_millis(1_999), false);
    assert_eq!(world.watermark(), (None, None));
    world.settle_at(RunTime::from_millis(2_000), false);
    assert_eq!(world.watermark(), (Some(0), Some(0)));

    let mut world = World::new(1);
    let seq = world.publish(0, &TAKEN);
    world.all_report(0, seq, &[]);
    world.settle_at(RunTime::from_millis(100), true);
    assert_eq!(world.watermark(), (Some(0), Some(0)), "at the end nothing is waited for");
}

#[test]
fn the_watermark_starts_anew_after_an_uncovered_event_and_never_goes_back() {
    let mut world = World::new(1);
    let mut seen = None;
    for (short, watermark) in [
        (vec![], (Some(0), Some(0))),
        (vec![], (Some(0), Some(1))),
        (vec![((New, 0), NETWORK)], (None, Some(2))),
        (vec![], (Some(3), Some(3))),
        (vec![((Old, 1), LOST)], (None, Some(4))),
        (vec![], (Some(5), Some(5))),
        (vec![((Old, 0), AGENT)], (Some(5), Some(6))),
    ] {
        let seq = world.publish(0, &TAKEN);
        world.all_report(0, seq, &short);
        world.settle();
        assert_eq!(world.watermark(), watermark);
        assert!(world.watermark().1 > seen);
        seen = world.watermark().1;
    }
}

#[test]
fn streams_may_settle_out_of_order() {
    let mut world = World::new(2);
    // In the schedule's order: stream 0, 1, 0, 1.
    let seqs = [0, 1, 0, 1].map(|stream| (stream, world.publish(stream, &TAKEN)));
    world.all_report(1, 1, &[((New, 0), LOST)]);
    world.settle();
    assert_eq!(world.watermark(), (None, None), "stream 0's first event comes before");
    assert_eq!(world.coverage.events().trials, 2);
    world.all_report(0, 0, &[]);
    world.settle();
    assert_eq!(world.watermark(), (Some(0), Some(1)), "up to stream 0's second event");
    world.all_report(0, 1, &[]);
    world.settle();
    assert_eq!(world.watermark(), (None, Some(3)), "the last one is uncovered");
    assert_eq!(seqs, [(0, 0), (1, 0), (0, 1), (1, 1)]);
    assert_eq!(world.strata(New), [("private/trigger".to_owned(), 4)]);
}

#[test]
fn one_cluster_alone_is_covered_by_itself() {
    let mut world = World::on(&[New], 1, 2);
    for short in [vec![], vec![((New, 0), LOST)]] {
        let seq = world.publish(0, &[Outcome::Accepted]);
        world.all_report(0, seq, &short);
    }
    world.settle();
    let events = world.coverage.events();
    assert_eq!((events.covered, events.uncovered_total()), (1, 1));
    assert_eq!((world.trials(New), world.trials(Old)), ((2, 0, 1, 0), (0, 0, 0, 0)));
}

#[test]
fn what_was_published_before_a_witness_s_first_confirmation_is_not_owed_to_it() {
    let mut world = World::on(&[New], 1, 2);
    for _ in 0..2 {
        world.publish(0, &[Outcome::Accepted]);
    }
    let owed_from = vec![(StreamIx(0), Seq(1))];
    for witness in [WitnessIx(0), WitnessIx(1)] {
        let settled_below = vec![(StreamIx(0), Seq(2))];
        let owed_from = owed_from.clone();
        let report = WitnessReport { witness, owed_from, settled_below, ..Default::default() };
        world.coverage.handle_witness(New, &report);
    }
    world.settle();
    // Nobody was there for the first: no trial, and not covered either.
    assert_eq!(world.trials(New), (1, 0, 0, 0));
    let events = world.coverage.events();
    assert_eq!((events.covered, events.uncovered_total()), (1, 1));
}

#[test]
fn failures_at_most_ten_seconds_apart_are_one_incident() {
    let mut world = World::new(1);
    for second in 0..40 {
        let seq = world.publish(0, &TAKEN);
        // 0, 10, 20: one. 31, 35: another.
        let fails = [0, 10, 20, 31, 35].contains(&second);
        let short = [((New, 0), LOST)];
        world.all_report(0, seq, if fails { &short } else { &[] });
        world.settle();
    }
    assert_eq!(world.coverage.trials(New).incidents, 2);
    assert_eq!(world.coverage.trials(New).failures(), 5);
}

#[test]
fn lapped_events_are_counted_and_hold_the_watermark() {
    let mut world = World::on(&[New], 1, 1);
    for _ in 0..100_000 {
        world.publish(0, &[Outcome::Accepted]);
    }
    world.report((New, 0), 0, 99_999, &[]);
    world.settle_at(RunTime::ZERO, true);
    assert_eq!(world.coverage.lapped(), 100_000 - 16);
    assert_eq!(world.trials(New), (16, 0, 0, 0));
    assert_eq!(world.watermark(), (None, None), "nobody knows what became of them");
}

#[test]
fn a_gap_that_never_closes_is_given_up_at_last_and_covers_nothing() {
    let mut world = World::on(&[New], 1, 1);
    world.publish(0, &[Outcome::Accepted]);
    world.report((New, 0), 0, 0, &[]);
    world.settle_at(RunTime::ZERO, true);
    assert_eq!(world.watermark(), (Some(0), Some(0)));
    // As if the events before this one had been lapped.
    world.index = UNORDERED_EVENTS_MAX as u64 + 1;
    let last = world.index;
    world.publish(0, &[Outcome::Accepted]);
    world.report((New, 0), 0, 1, &[]);
    world.settle_at(RunTime::ZERO, true);
    assert_eq!(world.watermark(), (None, Some(0)));
    world.publish(0, &[Outcome::Accepted]);
    world.report((New, 0), 0, 2, &[]);
    world.settle_at(RunTime::ZERO, true);
    assert!(world.coverage.order.len() <= UNORDERED_EVENTS_MAX);
    assert_eq!(world.watermark(), (None, Some(0)), "{last}");
}

#[test]
fn what_is_not_in_the_plan_or_the_book_is_ignored() {
    let mut world = World::new(1);
    let seq = world.publish(0, &TAKEN);
    world.report((New, 0), 7, seq, &[(0, LOST)]);
    world.report((New, 9), 0, seq, &[]);
    world.report((New, 0), 0, seq, &[(u64::MAX, LOST), (1, LOST)]);
    world.settle();
    assert_eq!(*world.coverage.events(), Events::default());
}

#[test]
fn incidents_are_the_same_in_whatever_order_failures_come() {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    for seed in 0..500 {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
        let mut instants: Vec<_> =
            (0..rng.random_range(1..30)).map(|_| rng.random_range(0..300)).collect();
        instants.sort_unstable();
        let expected = 1 + instants.windows(2).filter(|pair| pair[1] - pair[0] > 10).count();
        instants.shuffle(&mut rng);
        let mut incidents = Incidents::default();
        for second in instants {
            incidents.note(RunTime::from_millis(second * 1_000));
        }
        assert_eq!(incidents.count(), expected as u64, "seed {seed}");
    }
}

#[test]
fn events_from_before_the_books_begin_are_nobody_s_and_the_watermark_begins_behind_them() {
    let mut world = World::new(2);
    for (stream, first) in [(0, 40), (1, 30)] {
        world.books[stream].iter().for_each(|book| book.begin_at(Seq(first)));
    }
    world.index = 71;
    for (stream, seq) in [(1, 30), (0, 40), (1, 31), (0, 41)] {
        assert_eq!(world.publish(stream, &TAKEN), seq);
        world.all_report(u32::try_from(stream).unwrap(), seq, &[]);
        world.settle();
    }
    assert_eq!((world.coverage.lapped(), world.coverage.events().covered), (0, 4));
    assert_eq!(world.trials(New), (4, 0, 0, 0));
    assert_eq!(world.watermark(), (Some(71), Some(74)));
}

#[test]
fn what_was_lost_where_the_books_begin_is_not_forgotten() {
    let mut world = World::on(&[New], 1, 1);
    world.books[0][0].begin_at(Seq(40));
    world.publish(0, &[Outcome::Accepted]);
    // Before anything was joined.
    world.report((New, 0), 0, 40, &[(40, LOST)]);
    world.settle();
    assert_eq!(world.trials(New), (1, 1, 0, 0));
}

#[test]
fn what_one_witness_may_have_lost_by_another_s_clock_is_no_trial() {
    let mut world = World::new(1);
    for short in [Shortfall::Unsure(BlindCause::Agent), AGENT] {
        let seq = world.publish(0, &TAKEN);
        world.all_report(0, seq, &[((New, 0), short)]);
    }
    world.settle();
    assert_eq!(world.trials(Old), (2, 0, 0, 0));
    assert_eq!(world.trials(New), (1, 0, 0, 0));
    assert_eq!(world.coverage.events().trials, 1);
}

#[test]
fn the_watermark_begins_anew_where_an_uncovered_event_was_before_the_books_begin() {
    let mut world = World::on(&[New], 2, 1);
    world.index = 5;
    let seq = world.publish(0, &[Outcome::Rejected]);
    world.report((New, 0), 0, seq, &[]);
    world.settle();
    world.books[1][0].begin_at(Seq(90));
    world.index = 100;
    let seq = world.publish(1, &[Outcome::Accepted]);
    world.report((New, 0), 1, seq, &[]);
    world.settle();
    assert_eq!(world.watermark(), (Some(100), Some(100)));
}

#[test]
fn an_index_that_no_schedule_reaches_takes_no_room() {
    let mut world = World::on(&[New], 1, 1);
    world.index = 1 << 30;
    world.publish(0, &[Outcome::Accepted]);
    world.report((New, 0), 0, 0, &[]);
    world.settle_at(RunTime::ZERO, true);
    assert!(world.coverage.order.is_empty());
    assert_eq!(world.coverage.events().covered, 1);
}
