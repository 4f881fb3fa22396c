//! The limit that the benchmarks measure against: hyper answers every request with one constant prediction, after
//! reading the body and parsing it as JSON. No routing, no validation, no model.
//!
//! `constant [--port PORT] [--threads N]`: port 0 (the default) takes a free one; the address is printed when it listens.
//! Without `--threads` there is one a core, as in any server on Tokio.

use std::convert::Infallible;
use std::io::{Error, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = br#"{"predictions":[{"label":0,"probabilities":{"0":0.97,"1":0.02,"2":0.01}}]}"#;
const REFUSAL: &[u8] = br#"{"title":"the body is not JSON"}"#;

fn main() -> Result<(), Error> {
    let port = u16::try_from(number("--port")?).map_err(|_| invalid("--port is above 65535"))?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let threads = number("--threads")?;
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()?.block_on(serve(port))
}

/// The number behind `flag` on the command line, 0 where it is not given.
fn number(flag: &str) -> Result<usize, Error> {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag);
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(0),
        (Some(_), Some(value)) => value.parse().map_err(|_| invalid("not a number on the command line")),
        (Some(_), None) => Err(invalid("a flag without its number")),
    }
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}

async fn serve(port: u16) -> Result<(), Error> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream));
    }
}

async fn connection(stream: TcpStream) {
    // A connection that breaks is the client's affair: the next one is not touched by it.
    if stream.set_nodelay(true).is_ok() {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let parsed = serde_json::from_slice::<serde_json::Value>(&body);
    let (status, content) = match parsed {
        Ok(_) => (StatusCode::OK, ANSWER),
        Err(_) => (StatusCode::BAD_REQUEST, REFUSAL),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(content)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
