//! Why coverage is missing: rules from facts to findings. Pure functions.
//!
//! ```text
//!  facts ──► rules ──► verdicts ──► order ──► diagnosis
//!            a file     found,       root cause first,
//!            a rule     cleared,     consequences under it,
//!                       unknown      links beyond it not reached
//! ```
//!
//! A rule fires only on evidence: what was not looked at is unknown, which is never a pass and never a
//! finding. [`rules::all`] is the catalogue; [`diagnose`] is the whole of it.

mod order;
pub mod page;
pub mod rule;
pub mod rules;
mod tree;
pub mod verdict;

pub use order::diagnose;
pub use rule::Rule;
pub use tree::Derived;
pub use verdict::Verdicts;

use covtap_model::facts::data::Data;
use covtap_model::facts::log::Log;
use covtap_model::facts::repository::Repository;
use covtap_model::finding::Route;

/// All that was observed.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The route that was asked for; none: what the facts show is in use.
    pub route: Option<Route>,
    /// Directories with coverage files.
    pub data: Vec<Data>,
    /// Logs, of pods and of whoever ran the tests.
    pub logs: Vec<Log>,
    /// What the files of a repository say.
    pub repository: Option<Repository>,
    /// What rules derive from all this, once.
    pub derived: Derived,
}

impl Facts {
    /// The route in use: files when anything expects files, else memory.
    #[must_use]
    pub fn route(&self) -> Route {
        let files = || {
            let repository = tree::tree(self).is_some_and(|t| t.wants_files() || !t.uses_covtap());
            !self.data.is_empty() || !self.logs.is_empty() || repository
        };
        self.route.unwrap_or_else(|| match files() {
            true => Route::Files,
            false => Route::Tap,
        })
    }
}
