//! How obligations end.

use super::*;

#[test]
fn a_copy_up_to_the_deadline_is_delivered_and_one_nanosecond_later_late() {
    for (at, outcome) in [
        (ms(1_000), Obligations { total: 1, delivered: 1, ..none() }),
        (ms(6_000), Obligations { total: 1, delivered: 1, ..none() }),
        (just_after(ms(6_000)), Obligations { total: 1, late: 1, ..none() }),
        (ms(31_000), Obligations { total: 1, late: 1, ..none() }),
    ] {
        for held in [false, true] {
            let mut world = World::new();
            let seq = world.send(ms(1_000));
            if !held {
                world.settle(seq, Outcome::Accepted, Some(ms(1_001)));
            }
            world.copy(seq, at);
            // A copy of what is not answered yet is held.
            assert_eq!(world.ledger.pending(), u64::from(held));
            world.settle(seq, Outcome::Accepted, Some(ms(1_001)));
            world.advance(at);
            assert_eq!(world.obligations(), outcome, "at {at:?}, held: {held}");
            assert_eq!(world.beside(), nothing());
            assert_eq!(world.settled_below, [1, 0, 0]);
            let late = outcome.late == 1;
            assert_eq!(world.sum.late.get(&at.second()).copied(), late.then_some(1));
            let incident = (IncidentKind::Late, ms(1_000), Some(0));
            assert_eq!(world.incidents(), if late { vec![incident] } else { vec![] });
        }
    }
}

#[test]
fn the_horizon_itself_still_belongs_to_the_copy_that_comes_at_it() {
    let horizon = ms(31_000);
    let mut world = World::new();
    let seq = world.accepted(ms(1_000));
    world.heard(horizon);
    world.advance(horizon);
    assert_eq!(world.ledger.pending(), 1, "nothing is decided at the horizon");
    world.copy(seq, horizon);
    assert_eq!(world.obligations(), Obligations { total: 1, late: 1, ..none() });

    let mut world = World::new();
    let seq = world.accepted(ms(1_000));
    world.copy(seq, just_after(horizon));
    assert_eq!(world.beside(), Beside { after_horizon: 1, ..nothing() });
    world.advance(just_after(horizon));
    assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() });
    world.copy(seq, ms(32_000));
    assert_eq!(world.beside(), Beside { after_horizon: 1, duplicates: 1, ..nothing() });
}

#[test]
fn nothing_is_lost_before_the_connection_proved_alive_after_the_deadline() {
    let mut world = World::new();
    world.accepted(ms(1_000));
    world.heard(RunTime(ms(6_000).0 - 1));
    for at in [ms(31_001), ms(60_000), ms(100_000)] {
        world.advance(at);
        assert_eq!((world.ledger.pending(), world.overdue), (1, 1), "{at:?}");
    }
    world.heard(ms(100_001));
    world.advance(ms(100_001));
    assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() });
    assert_eq!(world.shortfalls, [(0, 0, Shortfall::Lost)]);
    assert_eq!(world.incidents(), [(IncidentKind::Lost, ms(1_000), Some(0))]);
    assert_eq!(world.settled_below, [1, 0, 0]);
}

#[test]
fn a_frame_at_the_deadline_is_proof_of_life() {
    let mut world = World::new();
    world.accepted(ms(1_000));
    world.heard(ms(6_000));
    world.advance(ms(31_000));
    assert_eq!(world.ledger.pending(), 1);
    world.advance(just_after(ms(31_000)));
    assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() });
}

#[test]
fn an_obligation_is_overdue_one_nanosecond_past_its_deadline_and_until_a_copy_came() {
    let mut world = World::new();
    let seq = world.send(ms(1_000));
    world.advance(ms(6_000));
    assert_eq!((world.ledger.pending(), world.overdue), (1, 0));
    world.advance(just_after(ms(6_000)));
    assert_eq!((world.ledger.pending(), world.overdue), (1, 1));
    world.copy(seq, ms(7_000));
    world.advance(ms(7_000));
    assert_eq!((world.ledger.pending(), world.overdue), (1, 0), "held until the answer");
    world.settle(seq, Outcome::Accepted, Some(ms(8_000)));
    world.advance(ms(8_000));
    assert_eq!((world.ledger.pending(), world.overdue), (0, 0));
}

