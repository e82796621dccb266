//! Every order in which functions may store their headers and counters while they are read.
//!
//! A read takes parts of the memory one after the other; here they end at a page boundary somewhere in
//! or between two records, or are single words in any order. Between any two parts any number of
//! stores may happen. Whatever a snapshot then says must be what was seen at the places of the
//! counters: nothing lost, nothing at a wrong place.

use std::ops::Range;
use std::sync::Arc;

use covtap_model::counter::CounterMode;
use covtap_profile::go::meta::{Function, Granularity, MetaUnit};
use covtap_profile::go::meta_writer::PackageBuilder;
use proptest::prelude::*;

use super::Build;
use super::list::Entry;
use super::snapshot::{MOST_READS, Reader, Snapshot, walk};
use crate::memory::scripted::{Scripted, Store};

/// Where the counters begin: at a place for a record, as the linker aligns them.
const START: u64 = 0x7_1000;

/// One function: where its record is, and what its header says.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// The record's first word.
    at: usize,
    units: usize,
    /// The number of its package in the header: its place in the list + 1, or fixed.
    id: u32,
    /// The package's place in the list.
    package: usize,
    function: usize,
}

/// In ascending size, at multiples of 4 words: the package's place and number are the same as small
/// counters, so that counters can be taken for headers.
const RECORDS: [Record; 3] = [
    Record {
        at: 0,
        units: 1,
        id: 1,
        package: 0,
        function: 0,
    },
    Record {
        at: 4,
        units: 2,
        id: 2,
        package: 1,
        function: 0,
    },
    Record {
        at: 12,
        units: 6,
        id: -3i32 as u32,
        package: 2,
        function: 1,
    },
];
const WORDS: usize = 24;

/// Three packages, the third with a fixed id. Many functions of few units: a counter that is taken for
/// a header has a good chance to look right.
fn build() -> Arc<Build> {
    let units: Vec<MetaUnit> = (1..=6)
        .map(|line| MetaUnit {
            start_line: line,
            start_column: 1,
            end_line: line,
            end_column: 2,
            statements: 1,
        })
        .collect();
    let package = |path: &[u8], functions: &[usize]| {
        let mut builder = PackageBuilder::new(path, b"p", b"m");
        for &count in functions {
            builder.add(&Function {
                name: b"F",
                file: b"f.go",
                literal: false,
                units: &units[..count],
            });
        }
        builder.finish()
    };
    let blobs = [
        package(b"m/a", &[1, 2, 2, 1, 1]),
        package(b"m/b", &[2, 1, 1, 2, 2]),
        package(b"m/c", &[1, 6, 2, 1]),
    ];
    let ids = [-1, -1, -3];
    let entries = blobs.iter().zip(ids).map(|(blob, id)| Entry {
        blob: 0,
        length: blob.len() as u32,
        hash: blob[16..32].try_into().unwrap(),
        id,
        mode: CounterMode::Atomic,
        granularity: Granularity::PerBlock,
    });
    Arc::new(Build::new(entries.collect(), &blobs).unwrap())
}

/// How the compiler stores.
#[derive(Clone, Copy, Debug)]
enum Stores {
    /// Word by word: `set` and `count`, and the exchanges of `atomic`.
    Single,
    /// The function's number and the first counter as one, where the function's number is constant.
    MergedWithCounter,
    /// As before, and the number of units with a fixed package id.
    MergedHeader,
}

/// All stores of one entry into a function which executes these units.
fn entry(record: Record, how: Stores, units: &[usize]) -> Vec<Store> {
    let store = |word: usize, values: &[u32]| Store {
        at: record.at + word,
        values: values.to_vec(),
    };
    let (count, function) = (record.units as u32, record.function as u32);
    let mut stores = match how {
        Stores::Single => vec![
            store(0, &[count]),
            store(1, &[record.id]),
            store(2, &[function]),
            store(3, &[1]),
        ],
        Stores::MergedWithCounter => vec![
            store(0, &[count]),
            store(1, &[record.id]),
            store(2, &[function, 1]),
        ],
        Stores::MergedHeader => vec![store(0, &[count, record.id]), store(2, &[function, 1])],
    };
    stores.extend(units.iter().map(|unit| store(3 + unit, &[1])));
    stores
}

/// Everything that a believed read showed at the places of the counters, and nothing else.
fn says_what_was_seen(snapshot: &Snapshot, seen: &[u32]) -> bool {
    let mut live = 0;
    let right = RECORDS.iter().all(|r| {
        let counters = &seen[r.at + 3..][..r.units];
        let ran = counters.iter().any(|c| *c != 0);
        live += usize::from(ran);
        snapshot.counters.get(r.package, r.function) == ran.then_some(counters)
    });
    right && snapshot.live_functions() == live && snapshot.dropped.is_empty()
}

