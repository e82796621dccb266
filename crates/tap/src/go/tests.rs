//! What a look at a process says of programs that are sound, unfinished, strange or damaged.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use proptest::prelude::*;

use super::layout::Complete;
use super::synthetic::{BASE, BLOBS, COUNTERS, ENTRIES, HASH, LIST, MODULE_DATA, Synthetic, TABLE};
use super::{AttachError, Attached, Dropped, Evidence, Found};
use crate::image::Images;
use crate::memory::recorded::Recording;
use crate::memory::{Memory, MemoryError};
use crate::target::Process;

/// The error of a program that was changed.
fn refused(change: impl FnOnce(&mut Synthetic)) -> AttachError {
    let mut program = Synthetic::new();
    change(&mut program);
    let error = program.attach().expect_err("this program cannot be read");
    assert!(!error.to_string().contains("  "), "{error}");
    error
}

/// The records that were dropped of a sound program with more counters.
fn dropped(at: u64, counters: &[u32]) -> Vec<(Dropped, u64)> {
    let mut program = Synthetic::new();
    program.put_counters(at, counters);
    let snapshot = program.attach().unwrap().snapshot().unwrap();
    assert_eq!(snapshot.live_functions(), 2, "the others are not touched");
    snapshot.dropped.into_iter().collect()
}

#[test]
fn a_sound_program_is_read() {
    let mut tap = Synthetic::new().attach().unwrap();
    assert_eq!(tap.found(), Found::Memory);
    let layout = tap.layout();
    assert_eq!(layout.complete, Complete::FinalHash);
    assert_eq!(layout.final_hash, Some(HASH));
    assert_eq!((layout.module_data, layout.list), (MODULE_DATA, LIST));
    assert_eq!((layout.packages, layout.functions, layout.units), (2, 3, 6));
    assert_eq!(layout.build_id, "synthetic-1");
    assert_eq!(layout.bias, 0);
    let text = layout.to_string();
    assert!(
        text.contains("counters      0x403500..0x403560 (96 bytes)\n"),
        "{text}"
    );
    let snapshot = tap.snapshot().unwrap();
    assert_eq!(snapshot.counters.get(0, 0), None);
    assert_eq!(snapshot.counters.get(0, 1), Some(&[0, 7, 0][..]));
    assert_eq!(snapshot.counters.get(1, 0), Some(&[5, 0][..]));
    assert_eq!((snapshot.reads, snapshot.bytes), (2, 192));
    // Statements are 1, 2 and 3 in units of each function.
    let all = snapshot.statements();
    assert_eq!((all.covered, all.total), (3, 10));
    let packages = snapshot.packages();
    let packages: Vec<_> = packages.iter().map(|p| (p.covered, p.total)).collect();
    assert_eq!(packages, [(2, 7), (1, 3)]);
    let names = tap.file_names();
    assert_eq!(
        names.counters,
        format!("covcounters.{}.7.9", tap.layout().hash)
    );
    let arguments = tap.arguments(true);
    assert_eq!(arguments.arguments, [b"program".to_vec()]);
    let again = tap.snapshot().unwrap();
    assert!(again.at_least(&snapshot) && snapshot.at_least(&again));
}

#[test]
fn a_tap_goes_to_the_thread_that_needs_it() {
    fn can_be_sent<T: Send>() {}
    can_be_sent::<Attached>();
    can_be_sent::<super::Snapshot>();
}

#[test]
fn a_snapshot_is_not_at_least_one_with_more() {
    let mut less = Synthetic::new();
    less.put_counters(0x20, &[2, 2, 0, 4, 0]);
    let less = less.attach().unwrap().snapshot().unwrap();
    let more = Synthetic::new().attach().unwrap().snapshot().unwrap();
    assert!(more.at_least(&less) && !less.at_least(&more));
}

