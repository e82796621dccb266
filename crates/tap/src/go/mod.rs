//! Go's counters in the memory of a process.
//!
//! | module | stage |
//! |---|---|
//! | `module` | the runtime's module data: where counters and variables are |
//! | `list` | the packages that registered themselves |
//! | `blobs` | the meta-data of packages in the program
//! | `build` | their meta-data, as the process would write them |
//! | `locate` | from a program to its module data |
//! | `search` | from a process to all of these |
//! | [`error`] | why there is no way |
//! | [`attach`] | a process whose counters can be read |
//! | [`layout`] | what was found where, for people |
//! | [`snapshot`] | a consistent look at the counters |
//! | [`files`] | the pair of files that Go's tools read |

pub mod attach;
mod blobs;
mod build;
pub mod error;
pub mod files;
pub mod layout;
mod list;
mod locate;
mod module;
mod search;
pub mod snapshot;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;

pub use attach::Attached;
pub use build::Build;
pub use error::{AttachError, Evidence};
pub use files::FileNames;
pub use layout::{Found, Layout};
pub use snapshot::{Dropped, Snapshot, SnapshotError, Statements};
