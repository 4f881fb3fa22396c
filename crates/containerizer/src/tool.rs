//! Runs uv, pip and the like: output told as it comes, bounded in time, and gone with whoever asked for it.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::File,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::mask::mask;

/// How many of the last lines are kept for errors.
const TAIL: usize = 20;
/// Longer lines, as those of compilers, are cut.
const LINE: usize = 500;
/// How long output is awaited of a tool that has ended: a process that it left behind may keep the pipe open.
const AFTER_END: Duration = Duration::from_secs(1);

/// One run of a tool.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Python, which starts the tool so that it ends with KEA.
    pub(crate) python: &'a Path,
    /// The tool and what it is told.
    pub(crate) line: Vec<OsString>,
    /// Where it runs.
    pub(crate) folder: &'a Path,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// A lock that the tool holds as long as it lives: where KEA is killed, the next one waits for the tool.
    pub(crate) lock: &'a File,
}

/// How a run went wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be started.
    Start(std::io::Error),
    /// It ended with an error, after these last lines.
    Ended(ExitStatus, Vec<String>),
    /// It did not end in time, after these last lines.
    TooLong(Duration, Vec<String>),
}

/// Asks the system to end the process with the one that started it, and leaves KEA's terminal, where ssh would ask and
/// wait; then becomes the tool. Its group, by which it is ended with its children, is its session's.
const END_WITH_PARENT: &str = "
import os, sys
os.setsid()
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
except Exception:
    pass
os.execvp(sys.argv[1], sys.argv[1:])";

