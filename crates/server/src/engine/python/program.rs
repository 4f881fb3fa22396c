//! The worker program, which KEA carries in its own binary: it needs only Python's standard library, numpy and the
//! model's framework.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// The package that the program's start imports, as the folder it lies in is called.
const PACKAGE: &str = "kea_worker";

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        [$(($path, include_str!(concat!("../../../python/", $path)))),+]
    };
}

/// Path below the program's folder, and text.
const FILES: [(&str, &str); 24] = files![
    "__main__.py",
    "kea_worker/__init__.py",
    "kea_worker/boosters.py",
    "kea_worker/channel.py",
    "kea_worker/columns.py",
    "kea_worker/contract.py",
    "kea_worker/conventions.py",
    "kea_worker/custom.py",
    "kea_worker/errors.py",
    "kea_worker/estimators.py",
    "kea_worker/features.py",
    "kea_worker/files.py",
    "kea_worker/loaders.py",
    "kea_worker/nested.py",
    "kea_worker/networks.py",
    "kea_worker/optional.py",
    "kea_worker/parameters.py",
    "kea_worker/process.py",
    "kea_worker/pytorch.py",
    "kea_worker/results.py",
    "kea_worker/scores.py",
    "kea_worker/shortcuts.py",
    "kea_worker/tensorflow_keras.py",
    "kea_worker/tensors.py",
];

/// Files in memory: every container has this place, also one whose root is read-only.
const MEMORY: &str = "/dev/shm";

/// The worker program as a folder that Python runs, removed when the server ends.
#[derive(Debug)]
pub(crate) struct Program {
    folder: PathBuf,
}

impl Program {
    /// Writes the program into a folder of its own within that for temporary files, or in memory where that is read-only
    /// as the whole of a container can be.
    ///
    /// # Errors
    /// The folder or a file of it cannot be written.
    pub(crate) fn write() -> Result<Self, String> {
        let name = format!("kea-worker-{}", std::process::id());
        let written = Self::write_to(&env::temp_dir().join(&name));
        written.or_else(|error| Self::write_to(&Path::new(MEMORY).join(name)).map_err(|_| error))
    }

    /// What Python is given to run.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn write_to(folder: &Path) -> Result<Self, String> {
        // What has that name was left by an earlier process of the same number, or is a trap: it is never written into.
        remove(folder);
        let failed =
            |error: io::Error| format!("the worker program cannot be written to `{}`: {error}", folder.display());
        create_private(folder).map_err(failed)?;
        let program = Self { folder: folder.to_owned() };
        program.write_files().map_err(failed)?;
        Ok(program)
    }

    fn write_files(&self) -> io::Result<()> {
        create_private(&self.folder.join(PACKAGE))?;
        FILES.iter().try_for_each(|(path, text)| fs::write(self.folder.join(path), text))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Fails where the name is taken, by whatever it may be, and lets no other user in.
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Removes a folder with all that is in it; of a link, only the link.
fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path).or_else(|_not_a_folder| fs::remove_file(path));
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

    use super::*;

    /// A path that nothing else uses, for the time of one test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("kea-program-{name}-{}", std::process::id()));
            remove(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn join(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            remove(&self.0);
        }
    }

    fn python_files(root: &Path, below: &str) -> Vec<String> {
        let names = fs::read_dir(root.join(below)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| format!("{below}{}", name.to_str().unwrap()));
        names.filter(|name| name.ends_with(".py")).collect()
    }

    #[test]
    fn every_file_of_the_source_folder_is_carried() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        let mut found = python_files(&source, "");
        found.extend(python_files(&source, "kea_worker/"));
        let carried: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).into()).collect();
        assert_eq!(carried, found.into_iter().collect());
    }

    #[test]
    fn the_folder_is_private_and_gone_with_the_program() {
        let scratch = Scratch::new("private");
        let program = Program::write_to(&scratch.join("program")).unwrap();
        let folder = program.folder().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for (path, text) in FILES {
            assert_eq!(fs::read_to_string(folder.join(path)).unwrap(), text);
        }
        drop(program);
        assert!(!folder.exists());
    }

    #[test]
    fn what_an_earlier_process_left_is_replaced() {
        let scratch = Scratch::new("left");
        fs::create_dir_all(scratch.join("program/kea_worker")).unwrap();
        fs::write(scratch.join("program/numpy.py"), "raise SystemExit").unwrap();
        let program = Program::write_to(&scratch.join("program")).unwrap();
        assert!(!program.folder().join("numpy.py").exists());
    }

    #[test]
    fn a_link_of_that_name_is_removed_and_not_followed() {
        let scratch = Scratch::new("link");
        fs::create_dir(scratch.join("target")).unwrap();
        fs::write(scratch.join("target/kept"), "").unwrap();
        std::os::unix::fs::symlink(scratch.join("target"), scratch.join("program")).unwrap();
        let program = Program::write_to(&scratch.join("program")).unwrap();
        assert!(program.folder().join("__main__.py").exists());
        assert!(fs::symlink_metadata(program.folder()).unwrap().is_dir());
        assert_eq!(fs::read_dir(scratch.join("target")).unwrap().count(), 1);
    }
}
