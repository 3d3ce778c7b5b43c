//! `run`: one bounded run, ending in a verdict.

pub(super) use crate::cli::RunArgs as Args;
use crate::exit::Exit;
use crate::scenario::file::Clusters;

use super::live::{Live, Sinks};
use super::{Stop, make_plan, new_run, read_scenario};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let scenario = read_scenario(&args.scenario, Clusters::Read)?;
    let plan = make_plan(&scenario, &args.overrides, new_run())?;
    let sinks = Sinks::open(&args.output, None)?;
    let (output, clusters_within, sabotage) = (&args.output, false, None);
    let live = Live { plan: &plan, output, sinks, clusters_within, sabotage };
    live.execute(|| Ok(None))
}
