//! Histories of both clusters, with what the mirror makes of them.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::identity::Identifier;
use super::*;
use crate::model::ClusterRole::{New, Old};

const RULES: Rules =
    Rules { window: Duration::from_secs(5), guard: Duration::from_secs(2), kept_max: 10_000 };
const CHANNEL: &str = "private-orders";

fn ms(ms: u64) -> RunTime {
    RunTime::from_millis(ms)
}

/// A mirror with what is fed to it, by the millisecond.
struct Story {
    mirror: Mirror,
    identifier: Identifier,
    sum: MirrorReport,
    now: RunTime,
}

impl Story {
    /// Both witnesses of one channel see from the beginning.
    fn new() -> Self {
        let mut story = Self {
            mirror: Mirror::new(RULES),
            identifier: Identifier::new([1; 32], Some("/id".to_owned())),
            sum: MirrorReport::default(),
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
        self.mirror.advance(self.now);
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
        story.take();
        assert_eq!(story.sum.carried, [CHANNEL.into()]);
        assert_eq!(story.counts(), [(Mirrored, 1)], "{old} and {new}");
    }
}

#[test]
fn what_one_cluster_lacks_is_a_hole_and_named_with_the_cluster_that_lacks_it() {
    for (role, outcome) in [(Old, OnlyOnOld), (New, OnlyOnNew)] {
        for data in [r#"{"id":1}"#, r#"{"no":1}"#, "no JSON"] {
            let mut story = Story::new();
            story.copy(role, 10_000, data);
            story.pass(14_999);
            story.take();
            assert_eq!(story.sum.count(outcome), 0, "its window is not over");
            story.pass(16_000);
            story.take();
            let place = Place {
                channel: CHANNEL.into(),
                event: "placed".into(),
                outcome,
                cluster: Some(role.other()),
            };
            let defect = Defect { first: ms(10_000), count: 1 };
            assert_eq!(story.sum.defects, BTreeMap::from([(place, defect)]));
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
    assert_eq!(story.counts(), [(Mirrored, 1), (Altered, 1), (Duplicated, 2)]);
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
fn events_that_look_alike_are_matched_one_by_one_for_as_long_as_they_come() {
    let mut story = Story::new();
    for n in 0..200_u64 {
        story.copy(Old, 10_000 + 500 * n, "tick");
        // One of them is left out.
        if n != 77 {
            story.copy(New, 10_030 + 500 * n, "tick");
        }
    }
    assert_eq!(story.counts(), [(Mirrored, 199), (OnlyOnOld, 1)]);
}

#[test]
fn what_falls_beside_a_break_of_either_witness_accuses_nobody() {
    // Blind from 20 s to 30 s: what came from 15 s (its window reaches into the break) to 32 s (the
    // guard) is not to be judged.
    for (at, outcome) in [
        (14_900, OnlyOnOld),
        (15_100, Unobservable),
        (20_000, Unobservable),
        (25_000, Unobservable),
        (31_900, Unobservable),
        (32_100, OnlyOnOld),
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
                        story.mirror.note_blind(blind, CHANNEL, ms(at));
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
    story.mirror.note_blind(New, CHANNEL, ms(20_000));
    story.copy(Old, 21_000, r#"{"id":1}"#);
    story.mirror.note_subscribed(New, CHANNEL, ms(21_500));
    story.copy(New, 21_600, r#"{"id":1}"#);
    assert_eq!(story.counts(), [(Mirrored, 1)]);
}

#[test]
fn one_that_was_missed_in_a_break_is_not_laid_upon_one_that_looks_like_it() {
    let mut story = Story::new();
    for n in 0..40_u64 {
        let at = 10_000 + 1_000 * n;
        if n == 10 {
            story.mirror.note_blind(New, CHANNEL, ms(at - 1));
        }
        if n == 13 {
            story.mirror.note_subscribed(New, CHANNEL, ms(at - 1));
        }
        story.copy(Old, at, "tick");
        if !(10..13).contains(&n) {
            story.copy(New, at + 20, "tick");
        }
    }
    let counts = story.counts();
    assert_eq!(counts, [(Mirrored, 37), (Unobservable, 3)]);
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
        story.mirror.advance(ms(1_000 * second));
    }
    story.take();
    assert!(story.sum.counts.is_empty(), "{:?}", story.sum);
    story.mirror.note_blind(New, CHANNEL, ms(10_000));
    story.now = ms(70_000);
    assert_eq!(story.counts(), [(Unobservable, 1)]);
}

#[test]
fn what_a_cluster_repeats_after_a_reconnect_is_no_double() {
    let mut story = Story::new();
    story.copy(Old, 10_000, r#"{"id":1}"#);
    story.copy(New, 10_010, r#"{"id":1}"#);
    story.mirror.note_blind(New, CHANNEL, ms(10_500));
    story.mirror.note_subscribed(New, CHANNEL, ms(11_000));
    story.copy(New, 11_001, r#"{"id":1}"#);
    assert_eq!(story.counts(), [(Mirrored, 1), (Unobservable, 1)]);
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
    story.mirror.forget("news");
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
    assert_eq!((story.sum.kept, story.sum.left_out), (10_000, 20_000));
    for n in 0..30_000_u64 {
        story.copy(New, 11_600 + n / 20, &format!("{{\"id\":{n}}}"));
    }
    story.take();
    let left_out = story.sum.left_out;
    let counts: BTreeMap<_, _> = story.counts().into_iter().collect();
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [Mirrored]);
    assert_eq!(left_out, 40_000, "{counts:?}");
}

/// An application that skips, doubles and alters, over many channels with breaks: everything that
/// is named was done, and everything that was done outside breaks is named.
#[test]
fn exactly_what_was_done_outside_of_breaks_is_named_for_any_seed() {
    for seed in 0..50 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let channels: Vec<String> = (0..20).map(|n| format!("private-{n}")).collect();
        let mut mirror = Mirror::new(RULES);
        let identifier = Identifier::new([2; 32], Some("/id".to_owned()));
        for role in ClusterRole::ALL {
            for channel in &channels {
                mirror.note_subscribed(role, channel, RunTime::ZERO);
            }
        }
        // One break of one witness, from 30 s to 34 s, for half of the channels.
        let (blind, broken) = (if seed % 2 == 0 { New } else { Old }, &channels[..10]);
        let mut arrivals: Vec<(u64, usize, ClusterRole, String)> = Vec::new();
        let mut done: BTreeMap<Outcome, u64> = BTreeMap::new();
        let mut beside: BTreeMap<Outcome, u64> = BTreeMap::new();
        for n in 0..5_000_u64 {
            let at = 10_000 + n * 12;
            let place = rng.random_range(0..channels.len());
            let is_broken = broken.contains(&channels[place]);
            let fault = *[None, None, None, Some(OnlyOnOld), Some(Duplicated), Some(Altered)]
                .choose(&mut rng)
                .filter(|_| rng.random_bool(0.05))
                .unwrap_or(&None);
            let old_at = at + rng.random_range(0..200);
            let new_at = at + rng.random_range(0..200);
            let is_blind =
                |role, at: u64| role == blind && is_broken && (30_000..34_000).contains(&at);
            // The guard before and behind the break, in which nothing is judged.
            let is_beside = is_broken && (24_700..36_300).contains(&at);
            let data = format!("{{\"id\":{n},\"total\":5}}");
            let mut send = |role, at, data: &str| {
                if !is_blind(role, at) {
                    arrivals.push((at, place, role, data.to_owned()));
                }
            };
            send(Old, old_at, &data);
            if fault == Some(Duplicated) {
                send(Old, old_at + 3, &data);
            }
            let other =
                if fault == Some(Altered) { data.replace("total\":5", "total\":6") } else { data };
            if fault != Some(OnlyOnOld) {
                send(New, new_at, &other);
            }
            if let Some(fault) = fault {
                *if is_beside { &mut beside } else { &mut done }.entry(fault).or_default() += 1;
            }
        }
        arrivals.sort();
        let mut found: BTreeMap<Outcome, u64> = BTreeMap::new();
        let mut events = arrivals.into_iter().peekable();
        for tick in 0..1_200_u64 {
            let now = tick * 100;
            match now {
                30_000 => broken.iter().for_each(|c| mirror.note_blind(blind, c, ms(now))),
                34_000 => broken.iter().for_each(|c| mirror.note_subscribed(blind, c, ms(now))),
                _ => {}
            }
            while let Some((at, place, role, data)) = events.next_if(|(at, ..)| *at < now + 100) {
                let (identity, channel) = (identifier.identify(&data), channels[place].as_str());
                let copy = Copy { role, channel, event: "placed", identity, at: ms(at) };
                mirror.note_copy(&copy);
            }
            for role in ClusterRole::ALL {
                channels.iter().for_each(|channel| mirror.note_alive(role, channel, ms(now + 99)));
            }
            mirror.advance(ms(now + 99));
            for (outcome, count) in mirror.take_report().counts {
                *found.entry(outcome).or_default() += count;
            }
        }
        for outcome in [OnlyOnOld, Duplicated, Altered, OnlyOnNew, Reordered] {
            let [done, beside, found] =
                [&done, &beside, &found].map(|c| c.get(&outcome).copied().unwrap_or_default());
            assert!(
                (done..=done + beside).contains(&found),
                "seed {seed}: {outcome:?} done {done} times and {beside} beside a break: {found}"
            );
        }
    }
}
