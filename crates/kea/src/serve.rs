//! `kea serve`: all components in one process.

use std::{
    fs::{File, TryLockError},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use axum::{extract::Request, response::Response};
use http::header;
use kea_api::ApiState;
use kea_audit::Trail;
use kea_auth::{ADMIN_USERNAME, Authenticator, policy::Policies};
use kea_core::port::{IdentityStore, PolicyStore, ServiceStore, StoreError};
use kea_deployer::{LocalDeployer, LocalOptions};
use kea_http::{ClientAddress, PeerAddress, TrustedPeer, TrustedProxies};
use kea_logs::{Format, Limits, LogBook};
use kea_router::{Router, SharedRates};
use kea_store::SqlStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    audited, caching,
    cli::{LogFormat, ServeArgs},
    config::Config,
    edge,
    gateway::RouterGateway,
    progress, signals, sso,
};

/// How long requests under way may take once KEA is told to stop.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// Sets the first admin's password.
const ADMIN_PASSWORD: &str = "KEA_ADMIN_PASSWORD";

/// Runs KEA on this machine until it is told to stop.
pub(crate) fn run(args: &ServeArgs) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args)?;
    kea_logs::init_tracing(log_format(config.log_format), "info")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let tls = config.tls.clone().load()?;
    let replica_tls = config.replica_tls.clone().load()?;
    let providers = sso::providers(config.sso.clone())?;
    let _only_one = lock(&config.data_dir)?;
    let folder = config.data_dir.canonicalize()?;
    let store = Arc::new(open_store(&config, &folder).await.context("the store cannot be opened")?);
    let auth = Authenticator::new(store.clone() as Arc<dyn IdentityStore>, config.auth()).await?;
    let auth = sso::trusting(auth, &providers);
    let policies = Arc::new(Policies::open(store.clone() as Arc<dyn PolicyStore>, store.clone()).await?);
    let logs = Arc::new(LogBook::open(folder.join("logs"), Limits::default()).context("no place for logs")?);
    let audit = config.audit.start(folder.join("audit"))?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}: is another KEA running? `--listen` takes another address", config.listen)
    })?;
    let address = listener.local_addr()?;
    let url = config.url.clone().unwrap_or_else(|| format!("{}://{address}", edge::scheme(tls.as_ref())));
    ensure!(
        providers.is_empty() || config.url.is_some() || !address.ip().is_unspecified(),
        "`sso` needs `url`: where browsers reach KEA, as `https://models.example`; {address} is no address for them"
    );
    let made_password = first_admin(&auth).await?;

    let cache = caching::open(config.cache_redis.as_ref(), config.cache_bytes);
    let router = Router::new(auth.clone(), policies.clone(), cache, config.body_limit);
    let rates = config.rates_redis.as_ref().map(SharedRates::new);
    let router = Arc::new(router.with_replica_tls(replica_tls.clone()).sharing_rates(rates));
    let program = std::env::current_exe()?;
    let images = match config.registry.clone() {
        Some(registry) => Some((config.images.settings(folder.join("images"), program.clone())?, registry)),
        None => None,
    };
    let deployer = LocalDeployer::start(LocalOptions {
        router: router.clone(),
        traffic: router.clone(),
        images,
        store: store.clone() as Arc<dyn ServiceStore>,
        logs: logs.clone(),
        folder,
        program,
        listen: address,
        url: url.clone(),
        body_limit: config.body_limit,
    })
    .await?;

    let ready = Arc::new(AtomicBool::new(true));
    let stopping = CancellationToken::new();
    let (tending, tended) = (tend(auth.clone()), router.clone());
    let probing = tokio::spawn(async move { tended.tend().await });
    let api = kea_api::router(ApiState {
        deployer: deployer.clone(),
        sso: sso::open(&auth, providers, url.clone()).await?,
        auth: auth.clone(),
        policies: policies.clone(),
        logs,
        gateway: Arc::new(RouterGateway::new(router.clone())),
        ready: ready.clone(),
        stopping: stopping.clone(),
        metrics: metrics(router.clone(), audit.clone()),
        audit: audit.clone(),
    });
    welcome(&url, made_password.as_deref());
    let stop = async move {
        signals::stop().await;
        ready.store(false, Ordering::Relaxed);
        stopping.cancel();
        tracing::info!("stopping: requests under way finish first");
    };
    let following = tokio::spawn(async move { policies.follow().await });
    let certificates = tokio::spawn(async move { replica_tls.follow(&CancellationToken::new()).await });
    edge::serve(listener, tls, dispatcher(auth, router, api, audit.clone(), config.trusted_proxies), stop, DRAIN).await;
    following.abort();
    certificates.abort();
    tending.abort();
    probing.abort();
    deployer.stop().await;
    audit.stop().await;
    Ok(())
}