/// All ways to say how many of `stores` were made before each of `parts`.
fn schedules(stores: usize, parts: usize, each: &mut impl FnMut(&[usize])) {
    fn next(
        made: usize,
        stores: usize,
        left: usize,
        now: &mut Vec<usize>,
        each: &mut impl FnMut(&[usize]),
    ) {
        if left == 0 {
            return each(now);
        }
        for made in made..=stores {
            now.push(made);
            next(made, stores, left - 1, now, each);
            now.pop();
        }
    }
    next(0, stores, parts, &mut Vec::new(), each);
}

/// All ways in which two threads' stores can follow one another.
fn merges(a: &[Store], b: &[Store], each: &mut impl FnMut(&[Store])) {
    fn next(a: &[Store], b: &[Store], now: &mut Vec<Store>, each: &mut impl FnMut(&[Store])) {
        if a.is_empty() && b.is_empty() {
            return each(now);
        }
        for (first, rest) in [(a, b), (b, a)] {
            let Some((store, after)) = first.split_first() else {
                continue;
            };
            now.push(store.clone());
            // Which of the two is which does not matter any more.
            if std::ptr::eq(first, a) {
                next(after, rest, now, each);
            } else {
                next(rest, after, now, each);
            }
            now.pop();
        }
    }
    next(a, b, &mut Vec::new(), each);
}

/// A page boundary before this word.
fn pages(boundary: usize) -> Vec<Range<usize>> {
    vec![0..boundary, boundary..WORDS]
}

/// Takes a snapshot of each schedule. Returns how many there were, and how often one read alone would
/// have been wrong.
fn enumerate(build: &Arc<Build>, stores: &[Store], boundary: usize, parts: usize) -> (u64, u64) {
    let (mut all, mut wrong) = (0, 0);
    schedules(stores.len(), parts, &mut |schedule| {
        let new = || Scripted::new(START, pages(boundary), stores.to_vec(), schedule.to_vec());
        let memory = new();
        let mut reader = Reader::new(memory.addresses());
        let snapshot = reader.snapshot(&memory, build).unwrap();
        assert!(
            says_what_was_seen(&snapshot, &memory.seen()),
            "boundary {boundary}, schedule {schedule:?} of {stores:?}: {snapshot:?}"
        );
        let memory = new();
        let once = read_once(build, &memory);
        wrong += u64::from(!says_what_was_seen(&once, &memory.seen()));
        all += 1;
    });
    (all, wrong)
}

/// What a reader would say who believes the first read.
fn read_once(build: &Arc<Build>, memory: &Scripted) -> Snapshot {
    use crate::memory::Memory;
    let mut bytes = vec![0; 4 * WORDS];
    memory.read(START, &mut bytes).unwrap();
    let (counters, dropped) = walk(build, START, &memory.seen());
    Snapshot {
        at: crate::clock::Moment::default(),
        counters: Arc::new(counters),
        reads: 1,
        bytes: 0,
        dropped,
        build: build.clone(),
    }
}

const HOW: [Stores; 3] = [
    Stores::Single,
    Stores::MergedWithCounter,
    Stores::MergedHeader,
];

#[test]
fn a_believed_read_of_one_function_is_right_and_a_single_one_is_not() {
    let build = build();
    let (mut all, mut wrong) = (0, 0);
    for how in HOW {
        for record in RECORDS {
            let stores = entry(record, how, &(1..record.units).collect::<Vec<_>>());
            for boundary in record.at..=record.at + 3 + record.units {
                // Three reads of two pages; from the fourth on nothing changes.
                let (more, not) = enumerate(&build, &stores, boundary, 6);
                all += more;
                wrong += not;
            }
        }
    }
    assert!(all > 20_000, "{all}");
    assert!(
        wrong > 0,
        "a single read has to fail, or this test shows nothing"
    );
}

#[test]
fn a_believed_read_of_two_threads_is_right() {
    let build = build();
    let (mut all, mut wrong) = (0, 0);
    for how in HOW {
        let a = entry(RECORDS[1], how, &[1]);
        let b = entry(RECORDS[2], how, &[3]);
        merges(&a, &b, &mut |stores| {
            for boundary in [7, 14] {
                let (more, not) = enumerate(&build, stores, boundary, 4);
                all += more;
                wrong += not;
            }
        });
    }
    assert!(all > 500_000, "{all}");
    assert!(wrong > 0);
}

