//! Round trips, damage and directories; the comparison with Go's own tool is in
//! `crates/cli/tests/covdata_differential.rs`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use covtap_model::counter::{CounterMode, ModePolicy};
use covtap_model::percent::Ratio;
use covtap_model::problem::{Problem, Severity};
use proptest::prelude::*;

use super::accumulate::{Counters, Layout, add_bytes};
use super::counters::{CounterFile, FILE_HEADER, FOOTER, Flavor};
use super::counters_writer::CounterWriter;
use super::covdata::{self, Command, Request};
use super::directory::scan;
use super::document::{self, Options};
use super::hex;
use super::meta::{Granularity, MetaFile};
use super::meta_writer::meta_file;
use super::samples::{self, Directory, FUNCTIONS, unit};

const FLAVORS: [Flavor; 3] = [Flavor::Uleb, Flavor::RawLittle, Flavor::RawBig];

fn sample_meta(mode: CounterMode) -> MetaFile {
    let (_, bytes) = samples::meta_of(&samples::blobs(), mode);
    let (meta, damages) = MetaFile::parse(bytes).unwrap();
    assert_eq!(damages, []);
    meta
}

fn read(meta: &MetaFile, bytes: &[u8]) -> (Counters, Option<Problem>) {
    let mut counters = Counters::new(Arc::new(Layout::new(meta)));
    let problem = add_bytes(meta, &mut counters, bytes, Path::new("f"));
    (counters, problem)
}

fn all_of(counters: &Counters) -> Vec<Option<Vec<u32>>> {
    FUNCTIONS
        .iter()
        .map(|(p, f, _)| counters.get(*p as usize, *f as usize).map(<[u32]>::to_vec))
        .collect()
}

/// Counters for some of the sample's functions, each at most once.
fn runs() -> impl Strategy<Value = Vec<(u32, u32, Vec<u32>)>> {
    let counter = prop_oneof![4 => Just(0u32), 4 => 1..200u32, 1 => any::<u32>()];
    let one = |(p, f, n): (u32, u32, usize)| {
        proptest::option::of(proptest::collection::vec(counter.clone(), n))
            .prop_map(move |c| c.map(|c| (p, f, c)))
    };
    FUNCTIONS
        .map(one)
        .prop_map(|all| all.into_iter().flatten().collect())
}

fn set(values: &[u32]) -> Vec<u32> {
    values.iter().map(|v| u32::from(*v != 0)).collect()
}

