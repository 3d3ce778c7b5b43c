//! The run history: finished runs in an SQLite file, for `history`, and for whoever judges several
//! runs together. The one place that knows of SQLite.
//!
//! A run is added in one transaction and never changed. Several processes may use one file: each
//! waits up to ten seconds for the others. Reports hold no secret, and nothing else is kept.

mod schema;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use crate::model::{ClusterRole, RunId};
use crate::report::availability::{Component, Counts, Day};
use crate::report::runs::PastRun;
use crate::report::{ReadError, Report};
use crate::verify::verdict::Verdict;

/// How long one process waits for another that writes.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// Runs that are named where the beginning of an id means more than one.
const NAMED_MAX: usize = 3;

/// Why a history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is none.
    #[error("there is no history at {}; `run` keeps one there, unless it is told not to", .0.display())]
    Missing(PathBuf),
    /// Its folder is missing, and cannot be made.
    #[error("cannot make the folder of the history {}: {source}", path.display())]
    Folder {
        /// The history.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite says no.
    #[error("cannot use the history {}: {source}", path.display())]
    Database {
        /// The history.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is a database of something else.
    #[error("cannot use the history {}: it is a database of another program", .0.display())]
    Foreign(PathBuf),
    /// A later version of the program has written it.
    #[error(
        "the history {} has version {found}, and this pusher-canary knows {} at most; \
         use the newer pusher-canary that wrote it, or name another file with --history",
        path.display(), schema::VERSION
    )]
    Newer {
        /// The history.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The run is in it, and nothing in it is ever replaced.
    #[error("the history {} has run {run} already", path.display())]
    Kept {
        /// The history.
        path: PathBuf,
        /// The run.
        run: RunId,
    },
    /// No run has such an id.
    #[error("the history has no run {0}; `history list` names those that there are")]
    Unknown(String),
    /// Several runs have an id that begins so.
    #[error("{prefix} begins the ids of more than one run: {}; type more of it", runs.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Some of the runs.
        runs: Vec<String>,
    },
    /// A report in it cannot be read.
    #[error("the report of run {run} in the history {source}")]
    Report {
        /// The run.
        run: String,
        /// Why.
        source: ReadError,
    },
}

/// A run that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    /// The run.
    pub run: RunId,
    /// When it began, as the time since the Unix epoch, to the millisecond.
    pub started: Duration,
    /// Its verdict.
    pub verdict: Verdict,
    /// All of it.
    pub report: Report,
}

/// What one run counted of a component of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayCounts {
    /// The day on which the run began.
    pub day: Day,
    /// The cluster.
    pub cluster: ClusterRole,
    /// The component.
    pub component: Component,
    /// The counts.
    pub counts: Counts,
}

/// An open history.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    connection: Connection,
}