async fn open_store(config: &Config, folder: &Path) -> Result<SqlStore, StoreError> {
    match &config.database {
        Some(url) => SqlStore::connect(url).await,
        None => SqlStore::open(&folder.join("kea.db")).await,
    }
}

pub(crate) fn log_format(format: LogFormat) -> Format {
    match format {
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    }
}

/// Requests of services go to the router at once; all others to the management API. Who calls is found out first.
pub(crate) fn dispatcher(
    auth: Arc<Authenticator>,
    router: Arc<Router>,
    api: axum::Router,
    audit: Arc<Trail>,
    proxies: TrustedProxies,
) -> impl Fn(Request) -> futures_util::future::BoxFuture<'static, Response> + Clone + Send + 'static {
    let proxies = Arc::new(proxies);
    move |mut request| {
        let (auth, router, api) = (auth.clone(), router.clone(), api.clone());
        let accepted = request.headers().get(header::ACCEPT_ENCODING).cloned();
        kea_http::name_host(&mut request);
        if let Some(PeerAddress(peer)) = request.extensions().get().copied() {
            let client = ClientAddress(proxies.client(peer, request.headers()));
            request.extensions_mut().insert(client);
            if proxies.trusts_peer(peer) {
                request.extensions_mut().insert(TrustedPeer);
            }
        }
        let (entry, request) = audited::begin(&audit, request);
        let inner = |request| kea_http::rim(request, |request| dispatch(auth, router, api, request));
        Box::pin(async move {
            let response = audited::recorded(entry, request, inner).await;
            kea_http::encoding::negotiated(accepted, response).await
        })
    }
}

async fn dispatch(auth: Arc<Authenticator>, router: Arc<Router>, api: axum::Router, mut request: Request) -> Response {
    auth.hear(request.headers()).await;
    if router.takes(&mut request) {
        // On the heap: what is around it is moved several times before it begins.
        return Box::pin(router.handle(request)).await;
    }
    // So is what would make the way of predictions larger.
    match Box::pin(api.oneshot(request)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The metrics of all components.
pub(crate) fn metrics(router: Arc<Router>, audit: Arc<Trail>) -> kea_api::Metrics {
    Arc::new(move || {
        let mut page = router.metrics();
        audit.metrics(&mut page);
        page
    })
}

/// Two servers on one folder would start every service twice.
fn lock(folder: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("the folder `{}` cannot be made", folder.display()))?;
    let file = File::create(folder.join("kea.lock"))
        .with_context(|| format!("the folder `{}` cannot be written", folder.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another KEA uses `{}`: stop it, or give another `--data-dir`", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error).context("the data folder cannot be locked"),
    }
}

/// Lets the Authenticator do what it does beside requests.
pub(crate) fn tend(auth: Arc<Authenticator>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { tokio::join!(auth.tend(), auth.follow_issuers()).0 })
}

pub(crate) async fn first_admin(auth: &Authenticator) -> anyhow::Result<Option<String>> {
    let given = std::env::var(ADMIN_PASSWORD).ok().filter(|password| !password.is_empty());
    Ok(auth.ensure_admin(given.as_deref()).await?)
}

fn welcome(url: &str, made_password: Option<&str>) {
    progress::note(&format!("KEA answers on {url}, documentation on {url}/docs"));
    if let Some(password) = made_password {
        progress::note(&format!(
            "the user `{ADMIN_USERNAME}` was made with the password `{password}`; it is not shown again"
        ));
        progress::note(&format!("log in with: kea login {url} --username {ADMIN_USERNAME}"));
    }
}