#[test]
fn a_recording_gives_the_same_once_more() {
    let mut tap = Synthetic::new().attach().unwrap();
    let (recording, snapshot) = tap.record().unwrap();
    let bytes = recording.to_bytes();
    assert!(bytes.len() < 2500, "{}", bytes.len());
    let recording = Recording::from_bytes(&bytes).unwrap();
    assert_eq!(recording.target(), tap.target());
    let mut again = Attached::replay(recording, &Images::new()).unwrap();
    assert_eq!(again.meta().bytes(), tap.meta().bytes());
    let replayed = again.snapshot().unwrap();
    assert_eq!(
        again.counter_file(&replayed, &again.arguments(false)),
        tap.counter_file(&snapshot, &tap.arguments(false))
    );
    assert_eq!(again.file_names(), tap.file_names());
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    assert_eq!(dropped(0x40, &[1, 0, 0, 9]), [(Dropped::BeforePackage, 1)]);
    assert_eq!(dropped(0x40, &[1, 3, 0, 9]), [(Dropped::NoPackage, 1)]);
    let negative = -2i32 as u32;
    assert_eq!(
        dropped(0x40, &[1, negative, 0, 9]),
        [(Dropped::NoPackage, 1)]
    );
    assert_eq!(dropped(0x40, &[1, 1, 2, 9]), [(Dropped::NoFunction, 1)]);
    assert_eq!(
        dropped(0x40, &[2, 1, 0, 9, 9]),
        [(Dropped::NoFunction, 1)],
        "other units"
    );
    assert_eq!(
        dropped(0x40, &[2, 2, 0, 9, 9]),
        [(Dropped::NoFunction, 1)],
        "twice"
    );
    assert_eq!(dropped(0x44, &[1, 1, 0, 9]), [(Dropped::Misplaced, 1)]);
    assert_eq!(dropped(0x40, &[6, 1, 0, 9]), [(Dropped::BeyondEnd, 1)]);
    assert_eq!(
        dropped(0x50, &[u32::MAX, 1, 0, 9]),
        [(Dropped::BeyondEnd, 1)]
    );
    // The last record ends where the counters end.
    assert_eq!(
        dropped(0x40, &[5, 7, 0, 0, 0, 0, 0, 1]),
        [(Dropped::NoPackage, 1)]
    );
    // No counter, no matter what the header says.
    assert_eq!(dropped(0x40, &[4, 77, 0, 0]), []);
    for reason in [
        Dropped::BeforePackage,
        Dropped::NoPackage,
        Dropped::NoFunction,
        Dropped::Misplaced,
        Dropped::BeyondEnd,
    ] {
        assert!(!reason.to_string().is_empty());
    }
}

#[test]
fn a_start_at_an_odd_address_is_rounded_up() {
    let mut program = Synthetic::new();
    program.put_module_data(32, COUNTERS - 3);
    let mut tap = program.attach().unwrap();
    assert_eq!(tap.layout().counters.start, COUNTERS);
    assert_eq!(tap.snapshot().unwrap().live_functions(), 2);
}

#[test]
fn a_program_may_lie_anywhere() {
    // The same addresses, but the file says that they begin at 0 and may be moved.
    let mut program = Synthetic::new();
    program.put(BASE + 16, &[3]);
    for (header, at) in [(0, 0), (1, 0x2000), (2, 0x300)] {
        program.put_words(BASE + 64 + 56 * header + 16, &[at, at]);
    }
    let mut tap = program.attach().unwrap();
    assert_eq!(tap.layout().bias, BASE);
    assert_eq!(tap.snapshot().unwrap().live_functions(), 2);
    // Its pointers are not there before the dynamic linker put them there.
    for word in [0, 1, 4, 7, 10, 13, 16] {
        program.put_module_data(word, TABLE - BASE);
    }
    assert!(matches!(
        program.attach(),
        Err(AttachError::NotReady { .. })
    ));
}

