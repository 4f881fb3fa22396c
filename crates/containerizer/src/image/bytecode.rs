//! Bytecode for the packages of an image, the same to the byte each time: compiled by a Python of the image's version,
//! for the place that the files have in the image, with hashes where there would be times.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::dependencies::named;
use crate::python::Python;

/// Processes that compile. What a process has compiled before can show in what it writes next, so their number is
/// fixed and each takes the same files every time.
const SHARES: usize = 4;

const COMPILE: &str = "
import os, py_compile, sys, zlib
folder, place, share, shares = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
files = []
for path, folders, names in os.walk(folder):
    files += [os.path.relpath(os.path.join(path, name), folder) for name in names if name.endswith('.py')]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for name in sorted(files):
    if zlib.crc32(os.fsencode(name)) % shares == share:
        # What is not of this Python's syntax, as templates and other versions' code, is left as it is.
        py_compile.compile(os.path.join(folder, name), dfile=os.path.join(place, name), quiet=2, invalidation_mode=mode)
";

/// A Python that compiles for an image.
pub(super) struct Compiler {
    program: PathBuf,
    /// What tells it apart from others.
    pub(super) build: String,
}

/// The Python of this machine that compiles for `version`, as `3.11`: KEA's own, or another of the search path.
pub(super) fn compiler(own: &Python, version: &str) -> Option<Compiler> {
    let (major, minor, _) = own.version;
    if format!("{major}.{minor}") == version {
        return Some(Compiler { program: own.executable.clone(), build: own.version_text() });
    }
    named(version).map(|program| Compiler { build: format!("{version} of {}", program.display()), program })
}

/// The commands that together compile what is in `folder`, for its `place` in the image.
pub(super) fn commands(compiler: &Compiler, folder: &Path, place: &str) -> Vec<Vec<OsString>> {
    let command = |share: usize| {
        let mut line: Vec<OsString> = vec!["env".into(), "PYTHONHASHSEED=0".into(), compiler.program.clone().into()];
        line.extend(["-s", "-S", "-c", COMPILE].map(OsString::from));
        line.extend([folder.into(), place.into(), share.to_string().into(), SHARES.to_string().into()]);
        line
    };
    (0..SHARES).map(command).collect()
}
