//! Configuration of `kea serve`: defaults, then `kea.toml`, then `KEA_…` variables, then options. Every mistake of the
//! file is reported at once, with its key, before anything is started.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use kea_auth::{AuthSettings, oidc::ProviderSettings};
use kea_containerizer::{ImageBuilder, ImageSettings, RegistryEndpoint, RegistryError};
use kea_core::quantity::{Memory, Span};
use kea_http::TrustedProxies;
use kea_router::RedisUrl;
use kea_store::DatabaseUrl;
use serde::de::DeserializeOwned;

use crate::{
    audited::AuditConfig,
    caching,
    cli::{LogFormat, ServeArgs},
    edge::TlsArgs,
    replica_tls::ReplicaTlsArgs,
    sso,
};

/// The file that is read where no other is named.
const DEFAULT_FILE: &str = "kea.toml";

/// The effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    /// Where the store is; in the data folder where it is not given.
    pub(crate) database: Option<DatabaseUrl>,
    pub(crate) log_format: LogFormat,
    /// How long an access token lasts.
    pub(crate) token_ttl: Span,
    /// How long a login lasts.
    pub(crate) session_ttl: Span,
    /// How long a signing key signs.
    pub(crate) key_rotation: Span,
    /// Largest body of a model's request, in bytes.
    pub(crate) body_limit: usize,
    /// Size of the response cache, in bytes.
    pub(crate) cache_bytes: u64,
    /// Where the response cache is; in memory where it is not given.
    pub(crate) cache_redis: Option<RedisUrl>,
    /// Where rates are counted together with other KEAs; each counts for itself where it is not given.
    pub(crate) rates_redis: Option<RedisUrl>,
    /// Where images of versions are sent; none are made where it is not given.
    pub(crate) registry: Option<String>,
    pub(crate) images: ImageConfig,
    /// Where callers reach it; where it listens where it is not given.
    pub(crate) url: Option<String>,
    pub(crate) tls: TlsArgs,
    pub(crate) replica_tls: ReplicaTlsArgs,
    pub(crate) audit: AuditConfig,
    /// Proxies that are believed who calls.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Providers of single sign-on.
    pub(crate) sso: Vec<ProviderSettings>,
}

/// How images are made, as far as the file says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ImageConfig {
    pub(crate) base_onnx: Option<String>,
    pub(crate) base_python: Option<String>,
    pub(crate) plain_http: Option<Vec<String>>,
    pub(crate) endpoints: Option<Vec<RegistryEndpoint>>,
    pub(crate) dockerfile_builder: Option<String>,
}

impl ImageConfig {
    /// How images are made: defaults, then the file, then the variables.
    pub(crate) fn settings(&self, folder: PathBuf, program: PathBuf) -> Result<ImageSettings, RegistryError> {
        let mut settings = ImageSettings::new(folder, program);
        let Self { base_onnx, base_python, plain_http, endpoints, dockerfile_builder } = self.clone();
        settings.base_onnx = base_onnx.unwrap_or(settings.base_onnx);
        settings.base_python = base_python.unwrap_or(settings.base_python);
        settings.registries.plain_http = plain_http.unwrap_or_default();
        settings.registries.endpoints = endpoints.unwrap_or_default();
        settings.dockerfile_builder = dockerfile_builder;
        settings.with_env()
    }
}

impl Default for Config {
    fn default() -> Self {
        let auth = AuthSettings::default();
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            data_dir: "./kea-data".into(),
            database: None,
            log_format: LogFormat::Human,
            token_ttl: Span(auth.token_ttl),
            session_ttl: Span(auth.session_ttl),
            key_rotation: Span(auth.key_rotation),
            body_limit: 64 << 20,
            cache_bytes: 64 << 20,
            cache_redis: None,
            rates_redis: None,
            registry: None,
            images: ImageConfig::default(),
            url: None,
            tls: TlsArgs::default(),
            replica_tls: ReplicaTlsArgs::default(),
            audit: AuditConfig::default(),
            trusted_proxies: TrustedProxies::default(),
            sso: Vec::new(),
        }
    }
}

