//! `watch`: a scenario without an end, as a scrape target, a page and an alarm.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::keeper::Keeper;
use crate::agent::start::StartError;
use crate::agent::{self, Hooks, RunError, SharedMeter, vitals};
pub(super) use crate::cli::WatchArgs as Args;
use crate::exit::Exit;
use crate::metrics::registry::{self, Scrape};
use crate::model::{Clock, ClusterRole, RunTime};
use crate::report::Report;
use crate::report::live::{Course, Live, Reload, VerdictNow};
use crate::scenario::file::{Clusters, Scenario};
use crate::scenario::plan::{Meter, Overrides, Plan};
use crate::serve::{self, Now, WatchPages};
use crate::verify::account::Account;
use crate::verify::checks::{self, Requirements};
use crate::verify::record::{Begin, End, Second};
use crate::verify::rolling::Rolling;
use crate::verify::verdict::Verdict;

use super::live::{Progress, draw_key, listen_for_signals, obey, runtime};
use super::output::{Judged, Sinks};
use super::web::{self, Web};
use super::{Stop, complain, fleet, has_panicked, load_scenario, new_run, plan_of, warn_of};

/// How often it is looked whether the scenario has changed.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let source = Source { path: args.scenario.clone(), overrides: overrides(args)? };
    let scenario = source.read()?;
    warn_of(&args.scenario.display().to_string(), &scenario);
    let plan = source.plan(&scenario)?;
    warn(&scenario, &plan);
    let web = Web::new(args.listen, &args.web)?;
    let mut sinks = Sinks::open(&args.report, &[], &[&args.scenario])?;
    vitals::raise_descriptors();
    let runtime = runtime()?;
    let quiet = args.report.quiet;
    let watching = Watching { source, scenario, web, quiet, rejected: None };
    let ended = runtime.block_on(watching.run(plan));
    // Tasks that are left are cut off: every one that mattered was joined.
    runtime.shutdown_background();
    let Some(Ended { window, end }) = ended? else { return Ok(Exit::Go) };
    let report = Report::new(&window, Some(&end));
    sinks.write(&Judged::Run(&report))?;
    tracing::info!(verdict = report.verdict.as_str(), "watch ends");
    Ok(if end.failed.is_some() { Exit::Failed } else { Exit::Go })
}

fn overrides(args: &Args) -> Result<Overrides, Stop> {
    Ok(Overrides {
        duration: None,
        rate: args.rate,
        seed: args.seed,
        looks: checks::Looks::Rolling,
        window: Some(args.window),
        member: fleet::member(&args.fleet)?,
    })
}

/// Says what will not be as it may be expected.
fn warn(scenario: &Scenario, plan: &Plan) {
    let show = |duration: Duration| humantime::format_duration(duration);
    let (needed, judged) = (plan.trials_needed(), plan.events_judged());
    let window = plan.window.unwrap_or_default();
    // What is under way does not count yet, nor do seconds that are tainted.
    let likely = judged - judged / 20;
    if plan.requirements.phase.publishes() && likely < needed {
        let rate = plan.schedule.rate();
        let enough = Duration::from_secs((needed as f64 * 1.1 / rate).ceil() as u64);
        complain(&format!(
            "warning: a window of {} holds {judged} events, where the asked proof takes {needed}: the \
             verdict will seldom be GO, or never; choose --window {} at this rate",
            show(window),
            show(enough).to_string().replace(' ', "")
        ));
    }
    if let Some(lasts) = plan.budget_lasts() {
        complain(&format!(
            "warning: at this rate [budget] lasts {} of each UTC day; from nine tenths of it on \
             less is published, and the verdict will not be GO; lower the rate or raise the budget",
            show(lasts)
        ));
    }
    for (section, is_there, command) in [
        ("handover", scenario.handover.is_some(), "run"),
        ("load", scenario.load.is_some(), "run"),
        ("parity", scenario.parity.is_some(), "parity"),
    ] {
        if is_there {
            complain(&format!(
                "warning: [{section}] is left out: it is tried once, by `pusher-canary {command}`"
            ));
        }
    }
}

