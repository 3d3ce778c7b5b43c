//! `parity`: compares settings and behaviour of two apps.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::agent::{self, comparison, vitals};
pub(super) use crate::cli::ParityArgs as Args;
use crate::exit::Exit;
use crate::model::{Clock, ClusterRole};
use crate::report::{Matrix, MatrixHead};
use crate::scenario::file::{Clusters, Scenario};
use crate::scenario::plan::{Bill, Overrides, Plan};
use crate::verify::parity::{Likeness, ParityBegin, ParityFigures, Probe};

use super::live::{listen_for_signals, obey, runtime};
use super::output::{Judged, Sinks};
use super::{Stop, complain, new_run, read_scenario};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let scenario = read_scenario(&args.scenario, Clusters::Read)?;
    if scenario.clusters.len() < ClusterRole::ALL.len() {
        let message = "parity compares two apps, and the scenario has one; add the other cluster";
        return Err(Stop::new(Exit::Usage, message));
    }
    let probes = chosen(args, &scenario)?;
    let run = new_run();
    let plan = Plan::unbilled(&scenario, Overrides::default(), run, 0);
    Bill::of_probes(&probes, comparison::AT_ONCE)
        .check(&scenario.budget, plan.clusters.len(), ["leave probes out or raise the budget"; 2])
        .map_err(|error| Stop::new(Exit::Usage, error))?;
    let baselines = args.baseline.iter().map(|path| baseline(path));
    let baselines: Vec<_> = baselines.collect::<Result<_, _>>()?;
    let read: Vec<_> = args.baseline.iter().chain([&args.scenario]).map(PathBuf::as_path).collect();
    let mut sinks = Sinks::open(&args.output, &[], &read)?;
    let clock = Clock::start();
    let began = clock.wall_now();
    // Whoever looks at a form without the exit code must not see what was found before.
    let figures = compare(&plan, clock, &probes, &scenario, args.output.quiet)
        .inspect_err(|_| sinks.clear())?;
    let left_out = Probe::ALL.into_iter().filter(|probe| !probes.contains(probe));
    let head = MatrixHead {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.name.clone(),
        began,
        ended: clock.wall_now(),
        settings: plan.settings,
        left_out: left_out.collect(),
    };
    let matrix = Matrix::new(head, &figures, &baselines);
    for (name, then) in &baselines {
        for warning in matrix.unlike(then) {
            complain(&format!("warning: {name} {warning}"));
        }
    }
    sinks.write(&Judged::Apps(&matrix))?;
    Ok(match matrix.outcome {
        Likeness::Same | Likeness::Accepted => Exit::Go,
        Likeness::NotTested => Exit::Inconclusive,
        Likeness::Differs => Exit::NoGo,
    })
}

/// What the command line asks for; else what the scenario does.
fn chosen(args: &Args, scenario: &Scenario) -> Result<Vec<Probe>, Stop> {
    let is_given = |needed: &str| scenario.has(needed);
    let can_be = |probe: &Probe| probe.needs().is_none_or(is_given);
    // What a run tries by default leaves out what would hold it up.
    let asked = scenario.parity.as_ref().map(|parity| parity.probes.clone());
    let asked = asked.filter(|probes| !probes.iter().copied().eq(Probe::brief().filter(can_be)));
    let usual =
        || Probe::ALL.into_iter().filter(|probe| !probe.is_slow() && can_be(probe)).collect();
    let mut probes =
        if args.only.is_empty() { asked.unwrap_or_else(usual) } else { args.only.clone() };
    if args.slow {
        probes.extend(Probe::ALL.into_iter().filter(|probe| probe.is_slow()));
    }
    if let Some(probe) = probes.iter().find(|probe| !can_be(probe)) {
        let (probe, needed) = (probe.as_str(), probe.needs().unwrap_or_default());
        let message =
            format!("--only {probe} needs {needed} in the scenario; see docs/scenario.md");
        return Err(Stop::new(Exit::Usage, message));
    }
    probes.retain(|probe| !args.skip.contains(probe));
    probes.sort();
    probes.dedup();
    if probes.is_empty() {
        return Err(Stop::new(Exit::Usage, "--skip leaves nothing to try; name less there"));
    }
    Ok(probes)
}

/// An earlier matrix, by its file's name.
fn baseline(path: &Path) -> Result<(String, Matrix), Stop> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Stop::new(Exit::Usage, format!("cannot read {shown}: {error}")))?;
    let read = Matrix::from_json(&text);
    let matrix = read.map_err(|error| {
        Stop::new(Exit::Usage, format!("{shown} {error}; name what parity --report-json wrote"))
    })?;
    Ok((shown, matrix))
}

/// Makes every experiment, once it is known that the clusters can be reached at all.
fn compare(
    plan: &Plan,
    clock: Clock,
    probes: &[Probe],
    scenario: &Scenario,
    quiet: bool,
) -> Result<ParityFigures, Stop> {
    vitals::raise_descriptors();
    let accept = scenario.parity.as_ref().map_or_else(BTreeMap::new, |of| of.accept.clone());
    let rows = probes.iter().flat_map(|probe| probe.rows()).copied().collect();
    let mut figures = ParityFigures::new(&ParityBegin { rows, accept });
    let total = (figures.rows.len() * plan.clusters.len()) as u64;
    let runtime = runtime()?;
    let compared = runtime.block_on(async {
        let stop = CancellationToken::new();
        let stopping = "what was not tried yet is not tested".to_owned();
        let obeying = obey(listen_for_signals()?, stop.clone(), stopping);
        let failed = |error: agent::RunError| Stop::new(Exit::from(&error), error);
        let comparing = async {
            // What is wrong with an auth endpoint is a row of its own.
            let reached = plan.with_one_connection().without_endpoints();
            agent::connect(&reached, clock).await.map_err(failed)?;
            let bar = progress(total, quiet);
            let compared = comparison::compare(plan, clock, probes, &stop, |role, row, reading| {
                figures.note(role, row, &reading);
                bar.inc(1);
                bar.set_message(row.as_str());
            });
            compared.await.map_err(failed)?;
            bar.finish_and_clear();
            Ok(())
        };
        tokio::select! {
            compared = comparing => compared,
            never = obeying => match never {},
        }
    });
    // Not held up by a name that is still being resolved.
    runtime.shutdown_background();
    compared.map(|()| figures)
}

fn progress(total: u64, quiet: bool) -> ProgressBar {
    let target = if quiet || !io::stderr().is_terminal() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr_with_hz(4)
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {pos} of {len} readings · {wide_msg}")
    {
        bar.set_style(style);
    }
    bar
}
