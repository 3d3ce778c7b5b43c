//! The tables, version by version. What is written here was released: a change is a new version.

use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction};

use crate::report::Report;

use super::insert_counts;

/// The present version. SQLite keeps it in the file's head, as `user_version`.
pub(super) const VERSION: i64 = 2;
/// Tells our files from other databases: `PCan`, as SQLite's `application_id`.
const APPLICATION: i64 = 0x5043_616E;
/// Between two attempts at what SQLite does not wait for itself.
const PAUSE: Duration = Duration::from_millis(10);

/// Version 1: runs, each with its whole report. What is a plain column as well is there to be
/// looked for, and to be shown should the report be of a form that is not known any more.
const RUNS: &str = "
CREATE TABLE runs (
    run             TEXT    PRIMARY KEY,
    scenario        TEXT    NOT NULL,
    scenario_digest TEXT    NOT NULL,
    phase           TEXT    NOT NULL,
    verdict         TEXT    NOT NULL,
    started_ms      INTEGER NOT NULL,
    started_at      TEXT    NOT NULL,
    ended_ms        INTEGER NOT NULL,
    ended_at        TEXT    NOT NULL,
    report          TEXT    NOT NULL
) STRICT;
CREATE INDEX runs_by_start ON runs (started_ms);
CREATE INDEX runs_by_digest ON runs (scenario_digest, started_ms);
";

/// Version 2: what each run counted, by cluster, component and day (days since 1970-01-01, UTC).
const COUNTS: &str = "
CREATE TABLE counts (
    run       TEXT    NOT NULL REFERENCES runs (run),
    cluster   TEXT    NOT NULL,
    component TEXT    NOT NULL,
    day       INTEGER NOT NULL,
    good      INTEGER NOT NULL,
    bad       INTEGER NOT NULL,
    PRIMARY KEY (run, cluster, component)
) STRICT, WITHOUT ROWID;
CREATE INDEX counts_by_day ON counts (day);
";

/// What a file turns out to be.
pub(super) enum Found {
    /// A history of the present version.
    Present,
    /// An older history, or nothing yet.
    Older,
    /// A history of a later version.
    Newer(i64),
    /// A database of something else.
    Foreign,
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// What the file is.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<Found> {
    let version = pragma(connection, "user_version")?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let is_empty = connection.query_row(count, [], |row| row.get::<_, i64>(0))? == 0;
    let is_ours = pragma(connection, "application_id")? == APPLICATION;
    Ok(match version {
        _ if !is_ours && !is_empty => Found::Foreign,
        VERSION => Found::Present,
        newer if newer > VERSION => Found::Newer(newer),
        _ => Found::Older,
    })
}

/// Lets several processes use the file at once: who reads does not wait for who writes. SQLite
/// remembers it with the file. Where it cannot be, on some network drives, they wait.
///
/// # Errors
/// Others have used the file for all of `max`.
pub(super) fn share(connection: &Connection, max: Duration) -> rusqlite::Result<()> {
    // SQLite takes a lock for reading first, and rather than wait with that in its hand, as two
    // might for each other for ever, it gives up at once.
    let mut waited = Duration::ZERO;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error) if is_busy(&error) && waited < max => {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
            shared => return shared,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Brings the tables to the present version, whichever they have, and be it that.
pub(super) fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // Another process may have done it since the version was looked at.
    let version = pragma(transaction, "user_version")?;
    if version < 1 {
        transaction.execute_batch(RUNS)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
    }
    if version < 2 {
        transaction.execute_batch(COUNTS)?;
        count_stored_runs(transaction)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(())
}

/// Counts what the stored reports say. One that cannot be read has no counts: its day is unknown.
fn count_stored_runs(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare("SELECT report FROM runs")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(report) = Report::from_json(&row.get::<_, String>(0)?) {
            insert_counts(transaction, &report)?;
        }
    }
    Ok(())
}
