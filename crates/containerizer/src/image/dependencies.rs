//! The layer of a model's Python packages: resolved to a lock with hashes, installed for the image's Python and
//! processor without running either, and made once for each set of requirements.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kea_core::management::StepState;
use serde::{Deserialize, Serialize};

use super::{
    ImageError, LAYERS, Platform, bytecode,
    layer::{self, Effort, Files, Layer},
    lock::{self, Locked},
    store::{self, Scratch, Store},
};
use crate::{
    DEPENDENCIES, EnvironmentError, Progress,
    environment::Installer,
    locks::Held,
    mask::mask,
    progress::blocking,
    python::{Python, on_path},
    tool::Run,
};

/// Where packages are in an image.
pub(crate) const SITE: &str = "opt/kea/python";
/// Where ONNX Runtime's library is in an image.
pub(crate) const LIBRARIES: &str = "opt/kea/lib";
/// Where the lock is in an image.
const LOCK: &str = "opt/kea/requirements.lock";

/// What is installed.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Packages, as pip writes them, sorted.
    pub(crate) packages: Vec<String>,
    /// Python's version as `3.11`.
    pub(crate) python: String,
    pub(crate) platform: Platform,
    /// Only the shared library of ONNX Runtime, of its package alone.
    pub(crate) only_onnxruntime: bool,
    /// The folder that paths in `packages` lead into.
    pub(crate) root: Option<PathBuf>,
}

/// A layer of packages, and what is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dependencies {
    pub(crate) layer: Layer,
    pub(crate) packages: Vec<Locked>,
    /// Name of ONNX Runtime's library, where that was asked for.
    pub(crate) onnxruntime: Option<String>,
    /// Whether the packages come with bytecode.
    pub(crate) compiled: bool,
}

/// How packages are installed.
pub(crate) struct Tools<'a> {
    /// Python of this machine, which starts the tools.
    pub(crate) python: &'a Python,
    pub(crate) installer: &'a Installer,
    /// How long one run may take.
    pub(crate) limit: Duration,
    /// Most bytes of a layer.
    pub(crate) bytes: u64,
}

impl Wanted {
    /// A name for the layer, the same wherever the model's folder is.
    pub(crate) fn key(&self, installer: &Installer) -> Result<String, ImageError> {
        let installer = match installer {
            Installer::Uv(_) => "uv",
            Installer::Pip => "pip",
        };
        let platform = self.platform.to_string();
        let what = if self.only_onnxruntime { "library" } else { "packages" };
        let parts = [layer::FORMAT, installer, &self.python, &platform, what];
        let local = self.packages.iter().map(|line| self.line_key(line)).collect::<Result<Vec<_>, _>>()?;
        Ok(store::key(parts.into_iter().chain(local.iter().map(String::as_str))))
    }

    /// A requirement without the model's place, and with the content of the file that it names there.
    fn line_key(&self, line: &str) -> Result<String, ImageError> {
        if let Some(folder) = found_in(line) {
            let root = self.root.as_ref().and_then(|root| root.to_str()).unwrap_or("\0");
            return Ok(format!("{} {}", line.replace(root, "."), wheels_key(&folder)?));
        }
        let Some(root) = self.root.as_ref().and_then(|root| root.to_str()) else { return Ok(line.to_owned()) };
        let Some((_, path)) = line.split_once(root) else { return Ok(line.to_owned()) };
        let path = Path::new(root).join(path.trim_start_matches('/').trim());
        let content = match path.is_file() {
            true => store::digest_of(&path).map_err(|why| ImageError::Unreadable { path: path.clone(), why })?,
            false => [0; 32],
        };
        Ok(format!("{} {}", line.replace(root, "."), hex::encode(content)))
    }
}

/// The folder of this machine in which packages are found, where a line names one.
fn found_in(line: &str) -> Option<PathBuf> {
    let value =
        line.strip_prefix("--find-links").or_else(|| line.strip_prefix("-f"))?.trim_start_matches(['=', ' ', '\t']);
    let path = PathBuf::from(value.trim().strip_prefix("file://").unwrap_or(value.trim()));
    (path.is_absolute() && path.is_dir()).then_some(path)
}

