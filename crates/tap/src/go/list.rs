//! The list of instrumented packages, which grows as each package is initialised.
//!
//! ```text
//! header   pointer | length | capacity                                        (a Go slice, in .bss)
//! element  blob pointer | blob length u32 | hash [16] | 4 unused | path pointer | path length
//!          | package id i64 | counter mode u8 | granularity u8 | 6 unused             (64 bytes)
//! ```
//! Upstream: `src/internal/coverage/rtcov/rtcov.go` (Go >= 1.23), `src/runtime/covermeta.go` and
//! `src/internal/coverage/rtcov` (Go <= 1.22); the same layout from Go 1.21 to 1.27.

use std::ops::Range;

use covtap_model::counter::CounterMode;
use covtap_profile::go::meta::{BLOB_HEADER, Granularity};

use crate::memory::{self, Memory, MemoryError, half_at, word_at};
use crate::target::Process;

/// Bytes of an element.
pub(super) const ELEMENT: usize = 64;
/// No program has more instrumented packages.
const MOST_PACKAGES: u64 = 1 << 16;
/// No package has more meta-data, in bytes.
const LARGEST_BLOB: u32 = 1 << 28;
/// How many slices are looked at to find the list. A program has some thousand; one that has more
/// wants to keep us busy.
const MOST_CANDIDATES: usize = 1 << 16;

/// One package, as it registered itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where its meta-data lie: absolute, or relative to the image's base.
    pub(crate) blob: u64,
    /// How long they are, in bytes.
    pub(crate) length: u32,
    pub(crate) hash: [u8; 16],
    /// The id in its functions' headers if that is fixed; -1 if it is the place in this list.
    pub(crate) id: i64,
    pub(crate) mode: CounterMode,
    pub(crate) granularity: Granularity,
}

impl Entry {
    fn parse(bytes: &[u8], span: &Range<u64>) -> Option<Self> {
        let entry = Self {
            blob: word_at(bytes, 0)?,
            length: half_at(bytes, 8)?,
            hash: *bytes.get(12..)?.first_chunk()?,
            id: word_at(bytes, 48)?.cast_signed(),
            mode: CounterMode::from_byte(*bytes.get(56)?)?,
            granularity: Granularity::from_byte(*bytes.get(57)?)?,
        };
        let end = entry.blob.checked_add(u64::from(entry.length))?;
        let fits = (BLOB_HEADER as u32..=LARGEST_BLOB).contains(&entry.length)
            && entry.blob >= span.start
            && end <= span.end;
        fits.then_some(entry)
    }
}

/// What the list holds now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// These packages, in this order. (Blobs' addresses are absolute.)
    Entries(Vec<Entry>),
    /// Its last element is being written.
    Growing { length: usize },
    /// It is something else.
    Damaged,
}

/// Reads the list whose header is at `at`; blobs have to lie in `span`.
pub(crate) fn read(process: &Process, at: u64, span: &Range<u64>) -> Result<List, MemoryError> {
    let memory = &*process.memory;
    let header = memory::words::<3>(memory, at)?;
    let [start, length, capacity] = header;
    if length == 0 {
        return Ok(List::Entries(Vec::new()));
    }
    let grew = || memory::words::<3>(memory, at).map(|now| now != header);
    let count = usize::try_from(length).unwrap_or(usize::MAX);
    if !is_slice(start, length, capacity) {
        // The three words are not written as one.
        return Ok(if grew()? {
            List::Growing { length: count }
        } else {
            List::Damaged
        });
    }
    let mut bytes = vec![0; count * ELEMENT];
    if memory.read(start, &mut bytes).is_err() {
        memory.check()?;
        return Ok(if grew()? {
            List::Growing { length: count }
        } else {
            List::Damaged
        });
    }
    let entries: Vec<Option<Entry>> = bytes
        .chunks_exact(ELEMENT)
        .map(|e| Entry::parse(e, span))
        .collect();
    Ok(match entries.iter().position(Option::is_none) {
        None => List::Entries(entries.into_iter().flatten().collect()),
        // The length is stored before the element; and a list that grew has moved.
        Some(i) if i + 1 == count || grew()? => List::Growing { length: count },
        Some(_) => List::Damaged,
    })
}

fn is_slice(start: u64, length: u64, capacity: u64) -> bool {
    start != 0
        && start.is_multiple_of(8)
        && (1..=MOST_PACKAGES).contains(&length)
        && (length..=2 * MOST_PACKAGES).contains(&capacity)
}

/// Searches the variables in `bss` for the header of the list: the one slice whose first element
/// points at meta-data with the length and hash that it states.
pub(crate) fn find(
    process: &Process,
    bss: &Range<u64>,
    span: &Range<u64>,
) -> Result<Option<u64>, MemoryError> {
    let mut found = None;
    let mut left = MOST_CANDIDATES;
    // The last two words of a piece may begin a header that ends in the next.
    process.pieces(bss, 16, |bytes, at| {
        let mut header = |i: &usize| {
            let word = |n: usize| word_at(bytes, i + 8 * n).unwrap_or_default();
            let (start, length) = (word(0), word(1));
            if left == 0 || !is_slice(start, length, word(2)) {
                return false;
            }
            left -= 1;
            process.is_readable(start, length * ELEMENT as u64)
                && begins_list(&*process.memory, start, span)
        };
        let places = (0..bytes.len().saturating_sub(16)).step_by(8);
        found = places.into_iter().find(&mut header).map(|i| at + i as u64);
        found.is_none() && left > 0
    })?;
    Ok(found)
}

fn begins_list(memory: &dyn Memory, element: u64, span: &Range<u64>) -> bool {
    let entry = memory::bytes(memory, element, ELEMENT).ok();
    let Some(entry) = entry.and_then(|bytes| Entry::parse(&bytes, span)) else {
        return false;
    };
    memory::bytes(memory, entry.blob, BLOB_HEADER).is_ok_and(|header| states(&header, &entry))
}

/// Whether a blob begins as its entry says.
pub(crate) fn states(blob: &[u8], entry: &Entry) -> bool {
    half_at(blob, 0) == Some(entry.length) && blob.get(16..32) == Some(&entry.hash[..])
}
