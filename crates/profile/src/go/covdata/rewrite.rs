//! `merge`, `subtract` and `intersect`: the commands that write covdata.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use covtap_model::counter::{self, CounterMode, ModePolicy};
use covtap_model::problem::{Problem, Severity};
use rayon::prelude::*;

use super::origin::Origin;
use super::output::write_file;
use super::{Command, Error, OpenPod, Request, common_mode, json, open_pods};
use crate::go::accumulate::Counters;
use crate::go::counters::Flavor;
use crate::go::counters_writer::CounterWriter;
use crate::go::directory::{CounterFileName, Pod};
use crate::go::hash::{self, Fnv, Hash128, hex};
use crate::go::meta::{Granularity, Package, hash_function, of_blobs};
use crate::go::meta_writer::{PackageBuilder, meta_file};

pub(super) fn merge(
    request: &Request,
    pods: &[Pod],
    stdout: &mut dyn Write,
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let pods = open_pods(pods, problems);
    let mut writer = Writer::new(request)?;
    if request.combine_programs {
        combine_programs(request, &pods, &mut writer, problems)?;
    } else {
        for open in &pods {
            let counters = open.all_counters(problems);
            writer.pod(open, &counters, common_origin(&open.pod.counters))?;
        }
    }
    writer.done(stdout)
}

/// What the processes that wrote `files` have in common.
fn common_origin(files: &[CounterFileName]) -> Origin {
    files
        .par_iter()
        .map_init(Vec::new, |buffer, file| Origin::read(&file.path, buffer))
        .flatten()
        .reduce_with(|a, b| a.common(&b))
        .unwrap_or_default()
}

/// `subtract` and `intersect`: the first directory against the others, build by build.
pub(super) fn compare(
    request: &Request,
    pods: &[Pod],
    stdout: &mut dyn Write,
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let pods = open_pods(pods, problems);
    let mut writer = Writer::new(request)?;
    let mut intersection = Intersection::default();
    for open in &pods {
        let first_other = open.pod.counters.partition_point(|f| f.origin == 0);
        let (own, others) = open.pod.counters.split_at(first_other);
        let (mut counters, found) = open.build.counters(own);
        problems.extend(found);
        if request.command == Command::Subtract {
            let (other, found) = open.build.counters(others);
            problems.extend(found);
            subtract(open, &mut counters, &other);
        } else {
            intersection.build(open, &mut counters, problems);
        }
        // As in Go's tool, who wrote the data is not carried over.
        writer.pod(open, &counters, Origin::default())?;
    }
    writer.done(stdout)
}

/// Every function of a build, by its numbers.
fn functions<'a>(open: &'a OpenPod<'_>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let packages = open.build.meta.packages.iter().enumerate();
    packages.flat_map(|(p, package)| {
        (0..package.as_ref().map_or(0, Package::function_count)).map(move |f| (p, f))
    })
}

fn subtract(open: &OpenPod<'_>, counters: &mut Counters, other: &Counters) {
    for (p, f) in functions(open) {
        if let (Some(own), Some(theirs)) = (counters.get_mut(p, f), other.get(p, f)) {
            for (own, _) in own
                .iter_mut()
                .zip(theirs)
                .filter(|(_, theirs)| **theirs != 0)
            {
                *own = 0;
            }
        }
    }
}

/// `intersect`, build by build, as Go's tool goes through the files.
///
/// That tool remembers which directory it is in and does not start over with the next build. So a
/// build that is in the first directory only keeps all its counters when the build before it ended in
/// another directory, and loses them all when that ended in the first one. (Where the tool finds
/// itself further on than the next file is, it ends; here the next build then starts over.)
#[derive(Default)]
struct Intersection {
    directory: Option<usize>,
}

