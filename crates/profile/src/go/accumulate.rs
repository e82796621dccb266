//! Adds up the counters of one build.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use covtap_model::counter::{self, CounterMode};
use covtap_model::problem::{Problem, Severity};
use rayon::prelude::*;

use super::counters::{CounterFile, PADDING, Reading, Record, Refusal, Sink};
use super::cursor::Damage;
use super::hash::hex;
use super::meta::MetaFile;

/// Where each function's counters lie in one run of numbers, for all packages of a build.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// For each package, the number of its first function; one more at the end.
    first_function: Vec<u32>,
    /// For each function of all packages, where its first counter lies; one more at the end.
    first_counter: Vec<u32>,
}

impl Layout {
    /// The layout of a build. Packages that could not be read have no functions.
    #[must_use]
    pub fn new(meta: &MetaFile) -> Self {
        let mut layout = Self {
            first_function: vec![0],
            first_counter: vec![0],
        };
        let mut counters = 0;
        for package in &meta.packages {
            for function in package.iter().flat_map(super::meta::Package::functions) {
                counters += function.units.len() as u32;
                layout.first_counter.push(counters);
            }
            layout
                .first_function
                .push(layout.first_counter.len() as u32 - 1);
        }
        layout
    }

    /// Number of functions of all packages.
    #[must_use]
    pub fn functions(&self) -> usize {
        self.first_counter.len() - 1
    }

    /// Number of counters of all functions.
    #[must_use]
    pub fn counters(&self) -> usize {
        self.first_counter.last().map_or(0, |n| *n as usize)
    }

    /// The number, among all functions, of function `function` of package `package`.
    fn index(&self, package: u32, function: u32) -> Option<usize> {
        let first = *self.first_function.get(package as usize)?;
        let next = *self.first_function.get(package as usize + 1)?;
        (function < next - first).then(|| (first + function) as usize)
    }

    fn range(&self, index: usize) -> std::ops::Range<usize> {
        self.first_counter[index] as usize..self.first_counter[index + 1] as usize
    }
}

/// The counters of a build, added up over some of its processes.
#[derive(Clone, Debug)]
pub struct Counters {
    layout: std::sync::Arc<Layout>,
    /// With padding at the end, see [`Sink::slot`].
    values: Vec<u32>,
    /// For each function, the number of the segment that last had it; 0 for none.
    seen: Vec<u32>,
    segments: u32,
    overflow: bool,
}

impl Counters {
    /// All zero: no function ran.
    #[must_use]
    pub fn new(layout: std::sync::Arc<Layout>) -> Self {
        Self {
            values: vec![0; layout.counters() + PADDING],
            seen: vec![0; layout.functions()],
            layout,
            segments: 0,
            overflow: false,
        }
    }

    /// The counters of a function; `None` when no counter file had it.
    #[must_use]
    pub fn get(&self, package: usize, function: usize) -> Option<&[u32]> {
        let index = self.layout.index(package as u32, function as u32)?;
        (self.seen[index] != 0).then(|| &self.values[self.layout.range(index)])
    }

    /// The counters of a function, to be changed; `None` when no counter file had it.
    pub fn get_mut(&mut self, package: usize, function: usize) -> Option<&mut [u32]> {
        let index = self.layout.index(package as u32, function as u32)?;
        (self.seen[index] != 0).then(|| &mut self.values[self.layout.range(index)])
    }

    /// Forgets a function, as if no counter file had it.
    pub fn forget(&mut self, package: usize, function: usize) {
        if let Some(index) = self.layout.index(package as u32, function as u32) {
            self.seen[index] = 0;
            self.values[self.layout.range(index)].fill(0);
        }
    }

