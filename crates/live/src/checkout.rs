//! The repository at hand: which version of a package it holds, where the files named in binaries
//! lie in it, and what of them is not counted.

use std::collections::BTreeMap;
use std::path::Path;

use covtap_model::counter::CounterMode;
use covtap_model::coverage::Coverage;
use covtap_model::problem::Problem;
use covtap_profile::go::document;
use covtap_profile::go::meta::Package;
use covtap_report::exclude::Exclusions;
use covtap_report::source::Mapper;

/// A repository whose files have been listed.
#[derive(Debug)]
pub struct Checkout {
    mapper: Mapper,
}

impl Checkout {
    /// Lists the repository at `root`; the problems say what of it could not be read.
    #[must_use]
    pub fn open(root: &Path) -> (Self, Vec<Problem>) {
        let (mapper, problems) = Mapper::new(root);
        (Self { mapper }, problems)
    }

    /// Whether the repository holds the very source that `package` was built from: all of its files
    /// are there and their lines fit.
    #[must_use]
    pub fn has(&self, package: &Package) -> bool {
        let package = document::uncounted(package);
        let mut alone = Coverage::new("", CounterMode::Set, vec![package]);
        self.mapper.map(&mut alone);
        alone.files().next().is_some() && alone.files().all(|file| file.path.is_some())
    }

    /// Finds the files of `coverage` in the repository and leaves out what is excluded. What there is
    /// to say about single files is in the document.
    pub fn refine(&self, coverage: &mut Coverage, exclude: &Exclusions) {
        self.mapper.map(coverage);
        exclude.apply(coverage, &self.mapper);
    }
}

/// Leaves out what `globs` match, of a document that has been refined before. No source is read:
/// the sources may have changed since.
pub fn leave_out(coverage: &mut Coverage, globs: &Exclusions) {
    globs.apply(coverage, &BTreeMap::new());
}
