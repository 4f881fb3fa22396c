//! What can be written on the command line: every role and every command of KEA, in one place.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kea_core::quantity::Span;

use crate::{
    audited::AuditArgs,
    client::ServerUrl,
    cluster::{ManifestsArgs, OperatorArgs, RouterArgs},
    commands::{
        audit,
        auth::AuthCommand,
        build::BuildArgs,
        cache::CacheCommand,
        client::ModuleArgs,
        completions::CompletionsArgs,
        delete::DeleteArgs,
        deploy::DeployArgs,
        diff::DiffArgs,
        docs::DocsArgs,
        init::InitArgs,
        key::KeyCommand,
        login::{LoginArgs, LogoutArgs},
        logs::LogsArgs,
        predict::PredictArgs,
        service::ServiceArgs,
        update::{RollbackArgs, ScaleArgs, UpdateArgs},
        user::UserCommand,
    },
    edge::TlsArgs,
    model_server::{ConfineArgs, ModelServerArgs},
    output::Target,
    replica_tls::ReplicaTlsArgs,
};

/// Deploys machine learning models, documents their APIs and serves them.
#[derive(Debug, Parser)]
#[command(name = "kea", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where to ask, as whom, and how to show the answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The KEA to talk to [default: the one of the last login, else http://127.0.0.1:8080]
    #[arg(long, global = true, env = "KEA_SERVER", value_name = "URL")]
    pub(crate) server: Option<ServerUrl>,
    /// How results are shown: `table` or `json`
    #[arg(
        long,
        global = true,
        env = "KEA_OUTPUT",
        value_parser = Target::parse,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub(crate) output: Target,
    /// A token to use in place of the one of `kea login`
    #[arg(long, global = true, env = "KEA_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// What KEA is to be or to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run KEA on this machine: gateway, management API and replicas
    Serve(ServeArgs),
    /// Run the operator of a cluster: it makes what MLModels and MLDeployments ask for
    Operator(OperatorArgs),
    /// Run a router of a cluster: gateway and management API
    Router(RouterArgs),
    /// Print what installs KEA in a cluster, for `kubectl apply -f -`
    Manifests(Box<ManifestsArgs>),
    /// Run one replica; started by `kea serve`
    #[command(hide = true)]
    ModelServer(ModelServerArgs),
    /// Run a program within limits; started by `kea serve`
    #[command(hide = true)]
    Confine(ConfineArgs),
    /// What talks to a running KEA, or to none
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands of people who use KEA.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Log in to a KEA and keep the token in the user's config folder
    Login(LoginArgs),
    /// End the session at a KEA, and forget its tokens
    Logout(LogoutArgs),
    /// Say who may do what, who one is, and which sessions there are
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Administer users
    #[command(subcommand)]
    User(UserCommand),
    /// Make, list and revoke API keys for programs
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print the token that commands use, for other programs
    Token,
    /// Make a folder to start a model from, which deploys as it is
    Init(InitArgs),
    /// Make an image of a model, or of KEA itself, without a daemon, and push it to a registry
    Build(Box<BuildArgs>),
    /// Deploy a model, or a new version of it, and wait until it answers
    Deploy(Box<DeployArgs>),
    /// List the services
    List,
    /// Show a service
    Get(ServiceArgs),
    /// Tell how far a service is and, where it is not ready, why
    Status(ServiceArgs),
    /// Show the functions of a service with their inputs and outputs
    Methods(ServiceArgs),
    /// Tell what a version, or a model that is not deployed yet, changes for callers; fails where one could stumble
    Diff(Box<DiffArgs>),
    /// Print the OpenAPI document of a service, or of a model that is not deployed, without running it
    Docs(DocsArgs),
    /// Print a typed client of a service, a module without dependencies
    Client(ModuleArgs),
    /// Print what the replicas of a service write
    Logs(LogsArgs),
    /// Show who did what, or verify the audit trail
    Audit(audit::AuditArgs),
    /// Call a function of a service
    Predict(PredictArgs),
    /// Change the number of replicas and wait until they answer
    Scale(ScaleArgs),
    /// Change a service, or replace its model without a gap, and wait until that answers
    Update(Box<UpdateArgs>),
    /// Remove kept answers of a service
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Return to the version that was live before
    Rollback(RollbackArgs),
    /// List the versions of a service
    Versions(ServiceArgs),
    /// Delete a service and wait until it is gone
    Delete(DeleteArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
}