#[test]
fn a_program_that_is_starting_says_how_far_it_is() {
    let empty = refused(|p| p.put_words(LIST, &[0, 0, 0]));
    assert!(empty.is_passing());
    assert_eq!(
        empty.to_string(),
        "process 7 is still starting: 0 packages have registered"
    );
    let one = refused(|p| {
        p.put_words(LIST, &[ENTRIES, 1, 1]);
        p.put(HASH, &[0; 16]);
    });
    assert_eq!(
        one.to_string(),
        "process 7 is still starting: 1 of 2 packages have registered"
    );
    // The length is there before the element.
    let growing = refused(|p| p.put_words(ENTRIES + 64, &[0; 8]));
    assert!(
        matches!(growing, AttachError::NotReady { entries: 1, .. }),
        "{growing:?}"
    );
}

#[test]
fn all_packages_are_enough_where_the_runtime_computes_no_hash() {
    let mut program = Synthetic::new();
    program.put(HASH, &[0; 16]);
    let mut tap = program.attach().unwrap();
    assert_eq!(tap.layout().complete, Complete::Count);
    assert_eq!(tap.layout().final_hash, None);
    assert!(tap.layout().to_string().contains("as many packages as"));
    assert_eq!(tap.snapshot().unwrap().live_functions(), 2);
}

#[test]
fn a_known_image_is_not_searched_again() {
    let images = Images::new();
    let attach = |program: &Synthetic| Attached::replay(program.recording(), &images);
    let first = attach(&Synthetic::new()).unwrap();
    let mut program = Synthetic::new();
    program.put_counters(0x20, &[2, 2, 0, 6, 0]);
    let mut second = attach(&program).unwrap();
    assert!(Arc::ptr_eq(first.meta(), second.meta()));
    assert_eq!(
        second.snapshot().unwrap().counters.get(1, 0),
        Some(&[6, 0][..])
    );
    // What another process showed is no more than a hint.
    program.put(HASH, &[1; 16]);
    assert_eq!(attach(&program).unwrap().layout().complete, Complete::Count);
    program.put_words(LIST, &[ENTRIES, 1, 4]);
    let error = attach(&program).unwrap_err();
    assert!(error.to_string().contains("1 of 2 packages"), "{error}");
    program.put_words(LIST, &[0, 0, 0]);
    program.put_words(LIST + 0x20, &[ENTRIES, 2, 4]);
    assert_eq!(attach(&program).unwrap().layout().list, LIST + 0x20);
}

#[test]
fn what_is_not_go_is_searched_once_but_not_while_it_is_being_mapped() {
    let images = Images::new();
    let attach = |program: &Synthetic| Attached::replay(program.recording(), &images);
    let mut half = Synthetic::new();
    half.cut(TABLE);
    let not_go = |error: AttachError| matches!(error, AttachError::NotInstrumented { .. });
    assert!(not_go(attach(&half).unwrap_err()));
    attach(&Synthetic::new()).unwrap();
    let images = Images::new();
    let attach = |program: &Synthetic| Attached::replay(program.recording(), &images);
    let mut other = Synthetic::new();
    other.put(TABLE, &[0; 8]);
    assert!(not_go(attach(&other).unwrap_err()));
    assert!(
        not_go(attach(&Synthetic::new()).unwrap_err()),
        "known by its id"
    );
}

#[test]
fn packages_in_another_order_are_another_file() {
    let images = Images::new();
    let first = Attached::replay(Synthetic::new().recording(), &images).unwrap();
    let mut program = Synthetic::new();
    // Swap the two entries: blobs, hashes, lengths.
    let blobs = [BLOBS, BLOBS + 0x200];
    for (i, from) in [(0, 1), (1, 0)] {
        let package = first.meta().packages[from as usize].as_ref().unwrap();
        let length = first.meta().blob(package).len() as u64;
        program.put_words(ENTRIES + 64 * i, &[blobs[from as usize], length]);
        program.put(ENTRIES + 64 * i + 12, &package.hash);
    }
    program.put(HASH, &[0; 16]);
    let second = Attached::replay(program.recording(), &images);
    // It is complete by its number of packages alone; the known place of the hash is empty.
    let second = second.unwrap();
    assert_ne!(first.meta().hash, second.meta().hash);
    assert_eq!(second.layout().complete, Complete::Count);
}

