//! Go's module data in memory: where the runtime itself looks up its counters.
//!
//! ```text
//! pclntab      magic u32 | 0 | 0 | code alignment u8: 1, 2 or 4 | size of a pointer u8: 8 | …
//! moduledata   words of 64 bits; word 0 points at the pclntab
//! ```
//! Upstream: `src/runtime/symtab.go` (`moduledata`, `pcHeader`), `src/cmd/link/internal/ld/pcln.go`,
//! `src/cmd/link/internal/ld/data.go` (the order of sections).

use std::ops::Range;

use crate::memory::{self, Memory, MemoryError, half_at, word_at};

/// Where the words of interest are, by what the function table begins with.
struct Shape {
    /// First word of the function table.
    magic: u32,
    /// Pointer, length and capacity of six slices: length and capacity are equal.
    slices: [usize; 6],
    /// Start and end of the text, the data with pointers or without, and so on, in the order in which
    /// the linker lays them out: each a pair of words.
    text: usize,
    data: usize,
    bss: usize,
    noptrbss: usize,
    /// Start and end of the counters, within the end of noptrbss.
    counters: usize,
}

/// A row for each shape. Measured: Go 1.21.13, 1.22.10, 1.23.9, 1.24.11, 1.25.5, 1.26.6, 1.27.3.
const SHAPES: [Shape; 1] = [
    // Go 1.20 to 1.27: src/runtime/symtab.go, src/debug/gosym/pclntab.go (go120magic).
    Shape {
        magic: 0xffff_fff1,
        slices: [1, 4, 7, 10, 13, 16],
        text: 22,
        data: 26,
        bss: 28,
        noptrbss: 30,
        counters: 32,
    },
];

/// Words of the module data that are read.
const WORDS: usize = 36;

/// The addresses that the module data name, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModuleData {
    /// Where the module data lie.
    pub(crate) at: u64,
    /// Where the function table lies.
    pub(crate) table: u64,
    /// Variables with pointers that start as zero.
    pub(crate) bss: Range<u64>,
    /// Variables without pointers that start as zero.
    pub(crate) noptrbss: Range<u64>,
    /// The counters; empty when nothing is instrumented.
    pub(crate) counters: Range<u64>,
}

/// What is wrong with what should be module data.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// It cannot be read.
    Memory(MemoryError),
    /// It is something else.
    Implausible(&'static str),
    /// The function table is of a version of Go that is not known.
    Magic(u32),
}

impl From<MemoryError> for Wrong {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

impl ModuleData {
    /// Reads the module data at `at` of an image that takes the addresses `span`.
    pub(crate) fn read(memory: &dyn Memory, at: u64, span: &Range<u64>) -> Result<Self, Wrong> {
        let words = memory::words::<WORDS>(memory, at)?;
        let inside = |range: &Range<u64>| {
            range.start <= range.end && range.start >= span.start && range.end <= span.end
        };
        let table = words[0];
        if !inside(&(table..table.saturating_add(8))) {
            return Err(Wrong::Implausible("a pointer to the function table"));
        }
        let header = memory::words::<1>(memory, table)?[0];
        let shape = shape(header)?;
        for at in shape.slices {
            let [start, length, capacity] = [words[at], words[at + 1], words[at + 2]];
            if length != capacity || !inside(&(start..start.saturating_add(length))) {
                return Err(Wrong::Implausible("tables of functions"));
            }
        }
        let range = |at: usize| words[at]..words[at + 1];
        let [text, data, bss] = [shape.text, shape.data, shape.bss].map(range);
        let [noptrbss, counters] = [shape.noptrbss, shape.counters].map(range);
        let ranges = [&text, &data, &bss, &noptrbss, &counters];
        let ordered = ranges.iter().all(|r| inside(r))
            && data.end <= bss.start
            && bss.end <= noptrbss.start
            && noptrbss.start <= counters.start
            && counters.end <= noptrbss.end;
        if !ordered || text.is_empty() {
            return Err(Wrong::Implausible("the order of text, data and counters"));
        }
        Ok(Self {
            at,
            table,
            bss,
            noptrbss,
            counters,
        })
    }

    /// The addresses of the module data that are read.
    pub(crate) fn words(&self) -> Range<u64> {
        self.at..self.at.saturating_add(8 * WORDS as u64)
    }

    /// The words that hold counters. The linker does not align their start; each counter is a word
    /// of 32 bits at a multiple of 4, so an odd start is rounded up.
    ///
    /// (The runtime up to Go 1.26 does not, and fails at exit: golang issue 58936.)
    pub(crate) fn counter_words(&self) -> Range<u64> {
        let start = self.counters.start.saturating_add(3) & !3;
        let end = self.counters.end - self.counters.end % 4;
        start..end.max(start)
    }
}

/// The shape that belongs to the first 8 bytes of a function table.
fn shape(header: u64) -> Result<&'static Shape, Wrong> {
    let bytes = header.to_le_bytes();
    let magic = half_at(&bytes, 0).unwrap_or_default();
    let like_a_table = matches!(bytes[4..], [0, 0, 1 | 2 | 4, 8]);
    match SHAPES.iter().find(|shape| shape.magic == magic) {
        Some(shape) if like_a_table => Ok(shape),
        // All magics since Go 1.2 end so.
        None if like_a_table && magic >> 4 == 0xfff_ffff => Err(Wrong::Magic(magic)),
        _ => Err(Wrong::Implausible("the start of a function table")),
    }
}

/// The places in `bytes`, which begin at the address `start`, where a function table may begin; also
/// one of an unknown version.
pub(crate) fn tables(bytes: &[u8], start: u64) -> Vec<u64> {
    let words = bytes.chunks_exact(8).enumerate();
    let tables = words.filter(|(_, word)| {
        let header = word_at(word, 0).unwrap_or_default();
        // The first test is the one that the vectoriser can do.
        header >> 56 == 8 && !matches!(shape(header), Err(Wrong::Implausible(_)))
    });
    tables.map(|(i, _)| start + 8 * i as u64).collect()
}

/// The places in `bytes`, which begin at the address `start`, where a pointer to one of `tables`
/// stands. `tables` are in ascending order.
pub(crate) fn pointers(bytes: &[u8], start: u64, tables: &[u64]) -> Vec<u64> {
    let (Some(first), Some(last)) = (tables.first(), tables.last()) else {
        return Vec::new();
    };
    let words = bytes.chunks_exact(8).enumerate();
    let pointers = words.filter(|(_, word)| {
        let word = word_at(word, 0).unwrap_or_default();
        (first..=last).contains(&&word) && tables.binary_search(&word).is_ok()
    });
    pointers.map(|(i, _)| start + 8 * i as u64).collect()
}
