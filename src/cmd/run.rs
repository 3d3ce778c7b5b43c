//! `run`: one bounded run, ending in a verdict.

use std::path::PathBuf;

pub(super) use crate::cli::RunArgs as Args;
use crate::exit::Exit;
use crate::scenario::file::Clusters;

use super::leave::Leave;
use super::live::{Live, Outputs};
use super::web::Web;
use super::{Stop, evidence, fleet, history, make_plan, read_scenario};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let scenario = read_scenario(&args.scenario, Clusters::Read)?;
    let mut plan = make_plan(&scenario, &args.overrides, fleet::part(args)?)?;
    fleet::check(&plan, &scenario)?;
    plan.published = evidence::of(&scenario, &plan)?;
    // A shard is no whole run.
    let history = if plan.member.has_others() { None } else { history::prepare(&args.keep)? };
    let read = [Some(&args.scenario), history.as_ref()].into_iter().flatten();
    let read: Vec<_> = read.map(PathBuf::as_path).collect();
    let listen = args.output.listen.map(|at| Web::new(at, &args.output.web)).transpose()?;
    let leave = Some(Leave::new(&args.leave, &plan.name)?);
    let outputs = Outputs::open(&args.output, &[], &read)?;
    let (linger, clusters_within, sabotage) = (args.leave.linger, false, None);
    let live =
        Live { plan: &plan, outputs, history, listen, leave, linger, clusters_within, sabotage };
    live.execute(|| Ok(None))
}
