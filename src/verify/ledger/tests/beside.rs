//! What is counted beside the obligations.

use super::*;

#[test]
fn every_further_copy_is_a_duplicate_also_across_reconnects() {
    let mut world = World::new();
    let seq = world.accepted(ms(1_000));
    world.copy(seq, ms(1_100));
    world.copy(seq, ms(1_101));
    world.lose(ms(1_200), BlindCause::Close);
    world.subscribe(0, ms(1_300));
    world.copy(seq, ms(1_400));
    // However late.
    world.copy(seq, ms(50_000));
    world.finish();
    assert_eq!(world.beside(), Beside { duplicates: 3, ..nothing() });
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
    let kind = IncidentKind::Duplicate;
    let incidents = [(kind, ms(1_101), Some(0)), (kind, ms(1_400), Some(0))];
    assert_eq!(world.incidents()[..2], incidents);
    let seconds: Vec<_> = world.sum.beside.iter().map(|(s, b)| (*s, b.duplicates)).collect();
    assert_eq!(seconds, [(1, 2), (50, 1)], "in the seconds in which they came");
}

#[test]
fn a_copy_of_a_held_one_is_a_duplicate() {
    let mut world = World::new();
    let seq = world.send(ms(1_000));
    world.copy(seq, ms(1_001));
    world.copy(seq, ms(1_002));
    world.settle(seq, Outcome::Accepted, Some(ms(1_003)));
    world.advance(ms(1_004));
    assert_eq!(world.beside(), Beside { duplicates: 1, ..nothing() });
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
}

/// A cache channel's event, accepted.
fn cached(world: &mut World, at: RunTime) -> u64 {
    let seq = world.send_on(1, at);
    world.books[1].settle(Seq(seq), Outcome::Accepted, Some(at));
    seq
}

#[test]
fn a_replay_settles_nothing_and_is_no_duplicate() {
    let mut world = World::new();
    let first = cached(&mut world, ms(1_000));
    world.copy_of(1, first, 1, ms(1_100));
    world.lose(ms(1_200), BlindCause::Network);
    let missed = cached(&mut world, ms(2_000));
    world.subscribe(1, ms(3_000));
    world.copy_of(1, missed, 1, ms(3_001));
    assert_eq!(world.beside(), Beside { replayed: 1, ..nothing() });
    assert_eq!(world.ledger.pending(), 1, "it settles nothing");
    assert!(!world.books[1].read(Seq(missed)).unwrap().seen);
    world.lose(ms(4_000), BlindCause::Network);
    world.subscribe(1, ms(5_000));
    world.copy_of(1, first, 1, ms(5_001));
    assert_eq!(world.beside(), Beside { replayed: 2, ..nothing() }, "no duplicate");
    world.finish();
    let both = Obligations { total: 2, delivered: 1, missed_offline: 1, ..none() };
    assert_eq!(world.obligations(), both, "and it has no latency: see the check of every call");
}

#[test]
fn only_the_first_event_after_confirming_a_cache_channel_can_be_a_replay() {
    let mut world = World::new();
    let (first, second) = (cached(&mut world, ms(1_000)), cached(&mut world, ms(1_001)));
    world.lose(ms(500), BlindCause::Network);
    world.subscribe(1, ms(2_000));
    world.copy_of(1, first, 1, ms(2_001));
    world.copy_of(1, second, 1, ms(2_002));
    world.copy_of(1, second, 1, ms(2_003));
    assert_eq!(world.beside(), Beside { replayed: 1, duplicates: 1, ..nothing() });
    // What is sent at the confirmation or after it is none.
    world.subscribe(1, ms(3_000));
    let third = cached(&mut world, ms(3_000));
    world.copy_of(1, third, 1, ms(3_001));
    world.finish();
    let all = Obligations { total: 3, delivered: 2, missed_offline: 1, ..none() };
    assert_eq!(world.obligations(), all);
    // A new connection that is lost before it is confirmed expects nothing.
    world.lose(ms(1_000_000), BlindCause::Network);
    world.copy_of(1, third, 1, ms(1_000_001));
    assert_eq!(world.beside(), Beside { replayed: 1, duplicates: 2, ..nothing() });
}

