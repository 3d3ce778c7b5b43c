//! A run with everything around it: signals, progress, metrics, reports, exit code.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::keeper::Keeper;
use crate::agent::{self, Hooks, Task, vitals};
use crate::cli::OutputArgs;
use crate::exit::Exit;
use crate::metrics::registry::{self, Scrape};
use crate::model::{Clock, ClusterRole, MemberRole, RunTime};
use crate::report::{self, Report};
use crate::scenario::plan::Plan;
use crate::serve;
use crate::verify::account::Account;
use crate::verify::checks::{self, Looks, Proof, percent};
use crate::verify::record::{End, Record, Second};

use super::journal::{Journal, Target};
use super::leave::Leave;
use super::output::{Judged, Sinks};
use super::web::{self, Web};
use super::{Stop, complain, history};

/// What the rehearsal clusters counted, by cluster and fault.
pub(super) type RehearsalCounts = BTreeMap<ClusterRole, BTreeMap<String, u64>>;

/// The runtime that a command's tasks run on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::new(Exit::Failed, format!("no runtime: {error}")))
}

/// Where the outcome goes, opened before the first connection.
pub(super) struct Outputs {
    sinks: Sinks,
    journal: Option<Target>,
    quiet: bool,
}

impl Outputs {
    /// Opens what the command line asks for; `others` are more files that are written, `read` those
    /// that are read.
    pub(super) fn open(
        args: &OutputArgs,
        others: &[(&'static str, Option<&Path>)],
        read: &[&Path],
    ) -> Result<Self, Stop> {
        let journal = args.journal.as_deref();
        let others = [others, &[("--journal", journal)]].concat();
        Ok(Self {
            sinks: Sinks::open(&args.report, &others, read)?,
            journal: journal.map(Target::open).transpose()?,
            quiet: args.report.quiet,
        })
    }
}

/// What a run is made with.
pub(super) struct Live<'a> {
    /// The plan.
    pub(super) plan: &'a Plan,
    /// Where the outcome goes.
    pub(super) outputs: Outputs,
    /// The history that it is kept in.
    pub(super) history: Option<PathBuf>,
    /// Where metrics are served.
    pub(super) listen: Option<Web>,
    /// What is left for Prometheus at the end.
    pub(super) leave: Option<Leave>,
    /// For how long metrics are served after it.
    pub(super) linger: Option<Duration>,
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
        let Self { plan, outputs, history, listen, leave, linger, clusters_within, sabotage } =
            self;
        let Outputs { mut sinks, journal, quiet } = outputs;
        if !plan.reaches_proof() && !plan.requirements.phase.publishes() {
            let show = humantime::format_duration;
            complain(&format!(
                "warning: {} of reading cannot show that old has been empty for {}; the verdict \
                 will not be GO",
                show(plan.schedule.duration()),
                show(plan.requirements.limits.drained_for)
            ));
        } else if plan.member.has_others() {
            let wait = humantime::format_duration(agent::MEMBERS_WAIT);
            let waits = match plan.member.role {
                MemberRole::Both => String::new(),
                MemberRole::Publish => format!("; it waits up to {wait} for its witness"),
                MemberRole::Witness => format!("; it waits up to {wait} for its publisher"),
            };
            let own = match (plan.member.role, plan.member.shard.is_whole()) {
                (MemberRole::Publish, _) => {
                    "it sees nothing arrive, so its own verdict is never GO"
                }
                (MemberRole::Witness, true) => "its own verdict is on what it sees from here",
                _ => "its own verdict is on this part alone, and seldom GO",
            };
            complain(&format!(
                "{} of run {}: {own}; `gate --prometheus` judges all together{waits}",
                plan.member, plan.run
            ));
        } else if !plan.reaches_proof() {
            complain(&format!(
                "warning: {} events cannot prove a loss rate below {} at {} confidence, which takes \
                 {}; the verdict will not be GO",
                plan.schedule.events(),
                percent(plan.requirements.limits.loss_rate_max),
                percent(plan.requirements.limits.confidence),
                plan.trials_needed()
            ));
        }
        if let Some(why) = plan.cannot_probe() {
            complain(&format!("warning: {why}; what is not found by then leaves the verdict open"));
        }
        if let Some(why) = plan.cannot_lose() {
            complain(&format!("warning: {why}; one that does not come leaves the verdict open"));
        }
        if let Some(how) = plan.ramps_otherwise() {
            complain(&format!("warning: {how}"));
        }
        if let Some(why) = plan.cannot_come() {
            complain(&format!("warning: {why}; who has not come by then leaves the verdict open"));
        }
        if let Some(why) = plan.cannot_move() {
            complain(&format!("warning: {why}; who has not moved by then leaves the verdict open"));
        }
        tracing::info!(run = %plan.run, seed = plan.seed, scenario = plan.name, "run begins");
        vitals::raise_descriptors();
        let runtime = runtime()?;
        let clock = Clock::start();
        let stop = CancellationToken::new();
        let journal = journal.map(|target| Journal::start(target, stop.clone()));
        let journal = Arc::new(Mutex::new(journal));
        let measured = Measured { plan, clock, listen, quiet, clusters_within, sabotage };
        let finished = match &leave {
            None => Ok(()),
            Some(leave) => runtime.block_on(leave.clear(clock)),
        };
        let finished =
            finished.and_then(|()| runtime.block_on(measured.run(stop, Arc::clone(&journal))));
        let (finished, served) = match finished {
            Ok(finished) => finished,
            Err(stop) => {
                // Tasks that are left are cut off: every one that mattered was joined. A name that
                // is still being resolved would otherwise hold up a start that failed for as long
                // as the resolver.
                runtime.shutdown_background();
                // A run that cannot be recorded is stopped, which says nothing of why.
                let journal = lock(&journal).take().map_or(Ok(()), Journal::finish);
                journal.map_err(journal_failed)?;
                return Err(stop);
            }
        };
        // Whatever happened to the clusters, what was measured is kept.
        let (rehearsal, failed) = match rehearsal() {
            Ok(counts) => (counts, Ok(())),
            Err(stop) => (None, Err(stop)),
        };
        let uncounted = failed.as_ref().err().map(|stop: &Stop| stop.message.clone());
        let panicked = finished
            .panicked
            .map(Task::as_str)
            .or_else(|| super::has_panicked().then_some("background task"));
        let mut end = End {
            at: finished.ended,
            cut_short: finished.cut_short,
            failed: panicked
                .map(|task| format!("its {task} panicked; please report this"))
                .or(uncounted),
            rehearsal,
        };
        let recorded = finish_journal(&journal, &end);
        if let (Err(error), None) = (&recorded, &end.failed) {
            end.failed = Some(format!("the journal could not be written: {error}"));
        }
        let report = Report::new(&finished.account, Some(&end));
        // What cannot be written keeps nothing else from it.
        let written = sinks.write(&Judged::Run(&report));
        let kept = history.map_or(Ok(()), |path| history::keep(&path, &report));
        let has_failed = end.failed.is_some();
        let ended = registry::Ended { at: end.at, verdict: report.verdict, has_failed };
        let scrape = Scrape::of_run(&finished.account, Some(ended));
        let left = match leave {
            None => Ok(()),
            Some(leave) => runtime.block_on(leave.leave(&registry::render(scrape), clock)),
        };
        if let Some(served) = served {
            let lingered = linger.map_or(Ok(()), |linger| {
                runtime.block_on(served.linger(&registry::render_served(scrape), linger))
            });
            runtime.block_on(served.end());
            lingered?;
        }
        runtime.shutdown_background();
        written?;
        tracing::info!(verdict = report.verdict.as_str(), "run ends");
        failed?;
        recorded.map_err(journal_failed)?;
        kept?;
        left?;
        Ok(report.verdict.into())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn journal_failed(error: io::Error) -> Stop {
    Stop::new(Exit::Failed, format!("--journal: {error}"))
}

/// A journal that the run and what comes after it both write to.
type SharedJournal = Arc<Mutex<Option<Journal>>>;

fn lock(journal: &SharedJournal) -> MutexGuard<'_, Option<Journal>> {
    // Whoever panicked while holding it has left whole lines.
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes how the run ended, and waits until everything is written.
fn finish_journal(journal: &SharedJournal, end: &End) -> io::Result<()> {
    let Some(mut journal) = lock(journal).take() else { return Ok(()) };
    journal.append(&Record::End(Box::new(end.clone())));
    journal.finish()
}

/// Records what the run adds: how it begins, then each second.
fn record(journal: &SharedJournal, account: &Account, second: Option<&Second>) {
    if let Some(journal) = lock(journal).as_mut() {
        journal.append(&match second {
            None => Record::Begin(Box::new(account.begin().clone())),
            Some(second) => Record::Second(Box::new(second.clone())),
        });
    }
}

/// A run as it is measured.
struct Measured<'a> {
    plan: &'a Plan,
    clock: Clock,
    listen: Option<Web>,
    quiet: bool,
    clusters_within: bool,
    sabotage: Option<Task>,
}

impl Measured<'_> {
    async fn run(
        self,
        stop: CancellationToken,
        journal: SharedJournal,
    ) -> Result<(agent::Finished, Option<Served>), Stop> {
        let Self { plan, clock, listen, quiet, clusters_within, sabotage } = self;
        let horizon = humantime::format_duration(plan.horizon);
        let stopping = format!("waiting up to {horizon} for what is under way");
        let obeying = obey(listen_for_signals()?, stop.clone(), stopping);
        let digest_key = draw_key()?;
        let keeper = Keeper::of(plan, digest_key);
        let (page, metrics) = watch::channel::<Arc<str>>(Arc::from(""));
        let page = Arc::new(page);
        let occupancy = web::occupancy(keeper.clone());
        let pages = serve::Pages { metrics, occupancy, watch: None };
        let serving = CancellationToken::new();
        let server = match listen {
            None => None,
            Some(web) => Some(web.serve(pages, serving.clone()).await?),
        };
        let total = plan.schedule.duration() + plan.horizon;
        let mut progress = Progress::new(Some(total), clock, quiet);
        let enough = stop.child_token();
        let asked = &plan.requirements;
        let wanted = (asked.looks == Looks::Anytime).then(|| (asked.clone(), enough.clone()));
        let shown = server.as_ref().map(|_| page.clone());
        let mut awaited = match plan.member.role {
            _ if quiet => None,
            MemberRole::Both => None,
            MemberRole::Publish => Some("a witness listens: publishing begins"),
            MemberRole::Witness => Some("the publisher is heard"),
        };
        let observe = move |account: &Account, second: Option<&Second>| {
            record(&journal, account, second);
            if account.publishing().is_some()
                && let Some(awaited) = awaited.take()
            {
                complain(awaited);
            }
            progress.show(account, clock.now());
            if let Some((asked, enough)) = &wanted
                && checks::proof(account.figures(), asked) != Proof::Open
            {
                enough.cancel();
            }
            if let Some(page) = &shown {
                let scrape = Scrape::of_run(account, None);
                page.send_replace(registry::render_served(scrape).into());
            }
        };
        let (meter, is_resumed) = (None, false);
        let hooks = Hooks {
            clusters_within,
            stop,
            enough,
            observe,
            digest_key,
            keeper,
            meter,
            is_resumed,
            sabotage,
        };
        let finished = tokio::select! {
            finished = agent::run(plan, clock, hooks) => finished,
            never = obeying => match never {},
        };
        let served = server.map(|server| Served { page, serving, server });
        match finished {
            Ok(finished) => Ok((finished, served)),
            Err(error) => {
                if let Some(served) = served {
                    served.end().await;
                }
                Err(Stop::new(Exit::from(&error), error))
            }
        }
    }
}

