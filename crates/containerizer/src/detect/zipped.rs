//! What a zip archive is: Keras', PyTorch's and skops' models are such.

use std::{io, path::Path};

use kea_core::Framework;
use serde_json::Value;

use super::{DetectError, Inspected, ends_with, name, pickled, unreadable};
use crate::{archive::Archive, pickle, schema};

/// Most bytes of a description within an archive that are read.
const DESCRIPTION: u64 = 64 << 20;

/// What the zip archive at `path` is.
pub(super) fn inspect(path: &Path) -> Result<Inspected, DetectError> {
    let file = name(path);
    let mut archive = Archive::open(path).map_err(unreadable(path))?;
    let has = |entry: &str| archive.any(|name| name == entry);
    let in_folder = |entry: &str| archive.any(|name| name.split_once('/').is_some_and(|(_, rest)| rest == entry));
    if has("schema.json") {
        skops(&mut archive, path)
    } else if has("metadata.json") && has("config.json") {
        ends_with(path, "a Keras archive", &["keras"])?;
        Ok(keras(&mut archive, &file))
    } else if archive.any(|name| name.contains("/code/")) && in_folder("constants.pkl") {
        ends_with(path, "a TorchScript program", &["pt", "pth", "ts", "torchscript"])?;
        let why = format!("`{file}` holds a TorchScript program");
        Ok(Inspected { notes: vec![TORCH_SIZE.to_owned()], ..Inspected::sure(Framework::PyTorch, why) })
    } else if has("serialized_exported_program.json") || in_folder("archive_format") {
        ends_with(path, "an exported PyTorch program", &["pt2"])?;
        Ok(exported(&mut archive, &file))
    } else if archive.find("data.pkl").is_some() {
        Err(weights_only(&file))
    } else {
        let instead = "unpack it and give the folder";
        Err(DetectError::Unsupported { file, what: "a zip archive".to_owned(), instead })
    }
}

/// How much of a schema tells whether it is skops' own.
const SCHEMA_BEGINS: u64 = 4096;

/// Whether the zip archive at `path` is a model's file, whatever it is called, and not a bundle of files. Stricter than
/// [`inspect`]: a bundle may hold a file that is called as one of a model's.
pub(crate) fn is_model(path: &Path) -> io::Result<bool> {
    let mut archive = Archive::open(path)?;
    let has = |entry: &str| archive.any(|name| name == entry);
    let in_folder = |entry: &str| archive.any(|name| name.split_once('/').is_some_and(|(_, rest)| rest == entry));
    let keras = has("metadata.json") && has("config.json") && has("model.weights.h5");
    let script = in_folder("constants.pkl") && archive.any(|name| name.contains("/code/"));
    let exported = has("serialized_exported_program.json") || in_folder("archive_format");
    let weights = in_folder("data.pkl") && in_folder("version");
    let has_schema = has("schema.json");
    let schema = has_schema.then(|| archive.read("schema.json", SCHEMA_BEGINS)).transpose()?;
    let skops = schema.is_some_and(|schema| schema.windows(11).any(|part| part == b"\"__class__\""));
    Ok(keras || script || exported || weights || skops)
}

/// A PyTorch file that holds weights, or a module that only its author's code can load.
pub(super) fn weights_only(file: &str) -> DetectError {
    DetectError::Unsupported {
        file: file.to_owned(),
        what: "written by torch.save, which keeps weights or a module without its code".to_owned(),
        instead: "export it with `torch.jit.script(model).save(\"model.pt\")` or `torch.export.save(torch.export.export(model, args), \"model.pt2\")`",
    }
}

const TORCH_SIZE: &str = "PyTorch's usual build for Linux includes CUDA; with uv, the server's environment variable UV_TORCH_BACKEND=cpu gives the small one";

fn exported(archive: &mut Archive, file: &str) -> Inspected {
    let why = format!("`{file}` holds an exported PyTorch program");
    let version = torch_version(archive);
    let needs = version.map(|version| format!("torch=={version}")).into_iter().collect();
    Inspected { needs, notes: vec![TORCH_SIZE.to_owned()], ..Inspected::sure(Framework::PyTorch, why) }
}

/// PyTorch's version, which the program's description has: exported programs are read by few others.
fn torch_version(archive: &mut Archive) -> Option<String> {
    let entry = archive.find("serialized_exported_program.json").or_else(|| archive.find("model.json"))?;
    let description: Value = serde_json::from_slice(&archive.read(&entry, DESCRIPTION).ok()?).ok()?;
    let recorded = description.get("torch_version")?.as_str()?;
    pickle::version(recorded.split('+').next()?)
}

fn keras(archive: &mut Archive, file: &str) -> Inspected {
    let metadata = archive.read("metadata.json", DESCRIPTION).ok();
    let metadata: Option<Value> = metadata.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let version = metadata.as_ref().and_then(|metadata| metadata.get("keras_version")?.as_str());
    let needs = version.and_then(pickle::version).map(|version| keras_packages(&version)).unwrap_or_default();
    Inspected { needs, ..Inspected::sure(Framework::Keras, format!("`{file}` is Keras' own archive")) }
}

/// Keras 3 reads what any earlier Keras 3 wrote. Keras 2 came as a part of TensorFlow, the last time in 2.15.
fn keras_packages(version: &str) -> Vec<String> {
    let tensorflow = crate::requirements::TENSORFLOW;
    if version.starts_with("2.") {
        vec![format!("{tensorflow}<2.16")]
    } else {
        vec![format!("keras>={version}"), tensorflow.to_owned()]
    }
}

fn skops(archive: &mut Archive, path: &Path) -> Result<Inspected, DetectError> {
    ends_with(path, "a skops file", &["skops"])?;
    let bytes = archive.read("schema.json", DESCRIPTION).map_err(unreadable(path))?;
    let schema: Value = serde_json::from_slice(&bytes).map_err(|error| unreadable(path)(error.into()))?;
    let mut found = pickled::judge(path, &schema::mentions(&schema))?;
    found.needs.push("skops".to_owned());
    Ok(found)
}
