//! What the fuzz targets call, one function a reader. `crates/cli/tests/fuzz_corpus.rs` runs the same
//! functions over the corpus as an ordinary test.
//!
//! A reader must not panic, must not allocate without a bound, and what it accepts must hang together.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use covtap_model::counter::CounterMode;
use covtap_profile::go::accumulate::{Counters, Layout, add_bytes};
use covtap_profile::go::counters::CounterFile;
use covtap_profile::go::meta::{Function, Granularity, MetaFile, MetaUnit};
use covtap_profile::go::meta_writer::{PackageBuilder, meta_file};
use covtap_profile::go::units::tabulate;
use covtap_profile::go::{executable, hex};

/// The hash of [`build`]; corpus files carry it.
pub(crate) const HASH: [u8; 16] = *b"covtap fuzz hash";

/// A build with functions of 1, 3 and 20 units in two packages.
pub(crate) fn build(mode: CounterMode) -> MetaFile {
    let units: Vec<MetaUnit> = (1..=20)
        .map(|line| MetaUnit {
            start_line: line,
            start_column: 2,
            end_line: line,
            end_column: 9,
            statements: 1,
        })
        .collect();
    let function = |units| Function {
        name: b"F",
        file: b"m/a.go",
        literal: false,
        units,
    };
    let mut a = PackageBuilder::new(b"m", b"m", b"m");
    a.add(&function(&units[..1]));
    a.add(&function(&units[1..4]));
    let mut b = PackageBuilder::new(b"m/b", b"b", b"m");
    b.add(&function(&units));
    let (a, b) = (a.finish(), b.finish());
    let bytes = meta_file(HASH, &[&a, &b], mode, Granularity::PerBlock);
    MetaFile::parse(bytes)
        .expect("our own writer's files are sound")
        .0
}

/// `covmeta.*`
pub(crate) fn covmeta(data: &[u8]) {
    let Ok((meta, damages)) = MetaFile::parse(data.to_vec()) else {
        return;
    };
    let left_out = meta.packages.iter().filter(|p| p.is_none()).count();
    assert_eq!(
        left_out,
        damages.iter().filter(|d| d.package.is_some()).count()
    );
    let layout = Arc::new(Layout::new(&meta));
    let units: usize = meta
        .packages
        .iter()
        .flatten()
        .flat_map(|p| p.functions())
        .map(|f| f.units.len())
        .sum();
    assert_eq!(units, layout.counters());
    // A unit takes at least five bytes of the file.
    assert!(5 * units <= data.len());
    let counters = Counters::new(layout);
    for package in tabulate(&[(&meta, &counters)], meta.mode, None) {
        assert_eq!(package.statements().covered, 0);
    }
}

/// `covcounters.*` of the build above.
pub(crate) fn covcounters(data: &[u8]) {
    for mode in [CounterMode::Atomic, CounterMode::Set] {
        let meta = build(mode);
        let mut counters = Counters::new(Arc::new(Layout::new(&meta)));
        let problem = add_bytes(&meta, &mut counters, data, Path::new("input"));
        for function in [(0, 0), (0, 1), (1, 0)] {
            if let Some(counts) = counters.get(function.0, function.1)
                && mode == CounterMode::Set
            {
                assert!(counts.iter().all(|c| *c <= 1), "a set holds 0 and 1");
            }
        }
        if let Ok(file) = CounterFile::parse(data) {
            assert_eq!(
                file.hash != meta.hash,
                problem
                    .as_ref()
                    .is_some_and(|p| p.expected.contains(&hex(&meta.hash)))
            );
            if let Ok(segment) = file.first_segment() {
                assert!(segment.program_arguments().len() <= data.len());
            }
        }
    }
}

/// Executables.
pub(crate) fn executable(data: &[u8]) {
    let _ = executable::inspect(Cursor::new(data));
}

/// `coverage.json`
pub(crate) fn coverage_json(data: &[u8]) {
    let Ok(coverage) = covtap_report::format::read_json(data) else {
        return;
    };
    let options = covtap_report::format::Options::default();
    for format in covtap_report::format::Format::ALL {
        assert_eq!(
            format.to_bytes(&coverage, &options),
            format.to_bytes(&coverage, &options)
        );
    }
}
