//! Objects of S3, Google Cloud Storage and Azure Blob Storage, or of what speaks as they do.

mod profile;

use std::{collections::BTreeMap, env, path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    path::Path as Key,
};
use sha2::{Digest, Sha256};
use tokio::{fs::File, io::AsyncWriteExt};

use super::{Bounds, Count, Got, Job, Landed, Listed, Listing, MODEL, base, place};
use crate::FetchError;

/// How often a request is sent again.
const RETRIES: usize = 4;
/// How long to wait for credentials of the machine, where none are given: outside of a cloud nobody answers.
const CREDENTIALS: Duration = Duration::from_secs(20);

/// Variables by which a cluster or a task is given credentials of its own.
const TOKENS: [&str; 3] =
    ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

/// Whose store it is, or whose interface it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Amazon,
    Google,
    Azure,
}

/// An object, or all below a prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Objects {
    vendor: Vendor,
    bucket: String,
    /// Empty for the whole bucket.
    key: Key,
    /// Whether it can only be a prefix.
    is_prefix: bool,
}

/// The environment's variables.
type Variables = BTreeMap<String, String>;

impl Vendor {
    fn scheme(self) -> &'static str {
        match self {
            Self::Amazon => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    /// What to look at when the store refuses.
    fn hint(self) -> &'static str {
        match self {
            Self::Amazon => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and AWS_REGION for `kea serve`, and AWS_ENDPOINT_URL for another store than Amazon's; KEA_S3_ANONYMOUS=true for a public bucket"
            }
            Self::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT for `kea serve` to the file of a key; GOOGLE_SKIP_SIGNATURE=true for a public bucket"
            }
            Self::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN for `kea serve`; AZURE_SKIP_SIGNATURE=true for a public container"
            }
        }
    }
}

impl Objects {
    /// Reads `bucket/key`.
    pub(crate) fn parse(vendor: Vendor, rest: &str) -> Result<Self, String> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(format!("write it as `{}://bucket/key`", vendor.scheme()));
        }
        let is_prefix = key.is_empty() || key.ends_with('/');
        let key = Key::parse(key).map_err(|error| error.to_string())?;
        Ok(Self { vendor, bucket: bucket.to_owned(), key, is_prefix })
    }

    pub(super) fn shown(&self) -> String {
        format!("{}://{}/{}", self.vendor.scheme(), self.bucket, self.key)
    }

    pub(super) async fn fetch(&self, job: &Job<'_>) -> Result<Got, FetchError> {
        let variables =
            env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        let store = self.store(&variables.collect(), job.bounds)?;
        let listing = tokio::time::timeout(CREDENTIALS + job.bounds.silence * 2, self.list(&*store, job)).await;
        let silent = |_| self.failed(&"it does not answer, or the machine has no credentials");
        let (listing, is_file) = listing.map_err(silent)??;
        let mark = mark(&listing.files);
        if mark.as_deref().is_some_and(|mark| job.is_known(mark)) {
            return Ok(Got::Unchanged);
        }
        let mut count = Count::of(listing.files.len());
        for file in &listing.files {
            let bytes = self.download(&*store, file, &count, job).await?;
            count.add(bytes);
        }
        let folder = job.staging.path().join(MODEL);
        let path = if is_file { folder.join(&listing.files[0].name) } else { folder };
        Ok(Got::New(Landed { path, mark, notes: Vec::new() }))
    }

    /// The object, or those below it; whether it is the object.
    async fn list(&self, store: &dyn ObjectStore, job: &Job<'_>) -> Result<(Listing<ObjectMeta>, bool), FetchError> {
        let mut listing = Listing::new(self.shown(), job.bounds);
        if !self.is_prefix {
            match store.head(&self.key).await {
                Ok(found) => {
                    listing.add(base(self.key.as_ref()), found.size, found)?;
                    return Ok((listing, true));
                }
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(self.told(&error)),
            }
        }
        let mut found = store.list(Some(&self.key));
        while let Some(object) = found.next().await {
            let object = object.map_err(|error| self.told(&error))?;
            let name = object.location.as_ref().strip_prefix(self.key.as_ref()).unwrap_or_default();
            let name = name.trim_start_matches('/').to_owned();
            // Some tools make an empty object for a folder.
            if !name.is_empty() {
                listing.add(&name, object.size, object)?;
            }
        }
        if listing.files.is_empty() {
            return Err(FetchError::NoObject { what: self.shown() });
        }
        Ok((listing, false))
    }

    async fn download(
        &self,
        store: &dyn ObjectStore,
        object: &Listed<ObjectMeta>,
        count: &Count,
        job: &Job<'_>,
    ) -> Result<u64, FetchError> {
        let path = place(job.staging, &object.name)?;
        let storing = || FetchError::storing(&path);
        let mut file = File::create_new(&path).await.map_err(storing())?;
        // Where the connection drops, the library asks for the rest, if the object is still the same.
        let mut body = store.get(&object.at.location).await.map_err(|error| self.told(&error))?.into_stream();
        let (mut bytes, limit) = (0, job.bounds.bytes);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| self.told(&error))?;
            bytes += chunk.len() as u64;
            if count.bytes + bytes > limit {
                return Err(FetchError::TooLarge { limit });
            }
            file.write_all(&chunk).await.map_err(storing())?;
            job.tell(&count.told(bytes));
        }
        file.flush().await.map_err(storing())?;
        if bytes != object.bytes {
            return Err(self.failed(&format!("`{}` changed while it was read", object.name)));
        }
        Ok(bytes)
    }

    fn store(&self, variables: &Variables, bounds: Bounds) -> Result<Arc<dyn ObjectStore>, FetchError> {
        let built: Result<Arc<dyn ObjectStore>, Error> = match self.vendor {
            Vendor::Amazon => {
                let builder = amazon(&self.bucket, variables, options(bounds)).map_err(|why| self.unusable(&why))?;
                builder.with_retry(retries(bounds)).build().map(|store| Arc::new(store) as _)
            }
            Vendor::Google => google(&self.bucket, variables, options(bounds))
                .with_retry(retries(bounds))
                .build()
                .map(|store| Arc::new(store) as _),
            Vendor::Azure => azure(&self.bucket, variables, options(bounds))
                .with_retry(retries(bounds))
                .build()
                .map(|store| Arc::new(store) as _),
        };
        built.map_err(|error| self.unusable(&shortened(&error)))
    }

    fn told(&self, error: &Error) -> FetchError {
        let (what, hint, why) = (self.shown(), self.vendor.hint(), shortened(error));
        match error {
            Error::NotFound { .. } => FetchError::NoObject { what },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                FetchError::StoreDenied { what, why, hint }
            }
            // Of a listing, the library does not tell them apart.
            Error::Generic { .. } if status(error) == Some(404) => FetchError::NoObject { what },
            Error::Generic { .. } if matches!(status(error), Some(401 | 403)) => {
                FetchError::StoreDenied { what, why, hint }
            }
            Error::InvalidPath { .. } => FetchError::StoreSettings { what, why, hint: "rename the object" },
            _ => FetchError::Store { what, why, hint },
        }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> FetchError {
        FetchError::Store { what: self.shown(), why: why.to_string(), hint: self.vendor.hint() }
    }

    fn unusable(&self, why: &str) -> FetchError {
        FetchError::StoreSettings { what: self.shown(), why: why.to_owned(), hint: self.vendor.hint() }
    }
}

