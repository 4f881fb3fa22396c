//! Images of versions: made of what was prepared, and sent to the registry that is configured.

use std::sync::Arc;

use kea_containerizer::{BuildError, BuildRequest, ImageBuilder, ImageSettings, PrepareError, Progress, Workspace};
use kea_core::{
    ServiceId, VersionId,
    service::{ModelSpec, PreparedModel},
};

/// How much of its digest is in an image's tag: enough that no two images of a version have the same.
const DIGEST_SHOWN: usize = 12;

/// Makes images and sends them.
pub(crate) struct Images {
    builder: ImageBuilder,
    /// Registry, and the folder in it, that images are sent to.
    registry: String,
}

impl Images {
    pub(crate) fn new(workspace: Arc<Workspace>, settings: ImageSettings, registry: &str) -> Self {
        let registry = registry.trim_end_matches('/').to_owned();
        Self { builder: ImageBuilder::new(workspace, settings), registry }
    }

    /// Makes the image of a version and sends it. Returns its name by digest.
    pub(crate) async fn publish(
        &self,
        service: &ServiceId,
        version: &VersionId,
        spec: &ModelSpec,
        prepared: &PreparedModel,
        progress: &dyn Progress,
    ) -> Result<String, BuildError> {
        let request = BuildRequest::of(service.clone());
        let image = self.builder.build_prepared(spec, prepared, &request, progress).await?;
        let digest = image.digest.trim_start_matches("sha256:");
        // A version's number can be used again once its service was deleted: with the digest a tag never changes.
        let name = format!("{}/{service}:{version}-{}", self.registry, &digest[..DIGEST_SHOWN.min(digest.len())]);
        Ok(self.builder.push(&image, &name, progress).await?.reference)
    }
}

/// Why a version could not be made ready to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Image(#[from] BuildError),
    #[error(
        "it took longer than two hours and was given up: deploy it again, and see what took so long in its build log"
    )]
    TooLong,
}

impl Failure {
    /// The step that failed.
    pub(crate) fn step(&self) -> &'static str {
        match self {
            Self::Prepare(error) => error.step(),
            Self::Image(error) => error.step(),
            Self::TooLong => "prepare the version",
        }
    }

    /// The last lines of the tool that failed.
    pub(crate) fn tail(&self) -> &[String] {
        match self {
            Self::Prepare(error) => error.tail(),
            Self::Image(error) => error.tail(),
            Self::TooLong => &[],
        }
    }
}
