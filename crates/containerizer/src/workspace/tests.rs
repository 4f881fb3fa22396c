//! Models fetched from disk and by HTTP, and whole preparations.

use std::{os::unix::fs::PermissionsExt, sync::Mutex};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{DetectError, Quiet};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn spec(source: impl AsRef<Path>) -> ModelSpec {
    ModelSpec {
        source: Some(source.as_ref().display().to_string()),
        framework: None,
        requirements: Vec::new(),
        command: Vec::new(),
        env: Default::default(),
        resources: Default::default(),
    }
}

/// A service whose command needs no Python, so that nothing is installed.
fn service(source: impl AsRef<Path>) -> ModelSpec {
    ModelSpec { command: vec!["./serve".to_owned()], ..spec(source) }
}

fn workspace() -> (TempDir, Workspace) {
    let folder = tempfile::tempdir().unwrap();
    let limits =
        Limits { files: 10, copied: 4000, downloaded: 4000, silence: Duration::from_millis(300), ..Limits::default() };
    let workspace = Workspace::new(folder.path().join("data")).with_limits(limits);
    (folder, workspace)
}

async fn fetch(workspace: &Workspace, spec: &ModelSpec) -> Result<PathBuf, FetchError> {
    Ok(workspace.fetch(spec, &Quiet).await?.path.unwrap())
}

