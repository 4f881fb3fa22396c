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
        functions: Vec::new(),
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

/// A server that gives one of `answers` to each request, the last one again and again, and keeps what it was asked.
async fn answers(answers: Vec<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/iris.joblib", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(connection.read_u8().await.unwrap());
            }
            kept.lock().unwrap().push(String::from_utf8(request).unwrap().to_ascii_lowercase());
            connection.write_all(&answers[number.min(answers.len() - 1)]).await.unwrap();
        }
    });
    (url, asked)
}

/// An answer with these headers.
fn with(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n\r\n").as_bytes(), body].concat()
}

#[tokio::test]
async fn a_dropped_download_is_resumed_if_the_file_is_the_same() {
    let first = with("200 OK", "content-length: 10\r\netag: \"1\"", b"01234");
    let rest = with("206 Partial Content", "content-length: 5\r\ncontent-range: bytes 5-9/10\r\netag: \"1\"", b"56789");
    let (url, asked) = answers(vec![first, rest]).await;
    let (_folder, workspace) = workspace();
    let path = fetch(&workspace, &spec(url)).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), b"0123456789");
    let asked = asked.lock().unwrap();
    assert!(
        !asked[0].contains("range:") && asked[1].contains("range: bytes=5-") && asked[1].contains("if-range: \"1\"")
    );
}

#[tokio::test]
async fn a_download_begins_again_where_the_rest_may_be_of_another_file() {
    let half = |headers: &str| with("200 OK", &format!("content-length: 10\r\n{headers}"), b"01234");
    let whole = with("200 OK", "content-length: 10\r\netag: \"2\"", b"abcdefghij");
    let lie = |headers: &str| with("206 Partial Content", &format!("content-length: 5\r\n{headers}"), b"xxxxx");
    for (what, given) in [
        ("the server ignores ranges", vec![half("etag: \"1\""), whole.clone()]),
        ("its mark is weak", vec![half("etag: W/\"1\""), whole.clone()]),
        ("there is no mark", vec![half("x-any: 1"), whole.clone()]),
        ("the part is another", vec![half("etag: \"1\""), lie("content-range: bytes 4-8/10"), whole.clone()]),
        ("the length is another", vec![half("etag: \"1\""), lie("content-range: bytes 5-9/99"), whole.clone()]),
        (
            "the mark is another",
            vec![half("etag: \"1\""), lie("content-range: bytes 5-9/10\r\netag: \"2\""), whole.clone()],
        ),
        (
            "there is no such part",
            vec![half("etag: \"1\""), answer("416 Range Not Satisfiable", 0, b""), whole.clone()],
        ),
    ] {
        let (url, _asked) = answers(given).await;
        let (_folder, workspace) = workspace();
        let path = fetch(&workspace, &spec(url)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(fs::read(path).unwrap(), b"abcdefghij", "{what}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_but_not_for_ever() {
    let (_folder, workspace) = workspace();
    let busy = with("503 Service Unavailable", "content-length: 0\r\nretry-after: 0", b"");
    let (url, asked) = answers(vec![busy.clone(), busy.clone(), answer("200 OK", 2, b"ok")]).await;
    fetch(&workspace, &spec(url)).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 3);

    let (url, asked) = answers(vec![busy]).await;
    let error = fetch(&workspace, &spec(url)).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 503, .. }), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 6);

    let (url, asked) =
        answers(vec![with("429 Too Many Requests", "content-length: 0\r\nretry-after: 3600", b"")]).await;
    let error = PrepareError::from(fetch(&workspace, &spec(url)).await.unwrap_err());
    assert!(error.may_heal() && asked.lock().unwrap().len() == 1, "{error}");

    let (url, asked) = answers(vec![answer("404 Not Found", 0, b"")]).await;
    let error = PrepareError::from(fetch(&workspace, &spec(url)).await.unwrap_err());
    assert!(!error.may_heal() && asked.lock().unwrap().len() == 1, "{error}");
}

