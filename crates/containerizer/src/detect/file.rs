//! What one file is, by its content; its name counts only where the content has no mark.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use kea_core::Framework;

use super::{DetectError, Inspected, ends_with, name, pickled, unreadable, zipped};
use crate::pickle::{self, Compression};

/// What XGBoost's own files may be called: by other names it guesses, as it does by `.xgb`, which MLflow gives.
const UBJSON: &[&str] = &["ubj", "model", "bin", "xgb"];
const JSON: &[&str] = &["json", "model", "xgb"];
/// How much of a file's beginning and end is looked at.
const LOOK: usize = 4096;

/// What the file at `path` is.
pub(super) fn inspect(path: &Path) -> Result<Inspected, DetectError> {
    let (first, last) = ends(path).map_err(unreadable(path))?;
    let file = name(path);
    let compression = Compression::of(&first);
    if first.is_empty() {
        Err(DetectError::Empty { file })
    } else if first.starts_with(b"version https://git-lfs") {
        Err(DetectError::LfsPointer { file })
    } else if first.starts_with(b"PK\x03\x04") {
        zipped::inspect(path)
    } else if has_extension(path, "onnx") {
        onnx(&first, file)
    } else if let Some(refused) = refused(&first, &file) {
        Err(refused)
    } else if pickle::is_pickle(&first) || compression != Compression::None {
        pickled::inspect(path, compression)
    } else {
        by_text(&first, &last, path)
    }
}

/// Whether the file at `path`, of a folder of others, is a model's: what [`inspect`] would accept or explain.
pub(super) fn is_model(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "onnx" | "keras" | "h5" | "hdf5" | "pt" | "pth" | "pt2" | "joblib" | "pkl" | "pickle" | "skops" | "ubj"
        | "xgb" => true,
        "json" | "txt" | "model" | "lgb" | "bin" => {
            ends(path).is_ok_and(|(first, last)| by_text(&first, &last, path).is_ok())
        }
        _ => false,
    }
}

fn ends(path: &Path) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut file = File::open(path)?;
    let (mut first, mut last) = (Vec::new(), Vec::new());
    file.by_ref().take(LOOK as u64).read_to_end(&mut first)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOK as u64)))?;
    file.take(LOOK as u64).read_to_end(&mut last)?;
    Ok((first, last))
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(expected))
}

/// ONNX has no mark, but its first field is the format's version.
fn onnx(first: &[u8], file: String) -> Result<Inspected, DetectError> {
    match first {
        [0x08, 1..=0x40, ..] => Ok(Inspected::sure(Framework::Onnx, format!("`{file}` is an ONNX graph"))),
        _ => Err(DetectError::Unsupported {
            file,
            what: "called .onnx but is no ONNX graph".to_owned(),
            instead: "export the model to ONNX again, or copy the file in binary mode",
        }),
    }
}

/// Kinds that are known and cannot be served.
fn refused(first: &[u8], file: &str) -> Option<DetectError> {
    const TORCH_BEFORE_1_6: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    let unsupported =
        |what: &str, instead| Some(DetectError::Unsupported { file: file.to_owned(), what: what.to_owned(), instead });
    match first {
        _ if first.starts_with(b"\x89HDF") => {
            unsupported("an HDF5 file of an older Keras", "save it as `.keras` with `model.save(\"model.keras\")`")
        }
        _ if first.starts_with(TORCH_BEFORE_1_6) => zipped::weights_only(file).into(),
        _ if first.starts_with(b"binf") => old_xgboost(file.to_owned()).into(),
        _ if first.starts_with(b"{\"name\":\"tree\"") => {
            unsupported("LightGBM's description of a model", "save the model itself with `save_model(\"model.txt\")`")
        }
        _ if first.get(257..262) == Some(b"ustar") => unsupported("a tar archive", "unpack it and give the folder"),
        _ => None,
    }
}

fn by_text(first: &[u8], last: &[u8], path: &Path) -> Result<Inspected, DetectError> {
    let file = name(path);
    if first.starts_with(b"tree\n") || first.starts_with(b"tree\r\n") {
        ends_with(path, "a LightGBM model", &["txt", "model", "lgb"])?;
        return Ok(Inspected::sure(Framework::LightGBM, format!("`{file}` begins as LightGBM's models do")));
    }
    let ubjson = first.starts_with(b"{L\0\0\0\0\0\0\0\x07learner");
    let json = || first.starts_with(b"{") && contains(first, b"\"learner\"");
    if ubjson || json() {
        ends_with(path, "an XGBoost model", if ubjson { UBJSON } else { JSON })?;
        let mut found = Inspected::sure(Framework::XGBoost, format!("`{file}` holds XGBoost's `learner`"));
        found.needs = pickled::xgboost(version_at_end(last).as_deref());
        return Ok(found);
    }
    if has_extension(path, "xgb") {
        return Err(old_xgboost(file));
    }
    Err(DetectError::Unknown { file })
}

/// XGBoost's format before JSON, which has no mark of its own in later versions.
fn old_xgboost(file: String) -> DetectError {
    let what = "in XGBoost's old binary format".to_owned();
    DetectError::Unsupported { file, what, instead: "save it as `.ubj` or `.json` with `save_model`" }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// XGBoost's version, which it writes at the end: `"version":[3,2,0]}`, or the same in UBJSON.
fn version_at_end(last: &[u8]) -> Option<String> {
    let binary = (0..last.len()).rev().find_map(|at| pickle::ubjson_version(&last[at..]));
    binary.or_else(|| {
        let text = String::from_utf8_lossy(last);
        let (_, after) = text.rsplit_once("\"version\":[")?;
        let (numbers, _) = after.split_once(']')?;
        pickle::version(&numbers.replace(',', ".").replace(' ', ""))
    })
}
