//! The roles of a cluster: `kea operator` and `kea router`, and `kea manifests`, which installs them.

use std::{
    io::Write,
    net::SocketAddr,
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
use kea_auth::{AuthSettings, Authenticator, policy::Policies};
use kea_containerizer::{ImageSettings, RegistrySettings};
use kea_core::{
    port::{IdentityStore, PolicyStore},
    quantity::Span,
};
use kea_http::ApiError;
use kea_operator::{
    Client, ClusterGateway, ClusterSettings, Exposure, GatewayName, InstallOptions, Operator, SecretPolicies,
    SecretUsers, manifests,
};
use kea_router::Router;
use kea_store::SqlStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    audited::{AuditArgs, AuditConfig},
    caching,
    cli::LogFormat,
    config,
    edge::{self, TlsArgs},
    gateway::RouterGateway,
    progress,
    serve::{DRAIN, dispatcher, first_admin, log_format, metrics, tend},
    signals,
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
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    audit: AuditArgs,
}

/// How KEA is installed in a cluster.
#[derive(Debug, Args)]
pub(crate) struct ManifestsArgs {
    /// Namespace that KEA runs in
    #[arg(long, default_value = "kea", value_name = "NAMESPACE")]
    namespace: String,
    /// KEA's own image, as `make image` pushes it
    #[arg(long, env = "KEA_IMAGE", value_name = "IMAGE")]
    image: String,
    /// Number of operators; one acts, the others wait
    #[arg(long, default_value_t = 2, value_name = "NUMBER")]
    operators: u32,
    /// Number of routers
    #[arg(long, default_value_t = 2, value_name = "NUMBER")]
    routers: u32,
    /// Serve the services of that namespace alone, with rights in no other
    #[arg(long)]
    single_namespace: bool,
    /// Registry, with a folder in it, to which images of models are sent; without it models need an image of their own
    #[arg(long, value_name = "REGISTRY/FOLDER")]
    registry: Option<String>,
    /// Image with Python and pip in which models are built
    #[arg(long, value_name = "IMAGE")]
    builder_image: Option<String>,
    /// Where callers reach the routers, as `https://models.example`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Host of an Ingress to be made for the routers
    #[arg(long, value_name = "HOST")]
    ingress_host: Option<String>,
    /// Class of that Ingress
    #[arg(long, value_name = "CLASS", requires = "ingress_host")]
    ingress_class: Option<String>,
    /// Secret with the certificate of that host, of type kubernetes.io/tls; callers then use https
    #[arg(long, value_name = "SECRET", requires = "ingress_host")]
    tls_secret: Option<String>,
    /// Gateway of the Gateway API by which callers reach the routers; an HTTPRoute is made for it
    #[arg(long, value_name = "[NAMESPACE/]NAME", value_parser = gateway_name)]
    #[arg(conflicts_with_all = ["ingress_host", "ingress_class", "tls_secret"])]
    gateway: Option<GatewayName>,
    /// Host of that route, else all hosts of the Gateway; where the Gateway has TLS, give `--url https://HOST` too
    #[arg(long, value_name = "HOST", requires = "gateway", conflicts_with = "ingress_host")]
    gateway_host: Option<String>,
    /// Type of the routers' Service
    #[arg(long, default_value = "ClusterIP", value_parser = ["ClusterIP", "NodePort", "LoadBalancer"])]
    service_type: String,
    /// Secret with the URL of a database for users in its key `url`; without it users are kept in Secrets
    #[arg(long, value_name = "SECRET")]
    database_secret: Option<String>,
    /// Refuse MLModels and MLDeployments that cannot be while they are applied, by a validating webhook
    #[arg(long)]
    webhook: bool,
    /// A further variable of operator and routers, as NAME=VALUE; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.into(), value.into())).ok_or_else(|| "write it as NAME=VALUE".into())
}