impl Run<'_> {
    /// Runs the tool to its end; each line goes to `tell`. Returns its standard output.
    pub(crate) async fn run(&self, mut tell: impl FnMut(&str)) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + self.limit;
        let mut child = self.start().map_err(Failure::Start)?;
        let mut group = Group::of(&child);
        let (sender, mut lines) = mpsc::channel(64);
        read(child.stdout.take(), true, sender.clone());
        read(child.stderr.take(), false, sender);
        let mut heard = Heard::default();
        let status = loop {
            tokio::select! {
                biased;
                Some((out, line)) = lines.recv() => heard.hear(out, &line, &mut tell),
                status = child.wait() => break status.map_err(Failure::Start)?,
                () = tokio::time::sleep_until(deadline) => {
                    return Err(Failure::TooLong(self.limit, heard.tail.into()));
                }
            }
        };
        group.disarm();
        while let Ok(Some((out, line))) = timeout(AFTER_END, lines.recv()).await {
            heard.hear(out, &line, &mut tell);
        }
        if status.success() { Ok(heard.output) } else { Err(Failure::Ended(status, heard.tail.into())) }
    }

    fn start(&self) -> std::io::Result<Child> {
        command(self.python)
            .args(["-I", "-S", "-c", END_WITH_PARENT])
            .args(&self.line)
            .current_dir(self.folder)
            .stdin(Stdio::from(self.lock.try_clone()?))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// What a tool has written.
#[derive(Default)]
struct Heard {
    output: Vec<String>,
    tail: VecDeque<String>,
}

impl Heard {
    fn hear(&mut self, out: bool, line: &str, tell: &mut impl FnMut(&str)) {
        let line = mask(line).into_owned();
        tell(&line);
        if out {
            self.output.push(line.clone());
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// Sends the lines of `pipe`; a carriage return, which progress bars use, ends a line too.
fn read(pipe: Option<impl AsyncRead + Send + Unpin + 'static>, out: bool, lines: mpsc::Sender<(bool, String)>) {
    let Some(mut pipe) = pipe else { return };
    tokio::spawn(async move {
        let (mut line, mut chunk) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
            for byte in &chunk[..read] {
                match byte {
                    b'\n' | b'\r' => send(&mut line, out, &lines).await,
                    byte if line.len() < LINE => line.push(*byte),
                    _ => {}
                }
            }
        }
        send(&mut line, out, &lines).await;
    });
}

async fn send(line: &mut Vec<u8>, out: bool, lines: &mpsc::Sender<(bool, String)>) {
    let text = String::from_utf8_lossy(line).trim().to_owned();
    line.clear();
    if !text.is_empty() {
        let _ = lines.send((out, text)).await;
    }
}

/// The processes of a tool; they are killed when this is dropped before the tool has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// A command that is killed when it is dropped, and that gets of KEA's environment only what tools need: no secret of
/// the server.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_passed)));
    command.envs(OURS).kill_on_drop(true);
    command
}

/// What tools are told besides: nobody is there to answer them, and nothing goes into the user's packages.
const OURS: [(&str, &str); 6] = [
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("PIP_NO_INPUT", "1"),
    ("PIP_USER", "0"),
    ("PYTHONNOUSERSITE", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("UV_NO_PROGRESS", "1"),
];

/// Settings of the tools that would have them install elsewhere.
const ELSEWHERE: [&str; 12] = [
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "UV_PREFIX",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "UV_WORKING_DIRECTORY",
];

/// Whether an environment variable is passed on to tools.
fn is_passed(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "CURL_CA_BUNDLE",
        "HOME",
        "LANG",
        "LC_ALL",
        "PATH",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "USER",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_DIRS",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
    ];
    let tools = (name.starts_with("PIP_") || name.starts_with("UV_")) && !ELSEWHERE.contains(&name);
    NAMES.contains(&name) || tools || name.to_ascii_lowercase().ends_with("_proxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<Vec<String>, Failure> {
        let python = crate::python::on_path("python3").unwrap();
        let lock = tempfile::tempfile().unwrap();
        let line = ["sh", "-c", script].map(OsString::from).to_vec();
        Run { python: &python, line, folder: Path::new("/"), limit, lock: &lock }.run(|_| {}).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn standard_output_is_returned_by_lines() {
        assert_eq!(shell("echo one; echo two >&2; printf 'a\\rb'", LONG).await.unwrap(), ["one", "a", "b"]);
    }

    #[tokio::test]
    async fn a_failure_carries_the_last_lines_only() {
        let Err(Failure::Ended(status, tail)) = shell("seq 100 >&2; exit 3", LONG).await else { panic!() };
        assert_eq!(status.code(), Some(3));
        assert_eq!((tail.len(), tail.first().unwrap().as_str(), tail.last().unwrap().as_str()), (TAIL, "81", "100"));
    }

    #[tokio::test]
    async fn a_tool_that_takes_too_long_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let held = folder.path().join("held");
        // The child inherits the lock as its standard input and outlives the shell unless it is killed as well.
        let lock = File::create_new(&held).unwrap();
        lock.lock().unwrap();
        let python = crate::python::on_path("python3").unwrap();
        let line = ["sh", "-c", "sleep 600 <&0 & echo started; wait"].map(OsString::from).to_vec();
        let limit = Duration::from_millis(1500);
        let failure = Run { python: &python, line, folder: Path::new("/"), limit, lock: &lock }.run(|_| {}).await;
        assert!(matches!(&failure, Err(Failure::TooLong(_, tail)) if tail == &["started"]), "{failure:?}");
        drop(lock);
        let waiting = tokio::task::spawn_blocking(move || File::open(held).unwrap().lock());
        timeout(LONG, waiting).await.expect("the child still holds the lock").unwrap().unwrap();
    }

    #[test]
    fn secrets_and_other_places_are_not_passed_on() {
        for name in [
            "KEA_ADMIN_PASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "PYTHONPATH",
            "PIP_TARGET",
            "UV_SYSTEM_PYTHON",
            "VIRTUAL_ENV",
        ] {
            assert!(!is_passed(name), "{name}");
        }
        for name in ["PATH", "HOME", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"] {
            assert!(is_passed(name), "{name}");
        }
    }
}
