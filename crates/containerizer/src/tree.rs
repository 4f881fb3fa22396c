//! The files of a model: what of a folder is taken, in an order that does not depend on the disk.

use std::{
    fs::{self, Metadata},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    FetchError,
    excluded::{Excluded, Fate},
};

/// One file of a model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name within the model, parts separated by `/`.
    pub(crate) name: String,
    /// Where it is read from.
    pub(crate) path: PathBuf,
    /// Whether its owner may run it.
    pub(crate) executable: bool,
    /// How long it is.
    pub(crate) bytes: u64,
}

/// The files of a folder.
pub(crate) struct Walk<'a> {
    /// The folder, canonical.
    root: &'a Path,
    /// KEA's own folder, canonical, which is skipped where the model's folder holds it.
    own: &'a Path,
    excluded: Excluded,
    limit: usize,
    seen: usize,
    tree: Tree,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The model's files by name.
    pub(crate) entries: Vec<Entry>,
    /// Names of what looks like a secret and was therefore left out.
    pub(crate) secrets: Vec<String>,
}

impl<'a> Walk<'a> {
    /// The files below `root` by name; both paths are canonical. Links are followed as long as they stay within it.
    pub(crate) fn tree(root: &'a Path, own: &'a Path, limit: usize) -> Result<Tree, FetchError> {
        let mut walk = Walk { root, own, excluded: Excluded::of(root)?, limit, seen: 0, tree: Tree::default() };
        walk.folder("", root, &mut vec![root.to_owned()])?;
        if walk.tree.entries.is_empty() {
            return Err(FetchError::Empty { path: root.to_owned() });
        }
        walk.tree.entries.sort_by(|a, b| a.name.cmp(&b.name));
        walk.tree.secrets.sort();
        Ok(walk.tree)
    }

    /// Takes what is in the folder `path`, reached through the folders `above` (canonical, it included).
    fn folder(&mut self, prefix: &str, path: &Path, above: &mut Vec<PathBuf>) -> Result<(), FetchError> {
        for item in fs::read_dir(path).map_err(FetchError::reading(path))? {
            let path = item.map_err(FetchError::reading(path))?.path();
            self.count()?;
            let name = format!("{prefix}{}", name_of(&path)?);
            if !self.is_taken(&name, &path) {
                continue;
            }
            let (target, metadata) = self.resolve(&path)?;
            if target != path && !self.leads_to_what_is_taken(&name, &target) {
                continue;
            }
            if metadata.is_file() {
                self.tree.entries.push(entry(name, target, &metadata));
            } else if !metadata.is_dir() {
                return Err(FetchError::Special { path });
            } else if target != self.own {
                self.enter(&format!("{name}/"), &path, target, above)?;
            }
        }
        Ok(())
    }

    /// Whether the file or folder at `path` belongs to the model. A link counts as what it leads to, and one that stays
    /// behind may lead anywhere.
    fn is_taken(&mut self, name: &str, path: &Path) -> bool {
        match self.excluded.fate(name, path, path.is_dir()) {
            Fate::Taken => return true,
            Fate::LeftAsSecret => self.tree.secrets.push(name.to_owned()),
            Fate::Left => {}
        }
        false
    }

    /// Whether the link `name` leads to something that belongs to the model by itself: a link takes nothing back.
    fn leads_to_what_is_taken(&mut self, name: &str, target: &Path) -> bool {
        let Ok(below) = target.strip_prefix(self.root) else { return false };
        let parts: Vec<&Path> = below.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
        let mut fates = parts.iter().map(|part| {
            let path = self.root.join(part);
            self.excluded.fate(&part.to_string_lossy(), &path, path.is_dir())
        });
        match fates.find(|fate| *fate != Fate::Taken) {
            None => true,
            Some(Fate::LeftAsSecret) => {
                self.tree.secrets.push(name.to_owned());
                false
            }
            Some(_) => false,
        }
    }

    fn enter(
        &mut self,
        prefix: &str,
        link: &Path,
        target: PathBuf,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), FetchError> {
        if above.contains(&target) {
            return Err(FetchError::Loop { link: link.to_owned() });
        }
        let folder = target.clone();
        above.push(target);
        self.folder(prefix, &folder, above)?;
        above.pop();
        Ok(())
    }

    /// What `path` is, after links.
    fn resolve(&self, path: &Path) -> Result<(PathBuf, Metadata), FetchError> {
        let metadata = fs::symlink_metadata(path).map_err(FetchError::reading(path))?;
        if !metadata.is_symlink() {
            return Ok((path.to_owned(), metadata));
        }
        let target = fs::canonicalize(path).map_err(|_| FetchError::Dangling { link: path.to_owned() })?;
        if !target.starts_with(self.root) {
            return Err(FetchError::Escape { link: path.to_owned(), target });
        }
        let metadata = fs::metadata(&target).map_err(FetchError::reading(&target))?;
        Ok((target, metadata))
    }