impl History {
    /// Opens a history that is there, and brings it to the present version.
    ///
    /// # Errors
    /// There is none, it is none, a newer version wrote it, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if !path.exists() {
            return Err(HistoryError::Missing(path.to_owned()));
        }
        Self::connect(path, OpenFlags::empty())
    }

    /// Opens a history to add to it, and makes it if there is none: its folder too, for nobody else
    /// to look into.
    ///
    /// # Errors
    /// Those of [`History::open`] but the first; or it cannot be written.
    pub fn open_to_add(path: &Path) -> Result<Self, HistoryError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|source| HistoryError::Folder { path: path.to_owned(), source })?;
        }
        let mut history = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        // SQLite opens what it may only read, and would say so no sooner than after the run.
        history.write(|_| Ok(()))?;
        Ok(history)
    }

    fn connect(path: &Path, more: OpenFlags) -> Result<Self, HistoryError> {
        let failed = |source| HistoryError::Database { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_MAX).map_err(failed)?;
        let mut history = Self { path: path.to_owned(), connection };
        history.bring_up_to_date()?;
        Ok(history)
    }

    fn failed(&self, source: rusqlite::Error) -> HistoryError {
        HistoryError::Database { path: self.path.clone(), source }
    }

    /// Does several things or none of them, alone among all processes.
    fn write(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), HistoryError> {
        let Self { path, connection } = self;
        let all = || {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&transaction)?;
            transaction.commit()
        };
        all().map_err(|source| HistoryError::Database { path: path.clone(), source })
    }

    /// Looks at the version, and migrates what is older.
    fn bring_up_to_date(&mut self) -> Result<(), HistoryError> {
        let found = schema::found(&self.connection).map_err(|error| self.failed(error))?;
        match found {
            schema::Found::Present => return Ok(()),
            schema::Found::Foreign => return Err(HistoryError::Foreign(self.path.clone())),
            schema::Found::Newer(found) => {
                return Err(HistoryError::Newer { path: self.path.clone(), found });
            }
            schema::Found::Older => {}
        }
        schema::share(&self.connection, BUSY_MAX).map_err(|error| self.failed(error))?;
        self.write(schema::migrate)
    }

    /// Adds a finished run.
    ///
    /// # Errors
    /// The history has it already, or cannot be written.
    pub fn add(&mut self, report: &Report) -> Result<(), HistoryError> {
        let mut is_kept = false;
        let added = self.write(|transaction| {
            is_kept = exists(transaction, report.run)?;
            if is_kept { Ok(()) } else { insert(transaction, report) }
        });
        match added {
            Ok(()) if is_kept => {
                Err(HistoryError::Kept { path: self.path.clone(), run: report.run })
            }
            added => added,
        }
    }

    /// Past runs, the newest first: of one scenario, by its name, or of all; at most `limit`.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn list(&self, scenario: Option<&str>, limit: u32) -> Result<Vec<PastRun>, HistoryError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT run, scenario, phase, verdict, started_at, report FROM runs
                 WHERE ?1 IS NULL OR scenario = ?1
                 ORDER BY started_ms DESC, run DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![scenario, limit], |row| {
                let report = Report::from_json(&row.get::<_, String>("report")?).ok();
                Ok(PastRun {
                    run: row.get("run")?,
                    scenario: row.get("scenario")?,
                    phase: row.get("phase")?,
                    verdict: row.get("verdict")?,
                    started_at: row.get("started_at")?,
                    losses: report.as_ref().map(PastRun::losses_of),
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// The report of the run with this id, or of the only one whose id begins so.
    ///
    /// # Errors
    /// There is no such run, or more than one; the history or the report cannot be read.
    pub fn find(&self, prefix: &str) -> Result<Report, HistoryError> {
        let prefix = prefix.to_lowercase();
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT run FROM runs WHERE substr(run, 1, length(?1)) = ?1
                 ORDER BY started_ms DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![prefix, NAMED_MAX], |row| row.get(0))?;
            rows.collect::<Result<Vec<String>, _>>()
        };
        let mut runs = read().map_err(|error| self.failed(error))?;
        match (runs.pop(), runs.is_empty()) {
            (Some(run), true) => self.report(run),
            (Some(run), false) => {
                runs.push(run);
                Err(HistoryError::Ambiguous { prefix, runs })
            }
            (None, _) => Err(HistoryError::Unknown(prefix)),
        }
    }

    fn report(&self, run: String) -> Result<Report, HistoryError> {
        let stored: Option<String> = self
            .connection
            .query_row("SELECT report FROM runs WHERE run = ?1", [&run], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        let Some(stored) = stored else { return Err(HistoryError::Unknown(run)) };
        Report::from_json(&stored).map_err(|source| HistoryError::Report { run, source })
    }

    /// The runs of one scenario, by its digest, that began at `since` (since the Unix epoch) or
    /// later, the oldest first.
    ///
    /// # Errors
    /// The history or a report cannot be read.
    pub fn runs_of(
        &self,
        scenario_digest: &str,
        since: Duration,
    ) -> Result<Vec<StoredRun>, HistoryError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT run, report FROM runs WHERE scenario_digest = ?1 AND started_ms >= ?2
                 ORDER BY started_ms, run",
            )?;
            let rows = statement.query_map(params![scenario_digest, millis(since)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            rows.collect::<Result<Vec<(String, String)>, _>>()
        };
        let rows = read().map_err(|error| self.failed(error))?;
        let stored = |(run, json): (String, String)| {
            let report =
                Report::from_json(&json).map_err(|source| HistoryError::Report { run, source })?;
            let (run, started, verdict) = (report.run, report.started(), report.verdict);
            Ok(StoredRun { run, started, verdict, report })
        };
        rows.into_iter().map(stored).collect()
    }

    /// What runs counted from this day on: of one scenario, by its name, or of all.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn counts(
        &self,
        scenario: Option<&str>,
        first: Day,
    ) -> Result<Vec<DayCounts>, HistoryError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT day, cluster, component, sum(good) AS good, sum(bad) AS bad
                 FROM counts JOIN runs USING (run)
                 WHERE day >= ?1 AND (?2 IS NULL OR scenario = ?2)
                 GROUP BY day, cluster, component",
            )?;
            let mut rows = statement.query(params![first.0, scenario])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (cluster, component): (String, String) =
                    (row.get("cluster")?, row.get("component")?);
                let component = Component::ALL.into_iter().find(|c| c.as_str() == component);
                let (Ok(cluster), Some(component)) = (cluster.parse(), component) else { continue };
                let day = Day(row.get("day")?);
                let counts = Counts { good: row.get("good")?, bad: row.get("bad")? };
                found.push(DayCounts { day, cluster, component, counts });
            }
            Ok(found)
        };
        read().map_err(|error| self.failed(error))
    }
}

/// Milliseconds since the Unix epoch.
fn millis(since_epoch: Duration) -> i64 {
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

fn exists(connection: &Connection, run: RunId) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?1)";
    connection.query_row(sql, [run.to_string()], |row| row.get(0))
}

fn insert(connection: &Connection, report: &Report) -> rusqlite::Result<()> {
    let json = serde_json::to_string(report)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection.execute(
        "INSERT INTO runs (run, scenario, scenario_digest, phase, verdict,
                           started_ms, started_at, ended_ms, ended_at, report)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            report.run.to_string(),
            report.scenario,
            report.scenario_digest,
            report.phase.as_str(),
            report.verdict.as_str(),
            millis(report.started()),
            if report.started_at.is_empty() { &report.ended_at } else { &report.started_at },
            millis(report.ended()),
            report.ended_at,
            json,
        ],
    )?;
    insert_counts(connection, report)
}

/// The counts of a report. They follow from it: they are kept beside it so that a year of days can
/// be added up without reading every report of it.
fn insert_counts(connection: &Connection, report: &Report) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "INSERT INTO counts (run, cluster, component, day, good, bad)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let (run, day) = (report.run.to_string(), Day::of(report.started()));
    for (role, cluster) in &report.clusters {
        for component in Component::ALL {
            let Some(Counts { good, bad }) = cluster.counts(component) else { continue };
            let (role, component) = (role.as_str(), component.as_str());
            statement.execute(params![run, role, component, day.0, good, bad])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
