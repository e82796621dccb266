//! Keeps the states of lives as the files that Go's tools read: `covmeta.<hash>` and
//! `covcounters.<hash>.<pid>.<time>`.
//!
//! ```text
//! <folder>/<build>/covmeta.<build>
//! <folder>/<build>/covcounters.<build>.<pid>.<start, and generation>   one a life, replaced whole
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use covtap_profile::file::write_whole;
use covtap_profile::go::accumulate::Counters;
use covtap_profile::go::counters::{Flavor, Segment};
use covtap_profile::go::counters_writer::CounterWriter;
use covtap_profile::go::hex;
use covtap_profile::go::meta::MetaFile;

use crate::clock::Moment;
use crate::life::{Key, State};

/// How a program was called, as a counter file records it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The program, and its arguments if they are to be kept.
    pub arguments: Vec<Vec<u8>>,
    /// Go's word for the processor.
    pub architecture: String,
}

impl Arguments {
    /// As a counter file says it.
    #[must_use]
    pub fn of(segment: &Segment<'_>) -> Self {
        let arguments = segment.program_arguments().into_iter();
        let architecture = segment.argument("GOARCH").unwrap_or_default();
        Self {
            arguments: arguments.map(<[u8]>::to_vec).collect(),
            architecture: String::from_utf8_lossy(architecture).into_owned(),
        }
    }

    /// As the pairs of a counter file.
    #[must_use]
    pub fn named(&self) -> BTreeMap<String, Vec<u8>> {
        let mut named = BTreeMap::from([
            ("GOOS".to_owned(), b"linux".to_vec()),
            ("GOARCH".to_owned(), self.architecture.clone().into()),
            ("argc".to_owned(), self.arguments.len().to_string().into()),
        ]);
        for (i, argument) in self.arguments.iter().enumerate() {
            named.insert(format!("argv{i}"), argument.clone());
        }
        named
    }
}

/// The counter file of a life, with the functions that ran, as the runtime writes it. `named` is what
/// it says of how the program was called.
#[must_use]
pub fn counter_file(
    meta: &MetaFile,
    counters: &Counters,
    named: &BTreeMap<String, Vec<u8>>,
) -> Vec<u8> {
    let mut out = CounterWriter::new(meta.hash, Flavor::Uleb);
    out.segment(named);
    for (package, function) in functions(meta) {
        if let Some(counters) = counters.get(package, function) {
            // Both numbers come from 32-bit fields of the meta-data.
            out.function(package as u32, function as u32, counters);
        }
    }
    out.finish()
}

/// The name that the runtime would give the counter file of a process.
#[must_use]
pub fn counters_name(meta: &MetaFile, pid: u32, started: Moment) -> String {
    format!("covcounters.{}.{pid}.{}", hex(&meta.hash), started.0)
}

/// All functions of a build: the number of the package, and that of the function in it.
pub fn functions(meta: &MetaFile) -> impl Iterator<Item = (usize, usize)> {
    let packages = meta.packages.iter().enumerate();
    packages.flat_map(|(number, package)| {
        let count = package.as_ref().map_or(0, |p| p.function_count());
        (0..count).map(move |function| (number, function))
    })
}

/// A state of a life that is to be kept.
pub struct Kept<'a> {
    /// Whose.
    pub key: Key,
    /// The meta-data of its build.
    pub meta: &'a Arc<MetaFile>,
    /// Its counters.
    pub counters: &'a Arc<Counters>,
    /// How it was called.
    pub arguments: &'a Arguments,
    /// When its process was started, as in the name of its file.
    pub started: Moment,
    /// What else there is to say; `file` is where it lies below a folder of states.
    pub state: State,
}

/// Keeps the states of lives. A later one of a life replaces an earlier one.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Keeps a state whose counters are not those of the one before. Returns where it lies.
    ///
    /// # Errors
    /// When it cannot be kept; the state before is still there then.
    fn keep(&self, kept: &Kept<'_>) -> io::Result<PathBuf>;
}

/// Keeps states as files.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Where the counter file of a life lies below a folder. Lives of one process differ in their
    /// generation, and nobody started in the same nanosecond.
    #[must_use]
    pub fn place(meta: &MetaFile, key: Key, started: Moment) -> PathBuf {
        let name = counters_name(meta, key.pid, started);
        let build = PathBuf::from(hex(&meta.hash));
        match key.generation {
            0 => build.join(name),
            more => build.join(format!("{name}{more:03}")),
        }
    }

    /// Writes a counter file, and its build's meta-data where they are not there yet. `place` is
    /// below the folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, place: &Path, meta: &MetaFile, counter_file: &[u8]) -> io::Result<PathBuf> {
        let build = hex(&meta.hash);
        let directory = self.0.join(&build);
        let covmeta = directory.join(format!("covmeta.{build}"));
        if !covmeta.exists() {
            fs::create_dir_all(&directory)?;
            write_whole(&covmeta, meta.bytes())?;
        }
        let file = self.0.join(place);
        write_whole(&file, counter_file)?;
        Ok(file)
    }
}

impl Keeper for Folder {
    fn keep(&self, kept: &Kept<'_>) -> io::Result<PathBuf> {
        let bytes = counter_file(kept.meta, kept.counters, &kept.arguments.named());
        self.write(&kept.state.file, kept.meta, &bytes)
    }
}
