//! `completions`: what a shell needs to complete the command line.

use clap::CommandFactory;

use crate::cli::Cli;
pub(super) use crate::cli::CompletionsArgs as Args;
use crate::exit::Exit;

use super::{Stop, print};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Go)
}
