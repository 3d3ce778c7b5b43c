//! A run with everything around it: signals, progress, metrics, reports, exit code.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Hooks, Task, vitals};
use crate::cli::OutputArgs;
use crate::exit::Exit;
use crate::metrics::{registry, serve};
use crate::model::{Clock, ClusterRole, RunTime};
use crate::report::{self, Circumstances, Report};
use crate::scenario::plan::Plan;
use crate::verify::account::Account;
use crate::verify::checks::percent;

use super::{Stop, complain, print};

/// What the rehearsal clusters counted, by cluster and fault.
pub(super) type RehearsalCounts = BTreeMap<ClusterRole, BTreeMap<String, u64>>;

/// The runtime that a command's tasks run on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::new(Exit::Failed, format!("no runtime: {error}")))
}

/// Where the report goes as JSON. A file is opened before the first connection, so that a run does
/// not end in a missing folder, and keeps what it held until there is something to take its place.
enum Json {
    Stdout,
    File(File),
}

impl Json {
    fn open(path: &Path) -> Result<Self, Stop> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let opened = File::options().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| {
            Stop::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
        })?;
        Ok(Self::File(file))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
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

/// Where reports go, opened before the first connection.
pub(super) struct Sinks {
    json: Option<Json>,
    /// Stdout is for something else.
    table_on_stderr: bool,
    quiet: bool,
}

impl Sinks {
    /// Opens what the command line asks for; `other` is one more file that is written.
    pub(super) fn open(args: &OutputArgs, other: Option<&Path>) -> Result<Self, Stop> {
        let on_stdout = |path: Option<&Path>| path == Some(Path::new("-"));
        Ok(Self {
            json: args.report_json.as_deref().map(Json::open).transpose()?,
            table_on_stderr: on_stdout(args.report_json.as_deref()) || on_stdout(other),
            quiet: args.quiet,
        })
    }

    /// Writes what was asked for. What cannot be written keeps nothing else from it.
    fn write(&mut self, report: &Report) -> Result<(), Stop> {
        let json = self.json.as_mut().map_or(Ok(()), |json| json.write(&report.to_json()));
        if !self.quiet {
            let text = report.to_text();
            if self.table_on_stderr {
                let _ = anstream::stderr().write_all(text.as_bytes());
            } else {
                print(&text)?;
            }
        }
        json.map_err(|error| Stop::new(Exit::Failed, format!("--report-json: {error}")))
    }
}

/// What a run is made with.
pub(super) struct Live<'a> {
    /// The plan.
    pub(super) plan: &'a Plan,
    /// The flags about outcome.
    pub(super) output: &'a OutputArgs,
    /// Where reports go.
    pub(super) sinks: Sinks,
    /// Whether the clusters live in this process.
    pub(super) clusters_within: bool,
    /// The task that shall panic.
    pub(super) sabotage: Option<Task>,
}

impl Live<'_> {
    /// Runs, reports, and says how to exit. `rehearsal` is asked once everything has been
    /// measured.
    pub(super) fn execute(
        self,
        rehearsal: impl FnOnce() -> Result<Option<RehearsalCounts>, Stop>,
    ) -> Result<Exit, Stop> {
        let Self { plan, output, mut sinks, clusters_within, sabotage } = self;
        if !plan.reaches_proof() {
            complain(&format!(
                "warning: {} events cannot prove a loss rate below {} at {} confidence, which takes \
                 {}; the verdict will not be GO",
                plan.bill.events,
                percent(plan.requirements.limits.loss_rate_max),
                percent(plan.requirements.limits.confidence),
                plan.trials_needed()
            ));
        }
        tracing::info!(run = %plan.run, seed = plan.seed, scenario = plan.name, "run begins");
        vitals::raise_descriptors();
        let runtime = runtime()?;
        let clock = Clock::start();
        let finished = runtime.block_on(measure(plan, clock, output, clusters_within, sabotage));
        // Tasks that are left are cut off: every one that mattered was joined. A name that is still
        // being resolved would otherwise hold up a start that failed for as long as the resolver.
        runtime.shutdown_background();
        let finished = finished?;
        // Whatever happened to the clusters, what was measured is kept.
        let (rehearsal, failed) = match rehearsal() {
            Ok(counts) => (counts, Ok(())),
            Err(stop) => (None, Err(stop)),
        };
        let circumstances = Circumstances {
            clock,
            started: finished.started,
            ended: finished.ended,
            cut_short: finished.cut_short,
            panicked: finished
                .panicked
                .map(Task::as_str)
                .or_else(|| super::has_panicked().then_some("background task"))
                .map(str::to_owned),
            rehearsal,
        };
        let report = Report::new(plan, &finished.account, &circumstances);
        sinks.write(&report)?;
        tracing::info!(verdict = report.verdict.as_str(), "run ends");
        failed?;
        Ok(report.verdict.into())
    }
}

