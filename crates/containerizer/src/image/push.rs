//! Sends images to registries: only what is not there yet, and the tag last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future, stream};
use kea_core::management::StepState;
use oci_client::Reference;
use serde_json::{Value, json};

use super::{
    ImageError,
    base::{self, BaseLayer},
    builder::{AttachedSbom, BuiltImage, ImageLayer, PlatformImage},
    describe::{INDEX, MANIFEST, referrer},
    store::Store,
};
use crate::{
    PUSH, Progress, RegistryError,
    registry::{self, Registries, Repository},
    shelf::size,
};

/// Blobs on their way at once.
const AT_ONCE: usize = 4;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its name by digest, which always means the same: `REGISTRY/NAME@sha256:…`.
    pub reference: String,
    /// Its digest.
    pub digest: String,
    /// Bytes that were sent.
    pub sent: u64,
}

pub(super) async fn push(
    image: &BuiltImage,
    name: &str,
    registries: &Registries,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Pushed, ImageError> {
    let target = registry::reference(name)?;
    progress.step(PUSH, StepState::Running, &format!("to {}", target.whole()));
    let repository = registries.open(&target).await?;
    repository.sign_in().await?;
    let sent = Arc::new(AtomicU64::new(0));
    let sending = Sending { repository: &repository, store, registries, sent: sent.clone() };
    let all = sending.all(image, &target, progress);
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    tokio::pin!(all);
    loop {
        tokio::select! {
            done = &mut all => break done?,
            _ = ticks.tick() => {
                progress.step(PUSH, StepState::Running, &format!("{} sent", size(sent.load(Ordering::Relaxed))));
            }
        }
    }
    let by_digest = format!("{}/{}@{}", target.registry(), target.repository(), image.digest);
    let sent = sent.load(Ordering::Relaxed);
    progress.step(PUSH, StepState::Done, &format!("{by_digest}, {} sent", size(sent)));
    Ok(Pushed { reference: by_digest, digest: image.digest.clone(), sent })
}

/// Brings layers of the base that are not in the store there.
pub(super) async fn complete(
    image: &PlatformImage,
    registries: &Registries,
    store: &Store,
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    for layer in image.layers.iter().filter(|layer| store.blob(&layer.digest).is_none()) {
        fetch(image, layer, registries, store, progress).await?;
    }
    Ok(())
}

async fn fetch(
    image: &PlatformImage,
    layer: &ImageLayer,
    registries: &Registries,
    store: &Store,
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    let base = image.base.as_ref().filter(|_| layer.part == 0);
    let base = base.ok_or_else(|| ImageError::Gone { digest: layer.digest.clone() })?;
    let ImageLayer { digest, bytes, media_type, .. } = layer.clone();
    let repository = registries.open(base).await?;
    base::fetch(&repository, &BaseLayer { media_type, digest, bytes }, store, PUSH, progress).await
}

struct Sending<'a> {
    repository: &'a Repository,
    store: &'a Store,
    registries: &'a Registries,
    sent: Arc<AtomicU64>,
}

