//! How an existing web service is watched: any answer in its protocol will do, since nothing else is known of it.

use std::{convert::Infallible, io, path::PathBuf, time::Duration};

use kea_core::contract::WebProtocol;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{control::Event, status::Reporter, web_contract};

const PROBE_WITHIN: Duration = Duration::from_secs(5);
const PROBE_STARTING: Duration = Duration::from_millis(100);
const PROBE_RUNNING: Duration = Duration::from_secs(2);

/// Failed probes in a row after which a service that once answered takes no more requests.
const FAILURES: u32 = 3;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: kea-probe\r\nconnection: close\r\n\r\n";

/// How a connection of HTTP/2 begins: the preface, and settings that say nothing (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The byte of a frame's head that has its type, and that of settings, with which the other end begins.
const FRAME_TYPE: usize = 3;
const SETTINGS: u8 = 4;

/// A web service that answers at an address, `HOST:PORT`.
pub(crate) struct WebService {
    /// What it is called in reasons.
    pub(crate) name: &'static str,
    pub(crate) address: String,
    pub(crate) protocol: WebProtocol,
    /// The folder of its source and the command that started it, where they are here.
    pub(crate) source: Option<(PathBuf, Vec<String>)>,
}

impl WebService {
    /// Waits for the first answer, for about `patience`.
    ///
    /// # Errors
    /// What the last probe said.
    pub(crate) async fn first_answer(&self, patience: Duration) -> io::Result<()> {
        let started = Instant::now();
        while let Err(error) = self.probe().await {
            if started.elapsed() > patience {
                return Err(error);
            }
            sleep(PROBE_STARTING).await;
        }
        Ok(())
    }

    /// Tells that it is ready, and from then on whether it still is.
    pub(crate) async fn watch(&self, reporter: &mut Reporter) -> Infallible {
        let source = self.source.as_ref().map(|(folder, command)| (&**folder, &command[..]));
        let contract = web_contract::of(&self.address, self.protocol, source).await;
        let ready = Event::Ready { contract };
        reporter.tell(&ready).await;
        let mut failures = 0;
        loop {
            sleep(PROBE_RUNNING).await;
            match self.probe().await {
                Ok(()) if failures >= FAILURES => {
                    failures = 0;
                    reporter.tell(&ready).await;
                }
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures == FAILURES {
                        let reason = format!("{} does not answer: {error}", self.name);
                        reporter.tell(&Event::Unready { reason }).await;
                    }
                }
            }
        }
    }

    /// Whether it speaks its protocol there.
    async fn probe(&self) -> io::Result<()> {
        let ask = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            match self.protocol {
                WebProtocol::Http1 => {
                    let start = answer(&mut stream, GET).await?;
                    if &start == b"HTTP/" { Ok(()) } else { Err(io::Error::other("its answer is not HTTP")) }
                }
                WebProtocol::Http2 => {
                    let start = answer(&mut stream, PREFACE).await?;
                    let is_settings = start[FRAME_TYPE] == SETTINGS;
                    if is_settings { Ok(()) } else { Err(io::Error::other("its answer is not HTTP/2")) }
                }
            }
        };
        timeout(PROBE_WITHIN, ask).await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The start of the answer.
async fn answer(stream: &mut TcpStream, question: &[u8]) -> io::Result<[u8; 5]> {
    stream.write_all(question).await?;
    let mut start = [0; 5];
    stream.read_exact(&mut start).await?;
    Ok(start)
}
