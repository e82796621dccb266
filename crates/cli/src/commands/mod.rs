//! The commands, one file each.

pub(crate) mod completions;
pub(crate) mod man;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runs;
