//! One file per command: composes and prints. What deserves a unit test lives below.

mod bench;
mod check;
mod completions;
mod evidence;
mod fleet;
mod gate;
mod history;
mod journal;
mod leave;
mod live;
mod output;
mod parity;
mod rehearse;
mod remote;
mod report;
mod run;
mod schema;
mod watch;
mod web;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::panic;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use uuid::Uuid;

use crate::cli::{Cli, Command, LogArgs, LogFormat, OverrideArgs};
use crate::exit::Exit;
use crate::model::{Member, RunId};
use crate::scenario::file::{self, Clusters, Scenario, Surroundings};
use crate::scenario::plan::{Overrides, Plan};
use crate::verify::checks::Looks;

/// Whether anything panicked, in whatever task or thread.
static PANICKED: AtomicBool = AtomicBool::new(false);

fn has_panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

/// Does what the command line says. Whatever panics on the way, the agent itself has failed then:
/// a task that nobody waits for must not end unseen.
pub fn execute(cli: &Cli) -> Exit {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::SeqCst);
        report(info);
    }));
    let exit = panic::catch_unwind(|| dispatch(cli)).unwrap_or(Exit::Failed);
    if has_panicked() { Exit::Failed } else { exit }
}

fn dispatch(cli: &Cli) -> Exit {
    start_log(&cli.log);
    let done = match &cli.command {
        Command::Rehearse(args) => rehearse::execute(args),
        Command::Check(args) => check::execute(args),
        Command::Run(args) => run::execute(args),
        Command::Parity(args) => parity::execute(args),
        Command::Report(args) => report::execute(args),
        Command::Watch(args) => watch::execute(args),
        Command::Gate(args) => gate::execute(args),
        Command::Bench(args) => bench::execute(args),
        Command::History(args) => history::execute(args),
        Command::Schema(args) => schema::execute(args),
        Command::Completions(args) => completions::execute(args),
    };
    match done {
        Ok(exit) => exit,
        Err(Stop { exit, message }) => {
            complain(&message);
            exit
        }
    }
}

/// A command that could not do its work: what to say, and how to exit.
#[derive(Debug)]
struct Stop {
    exit: Exit,
    message: String,
}

impl Stop {
    fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: message.to_string() }
    }
}

/// Says on stderr what went wrong. A closed stderr must not hide the exit code behind a panic.
fn complain(message: &str) {
    // In one piece: several processes may share it.
    let line = format!("pusher-canary: {message}\n");
    let _ = anstream::stderr().write_all(line.as_bytes());
}

/// Prints a result on stdout.
fn print(text: &str) -> Result<(), Stop> {
    let written = match anstream::stdout().write_all(text.as_bytes()) {
        // Whoever read it has read enough; the exit code still says how it ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    };
    written.map_err(|error| Stop::new(Exit::Failed, format!("stdout: {error}")))
}

fn start_log(args: &LogArgs) {
    let level = match args.verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    // Libraries log the frames that they see, which may carry signatures: only our own are shown.
    let filter = Targets::new().with_target("pusher_canary", level);
    let shown = tracing_subscriber::registry().with(filter);
    // Where nobody hears the log any more, nobody must panic for it.
    let log = fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let coloured = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && io::IsTerminal::is_terminal(&io::stderr());
    // A second subscriber can only be refused, and there is none.
    let _ = match args.log_format {
        LogFormat::Text => shown.with(log.with_ansi(coloured).with_target(false)).try_init(),
        LogFormat::Json => shown.with(log.json()).try_init(),
    };
}

/// The environment and the files of this machine. Paths in a scenario start at its own folder.
struct Machine<'a> {
    folder: &'a Path,
}

impl Surroundings for Machine<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(self.folder.join(path)).map_err(|error| error.to_string())
    }

    fn is_open_to_others(&self, path: &str) -> bool {
        const READ_OR_WRITE: u32 = 0o006;
        let metadata = std::fs::metadata(self.folder.join(path));
        metadata.is_ok_and(|of| of.is_file() && of.permissions().mode() & READ_OR_WRITE != 0)
    }
}

/// Reads a scenario and says what should be changed in it.
fn read_scenario(path: &Path, clusters: Clusters) -> Result<Scenario, Stop> {
    let scenario = load_scenario(path, clusters)?;
    warn_of(&path.display().to_string(), &scenario);
    Ok(scenario)
}

/// Says what is sound in a scenario, but should be changed.
fn warn_of(shown: &str, scenario: &Scenario) {
    for warning in &scenario.warnings {
        complain(&format!("warning: {shown}: {} {}", warning.key, warning.message));
    }
}

/// Reads a scenario.
fn load_scenario(path: &Path, clusters: Clusters) -> Result<Scenario, Stop> {
    let shown = path.display().to_string();
    let source = std::fs::read_to_string(path).map_err(|error| {
        Stop::new(Exit::Usage, format!("cannot read the scenario {shown}: {error}"))
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    read_source(&shown, &source, clusters, &Machine { folder })
}

fn read_source(
    shown: &str,
    source: &str,
    clusters: Clusters,
    machine: &Machine<'_>,
) -> Result<Scenario, Stop> {
    file::read(shown, source, clusters, machine).map_err(|problems| {
        let count = problems.list.len();
        let things = if count == 1 { "one thing".to_owned() } else { format!("{count} things") };
        Stop::new(Exit::Usage, format!("{things} to change in the scenario\n{problems}"))
    })
}

/// Makes the run's identity and seed, and plans.
fn make_plan(
    scenario: &Scenario,
    args: &OverrideArgs,
    (run, member): (RunId, Member),
) -> Result<Plan, Stop> {
    let overrides = Overrides {
        duration: args.duration,
        rate: args.rate,
        seed: args.seed,
        looks: if args.until_proven { Looks::Anytime } else { Looks::Once },
        window: None,
        member,
    };
    plan_of(scenario, overrides, run)
}

fn plan_of(scenario: &Scenario, overrides: Overrides, run: RunId) -> Result<Plan, Stop> {
    // A v7 UUID ends in random bits. Seeds are read aloud and typed again: six digits are enough.
    let fallback = run.0.as_u64_pair().1 % 1_000_000;
    Plan::new(scenario, overrides, run, fallback).map_err(|error| Stop::new(Exit::Usage, error))
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes a run's identity")]
fn new_run() -> RunId {
    RunId(Uuid::now_v7())
}

/// Opens a file for writing before anything is measured: a run must not end in a full disk or a
/// missing folder.
fn open_sink(path: &Path) -> Result<Box<dyn Write + Send>, Stop> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = File::create(path).map_err(|error| {
        Stop::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
    })?;
    Ok(Box::new(file))
}
