//! The roles that KEA starts by itself: `kea model-server`, one replica, and `kea confine`, a program within limits.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use http::uri::Authority;
use kea_core::{
    Framework, ServiceId, VersionId,
    contract::WebProtocol,
    quantity::Span,
    stated::{self, StatedFunction},
};
use kea_logs::Format;
use kea_server::{Confinement, EngineConfig, PythonModel, ServerConfig};

use crate::{edge::TlsArgs, progress, signals};

/// How a replica is run. An image says it by variables, so that a cluster can say it otherwise.
#[derive(Debug, Args)]
pub(crate) struct ModelServerArgs {
    /// Service that it answers for
    #[arg(long, env = "KEA_SERVICE")]
    service: ServiceId,
    /// Version of its model
    #[arg(long, default_value = "1", env = "KEA_SERVICE_VERSION")]
    version: VersionId,
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:0", env = "KEA_LISTEN")]
    listen: SocketAddr,
    #[command(flatten)]
    tls: TlsArgs,
    /// Address and port at which /healthz and /readyz are answered without TLS, and nothing else [default: none]
    #[arg(long, value_name = "ADDRESS", env = "KEA_PROBES_LISTEN")]
    probes_listen: Option<SocketAddr>,
    /// The model's file or folder
    #[arg(long, value_name = "PATH", env = "KEA_MODEL", required_unless_present_any = ["command", "upstream"])]
    model: Option<PathBuf>,
    /// What made the model
    #[arg(long, value_parser = framework, env = "KEA_FRAMEWORK", required_unless_present_any = ["command", "upstream"])]
    framework: Option<Framework>,
    /// Existing web service beside which it runs, and to which it passes requests on, in place of a model
    #[arg(long, value_name = "HOST:PORT", value_parser = upstream, env = "KEA_UPSTREAM")]
    #[arg(conflicts_with_all = ["model", "command"])]
    upstream: Option<Authority>,
    /// What that web service, or the command's, speaks: `http1` or `http2`
    #[arg(long, default_value = "http1", value_parser = protocol, env = "KEA_PROTOCOL")]
    protocol: WebProtocol,
    /// What the model's author states of its functions: the `functions` of an MLModel, as JSON
    #[arg(long, value_name = "JSON", value_parser = functions, env = "KEA_FUNCTIONS", default_value = "[]")]
    functions: Functions,
    /// Python of the model's environment
    #[arg(long, value_name = "PATH", env = "KEA_PYTHON")]
    python: Option<PathBuf>,
    /// ONNX Runtime's shared library
    #[arg(long, value_name = "PATH", env = "KEA_ONNXRUNTIME")]
    onnxruntime: Option<PathBuf>,
    /// Worker processes or sessions
    #[arg(long, default_value_t = 1, env = "KEA_WORKERS")]
    workers: usize,
    /// Most rows that are run together
    #[arg(long, default_value_t = 64, env = "KEA_MAX_BATCH_ROWS")]
    max_batch_rows: usize,
    /// Most requests that wait
    #[arg(long, default_value_t = 1024, env = "KEA_QUEUE_LIMIT")]
    queue_limit: usize,
    /// How long a request waits for its answer
    #[arg(long, default_value = "5s", env = "KEA_TIMEOUT")]
    timeout: Span,
    /// Threads of one worker or session
    #[arg(long, default_value_t = 1, env = "KEA_THREADS")]
    threads: usize,
    /// Most memory of one worker process, in bytes
    #[arg(long, value_name = "BYTES", env = "KEA_MEMORY")]
    memory: Option<u64>,
    /// Largest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20, env = "KEA_BODY_LIMIT")]
    body_limit: usize,
    /// How long requests are still accepted after it was told to stop, until all who send them have learnt of it
    #[arg(long, value_name = "SPAN", default_value = "0s", env = "KEA_LINGER")]
    linger: Span,
    /// File to which the reason is written where the replica fails; Kubernetes shows /dev/termination-log
    #[arg(long, value_name = "PATH", env = "KEA_TERMINATION_LOG")]
    termination_log: Option<PathBuf>,
    /// Standard input is the control channel of who started it
    #[arg(long)]
    control: bool,
    /// Command of an existing web service
    #[arg(last = true)]
    command: Vec<String>,
}