    /// Whether a sum reached `u32::MAX`: the true count is at least that.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflow
    }

    /// The numbers of all units: package by package, function by function, unit by unit, those that
    /// no counter file had as 0.
    #[must_use]
    pub fn values(&self) -> &[u32] {
        &self.values[..self.layout.counters()]
    }

    /// How many functions some counter file had.
    #[must_use]
    pub fn functions(&self) -> usize {
        self.seen.iter().filter(|seen| **seen != 0).count()
    }

    /// Whether every number is at least that of `earlier`, counters of the same build.
    #[must_use]
    pub fn at_least(&self, earlier: &Self) -> bool {
        self.values.len() == earlier.values.len()
            && self.values.iter().zip(&earlier.values).all(|(a, b)| a >= b)
    }

    /// Takes the larger of two counts of one process everywhere.
    pub fn keep_larger(&mut self, other: &Self) {
        for (seen, theirs) in self.seen.iter_mut().zip(&other.seen) {
            *seen |= theirs;
        }
        for (value, theirs) in self.values.iter_mut().zip(&other.values) {
            *value = (*value).max(*theirs);
        }
    }

    /// Takes over every function that `newer`, counters of the same build, has: its numbers replace
    /// those that were there.
    pub fn replace(&mut self, newer: &Self) {
        for (index, theirs) in newer.seen.iter().enumerate() {
            if *theirs != 0 && index < self.seen.len() {
                let range = self.layout.range(index);
                self.values[range.clone()].copy_from_slice(&newer.values[range]);
                self.seen[index] = self.segments.max(1);
            }
        }
    }

    /// Takes away what was counted before: a function in which nothing is left is forgotten.
    pub fn subtract(&mut self, earlier: &Self) {
        for (value, before) in self.values.iter_mut().zip(&earlier.values) {
            *value = value.saturating_sub(*before);
        }
        for (index, seen) in self.seen.iter_mut().enumerate() {
            if self.values[self.layout.range(index)]
                .iter()
                .all(|v| *v == 0)
            {
                *seen = 0;
            }
        }
    }

    /// Merges the counters of other processes of the same build.
    pub fn merge(&mut self, other: &Self, mode: CounterMode) {
        self.overflow |= other.overflow | counter::merge(&mut self.values, &other.values, mode).0;
        for (a, b) in self.seen.iter_mut().zip(&other.seen) {
            *a |= *b;
        }
        // Marks of both are older than any segment still to come.
        self.segments = self
            .segments
            .max(other.segments)
            .max(self.seen.iter().copied().max().unwrap_or(0));
    }
}

impl Sink for Counters {
    fn segment(&mut self) {
        self.segments += 1;
    }

    #[inline(always)]
    fn slot(&mut self, record: Record) -> Option<&mut [u32]> {
        let index = self.layout.index(record.package, record.function)?;
        let range = self.layout.range(index);
        let seen = &mut self.seen[index];
        if range.len() != record.units as usize || *seen == self.segments {
            return None;
        }
        *seen = self.segments;
        Some(&mut self.values[range.start..range.end + PADDING])
    }

    #[cold]
    fn refusal(&self, record: Record) -> Refusal {
        let Record {
            units,
            package,
            function,
        } = record;
        let first = |p: u32| self.layout.first_function.get(p as usize).copied();
        let (expected, found) = match (
            self.layout.index(package, function),
            first(package),
            first(package.wrapping_add(1)),
        ) {
            (Some(index), ..) if self.layout.range(index).len() == units as usize => (
                "each function once".into(),
                format!("function {function} of package {package} again"),
            ),
            (Some(index), ..) => (
                format!(
                    "{} units of function {function} of package {package}",
                    self.layout.range(index).len()
                ),
                units.to_string(),
            ),
            (None, Some(a), Some(b)) => (
                format!("one of {} functions of package {package}", b - a),
                format!("function {function}"),
            ),
            _ => {
                let packages = self.layout.first_function.len() - 1;
                (
                    format!("one of {packages} packages"),
                    format!("package {package}"),
                )
            }
        };
        Refusal { expected, found }
    }

    fn overflow(&mut self) {
        self.overflow = true;
    }
}

