//! `bench`: what the agent can do on this machine.

use std::io::{self, IsTerminal, Write};

use crate::agent::vitals;
use crate::bench::{self, BenchError, Extent};
pub(super) use crate::cli::BenchArgs as Args;
use crate::exit::Exit;
use crate::model::Clock;

use super::output::{Sink, is_stdout};
use super::{Stop, print};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    vitals::raise_descriptors();
    let failed = |error: BenchError| {
        let exit = match error {
            BenchError::Descriptors { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Stop::new(exit, format!("bench: {error}"))
    };
    if args.part {
        bench::do_part().map_err(failed)?;
        return Ok(Exit::Go);
    }
    let path = args.report_json.as_deref();
    let mut json = path.map(Sink::open).transpose()?;
    let is_shown = !args.quiet && io::stderr().is_terminal();
    let progress = |what: &str| {
        if is_shown {
            // Whoever closed it does not want to know.
            let _ = writeln!(anstream::stderr(), "measuring {what} …");
        }
    };
    let extent = if args.brief { Extent::BRIEF } else { Extent::WHOLE };
    let found = bench::measure(Clock::start(), extent, vitals::descriptors_max(), progress);
    let found = found.map_err(failed)?;
    if let Some(sink) = &mut json {
        let written = sink.write(&found.to_json());
        written.map_err(|error| Stop::new(Exit::Failed, format!("--report-json: {error}")))?;
    }
    if args.quiet {
        return Ok(Exit::Go);
    }
    match path.is_some_and(is_stdout) {
        true => drop(anstream::stderr().write_all(found.to_text().as_bytes())),
        false => print(&found.to_text())?,
    }
    Ok(Exit::Go)
}