impl Sending<'_> {
    /// Sends everything, and the name last. What is there already is left as it is.
    async fn all(&self, image: &BuiltImage, target: &Reference, progress: &dyn Progress) -> Result<(), ImageError> {
        let in_index = image.index.is_some();
        // Boxed and collected: the compiler cannot tell yet that a stream of borrowing futures may go to another thread.
        let platforms: Vec<_> =
            image.platforms.iter().map(|one| self.platform(one, in_index, progress).boxed()).collect();
        let named = async { Ok(self.repository.digest(target).await?) };
        let (named, _) = future::try_join(named, future::try_join_all(platforms)).await?;
        self.name(image, target, named.as_deref()).await
    }

    /// Sends what belongs to one platform. An image that stands in an index is known by its digest alone.
    async fn platform(&self, image: &PlatformImage, in_index: bool, progress: &dyn Progress) -> Result<(), ImageError> {
        let config = self.blob(&image.config.digest, image.config.bytes).boxed();
        let layers = image.layers.iter().map(|layer| self.layer(image, layer, progress).boxed());
        let blobs: Vec<_> = layers.chain([config]).collect();
        let blobs = stream::iter(blobs).buffer_unordered(AT_ONCE).try_collect::<()>();
        let (blobs, attached) = future::join(blobs, self.attach(image)).await;
        blobs?;
        if let Err(error) = attached {
            // A registry that takes no attachments is no reason to withhold the image itself.
            tracing::warn!(%error, "the bill of materials could not be attached");
            progress.step(PUSH, StepState::Running, &format!("the bill of materials is not attached: {error}"));
        }
        if in_index { self.manifest(&image.manifest.digest, MANIFEST).await } else { Ok(()) }
    }

    async fn layer(
        &self,
        image: &PlatformImage,
        layer: &ImageLayer,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        if self.repository.has_blob(&layer.digest).await? {
            return Ok(());
        }
        let base = image.base.as_ref().filter(|base| layer.part == 0 && self.repository.is_beside(base));
        if let Some(base) = base
            && self.repository.mount(&layer.digest, base).await
        {
            return Ok(());
        }
        if self.store.blob(&layer.digest).is_none() {
            fetch(image, layer, self.registries, self.store, progress).await?;
        }
        self.send(&layer.digest, layer.bytes).await
    }

    async fn blob(&self, digest: &str, bytes: u64) -> Result<(), ImageError> {
        if self.repository.has_blob(digest).await? { Ok(()) } else { self.send(digest, bytes).await }
    }

    async fn send(&self, digest: &str, bytes: u64) -> Result<(), ImageError> {
        let path = self.store.blob(digest).ok_or_else(|| ImageError::Gone { digest: digest.to_owned() })?;
        Ok(self.repository.upload(&path, digest, bytes, &self.sent).await?)
    }

    async fn manifest(&self, digest: &str, media_type: &'static str) -> Result<(), ImageError> {
        let place = self.repository.image().clone_with_digest(digest.to_owned());
        if self.repository.digest(&place).await?.is_some() {
            return Ok(());
        }
        Ok(self.repository.put_manifest(&place, &self.document(digest)?, media_type).await?)
    }

    fn document(&self, digest: &str) -> Result<Bytes, ImageError> {
        let path = self.store.blob(digest).ok_or_else(|| ImageError::Gone { digest: digest.to_owned() })?;
        let text = std::fs::read(&path).map_err(|why| ImageError::Unreadable { path, why })?;
        Ok(Bytes::from(text))
    }

    /// Attaches the bill of materials. Registries that do not list by themselves what refers to an image have a list
    /// under a tag that is made of the image's digest.
    async fn attach(&self, image: &PlatformImage) -> Result<(), ImageError> {
        let Some(AttachedSbom { document, empty, manifest }) = &image.sbom else { return Ok(()) };
        let blobs =
            future::try_join(self.blob(&document.digest, document.bytes), self.blob(&empty.digest, empty.bytes));
        blobs.await?;
        self.manifest(&manifest.digest, MANIFEST).await?;
        let listed = self.repository.referrers(&image.manifest.digest).await?;
        if listed.iter().any(|entry| entry["digest"] == *manifest.digest) {
            return Ok(());
        }
        let entries: Vec<Value> = listed.into_iter().chain([referrer(manifest)]).collect();
        let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        let at = self.repository.image();
        let tag = image.manifest.digest.replace(':', "-");
        let tag = Reference::with_tag(at.registry().to_owned(), at.repository().to_owned(), tag);
        Ok(self.repository.put_manifest(&tag, &Bytes::from(list), INDEX).await?)
    }

    /// Gives the image its name, unless it has it already; `before` is what had it.
    async fn name(&self, image: &BuiltImage, target: &Reference, before: Option<&str>) -> Result<(), ImageError> {
        if before == Some(image.digest.as_str()) {
            return Ok(());
        }
        let media_type = if image.index.is_some() { INDEX } else { MANIFEST };
        let document = self.document(&image.digest)?;
        match self.repository.put_manifest(target, &document, media_type).await {
            // Registries have no common way to say that a tag may not be changed, but none of them says it of a new one.
            Err(RegistryError::Answer { registry, status: 400 | 405 | 409 | 412 | 423, why, .. })
                if before.is_some() =>
            {
                Err(RegistryError::Immutable { image: target.whole(), registry, why }.into())
            }
            // All else was written with the same login.
            Err(RegistryError::Refused { registry, .. }) if before.is_some() => {
                let why = "it is not allowed".to_owned();
                Err(RegistryError::Immutable { image: target.whole(), registry, why }.into())
            }
            done => Ok(done?),
        }
    }
}
