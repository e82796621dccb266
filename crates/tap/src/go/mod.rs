//! Go's counters in the memory of a process.
//!
//! | module | stage |
//! |---|---|
//! | `module` | the runtime's module data: where counters and variables are |
//! | `list` | the packages that registered themselves |
//! | `blobs` | the meta-data of packages in the program
//! | `build` | their meta-data, as the process would write them |
//! | [`attach`] | from a process to all of these |
//! | [`layout`] | what was found where, for people |
//! | [`snapshot`] | a consistent look at the counters |
//! | [`files`] | the pair of files that Go's tools read |

pub mod attach;
mod blobs;
mod build;
pub mod files;
pub mod layout;
mod list;
mod module;
pub mod snapshot;

pub use attach::{AttachError, Attached, Evidence};
pub use build::Build;
pub use files::{Arguments, FileNames};
pub use layout::{Found, Layout};
pub use snapshot::{Dropped, Snapshot, SnapshotError, Statements};
