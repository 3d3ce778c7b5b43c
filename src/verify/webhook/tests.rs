use super::*;

const OLD: ClusterRole = ClusterRole::Old;
const NEW: ClusterRole = ClusterRole::New;
const LOST_AFTER: Duration = Duration::from_secs(60);

fn told(channel: &str, is_occupied: bool) -> Told {
    let kind = match is_occupied {
        true => WebhookKind::ChannelOccupied,
        false => WebhookKind::ChannelVacated,
    };
    Told { kind, channel: channel.to_owned(), is_own: false }
}

fn listing(name: &str, is_own: bool) -> Listing<'_> {
    Listing { name, is_own, is_due: false }
}

fn occupied() -> Occupied {
    Occupied::new(ClusterRole::ALL, LOST_AFTER)
}

fn at(seconds: u64) -> RunTime {
    RunTime::from_millis(1_000 * seconds)
}

fn told_all(webhooks: &[(u64, &[Told])]) -> WebhookFigures {
    let (mut occupied, mut figures) = (occupied(), WebhookFigures::default());
    for (second, (sent_ms, told)) in (1..).zip(webhooks) {
        figures.add(&occupied.note(OLD, *sent_ms, told, at(second)));
    }
    figures.settle(RunTime::ZERO, at(60));
    figures
}

#[test]
fn an_app_is_empty_from_the_webhook_that_vacates_its_last_channel() {
    let figures = told_all(&[(10, &[told("a", true), told("b", true)]), (20, &[told("a", false)])]);
    assert_eq!((figures.open, figures.empty_for), (1, Duration::ZERO));
    let figures = told_all(&[
        (10, &[told("a", true), told("b", true)]),
        (20, &[told("a", false)]),
        (30, &[told("b", false)]),
    ]);
    assert_eq!((figures.open, figures.empty_for), (0, Duration::from_secs(57)));
    assert_eq!((figures.genuine, figures.occupied, figures.vacated), (3, 2, 2));
    // Nobody told of anybody: nothing changed since the beginning.
    assert_eq!(told_all(&[]).empty_for, Duration::from_secs(60));
}

#[test]
fn webhooks_may_come_twice_and_in_any_order() {
    let occupied = (10, &[told("a", true)][..]);
    let vacated = (20, &[told("a", false)][..]);
    assert_eq!(told_all(&[vacated, occupied]).open, 0);
    assert_eq!(told_all(&[occupied, occupied, vacated, vacated]).open, 0);
    assert_eq!(told_all(&[occupied, vacated, occupied]).open, 0);
    let again = (30, &[told("a", true)][..]);
    assert_eq!(told_all(&[occupied, again, vacated]).open, 1);
    // One webhook has its events in order.
    assert_eq!(told_all(&[(10, &[told("a", true), told("a", false)])]).open, 0);
    assert_eq!(told_all(&[(10, &[told("a", false), told("a", true)])]).open, 1);
}

#[test]
fn a_channel_that_was_occupied_before_anybody_listened_may_be_vacated() {
    let figures = told_all(&[(10, &[told("a", false)])]);
    assert_eq!((figures.open, figures.vacated), (0, 1));
    assert_eq!(figures.empty_for, Duration::from_secs(59), "somebody was there until then");
    let mut occupied = occupied();
    assert_eq!(occupied.list(OLD, [listing("a", false)], at(1)).open, 1);
    assert_eq!(occupied.note(OLD, 10, &[told("a", false)], at(2)).open, 0);
}

#[test]
fn who_does_something_is_there() {
    let event = Told { kind: WebhookKind::ClientEvent, ..told("private-a", true) };
    assert_eq!(told_all(&[(10, &[event])]).empty_for, Duration::from_secs(59));
}

#[test]
fn more_channels_than_can_be_kept_in_mind_are_never_all_empty() {
    let mut occupied = occupied();
    let all: Vec<_> = (0..=CHANNELS_MAX).map(|n| told(&format!("private-{n}"), true)).collect();
    let second = occupied.note(OLD, 1, &all, RunTime::ZERO);
    assert_eq!(second.open, CHANNELS_MAX as u64 + 1);
    let gone: Vec<_> = all.iter().map(|told| self::told(&told.channel, false)).collect();
    assert_eq!(occupied.note(OLD, 2, &gone, RunTime::ZERO).open, 1);
    // Nor is any of their webhooks said to be lost.
    occupied.list(OLD, [listing("private-0", false)], at(1));
    assert_eq!(occupied.list(OLD, [listing("private-0", false)], at(100)).all_lost(), 0);
}