#[test]
fn a_break_between_sending_and_the_deadline_makes_a_shortfall_missed_for_its_cause() {
    for cause in BlindCause::ALL {
        // The break covers all of the span, its begin, its middle, its end.
        for (from, until) in [(500, 90_000), (500, 1_001), (2_000, 3_000), (5_999, 40_000)] {
            let mut world = World::new();
            let at_once = from < 1_000;
            if at_once {
                world.lose(ms(from), cause);
            }
            world.accepted(ms(1_000));
            if !at_once {
                world.lose(ms(from), cause);
            }
            world.subscribe(0, ms(until));
            world.finish();
            assert_eq!(world.obligations(), Obligations { total: 1, missed_offline: 1, ..none() });
            assert_eq!(world.shortfalls, [(0, 0, Shortfall::Missed(cause))]);
            assert_eq!(world.sum.missed.clone().into_iter().collect::<Vec<_>>(), [((1, cause), 1)]);
            assert_eq!(world.incidents(), [(IncidentKind::MissedOffline, ms(1_000), Some(0))]);
        }
    }
}

#[test]
fn a_break_before_sending_or_from_the_deadline_on_changes_nothing() {
    for (from, until) in [(200, 1_000), (6_000, 90_000), (7_000, 8_000), (31_000, 90_000)] {
        let mut world = World::new();
        if from < 1_000 {
            world.lose(ms(from), BlindCause::Network);
            world.subscribe(0, ms(until));
        }
        world.accepted(ms(1_000));
        if from > 1_000 {
            world.heard(ms(from));
            world.lose(ms(from), BlindCause::Network);
            world.subscribe(0, ms(until));
        }
        world.finish();
        assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() }, "{from}");
    }
}

#[test]
fn a_witness_that_reconnects_and_gets_it_has_it_delivered_or_late() {
    for (at, outcome) in [
        (ms(5_500), Obligations { total: 1, delivered: 1, ..none() }),
        (ms(9_000), Obligations { total: 1, late: 1, ..none() }),
    ] {
        let mut world = World::new();
        world.lose(ms(500), BlindCause::Close);
        let seq = world.accepted(ms(1_000));
        world.subscribe(0, ms(4_000));
        world.copy(seq, at);
        world.finish();
        assert_eq!(world.obligations(), outcome);
        assert_eq!(world.beside(), nothing());
    }
}

#[test]
fn a_half_open_connection_was_blind_from_its_last_frame_on() {
    let mut world = World::new();
    world.heard(ms(2_000));
    world.accepted(ms(1_000));
    world.accepted(ms(10_000));
    // Found dead only after the horizon of both.
    world.advance(ms(45_000));
    assert_eq!(world.ledger.pending(), 2);
    world.lose(ms(2_000), BlindCause::Network);
    world.advance(ms(45_001));
    assert_eq!(world.obligations(), Obligations { total: 2, missed_offline: 2, ..none() });

    // Had the last frame come at the first one's deadline, that one would be lost.
    let mut world = World::new();
    world.accepted(ms(1_000));
    world.accepted(ms(10_000));
    world.heard(ms(6_000));
    world.lose(ms(6_000), BlindCause::Network);
    world.advance(ms(45_000));
    let both = Obligations { total: 2, lost: 1, missed_offline: 1, ..none() };
    assert_eq!(world.obligations(), both);
    let network = Shortfall::Missed(BlindCause::Network);
    assert_eq!(world.shortfalls, [(0, 0, Shortfall::Lost), (0, 1, network)]);
}

#[test]
fn a_window_goes_on_with_its_first_cause_until_the_channel_is_confirmed_again() {
    let mut world = World::new();
    world.lose(ms(500), BlindCause::Close);
    world.accepted(ms(1_000));
    world.lose(ms(1_500), BlindCause::Network);
    // Only the other channel is confirmed.
    world.subscribe(1, ms(2_000));
    world.finish();
    assert_eq!(world.shortfalls, [(0, 0, Shortfall::Missed(BlindCause::Close))]);
}

#[test]
fn the_agent_s_own_window_is_not_its_doing_any_more_once_a_reconnect_failed() {
    let (agent, network) = (BlindCause::Agent, BlindCause::Network);
    let mut world = World::new();
    world.lose(ms(500), agent);
    world.accepted(ms(1_000));
    world.lose(ms(500), network);
    world.lose(ms(500), BlindCause::Close);
    world.subscribe(0, ms(8_000));
    world.finish();
    assert_eq!(world.shortfalls, [(0, 0, Shortfall::Missed(network))]);

    // Nor if it has not reconnected by the time of judgement.
    let judged = just_after(ms(31_000));
    for (confirmed, cause) in [(Some(ms(31_000)), agent), (None, network)] {
        let mut world = World::new();
        world.lose(ms(500), agent);
        world.accepted(ms(1_000));
        if let Some(confirmed) = confirmed {
            world.subscribe(0, confirmed);
        }
        world.advance(judged);
        assert_eq!(world.shortfalls, [(0, 0, Shortfall::Missed(cause))]);
    }
}