fn gateway_name(text: &str) -> Result<GatewayName, String> {
    match *text.split('/').collect::<Vec<_>>() {
        [name] if !name.is_empty() => Ok(GatewayName { namespace: None, name: name.into() }),
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(GatewayName { namespace: Some(namespace.into()), name: name.into() })
        }
        _ => Err("write it as NAME or NAMESPACE/NAME".into()),
    }
}

/// Prints everything that installs KEA, for `kubectl apply -f -`.
pub(crate) fn print_manifests(args: ManifestsArgs) -> ExitCode {
    let objects = install_options(args).map(|options| manifests(&options));
    let written =
        objects.and_then(|objects| yaml(&objects)).and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?));
    ended(written)
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

fn install_options(args: ManifestsArgs) -> anyhow::Result<InstallOptions> {
    check_webhook(args.webhook, args.single_namespace)?;
    let ManifestsArgs { namespace, image, operators, routers, single_namespace, registry, builder_image, .. } = args;
    let exposure = match (args.ingress_host, args.gateway) {
        (Some(host), _) => Some(Exposure::Ingress { host, class: args.ingress_class, tls_secret: args.tls_secret }),
        (None, Some(gateway)) => Some(Exposure::Route { gateway, host: args.gateway_host }),
        (None, None) => None,
    };
    Ok(InstallOptions {
        namespace,
        image,
        operators,
        routers,
        single_namespace,
        registry,
        builder_image,
        url: args.url.or_else(|| exposure.as_ref().and_then(Exposure::url)),
        exposure,
        database_secret: args.database_secret,
        env: args.env,
        service_type: args.service_type,
        webhook: args.webhook,
    })
}