impl Config {
    /// How long what the Authenticator gives out lasts.
    pub(crate) fn auth(&self) -> AuthSettings {
        AuthSettings { token_ttl: self.token_ttl.0, session_ttl: self.session_ttl.0, key_rotation: self.key_rotation.0 }
    }

    /// The configuration for these options.
    pub(crate) fn load(args: &ServeArgs) -> anyhow::Result<Self> {
        let mut config = Self::default();
        if let Some(file) = file(args.config.as_deref()) {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("`{}` cannot be read", file.display()))?;
            config.read(&text).with_context(|| format!("`{}`", file.display()))?;
        }
        // Options stand for the variables too: the command line reads both.
        config.listen = args.listen.unwrap_or(config.listen);
        config.data_dir = args.data_dir.clone().unwrap_or(config.data_dir);
        if let Some(url) = args.database.as_deref().filter(|url| !url.is_empty()) {
            config.database = Some(database(url).map_err(|why| anyhow!("`database`: {why}"))?);
        }
        let redis = caching::redis(args.cache_redis.as_deref()).map_err(|why| anyhow!("`cache-redis`: {why}"))?;
        config.cache_redis = redis.or(config.cache_redis);
        let redis = caching::redis(args.rates_redis.as_deref()).map_err(|why| anyhow!("`rates-redis`: {why}"))?;
        config.rates_redis = redis.or(config.rates_redis);
        config.log_format = args.log_format.unwrap_or(config.log_format);
        config.token_ttl = args.token_ttl.unwrap_or(config.token_ttl);
        config.audit = config.audit.with(&args.audit)?;
        config.session_ttl = args.session_ttl.unwrap_or(config.session_ttl);
        config.key_rotation = args.key_rotation.unwrap_or(config.key_rotation);
        if let Some(networks) = &args.trusted_proxies {
            config.trusted_proxies = TrustedProxies::parse(networks).context("`trusted-proxies`")?;
        }
        config.registry = args.registry.clone().or(config.registry).filter(|registry| !registry.is_empty());
        config.url = args.url.clone().or(config.url).map(|url| base_url(&url)).transpose()?;
        config.tls = args.tls.clone().or(config.tls);
        config.replica_tls = args.replica_tls.clone().or(config.replica_tls);
        if let Some(registry) = &config.registry {
            check_registry(registry)?;
            let settings = config.images.settings(PathBuf::new(), PathBuf::new())?;
            if let Some(builder) = &settings.dockerfile_builder {
                ImageBuilder::check_dockerfile_builder(builder).context("`dockerfile-builder`")?;
            }
        }
        Ok(config)
    }

    fn read(&mut self, text: &str) -> anyhow::Result<()> {
        let table = table(text)?;
        let mut mistakes = Vec::new();
        for (key, value) in table {
            let read = match key.as_str() {
                "listen" => set(&mut self.listen, value),
                "data-dir" => set(&mut self.data_dir, value),
                "database" => set_database(&mut self.database, value),
                "log-format" => set(&mut self.log_format, value),
                "token-ttl" => set(&mut self.token_ttl, value),
                "session-ttl" => set(&mut self.session_ttl, value),
                "key-rotation" => set(&mut self.key_rotation, value),
                "body-limit" => set_bytes(&mut self.body_limit, value),
                "cache-size" => set_bytes(&mut self.cache_bytes, value),
                "cache-redis" => set_redis(&mut self.cache_redis, &value),
                "rates-redis" => set_redis(&mut self.rates_redis, &value),
                "trusted-proxies" => set_proxies(&mut self.trusted_proxies, value),
                "registry" => set(&mut self.registry, value),
                "base-image-onnx" => set(&mut self.images.base_onnx, value),
                "base-image-python" => set(&mut self.images.base_python, value),
                "plain-http-registries" => set(&mut self.images.plain_http, value),
                "registry-endpoints" => set(&mut self.images.endpoints, value),
                "dockerfile-builder" => set(&mut self.images.dockerfile_builder, value),
                "url" => set(&mut self.url, value),
                "tls-certificate" => set(&mut self.tls.certificate, value),
                "tls-key" => set(&mut self.tls.key, value),
                "tls-client-ca" => set(&mut self.tls.client_ca, value),
                "replica-ca" => set(&mut self.replica_tls.ca, value),
                "replica-certificate" => set(&mut self.replica_tls.certificate, value),
                "replica-key" => set(&mut self.replica_tls.key, value),
                "replica-server-name" => set(&mut self.replica_tls.server_name, value),
                "audit" => set(&mut self.audit.enabled, value),
                "audit-dir" => set(&mut self.audit.dir, value),
                "audit-file-size" => set_bytes(&mut self.audit.file_bytes, value),
                "audit-files" => set(&mut self.audit.files, value),
                "audit-keep" => set(&mut self.audit.keep, value),
                "audit-stdout" => set(&mut self.audit.stdout, value),
                "audit-elasticsearch" => set(&mut self.audit.elasticsearch, value),
                "audit-otlp" => set(&mut self.audit.otlp, value),
                "sso" => sso::read(value).map(|providers| self.sso = providers),
                "traces-otlp" => set(&mut self.audit.traces, value),
                "traces-share" => set(&mut self.audit.traces_share, value),
                _ => Err("is not a key of KEA: there are listen, data-dir, database, log-format, token-ttl, \
                          session-ttl, key-rotation, body-limit, cache-size, cache-redis, rates-redis, trusted-proxies, registry, \
                          base-image-onnx, base-image-python, plain-http-registries, registry-endpoints, \
                          dockerfile-builder, url, tls-certificate, tls-key, tls-client-ca, replica-ca, \
                          replica-certificate, replica-key, replica-server-name, audit, audit-dir, \
                          audit-file-size, audit-files, audit-keep, audit-stdout, audit-elasticsearch, audit-otlp, \
                          traces-otlp, traces-share and sso"
                    .into()),
            };
            mistakes.extend(read.err().map(|why| format!("`{key}`: {why}")));
        }
        if mistakes.is_empty() { Ok(()) } else { bail!("{}", mistakes.join("; ")) }
    }
}

