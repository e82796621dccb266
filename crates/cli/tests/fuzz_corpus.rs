//! Runs every input of the fuzzers' corpora through its reader, without a fuzzer.

#[path = "../../../fuzz/readers.rs"]
mod readers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use covtap_live::agent::frame::{Body, GREETING, Outgoing};
use covtap_model::counter::CounterMode;
use covtap_profile::go::counters::Flavor;
use covtap_profile::go::counters_writer::CounterWriter;
use covtap_profile::go::hex;
use serde_json::json;

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
        ("agent_frames", vec![agent(&counters[0])]),
        ("covcounters", counters.to_vec()),
        ("covmeta", meta.to_vec()),
        ("coverage_json", vec![json]),
        ("executable", vec![b"\x7fELF\x02\x01\x01".to_vec()]),
        // Whole ones are written by the tap's own tests, which make such programs.
        ("recorded_memory", vec![b"covtapmm\x01\0\0\0".to_vec()]),
    ])
}

/// What an agent says of one life.
fn agent(counters: &[u8]) -> Vec<u8> {
    let echo = json!({"asked": 1, "read": 2, "now": 2});
    let protocol = json!({"oldest": 1, "newest": 1});
    let meta = readers::sound_build();
    let whole = json!({"build": hex(&meta.hash), "started": 5, "found": "symbols", "attached": 6});
    let program = json!({"instrumented": true, "function_name": 7,
                         "go": {"version": "go1.27.3", "main_package": "m", "main_module": "m"}});
    let life = json!({"kind": "life", "life": [7, 9, 0], "inner_pid": 1, "executable": "/m",
                      "program": program, "began": 3, "first_seen": 4});
    let mut ended = life.clone();
    ended["end"] = json!({"at": 8, "code": 3});
    ended["tap"] = json!({"snapshots": 2, "last": {"how": "snapshot", "at": 7, "because": "x"}});
    ended["serial"] = json!(1);
    // Of the build above, with its hash.
    let mut counters = counters.to_vec();
    counters[8..24].copy_from_slice(&meta.hash);
    let messages = [
        (
            json!({"kind": "hello", "protocol": protocol, "covtap": "1", "agent": "a", "echo": echo}),
            vec![],
        ),
        (
            json!({"kind": "meta", "build": hex(&meta.hash)}),
            meta.bytes().to_vec(),
        ),
        (life, vec![]),
        (
            json!({"kind": "state", "life": [7, 9, 0], "at": 7, "snapshots": 1, "whole": whole}),
            counters.clone(),
        ),
        (
            json!({"kind": "state", "life": [7, 9, 0], "snapshots": 2}),
            counters,
        ),
        (
            json!({"kind": "heartbeat", "now": 8, "read": 7, "echo": echo}),
            vec![],
        ),
        (ended, vec![]),
        (json!({"kind": "read", "id": 1}), vec![]),
        (json!({"kind": "problem", "text": "p"}), vec![]),
        (json!({"kind": "bye"}), vec![]),
        (
            json!({"kind": "hello", "protocol": protocol, "covtap": "1", "now": 1}),
            vec![],
        ),
        (
            json!({"kind": "select", "pods": ["p"], "containers": ["c"]}),
            vec![],
        ),
        (json!({"kind": "heard", "serial": 1, "now": 9}), vec![]),
    ];
    let mut out = GREETING.to_vec();
    for (head, body) in messages {
        let mut message = Outgoing::new(&head, Body::Bytes(body)).expect("heads are JSON");
        while message.write(&mut out) {}
    }
    out
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
fn agent_frames() {
    run("agent_frames", readers::agent_frames);
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
