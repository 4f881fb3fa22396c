//! The one binary of KEA: the server, what a replica runs, and the commands that talk to a server.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod audited;
mod caching;
mod cli;
mod client;
mod cluster;
mod commands;
mod config;
mod credentials;
mod edge;
mod failure;
mod gateway;
mod model_server;
mod output;
mod progress;
mod replica_tls;
mod serve;
mod signals;
mod sso;
mod yaml;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// Many small allocations on several threads are what a gateway does: mimalloc serves them faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(args) => match cli.global.output.format() {
            Ok(_) => serve::run(&args),
            Err(failure) => commands::tell(&failure),
        },
        Command::Operator(args) => cluster::run_operator(args),
        Command::Router(args) => cluster::run_router(args),
        Command::Manifests(args) => cluster::print_manifests(*args),
        Command::ModelServer(args) => model_server::run(args),
        Command::Confine(args) => model_server::confine(&args),
        Command::Client(command) => commands::run(&cli.global, command),
    }
}
