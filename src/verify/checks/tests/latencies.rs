//! Latency at p99: its interval against a limit, and new against old.

use super::*;

/// p99's bounds at 95 % are, of 400 samples, the 392nd and the 400th: scipy.stats.binom.
#[test]
fn latency_new_vs_old() {
    let steps = |old: (u64, u64), new: (u64, u64)| {
        move |r: &mut Run| {
            r.latencies(Old, old.0, Duration::from_micros(old.1));
            r.latencies(New, new.0, Duration::from_micros(new.1));
        }
    };
    for (act, status, evidence) in [
        (Box::new(steps((0, 0), (0, 0))) as Box<dyn Fn(&mut Run)>, Inconclusive, 0),
        (Box::new(steps((400, 0), (298, 0))), Inconclusive, 298),
        (Box::new(steps((298, 0), (400, 0))), Pass, 298),
        (Box::new(steps((400, 1_000), (400, 1_000))), Pass, 400),
        // lower(old) is 392 ms: 392 * 1.5 + 10 = 598 ms; upper(new) is 400 steps.
        (Box::new(steps((400, 1_000), (400, 1_480))), Pass, 400),
        (Box::new(steps((400, 1_000), (400, 1_520))), Inconclusive, 400),
        // upper(old) is 400 ms: 610 ms; lower(new) is 392 steps.
        (Box::new(steps((400, 1_000), (400, 1_540))), Inconclusive, 400),
        (Box::new(steps((400, 1_000), (400, 1_580))), Fail, 400),
    ] {
        let mut run = Run::new();
        act(&mut run);
        let found = run.finding("latency-new-vs-old", None);
        assert_eq!((found.status, found.evidence), (status, evidence), "{found:?}");
    }
    let mut run = Run::new();
    steps((400, 0), (400, 0))(&mut run);
    let expected = Finding {
        name: "latency-new-vs-old".into(),
        cluster: None,
        required: true,
        status: Pass,
        // To the resolution of the histograms.
        observed: Some(1.001),
        limit: Some(1.001 * 1.5 + 10.0),
        target: None,
        unit: "ms".into(),
        evidence: 400,
        detail: "p99 on new 1.0–1.0 ms, on old 1.0–1.0 ms; 11.5 ms allowed".to_owned(),
    };
    assert_eq!(run.finding("latency-new-vs-old", None), expected);
}

/// Between the first witness of each channel and the others lies noise.
#[test]
fn a_difference_that_two_witnesses_of_one_cluster_have_as_well_accuses_nobody() {
    for (base, second_witness_ms, status) in [(5, 0, Pass), (5, 30, Inconclusive), (100, 30, Fail)]
    {
        let mut run = Run::new();
        for (role, witness, ms) in
            [(Old, 0, 1), (Old, 1, 1), (New, 0, base), (New, 1, base + second_witness_ms)]
        {
            let mut latencies = Sparse::default();
            (0..400).for_each(|_| latencies.record(Duration::from_millis(ms)));
            let strata = BTreeMap::from([(STRATUM, (Obligations::default(), latencies))]);
            let tally = Tally { strata, ..default() };
            run.report(role, WitnessReport { witness: WitnessIx(witness), tally, ..default() });
        }
        let found = run.finding("latency-new-vs-old", None);
        assert_eq!(found.status, status, "{found:?}");
        let noise = found.detail.split("differ by ").nth(1).unwrap();
        let noise: f64 = noise.trim_end_matches(" ms").parse().unwrap();
        assert!((noise - second_witness_ms as f64).abs() < 0.2, "{}", found.detail);
    }
}

#[test]
fn latency() {
    let with = |max: Option<u64>| {
        let latency_p99_max = max.map(Duration::from_millis);
        let limits = Limits { latency_p99_max, ..limits() };
        Requirements { limits, ..asked(Phase::DualPublish) }
    };
    for (count, max, status, observed, detail) in [
        (
            0,
            Some(5),
            Inconclusive,
            None,
            "p99 unknown from 0 samples (5 ms allowed, target 100.0 ms)",
        ),
        (
            298,
            Some(5),
            Inconclusive,
            None,
            "p99 at least 1.0 ms from 298 samples (5 ms allowed, target 100.0 ms)",
        ),
        (299, Some(2), Pass, Some(1.001), "p99 1.0–1.0 ms (2 ms allowed, target 100.0 ms)"),
        (299, Some(1), Fail, Some(1.001), "p99 1.0–1.0 ms (1 ms allowed, target 100.0 ms)"),
        (
            298,
            None,
            Inconclusive,
            None,
            "p99 at least 1.0 ms from 298 samples (no limit, target 100.0 ms)",
        ),
        (299, None, Pass, Some(1.001), "p99 1.0–1.0 ms (no limit, target 100.0 ms)"),
    ] {
        let mut run = Run::new();
        run.latencies(New, count, Duration::ZERO);
        let expected = Finding {
            name: "latency".into(),
            cluster: Some(New),
            required: max.is_some(),
            status,
            observed,
            limit: max.map(|max| max as f64),
            target: Some(100.0),
            unit: "ms".into(),
            evidence: count,
            detail: detail.to_owned(),
        };
        assert_eq!(run.finding_by("latency", Some(New), &with(max)), expected);
    }
    // Between the bounds: neither.
    let mut run = Run::new();
    run.latencies(New, 400, Duration::from_millis(1));
    let found = run.finding_by("latency", Some(New), &with(Some(396)));
    assert_eq!(found.status, Inconclusive);
}

