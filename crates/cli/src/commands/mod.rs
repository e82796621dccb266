//! The commands, one file each.

#[cfg(target_os = "linux")]
pub(crate) mod agent;
pub(crate) mod build;
pub(crate) mod clean;
pub(crate) mod collect;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod explain;
#[cfg(target_os = "linux")]
pub(crate) mod hold;
#[cfg(target_os = "linux")]
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod man;
mod replicas;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod session;
#[cfg(target_os = "linux")]
pub(crate) mod tap;
pub(crate) mod unwire;
#[cfg(target_os = "linux")]
pub(crate) mod watch;
pub(crate) mod wire;
