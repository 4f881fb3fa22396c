//! `kea init`: a folder to start a model from, which deploys as it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use kea_core::ServiceId;
use serde_json::json;

use crate::{failure::Failure, output::Output};

/// Where the name of the service goes.
const PLACEHOLDER: &str = "{{service}}";

/// What kind of model, and where.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to make; its last part names the service
    name: PathBuf,
    /// What the model is made with
    #[arg(long, value_enum, default_value = "custom")]
    framework: Template,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Template {
    /// A Python class of one's own
    Custom,
    /// A trained scikit-learn model
    #[value(name = "sklearn", alias = "scikit-learn")]
    ScikitLearn,
    /// A model in the ONNX format
    Onnx,
}

/// A folder that has files of somebody's own.
#[derive(Debug, thiserror::Error)]
#[error("{} is not empty, and nothing in it is overwritten: choose another name", .0.display())]
pub(crate) struct FolderNotEmpty(PathBuf);

macro_rules! files {
    ($folder:literal: $($name:literal),*) => {
        &[$(($name, include_bytes!(concat!("../templates/", $folder, "/", $name)))),*]
    };
}

impl Template {
    /// Names and contents of its files.
    fn files(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            Self::Custom => files!("custom": "model.py", "requirements.txt", "kea.yaml", "test_model.py", "README.md"),
            Self::ScikitLearn => {
                files!("sklearn": "model.joblib", "train.py", "requirements.txt", "kea.yaml", "test_model.py", "README.md")
            }
            Self::Onnx => {
                files!("onnx": "model.onnx", "train.py", "requirements.txt", "kea.yaml", "test_model.py", "README.md")
            }
        }
    }
}

/// Makes the folder.
pub(crate) fn run(output: Output, args: &InitArgs) -> Result<(), Failure> {
    let service = service_of(&args.name)?;
    refuse_files(&args.name)?;
    let files = args.framework.files();
    write(&args.name, &service, files).map_err(|source| Failure::File { path: args.name.clone(), source })?;

    let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
    let folder = args.name.display();
    let human = format!("made {folder} with {}\n\n  kea deploy -f {folder}/kea.yaml", names.join(", "));
    output.result(&json!({"folder": folder.to_string(), "service": service, "files": names}), &human)
}

fn service_of(folder: &Path) -> Result<ServiceId, Failure> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    ServiceId::derive(&name).map_err(|error| Failure::Usage(error.to_string()))
}

fn refuse_files(folder: &Path) -> Result<(), Failure> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(FolderNotEmpty(folder.into()).into()),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Failure::File { path: folder.into(), source }),
    }
}

fn write(folder: &Path, service: &ServiceId, files: &[(&str, &[u8])]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content) in files {
        let path = folder.join(name);
        match std::str::from_utf8(content) {
            Ok(text) => fs::write(path, text.replace(PLACEHOLDER, service.as_str()))?,
            Err(_) => fs::write(path, content)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kea_core::documents::deploy_requests;
    use serde::Deserialize;

    use super::*;
    use crate::output::Format;

    const TEMPLATES: [Template; 3] = [Template::Custom, Template::ScikitLearn, Template::Onnx];

    fn init(folder: &Path, framework: Template) -> Result<(), Failure> {
        run(Output::new(Format::Table), &InitArgs { name: folder.into(), framework })
    }

    #[test]
    fn each_folder_has_a_model_that_its_documents_deploy() {
        for template in TEMPLATES {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("My_Model");
            init(&folder, template).unwrap();
            let yaml = fs::read_to_string(folder.join("kea.yaml")).unwrap();
            let documents =
                serde_yaml_ng::Deserializer::from_str(&yaml).map(|d| serde_json::Value::deserialize(d).unwrap());
            let requests = deploy_requests(documents.collect()).unwrap();
            assert_eq!(requests[0].service_id.as_ref().unwrap().as_str(), "my-model");
            assert!(folder.join(requests[0].source_code.as_ref().unwrap()).exists(), "{template:?}");
            assert!(fs::read_to_string(folder.join("README.md")).unwrap().starts_with("# my-model\n"));
        }
    }

    #[test]
    fn the_class_of_a_custom_model_can_be_read() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("iris");
        init(&folder, Template::Custom).unwrap();
        let model = kea_openapi::source::read(&folder).unwrap();
        assert_eq!(model.class.as_deref(), Some("IrisClassifier"));
        assert_eq!(model.contract.function_names(), ["predict", "centroid"]);
        assert_eq!(model.contract.incomplete, Vec::<String>::new());
    }

    #[test]
    fn trained_models_are_written_byte_for_byte() {
        for (template, file) in [(Template::ScikitLearn, "model.joblib"), (Template::Onnx, "model.onnx")] {
            let parent = tempfile::tempdir().unwrap();
            init(&parent.path().join("x"), template).unwrap();
            let (_, content) = template.files().iter().find(|(name, _)| *name == file).unwrap();
            assert_eq!(fs::read(parent.path().join("x").join(file)).unwrap(), *content);
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        init(&empty, Template::Custom).unwrap();
        assert!(matches!(init(&empty, Template::Custom), Err(Failure::FolderNotEmpty(_))));
    }

    #[test]
    fn a_name_that_no_service_can_have_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(init(&folder.path().join("audit"), Template::Custom), Err(Failure::Usage(_))));
        assert!(!folder.path().join("audit").exists());
    }
}
