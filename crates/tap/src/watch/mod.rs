//! Finds the processes below a command and tells when they end.
//!
//! On Linux covtap is the *subreaper* of everything it starts: a process whose parent has ended
//! becomes covtap's child, so nothing leaves the tree. The tree is walked every 10 ms through
//! `/proc/PID/task/TID/children`; what lives shorter than that and writes coverage is still found,
//! by its files. Elsewhere nothing is watched and the ledger says so.

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

#[cfg(target_os = "linux")]
pub use linux::Watcher;
#[cfg(not(target_os = "linux"))]
pub use nothing::Watcher;
