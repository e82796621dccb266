//! Small builds for tests, made with our own writers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use covtap_model::counter::CounterMode;
use md5::Md5;

use super::counters::Flavor;
use super::counters_writer::CounterWriter;
use super::hash::{Fnv, hex};
use super::meta::{Function, Granularity, MetaUnit, of_process};
use super::meta_writer::{PackageBuilder, meta_file};

/// A unit on one line.
pub(crate) fn unit(line: u32, statements: u32) -> MetaUnit {
    MetaUnit {
        start_line: line,
        start_column: 2,
        end_line: line,
        end_column: 40,
        statements,
    }
}

/// A function in `m/p/f.go`.
pub(crate) fn function<'a>(name: &'a str, units: &'a [MetaUnit]) -> Function<'a> {
    Function {
        name: name.as_bytes(),
        file: b"m/p/f.go",
        literal: false,
        units,
    }
}

/// Two packages: `m/p` with functions of 1, 3 and 12 units, `m/q` with one of 2.
pub(crate) fn blobs() -> Vec<Vec<u8>> {
    let mut p = PackageBuilder::new(b"m/p", b"p", b"m");
    p.add(&function("One", &[unit(3, 1)]));
    p.add(&function(
        "Three",
        &[unit(300, 2), unit(70_000, 3), unit(302, 0)],
    ));
    p.add(&function(
        "Twelve",
        &(400..412).map(|line| unit(line, 1)).collect::<Vec<_>>(),
    ));
    let mut q = PackageBuilder::new(b"m/q", b"q", b"");
    q.add(&Function {
        literal: true,
        ..function("lit", &[unit(9, 1), unit(10, 4)])
    });
    vec![p.finish(), q.finish()]
}

/// Units of each function of [`blobs`], as (package, function, units).
pub(crate) const FUNCTIONS: [(u32, u32, usize); 4] = [(0, 0, 1), (0, 1, 3), (0, 2, 12), (1, 0, 2)];

fn package_hash(blob: &[u8]) -> [u8; 16] {
    blob[16..32].try_into().unwrap()
}

/// A meta-data file over `blobs` as a process of a current Go writes it.
pub(crate) fn meta_of(blobs: &[Vec<u8>], mode: CounterMode) -> ([u8; 16], Vec<u8>) {
    let hash = of_process::<Fnv>(
        blobs.iter().map(|b| package_hash(b)),
        mode,
        Granularity::PerBlock,
    );
    let slices: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    (hash, meta_file(hash, &slices, mode, Granularity::PerBlock))
}

/// The same with the file's hash as Go up to 1.23 made it.
pub(crate) fn old_meta(mode: CounterMode) -> Vec<u8> {
    let blobs = blobs();
    let hash = of_process::<Md5>(
        blobs.iter().map(|b| package_hash(b)),
        mode,
        Granularity::PerBlock,
    );
    let slices: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    meta_file(hash, &slices, mode, Granularity::PerBlock)
}

/// A counter file with `functions`: (package, function, counters).
pub(crate) fn counters(
    hash: [u8; 16],
    flavor: Flavor,
    functions: &[(u32, u32, Vec<u32>)],
) -> Vec<u8> {
    let mut out = CounterWriter::new(hash, flavor);
    out.segment(&BTreeMap::from([
        ("argc".to_string(), b"2".to_vec()),
        ("argv0".to_string(), b"/bin/prog".to_vec()),
        ("argv1".to_string(), b"x".to_vec()),
        ("GOOS".to_string(), b"linux".to_vec()),
    ]));
    for (package, function, counters) in functions {
        out.function(*package, *function, counters);
    }
    out.finish()
}

/// A directory with the sample build and one counter file for each element of `runs`.
pub(crate) struct Directory {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) hash: [u8; 16],
}

impl Directory {
    pub(crate) fn new(mode: CounterMode, runs: &[Vec<(u32, u32, Vec<u32>)>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (hash, meta) = meta_of(&blobs(), mode);
        fs::write(folder.path().join(format!("covmeta.{}", hex(&hash))), meta).unwrap();
        let directory = Self { folder, hash };
        for (i, functions) in runs.iter().enumerate() {
            directory.write(i, &counters(hash, Flavor::Uleb, functions));
        }
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.path().join(format!("covmeta.{}", hex(&self.hash)))
    }

    pub(crate) fn write(&self, pid: usize, bytes: &[u8]) -> PathBuf {
        let path = self
            .path()
            .join(format!("covcounters.{}.{pid}.17", hex(&self.hash)));
        fs::write(&path, bytes).unwrap();
        path
    }
}