proptest! {
    #[test]
    fn counters_round_trip(functions in runs(), flavor in proptest::sample::select(&FLAVORS)) {
        for mode in [CounterMode::Atomic, CounterMode::Set] {
            let meta = sample_meta(mode);
            let bytes = samples::counters(meta.hash, flavor, &functions);
            let (counters, problem) = read(&meta, &bytes);
            prop_assert_eq!(problem, None);
            for (p, f, _) in FUNCTIONS {
                let written = functions.iter().find(|w| (w.0, w.1) == (p, f)).map(|w| match mode {
                    CounterMode::Set => set(&w.2),
                    _ => w.2.clone(),
                });
                prop_assert_eq!(counters.get(p as usize, f as usize).map(<[u32]>::to_vec), written);
            }
        }
    }

    #[test]
    fn two_processes_add_up_in_any_order(a in runs(), b in runs(), flavor in proptest::sample::select(&FLAVORS)) {
        let meta = sample_meta(CounterMode::Count);
        let (a, b) = (samples::counters(meta.hash, flavor, &a), samples::counters(meta.hash, Flavor::Uleb, &b));
        let (mut one, _) = read(&meta, &a);
        prop_assert_eq!(add_bytes(&meta, &mut one, &b, Path::new("b")), None);
        let (mut other, _) = read(&meta, &b);
        let (first, _) = read(&meta, &a);
        other.merge(&first, meta.mode);
        prop_assert_eq!(all_of(&one), all_of(&other));
        prop_assert_eq!(one.overflowed(), other.overflowed());
    }

    #[test]
    fn a_file_cut_anywhere_gives_what_stands_before_the_cut(functions in runs(), cut in 0.0..1.0f64, flavor in proptest::sample::select(&FLAVORS)) {
        let meta = sample_meta(CounterMode::Atomic);
        let bytes = samples::counters(meta.hash, flavor, &functions);
        let cut = (bytes.len() as f64 * cut) as usize;
        let (counters, problem) = read(&meta, &bytes[..cut]);
        let problem = problem.expect("a cut file is a problem");
        prop_assert_eq!(problem.severity, Severity::Error);
        let (whole, _) = read(&meta, &bytes);
        for (now, all) in all_of(&counters).into_iter().zip(all_of(&whole)) {
            prop_assert!(now.is_none() || now == all);
        }
    }

    #[test]
    fn changed_bytes_never_panic_and_never_invent_functions(
        functions in runs(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        flavor in proptest::sample::select(&FLAVORS),
    ) {
        let meta = sample_meta(CounterMode::Atomic);
        let mut bytes = samples::counters(meta.hash, flavor, &functions);
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let _ = read(&meta, &bytes);
        let (_, mut bytes) = samples::meta_of(&samples::blobs(), CounterMode::Atomic);
        let original = bytes.clone();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Ok((meta, damages)) = MetaFile::parse(bytes.clone()) {
            // The blobs and the hash over them are guarded: a change is damage, or outside of both.
            let guarded = |b: &[u8]| (b[24..40].to_vec(), b[48], b[56 + 16 * 2 + 2..].to_vec());
            if guarded(&bytes).2 != guarded(&original).2 {
                let ignored = damages.is_empty();
                // Four unused bytes and the number of strings of each header mean nothing.
                prop_assert!(!ignored || meta.packages.iter().all(Option::is_some));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let meta = sample_meta(CounterMode::Set);
        let _ = read(&meta, &bytes);
        let _ = MetaFile::parse(bytes);
    }
}

#[test]
fn meta_data_round_trip() {
    let meta = sample_meta(CounterMode::Atomic);
    assert_eq!(
        (meta.mode, meta.granularity),
        (CounterMode::Atomic, Granularity::PerBlock)
    );
    let p = meta.packages[0].as_ref().unwrap();
    assert_eq!(
        (p.path(), p.name(), p.module()),
        (&b"m/p"[..], &b"p"[..], &b"m"[..])
    );
    assert_eq!(p.function_count(), 3);
    let three = p.function(1).unwrap();
    assert_eq!(
        (three.name, three.file, three.literal),
        (&b"Three"[..], &b"m/p/f.go"[..], false)
    );
    assert_eq!(three.units, [unit(300, 2), unit(70_000, 3), unit(302, 0)]);
    assert_eq!(p.function(3), None);
    let q = meta.packages[1].as_ref().unwrap();
    assert!(q.function(0).unwrap().literal && q.module().is_empty());
    let blobs: Vec<&[u8]> = meta
        .packages
        .iter()
        .flatten()
        .map(|p| meta.blob(p))
        .collect();
    assert_eq!(
        meta_file(meta.hash, &blobs, meta.mode, meta.granularity),
        meta.bytes()
    );
}

#[test]
fn both_granularities_are_read() {
    assert_eq!(
        [Granularity::PerBlock, Granularity::PerFunc].map(Granularity::word),
        ["perblock", "perfunc"]
    );
    let blobs = samples::blobs();
    let slices: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    let bytes = meta_file([0; 16], &slices, CounterMode::Set, Granularity::PerFunc);
    assert_eq!(
        MetaFile::parse(bytes).unwrap().0.granularity,
        Granularity::PerFunc
    );
}

/// `go tool covdata merge -pkg` writes such, also with no package at all.
#[test]
fn hashes_of_files_that_covdata_wrote_are_known() {
    let blobs = samples::blobs();
    let slices: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    let fnv = super::meta::of_blobs::<super::hash::Fnv>(slices.iter().copied());
    let md5 = super::meta::of_blobs::<md5::Md5>(slices.iter().copied());
    assert_ne!(fnv, md5);
    for hash in [fnv, md5] {
        let bytes = meta_file(hash, &slices, CounterMode::Set, Granularity::PerBlock);
        assert_eq!(MetaFile::parse(bytes).unwrap().1, []);
    }
    let none = super::meta::of_blobs::<super::hash::Fnv>([]);
    let bytes = meta_file(none, &[], CounterMode::Set, Granularity::PerBlock);
    let (meta, damages) = MetaFile::parse(bytes).unwrap();
    assert_eq!((meta.packages.len(), damages), (0, vec![]));
}

#[test]
fn a_number_of_packages_that_cannot_be_is_named() {
    let (_, mut bytes) = samples::meta_of(&samples::blobs(), CounterMode::Set);
    bytes[16..24].fill(0xff);
    let size = bytes.len();
    let error = MetaFile::parse(bytes).err().unwrap();
    let room = (size - 56) / 16;
    let expected = format!("at most {room} packages in a file of {size} bytes");
    assert_eq!(error.expected, expected);
    assert_eq!(error.found, u64::MAX.to_string());
}

#[test]
fn hashes_of_all_go_versions_are_known() {
    let (_, damages) = MetaFile::parse(samples::old_meta(CounterMode::Set)).unwrap();
    assert_eq!(damages, []);
}

#[test]
fn a_wrong_file_hash_is_damage_and_the_file_is_used() {
    let (_, mut bytes) = samples::meta_of(&samples::blobs(), CounterMode::Set);
    bytes[24] ^= 1;
    let (meta, damages) = MetaFile::parse(bytes).unwrap();
    assert!(meta.packages.iter().all(Option::is_some));
    assert_eq!(
        (damages.len(), damages[0].package, damages[0].damage.offset),
        (1, None, 24)
    );
}

#[test]
fn a_damaged_package_is_left_out_alone() {
    let (_, mut bytes) = samples::meta_of(&samples::blobs(), CounterMode::Set);
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    let (meta, damages) = MetaFile::parse(bytes).unwrap();
    assert!(meta.packages[0].is_some() && meta.packages[1].is_none());
    assert_eq!((damages.len(), damages[0].package), (1, Some(1)));
    let q = 56 + 2 * 16 + 2 + samples::blobs()[0].len();
    assert_eq!(damages[0].damage.offset, q as u64 + 16);
    assert!(
        damages[0]
            .damage
            .expected
            .contains("contents of package m/q"),
        "{:?}",
        damages[0]
    );

    // Its counters are refused, those of its neighbour are read.
    let functions: Vec<_> = FUNCTIONS
        .iter()
        .map(|(p, f, n)| (*p, *f, vec![1; *n]))
        .collect();
    let (counters, problem) = read(
        &meta,
        &samples::counters(meta.hash, Flavor::Uleb, &functions),
    );
    assert_eq!(counters.get(0, 2), Some(&[1; 12][..]));
    let problem = problem.unwrap();
    assert_eq!(problem.effect, "1 of 4 functions are left out");
    assert_eq!(problem.severity, Severity::Warning);
}

/// Changes one number of the sample's meta-data and returns what is said about it.
fn meta_error(at: usize, bytes: &[u8]) -> String {
    let (_, mut file) = samples::meta_of(&samples::blobs(), CounterMode::Set);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    MetaFile::parse(file)
        .map(|(_, d)| d[0].damage.to_string())
        .unwrap_or_else(|d| d.to_string())
}

#[test]
fn each_number_of_a_meta_data_file_is_checked() {
    let blob = 56 + 32 + 2;
    let file = samples::meta_of(&samples::blobs(), CounterMode::Set).1;
    let size = file.len();
    let cases: &[(usize, &[u8], &str)] = &[
        (
            0,
            b"\x7fELF",
            "at byte 0: expected the magic 00 63 76 6d of a meta-data file, found 7f 45 4c 46",
        ),
        (
            4,
            &[2],
            "at byte 4: expected format version 1, found version 2",
        ),
        (16, &[0xff; 8], "at byte 16: expected at most"),
        (
            40,
            &[0],
            "at byte 40: expected a string table between byte 88",
        ),
        (
            44,
            &[0xff; 4],
            "at byte 40: expected a string table between byte 88",
        ),
        (
            48,
            &[9],
            "at byte 48: expected a counter mode from 1 to 5, found 9",
        ),
        (49, &[0], "at byte 49: expected granularity 1 or 2, found 0"),
        (
            56,
            &[0xff; 8],
            "at byte 56: expected package 0 between byte 90 and",
        ),
        (64, &[90], "at byte 64: expected package 1 between byte"),
        (blob, &[1, 0, 0, 0], "at byte 90: expected a package of"),
        (
            blob + 4,
            &[200],
            "at byte 94: expected package name: one of 8 strings, found string 200",
        ),
        (
            blob + 8,
            &[200],
            "at byte 98: expected package path: one of 8 strings, found string 200",
        ),
        (
            blob + 12,
            &[200],
            "at byte 102: expected module path: one of 8 strings, found string 200",
        ),
        (
            blob + 40,
            &[0xff; 4],
            "expected 4 bytes of function offsets, found",
        ),
        (
            blob + 44,
            &[0, 0, 0, 0],
            "at byte 134: expected function 0 between byte",
        ),
        (
            blob + 44,
            &[0xff, 0xff, 0, 0],
            "at byte 134: expected function 0 between byte",
        ),
        (blob + 56, &[0xff, 0x7f], "bytes to the end"),
        (size - 14, &[0x7f], "expected at most 2 units, found 127"),
        (
            blob + 8,
            &[8],
            "at byte 98: expected package path: one of 8 strings, found string 8",
        ),
        (
            blob + 48,
            &[0, 0, 0, 0],
            "at byte 138: expected function 1 between byte",
        ),
    ];
    for (at, bytes, expected) in cases {
        let found = meta_error(*at, bytes);
        assert!(found.contains(expected), "byte {at} = {bytes:x?}: {found}");
    }
}

#[test]
fn a_short_meta_data_file_says_where_it_ends() {
    let (_, file) = samples::meta_of(&samples::blobs(), CounterMode::Set);
    for cut in 0..56 {
        assert!(MetaFile::parse(file[..cut].to_vec()).is_err(), "{cut}");
    }
    assert!(
        MetaFile::parse(Vec::new())
            .err()
            .unwrap()
            .to_string()
            .contains("0 bytes to the end")
    );
    // Cut inside the last package: the first one is still there.
    let (meta, damages) = MetaFile::parse(file[..file.len() - 1].to_vec()).unwrap();
    assert!(meta.packages[0].is_some() && meta.packages[1].is_none() && damages.len() == 1);
}

#[test]
fn made_up_lines_are_damage() {
    let mut builder = super::meta_writer::PackageBuilder::new(b"m", b"m", b"m");
    builder.add(&samples::function("last", &[unit(1 << 22, 1)]));
    let (_, file) = samples::meta_of(&[builder.finish()], CounterMode::Set);
    assert_eq!(MetaFile::parse(file).unwrap().1, []);
    let mut builder = super::meta_writer::PackageBuilder::new(b"m", b"m", b"m");
    builder.add(&samples::function("f", &[unit(u32::MAX, 1)]));
    let (_, file) = samples::meta_of(&[builder.finish()], CounterMode::Set);
    let (_, damages) = MetaFile::parse(file).unwrap();
    assert_eq!(damages[0].damage.expected, "lines up to 4194304");
}

#[test]
fn functions_that_share_bytes_cannot_blow_up() {
    // Ten thousand offsets to one function with many units would decode to millions.
    let mut builder = super::meta_writer::PackageBuilder::new(b"m", b"m", b"");
    let units: Vec<_> = (0..2000).map(|line| unit(line, 1)).collect();
    for _ in 0..2000 {
        builder.add(&samples::function("f", &[]));
    }
    builder.add(&samples::function("big", &units));
    let mut blob = builder.finish();
    let at = 44 + 4 * 2000;
    let big: [u8; 4] = blob[at..at + 4].try_into().unwrap();
    for i in 0..2000 {
        blob[44 + 4 * i..48 + 4 * i].copy_from_slice(&big);
    }
    let (_, file) = samples::meta_of(&[blob], CounterMode::Set);
    let (_, damages) = MetaFile::parse(file).unwrap();
    assert!(
        damages[0].damage.expected.starts_with("at most"),
        "{damages:?}"
    );
}

#[test]
fn each_number_of_a_counter_file_is_checked() {
    let meta = sample_meta(CounterMode::Atomic);
    let functions = vec![(0, 0, vec![1]), (0, 1, vec![1, 2, 3]), (1, 0, vec![4, 5])];
    let good = samples::counters(meta.hash, Flavor::Uleb, &functions);
    let records = good.len() - FOOTER - (4 + 6 + 5);
    let arguments = 48 + u32::from_le_bytes(good[40..44].try_into().unwrap()) as usize;
    let said = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        read(&meta, &file)
            .1
            .map(|p| p.to_string())
            .unwrap_or_default()
    };
    let cases: &[(usize, &[u8], &str)] = &[
        (
            0,
            b"\x7fELF",
            "f at byte 0: expected the magic 00 63 77 6d of a counter file",
        ),
        (
            4,
            &[9],
            "f at byte 4: expected format version 1, found version 9; its counters are left out",
        ),
        (8, &[0xaa], "f at byte 8: expected meta-data hash"),
        (24, &[7], "f at byte 24: expected flavor 1 or 2"),
        (32, &[9], "expected "),
        (40, &[0xff; 4], "expected 4294967295 bytes of string table"),
        (44, &[0xff; 4], "expected 4294967295 bytes of arguments"),
        (48, &[0x7f], "expected "),
        (
            arguments,
            &[0xff, 0xff, 0xff, 0xff, 0xf],
            "expected 1 bytes of argument value, found 0 bytes to the end",
        ),
        (
            good.len() - 8,
            &[2],
            "expected 1 segments, as there are, found 2",
        ),
        (
            records,
            &[0],
            "expected a function with at least one unit, found 0 units; the 0 functions before",
        ),
        (
            records + 1,
            &[3],
            "expected one of 2 packages, found package 3; 1 of 3 functions are left out",
        ),
        (
            records + 2,
            &[3],
            "expected one of 3 functions of package 0, found function 3; 1 of 3",
        ),
        (
            records + 4,
            &[2],
            "expected 3 units of function 1 of package 0, found 2; 2 of 3 functions are left out",
        ),
        (
            records + 4,
            &[9],
            "expected counters of a function, found the end of the file; the 1 functions before",
        ),
        (
            records + 6,
            &[0],
            "expected 1 units of function 0 of package 0, found 3; 1 of 3",
        ),
        (
            records + 10,
            &[1, 0, 0],
            "expected each function once, found function 0 of package 0 again; the 2 functions before",
        ),
        (
            good.len() - 16,
            &[1],
            "expected a footer (00 63 77 6d) at the end",
        ),
        (
            good.len() - 8,
            &[0],
            "expected at least one segment, found 0",
        ),
    ];
    for (at, bytes, expected) in cases {
        let found = said(*at, bytes);
        assert!(found.contains(expected), "byte {at} = {bytes:x?}: {found}");
    }
}

#[test]
fn a_function_twice_in_a_segment_is_taken_once() {
    let meta = sample_meta(CounterMode::Count);
    let bytes = samples::counters(meta.hash, Flavor::Uleb, &[(0, 0, vec![1]), (0, 0, vec![5])]);
    let (counters, problem) = read(&meta, &bytes);
    assert_eq!(counters.get(0, 0), Some(&[1][..]));
    assert!(
        problem
            .unwrap()
            .to_string()
            .contains("expected each function once, found function 0")
    );
}

#[test]
fn a_huge_count_ends_at_the_end_of_the_file() {
    let meta = sample_meta(CounterMode::Count);
    for flavor in FLAVORS {
        let mut out = CounterWriter::new(meta.hash, flavor);
        out.segment(&Default::default());
        out.function(7, 0, &[1]);
        let mut bytes = out.finish();
        let record = FILE_HEADER + 16 + 4;
        let huge: &[u8] = match flavor {
            Flavor::Uleb => &[0xff, 0xff, 0xff, 0x7f],
            _ => &[0x7f, 0xff, 0xff, 0x7f],
        };
        bytes[record..record + 4].copy_from_slice(huge);
        let (_, problem) = read(&meta, &bytes);
        assert!(problem.is_some(), "{flavor:?}");
    }
}

#[test]
fn several_segments_add_up() {
    for flavor in FLAVORS {
        let meta = sample_meta(CounterMode::Count);
        let mut out = CounterWriter::new(meta.hash, flavor);
        for n in 1..=3 {
            out.segment(&Default::default());
            out.function(0, 1, &[n, 0, 300]);
            out.function(0, 0, &[1]);
        }
        let bytes = out.finish();
        assert_eq!(CounterFile::parse(&bytes).unwrap().segments, Some(3));
        let (counters, problem) = read(&meta, &bytes);
        assert_eq!(problem, None);
        assert_eq!(counters.get(0, 1), Some(&[6, 0, 900][..]));
        assert_eq!(counters.get(0, 0), Some(&[3][..]));
    }
}

#[test]
fn one_bad_record_in_a_later_segment_loses_only_itself() {
    for flavor in FLAVORS {
        let meta = sample_meta(CounterMode::Count);
        let mut out = CounterWriter::new(meta.hash, flavor);
        for _ in 0..3 {
            out.segment(&Default::default());
            out.function(7, 0, &[1, 2, 3]);
            out.function(0, 0, &[1]);
        }
        let (counters, problem) = read(&meta, &out.finish());
        assert_eq!(counters.get(0, 0), Some(&[3][..]), "{flavor:?}");
        let problem = problem.unwrap();
        assert_eq!(problem.effect, "3 of 6 functions are left out");
        assert_eq!(problem.expected, "one of 2 packages");
    }
}

#[test]
fn a_bad_record_in_a_segment_of_another_length_stops_the_reading() {
    let meta = sample_meta(CounterMode::Count);
    let good = samples::counters(meta.hash, Flavor::Uleb, &[(7, 0, vec![1]), (0, 0, vec![1])]);
    for stated in [1u8, 3] {
        let mut bytes = good.clone();
        bytes[32] = stated;
        let (counters, problem) = read(&meta, &bytes);
        assert_eq!(counters.get(0, 0), None);
        assert_eq!(
            problem.unwrap().effect,
            "the 0 functions before are used, what follows is left out"
        );
    }
}

/// Go's writer states, for a later segment, the functions of all segments so far, and pads to four
/// bytes of the segment rather than of the file.
#[test]
fn segments_as_gos_writer_appends_them() {
    let meta = sample_meta(CounterMode::Count);
    let mut bytes = samples::counters(
        meta.hash,
        Flavor::Uleb,
        &[(0, 0, vec![1]), (1, 0, vec![1, 1])],
    );
    let start = bytes.len();
    assert_ne!(
        start % 4,
        0,
        "the second segment must not begin at a multiple of 4"
    );
    bytes.extend(3u64.to_le_bytes());
    bytes.extend(2u32.to_le_bytes());
    bytes.extend(2u32.to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    assert_eq!((bytes.len() - start) % 4, 0);
    bytes.extend([1, 0, 0, 7]);
    bytes.extend([0, b'c', b'w', b'm', 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let (counters, problem) = read(&meta, &bytes);
    assert_eq!(problem, None);
    assert_eq!(counters.get(0, 0), Some(&[8][..]));
    assert_eq!(counters.get(1, 0), Some(&[1, 1][..]));
}

#[test]
fn sums_stop_at_the_top_and_say_so() {
    let meta = sample_meta(CounterMode::Count);
    let bytes = samples::counters(meta.hash, Flavor::Uleb, &[(0, 0, vec![u32::MAX])]);
    let (mut counters, _) = read(&meta, &bytes);
    assert!(!counters.overflowed());
    let _ = add_bytes(&meta, &mut counters, &bytes, Path::new("f"));
    assert!(counters.overflowed());
    assert_eq!(counters.get(0, 0), Some(&[u32::MAX][..]));
    // It stays known when the sums of threads are put together.
    let (mut sum, _) = read(&meta, &bytes);
    sum.merge(&counters, meta.mode);
    assert!(sum.overflowed());
    assert_eq!(sum.get(0, 0), Some(&[u32::MAX][..]));
}

/// Counters are added in blocks of eight and one by one; both must know their mode and their top.
#[test]
fn blocks_of_eight_add_up_as_single_counters_do() {
    let patterns: [(u32, u32); 6] = [(0, 0), (0, 5), (7, 0), (1, 1), (200, 100), (u32::MAX, 5)];
    for flavor in FLAVORS {
        for (before, now) in patterns {
            for (mode, expected, overflow) in [
                (CounterMode::Set, u32::from(before != 0 || now != 0), false),
                (
                    CounterMode::Count,
                    before.saturating_add(now),
                    before.checked_add(now).is_none(),
                ),
            ] {
                let meta = sample_meta(mode);
                let write = |n| samples::counters(meta.hash, flavor, &[(0, 2, vec![n; 12])]);
                let (mut counters, _) = read(&meta, &write(before));
                assert_eq!(
                    add_bytes(&meta, &mut counters, &write(now), Path::new("f")),
                    None
                );
                let about = format!("{flavor:?} {mode} {before} {now}");
                assert_eq!(counters.get(0, 2), Some(&[expected; 12][..]), "{about}");
                assert_eq!(counters.overflowed(), overflow, "{about}");
            }
        }
        // One of a block is enough.
        let meta = sample_meta(CounterMode::Count);
        let mut first = vec![0; 12];
        first[0] = u32::MAX;
        let write = |c| samples::counters(meta.hash, flavor, &[(0, 2, c)]);
        let (mut counters, _) = read(&meta, &write(first));
        let _ = add_bytes(&meta, &mut counters, &write(vec![1; 12]), Path::new("f"));
        assert!(counters.overflowed(), "{flavor:?}");
    }
}

/// Numbers that do not fit are damage wherever they stand: eight bytes before the end of the file or
/// more, where they are decoded in another way.
#[test]
fn numbers_that_do_not_fit_are_damage_everywhere() {
    let meta = sample_meta(CounterMode::Count);
    let good = samples::counters(
        meta.hash,
        Flavor::Uleb,
        &[(0, 2, vec![1; 12]), (0, 0, vec![1])],
    );
    let first = good.len() - FOOTER - (3 + 12) - (3 + 1);
    let too_large: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x1f];
    let too_long: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
    for wrong in [too_large, too_long] {
        for at in [first + 2, first + 3, first + 9, good.len() - FOOTER - 1] {
            let mut bytes = good[..at].to_vec();
            bytes.extend(wrong);
            bytes.extend(&good[at + 1..]);
            let problem = read(&meta, &bytes).1.unwrap();
            assert_eq!(problem.offset, Some(at as u64), "{wrong:x?}");
            assert_eq!(problem.severity, Severity::Error);
        }
    }
}

#[test]
fn a_layout_has_a_place_for_every_counter() {
    let layout = Layout::new(&sample_meta(CounterMode::Set));
    assert_eq!((layout.functions(), layout.counters()), (4, 18));
}

#[test]
fn a_missing_footer_is_where_it_should_be() {
    let meta = sample_meta(CounterMode::Set);
    let good = samples::counters(meta.hash, Flavor::Uleb, &[(0, 0, vec![1])]);
    let offset = |change: usize| {
        let mut file = good.clone();
        file[good.len() - change] ^= 1;
        read(&meta, &file).1.unwrap().offset.unwrap()
    };
    assert_eq!(offset(FOOTER), (good.len() - FOOTER) as u64);
    assert_eq!(offset(8), (good.len() - 8) as u64);
    let mut two = good.clone();
    two[good.len() - 8] = 2;
    let problem = read(&meta, &two).1.unwrap();
    assert_eq!(problem.offset, Some(good.len() as u64 - 8));
}

#[test]
fn arguments_are_read_back() {
    let meta = sample_meta(CounterMode::Set);
    let bytes = samples::counters(meta.hash, Flavor::Uleb, &[]);
    let segment = CounterFile::parse(&bytes).unwrap().first_segment().unwrap();
    assert_eq!(segment.program_arguments(), [&b"/bin/prog"[..], b"x"]);
    assert_eq!(segment.argument("GOOS"), Some(&b"linux"[..]));
    assert_eq!(segment.argument("GOARCH"), None);
}

#[test]
fn what_gos_tool_passes_over_is_told() {
    let d = Directory::new(CounterMode::Set, &[vec![(0, 0, vec![1])]]);
    let other = "0123456789abcdef0123456789abcdef";
    let write = |name: &str, bytes: &[u8]| fs::write(d.path().join(name), bytes).unwrap();
    write(&format!("covcounters.{other}.1.2"), b"x");
    write(&format!("tmp.covmeta.{other}123"), b"");
    write(&format!("covcounters.{other}.x.2"), b"x");
    write("covmeta.", b"x");
    write("covmeta.a b", b"x");
    let odd = std::ffi::OsStr::from_bytes(b"covmeta.\xff\xfe");
    fs::write(d.path().join(odd), b"x").unwrap();
    write("covcounters.a b.1.2", b"x");
    write("covcounters..1.2", b"x");
    write(&format!("covcounters.{other}.+1.2"), b"x");
    write(&format!("tmp.covcounters.{other}.1.2"), b"");
    write("coverage.out", b"mode: set\n");
    fs::create_dir(d.path().join("empty")).unwrap();
    fs::create_dir(d.path().join("sub")).unwrap();
    write(&format!("sub/covmeta.{other}"), b"x");
    let second = Directory::new(CounterMode::Set, &[]);
    let scanned = scan(&[d.path(), second.path()]).unwrap();
    assert_eq!((scanned.pods.len(), scanned.pods[0].counters.len()), (1, 1));
    let found: Vec<(String, &str)> = scanned
        .problems
        .iter()
        .map(|p| {
            (
                p.file.file_name().unwrap().to_string_lossy().into_owned(),
                p.found.as_str(),
            )
        })
        .collect();
    let unfinished = "a temporary one: the process died while writing, or could not write";
    assert_eq!(
        found,
        [
            ("covcounters..1.2".into(), "another name"),
            (format!("covcounters.{other}.+1.2"), "another name"),
            (format!("covcounters.{other}.1.2"), "none"),
            (format!("covcounters.{other}.x.2"), "another name"),
            ("covcounters.a b.1.2".into(), "another name"),
            ("covmeta.".into(), "another name"),
            ("covmeta.a b".into(), "another name"),
            ("covmeta.\u{fffd}\u{fffd}".into(), "another name"),
            ("sub".into(), "1 in a sub-directory"),
            (format!("tmp.covcounters.{other}.1.2"), unfinished),
            (format!("tmp.covmeta.{other}123"), unfinished),
        ]
    );
}

#[test]
fn two_meta_data_files_of_one_name_must_be_the_same() {
    let first = Directory::new(CounterMode::Set, &[]);
    let second = Directory::new(CounterMode::Set, &[]);
    let dirs = [first.path(), second.path()];
    assert_eq!(scan(&dirs).unwrap().problems, []);
    let mut bytes = fs::read(second.meta()).unwrap();
    bytes[100] ^= 1;
    fs::write(second.meta(), bytes).unwrap();
    let problems = scan(&dirs).unwrap().problems;
    assert_eq!((problems.len(), problems[0].offset), (1, Some(100)));
    assert_eq!(problems[0].effect, "the first one is used");
}

#[test]
fn a_missing_directory_is_an_error_that_names_it() {
    let error = scan(&["/no/such"]).unwrap_err().to_string();
    assert!(error.starts_with("cannot list /no/such: "), "{error}");
}

fn request(command: Command, inputs: &[&Path]) -> Request {
    Request {
        command,
        inputs: inputs.iter().map(|p| p.to_path_buf()).collect(),
        packages: None,
        output: None,
        combine_programs: false,
        live: false,
        json: false,
        command_line: "test".into(),
    }
}

fn printed(request: &Request) -> (String, Vec<Problem>) {
    let mut out = Vec::new();
    let outcome = covdata::run(request, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), outcome.problems)
}

#[test]
fn a_bad_counter_file_loses_only_itself() {
    let run = vec![(0, 0, vec![1])];
    let d = Directory::new(CounterMode::Atomic, &[run.clone(), run]);
    d.write(1, b"");
    let (text, problems) = printed(&request(Command::Percent, &[d.path()]));
    assert_eq!(
        text,
        "\tm/p\t\tcoverage: 5.6% of statements\n\tm/q\t\tcoverage: 0.0% of statements\n"
    );
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .file
            .ends_with(format!("covcounters.{}.1.17", hex(&d.hash)))
    );
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_loses_only_itself() {
    // A directory's symlink reads as an error for every user, root included.
    let d = Directory::new(CounterMode::Atomic, &[vec![(0, 0, vec![1])]]);
    std::os::unix::fs::symlink(
        "/",
        d.path().join(format!("covcounters.{}.9.9", hex(&d.hash))),
    )
    .unwrap();
    let (text, problems) = printed(&request(Command::Pkglist, &[d.path()]));
    assert_eq!((text.as_str(), problems.len()), ("m/p\nm/q\n", 0));
    let (_, problems) = printed(&request(Command::Percent, &[d.path()]));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].expected, "a readable file");
}

#[test]
fn builds_of_two_modes_clash_in_a_profile_only() {
    let (a, b) = (
        Directory::new(CounterMode::Set, &[]),
        Directory::new(CounterMode::Atomic, &[]),
    );
    let dirs = [a.path(), b.path()];
    let target = a.path().join("out.txt");
    let profile = Request {
        output: Some(target.clone()),
        ..request(Command::Textfmt, &dirs)
    };
    let error = covdata::run(&profile, &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("counter mode clash while reading meta-data file "),
        "{error}"
    );
    assert!(!target.exists(), "nothing half done is left");
    assert_eq!(printed(&request(Command::Percent, &dirs)).1, []);
}

#[test]
fn merge_and_intersect_over_several_builds() {
    let run = |p, f, c: &[u32]| vec![(p, f, c.to_vec())];
    let a = Directory::new(
        CounterMode::Count,
        &[run(0, 1, &[1, 0, 2]), run(0, 2, &[9; 12])],
    );
    let b = Directory::new(
        CounterMode::Count,
        &[run(0, 1, &[5, 1, 0]), run(1, 0, &[0, 1])],
    );
    let out = tempfile::tempdir().unwrap();
    let rewrite = |command, name: &str| {
        let target = out.path().join(name);
        let r = Request {
            output: Some(target.clone()),
            ..request(command, &[a.path(), b.path()])
        };
        assert_eq!(printed(&r).1, []);
        let profile = out.path().join("profile");
        let textfmt = Request {
            output: Some(profile.clone()),
            ..request(Command::Textfmt, &[&target])
        };
        printed(&textfmt);
        let text = fs::read_to_string(profile).unwrap();
        let counts: Vec<String> = text
            .lines()
            .skip(1)
            .map(|l| l.rsplit(' ').next().unwrap().to_string())
            .collect();
        // One, Three (in the order of their lines 3, 300, 302 then 70000 comes last), Twelve, lit.
        [1, 2, 15, 17, 3].map(|i| counts[i].clone()).join(" ")
    };
    assert_eq!(rewrite(Command::Merge, "m"), "6 2 1 1 9");
    assert_eq!(rewrite(Command::Subtract, "s"), "0 2 0 0 9");
    assert_eq!(rewrite(Command::Intersect, "i"), "1 0 0 0 0");
}

#[test]
fn a_build_without_counters_is_no_data() {
    let d = Directory::new(CounterMode::Set, &[]);
    let pods = scan(&[d.path()]).unwrap().pods;
    let (document, problems) = document::of_pods(&pods, "t", Options::default()).unwrap();
    assert_eq!(document, None);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].found.starts_with("none: the process started"));
}

