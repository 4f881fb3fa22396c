//! Speaks to image registries: one repository at a time, with the login for it, tried again where that may help.

mod auth;
mod error;
mod settings;
mod token;

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{BlobResponse, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::{
        IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
        OciDescriptor,
    },
    secrets::RegistryAuth,
};
use tokio::{io::AsyncReadExt, sync::OnceCell};

pub(crate) use auth::CONFIG as LOGINS;
pub use auth::Logins;
pub use error::RegistryError;
pub(crate) use settings::Place;
pub use settings::{RegistryEndpoint, RegistrySettings};

/// How much of a blob goes into one request. Registries keep what has come of a chunk, so larger ones only cost memory.
const CHUNK: usize = 4 << 20;
/// How often something is tried that may go better the next time.
const TRIES: u32 = 6;
/// The first pause between two tries; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a credential helper may take, which may have to ask a server of its own.
const LOGIN: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a registry may be silent: it may have to check a large blob before it answers.
const SILENCE: Duration = Duration::from_secs(60);

/// What a manifest may be, for images and artifacts.
const MANIFESTS: [&str; 4] =
    [OCI_IMAGE_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE];

/// Reads the name of an image.
pub(crate) fn reference(text: &str) -> Result<Reference, RegistryError> {
    let malformed = |why: String| RegistryError::Name { text: text.to_owned(), why };
    let reference: Reference = text.trim().parse().map_err(|error| malformed(format!("{error}")))?;
    match reference.digest() {
        Some(digest) if !digest.starts_with("sha256:") => Err(malformed("only digests of sha256 are known".to_owned())),
        _ => Ok(reference),
    }
}

/// Why a blob could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It came too long, or not whole however often it was asked for.
    #[error("{0}")]
    Broken(String),
    /// What came could not be kept.
    #[error("{0}")]
    Sink(io::Error),
}

/// One repository of a registry.
pub(crate) struct Repository {
    registries: Registries,
    client: Client,
    auth: RegistryAuth,
    /// Any image of the repository, as it is named.
    image: Reference,
    /// Where its registry is.
    place: Place,
    /// Has rights to a base's repository too; none where those of `client` must do.
    both: OnceCell<Option<Client>>,
}

/// The way to registries. What is cloned shares its connections.
#[derive(Clone, Debug)]
pub(crate) struct Registries(Arc<Ways>);

#[derive(Debug)]
struct Ways {
    settings: RegistrySettings,
    /// Held for a look-up, or to make a client.
    clients: Mutex<Vec<Way>>,
}

