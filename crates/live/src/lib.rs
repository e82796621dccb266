//! The run session: starts a command, watches its processes, collects what they leave.
//!
//! | module | what it holds |
//! |---|---|
//! | [`session`] | `covtap run`, as a list of intentions |
//! | [`background`] | `covtap start`, `mark`, `stop`: the same across CI steps |
//! | [`surroundings`], [`around`] | containers and clusters around CMD, as the session is told of them |
//! | `files` | the files that processes in containers write, copied as these end |
//! | [`once`] | `covtap collect`: what runs now |
//! | `present` | what runs when a session begins that starts nothing itself |
//! | `stop`, [`stopped`] | services are ended gracefully where files need it, and restored |
//! | [`agent`] | `covtap agent` on other machines, and what comes of it here |
//! | `agents` | the agents of a session: started where its own tracer cannot look |
//! | [`store`] | where runs lie: `.covtap/runs/<id>/` |
//! | [`repository`] | the project around the working directory: its root and its Go modules |
//! | [`attribute`] | which coverage file was written by which life |
//! | [`rows`] | lives and files to ledger rows |
//! | [`collect`] | coverage files to the run's folder and to a coverage document |
//! | [`replicas`] | a run's coverage, replica by replica |
//! | [`checkout`] | names in binaries to files of the repository, exclusions |
//!
//! Only [`session`], [`store`], and [`collect`] touch the system; the rest are pure
//! functions over what was observed.

#![cfg(unix)]

pub mod agent;
mod agents;
pub mod around;
pub mod attribute;
pub mod background;
pub mod checkout;
pub mod collect;
mod command;
mod demand;
mod directory;
mod files;
pub mod made;
pub mod once;
mod present;
pub mod replicas;
pub mod repository;
pub mod rows;
pub mod session;
mod signals;
mod stop;
pub mod stopped;
pub mod store;
pub mod surroundings;
mod terminal;
mod unseen;
