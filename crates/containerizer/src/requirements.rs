//! Which packages a model's environment is to have.

use std::path::{Component, Path, PathBuf};

use kea_core::{Engine, Framework};

use crate::{environment::EnvironmentError, mask::mask};

/// TensorFlow without CUDA, which KEA's replicas do not use; other processors have no such build.
pub(crate) const TENSORFLOW: &str = if cfg!(target_arch = "x86_64") { "tensorflow-cpu" } else { "tensorflow" };
/// XGBoost without CUDA.
pub(crate) const XGBOOST: &str = "xgboost-cpu";
/// ONNX Runtime; the model server calls version 22 of its interface.
const ONNXRUNTIME: &str = "onnxruntime>=1.22";

/// How many files may include one another.
const NESTED: usize = 5;

/// Names under which the same package is published.
const SAME: [&[&str]; 4] = [
    &["tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tf-nightly", "tf-nightly-cpu"],
    &["xgboost", "xgboost-cpu"],
    &["onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "ort-nightly"],
    &["scikit-learn", "scikit-learn-intelex"],
];

/// What the user asks for: the requirements given, else those of the folder's `requirements.txt`. Paths in them are
/// made absolute and included files are put in their place, so that the lines mean the same everywhere.
pub(crate) fn given(lines: &[String], folder: Option<&Path>) -> Result<Vec<String>, EnvironmentError> {
    let mut reader = Reader { folder, lines: Vec::new() };
    match folder.map(|folder| folder.join("requirements.txt")) {
        Some(file) if lines.is_empty() && file.is_file() => reader.file(&file, 0)?,
        _ => lines.iter().try_for_each(|line| reader.line(line, 0))?,
    }
    Ok(reader.lines)
}

/// `lines` without MLflow's own server: a model that its library loads by itself does not need it, and it brings many
/// packages.
pub(crate) fn without_mlflow(mut lines: Vec<String>) -> Vec<String> {
    const NAMES: [&str; 2] = ["mlflow", "mlflow-skinny"];
    lines.retain(|line| package_name(line).is_none_or(|name| !NAMES.contains(&name.as_str())));
    lines
}

/// `lines` with what the framework needs and they do not name. `recorded` are the packages that the model's file asks
/// for, with their versions.
pub(crate) fn complete(
    mut lines: Vec<String>,
    framework: Framework,
    engine: Engine,
    recorded: &[String],
) -> Vec<String> {
    if engine != Engine::External {
        let usual = usual(framework).iter().map(|package| (*package).to_owned());
        for package in recorded.iter().cloned().chain(usual).chain(["numpy".to_owned()]) {
            if !lines.iter().any(|line| same_package(line, &package)) {
                lines.push(package);
            }
        }
    }
    lines.sort();
    lines.dedup();
    lines
}

fn usual(framework: Framework) -> &'static [&'static str] {
    match framework {
        Framework::ScikitLearn => &["scikit-learn"],
        Framework::XGBoost => &[XGBOOST],
        Framework::LightGBM => &["lightgbm"],
        Framework::Onnx => &[ONNXRUNTIME],
        Framework::TensorFlow => &[TENSORFLOW],
        Framework::Keras => &["keras", TENSORFLOW],
        Framework::PyTorch => &["torch"],
        Framework::Custom => &[],
    }
}

fn same_package(line: &str, package: &str) -> bool {
    let (Some(a), Some(b)) = (package_name(line), package_name(package)) else { return false };
    a == b || SAME.iter().any(|names| names.contains(&a.as_str()) && names.contains(&b.as_str()))
}

/// Name of the package that a requirement asks for, in its normal form; `None` where it does not say.
fn package_name(line: &str) -> Option<String> {
    if let Some((_, egg)) = line.split_once("#egg=") {
        return package_name(egg);
    }
    let last = line.rsplit('/').next().unwrap_or(line);
    let wheel = last.strip_suffix(".whl").and_then(|wheel| wheel.split('-').next());
    let text = wheel.unwrap_or(line);
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let named = !name.is_empty() && !name.starts_with('-') && !rest.starts_with("://") && !rest.starts_with("+");
    named.then(|| name.to_ascii_lowercase().replace(['_', '.'], "-"))
}

/// Reads requirements as pip writes them.
struct Reader<'a> {
    /// The model's folder, which paths are relative to.
    folder: Option<&'a Path>,
    lines: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, file: &Path, depth: usize) -> Result<(), EnvironmentError> {
        let refused = |why: &str| refused(&file.display().to_string(), why);
        if depth > NESTED {
            return Err(refused("files include one another"));
        }
        let text = std::fs::read_to_string(file).map_err(|error| refused(&error.to_string()))?;
        text.replace("\\\r\n", " ").replace("\\\n", " ").lines().try_for_each(|line| self.line(line, depth))
    }

    fn line(&mut self, line: &str, depth: usize) -> Result<(), EnvironmentError> {
        if line.contains(['\n', '\r', '\0']) {
            return Err(refused(line, "write one package a line"));
        }
        let line = without_comment(line);
        if line.is_empty() {
            return Ok(());
        }
        if option(line, &["-e", "--editable"]).is_some() {
            return Err(refused(line, "write it without -e: a model's folder is never changed"));
        }
        if let Some(file) = option(line, &["-r", "--requirement"]) {
            let file = self.within(line, file)?;
            return self.file(&file, depth + 1);
        }
        let line = match option(line, &["-c", "--constraint"]) {
            Some(file) => format!("-c {}", self.within(line, file)?.display()),
            None if let Some(folder) = option(line, &["-f", "--find-links"])
                && self.folder.is_some()
                && !folder.contains("://")
                && !folder.starts_with('/') =>
            {
                format!("--find-links {}", self.within(line, folder)?.display())
            }
            None if line.starts_with("./") || line.starts_with("../") || line == "." => {
                self.within(line, line)?.display().to_string()
            }
            None => line.to_owned(),
        };
        self.lines.push(line);
        Ok(())
    }

    /// A path of a requirement, made absolute; it may not leave the model's folder.
    fn within(&self, line: &str, path: &str) -> Result<PathBuf, EnvironmentError> {
        let folder = self.folder.ok_or_else(|| refused(line, "a path needs a model that is a folder to be in"))?;
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(path).components().all(plain) {
            return Err(refused(line, "the path leads out of the model's folder"));
        }
        let path: PathBuf = folder.join(path).components().collect();
        if path.exists() { Ok(path) } else { Err(refused(line, "there is no such file in the model's folder")) }
    }
}

