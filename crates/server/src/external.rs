//! The external engine: a command that brings its own web server. It is started with a free port, watched, and reached
//! by the router directly.

use std::{io, net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use kea_core::Contract;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{config::ServerConfig, confine, control::Event, status::Reporter};

const START_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const PROBE_WITHIN: Duration = Duration::from_secs(5);
const PROBE_STARTING: Duration = Duration::from_millis(100);
const PROBE_RUNNING: Duration = Duration::from_secs(2);

/// Failed probes in a row after which a command that once answered takes no more requests.
const FAILURES: u32 = 3;

/// Runs `command` until it ends or `stop` resolves.
///
/// # Errors
/// How the command ended, or that it never answered.
pub(crate) async fn run(
    config: &ServerConfig,
    command: &[String],
    stop: impl Future<Output = ()>,
    reporter: &mut Reporter,
) -> Result<(), String> {
    let address = free_address(config.listen).await.map_err(|error| format!("no free port: {error}"))?;
    let mut process = start(config, command, address)?;
    reporter.tell(&Event::Listening { address }).await;
    let ended = tokio::select! {
        status = process.wait() => Err(ended(status)),
        failed = watch(address, reporter) => Err(failed),
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
    let mut confined = Command::new(confine::OWN_PROGRAM);
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
async fn watch(address: SocketAddr, reporter: &mut Reporter) -> String {
    let started = Instant::now();
    while let Err(error) = probe(address).await {
        if started.elapsed() > START_WITHIN {
            let seconds = START_WITHIN.as_secs();
            return format!(
                "the command did not answer on port {} (in $PORT) within {seconds} s: {error}",
                address.port()
            );
        }
        sleep(PROBE_STARTING).await;
    }
    let contract = Arc::new(contract());
    let mut failures = 0;
    reporter.tell(&ready(&contract)).await;
    loop {
        sleep(PROBE_RUNNING).await;
        match probe(address).await {
            Ok(()) if failures >= FAILURES => {
                failures = 0;
                reporter.tell(&ready(&contract)).await;
            }
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                if failures == FAILURES {
                    reporter.tell(&Event::Unready { reason: format!("the command does not answer: {error}") }).await;
                }
            }
        }
    }
}

fn ready(contract: &Arc<Contract>) -> Event {
    Event::Ready { contract: contract.clone() }
}

/// Nothing is known of a web service's inputs: it validates by itself.
fn contract() -> Contract {
    let incomplete = "this is an existing web service: its paths, inputs and outputs are not known to KEA";
    Contract { platform: "external".into(), incomplete: vec![incomplete.into()], ..Contract::default() }
}

/// Whether it speaks HTTP there: any answer will do.
async fn probe(address: SocketAddr) -> io::Result<()> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: kea-probe\r\nconnection: close\r\n\r\n")
            .await?;
        let mut start = [0; 5];
        stream.read_exact(&mut start).await?;
        if &start == b"HTTP/" { Ok(()) } else { Err(io::Error::other("its answer is not HTTP")) }
    };
    timeout(PROBE_WITHIN, ask).await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
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
