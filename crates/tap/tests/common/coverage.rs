//! What directories of coverage files say, and what the tap says.

use std::fs;
use std::path::{Path, PathBuf};

use covtap_model::problem::Problem;
use covtap_profile::go::accumulate::Counters;
use covtap_profile::go::directory;
use covtap_profile::go::load;

/// The one `covmeta` file of a directory.
pub(crate) fn meta(directory: &Path) -> (String, Vec<u8>) {
    let files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("covmeta.")
        })
        .collect();
    assert_eq!(files.len(), 1, "{}: {files:?}", directory.display());
    let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
    (name, fs::read(&files[0]).unwrap())
}

/// The counters of the one build and the one process in a directory, without anything wrong.
pub(crate) fn counters(directory: &Path) -> Counters {
    let (counters, problems) = counters_and_problems(directory);
    assert!(problems.is_empty(), "{problems:?}");
    counters
}

/// The counters of the one build and the one process in a directory, and which records are wrong.
pub(crate) fn counters_and_problems(directory: &Path) -> (Counters, Vec<Problem>) {
    let scan = directory::scan(&[directory]).unwrap();
    assert!(scan.problems.is_empty(), "{:?}", scan.problems);
    assert_eq!(scan.pods.len(), 1, "{}", directory.display());
    let (build, problems) = load::open(&scan.pods[0]);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(scan.pods[0].counters.len(), 1, "{}", directory.display());
    build.unwrap().counters(&scan.pods[0].counters)
}

/// Lines in order.
pub(crate) fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The first line that two texts do not share.
pub(crate) fn same(about: &str, tap: &str, own: &str) -> Result<(), String> {
    let (ours, theirs) = (sorted(tap), sorted(own));
    if ours == theirs {
        return Ok(());
    }
    let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    let at = at.unwrap_or(ours.len().min(theirs.len()));
    Err(format!(
        "{about}: {} lines of the tap, {} of the process; line {}:\n  tap: {:?}\n  own: {:?}",
        ours.len(),
        theirs.len(),
        at + 1,
        ours.get(at),
        theirs.get(at)
    ))
}
