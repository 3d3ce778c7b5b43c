//! Completion scripts, held to the shells that read them.

use std::process::Command;

use clap::CommandFactory;
use pusher_canary::cli::Cli;

use crate::util::{Folder, canary};

/// Each shell with the arguments that make it read a script and run nothing of it.
const SHELLS: [(&str, &[&str]); 5] = [
    ("bash", &["-n"]),
    ("zsh", &["-n"]),
    ("fish", &["--no-execute"]),
    ("elvish", &["-compileonly"]),
    ("powershell", &[]),
];

#[test]
fn every_shell_gets_a_script_that_it_can_read_and_that_knows_every_command() {
    let cli = Cli::command();
    let commands: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
    assert!(commands.contains(&"completions"));
    let folder = Folder::new();
    for (shell, check) in SHELLS {
        let outcome = canary(["completions", shell]).run();
        outcome.assert_code(0);
        for command in &commands {
            assert!(outcome.stdout.contains(command), "{shell}: {command} is missing");
        }
        assert!(outcome.stdout.contains("until-proven"), "{shell}: flags are missing");
        let path = folder.write(shell, &outcome.stdout);
        // PowerShell has no such flag; the others are read where they are installed.
        let read = (!check.is_empty())
            .then(|| Command::new(shell).args(check).arg(&path).env("HOME", folder.path()).output())
            .and_then(Result::ok);
        if let Some(read) = read {
            let said = String::from_utf8_lossy(&read.stderr);
            assert!(read.status.success() && said.is_empty(), "{shell}: {said}");
        }
    }
}

#[test]
fn another_shell_is_a_usage_error_that_names_those_there_are() {
    let outcome = canary(["completions", "tcsh"]).run();
    outcome.assert_code(2);
    assert!(outcome.stderr.contains("[possible values: bash, elvish, fish, powershell, zsh]"));
}
