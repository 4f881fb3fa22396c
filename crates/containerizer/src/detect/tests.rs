//! What every kind of file and folder is taken for, with real files in `fixtures` (their `make.py` says how they came
//! about). PyTorch's archives are made here, of the entries that it writes.

use std::{fs, io::Write};

use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn spec(framework: Option<Framework>) -> ModelSpec {
    ModelSpec {
        source: None,
        framework,
        requirements: Vec::new(),
        command: Vec::new(),
        functions: Vec::new(),
        env: Default::default(),
        resources: Default::default(),
    }
}

/// What is found, as `framework engine: packages`, or the error.
fn found(path: &Path, given: Option<Framework>) -> String {
    match detect(&spec(given), Some(path)) {
        Ok(found) => format!("{} {:?}: {}", found.framework, found.engine, found.needs.join(" ")),
        Err(error) => error.to_string(),
    }
}

fn check(path: &Path, given: impl Into<Option<Framework>>, expected: &str) {
    let found = found(path, given.into());
    assert!(found.contains(expected), "{}: {found}", path.display());
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn files_are_known_by_their_content_and_with_their_version() {
    for (name, expected) in [
        ("identity.onnx", "ONNX Onnx: "),
        ("iris.joblib", "ScikitLearn Python: scikit-learn==1.9.1"),
        ("iris.pkl", "ScikitLearn Python: scikit-learn==1.9.1"),
        ("iris-gzip.joblib", "ScikitLearn Python: scikit-learn==1.9.1"),
        ("iris.skops", "ScikitLearn Python: scikit-learn==1.9.1 skops"),
        ("frame.joblib", "ScikitLearn Python: scikit-learn==1.9.1 pandas"),
        ("boosted.json", "XGBoost Python: xgboost-cpu==3.2.0"),
        ("boosted.ubj", "XGBoost Python: xgboost-cpu==3.2.0"),
        ("boosted.joblib", "XGBoost Python: scikit-learn xgboost-cpu==3.2.0"),
        ("light.txt", "LightGBM Python: "),
        ("light.joblib", "LightGBM Python: scikit-learn==1.9.1 lightgbm"),
        ("light-pipeline.joblib", "ScikitLearn Python: scikit-learn==1.9.1 lightgbm"),
        ("network.keras", "Keras Python: keras>=3.15.1 tensorflow"),
    ] {
        check(&fixture(name), None, expected);
    }
}

#[test]
fn a_contradiction_names_both_sides() {
    check(&fixture("iris.joblib"), Framework::Onnx, "given as ONNX, but `iris.joblib` holds an object of `sklearn");
    check(&fixture("iris.joblib"), Framework::Onnx, "which is ScikitLearn: give ScikitLearn");
    check(&fixture("identity.onnx"), Framework::PyTorch, "which is ONNX");
    check(&fixture("boosted.json"), Framework::LightGBM, "which is XGBoost");
    check(&fixture("iris.joblib"), Framework::Custom, "no Python source");
}

#[test]
fn a_related_framework_may_be_given() {
    check(&fixture("boosted.joblib"), Framework::ScikitLearn, "ScikitLearn Python: ");
    check(&fixture("network.keras"), Framework::TensorFlow, "Keras Python: ");
    check(&fixture("iris-lzma.joblib"), Framework::ScikitLearn, "ScikitLearn Python: ");
}

#[test]
fn what_cannot_be_served_says_what_to_do_instead() {
    check(&fixture("iris-lzma.joblib"), None, "compressed with xz, which is not looked into: name the framework");
    check(&fixture("own-function.joblib"), None, "needs `__main__.identity` of the script that wrote it");
    check(&fixture("numbers.pkl"), None, "holds a dict and not a model");
    let files = folder(&[
        ("empty.onnx", b""),
        ("page.onnx", b"<html>not found</html>"),
        ("pointer.joblib", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("old.h5", b"\x89HDF\r\n\x1a\n"),
        ("notes.txt", b"hello"),
        ("config.json", b"{\"learning_rate\": 0.1}"),
        ("dump.json", b"{\"name\":\"tree\",\"version\":\"v4\"}"),
        ("weights.zip", &archive(&[("a.txt", "a")])),
    ]);
    for (name, expected) in [
        ("empty.onnx", "is empty"),
        ("page.onnx", "is no ONNX graph"),
        ("pointer.joblib", "git lfs pull"),
        ("old.h5", "save it as `.keras`"),
        ("notes.txt", "of no kind that KEA knows"),
        ("config.json", "of no kind that KEA knows"),
        ("dump.json", "save_model"),
        ("weights.zip", "unpack it"),
    ] {
        check(&files.path().join(name), None, expected);
    }
}

#[test]
fn a_name_that_would_mislead_the_library_is_refused() {
    let read = |name: &str| fs::read(fixture(name)).unwrap();
    let files = folder(&[
        ("boosted", &read("boosted.ubj")),
        ("light.model", &read("light.txt")),
        ("light.joblib", &read("light.txt")),
        ("iris.json", &read("iris.joblib")),
        ("iris", &read("iris.joblib")),
        ("iris.zip", &read("iris.skops")),
    ]);
    check(
        &files.path().join("boosted"),
        None,
        "an XGBoost model by its content: rename it so that it ends with `.ubj`",
    );
    check(&files.path().join("light.model"), None, "LightGBM Python");
    check(&files.path().join("light.joblib"), None, "ends with `.txt`");
    check(&files.path().join("iris.json"), None, "ends with `.pkl`");
    check(&files.path().join("iris"), None, "ScikitLearn Python");
    check(&files.path().join("iris.zip"), None, "ends with `.skops`");
}

#[test]
fn pytorchs_archives_are_told_apart() {
    let script =
        archive(&[("m/data.pkl", ""), ("m/constants.pkl", ""), ("m/code/__torch__.py", ""), ("m/version", "3")]);
    let old = archive(&[("serialized_exported_program.json", r#"{"torch_version": "2.5.1+cpu"}"#), ("version", "7")]);
    let new = archive(&[("m/archive_format", "pt2"), ("m/models/model.json", r#"{"torch_version": "2.9.0"}"#)]);
    let weights = archive(&[("m/data.pkl", ""), ("m/data/0", ""), ("m/version", "3")]);
    let files = folder(&[("a.pt", &script), ("b.pt2", &old), ("c.pt2", &new), ("d.pt", &weights)]);
    check(&files.path().join("a.pt"), None, "PyTorch Python: ");
    check(&files.path().join("b.pt2"), None, "PyTorch Python: torch==2.5.1");
    check(&files.path().join("c.pt2"), None, "PyTorch Python: torch==2.9.0");
    check(&files.path().join("d.pt"), None, "export it with `torch.jit.script(model)");
    check(&files.path().join("d.pt"), Framework::PyTorch, "export it with `torch.jit.script(model)");
}

const CLASS: &[u8] = b"class Model:\n    def predict(self, x: float) -> float:\n        return x\n";

#[test]
fn a_python_class_is_a_custom_model_in_a_file_and_in_a_folder() {
    let files = folder(&[("model.py", CLASS), ("weights.joblib", &fs::read(fixture("iris.joblib")).unwrap())]);
    check(&files.path().join("model.py"), None, "Custom Python: ");
    check(files.path(), None, "Custom Python: ");
    check(files.path(), Framework::Custom, "Custom Python: ");
    check(files.path(), Framework::ScikitLearn, "ScikitLearn Python: ");
    check(
        &files.path().join("model.py"),
        Framework::ScikitLearn,
        "`model.py` holds the class `Model`, which is Custom",
    );
}

#[test]
fn a_syntax_error_is_told_with_its_place() {
    let files = folder(&[("model.py", b"class Model:\n    def predict(self:\n        return 1\n")]);
    check(&files.path().join("model.py"), None, "model.py:3:");
}

#[test]
fn the_one_model_file_of_a_folder_is_the_model() {
    let iris = fs::read(fixture("iris.joblib")).unwrap();
    let onnx = fs::read(fixture("identity.onnx")).unwrap();
    let companions: [(&str, &[u8]); 4] = [
        ("README.md", b"iris"),
        ("requirements.txt", b"scikit-learn"),
        ("config.json", b"{}"),
        ("tests/other.joblib", &iris),
    ];
    let files = folder(&[&companions[..], &[("artifacts/iris.joblib", &iris)]].concat());
    let detected = detect(&spec(None), Some(files.path())).unwrap();
    assert_eq!(detected.path.unwrap(), files.path().join("artifacts/iris.joblib"));

    let several = folder(&[("a.joblib", &iris), ("b.onnx", &onnx)]);
    check(several.path(), None, "several models (a.joblib, b.onnx)");
    check(several.path(), Framework::Onnx, "ONNX Onnx");
    let detected = detect(&spec(Some(Framework::Onnx)), Some(several.path())).unwrap();
    assert_eq!(detected.path.unwrap(), several.path().join("b.onnx"));

    check(folder(&[("README.md", b"nothing here")]).path(), None, "it holds README.md");
    check(folder(&[("README.md", b"nothing here")]).path(), Framework::Onnx, "no file of ONNX");
}

#[test]
fn a_saved_model_is_its_folder() {
    let files = folder(&[("saved_model.pb", b"\x08\x01"), ("variables/variables.index", b"x")]);
    check(files.path(), None, "TensorFlow Python: ");
    check(files.path(), Framework::Keras, "TensorFlow Python: ");
    check(files.path(), Framework::Onnx, "which is TensorFlow");
    let numbered = folder(&[("9/saved_model.pb", b"\x08\x01"), ("10/saved_model.pb", b"\x08\x01")]);
    let detected = detect(&spec(None), Some(numbered.path())).unwrap();
    assert_eq!(detected.path.unwrap(), numbered.path().join("10"));
}

#[test]
fn a_command_is_a_service_of_its_own() {
    let command = vec!["python".to_owned(), "-m".to_owned(), "http.server".to_owned()];
    let detected = detect(&ModelSpec { command: command.clone(), ..spec(None) }, None).unwrap();
    assert_eq!((detected.framework, detected.engine), (Framework::Custom, Engine::External));
    let error = detect(&ModelSpec { command, ..spec(Some(Framework::Onnx)) }, None).unwrap_err();
    assert!(error.to_string().contains("its framework is Custom and not ONNX"), "{error}");
}
