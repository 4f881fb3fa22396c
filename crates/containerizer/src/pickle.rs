//! Reads what a pickle mentions without unpickling it: which classes it is made of, and the version of scikit-learn
//! that wrote it.
//!
//! joblib writes arrays' bytes between a pickle's opcodes, so that it cannot be followed from opcode to opcode. Instead
//! the bytes are searched for the opcodes that name a class and for those that hold the recorded version; what is
//! required around them is strict enough for arrays not to look like them.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// What a pickle mentions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// Module and name of the outermost object's class.
    pub(crate) root: Option<(String, String)>,
    /// First parts of the modules of all classes and functions.
    pub(crate) packages: BTreeSet<String>,
    /// scikit-learn's version.
    pub(crate) sklearn: Option<String>,
    /// XGBoost's version.
    pub(crate) xgboost: Option<String>,
    /// Something of `__main__`: a class or function of the script that wrote it, which no other program has.
    pub(crate) own: Option<String>,
    /// Whether the model was fitted with a data frame, or picks columns by name.
    pub(crate) frames: bool,
    /// Whether xgboost's or lightgbm's classes that imitate scikit-learn's are among them.
    pub(crate) imitates_sklearn: bool,
    /// `a dict` or `a list`, where the outermost object is one.
    pub(crate) container: Option<&'static str>,
}

/// How a file is compressed, as its first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Zlib,
    Gzip,
    /// One that is not unpacked here, by its name.
    Other(&'static str),
}

impl Compression {
    /// What joblib may have compressed a file with.
    pub(crate) fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Self::Zlib,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Other("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Other("xz"),
            [0x5d, 0, 0, ..] => Self::Other("lzma"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Other("lz4"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Other("zstd"),
            _ => Self::None,
        }
    }

    /// `reader` unpacked; what cannot be unpacked is passed as it is.
    pub(crate) fn unpack<'a>(self, reader: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::Zlib => Box::new(ZlibDecoder::new(reader)),
            Self::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Self::None | Self::Other(_) => Box::new(reader),
        }
    }
}

/// Whether a file that begins so is a pickle.
pub(crate) fn is_pickle(first: &[u8]) -> bool {
    match first {
        [0x80, 1..=5, ..] => true,
        [b'c', ..] | [b'(', b'i' | b'd' | b'l' | b'c', ..] => {
            let start = first.iter().position(|byte| *byte == b'c').unwrap_or(0);
            classic_global(&first[start..]).is_some() || first.starts_with(b"(d") || first.starts_with(b"(l")
        }
        _ => false,
    }
}

/// Most bytes, unpacked, that are searched: what fits into a few seconds. A version recorded later is not found.
const SEARCHED: u64 = 4 << 30;
/// How much is searched at once.
const WINDOW: usize = 1 << 20;
/// The longest thing searched for: opcode, module, opcode, name, opcode.
const LONGEST: usize = 1 << 10;
/// The longest name that is taken for one.
const NAME: usize = 255;

/// Searches a pickle, unpacked.
pub(crate) fn mentions(reader: impl Read) -> io::Result<Mentions> {
    let mut reader = reader.take(SEARCHED);
    let mut found = Mentions::default();
    let mut window = Vec::with_capacity(WINDOW + LONGEST);
    let mut first = true;
    loop {
        let read = reader.by_ref().take(WINDOW as u64).read_to_end(&mut window)?;
        if first {
            found.container = container(&window);
            first = false;
        }
        let last = read == 0;
        let searched = if last { window.len() } else { window.len().saturating_sub(LONGEST) };
        let mut at = 0;
        while at < searched {
            at += found.look(&window[at..]);
        }
        if last {
            return Ok(found);
        }
        window.drain(..at);
    }
}

impl Mentions {
    /// Takes what begins at the first of `bytes`, and returns how many of them cannot begin anything else.
    fn look(&mut self, bytes: &[u8]) -> usize {
        match bytes[0] {
            0x8c | b'X' => self.look_at_text(bytes),
            b'V' if self.sklearn.is_none() => self.look_at_line(bytes),
            b'c' => {
                if let Some((module, name)) = classic_global(bytes) {
                    self.class(module, name);
                    return 1 + module.len() + 1 + name.len() + 1;
                }
            }
            b'v' if self.xgboost.is_none() => self.xgboost = ubjson_version(bytes),
            _ => {}
        }
        1
    }

