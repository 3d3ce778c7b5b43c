//! Histories of both clusters, with what the mirror makes of them.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::identity::Identifier;
use super::*;
use crate::model::ClusterRole::{New, Old};
use crate::verify::taint::TaintReason;

const RULES: Rules = Rules { window: Duration::from_secs(5), kept_max: 10_000 };
const CHANNEL: &str = "private-orders";

fn ms(ms: u64) -> RunTime {
    RunTime::from_millis(ms)
}

/// A mirror with what is fed to it, by the millisecond.
struct Story {
    mirror: Mirror,
    identifier: Identifier,
    sum: MirrorReport,
    tainted: Tainted,
    now: RunTime,
}

impl Story {
    /// Both witnesses of one channel see from the beginning.
    fn new() -> Self {
        let mut story = Self {
            mirror: Mirror::new(RULES),
            identifier: Identifier::new([1; 32], Some("/id".to_owned())),
            sum: MirrorReport::default(),
            tainted: Tainted::default(),
            now: RunTime::ZERO,
        };
        for role in ClusterRole::ALL {
            story.mirror.note_subscribed(role, CHANNEL, RunTime::ZERO);
        }
        story
    }

    fn copy_on(&mut self, channel: &str, role: ClusterRole, at: u64, data: &str) {
        self.pass(at);
        let identity = self.identifier.identify(data);
        self.mirror.note_copy(&Copy { role, channel, event: "placed", identity, at: ms(at) });
    }

    fn copy(&mut self, role: ClusterRole, at: u64, data: &str) {
        self.copy_on(CHANNEL, role, at, data);
    }

    /// Time passes, and both connections are alive.
    fn pass(&mut self, until: u64) {
        for role in ClusterRole::ALL {
            self.mirror.note_alive(role, CHANNEL, ms(until));
        }
        self.now = ms(until);
        self.mirror.advance(self.now, &self.tainted);
    }

    /// What all of it came to, a minute later.
    fn counts(mut self) -> Vec<(Outcome, u64)> {
        for second in 1..=60 {
            let later = self.now.0 / 1_000_000 + 1_000;
            self.pass(later);
            if second % 7 == 0 {
                self.take();
            }
        }
        self.take();
        assert_eq!(self.sum.kept, 0, "something is kept in mind for ever");
        self.sum.counts.into_iter().collect()
    }

    fn take(&mut self) {
        let report = self.mirror.take_report();
        for (outcome, count) in &report.counts {
            self.sum.add(*outcome, *count);
        }
        self.sum.kept = report.kept;
        self.sum.defects.extend(report.defects);
        self.sum.carried.extend(report.carried);
        self.sum.left_out += report.left_out;
        self.sum.client_events.extend(report.client_events);
    }
}

use Outcome::{Altered, Duplicated, Mirrored, OnlyOnNew, OnlyOnOld, Reordered, Unobservable};