    fn count(&mut self) -> Result<(), FetchError> {
        self.seen += 1;
        if self.seen > self.limit { Err(FetchError::TooManyFiles { limit: self.limit }) } else { Ok(()) }
    }
}

/// The only file of a model that is one file.
pub(crate) fn single(path: &Path, metadata: &Metadata) -> Result<Entry, FetchError> {
    Ok(entry(name_of(path)?.to_owned(), path.to_owned(), metadata))
}

fn entry(name: String, path: PathBuf, metadata: &Metadata) -> Entry {
    Entry { name, path, executable: metadata.permissions().mode() & 0o100 != 0, bytes: metadata.len() }
}

fn name_of(path: &Path) -> Result<&str, FetchError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| FetchError::Name { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[&str]) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            for file in files {
                let path = folder.0.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file).unwrap();
            }
            folder
        }

        fn path(&self) -> PathBuf {
            self.0.path().canonicalize().unwrap()
        }

        fn names(&self) -> Result<Vec<String>, FetchError> {
            let tree = self.tree()?;
            Ok(tree.entries.into_iter().map(|entry| entry.name).collect())
        }

        fn tree(&self) -> Result<Tree, FetchError> {
            Walk::tree(&self.path(), &self.path().join("kea-data"), 10)
        }
    }

    #[test]
    fn caches_environments_and_keas_own_data_are_left_out() {
        let folder =
            Folder::new(&["model.py", "data/a.txt", ".git/HEAD", "data/__pycache__/a.pyc", "venv/x", "kea-data/db"]);
        assert_eq!(folder.names().unwrap(), ["data/a.txt", "model.py"]);
    }

    #[test]
    fn secrets_are_left_out_by_name_and_taken_back_by_the_models_own_file() {
        let folder = Folder::new(&["model.py", ".env", "tls/own.key", "tls/ca.pem", "raw/a.csv"]);
        fs::write(folder.path().join(".keaignore"), "!ca.pem\nraw/\n").unwrap();
        let tree = folder.tree().unwrap();
        let names: Vec<_> = tree.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["model.py", "tls/ca.pem"]);
        assert_eq!(tree.secrets, [".env", "tls/own.key"]);
    }

    #[test]
    fn a_link_that_stays_behind_may_lead_anywhere() {
        let folder = Folder::new(&["model.py"]);
        symlink("/etc/ssl/private", folder.path().join("venv")).unwrap();
        symlink("/etc/passwd", folder.path().join(".env")).unwrap();
        fs::write(folder.path().join(".keaignore"), "venv\n").unwrap();
        assert_eq!(folder.names().unwrap(), ["model.py"]);
    }

    #[test]
    fn a_link_within_the_folder_is_followed() {
        let folder = Folder::new(&["blobs/a", "model.py"]);
        symlink("blobs/a", folder.path().join("weights")).unwrap();
        symlink("blobs", folder.path().join("again")).unwrap();
        assert_eq!(folder.names().unwrap(), ["again/a", "blobs/a", "model.py", "weights"]);
    }

    #[test]
    fn a_link_takes_nothing_back_that_is_left_out() {
        let folder = Folder::new(&["model.py", ".git/config", ".env", "deploy/.ssh/key.txt"]);
        for (target, link) in
            [(".git", "history"), (".env", "settings"), ("deploy/.ssh", "access"), (".git/config", "c")]
        {
            symlink(target, folder.path().join(link)).unwrap();
        }
        let tree = folder.tree().unwrap();
        let names: Vec<_> = tree.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["model.py"]);
        assert_eq!(tree.secrets, [".env", "access", "deploy/.ssh", "settings"]);
    }

    #[test]
    fn a_link_out_of_the_folder_is_refused() {
        let folder = Folder::new(&["model.py"]);
        symlink("/etc/passwd", folder.path().join("weights")).unwrap();
        assert!(matches!(folder.names(), Err(FetchError::Escape { .. })));
    }

    #[test]
    fn links_to_nowhere_and_in_circles_are_refused() {
        let folder = Folder::new(&["model.py"]);
        symlink("absent", folder.path().join("weights")).unwrap();
        assert!(matches!(folder.names(), Err(FetchError::Dangling { .. })));
        let folder = Folder::new(&["in/model.py"]);
        symlink("..", folder.path().join("in/up")).unwrap();
        assert!(matches!(folder.names(), Err(FetchError::Loop { .. })));
    }

    #[test]
    fn a_socket_is_no_part_of_a_model() {
        let folder = Folder::new(&["model.py"]);
        let _listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(matches!(folder.names(), Err(FetchError::Special { .. })));
    }

    #[test]
    fn too_many_files_and_none_are_refused() {
        let names: Vec<String> = (0..11).map(|n| format!("{n}.txt")).collect();
        let folder = Folder::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(folder.names(), Err(FetchError::TooManyFiles { limit: 10 })));
        assert!(matches!(Folder::new(&[".git/HEAD"]).names(), Err(FetchError::Empty { .. })));
    }
}
