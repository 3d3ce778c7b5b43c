use super::*;
use crate::verify::webhook::WebhookFigures;

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

/// The run began at midnight in 1970.
fn now(seconds: u64) -> Moment {
    Moment { at: at(seconds), wall_ms: 1_000 * seconds }
}

fn told_all(webhooks: &[(u64, &[Told])]) -> WebhookFigures {
    let (mut occupied, mut figures) = (occupied(), WebhookFigures::default());
    for (second, (sent_ms, told)) in (1..).zip(webhooks) {
        figures.add(&occupied.note(OLD, *sent_ms, told, now(second)));
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
    assert_eq!(occupied.list(OLD, [listing("a", false)], now(1)).open, 1);
    assert_eq!(occupied.note(OLD, 10, &[told("a", false)], now(2)).open, 0);
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
    let second = occupied.note(OLD, 1, &all, now(0));
    assert_eq!(second.open, CHANNELS_MAX as u64 + 1);
    let gone: Vec<_> = all.iter().map(|told| self::told(&told.channel, false)).collect();
    assert_eq!(occupied.note(OLD, 2, &gone, now(0)).open, 1);
    // Nor is any of their webhooks said to be lost.
    occupied.list(OLD, [listing("private-0", false)], now(1));
    assert_eq!(occupied.list(OLD, [listing("private-0", false)], now(100)).found_lost.len(), 0);
}

#[test]
fn a_channel_is_vacated_when_both_apps_have_said_so() {
    let mut occupied = occupied();
    let open = |second: WebhookSecond| (second.open, second.open_anywhere);
    assert_eq!(open(occupied.note(OLD, 10, &[told("a", true)], now(1))), (1, 1));
    assert_eq!(open(occupied.note(NEW, 11, &[told("a", true)], now(2))), (1, 1));
    assert_eq!(open(occupied.note(NEW, 12, &[told("b", true)], now(3))), (2, 2));
    assert_eq!(open(occupied.note(OLD, 13, &[told("a", false)], now(4))), (0, 2));
    let shown = |occupied: &Occupied| -> Vec<_> {
        let all = occupied.channels("a", 9).map(|(_, of)| (of[&OLD], of[&NEW]));
        all.collect()
    };
    use Presence::{Occupied as There, Unknown, Vacated};
    assert_eq!(shown(&occupied), [([Vacated, Unknown], [There, Unknown])]);
    occupied.list(NEW, [listing("b", false)], now(5));
    assert_eq!(open(occupied.note(NEW, 14, &[told("a", false)], now(6))), (1, 1));
    assert_eq!(shown(&occupied), [([Vacated, Unknown], [Vacated, Vacated])]);
    let all: Vec<_> = occupied.channels("", 9).map(|(name, _)| name).collect();
    assert_eq!(all, ["a", "b"]);
}

#[test]
fn what_the_api_says_for_long_and_no_webhook_did_was_told_by_one_that_was_lost() {
    let mut occupied = occupied();
    let lost = |second: &WebhookSecond| {
        let ones = second.found_lost.iter();
        ones.map(|one| (one.kind, one.channel.clone())).collect::<Vec<_>>()
    };
    let (there, gone) = (WebhookKind::ChannelOccupied, WebhookKind::ChannelVacated);
    // Somebody is there from the beginning, and leaves without a webhook.
    assert_eq!(occupied.list(OLD, [listing("a", false)], now(0)).found_lost.len(), 0);
    let second = occupied.list(OLD, [], now(10));
    assert_eq!((second.found_lost.len(), second.unsettled), (0, 0), "it may be on its way");
    let second = occupied.list(OLD, [listing("b", false)], now(69));
    assert_eq!((second.found_lost.len(), second.unsettled), (0, 1));
    let second = occupied.list(OLD, [listing("b", false)], now(70));
    assert_eq!(lost(&second), [(gone, "a".to_owned())]);
    assert_eq!((second.found_lost.len(), second.unsettled), (1, 1), "of b it is not known yet");
    // It is said once.
    let second = occupied.list(OLD, [listing("b", false)], now(129));
    assert_eq!(lost(&second), [(there, "b".to_owned())]);
    assert_eq!(occupied.list(OLD, [listing("b", false)], now(900)).found_lost.len(), 0);
    // And again, if it happens again.
    occupied.note(OLD, 20, &[told("a", false), told("b", true)], now(901));
    assert_eq!(occupied.list(OLD, [listing("b", false)], now(902)).unsettled, 0);
    occupied.list(OLD, [], now(910));
    assert_eq!(lost(&occupied.list(OLD, [], now(970))), [(gone, "b".to_owned())]);
}

#[test]
fn a_webhook_that_comes_in_time_settles_it() {
    let mut occupied = occupied();
    occupied.list(NEW, [], now(0));
    occupied.list(NEW, [listing("a", false)], now(10));
    occupied.note(NEW, 5, &[told("a", true)], now(50));
    assert_eq!(occupied.list(NEW, [listing("a", false)], now(100)).found_lost.len(), 0);
    // Who comes and goes between two readings is not the same one all the time.
    occupied.list(NEW, [], now(110));
    occupied.note(NEW, 6, &[told("a", false)], now(111));
    occupied.note(NEW, 7, &[told("a", true)], now(112));
    let second = occupied.list(NEW, [], now(175));
    assert_eq!((second.found_lost.len(), second.unsettled), (0, 0));
}

#[test]
fn channels_of_canaries_are_held_against_the_api_and_open_nothing() {
    let mut occupied = occupied();
    let own = Told { is_own: true, ..told("private-pc-82bb3eff-0", true) };
    let second = occupied.note(NEW, 1, &[own], now(1));
    assert_eq!((second.open, second.own, second.occupied), (0, 1, 0));
    occupied.list(
        NEW,
        [listing("private-pc-82bb3eff-0", true), listing("pc-82bb3eff-1", true)],
        now(2),
    );
    let second = occupied.list(NEW, [listing("pc-82bb3eff-1", true)], now(10));
    assert_eq!((second.open, second.open_anywhere), (0, 0));
    assert_eq!(occupied.list(NEW, [listing("pc-82bb3eff-1", true)], now(70)).found_lost.len(), 1);
    assert_eq!(occupied.channels("", 9).count(), 0);
}

#[test]
fn a_channel_that_was_due_to_be_told_of_is_not_taken_as_told() {
    let mut occupied = occupied();
    let due = || [Listing { is_due: true, ..listing("private-pc-82bb3eff-0", true) }];
    assert_eq!(occupied.list(NEW, due(), now(0)).found_lost.len(), 0);
    assert_eq!(occupied.list(NEW, due(), now(30)).unsettled, 1);
    assert_eq!(occupied.list(NEW, due(), now(60)).found_lost.len(), 1);
}

#[test]
fn of_two_webhooks_of_one_instant_the_api_tells_which_is_later() {
    for both in [[true, false], [false, true]] {
        let mut occupied = occupied();
        for is_occupied in both {
            occupied.note(NEW, 7, &[told("a", is_occupied)], now(1));
        }
        assert_eq!(occupied.now(NEW).open, 1, "until then somebody is there");
        let second = occupied.list(NEW, [], now(2));
        assert_eq!((second.open, second.unsettled), (0, 0));
        assert_eq!(occupied.list(NEW, [], now(99)).found_lost.len(), 0);
    }
}

fn lost(second: &WebhookSecond) -> Vec<(WebhookKind, RangeInclusive<RunTime>)> {
    second.found_lost.iter().map(|lost| (lost.kind, lost.between.clone())).collect()
}

#[test]
fn a_channel_that_is_occupied_again_does_not_hide_that_it_was_vacated_without_a_webhook() {
    let there = || [listing("a", false)];
    let seen = |late: Option<u64>| {
        let mut occupied = occupied();
        occupied.list(OLD, [], now(0));
        occupied.note(OLD, 1_000, &[told("a", true)], now(1));
        occupied.list(OLD, [], now(15));
        occupied.note(OLD, 20_000, &[told("a", true)], now(20));
        assert_eq!(occupied.list(OLD, there(), now(30)).unsettled, 1);
        if let Some(sent_ms) = late {
            occupied.note(OLD, sent_ms, &[told("a", false)], now(40));
        }
        assert!(occupied.list(OLD, there(), now(79)).found_lost.is_empty());
        lost(&occupied.list(OLD, there(), now(80)))
    };
    assert_eq!(seen(None), [(WebhookKind::ChannelVacated, at(0)..=at(15))]);
    assert_eq!(seen(Some(14_000)), [], "it came late, and was sent then");
    assert_eq!(seen(Some(900)).len(), 1, "that one is of something else");
}

#[test]
fn what_an_api_shows_for_a_while_was_due_to_be_told_twice() {
    let there = || [listing("a", false)];
    let mut occupied = occupied();
    occupied.list(NEW, there(), now(0));
    occupied.list(NEW, [], now(15));
    occupied.list(NEW, [], now(30));
    assert_eq!(occupied.list(NEW, there(), now(45)).unsettled, 2);
    let second = occupied.list(NEW, there(), now(105));
    let (gone, back) = (WebhookKind::ChannelVacated, WebhookKind::ChannelOccupied);
    assert_eq!(lost(&second), [(gone, at(0)..=at(15)), (back, at(30)..=at(45))]);
    assert_eq!(second.unsettled, 0);
    assert_eq!(lost(&occupied.list(NEW, there(), now(500))), [], "it is said once");
    // What was said to be lost for being gone for long is to be told of when it is back.
    occupied.list(NEW, [], now(515));
    assert_eq!(lost(&occupied.list(NEW, [], now(575))), [(gone, at(500)..=at(515))]);
    occupied.list(NEW, there(), now(590));
    assert_eq!(lost(&occupied.list(NEW, there(), now(650))), [(back, at(575)..=at(590))]);
}

#[test]
fn webhooks_of_a_while_that_is_over_may_come_late() {
    let there = || [listing("a", false)];
    let mut occupied = occupied();
    occupied.list(NEW, there(), now(0));
    occupied.list(NEW, [], now(15));
    occupied.list(NEW, [], now(30));
    occupied.list(NEW, there(), now(45));
    // The later of them comes first.
    occupied.note(NEW, 42_000, &[told("a", true)], now(50));
    occupied.note(NEW, 14_000, &[told("a", false)], now(51));
    let second = occupied.list(NEW, there(), now(400));
    assert_eq!((lost(&second), second.unsettled), (vec![], 0));
    // An app's clock may be ahead.
    let mut occupied = self::occupied();
    occupied.note(NEW, 400_000, &[told("b", false)], now(1));
    occupied.list(NEW, there(), now(2));
    occupied.list(NEW, [], now(15));
    occupied.list(NEW, [], now(30));
    occupied.list(NEW, there(), now(45));
    occupied.note(NEW, 413_000, &[told("a", false)], now(50));
    occupied.note(NEW, 441_000, &[told("a", true)], now(51));
    assert_eq!(lost(&occupied.list(NEW, there(), now(400))), []);
}

#[test]
fn neither_a_brief_pause_nor_an_api_that_lags_behind_is_held_against_an_app() {
    let there = || [listing("a", false)];
    // Hosted apps tell of nobody who is back within three seconds.
    let mut occupied = occupied();
    occupied.list(NEW, there(), now(0));
    occupied.list(NEW, [], now(15));
    occupied.list(NEW, there(), now(30));
    assert_eq!(lost(&occupied.list(NEW, there(), now(500))), []);
    // A list that was made before the webhook was sent.
    let mut occupied = self::occupied();
    occupied.list(NEW, [], now(0));
    occupied.note(NEW, 14_000, &[told("a", true)], now(14));
    occupied.list(NEW, [], now(15));
    occupied.note(NEW, 15_000, &[told("a", true)], now(16));
    assert_eq!(lost(&occupied.list(NEW, there(), now(500))), []);
}

#[test]
fn a_channel_that_the_api_shows_and_no_webhook_told_of_is_not_vacated() {
    let mut occupied = occupied();
    occupied.list(NEW, [], now(0));
    occupied.list(NEW, [listing("a", false)], now(15));
    let all: Vec<_> = occupied.channels("", 9).map(|(_, of)| of[&NEW]).collect();
    assert_eq!(all, [[Presence::Unknown, Presence::Occupied]]);
}

#[test]
fn time_without_a_reading_counts_from_the_beginning_to_the_end() {
    let mut figures = WebhookFigures::new(Duration::from_secs(15));
    let read = |figures: &mut WebhookFigures, second: u64| {
        let read = Some(at(second));
        figures.add(&WebhookSecond { readings: 1, read, ..WebhookSecond::default() });
    };
    let mut unread = |second: u64, readings: &[u64]| {
        readings.iter().for_each(|second| read(&mut figures, *second));
        figures.settle(at(10), at(second));
        figures.unread_for.as_secs()
    };
    assert_eq!(unread(20, &[]), 10);
    assert_eq!(unread(70, &[60, 65]), 50, "nobody looked before");
    assert_eq!(unread(190, &[]), 125);
    assert_eq!(unread(191, &[190]), 125);
}
