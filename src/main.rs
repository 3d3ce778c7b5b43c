//! The command-line program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use pusher_canary::{cli, cmd};

fn main() -> ExitCode {
    cmd::execute(&cli::Cli::parse()).into()
}