/// Where the scenario comes from.
struct Source {
    path: PathBuf,
    overrides: Overrides,
}

impl Source {
    fn read(&self) -> Result<Scenario, Stop> {
        load_scenario(&self.path, Clusters::Read)
    }

    fn plan(&self, scenario: &Scenario) -> Result<Plan, Stop> {
        let plan = plan_of(scenario, self.overrides.clone(), new_run())?;
        fleet::check(&plan, scenario)?;
        Ok(plan)
    }
}

/// What is known of the scenario that is watched.
#[derive(Clone, Debug)]
struct Taken {
    /// When it was taken.
    at: Duration,
    /// Whether it was read anew since the start.
    again: bool,
    /// What is wrong with it as it is now.
    error: Option<String>,
}

/// What is shown.
#[derive(Clone)]
struct Shown {
    window: Arc<Account>,
    course: Course,
    started: Option<RunTime>,
    ready: BTreeMap<ClusterRole, u64>,
}

/// What is shown, and of which scenario. Held for a moment only: nothing is reckoned under it.
struct Board {
    taken: Taken,
    shown: Option<Shown>,
}

type SharedBoard = Arc<Mutex<Board>>;

fn lock(board: &SharedBoard) -> MutexGuard<'_, Board> {
    // Whoever panicked while holding it has left nothing half done that matters.
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the one who shows is told.
enum Told {
    /// A run begins.
    Begin(Box<Begin>),
    /// This is added to it.
    Second(Box<Second>),
    /// It is judged by other requirements, those of these settings.
    Require(Box<(Requirements, serde_json::Value)>),
}

/// Makes what is shown of what it is told, on a thread of its own: what that takes must not keep
/// anything waiting that measures.
struct Painter {
    board: SharedBoard,
    metrics: watch::Sender<Arc<str>>,
    length: Duration,
}

impl Painter {
    fn start(self) -> (Sender<Told>, thread::JoinHandle<()>) {
        let (tell, told) = channel();
        (tell, thread::spawn(move || self.run(&told)))
    }

    fn run(self, told: &Receiver<Told>) {
        let Some(Told::Begin(begin)) = told.iter().next() else { return };
        let mut canvas = Canvas::new(*begin, self.length);
        self.show(&canvas);
        for told in told {
            match told {
                Told::Begin(begin) => canvas = Canvas::new(*begin, self.length),
                Told::Second(second) => canvas.apply(&second),
                Told::Require(other) => canvas.rolling.require(&other.0, &other.1),
            }
            self.show(&canvas);
        }
    }

    fn show(&self, canvas: &Canvas) {
        let Canvas { total, window, course, .. } = canvas;
        let taken = lock(&self.board).taken.clone();
        let watch = registry::Watch {
            window: self.length,
            is_current: taken.error.is_none(),
            taken: taken.at,
        };
        let (judged, watch, ended) = (&**window, Some(watch), None);
        let page = registry::render_served(Scrape { total, judged, watch, ended });
        lock(&self.board).shown = Some(Shown {
            window: Arc::clone(window),
            course: course.clone(),
            started: total.publishing().map(|(first, _)| first),
            ready: total.clusters().map(|(role, figures, _)| (role, figures.ready())).collect(),
        });
        self.metrics.send_replace(page.into());
    }
}

/// What a run of the watch has come to.
struct Canvas {
    total: Account,
    rolling: Rolling,
    window: Arc<Account>,
    course: Course,
}

impl Canvas {
    fn new(begin: Begin, length: Duration) -> Self {
        let rolling = Rolling::new(begin.clone(), length);
        let (window, course) = (Arc::new(rolling.account()), Course::default());
        Self { total: Account::new(begin), rolling, window, course }
    }

    fn apply(&mut self, second: &Second) {
        self.total.apply(second);
        self.total.forget();
        self.rolling.apply(second);
        self.window = Arc::new(self.rolling.account());
        let asked = &self.window.begin().requirements;
        let verdict = Verdict::of(&checks::judge(self.window.figures(), asked));
        self.course.note(second, &self.window, verdict);
    }
}