/// What a file in TOML says.
pub(crate) fn table(text: &str) -> anyhow::Result<toml::Table> {
    text.parse().map_err(|error| anyhow!(unreadable(text, &error)))
}

/// A mistake in it is better told now than by the first deployment.
fn check_registry(registry: &str) -> anyhow::Result<()> {
    let image = format!("{}/model:1", registry.trim_end_matches('/'));
    ImageBuilder::check_name(&image).with_context(|| {
        format!("`registry`: `{registry}` is no registry: write for example `registry.example/models`")
    })
}

/// Paths are appended to it.
pub(crate) fn base_url(text: &str) -> anyhow::Result<String> {
    let url = text.trim_end_matches('/');
    let parsed = reqwest::Url::parse(url).ok().filter(|parsed| matches!(parsed.scheme(), "http" | "https"));
    let Some(parsed) = parsed.filter(|parsed| parsed.query().is_none() && parsed.fragment().is_none()) else {
        bail!("`url`: `{text}` is no address of KEA: write for example `https://models.example`")
    };
    // A path would be that of a proxy, which takes it away before KEA sees it.
    Ok(if parsed.path() == "/" { url.into() } else { parsed.as_str().trim_end_matches('/').into() })
}

fn file(named: Option<&Path>) -> Option<PathBuf> {
    let default = || Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into());
    named.map(Path::to_path_buf).or_else(default)
}

fn set<T: DeserializeOwned>(field: &mut T, value: toml::Value) -> Result<(), String> {
    *field = value.try_into().map_err(|error: toml::de::Error| error.message().to_string())?;
    Ok(())
}

fn set_database(field: &mut Option<DatabaseUrl>, value: toml::Value) -> Result<(), String> {
    // Its own words for a value of another kind would show the value.
    let toml::Value::String(url) = value else { return Err("is not a text".into()) };
    *field = Some(database(&url)?);
    Ok(())
}

fn set_redis(field: &mut Option<RedisUrl>, value: &toml::Value) -> Result<(), String> {
    *field = caching::redis(Some(value.as_str().ok_or("is not a text")?))?;
    Ok(())
}

