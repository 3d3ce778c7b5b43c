//! `report`: judges a recorded run again, and renders it.

use crate::cli::RecordArgs;
pub(super) use crate::cli::RecordArgs as Args;
use crate::exit::Exit;
use crate::journal;
use crate::report::Report;

use super::output::{Judged, Sinks};
use super::{Stop, complain};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let RecordArgs { journal: path, output, .. } = args;
    let mut sinks = Sinks::open(output, &[], &[path])?;
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| {
        Stop::new(Exit::Usage, format!("cannot read the journal {shown}: {error}"))
    })?;
    if !journal::is_journal(&text) && text.trim_ascii_start().starts_with(b"{\n") {
        let message = format!("{shown} is no journal; a report as JSON is for gate --report");
        return Err(Stop::new(Exit::Usage, message));
    }
    let recorded = journal::read(&text).map_err(|error| {
        let message = format!("{shown} {error}; nothing is concluded from it");
        Stop::new(Exit::Inconclusive, message)
    })?;
    if recorded.is_cut {
        complain(&format!("{shown}: the last line is cut off and left out"));
    }
    if recorded.end.is_none() {
        complain(&format!("{shown}: the end of the run is missing; judged is what there is"));
    }
    let report = Report::new(&recorded.account, recorded.end.as_ref());
    sinks.write(&Judged::Run(&report))?;
    Ok(report.verdict.into())
}
