//! Making files below a folder into which others may have put links: nothing is made through one.

use std::{
    fs, io,
    path::{Component, Path},
};

/// Makes the folder `below`, a plain relative path, in `root`.
///
/// # Errors
/// Of the kind `NotADirectory` where a link or a file stands on the way.
pub(crate) fn make_folders(root: &Path, below: &Path) -> io::Result<()> {
    let mut path = root.to_owned();
    for part in below.components() {
        let Component::Normal(part) = part else { return Err(off_the_way(&path)) };
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(off_the_way(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether all folders on the way from `root` to what is at `below` are folders, and not links to such.
pub(crate) fn is_plain(root: &Path, below: &Path) -> bool {
    let parents = below.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    let mut kinds = parents.map(|parent| fs::symlink_metadata(root.join(parent)));
    kinds.all(|found| found.is_ok_and(|found| found.is_dir()))
}

fn off_the_way(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotADirectory, format!("`{}` is no folder", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_made_through_a_link() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(other.path(), root.path().join("link")).unwrap();
        let make = |below: &str| make_folders(root.path(), Path::new(below)).map_err(|error| error.kind());
        assert_eq!(make("a/b"), Ok(()));
        assert_eq!(make("a/b/c"), Ok(()));
        for below in ["link/a", "link", "../up", "/tmp/x", "a/../../up"] {
            assert_eq!(make(below), Err(io::ErrorKind::NotADirectory), "{below}");
        }
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        assert!(is_plain(root.path(), Path::new("a/b/file")) && is_plain(root.path(), Path::new("file")));
        assert!(!is_plain(root.path(), Path::new("link/file")) && !is_plain(root.path(), Path::new("none/file")));
    }
}