impl Intersection {
    fn build(&mut self, open: &OpenPod<'_>, counters: &mut Counters, problems: &mut Vec<Problem>) {
        let nothing = || Counters::new(open.build.layout.clone());
        let files = &open.pod.counters;
        let before = self.directory;
        // What the directory that is being gone through has; `None` in the first one.
        let mut there = Some(nothing());
        for group in files.chunk_by(|a, b| a.origin == b.origin) {
            let origin = group[0].origin;
            if self.directory != Some(origin) {
                self.directory = Some(origin);
                let left = there.take();
                if origin > 0 {
                    if let Some(left) = left {
                        keep_only(open, counters, &left);
                    }
                    there = Some(nothing());
                }
            }
            if let (Some(there), true) = (&mut there, origin > 0) {
                problems.extend(cover_both(open, counters, group, there));
            }
        }
        if let Some(there) = there {
            keep_only(open, counters, &there);
        }
        let in_first = files.first().is_some_and(|f| f.origin == 0);
        if in_first && (before == Some(0) || self.directory == Some(0)) {
            let kept = if before == Some(0) { "none" } else { "all" };
            problems.push(Problem::new(
                Severity::Warning,
                &open.pod.meta,
                "the builds before it to be in the same directories",
                "others",
                format!("{kept} of its counters are kept, as by go tool covdata"),
            ));
        }
    }
}

/// Clears the units that did not run in each of `files` that has their function (Go's tool looks at a
/// directory file by file), and marks in `there` the functions that any of them has.
fn cover_both(
    open: &OpenPod<'_>,
    counters: &mut Counters,
    files: &[CounterFileName],
    there: &mut Counters,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        let (theirs, found) = open.build.counters(std::slice::from_ref(file));
        problems.extend(found);
        for (p, f) in functions(open) {
            if let (Some(own), Some(theirs)) = (counters.get_mut(p, f), theirs.get(p, f)) {
                for (own, _) in own.iter_mut().zip(theirs).filter(|(_, n)| **n == 0) {
                    *own = 0;
                }
            }
        }
        there.merge(&theirs, CounterMode::Set);
    }
    problems
}

/// Forgets the functions that `there` does not have.
fn keep_only(open: &OpenPod<'_>, counters: &mut Counters, there: &Counters) {
    for (p, f) in functions(open) {
        if there.get(p, f).is_none() {
            counters.forget(p, f);
        }
    }
}

/// One package of a combined program.
struct Combined<'a> {
    builder: PackageBuilder,
    /// Functions that are there already, by the hash of what they are.
    numbers: HashMap<[u8; 16], u32>,
    counters: BTreeMap<u32, Vec<u32>>,
    path: &'a [u8],
}

/// `-pcombine`: the union of all programs' packages and functions.
fn combine_programs(
    request: &Request,
    pods: &[OpenPod<'_>],
    writer: &mut Writer<'_>,
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let Some(mode) = common_mode(pods, ModePolicy::Relaxed)? else {
        return Ok(());
    };
    let mut packages: Vec<Combined<'_>> = Vec::new();
    let mut overflow = counter::Overflow(false);
    for open in pods {
        let counters = open.all_counters(problems);
        for (p, package) in open.build.meta.packages.iter().enumerate() {
            let Some(package) = package else { continue };
            if request
                .packages
                .as_ref()
                .is_some_and(|patterns| !patterns.matches(package.path()))
            {
                continue;
            }
            let at = packages
                .iter()
                .position(|c| c.path == package.path())
                .unwrap_or_else(|| {
                    packages.push(Combined {
                        builder: PackageBuilder::new(
                            package.path(),
                            package.name(),
                            package.module(),
                        ),
                        numbers: HashMap::new(),
                        counters: BTreeMap::new(),
                        path: package.path(),
                    });
                    packages.len() - 1
                });
            let combined = &mut packages[at];
            for (f, function) in package.functions().enumerate() {
                let mut id = Fnv::default();
                hash_function(&mut id, &function);
                let builder = &mut combined.builder;
                let number = *combined
                    .numbers
                    .entry(id.finish())
                    .or_insert_with(|| builder.add(&function));
                if let Some(counts) = counters.get(p, f) {
                    let sum = combined
                        .counters
                        .entry(number)
                        .or_insert_with(|| vec![0; counts.len()]);
                    overflow |= counter::merge(sum, counts, mode);
                }
            }
        }
    }
    if overflow.0
        && let Some(open) = pods.first()
    {
        problems.push(Problem::new(
            Severity::Note,
            &open.pod.meta,
            "sums below 4294967296",
            "a larger one, in all programs together",
            "that count is written as 4294967295",
        ));
    }
    let granularity = pods
        .first()
        .map_or(Granularity::PerBlock, |p| p.build.meta.granularity);
    let (builders, counters): (Vec<_>, Vec<_>) = packages
        .into_iter()
        .map(|c| (c.builder.finish(), c.counters))
        .unzip();
    let blobs: Vec<&[u8]> = builders.iter().map(Vec::as_slice).collect();
    let hash = of_blobs::<Fnv>(blobs.iter().copied());
    writer.meta(
        &format!("covmeta.{}", hex(&hash)),
        &meta_file(hash, &blobs, mode, granularity),
    )?;
    let files: Vec<_> = pods
        .iter()
        .flat_map(|p| p.pod.counters.iter().cloned())
        .collect();
    writer.counters(hash, &common_origin(&files), |out| {
        for (p, functions) in counters.iter().enumerate() {
            for (f, counts) in functions {
                out.function(p as u32, *f, counts);
            }
        }
    })
}

/// Writes pods into a directory.
struct Writer<'a> {
    request: &'a Request,
    directory: PathBuf,
    written: Vec<PathBuf>,
    nanoseconds: u128,
}

