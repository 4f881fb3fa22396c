//! Images: a model, the server that it needs and its packages as layers on a base image, written without a daemon and
//! without running anything of the model or of the image.

mod assembly;
mod base;
mod builder;
mod bytecode;
mod dependencies;
mod describe;
mod dockerfile;
mod document;
mod error;
mod glibc;
mod inspect;
mod layer;
mod layout;
mod lock;
mod own;
mod parts;
mod platform;
mod push;
mod recipe;
mod sbom;
mod settings;
mod store;

pub use builder::{BuildRequest, BuiltImage, ImageBuilder};
pub use error::{BuildError, ImageError};
pub use inspect::{ImageFacts, inspect};
pub use platform::{Platform, UnknownPlatform};
pub use push::Pushed;
pub use settings::ImageSettings;

/// Notes on layers that were made, by what they were made of.
const LAYERS: &str = "layers";
/// Notes on what is in base images, by their digests.
const FACTS: &str = "facts";
