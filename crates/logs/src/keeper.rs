//! The one thread that writes the logs of all services.
//!
//! Everything that has to happen between two lines is asked of it: where a log ends just now, from which line on a
//! reader hears of new ones, when a log is removed. So no reader misses a line or gets one twice.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    mem::take,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Relaxed},
    },
};

use kea_core::ServiceId;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    book::Limits,
    entry::Entry,
    files::{self, Current, End},
    lost::{Gauge, Source, mark},
};

/// Bytes that are gathered before they are written, while more are waiting.
const BATCH_BYTES: usize = 256 << 10;

/// Files that are held open.
const OPEN_FILES: usize = 128;

/// Lines that a reader of new ones may be behind before it is told that some were skipped.
const BEHIND: usize = 1024;

/// What the keeper is asked.
pub(crate) enum Command {
    /// Keep this line.
    Line { source: Arc<Source>, entry: Entry },
    /// Look which lines found no room.
    TellOverrun,
    /// Tell where the log ends, with all lines that were sent before this.
    End { service: ServiceId, reply: oneshot::Sender<io::Result<Option<End>>> },
    /// The same, and give every line after it.
    Follow { service: ServiceId, reply: oneshot::Sender<io::Result<Followed>> },
    /// Remove the log.
    Remove { service: ServiceId, reply: oneshot::Sender<io::Result<()>> },
}

/// Where a log ends, and the lines after it.
pub(crate) struct Followed {
    pub(crate) end: Option<End>,
    pub(crate) lines: broadcast::Receiver<Arc<Entry>>,
}

pub(crate) struct Keeper {
    pub(crate) folder: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) logs: HashMap<ServiceId, Log>,
}