#[test]
fn of_several_breaks_one_that_is_not_the_agent_s_doing_is_the_cause() {
    let mut world = World::new();
    world.lose(ms(500), BlindCause::Agent);
    world.accepted(ms(1_000));
    world.subscribe(0, ms(1_100));
    world.lose(ms(2_000), BlindCause::Close);
    world.subscribe(0, ms(2_100));
    world.lose(ms(3_000), BlindCause::Network);
    world.subscribe(0, ms(3_100));
    world.finish();
    assert_eq!(world.shortfalls, [(0, 0, Shortfall::Missed(BlindCause::Close))]);
}

#[test]
fn a_reconnect_on_purpose_explains_nothing_before_the_connection_has_proved_alive_since() {
    let horizon = just_after(ms(1_000).after(HORIZON));
    // The agent leaves, and is back long before the deadline; then nothing is heard any more.
    let left = || {
        let mut world = World::new();
        world.accepted(ms(1_000));
        world.lose(ms(1_100), BlindCause::Agent);
        world.subscribe(0, ms(1_200));
        world.advance(horizon);
        assert_eq!(world.shortfalls, []);
        world
    };
    let mut dead = left();
    dead.lose(ms(1_200), BlindCause::Network);
    dead.advance(just_after(horizon));
    assert_eq!(dead.shortfalls, [(0, 0, Shortfall::Missed(BlindCause::Network))]);
    let mut alive = left();
    alive.heard(ms(6_000));
    alive.advance(just_after(horizon));
    assert_eq!(alive.shortfalls, [(0, 0, Shortfall::Missed(BlindCause::Agent))]);
}

#[test]
fn a_rejected_publication_is_void_for_everyone() {
    let mut world = World::new();
    let seq = world.send(ms(1_000));
    world.settle(seq, Outcome::Rejected, Some(ms(1_010)));
    world.advance(ms(1_020));
    assert_eq!(world.obligations(), Obligations { total: 1, void: 1, ..none() });
    assert_eq!((world.settled_below, world.shortfalls.len()), ([1, 0, 0], 0));
}

#[test]
fn an_unknown_publication_is_undecided_until_it_is_void_or_recovered() {
    let mut world = World::new();
    let (void, recovered) = (world.send(ms(1_000)), world.send(ms(1_000)));
    world.settle(void, Outcome::Unknown, None);
    world.settle(recovered, Outcome::Unknown, None);
    world.heard(ms(40_000));
    world.advance(ms(40_000));
    assert_eq!(world.ledger.pending(), 2);
    world.settle(void, Outcome::Void, None);
    world.advance(ms(40_001));
    assert_eq!(world.obligations(), Obligations { total: 2, void: 1, ..none() });
    // Another witness got it: owed like an accepted one.
    world.settle(recovered, Outcome::Recovered, None);
    world.advance(ms(40_002));
    assert_eq!(world.obligations(), Obligations { total: 2, void: 1, lost: 1, ..none() });
}

#[test]
fn whoever_gets_an_unknown_publication_marks_it_seen_and_has_it_delivered_at_once() {
    let mut world = World::new();
    let seq = world.send(ms(1_000));
    world.settle(seq, Outcome::Unknown, None);
    assert!(!world.books[0].read(Seq(seq)).unwrap().seen);
    world.copy(seq, ms(1_500));
    assert!(world.books[0].read(Seq(seq)).unwrap().seen);
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
    world.settle(seq, Outcome::Recovered, None);
    world.finish();
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
}

#[test]
fn a_copy_after_the_horizon_recovers_nothing() {
    let mut world = World::new();
    let seq = world.send(ms(1_000));
    world.settle(seq, Outcome::Unknown, None);
    world.copy(seq, just_after(ms(31_000)));
    assert!(!world.books[0].read(Seq(seq)).unwrap().seen);
    world.settle(seq, Outcome::Void, None);
    world.finish();
    assert_eq!(world.obligations(), Obligations { total: 1, void: 1, ..none() });
    assert_eq!(world.beside(), Beside { after_horizon: 1, ..nothing() });
}

