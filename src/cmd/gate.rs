//! `gate`: judges finished runs together.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use crate::cli::GateArgs as Args;
use crate::exit::Exit;
use crate::history::StoredRun;
use crate::journal;
use crate::model::Clock;
use crate::report::{Pool, PoolError, Report, Rules, Source};

use super::Stop;
use super::history;
use super::output::{Judged, Sinks};

/// Longest publishing time of a run, and what comes on top of it.
const RUN_MAX: Duration = Duration::from_secs(8 * 24 * 3_600);
/// Whoever looked within this time has looked, however short a time runs count.
const LOOKS_WITHIN: Duration = Duration::from_secs(24 * 3_600);

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let history = if args.no_history { None } else { history::known(args.history.as_deref()) };
    let read: Vec<_> = args.report.iter().chain(&history).map(PathBuf::as_path).collect();
    let mut sinks = Sinks::open(&args.output, &[], &read)?;
    // Whoever looks at a form without the exit code must not see what an earlier gate said.
    let pool = judge(args).inspect_err(|_| sinks.clear())?;
    sinks.write(&Judged::Runs(&pool))?;
    Ok(pool.verdict.into())
}

fn judge(args: &Args) -> Result<Pool, Stop> {
    let mut sources = Vec::new();
    for path in &args.report {
        let name = path.display().to_string();
        sources.push(Source { name, is_named: true, report: read(path)? });
    }
    let now = Clock::start().wall_now();
    // Whoever runs again until it says GO leaves the other runs behind: they count as well.
    if let (false, Some(first)) = (args.no_history, sources.first()) {
        // It may have begun long before it ended.
        let since = now.saturating_sub(args.max_age.max(LOOKS_WITHIN) + RUN_MAX);
        let digest = first.report.scenario_digest.clone();
        let runs = history::runs_since(args.history.as_deref(), &digest, since)?;
        let within = args.max_age.max(LOOKS_WITHIN);
        let is_recent = |run: &StoredRun| run.report.age(now).is_none_or(|age| age <= within);
        sources.extend(runs.into_iter().filter(is_recent).map(|StoredRun { report, .. }| Source {
            name: "the history".to_owned(),
            is_named: false,
            report,
        }));
    }
    let rules = Rules {
        now,
        max_age: args.max_age,
        excluded: args.exclude.clone(),
        history_counts: !args.no_history,
        rehearsals_count: args.rehearsals,
    };
    Pool::new(sources, &rules).map_err(|error| {
        let exit = match error {
            PoolError::Nothing
            | PoolError::OtherScenario(..)
            | PoolError::NoSuchRun(_)
            | PoolError::Ambiguous(_) => Exit::Usage,
            PoolError::Contradiction(..) | PoolError::Histogram(..) => Exit::Inconclusive,
        };
        Stop::new(exit, error)
    })
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
    if text.is_empty() {
        return Err(unfit(&"is empty: did its run end?"));
    }
    let text = String::from_utf8(text).map_err(|_| unfit(&"is no text"))?;
    Report::from_json(&text).map_err(|error| unfit(&error))
}