async fn measure(
    plan: &Plan,
    clock: Clock,
    output: &OutputArgs,
    clusters_within: bool,
    sabotage: Option<Task>,
) -> Result<agent::Finished, Stop> {
    let stop = CancellationToken::new();
    let obeying = obey(listen_for_signals()?, stop.clone(), plan.horizon);
    let (page, page_in) = watch::channel::<Arc<str>>(Arc::from(""));
    let serving = CancellationToken::new();
    let server = match output.listen {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                Stop::new(Exit::Usage, format!("cannot listen on {address}: {error}"))
            })?;
            if let Ok(address) = listener.local_addr() {
                complain(&format!("metrics on http://{address}/metrics"));
            }
            Some(tokio::spawn(serve::run(listener, page_in, serving.clone())))
        }
    };
    let mut progress = Progress::new(plan, clock, output.quiet);
    let for_page = server.is_some().then(|| plan.clone());
    let observe = move |account: &Account, now: RunTime| {
        progress.show(account, now);
        if let Some(plan) = &for_page {
            page.send_replace(registry::render(plan, &clock, account).into());
        }
    };
    let hooks = Hooks { clusters_within, stop, observe, sabotage };
    let finished = tokio::select! {
        finished = agent::run(plan, clock, hooks) => finished,
        never = obeying => match never {},
    };
    serving.cancel();
    if let Some(server) = server {
        // Its panic, if it did, is known already.
        let _ = server.await;
    }
    finished.map_err(|error| Stop::new(Exit::from(&error), error))
}

/// SIGINT and SIGTERM. Listened for before the first connection: one that came earlier would end
/// the process without a word.
fn listen_for_signals() -> Result<[Signal; 2], Stop> {
    let listen = |kind| {
        let failed = |error| Stop::new(Exit::Failed, format!("no signal handler: {error}"));
        signal(kind).map_err(failed)
    };
    Ok([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?])
}

/// The first signal ends publishing; the second ends the process.
async fn obey(
    [mut interrupt, mut terminate]: [Signal; 2],
    stop: CancellationToken,
    horizon: Duration,
) -> Infallible {
    let mut any = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    any().await;
    stop.cancel();
    let horizon = humantime::format_duration(horizon);
    complain(&format!(
        "stopping: waiting up to {horizon} for what is under way; once more ends at once"
    ));
    any().await;
    complain("ended at once; nothing is concluded");
    std::process::exit(Exit::Inconclusive.code().into())
}

/// How often a run without a terminal logs that it lives.
const LINE_PERIOD: Duration = Duration::from_secs(60);

/// The line of live counts: four times a second on a terminal, else in the log, once a minute.
struct Progress {
    bar: ProgressBar,
    total: Duration,
    start: RunTime,
    /// When the next line is due, where there is no terminal.
    next_line: RunTime,
}

impl Progress {
    fn new(plan: &Plan, clock: Clock, quiet: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let target = if quiet || !is_terminal {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(4)
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        let start = clock.now();
        let next_line = if is_terminal { RunTime::NEVER } else { start.after(LINE_PERIOD) };
        Self { bar, total: plan.schedule.duration() + plan.horizon, start, next_line }
    }

    fn show(&mut self, account: &Account, now: RunTime) {
        let gone = now.since(self.start).as_secs();
        let line = format!("{gone} of {} s · {}", self.total.as_secs(), report::live(account));
        if now >= self.next_line {
            self.next_line = now.after(LINE_PERIOD);
            tracing::info!("{line}");
        }
        self.bar.set_message(line);
        self.bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
