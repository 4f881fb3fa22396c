//! A replica's life: listen, load the model, answer until told to stop, drain.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use kea_core::{Contract, Framework, management::RESERVED_FUNCTIONS};
use kea_openapi::{source, stated};
use tokio::{net::TcpListener, time::timeout};

use crate::{
    answer::{Model, ModelParts},
    batch,
    config::{EngineConfig, PythonModel, ServerConfig},
    control::{self, Event},
    engine::{
        Patience,
        onnx::{self, OnnxRunner},
        python::{Program, PythonRunner, WorkerSpec},
    },
    external,
    handler::Handler,
    health::{Health, HealthReporter, health},
    listener::Listener,
    probes::Probes,
    sidecar,
    status::{Reporter, Status},
};

/// How long a replica that nobody watches tells over HTTP why it can never serve, before it ends: who looks each second
/// sees it. The reason is in its log and its termination message afterwards.
const FAILURE_SHOWN: Duration = Duration::from_secs(3);

/// Why a replica ends.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Its control channel is no socket.
    #[error("standard input is no control channel: {0}")]
    Control(io::Error),
    /// Its model cannot be served.
    #[error("{0}")]
    Model(String),
}

/// Serves a model until `stop` resolves or the starter is gone.
///
/// # Errors
/// Why the model cannot be served; it is told on the control channel too.
pub async fn run(config: ServerConfig, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
    let (control, parent) = control::open(config.control).map_err(ServerError::Control)?;
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = parent.wait() => tracing::info!("the starter is gone"),
        }
    };
    let status = Status::new(config.service.clone(), config.version.clone(), config.engine.kind());
    let mut reporter = Reporter::new(control, Arc::new(status));
    let _probes = probes(&config, &reporter).await?;
    match &config.engine {
        EngineConfig::Python(_) | EngineConfig::Onnx { .. } => serve(&config, stop, &mut reporter).await,
        EngineConfig::External { command, protocol } => {
            let command = external::Command { words: command, protocol: *protocol };
            run_command(&config, command, stop, &mut reporter).await
        }
        EngineConfig::Upstream { address, protocol } => {
            let upstream = sidecar::Upstream { address: address.clone(), protocol: *protocol };
            sidecar::run(&config, upstream, stop, &mut reporter).await
        }
    }
}

/// The port of probes, where there is to be one.
async fn probes(config: &ServerConfig, reporter: &Reporter) -> Result<Option<Probes>, ServerError> {
    let Some(address) = config.probes else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|error| ServerError::Listen { address, error })?;
    Ok(Some(Probes::start(listener, reporter.status().clone(), config.linger)))
}

async fn run_command(
    config: &ServerConfig,
    command: external::Command<'_>,
    stop: impl Future<Output = ()>,
    reporter: &mut Reporter,
) -> Result<(), ServerError> {
    let ran = external::run(config, command, stop, reporter).await;
    if let Err(reason) = &ran {
        reporter.tell(&Event::Failed { reason: reason.clone() }).await;
    }
    ran.map_err(ServerError::Model)
}

/// Listens, and answers by the model that it loads.
async fn serve(
    config: &ServerConfig,
    stop: impl Future<Output = ()>,
    reporter: &mut Reporter,
) -> Result<(), ServerError> {
    let handler = Handler::new(reporter.status().clone(), config.body_limit);
    let answer = {
        let handler = handler.clone();
        move |request| handler.clone().answer(request)
    };
    let refused = |error| ServerError::Listen { address: config.listen, error };
    let listener = Listener::start(config.listen, config.tls.clone(), reporter.status().clone(), answer);
    let listener = listener.await.map_err(refused)?;
    reporter.tell(&Event::Listening { address: listener.address }).await;

    let mut stop = std::pin::pin!(stop);
    if let Err(reason) = run_model(config, &handler, stop.as_mut(), reporter).await {
        reporter.tell(&Event::Failed { reason: reason.clone() }).await;
        if !config.control {
            // Who started it knows by now; others ask from time to time.
            tracing::error!(reason, "the model cannot be served: the replica is about to end");
            let _ = timeout(FAILURE_SHOWN, stop).await;
        }
        return Err(ServerError::Model(reason));
    }
    listener.stop(config.linger).await;
    Ok(())
}