/// Reads `files` of the build `meta` and adds up their counters, in parallel.
///
/// Returns the sums and what of the files could not be used.
#[must_use]
pub fn accumulate(
    meta: &MetaFile,
    layout: &std::sync::Arc<Layout>,
    files: &[&Path],
) -> (Counters, Vec<Problem>) {
    // One set of counters a thread, whatever the number of files; a thread takes the next few files
    // when it is done with its last ones, so that a slow core holds nobody up.
    const BATCH: usize = 16;
    let batches: Vec<&[&Path]> = files.chunks(BATCH).collect();
    let next = AtomicUsize::new(0);
    let work = |_| {
        let mut counters = Counters::new(layout.clone());
        let mut problems = Vec::new();
        let mut buffer = Vec::new();
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = |file: &&Path| add_file(meta, &mut counters, &mut buffer, file);
            problems.extend(batch.iter().filter_map(found));
        }
        (counters, problems)
    };
    let threads = rayon::current_num_threads().min(batches.len());
    let parts: Vec<(Counters, Vec<Problem>)> = (0..threads).into_par_iter().map(work).collect();
    let mut parts = parts.into_iter();
    let (mut sum, mut problems) = parts
        .next()
        .unwrap_or_else(|| (Counters::new(layout.clone()), Vec::new()));
    for (part, more) in parts {
        sum.merge(&part, meta.mode);
        problems.extend(more);
    }
    problems.sort_by(|a, b| a.file.cmp(&b.file));
    (sum, problems)
}

fn add_file(
    meta: &MetaFile,
    counters: &mut Counters,
    buffer: &mut Vec<u8>,
    path: &Path,
) -> Option<Problem> {
    if let Err(error) = read_into(path, buffer) {
        return Some(Problem::new(
            Severity::Error,
            path,
            "a readable file",
            error.to_string(),
            "its counters are left out",
        ));
    }
    add_bytes(meta, counters, buffer, path)
}

/// Adds the counters of the file `path`, whose contents are `bytes`.
pub fn add_bytes(
    meta: &MetaFile,
    counters: &mut Counters,
    bytes: &[u8],
    path: &Path,
) -> Option<Problem> {
    let file = match CounterFile::parse(bytes) {
        Ok(file) => file,
        Err(damage) => return Some(located(path, damage, "its counters are left out")),
    };
    if file.hash != meta.hash {
        let damage = Damage::new(
            8,
            format!("meta-data hash {}", hex(&meta.hash)),
            hex(&file.hash),
        );
        return Some(located(
            path,
            damage,
            "its counters are left out: they belong to another build",
        ));
    }
    let Reading {
        functions,
        refused,
        first_refused,
        stopped,
    } = file.read(meta.mode, counters);
    match (stopped, first_refused) {
        (Some(damage), _) => {
            let effect =
                format!("the {functions} functions before are used, what follows is left out");
            Some(located(path, damage, effect))
        }
        (None, Some(damage)) => {
            let effect = format!(
                "{refused} of {} functions are left out",
                functions + refused
            );
            // A warning: Go up to 1.24 writes such itself, and its tool passes over them too.
            let problem = Problem {
                severity: Severity::Warning,
                ..located(path, damage, effect)
            };
            Some(problem.hint(
                "with -coverpkg=all, code that runs before its package is initialised counts under \
                 a wrong package",
            ))
        }
        (None, None) => None,
    }
}

pub(crate) fn located(path: &Path, damage: Damage, effect: impl Into<String>) -> Problem {
    Problem::new(Severity::Error, path, damage.expected, damage.found, effect).at(damage.offset)
}

/// Reads a whole file into `buffer`, which keeps its memory from file to file.
pub(crate) fn read_into(path: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    // The file itself knows its size: one system call reads it all.
    File::open(path)?.read_to_end(buffer)?;
    Ok(())
}

/// Reads at most `limit` bytes of a file into `buffer`.
pub(crate) fn read_start(path: &Path, buffer: &mut Vec<u8>, limit: u64) -> io::Result<()> {
    buffer.clear();
    File::open(path)?.take(limit).read_to_end(buffer)?;
    Ok(())
}

/// Paths of counter files, borrowed.
#[must_use]
pub fn paths(files: &[super::directory::CounterFileName]) -> Vec<&Path> {
    files.iter().map(|file| file.path.as_path()).collect()
}
