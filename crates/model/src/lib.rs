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
//! | [`ls`] | what `covtap ls` says would be watched |
//! | [`tap`] | what `covtap tap` says about what it read |
//! | [`exit`] | exit codes |

pub mod counter;
pub mod coverage;
pub mod exit;
pub mod inspect;
pub mod ledger;
pub mod ls;
pub mod percent;
pub mod problem;
pub mod run;
pub mod tap;