/// What a watch serves beside its metrics.
fn pages(board: &SharedBoard, length: Duration, clock: Clock) -> WatchPages {
    // Nothing is rendered while the board is held.
    let now = |render: fn(Shown, &Taken, Duration, Clock) -> String| -> Now {
        let board = Arc::clone(board);
        Arc::new(move || {
            let (shown, taken) = {
                let board = lock(&board);
                (board.shown.clone()?, board.taken.clone())
            };
            Some(render(shown, &taken, length, clock))
        })
    };
    let is_ready = {
        let board = Arc::clone(board);
        Arc::new(move || lock(&board).shown.as_ref().is_some_and(|shown| shown.started.is_some()))
    };
    WatchPages {
        is_ready,
        verdict: now(|shown, _, length, clock| {
            let age = clock.now().since(shown.window.at());
            VerdictNow::of(&shown.window, length, age).to_json()
        }),
        report: now(|shown, _, _, _| {
            let at = shown.window.at();
            Report::new(&shown.window, Some(&End { at, ..End::default() })).to_json()
        }),
        live: now(|shown, taken, length, _| {
            let Shown { window, course, started, ready } = shown;
            let at = taken.again.then(|| crate::report::time_of_day(taken.at));
            let reload = Reload { at, error: taken.error.clone() };
            Live::of(&window, length, &course, started, &ready, reload).to_json()
        }),
    }
}

/// How a watch ended: what lay within its last window.
struct Ended {
    window: Arc<Account>,
    end: End,
}

/// A watch as it goes on.
struct Watching {
    source: Source,
    scenario: Scenario,
    web: Web,
    quiet: bool,
    /// One that could not be watched: it is not tried again before somebody asks.
    rejected: Option<Scenario>,
}

/// What a run of the watch is shown by.
#[derive(Clone, Copy)]
struct Surface<'a> {
    plan: &'a Plan,
    board: &'a SharedBoard,
    tell: &'a Sender<Told>,
}

/// Why a run of the watch ends.
enum Turn {
    /// It ended by itself: a signal, or a failure.
    Over(Box<Result<agent::Finished, RunError>>),
    /// The scenario is another one now.
    Other(Box<(Scenario, Plan)>),
}

