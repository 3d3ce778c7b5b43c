//! Clients that move from old to new, as a check.

use super::*;
use crate::verify::figures::Figures;
use crate::verify::handover::{HandoverFigures, Way, WayFigures};
use crate::verify::testing::moves;

/// Clients that moved, and events that they missed, by way.
fn figures(ways: [(u64, u64); 3]) -> Figures {
    let mut handover = HandoverFigures::new(moves());
    for (way, (moved, missed)) in Way::ALL.into_iter().zip(ways) {
        let figures = WayFigures { planned: 4, moved, missed, events: 9, ..WayFigures::default() };
        handover.ways.insert(way, figures);
    }
    Figures { handover: Some(handover), ..Figures::default() }
}

fn finding(figures: &Figures, limit: Option<f64>) -> Finding {
    let mut asked = asked(Phase::DualPublish);
    asked.limits.handover_missed_max = limit;
    let findings = judge(figures, &asked);
    findings.into_iter().find(|finding| finding.name == "handover").unwrap()
}

#[test]
fn without_a_limit_only_an_overlap_must_miss_nothing() {
    let found = finding(&figures([(4, 10), (4, 1), (4, 0)]), None);
    assert_eq!((found.status, found.evidence, found.required), (Pass, 12, true));
    assert_eq!(
        found.detail,
        "reload: 4 of 4 moved, 2.5 events missed a move; switch: 4 of 4 moved, 0.2 events missed a \
         move; overlap: 4 of 4 moved, none missed an event by that"
    );
    let found = finding(&figures([(4, 10), (4, 1), (4, 1)]), None);
    assert_eq!((found.status, found.observed), (Fail, Some(0.25)));
    assert!(found.detail.ends_with("0.2 events missed a move (0 allowed)"), "{}", found.detail);
}

#[test]
fn a_limit_holds_for_every_way_that_was_tried() {
    let seen = figures([(4, 10), (4, 1), (4, 0)]);
    assert_eq!(finding(&seen, Some(2.5)).status, Pass);
    let found = finding(&seen, Some(2.4));
    assert_eq!((found.status, found.observed, found.limit), (Fail, Some(2.5), Some(2.4)));
}

#[test]
fn who_never_arrives_fails_it() {
    let mut seen = figures([(3, 0), (4, 0), (4, 0)]);
    let reload = seen.handover.as_mut().unwrap().ways.get_mut(&Way::Reload).unwrap();
    (reload.stranded, reload.last_failure) = (1, "closed with 4001".to_owned());
    let found = finding(&seen, None);
    assert_eq!(found.status, Fail);
    assert!(found.detail.contains("1 never arrived (closed with 4001)"), "{}", found.detail);
}

#[test]
fn a_way_of_which_too_little_was_seen_is_inconclusive() {
    // One has not moved yet, or nobody has.
    assert_eq!(finding(&figures([(3, 0), (4, 0), (4, 0)]), None).status, Inconclusive);
    assert_eq!(finding(&figures([(0, 0), (4, 0), (4, 0)]), None).status, Inconclusive);
    // All moved, but in tainted seconds.
    let mut seen = figures([(0, 0), (4, 0), (4, 0)]);
    let handover = seen.handover.as_mut().unwrap();
    handover.ways.get_mut(&Way::Reload).unwrap().unattributed = 4;
    let found = finding(&seen, None);
    assert_eq!(found.status, Inconclusive);
    assert!(found.detail.contains("4 in tainted seconds"), "{}", found.detail);
}

#[test]
fn a_way_around_which_nothing_was_published_is_inconclusive() {
    let mut seen = figures([(4, 0), (4, 0), (4, 0)]);
    seen.handover.as_mut().unwrap().ways.get_mut(&Way::Switch).unwrap().events = 0;
    let found = finding(&seen, None);
    assert_eq!(found.status, Inconclusive);
    assert!(found.detail.contains("no event was published meanwhile"), "{}", found.detail);
}

#[test]
fn a_way_of_which_most_moves_count_for_nobody_is_inconclusive() {
    let mut seen = figures([(4, 0), (4, 0), (1, 0)]);
    let handover = seen.handover.as_mut().unwrap();
    handover.ways.get_mut(&Way::Overlap).unwrap().unattributed = 3;
    assert_eq!(finding(&seen, None).status, Inconclusive);
}

#[test]
fn a_cutover_rests_on_it() {
    let seen = figures([(4, 0), (4, 0), (4, 1)]);
    let found = judge(&seen, &asked(Phase::Cutover))
        .into_iter()
        .find(|found| found.name == "handover")
        .unwrap();
    assert_eq!((found.status, found.required), (Fail, true));
}
