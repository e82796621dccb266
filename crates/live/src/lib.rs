//! The run session: starts a command, watches its processes, collects what they leave.
//!
//! | module | what it holds |
//! |---|---|
//! | [`session`] | `covtap run`, as a list of intentions |
//! | [`background`] | `covtap start`, `mark`, `stop`: the same across CI steps |
//! | [`surroundings`], [`around`] | containers and clusters around CMD, as the session is told of them |
//! | [`agent`] | `covtap agent` on other machines, and what comes of it here |
//! | [`store`] | where runs lie: `.covtap/runs/<id>/` |
//! | [`repository`] | the project around the working directory: its root and its Go modules |
//! | [`attribute`] | which coverage file was written by which life |
//! | [`rows`] | lives and files to ledger rows |
//! | [`collect`] | coverage files to the run's folder and to a coverage document |
//! | [`checkout`] | names in binaries to files of the repository, exclusions |
//!
//! Only [`session`], [`store`], and [`collect`] touch the system; the rest are pure
//! functions over what was observed.

#![cfg(unix)]

pub mod agent;
pub mod around;
pub mod attribute;
pub mod background;
pub mod checkout;
pub mod collect;
mod command;
mod directory;
pub mod repository;
pub mod rows;
pub mod session;
mod signals;
pub mod store;
pub mod surroundings;
mod terminal;
