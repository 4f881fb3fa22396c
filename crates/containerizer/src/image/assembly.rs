//! What images of models and KEA's own have in common: the layer of KEA's program, layers that are made once, and how a
//! base and layers become an image.

use std::{fs::File, io::Read, os::unix::fs::MetadataExt, path::Path};

use serde_json::Value;

use super::{
    FACTS, ImageBuilder, ImageError, LAYERS, Platform,
    base::{Base, BaseLayer},
    builder::{AttachedSbom, ImageLayer, PlatformImage},
    describe::{self, EMPTY_CONFIG, LAYER},
    glibc::Glibc,
    layer::{self, Content, Effort, Files, Layer},
    recipe::{self, PROGRAM, Recipe},
    store::{self, Blob},
};
use crate::{IMAGE, Progress, progress::blocking};

impl ImageBuilder {
    /// Puts an image together of a base and layers of our own, each with the part of the image that it is, and attaches
    /// its bill of materials.
    pub(super) fn assemble(
        &self,
        platform: Platform,
        base: &Base,
        own: &[(usize, Layer)],
        recipe: &Recipe,
        bill: &Value,
    ) -> Result<PlatformImage, ImageError> {
        let diff_ids: Vec<_> = own.iter().map(|(part, layer)| (*part, layer.diff_id.clone())).collect();
        let config = self.put(&recipe::config(recipe, base, platform, &diff_ids))?;
        let layers = layers(base, own);
        let described = layers.iter().map(|layer| {
            let blob = Blob { digest: layer.digest.clone(), bytes: layer.bytes };
            describe::descriptor(&layer.media_type, &blob)
        });
        let manifest = self.put(&describe::manifest(&config, &described.collect::<Vec<_>>(), &recipe.labels))?;
        let sbom = self.attached(bill, &manifest)?;
        let base = Some(base.image.clone_with_digest(base.digest.clone()));
        Ok(PlatformImage { platform, manifest, config, layers, base, sbom: Some(sbom) })
    }

    /// A bill of materials that is attached to the image `subject`.
    fn attached(&self, bill: &Value, subject: &Blob) -> Result<AttachedSbom, ImageError> {
        let document = self.put(bill)?;
        let empty = self.store.put(EMPTY_CONFIG)?;
        let manifest = self.put(&describe::sbom_manifest(&document, &empty, subject))?;
        Ok(AttachedSbom { document, empty, manifest })
    }

    /// The layer of KEA's own program, which must run upon `base`.
    pub(super) async fn server(
        &self,
        platform: Platform,
        base: &Base,
        progress: &dyn Progress,
    ) -> Result<Layer, ImageError> {
        let program = self.settings.programs.get(&platform).cloned();
        let program = program.ok_or(ImageError::NoProgram { platform, host: Platform::HOST })?;
        let key = {
            let unreadable = |why| ImageError::Unreadable { path: program.clone(), why };
            check_program(&program, platform)?;
            // Hashing a program takes longer than all else of a build where nothing changed; its place and time tell too.
            let file = program.metadata().map_err(unreadable)?;
            let facts = [file.ino(), file.len(), file.mtime().cast_unsigned(), file.mtime_nsec().cast_unsigned()];
            let facts = facts.map(|number| number.to_string());
            let place = program.display().to_string();
            let parts = [layer::FORMAT, "server", &place].into_iter().chain(facts.iter().map(String::as_str));
            store::key(parts)
        };
        self.check_glibc(&program, &key, base, progress).await?;
        let mut files = Files::default();
        files.put(PROGRAM, true, Content::File(program));
        self.layer(key, Effort::Small, files, progress).await
    }

    /// Whether the base's library is new enough for KEA's own program; `key` stands for the program.
    async fn check_glibc(
        &self,
        program: &Path,
        key: &str,
        base: &Base,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let store = &self.store;
        let needed = match store.note::<Option<Glibc>>(FACTS, key) {
            Some(needed) => needed,
            None => {
                let path = program.to_owned();
                let needed = blocking(progress, IMAGE, move |_| {
                    let needed = File::open(&path).and_then(Glibc::needed_by);
                    needed.map_err(|why| ImageError::Unreadable { path, why })
                });
                let needed = needed.await?;
                store.set_note(FACTS, key, &needed)?;
                needed
            }
        };
        old_glibc(base, needed, "KEA's own program, as it was built on this machine,")
    }

    /// A layer of files that `key` stands for, written where it is not there yet.
    pub(super) async fn layer(
        &self,
        key: String,
        effort: Effort,
        files: Files,
        progress: &dyn Progress,
    ) -> Result<Layer, ImageError> {
        let (store, limit) = (self.store.clone(), self.settings.layer);
        let kept = || store.note::<Layer>(LAYERS, &key).filter(|layer| store.blob(&layer.digest).is_some());
        if let Some(layer) = kept() {
            return Ok(layer);
        }
        let _held = store.hold(&key).await?;
        if let Some(layer) = kept() {
            return Ok(layer);
        }
        tracing::debug!(files = files.len(), "writing a layer");
        blocking(progress, IMAGE, move |report| {
            let layer = layer::write(&store, &files, effort, limit, report)?;
            store.set_note(LAYERS, &key, &layer)?;
            Ok(layer)
        })
        .await
    }
}

fn layers(base: &Base, own: &[(usize, Layer)]) -> Vec<ImageLayer> {
    let of_base = base.layers.iter().map(|BaseLayer { media_type, digest, bytes }| ImageLayer {
        part: 0,
        digest: digest.clone(),
        bytes: *bytes,
        media_type: media_type.clone(),
    });
    let ours = own.iter().map(|(part, layer)| ImageLayer {
        part: *part,
        digest: layer.digest.clone(),
        bytes: layer.bytes,
        media_type: LAYER.to_owned(),
    });
    of_base.chain(ours).collect()
}

/// Refuses a base whose library is older than what `whose` needs; one that does not tell its version is taken.
pub(super) fn old_glibc(base: &Base, needed: Option<Glibc>, whose: &'static str) -> Result<(), ImageError> {
    match (base.facts.glibc_version, needed) {
        (Some(found), Some(needed)) if found < needed => Err(ImageError::OldGlibc {
            image: base.image.whole(),
            found: found.to_string(),
            needed: needed.to_string(),
            whose,
        }),
        _ => Ok(()),
    }
}

/// Checks that a file is a program for the platform, so that a mistake does not show only in the cluster.
fn check_program(path: &Path, platform: Platform) -> Result<(), ImageError> {
    let mut head = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.map_err(|why| ImageError::Unreadable { path: path.to_owned(), why })?;
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if head.starts_with(b"\x7fELF") && machine == platform.elf_machine() {
        return Ok(());
    }
    Err(ImageError::WrongProgram { path: path.to_owned(), platform })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_another_machine_is_refused() {
        let own = std::env::current_exe().unwrap();
        let other = if Platform::HOST == Platform::Amd64 { Platform::Arm64 } else { Platform::Amd64 };
        assert!(check_program(&own, Platform::HOST).is_ok());
        assert!(matches!(check_program(&own, other), Err(ImageError::WrongProgram { .. })));
        assert!(check_program(Path::new("/etc/passwd"), Platform::HOST).is_err());
    }
}
