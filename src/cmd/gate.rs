//! `gate`: judges finished runs together, or the agents that did one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

pub(super) use crate::cli::GateArgs as Args;
use crate::exit::Exit;
use crate::history::StoredRun;
use crate::journal;
use crate::metrics::prometheus::{self, Series};
use crate::metrics::{agents, table};
use crate::model::{Clock, RunId};
use crate::pusher::rest::Request;
use crate::report::{self, Pool, PoolError, Report, Rules, Source};
use crate::verify::fleet;

use super::Stop;
use super::history;
use super::live::runtime;
use super::output::{Judged, Sinks};
use super::remote::{Remote, Unanswered};

/// Longest publishing time of a run, and what comes on top of it.
const RUN_MAX: Duration = Duration::from_secs(8 * 24 * 3_600);
/// Whoever looked within this time has looked, however short a time runs count.
const LOOKS_WITHIN: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of an answer of Prometheus: two days of one series of each of a hundred agents, scraped
/// every fifteen seconds, take half of it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let history = if args.no_history { None } else { history::known(args.history.as_deref()) };
    let read: Vec<_> = args.report.iter().chain(&history).map(PathBuf::as_path).collect();
    let mut sinks = Sinks::open(&args.output, &[], &read)?;
    // Whoever looks at a form without the exit code must not see what an earlier gate said.
    let pool = match &args.prometheus {
        Some(prometheus) => judge_fleet(prometheus, args),
        None => judge(args),
    };
    let pool = pool.inspect_err(|_| sinks.clear())?;
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
        let since = now.saturating_sub(args.max_age.max(LOOKS_WITHIN).saturating_add(RUN_MAX));
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
    Pool::new(sources, &rules).map_err(unjudged)
}

/// The agents of one run, as Prometheus scraped them last.
fn judge_fleet(prometheus: &str, args: &Args) -> Result<Pool, Stop> {
    let remote = Remote::new("--prometheus", prometheus, "http://127.0.0.1:9090")?;
    let clock = Clock::start();
    let now = clock.wall_now();
    // One that is stale is named as that, and so is one that was killed before the others ended.
    let within = args.max_age.max(LOOKS_WITHIN).saturating_mul(2);
    let started = format!("{}{}", table::PREFIX, table::RUN_STARTED.name);
    let (agents, others) = runtime()?.block_on(async {
        let infos = ask(&remote, &prometheus::ask_range(&info_name(), within, now), clock).await?;
        let (infos, others) = of_one_run(infos, args.run, &remote)?;
        // Whatever we call so is ours, wherever a target has a label of that name.
        let own: Vec<_> = table::ALL.iter().flat_map(|metric| metric.labels).copied().collect();
        let mut agents = Vec::new();
        for info in infos {
            let target = info.target(&own);
            let asked = prometheus::ask_target(table::PREFIX, &target, info.at);
            let series = ask(&remote, &asked, clock).await?;
            let of_run = (info.since, info.at);
            let asked = prometheus::ask_changes(&started, &target, of_run);
            let restarts = ask(&remote, &asked, clock).await?;
            let mut agent = agents::read(&info, &series).map_err(|why| {
                let instance = info.labels.get("instance").map_or("an agent", String::as_str);
                let message =
                    format!("{}: {instance}: {why}; nothing is concluded from it", remote.shown());
                Stop::new(Exit::Inconclusive, message)
            })?;
            agent.restarts = restarts.iter().map(|of| of.value as u64).max();
            agents.push(agent);
        }
        Ok::<_, Stop>((agents, others))
    })?;
    let others: Vec<_> = others.into_iter().collect();
    let excluded = report::left_out(&others, &args.exclude).map_err(|error| match error {
        PoolError::NoSuchRun(begins) => {
            let message = format!(
                "--exclude {begins}: {} knows no other run of the scenario whose id begins so",
                remote.shown()
            );
            Stop::new(Exit::Usage, message)
        }
        error => unjudged(error),
    })?;
    let is_left_out = |run: RunId| excluded.iter().any(|of| of.run == run);
    let others: Vec<_> = others.into_iter().map(|run| (run, is_left_out(run))).collect();
    let rules = fleet::Rules {
        now,
        max_age: args.max_age,
        agents: args.agents.map_or(0, usize::from),
        rehearsals_count: args.rehearsals,
        others: &others,
    };
    Pool::of_fleet(&agents, &rules, excluded).map_err(|error| Stop::new(Exit::Inconclusive, error))
}

