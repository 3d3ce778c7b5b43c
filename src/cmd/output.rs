//! Where reports go: files and streams, opened before anything is measured.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::ReportArgs;
use crate::exit::Exit;
use crate::report::{Matrix, Pool, Report};

use super::{Stop, print};

/// A form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Junit,
    Markdown,
}

impl Form {
    const fn flag(self) -> &'static str {
        match self {
            Self::Json => "--report-json",
            Self::Html => "--report-html",
            Self::Junit => "--report-junit",
            Self::Markdown => "--report-markdown",
        }
    }

    fn render(self, judged: &Judged<'_>) -> String {
        match (self, judged) {
            (Self::Json, Judged::Run(report)) => report.to_json(),
            (Self::Html, Judged::Run(report)) => report.to_html(),
            (Self::Junit, Judged::Run(report)) => report.to_junit(),
            (Self::Markdown, Judged::Run(report)) => report.to_markdown(),
            (Self::Json, Judged::Apps(matrix)) => matrix.to_json(),
            (Self::Html, Judged::Apps(matrix)) => matrix.to_html(),
            (Self::Junit, Judged::Apps(matrix)) => matrix.to_junit(),
            (Self::Markdown, Judged::Apps(matrix)) => matrix.to_markdown(),
            (Self::Json, Judged::Runs(pool)) => pool.to_json(),
            (Self::Html, Judged::Runs(pool)) => pool.to_html(),
            (Self::Junit, Judged::Runs(pool)) => pool.to_junit(),
            (Self::Markdown, Judged::Runs(pool)) => pool.to_markdown(),
        }
    }
}

/// What has a verdict.
pub(super) enum Judged<'a> {
    /// A run.
    Run(&'a Report),
    /// Several together.
    Runs(&'a Pool),
    /// Two apps.
    Apps(&'a Matrix),
}

impl Judged<'_> {
    fn to_text(&self) -> String {
        match self {
            Self::Run(report) => report.to_text(),
            Self::Runs(pool) => pool.to_text(),
            Self::Apps(matrix) => matrix.to_text(),
        }
    }
}

/// What one form is written to. A file is opened before the first connection, so that a run does
/// not end in a missing folder, and keeps what it held until there is something to take its place.
pub(super) enum Sink {
    /// Standard output.
    Stdout,
    /// A file.
    File(File),
}

impl Sink {
    /// Opens it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn open(path: &Path) -> Result<Self, Stop> {
        if is_stdout(path) {
            return Ok(Self::Stdout);
        }
        let opened = File::options().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| {
            Stop::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
        })?;
        Ok(Self::File(file))
    }

    /// Writes all of it, in place of what was there.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout();
                match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    written => written,
                }
            }
            Self::File(file) => {
                // A pipe or a terminal has no length to set.
                if file.metadata()?.is_file() {
                    file.set_len(0)?;
                }
                file.write_all(text.as_bytes())?;
                file.flush()
            }
        }
    }
}

/// Whether a path means standard output.
pub(super) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses to write two things to standard output.
///
/// # Errors
/// Two flags say `-`.
pub(super) fn check_stdout(asked: &[(&'static str, Option<&Path>)]) -> Result<(), Stop> {
    let on_stdout = asked.iter().filter(|(_, path)| path.is_some_and(is_stdout));
    let flags: Vec<_> = on_stdout.map(|(flag, _)| *flag).collect();
    match flags.as_slice() {
        [] | [_] => Ok(()),
        [first, second, ..] => {
            let message = format!("{first} and {second} cannot both be -; name a file for one");
            Err(Stop::new(Exit::Usage, message))
        }
    }
}

/// Refuses to write over what is read, or two things into one file.
pub(super) fn check_files(
    asked: &[(&'static str, Option<&Path>)],
    read: &[&Path],
) -> Result<(), Stop> {
    let files = asked.iter().filter_map(|(flag, path)| Some((*flag, (*path)?)));
    let mut written: Vec<(&str, Place)> = Vec::new();
    for (flag, path) in files.filter(|(_, path)| !is_stdout(path)) {
        let shown = path.display();
        let Some(file) = place(path) else { continue };
        if read.iter().any(|read| place(read).is_some_and(|read| read == file)) {
            let message = format!("{flag} would write over {shown}, which is read; name another");
            return Err(Stop::new(Exit::Usage, message));
        }
        if let Some((other, _)) = written.iter().find(|(_, known)| *known == file) {
            let message =
                format!("{other} and {flag} cannot both be {shown}; name another for one");
            return Err(Stop::new(Exit::Usage, message));
        }
        written.push((flag, file));
    }
    Ok(())
}

/// Where something is, or would be.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A file that is there: its device and inode.
    File(u64, u64),
    /// One that is not there yet.
    Path(PathBuf),
}

/// Which file a path means; `None` for what keeps nothing, such as a pipe or `/dev/null`.
fn place(path: &Path) -> Option<Place> {
    if let Ok(there) = path.metadata() {
        return there.is_file().then(|| Place::File(there.dev(), there.ino()));
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
    Some(Place::Path(folder.join(path.file_name()?)))
}

/// Where the report goes.
pub(super) struct Sinks {
    forms: Vec<(Form, Sink)>,
    /// Stdout is for something else.
    table_on_stderr: bool,
    quiet: bool,
}

impl Sinks {
    /// Opens what the command line asks for; `others` are other files that are written, `read`
    /// those that are read.
    ///
    /// # Errors
    /// A file cannot be opened, or is read as well, or two things go to one place.
    pub(super) fn open(
        args: &ReportArgs,
        others: &[(&'static str, Option<&Path>)],
        read: &[&Path],
    ) -> Result<Self, Stop> {
        let forms = [
            (Form::Json, args.report_json.as_deref()),
            (Form::Html, args.report_html.as_deref()),
            (Form::Junit, args.report_junit.as_deref()),
            (Form::Markdown, args.report_markdown.as_deref()),
        ];
        let mut asked = others.to_vec();
        asked.extend(forms.iter().map(|(form, path)| (form.flag(), *path)));
        check_stdout(&asked)?;
        check_files(&asked, read)?;
        let opened = forms.into_iter().filter_map(|(form, path)| {
            let sink = Sink::open(path?);
            Some(sink.map(|sink| (form, sink)))
        });
        Ok(Self {
            forms: opened.collect::<Result<_, _>>()?,
            table_on_stderr: asked.iter().any(|(_, path)| path.is_some_and(is_stdout)),
            quiet: args.quiet,
        })
    }

    /// Leaves nothing in the files: what an earlier run wrote there is no outcome of this one.
    pub(super) fn clear(&mut self) {
        for (_, sink) in &mut self.forms {
            if let Sink::File(_) = sink {
                // There is an error to be told already.
                let _ = sink.write("");
            }
        }
    }

    /// Writes what was asked for. What cannot be written keeps nothing else from it.
    ///
    /// # Errors
    /// The first thing that could not be written.
    pub(super) fn write(&mut self, judged: &Judged<'_>) -> Result<(), Stop> {
        let mut first = Ok(());
        for (form, sink) in &mut self.forms {
            let written = sink.write(&form.render(judged));
            let written = written
                .map_err(|error| Stop::new(Exit::Failed, format!("{}: {error}", form.flag())));
            first = first.and(written);
        }
        if !self.quiet {
            let text = judged.to_text();
            if self.table_on_stderr {
                let _ = anstream::stderr().write_all(text.as_bytes());
            } else {
                first = first.and(print(&text));
            }
        }
        first
    }
}
