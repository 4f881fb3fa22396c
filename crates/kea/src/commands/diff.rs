//! `kea diff`: what a version, or a model that is not deployed yet, changes for callers.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use kea_containerizer::{Workspace, source_contract};
use kea_core::{
    Contract, Framework, ServiceId, VersionId,
    compare::{ContractChange, Side},
    management::Comparison,
    service::{ModelSpec, Resources},
};
use kea_deployer::{Described, contract_of};
use kea_logs::{BUILD, Limits, LogBook};

use super::{
    Session,
    build::{Shown, cache_folder},
    functions,
    model_options::{framework_parser, source_for},
};
use crate::{client::Answer, failure::Failure, output::table};

/// What is compared.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The service
    name: ServiceId,
    /// A model's file or folder, or a version; two versions, the earlier one first. The live version is compared with the
    /// one before it where nothing is given
    #[arg(value_name = "PATH|VERSION", num_args = 0..=2)]
    what: Vec<String>,
    /// The version that a model is compared with [default: the live one]
    #[arg(long, value_name = "VERSION")]
    version: Option<VersionId>,
    /// What made the model; found from its files where it is not given
    #[arg(long, value_parser = framework_parser(), ignore_case = true, hide_possible_values = true)]
    framework: Option<Framework>,
    /// A Python package that the model needs, as pip writes it; can be repeated
    #[arg(long = "requirement", value_name = "PACKAGE")]
    requirements: Vec<String>,
    /// For a model, a file that states what is known better of its functions: a list of them, or an MLModel
    #[arg(long, value_name = "FILE")]
    functions: Option<PathBuf>,
    /// Folder for models and environments of this command, used again later [default: kea in the user's cache folder]
    #[arg(long, env = "KEA_CACHE_DIR", value_name = "FOLDER")]
    cache_dir: Option<PathBuf>,
}

/// Which two are compared.
#[derive(Debug, PartialEq)]
enum Compared {
    /// A version with another; each as the server chooses it where it is not given.
    Versions { from: Option<VersionId>, version: Option<VersionId> },
    /// A model with a version.
    Model { source: String, from: Option<VersionId> },
}

/// Shows what is another. Succeeds where no caller could stumble.
pub(crate) async fn run(session: &Session, args: DiffArgs) -> Result<(), Failure> {
    let path = ["openapi", args.name.as_str(), "changes"];
    let answer = match compared(&args)? {
        Compared::Versions { from, version } => {
            let pairs = [("from", from), ("version", version)];
            let query = pairs.iter().filter_map(|(name, version)| Some((*name, version.as_ref()?.as_str())));
            session.client.get(&path, &query.collect::<Vec<_>>()).await?
        }
        Compared::Model { source, from } => {
            let contract = contract(&args, &source).await?;
            let contract = serde_json::to_string(&*contract).map_err(Failure::Unreadable)?;
            let query: Vec<_> = from.iter().map(|from| ("from", from.as_str())).collect();
            session.client.call(&path, &query, contract).await?
        }
    };
    show(session, &answer)
}

fn show(session: &Session, answer: &Answer) -> Result<(), Failure> {
    let comparison: Comparison = answer.read()?;
    session.output.answer(answer, describe)?;
    if comparison.breaking { Err(Failure::No) } else { Ok(()) }
}

/// What is there under a name is a file; what is not there, and could be a version's name, is one.
fn compared(args: &DiffArgs) -> Result<Compared, Failure> {
    let version = |text: &String| text.parse::<VersionId>().map_err(|error| Failure::Usage(error.to_string()));
    let is_version = |text: &String| text.parse::<VersionId>().is_ok() && !Path::new(text).exists();
    let compared = match &args.what[..] {
        [] => Compared::Versions { from: args.version.clone(), version: None },
        [one] if is_version(one) => Compared::Versions { from: args.version.clone(), version: Some(version(one)?) },
        [source] => Compared::Model { source: source.clone(), from: args.version.clone() },
        [..] if args.version.is_some() => {
            return Err(Failure::Usage("two versions are given, and --version names a third: leave it out".into()));
        }
        [from, to, ..] => Compared::Versions { from: Some(version(from)?), version: Some(version(to)?) },
    };
    if args.functions.is_some() && matches!(compared, Compared::Versions { .. }) {
        let why = "--functions is for a model: what is stated of a version's functions stays with it";
        return Err(Failure::Usage(why.into()));
    }
    Ok(compared)
}

/// What a model on this machine offers: by its source where that says so, else by loading it once.
async fn contract(args: &DiffArgs, source: &str) -> Result<Arc<Contract>, Failure> {
    let local = crate::client::ServerUrl::default();
    let spec = ModelSpec {
        source: Some(source_for(&local, source, Path::new("."))?),
        framework: args.framework,
        requirements: args.requirements.clone(),
        command: Vec::new(),
        functions: args.functions.as_deref().map(functions::of_file).transpose()?.unwrap_or_default(),
        env: BTreeMap::new(),
        resources: Resources::default(),
    };
    match source_contract(&spec) {
        Some(told) => told.map(Arc::new).map_err(|contradiction| Failure::Model(contradiction.to_string())),
        None => loaded(args, &spec).await,
    }
}