/// A name for the wheels in a folder.
fn wheels_key(folder: &Path) -> Result<String, ImageError> {
    let unreadable = |why| ImageError::Unreadable { path: folder.to_owned(), why };
    let items = fs::read_dir(folder).map_err(unreadable)?.flatten().map(|item| item.path());
    let mut wheels: Vec<PathBuf> =
        items.filter(|path| path.extension().is_some_and(|ending| ending == "whl")).collect();
    wheels.sort();
    let named = wheels.iter().map(|path| {
        let digest = store::digest_of(path).map_err(unreadable)?;
        Ok(format!("{} {}", path.file_name().unwrap_or_default().display(), hex::encode(digest)))
    });
    let named = named.collect::<Result<Vec<_>, ImageError>>()?;
    Ok(store::key(named.iter().map(String::as_str)))
}

/// The layer, if it was made before.
pub(crate) fn kept(store: &Store, key: &str) -> Option<Dependencies> {
    let kept: Dependencies = store.note(LAYERS, key)?;
    store.blob(&kept.layer.digest).is_some().then_some(kept)
}

impl Dependencies {
    /// Whether the same would be made with bytecode now, where this one has none.
    pub(crate) fn lacks_bytecode(&self, wanted: &Wanted, python: &Python) -> bool {
        !self.compiled && !wanted.only_onnxruntime && bytecode::compiler(python, &wanted.python).is_some()
    }
}

/// Makes the layer.
pub(crate) async fn make(
    wanted: &Wanted,
    tools: &Tools<'_>,
    store: &Store,
    key: &str,
    held: &Held,
    progress: &dyn Progress,
) -> Result<Dependencies, ImageError> {
    let scratch = store.scratch()?;
    let making = Making { wanted, tools, scratch: &scratch, held, progress };
    let locked = making.lock().await?;
    making.install().await?;
    let compiled = making.compile().await?;
    let made = making.write(store, locked, compiled).await?;
    store.set_note(LAYERS, key, &made)?;
    Ok(made)
}

struct Making<'a> {
    wanted: &'a Wanted,
    tools: &'a Tools<'a>,
    scratch: &'a Scratch,
    held: &'a Held,
    progress: &'a dyn Progress,
}

