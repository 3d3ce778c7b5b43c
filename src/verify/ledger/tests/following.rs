//! Of what another process publishes the books come behind the deliveries, and by another clock.

use super::*;

/// A witness that was subscribed at once, of what another process publishes.
fn following() -> World {
    let mut world = World::with(true);
    world.subscribe(0, ms(0));
    world.subscribe(1, ms(0));
    world
}

impl World {
    /// It is told of stream 0's next event: sent at this instant and accepted after 10 ms.
    fn told(&mut self, sent: RunTime) {
        self.accepted(sent);
    }
}

#[test]
fn a_copy_waits_until_it_is_told_what_it_is_of() {
    let mut world = following();
    world.copy(0, ms(1_100));
    world.advance(ms(1_500));
    assert_eq!((world.obligations(), world.beside()), (none(), nothing()));
    world.told(ms(1_090));
    // It came long ago, however late it is told.
    world.heard(ms(90_000));
    world.advance(ms(90_000));
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
    world.copy(0, ms(90_100));
    world.advance(ms(90_100));
    assert_eq!(world.beside(), Beside { duplicates: 1, ..nothing() });
}

#[test]
fn what_comes_after_the_deadline_is_delivered_and_what_does_not_come_by_the_horizon_is_lost() {
    let mut world = following();
    for sent in [0, 10, 20] {
        world.told(ms(sent));
    }
    world.copy(0, ms(29_000));
    world.heard(ms(30_020));
    world.advance(ms(30_020));
    let two = Obligations { total: 3, delivered: 1, lost: 1, ..none() };
    assert_eq!((world.obligations(), world.ledger.pending()), (two, 1), "the third may yet come");
    world.copy(2, just_after(ms(30_020)));
    world.finish();
    assert_eq!(world.obligations(), Obligations { lost: 2, ..two });
    assert_eq!(world.beside(), Beside { after_horizon: 1, ..nothing() });
}

#[test]
fn order_is_that_of_coming_and_not_that_of_being_told() {
    let mut world = following();
    world.copy(1, ms(1_000));
    world.copy(0, ms(1_001));
    // The second was sent when the first had been answered.
    world.told(ms(900));
    world.advance(ms(2_000));
    assert_eq!(world.obligations(), Obligations { total: 1, ..none() }, "it waits for the other");
    world.told(ms(950));
    world.advance(ms(3_000));
    assert_eq!(world.obligations(), Obligations { total: 2, delivered: 2, ..none() });
    assert_eq!(world.beside(), Beside { reordered: 1, ..nothing() });
}

#[test]
fn what_came_is_not_lost_because_it_waits_for_another() {
    let mut world = following();
    world.copy(1, ms(1_000));
    world.copy(0, ms(1_001));
    world.told(ms(900));
    world.heard(ms(60_000));
    world.advance(ms(60_000));
    assert_eq!(world.ledger.pending(), 1);
    world.told(ms(900));
    world.finish();
    assert_eq!(world.obligations(), Obligations { total: 2, delivered: 2, ..none() });
}

#[test]
fn nothing_is_owed_of_what_was_published_before_the_book_begins() {
    let mut world = following();
    world.copy(3, ms(100));
    world.copy(5, ms(200));
    world.books[0].begin_at(Seq(5));
    world.told(ms(190));
    world.advance(ms(300));
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
    assert_eq!(world.beside(), Beside { after_horizon: 1, ..nothing() });
    assert_eq!(world.owed_from.last(), Some(&(StreamIx(0), Seq(5))));
    assert_eq!(world.settled_below[0], 6);
}

#[test]
fn a_witness_that_was_blind_a_moment_before_or_after_by_its_own_clock_calls_nothing_lost() {
    for (sent, lost, seen) in [(5_000, 4_000, 4_100), (5_000, 10_900, 11_000)] {
        let mut world = following();
        world.lose(ms(lost), BlindCause::Network);
        world.subscribe(0, ms(seen));
        world.subscribe(1, ms(seen));
        world.told(ms(sent));
        world.finish();
        let missed = Obligations { total: 1, missed_offline: 1, ..none() };
        assert_eq!(world.obligations(), missed, "{lost}");
        // Nor is it proof of anything.
        assert_eq!(world.shortfalls, [(0, 0, Shortfall::Unsure(BlindCause::Network))]);
        // By its own clock it is certain.
        let mut world = World::new();
        world.lose(ms(lost), BlindCause::Network);
        world.subscribe(0, ms(seen));
        world.subscribe(1, ms(seen));
        world.told(ms(sent));
        world.finish();
        assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() }, "{lost}");
    }
}

#[test]
fn what_was_sent_before_a_reconnect_is_not_tried_on_the_later_connection() {
    let mut world = following();
    world.lose(ms(10_000), BlindCause::Agent);
    world.subscribe(0, ms(10_100));
    world.subscribe(1, ms(10_100));
    for (seq, sent) in [(0, 9_000), (1, 11_000), (2, 11_101)] {
        world.copy(seq, ms(sent + 5));
        world.told(ms(sent));
    }
    world.advance(ms(13_000));
    let of = |epoch| {
        let strata = world.sum.strata.iter().filter(|(stratum, _)| stratum.epoch == epoch);
        strata.map(|(_, (obligations, _))| obligations.delivered).sum::<u64>()
    };
    assert_eq!((of(Epoch::First), of(Epoch::Again)), (2, 1));
}

#[test]
fn more_copies_than_a_book_holds_are_a_fault_of_the_agent() {
    let mut world = following();
    for seq in 0..17 {
        world.copy(seq, ms(seq));
    }
    assert_eq!(world.sum.lapped, 1);
}

#[test]
fn one_that_is_far_ahead_keeps_nobody_waiting() {
    let mut world = following();
    world.told(ms(100));
    world.copy(1 << 40, ms(101));
    world.copy(0, ms(102));
    world.advance(ms(1_000));
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
    assert_eq!(world.sum.lapped, 1, "and the instrument says so");
}

#[test]
fn what_came_is_not_void_because_it_waits_for_another() {
    let mut world = following();
    world.copy(1, ms(1_000));
    world.copy(0, ms(1_001));
    let seq = world.send(ms(900));
    world.settle(seq, Outcome::Unknown, None);
    world.settle(seq, Outcome::Void, None);
    world.advance(ms(60_000));
    assert_eq!(world.ledger.pending(), 1);
    world.told(ms(901));
    world.finish();
    assert_eq!(world.obligations(), Obligations { total: 2, delivered: 2, ..none() });
}

#[test]
fn a_replay_of_what_was_sent_just_before_is_one_by_either_clock() {
    let mut world = following();
    world.copy_of(1, 0, 1, ms(9_000));
    world.lose(ms(10_000), BlindCause::Agent);
    world.subscribe(0, ms(10_100));
    world.subscribe(1, ms(10_100));
    world.copy_of(1, 0, 1, ms(10_101));
    // By the publisher's clock it was sent when it was replayed.
    let seq = world.send_on(1, ms(10_150));
    world.books[1].settle(Seq(seq), Outcome::Accepted, None);
    world.advance(ms(12_000));
    assert_eq!(world.beside(), Beside { replayed: 1, ..nothing() });
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
}
