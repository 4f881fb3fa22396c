//! Model Containerizer, for one machine: it brings a model from wherever it is, and the Python environment that it
//! needs, into KEA's own folder, and finds out what made the model.
//!
//! Nothing of a model is run or unpickled here; a model's packages are installed into an environment of its own and
//! never into the user's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod detect;
mod downloads;
mod environment;
mod error;
mod excluded;
mod fetch;
mod pickle;
mod progress;
mod python;
mod requirements;
mod schema;
mod shelf;
mod source;
mod tool;
mod tree;
mod unpack;
mod workspace;

pub use detect::DetectError;
pub use environment::EnvironmentError;
pub use error::{FetchError, PrepareError};
pub use progress::{Progress, Quiet};
pub use workspace::{Limits, Workspace, check};

/// Name of the step that copies the model, as [`Progress`] is told.
pub const FETCH: &str = "fetch the model";
/// Name of the step that finds out what made the model.
pub const RECOGNISE: &str = "recognise the framework";
/// Name of the step that makes the Python environment.
pub const ENVIRONMENT: &str = "make the environment";