/// The URL is not shown where it is wrong: there may be a password in it.
pub(crate) fn database(url: &str) -> Result<DatabaseUrl, String> {
    url.parse().map_err(|error| {
        format!("{error}: write for example `postgres://USER:PASSWORD@HOST:PORT/NAME` or `sqlite:kea.db`")
    })
}

/// Where a file is no TOML, without the line itself, which `toml` would show: it may be that of a password.
fn unreadable(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

fn set_proxies(field: &mut TrustedProxies, value: toml::Value) -> Result<(), String> {
    let mut networks: Vec<String> = Vec::new();
    set(&mut networks, value)?;
    *field = TrustedProxies::parse(&networks).map_err(|error| error.to_string())?;
    Ok(())
}

fn set_bytes<T: TryFrom<u64>>(field: &mut T, value: toml::Value) -> Result<(), String> {
    let memory: Memory = value.try_into().map_err(|error: toml::de::Error| error.message().to_string())?;
    *field = T::try_from(memory.bytes)
        .map_err(|_| format!("{} bytes are more than this machine can count", memory.bytes))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_what_it_names() {
        let mut config = Config::default();
        config.read("listen = \"0.0.0.0:9000\"\nbody-limit = \"1Mi\"\ntoken-ttl = \"1h\"").unwrap();
        assert_eq!(config.listen, ([0, 0, 0, 0], 9000).into());
        assert_eq!(config.body_limit, 1 << 20);
        assert_eq!(config.token_ttl.0.as_secs(), 3600);
        assert_eq!(config.data_dir, Config::default().data_dir);
    }

    #[test]
    fn a_password_in_the_file_is_not_shown() {
        for text in [
            "database = \"postgres://ada:hunter2@db.example/kea",
            "database = \"postgres://ada:hunter2@db.example/kea\"x",
            "database = postgres://ada:hunter2@db.example/kea",
            "database = \"mysql://ada:hunter2@db.example/kea\"",
            "database = [\"postgres://ada:hunter2@db.example/kea\"]",
            "database = \"postgres://ada:12/hunter2@db.example/kea\"",
        ] {
            let error = format!("{:#}", Config::default().read(&format!("listen = \"[::]:1\"\n{text}\n")).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("line 2") || error.contains("`database`"), "{error}");
        }
        for text in
            ["cache-redis = \"http://:hunter2@cache.example\"", "cache-redis = [\"redis://:hunter2@c.example\"]"]
        {
            let error = format!("{:#}", Config::default().read(text).unwrap_err());
            assert!(error.contains("`cache-redis`") && !error.contains("hunter2"), "{error}");
        }
        let mut config = Config::default();
        config.read("cache-redis = \"redis://:hunter2@cache.example\"").unwrap();
        config.read("database = \"postgres://ada:hunter2@db.example/kea\"").unwrap();
        let shown = format!("{config:?}");
        assert!(
            shown.contains("db.example") && shown.contains("cache.example") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn a_registry_that_is_none_is_told_before_anything_starts() {
        assert!(check_registry("127.0.0.1:5000/models/").is_ok());
        assert!(check_registry("https://registry.example/models").is_err());
    }

    #[test]
    fn proxies_are_networks() {
        let mut config = Config::default();
        config.read("trusted-proxies = [\"10.0.0.0/8\", \"::1\"]").unwrap();
        assert_eq!(config.trusted_proxies, TrustedProxies::parse(&["10.0.0.0/8", "::1"]).unwrap());
        let error = config.read("trusted-proxies = [\"proxy.example\"]").unwrap_err().to_string();
        assert!(error.contains("`trusted-proxies`: `proxy.example` is no network"), "{error}");
    }

    #[test]
    fn every_mistake_is_reported_with_its_key() {
        let error =
            Config::default().read("listen = \"here\"\nport = 1\nbody-limit = \"big\"").unwrap_err().to_string();
        for part in ["`listen`", "`port`: is not a key", "`body-limit`: `big` is not an amount of memory"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