#[test]
fn a_channel_is_vacated_when_both_apps_have_said_so() {
    let mut occupied = occupied();
    let open = |second: WebhookSecond| (second.open, second.open_anywhere);
    assert_eq!(open(occupied.note(OLD, 10, &[told("a", true)], at(1))), (1, 1));
    assert_eq!(open(occupied.note(NEW, 11, &[told("a", true)], at(2))), (1, 1));
    assert_eq!(open(occupied.note(NEW, 12, &[told("b", true)], at(3))), (2, 2));
    assert_eq!(open(occupied.note(OLD, 13, &[told("a", false)], at(4))), (0, 2));
    let shown = |occupied: &Occupied| -> Vec<_> {
        let all = occupied.channels("a", 9).map(|(_, of)| (of[&OLD], of[&NEW]));
        all.collect()
    };
    use Presence::{Occupied as There, Unknown, Vacated};
    assert_eq!(shown(&occupied), [([Vacated, Unknown], [There, Unknown])]);
    occupied.list(NEW, [listing("b", false)], at(5));
    assert_eq!(open(occupied.note(NEW, 14, &[told("a", false)], at(6))), (1, 1));
    assert_eq!(shown(&occupied), [([Vacated, Unknown], [Vacated, Vacated])]);
    let all: Vec<_> = occupied.channels("", 9).map(|(name, _)| name).collect();
    assert_eq!(all, ["a", "b"]);
}

#[test]
fn what_the_api_says_for_long_and_no_webhook_did_was_told_by_one_that_was_lost() {
    let mut occupied = occupied();
    let lost = |second: &WebhookSecond| {
        let ones = second.lost_ones.iter();
        ones.map(|one| (one.kind, one.channel.clone())).collect::<Vec<_>>()
    };
    let (there, gone) = (WebhookKind::ChannelOccupied, WebhookKind::ChannelVacated);
    // Somebody is there from the beginning, and leaves without a webhook.
    assert_eq!(occupied.list(OLD, [listing("a", false)], at(0)).all_lost(), 0);
    let second = occupied.list(OLD, [], at(10));
    assert_eq!((second.all_lost(), second.unsettled), (0, 0), "it may be on its way");
    let second = occupied.list(OLD, [listing("b", false)], at(69));
    assert_eq!((second.all_lost(), second.unsettled), (0, 1));
    let second = occupied.list(OLD, [listing("b", false)], at(70));
    assert_eq!(lost(&second), [(gone, "a".to_owned())]);
    assert_eq!((second.all_lost(), second.unsettled), (1, 1), "of b it is not known yet");
    // It is said once.
    let second = occupied.list(OLD, [listing("b", false)], at(129));
    assert_eq!(lost(&second), [(there, "b".to_owned())]);
    assert_eq!(occupied.list(OLD, [listing("b", false)], at(900)).all_lost(), 0);
    // And again, if it happens again.
    occupied.note(OLD, 20, &[told("a", false), told("b", true)], at(901));
    assert_eq!(occupied.list(OLD, [listing("b", false)], at(902)).unsettled, 0);
    occupied.list(OLD, [], at(910));
    assert_eq!(lost(&occupied.list(OLD, [], at(970))), [(gone, "b".to_owned())]);
}

#[test]
fn a_webhook_that_comes_in_time_settles_it() {
    let mut occupied = occupied();
    occupied.list(NEW, [], at(0));
    occupied.list(NEW, [listing("a", false)], at(10));
    occupied.note(NEW, 5, &[told("a", true)], at(50));
    assert_eq!(occupied.list(NEW, [listing("a", false)], at(100)).all_lost(), 0);
    // Who comes and goes between two readings is not the same one all the time.
    occupied.list(NEW, [], at(110));
    occupied.note(NEW, 6, &[told("a", false)], at(111));
    occupied.note(NEW, 7, &[told("a", true)], at(112));
    let second = occupied.list(NEW, [], at(175));
    assert_eq!((second.all_lost(), second.unsettled), (0, 0));
}

#[test]
fn channels_of_canaries_are_held_against_the_api_and_open_nothing() {
    let mut occupied = occupied();
    let own = Told { is_own: true, ..told("private-pc-82bb3eff-0", true) };
    let second = occupied.note(NEW, 1, &[own], at(1));
    assert_eq!((second.open, second.own, second.occupied), (0, 1, 0));
    occupied.list(
        NEW,
        [listing("private-pc-82bb3eff-0", true), listing("pc-82bb3eff-1", true)],
        at(2),
    );
    let second = occupied.list(NEW, [listing("pc-82bb3eff-1", true)], at(10));
    assert_eq!((second.open, second.open_anywhere), (0, 0));
    assert_eq!(occupied.list(NEW, [listing("pc-82bb3eff-1", true)], at(70)).all_lost(), 1);
    assert_eq!(occupied.channels("", 9).count(), 0);
}

#[test]
fn a_channel_that_was_due_to_be_told_of_is_not_taken_as_told() {
    let mut occupied = occupied();
    let due = || [Listing { is_due: true, ..listing("private-pc-82bb3eff-0", true) }];
    assert_eq!(occupied.list(NEW, due(), at(0)).all_lost(), 0);
    assert_eq!(occupied.list(NEW, due(), at(30)).unsettled, 1);
    assert_eq!(occupied.list(NEW, due(), at(60)).all_lost(), 1);
}

#[test]
fn of_two_webhooks_of_one_instant_the_api_tells_which_is_later() {
    for both in [[true, false], [false, true]] {
        let mut occupied = occupied();
        for is_occupied in both {
            occupied.note(NEW, 7, &[told("a", is_occupied)], at(1));
        }
        assert_eq!(occupied.now(NEW).open, 1, "until then somebody is there");
        let second = occupied.list(NEW, [], at(2));
        assert_eq!((second.open, second.unsettled), (0, 0));
        assert_eq!(occupied.list(NEW, [], at(99)).all_lost(), 0);
    }
}