/// Objects as one text of several documents.
fn yaml(objects: &[serde_json::Value]) -> anyhow::Result<String> {
    let document = |object| Ok(format!("---\n{}", serde_yaml_ng::to_string(object)?));
    objects.iter().map(document).collect()
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

async fn router(args: RouterArgs) -> anyhow::Result<()> {
    let client = client().await?;
    let settings = settings(&args.cluster);
    let tls = args.tls.load()?;
    let listener = listen(args.listen).await?;
    let (users, policies) = stores(args.database.as_deref(), &client, &settings.namespace).await?;
    let policies = Arc::new(Policies::open(policies, users.clone()).await?);
    let settings_of_auth = AuthSettings {
        token_ttl: args.token_ttl.0,
        session_ttl: args.session_ttl.0,
        key_rotation: args.key_rotation.0,
    };
    let auth = Arc::new(Authenticator::new(users, settings_of_auth).await?);
    first_admin(&auth).await?;
    let redis = caching::redis(args.cache_redis.as_deref()).map_err(|why| anyhow!("`--cache-redis`: {why}"))?;
    let cache = caching::open(redis.as_ref(), CACHE_BYTES);
    let router = Arc::new(Router::new(auth.clone(), policies.clone(), cache, BODY_LIMIT));
    let gateway = ClusterGateway::new(client, settings, router.clone());
    let ready = Arc::new(AtomicBool::new(false));
    let (stopping, watching) = (CancellationToken::new(), CancellationToken::new());
    let audit = AuditConfig::default().with(&args.audit)?.start(std::env::temp_dir().join("kea-audit"))?;
    let tending = tend(auth.clone());
    let api = kea_api::router(ApiState {
        deployer: Arc::new(gateway.deployer()),
        auth,
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
    let linger = args.linger.0;
    let stop = async move {
        signals::stop().await;
        tracing::info!("stopping: no more requests are asked for");
        ready.store(false, Ordering::Relaxed);
        tokio::time::sleep(linger).await;
        stopping.cancel();
    };
    tokio::join!(following, edge::serve(listener, tls, dispatcher(router, api, audit.clone()), stop, DRAIN));
    tending.abort();
    watching.cancel();
    changes.abort();
    audit.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::Parser;
    use serde_json::json;

    use super::*;

    /// A committed file is what the code says. `UPDATE=1` writes it anew.
    fn assert_fresh(file: &str, objects: &[serde_json::Value]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let fresh = yaml(objects).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &fresh).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == fresh, "{file} is not what the code says: run `make generate`");
    }

    #[test]
    fn the_committed_definitions_are_fresh() {
        assert_fresh("deploy/crds.yaml", &kea_operator::custom_resource_definitions());
        assert_fresh("deploy/helm/kea/crds/crds.yaml", &kea_operator::custom_resource_definitions());
    }

    #[test]
    fn the_rights_of_the_chart_are_fresh() {
        // The chart puts the release's namespace in the place of this one.
        let line = "kea manifests --image r/kea:1 --namespace release-namespace";
        let rights = |line: &str| {
            let granted = |object: &serde_json::Value| {
                object["kind"] == "ServiceAccount" || object["apiVersion"] == "rbac.authorization.k8s.io/v1"
            };
            installed(line).into_iter().filter(granted).collect::<Vec<_>>()
        };
        assert_fresh("deploy/helm/kea/files/rights.yaml", &rights(line));
        assert_fresh("deploy/helm/kea/files/rights-webhook.yaml", &rights(&format!("{line} --webhook")));
        let narrow = rights(&format!("{line} --single-namespace"));
        assert_fresh("deploy/helm/kea/files/rights-single-namespace.yaml", &narrow);
    }

    fn parsed(line: &str) -> Result<crate::cli::Cli, clap::Error> {
        crate::cli::Cli::try_parse_from(line.split(' '))
    }

    fn options(line: &str) -> anyhow::Result<InstallOptions> {
        let crate::cli::Command::Manifests(args) = parsed(line).unwrap().command else { panic!("another command") };
        install_options(*args)
    }

    fn installed(line: &str) -> Vec<serde_json::Value> {
        manifests(&options(line).unwrap())
    }

    fn kinds(objects: &[serde_json::Value]) -> Vec<&str> {
        objects.iter().filter_map(|object| object["kind"].as_str()).collect()
    }

    #[test]
    fn a_single_namespace_needs_no_right_in_any_other() {
        let wide = installed("kea manifests --image r/kea:1");
        assert!(kinds(&wide).contains(&"ClusterRole"));
        let narrow = installed("kea manifests --image r/kea:1 --single-namespace --namespace ml");
        assert!(!kinds(&narrow).iter().any(|kind| kind.starts_with("ClusterRole")));
        let strangers = narrow.iter().filter(|object| {
            let namespace = object["metadata"]["namespace"].as_str();
            namespace.is_some_and(|namespace| namespace != "ml")
        });
        assert_eq!(strangers.count(), 0);
    }

    /// The rules of the operator's ClusterRole that are about this resource: names and verbs.
    fn rights_on(objects: &[serde_json::Value], resource: &str) -> Vec<(serde_json::Value, serde_json::Value)> {
        let role = objects.iter().find(|object| {
            object["kind"] == "ClusterRole"
                && object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("kea-operator"))
        });
        let rules = role.unwrap()["rules"].as_array().unwrap().iter();
        let about = rules.filter(|rule| rule["resources"] == json!([resource]));
        about.map(|rule| (rule["resourceNames"].clone(), rule["verbs"].clone())).collect()
    }

    #[test]
    fn a_webhook_has_a_service_and_rights_to_its_own_objects_alone() {
        let configurations = "validatingwebhookconfigurations";
        let with = installed("kea manifests --image r/kea:1 --namespace ml --webhook");
        let found = |name: &str, kind: &str| {
            with.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
        };
        let port = &found("kea-webhook", "Service")["spec"]["ports"][0];
        let container = &found("kea-operator", "Deployment")["spec"]["template"]["spec"]["containers"][0];
        assert_eq!((&port["port"], &port["targetPort"]), (&443.into(), &container["ports"][1]["name"]));
        assert_eq!(container["ports"][1]["containerPort"], 8443);
        assert!(container["env"].to_string().contains("KEA_WEBHOOK"));
        let own = json!(["kea-ml"]);
        let expected = [(json!(null), json!(["create"])), (own.clone(), json!(["get", "patch"]))];
        assert_eq!(rights_on(&with, configurations), expected);

        let without = installed("kea manifests --image r/kea:1 --namespace ml");
        assert_eq!(rights_on(&without, configurations), [(own, json!(["delete"]))]);
        let text = yaml(&without).unwrap();
        assert!(!text.contains("KEA_WEBHOOK") && !text.contains("kea-webhook") && !text.contains("8443"));
    }

    #[test]
    fn a_webhook_of_a_single_namespace_is_refused() {
        let refused = options("kea manifests --image r/kea:1 --webhook --single-namespace").unwrap_err().to_string();
        assert!(refused.contains("exclude each other") && refused.contains("before 1.21"), "{refused}");
    }

    #[test]
    fn options_reach_the_pods() {
        let objects = installed("kea manifests --image r/kea:1 --registry r/models --database-secret db --env A=b");
        let text = yaml(&objects).unwrap();
        for part in ["value: r/models", "name: KEA_DATABASE", "value: b", "name: kea-admin"] {
            assert!(text.contains(part), "{part}");
        }
        let ingress = installed("kea manifests --image r/kea:1 --ingress-host models.example --ingress-class nginx");
        assert!(kinds(&ingress).contains(&"Ingress"));
        assert!(yaml(&ingress).unwrap().contains("value: http://models.example"));
    }

    #[test]
    fn an_ingress_with_a_certificate_is_called_by_https() {
        let objects = installed("kea manifests --image r/kea:1 --ingress-host models.example --tls-secret web");
        let ingress = objects.iter().find(|object| object["kind"] == "Ingress").unwrap();
        assert_eq!(ingress["spec"]["tls"], json!([{"hosts": ["models.example"], "secretName": "web"}]));
        assert!(yaml(&objects).unwrap().contains("value: https://models.example"));
    }

    fn route(options: &str) -> serde_json::Value {
        let objects = installed(&format!("kea manifests --image r/kea:1 {options}"));
        objects.into_iter().find(|object| object["kind"] == "HTTPRoute").unwrap()
    }

    #[test]
    fn a_gateway_that_is_there_gets_a_route() {
        let near = route("--namespace ml --gateway web");
        assert_eq!(near["metadata"]["namespace"], "ml");
        assert_eq!(near["spec"]["parentRefs"][0]["name"], "web");
        assert!(near["spec"]["parentRefs"][0].get("namespace").is_none());
        assert!(near["spec"].get("hostnames").is_none());
        let far = route("--gateway edge/web --gateway-host models.example");
        assert_eq!(far["spec"]["parentRefs"][0]["namespace"], "edge");
        assert_eq!(far["spec"]["hostnames"], json!(["models.example"]));
        assert_eq!(far["spec"]["rules"][0]["backendRefs"][0]["name"], "kea");
    }

    #[test]
    fn the_url_that_is_given_is_told_rather_than_that_of_a_host() {
        let line = "kea manifests --image r/kea:1 --gateway web --gateway-host models.example";
        assert!(yaml(&installed(line)).unwrap().contains("value: http://models.example"));
        let text = yaml(&installed(&format!("{line} --url https://other.example"))).unwrap();
        assert!(text.contains("value: https://other.example") && !text.contains("value: http://models.example"));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument, ValueValidation};
        for (options, kind) in [
            ("--ingress-host a.example --gateway web", ArgumentConflict),
            ("--ingress-class nginx", MissingRequiredArgument),
            ("--tls-secret web", MissingRequiredArgument),
            ("--gateway web --ingress-class nginx", ArgumentConflict),
            ("--gateway web --tls-secret web", ArgumentConflict),
            ("--ingress-host a.example --gateway-host a.example", ArgumentConflict),
            ("--gateway-host a.example", MissingRequiredArgument),
            ("--gateway a/b/c", ValueValidation),
            ("--gateway /web", ValueValidation),
            ("--gateway web/", ValueValidation),
        ] {
            let error = parsed(&format!("kea manifests --image r/kea:1 {options}")).unwrap_err();
            assert_eq!(error.kind(), kind, "{options}");
        }
    }
}