impl<'a> Writer<'a> {
    fn new(request: &'a Request) -> Result<Self, Error> {
        let directory = request.output.clone().unwrap_or_default();
        fs::create_dir_all(&directory).map_err(|source| Error::Write {
            path: directory.clone(),
            source,
        })?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            request,
            directory,
            written: Vec::new(),
            nanoseconds: now.as_nanos(),
        })
    }

    /// The pod's meta-data (all, or the packages that match) and one counter file.
    fn pod(
        &mut self,
        open: &OpenPod<'_>,
        counters: &Counters,
        origin: Origin,
    ) -> Result<(), Error> {
        let meta = &open.build.meta;
        let patterns = self.request.packages.as_ref();
        let kept: Vec<(usize, &Package)> = meta
            .packages
            .iter()
            .enumerate()
            .filter_map(|(n, package)| Some((n, package.as_ref()?)))
            .filter(|(_, package)| patterns.is_none_or(|p| p.matches(package.path())))
            .collect();
        let hash = if patterns.is_none() && kept.len() == meta.packages.len() {
            let name = open
                .pod
                .meta
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            self.meta(&name, meta.bytes())?;
            meta.hash
        } else {
            let blobs: Vec<&[u8]> = kept.iter().map(|(_, package)| meta.blob(package)).collect();
            let hash = of_blobs::<Fnv>(blobs.iter().copied());
            let bytes = meta_file(hash, &blobs, meta.mode, meta.granularity);
            self.meta(&format!("covmeta.{}", hash::hex(&hash)), &bytes)?;
            hash
        };
        self.counters(hash, &origin, |out| {
            for (number, (n, package)) in kept.iter().enumerate() {
                for f in 0..package.function_count() {
                    if let Some(counts) = counters.get(*n, f) {
                        out.function(number as u32, f as u32, counts);
                    }
                }
            }
        })
    }

    fn meta(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.file(&self.directory.join(name), bytes)
    }

    fn counters(
        &mut self,
        hash: [u8; 16],
        origin: &Origin,
        fill: impl FnOnce(&mut CounterWriter),
    ) -> Result<(), Error> {
        let mut out = CounterWriter::new(hash, Flavor::Uleb);
        out.segment(&origin.to_arguments());
        fill(&mut out);
        // The process id means nothing here; Go's tool writes 0 too.
        let name = format!("covcounters.{}.0.{}", hex(&hash), self.nanoseconds);
        self.nanoseconds += 1;
        self.file(&self.directory.join(name), &out.finish())
    }

    fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        write_file(path, bytes)?;
        self.written.push(path.to_path_buf());
        Ok(())
    }

    fn done(self, stdout: &mut dyn Write) -> Result<(), Error> {
        if self.request.json {
            json::written(&self.written, stdout)
        } else {
            Ok(())
        }
    }
}