/// One mark for all objects: what the store calls their contents. `None` where it does not.
fn mark(objects: &[Listed<ObjectMeta>]) -> Option<String> {
    let mut hash = Sha256::new();
    let mut lines: Vec<_> = objects.iter().map(|object| Some((&object.name, object.at.e_tag.as_ref()?))).collect();
    lines.sort();
    for line in lines {
        let (name, tag) = line.filter(|(_, tag)| !tag.starts_with("W/"))?;
        hash.update(format!("{name}\0{tag}\0"));
    }
    Some(hex::encode(hash.finalize()))
}

/// What a store answered a request with, which the library tells in words alone.
fn status(error: &Error) -> Option<u16> {
    let text = error.to_string();
    let (_, after) = text.split_once("non-2xx status code: ")?;
    after.get(..3)?.parse().ok()
}

fn options(bounds: Bounds) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(bounds.silence.min(Duration::from_secs(10)))
        .with_read_timeout(bounds.silence)
}

fn retries(bounds: Bounds) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: bounds.silence / 100,
        max_backoff: bounds.silence / 5,
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: bounds.silence * 2 }
}

fn amazon(bucket: &str, variables: &Variables, options: ClientOptions) -> Result<AmazonS3Builder, String> {
    let given = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let endpoint = given("AWS_ENDPOINT_URL_S3").or(given("AWS_ENDPOINT_URL")).or(given("AWS_ENDPOINT"));
    let insecure = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let mut builder = AmazonS3Builder::new().with_client_options(options.with_allow_http(insecure));
    // What a user has for other tools often comes with a profile; keys in the environment go before it.
    if given("AWS_ACCESS_KEY_ID").is_none() {
        let home = given("HOME").map(PathBuf::from).unwrap_or_default();
        for (key, value) in profile::read(&home, given)? {
            builder = builder.with_config(key, value);
        }
    }
    for (name, value) in variables.iter().filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()) {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let anonymous = ["KEA_S3_ANONYMOUS", "AWS_SKIP_SIGNATURE"].iter().any(|name| given(name).is_some_and(is_true));
    if anonymous {
        builder = builder.with_skip_signature(true);
    }
    // A machine of Amazon's cloud has credentials of its own; for stores elsewhere they are of no use.
    let has_credentials = builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_some()
        || TOKENS.iter().any(|name| given(name).is_some());
    let asks_machine = endpoint.is_none() && !given("AWS_EC2_METADATA_DISABLED").is_some_and(is_true);
    if !anonymous && !has_credentials && !asks_machine {
        return Err("no credentials are given: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or \
                    KEA_S3_ANONYMOUS=true for a store that anybody may read"
            .to_owned());
    }
    Ok(builder.with_bucket_name(bucket))
}