impl Watching {
    /// Watches until a signal; `None` if that came before anything was measured.
    async fn run(mut self, plan: Plan) -> Result<Option<Ended>, Stop> {
        let clock = Clock::start();
        let stop = CancellationToken::new();
        let mut obeying = pin!(obey(listen_for_signals()?, stop.clone(), "leaving".to_owned()));
        let failed = |error| Stop::new(Exit::Failed, format!("no signal handler: {error}"));
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let length = plan.window.unwrap_or_default();
        let taken = Taken { at: clock.wall_now(), again: false, error: None };
        let board = Arc::new(Mutex::new(Board { taken, shown: None }));
        let (metrics_out, metrics) = watch::channel::<Arc<str>>(Arc::from(""));
        let painter = Painter { board: Arc::clone(&board), metrics: metrics_out, length };
        let (tell, painting) = painter.start();
        let serving = CancellationToken::new();
        let keeper = Arc::new(Mutex::new(None::<Arc<Keeper>>));
        let occupancy = self.scenario.webhooks.as_ref().map(|_| {
            let keeper = Arc::clone(&keeper);
            let page: serve::Occupancy = Arc::new(move |prefix| {
                let keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner).clone();
                web::occupancy(keeper).map_or(String::new(), |page| page(prefix))
            });
            page
        });
        let watch = Some(pages(&board, length, clock));
        let served = serve::Pages { metrics, occupancy, watch };
        let server = self.web.serve(served, serving.clone()).await?;
        let (mut plan, mut before) = (plan, None);
        let (mut metering, mut is_resumed) = (None, false);
        let over = loop {
            let turn = stop.child_token();
            let digest_key = draw_key()?;
            let keeping = Keeper::of(&plan, digest_key);
            keeper.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&keeping);
            let observe = self.observe(&tell, clock);
            let meter = plan.meter().map(|meter| measure_on(&mut metering, meter));
            let hooks = Hooks {
                clusters_within: false,
                stop: turn.clone(),
                enough: turn.child_token(),
                observe,
                digest_key,
                keeper: keeping,
                meter,
                is_resumed: std::mem::replace(&mut is_resumed, true),
                sabotage: None,
            };
            let running = agent::run(&plan, clock, hooks);
            let surface = Surface { plan: &plan, board: &board, tell: &tell };
            let turned = tokio::select! {
                turned = self.turn(running, &turn, surface, clock, &mut hangup) => turned,
                never = &mut obeying => match never {},
            };
            let over = match turned {
                Turn::Over(over) => *over,
                Turn::Other(other) => {
                    let known = std::mem::replace(&mut self.scenario, other.0);
                    before = Some((known, std::mem::replace(&mut plan, other.1)));
                    tracing::info!(run = %plan.run, "the scenario is another one: a new account");
                    continue;
                }
            };
            match over {
                // Its credentials are good; something of this machine may be missing, as a port.
                Err(error)
                    if before.is_some()
                        && !stop.is_cancelled()
                        && !matches!(error, RunError::Panicked(_)) =>
                {
                    let Some((known, earlier)) = before.take() else { break Err(error) };
                    take_back(&board, &error.to_string());
                    self.rejected = Some(std::mem::replace(&mut self.scenario, known));
                    // Of a scenario that was planned before.
                    plan = self.source.plan(&self.scenario).unwrap_or(earlier);
                }
                over => break over,
            }
        };
        serving.cancel();
        // Its panic, if it did, is known already.
        let _ = server.await;
        drop(tell);
        // So is that of whoever shows.
        let _ = painting.join();
        match over {
            Err(_) if stop.is_cancelled() => Ok(None),
            Err(error) => Err(Stop::new(Exit::from(&error), error)),
            Ok(finished) => Ok(Some(ended(&board, &finished))),
        }
    }

    /// What is called with each second.
    fn observe(
        &self,
        tell: &Sender<Told>,
        clock: Clock,
    ) -> impl FnMut(&Account, Option<&Second>) + Send + 'static {
        let tell = tell.clone();
        let mut progress = Progress::new(None, clock, self.quiet);
        move |account, second| {
            progress.show(account, clock.now());
            // It listens as long as anybody may tell it something, unless it panicked.
            let _ = tell.send(match second {
                None => Told::Begin(Box::new(account.begin().clone())),
                Some(second) => Told::Second(Box::new(second.clone())),
            });
        }
    }

    /// Goes on until the run ends, or must end for the scenario is another one.
    async fn turn(
        &mut self,
        running: impl Future<Output = Result<agent::Finished, RunError>>,
        turn: &CancellationToken,
        surface: Surface<'_>,
        clock: Clock,
        hangup: &mut Signal,
    ) -> Turn {
        let mut running = pin!(running);
        let mut look = tokio::time::interval(LOOK_PERIOD);
        let (mut other, mut trial) = (None, None);
        loop {
            let asked = tokio::select! {
                over = &mut running => return match other {
                    Some(other) if has_turned(&over) && !has_panicked() => Turn::Other(other),
                    _ => Turn::Over(Box::new(over)),
                },
                (tried, changed) = outcome(&mut trial) => {
                    trial = None;
                    match tried {
                        Ok(()) => {
                            other = Some(changed);
                            turn.cancel();
                        }
                        Err(error) => {
                            take_back(surface.board, &error.to_string());
                            self.rejected = Some(changed.0);
                        }
                    }
                    continue;
                }
                _ = hangup.recv() => true,
                _ = look.tick() => false,
            };
            if has_panicked() {
                // Whoever shows may be gone: a verdict of before must not stand for one of now.
                turn.cancel();
                continue;
            }
            self.web.look();
            if other.is_none()
                && trial.is_none()
                && let Some(changed) = self.look(surface, clock, asked)
            {
                trial = Some(try_out(Box::new(changed), clock));
            }
        }
    }

    /// Looks whether the scenario has changed, and takes what can be taken as it goes on. What
    /// takes another account is returned.
    fn look(
        &mut self,
        Surface { plan, board, tell }: Surface<'_>,
        clock: Clock,
        asked: bool,
    ) -> Option<(Scenario, Plan)> {
        let read = self.source.read().and_then(|read| Ok((self.source.plan(&read)?, read)));
        let (planned, read) = match read {
            Ok(read) => read,
            Err(stop) => {
                if lock(board).taken.error.as_ref() != Some(&stop.message) || asked {
                    complain(&format!("the scenario is kept as it was: {}", stop.message));
                    lock(board).taken.error = Some(stop.message);
                }
                return None;
            }
        };
        let is_rejected = self.rejected.as_ref() == Some(&read);
        if is_rejected && !asked {
            return None;
        }
        self.rejected = None;
        let is_known = read == self.scenario;
        if is_known && !asked && lock(board).taken.error.is_none() {
            return None;
        }
        let taken = Taken { at: clock.wall_now(), again: true, error: None };
        lock(board).taken = taken;
        if is_known {
            tracing::info!("the scenario is as it was");
            return None;
        }
        warn_of(&self.source.path.display().to_string(), &read);
        let in_place = Scenario {
            limits: read.limits.clone(),
            duration: read.duration,
            handover: read.handover.clone(),
            load: read.load.clone(),
            parity: read.parity.clone(),
            faults: read.faults.clone(),
            habits: read.habits.clone(),
            application: read.application,
            warnings: read.warnings.clone(),
            ..self.scenario.clone()
        };
        if read != in_place {
            warn(&read, &planned);
            return Some((read, planned));
        }
        // The run and its seed are those that are watched.
        let mut settings = planned.settings.clone();
        if let Some(seed) = settings.pointer_mut("/scenario/seed") {
            *seed = plan.seed.into();
        }
        // As in `observe`.
        let _ = tell.send(Told::Require(Box::new((planned.requirements, settings))));
        tracing::info!("the scenario's limits are others now");
        self.scenario = read;
        None
    }
}