#[test]
fn a_document_has_every_package_of_the_build() {
    let d = Directory::new(
        CounterMode::Atomic,
        &[vec![(0, 1, vec![7, 0, 1])], vec![(0, 1, vec![1, 0, 0])]],
    );
    let pods = scan(&[d.path()]).unwrap().pods;
    let (document, problems) = document::of_pods(&pods, "t", Options::default()).unwrap();
    let document = document.unwrap();
    assert_eq!(problems, []);
    assert_eq!(document.totals.statements, Ratio::new(2, 23));
    let three = &document.packages[0].files[0].functions[1];
    assert_eq!((three.name.as_str(), three.units[0].count), ("Three", 8));
    let p = &document.packages[0];
    assert_eq!([&*p.path, &*p.name, &*p.module], ["m/p", "p", "m"]);
    assert_eq!(p.files[0].name, "m/p/f.go");
    assert_eq!(document.packages[1].path, "m/q");
}

/// The same package built from other source.
fn other_version(d: &Directory) -> Directory {
    let mut p = super::meta_writer::PackageBuilder::new(b"m/p", b"p", b"m");
    p.add(&samples::function("One", &[unit(4, 1)]));
    let (hash, meta) = samples::meta_of(&[p.finish()], CounterMode::Atomic);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("covmeta.{}", hex(&hash))), meta).unwrap();
    let other = Directory { folder, hash };
    let counters = samples::counters(hash, Flavor::Uleb, &[(0, 0, vec![3])]);
    let name = format!("covcounters.{}.1.99", hex(&hash));
    fs::write(other.path().join(name), counters).unwrap();
    assert_ne!(d.hash, other.hash);
    other
}

