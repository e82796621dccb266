//! Finds processes as they start and tells when they end.
//!
//! In the scope of a tree covtap is the *subreaper* of everything it starts: a process whose parent
//! has ended becomes covtap's child, so nothing leaves the tree. Containers are no part of it, whoever has
//! started them: they can be added to any scope, and come and go while it is watched. New processes are found by the best
//! means that is to be had ([`Means`]); elsewhere than on Linux nothing is watched, and the ledger
//! says so.
//!
//! ```text
//!   hold ──┐                       ┌── tracer: exit stops, execs, ends
//!   events ┼──► Watcher: lives ◄───┤
//!   poll ──┘        │              └── inspector: is this program instrumented?
//!                   └──► states: snapshots, the last state of each life
//! ```

#[cfg(target_os = "linux")]
pub mod events;
#[cfg(target_os = "linux")]
pub mod hold;
#[cfg(target_os = "linux")]
mod inspect;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod nothing;
mod options;
#[cfg(target_os = "linux")]
mod reach;
#[cfg(target_os = "linux")]
pub mod states;
#[cfg(target_os = "linux")]
mod wake;

#[cfg(target_os = "linux")]
pub use linux::{Left, Watcher};
#[cfg(not(target_os = "linux"))]
pub use nothing::{Left, Watcher};
pub use options::{Means, Options, Scope};