#[test]
fn one_read_is_enough_when_nothing_new_ran() {
    let build = build();
    let first = entry(RECORDS[1], Stores::Single, &[]);
    let again = [5, 6, 7].map(|count| Store {
        at: RECORDS[1].at + 3,
        values: vec![count],
    });
    let stores: Vec<Store> = first.iter().cloned().chain(again).collect();
    // All of the first entry, then one more count at each read.
    let schedule = [4, 4, 4, 4, 5, 5, 6, 6].to_vec();
    let memory = Scripted::new(START, pages(6), stores, schedule);
    let mut reader = Reader::new(memory.addresses());
    for (reads, count) in [(2, 1), (1, 5), (1, 6), (1, 7)] {
        let snapshot = reader.snapshot(&memory, &build).unwrap();
        assert_eq!(snapshot.reads, reads);
        assert_eq!(snapshot.counters.get(1, 0), Some(&[count, 0][..]));
    }
}

#[test]
fn only_what_was_read_before_is_unchanged() {
    let build = build();
    let first = entry(RECORDS[1], Stores::Single, &[]);
    let again = Store {
        at: RECORDS[1].at + 3,
        values: vec![2],
    };
    let stores: Vec<Store> = first.iter().cloned().chain([again]).collect();
    // Two reads for the first snapshot, two that see the same, and then one that sees one count more.
    let schedule = [4, 4, 4, 4, 4, 4, 4, 4, 5, 5].to_vec();
    let memory = Scripted::new(START, pages(6), stores, schedule);
    let mut reader = Reader::new(memory.addresses());
    // Nothing has been accepted yet; that read is not even made.
    assert!(!reader.is_unchanged(&memory).unwrap());
    reader.snapshot(&memory, &build).unwrap();
    assert!(reader.is_unchanged(&memory).unwrap());
    assert!(reader.is_unchanged(&memory).unwrap());
    assert!(!reader.is_unchanged(&memory).unwrap());
    let snapshot = reader.snapshot(&memory, &build).unwrap();
    assert_eq!(snapshot.counters.get(1, 0), Some(&[2, 0][..]));
}

#[test]
fn a_process_that_never_rests_is_told_and_nothing_is_guessed() {
    // A word that comes and goes, as nothing in a Go program does.
    let stores: Vec<Store> = (0..MOST_READS + 1)
        .map(|i| Store {
            at: 0,
            values: vec![1 - i % 2],
        })
        .collect();
    let schedule = (0..2 * stores.len()).map(|part| part / 2).collect();
    let memory = Scripted::new(START, pages(6), stores, schedule);
    let error = Reader::new(memory.addresses()).snapshot(&memory, &build());
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&format!("in {MOST_READS} reads")), "{error}");
}

#[test]
fn cleared_counters_are_no_counters() {
    let build = build();
    let mut stores = entry(RECORDS[2], Stores::Single, &[1, 5]);
    stores.extend([3, 4, 8].map(|word| Store {
        at: RECORDS[2].at + word,
        values: vec![0],
    }));
    for boundary in 12..21 {
        let (all, _) = enumerate(&build, &stores, boundary, 4);
        assert!(all > 400);
    }
}

proptest! {
    /// The words of a page may be copied in any order.
    #[test]
    fn a_believed_read_is_right_in_whatever_order_words_are_read(
        order in Just((0..WORDS).collect::<Vec<_>>()).prop_shuffle(),
        hows in proptest::array::uniform3(0..3usize),
        shuffle in proptest::collection::vec(0..3usize, 24),
        mut schedule in proptest::collection::vec(0..20usize, 3 * WORDS),
    ) {
        let build = build();
        let mut threads: Vec<_> = RECORDS
            .iter()
            .zip(hows)
            .map(|(r, how)| entry(*r, HOW[how], &(1..r.units).rev().collect::<Vec<_>>()).into_iter())
            .collect();
        let mut stores = Vec::new();
        for thread in shuffle {
            stores.extend(threads[thread].next());
        }
        stores.extend(threads.into_iter().flatten());
        schedule.sort_unstable();
        let parts = order.into_iter().map(|word| word..word + 1).collect();
        let memory = Scripted::new(START, parts, stores, schedule);
        let mut reader = Reader::new(memory.addresses());
        for _ in 0..2 {
            let snapshot = reader.snapshot(&memory, &build).unwrap();
            prop_assert!(says_what_was_seen(&snapshot, &memory.seen()), "{snapshot:?}");
        }
    }
}
