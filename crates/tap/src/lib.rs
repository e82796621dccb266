//! Counters straight from the memory of running processes, and their last state when they die.
//!
//! | module | what it holds |
//! |---|---|
//! | [`memory`] | the seam: bytes at an address, from a live process, a recording or a script |
//! | [`target`] | one running process: its identity and what it has mapped |
//! | [`maps`] | the addresses that a process has mapped |
//! | [`permission`] | why a process may not be read, and what would help |
//! | [`image`] | what an ELF file says of itself, looked at once |
//! | [`go`] | Go's counters: where they lie, what they mean, a consistent snapshot |
//! | [`trace`] | ptrace: the exit stop of a process, its execs, its signals |
//! | [`watch`] | finds processes as they start and tells when they end |
//! | [`life`] | one process life: what is known of it |
//! | [`keep`] | the states of lives as files that Go's tools read |
//! | [`proc`] | reads of `/proc` |
//! | [`root`] | directories as a process sees them |
//! | [`peer`] | who is at the other end of a local socket |
//! | [`cgroup`] | the pod and the container of a process |
//! | [`clock`] | UTC times |
//!
//! The stages of a look into a process have a type each:
//! target → image → layout → tap → snapshot.

#![cfg(unix)]

pub mod cgroup;
pub mod clock;
pub mod keep;
pub mod life;
pub mod watch;

#[cfg(target_os = "linux")]
pub mod go;
#[cfg(target_os = "linux")]
pub mod image;
#[cfg(target_os = "linux")]
pub mod maps;
#[cfg(target_os = "linux")]
pub mod memory;
#[cfg(target_os = "linux")]
pub mod peer;
#[cfg(target_os = "linux")]
pub mod permission;
#[cfg(target_os = "linux")]
pub mod proc;
#[cfg(target_os = "linux")]
pub mod root;
#[cfg(target_os = "linux")]
pub mod target;
#[cfg(target_os = "linux")]
pub mod trace;
