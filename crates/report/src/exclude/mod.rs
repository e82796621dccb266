//! What is not counted.
//!
//! **Globs** are matched against the path in the repository (or the binary's name, when the file
//! was not found), with the rules people know from `.gitignore`:
//!
//! | pattern | matches |
//! |---|---|
//! | `*.pb.go` | files of that name in any folder (no `/` in the pattern) |
//! | `mocks` | files and folders of that name anywhere, with all below them |
//! | `/internal/gen` or `internal/gen/**` | from the root on (a `/` before the end) |
//! | `**/zz_*.go` | in any folder |
//! | `!api/keep.pb.go` | takes a file back in; of several patterns the last that matches counts |
//!
//! A file that was taken back in also stays when it is generated. A pattern that matches nothing
//! is a problem in the document: it is probably misspelt.
//!
//! **Generated files** by Go's rule: a line `// Code generated … DO NOT EDIT.` before the first
//! text that is no comment.
//!
//! **Comment markers** (`//` comments only; words after the marker are for people):
//!
//! | marker | leaves out |
//! |---|---|
//! | `//covtap:ignore-file` | the file |
//! | `//covtap:ignore` | what begins on its line or, alone on a line, on the next line with code: the function when one begins there, else the units that start there |
//! | `//covtap:ignore-start` … `//covtap:ignore-end` | units that start in between |
//!
//! A start without end (or the reverse) has no effect and is a problem that names file and line;
//! so is a marker that no unit starts at, and one that is not known.
//!
//! Whatever is left out is listed in [`Coverage::excluded`] with the reason and its statements.

mod generated;
mod markers;
mod scan;

use covtap_model::coverage::{Coverage, Excluded, File, Function};
use covtap_model::percent::Ratio;
use covtap_model::problem::{Problem, Severity};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::source::Sources;

/// What to leave out of a document.
#[derive(Clone, Debug)]
pub struct Exclusions {
    patterns: Vec<Pattern>,
    /// Two globs for each pattern: the thing itself and what lies below it.
    set: GlobSet,
    generated: bool,
    markers: bool,
}

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    /// `!`: takes back in.
    keeps: bool,
}