#[test]
fn other_channels_replay_nothing_and_a_rejected_event_that_is_replayed_is_unexpected() {
    let mut world = World::new();
    let seq = world.accepted(ms(1_000));
    world.lose(ms(500), BlindCause::Network);
    world.subscribe(0, ms(2_000));
    world.copy(seq, ms(2_001));
    assert_eq!(world.beside(), nothing());
    let rejected = world.send_on(1, ms(2_500));
    world.books[1].settle(Seq(rejected), Outcome::Rejected, Some(ms(2_501)));
    world.subscribe(1, ms(3_000));
    world.copy_of(1, rejected, 1, ms(3_001));
    assert_eq!(world.beside(), Beside { unexpected: 1, ..nothing() });
}

#[test]
fn a_copy_overtaken_by_an_event_whose_request_began_after_its_answer_is_reordered() {
    let mut world = World::new();
    let first = world.accepted(ms(1_000)); // Answered at 1,010.
    let second = world.accepted(just_after(ms(1_010)));
    world.copy(second, ms(1_100));
    world.copy(first, ms(1_101));
    world.finish();
    assert_eq!(world.beside(), Beside { reordered: 1, ..nothing() });
    assert_eq!(world.incidents(), [(IncidentKind::Reordered, ms(1_101), Some(0))]);
    assert_eq!(world.obligations(), Obligations { total: 2, delivered: 2, ..none() });
}

#[test]
fn overlapping_requests_and_members_of_a_batch_have_no_order() {
    for (second_sent, answered) in [
        (ms(1_010), Some(ms(1_010))), // Begun at the very answer: not after it.
        (ms(1_005), Some(ms(1_010))),
        (ms(1_000), Some(ms(1_010))), // A batch.
        (ms(1_500), None),            // Never answered, or not yet.
    ] {
        let mut world = World::new();
        let first = world.send(ms(1_000));
        world.settle(first, Outcome::Unknown, answered);
        let second = world.accepted(second_sent);
        world.copy(second, ms(1_600));
        world.copy(first, ms(1_601));
        world.finish();
        assert_eq!(world.beside(), Beside { unordered: 1, ..nothing() }, "{second_sent:?}");
        assert_eq!(world.incidents(), []);
    }
}

#[test]
fn only_a_later_event_can_overtake() {
    // The first event's request began last, because its connection had to be made anew; it says
    // nothing about the order of the other two.
    let mut world = World::new();
    let (first, second, third) =
        (world.send(ms(1_900)), world.send(ms(1_000)), world.send(ms(1_001)));
    world.settle(second, Outcome::Accepted, Some(ms(1_010)));
    world.settle(third, Outcome::Accepted, Some(ms(1_011)));
    world.settle(first, Outcome::Accepted, Some(ms(1_910)));
    world.copy(first, ms(2_000));
    world.copy(third, ms(2_001));
    world.copy(second, ms(2_002));
    assert_eq!(world.beside(), Beside { unordered: 1, ..nothing() });
}

#[test]
fn an_event_that_several_overtook_is_reordered_if_one_of_them_began_after_its_answer() {
    let mut world = World::new();
    let first = world.accepted(ms(1_000));
    let second = world.accepted(ms(1_005));
    let third = world.accepted(ms(1_050));
    world.copy(third, ms(1_100));
    world.copy(second, ms(1_101));
    world.copy(first, ms(1_102));
    assert_eq!(world.beside(), Beside { reordered: 2, ..nothing() });
    // Copies in order, further copies and late first copies are no disorder.
    let fourth = world.accepted(ms(1_200));
    world.copy(fourth, ms(1_300));
    world.copy(third, ms(1_301));
    assert_eq!(world.beside(), Beside { reordered: 2, duplicates: 1, ..nothing() });
}

