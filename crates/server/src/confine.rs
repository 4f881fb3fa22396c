//! Becoming another program under limits: `kea confine … -- PROGRAM`.
//!
//! A step of its own between a replica and what it starts, since limits and the death signal must be set in the new
//! process, and doing so after `fork` would need unsafe code.

use std::{ffi::OsString, io, os::unix::process::CommandExt, process::Command};

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};

/// The program of this process, also after its file was replaced by a newer one.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// The limits of a program.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// Most bytes of private memory.
    pub memory: Option<u64>,
    /// The process whose death ends the program.
    pub parent: Option<u32>,
}

/// Replaces this process by `program` with its arguments. Returns only where that fails.
pub fn confine(limits: &Confinement, program: &[OsString]) -> io::Error {
    let Some((name, arguments)) = program.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no program is named");
    };
    if let Err(error) = apply(limits) {
        return error;
    }
    Command::new(name).args(arguments).exec()
}

fn apply(limits: &Confinement) -> io::Result<()> {
    if let Some(parent) = limits.parent {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was asked for.
        let lives = getppid().map(Pid::as_raw_nonzero).is_some_and(|pid| i64::from(pid.get()) == i64::from(parent));
        if !lives {
            return Err(io::Error::other("the parent process is gone"));
        }
    }
    if let Some(bytes) = limits.memory {
        setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    }
    Ok(())
}
