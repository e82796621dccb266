//! From names in binaries to a document of the repository: file paths, and what is not counted.

use std::collections::BTreeMap;
use std::path::Path;

use covtap_model::coverage::Coverage;
use covtap_model::problem::Problem;
use covtap_report::exclude::Exclusions;
use covtap_report::source::Mapper;

/// Finds the files of `coverage` in the repository at `root` and leaves out what is excluded.
///
/// Returns what could not be read on the way; what mapping and exclusions have to say about single
/// files is in the document.
#[must_use]
pub fn refine(coverage: &mut Coverage, root: &Path, exclude: &Exclusions) -> Vec<Problem> {
    let (mapper, problems) = Mapper::new(root);
    mapper.map(coverage);
    exclude.apply(coverage, &mapper);
    problems
}

/// Leaves out what `globs` match, of a document that has been refined before. No source is read:
/// the sources may have changed since.
pub fn leave_out(coverage: &mut Coverage, globs: &Exclusions) {
    globs.apply(coverage, &BTreeMap::new());
}
