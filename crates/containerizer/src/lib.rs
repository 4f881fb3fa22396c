//! Model Containerizer: it brings a model from wherever it is, and the Python environment that it needs, into KEA's own
//! folder, finds out what made the model, and makes an image of it.
//!
//! Nothing of a model is run or unpickled here; a model's packages are installed into an environment of its own, or into
//! a layer, and never into the user's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod detect;
mod downloads;
mod environment;
mod error;
mod excluded;
mod fetch;
mod image;
mod locks;
mod mask;
mod pickle;
mod progress;
mod python;
mod registry;
mod requirements;
mod schema;
mod shelf;
mod source;
mod tool;
mod tree;
mod unpack;
mod within;
mod workspace;

pub use detect::DetectError;
pub use environment::EnvironmentError;
pub use error::{FetchError, PrepareError};
pub use image::{
    BuildError, BuildRequest, BuiltImage, ImageBuilder, ImageError, ImageFacts, ImageSettings, Platform, Pushed,
    UnknownPlatform, inspect,
};
pub use mask::shown_source;
pub use progress::{Progress, Quiet};
pub use registry::{Logins, RegistryEndpoint, RegistryError, RegistrySettings};
pub use shelf::size;
pub use workspace::{Limits, Workspace, check, source_contract};

/// Name of the step that copies the model, as [`Progress`] is told.
pub const FETCH: &str = "fetch the model";
/// Name of the step that finds out what made the model.
pub const RECOGNISE: &str = "recognise the framework";
/// Name of the step that makes the Python environment.
pub const ENVIRONMENT: &str = "make the environment";
/// Name of the step that finds the base image.
pub const BASE: &str = "find the base image";
/// Name of the step that makes the image's layer of packages.
pub const DEPENDENCIES: &str = "install the image's packages";
/// Name of the step that puts the image together.
pub const IMAGE: &str = "write the image";
/// Name of the step that sends the image to its registry.
pub const PUSH: &str = "push the image";