impl Making<'_> {
    /// A requirement as its author wrote it.
    fn shown(&self, line: &str) -> String {
        let root = self.wanted.root.as_ref().and_then(|root| root.to_str());
        mask(&root.map_or_else(|| line.to_owned(), |root| line.replace(root, "."))).into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Resolves the requirements to versions and hashes.
    async fn lock(&self) -> Result<Vec<Locked>, ImageError> {
        if let Some(line) = self.wanted.packages.iter().find(|line| names_no_wheel(line)) {
            return Err(ImageError::NoWheel { line: self.shown(line) });
        }
        if let Some(line) = self.wanted.packages.iter().find(|line| is_unknown_option(line)) {
            return Err(ImageError::Option { line: self.shown(line) });
        }
        let asked = self.path("requirements.in");
        fs::write(&asked, self.wanted.packages.join("\n")).map_err(ImageError::storing(&asked))?;
        let lock = self.path("requirements.lock");
        match self.tools.installer {
            Installer::Uv(uv) => {
                let mut line = words([uv.as_os_str()], &["pip", "compile", "--quiet", "--generate-hashes"]);
                line.extend(words([], &["--no-header", "--no-annotate", "--only-binary", ":all:"]));
                line.extend(words([], &["--python-platform", self.wanted.platform.uv_name()]));
                line.extend(words([], &["--python-version", &self.wanted.python]));
                line.extend(self.wanted.only_onnxruntime.then(|| "--no-deps".into()));
                line.extend(["--output-file".into(), lock.clone().into(), asked.into()]);
                self.tool("uv pip compile", line).await?;
            }
            Installer::Pip => {
                let report = self.path("report.json");
                let mut line = self.pip();
                line.extend(words([], &["install", "--quiet", "--dry-run", "--ignore-installed", "--report"]));
                line.extend([report.clone().into(), "--target".into(), self.path("unused").into()]);
                line.extend(self.pip_target());
                line.extend(self.wanted.only_onnxruntime.then(|| "--no-deps".into()));
                line.extend(["-r".into(), asked.into()]);
                self.tool("pip install --dry-run", line).await?;
                let text = fs::read(&report).map_err(ImageError::storing(&report))?;
                let text = lock::from_pip(&text).map_err(|why| ImageError::Lock { why })?;
                fs::write(&lock, text).map_err(ImageError::storing(&lock))?;
            }
        }
        let text = fs::read_to_string(&lock).map_err(ImageError::storing(&lock))?;
        lock::read(&text).map_err(|why| ImageError::Lock { why })
    }

    /// Installs what is locked, and nothing else.
    async fn install(&self) -> Result<(), ImageError> {
        let (lock, site) = (self.path("requirements.lock"), self.path("site"));
        // Where packages are found is no part of a lock, nor of the image: it may hold a password.
        let places = self.path("places.txt");
        let lines: Vec<&str> = self.wanted.packages.iter().map(String::as_str).filter(|line| is_place(line)).collect();
        fs::write(&places, lines.join("\n")).map_err(ImageError::storing(&places))?;
        let mut line = match self.tools.installer {
            Installer::Uv(uv) => {
                let mut line = words([uv.as_os_str()], &["pip", "install", "--quiet", "--no-compile"]);
                // Linked files would keep the times and the masks of the cache.
                line.extend(words([], &["--link-mode", "copy", "--only-binary", ":all:"]));
                line.extend(words([], &["--python-platform", self.wanted.platform.uv_name()]));
                line.extend(words([], &["--python-version", &self.wanted.python]));
                line
            }
            Installer::Pip => {
                let mut line = self.pip();
                line.extend(words([], &["install", "--quiet", "--no-compile"]));
                line.extend(self.pip_target());
                line
            }
        };
        line.extend(words([], &["--no-deps", "--require-hashes", "--target"]));
        line.extend([site.into(), "-r".into(), places.into(), "-r".into(), lock.into()]);
        let what = match self.tools.installer {
            Installer::Uv(_) => "uv pip install",
            Installer::Pip => "pip install",
        };
        self.tool(what, line).await.map(drop)
    }

    fn pip(&self) -> Vec<OsString> {
        words([self.tools.python.executable.as_os_str()], &["-m", "pip"])
    }

    fn pip_target(&self) -> Vec<OsString> {
        let mut line = words([], &["--only-binary=:all:", "--implementation", "cp", "--python-version"]);
        line.push(self.wanted.python.clone().into());
        for tag in self.wanted.platform.wheel_tags() {
            line.extend(["--platform".into(), tag.into()]);
        }
        line
    }

    /// Compiles the packages, where this machine has the image's Python; without that each start compiles them anew.
    async fn compile(&self) -> Result<bool, ImageError> {
        let compiler = bytecode::compiler(self.tools.python, &self.wanted.python);
        let Some(compiler) = compiler.filter(|_| !self.wanted.only_onnxruntime) else { return Ok(false) };
        self.progress.step(DEPENDENCIES, StepState::Running, "compiling the packages");
        let lines = bytecode::commands(&compiler, &self.path("site"), &format!("/{SITE}"));
        let runs = lines.into_iter().map(|line| self.tool("compiling the packages", line));
        futures_util::future::try_join_all(runs).await?;
        Ok(true)
    }

    async fn write(&self, store: &Store, packages: Vec<Locked>, compiled: bool) -> Result<Dependencies, ImageError> {
        let (site, lock) = (self.path("site"), self.path("requirements.lock"));
        let (wanted, store, limit) = (self.wanted.clone(), store.clone(), self.tools.bytes);
        blocking(self.progress, DEPENDENCIES, move |report| {
            let mut files = Files::default();
            let onnxruntime = match wanted.only_onnxruntime {
                true => Some(put_onnxruntime(&mut files, &site)?),
                false => {
                    let root = wanted.root.as_deref().and_then(Path::to_str);
                    put_packages(&mut files, &site, &lock, root).map_err(ImageError::storing(&site))?;
                    None
                }
            };
            let layer = layer::write(&store, &files, Effort::Small, limit, report)?;
            Ok(Dependencies { layer, packages, onnxruntime, compiled })
        })
        .await
    }

    async fn tool(&self, what: &str, line: Vec<OsString>) -> Result<Vec<String>, ImageError> {
        self.progress.step(DEPENDENCIES, StepState::Running, what);
        let run = Run {
            python: &self.tools.python.executable,
            line,
            folder: self.scratch.path(),
            limit: self.tools.limit,
            lock: &self.held.file,
        };
        let told = run.run(|line| self.progress.step(DEPENDENCIES, StepState::Running, line)).await;
        told.map_err(|failure| ImageError::Tool(EnvironmentError::of_tool(what, failure)))
    }
}

fn words<'a>(first: impl IntoIterator<Item = &'a OsStr>, rest: &[&str]) -> Vec<OsString> {
    first.into_iter().map(OsString::from).chain(rest.iter().map(OsString::from)).collect()
}

/// Whether a requirement names a file, a folder or a repository that is no wheel: tools run what is in such.
fn names_no_wheel(line: &str) -> bool {
    if line.starts_with('-') {
        return false;
    }
    let target = direct(line).unwrap_or(line).trim();
    let target = target.split([' ', '\t', ';', '#', '?']).next().unwrap_or_default();
    let names_a_place = target.contains("://") || target.contains('/') || target.starts_with('.');
    names_a_place && !target.ends_with(".whl")
}

