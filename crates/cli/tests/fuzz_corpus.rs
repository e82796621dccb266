//! Runs every input of the fuzzers' corpora through its reader, without a fuzzer.

#[path = "../../../fuzz/readers.rs"]
mod readers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use covtap_model::counter::CounterMode;
use covtap_profile::go::counters::Flavor;
use covtap_profile::go::counters_writer::CounterWriter;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target)
}

/// Inputs made here, so that the corpora have something sound to start from.
fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let counters = [Flavor::Uleb, Flavor::RawLittle, Flavor::RawBig].map(|flavor| {
        let mut out = CounterWriter::new(readers::HASH, flavor);
        for n in [1, 300] {
            out.segment(&BTreeMap::from([
                ("argc".into(), b"1".to_vec()),
                ("argv0".into(), b"p".to_vec()),
            ]));
            out.function(0, 0, &[n]);
            out.function(0, 1, &[0, n, u32::MAX]);
            out.function(1, 0, &[n; 20]);
        }
        out.finish()
    });
    let meta = [CounterMode::Set, CounterMode::Atomic].map(|m| readers::build(m).bytes().to_vec());
    let document = covtap_model::coverage::Coverage::new("seed", CounterMode::Set, Vec::new());
    let json = serde_json::to_vec(&document).expect("documents are JSON");
    BTreeMap::from([
        ("covcounters", counters.to_vec()),
        ("covmeta", meta.to_vec()),
        ("coverage_json", vec![json]),
        ("executable", vec![b"\x7fELF\x02\x01\x01".to_vec()]),
        // Whole ones are written by the tap's own tests, which make such programs.
        ("recorded_memory", vec![b"covtapmm\x01\0\0\0".to_vec()]),
    ])
}

fn run(target: &str, reader: fn(&[u8])) {
    let made = seeds().remove(target).expect("every target has a seed");
    if std::env::var_os("COVTAP_WRITE_SEEDS").is_some() {
        fs::create_dir_all(corpus(target)).expect("the corpus folder can be made");
        for (i, bytes) in made.iter().enumerate() {
            fs::write(corpus(target).join(format!("seed-{i}")), bytes)
                .expect("a seed can be written");
        }
    }
    let recorded = fs::read_dir(corpus(target)).expect("the corpus is part of the repository");
    let recorded: Vec<Vec<u8>> = recorded
        .map(|entry| {
            fs::read(entry.expect("a folder can be listed").path()).expect("an input can be read")
        })
        .collect();
    assert!(
        !recorded.is_empty(),
        "{} is empty",
        corpus(target).display()
    );
    for input in made.iter().chain(&recorded) {
        reader(input);
    }
}

#[test]
fn covmeta() {
    run("covmeta", readers::covmeta);
}

#[test]
fn covcounters() {
    run("covcounters", readers::covcounters);
}

#[test]
fn executable() {
    run("executable", readers::executable);
}

#[test]
fn coverage_json() {
    run("coverage_json", readers::coverage_json);
}

#[cfg(target_os = "linux")]
#[test]
fn recorded_memory() {
    run("recorded_memory", readers::recorded_memory);
}
