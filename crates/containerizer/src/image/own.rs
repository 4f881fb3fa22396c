//! KEA's own image: its program, and the certificates that it needs to speak to others.

use std::{fs, path::Path};

use kea_core::management::StepState;

use super::{
    BuildError, ImageBuilder, ImageError, Platform,
    base::{self, Base},
    builder::PlatformImage,
    layer::{self, Content, Effort, Files, Layer},
    recipe::{self, OWN},
    sbom::sbom,
    store,
};
use crate::{BASE, IMAGE, Progress, registry::BUNDLES};

/// Where the certificates are in the image: the first place in which the client looks for them.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// The making of KEA's own image for one platform.
pub(super) struct OwnBuild<'a> {
    pub(super) builder: &'a ImageBuilder,
    /// The base, in place of the usual one.
    pub(super) base: Option<&'a str>,
    pub(super) platform: Platform,
}

impl OwnBuild<'_> {
    pub(super) async fn run(&self, progress: &dyn Progress) -> Result<(PlatformImage, Vec<String>), BuildError> {
        let base = self.base(progress).await.map_err(BuildError::Base)?;
        progress.step(IMAGE, StepState::Running, "");
        self.image(&base, progress).await.map_err(BuildError::Image)
    }

    async fn base(&self, progress: &dyn Progress) -> Result<Base, ImageError> {
        progress.step(BASE, StepState::Running, "");
        let ImageBuilder { settings, registries, store, .. } = self.builder;
        let name = self.base.unwrap_or(&settings.base_onnx);
        let base = base::resolve(name, self.platform, registries, store, progress).await?;
        if !base.facts.glibc {
            return Err(ImageError::Lacks { image: base.image.whole(), what: "GNU C library", whose: "KEA" });
        }
        progress.step(BASE, StepState::Done, &format!("{} for {}", base.image.whole(), self.platform));
        Ok(base)
    }

    async fn image(&self, base: &Base, progress: &dyn Progress) -> Result<(PlatformImage, Vec<String>), ImageError> {
        let mut reasons = vec![format!("the base is {} ({})", base.image.whole(), base.digest)];
        let mut own = Vec::new();
        // A base may trust authorities of its owner's, which this machine knows nothing of.
        if base.facts.certificates {
            reasons.push("certificates of authorities are those of the base".to_owned());
        } else {
            let bundle = BUNDLES.iter().map(Path::new).find(|bundle| bundle.is_file());
            let bundle = bundle.ok_or(ImageError::NoCertificates)?;
            reasons.push(format!("certificates of authorities are those of `{}`", bundle.display()));
            own.push((5, self.certificates(bundle, progress).await?));
        }
        own.push((2, self.builder.server(self.platform, base, progress).await?));
        let bill = sbom(OWN, None, base, None, true);
        let image = self.builder.assemble(self.platform, base, &own, &recipe::of_kea(base), &bill)?;
        Ok((image, reasons))
    }

    async fn certificates(&self, bundle: &Path, progress: &dyn Progress) -> Result<Layer, ImageError> {
        let unreadable = |why| ImageError::Unreadable { path: bundle.to_owned(), why };
        let content = fs::read(bundle).map_err(unreadable)?;
        let digest = hex::encode(store::digest_of(bundle).map_err(unreadable)?);
        let key = store::key([layer::FORMAT, "certificates", &digest]);
        let mut files = Files::default();
        files.put(BUNDLE, false, Content::Bytes(content));
        self.builder.layer(key, Effort::Small, files, progress).await
    }
}