#[test]
fn a_program_that_does_not_count_is_told_by_what_shows_it() {
    let no_counters = refused(|p| p.put_module_data(33, COUNTERS));
    assert_eq!(
        no_counters.to_string(),
        "process 7 (/program) is not instrumented: a Go program built without -cover: its module data \
         (at 0x402100) name no counters"
    );
    assert!(no_counters.hint().unwrap().contains("go build -cover"));
    let not_go = refused(|p| p.put(TABLE, &[0; 8]));
    assert!(
        matches!(
            &not_go,
            AttachError::NotInstrumented {
                evidence: Evidence::NotGo,
                ..
            }
        ),
        "{not_go:?}"
    );
    assert_eq!(
        not_go.to_string(),
        "process 7 (/program) is not instrumented: not a Go program"
    );
    assert!(not_go.hint().is_none() && !not_go.is_passing());
}

#[test]
fn programs_of_other_kinds_are_named() {
    let what = |change: fn(&mut Synthetic)| match refused(change) {
        AttachError::Unsupported { what, .. } => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(|p| p.put(BASE + 4, &[1])), "a 32-bit program");
    assert_eq!(what(|p| p.put(BASE + 5, &[2])), "a big-endian program");
    assert_eq!(
        what(|p| p.put(BASE + 16, &[4])),
        "a core file, not a program"
    );
    assert_eq!(
        what(|p| p.put(BASE + 16, &[1])),
        "an object file, not a program"
    );
    assert_eq!(
        what(|p| p.put(BASE + 18, &[8, 1])),
        "a program for another processor"
    );
    assert_eq!(what(|p| p.put(BASE, &[0])), "not an ELF file");
    assert!(what(|p| p.put(BASE + 64 + 168, b"....UPX!")).contains("UPX packed"));
    let magic = what(|p| p.put(TABLE, &[0xf3]));
    assert!(
        magic.contains("0xfffffff3") && magic.contains("version of Go"),
        "{magic}"
    );
}

#[test]
fn damage_is_named_with_its_place() {
    let damage = |change: fn(&mut Synthetic)| match refused(change) {
        AttachError::Damaged { what, at, .. } => (what, at),
        other => panic!("{other:?}"),
    };
    let (what, at) = damage(|p| p.put_module_data(30, 1));
    assert_eq!(at, MODULE_DATA);
    assert!(
        what.contains("the order of text, data and counters"),
        "{what}"
    );
    let (what, at) = damage(|p| {
        for word in [0, 1, 4, 7, 10, 13, 16] {
            p.put_module_data(word, 0);
        }
    });
    assert_eq!(at, TABLE);
    assert!(what.contains("a pointer to the function table"), "{what}");
    let (what, _) = damage(|p| p.put_module_data(5, 0x1_0000));
    assert!(what.contains("tables of functions"), "{what}");
    let (what, at) = damage(|p| p.put(BLOBS + 0x200 + 16, &[1, 2, 3]));
    assert_eq!(
        (what.as_str(), at),
        (
            "the meta-data of package 1 are something else",
            BLOBS + 0x200
        )
    );
    let (what, _) = damage(|p| p.put(BLOBS + 52, &[0xff; 16]));
    assert!(what.contains("its meta-data: at byte"), "{what}");
    let (what, at) = damage(|p| p.cut(COUNTERS));
    assert_eq!(
        (what.as_str(), at),
        ("the counters are not mapped", COUNTERS)
    );
    let (what, _) = damage(|p| p.put(BASE + 56, &[0xff, 0xff]));
    assert!(
        what.contains("the program headers are not all there"),
        "{what}"
    );
    let (what, _) = damage(|p| p.put(BASE + 4, &[9]));
    assert!(what.contains("class and byte order"), "{what}");
}

