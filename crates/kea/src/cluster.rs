//! The roles of a cluster: `kea operator` and `kea router`, and `kea manifests`, which installs them.

mod manifests;
mod peers;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use clap::Args;
use http::StatusCode;
use kea_api::ApiState;
use kea_auth::{AuthSettings, Authenticator, oidc::Provider, policy::Policies};
use kea_containerizer::{ImageSettings, RegistrySettings};
use kea_core::{
    port::{IdentityStore, PolicyStore},
    quantity::Span,
};
use kea_http::{ApiError, TrustedProxies, replica_tls::ReplicaTls};
use kea_operator::{Client, ClusterGateway, ClusterSettings, Operator, SecretPolicies, SecretUsers, Trials};
use kea_router::{Router, SharedRates};
use kea_store::SqlStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use self::manifests::{ManifestsArgs, print_manifests};
use self::peers::PeersArgs;
use crate::{
    audited::{AuditArgs, AuditConfig},
    caching,
    cli::LogFormat,
    config,
    edge::{self, TlsArgs},
    gateway::RouterGateway,
    progress,
    replica_tls::ReplicaTlsArgs,
    serve::{DRAIN, dispatcher, first_admin, log_format, metrics, tend},
    signals, sso,
};

/// Image with Python and pip in which models are built, where nothing else is said.
const BUILDER_IMAGE: &str = "docker.io/library/python:3.11-slim";

/// Memory of the response cache of one router.
const CACHE_BYTES: u64 = 64 << 20;

/// Largest body of a model's request.
const BODY_LIMIT: usize = 64 << 20;

/// What operator and routers of a cluster are told.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Namespace that KEA runs in, and in which its API creates services
    #[arg(long, env = "KEA_NAMESPACE", default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// Serve the services of that namespace alone
    #[arg(long, env = "KEA_SINGLE_NAMESPACE")]
    single_namespace: bool,
    /// Where callers reach the routers, as `https://models.example`
    #[arg(long, env = "KEA_URL", value_name = "URL")]
    url: Option<String>,
    /// How KEA writes its own log
    #[arg(long, env = "KEA_LOG_FORMAT", value_enum, default_value = "human", value_name = "FORMAT")]
    log_format: LogFormat,
}

/// How the operator is run.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Address and port of health and metrics
    #[arg(long, env = "KEA_OPERATOR_LISTEN", default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// KEA's own image, from which builds and sidecars are run
    #[arg(long, env = "KEA_IMAGE", value_name = "IMAGE")]
    image: String,
    /// Image with Python and pip in which models are built
    #[arg(long, env = "KEA_BUILDER_IMAGE", default_value = BUILDER_IMAGE, value_name = "IMAGE")]
    builder_image: String,
    /// Registry, with a folder in it, to which images of models are sent
    #[arg(long, env = "KEA_REGISTRY", value_name = "REGISTRY/FOLDER")]
    registry: Option<String>,
    /// Refuse MLModels and MLDeployments that cannot be while they are applied, by a validating webhook
    #[arg(long, env = "KEA_WEBHOOK")]
    webhook: bool,
    /// Let replicas speak mutual TLS with routers, by certificates that are made and renewed here
    #[arg(long, env = "KEA_REPLICA_MTLS")]
    replica_mtls: bool,
    /// Address and port of the webhook
    #[arg(long, env = "KEA_WEBHOOK_LISTEN", default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    webhook_listen: SocketAddr,
    /// Name of this operator among several [default: the pod's name, else one that is made]
    #[arg(long, env = "KEA_POD", value_name = "NAME")]
    identity: Option<String>,
}

/// How a router of a cluster is run.
#[derive(Debug, Args)]
pub(crate) struct RouterArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Address and port to listen on
    #[arg(long, env = "KEA_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Database for users and keys: postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite:PATH [default: Secrets]
    #[arg(long, env = "KEA_DATABASE", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
    /// Redis for the response cache of all routers: redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS
    /// [default: each router has one in memory]
    #[arg(long, env = "KEA_CACHE_REDIS", hide_env_values = true, value_name = "URL")]
    cache_redis: Option<String>,
    /// Redis in which all routers count rates together: redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS
    /// [default: each router counts for itself]
    #[arg(long, env = "KEA_RATES_REDIS", hide_env_values = true, value_name = "URL")]
    rates_redis: Option<String>,
    /// How long a token lasts, before a command or a browser gets the next one
    #[arg(long, env = "KEA_TOKEN_TTL", default_value = "15m", value_name = "SPAN")]
    token_ttl: Span,
    /// How long a login lasts
    #[arg(long, env = "KEA_SESSION_TTL", default_value = "12h", value_name = "SPAN")]
    session_ttl: Span,
    /// How long a key signs tokens, before another one does
    #[arg(long, env = "KEA_KEY_ROTATION", default_value = "720h", value_name = "SPAN")]
    key_rotation: Span,
    /// How long a router that is told to stop still takes requests, until all have learnt of it
    #[arg(long, env = "KEA_LINGER", default_value = "5s", value_name = "SPAN")]
    linger: Span,
    /// File with `[[sso]]` tables: providers by which people log in, and whose tokens are taken. Needs --url
    #[arg(long, env = "KEA_SSO", value_name = "FILE")]
    sso: Option<PathBuf>,
    #[command(flatten)]
    peers: PeersArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    replica_tls: ReplicaTlsArgs,
    #[command(flatten)]
    audit: AuditArgs,
    /// Networks of proxies that are believed who calls, as `10.0.0.0/8,fd00::/8` [default: none]
    #[arg(long, env = "KEA_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',')]
    trusted_proxies: Vec<String>,
}

