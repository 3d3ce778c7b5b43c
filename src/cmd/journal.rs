//! The journal's file: one writer, which only appends, and a report from what was written.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::journal::Encoder;
use crate::verify::record::Record;

use super::Stop;

/// Lines that may wait for a slow disk: about an hour of them.
const LINES_QUEUED_MAX: usize = 4_096;

/// A journal that is written. A thread of its own waits for the disk: the run must not.
pub(super) struct Journal {
    encoder: Encoder,
    lines: SyncSender<String>,
    /// Whether a line found no room.
    is_full: bool,
    stop: CancellationToken,
    writer: JoinHandle<io::Result<()>>,
}

/// Where a journal goes, opened before the first connection.
pub(super) enum Target {
    /// Standard output.
    Stdout,
    /// A file, which nobody else writes.
    File(File),
}

impl Target {
    /// Opens a new journal.
    ///
    /// # Errors
    /// The file cannot be written, somebody else writes it, or it holds something: the record of
    /// a run is never overwritten.
    pub(super) fn open(path: &Path) -> Result<Self, Stop> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let shown = path.display();
        let failed = |why: &dyn std::fmt::Display| {
            Stop::new(Exit::Usage, format!("cannot write the journal {shown}: {why}"))
        };
        let opened = File::options().append(true).create(true).open(path);
        let file = opened.map_err(|error| failed(&error))?;
        if file.try_lock().is_err() {
            return Err(failed(&"another process writes it"));
        }
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if metadata.is_file() && metadata.len() > 0 {
            return Err(failed(&"it holds a record already; name a new file"));
        }
        Ok(Self::File(file))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
            }
            Self::File(file) => file.write_all(line.as_bytes()),
        }
    }
}

impl Journal {
    /// Starts writing. Should it fail, `stop` is cancelled: a run that cannot be recorded shall not
    /// go on.
    pub(super) fn start(mut target: Target, stop: CancellationToken) -> Self {
        let (lines, lines_in) = sync_channel::<String>(LINES_QUEUED_MAX);
        let on_failure = stop.clone();
        let writer = std::thread::spawn(move || {
            let mut written = lines_in.iter().try_for_each(|line| target.write(&line));
            if let (Ok(()), Target::File(file)) = (&written, &target)
                && file.metadata().is_ok_and(|metadata| metadata.is_file())
            {
                written = file.sync_data();
            }
            written.inspect_err(|_| on_failure.cancel())
        });
        Self { encoder: Encoder::default(), lines, is_full: false, stop, writer }
    }

    /// Writes a record behind the others.
    pub(super) fn append(&mut self, record: &Record) {
        // Where the writer is gone, it has failed, and says so at the end.
        if let Err(TrySendError::Full(_)) = self.lines.try_send(self.encoder.line(record)) {
            self.is_full = true;
            self.stop.cancel();
        }
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// Something could not be written.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.lines);
        let panicked = |_| Err(io::Error::other("its writer panicked"));
        self.writer.join().unwrap_or_else(panicked)?;
        if self.is_full {
            return Err(io::Error::other("the disk took its lines too slowly"));
        }
        Ok(())
    }
}
