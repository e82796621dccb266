//! The coverage wiring of a repository: what is missing, put there by insertions.
//!
//! ```text
//!            dockerfile ─┐ GOFLAGS reaches go build
//!  files ──► makefile   ─┤ and is given, where E2E_GOFLAGS says so     ──► plan ──► edits by file, new files,
//!            golang     ─┤                                                           patches to look at, and
//!            kind_config ┤ a directory of the host in every node                     what is there already
//!            manifest   ─┤ GOCOVERDIR, and a volume at it
//!            ignored    ─┘ data are not committed
//! ```
//!
//! Each editor is a function from a text to an [`Edited`]; nothing here reads or writes a file.

pub mod golang;
pub mod ignored;
pub mod kind_config;
pub mod makefile;
pub mod manifest;
pub mod plan;
pub mod record;

use crate::edit::Edits;

/// The environment variable that switches the build's flags on, in Makefiles and in code that builds images.
pub const SWITCH: &str = "E2E_GOFLAGS";
/// The directory of this repository that a Kind node's directory is, as Kind configurations say it.
pub const HOST_DIRECTORY: &str = "./coverdata";

/// What became of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// What is inserted.
    pub edits: Edits,
    /// What is there already, and is left as it is.
    pub done: Vec<String>,
    /// What cannot be done, because.
    pub blocked: Vec<String>,
}

impl Edited {
    /// Whether nothing of this text has to do with coverage.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.edits.is_empty() && self.done.is_empty() && self.blocked.is_empty()
    }
}

/// What ends the lines of a text.
fn line_end(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Lines for the end of a text, whose last line may be unfinished.
fn append(text: &str, lines: &[&str]) -> Edits {
    let end = line_end(text);
    let mut new = String::new();
    let unfinished = !text.is_empty() && !text.ends_with('\n');
    for line in lines {
        match unfinished {
            true => new.extend([end, line]),
            false => new.extend([line, end]),
        }
    }
    let mut edits = Edits::default();
    edits.insert(text.len(), new);
    edits
}
