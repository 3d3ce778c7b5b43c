//! `history`: past runs and availability; and the place where `run` keeps its own.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use crate::cli::HistoryArgs as Args;
use crate::cli::{AvailabilityArgs, HistoryCommand, KeepArgs};
use crate::exit::Exit;
use crate::history::{History, HistoryError, StoredRun};
use crate::model::Clock;
use crate::report::Report;
use crate::report::availability::{Availability, Day};
use crate::report::runs;

use super::output::{Judged, Sink, Sinks, check_files, is_stdout};
use super::{Stop, print};

/// Where the history is, below the folder for state.
const FILE: &str = "pusher-canary/history.sqlite";

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let path = place(args.history.as_deref())?;
    match &args.command {
        HistoryCommand::List { scenario, limit } => {
            let history = History::open(&path).map_err(unusable)?;
            let list = history.list(scenario.as_deref(), *limit).map_err(unusable)?;
            print(&runs::to_text(&list))?;
            Ok(Exit::Go)
        }
        HistoryCommand::Show { run, output } => {
            let history = History::open(&path).map_err(unusable)?;
            let report = history.find(run).map_err(unusable)?;
            Sinks::open(output, &[], &[&path])?.write(&Judged::Run(&report))?;
            Ok(report.verdict.into())
        }
        HistoryCommand::Availability(args) => availability(&path, args),
    }
}

fn unusable(error: HistoryError) -> Stop {
    Stop::new(Exit::Usage, error)
}

fn availability(path: &Path, args: &AvailabilityArgs) -> Result<Exit, Stop> {
    let AvailabilityArgs { days, scenario, html } = args;
    check_files(&[("--html", html.as_deref())], &[path])?;
    let history = History::open(path).map_err(unusable)?;
    let mut page = html.as_deref().map(Sink::open).transpose()?;
    let today = Day::of(Clock::start().wall_now());
    let mut availability = Availability::new(scenario.as_deref(), today, *days);
    let counts = history.counts(scenario.as_deref(), availability.first()).map_err(unusable)?;
    for of in counts {
        availability.add(of.day, of.cluster, of.component, of.counts);
    }
    if let Some(page) = &mut page {
        let written = page.write(&availability.to_html());
        written.map_err(|error| Stop::new(Exit::Failed, format!("--html: {error}")))?;
    }
    let text = availability.to_text();
    if html.as_deref().is_some_and(is_stdout) {
        let _ = anstream::stderr().write_all(text.as_bytes());
    } else {
        print(&text)?;
    }
    Ok(Exit::Go)
}

/// Where the history is: as named, else in the user's folder for state.
fn place(named: Option<&Path>) -> Result<PathBuf, Stop> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    default_place(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")).ok_or_else(|| {
        let message = "there is no place for a history: neither XDG_STATE_HOME nor HOME is set; \
                       name a file with --history";
        Stop::new(Exit::Usage, message)
    })
}

/// The history as named, else the user's own if there is one.
pub(super) fn known(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_owned()),
        None => place(None).ok().filter(|path| path.exists()),
    }
}

/// Runs of a scenario that the history holds since an instant of the day. Where nobody named a
/// history, and there is none, there are no runs.
pub(super) fn runs_since(
    named: Option<&Path>,
    digest: &str,
    since: Duration,
) -> Result<Vec<StoredRun>, Stop> {
    let Some(path) = known(named) else { return Ok(Vec::new()) };
    let history = History::open(&path).map_err(unusable)?;
    history.runs_of(digest, since).map_err(unusable)
}

/// The XDG base directory specification: what is no absolute path is as good as not set.
fn default_place(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let in_home = || Some(home.and_then(absolute)?.join(".local/state"));
    Some(state.and_then(absolute).or_else(in_home)?.join(FILE))
}

/// Where a run will be kept; `None` if it shall not be. That it can be is known before the first
/// connection.
pub(super) fn prepare(args: &KeepArgs) -> Result<Option<PathBuf>, Stop> {
    if args.no_history {
        return Ok(None);
    }
    let advise = |mut stop: Stop| {
        stop.message.push_str(" (--no-history keeps none)");
        stop
    };
    let path = place(args.history.as_deref()).map_err(advise)?;
    // Opened again after the run: meanwhile the file may be moved, or migrated by another process.
    History::open_to_add(&path).map_err(|error| advise(unusable(error)))?;
    Ok(Some(path))
}

/// Keeps a finished run.
pub(super) fn keep(path: &Path, report: &Report) -> Result<(), Stop> {
    let added = History::open_to_add(path).and_then(|mut history| history.add(report));
    added.map_err(|error| Stop::new(Exit::Failed, format!("the run is not kept: {error}")))?;
    tracing::info!(run = %report.run, history = %path.display(), "run kept");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_place_is_as_the_xdg_specification_has_it() {
        let place = |state: Option<&str>, home: Option<&str>| {
            let found = default_place(state.map(OsString::from), home.map(OsString::from));
            found.map(|path| path.to_str().unwrap().to_owned())
        };
        let below = |folder: &str| Some(format!("{folder}/pusher-canary/history.sqlite"));
        assert_eq!(place(Some("/state"), Some("/home/a")), below("/state"));
        assert_eq!(place(None, Some("/home/a")), below("/home/a/.local/state"));
        assert_eq!(place(Some(""), Some("/home/a")), below("/home/a/.local/state"));
        assert_eq!(place(Some("relative"), Some("/home/a")), below("/home/a/.local/state"));
        assert_eq!(place(Some("relative"), None), None);
        assert_eq!(place(None, Some("")), None);
    }
}
