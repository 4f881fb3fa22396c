//! An image in a folder, in the OCI's image layout, as skopeo, umoci and containerd read it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    ImageError,
    builder::BuiltImage,
    describe::{INDEX, MANIFEST, descriptor, referrer},
    store::Store,
};

use crate::progress::Report;

/// What a layout consists of.
pub(crate) struct Layout {
    digests: Vec<String>,
    index: Value,
}

impl Layout {
    /// The layout of an image, whose name in it is `tag`.
    pub(crate) fn of(image: &BuiltImage, tag: &str) -> Self {
        Self { digests: image.blobs(), index: index(image, tag) }
    }

    /// Writes it into `folder`, which must be new, empty or such a layout already.
    pub(crate) fn write(mut self, store: &Store, folder: &Path, report: &Report) -> Result<(), ImageError> {
        let marked = folder.join("oci-layout");
        let is_empty = fs::read_dir(folder).map_or(true, |mut items| items.next().is_none());
        if !is_empty && !marked.is_file() {
            return Err(ImageError::NotALayout { folder: folder.to_owned() });
        }
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(ImageError::storing(folder))?;
        for digest in std::mem::take(&mut self.digests) {
            let from = store.blob(&digest).ok_or_else(|| ImageError::Gone { digest: digest.clone() })?;
            let to = blobs.join(digest.trim_start_matches("sha256:"));
            report.still_wanted().map_err(|_| ImageError::Cancelled)?;
            if !to.exists() {
                replace(&to, |part| fs::copy(&from, part).map(drop)).map_err(ImageError::storing(folder))?;
            }
        }
        self.keep_others(&folder.join("index.json"))?;
        let text = |value: Value| move |part: &Path| fs::write(part, value.to_string());
        replace(&marked, text(json!({"imageLayoutVersion": "1.0.0"}))).map_err(ImageError::storing(folder))?;
        replace(&folder.join("index.json"), text(self.index)).map_err(ImageError::storing(folder))
    }
}

impl Layout {
    /// Takes over the other images of a layout that is there.
    fn keep_others(&mut self, index: &Path) -> Result<(), ImageError> {
        let text = match fs::read(index) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text.map_err(|why| ImageError::Unreadable { path: index.to_owned(), why })?,
        };
        let unreadable = |why| ImageError::Unreadable { path: index.to_owned(), why };
        let before: Value = serde_json::from_slice(&text).map_err(|error| unreadable(error.into()))?;
        let Some(ours) = self.index["manifests"].as_array_mut() else { return Ok(()) };
        let name = |entry: &Value| entry["annotations"][NAME].as_str().map(str::to_owned);
        let (named, known) = (name(&ours[0]), ours.clone());
        let others = before["manifests"].as_array().cloned().unwrap_or_default().into_iter();
        let stays = |entry: &Value| {
            let is_ours = known.iter().any(|known| known["digest"] == entry["digest"] && name(known) == name(entry));
            !is_ours && (name(entry).is_none() || name(entry) != named)
        };
        ours.extend(others.filter(stays));
        Ok(())
    }
}

/// Under what an image's name in a layout stands.
const NAME: &str = "org.opencontainers.image.ref.name";

fn index(image: &BuiltImage, tag: &str) -> Value {
    let mut main = match &image.index {
        Some(index) => descriptor(INDEX, index),
        None => {
            let only = &image.platforms[0];
            let mut entry = descriptor(MANIFEST, &only.manifest);
            entry["platform"] = only.platform.described();
            entry
        }
    };
    main["annotations"] = json!({NAME: tag});
    let bills = image.platforms.iter().filter_map(|one| one.sbom.as_ref()).map(|sbom| referrer(&sbom.manifest));
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": std::iter::once(main).chain(bills).collect::<Vec<_>>()})
}

/// Writes a file under another name first, so that it is there whole or not at all.
fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut part: PathBuf = path.to_owned();
    part.set_extension("part");
    write(&part)?;
    fs::rename(part, path)
}
