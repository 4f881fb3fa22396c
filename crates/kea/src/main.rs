//! The one binary of KEA: the server, what a replica runs, and the commands that talk to a server.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod client;
mod commands;
mod credentials;
mod failure;
mod model_server;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(_) | Command::ModelServer(_) | Command::Confine(_) => {
            progress::note("error: this build has the commands alone, without the server");
            ExitCode::FAILURE
        }
        Command::Client(command) => commands::run(&cli.global, command),
    }
}