fn google(bucket: &str, variables: &Variables, options: ClientOptions) -> GoogleCloudStorageBuilder {
    let insecure = variables.get("GOOGLE_BASE_URL").is_some_and(|url| url.starts_with("http://"));
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(options.with_allow_http(insecure));
    for (name, value) in variables.iter().filter(|(name, value)| name.starts_with("GOOGLE_") && !value.is_empty()) {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(bucket)
}

fn azure(container: &str, variables: &Variables, options: ClientOptions) -> MicrosoftAzureBuilder {
    let insecure = variables.get("AZURE_STORAGE_ENDPOINT").is_some_and(|url| url.starts_with("http://"));
    let emulated = variables.get("AZURE_STORAGE_USE_EMULATOR").is_some_and(|value| is_true(value));
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(options.with_allow_http(insecure || emulated));
    for (name, value) in variables.iter().filter(|(name, value)| name.starts_with("AZURE_") && !value.is_empty()) {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_container_name(container)
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}

/// An error's text in one line and without the queries of URLs, which may be signed.
fn shortened(error: &Error) -> String {
    let text = error.to_string();
    let words = text.split_whitespace().map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => url,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ").chars().take(600).collect()
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn setting(pairs: &[(&str, &str)], key: AmazonS3ConfigKey) -> Option<String> {
        amazon("bucket", &variables(pairs), ClientOptions::new()).unwrap().get_config_value(&key)
    }

    #[test]
    fn a_source_is_an_object_or_a_prefix() {
        let check = |text: &str, bucket: &str, key: &str, is_prefix: bool| {
            let objects = Objects::parse(Vendor::Amazon, text).unwrap();
            assert_eq!((&*objects.bucket, objects.key.as_ref(), objects.is_prefix), (bucket, key, is_prefix), "{text}");
        };
        check("bucket/models/iris.joblib", "bucket", "models/iris.joblib", false);
        check("bucket/models/", "bucket", "models", true);
        check("bucket", "bucket", "", true);
        for text in ["", "/key", "me:secret@bucket/key", "bucket/../other", "bucket/a//b"] {
            assert!(Objects::parse(Vendor::Amazon, text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_of_s3_come_from_the_environment() {
        let endpoint =
            [("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_S3", "http://b"), ("AWS_ACCESS_KEY_ID", "id")];
        assert_eq!(setting(&endpoint, AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://b"));
        let region = [("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "id")];
        assert_eq!(setting(&region, AmazonS3ConfigKey::Region).as_deref(), Some("eu-central-1"));
        assert_eq!(setting(&region, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("id"));
        let anonymous = [("KEA_S3_ANONYMOUS", "true")];
        assert_eq!(setting(&anonymous, AmazonS3ConfigKey::SkipSignature).as_deref(), Some("true"));
    }

    #[test]
    fn a_store_elsewhere_is_not_asked_with_the_credentials_of_a_cloud() {
        let elsewhere = [("AWS_ENDPOINT_URL", "http://a")];
        let error = amazon("bucket", &variables(&elsewhere), ClientOptions::new()).unwrap_err();
        assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
        assert!(amazon("bucket", &variables(&[]), ClientOptions::new()).is_ok());
    }

    #[test]
    fn a_profile_gives_what_the_environment_does_not() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("credentials");
        std::fs::write(&file, "[work]\naws_access_key_id = id\naws_secret_access_key = key\n").unwrap();
        let profile = [("AWS_PROFILE", "work"), ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())];
        assert_eq!(setting(&profile, AmazonS3ConfigKey::SecretAccessKey).as_deref(), Some("key"));
        let own = [&profile[..], &[("AWS_ACCESS_KEY_ID", "other")]].concat();
        assert_eq!(setting(&own, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("other"));
        assert_eq!(setting(&own, AmazonS3ConfigKey::SecretAccessKey), None);
        let absent = [("AWS_PROFILE", "play"), profile[1]];
        let error = amazon("bucket", &variables(&absent), ClientOptions::new()).unwrap_err();
        assert!(error.contains("no profile `play`"), "{error}");
    }

    #[test]
    fn an_error_shows_no_signed_query() {
        let source = "Error performing GET https://host/c?sig=secret in 2ms".into();
        let error = Error::Generic { store: "Azure", source };
        assert!(!shortened(&error).contains("secret"), "{error}");
    }
}
