//! Why the counters of a process cannot be read.

use std::fmt;
use std::path::PathBuf;

use crate::memory::MemoryError;
use crate::permission::{self, Denied};
use crate::proc;

/// What shows that a process does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing that it executes is a Go program: no Go sections, no Go function table.
    NotGo,
    /// The Go program's module data, at this address, state an empty range of counters.
    NoCounters {
        /// Where the module data are.
        module_data: u64,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGo => f.write_str("not a Go program"),
            Self::NoCounters { module_data } => write!(
                f,
                "a Go program built without -cover: its module data (at {module_data:#x}) name no \
                 counters"
            ),
        }
    }
}

/// Why the counters of a process cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Its packages are still being initialised: try again in a millisecond.
    #[error(
        "process {pid} is still starting: {entries} {} registered", match expected {
            Some(n) => format!("of {n} packages have"),
            None => "packages have".to_owned(),
        }
    )]
    NotReady {
        /// The process.
        pid: u32,
        /// How many packages have registered themselves.
        entries: usize,
        /// How many will, when that is known.
        expected: Option<usize>,
    },
    /// It does not count.
    #[error("process {pid} ({}) is not instrumented: {evidence}", path.display())]
    NotInstrumented {
        /// The process.
        pid: u32,
        /// What it executes.
        path: PathBuf,
        /// What shows it.
        evidence: Evidence,
    },
    /// There is no such process any more.
    #[error("process {pid} is gone")]
    Gone {
        /// The process.
        pid: u32,
    },
    /// The process has ended, only its exit code is kept for its parent.
    #[error("process {pid} has ended (it is a zombie): its memory is gone")]
    Zombie {
        /// The process.
        pid: u32,
    },
    /// A thread of the kernel.
    #[error("process {pid} is a thread of the kernel: it has no memory of its own")]
    KernelThread {
        /// The process.
        pid: u32,
    },
    /// It executed another program while it was looked at: try again.
    #[error("process {pid} executed another program while it was looked at")]
    Replaced {
        /// The process.
        pid: u32,
    },
    /// We may not.
    #[error(transparent)]
    Denied(Denied),
    /// A program that this version of covtap cannot read.
    #[error("process {pid} ({}) cannot be read: {what}", path.display())]
    Unsupported {
        /// The process.
        pid: u32,
        /// What it executes.
        path: PathBuf,
        /// What is not supported.
        what: String,
    },
    /// Something in it is not what it should be.
    #[error("process {pid}: {what}, at {at:#x} in its memory")]
    Damaged {
        /// The process.
        pid: u32,
        /// What is wrong.
        what: String,
        /// Where.
        at: u64,
    },
    /// The system refused for another reason.
    #[error("process {pid}: {error}")]
    Read {
        /// The process.
        pid: u32,
        /// Why.
        error: MemoryError,
    },
}

impl AttachError {
    /// Whether a later try may succeed, as long as the process lives.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NotReady { .. } | Self::Replaced { .. })
    }

    /// What would help, as one sentence, if anything would.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied(denied) => Some(denied.hint()),
            Self::NotInstrumented {
                evidence: Evidence::NoCounters { .. },
                ..
            } => Some("build it with go build -cover".into()),
            _ => None,
        }
    }

    pub(super) fn of_memory(pid: u32, error: MemoryError) -> Self {
        match error {
            MemoryError::Gone => Self::of_dead(pid),
            MemoryError::Replaced => Self::Replaced { pid },
            MemoryError::Denied => Self::Denied(permission::explain(pid)),
            MemoryError::Unmapped { address, .. } => Self::Damaged {
                pid,
                what: error.to_string(),
                at: address,
            },
            MemoryError::Read(_) => Self::Read { pid, error },
        }
    }

    pub(super) fn of_dead(pid: u32) -> Self {
        if proc::stat(pid).is_some_and(|s| s.ended()) {
            Self::Zombie { pid }
        } else {
            Self::Gone { pid }
        }
    }
}
