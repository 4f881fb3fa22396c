//! What is known of an existing web service: its own document of OpenAPI, as it answers it, and its source, where that is
//! here. The document says how it runs, and so it counts where both say something.

use std::{io, path::Path, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kea_core::{
    Contract,
    contract::{WebOperation, WebProtocol},
};
use kea_openapi::foreign::{self, Foreign};
use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};

/// Where web services have their document, as FastAPI does.
const PATH: &str = "/openapi.json";

/// How long that may take: the service does not take requests before.
const WITHIN: Duration = Duration::from_secs(3);

/// Longest document that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// Most operations that a sentence names.
const NAMED: usize = 5;

/// The contract of the web service at `address`, of which the source is in `folder` where it is given, started by `command`.
pub(crate) async fn of(address: &str, protocol: WebProtocol, source: Option<(&Path, &[String])>) -> Arc<Contract> {
    let source = match source {
        Some((folder, command)) => read(folder, command).await,
        None => None,
    };
    let own = match protocol {
        WebProtocol::Http1 => asked(address).await,
        WebProtocol::Http2 => None,
    };
    Arc::new(Contract { protocol, ..merged(own, source) })
}

/// What the source says. It is read and never run.
async fn read(folder: &Path, command: &[String]) -> Option<Contract> {
    let (folder, command) = (folder.to_path_buf(), command.to_vec());
    let read = spawn_blocking(move || kea_openapi::source::read_web(&folder, &command)).await;
    match read {
        Ok(Ok(contract)) => contract,
        Ok(Err(error)) => {
            tracing::info!(%error, "the web service's source says nothing of its operations");
            None
        }
        Err(_panicked) => None,
    }
}

/// The document that it answers, where it has one.
async fn asked(address: &str) -> Option<Foreign> {
    let answered = timeout(WITHIN, fetch(address)).await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
    let text = answered.inspect_err(|error| tracing::info!(%error, "the web service has no {PATH}")).ok()?;
    foreign::read(&text).inspect_err(|error| tracing::info!(%error, "the web service's {PATH} is not read")).ok()
}

async fn fetch(address: &str) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let asking = async {
        let request = Request::get(PATH).header(header::HOST, address).header(header::ACCEPT, "application/json");
        let request = request.body(Body::empty()).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status() != StatusCode::OK {
            return Err(io::Error::other(response.status().to_string()));
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(io::Error::other)?;
        Ok(body.to_bytes().to_vec())
    };
    tokio::pin!(asking);
    tokio::select! {
        answered = &mut asking => answered,
        ended = connection => {
            ended.map_err(io::Error::other)?;
            // What it said before it ended is still to be read.
            asking.await
        }
    }
}

/// Both together. Nothing is known where there is neither.
fn merged(own: Option<Foreign>, source: Option<Contract>) -> Contract {
    match (own, source) {
        (None, None) => {
            Contract { platform: "external".into(), incomplete: vec![UNKNOWN.into()], ..Contract::default() }
        }
        (None, Some(source)) => source,
        (Some(Foreign { description, operations, notes }), source) => {
            let source = source.unwrap_or_else(|| Contract { platform: "external".into(), ..Contract::default() });
            let missing = missing(&source.operations, &operations);
            let description = if description.is_empty() { source.description } else { description };
            let incomplete = notes.into_iter().chain(missing).collect();
            Contract { platform: source.platform, description, operations, incomplete, ..Contract::default() }
        }
    }
}

/// What is said where nothing is known.
const UNKNOWN: &str = "this is an existing web service: its paths, inputs and outputs are not known to KEA";

/// What the source has and the document does not: a contradiction, of which the document is believed.
fn missing(source: &[WebOperation], own: &[WebOperation]) -> Option<String> {
    let is_there = |operation: &WebOperation| {
        own.iter().any(|other| other.method == operation.method && shape(&other.path) == shape(&operation.path))
    };
    let missing: Vec<_> = source.iter().filter(|operation| !is_there(operation)).collect();
    let named: Vec<_> = missing.iter().take(NAMED).map(|one| format!("{} {}", one.method, one.path)).collect();
    let more = missing.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
    (!missing.is_empty()).then(|| {
        format!("the source has operations that the running service's {PATH} does not list: {}{more}", named.join(", "))
    })
}

/// A path without the names of its parameters.
fn shape(path: &str) -> Vec<&str> {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect()
}

#[cfg(test)]
mod tests;