#[tokio::test]
async fn a_file_that_always_ends_early_is_never_taken() {
    let (_folder, workspace) = workspace();
    let (url, asked) = answers(vec![answer("200 OK", 10, b"01234")]).await;
    let error = PrepareError::from(fetch(&workspace, &spec(url)).await.unwrap_err());
    assert!(error.to_string().contains("ended after 5 of 10 bytes") && error.may_heal(), "{error}");
    assert_eq!((asked.lock().unwrap().len(), shelf(&workspace)), (6, Vec::new()));
}

#[tokio::test]
async fn a_digest_in_the_url_is_held_to() {
    let (_folder, workspace) = workspace();
    let digest = "2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df";
    let (url, asked) = answers(vec![answer("200 OK", 2, b"ok")]).await;
    let right = spec(format!("{url}#sha256={digest}"));
    let path = fetch(&workspace, &right).await.unwrap();
    // What is known by its digest need not be asked for again.
    assert_eq!(fetch(&workspace, &right).await.unwrap(), path);
    assert_eq!(asked.lock().unwrap().len(), 1);

    let wrong = "0".repeat(64);
    let error = fetch(&workspace, &spec(format!("{url}#sha256={wrong}"))).await.unwrap_err().to_string();
    assert!(error.contains(digest) && error.contains(&wrong), "{error}");
    assert_eq!(shelf(&workspace).len(), 1);
}

#[tokio::test]
async fn what_has_not_changed_is_not_downloaded_again() {
    let (_folder, workspace) = workspace();
    let given = with("200 OK", "content-length: 2\r\netag: \"1\"", b"ok");
    let (url, asked) = answers(vec![given.clone(), with("304 Not Modified", "etag: \"1\"", b""), given]).await;
    let first = workspace.fetch(&spec(&url), &Quiet).await.unwrap();
    let again = workspace.fetch(&spec(&url), &Quiet).await.unwrap();
    assert_eq!(first.path, again.path);
    assert!(again.detail.contains("unchanged"), "{}", again.detail);
    assert!(asked.lock().unwrap()[1].contains("if-none-match: \"1\""));
    // What is no longer on the shelf is asked for whole.
    fs::remove_dir_all(workspace.root.join("models")).unwrap();
    assert_eq!(fetch(&workspace, &spec(&url)).await.unwrap(), first.path.unwrap());
    assert!(!asked.lock().unwrap()[2].contains("if-none-match"));
}

/// A tar archive with these files.
fn bundle(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn an_archive_is_the_folder_that_is_in_it_wherever_it_comes_from() {
    let (folder, workspace) = workspace();
    let (model, secret, ours) =
        (("iris/model.py", &b"class Model: ..."[..]), ("iris/.env", &b"x"[..]), ("iris/.keaignore", &b"raw"[..]));
    let bytes = bundle(&[model, secret, ours, ("iris/raw/a.csv", b"1")]);
    let archive = folder.path().join("iris.tar");
    fs::write(&archive, &bytes).unwrap();
    let copied = workspace.fetch(&spec(&archive), &Quiet).await.unwrap();
    let path = copied.path.unwrap();
    let names: Vec<_> = fs::read_dir(&path).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(names, ["model.py"]);
    assert!(copied.detail.contains("`.env` left out"), "{}", copied.detail);
    assert!(archive.is_file());

    let length = bytes.len();
    let (url, _asked) = answers(vec![answer("200 OK", length, &bytes)]).await;
    let workspace =
        workspace.with_limits(Limits { downloaded: 100_000, silence: Duration::from_millis(300), ..Limits::default() });
    let url = url.replace("iris.joblib", "iris.tar");
    assert_eq!(fetch(&workspace, &spec(url)).await.unwrap(), path);
}

#[tokio::test]
async fn a_hostile_archive_leaves_nothing() {
    let (folder, workspace) = workspace();
    let archive = folder.path().join("iris.tar");
    let mut bytes = bundle(&[("aa/evil", b"x")]);
    let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
    header.as_mut_bytes()[..2].copy_from_slice(b"..");
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    fs::write(&archive, &bytes).unwrap();
    let error = PrepareError::from(fetch(&workspace, &spec(&archive)).await.unwrap_err());
    assert!(error.to_string().contains("`../evil` has `..`") && !error.may_heal(), "{error}");
    assert_eq!(shelf(&workspace), [""; 0]);
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
