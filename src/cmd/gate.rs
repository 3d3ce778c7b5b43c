//! `gate`: judges finished runs together.

use std::path::Path;
use std::time::Duration;

pub(super) use crate::cli::GateArgs as Args;
use crate::exit::Exit;
use crate::history::StoredRun;
use crate::journal;
use crate::model::Clock;
use crate::report::{Excluded, Pool, PoolError, Report, Rules, Source};

use super::Stop;
use super::history;
use super::output::{Judged, Sinks};

/// Longest publishing time of a run, and what comes on top of it.
const RUN_MAX: Duration = Duration::from_secs(8 * 24 * 3_600);

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let mut sinks = Sinks::open(&args.output, &[])?;
    let mut sources = Vec::new();
    for path in &args.report {
        sources.push(Source { name: path.display().to_string(), report: read(path)? });
    }
    let now = Clock::start().wall_now();
    // Whoever runs again until it says GO leaves the other runs behind: they count as well.
    if let (false, Some(first)) = (args.no_history, sources.first()) {
        // It may have begun long before it ended.
        let since = now.saturating_sub(args.max_age + RUN_MAX);
        let digest = first.report.scenario_digest.clone();
        let runs = history::runs_since(args.history.as_deref(), &digest, since)?;
        let is_recent = |run: &StoredRun| run.report.age(now).is_none_or(|age| age <= args.max_age);
        for run in runs.into_iter().filter(is_recent) {
            sources.push(Source { name: "the history".to_owned(), report: run.report });
        }
    }
    let excluded = args.exclude.iter();
    let rules = Rules {
        now,
        max_age: args.max_age,
        excluded: excluded
            .map(|(run, reason)| Excluded { run: *run, reason: reason.clone() })
            .collect(),
        history_counts: !args.no_history,
    };
    let pool = Pool::new(sources, &rules).map_err(|error| {
        let exit = match error {
            PoolError::Nothing | PoolError::OtherScenario(..) => Exit::Usage,
            PoolError::Contradiction(..) | PoolError::Histogram(..) => Exit::Inconclusive,
        };
        Stop::new(exit, error)
    })?;
    sinks.write(&Judged::Runs(&pool))?;
    Ok(pool.verdict.into())
}

/// A report, or a journal that is judged anew.
fn read(path: &Path) -> Result<Report, Stop> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| Stop::new(Exit::Usage, format!("cannot read {shown}: {error}")))?;
    let unfit = |why: &dyn std::fmt::Display| {
        Stop::new(Exit::Inconclusive, format!("{shown} {why}; nothing is concluded from it"))
    };
    if journal::is_journal(&text) {
        let recorded = journal::read(&text).map_err(|error| unfit(&error))?;
        return Ok(Report::new(&recorded.account, recorded.end.as_ref()));
    }
    let text = String::from_utf8(text).map_err(|_| unfit(&"is no text"))?;
    Report::from_json(&text).map_err(|error| unfit(&error))
}
