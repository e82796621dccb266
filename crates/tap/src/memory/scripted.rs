//! Memory that changes while it is read, by a script: for tests of what may happen between the parts
//! of a read.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::{Memory, MemoryError};

/// Words that are stored as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    /// Which word.
    pub(crate) at: usize,
    /// What is stored there and behind it.
    pub(crate) values: Vec<u32>,
}

/// Words of memory at an address. A read takes them in parts, and before each part some more stores
/// have been made.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: u64,
    words: RefCell<Vec<u32>>,
    stores: Vec<Store>,
    /// The parts of each read, in the order in which they are taken: words.
    parts: Vec<Range<usize>>,
    /// How many stores have been made before each part of the reads; all of them after the last.
    schedule: Vec<usize>,
    taken: Cell<usize>,
    made: Cell<usize>,
    /// What the last read saw.
    seen: RefCell<Vec<u32>>,
}

impl Scripted {
    /// Zeros at `address`, one for each word of `parts`.
    pub(crate) fn new(
        address: u64,
        parts: Vec<Range<usize>>,
        stores: Vec<Store>,
        schedule: Vec<usize>,
    ) -> Self {
        let length = parts.iter().map(|p| p.end).max().unwrap_or(0);
        Self {
            address,
            words: RefCell::new(vec![0; length]),
            stores,
            parts,
            schedule,
            taken: Cell::new(0),
            made: Cell::new(0),
            seen: RefCell::new(vec![0; length]),
        }
    }

    /// What the last read saw.
    pub(crate) fn seen(&self) -> Vec<u32> {
        self.seen.borrow().clone()
    }

    /// The addresses of all words.
    pub(crate) fn addresses(&self) -> Range<u64> {
        self.address..self.address + 4 * self.words.borrow().len() as u64
    }

    /// Makes stores until `count` are made.
    pub(crate) fn make(&self, count: usize) {
        let mut words = self.words.borrow_mut();
        while self.made.get() < count.min(self.stores.len()) {
            let store = &self.stores[self.made.get()];
            words[store.at..][..store.values.len()].copy_from_slice(&store.values);
            self.made.set(self.made.get() + 1);
        }
    }
}

impl Memory for Scripted {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        assert_eq!(address, self.address, "all is read at once");
        let mut seen = self.seen.borrow_mut();
        for part in &self.parts {
            let next = self.schedule.get(self.taken.get());
            self.make(*next.unwrap_or(&self.stores.len()));
            self.taken.set(self.taken.get() + 1);
            seen[part.clone()].copy_from_slice(&self.words.borrow()[part.clone()]);
        }
        for (bytes, word) in into.chunks_exact_mut(4).zip(seen.iter()) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }
}
