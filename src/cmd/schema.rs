//! `schema`: the forms of what is read and written.

pub(super) use crate::cli::SchemaArgs as Args;
use crate::cli::SchemaOf;
use crate::exit::Exit;
use crate::report;
use crate::scenario;

use super::{Stop, print};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let schema = match args.of {
        SchemaOf::Scenario => scenario::schema::scenario(),
        SchemaOf::Report => report::schema::report().to_value(),
        SchemaOf::Gate => report::schema::gate().to_value(),
        SchemaOf::Parity => report::schema::parity().to_value(),
        SchemaOf::Bench => report::schema::bench().to_value(),
        SchemaOf::Verdict => report::schema::verdict().to_value(),
    };
    print(&format!("{schema:#}\n"))?;
    Ok(Exit::Go)
}