/// What stands behind `@` in `name[extras] @ place`.
fn direct(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c)).trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']')?.1.trim_start(),
        None => rest,
    };
    rest.strip_prefix('@')
}

/// Whether a line is an option that would change what is run or installed, and that this is not made for.
fn is_unknown_option(line: &str) -> bool {
    const KNOWN: [&str; 4] = ["-c", "--constraint", "--pre", "--prefer-binary"];
    line.starts_with('-') && !is_place(line) && !KNOWN.contains(&option(line))
}

/// The name of the option that a line is.
fn option(line: &str) -> &str {
    line.split([' ', '=', '\t']).next().unwrap_or_default()
}

/// Whether a line says where packages are found.
fn is_place(line: &str) -> bool {
    const OPTIONS: [&str; 8] = [
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "--no-index",
        "--trusted-host",
        "--default-index",
    ];
    OPTIONS.contains(&option(line))
}

/// Files that say where and how a package was installed: they differ from machine to machine, and nothing reads them.
const LOCAL: [&str; 3] = ["direct_url.json", "REQUESTED", "uv_cache.json"];

/// Takes all that was installed. `root` is the model's folder, whose place is nobody's business.
fn put_packages(files: &mut Files, site: &Path, lock: &Path, root: Option<&str>) -> std::io::Result<()> {
    if site.is_dir() {
        for info in
            fs::read_dir(site)?.flatten().filter(|item| item.file_name().to_string_lossy().ends_with(".dist-info"))
        {
            for name in LOCAL {
                let _ = fs::remove_file(info.path().join(name));
            }
            forget_local(&info.path().join("RECORD"))?;
        }
        let _ = fs::remove_file(site.join(".lock"));
        portable_scripts(&site.join("bin"))?;
        files.put_folder(SITE, site)?;
    }
    let text = fs::read_to_string(lock)?;
    let text = root.map_or_else(|| text.clone(), |root| text.replace(root, "."));
    files.put(LOCK, false, layer::Content::Bytes(mask(&text).into_owned().into_bytes()));
    Ok(())
}

/// Leaves out of a package's list of files those that were removed, and scripts, which are changed.
fn forget_local(record: &Path) -> std::io::Result<()> {
    let Ok(text) = fs::read_to_string(record) else { return Ok(()) };
    let is_local = |line: &&str| {
        let path = line.split(',').next().unwrap_or_default();
        LOCAL.iter().any(|name| path.ends_with(name)) || path.contains("bin/")
    };
    let mut lines: Vec<&str> = text.lines().filter(|line| !is_local(line)).collect();
    lines.sort_unstable();
    fs::write(record, lines.join("\n") + "\n")
}

/// Lets scripts be run by the image's Python, and not by the one that installed them.
fn portable_scripts(folder: &Path) -> std::io::Result<()> {
    let Ok(items) = fs::read_dir(folder) else { return Ok(()) };
    for item in items.flatten() {
        let Ok(text) = fs::read_to_string(item.path()) else { continue };
        let Some((first, rest)) = text.split_once('\n') else { continue };
        if first.starts_with("#!") && first.contains("python") {
            fs::write(item.path(), format!("#!/usr/bin/env python3\n{}", without_relay(rest)))?;
        }
    }
    Ok(())
}

/// A script's text without the lines by which long interpreters' paths are reached through the shell.
fn without_relay(text: &str) -> &str {
    match text.strip_prefix("'''exec' ") {
        Some(relay) => relay.split_once("\n' '''\n").map_or(text, |(_, rest)| rest),
        None => text,
    }
}

/// Takes the shared library of ONNX Runtime, and returns its name.
fn put_onnxruntime(files: &mut Files, site: &Path) -> Result<String, ImageError> {
    let folder = site.join("onnxruntime/capi");
    let items = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = items.filter_map(|item| item.file_name().into_string().ok()).collect();
    names.sort();
    let library = names.iter().find(|name| name.starts_with("libonnxruntime.so"));
    let library = library.ok_or_else(|| EnvironmentError::NoOnnxRuntime { folder: site.to_owned() })?;
    let content = layer::Content::File(folder.join(library));
    files.put(&format!("{LIBRARIES}/{library}"), false, content);
    Ok(library.clone())
}

