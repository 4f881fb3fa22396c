//! How images are made, wherever they are made.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use super::Platform;
use crate::{RegistryError, RegistrySettings};

/// What is used where nothing is said: the smallest bases with the GNU C library that everybody has at hand.
const BASE_ONNX: &str = "docker.io/library/debian:bookworm-slim";
const BASE_PYTHON: &str = "docker.io/library/python:{python}-slim";
const PYTHON: &str = "3.11";

/// How images are made.
#[derive(Clone, Debug)]
pub struct ImageSettings {
    /// Where layers are kept between builds.
    pub folder: PathBuf,
    /// Base of images without Python.
    pub base_onnx: String,
    /// Base of images with Python; `{python}` stands for the version.
    pub base_python: String,
    /// Python's version where neither the model nor the user asks for one.
    pub python: String,
    /// How registries are spoken to.
    pub registries: RegistrySettings,
    /// KEA's own program for each platform.
    pub programs: BTreeMap<Platform, PathBuf>,
    /// What builds folders with a Dockerfile: `buildah` or `buildctl`.
    pub dockerfile_builder: Option<String>,
    /// How long one tool may take.
    pub tool: Duration,
    /// Most bytes of one layer, as its files are.
    pub layer: u64,
}

impl ImageSettings {
    /// What is used where nothing is said; `program` is KEA's own for this machine.
    pub fn new(folder: PathBuf, program: PathBuf) -> Self {
        Self {
            folder,
            base_onnx: BASE_ONNX.to_owned(),
            base_python: BASE_PYTHON.to_owned(),
            python: PYTHON.to_owned(),
            registries: RegistrySettings::default(),
            programs: BTreeMap::from([(Platform::HOST, program)]),
            dockerfile_builder: None,
            tool: Duration::from_secs(20 * 60),
            layer: 32 << 30,
        }
    }

    /// The same with what the variables `KEA_BASE_IMAGE_ONNX`, `KEA_BASE_IMAGE_PYTHON`, `KEA_PLAIN_HTTP_REGISTRIES`
    /// and `KEA_REGISTRY_ENDPOINTS` (separated by commas) and `KEA_DOCKERFILE_BUILDER` say.
    ///
    /// # Errors
    /// An endpoint is none.
    pub fn with_env(mut self) -> Result<Self, RegistryError> {
        let given = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        self.base_onnx = given("KEA_BASE_IMAGE_ONNX").unwrap_or(self.base_onnx);
        self.base_python = given("KEA_BASE_IMAGE_PYTHON").unwrap_or(self.base_python);
        self.dockerfile_builder = given("KEA_DOCKERFILE_BUILDER").or(self.dockerfile_builder);
        if let Some(registries) = given("KEA_PLAIN_HTTP_REGISTRIES") {
            self.registries.plain_http = parts(&registries).map(str::to_owned).collect();
        }
        if let Some(endpoints) = given("KEA_REGISTRY_ENDPOINTS") {
            self.registries.endpoints = parts(&endpoints).map(str::parse).collect::<Result<_, _>>()?;
        }
        Ok(self)
    }
}

/// What stands between commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}
