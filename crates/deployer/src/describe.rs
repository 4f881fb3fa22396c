//! What a model offers, told by a replica of it that is started for that alone and ended again.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use kea_core::{
    Contract, Engine, VersionId,
    service::{ModelSpec, PreparedModel, Version},
};
use kea_logs::LineWriter;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    process::{Launch, Process, Told},
    service_loop::environment,
    work_folder,
};

/// How long a model may take to load.
const WITHIN: Duration = Duration::from_secs(600);

/// Why a model did not tell what it offers.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It has no contract of KEA's.
    #[error("it is a web service, which says itself what it takes: KEA passes requests on as they are")]
    WebService,
    /// Its working folder could not be made, or the process not started.
    #[error("its replica cannot be started: {0}")]
    Io(#[from] std::io::Error),
    /// It will never answer.
    #[error("it cannot be loaded: {0}")]
    Failed(String),
    /// It takes too long.
    #[error("it was not loaded within {} minutes", WITHIN.as_secs() / 60)]
    TooLong,
}

/// A model that is to tell what it offers.
pub struct Described<'a> {
    /// The program of which `model-server` is a role: KEA's own.
    pub program: PathBuf,
    /// The model as it was asked for.
    pub spec: &'a ModelSpec,
    /// The model and its environment.
    pub prepared: &'a PreparedModel,
    /// An empty folder for its processes.
    pub folder: PathBuf,
    /// Where its output goes.
    pub log: LineWriter,
}

/// Starts one replica of a model, and ends it once it has told what the model offers.
///
/// # Errors
/// It is a web service, or it does not get ready.
pub async fn contract_of(described: Described<'_>) -> Result<Arc<Contract>, DescribeError> {
    let Described { program, spec, prepared, folder, log } = described;
    if prepared.engine == Engine::External {
        return Err(DescribeError::WebService);
    }
    let (own, model) = (folder.clone(), prepared.path.clone());
    spawn_blocking(move || work_folder::make(&own, model.as_deref())).await.map_err(std::io::Error::other)??;
    let launch = launch(program, spec, prepared, folder);
    let mut process = Process::start(&launch, &log)?;
    let told = timeout(WITHIN, contract(&mut process)).await.unwrap_or(Err(DescribeError::TooLong));
    process.stop().await;
    told
}

async fn contract(process: &mut Process) -> Result<Arc<Contract>, DescribeError> {
    loop {
        match process.told().await {
            Some(Told::Ready { contract }) => return Ok(contract),
            Some(Told::Failed { reason }) => return Err(DescribeError::Failed(reason)),
            Some(Told::Listening { .. } | Told::Unready { .. }) => {}
            None => return Err(DescribeError::Failed(process.wait().await)),
        }
    }
}

fn launch(program: PathBuf, spec: &ModelSpec, prepared: &PreparedModel, folder: PathBuf) -> Launch {
    let mut arguments: Vec<std::ffi::OsString> =
        ["model-server", "--control", "--service", "model"].map(Into::into).into();
    let options = [
        ("--model", prepared.path.as_ref()),
        ("--python", prepared.python.as_ref().filter(|_| prepared.engine == Engine::Python)),
        ("--onnxruntime", prepared.onnxruntime.as_ref()),
    ];
    for (name, path) in options {
        arguments.extend(path.into_iter().flat_map(|path| [name.into(), path.into()]));
    }
    arguments.extend(["--framework".into(), prepared.framework.as_str().into()]);
    if !spec.functions.is_empty() {
        arguments.extend(["--functions".into(), serde_json::json!(spec.functions).to_string().into()]);
    }
    let (id, model) = (VersionId::first(), spec.clone());
    let version = Version { id, model, contract: None, prepared: None, created_at: Timestamp::now() };
    let environment = environment(&version, prepared, &folder, 1);
    Launch { program, arguments, environment, folder }
}
