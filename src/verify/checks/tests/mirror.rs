//! The application's own events, as a check.

use super::*;
use crate::verify::mirror::{Defect, MirrorFigures, MirrorReport, Outcome};
use crate::verify::record::Second;
use crate::verify::sample::{SampleFigures, SampleNote, SampleReading, Size, StratumReading};

use Outcome::{Altered, Duplicated, Mirrored, OnlyOnNew, OnlyOnOld, Reordered, Unobservable};

/// What came of events on ten watched channels of a hundred.
fn seen(counts: &[(Outcome, u64)], carried: u64) -> (SampleFigures, MirrorFigures) {
    let name = |n: u64| format!("private-{n}");
    let (kind, size, watched) = (ChannelKind::Private, Size::Few, (0..10).map(name).collect());
    let strata = vec![StratumReading { kind, size, channels: 100, watched }];
    let mut sample = SampleFigures::default();
    sample.add(&SampleNote::Refreshed(SampleReading { strata, ..SampleReading::default() }));
    let mut mirror = MirrorFigures::default();
    let counts = counts.iter().copied().collect();
    let carried = (0..carried).map(name).collect();
    mirror.add(&MirrorReport { counts, carried, ..MirrorReport::default() });
    (sample, mirror)
}

fn check(figures: &(SampleFigures, MirrorFigures), mirror_ratio_max: f64) -> Seen {
    let limits = Limits { mirror_ratio_max, ..limits() };
    crate::verify::checks::mirror::check(&figures.0, &figures.1, &limits)
}

#[test]
fn what_is_not_the_same_on_both_fails_and_what_is_merely_in_another_order_does_not() {
    for (counts, limit, status, observed) in [
        (&[(Mirrored, 10)][..], 0.0, Pass, Some(0.0)),
        (&[(Mirrored, 9), (Reordered, 5)], 0.0, Pass, Some(0.0)),
        (&[(Mirrored, 9), (OnlyOnOld, 1)], 0.0, Fail, Some(0.1)),
        (&[(Mirrored, 9), (OnlyOnNew, 1)], 0.0, Fail, Some(0.1)),
        (&[(Mirrored, 9), (Altered, 1)], 0.0, Fail, Some(0.1)),
        (&[(Mirrored, 10), (Duplicated, 1)], 0.0, Fail, Some(0.1)),
        (&[(Mirrored, 9), (Altered, 1)], 0.1, Pass, Some(0.1)),
        (&[(Mirrored, 9), (Unobservable, 10)], 0.0, Inconclusive, Some(0.0)),
        // What went wrong went wrong, however little was seen.
        (&[(Mirrored, 1), (OnlyOnOld, 1), (Unobservable, 99)], 0.0, Fail, Some(0.5)),
        (&[(Unobservable, 3)], 0.0, Inconclusive, None),
        (&[], 0.0, Inconclusive, None),
    ] {
        let seen = check(&seen(counts, 10), limit);
        assert_eq!((seen.status, seen.observed), (status, observed), "{counts:?}");
    }
}

#[test]
fn it_says_what_went_wrong_and_what_the_sample_rules_out() {
    let detail = |counts: &[_], carried| check(&seen(counts, carried), 0.0).detail;
    assert_eq!(
        detail(&[(Mirrored, 10)], 10),
        "all of 10 real events the same on both clusters; seen on 10 of 100 channels: at most 24 \
         (24 %) get events on one cluster only (95 %)"
    );
    assert_eq!(
        detail(&[(Mirrored, 7), (OnlyOnOld, 2), (Altered, 1), (Duplicated, 3)], 0),
        "6 of 10 real events not the same on both (60 %, 0 % allowed): 2 on old only, 1 altered, 3 \
         duplicated; seen on 0 of 100 channels: at most 100 (100 %) get events on one cluster only \
         (95 %)"
    );
    let mut unreadable = seen(&[(Mirrored, 10)], 10);
    unreadable.1.unreadable.insert(New, 1);
    let told = check(&unreadable, 0.0);
    assert_eq!(told.status, Inconclusive);
    assert!(told.detail.contains("; 1 encrypted ones could not be opened"), "{}", told.detail);
    let blind = detail(&[(Mirrored, 1), (Unobservable, 5)], 1);
    assert!(blind.contains("; 5 more could not be judged, which is most of them"), "{blind}");
}