impl Keeper {
    /// Runs until the last sender of commands is gone.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut gathered = self.take(first);
            while gathered < BATCH_BYTES
                && let Ok(next) = commands.try_recv()
            {
                gathered += self.take(next);
            }
            self.write();
            self.tell_overrun();
            self.close_some();
        }
    }

    /// Bytes that are to be written for it.
    fn take(&mut self, command: Command) -> usize {
        match command {
            Command::Line { source, entry } => {
                let bytes = entry.line.len();
                self.gauge.queued.fetch_sub(bytes, AcqRel);
                self.log(&source.service).gather(source, entry, 0);
                return bytes;
            }
            Command::TellOverrun => {}
            Command::End { service, reply } => {
                let _ = reply.send(self.end(&service));
            }
            Command::Follow { service, reply } => {
                let followed = self.end(&service);
                let lines = self.log(&service).subscribe();
                let _ = reply.send(followed.map(|end| Followed { end, lines }));
            }
            Command::Remove { service, reply } => {
                let _ = reply.send(self.remove(&service));
            }
        }
        0
    }

    fn log(&mut self, service: &ServiceId) -> &mut Log {
        if !self.logs.contains_key(service) {
            let log = Log::new(self.folder.join(service.as_str()), self.limits, self.gauge.clone());
            self.logs.insert(service.clone(), log);
        }
        self.logs.get_mut(service).expect("it was put there where it was not")
    }

    fn end(&mut self, service: &ServiceId) -> io::Result<Option<End>> {
        match self.logs.get_mut(service) {
            Some(log) => log.end(),
            None => files::end(&self.folder.join(service.as_str())),
        }
    }

    fn remove(&mut self, service: &ServiceId) -> io::Result<()> {
        self.logs.remove(service);
        match fs::remove_dir_all(self.folder.join(service.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&mut self) {
        self.logs.values_mut().for_each(Log::write);
    }

    fn tell_overrun(&mut self) {
        for (source, count) in self.gauge.take_overrun() {
            let mark = mark(source.replica.clone(), count, "they came faster than they could be kept");
            let log = self.log(&source.service);
            log.gather(source, mark, count);
            log.write();
        }
    }

    /// Logs that have not been written for long are not told from others: opening a file again is cheap.
    fn close_some(&mut self) {
        if self.logs.len() > OPEN_FILES {
            self.logs.retain(|_, log| log.close());
        }
    }
}

/// The log of one service.
pub(crate) struct Log {
    folder: PathBuf,
    limits: Limits,
    gauge: Arc<Gauge>,
    current: Option<Current>,
    gathered: Vec<Gathered>,
    json: Vec<u8>,
    /// Lines of each replica that could not be written; told before its service's next line.
    failed: BTreeMap<Arc<str>, (Arc<Source>, u64)>,
    failure: String,
    followers: Option<broadcast::Sender<Arc<Entry>>>,
}

struct Gathered {
    source: Arc<Source>,
    entry: Entry,
    /// Where its JSON ends among that of the others.
    end: usize,
    /// How many lost lines it tells of; none where it is a line like others.
    tells: u64,
}

impl Log {
    fn new(folder: PathBuf, limits: Limits, gauge: Arc<Gauge>) -> Self {
        Self {
            folder,
            limits,
            gauge,
            current: None,
            gathered: Vec::new(),
            json: Vec::new(),
            failed: BTreeMap::new(),
            failure: String::new(),
            followers: None,
        }
    }

    fn gather(&mut self, source: Arc<Source>, entry: Entry, tells: u64) {
        self.gather_failed();
        // Nothing in an entry can fail to be JSON, and memory takes all that is written.
        serde_json::to_writer(&mut self.json, &entry).expect("an entry is JSON");
        self.json.push(b'\n');
        self.gathered.push(Gathered { source, entry, end: self.json.len(), tells });
    }

    fn gather_failed(&mut self) {
        for (replica, (source, count)) in take(&mut self.failed) {
            let mark = mark(replica, count, &format!("the disk failed ({})", self.failure));
            self.gather(source, mark, count);
        }
    }

    fn end(&mut self) -> io::Result<Option<End>> {
        self.gather_failed();
        self.write();
        match &self.current {
            Some(current) => Ok(Some(current.end())),
            None => files::end(&self.folder),
        }
    }

    fn subscribe(&mut self) -> broadcast::Receiver<Arc<Entry>> {
        self.followers.get_or_insert_with(|| broadcast::channel(BEHIND).0).subscribe()
    }

    /// Writes what was gathered. What cannot be written is counted and told later.
    fn write(&mut self) {
        let (gathered, json) = (take(&mut self.gathered), take(&mut self.json));
        let mut rest = gathered.as_slice();
        let mut start = 0;
        while let Some(last) = rest.last() {
            match self.write_some(rest, &json[start..last.end], start) {
                Ok(written) => {
                    start = rest[written - 1].end;
                    self.publish(&rest[..written]);
                    rest = &rest[written..];
                }
                Err(error) => return self.fail(rest, &error),
            }
        }
        self.json = json;
        self.json.clear();
        self.json.shrink_to(BATCH_BYTES);
    }

    /// Writes as many of `lines` as the current file has room for, at least one, and says how many. `json` is theirs;
    /// it starts at `start`.
    fn write_some(&mut self, lines: &[Gathered], json: &[u8], start: usize) -> io::Result<usize> {
        let current = match &mut self.current {
            Some(current) => current,
            none => none.insert(Current::open(&self.folder)?),
        };
        let fitting = |size: u64| {
            let room = self.limits.file_bytes.saturating_sub(size);
            lines.partition_point(|line| (line.end - start) as u64 <= room)
        };
        let mut count = fitting(current.end().size);
        if count == 0 && current.end().size > 0 {
            current.rotate(&self.folder, self.limits.files.max(1))?;
            count = fitting(0);
        }
        // A line that is larger than a file may be gets one of its own.
        let count = count.max(1);
        current.append(&json[..lines[count - 1].end - start])?;
        self.failure.clear();
        Ok(count)
    }

    fn publish(&mut self, lines: &[Gathered]) {
        if let Some(followers) = self.followers.take_if(|followers| followers.receiver_count() > 0) {
            for line in lines {
                // The last reader may have just gone.
                let _ = followers.send(Arc::new(line.entry.clone()));
            }
            self.followers = Some(followers);
        } else {
            self.followers = None;
        }
    }

    fn fail(&mut self, lines: &[Gathered], error: &io::Error) {
        if self.failure.is_empty() {
            tracing::error!(folder = %self.folder.display(), %error, "logs cannot be written; lines are dropped");
        }
        self.failure = error.to_string();
        self.current = None;
        for Gathered { source, tells, .. } in lines {
            // Lines that it tells of have been counted before.
            if *tells == 0 {
                self.gauge.total.fetch_add(1, Relaxed);
            }
            self.failed.entry(source.replica.clone()).or_insert_with(|| (source.clone(), 0)).1 += (*tells).max(1);
        }
    }

    /// Lets go of the file; says whether the rest is still needed.
    fn close(&mut self) -> bool {
        self.current = None;
        let followed = self.followers.as_ref().is_some_and(|followers| followers.receiver_count() > 0);
        followed || !self.failed.is_empty()
    }
}

/// Makes the folder of all logs, readable by its owner alone.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
