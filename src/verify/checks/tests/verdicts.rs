//! What a phase requires, and that nothing but evidence gives GO.

use super::*;

/// The checks of one cluster, and the joint ones.
const OF_A_CLUSTER: [&str; 17] = [
    "evidence",
    "strata",
    "controls",
    "loss",
    "duplicates",
    "order",
    "integrity",
    "misrouting",
    "blind",
    "late",
    "latency",
    "latency-trend",
    "publish",
    "publish-time",
    "connect",
    "auth",
    "left-behind",
];
const JOINT: [&str; 4] = ["coverage", "loss-new-vs-old", "latency-new-vs-old", "instrument"];
const OF_SPEED: [&str; 6] =
    ["connect", "late", "latency", "latency-new-vs-old", "latency-trend", "publish-time"];

/// What a check saw that ended so, where a limit was set.
fn seen(status: Status) -> Seen {
    Seen { status, limit: Some(1.0), ..Seen::default() }
}

#[test]
fn each_phase_requires_what_the_model_says() {
    let all = OF_A_CLUSTER.as_slice();
    let preflight: &[&str] = &["evidence", "strata", "controls", "auth"];
    let instrument: &[&str] = &["instrument"];
    for (phase, old, new, joint) in [
        (Phase::Preflight, preflight, preflight, instrument),
        (Phase::DualPublish, all, all, &["coverage", "latency-new-vs-old", "instrument"]),
        (Phase::Cutover, &["evidence", "publish"], all, instrument),
        (Phase::Drain, all, all, &["coverage", "latency-new-vs-old", "instrument"]),
        (Phase::Steady, all, all, instrument),
    ] {
        let asked = asked(phase);
        for check in OF_A_CLUSTER {
            let is = |role| asked.requires(check, Some(role), &seen(Inconclusive));
            assert_eq!(is(Old), old.contains(&check), "{phase:?} {check}");
            assert_eq!(is(New), new.contains(&check), "{phase:?} {check}");
        }
        for check in JOINT {
            let is = asked.requires(check, None, &seen(Inconclusive));
            assert_eq!(is, joint.contains(&check), "{phase:?} {check}");
        }
    }
}

#[test]
fn a_preflight_requires_nothing_that_is_open_but_everything_that_is_broken() {
    let asked = asked(Phase::Preflight);
    for check in OF_A_CLUSTER.iter().chain(&JOINT) {
        let is_shown = OF_SPEED.contains(check) || *check == "loss-new-vs-old";
        assert_eq!(asked.requires(check, Some(New), &seen(Fail)), !is_shown, "{check}");
    }
    let mut run = Run::good();
    run.live(0, 400, 300, New);
    assert_eq!(run.verdict(Phase::Preflight), Verdict::NoGo);
}

#[test]
fn a_cluster_that_no_witness_sees_at_the_end_is_never_go() {
    for phase in publishing() {
        let mut run = Run::good();
        let since = RunTime::from_millis(98_000);
        run.sight_lost(New, 0, since, BlindCause::Network);
        assert_eq!(run.verdict(phase), Verdict::Inconclusive, "{phase:?}");
        // But nobody is kept on a lossy old cluster.
        let mut run = Run::good();
        run.sight_lost(Old, 0, since, BlindCause::Network);
        let is_cutover = phase == Phase::Cutover;
        assert_eq!(run.verdict(phase) == Verdict::Go, is_cutover, "{phase:?}");
    }
}

#[test]
fn every_check_ends_once_in_a_fixed_order() {
    let found = Run::good().judge(Phase::DualPublish);
    let names: Vec<_> = found.iter().map(|f| (&*f.name, f.cluster)).collect();
    let of = |role| OF_A_CLUSTER.map(|name| (name, Some(role)));
    let expected = [of(Old).as_slice(), of(New).as_slice(), &JOINT.map(|n| (n, None))].concat();
    assert_eq!(names, expected);
}

#[test]
fn a_good_run_is_go_in_every_phase() {
    for phase in publishing() {
        assert_eq!(Run::good().verdict(phase), Verdict::Go, "{phase:?}");
    }
    let mut steady = Run::on(&[New], &[("private-a", Route::Trigger)], 1);
    steady.connect();
    steady.live(0, 400, 0, New);
    assert_eq!(steady.verdict(Phase::Steady), Verdict::Go);
}

#[test]
fn a_run_without_signed_channels_needs_no_authorisation() {
    let mut run = Run::on(&ClusterRole::ALL, &[("a", Route::Trigger)], 1);
    run.connect();
    run.live(0, 400, 0, New);
    assert!(run.judge(Phase::DualPublish).iter().all(|f| f.name != "auth"));
    assert_eq!(run.verdict(Phase::DualPublish), Verdict::Go);
    assert_eq!(run.verdict(Phase::Preflight), Verdict::Go);
}