#[test]
fn what_is_no_intact_envelope_is_corrupt_and_no_delivery() {
    let mut world = World::new();
    let seq = world.accepted(ms(1_000));
    let (run, cluster) = (RUN, ClusterRole::New);
    let intact = Envelope { run, cluster, stream: StreamIx(0), seq: Seq(seq), at_us: 1 }.encode(0);
    for text in [None, Some(""), Some("{}"), Some(&*intact.replace(r#""seq":0"#, r#""seq":1"#))] {
        world.text(0, text, ms(1_100));
    }
    // On a channel that the witness never had, too.
    world.text(usize::MAX, None, ms(1_100));
    world.finish();
    assert_eq!(world.beside(), Beside { corrupt: 5, ..nothing() });
    assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() });
    assert!(world.incidents().contains(&(IncidentKind::Corrupt, ms(1_100), None)));
}

#[test]
fn an_envelope_on_another_channel_or_cluster_is_misrouted_and_no_delivery() {
    let mut world = World::new();
    let seq = world.accepted(ms(1_000));
    world.books[2].reserve(0, ms(1_000), false);
    world.copy_of(0, seq, 1, ms(1_100)); // The other channel.
    world.copy_of(0, seq, usize::MAX, ms(1_100)); // None of the witness's.
    world.envelope(RUN, ClusterRole::Old, 0, seq, 0, ms(1_100)); // The other cluster.
    world.copy_of(2, 0, 0, ms(1_100)); // A stream that the witness does not watch.
    world.copy_of(u32::MAX, 0, 0, ms(1_100)); // A stream that there is not.
    world.finish();
    assert_eq!(world.beside(), Beside { misrouted: 5, ..nothing() });
    assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() });
}

#[test]
fn another_run_s_envelopes_are_foreign_wherever_they_come() {
    let mut world = World::new();
    world.accepted(ms(1_000));
    world.envelope(OTHER_RUN, ClusterRole::New, 0, 0, 0, ms(1_100));
    world.envelope(OTHER_RUN, ClusterRole::Old, 9, 0, usize::MAX, ms(1_100));
    world.finish();
    assert_eq!(world.beside(), Beside { foreign: 2, ..nothing() });
    assert_eq!(world.obligations(), Obligations { total: 1, lost: 1, ..none() });
    assert_eq!(world.incidents(), [(IncidentKind::Lost, ms(1_000), Some(0))]);
}

#[test]
fn copies_of_rejected_and_never_published_events_are_unexpected() {
    let mut world = World::new();
    let rejected = world.send(ms(1_000));
    world.settle(rejected, Outcome::Rejected, Some(ms(1_010)));
    world.copy(rejected, ms(1_100));
    world.copy(rejected, ms(1_101));
    world.copy(1, ms(1_102));
    world.copy(u64::MAX, ms(1_103));
    world.copy(u64::MAX >> 8, ms(1_104));
    world.finish();
    assert_eq!(world.beside(), Beside { unexpected: 5, ..nothing() });
    assert_eq!(world.obligations(), Obligations { total: 1, void: 1, ..none() });
    let kind = IncidentKind::Unexpected;
    assert_eq!(world.incidents()[0], (kind, ms(1_100), Some(0)));
}

#[test]
fn whatever_comes_before_the_first_confirmation_breaks_nothing() {
    let mut world = World::unsubscribed();
    world.copy(0, ms(100));
    let rejected = world.send(ms(200));
    world.settle(rejected, Outcome::Rejected, None);
    world.copy(rejected, ms(300));
    assert_eq!(world.beside(), Beside { unexpected: 2, ..nothing() });
    let early = world.send(ms(400));
    world.copy(early, ms(500));
    world.ledger.handle_subscribed(9, ms(600));
    world.subscribe(0, ms(600));
    let owed = world.accepted(ms(700));
    world.copy(owed, ms(800));
    world.finish();
    assert_eq!(world.obligations(), Obligations { total: 1, delivered: 1, ..none() });
}