    fn look_at_text(&mut self, bytes: &[u8]) {
        let Some((value, rest)) = text(bytes) else { return };
        match value {
            "_sklearn_version" if self.sklearn.is_none() => {
                self.sklearn = text(after_memo(rest)).and_then(|(value, _)| version(value));
            }
            "feature_names_in_" => self.frames = true,
            module if is_module(module) => {
                if let Some(name) = global_name(after_memo(rest)) {
                    self.class(module, name);
                }
            }
            _ => {}
        }
    }

    /// The texts of protocol 0, which are lines.
    fn look_at_line(&mut self, bytes: &[u8]) {
        let Some(rest) = bytes.strip_prefix(b"V_sklearn_version\np") else { return };
        let value = rest.iter().position(|byte| *byte == b'\n').map(|end| &rest[end + 1..]);
        let line = value.and_then(|value| value.strip_prefix(b"V")).and_then(line);
        self.sklearn = line.and_then(|(value, _)| version(value));
    }

    /// Takes the class or function `name` of `module`; the name is empty where it is only referred to.
    fn class(&mut self, module: &str, name: &str) {
        let package = module.split('.').next().unwrap_or(module);
        if package == "__main__" && self.own.is_none() {
            self.own = Some(name.to_owned());
        }
        self.frames |= package == "pandas" || name == "ColumnTransformer";
        self.imitates_sklearn |= matches!(module, "xgboost.sklearn" | "lightgbm.sklearn");
        if self.root.is_none() && !HELPERS.contains(&package) {
            self.root = Some((module.to_owned(), name.to_owned()));
        }
        self.packages.insert(package.to_owned());
    }
}

/// Packages whose functions only rebuild an object and are not what it is.
const HELPERS: [&str; 8] =
    ["copyreg", "copy_reg", "builtins", "__builtin__", "joblib", "numpy", "_codecs", "collections"];

/// What the outermost object is, where it is a plain container.
fn container(bytes: &[u8]) -> Option<&'static str> {
    let body = match bytes {
        [0x80, 4 | 5, 0x95, rest @ ..] => rest.get(8..)?,
        [0x80, _, rest @ ..] => rest,
        rest => rest,
    };
    match body {
        [b'}', ..] | [b'(', b'd', ..] => Some("a dict"),
        [b']', ..] | [b'(', b'l', ..] => Some("a list"),
        _ => None,
    }
}

/// A short text's opcode (SHORT_BINUNICODE, BINUNICODE): the text and what follows it.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = match bytes {
        [0x8c, length, rest @ ..] => (usize::from(*length), rest),
        [b'X', a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [b'V', rest @ ..] => return line(rest),
        _ => return None,
    };
    if length == 0 || length > NAME || rest.len() < length {
        return None;
    }
    let (value, rest) = rest.split_at(length);
    Some((std::str::from_utf8(value).ok()?, rest))
}

/// What follows the opcode, if there is one, that keeps a value for later (MEMOIZE, BINPUT, LONG_BINPUT).
fn after_memo(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0x94, rest @ ..] | [b'q', _, rest @ ..] | [b'r', _, _, _, _, rest @ ..] => rest,
        rest => rest,
    }
}

/// The name that STACK_GLOBAL takes from `bytes`; empty where it was kept before and is only referred to.
fn global_name(bytes: &[u8]) -> Option<&str> {
    const STACK_GLOBAL: u8 = 0x93;
    let (name, rest) = match bytes {
        [b'h', _, rest @ ..] | [b'j', _, _, _, _, rest @ ..] => ("", rest),
        rest => text(rest).map(|(name, rest)| (name, after_memo(rest)))?,
    };
    (rest.first() == Some(&STACK_GLOBAL)).then_some(name)
}

/// GLOBAL of protocols 0 to 3: module and name, a line each.
fn classic_global(bytes: &[u8]) -> Option<(&str, &str)> {
    let (module, rest) = line(bytes.strip_prefix(b"c")?)?;
    let (name, _) = line(rest)?;
    (is_module(module) && is_module(name)).then_some((module, name))
}

fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().take(NAME).position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

fn is_module(text: &str) -> bool {
    text.split('.').all(|part| {
        let letters = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        letters && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    })
}

/// `text`, where it is a version's number: it becomes part of what pip is told.
pub(crate) fn version(text: &str) -> Option<String> {
    let digit = text.bytes().next().is_some_and(|first| first.is_ascii_digit());
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    (digit && plain && text.len() < 30).then(|| text.to_owned())
}

/// XGBoost's version as UBJSON has it: `version` and an array of three integers.
pub(crate) fn ubjson_version(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes.strip_prefix(b"version[#L\0\0\0\0\0\0\0\x03")?;
    let mut parts = Vec::new();
    for _ in 0..3 {
        let (kind, after) = rest.split_first()?;
        let width = match kind {
            b'i' | b'U' => 1,
            b'I' => 2,
            b'l' => 4,
            b'L' => 8,
            _ => return None,
        };
        let digits = after.get(..width)?;
        parts.push(digits.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte)).to_string());
        rest = &after[width..];
    }
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Mentions {
        let bytes = std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        mentions(Compression::of(&bytes).unpack(&bytes[..])).unwrap()
    }

    fn logistic_regression() -> Option<(String, String)> {
        Some(("sklearn.linear_model._logistic".to_owned(), "LogisticRegression".to_owned()))
    }

    #[test]
    fn class_and_version_are_read_from_every_protocol_and_compression() {
        for name in [
            "iris.joblib",
            "iris.pkl",
            "iris-protocol2.pkl",
            "iris-protocol0.pkl",
            "iris-zlib.joblib",
            "iris-gzip.joblib",
        ] {
            let found = read(name);
            assert_eq!(found.root, logistic_regression(), "{name}");
            assert_eq!(found.sklearn.as_deref(), Some("1.9.1"), "{name}");
            assert!(!found.frames && found.own.is_none() && found.container.is_none(), "{name}");
        }
    }

    #[test]
    fn every_beginning_of_a_pickle_is_known_for_one() {
        for name in ["iris.joblib", "iris-protocol2.pkl", "iris-protocol0.pkl", "numbers.pkl"] {
            let bytes = std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            assert!(is_pickle(&bytes), "{name}");
        }
        assert!(!is_pickle(b"class Model:\n    pass\n"));
        assert!(!is_pickle(b"{\"a\": 1}"));
    }

    #[test]
    fn a_model_fitted_with_a_data_frame_is_known() {
        let found = read("frame.joblib");
        assert!(found.frames);
        assert_eq!(found.root.unwrap().1, "Pipeline");
    }

    #[test]
    fn a_function_of_the_script_is_found() {
        assert_eq!(read("own-function.joblib").own.as_deref(), Some("identity"));
    }

    #[test]
    fn a_dict_is_no_model() {
        assert_eq!(read("numbers.pkl").container, Some("a dict"));
    }

    #[test]
    fn boosters_are_found_with_their_version() {
        let found = read("boosted.joblib");
        assert_eq!(found.root.unwrap().0, "xgboost.sklearn");
        assert_eq!(found.xgboost.as_deref(), Some("3.2.0"));
        let found = read("light-pipeline.joblib");
        assert!(found.packages.contains("sklearn") && found.packages.contains("lightgbm"));
    }

    #[test]
    fn what_lies_across_two_windows_is_found() {
        let bytes = std::fs::read(format!("{}/fixtures/iris.joblib", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for shift in [0, 500, 800, 960, 980] {
            let mut padded = vec![0; WINDOW - shift];
            padded.extend_from_slice(&bytes);
            let found = mentions(&padded[..]).unwrap();
            assert_eq!((found.root, found.sklearn.as_deref()), (logistic_regression(), Some("1.9.1")), "{shift}");
        }
    }

    #[test]
    fn a_version_that_is_none_is_not_passed_on() {
        assert_eq!(version("1.9.1"), Some("1.9.1".to_owned()));
        assert_eq!(version("1.9 --index-url http://evil"), None);
        assert_eq!(version(""), None);
    }
}
