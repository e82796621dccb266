//! Go's coverage files, as written by binaries built with `go build -cover`.
//!
//! | module | what it does |
//! |---|---|
//! | [`directory`] | which files belong together |
//! | [`meta`], [`meta_writer`] | `covmeta`: functions and units of a build |
//! | [`counters`], [`counters_writer`] | `covcounters`: what a process executed |
//! | [`accumulate`], [`load`] | sums over many processes of a build |
//! | [`units`] | sums over builds, unit by unit, in Go's order |
//! | [`document`] | the coverage document that reports are made of |
//! | [`covdata`] | the commands of `go tool covdata` |
//! | [`executable`] | whether a binary carries coverage, from the file alone |
//! | [`program`], [`blobs`] | what it carries: its packages and the room for their counters |

pub mod accumulate;
pub mod blobs;
pub mod counters;
pub mod counters_writer;
pub mod covdata;
mod cursor;
pub mod directory;
pub mod document;
pub mod executable;
mod hash;
pub mod load;
pub mod meta;
pub mod meta_writer;
pub mod pattern;
pub mod program;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
pub mod units;

pub use cursor::Damage;
pub use hash::hex;
