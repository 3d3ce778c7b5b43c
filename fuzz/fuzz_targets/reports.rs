#![no_main]
//! Reports as somebody may have changed them: read, shown, judged together and counted.

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pusher_canary::model::RunId;
use pusher_canary::report::availability::{Availability, Component, Day};
use pusher_canary::report::runs::{self, PastRun};
use pusher_canary::report::{Matrix, MatrixHead, Pool, Report, Rules, Source};
use pusher_canary::verify::parity::{ParityFigures, RowFigures};
use pusher_canary_fuzz::{check_forms, check_pool, check_report};
use serde_json::Value;
use uuid::Uuid;

/// When the runs are judged: a day after those of the fixtures ended, since the Unix epoch.
const NOW: Duration = Duration::from_secs(1_795_500_000);
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Days of which availability is shown.
const DAYS: u16 = 30;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    if let Ok(report) = Report::from_json(&text) {
        let read = Report::from_json(&report.to_json());
        assert_eq!(read.expect("what was written is a report"), report);
        check_report(&report);
        judge(&report);
        count(&report);
    }
    if let Ok(matrix) = Matrix::from_json(&text) {
        compare(&matrix);
    }
});

/// Judges runs as `gate` does: one, one that is named twice, and two, one of which may be left out.
fn judge(report: &Report) {
    let run = RunId(Uuid::from_u128(report.run.0.as_u128() ^ 1));
    let other = Report { run, ..report.clone() };
    let named =
        |name: &str| Source { name: name.to_owned(), is_named: true, report: report.clone() };
    let found = Source { name: "the history".to_owned(), is_named: false, report: other };
    let rules = Rules {
        now: NOW,
        max_age: AGE_MAX,
        excluded: Vec::new(),
        history_counts: true,
        rehearsals_count: false,
    };
    let excluded = vec![(run.to_string(), "a broken proxy".to_owned())];
    let without = Rules { excluded, ..rules.clone() };
    for (sources, rules, runs) in [
        (vec![named("a.json")], &rules, 1),
        (vec![named("a.json"), named("b.json")], &rules, 1),
        (vec![named("a.json"), found.clone()], &rules, 2),
        (vec![named("a.json"), found], &without, 1),
    ] {
        match Pool::new(sources, rules) {
            Ok(pool) => {
                assert_eq!(pool.runs.len() + pool.outdated.len(), runs);
                check_pool(&pool);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Counts a run as the history does, and shows it.
fn count(report: &Report) {
    let past = PastRun {
        run: report.run.to_string(),
        scenario: report.scenario.clone(),
        phase: report.phase.as_str().to_owned(),
        verdict: report.verdict.as_str().to_owned(),
        started_at: report.started_at.clone(),
        losses: Some(PastRun::losses_of(report)),
    };
    assert!(!runs::to_text(&[past]).is_empty());
    let day = Day::of(report.started());
    let mut availability = Availability::new(Some(&report.scenario), day, DAYS);
    for (role, cluster) in &report.clusters {
        for component in Component::ALL {
            if let Some(counts) = cluster.counts(component) {
                availability.add(day, *role, component, counts);
            }
        }
    }
    assert!(!availability.to_text().is_empty());
    assert!(!availability.to_html().contains("<script"));
}

/// Shows a matrix, and holds a later one against it, as `parity --baseline` does.
fn compare(matrix: &Matrix) {
    let read = Matrix::from_json(&matrix.to_json()).expect("what was written is a matrix");
    assert_eq!(read, *matrix);
    check_matrix(matrix);
    let rows = matrix.rows.iter().map(|row| {
        let (readings, accepted) = (row.readings.clone(), row.accepted.clone());
        (row.row, RowFigures { readings, likeness: row.likeness, accepted })
    });
    let figures = ParityFigures { rows: rows.collect() };
    let head = MatrixHead {
        version: matrix.tool.version.clone(),
        scenario: matrix.scenario.clone(),
        began: NOW,
        ended: NOW,
        settings: Value::Null,
        left_out: matrix.left_out.clone(),
    };
    let later = Matrix::new(head, &figures, &[("earlier.json".to_owned(), read)]);
    assert!(later.unlike(matrix).iter().all(|why| !why.is_empty()));
    check_matrix(&later);
}

fn check_matrix(matrix: &Matrix) {
    let (html, junit) = (matrix.to_html(), matrix.to_junit());
    check_forms(&matrix.to_text(), &matrix.to_markdown(), &html, &junit);
}