/// How KEA is run. What is not given here is taken from the configuration file, else from the defaults.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "KEA_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Folder for services, models, environments and logs [default: ./kea-data]
    #[arg(long, env = "KEA_DATA_DIR", value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Database for services and users: postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite:PATH [default: kea.db in the
    /// data folder]
    #[arg(long, env = "KEA_DATABASE", hide_env_values = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Configuration file [default: kea.toml of the current folder, where there is one]
    #[arg(long, env = "KEA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How KEA writes its own log [default: human]
    #[arg(long, env = "KEA_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Redis for the response cache: redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS [default: the
    /// cache is in memory]
    #[arg(long, env = "KEA_CACHE_REDIS", hide_env_values = true, value_name = "URL")]
    pub(crate) cache_redis: Option<String>,
    /// Redis in which several KEAs count rates together: redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS
    /// [default: each counts for itself]
    #[arg(long, env = "KEA_RATES_REDIS", hide_env_values = true, value_name = "URL")]
    pub(crate) rates_redis: Option<String>,
    /// Registry, with a folder in it, to which the image of each version is sent [default: none, no images are made]
    #[arg(long, env = "KEA_REGISTRY", value_name = "REGISTRY/FOLDER")]
    pub(crate) registry: Option<String>,
    /// How long a token lasts, before a command or a browser gets the next one [default: 15m]
    #[arg(long, env = "KEA_TOKEN_TTL", value_name = "SPAN")]
    pub(crate) token_ttl: Option<Span>,
    /// Where callers reach this KEA, as `https://models.example` [default: where it listens]
    #[arg(long, env = "KEA_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) replica_tls: ReplicaTlsArgs,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    /// How long a login lasts [default: 12h]
    #[arg(long, env = "KEA_SESSION_TTL", value_name = "SPAN")]
    pub(crate) session_ttl: Option<Span>,
    /// How long a key signs tokens, before another one does [default: 720h]
    #[arg(long, env = "KEA_KEY_ROTATION", value_name = "SPAN")]
    pub(crate) key_rotation: Option<Span>,
    /// Networks of proxies that are believed who calls, as `10.0.0.0/8,fd00::/8` [default: none]
    #[arg(long, env = "KEA_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',')]
    pub(crate) trusted_proxies: Option<Vec<String>>,
}

/// How KEA writes its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people
    Human,
    /// A JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::output::Format;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_file_of_documents_and_options_exclude_each_other() {
        let refused = |line: &str| Cli::try_parse_from(line.split(' ')).is_err();
        assert!(!refused("kea deploy -f kea.yaml --no-wait"));
        assert!(!refused("kea deploy iris --source iris.joblib --replicas 2"));
        assert!(refused("kea deploy -f kea.yaml --replicas 2"));
        assert!(refused("kea deploy iris -f kea.yaml"));
        assert!(refused("kea deploy --source iris.joblib"));
    }

    #[test]
    fn an_image_is_of_a_model_or_of_kea_itself() {
        let refused = |line: &str| Cli::try_parse_from(line.split(' ')).is_err();
        assert!(!refused("kea build iris.joblib --image registry.example/iris:1"));
        assert!(!refused("kea build --self --image registry.example/kea:1 --base debian --platform linux/arm64"));
        assert!(refused("kea build --image registry.example/iris:1"));
        assert!(refused("kea build iris.joblib --self --image registry.example/kea:1"));
        assert!(refused("kea build --self --image registry.example/kea:1 --python 3.11"));
    }

    #[test]
    fn inputs_come_from_one_place() {
        let refused = |line: &str| Cli::try_parse_from(line.split(' ')).is_err();
        assert!(!refused("kea predict iris {}"));
        assert!(!refused("kea predict iris -f -"));
        assert!(refused("kea predict iris"));
        assert!(refused("kea predict iris {} -f rows.json"));
    }

    #[test]
    fn global_options_are_taken_before_and_after_the_command() {
        for line in ["kea --output json list", "kea list --output json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.global.output, Target::Format(Format::Json));
        }
    }
}