#[test]
fn versions_of_a_package_are_never_summed() {
    let old = Directory::new(
        CounterMode::Atomic,
        &[vec![(0, 0, vec![1]), (1, 0, vec![1, 1])]],
    );
    let new = other_version(&old);
    let pods = scan(&[old.path(), new.path()]).unwrap().pods;
    let (document, _) = document::of_pods(&pods, "t", Options::default()).unwrap();
    let document = document.unwrap();
    assert_eq!(document.skew.len(), 1);
    assert_eq!(
        (
            document.skew[0].package.as_str(),
            document.skew[0].others.len()
        ),
        ("m/p", 1)
    );
    // The newest build's version is used (99 > 17), the other package is still there.
    let units: Vec<_> = document.packages[0].files[0].functions[0]
        .units
        .iter()
        .map(|u| (u.start_line, u.count))
        .collect();
    assert_eq!(units, [(4, 3)]);
    assert_eq!(document.packages[1].totals.statements, Ratio::new(5, 5));

    let prefers_old = |p: &super::meta::Package| p.function_count() == 3;
    let options = Options {
        prefer: Some(&prefers_old),
        ..Options::default()
    };
    let (document, _) = document::of_pods(&pods, "t", options).unwrap();
    assert_eq!(document.unwrap().packages[0].files[0].functions.len(), 3);
}

#[test]
fn modes_clash_in_a_document_unless_relaxed() {
    let run = vec![(0, 0, vec![1])];
    let a = Directory::new(CounterMode::Set, std::slice::from_ref(&run));
    let b = Directory::new(CounterMode::Count, &[run]);
    let pods = scan(&[a.path(), b.path()]).unwrap().pods;
    assert!(document::of_pods(&pods, "t", Options::default()).is_err());
    let relaxed = Options {
        modes: ModePolicy::Relaxed,
        ..Options::default()
    };
    let (document, _) = document::of_pods(&pods, "t", relaxed).unwrap();
    let document = document.unwrap();
    assert_eq!(document.mode, CounterMode::Count);
    assert_eq!(document.packages[0].files[0].functions[0].units[0].count, 2);
}