#[test]
fn latencies_of_tainted_seconds_are_not_judged() {
    let with = Limits { latency_p99_max: Some(Duration::from_millis(50)), ..limits() };
    let asked = Requirements { limits: with, ..asked(Phase::DualPublish) };
    for (tainted, status, evidence) in [(0..0, Fail, 800), (40..41, Pass, 400)] {
        let mut run = Run::new();
        run.latencies(New, 400, Duration::ZERO);
        run.story.advance(RunTime::from_millis(40_500), false);
        let mut slow = Sparse::default();
        (0..400).for_each(|_| slow.record(Duration::from_secs(2)));
        let strata = BTreeMap::from([(STRATUM, (Obligations::default(), slow))]);
        run.tally(New, Tally { strata, ..default() });
        run.taint(tainted);
        let found = run.finding_by("latency", Some(New), &asked);
        assert_eq!((found.status, found.evidence), (status, evidence), "{found:?}");
    }
}

/// The median's bounds at 95 % are, of 90 samples, the 37th and the 54th: scipy.stats.binom.
#[test]
fn latency_trend() {
    let grows = |count: u64, by: u64| {
        move |r: &mut Run| {
            for second in 0..90 {
                let mut latencies = Sparse::default();
                let took = Duration::from_millis(10 + second * by);
                (0..count).for_each(|_| latencies.record(took));
                let strata = BTreeMap::from([(STRATUM, (Obligations::default(), latencies))]);
                r.story.advance(RunTime::from_millis(second * 1_000 + 500), false);
                r.tally(New, Tally { strata, ..default() });
            }
            r.story.apply(Fact::Published(RunTime::from_millis(89_900)));
        }
    };
    type Act = Box<dyn Fn(&mut Run)>;
    for (act, status, evidence) in [
        (Box::new(grows(0, 0)) as Act, Inconclusive, 0),
        (Box::new(grows(3, 0)), Pass, 90),
        // 12 * 1.5 + 10 ms at the lower bound of the first third: 32 and more of 80 ms are late.
        (Box::new(grows(3, 5)), Fail, 90),
    ] {
        let mut run = Run::new();
        act(&mut run);
        let found = run.finding("latency-trend", Some(New));
        assert_eq!((found.status, found.evidence), (status, evidence), "{found:?}");
        assert!(found.required);
    }
    let mut run = Run::new();
    grows(1, 0)(&mut run);
    let found = run.finding("latency-trend", Some(New));
    let same = "p50 of the first third 10.0–10.0 ms, of the last 10.0–10.0 ms; 25.0 ms allowed";
    assert_eq!((&*found.detail, found.status), (same, Pass));
    // Around what is allowed, neither.
    let mut run = Run::new();
    grows(1, 1)(&mut run);
    let found = run.finding("latency-trend", Some(New));
    assert_eq!(found.status, Fail, "{found:?}");
}

/// binom.sf(k - 1, n, 0.5) of scipy.stats.
#[test]
fn loss_new_vs_old() {
    for (old, new, status, detail) in [
        (0, 0, Pass, "0 lost on new alone, 0 on old alone, 0 on both, of 40 events (p = 1.00)"),
        (0, 4, Pass, "4 lost on new alone, 0 on old alone, 0 on both, of 40 events (p = 0.06)"),
        (0, 5, Fail, "5 lost on new alone, 0 on old alone, 0 on both, of 40 events (p = 0.03)"),
        (5, 0, Pass, "0 lost on new alone, 5 on old alone, 0 on both, of 40 events (p = 1.00)"),
    ] {
        let mut run = Run::new();
        run.live(0, 40, old.max(new), if new > 0 { New } else { Old });
        let found = run.finding("loss-new-vs-old", None);
        assert_eq!((found.status, &*found.detail), (status, detail));
        assert!(!found.required, "it is shown, and nothing rests on it");
    }
    assert_eq!(Run::new().finding("loss-new-vs-old", None).status, Inconclusive);
}