/// Names on the shelf.
fn shelf(workspace: &Workspace) -> Vec<String> {
    let items = fs::read_dir(workspace.root.join("models")).into_iter().flatten().flatten();
    items.map(|item| item.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_model_is_kept_once_under_what_it_holds() {
    let (folder, workspace) = workspace();
    let first = fetch(&workspace, &spec(fixture("iris.joblib"))).await.unwrap();
    assert!(first.starts_with(workspace.root.join("models")) && first.ends_with("iris.joblib"));
    assert_eq!(fs::read(&first).unwrap(), fs::read(fixture("iris.joblib")).unwrap());
    assert_eq!(first.metadata().unwrap().permissions().mode() & 0o777, 0o444);

    let copy = folder.path().join("iris.joblib");
    fs::copy(fixture("iris.joblib"), &copy).unwrap();
    assert_eq!(fetch(&workspace, &spec(&copy)).await.unwrap(), first);
    fs::write(&copy, "other").unwrap();
    assert_ne!(fetch(&workspace, &spec(&copy)).await.unwrap(), first);
    assert_eq!(shelf(&workspace).len(), 2);
}

#[tokio::test]
async fn names_contents_and_the_right_to_run_make_a_difference() {
    let (folder, workspace) = workspace();
    let model = folder.path().join("model");
    fs::create_dir_all(model.join("data")).unwrap();
    fs::write(model.join("serve"), "#!/bin/sh").unwrap();
    let mut seen = Vec::new();
    let mut store = async |what: &str| {
        let path = fetch(&workspace, &service(&model)).await.unwrap();
        assert!(!seen.contains(&path), "{what}");
        seen.push(path.clone());
        path
    };
    store("as it is").await;
    fs::set_permissions(model.join("serve"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = store("executable").await;
    assert_eq!(path.join("serve").metadata().unwrap().permissions().mode() & 0o777, 0o555);
    fs::write(model.join("data/a"), "1").unwrap();
    store("one more file").await;
    fs::rename(model.join("data/a"), model.join("data/b")).unwrap();
    let path = store("another name").await;
    assert_eq!(fs::read(path.join("data/b")).unwrap(), b"1");
}

#[tokio::test]
async fn what_cannot_be_fetched_is_refused_and_leaves_nothing() {
    let (folder, workspace) = workspace();
    let large = folder.path().join("large");
    fs::write(&large, vec![0; 4001]).unwrap();
    assert!(matches!(fetch(&workspace, &spec(&large)).await, Err(FetchError::TooLarge { limit: 4000 })));
    assert!(matches!(fetch(&workspace, &spec("/nowhere/iris")).await, Err(FetchError::NotFound { .. })));
    assert!(matches!(fetch(&workspace, &spec("/dev/null")).await, Err(FetchError::Special { .. })));
    fs::write(workspace.root.join("secrets.db"), "secret").unwrap();
    let own = fetch(&workspace, &spec(workspace.root.join("secrets.db"))).await;
    assert!(matches!(own, Err(FetchError::OwnData { .. })));
    assert_eq!(shelf(&workspace), [""; 0]);
}

#[tokio::test]
async fn a_folder_that_holds_keas_own_data_is_copied_without_it() {
    let (folder, workspace) = workspace();
    fs::create_dir_all(&workspace.root).unwrap();
    fs::write(workspace.root.join("secrets.db"), "secret").unwrap();
    fs::write(folder.path().join("model.py"), "class Model: ...").unwrap();
    let path = fetch(&workspace, &spec(folder.path())).await.unwrap();
    let names: Vec<_> = fs::read_dir(path).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(names, ["model.py"]);
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed_and_what_is_on_its_way_is_not() {
    let (_folder, workspace) = workspace();
    let models = workspace.root.join("models");
    fs::create_dir_all(models.join(".incoming-abandoned")).unwrap();
    let on_its_way = Shelf::new(models.clone()).staging().unwrap();
    let path = fetch(&workspace, &spec(fixture("iris.joblib"))).await.unwrap();
    assert!(path.is_file() && !models.join(".incoming-abandoned").exists());
    assert!(on_its_way.path().is_dir());
}

/// A server that answers one request with `answer`, and then ends the connection unless it is to stay silent.
async fn server(answer: Vec<u8>, silent: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(connection.read_u8().await.unwrap());
        }
        connection.write_all(&answer).await.unwrap();
        if silent {
            std::future::pending::<()>().await;
        }
    });
    format!("http://me:secret@{address}/models/iris.joblib?token=secret")
}

fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_file_is_downloaded_whole() {
    let (_folder, workspace) = workspace();
    let body = fs::read(fixture("iris.joblib")).unwrap();
    let url = server(answer("200 OK", body.len(), &body), false).await;
    let path = fetch(&workspace, &spec(url)).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(path, fetch(&workspace, &spec(fixture("iris.joblib"))).await.unwrap());
}

#[tokio::test]
async fn a_download_that_fails_leaves_nothing_and_tells_no_secret() {
    for (answer, silent, expected) in [
        (answer("404 Not Found", 0, b""), false, "answered 404"),
        (answer("200 OK", 100, b"half"), false, "cannot be downloaded"),
        (answer("200 OK", 100, b"half"), true, "sent nothing for"),
        (answer("200 OK", 9000, b"more"), false, "larger than 4000 bytes"),
        ([&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..], &[0; 5000]].concat(), false, "larger than 4000 bytes"),
    ] {
        let (_folder, workspace) = workspace();
        let error = fetch(&workspace, &spec(server(answer, silent).await)).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{expected}: {error}");
        assert_eq!(shelf(&workspace), [""; 0], "{expected}");
    }
}

/// Records states of steps.
#[derive(Default)]
struct Steps(Mutex<Vec<(String, StepState)>>);

impl Progress for Steps {
    fn step(&self, name: &str, state: StepState, _detail: &str) {
        let mut steps = self.0.lock().unwrap();
        let step = (name.to_owned(), state);
        if steps.last() != Some(&step) {
            steps.push(step);
        }
    }
}

#[tokio::test]
async fn a_command_with_requirements_gets_a_python_of_its_own() {
    let (folder, workspace) = workspace();
    let files = folder.path().join("service");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("requirements.txt"), "six==1.17.0\n").unwrap();
    let steps = Steps::default();
    let prepared = workspace.prepare(&service(&files), &steps).await.unwrap();
    assert_eq!((prepared.framework, prepared.engine), (Framework::Custom, Engine::External));
    assert!(prepared.python.unwrap().starts_with(workspace.root.join("environments")));
    assert!(prepared.path.unwrap().join("requirements.txt").is_file());
    let expected = [FETCH, RECOGNISE, ENVIRONMENT].map(|name| [(name, StepState::Running), (name, StepState::Done)]);
    let expected: Vec<_> = expected.concat().into_iter().map(|(name, state)| (name.to_owned(), state)).collect();
    assert_eq!(*steps.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_command_without_requirements_needs_nothing() {
    let (_folder, workspace) = workspace();
    let prepared = workspace.prepare(&ModelSpec { source: None, ..service("/") }, &Quiet).await.unwrap();
    assert_eq!((prepared.engine, prepared.path, prepared.python), (Engine::External, None, None));
    assert!(!workspace.root.join("environments").exists());
}

#[tokio::test]
async fn a_runtime_that_is_named_makes_an_environment_unnecessary() {
    let (folder, mut workspace) = workspace();
    let library = folder.path().join("libonnxruntime.so");
    workspace.onnxruntime = Some(library.clone());
    let error = workspace.prepare(&spec(fixture("identity.onnx")), &Quiet).await.unwrap_err();
    assert!(error.to_string().contains("KEA_ONNXRUNTIME"), "{error}");
    fs::write(&library, "").unwrap();
    let prepared = workspace.prepare(&spec(fixture("identity.onnx")), &Quiet).await.unwrap();
    assert_eq!((prepared.engine, prepared.onnxruntime), (Engine::Onnx, Some(library)));
    assert!(!workspace.root.join("environments").exists());
}

#[tokio::test]
async fn the_step_that_fails_is_told() {
    let (_folder, workspace) = workspace();
    let steps = Steps::default();
    let error = workspace.prepare(&spec(fixture("numbers.pkl")), &steps).await.unwrap_err();
    assert_eq!((error.step(), error.may_heal()), (RECOGNISE, false));
    assert_eq!(steps.0.lock().unwrap().last(), Some(&(RECOGNISE.to_owned(), StepState::Failed)));
}

#[test]
fn a_full_disk_is_told_as_such_and_may_heal() {
    let error = PrepareError::from(FetchError::storing("/data")(std::io::ErrorKind::StorageFull.into()));
    assert!(error.to_string().contains("no space is left") && error.may_heal(), "{error}");
}

#[test]
fn a_mistake_is_found_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("model.py");
    fs::write(&broken, "def predict(:").unwrap();
    let fails = |spec: &ModelSpec, expected: &str| {
        let error = check(spec).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    fails(&ModelSpec { source: None, ..spec("/") }, "neither a source nor a command");
    fails(&spec("/nowhere/iris.joblib"), "does not exist");
    fails(&spec("ftp://host/iris"), "`ftp:` sources are not known");
    fails(&spec("git+https://host/iris@--upload-pack=x"), "no name of a branch");
    fails(&spec(&broken), "model.py:1:");
    fails(&ModelSpec { framework: Some(Framework::Onnx), ..spec(fixture("iris.joblib")) }, "which is ScikitLearn");
    fails(&ModelSpec { framework: Some(Framework::Onnx), ..service("/") }, "brings its own server");
    fails(&ModelSpec { requirements: vec!["-e .".to_owned()], ..spec(folder.path()) }, "without -e");
    let custom = ModelSpec { framework: Some(Framework::Custom), ..spec(folder.path()) };
    assert!(matches!(check(&custom), Err(PrepareError::Recognise(DetectError::Source(_)))));
    check(&spec(fixture("iris.joblib"))).unwrap();
    check(&spec("https://host/model.onnx")).unwrap();
    check(&ModelSpec { source: None, ..service("/") }).unwrap();
}
