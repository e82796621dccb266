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
use covtap_profile::go::meta::{Function, Granularity, MetaFile, MetaUnit, process_hash};
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

/// The same build with the hash that a process gives it: what is not sound is refused by an agent's other
/// end.
pub(crate) fn sound_build() -> MetaFile {
    let damaged = build(CounterMode::Atomic);
    let packages: Vec<_> = damaged.packages.iter().flatten().collect();
    let hashes: Vec<[u8; 16]> = packages.iter().map(|p| p.hash).collect();
    let hash = process_hash(packages[0], &hashes, damaged.mode, Granularity::PerBlock);
    let blobs: Vec<&[u8]> = packages.iter().map(|p| damaged.blob(p)).collect();
    let bytes = meta_file(hash, &blobs, damaged.mode, Granularity::PerBlock);
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

/// Memory of a process, recorded.
#[cfg(target_os = "linux")]
pub(crate) fn recorded_memory(data: &[u8]) {
    use covtap_tap::go::Attached;
    use covtap_tap::image::Images;
    use covtap_tap::memory::recorded::Recording;

    let Ok(recording) = Recording::from_bytes(data) else {
        return;
    };
    let written = recording.to_bytes();
    let again = Recording::from_bytes(&written).expect("what was written is read");
    assert_eq!(again, recording);
    let Ok(mut tap) = Attached::replay(recording, &Images::new()) else {
        return;
    };
    let snapshot = tap.snapshot().expect("a recording does not change");
    assert!(snapshot.live_functions() <= tap.layout().functions);
    let all = snapshot.statements();
    assert!(all.covered <= all.total);
    let file = tap.counter_file(&snapshot, &tap.arguments(false));
    let mut counters = Counters::new(Arc::new(Layout::new(tap.meta())));
    let problem = add_bytes(tap.meta(), &mut counters, &file, Path::new("input"));
    assert_eq!(problem, None);
    assert_eq!(counters.functions(), snapshot.live_functions());
    // What is recorded again is read as the same.
    let (recording, _) = tap.record().expect("all that was read can be recorded");
    let again = Attached::replay(recording, &Images::new());
    let again = again.expect("what was recorded is enough").snapshot();
    let again = again.expect("a recording does not change");
    assert!(again.at_least(&snapshot) && snapshot.at_least(&again));
}

/// What an agent says to covtap, and covtap to an agent.
pub(crate) fn agent_frames(data: &[u8]) {
    use covtap_live::agent::frame::{Decoder, FrameError};
    use covtap_live::agent::message::{FromAgent, ToAgent};
    use covtap_live::agent::remote::{Condition, Options, Remote};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    let decode = |step: usize| {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in data.chunks(step) {
            decoder.feed(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    };
    let (frames, error) = decode(data.len().max(1));
    let (same, other) = decode(7);
    assert!(same == frames, "however it is cut");
    // Of what is no stream of frames, so much is shown as has come.
    let strange = |error: &Option<FrameError>| matches!(error, Some(FrameError::NoGreeting { .. }));
    assert!(other == error || strange(&other) && strange(&error));
    let bodies: usize = frames.iter().map(|f| f.head.len() + f.body.len()).sum();
    assert!(bodies <= data.len());
    for frame in &frames {
        if let Ok(message) = serde_json::from_slice::<ToAgent>(&frame.head) {
            let again = serde_json::to_vec(&message).expect("messages are JSON");
            let again: ToAgent = serde_json::from_slice(&again).expect("what was said is heard");
            assert_eq!(again, message);
        }
        if let Ok(message) = serde_json::from_slice::<FromAgent>(&frame.head) {
            let again = serde_json::to_vec(&message).expect("messages are JSON");
            let again: FromAgent = serde_json::from_slice(&again).expect("what was said is heard");
            assert_eq!(again, message);
        }
    }
    // A pipe holds this much; nothing is written to the disk.
    let data = &data[..data.len().min(60_000)];
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let options = Options {
        name: "fuzz".into(),
        number: 1,
        folder: "/dev/null/nowhere".into(),
        version: "0".into(),
    };
    let mut remote = Remote::connect(ours, options).expect("a socket");
    theirs.write_all(data).expect("room in a socket");
    drop(theirs);
    for _ in 0..8 {
        remote.take_in();
    }
    assert!(matches!(
        remote.condition(),
        Condition::Cut { .. } | Condition::Over
    ));
    for life in remote.lives() {
        assert!(life.state().is_none(), "there is nowhere to keep it");
    }
}
