//! One source file under two names becomes one.
//!
//! A file that was built as part of its package and also by its name (`go build ./cmd/x/main.go`)
//! comes twice: as `example.org/shop/cmd/x/main.go` and as `/src/cmd/x/main.go`. Counted twice, it
//! would weigh double in every percentage. When both have the same units they are the same code,
//! and their counts combine by the rules of the mode; when not, they are two versions, both stay,
//! and a problem says so.

use std::collections::BTreeMap;

use covtap_model::counter::CounterMode;
use covtap_model::coverage::{Coverage, File, Unit};
use covtap_model::problem::{Problem, Severity};

/// Folds files of the same repository path.
pub(crate) fn fold(coverage: &mut Coverage) {
    let mut by_path: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    for (p, package) in coverage.packages.iter().enumerate() {
        for (f, file) in package.files.iter().enumerate() {
            if let Some(path) = &file.path {
                by_path.entry(path.clone()).or_default().push((p, f));
            }
        }
    }
    let mut folded: Vec<(usize, usize)> = Vec::new();
    for (path, mut places) in by_path {
        if places.len() < 2 {
            continue;
        }
        // An import path says more than a path inside a container: it is kept.
        places.sort_by_key(|&(p, f)| {
            let name = &coverage.packages[p].files[f].name;
            (
                name.starts_with('/') || name.starts_with(super::COMMAND_LINE),
                p,
                f,
            )
        });
        let (kept_p, kept_f) = places[0];
        for &(p, f) in &places[1..] {
            let other = coverage.packages[p].files[f].clone();
            let mode = coverage.mode;
            let kept = &mut coverage.packages[kept_p].files[kept_f];
            let found = format!("it is in the data as {} and as {}", kept.name, other.name);
            let problem = if merge(kept, &other, mode) {
                folded.push((p, f));
                Problem::new(
                    Severity::Note,
                    &path,
                    "one name for a source file",
                    found,
                    "the units are the same: counted once, counts combined",
                )
            } else {
                Problem::new(
                    Severity::Warning,
                    &path,
                    "one name for a source file",
                    found,
                    "the units differ: both are counted, statements may be counted twice",
                )
                .hint("build the package, not the file, and build all images from the same sources")
            };
            if !coverage.problems.contains(&problem) {
                coverage.problems.push(problem);
            }
        }
    }
    // From the back, so that the places before stay where they are.
    folded.sort_unstable();
    for (p, f) in folded.into_iter().rev() {
        coverage.packages[p].files.remove(f);
    }
    coverage.packages.retain(|p| !p.files.is_empty());
}

/// Adds the counts of `other` to `file` when both have the same units; says whether they have.
fn merge(file: &mut File, other: &File, mode: CounterMode) -> bool {
    let position = |u: &Unit| {
        (
            u.start_line,
            u.start_column,
            u.end_line,
            u.end_column,
            u.statements,
        )
    };
    let mut from: Vec<Unit> = units(other).copied().collect();
    from.sort_unstable();
    let mut into: Vec<&mut Unit> = file
        .functions
        .iter_mut()
        .flat_map(|f| &mut f.units)
        .collect();
    into.sort_unstable();
    if from.len() != into.len()
        || from
            .iter()
            .zip(&into)
            .any(|(a, b)| position(a) != position(b))
    {
        return false;
    }
    for (into, from) in into.into_iter().zip(from) {
        into.count = match mode {
            CounterMode::Count | CounterMode::Atomic => into.count.saturating_add(from.count),
            _ => into.count.max(from.count),
        };
    }
    true
}

fn units(file: &File) -> impl Iterator<Item = &Unit> {
    file.functions.iter().flat_map(|f| &f.units)
}
