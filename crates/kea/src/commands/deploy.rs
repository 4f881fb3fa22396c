//! `kea deploy`: from the command line or from documents.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use kea_core::{
    ServiceId, VersionId,
    documents::deploy_requests,
    management::{DeployRequest, DeployResponse, ServiceDetails, UpdateRequest},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Session, example,
    model_options::{ModelOptions, source_for},
    service,
    update::kept_access,
    wait::{self, Deployed, Goal},
};
use crate::{
    client::{Answer, ServerUrl},
    failure::Failure,
    output::{pairs, pretty},
    progress::note,
};

/// What is deployed.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The model's name, which names the service too
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// YAML file of MLModel and MLDeployment documents; `-` is standard input
    #[arg(short, long, conflicts_with_all = ["name", "ModelOptions"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    options: ModelOptions,
    /// Let it answer although it would break callers of the live version
    #[arg(long)]
    allow_breaking: bool,
    /// Return at once, while it is deployed
    #[arg(long)]
    no_wait: bool,
}

/// Deploys, and waits until all of it answers.
pub(crate) async fn run(session: &Session, args: DeployArgs) -> Result<(), Failure> {
    let (no_wait, is_file) = (args.no_wait, args.file.is_some());
    let allow_breaking = args.allow_breaking.then_some(true);
    let mut started = Vec::new();
    for mut request in requests(args, session.client.server())? {
        // A document says all that is wanted; options say what is to be different.
        if let (false, Ok(id)) = (is_file, ServiceId::derive(&request.model_name)) {
            request.access = kept_access(session, &id, request.access).await?;
        }
        request.allow_breaking = allow_breaking;
        let answer = session.client.post(&["services"], &request).await?;
        let response: DeployResponse = answer.read()?;
        note(&format!("deploying {} version {}", response.service_id, response.version));
        started.push((answer, response));
    }
    match no_wait {
        true => show_started(session, &started),
        false => wait_and_show(session, started).await,
    }
}

/// What the command line or the file asks for.
fn requests(args: DeployArgs, server: &ServerUrl) -> Result<Vec<DeployRequest>, Failure> {
    match (args.name, args.file) {
        (_, Some(file)) => from_file(&file, server),
        (Some(name), None) => {
            let changes = args.options.changes(server)?;
            if changes.source_code.is_none() && changes.command.is_none() {
                return Err(Failure::Usage(format!(
                    "what is {name}? give the model's file or folder with --source, or a web service with --command"
                )));
            }
            Ok(vec![request(name, changes)])
        }
        (None, None) => Err(Failure::Usage("give a name, or documents with -f".into())),
    }
}

fn request(model_name: String, changes: UpdateRequest) -> DeployRequest {
    let UpdateRequest {
        replicas,
        container_image,
        source_code,
        version,
        framework,
        command,
        requirements,
        functions,
        env,
        resources,
        cache,
        timeout,
        access,
        labels,
        load_balancer,
        health,
        limits,
        rate_limit,
        server,
        routes,
        canary,
        shadow,
        rollout,
        audit,
        validation,
        allow_breaking,
    } = changes;
    DeployRequest {
        model_name,
        service_id: None,
        framework,
        replicas,
        container_image,
        source_code,
        version,
        command,
        requirements,
        functions,
        env,
        resources,
        cache,
        timeout,
        access,
        labels,
        load_balancer,
        health,
        limits,
        rate_limit,
        server,
        routes,
        canary,
        shadow,
        rollout,
        audit,
        validation,
        allow_breaking,
    }
}

fn from_file(file: &Path, server: &ServerUrl) -> Result<Vec<DeployRequest>, Failure> {
    let is_stdin = file == Path::new("-");
    let mut requests =
        deploy_requests(documents_of(file)?).map_err(|source| Failure::Documents { path: file.into(), source })?;
    let folder = if is_stdin { Path::new(".") } else { file.parent().unwrap_or(Path::new(".")) };
    for source in requests.iter_mut().filter_map(|request| request.source_code.as_mut()) {
        *source = source_for(server, source, folder)?;
    }
    Ok(requests)
}

/// The documents of a file, or of standard input.
pub(super) fn documents_of(file: &Path) -> Result<Vec<Value>, Failure> {
    let is_stdin = file == Path::new("-");
    let text = if is_stdin { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let text = text.map_err(|source| Failure::File { path: file.into(), source })?;
    documents(&text).map_err(|source| Failure::Yaml { path: file.into(), source })
}

/// The documents of a file; the empty ones, as after a last `---`, are left out.
fn documents(yaml: &str) -> Result<Vec<Value>, serde_yaml_ng::Error> {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml).map(Value::deserialize);
    documents.filter(|document| !matches!(document, Ok(Value::Null))).collect()
}

