//! One process of `kea model-server`: how it is started, what it tells on its control channel, how it is ended.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use kea_core::Contract;
use kea_logs::{LineWriter, Stream};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixStream,
    process::{Child, Command},
    time::timeout,
};

/// A replica drains for up to 30 s; a little longer, and it hangs.
const STOP_WITHIN: Duration = Duration::from_secs(35);

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) folder: PathBuf,
}

/// What a replica tells.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Told {
    /// It listens there.
    Listening { address: SocketAddr },
    /// It answers.
    Ready { contract: Arc<Contract> },
    /// It does not answer for the moment.
    Unready { reason: String },
    /// It will never answer.
    Failed { reason: String },
}

/// A running replica. Its whole process group ends with it.
pub(crate) struct Process {
    child: Child,
    group: Pid,
    control: BufReader<UnixStream>,
}

impl Process {
    /// Starts a replica, its output going to `log`.
    pub(crate) fn start(launch: &Launch, log: &LineWriter) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).current_dir(&launch.folder);
        command.env_clear().envs(launch.environment.iter().cloned());
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let group = pid.ok_or_else(|| io::Error::other("the process ended at once"))?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(log.clone().lines_from(Stream::Stdout, stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log.clone().lines_from(Stream::Stderr, stderr));
        }
        Ok(Self { child, group, control: BufReader::new(UnixStream::from_std(ours)?) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// What it tells next; `None` once it has closed the channel, as it does when it ends.
    pub(crate) async fn told(&mut self) -> Option<Told> {
        loop {
            let mut line = String::new();
            match self.control.read_line(&mut line).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => match serde_json::from_str(&line) {
                    Ok(told) => return Some(told),
                    Err(error) => tracing::warn!(%error, line, "a replica tells what cannot be understood"),
                },
            }
        }
    }

    /// Waits for it to end, ends what it leaves behind, and says how it ended.
    pub(crate) async fn wait(&mut self) -> String {
        let status = self.child.wait().await;
        self.end_group();
        match status {
            Ok(status) => describe(status),
            Err(error) => error.to_string(),
        }
    }

    /// Asks it to finish what it has and end, and ends it where it does not.
    pub(crate) async fn stop(&mut self) {
        // It may have ended by itself meanwhile.
        let _ = kill_process(self.group, Signal::TERM);
        if timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            tracing::warn!(pid = self.pid(), "a replica did not end when asked and is ended");
        }
        self.end_group();
        let _ = self.child.wait().await;
    }

    fn end_group(&self) {
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_group();
    }
}

/// `ExitStatus` in words: `exit status: 1`, or `signal: 9 (SIGKILL)`.
fn describe(status: ExitStatus) -> String {
    status.to_string()
}