/// The sections of a stripped program, and the symbols of one that is not.
const SECTIONS: [(&str, u64); 2] = [(".gopclntab", TABLE), (".go.module", MODULE_DATA)];
const SYMBOLS: [(&str, u64); 4] = [
    ("runtime.firstmoduledata.old", BASE),
    ("runtime.firstmoduledata", MODULE_DATA),
    ("internal/coverage/rtcov.Meta", LIST),
    ("internal/coverage/cfile.finalHash", HASH),
];

/// Attaches with a file of these sections and symbols.
fn with_file(
    program: &Synthetic,
    sections: &[(&str, u64)],
    symbols: &[(&str, u64)],
) -> Result<Attached, AttachError> {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("program");
    fs::write(&path, program.file(sections, symbols)).unwrap();
    program.attach_with(&path, &Images::new())
}

#[test]
fn the_file_shows_the_way() {
    let program = Synthetic::new();
    let found = |sections: &[_], symbols: &[_]| {
        let mut tap = with_file(&program, sections, symbols).unwrap();
        assert_eq!(tap.layout().final_hash, Some(HASH));
        assert_eq!(tap.snapshot().unwrap().live_functions(), 2);
        tap.found()
    };
    assert_eq!(found(&SECTIONS, &SYMBOLS), Found::Symbols);
    assert_eq!(found(&SECTIONS, &SYMBOLS[..2]), Found::Symbols);
    assert_eq!(found(&SECTIONS, &SYMBOLS[..1]), Found::Sections);
    assert_eq!(found(&SECTIONS, &[]), Found::Sections);
    assert_eq!(found(&SECTIONS[..1], &[]), Found::Sections);
    // A PIE that the C linker linked: the table is somewhere in this section.
    let relocated = [(".go.buildinfo", BASE), (".data.rel.ro", TABLE - 0x20)];
    assert_eq!(found(&relocated, &[]), Found::Sections);
    // A symbol that leads to something else, and sections that do.
    let wrong = [("runtime.firstmoduledata", MODULE_DATA + 8)];
    assert_eq!(found(&SECTIONS, &wrong), Found::Sections);
    assert_eq!(found(&[(".gopclntab", BASE)], &wrong), Found::Memory);
}

