//! What is watched, and how.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::keep::Keeper;

/// What to watch, and what to do about it.
#[derive(Debug)]
pub struct Options {
    /// Which processes.
    pub scope: Scope,
    /// How new ones are found.
    pub means: Means,
    /// Starts covtap's own program as the guardian of the exec hold; without it there is no hold.
    pub holder: Option<Command>,
    /// Keeps the states of instrumented lives; `None` when they are not to be read.
    pub states: Option<Arc<dyn Keeper>>,
    /// The time between two snapshots of a life.
    pub every: Duration,
    /// Whether lives are traced, so that their exit stop tells their last state.
    pub exit: bool,
    /// Whether counter files keep all arguments of the program; they may hold secrets.
    pub keep_arguments: bool,
}

/// Which processes are watched, beside those of containers that are added
/// ([`Watcher::add_container`](super::Watcher::add_container)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything below this process.
    Tree,
    /// Everything in pods and containers: for an agent in a node, whose own processes and this one's
    /// container are left out.
    Containers,
    /// Everything on this machine (in this pid namespace).
    Machine,
    /// The processes of a control group and of those below it: the end of its path in
    /// `/proc/PID/cgroup`.
    Cgroup(String),
    /// These processes.
    Processes(BTreeSet<u32>),
}

/// How new processes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By the best of the following that is to be had.
    Auto,
    /// Every exec on the machine's file systems waits until covtap has seen it (fanotify). Needs
    /// `CAP_SYS_ADMIN`. Nothing instrumented starts unseen.
    Hold,
    /// The kernel tells of starts and ends (process connector). What ends within a moment may be gone
    /// before it is looked at; that it was there is known.
    Events,
    /// A look at `/proc` every 10 ms.
    Poll,
}
