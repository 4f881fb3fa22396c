//! The private folder of one replica: where its processes start and may write.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Makes an empty folder, with links to the model's own files, so that a model finds them by relative paths while what
/// it writes stays with the replica.
pub(crate) fn make(folder: &Path, model: Option<&Path>) -> io::Result<PathBuf> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder.join("tmp"))?;
    match model {
        Some(model) if model.is_dir() => {
            for entry in fs::read_dir(model)? {
                let entry = entry?;
                link(&entry.path(), folder)?;
            }
        }
        Some(file) => link(file, folder)?,
        None => {}
    }
    Ok(folder.to_path_buf())
}

fn link(file: &Path, folder: &Path) -> io::Result<()> {
    let Some(name) = file.file_name() else { return Ok(()) };
    match symlink(file, folder.join(name)) {
        // The model has a `tmp` of its own.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_finds_its_files_and_writes_beside_none_of_them() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("model");
        fs::create_dir(&model).unwrap();
        fs::write(model.join("weights.txt"), "1").unwrap();
        let folder = make(&root.path().join("run"), Some(&model)).unwrap();
        assert_eq!(fs::read_to_string(folder.join("weights.txt")).unwrap(), "1");
        fs::write(folder.join("new.txt"), "2").unwrap();
        assert!(!model.join("new.txt").exists());
        make(&folder, Some(&model)).unwrap();
        assert!(!folder.join("new.txt").exists() && model.join("weights.txt").exists());
    }
}