#[test]
fn nothing_and_too_little_are_never_go() {
    type Spoil = (&'static str, fn(&mut Run));
    let spoilt: [Spoil; 9] = [
        ("nothing happened", |r| *r = Run::new()),
        ("nothing was published", |r| {
            *r = Run::new();
            r.connect();
        }),
        ("no witness", |r| {
            *r = Run::on(&ClusterRole::ALL, &[("private-a", Route::Trigger)], 0);
            r.connect();
            r.live(0, 400, 0, New);
        }),
        ("one stream was never published", |r| {
            let streams = [("private-a", Route::Trigger), ("private-b", Route::Batch)];
            *r = Run::on(&ClusterRole::ALL, &streams, 1);
            r.connect();
            r.live(0, 400, 0, New);
        }),
        ("a pending obligation", |r| {
            r.obligations(New, Obligations { total: 1, ..default() });
            r.publications(New, Publications { sent: 1, accepted: 1, ..default() }, 1);
            r.report(New, WitnessReport { pending: 1, ..default() });
        }),
        ("a witness that reports nothing", |r| {
            r.publications(New, Publications { sent: 1, accepted: 1, ..default() }, 1);
        }),
        ("too many tainted seconds", |r| r.taint(50..56)),
        ("unbalanced books", |r| {
            r.obligations(Old, Obligations { delivered: 1, ..default() });
        }),
        ("a publication without an answer", |r| {
            r.publications(New, Publications { sent: 1, ..default() }, 0);
        }),
    ];
    for (what, spoil) in spoilt {
        for phase in publishing() {
            let mut run = Run::good();
            spoil(&mut run);
            let verdict = run.verdict(phase);
            assert_ne!(verdict, Verdict::Go, "{what}, {phase:?}");
            // Silence is no accusation either, but for a stream that nobody watches: its events
            // are uncovered for certain.
            let accused =
                what == "no witness" && matches!(phase, Phase::DualPublish | Phase::Preflight);
            assert_eq!(verdict == Verdict::NoGo, accused, "{what}, {phase:?}");
        }
    }
}

#[test]
fn a_run_whose_every_second_is_tainted_is_never_go() {
    for phase in publishing() {
        let mut run = Run::good();
        run.taint(0..100);
        assert_eq!(run.verdict(phase), Verdict::Inconclusive, "{phase:?}");
    }
}

#[test]
fn a_cluster_that_was_no_part_of_the_run_is_missed_where_the_phase_asks_for_it() {
    for (alone, missing) in [(New, Old), (Old, New)] {
        let mut run = Run::on(&[alone], &[("private-a", Route::Trigger)], 1);
        run.connect();
        run.live(0, 400, 0, New);
        for phase in [Phase::Preflight, Phase::DualPublish, Phase::Cutover] {
            assert_eq!(run.verdict(phase), Verdict::Inconclusive, "{phase:?} without {missing}");
            let found = run.finding_by("evidence", Some(missing), &asked(phase));
            let expected = Finding {
                name: "evidence".into(),
                cluster: Some(missing),
                required: true,
                status: Inconclusive,
                observed: None,
                limit: None,
                target: None,
                unit: "count".into(),
                evidence: 0,
                detail: "the cluster was not part of the run".to_owned(),
            };
            assert_eq!(found, expected);
        }
        assert_eq!(run.verdict(Phase::Steady), Verdict::Go);
    }
    let mut none = Run::on(&[], &[], 1);
    for phase in publishing() {
        assert_eq!(none.verdict(phase), Verdict::Inconclusive, "{phase:?} without any cluster");
    }
}

#[test]
fn loss_counts_where_the_phase_asks() {
    for (phase, lossy, verdict) in [
        (Phase::DualPublish, Old, Verdict::NoGo),
        (Phase::DualPublish, New, Verdict::NoGo),
        // Nobody must be kept on a lossy cluster because it is lossy.
        (Phase::Cutover, Old, Verdict::Go),
        (Phase::Cutover, New, Verdict::NoGo),
    ] {
        let mut run = Run::new();
        run.connect();
        run.live(0, 800, 400, lossy);
        assert_eq!(run.verdict(phase), verdict, "{phase:?}, {lossy} loses");
    }
}

#[test]
fn a_preflight_of_which_nothing_arrives_is_no_go() {
    let mut run = Run::new();
    run.connect();
    run.live(0, 3, 3, New);
    assert_eq!(run.verdict(Phase::Preflight), Verdict::NoGo);
}

#[test]
fn a_limit_of_one_needs_a_trial_all_the_same() {
    let mut asked = asked(Phase::DualPublish);
    asked.limits.loss_rate_max = 1.0;
    let found = Run::new().finding_by("evidence", Some(New), &asked);
    assert_eq!((found.status, found.limit), (Inconclusive, Some(1.0)));
}

#[test]
fn who_publishes_for_others_and_who_witnesses_others_are_held_to_their_own_part() {
    let names = |role| {
        let mut run = Run::good();
        run.end();
        let asked = Requirements { role, ..asked(Phase::DualPublish) };
        let found = judge(run.story.account.figures(), &asked);
        found.into_iter().map(|f| f.name.into_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    let both = names(MemberRole::Both);
    let (publish, witness) = (names(MemberRole::Publish), names(MemberRole::Witness));
    let of_publish = ["evidence", "instrument", "publish", "publish-time"];
    assert_eq!(publish.iter().map(String::as_str).collect::<Vec<_>>(), of_publish);
    let not_witnessed: Vec<_> = both.difference(&witness).map(String::as_str).collect();
    assert_eq!(
        not_witnessed,
        [
            "late",
            "latency",
            "latency-new-vs-old",
            "latency-trend",
            "left-behind",
            "publish",
            "publish-time"
        ]
    );
    assert!(witness.is_subset(&both));
}

#[test]
fn a_witness_has_no_evidence_until_its_publisher_has_told_all() {
    let asked = Requirements { role: MemberRole::Witness, ..asked(Phase::DualPublish) };
    let mut run = Run::good();
    let mut begin = run.story.account.begin().clone();
    begin.unwatched = ClusterRole::ALL.map(|role| (role, 2)).into();
    run.story.account = crate::verify::account::Account::new(begin);
    run.connect();
    run.live(0, 400, 0, New);
    run.story.apply(Fact::Followed(1));
    let found = run.finding_by("evidence", Some(New), &asked);
    let open = "400 trials of 29 needed; 1 streams that were not followed from first to last";
    assert_eq!((found.status, &*found.detail), (Inconclusive, open));
    run.story.apply(Fact::Followed(1));
    assert_eq!(run.finding_by("evidence", Some(New), &asked).status, Pass);
}
