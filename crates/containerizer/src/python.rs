//! The Python of this machine from which environments are made.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{environment::EnvironmentError, tool};

/// The oldest Python that the worker is written for.
const OLDEST: (u32, u32) = (3, 9);
/// How long Python may take to start, on a disk that is busy.
const START: Duration = Duration::from_secs(30);

const ASK: &str = "
import importlib.util, json, sys
print(json.dumps({
    'executable': sys.executable,
    'version': list(sys.version_info[:3]),
    'build': sys.version + sys.base_prefix,
    'venv': all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip')),
}))";

/// A Python that runs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Python {
    /// Itself, and not a script that starts it.
    pub(crate) executable: PathBuf,
    /// Its version.
    pub(crate) version: (u32, u32, u32),
    /// What tells it apart from another build of the same version.
    pub(crate) build: String,
    /// Whether it can make environments by itself.
    pub(crate) venv: bool,
}

impl Python {
    /// The Python that `program` starts, or `python3` of the path.
    pub(crate) async fn find(program: Option<&Path>) -> Result<Self, EnvironmentError> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => on_path("python3").ok_or(EnvironmentError::NoPython)?,
        };
        let unusable = |why: String| EnvironmentError::Python { program: program.clone(), why };
        let mut command = tool::command(&program);
        command.args(["-I", "-c", ASK]).stdin(std::process::Stdio::null());
        let output = tokio::time::timeout(START, command.output()).await;
        let output =
            output.map_err(|_| unusable("it does not answer".to_owned()))?.map_err(|why| unusable(why.to_string()))?;
        let python: Self = serde_json::from_slice(&output.stdout)
            .map_err(|_| unusable(String::from_utf8_lossy(&output.stderr).trim().to_owned()))?;
        let (major, minor, _) = python.version;
        if (major, minor) < OLDEST {
            return Err(EnvironmentError::OldPython { program, version: python.version_text() });
        }
        Ok(python)
    }

    /// Its version as `3.11.7`.
    pub(crate) fn version_text(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }
}

/// The program `name` of the search path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let runs =
        |path: &PathBuf| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("python");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn the_machines_python_is_found() {
        let python = Python::find(None).await.unwrap();
        assert!(python.executable.is_file() && python.version >= (3, 9, 0));
    }

    #[tokio::test]
    async fn an_old_python_is_refused_by_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let answer = r#"echo '{"executable": "/x", "version": [3, 8, 20], "build": "", "venv": true}'"#;
        let error = Python::find(Some(&script(folder.path(), answer))).await.unwrap_err();
        assert!(error.to_string().contains("3.8.20"), "{error}");
    }

    #[tokio::test]
    async fn a_python_that_does_not_start_is_reported_with_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let broken = script(folder.path(), "echo no such library >&2; exit 1");
        let error = Python::find(Some(&broken)).await.unwrap_err();
        assert!(error.to_string().contains("no such library"), "{error}");
        let error = Python::find(Some(Path::new("/nowhere/python"))).await.unwrap_err();
        assert!(matches!(error, EnvironmentError::Python { .. }), "{error}");
    }
}
