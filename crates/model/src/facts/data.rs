//! Coverage files as they lie in a directory: what they are, how they belong together, what is damaged.

use serde::{Deserialize, Serialize};

use crate::counter::CounterMode;

/// A directory with coverage files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// Its path, as it was asked for.
    pub directory: String,
    /// Go's meta-data files, by name.
    pub builds: Vec<Build>,
    /// Go's counter files, by name.
    pub counters: Vec<Counters>,
    /// Files that a runtime began and did not finish (`tmp.cov…`), by name.
    pub unfinished: Vec<Unfinished>,
    /// Directories below it that hold Go's coverage files, by path.
    pub nested: Vec<Nested>,
    /// Counter files in different directories below it that have the same name and differ.
    pub same_name: Vec<(String, String)>,
    /// Text profiles of Go (`mode: …`), by name.
    pub texts: Vec<Text>,
    /// Raw profiles of LLVM, by name.
    pub raw: Vec<Raw>,
    /// Counter files of gcov (`.gcda`) and whether their notes (`.gcno`) are there.
    pub gcov: Vec<Gcov>,
    /// What could not be read: the file, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Data {
    /// Whether nothing of coverage is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            directory: _,
            builds,
            counters,
            unfinished,
            nested,
            same_name: _,
            texts,
            raw,
            gcov,
            unreadable,
        } = self;
        builds.is_empty()
            && counters.is_empty()
            && unfinished.is_empty()
            && nested.is_empty()
            && texts.is_empty()
            && raw.is_empty()
            && gcov.is_empty()
            && unreadable.is_empty()
    }

    /// The counter files whose names say that they belong to a build.
    pub fn counters_of<'a>(&'a self, build: &'a Build) -> impl Iterator<Item = &'a Counters> {
        self.counters
            .iter()
            .filter(move |counters| counters.tag == build.tag)
    }
}

/// A meta-data file of Go: what one build has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Its path from the directory.
    pub file: String,
    /// The hash in its name.
    pub tag: String,
    /// The hash in its header; none when the header is unusable.
    pub hash: Option<String>,
    /// What its counters mean.
    pub mode: Option<CounterMode>,
    /// Its packages, those that could be read.
    pub packages: Vec<Package>,
    /// When the file was written, in seconds since 1970.
    pub written: u64,
    /// What is damaged in it.
    pub damage: Vec<Damage>,
}

impl Build {
    /// Import path of its main package: that of the program, when main is instrumented.
    #[must_use]
    pub fn main(&self) -> Option<&Package> {
        self.packages.iter().find(|package| package.main)
    }
}

/// A package of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Package {
    /// Import path.
    pub path: String,
    /// Path of its module; may be empty.
    pub module: String,
    /// Whether it is `package main`.
    pub main: bool,
    /// The hash of its meta-data.
    pub hash: String,
    /// A number for its functions and units without its name and directory: equal for the same
    /// sources that were built under two names.
    pub shape: u64,
    /// Its source files, as the build names them.
    pub sources: Vec<Source>,
}

/// A source file of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Import path and base name, or an absolute path of the machine that built it.
    pub name: String,
    /// How many statements it has.
    pub statements: u64,
}

/// A counter file of Go: what one process counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Its path from the directory.
    pub file: String,
    /// The hash in its name.
    pub tag: String,
    /// The hash in its header; none when the header is unusable.
    pub hash: Option<String>,
    /// Process id as the process saw it, from the name.
    pub pid: u64,
    /// When it was written, from the name: seconds since 1970.
    pub written: u64,
    /// An earlier file of the same process id and build of which no count is larger, and some are
    /// smaller.
    pub grew_from: Option<String>,
    /// What is damaged in it.
    pub damage: Vec<Damage>,
}

/// Damage in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// What kind.
    pub kind: DamageKind,
    /// In bytes from the file's start.
    pub at: u64,
    /// What a sound file has there, and what was found.
    pub what: String,
}

/// What kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// The file is empty or ends too early.
    CutShort,
    /// A record does not fit the meta-data, or is no record.
    Record,
    /// The header is none of such a file.
    Header,
}

/// A file that a runtime did not finish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unfinished {
    /// Its name.
    pub file: String,
    /// Whether it would have become a counter file; else meta-data.
    pub counters: bool,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A directory below another one that holds coverage files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nested {
    /// Its path from the directory.
    pub path: String,
    /// The names of the coverage files in it.
    pub files: Vec<String>,
}

/// A text profile of Go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Text {
    /// Its name.
    pub file: String,
    /// Its `mode:` lines, with their numbers.
    pub modes: Vec<(usize, String)>,
    /// How many lines of units it has.
    pub units: usize,
    /// How many of them stand there again.
    pub repeated: usize,
    /// The first such line.
    pub first_repeated: Option<usize>,
    /// Whether any unit ran.
    pub any_ran: bool,
    /// The first line that is none of a profile.
    pub malformed: Option<usize>,
}

/// A raw profile of LLVM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Raw {
    /// Its name.
    pub file: String,
    /// The version of its format; none when the header is unusable.
    pub version: Option<u64>,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A counter file of gcov.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gcov {
    /// Its path from the directory.
    pub file: String,
    /// Whether notes of the same name lie beside it or anywhere in the directory.
    pub notes: bool,
}