/// A pattern that is no glob.
#[derive(Debug, thiserror::Error)]
#[error("exclusion `{pattern}` is not a glob: {reason}")]
pub struct GlobError {
    /// As it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What the patterns say about a file.
enum Verdict {
    /// No pattern matches.
    Open,
    /// This pattern leaves it out.
    Out(usize),
    /// It was taken back in.
    Kept,
}

impl Exclusions {
    /// Leaves out what matches `globs`, generated files if `generated`, and what comment markers
    /// name if `markers`.
    ///
    /// # Errors
    /// [`GlobError`] for the first pattern that is no glob.
    pub fn new<S: AsRef<str>>(
        globs: &[S],
        generated: bool,
        markers: bool,
    ) -> Result<Self, GlobError> {
        let mut patterns = Vec::new();
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let text = glob.as_ref();
            let error = |reason: String| GlobError {
                pattern: text.to_owned(),
                reason,
            };
            let (keeps, bare) = match text.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, text),
            };
            let bare = bare
                .strip_prefix("./")
                .unwrap_or(bare)
                .trim_end_matches('/');
            if bare.trim_matches('/').is_empty() {
                return Err(error("it is empty".into()));
            }
            let anchored = match bare.strip_prefix('/') {
                Some(rest) => rest.to_owned(),
                None if bare.contains('/') => bare.to_owned(),
                None => format!("**/{bare}"),
            };
            for glob in [anchored.clone(), format!("{anchored}/**")] {
                let glob = GlobBuilder::new(&glob)
                    .literal_separator(true)
                    .build()
                    .map_err(|e| error(e.kind().to_string()))?;
                set.add(glob);
            }
            patterns.push(Pattern {
                text: text.to_owned(),
                keeps,
            });
        }
        let set = set.build().map_err(|e| GlobError {
            pattern: e.glob().unwrap_or_default().to_owned(),
            reason: e.kind().to_string(),
        })?;
        Ok(Self {
            patterns,
            set,
            generated,
            markers,
        })
    }

    /// Takes what is not counted out of `coverage` and computes all totals anew.
    ///
    /// `sources` is asked for files whose path is known ([`File::path`], so map first). What could
    /// not be checked, and markers and patterns without effect, go to [`Coverage::problems`].
    pub fn apply(&self, coverage: &mut Coverage, sources: &dyn Sources) {
        let mut used = vec![false; self.patterns.len()];
        for entry in &coverage.excluded {
            self.verdict(&entry.file, &mut used);
        }
        for package in &mut coverage.packages {
            package.files.retain_mut(|file| {
                match self.reason(file, sources, &mut used, &mut coverage.problems) {
                    Some(Reason::File(reason)) => {
                        coverage.excluded.push(Excluded {
                            file: file.display_path().to_owned(),
                            reason,
                            statements: statements(file),
                        });
                        false
                    }
                    Some(Reason::Parts(parts)) => {
                        let parts = markers::apply(&parts, file, &mut coverage.problems);
                        let left_out = !parts.is_empty();
                        coverage.excluded.extend(parts);
                        !left_out || file.functions.iter().any(|f| !f.units.is_empty())
                    }
                    None => true,
                }
            });
        }
        coverage.packages.retain(|p| !p.files.is_empty());
        for (pattern, _) in self.patterns.iter().zip(&used).filter(|(_, used)| !**used) {
            coverage.problems.push(Problem::new(
                Severity::Note,
                &pattern.text,
                "an exclusion that matches a file",
                "none that does",
                "the pattern has no effect",
            ));
        }
        // Files that are not counted need not be found either.
        let excluded: std::collections::BTreeSet<&str> =
            coverage.excluded.iter().map(|e| e.file.as_str()).collect();
        coverage
            .unresolved
            .retain(|u| !excluded.contains(u.name.as_str()));
        coverage.finish();
    }

    /// The last pattern that matches decides; all that match are marked in `used`.
    fn verdict(&self, path: &str, used: &mut [bool]) -> Verdict {
        let mut verdict = Verdict::Open;
        let mut matches = self.set.matches(path.trim_start_matches('/'));
        matches.sort_unstable();
        for at in matches {
            let n = at / 2;
            used[n] = true;
            verdict = if self.patterns[n].keeps {
                Verdict::Kept
            } else {
                Verdict::Out(n)
            };
        }
        verdict
    }

    fn reason(
        &self,
        file: &File,
        sources: &dyn Sources,
        used: &mut [bool],
        problems: &mut Vec<Problem>,
    ) -> Option<Reason> {
        let kept = match self.verdict(file.display_path(), used) {
            Verdict::Out(n) => {
                return Some(Reason::File(format!("glob {}", self.patterns[n].text)));
            }
            Verdict::Kept => true,
            Verdict::Open => false,
        };
        let path = file.path.as_deref()?;
        if !self.markers && (!self.generated || kept) {
            return None;
        }
        let text = match sources.read(path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(Problem::new(
                    Severity::Note,
                    path,
                    "a source file that can be read",
                    error.to_string(),
                    "not looked through for markers or `Code generated`",
                ));
                return None;
            }
        };
        let text = String::from_utf8_lossy(&text);
        if self.generated
            && !kept
            && let Some(line) = generated::generated(&text)
        {
            return Some(Reason::File(format!("generated (line {line})")));
        }
        if !self.markers {
            return None;
        }
        let found = markers::find(&text, path, problems);
        match found.file {
            Some(line) => Some(Reason::File(format!("//covtap:ignore-file (line {line})"))),
            None if found.is_empty() => None,
            None => Some(Reason::Parts(found)),
        }
    }
}

/// Why something of a file is left out.
enum Reason {
    /// All of it.
    File(String),
    /// What these markers name.
    Parts(markers::Markers),
}

fn statements(file: &File) -> Ratio {
    file.functions
        .iter()
        .map(Function::statements)
        .fold(Ratio::default(), |mut sum, r| {
            sum += r;
            sum
        })
}

#[cfg(test)]
mod tests;
