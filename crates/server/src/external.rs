//! The external engine: a command that brings its own web server. It is started with a free port, watched, and reached
//! by the router directly.

use std::{env, io, net::SocketAddr, process::Stdio, time::Duration};

use kea_core::contract::WebProtocol;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpListener,
    process::{Child, Command as Program},
    time::{sleep, timeout},
};

use crate::{config::ServerConfig, confine, control::Event, status::Reporter, watch::WebService};

const START_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A command that brings its own web server.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    /// The program and its arguments.
    pub(crate) words: &'a [String],
    /// What its server speaks.
    pub(crate) protocol: WebProtocol,
}

/// Runs `command` until it ends or `stop` resolves.
///
/// # Errors
/// How the command ended, or that it never answered.
pub(crate) async fn run(
    config: &ServerConfig,
    command: Command<'_>,
    stop: impl Future<Output = ()>,
    reporter: &mut Reporter,
) -> Result<(), String> {
    let address = free_address(config.listen).await.map_err(|error| format!("no free port: {error}"))?;
    let mut process = start(config, command.words, address)?;
    reporter.tell(&Event::Listening { address }).await;
    let ended = tokio::select! {
        status = process.wait() => Err(ended(status)),
        failed = watch(address, command, reporter) => Err(failed),
        () = async { stop.await; sleep(config.linger).await } => Ok(()),
    };
    end(&mut process).await;
    ended
}

/// A port that is free now. The command binds it itself; where another program is quicker, the command ends, and the
/// replica is started again with another port.
async fn free_address(listen: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(listen).await?.local_addr()
}

fn start(config: &ServerConfig, command: &[String], address: SocketAddr) -> Result<Child, String> {
    let port = address.port().to_string();
    let mut confined = Program::new(confine::OWN_PROGRAM);
    confined.args(["confine", "--parent", &std::process::id().to_string()]);
    if let Some(bytes) = config.memory {
        confined.args(["--memory", &bytes.to_string()]);
    }
    confined.arg("--").args(command.iter().map(|argument| argument.replace("{port}", &port)));
    confined.env("PORT", &port).env("HOST", address.ip().to_string());
    // It stays in the replica's process group, which the deployer ends as a whole.
    confined.stdin(Stdio::null()).kill_on_drop(true);
    confined.spawn().map_err(|error| format!("`{}` could not be started: {error}", command.join(" ")))
}

/// Tells how the command is, for as long as it answers at all.
async fn watch(address: SocketAddr, command: Command<'_>, reporter: &mut Reporter) -> String {
    // It was started where its files are.
    let source = env::current_dir().ok().map(|folder| (folder, command.words.to_vec()));
    let (address_text, protocol) = (address.to_string(), command.protocol);
    let service = WebService { name: "the command", address: address_text, protocol, source };
    if let Err(error) = service.first_answer(START_WITHIN).await {
        let (port, seconds) = (address.port(), START_WITHIN.as_secs());
        return format!("the command did not answer on port {port} (in $PORT) within {seconds} s: {error}");
    }
    match service.watch(reporter).await {}
}

fn ended(status: io::Result<std::process::ExitStatus>) -> String {
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    format!("the command ended ({status}): see the service's log")
}

/// Asks the command to end, and ends it where it does not.
async fn end(process: &mut Child) {
    let pid = process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(pid) = pid else { return };
    let _ = kill_process(pid, Signal::TERM);
    if timeout(STOP_WITHIN, process.wait()).await.is_err() {
        let _ = process.kill().await;
    }
}