/// What is served while a run goes on, and afterwards.
struct Served {
    page: Arc<watch::Sender<Arc<str>>>,
    serving: CancellationToken,
    server: JoinHandle<()>,
}

impl Served {
    /// Serves this last page for so long, or until a signal.
    async fn linger(&self, page: &str, linger: Duration) -> Result<(), Stop> {
        self.page.send_replace(page.into());
        let [mut interrupt, mut terminate] = listen_for_signals()?;
        complain(&format!("metrics stay for {}", humantime::format_duration(linger)));
        tokio::select! {
            () = tokio::time::sleep(linger) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    }

    async fn end(self) {
        self.serving.cancel();
        // Its panic, if it did, is known already.
        let _ = self.server.await;
    }
}

/// A key that nobody can guess.
pub(super) fn draw_key() -> Result<[u8; 32], Stop> {
    let mut key = [0; 32];
    let drawn = OsRng.try_fill_bytes(&mut key);
    drawn.map_err(|error| Stop::new(Exit::Failed, format!("no random numbers: {error}")))?;
    Ok(key)
}

/// SIGINT and SIGTERM. Listened for before the first connection: one that came earlier would end
/// the process without a word.
pub(super) fn listen_for_signals() -> Result<[Signal; 2], Stop> {
    let listen = |kind| {
        let failed = |error| Stop::new(Exit::Failed, format!("no signal handler: {error}"));
        signal(kind).map_err(failed)
    };
    Ok([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?])
}

/// The first signal stops what is under way in order; the second ends the process.
pub(super) async fn obey(
    [mut interrupt, mut terminate]: [Signal; 2],
    stop: CancellationToken,
    stopping: String,
) -> Infallible {
    let mut any = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    any().await;
    stop.cancel();
    complain(&format!("stopping: {stopping}; once more ends at once"));
    any().await;
    complain("ended at once; nothing is concluded");
    std::process::exit(Exit::Inconclusive.code().into())
}

/// How often a run without a terminal logs that it lives.
const LINE_PERIOD: Duration = Duration::from_secs(60);

/// The line of live counts: each second on a terminal, else in the log, once a minute.
pub(super) struct Progress {
    bar: ProgressBar,
    /// How long it takes; `None` where there is no end.
    total: Option<Duration>,
    start: RunTime,
    /// When the next line is due, where there is no terminal.
    next_line: RunTime,
}

impl Progress {
    /// One that takes so long, or has no end.
    pub(super) fn new(total: Option<Duration>, clock: Clock, quiet: bool) -> Self {
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
        Self { bar, total, start, next_line }
    }

    /// Shows how it stands.
    pub(super) fn show(&mut self, account: &Account, now: RunTime) {
        let gone = now.since(self.start);
        let gone = match self.total {
            // A part of a run may wait for the others.
            Some(total) => {
                let begun = account.publishing().map_or(now, |(begun, _)| begun);
                format!("{} of {} s", now.since(begun).as_secs(), total.as_secs())
            }
            None => humantime::format_duration(Duration::from_secs(gone.as_secs())).to_string(),
        };
        let line = format!("{gone} · {}", report::live(account));
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