/// A line up to its comment, which begins at its start or after a space.
fn without_comment(line: &str) -> &str {
    let end = line.match_indices('#').map(|(at, _)| at);
    let mut ends = end.filter(|at| *at == 0 || line[..*at].ends_with(char::is_whitespace));
    line[..ends.next().unwrap_or(line.len())].trim()
}

/// The value of the option that `line` begins with, by one of its names.
fn option<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
    rest.starts_with([' ', '\t', '=']).then(|| rest[1..].trim())
}

fn refused(line: &str, why: &str) -> EnvironmentError {
    EnvironmentError::Requirement { line: mask(line).into_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str], framework: Framework, recorded: &[&str]) -> Vec<String> {
        let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        complete(own(lines), framework, Engine::Python, &own(recorded))
    }

    #[test]
    fn a_framework_comes_in_its_recorded_version() {
        assert_eq!(of(&[], Framework::ScikitLearn, &["scikit-learn==1.9.1"]), ["numpy", "scikit-learn==1.9.1"]);
        assert_eq!(of(&[], Framework::ScikitLearn, &[]), ["numpy", "scikit-learn"]);
        assert_eq!(of(&[], Framework::Custom, &[]), ["numpy"]);
    }

    #[test]
    fn what_the_user_names_is_not_named_again() {
        assert_eq!(
            of(&["Scikit_Learn>=1"], Framework::ScikitLearn, &["scikit-learn==1.9.1"]),
            ["Scikit_Learn>=1", "numpy"]
        );
        assert_eq!(of(&["xgboost==3.0", "numpy<2"], Framework::XGBoost, &[]), ["numpy<2", "xgboost==3.0"]);
        assert_eq!(
            of(&["torch @ https://host/torch-2.0-cp311.whl"], Framework::PyTorch, &[]),
            ["numpy", "torch @ https://host/torch-2.0-cp311.whl"]
        );
        assert_eq!(of(&["requests"], Framework::LightGBM, &[]), ["lightgbm", "numpy", "requests"]);
    }

    #[test]
    fn mlflows_own_server_is_left_out() {
        let lines = ["mlflow==3.1.0", "scikit-learn==1.9.1", "MLflow_skinny", "mlflow-plugin"].map(str::to_owned);
        assert_eq!(without_mlflow(lines.to_vec()), ["scikit-learn==1.9.1", "mlflow-plugin"]);
    }

    #[test]
    fn a_command_gets_what_it_asks_for_and_nothing_else() {
        let lines = vec!["flask".to_owned()];
        assert_eq!(complete(lines.clone(), Framework::Custom, Engine::External, &[]), lines);
    }

    #[test]
    fn names_are_found_in_every_form() {
        let check = |line: &str, name: Option<&str>| assert_eq!(package_name(line).as_deref(), name, "{line}");
        check("scikit-learn==1.9.1", Some("scikit-learn"));
        check("zope.interface [extra]>=2 ; python_version > '3'", Some("zope-interface"));
        check("git+https://host/x.git@main#egg=LightGBM", Some("lightgbm"));
        check("/models/abc/wheels/torch-2.1.0-cp311-linux.whl", Some("torch"));
        check("https://host/x.tar.gz", None);
        check("--index-url https://host/simple", None);
    }

    #[test]
    fn a_file_is_read_with_those_it_includes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("requirements.txt", "# ours\n-r base.txt\nflask>=2 # web\npandas \\\n  <3\n./pkg.whl\n-c limits.txt\n");
        write("base.txt", "six==1.16.0\n");
        write("limits.txt", "");
        write("pkg.whl", "");
        let found = given(&[], Some(folder.path())).unwrap();
        let within = |name: &str| folder.path().join(name).display().to_string();
        let limits = format!("-c {}", within("limits.txt"));
        assert_eq!(found, ["six==1.16.0", "flask>=2", "pandas    <3", &within("pkg.whl"), &limits]);
    }

    #[test]
    fn what_would_read_or_write_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for line in ["-e .", "-r ../secrets.txt", "../x.whl", "-c /etc/passwd", "six\n--index-url http://evil"] {
            assert!(given(&[line.to_owned()], Some(folder.path())).is_err(), "{line}");
        }
        std::fs::write(folder.path().join("requirements.txt"), "-r requirements.txt").unwrap();
        assert!(given(&[], Some(folder.path())).is_err());
    }
}
