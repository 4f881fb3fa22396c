//! What a replica is told when it starts.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::uri::Authority;
use kea_core::{Engine, Framework, ServiceId, VersionId, contract::WebProtocol, stated::StatedFunction};
use kea_http::Tls;

/// Everything that a replica is told.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The service that it answers for.
    pub service: ServiceId,
    /// The version of its model.
    pub version: VersionId,
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// TLS of that address, where it is not plain. A command that brings its own server has none.
    pub tls: Option<Arc<Tls>>,
    /// Where it tells how it is, and nothing else, without TLS: to those who can show no certificate.
    pub probes: Option<SocketAddr>,
    /// What runs the model.
    pub engine: EngineConfig,
    /// What the model's author states of its functions.
    pub functions: Vec<StatedFunction>,
    /// Worker processes or sessions.
    pub workers: usize,
    /// Most rows that are run together.
    pub max_batch_rows: usize,
    /// Most requests that wait.
    pub queue_limit: usize,
    /// How long a request may wait for its answer.
    pub timeout: Duration,
    /// Threads of one worker or session.
    pub threads: usize,
    /// Most memory of one worker process, in bytes.
    pub memory: Option<u64>,
    /// Largest body of a request, in bytes.
    pub body_limit: usize,
    /// How long requests are still accepted once it is told to stop: those who send them learn of it later.
    pub linger: Duration,
    /// Whether standard input is a control channel.
    pub control: bool,
}

/// What runs the model.
#[derive(Clone, Debug)]
pub enum EngineConfig {
    /// Python workers.
    Python(PythonModel),
    /// ONNX Runtime in this process.
    Onnx {
        /// The model's file.
        model: PathBuf,
        /// ONNX Runtime's shared library.
        library: PathBuf,
    },
    /// A command that brings its own server and listens on `$PORT`.
    External {
        /// The command and its arguments.
        command: Vec<String>,
        /// What that server speaks.
        protocol: WebProtocol,
    },
    /// A web service that runs elsewhere, to which requests are passed on.
    Upstream {
        /// Where it is.
        address: Authority,
        /// What it speaks.
        protocol: WebProtocol,
    },
}

impl EngineConfig {
    /// The name of what runs the model.
    pub(crate) fn kind(&self) -> Engine {
        match self {
            Self::Python(_) => Engine::Python,
            Self::Onnx { .. } => Engine::Onnx,
            Self::External { .. } | Self::Upstream { .. } => Engine::External,
        }
    }
}

/// A model that Python runs.
#[derive(Clone, Debug)]
pub struct PythonModel {
    /// The interpreter of its environment.
    pub python: PathBuf,
    /// What made it.
    pub framework: Framework,
    /// Its file or folder.
    pub model: PathBuf,
}
