//! What was fetched of which source, so that a source that has not changed is not fetched again. A file for each source,
//! named by the hash of how it was written, since that may hold a secret. A file that is lost or broken costs a fetch.

use std::{fs, io::Write, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::FetchError;

/// The folder of these files.
#[derive(Clone, Debug)]
pub(crate) struct Downloads {
    folder: PathBuf,
}

/// What a source was when it was fetched.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Known {
    /// What is different as soon as the source is.
    pub(crate) mark: String,
    /// The model's name on the shelf.
    pub(crate) model: String,
    /// Its file, where the model is one.
    pub(crate) file: Option<String>,
    /// Sentences for the user.
    pub(crate) notes: Vec<String>,
}

impl Downloads {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is known of `source`.
    pub(crate) fn get(&self, source: &str) -> Option<Known> {
        let known: Known = serde_json::from_slice(&fs::read(self.path(source)).ok()?).ok()?;
        let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\0']) && name != "..";
        let valid = plain(&known.model) && known.file.as_deref().is_none_or(plain);
        valid.then_some(known)
    }

    pub(crate) fn put(&self, source: &str, known: &Known) -> Result<(), FetchError> {
        let write = || {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(&serde_json::to_vec(known)?)?;
            file.persist(self.path(source))?;
            Ok(())
        };
        write().map_err(FetchError::storing(&self.folder))
    }

    fn path(&self, source: &str) -> PathBuf {
        self.folder.join(format!("{}.json", hex::encode(Sha256::digest(source))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_is_broken_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path().join("downloads"));
        let mut known =
            Known { mark: "\"1\"".to_owned(), model: "abc".to_owned(), file: None, notes: vec!["commit".to_owned()] };
        assert_eq!(downloads.get("https://me:secret@host/m"), None);
        downloads.put("https://me:secret@host/m", &known).unwrap();
        assert_eq!(downloads.get("https://me:secret@host/m"), Some(known.clone()));
        assert_eq!(downloads.get("https://host/m"), None);
        known.file = Some("../../secrets.db".to_owned());
        downloads.put("https://me:secret@host/m", &known).unwrap();
        assert_eq!(downloads.get("https://me:secret@host/m"), None);
        fs::write(downloads.path("https://host/n"), "{").unwrap();
        assert_eq!(downloads.get("https://host/n"), None);
    }
}