#[test]
fn a_channel_that_one_cluster_alone_carries_is_named_and_rules_out_that_there_is_none() {
    let mut figures = seen(&[(Mirrored, 90), (OnlyOnOld, 10)], 9);
    for channel in ["a", "b", "c", "d"] {
        figures.1.defects.push(Defect {
            channel: channel.to_owned(),
            event: "placed".to_owned(),
            outcome: OnlyOnOld,
            cluster: Some(New),
            first: RunTime::ZERO,
            count: 2,
        });
    }
    let detail = check(&figures, 0.0).detail;
    let expected = "; 4 channels are published to old only: a, b, c and 1 more; seen on 9 of 100 \
                    channels";
    assert!(detail.ends_with(expected), "{detail}");
}

#[test]
fn where_nothing_was_seen_it_says_why() {
    let detail = |sample: &SampleFigures, mirror: &MirrorFigures| {
        check(&(sample.clone(), mirror.clone()), 0.0).detail
    };
    let (mut sample, mut mirror) = (SampleFigures::default(), MirrorFigures::default());
    assert!(detail(&sample, &mirror).contains("no channel with one of the prefixes"));
    sample.add(&SampleNote::Failed(Old, "HTTP 503".to_owned()));
    assert!(detail(&sample, &mirror).ends_with("never listed: HTTP 503"));
    (sample, _) = seen(&[], 0);
    assert!(detail(&sample, &mirror).ends_with("none came on the channels that were watched"));
    sample.add(&SampleNote::Refused(New, "full".to_owned()));
    assert!(detail(&sample, &mirror).ends_with("subscriptions were refused: full"));
    mirror.unreadable.insert(New, 7);
    assert!(detail(&sample, &mirror).contains("7 encrypted ones could not be opened"));
}

#[test]
fn it_is_asked_for_while_publishing_to_both_and_shown_before_and_after() {
    for (phase, is_required) in
        [(Phase::Preflight, false), (Phase::DualPublish, true), (Phase::Cutover, false)]
    {
        let mut run = Run::new();
        run.end();
        let mut figures = run.story.account.figures().clone();
        let judged = |figures: &_| judge(figures, &asked(phase));
        let named = |findings: Vec<Finding>| findings.into_iter().find(|f| f.name == "mirror");
        assert_eq!(named(judged(&figures)), None, "nobody looked");
        figures.mirror = Some(seen(&[(Mirrored, 9), (OnlyOnOld, 1)], 10));
        let finding = named(judged(&figures)).unwrap();
        assert_eq!((finding.status, finding.required, finding.cluster), (Fail, is_required, None));
        figures.mirror = Some(seen(&[], 0));
        let finding = named(judged(&figures)).unwrap();
        let is_required = phase == Phase::DualPublish;
        assert_eq!((finding.status, finding.required), (Inconclusive, is_required));
    }
}

#[test]
fn an_account_adds_up_what_became_known() {
    let mut begin = crate::verify::testing::begin(&ClusterRole::ALL, &[]);
    let (window, kept_max) = (Duration::from_secs(5), 100);
    begin.mirroring = Some(crate::verify::mirror::Rules { window, kept_max });
    let mut account = crate::verify::account::Account::new(begin);
    let carried = |name: &str| {
        let counts = BTreeMap::from([(Mirrored, 2)]);
        let carried = vec![name.to_owned()];
        Some(Box::new(MirrorReport { counts, carried, ..MirrorReport::default() }))
    };
    let refreshed = |watched: &[&str]| {
        let watched = watched.iter().map(|name| (*name).to_owned()).collect();
        let (kind, size) = (ChannelKind::Private, Size::One);
        let strata = vec![StratumReading { kind, size, channels: 9, watched }];
        let reading = SampleReading { strata, ..SampleReading::default() };
        vec![(RunTime::ZERO, SampleNote::Refreshed(reading))]
    };
    let sample = refreshed(&["a", "b"]);
    account.apply(&Second { mirror: carried("a"), sample, ..Second::default() });
    account.apply(&Second { mirror: carried("b"), ..Second::default() });
    let (_, mirror) = account.figures().mirror.clone().unwrap();
    assert_eq!((mirror.count(Mirrored), mirror.carried.len()), (4, 2));
    account.apply(&Second { sample: refreshed(&["b"]), ..Second::default() });
    let (sample, mirror) = account.figures().mirror.clone().unwrap();
    assert_eq!((sample.refreshes, mirror.count(Mirrored)), (2, 4));
    // What carried once is no channel of one cluster alone, though it is watched no more.
    assert_eq!(mirror.carried.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}
