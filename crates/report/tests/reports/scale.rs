//! Five thousand files of two hundred units: every step stays far below a second in release, and
//! nothing is quadratic. The limits here are for slow machines and unoptimised builds; the times
//! are printed (`--nocapture`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use covtap_model::counter::CounterMode;
use covtap_model::coverage::{Coverage, File, Function, Package, Unit};
use covtap_report::exclude::Exclusions;
use covtap_report::format::{By, Format, Options, Sort, read_json};
use covtap_report::source::Mapper;

const FILES: u32 = 5_000;
const LIMIT: Duration = Duration::from_secs(20);

fn large() -> Coverage {
    let file = |n: u32| File {
        name: format!("example.org/large/pkg{:03}/file{n}.go", n / 20),
        functions: (0..20)
            .map(|f| Function {
                name: format!("F{f}"),
                literal: false,
                units: (0..10)
                    .map(|u| {
                        let line = 1 + f * 40 + u * 4;
                        Unit {
                            start_line: line,
                            start_column: 2,
                            end_line: line + 4,
                            end_column: 3,
                            statements: 3,
                            count: u64::from((n + f + u) % 3),
                        }
                    })
                    .collect(),
            })
            .collect(),
        ..File::default()
    };
    let packages = (0..FILES / 20)
        .map(|p| Package {
            path: format!("example.org/large/pkg{p:03}"),
            module: "example.org/large".into(),
            files: (p * 20..p * 20 + 20).map(file).collect(),
            ..Package::default()
        })
        .collect();
    Coverage::new("t", CounterMode::Count, packages)
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    println!("{what}: {took:?}");
    assert!(took < LIMIT, "{what} took {took:?}");
    result
}

#[test]
fn every_format() {
    let coverage = large();
    let options = Options {
        width: Some(120),
        show_missing: true,
        by: By::File,
        sort: Sort::Coverage,
        ..Options::default()
    };
    for format in Format::ALL {
        let bytes = timed(format.name(), || format.to_bytes(&coverage, &options));
        println!("  {} bytes", bytes.len());
        if format == Format::Json {
            let read = timed("read json", || read_json(&bytes).unwrap());
            assert!(read == coverage);
        }
    }
}

#[test]
fn map_and_exclude() {
    let dir = tempfile::tempdir().unwrap();
    let source = "\tx := 34567890\n".repeat(1_000);
    std::fs::write(dir.path().join("go.mod"), "module example.org/large\n").unwrap();
    let mut coverage = large();
    let mut sources = BTreeMap::new();
    for file in coverage.files() {
        let path = file
            .name
            .trim_start_matches("example.org/large/")
            .to_owned();
        let at = dir.path().join(&path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, &source).unwrap();
        sources.insert(path, format!("{source}//covtap:nothing\n").into_bytes());
    }
    let (mapper, _) = timed("index", || Mapper::new(dir.path()));
    timed("map", || mapper.map(&mut coverage));
    assert_eq!(coverage.unresolved, []);

    // The same files as a container saw them.
    let mut container = coverage.clone();
    for file in container.packages.iter_mut().flat_map(|p| &mut p.files) {
        file.name = file.name.replace("example.org/large", "/src");
    }
    timed("map by suffix", || mapper.map(&mut container));
    assert_eq!(container.unresolved, []);

    let globs: Vec<String> = (0..100).map(|n| format!("pkg{n:03}/**")).collect();
    let exclusions = Exclusions::new(&globs, true, true).unwrap();
    timed("exclude", || exclusions.apply(&mut coverage, &sources));
    assert_eq!(coverage.excluded.len(), 2_000);
}