#[test]
fn what_both_carry_within_the_window_is_mirrored_whichever_comes_first() {
    for (old, new) in [(10_000, 10_040), (10_040, 10_000), (10_000, 15_000)] {
        let mut story = Story::new();
        let mut copies = [(old, Old), (new, New)];
        copies.sort_unstable();
        for (at, role) in copies {
            story.copy(role, at, r#"{"id":1}"#);
        }
        story.pass(26_000);
        story.take();
        assert_eq!(story.sum.carried, [CHANNEL]);
        assert_eq!(story.counts(), [(Mirrored, 1)], "{old} and {new}");
    }
}

#[test]
fn what_one_cluster_lacks_is_a_hole_and_named_with_the_cluster_that_lacks_it() {
    for (role, outcome) in [(Old, OnlyOnOld), (New, OnlyOnNew)] {
        for data in [r#"{"id":1}"#, r#"{"no":1}"#, "no JSON"] {
            let mut story = Story::new();
            story.copy(role, 10_000, data);
            story.pass(19_999);
            story.take();
            assert_eq!(story.sum.count(outcome), 0, "one that lies nearer may come yet");
            story.pass(21_000);
            story.take();
            let defect = Defect {
                channel: CHANNEL.into(),
                event: "placed".into(),
                outcome,
                cluster: Some(role.other()),
                first: ms(10_000),
                count: 1,
            };
            assert_eq!(story.sum.defects, [defect]);
            assert_eq!(story.counts(), [(outcome, 1)], "{data}");
        }
    }
}

#[test]
fn with_an_id_other_content_is_altered_and_a_further_copy_is_doubled() {
    let mut story = Story::new();
    story.copy(Old, 10_000, r#"{"id":1,"total":5}"#);
    story.copy(New, 10_050, r#"{"total":6,"id":1}"#);
    story.copy(Old, 11_000, r#"{"id":2,"total":5}"#);
    story.copy(Old, 11_001, r#"{"id":2,"total":5}"#);
    story.copy(New, 11_002, r#"{"id":2,"total":5.0}"#);
    story.copy(New, 12_000, r#"{"id":1,"total":6}"#);
    // Missing on new is one event, though old carried it twice.
    story.copy(Old, 13_000, r#"{"id":3,"total":5}"#);
    story.copy(Old, 13_001, r#"{"id":3,"total":5}"#);
    let counts = [(Mirrored, 1), (OnlyOnOld, 1), (Altered, 1), (Duplicated, 3)];
    assert_eq!(story.counts(), counts);
}

#[test]
fn without_an_id_what_one_has_more_of_is_a_hole_on_the_other() {
    let mut story = Story::new();
    story.copy(Old, 10_000, r#"{"total":5}"#);
    story.copy(Old, 10_001, r#"{"total":5}"#);
    story.copy(New, 10_002, r#"{"total":5}"#);
    story.copy(Old, 10_003, r#"{"total":7}"#);
    story.copy(New, 10_004, r#"{"total":8}"#);
    assert_eq!(story.counts(), [(Mirrored, 1), (OnlyOnOld, 2), (OnlyOnNew, 1)]);
}

#[test]
fn events_that_look_alike_are_matched_to_the_nearest_whichever_cluster_is_faster() {
    for first in ClusterRole::ALL {
        for (n_missing, missing) in [(77, first), (77, first.other()), (0, first), (199, first)] {
            let mut story = Story::new();
            for n in 0..200_u64 {
                for (role, lag) in [(first, 0), (first.other(), 30)] {
                    // One of them is left out.
                    if n != n_missing || role != missing {
                        story.copy(role, 10_000 + 500 * n + lag, "tick");
                    }
                }
                if n == n_missing + 25 {
                    story.take();
                    let defect = story.sum.defects.first().map(|d| (d.cluster, d.first));
                    let at = 10_000 + 500 * n_missing + if missing == first { 30 } else { 0 };
                    assert_eq!(defect, Some((Some(missing), ms(at))), "while it goes on");
                }
            }
            let hole = if missing == New { OnlyOnOld } else { OnlyOnNew };
            assert_eq!(story.counts(), [(Mirrored, 199), (hole, 1)], "{first}, {missing}");
        }
    }
}

#[test]
fn an_id_that_comes_again_with_other_content_is_another_event() {
    let mut story = Story::new();
    for (n, status) in ["placed", "paid", "sent"].into_iter().enumerate() {
        let (at, data) = (10_000 + 4_000 * n as u64, format!("{{\"id\":1,\"is\":\"{status}\"}}"));
        story.copy(Old, at, &data);
        if status != "paid" {
            story.copy(New, at + 20, &data);
        }
    }
    assert_eq!(story.counts(), [(Mirrored, 2), (OnlyOnOld, 1)]);
}

#[test]
fn what_comes_again_on_both_is_the_applications_doing_and_no_difference() {
    let mut story = Story::new();
    for role in [Old, New, Old, New] {
        story.copy(role, 10_000 + story.now.0 / 1_000_000_000, r#"{"id":1}"#);
    }
    assert_eq!(story.counts(), [(Mirrored, 2)]);
}

#[test]
fn what_falls_beside_a_break_of_either_witness_accuses_nobody() {
    // Blind from 20 s to 30 s: what came less than a window before or after is not to be judged.
    for (at, outcome) in [
        (14_900, OnlyOnOld),
        (15_100, Unobservable),
        (20_000, Unobservable),
        (25_000, Unobservable),
        (34_900, Unobservable),
        (35_100, OnlyOnOld),
    ] {
        for blind in [New, Old] {
            let mut story = Story::new();
            let mut copies = vec![(at, "hole"), (20_000, "break"), (30_000, "back")];
            copies.sort_unstable();
            for (at, what) in copies {
                match what {
                    "hole" => story.copy(blind.other(), at, r#"{"id":1}"#),
                    "break" => {
                        story.pass(at);
                        story.mirror.note_blind(blind, CHANNEL);
                    }
                    _ => {
                        story.pass(at);
                        story.mirror.note_subscribed(blind, CHANNEL, ms(at));
                    }
                }
            }
            let outcome = if outcome == OnlyOnOld && blind == Old { OnlyOnNew } else { outcome };
            assert_eq!(story.counts(), [(outcome, 1)], "{at} with {blind} blind");
        }
    }
}

#[test]
fn a_match_that_comes_in_spite_of_a_break_counts() {
    let mut story = Story::new();
    story.pass(20_000);
    story.mirror.note_blind(New, CHANNEL);
    story.copy(Old, 21_000, r#"{"id":1}"#);
    story.mirror.note_subscribed(New, CHANNEL, ms(21_500));
    story.copy(New, 21_600, r#"{"id":1}"#);
    assert_eq!(story.counts(), [(Mirrored, 1)]);
}

#[test]
fn one_that_was_missed_in_a_break_is_not_laid_upon_one_that_looks_like_it() {
    for (lead, blind) in [(-20_i64, New), (20, New), (-20, Old), (20, Old)] {
        let mut story = Story::new();
        for n in 0..40_u64 {
            let at = 10_000 + 1_000 * n;
            if n == 10 {
                story.pass(at - 100);
                story.mirror.note_blind(blind, CHANNEL);
            }
            if n == 13 {
                story.mirror.note_subscribed(blind, CHANNEL, ms(at - 100));
            }
            let mut copies = [(at, Old), (at.saturating_add_signed(lead), New)];
            copies.sort_unstable();
            for (at, role) in copies {
                if role != blind || !(10..13).contains(&n) {
                    story.copy(role, at, "tick");
                }
            }
        }
        assert_eq!(story.counts(), [(Mirrored, 37), (Unobservable, 3)], "{lead}, {blind}");
    }
}

#[test]
fn a_hole_beside_a_tainted_second_may_be_our_own_doing() {
    for (second, outcome) in
        [(9, OnlyOnOld), (10, Unobservable), (15, Unobservable), (16, OnlyOnOld)]
    {
        let mut story = Story::new();
        story.tainted.note(second, TaintReason::RuntimeStall);
        story.copy(Old, 10_500, r#"{"id":1}"#);
        // A pair is one, whatever went on meanwhile.
        story.copy(Old, 10_500, r#"{"id":2}"#);
        story.copy(New, 10_510, r#"{"id":2}"#);
        let mut expected = vec![(Mirrored, 1), (outcome, 1)];
        expected.sort_unstable();
        assert_eq!(story.counts(), expected, "with second {second} tainted");
    }
}

#[test]
fn what_one_cluster_carried_and_nobody_could_open_is_no_hole_of_it() {
    for (at, outcome) in
        [(4_900, OnlyOnOld), (5_100, Unobservable), (14_900, Unobservable), (15_100, OnlyOnOld)]
    {
        let mut story = Story::new();
        let mut steps = [(at + 5_000, false), (15_000, true)];
        steps.sort_unstable();
        for (at, is_unreadable) in steps {
            if is_unreadable {
                story.pass(at);
                story.mirror.note_unreadable(New, CHANNEL, ms(at));
            } else {
                story.copy(Old, at, r#"{"id":1}"#);
            }
        }
        assert_eq!(story.counts(), [(outcome, 1)], "{at}");
    }
}

#[test]
fn what_is_open_at_the_end_is_judged_by_nobody() {
    let mut story = Story::new();
    story.copy(Old, 10_000, r#"{"id":1}"#);
    story.copy(Old, 10_000, r#"{"id":2}"#);
    story.copy(New, 10_000, r#"{"id":2}"#);
    story.pass(20_001);
    story.copy(New, 20_500, r#"{"id":3}"#);
    story.copy(Old, 20_500, r#"{"id":3}"#);
    story.copy(New, 20_600, r#"{"id":4}"#);
    story.mirror.note_client_events(New, 7);
    story.mirror.finish();
    story.take();
    assert_eq!(story.sum.client_events, BTreeMap::from([(New, 7)]));
    // What has its match by then has it.
    assert_eq!(story.counts(), [(Mirrored, 2), (OnlyOnOld, 1), (Unobservable, 1)]);
}

#[test]
fn a_connection_that_is_found_dead_accuses_nobody_of_what_it_missed_before() {
    let mut story = Story::new();
    story.pass(10_000);
    // New falls silent after 10 s. That is known only 60 s later.
    story.mirror.note_alive(Old, CHANNEL, ms(12_000));
    let identity = story.identifier.identify(r#"{"id":1}"#);
    let copy = Copy { role: Old, channel: CHANNEL, event: "placed", identity, at: ms(12_000) };
    story.mirror.note_copy(&copy);
    for second in 13..70 {
        story.mirror.note_alive(Old, CHANNEL, ms(1_000 * second));
        story.mirror.advance(ms(1_000 * second), &story.tainted);
    }
    story.take();
    assert!(story.sum.counts.is_empty(), "{:?}", story.sum);
    story.mirror.note_blind(New, CHANNEL);
    story.now = ms(70_000);
    assert_eq!(story.counts(), [(Unobservable, 1)]);
}

#[test]
fn what_a_cluster_repeats_after_a_reconnect_is_no_double() {
    let mut story = Story::new();
    story.copy(Old, 10_000, r#"{"id":1}"#);
    story.copy(New, 10_010, r#"{"id":1}"#);
    story.mirror.note_blind(New, CHANNEL);
    story.mirror.note_subscribed(New, CHANNEL, ms(11_000));
    story.copy(New, 11_001, r#"{"id":1}"#);
    assert_eq!(story.counts(), [(Mirrored, 1), (Unobservable, 1)]);
}

#[test]
fn what_a_cache_replays_long_afterwards_is_no_hole() {
    for data in [r#"{"id":1}"#, r#"{"no":1}"#] {
        let mut story = Story::new();
        story.copy(Old, 10_000, data);
        story.copy(New, 10_010, data);
        story.pass(90_000);
        story.mirror.note_blind(New, CHANNEL);
        story.mirror.note_subscribed(New, CHANNEL, ms(91_000));
        story.copy(New, 91_001, data);
        assert_eq!(story.counts(), [(Mirrored, 1), (Unobservable, 1)], "{data}");
    }
}

#[test]
fn what_comes_more_than_a_window_later_is_no_match() {
    let mut story = Story::new();
    story.copy(Old, 10_000, r#"{"id":1}"#);
    story.copy(New, 15_001, r#"{"id":1}"#);
    assert_eq!(story.counts(), [(OnlyOnOld, 1), (OnlyOnNew, 1)]);
}

#[test]
fn two_events_in_another_order_are_reordered_unless_they_came_at_once() {
    for (gap, expected) in
        [(1_000, vec![(Mirrored, 2), (Reordered, 1)]), (100, vec![(Mirrored, 2)])]
    {
        let mut story = Story::new();
        story.copy(Old, 10_000, r#"{"id":1}"#);
        story.copy(Old, 10_000 + gap, r#"{"id":2}"#);
        story.copy(New, 12_000, r#"{"id":2}"#);
        story.copy(New, 12_000 + gap, r#"{"id":1}"#);
        assert_eq!(story.counts(), expected, "{gap} ms");
    }
}

#[test]
fn a_channel_that_is_left_takes_what_was_open_with_it_and_others_stay() {
    let mut story = Story::new();
    for role in ClusterRole::ALL {
        story.mirror.note_subscribed(role, "news", RunTime::ZERO);
    }
    story.copy_on("news", Old, 10_000, r#"{"id":1}"#);
    story.copy(Old, 10_000, r#"{"id":2}"#);
    story.copy(New, 10_000, r#"{"id":2}"#);
    story.mirror.retain(&BTreeSet::from([CHANNEL]));
    story.copy_on("news", Old, 10_100, r#"{"id":3}"#);
    assert_eq!(story.counts(), [(Mirrored, 1), (Unobservable, 1)]);
}

#[test]
fn a_flood_is_bounded_says_what_it_left_out_and_accuses_nobody_of_it() {
    let mut story = Story::new();
    for n in 0..30_000_u64 {
        story.copy(Old, 10_000 + n / 20, &format!("{{\"id\":{n}}}"));
    }
    story.take();
    assert_eq!((story.sum.kept, story.sum.left_out), (10_000, 25_000));
    for n in 0..30_000_u64 {
        story.copy(New, 11_600 + n / 20, &format!("{{\"id\":{n}}}"));
    }
    story.take();
    assert_eq!(story.sum.left_out, 55_000);
    assert_eq!(story.counts(), [(Unobservable, 5_000)]);
    // Copies that look alike take room as well.
    let mut story = Story::new();
    for n in 0..30_000_u64 {
        story.copy(Old, 10_000 + n / 20, "tick");
    }
    story.take();
    assert_eq!((story.sum.kept, story.sum.left_out), (9_999, 20_001));
}

/// What went wrong: on which channel, with which event, what, and on which cluster.
type Fault = (usize, &'static str, Outcome, Option<ClusterRole>);

/// An application that publishes 500 events a second over 200 channels for a minute, skips 1 of
/// 1,000 on new, doubles 1 of 500 on old and alters 1 of 2,000, and one forced reconnect of half of
/// the witnesses of one cluster. Returned is every copy that a witness got, and the faults that
/// were done well outside of the break, and beside it.
#[expect(clippy::type_complexity, reason = "all that a test wants to know")]
fn application(
    seed: u64,
    blind: ClusterRole,
) -> (
    Vec<(u64, usize, &'static str, ClusterRole, String)>,
    BTreeMap<Fault, u64>,
    BTreeMap<Fault, u64>,
) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut copies, mut done, mut beside) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for n in 0..30_000_u64 {
        let (at, place) = (10_000 + n * 2, rng.random_range(0..CHANNELS));
        let event = *["placed", "paid", "sent"].choose(&mut rng).unwrap();
        let [old_at, new_at] = [0; 2].map(|_: u64| at + rng.random_range(0..200));
        let data = format!("{{\"id\":{n},\"total\":5}}");
        let [skips, doubles, alters] = [1e-3, 2e-3, 5e-4].map(|chance| rng.random_bool(chance));
        let mut sent = vec![(old_at, Old, data.clone())];
        if doubles {
            sent.push((old_at + 3, Old, data.clone()));
        }
        if !skips {
            let altered = data.replace("total\":5", "total\":6");
            sent.push((new_at, New, if alters { altered } else { data }));
        }
        let is_broken = place < CHANNELS / 2;
        let is_lost = |role, at: u64| role == blind && is_broken && BREAK.contains(&at);
        sent.retain(|(at, role, _)| !is_lost(*role, *at));
        copies.extend(sent.into_iter().map(|(at, role, data)| (at, place, event, role, data)));
        // A window before the break and behind it nothing is judged.
        let is_beside = is_broken && (BREAK.start - 5_200..BREAK.end + 5_200).contains(&at);
        let faults = if is_beside { &mut beside } else { &mut done };
        for (outcome, cluster, is_done) in [
            (OnlyOnOld, Some(New), skips),
            (Duplicated, Some(Old), doubles),
            (Altered, None, alters && !skips),
        ] {
            if is_done {
                *faults.entry((place, event, outcome, cluster)).or_default() += 1;
            }
        }
    }
    copies.sort();
    (copies, done, beside)
}

const CHANNELS: usize = 200;
const BREAK: std::ops::Range<u64> = 30_000..34_000;

#[test]
fn exactly_what_was_done_outside_of_breaks_is_named_with_its_place_for_any_seed() {
    for seed in 0..10 {
        let blind = if seed % 2 == 0 { New } else { Old };
        let (copies, done, mut beside) = application(seed, blind);
        assert!(done.len() > 80 && !beside.is_empty(), "seed {seed}");
        let channels: Vec<String> = (0..CHANNELS).map(|n| format!("private-{n}")).collect();
        let mut mirror = Mirror::new(Rules { kept_max: 100_000, ..RULES });
        let identifier = Identifier::new([2; 32], Some("/id".to_owned()));
        for role in ClusterRole::ALL {
            channels.iter().for_each(|c| mirror.note_subscribed(role, c, RunTime::ZERO));
        }
        let mut found = MirrorFigures::default();
        let (mut copies, broken) = (copies.into_iter().peekable(), &channels[..CHANNELS / 2]);
        for tick in 0..1_200_u64 {
            let now = tick * 100;
            if now == BREAK.start {
                broken.iter().for_each(|c| mirror.note_blind(blind, c));
            } else if now == BREAK.end {
                broken.iter().for_each(|c| mirror.note_subscribed(blind, c, ms(now)));
            }
            while let Some((at, place, event, role, data)) =
                copies.next_if(|(at, ..)| *at < now + 100)
            {
                let (identity, channel) = (identifier.identify(&data), channels[place].as_str());
                mirror.note_copy(&Copy { role, channel, event, identity, at: ms(at) });
            }
            for role in ClusterRole::ALL {
                channels.iter().for_each(|channel| mirror.note_alive(role, channel, ms(now + 99)));
            }
            mirror.advance(ms(now + 99), &Tainted::default());
            found.add(&mirror.take_report());
        }
        let mut missing = done;
        for defect in &found.defects {
            let place = channels.iter().position(|c| *c == defect.channel).unwrap();
            let event = ["placed", "paid", "sent"].into_iter().find(|e| *e == defect.event);
            let fault = (place, event.unwrap(), defect.outcome, defect.cluster);
            let expected = missing.remove(&fault).unwrap_or_default();
            let spare = beside.remove(&fault).unwrap_or_default();
            assert!(
                (expected..=expected + spare).contains(&defect.count),
                "seed {seed}: {defect:?}, of which {expected} were done and {spare} beside a break"
            );
        }
        assert!(missing.is_empty(), "seed {seed}: not named: {missing:?}");
        assert_eq!((found.left_out, found.defects_dropped), (0, 0));
        assert_eq!(found.carried.len(), CHANNELS);
        assert!(found.one_sided().is_empty());
        let accused = [OnlyOnNew, Reordered].map(|outcome| found.count(outcome));
        assert_eq!(accused, [0, 0], "seed {seed}");
    }
}

#[test]
fn an_hour_takes_no_more_memory_than_its_first_minute() {
    let channels: Vec<String> = (0..200).map(|n| format!("private-{n}")).collect();
    let mut mirror = Mirror::new(Rules { kept_max: 200_000, ..RULES });
    for role in ClusterRole::ALL {
        channels.iter().for_each(|c| mirror.note_subscribed(role, c, RunTime::ZERO));
    }
    let (mut kept, mut found) = (Vec::new(), MirrorFigures::default());
    for second in 10..3_610_u64 {
        for n in 0..50 {
            let (at, number) = (1_000 * second + 20 * n, 50 * second + n);
            let channel = channels[number as usize % channels.len()].as_str();
            let digest = u128::from(number).to_be_bytes();
            let identity = identity::Identity { id: Some(digest), content: digest };
            for role in ClusterRole::ALL.into_iter().filter(|r| number % 1_000 > 0 || *r == Old) {
                let event = "placed";
                mirror.note_copy(&Copy { role, channel, event, identity, at: ms(at) });
            }
        }
        let now = ms(1_000 * second + 999);
        for role in ClusterRole::ALL {
            channels.iter().for_each(|channel| mirror.note_alive(role, channel, now));
        }
        mirror.advance(now, &Tainted::default());
        let report = mirror.take_report();
        found.add(&report);
        kept.push(report.kept);
    }
    // Two windows of both copies, and the ids of six more.
    let (first, most) = (kept[59], kept.iter().max().unwrap());
    assert!(*most <= first + 50 && *most < 50 * 60, "{first} at first, {most} at most");
    assert_eq!((found.count(OnlyOnOld), found.left_out), (179, 0));
    assert_eq!(found.count(Mirrored), 50 * 3_590 - 179);
}

#[test]
fn a_channel_that_one_cluster_alone_carries_is_called_that() {
    let mut story = Story::new();
    let mut figures = MirrorFigures::default();
    for role in ClusterRole::ALL {
        story.mirror.note_subscribed(role, "private-forgotten", RunTime::ZERO);
    }
    for n in 0..100_u64 {
        let data = format!("{{\"id\":{n}}}");
        story.copy_on("private-forgotten", Old, 10_000 + 100 * n, &data);
        story.copy(Old, 10_000 + 100 * n, &data);
        // One hole does not make a channel one-sided.
        if n != 3 {
            story.copy(New, 10_000 + 100 * n, &data);
        }
    }
    for second in 21..60 {
        story.pass(1_000 * second);
        for role in ClusterRole::ALL {
            story.mirror.note_alive(role, "private-forgotten", ms(1_000 * second));
        }
        figures.add(&story.mirror.take_report());
    }
    assert_eq!((figures.count(Mirrored), figures.count(OnlyOnOld)), (99, 101));
    assert_eq!(figures.observed(), 200);
    let one_sided = BTreeMap::from([("private-forgotten".to_owned(), OnlyOnOld)]);
    assert_eq!(figures.one_sided(), one_sided);
    let mut twice = figures.clone();
    twice.merge(&figures);
    assert_eq!((twice.count(OnlyOnOld), twice.defects.len()), (202, 2));
    assert_eq!(twice.one_sided(), one_sided);
}