#[test]
fn a_held_copy_ends_as_the_answer_says() {
    let delivered = Obligations { total: 1, delivered: 1, ..none() };
    let void = Obligations { total: 1, void: 1, ..none() };
    for (answer, outcome, unexpected) in [
        (Outcome::Accepted, delivered, 0),
        (Outcome::Unknown, delivered, 0),
        // The publisher gave it up in the moment in which it was seen: it did arrive.
        (Outcome::Void, delivered, 0),
        (Outcome::Rejected, void, 1),
    ] {
        let mut world = World::new();
        let seq = world.send(ms(1_000));
        world.copy(seq, ms(1_005));
        world.advance(ms(40_000));
        assert_eq!(world.ledger.pending(), 1, "no answer yet");
        world.settle(seq, answer, Some(ms(1_010)));
        world.advance(ms(40_001));
        assert_eq!(world.obligations(), outcome, "{answer:?}");
        assert_eq!(world.beside(), Beside { unexpected, ..nothing() });
        let expected = [(IncidentKind::Unexpected, ms(1_005), Some(0))];
        assert_eq!(world.incidents(), &expected[..unexpected as usize]);
    }
}

#[test]
fn an_unsent_event_is_no_obligation() {
    let mut world = World::new();
    world.accepted(ms(1_000));
    let unsent = world.books[0].reserve(1, ms(1_100), true).0;
    let third = world.accepted(ms(1_200));
    world.copy(0, ms(1_050));
    world.copy(third, ms(1_250));
    world.advance(ms(1_300));
    assert_eq!(world.obligations(), Obligations { total: 2, delivered: 2, ..none() });
    assert_eq!(world.settled_below, [3, 0, 0]);
    world.copy(unsent, ms(1_400));
    assert_eq!(world.beside(), Beside { unexpected: 1, ..nothing() });
}

#[test]
fn what_is_overdue_is_explained_by_a_reconnect_on_purpose_and_by_no_other() {
    for (cause, unexplained) in [(BlindCause::Agent, 0), (BlindCause::Network, 1)] {
        let mut world = World::new();
        world.lose(ms(1_000), cause);
        world.accepted(ms(1_010));
        world.subscribe(0, ms(1_050));
        let overdue = ms(1_010).after(DEADLINE + Duration::from_millis(10));
        world.advance(overdue);
        assert_eq!((world.overdue, world.unexplained), (1, unexplained), "{cause:?}");
    }
}

#[test]
fn obligations_begin_with_the_first_confirmation_of_their_channel() {
    let mut world = World::unsubscribed();
    world.accepted(ms(1_000));
    world.send_on(1, ms(1_000));
    world.advance(ms(1_500));
    // Before its first confirmation a witness owns nothing, not even what reaches it.
    world.copy(0, ms(1_600));
    world.lose(ms(1_700), BlindCause::Network);
    world.advance(ms(1_800));
    assert_eq!(world.obligations(), none());
    // Nor does what others got of it wait for it.
    assert_eq!(world.settled_below, [1, 1, 0]);
    world.subscribe(0, ms(2_000));
    assert_eq!(world.owed_from.last(), Some(&(StreamIx(0), Seq(1))));
    let second = world.accepted(ms(2_000));
    world.copy(0, ms(2_100));
    world.copy(second, ms(2_100));
    world.finish();
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
    assert_eq!(world.beside(), Beside { after_horizon: 2, ..nothing() });
    assert_eq!(world.settled_below, [2, 1, 0]);
    // The other channel's begin later, and a second confirmation begins nothing anew.
    world.subscribe(1, ms(1_000_001));
    world.subscribe(0, ms(1_000_002));
    assert!(world.owed_from.ends_with(&[(StreamIx(0), Seq(1)), (StreamIx(1), Seq(1))]));
}

#[test]
fn every_stratum_is_counted_by_itself() {
    let mut world = World::new();
    let seq = world.accepted(ms(1_000));
    world.copy(seq, ms(1_100));
    world.send_on(1, ms(1_000));
    world.books[1].settle(Seq(0), Outcome::Accepted, Some(ms(1_010)));
    world.finish();
    let strata: Vec<_> = world.sum.strata.iter().map(|(s, (o, _))| (*s, *o)).collect();
    let private =
        Stratum { kind: ChannelKind::Private, route: Route::Trigger, epoch: Epoch::First };
    let cache =
        Stratum { kind: ChannelKind::PrivateCache, route: Route::Batch, epoch: Epoch::First };
    assert_eq!(
        strata,
        [
            (private, Obligations { total: 1, delivered: 1, ..none() }),
            (cache, Obligations { total: 1, lost: 1, ..none() }),
        ]
    );
}

#[test]
fn a_lapped_publication_is_void_and_the_agent_s_fault() {
    let mut world = World::new();
    for at in 0..17 {
        world.send(ms(1_000 + at));
    }
    world.advance(ms(2_000));
    assert_eq!(world.sum.lapped, 1);
    assert_eq!(world.obligations(), Obligations { total: 17, void: 1, ..none() });
    // Nobody can say what its copies are.
    world.copy(0, ms(2_100));
    assert_eq!(world.beside(), Beside { after_horizon: 1, ..nothing() });
}