fn unjudged(error: PoolError) -> Stop {
    let exit = match error {
        PoolError::Nothing
        | PoolError::OtherScenario(..)
        | PoolError::Part(..)
        | PoolError::NoSuchRun(_)
        | PoolError::Ambiguous(_) => Exit::Usage,
        PoolError::Contradiction(..) | PoolError::Histogram(..) => Exit::Inconclusive,
    };
    Stop::new(exit, error)
}

fn info_name() -> String {
    format!("{}{}", table::PREFIX, table::RUN_INFO.name)
}

async fn ask(remote: &Remote, target: &str, clock: Clock) -> Result<Vec<Series>, Stop> {
    let answer = remote.ask(Request::get(target), ANSWER_BYTES_MAX, clock).await;
    let answer = answer.map_err(|Unanswered { status, why }| {
        // It knows who asks, or does not want to.
        let exit = match status {
            Some(401 | 403 | 404) => Exit::Usage,
            _ => Exit::Inconclusive,
        };
        Stop::new(exit, format!("--prometheus: {why}"))
    })?;
    prometheus::read(&answer).map_err(|why| {
        Stop::new(Exit::Inconclusive, format!("--prometheus: {}: {why}", remote.shown()))
    })
}

/// The agents of the run that was named, or of the only one that several did; and the other runs of
/// its scenario.
fn of_one_run(
    infos: Vec<Series>,
    named: Option<Uuid>,
    remote: &Remote,
) -> Result<(Vec<Series>, BTreeSet<RunId>), Stop> {
    let mut seen = BTreeMap::<RunId, Duration>::new();
    for info in infos.iter().filter(|info| agents::has_others(info)) {
        if let Some(run) = agents::run_of(info) {
            let last = seen.entry(run).or_default();
            *last = info.at.max(*last);
        }
    }
    let mut runs: Vec<_> = seen.into_iter().collect();
    runs.sort_unstable_by_key(|(_, last)| *last);
    let run = match (named.map(RunId), runs.as_slice()) {
        (Some(run), _) => run,
        (None, [(run, _)]) => *run,
        (None, []) => {
            let message = format!("{} knows no run that several agents did", remote.shown());
            return Err(Stop::new(Exit::Inconclusive, message));
        }
        (None, several) => {
            let shown = several
                .iter()
                .map(|(run, last)| format!("{run}, last scraped {}", report::time_of_day(*last)));
            let message = format!(
                "{} knows several runs that agents did together; name one with --run: {}",
                remote.shown(),
                shown.collect::<Vec<_>>().join("; ")
            );
            return Err(Stop::new(Exit::Usage, message));
        }
    };
    let (of_run, others): (Vec<_>, Vec<_>) =
        infos.into_iter().partition(|info| agents::run_of(info) == Some(run));
    let digest = |info: &Series| info.label("scenario_digest").map(str::to_owned);
    let same = of_run.first().and_then(digest);
    let others = others.iter().filter(|info| agents::has_others(info) && digest(info) == same);
    let others = others.filter_map(agents::run_of).collect();
    if of_run.is_empty() {
        let message = format!(
            "{} knows nothing of run {run}: check --run, and that it scrapes the agents",
            remote.shown()
        );
        return Err(Stop::new(Exit::Inconclusive, message));
    }
    Ok((of_run, others))
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
