//! Environments made by the uv and the pip of this machine, of packages that are small.

use std::{os::unix::fs::PermissionsExt, sync::Mutex as Recorded};

use tokio::sync::Notify;

use super::*;
use crate::Quiet;

/// Both ways of making environments, as far as this machine has them.
fn installers() -> Vec<Installer> {
    let mut installers = vec![Installer::Pip];
    installers.extend(on_path("uv").map(Installer::Uv));
    installers
}

fn environments(folder: &tempfile::TempDir) -> Environments {
    Environments::new(folder.path().join("environments"), Duration::from_secs(300))
}

fn six() -> Vec<String> {
    vec!["six==1.17.0".to_owned()]
}

/// Records what is told, and notifies of each line.
#[derive(Default)]
struct Watch {
    details: Recorded<Vec<String>>,
    told: Notify,
}

impl Progress for Watch {
    fn step(&self, _name: &str, _state: StepState, detail: &str) {
        self.details.lock().unwrap().push(detail.to_owned());
        self.told.notify_one();
    }
}

impl Watch {
    async fn has_told(&self, line: &str) {
        while !self.details.lock().unwrap().iter().any(|detail| detail == line) {
            self.told.notified().await;
        }
    }
}

async fn imports(environment: &Environment, module: &str) -> bool {
    let mut python = crate::tool::command(&environment.python());
    python
        .args(["-c", &format!("import {module}")])
        .stderr(std::process::Stdio::null())
        .status()
        .await
        .unwrap()
        .success()
}

#[tokio::test]
async fn an_environment_has_what_was_asked_for_and_is_used_again() {
    let python = Python::find(None).await.unwrap();
    for installer in installers() {
        let folder = tempfile::tempdir().unwrap();
        let environments = environments(&folder);
        let watch = Watch::default();
        let made = environments.ensure(&python, &installer, &six(), &watch).await.unwrap();
        assert!(!made.reused && imports(&made, "six").await && !imports(&made, "numpy").await, "{installer:?}");
        assert_eq!(fs::read_to_string(made.folder.join(LOCK)).unwrap(), "six==1.17.0", "{installer:?}");
        assert!(watch.details.lock().unwrap().iter().any(|detail| detail.contains("six")), "{installer:?}");
        let again = environments.ensure(&python, &installer, &six(), &Quiet).await.unwrap();
        assert_eq!((&again.folder, again.reused), (&made.folder, true));
    }
}

#[tokio::test]
async fn a_package_that_does_not_exist_fails_with_the_tools_own_words_and_leaves_nothing() {
    let python = Python::find(None).await.unwrap();
    for installer in installers() {
        let folder = tempfile::tempdir().unwrap();
        let environments = environments(&folder);
        let wanted = ["kea-has-no-such-package==1.0".to_owned()];
        let error = environments.ensure(&python, &installer, &wanted, &Quiet).await.unwrap_err();
        assert!(error.tail().iter().any(|line| line.contains("kea-has-no-such-package")), "{installer:?}: {error:?}");
        assert!(!environments.folder.join(key(&python, &wanted)).exists(), "{installer:?}");
    }
}

#[tokio::test]
async fn two_at_once_make_it_once_within_a_process_and_across_processes() {
    let python = Python::find(None).await.unwrap();
    let installer = Installer::find();
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (environments(&folder), environments(&folder));
    let packages = six();
    let made = tokio::try_join!(
        here.ensure(&python, &installer, &packages, &Quiet),
        here.ensure(&python, &installer, &packages, &Quiet),
        there.ensure(&python, &installer, &packages, &Quiet),
    );
    let (a, b, c) = made.unwrap();
    assert_eq!([&a, &b, &c].iter().filter(|made| !made.reused).count(), 1);
    assert!(a.folder == b.folder && b.folder == c.folder);
}

#[tokio::test]
async fn one_that_was_interrupted_is_made_anew() {
    let python = Python::find(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let environments = environments(&folder);
    let half = environments.folder.join(key(&python, &six()));
    fs::create_dir_all(half.join("bin")).unwrap();
    fs::write(half.join("bin/python"), "half written").unwrap();
    let made = environments.ensure(&python, &Installer::find(), &six(), &Quiet).await.unwrap();
    assert!(!made.reused && made.folder == half && imports(&made, "six").await);
}

/// A uv that makes what looks like an environment, then waits for ever.
fn endless(folder: &tempfile::TempDir) -> Installer {
    let path = folder.path().join("endless-uv");
    fs::write(&path, "#!/bin/sh\nfor last; do :; done\nmkdir -p \"$last/bin\"\necho waiting\nsleep 3600\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Installer::Uv(path)
}

#[tokio::test]
async fn a_preparation_that_is_given_up_ends_its_tools_and_can_be_repeated() {
    let python = Python::find(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let environments = environments(&folder);
    let (watch, installer, packages) = (Watch::default(), endless(&folder), six());
    tokio::select! {
        ended = environments.ensure(&python, &installer, &packages, &watch) => panic!("{ended:?}"),
        () = watch.has_told("waiting") => {}
    }
    // Making it again needs the lock, which the tools have held as long as they lived.
    let made = environments.ensure(&python, &Installer::find(), &packages, &Quiet).await.unwrap();
    assert!(!made.reused && imports(&made, "six").await);
}

#[tokio::test]
async fn a_tool_that_hangs_is_ended_after_its_time() {
    let python = Python::find(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let environments = Environments::new(folder.path().join("environments"), Duration::from_millis(1500));
    let error = environments.ensure(&python, &endless(&folder), &six(), &Quiet).await.unwrap_err();
    assert!(matches!(&error, EnvironmentError::TooLong { tail, .. } if tail == &["waiting"]), "{error:?}");
}

#[tokio::test]
async fn without_the_module_venv_the_error_says_how_to_get_it() {
    let python = Python { venv: false, ..Python::find(None).await.unwrap() };
    let folder = tempfile::tempdir().unwrap();
    let error = environments(&folder).ensure(&python, &Installer::Pip, &six(), &Quiet).await.unwrap_err();
    assert!(error.to_string().contains("apt-get install python3-venv"), "{error}");
}

#[test]
fn the_runtimes_library_is_found_beside_its_providers() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment { folder: folder.path().to_owned(), reused: false };
    assert!(matches!(environment.onnxruntime(), Err(EnvironmentError::NoOnnxRuntime { .. })));
    let capi = folder.path().join("lib/python3.11/site-packages/onnxruntime/capi");
    fs::create_dir_all(&capi).unwrap();
    for name in ["libonnxruntime_providers_shared.so", "libonnxruntime.so.1.22.0", "onnxruntime_pybind11_state.so"] {
        fs::write(capi.join(name), "").unwrap();
    }
    assert_eq!(environment.onnxruntime().unwrap(), capi.join("libonnxruntime.so.1.22.0"));
}