fn show_started(session: &Session, started: &[(Answer, DeployResponse)]) -> Result<(), Failure> {
    if session.output.is_json() {
        return session.output.line(&json_of(started.iter().map(|(answer, _)| answer)));
    }
    let sentences = started.iter().map(|(_, DeployResponse { service_id, version, .. })| {
        format!("{service_id} version {version} is being deployed: see `kea status {service_id}`\n")
    });
    session.output.line(&sentences.collect::<String>())
}

async fn wait_and_show(session: &Session, started: Vec<(Answer, DeployResponse)>) -> Result<(), Failure> {
    let mut deployed = Vec::new();
    for (_, DeployResponse { service_id, version, .. }) in started {
        let goal = Goal { version, replicas: None };
        deployed.push(wait::until_deployed(&session.client, &service_id, &goal).await?);
    }
    if session.output.is_json() {
        return session.output.line(&json_of(deployed.iter().map(|deployed| &deployed.answer)));
    }
    let mut shown = Vec::new();
    for deployed in &deployed {
        shown.push(describe(session, deployed).await);
    }
    session.output.line(&shown.join("\n"))
}

/// One answer as it is, more of them as an array.
fn json_of<'a>(answers: impl ExactSizeIterator<Item = &'a Answer>) -> String {
    let is_one = answers.len() == 1;
    let all = answers.map(Answer::text).collect::<Vec<_>>().join(",");
    pretty(&if is_one { all } else { format!("[{all}]") })
}

/// What there is now, and how it is used.
async fn describe(session: &Session, deployed: &Deployed) -> String {
    let details = &deployed.details;
    let mut lines = vec![
        ("API", service::absolute(&details.url, session)),
        ("Docs", service::docs_page(&details.service_id, session)),
    ];
    if let Some(curl) = example::curl(session, details).await {
        lines.push(("Try", curl));
    }
    let lines = lines.iter().map(|(name, value)| format!("  {name:<5}{value}\n"));
    format!("{}\n\n{}", service::sentence(details), lines.collect::<String>())
}

/// What an update, a rollback or a change of replicas led to.
pub(super) async fn wait_for_change(
    session: &Session,
    service_id: &ServiceId,
    version: VersionId,
    replicas: Option<u32>,
) -> Result<(), Failure> {
    let deployed = wait::until_deployed(&session.client, service_id, &Goal { version, replicas }).await?;
    session.output.answer(&deployed.answer, |details: &ServiceDetails| {
        let lines = [("API", service::absolute(&details.url, session))];
        format!("{}\n\n{}", service::sentence(details), pairs(lines))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "apiVersion: ml.kea-project.io/v1alpha1\nkind: MLModel\nmetadata: {name: iris}\n";

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: DeployArgs,
    }

    fn asked(line: &[&str]) -> Result<Vec<DeployRequest>, Failure> {
        let line = <Line as clap::Parser>::try_parse_from(["deploy"].iter().chain(line)).unwrap();
        requests(line.args, &ServerUrl::default())
    }

    #[test]
    fn a_name_alone_is_nothing_to_deploy() {
        let told = asked(&["iris"]).unwrap_err();
        assert_eq!(told.exit_code(), std::process::ExitCode::from(2));
        assert!(told.to_string().contains("--source"), "{told}");
    }

    #[test]
    fn the_service_gets_its_name_from_the_models() {
        let requests = asked(&["Iris Classifier", "--source", "/models/iris.onnx", "--replicas", "2"]).unwrap();
        assert_eq!((requests[0].model_name.as_str(), requests[0].replicas), ("Iris Classifier", Some(2)));
        assert_eq!(requests[0].service_id, None);
    }

    #[test]
    fn sources_of_a_file_are_relative_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kea.yaml");
        fs::write(folder.path().join("iris.onnx"), "").unwrap();
        fs::write(&file, format!("{MODEL}spec: {{source: ./iris.onnx}}\n---\n")).unwrap();
        let requests = from_file(&file, &ServerUrl::default()).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(Path::new(requests[0].source_code.as_ref().unwrap()), folder.path().join("iris.onnx"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kea.yaml");
        let told = |text: String| {
            fs::write(&file, text).unwrap();
            from_file(&file, &ServerUrl::default()).unwrap_err().to_string()
        };
        for (text, reason) in [
            (format!("{MODEL}spec: {{sauce: x}}\n"), "unknown field `sauce`"),
            (format!("{MODEL}spec: ["), "is not YAML"),
            (String::new(), "no MLModel or MLDeployment"),
        ] {
            let told = told(text);
            assert!(told.starts_with(file.to_str().unwrap()) && told.contains(reason), "{told}");
        }
    }
}
