//! The Python engine: worker processes of the service's own environment, spoken to over a Unix socket in the binary
//! layout of the Open Inference Protocol.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use kea_core::{Contract, Framework, Tensor};
use serde_json::{Value, value::RawValue};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{ModelError, Patience, Runner};
use crate::{confine, health::HealthReporter};

mod frame;
mod program;

use frame::{Answer, Frames};
pub(crate) use program::Program;

/// Large models take minutes to read; past this, the model hangs in loading.
const LOAD_WITHIN: Duration = Duration::from_secs(600);

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// What a worker is started with.
#[derive(Debug)]
pub(crate) struct WorkerSpec {
    pub(crate) program: Program,
    pub(crate) python: PathBuf,
    pub(crate) framework: Framework,
    pub(crate) model: PathBuf,
    /// File and name of a custom class; without a name, the file's functions.
    pub(crate) class: Option<(PathBuf, Option<String>)>,
    pub(crate) threads: usize,
    pub(crate) memory: Option<u64>,
    pub(crate) patience: Arc<Patience>,
}

/// A worker, started again when it ends.
pub(crate) struct PythonRunner {
    spec: Arc<WorkerSpec>,
    worker: Option<Worker>,
    health: HealthReporter,
    backoff: Duration,
}

struct Worker {
    process: Child,
    frames: Frames,
}

/// What the first frame of a worker says.
struct Started {
    worker: Worker,
    contract: Option<Contract>,
}

impl PythonRunner {
    /// Starts a worker and waits until it has loaded the model.
    ///
    /// # Errors
    /// Why the model cannot be loaded, in the worker's words.
    pub(crate) async fn start(
        spec: Arc<WorkerSpec>,
        health: HealthReporter,
    ) -> Result<(Self, Option<Contract>), String> {
        let Started { worker, contract } = start(&spec).await?;
        health.ready();
        Ok((Self { spec, worker: Some(worker), health, backoff: FIRST_BACKOFF }, contract))
    }

    async fn ask(&mut self, header: &[u8], tensors: &[Tensor]) -> Result<Answer, ModelError> {
        let limit = self.spec.patience.limit();
        let Some(worker) = &mut self.worker else {
            return Err(ModelError::Crashed("it is being started again".into()));
        };
        let answered = timeout(limit, worker.frames.ask(header, tensors)).await;
        let error = match answered {
            Ok(Ok(answer)) => {
                self.backoff = FIRST_BACKOFF;
                return Ok(answer);
            }
            Ok(Err(_broken)) => ModelError::Crashed(worker.end().await),
            Err(_elapsed) => {
                worker.end().await;
                ModelError::Hung { seconds: limit.as_secs() }
            }
        };
        self.worker = None;
        self.health.unready(error.to_string());
        tracing::warn!(%error, "a worker is started again");
        Err(error)
    }
}

impl Runner for PythonRunner {
    /// A worker that dies, or cannot load the model again, is started anew for ever, at most every ten seconds: the model
    /// was loaded once, so what is missing now (memory, a file on a share) may come back, and the replica with it. It is
    /// not ready meanwhile. Only a model that could not be loaded at the start ends the replica.
    async fn ready(&mut self) {
        while self.worker.is_none() {
            match start(&self.spec).await {
                Ok(started) => {
                    self.worker = Some(started.worker);
                    self.health.ready();
                }
                Err(reason) => {
                    tracing::warn!(%reason, "a worker could not be started again");
                    self.health.unready(reason);
                    sleep(self.backoff).await;
                    self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    async fn infer(&mut self, function: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let header = frame::infer_header(function, inputs);
        match self.ask(&header, inputs).await? {
            Answer::Outputs(outputs) => Ok(outputs),
            Answer::Raised { kind, message } => Err(raised(kind, message)),
            Answer::Result(_) => Err(ModelError::Unusable("a result came where tensors were asked for".into())),
        }
    }

    async fn call(&mut self, function: &str, arguments: &RawValue) -> Result<Value, ModelError> {
        let header = frame::call_header(function, arguments);
        match self.ask(&header, &[]).await? {
            Answer::Result(result) => Ok(result),
            Answer::Raised { kind, message } => Err(raised(kind, message)),
            Answer::Outputs(_) => Err(ModelError::Unusable("tensors came where a result was asked for".into())),
        }
    }
}

/// The worker's word for arguments that do not fit what the function takes: the caller's fault, not the model's.
const INVALID_ARGUMENT: &str = "InvalidArgument";

fn raised(kind: String, message: String) -> ModelError {
    if kind == INVALID_ARGUMENT { ModelError::Arguments(message) } else { ModelError::Raised { kind, message } }
}

impl Worker {
    /// Ends the process where it still runs, and says how it ended.
    async fn end(&mut self) -> String {
        // One that closed its socket is about to end by itself: its own exit status says more than a kill.
        let status = match timeout(Duration::from_millis(500), self.process.wait()).await {
            Ok(status) => status,
            Err(_still_running) => {
                let _ = self.process.start_kill();
                self.process.wait().await
            }
        };
        status.map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

async fn start(spec: &WorkerSpec) -> Result<Started, String> {
    let (ours, theirs) = StdUnixStream::pair().map_err(|error| format!("no socket for a worker: {error}"))?;
    ours.set_nonblocking(true).map_err(|error| error.to_string())?;
    let mut process = command(spec, theirs)
        .spawn()
        .map_err(|error| format!("`{}` could not be started: {error}", spec.python.display()))?;
    let stream = UnixStream::from_std(ours).map_err(|error| error.to_string())?;
    let mut frames = Frames::new(stream);
    match timeout(LOAD_WITHIN, frames.started()).await {
        Ok(Ok(Ok(contract))) => Ok(Started { worker: Worker { process, frames }, contract }),
        Ok(Ok(Err(reason))) => Err(reason),
        Ok(Err(_broken)) => {
            let status = process.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(format!("the model's process ended while it loaded the model ({status}): see the service's log"))
        }
        Err(_elapsed) => Err(format!("the model was not loaded within {} s", LOAD_WITHIN.as_secs())),
    }
}

fn command(spec: &WorkerSpec, socket: StdUnixStream) -> Command {
    let mut command = Command::new(confine::OWN_PROGRAM);
    command.args(["confine", "--parent", &std::process::id().to_string()]);
    if let Some(bytes) = spec.memory {
        command.args(["--memory", &bytes.to_string()]);
    }
    command.arg("--").arg(&spec.python).arg("-u").arg(spec.program.folder());
    command.args(["--framework", spec.framework.as_str(), "--threads", &spec.threads.to_string()]);
    command.arg("--model").arg(&spec.model);
    if let Some((file, class)) = &spec.class {
        command.arg("--file").arg(file);
        if let Some(class) = class {
            command.arg("--class").arg(class);
        }
    }
    // The model's files are shared by replicas: nothing is written beside them.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    command.stdin(Stdio::from(OwnedFd::from(socket))).kill_on_drop(true);
    command
}
