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
        name: "latency-new-vs-old",
        cluster: None,
        required: true,
        status: Pass,
        // To the resolution of the histograms.
        observed: Some(1.001),
        limit: Some(1.001 * 1.5 + 10.0),
        unit: "ms",
        evidence: 400,
        detail: "p99 on new 1.0–1.0 ms, on old 1.0–1.0 ms, 11.5 ms allowed".to_owned(),
    };
    assert_eq!(run.finding("latency-new-vs-old", None), expected);
}

#[test]
fn latency() {
    let with = |max: u64| Requirements {
        phase: Phase::DualPublish,
        limits: Limits { latency_p99_max: Some(Duration::from_millis(max)), ..limits() },
    };
    for (count, max, status, observed, detail) in [
        (0, 5, Inconclusive, None, "p99 between ? and ? ms, 5 ms allowed"),
        (298, 5, Inconclusive, None, "p99 between 1.0 and ? ms, 5 ms allowed"),
        (299, 2, Pass, Some(1.001), "p99 between 1.0 and 1.0 ms, 2 ms allowed"),
        (299, 1, Fail, Some(1.001), "p99 between 1.0 and 1.0 ms, 1 ms allowed"),
    ] {
        let mut run = Run::new();
        run.latencies(New, count, Duration::ZERO);
        let expected = Finding {
            name: "latency",
            cluster: Some(New),
            required: true,
            status,
            observed,
            limit: Some(max as f64),
            unit: "ms",
            evidence: count,
            detail: detail.to_owned(),
        };
        assert_eq!(run.finding_by("latency", Some(New), &with(max)), expected);
    }
    // Between the bounds: neither.
    let mut run = Run::new();
    run.latencies(New, 400, Duration::from_millis(1));
    assert_eq!(run.finding_by("latency", Some(New), &with(396)).status, Inconclusive);
    assert!(run.judge(Phase::DualPublish).iter().all(|f| f.name != "latency"), "none is set");
}