#[test]
fn sections_show_what_is_not_go() {
    // Whatever the memory holds, it is not searched.
    let error = with_file(&Synthetic::new(), &[(".text", TABLE)], &SYMBOLS).unwrap_err();
    assert!(
        matches!(
            error,
            AttachError::NotInstrumented {
                evidence: Evidence::NotGo,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn the_symbol_of_the_hash_is_the_truth() {
    let mut program = Synthetic::new();
    program.put(HASH, &[1; 16]);
    let error = with_file(&program, &SECTIONS, &SYMBOLS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "process 7: the runtime's hash of the meta-data is not that of the list of packages, at \
         0x403420 in its memory"
    );
    // Main is not initialised yet, and packages are missing.
    program.put(HASH, &[0; 16]);
    program.put_words(LIST, &[ENTRIES, 1, 1]);
    let error = with_file(&program, &SECTIONS, &SYMBOLS).unwrap_err();
    assert!(
        matches!(
            error,
            AttachError::NotReady {
                entries: 1,
                expected: Some(2),
                ..
            }
        ),
        "{error:?}"
    );
    // A list where the symbol says, but something else in it.
    program.put_words(LIST, &[ENTRIES, 1 << 40, 1 << 41]);
    let error = with_file(&program, &SECTIONS, &SYMBOLS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "process 7: the list of packages is something else, at 0x403040 in its memory"
    );
    program.put_words(LIST, &[ENTRIES + 0x900, 2, 4]);
    let error = with_file(&program, &SECTIONS, &SYMBOLS).unwrap_err();
    assert!(
        matches!(error, AttachError::Damaged { at: LIST, .. }),
        "{error}"
    );
    program.put_words(LIST, &[0x7000_0000, 2, 4]);
    let error = with_file(&program, &SECTIONS, &SYMBOLS).unwrap_err();
    assert!(
        matches!(error, AttachError::Damaged { at: LIST, .. }),
        "{error}"
    );
}

#[test]
fn a_file_is_read_once_and_a_copy_of_it_not_at_all() {
    let program = Synthetic::new();
    let scratch = tempfile::tempdir().unwrap();
    let path = |name| scratch.path().join(name);
    fs::write(path("a"), program.file(&SECTIONS, &SYMBOLS)).unwrap();
    fs::copy(path("a"), path("b")).unwrap();
    fs::write(path("c"), program.file(&SECTIONS, &[])).unwrap();
    let images = Images::new();
    let attach = |name| program.attach_with(&path(name), &images).unwrap();
    let first = attach("a");
    for name in ["a", "b"] {
        let again = attach(name);
        assert!(Arc::ptr_eq(first.meta(), again.meta()), "{name}");
    }
    // The same build id, but stripped: another image.
    let stripped = attach("c");
    assert!(!Arc::ptr_eq(first.meta(), stripped.meta()));
    assert_eq!(stripped.found(), Found::Sections);
}

#[test]
fn a_damaged_file_is_as_good_as_none() {
    let program = Synthetic::new();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("program");
    let whole = program.file(&SECTIONS, &SYMBOLS);
    // Section headers, their names, the strings of symbols, the symbols, the data, the headers.
    for length in (0x2000..whole.len()).rev().step_by(29) {
        fs::write(&path, &whole[..length]).unwrap();
        let mut tap = program.attach_with(&path, &Images::new()).unwrap();
        assert_eq!(tap.snapshot().unwrap().live_functions(), 2, "{length}");
    }
}

#[test]
fn a_package_without_functions_is_awaited_too() {
    let mut program = Synthetic::new();
    program.package_without_functions();
    let error = program.attach().unwrap_err();
    assert_eq!(
        error.to_string(),
        "process 7 is still starting: 2 of 3 packages have registered"
    );
    program.put_words(LIST, &[ENTRIES, 3, 4]);
    let tap = program.attach().unwrap();
    assert_eq!(tap.layout().complete, Complete::Count);
    assert_eq!(tap.layout().packages, 3);
}

/// Memory that is seen otherwise than it is.
struct Seen<F>(Box<dyn Memory + Send>, F);

impl<F: Fn(u64, &mut [u8]) -> Result<(), MemoryError>> Memory for Seen<F> {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        self.0.read(address, into)?;
        (self.1)(address, into)
    }

    fn check(&self) -> Result<(), MemoryError> {
        (self.1)(0, &mut [])
    }
}

/// The process, seen so.
fn seen(
    mut process: Process,
    how: impl Fn(u64, &mut [u8]) -> Result<(), MemoryError> + Send + 'static,
) -> Result<Attached, AttachError> {
    process.memory = Box::new(Seen(process.memory, how));
    Attached::attach_process(process, &Images::new())
}

#[test]
fn a_process_that_changes_while_it_is_looked_at_is_told() {
    let mut half = Synthetic::new();
    half.put_words(LIST, &[0, 7, 1]);
    for program in [Synthetic::new(), half] {
        let process = || program.recording().into_process();
        let replaced = seen(process(), |at, _| match at {
            0 => Err(MemoryError::Replaced),
            _ => Ok(()),
        });
        let error = replaced.unwrap_err();
        assert!(
            matches!(error, AttachError::Replaced { pid: 7 }),
            "{error:?}"
        );
        assert!(error.is_passing());
        let gone = seen(process(), |at, _| match at {
            0 => Err(MemoryError::Gone),
            _ => Ok(()),
        });
        let error = gone.unwrap_err();
        assert!(
            matches!(error, AttachError::Gone { .. } | AttachError::Zombie { .. }),
            "{error:?}"
        );
    }
}

/// As if one package less were in the list.
fn one_less(list: &mut [u8]) {
    list[8] -= 1;
}

#[test]
fn the_last_package_may_come_between_the_list_and_the_hash() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("program");
    let program = Synthetic::new();
    fs::write(&path, program.file(&SECTIONS, &SYMBOLS)).unwrap();
    let looks = AtomicU32::new(0);
    let result = seen(program.process_with(&path), move |at, bytes| {
        if at == LIST && looks.fetch_add(1, Ordering::Relaxed) == 0 {
            one_less(bytes);
        }
        Ok(())
    });
    let error = result.unwrap_err();
    assert!(
        matches!(error, AttachError::NotReady { entries: 1, .. }),
        "{error:?}"
    );
}

#[test]
fn a_list_that_grows_after_all_is_told() {
    let mut program = Synthetic::new();
    program.package_without_functions();
    program.put_words(LIST, &[ENTRIES, 3, 4]);
    // One package's meta-data cannot be recognised for some reason.
    program.put(BLOBS + 0x400 + 32, &[1]);
    let grown = Arc::new(AtomicBool::new(false));
    let now = grown.clone();
    let mut tap = seen(program.recording().into_process(), move |at, bytes| {
        if at == LIST && !now.load(Ordering::Relaxed) {
            one_less(bytes);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(tap.layout().packages, 2);
    tap.snapshot().unwrap();
    grown.store(true, Ordering::Relaxed);
    let error = tap.snapshot().unwrap_err();
    assert_eq!(
        error.to_string(),
        "3 packages have registered, not 2: attach to the process again"
    );
}

/// Where the fuzzer's corpus of recordings is.
fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/recorded_memory")
}

/// Programs that recordings for the fuzzer are made of.
fn seeds() -> Vec<Vec<u8>> {
    let changed = |change: fn(&mut Synthetic)| {
        let mut program = Synthetic::new();
        change(&mut program);
        program.recording().to_bytes()
    };
    let mut tap = Synthetic::new().attach().unwrap();
    vec![
        tap.record().unwrap().0.to_bytes(),
        changed(|p| p.put(HASH, &[0; 16])),
        changed(|p| p.put_words(LIST, &[0, 0, 0])),
        changed(|p| p.put_counters(0x40, &[1, 0, 0, 9])),
    ]
}

#[test]
fn the_fuzzers_seeds_are_these_programs() {
    for (i, seed) in seeds().into_iter().enumerate() {
        let path = corpus().join(format!("program-{i}"));
        if std::env::var_os("COVTAP_WRITE_SEEDS").is_some() {
            fs::create_dir_all(corpus()).unwrap();
            fs::write(&path, &seed).unwrap();
        }
        assert!(
            fs::read(&path).unwrap() == seed,
            "{} is another",
            path.display()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a recording holds, a look at it says something and ends.
    #[test]
    fn changed_recordings_are_read_or_refused(
        seed in 0..4usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        words in proptest::collection::vec((0..0x700u64, prop_oneof![
            Just(0),
            Just(u64::MAX),
            Just(1 << 63),
            BASE..BASE + 0x4000,
            ENTRIES..ENTRIES + 0x1000,
            any::<u64>(),
        ]), 0..3),
    ) {
        let mut bytes = seeds().swap_remove(seed);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        look(&bytes);
        let mut program = Synthetic::new();
        for (at, word) in words {
            program.put_words(MODULE_DATA - 0x100 + 8 * (at % 0x1c0), &[word]);
            if at % 2 == 0 {
                program.put_words(LIST + 8 * (at % 3), &[word]);
                program.put_words(ENTRIES + 8 * (at % 16), &[word]);
            }
        }
        look(&program.recording().to_bytes());
    }
}

fn look(bytes: &[u8]) {
    let Ok(recording) = Recording::from_bytes(bytes) else {
        return;
    };
    if let Ok(mut tap) = Attached::replay(recording, &Images::new())
        && let Ok(snapshot) = tap.snapshot()
    {
        assert!(!tap.counter_file(&snapshot, &tap.arguments(true)).is_empty());
        tap.record().unwrap();
    }
}