/// Loads the model, and tells how it is until `stop` resolves.
///
/// # Errors
/// Why it can never be served, or no more.
async fn run_model(
    config: &ServerConfig,
    handler: &Handler,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    reporter: &mut Reporter,
) -> Result<(), String> {
    let model = tokio::select! {
        loaded = load(config) => Arc::new(loaded?),
        () = &mut stop => return Ok(()),
    };
    let mut changes = model.health.clone();
    let contract = model.contract().clone();
    handler.serve(model);
    loop {
        let now = changes.borrow_and_update().clone();
        report(reporter, &now, &contract).await;
        tokio::select! {
            changed = changes.changed() => changed.map_err(|_gone| "the tasks of all of its workers have ended")?,
            () = &mut stop => return Ok(()),
        }
    }
}

async fn report(reporter: &mut Reporter, health: &Health, contract: &Arc<Contract>) {
    let event = if health.is_ready() {
        tracing::info!("the model is ready");
        Event::Ready { contract: contract.clone() }
    } else {
        tracing::warn!(reason = health.reason(), "the model is not ready");
        Event::Unready { reason: health.reason().to_string() }
    };
    reporter.tell(&event).await;
}

/// Loads the model into all of its workers.
async fn load(config: &ServerConfig) -> Result<Model, String> {
    let (queue, jobs) = batch::queue(config.queue_limit);
    let (reporters, watch) = health(config.workers);
    let patience = Arc::new(Patience::new(config.timeout));
    let contract = match &config.engine {
        EngineConfig::Python(python) => load_python(config, python, reporters, &jobs, &patience).await?,
        EngineConfig::Onnx { model, library } => load_onnx(config, model, library, reporters, &jobs)?,
        EngineConfig::External { .. } | EngineConfig::Upstream { .. } => {
            return Err("a web service is served by itself".into());
        }
    };
    let contract = stated::merge(contract, &config.functions).map_err(|contradiction| contradiction.to_string())?;
    refuse_reserved(&contract)?;
    let parts = ModelParts {
        service: config.service.clone(),
        version: config.version.clone(),
        queue,
        health: watch,
        timeout: config.timeout,
        patience,
    };
    Model::new(parts, contract)
}

/// Functions of these names could not be called: their paths are the management API's.
fn refuse_reserved(contract: &Contract) -> Result<(), String> {
    let reserved = contract.function_names().into_iter().find(|name| RESERVED_FUNCTIONS.contains(name));
    reserved.map_or(Ok(()), |name| {
        Err(format!("a function cannot be called `{name}`, which is a path of the API: rename it"))
    })
}

type Jobs = async_channel::Receiver<batch::Job>;

async fn load_python(
    config: &ServerConfig,
    python: &PythonModel,
    reporters: Vec<HealthReporter>,
    jobs: &Jobs,
    patience: &Arc<Patience>,
) -> Result<Contract, String> {
    let source = match python.framework {
        Framework::Custom => Some(source::read(&python.model).map_err(|error| error.to_string())?),
        _ => None,
    };
    let spec = Arc::new(WorkerSpec {
        program: Program::write()?,
        python: python.python.clone(),
        framework: python.framework,
        model: python.model.clone(),
        class: source.as_ref().map(|source| (source.file.clone(), source.class.clone())),
        threads: config.threads,
        memory: config.memory,
        patience: patience.clone(),
    });
    let mut contract = source.map(|source| source.contract);
    for reporter in reporters {
        let (runner, found) = PythonRunner::start(spec.clone(), reporter).await?;
        contract = contract.or(found);
        tokio::spawn(batch::drive(jobs.clone(), runner, config.max_batch_rows));
    }
    contract.ok_or_else(|| "the worker found no contract for the model".into())
}

fn load_onnx(
    config: &ServerConfig,
    model: &std::path::Path,
    library: &std::path::Path,
    reporters: Vec<HealthReporter>,
    jobs: &Jobs,
) -> Result<Contract, String> {
    let environment = onnx::load_library(library)?;
    let mut contract = None;
    for reporter in reporters {
        let mut runner = OnnxRunner::open(&environment, model, config.threads)?;
        if contract.is_none() {
            contract = Some(runner.contract()?);
        }
        let (jobs, max_rows) = (jobs.clone(), config.max_batch_rows);
        reporter.ready();
        tokio::spawn(async move {
            // The state of health lives for as long as a session speaks for it.
            let _reporter = reporter;
            batch::drive(jobs, runner, max_rows).await;
        });
    }
    contract.ok_or_else(|| "no session was asked for".into())
}