/// The Python of this machine of that version, by the usual names.
pub(crate) fn named(version: &str) -> Option<PathBuf> {
    on_path(&format!("python{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_wheels_may_be_named_by_their_place() {
        for line in [
            "/m/own-1.0.tar.gz",
            "own @ file:///m/own-1.0.zip",
            "git+https://host/own.git",
            "own @ git+ssh://host/own@main",
            "own@ file:///m/own-1.0.tar.gz",
            "own[a,b]@git+https://host/own.git",
            "https://host/own.tar.gz#sha256=ab",
            "/m/package",
        ] {
            assert!(names_no_wheel(line), "{line}");
        }
        for line in [
            "six==1.16.0",
            "uvicorn[standard]>=0.30 ; python_version < '4'",
            "/m/wheels/own-1.0-py3-none-any.whl",
            "own @ https://host/own-1.0-py3-none-any.whl#sha256=ab",
            "--find-links https://host/wheels",
        ] {
            assert!(!names_no_wheel(line), "{line}");
        }
    }

    #[test]
    fn options_that_change_what_is_run_are_refused() {
        for line in ["--no-binary own", "--config-settings a=b", "--only-binary=:none:", "--global-option x"] {
            assert!(is_unknown_option(line), "{line}");
        }
        for line in ["--pre", "-c limits.txt", "--index-url https://host", "six"] {
            assert!(!is_unknown_option(line), "{line}");
        }
    }

    #[test]
    fn where_packages_are_found_is_told_from_what_they_are() {
        for line in ["--index-url https://host/simple", "--extra-index-url=https://host", "-f ./wheels", "--no-index"] {
            assert!(is_place(line), "{line}");
        }
        for line in ["six==1.16.0", "-c limits.txt", "find-links==1", "--pre"] {
            assert!(!is_place(line), "{line}");
        }
    }

    #[test]
    fn scripts_are_run_by_the_images_python() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "plain", "#!/here/venv/bin/python3\nimport x\n");
        write(folder.path(), "relay", "#!/bin/sh\n'''exec' '/a b/python' \"$0\" \"$@\"\n' '''\nimport y\n");
        write(folder.path(), "shell", "#!/bin/sh\necho\n");
        portable_scripts(folder.path()).unwrap();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("plain"), "#!/usr/bin/env python3\nimport x\n");
        assert_eq!(text("shell"), "#!/bin/sh\necho\n");
    }

    #[test]
    fn what_differs_from_machine_to_machine_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (site, lock) = (folder.path().join("site"), folder.path().join("lock"));
        write(&site, "x-1.dist-info/RECORD", "x-1.dist-info/direct_url.json,,\nx.py,sha256=a,1\nbin/x,sha256=b,2\n");
        write(&site, "x-1.dist-info/direct_url.json", r#"{"url": "file:///secret/place"}"#);
        write(&site, "x.py", "");
        fs::write(&lock, "x @ file:///place/models/1/x.whl").unwrap();
        let mut files = Files::default();
        put_packages(&mut files, &site, &lock, Some("/place/models/1")).unwrap();
        assert!(!site.join("x-1.dist-info/direct_url.json").exists());
        assert_eq!(fs::read_to_string(site.join("x-1.dist-info/RECORD")).unwrap(), "x.py,sha256=a,1\n");
        assert!(format!("{files:?}").contains("requirements.lock"));
        assert!(!format!("{files:?}").contains("/place"), "{files:?}");
    }

    #[test]
    fn the_key_says_which_wheels_a_folder_has() {
        let folder = tempfile::tempdir().unwrap();
        let of = |content: &str| {
            write(folder.path(), "own-1.0-py3-none-any.whl", content);
            wheels_key(folder.path()).unwrap()
        };
        let first = of("1");
        assert_ne!(first, of("2"));
        assert_eq!(first, of("1"));
        assert_eq!(found_in(&format!("--find-links={}", folder.path().display())).as_deref(), Some(folder.path()));
        assert_eq!(found_in("--find-links https://host/wheels"), None);
    }

    #[test]
    fn the_key_says_what_is_installed_and_not_where_the_model_is() {
        let of = |root: &Path, wheel: &str| {
            write(root, "x.whl", wheel);
            let packages = vec![format!("{}/x.whl", root.display()), "six".to_owned()];
            let wanted = Wanted {
                packages,
                python: "3.11".into(),
                platform: Platform::Amd64,
                only_onnxruntime: false,
                root: Some(root.to_owned()),
            };
            wanted.key(&Installer::Pip).unwrap()
        };
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(of(a.path(), "1"), of(b.path(), "1"));
        assert_ne!(of(a.path(), "1"), of(a.path(), "2"));
    }
}