/// What is run within which limits.
#[derive(Debug, Args)]
pub(crate) struct ConfineArgs {
    /// Most bytes of private memory
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// Process whose death ends the program
    #[arg(long, value_name = "PID")]
    parent: Option<u32>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

fn framework(text: &str) -> Result<Framework, String> {
    let known = Framework::ALL.into_iter().find(|framework| framework.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("one of {}", Framework::ALL.map(Framework::as_str).join(", ")))
}

/// The protocol of that name.
pub(crate) fn protocol(text: &str) -> Result<WebProtocol, String> {
    let known = WebProtocol::ALL.into_iter().find(|protocol| protocol.as_str() == text);
    known.ok_or_else(|| format!("one of {}", WebProtocol::ALL.map(WebProtocol::as_str).join(", ")))
}

/// What is stated of functions, as one argument.
#[derive(Clone, Debug)]
struct Functions(Vec<StatedFunction>);

fn functions(text: &str) -> Result<Functions, String> {
    serde_json::from_str(text).map(Functions).map_err(|error| error.to_string())
}

fn upstream(text: &str) -> Result<Authority, String> {
    let parsed: Option<Authority> = text.parse().ok();
    let complete = |authority: &Authority| {
        authority.port_u16().is_some() && !authority.host().is_empty() && !authority.as_str().contains('@')
    };
    parsed.filter(complete).ok_or_else(|| "a host and a port, as 127.0.0.1:8000".into())
}

/// Runs one replica until it is told to stop.
pub(crate) fn run(args: ModelServerArgs) -> ExitCode {
    let termination_log = args.termination_log.clone();
    let ran = kea_logs::init_tracing(Format::Human, "info").map_err(anyhow::Error::from).and_then(|()| {
        let config = config(args)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(runtime.block_on(async { kea_server::run(config, signals::stop()).await })?)
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let reason = format!("{error:#}");
            progress::note(&format!("error: {reason}"));
            if let Some(file) = termination_log {
                leave_behind(&file, &reason);
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes down why the replica failed, for whoever looks once it is gone.
fn leave_behind(file: &Path, reason: &str) {
    if let Err(error) = std::fs::write(file, reason) {
        progress::note(&format!("error: the reason cannot be written to `{}`: {error}", file.display()));
    }
}

/// Becomes the program; comes back only where that fails.
pub(crate) fn confine(args: &ConfineArgs) -> ExitCode {
    let limits = Confinement { memory: args.memory, parent: args.parent };
    let error = kea_server::confine(&limits, &args.program);
    progress::note(&format!("error: `{}` cannot be run: {error}", args.program[0].display()));
    ExitCode::from(127)
}

fn config(args: ModelServerArgs) -> anyhow::Result<ServerConfig> {
    let engine = engine(&args)?;
    let tls = args.tls.load()?;
    anyhow::ensure!(
        tls.is_none() || args.command.is_empty(),
        "a command brings its own server: leave `--tls-certificate` out, or run beside it with `--upstream`"
    );
    let is_model = matches!(engine, EngineConfig::Python(_) | EngineConfig::Onnx { .. });
    anyhow::ensure!(is_model || args.functions.0.is_empty(), "{}", stated::OF_A_WEB_SERVICE);
    Ok(ServerConfig {
        service: args.service,
        version: args.version,
        listen: args.listen,
        tls,
        probes: args.probes_listen,
        engine,
        functions: args.functions.0,
        workers: args.workers.max(1),
        max_batch_rows: args.max_batch_rows.max(1),
        queue_limit: args.queue_limit.max(1),
        timeout: args.timeout.0,
        threads: args.threads.max(1),
        memory: args.memory,
        body_limit: args.body_limit,
        linger: args.linger.0,
        control: args.control,
    })
}

fn engine(args: &ModelServerArgs) -> anyhow::Result<EngineConfig> {
    if !args.command.is_empty() {
        return Ok(EngineConfig::External { command: args.command.clone(), protocol: args.protocol });
    }
    if let Some(upstream) = &args.upstream {
        return Ok(EngineConfig::Upstream { address: upstream.clone(), protocol: args.protocol });
    }
    let model = args.model.clone().ok_or_else(|| anyhow::anyhow!("--model is missing"))?;
    match args.framework {
        Some(Framework::Onnx) => {
            let library = args.onnxruntime.clone();
            let missing = "--onnxruntime is missing: the path of libonnxruntime.so, which the Python package has";
            Ok(EngineConfig::Onnx { model, library: library.ok_or_else(|| anyhow::anyhow!(missing))? })
        }
        Some(framework) => {
            let python = args.python.clone().ok_or_else(|| anyhow::anyhow!("--python is missing"))?;
            Ok(EngineConfig::Python(PythonModel { python, framework, model }))
        }
        None => Err(anyhow::anyhow!("--framework is missing")),
    }
}
