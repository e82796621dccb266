//! The shared nouns of covtap. Pure data and pure functions: no input, no output.
//!
//! | module | what it holds |
//! |---|---|
//! | [`counter`] | how counters of the same code combine: the merge algebra |
//! | [`coverage`] | the coverage document `coverage.json`, from which every report is made |
//! | [`percent`] | the one definition of a percentage |
//! | [`problem`] | what could not be read, where, and what to do about it |
//! | [`ledger`] | for every target that was expected: what came of it |
//! | [`inspect`] | what `covtap inspect` says about a program or process |
//! | [`run`] | what `run.json` says about one `covtap run` |
//! | [`stopped`] | what `stopped.json` says of services that are to be restored |
//! | [`wired`] | what `wired.json` says was put into files |
//! | [`facts`] | what was observed, for the doctor to judge |
//! | [`finding`] | what `covtap doctor` says |
//! | [`agents`] | what `agents.json` says of agents that are to be removed |
//! | [`ls`] | what `covtap ls` says would be watched |
//! | [`tap`] | what `covtap tap` says about what it read |
//! | [`exit`] | exit codes |

pub mod agents;
pub mod counter;
pub mod coverage;
pub mod exit;
pub mod facts;
pub mod finding;
pub mod inspect;
pub mod ledger;
pub mod ls;
pub mod percent;
pub mod problem;
pub mod run;
pub mod stopped;
pub mod tap;
pub mod wired;