/// A scenario with its plan, and whether its credentials are good, while that is found out.
type Trial = Pin<Box<dyn Future<Output = (Result<(), RunError>, Box<(Scenario, Plan)>)>>>;

/// Tries one connection of another scenario: what is watched is not ended for one that cannot be.
fn try_out(changed: Box<(Scenario, Plan)>, clock: Clock) -> Trial {
    Box::pin(async move {
        let tried = agent::connect(&changed.1.with_one_connection(), clock).await;
        (tried, changed)
    })
}

/// What comes of a trial, if there is one.
async fn outcome(trial: &mut Option<Trial>) -> (Result<(), RunError>, Box<(Scenario, Plan)>) {
    match trial {
        Some(trial) => trial.await,
        None => std::future::pending().await,
    }
}

/// Whether a run ended because it was to, be it before its first event.
fn has_turned(over: &Result<agent::Finished, RunError>) -> bool {
    match over {
        Ok(finished) => finished.panicked.is_none(),
        Err(error) => matches!(error, RunError::Start(StartError::Stopped)),
    }
}

/// The meter of a run, which goes on with what earlier ones have used up.
fn measure_on(metering: &mut Option<SharedMeter>, meter: Meter) -> SharedMeter {
    let known = metering.get_or_insert_with(|| Arc::new(Mutex::new(meter.clone())));
    {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = meter.after(&known);
    }
    Arc::clone(known)
}

/// Goes on with the scenario as it was before.
fn take_back(board: &SharedBoard, error: &str) {
    complain(&format!("the scenario is kept as it was: {error}"));
    lock(board).taken.error = Some(error.to_owned());
}

fn ended(board: &SharedBoard, finished: &agent::Finished) -> Ended {
    let shown = lock(board).shown.clone();
    let window = shown.map_or_else(|| Arc::new(finished.account.clone()), |shown| shown.window);
    let task = finished.panicked.map(agent::Task::as_str);
    let task = task.or_else(|| has_panicked().then_some("background task"));
    let failed = task.map(|task| format!("its {task} panicked; please report this"));
    let end = End { at: finished.ended, failed, ..End::default() };
    Ended { window, end }
}