async fn loaded(args: &DiffArgs, spec: &ModelSpec) -> Result<Arc<Contract>, Failure> {
    let cache = match &args.cache_dir {
        Some(folder) => std::path::absolute(folder)?,
        None => cache_folder().ok_or_else(|| {
            Failure::Usage("there is no home folder to keep environments in: give one with --cache-dir".into())
        })?,
    };
    let shown = Shown::default();
    let prepared = Workspace::new(cache.join("sources")).passing().prepare(spec, &shown).await;
    shown.finish();
    let prepared = prepared.map_err(|error| Failure::Model(error.to_string()))?;
    let folder = tempfile::tempdir()?;
    let logs = LogBook::open(folder.path().join("logs"), Limits::default());
    let log = logs.map_err(|error| Failure::Model(error.to_string()))?.writer(&args.name, BUILD);
    let (program, folder) = (env::current_exe()?, folder.path().join("run"));
    let described = Described { program, spec, prepared: &prepared, folder, log };
    contract_of(described).await.map_err(|error| Failure::Model(error.to_string()))
}

fn describe(comparison: &Comparison) -> String {
    let Comparison { service_id, from, version, changes, .. } = comparison;
    let what = version.as_ref().map_or_else(|| "this model".into(), |version| format!("version {version}"));
    let Some(from) = from else { return format!("{what} of {service_id} is the first: there is nothing before it") };
    if changes.is_empty() {
        return format!("{what} changes nothing for callers of version {from} of {service_id}");
    }
    let breaking = changes.iter().filter(|change| change.is_breaking()).count();
    let told = match breaking {
        0 => "no caller could stumble".into(),
        1 => "1 change could make callers stumble".into(),
        many => format!("{many} changes could make callers stumble"),
    };
    let rows = changes_table(changes);
    format!("what {what} changes for callers of version {from} of {service_id}: {told}\n\n{rows}")
}

/// Changes for people.
pub(super) fn changes_table(changes: &[ContractChange]) -> String {
    table(&["EFFECT", "FUNCTION", "WHERE", "WAS", "IS", "SO"], changes.iter().map(row))
}

/// A change as a row of a table.
fn row(change: &ContractChange) -> Vec<String> {
    let ContractChange { function, side, pointer, was, is, effect, detail } = change;
    let place = if *side == Side::Function { String::new() } else { format!("{} {pointer}", side.as_str()) };
    vec![effect.as_str().into(), function.clone(), place, was.clone(), is.clone(), detail.clone()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: DiffArgs,
    }

    fn asked(line: &[&str]) -> Result<Compared, String> {
        let line = <Line as clap::Parser>::try_parse_from(["diff", "iris"].iter().chain(line)).unwrap();
        compared(&line.args).map_err(|error| error.to_string())
    }

    fn versions(from: Option<&str>, version: Option<&str>) -> Result<Compared, String> {
        let of = |name: Option<&str>| name.map(|name| name.parse().unwrap());
        Ok(Compared::Versions { from: of(from), version: of(version) })
    }

    #[test]
    fn what_is_there_is_a_model_and_what_is_not_is_a_version() {
        assert_eq!(asked(&[]), versions(None, None));
        assert_eq!(asked(&["2"]), versions(None, Some("2")));
        assert_eq!(asked(&["1", "2"]), versions(Some("1"), Some("2")));
        assert_eq!(asked(&["2", "--version", "1"]), versions(Some("1"), Some("2")));
        let model = |source: &str, from: Option<&str>| {
            Ok(Compared::Model { source: source.into(), from: from.map(|from| from.parse().unwrap()) })
        };
        assert_eq!(asked(&["./model.py"]), model("./model.py", None));
        assert_eq!(asked(&["Cargo.toml", "--version", "1"]), model("Cargo.toml", Some("1")));
        assert!(asked(&["1", "2", "--version", "3"]).unwrap_err().contains("leave it out"));
        assert!(asked(&["1", "a b"]).unwrap_err().contains("is not a version"));
        assert_eq!(asked(&["./model.py", "--functions", "f.yaml"]), model("./model.py", None));
        assert!(asked(&["2", "--functions", "f.yaml"]).unwrap_err().contains("--functions is for a model"));
    }

    #[test]
    fn changes_are_told_with_how_many_could_make_callers_stumble() {
        let of = |changes: serde_json::Value, from: Option<&str>| {
            let comparison =
                json!({"serviceId": "iris", "from": from, "version": "2", "breaking": true, "changes": changes});
            describe(&serde_json::from_value(comparison).unwrap())
        };
        let change = json!({"function": "predict", "side": "input", "pointer": "/inputs/x", "was": "FP64", "is": "gone",
                            "effect": "breaking", "detail": "callers who send it are refused"});
        let told = of(json!([change]), Some("1"));
        let head =
            "what version 2 changes for callers of version 1 of iris: 1 change could make callers stumble\n\nEFFECT";
        assert!(told.starts_with(head) && told.contains("input /inputs/x"), "{told}");
        assert_eq!(of(json!([]), Some("1")), "version 2 changes nothing for callers of version 1 of iris");
        assert_eq!(of(json!([]), None), "version 2 of iris is the first: there is nothing before it");
    }
}