/// The webhook is asked about all namespaces or about none: one can be selected by its labels alone, and has its own
/// name among them since Kubernetes 1.21.
fn check_webhook(webhook: bool, single_namespace: bool) -> anyhow::Result<()> {
    ensure!(
        !(webhook && single_namespace),
        "`--webhook` and `--single-namespace` exclude each other: Kubernetes before 1.21 cannot ask a webhook about one \
         namespace alone; leave one of the two out"
    );
    Ok(())
}

/// Runs an operator until it is told to stop.
pub(crate) fn run_operator(args: OperatorArgs) -> ExitCode {
    ended(run(args.cluster.log_format, operator(args)))
}

/// Runs a router until it is told to stop.
pub(crate) fn run_router(args: RouterArgs) -> ExitCode {
    ended(run(args.cluster.log_format, router(args)))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(format: LogFormat, role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    kea_logs::init_tracing(log_format(format), "info")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(role)
}

async fn client() -> anyhow::Result<Client> {
    Client::try_default().await.context(
        "there is no cluster: run this in a pod with a service account, or set KUBECONFIG to a file that names one",
    )
}

fn settings(args: &ClusterArgs) -> ClusterSettings {
    ClusterSettings {
        namespace: args.namespace.clone(),
        all_namespaces: !args.single_namespace,
        image: String::new(),
        builder_image: String::new(),
        registry: None,
        url: args.url.clone(),
        replica_mtls: false,
        body_limit: BODY_LIMIT,
    }
}

/// How registries are asked for images: as builds are, by the same variables.
fn registries() -> anyhow::Result<RegistrySettings> {
    Ok(ImageSettings::new(std::env::temp_dir(), "kea".into()).with_env()?.registries)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

async fn operator(args: OperatorArgs) -> anyhow::Result<()> {
    check_webhook(args.webhook, args.cluster.single_namespace)?;
    let settings = ClusterSettings {
        image: args.image,
        builder_image: args.builder_image,
        registry: args.registry,
        replica_mtls: args.replica_mtls,
        ..settings(&args.cluster)
    };
    let listener = listen(args.listen).await?;
    let webhook = match args.webhook {
        true => Some(listen(args.webhook_listen).await?),
        false => None,
    };
    let identity = args.identity.unwrap_or_else(|| {
        let started = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        format!("kea-{}-{started:x}", std::process::id())
    });
    let operator = Arc::new(Operator::new(client().await?, settings, registries()?, identity));
    let stopping = CancellationToken::new();
    let told = stopping.clone();
    let stop = async move {
        signals::stop().await;
        told.cancel();
    };
    let asked = operator.clone();
    let health = move |request: Request| {
        let answer = operator_health(&asked, request.uri().path());
        std::future::ready(answer)
    };
    let serving = kea_http::serve(listener, health, stop, Duration::from_secs(1));
    let (ran, ()) = tokio::join!(operator.run(webhook, &stopping), serving);
    Ok(ran?)
}

fn operator_health(operator: &Operator, path: &str) -> Response {
    match path {
        "/healthz" => "ok\n".into_response(),
        "/readyz" if operator.is_ready() => "ready\n".into_response(),
        "/readyz" => {
            (StatusCode::SERVICE_UNAVAILABLE, "the cluster has not been seen yet, or the webhook has no certificate\n")
                .into_response()
        }
        "/metrics" => Response::new(Body::from(operator.metrics())),
        _ => ApiError::new(StatusCode::NOT_FOUND, "no-path", format!("there is nothing at `{path}`")).into_response(),
    }
}

/// Where users and keys are, and roles and bindings.
type Stores = (Arc<dyn IdentityStore>, Arc<dyn PolicyStore>);

/// In a database where one is named, else in Secrets, which all routers share.
async fn stores(database: Option<&str>, client: &Client, namespace: &str) -> anyhow::Result<Stores> {
    Ok(match database.filter(|url| !url.is_empty()) {
        Some(url) => {
            let url = config::database(url).map_err(|why| anyhow!("`--database`: {why}"))?;
            let store = Arc::new(SqlStore::connect(&url).await.context("the database cannot be opened")?);
            (store.clone(), store)
        }
        None => (Arc::new(SecretUsers::new(client, namespace)), Arc::new(SecretPolicies::new(client, namespace))),
    })
}

/// Providers of single sign-on, and the address to which they send browsers back.
fn single_sign_on(file: Option<&Path>, url: Option<&str>) -> anyhow::Result<(Vec<Arc<Provider>>, String)> {
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else { return Ok((Vec::new(), String::new())) };
    let url =
        url.context("single sign-on needs `--url`: where callers reach the routers, as `https://models.example`")?;
    Ok((sso::providers(sso::load(file)?)?, config::base_url(url)?))
}

async fn router(args: RouterArgs) -> anyhow::Result<()> {
    let (providers, url) = single_sign_on(args.sso.as_deref(), args.cluster.url.as_deref())?;
    let client = client().await?;
    let settings = settings(&args.cluster);
    let (tls, replica_tls) = (args.tls.load()?, args.replica_tls.load()?);
    let proxies = TrustedProxies::parse(&args.trusted_proxies).context("`--trusted-proxies`")?;
    let (listener, peers) = (listen(args.listen).await?, args.peers.open().await?);
    let (users, policies) = stores(args.database.as_deref(), &client, &settings.namespace).await?;
    let policies = Arc::new(Policies::open(policies, users.clone()).await?);
    let settings_of_auth = AuthSettings {
        token_ttl: args.token_ttl.0,
        session_ttl: args.session_ttl.0,
        key_rotation: args.key_rotation.0,
    };
    let auth = sso::trusting(Authenticator::new(users, settings_of_auth).await?, &providers);
    first_admin(&auth).await?;
    let redis = caching::redis(args.cache_redis.as_deref()).map_err(|why| anyhow!("`--cache-redis`: {why}"))?;
    let cache = caching::open(redis.as_ref(), CACHE_BYTES);
    let rates = caching::redis(args.rates_redis.as_deref()).map_err(|why| anyhow!("`--rates-redis`: {why}"))?;
    let router = Router::new(auth.clone(), policies.clone(), cache, BODY_LIMIT);
    let own_tls = Arc::new(ReplicaTls::awaiting());
    let router = router.with_replica_tls(replica_tls.clone()).with_own_replica_tls(own_tls.clone());
    let router = router.sharing_rates(rates.as_ref().map(SharedRates::new));
    let router = Arc::new(router);
    let trials = Arc::new(Trials::new(router.clone()));
    let gateway = ClusterGateway::new(client, settings, router.clone(), trials.clone()).with_replica_tls(own_tls);
    let ready = Arc::new(AtomicBool::new(false));
    let (stopping, watching) = (CancellationToken::new(), CancellationToken::new());
    let audit = AuditConfig::default().with(&args.audit)?.start(std::env::temp_dir().join("kea-audit"))?;
    let tending = tend(auth.clone());
    let tended = router.clone();
    let probing = tokio::spawn(async move { tended.tend().await });
    let api = kea_api::router(ApiState {
        deployer: Arc::new(gateway.deployer()),
        sso: sso::open(&auth, providers, url).await?,
        auth: auth.clone(),
        policies: policies.clone(),
        logs: Arc::new(gateway.logs()),
        gateway: Arc::new(RouterGateway::new(router.clone())),
        ready: ready.clone(),
        stopping: stopping.clone(),
        metrics: metrics(router.clone(), audit.clone()),
        audit: audit.clone(),
    });
    let whole = ready.clone();
    let following = async {
        gateway.start(&watching).await;
        tracing::info!("the table of routes is complete");
        whole.store(true, Ordering::Relaxed);
    };
    let changes = tokio::spawn(async move { policies.follow().await });
    let certificates = tokio::spawn(async move { replica_tls.follow(&CancellationToken::new()).await });
    let (linger, told) = (args.linger.0, stopping.clone());
    let stop = async move {
        signals::stop().await;
        tracing::info!("stopping: no more requests are asked for");
        ready.store(false, Ordering::Relaxed);
        tokio::time::sleep(linger).await;
        stopping.cancel();
    };
    tokio::join!(
        following,
        peers::serve(peers, trials, told),
        edge::serve(listener, tls, dispatcher(auth, router, api, audit.clone(), proxies), stop, DRAIN)
    );
    tending.abort();
    probing.abort();
    watching.cancel();
    changes.abort();
    certificates.abort();
    audit.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_need_an_address_to_send_browsers_back_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "[[sso]]\nname = \"corp\"\nissuer = \"https://x.example\"\nclient-id = \"kea\"").unwrap();
        let told = |url| single_sign_on(Some(file.path()), url).err().map(|error| error.to_string());
        assert!(told(None).unwrap().contains("`--url`"));
        assert!(told(Some("models.example")).unwrap().contains("no address of KEA"));
        assert_eq!(told(Some("https://models.example")), None);
        assert!(single_sign_on(None, None).unwrap().0.is_empty());
    }
}
