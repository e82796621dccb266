//! One process life: a process id between its start (or an exec) and its end (or the next exec).

use std::fmt;
use std::path::{Path, PathBuf};

use covtap_profile::go::executable::Executable;

use crate::cgroup::{ContainerId, Place};
use crate::clock::Moment;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Through exit, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl Status {
    /// From the number that `wait` gives and `/proc/PID/stat` shows.
    #[must_use]
    pub fn from_wait(raw: i32) -> Self {
        match raw & 0x7f {
            0 => Self::Exit((raw >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }

    /// The exit code that a shell makes of it.
    #[must_use]
    pub fn code(self) -> u8 {
        let code = match self {
            Self::Exit(code) => code,
            Self::Signal(signal) => 128 + signal,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

/// `exit 0`, `signal 9`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What a process's environment said about where coverage goes. No other variable is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoverageDirectory {
    /// Its environment could not be read.
    Unknown,
    /// `GOCOVERDIR` was not set, or empty.
    Unset,
    /// `GOCOVERDIR`; absolute when the process's working directory could be read.
    Set(PathBuf),
}

/// What its executable file told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// Not looked at yet.
    Pending,
    /// It is an ELF file.
    Elf(Executable),
    /// It could not be looked at, or is no ELF file.
    Failed(String),
}

impl Inspection {
    /// The ELF file's contents, when that is what it is.
    #[must_use]
    pub fn elf(&self) -> Option<&Executable> {
        match self {
            Self::Elf(executable) => Some(executable),
            Self::Pending | Self::Failed(_) => None,
        }
    }
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It still runs, as far as is known.
    None,
    /// It was seen to have ended; how is not always known (its parent has collected the status).
    Gone {
        /// When that was seen.
        at: Moment,
        /// How.
        status: Option<Status>,
    },
    /// The process goes on with another program.
    Exec {
        /// When that was seen.
        at: Moment,
    },
}

impl End {
    /// When the end was seen.
    #[must_use]
    pub fn at(self) -> Option<Moment> {
        match self {
            Self::None => None,
            Self::Gone { at, .. } | Self::Exec { at } => Some(at),
        }
    }
}

/// What tells one life from every other on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Process id on this machine.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot.
    pub start_ticks: u64,
    /// How many programs this process ran before.
    pub generation: u32,
}

/// What the tap got of a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tap {
    /// It was not tried: the program carries no coverage, or the route is not in use.
    None,
    /// It was tried and gave nothing.
    Failed {
        /// Why.
        because: String,
    },
    /// Its counters were read.
    State(State),
}

/// The state of a life that the tap keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Meta-data hash of its build, in hexadecimal.
    pub build: String,
    /// Its counter file, beside its covmeta.
    pub file: PathBuf,
    /// How its counters were found: `symbols`, `sections`, `memory`.
    pub found: String,
    /// When they were found.
    pub attached: Moment,
    /// How often they were read.
    pub snapshots: u64,
    /// Records of the state kept that did not fit the meta-data and were left out.
    pub dropped: u64,
    /// How the state kept was got.
    pub last: Last,
}

/// How the last state of a life was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// In its exit stop: nothing ran after it.
    Exit,
    /// In its exit stop, and some counters were smaller than in a snapshot before: the snapshot is
    /// kept.
    ExitSmaller,
    /// While it ran, and it runs on.
    Running {
        /// When.
        at: Moment,
    },
    /// While it ran. What it did between then and its end is not known.
    Snapshot {
        /// When.
        at: Moment,
        /// Why its exit stop did not tell.
        because: String,
    },
}

/// One process life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Process id on this machine.
    pub pid: u32,
    /// Process id as the process sees it (another one in a pid namespace).
    pub inner_pid: u32,
    /// Start time of the process in clock ticks since boot: with the pid, its identity.
    pub start_ticks: u64,
    /// How many programs this process ran before.
    pub generation: u32,
    /// Its executable.
    pub executable: PathBuf,
    /// What the executable told.
    pub inspection: Inspection,
    /// Where its coverage was to go.
    pub coverage_directory: CoverageDirectory,
    /// When it began, at the earliest.
    pub began: Moment,
    /// When it was first seen.
    pub first_seen: Moment,
    /// The pod and the container that it began in. `None` when that could not be read, and for
    /// programs of no interest.
    pub cgroup: Option<Place>,
    /// The container through which it is watched, of those that were added to the scope. `None` for a
    /// life of the scope itself, in the tree or elsewhere: only such a one is waited for and asked to
    /// end.
    pub added: Option<ContainerId>,
    /// How and when it ended.
    pub end: End,
    /// What the tap got of it.
    pub tap: Tap,
}

impl Life {
    /// What a person calls it: the base name of its executable.
    #[must_use]
    pub fn name(&self) -> String {
        base_name(&self.executable)
    }

    /// The container that it began in, if that is known.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerId> {
        self.cgroup.as_ref()?.container.as_ref()
    }

    /// Whether its executable is known to carry coverage; `None` when that could not be told.
    #[must_use]
    pub fn instrumented(&self) -> Option<bool> {
        match &self.inspection {
            Inspection::Elf(executable) => Some(executable.instrumented),
            Inspection::Pending | Inspection::Failed(_) => None,
        }
    }

    /// Its identity.
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            pid: self.pid,
            start_ticks: self.start_ticks,
            generation: self.generation,
        }
    }

    /// What the tap keeps of it.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        match &self.tap {
            Tap::State(state) => Some(state),
            Tap::None | Tap::Failed { .. } => None,
        }
    }

    /// Whether it still runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.end == End::None
    }
}

/// The last part of a path, without the mark that Linux puts behind the name of a deleted file.
#[must_use]
pub fn base_name(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_taken_apart_as_wait_does() {
        assert_eq!(Status::from_wait(7 << 8), Status::Exit(7));
        assert_eq!(Status::from_wait(9), Status::Signal(9));
        // With a core dump.
        assert_eq!(Status::from_wait(0x80 | 6), Status::Signal(6));
        assert_eq!(Status::Signal(15).code(), 143);
        assert_eq!(Status::Exit(7).code(), 7);
        assert_eq!(Status::Exit(7).to_string(), "exit 7");
        assert_eq!(Status::Signal(9).to_string(), "signal 9");
    }

    #[test]
    fn deleted_files_keep_their_name() {
        assert_eq!(base_name(Path::new("/tmp/x/svc (deleted)")), "svc");
        assert_eq!(base_name(Path::new("/")), "/");
    }
}