#[test]
fn entries_are_forgotten_with_their_slots_and_nothing_else_is() {
    let mut world = World::new();
    for at in 0..100 {
        let sent = ms(1_000 + 10 * at);
        let seq = world.accepted(sent);
        world.copy(seq, sent);
        world.advance(sent);
    }
    assert_eq!(world.obligations(), Obligations { total: 100, delivered: 100, ..none() });
    assert_eq!(world.ledger.streams[0].entries.len(), 16);
    world.copy(99, ms(3_000));
    world.copy(84, ms(3_000));
    assert_eq!(world.beside(), Beside { duplicates: 2, ..nothing() });
}

#[test]
fn windows_are_bounded_and_the_oldest_are_joined() {
    let mut world = World::new();
    let seen = world.accepted(ms(100));
    for n in 0..=WINDOWS_MAX as u64 {
        world.lose(ms(1_000 + 10 * n), BlindCause::Network);
        world.subscribe(0, ms(1_005 + 10 * n));
    }
    assert_eq!(world.ledger.channels[0].windows.len(), WINDOWS_MAX);
    let during = world.accepted(ms(1_006));
    world.copy(seen, ms(2_000));
    world.finish();
    assert_eq!(world.shortfalls, [(0, during, Shortfall::Missed(BlindCause::Network))]);
    assert!(world.ledger.channels[0].windows.is_empty(), "and forgotten when nobody asks any more");
}

#[test]
fn a_window_that_is_joined_keeps_a_cause_that_is_not_the_agent_s_doing() {
    let mut world = World::new();
    world.lose(ms(1_000), BlindCause::Close);
    world.accepted(ms(1_001));
    world.subscribe(0, ms(1_005));
    for n in 1..=WINDOWS_MAX as u64 {
        world.lose(ms(10_000 + 10 * n), BlindCause::Agent);
        world.subscribe(0, ms(10_005 + 10 * n));
    }
    world.finish();
    assert_eq!(world.shortfalls, [(0, 0, Shortfall::Missed(BlindCause::Close))]);
}

/// A ledger whose book was asked for 20 publications and has room for 32, after so many of them, of
/// which the first one came or did not.
fn after(publications: u64, has_first: bool) -> Ledger {
    let book = Arc::new(Book::new(20));
    let (stream, route) = (StreamIx(0), Route::Trigger);
    let spec = StreamSpec { stream, channel: 0, route, book: Arc::clone(&book) };
    let config = Config {
        run: RUN,
        cluster: ClusterRole::New,
        witness: WitnessIx(0),
        deadline: DEADLINE,
        horizon: HORIZON,
        follows: false,
    };
    let mut ledger = Ledger::new(config, &[ChannelKind::Private], vec![spec]);
    ledger.handle_subscribed(0, ms(0));
    for n in 0..publications {
        let at = ms(100 + n);
        let seq = book.reserve(n, at, false);
        book.stamp_sent(seq, at, false);
        book.settle(seq, Outcome::Accepted, Some(at));
        if n > 0 || has_first {
            ledger.handle_envelope(0, Some(copy_of(n)), at);
        }
        ledger.advance(at);
    }
    ledger
}

fn copy_of(seq: u64) -> Envelope {
    let (cluster, stream) = (ClusterRole::New, StreamIx(0));
    Envelope { run: RUN, cluster, stream, seq: Seq(seq), at_us: 0 }
}

#[test]
fn of_what_has_ended_as_much_is_kept_as_the_book_was_asked_for_and_no_more_room_is_taken() {
    let mut ledger = after(50, true);
    let entries = &ledger.streams[0].entries;
    assert_eq!((entries.len(), entries.capacity()), (20, 20));
    assert_eq!(Ledger::bytes(20), 20 * 16);
    // A further copy is one as long as the entry is kept; of what is gone it came past everything.
    ledger.handle_envelope(0, Some(copy_of(30)), ms(200));
    ledger.handle_envelope(0, Some(copy_of(29)), ms(200));
    let beside = ledger.take_report().tally.beside[&0];
    assert_eq!((beside.duplicates, beside.after_horizon), (1, 1));
}

#[test]
fn what_is_open_is_kept_with_all_that_came_after_it() {
    let ledger = after(30, false);
    assert_eq!((ledger.streams[0].entries.len(), ledger.pending()), (30, 1));
}
