//! Report formats: one file each, all made from the same coverage document.
//!
//! | format | file | read by |
//! |---|---|---|
//! | [`Format::Text`] | `coverage.txt` | people in a terminal |
//! | [`Format::Json`] | `coverage.json` | covtap itself, scripts |
//! | [`Format::Lcov`] | `lcov.info` | genhtml, editors, coverage services |
//! | [`Format::Cobertura`] | `cobertura.xml` | GitLab, Jenkins, Azure, pycobertura |
//! | [`Format::Go`] | `coverage.out` | `go tool cover`, everything that reads Go profiles |
//! | [`Format::Markdown`] | `coverage.md` | step summaries and comments of CI systems |
//! | [`Format::Badge`] | `badge.svg` | a README |

mod badge;
mod cobertura;
mod files;
mod go;
mod json;
mod lcov;
mod markdown;
mod missing;
mod rows;
#[cfg(test)]
mod shared_tests;
mod text;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::str::FromStr;

use covtap_model::coverage::Coverage;

pub use files::{WriteError, Written, write_files};
pub use json::{ReadError, read_json};

/// A report format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A table for a terminal.
    Text,
    /// The coverage document itself.
    Json,
    /// The tracefile of lcov.
    Lcov,
    /// Cobertura's XML.
    Cobertura,
    /// Go's text profile.
    Go,
    /// A summary in GitHub-flavoured Markdown.
    Markdown,
    /// A small SVG picture with the total.
    Badge,
}

impl Format {
    /// All formats, in the order in which they are listed to people.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::Json,
        Self::Lcov,
        Self::Cobertura,
        Self::Go,
        Self::Markdown,
        Self::Badge,
    ];

    /// The word that selects it: `--format lcov`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Lcov => "lcov",
            Self::Cobertura => "cobertura",
            Self::Go => "go",
            Self::Markdown => "markdown",
            Self::Badge => "badge",
        }
    }

    /// The name of its file in a report folder.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Text => "coverage.txt",
            Self::Json => "coverage.json",
            Self::Lcov => "lcov.info",
            Self::Cobertura => "cobertura.xml",
            Self::Go => "coverage.out",
            Self::Markdown => "coverage.md",
            Self::Badge => "badge.svg",
        }
    }

    /// Writes `coverage` in this format. The same document and options give the same bytes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        self,
        coverage: &Coverage,
        options: &Options,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        // The formats write many small pieces; `out` may be a terminal or a file.
        let mut out = BufWriter::with_capacity(64 * 1024, out);
        match self {
            Self::Text => text::write(coverage, options, &mut out),
            Self::Json => json::write(coverage, &mut out),
            Self::Lcov => lcov::write(coverage, &mut out),
            Self::Cobertura => cobertura::write(coverage, options, &mut out),
            Self::Go => go::write(coverage, &mut out),
            Self::Markdown => markdown::write(coverage, options, &mut out),
            Self::Badge => badge::write(coverage, &mut out),
        }?;
        out.flush()
    }

    /// The same as [`write`](Self::write), into memory.
    #[must_use]
    pub fn to_bytes(self, coverage: &Coverage, options: &Options) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(coverage, options, &mut bytes)
            .expect("a Vec takes every write");
        bytes
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names nothing known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{word}`; known: {known}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    known: String,
}

fn by_name<T: Copy>(
    what: &'static str,
    word: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, UnknownWord> {
    all.iter()
        .copied()
        .find(|&t| name(t) == word)
        .ok_or_else(|| UnknownWord {
            what,
            word: crate::escape::plain(word).into_owned(),
            known: all.iter().map(|&t| name(t)).collect::<Vec<_>>().join(", "),
        })
}

impl FromStr for Format {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        by_name("format", word, &Self::ALL, Self::name)
    }
}

/// How a report is written. The default is a plain table of packages of any width.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Columns of the terminal; absent: as wide as the names need.
    pub width: Option<usize>,
    /// Whether the text table uses colours (always beside a number, never alone).
    pub color: bool,
    /// Adds the lines that did not run to the text table, which then lists files.
    pub show_missing: bool,
    /// Order of the rows in text and Markdown.
    pub sort: Sort,
    /// What a row of the text table is.
    pub by: By,
    /// Seconds since 1970 for Cobertura's `timestamp`; absent: 0, so that bytes do not change
    /// from run to run.
    pub timestamp: Option<u64>,
}

/// Order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name, ascending.
    #[default]
    Name,
    /// Least covered first.
    Coverage,
    /// Most missed statements first.
    Missing,
}

impl Sort {
    /// All orders.
    pub const ALL: [Self; 3] = [Self::Name, Self::Coverage, Self::Missing];

    /// The word that selects it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Coverage => "coverage",
            Self::Missing => "missing",
        }
    }
}

impl FromStr for Sort {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        by_name("order", word, &Self::ALL, Self::name)
    }
}

/// What a row of the table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// A package.
    #[default]
    Package,
    /// A source file.
    File,
}

impl By {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Package, Self::File];

    /// The word that selects it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::File => "file",
        }
    }
}

impl FromStr for By {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        by_name("row", word, &Self::ALL, Self::name)
    }
}
