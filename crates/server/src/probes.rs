//! A port for those who can show no certificate, as Kubernetes' own probes: how the replica is, and nothing else.

use std::{future, sync::Arc, time::Duration};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use kea_core::replica::LINGER_PATH;
use kea_http::ApiError;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::status::Status;

/// The open port; it closes once this is dropped.
pub(crate) struct Probes(JoinHandle<()>);

impl Probes {
    /// Answers who connects. Who asks how long the replica lingers is told after that time.
    pub(crate) fn start(listener: TcpListener, status: Arc<Status>, linger: Duration) -> Self {
        let handler = move |request| {
            let status = status.clone();
            kea_http::rim(request, move |request| answer(request, status, linger))
        };
        Self(tokio::spawn(kea_http::serve(listener, handler, future::pending(), Duration::ZERO)))
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer(request: Request, status: Arc<Status>, linger: Duration) -> Response {
    match request.uri().path() {
        path @ ("/healthz" | "/readyz") => {
            let answered = status.answer(path).expect("a replica of any engine answers there");
            answered.unwrap_or_else(IntoResponse::into_response)
        }
        LINGER_PATH => {
            tokio::time::sleep(linger).await;
            StatusCode::NO_CONTENT.into_response()
        }
        path => {
            let detail = format!("there is nothing at `{path}`: this port tells how the replica is, and nothing else");
            ApiError::new(StatusCode::NOT_FOUND, "no-path", detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use kea_core::{Engine, replica::REPORT_PATH};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::control::Event;

    async fn asked(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn it_tells_how_the_replica_is_and_passes_nothing_on() {
        let status = Arc::new(Status::new("iris".parse().unwrap(), "1".parse().unwrap(), Engine::Onnx));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let probes = Probes::start(listener, status.clone(), Duration::ZERO);
        assert_eq!(asked(address, "GET /readyz").await, "503");
        status.note(&Event::Ready { contract: Arc::default() });
        for (line, code) in [
            ("GET /readyz", "200"),
            ("GET /healthz", "200"),
            (&*format!("GET {LINGER_PATH}"), "204"),
            (&*format!("GET {REPORT_PATH}"), "404"),
            ("POST /api/v1/services/iris/predict", "404"),
            ("GET /", "404"),
        ] {
            assert_eq!(asked(address, line).await, code, "{line}");
        }
        drop(probes);
    }
}