/// A client for one registry with one login: making one reads all certificates of the system.
struct Way {
    place: Place,
    whole: bool,
    auth: RegistryAuth,
    client: Client,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Registries {
    pub(crate) fn new(settings: RegistrySettings) -> Self {
        Self(Arc::new(Ways { settings, clients: Mutex::default() }))
    }

    /// The repository of `image`.
    pub(crate) async fn open(&self, image: &Reference) -> Result<Repository, RegistryError> {
        check_certificates()?;
        let place = self.place(image);
        let names = [image.registry().to_owned(), place.address.clone()];
        let given = self.0.settings.logins.clone();
        let looking = tokio::task::spawn_blocking(move || auth::of(&names, given.as_ref()));
        let finding = tokio::time::timeout(LOGIN, looking);
        let unread = |why: String| RegistryError::Login { registry: image.registry().to_owned(), why };
        let found = finding.await.map_err(|_| unread(format!("its credential helper said nothing for {LOGIN:?}")))?;
        let auth = found.map_err(|error| unread(error.to_string()))??;
        let client = self.client(&place, true, &auth).await;
        Ok(Repository { registries: self.clone(), client, auth, image: image.clone(), place, both: OnceCell::new() })
    }

    /// Where the registry of `image` is.
    fn place(&self, image: &Reference) -> Place {
        self.0.settings.place(image.registry(), image.resolve_registry())
    }

    /// A client for the registry at `place`; one that sends blobs `whole` sends them in one piece.
    async fn client(&self, place: &Place, whole: bool, auth: &RegistryAuth) -> Client {
        let client = {
            let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let is_it = |way: &&Way| way.place == *place && way.whole == whole && way.auth == *auth;
            match clients.iter().find(is_it) {
                Some(way) => way.client.clone(),
                None => {
                    let client = Client::new(config(place, whole));
                    // Another login takes the place of the one before.
                    clients.retain(|way| way.place != *place || way.whole != whole);
                    clients.push(Way { place: place.clone(), whole, auth: auth.clone(), client: client.clone() });
                    client
                }
            }
        };
        client.store_auth_if_needed(&place.address, auth).await;
        client
    }
}

fn config(place: &Place, whole: bool) -> ClientConfig {
    let plain = place.plain.then(|| ClientProtocol::HttpsExcept(vec![place.address.clone()]));
    ClientConfig {
        protocol: plain.unwrap_or_default(),
        use_monolithic_push: whole,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: concat!("kea/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }
}

impl Repository {
    /// A client with rights to the repository of `from` too, where the registry needs another login for that.
    async fn of_both(&self, from: &Reference) -> &Client {
        let client = self.both.get_or_init(|| async {
            let scheme = if self.place.plain { "http" } else { "https" };
            let base = format!("{scheme}://{}", self.place.address);
            let token = token::of_both(&base, &self.image, from, &self.auth).await?;
            // A token is of no use to others, so the client is kept by nobody else.
            let client = Client::new(config(&self.place, true));
            client.store_auth_if_needed(&self.place.address, &RegistryAuth::Bearer(token)).await;
            Some(client)
        });
        client.await.as_ref().unwrap_or(&self.client)
    }

    /// The image itself.
    pub(crate) fn image(&self) -> &Reference {
        &self.image
    }

    /// Whether the two are of one registry, which can then take over blobs by itself.
    pub(crate) fn is_beside(&self, other: &Reference) -> bool {
        self.place == self.registries.place(other) && self.image.repository() != other.repository()
    }

    /// An image of the repository by the address at which its registry is.
    fn at(&self, image: &Reference) -> Reference {
        let (address, repository) = (self.place.address.clone(), image.repository().to_owned());
        match (image.digest(), image.tag()) {
            (Some(digest), _) => Reference::with_digest(address, repository, digest.to_owned()),
            (None, tag) => Reference::with_tag(address, repository, tag.unwrap_or_default().to_owned()),
        }
    }

    /// The manifest of `image`, and its digest.
    pub(crate) async fn manifest(&self, image: &Reference) -> Result<(Bytes, String), RegistryError> {
        let image = self.at(image);
        self.retry("asked for the manifest", || self.client.pull_manifest_raw(&image, &self.auth, &MANIFESTS)).await
    }

    /// The digest of the manifest that `image` names; `None` where there is none.
    pub(crate) async fn digest(&self, image: &Reference) -> Result<Option<String>, RegistryError> {
        let image = self.at(image);
        let asking = || self.client.fetch_manifest_digest(&image, &self.auth);
        match self.retry("asked for the digest", asking).await {
            Ok(digest) => Ok(Some(digest)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Downloads a blob of that size into `sink`, which is told each part and how much there is then. Where the connection
    /// drops, it goes on from there. Whether it is of that digest is for the caller to check: parts came from several
    /// answers.
    pub(crate) async fn download(
        &self,
        digest: &str,
        size: u64,
        mut sink: impl FnMut(&[u8], u64) -> io::Result<()>,
    ) -> Result<(), DownloadError> {
        let (mut have, mut pause, mut why) = (0, PAUSE, String::new());
        for _ in 0..TRIES {
            match self.download_on(digest, size, &mut have, &mut sink).await? {
                None => return Ok(()),
                Some(broken) => why = broken,
            }
            tracing::info!(digest, have, why, "a download goes on after a pause");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(DownloadError::Broken(why))
    }

    /// Says what broke off, where more is to come.
    async fn download_on(
        &self,
        digest: &str,
        size: u64,
        have: &mut u64,
        sink: &mut impl FnMut(&[u8], u64) -> io::Result<()>,
    ) -> Result<Option<String>, DownloadError> {
        let blob = OciDescriptor { digest: digest.to_owned(), size: size.cast_signed(), ..OciDescriptor::default() };
        let image = self.at(&self.image);
        let asking = || self.client.pull_blob_stream_partial(&image, &blob, *have, None);
        // A registry that gives no parts begins anew; what is there already is passed over.
        let (mut chunks, mut known) = match self.retry("asked for a blob", asking).await? {
            BlobResponse::Partial(sized) => (sized.stream, 0),
            BlobResponse::Full(sized) => (sized.stream, *have),
        };
        while let Some(chunk) = chunks.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let passed = known.min(chunk.len() as u64);
            known -= passed;
            let fresh = &chunk[passed as usize..];
            if *have + fresh.len() as u64 > size {
                return Err(DownloadError::Broken(format!("more than its {size} bytes came")));
            }
            *have += fresh.len() as u64;
            sink(fresh, *have).map_err(DownloadError::Sink)?;
        }
        Ok((*have < size).then(|| format!("only {have} of {size} bytes came")))
    }

    /// Whether the repository has the blob.
    pub(crate) async fn has_blob(&self, digest: &str) -> Result<bool, RegistryError> {
        let image = self.at(&self.image);
        self.retry("asked whether there is a blob", || self.client.blob_exists(&image, digest)).await
    }

    /// Has the registry take over a blob of another of its repositories; `false` where it does not.
    pub(crate) async fn mount(&self, digest: &str, from: &Reference) -> bool {
        self.of_both(from).await.mount_blob(&self.at(&self.image), from, digest).await.is_ok()
    }

    /// Uploads the file at `path`, whose digest is known; `sent` counts its bytes.
    pub(crate) async fn upload(
        &self,
        path: &Path,
        digest: &str,
        size: u64,
        sent: &Arc<AtomicU64>,
    ) -> Result<(), RegistryError> {
        let uploading = |client: &'_ Client| {
            let (client, sent, image) = (client.clone(), sent.clone(), self.at(&self.image));
            let (path, digest) = (path.to_owned(), digest.to_owned());
            async move {
                let file = tokio::fs::File::open(&path).await?;
                let own = Arc::new(AtomicU64::new(0));
                let stream = chunks(file, [sent.clone(), own.clone()]);
                let done = client.push_blob_stream(&image, stream, &digest, Some(size)).await;
                if done.is_err() {
                    // What came to nothing was not sent; others count beside it.
                    sent.fetch_sub(own.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                done
            }
        };
        // A small blob takes one request less in one piece.
        if size > CHUNK as u64 {
            let in_chunks = self.registries.client(&self.place, false, &self.auth).await;
            match self.retry("sent a blob", || uploading(&in_chunks)).await {
                Err(error) if error.refuses_chunks() => {}
                done => return done.map(drop),
            }
        }
        self.retry("sent a blob", || uploading(&self.client)).await.map(drop)
    }

    /// Writes a manifest under the tag or digest of `image`.
    pub(crate) async fn put_manifest(
        &self,
        image: &Reference,
        manifest: &Bytes,
        media_type: &'static str,
    ) -> Result<(), RegistryError> {
        let (image, media_type) = (self.at(image), http::HeaderValue::from_static(media_type));
        let putting = || self.client.push_manifest_raw(&image, manifest.clone(), media_type.clone());
        self.retry("wrote the manifest", putting).await.map(drop)
    }

    /// What refers to the image of that digest, as a list of descriptors.
    pub(crate) async fn referrers(&self, digest: &str) -> Result<Vec<serde_json::Value>, RegistryError> {
        let image = self.at(&self.image.clone_with_digest(digest.to_owned()));
        let index = self.retry("asked what refers to the image", || self.client.pull_referrers(&image, None)).await?;
        let entries = index.manifests.into_iter().map(|entry| serde_json::to_value(entry).unwrap_or_default());
        Ok(entries.collect())
    }

    /// Logs in for writing, so that what follows is asked with rights that suffice.
    pub(crate) async fn sign_in(&self) -> Result<(), RegistryError> {
        let image = self.at(&self.image);
        let signing = || self.client.auth(&image, &self.auth, RegistryOperation::Push);
        self.retry("logged in", signing).await.map(drop)
    }

    async fn retry<T, F>(&self, doing: &'static str, mut act: impl FnMut() -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, OciDistributionError>>,
    {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match act().await.map_err(|error| error::classify(error, &self.image, &self.place, doing)) {
                Err(error) if error.may_heal() => {
                    tracing::debug!(%error, "the registry is asked again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
        act().await.map_err(|error| error::classify(error, &self.image, &self.place, doing))
    }
}

/// Where systems keep the certificates that they trust.
pub(crate) const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// An error where no certificates can be read: the client panics then, also where it needs none. Reading them takes
/// longer than anything else of a short command, so that it is tried only where something is out of the ordinary.
fn check_certificates() -> Result<(), RegistryError> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if !named && BUNDLES.iter().any(|bundle| Path::new(bundle).is_file()) {
        return Ok(());
    }
    let tried = reqwest::Client::builder().build();
    tried.map(drop).map_err(|error| RegistryError::NoCertificates { why: error::innermost(&error) })
}

/// A file in chunks, each counted once it is on its way.
fn chunks(
    file: tokio::fs::File,
    counters: [Arc<AtomicU64>; 2],
) -> impl Stream<Item = Result<Bytes, OciDistributionError>> + Send + 'static {
    stream::try_unfold(file, |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        while chunk.len() < CHUNK && file.read_buf(&mut chunk).await? > 0 {}
        Ok((!chunk.is_empty()).then(|| (chunk.freeze(), file)))
    })
    .inspect(move |chunk: &Result<Bytes, OciDistributionError>| {
        if let Ok(chunk) = chunk {
            for counter in &counters {
                counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_read_as_docker_reads_them() {
        let whole = |text: &str| reference(text).unwrap().whole();
        assert_eq!(whole("python:3.11-slim"), "docker.io/library/python:3.11-slim");
        assert_eq!(whole("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert!(reference("Iris:1").unwrap_err().to_string().contains("`Iris:1`"));
        assert!(reference("").is_err());
    }
}
