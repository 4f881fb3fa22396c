//! What an image runs on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An operating system and a processor, as images name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Linux on x86-64.
    Amd64,
    /// Linux on 64-bit Arm.
    Arm64,
}

/// A platform that KEA makes no images for.
#[derive(Debug, thiserror::Error)]
#[error("images are made for linux/amd64 and linux/arm64, and not for `{0}`")]
pub struct UnknownPlatform(String);

impl Platform {
    /// That of this program.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// The processor, as images name it.
    pub(crate) fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Whether a manifest's `platform` is this one.
    pub(crate) fn is(self, platform: &Value) -> bool {
        platform["os"] == "linux" && platform["architecture"] == self.architecture()
    }

    /// As an index describes it.
    pub(crate) fn described(self) -> Value {
        json!({"architecture": self.architecture(), "os": "linux"})
    }

    /// What uv calls a machine of this kind with a glibc of 2018 or newer.
    pub(crate) fn uv_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-manylinux_2_28",
            Self::Arm64 => "aarch64-manylinux_2_28",
        }
    }

    /// The wheels' names of machines that such a one can stand for, best first.
    pub(crate) fn wheel_tags(self) -> Vec<String> {
        let machine = match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        };
        let versions = ["_2_28", "_2_27", "_2_26", "_2_24", "_2_17", "2014"];
        versions.iter().map(|version| format!("manylinux{version}_{machine}")).collect()
    }

    /// The number that programs of this kind begin with (`e_machine` of ELF).
    pub(crate) fn elf_machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }

    /// What loads programs of the GNU C library.
    pub(crate) fn loader(self) -> &'static str {
        match self {
            Self::Amd64 => "ld-linux-x86-64.so.2",
            Self::Arm64 => "ld-linux-aarch64.so.1",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())
    }
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "linux/amd64" | "linux/x86_64" | "amd64" => Ok(Self::Amd64),
            "linux/arm64" | "linux/arm64/v8" | "linux/aarch64" | "arm64" => Ok(Self::Arm64),
            other => Err(UnknownPlatform(other.to_owned())),
        }
    }
}
