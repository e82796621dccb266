//! Finds Go's module data in a process.
//!
//! The order of attack: what is known of the image from an earlier process; its symbols; its sections;
//! a search through its memory. Whatever shows the way, every number is checked before it is believed.

use std::ops::Range;

use super::layout::Found;
use super::module::{self, ModuleData, Wrong};
use crate::image::{Clues, Image};
use crate::memory::MemoryError;
use crate::target::Process;

/// How many places that look like function tables, or like module data, are looked at. A program has
/// one of each; one that is full of them wants to keep us busy.
const MOST_CANDIDATES: usize = 64;

/// One look for the module data of an image.
pub(super) struct Attempt<'a> {
    process: &'a Process,
    image: &'a Image,
    bias: u64,
    /// The addresses of the image.
    span: Range<u64>,
    tables_left: usize,
    module_data_left: usize,
    /// The first thing that looked like Go's and was wrong, and where.
    pub(super) wrong: Option<(Wrong, u64)>,
}

impl<'a> Attempt<'a> {
    /// A look at an image that takes the addresses `span` of a process.
    pub(super) fn new(process: &'a Process, image: &'a Image, bias: u64, span: Range<u64>) -> Self {
        Self {
            process,
            image,
            bias,
            span,
            tables_left: MOST_CANDIDATES,
            module_data_left: MOST_CANDIDATES,
            wrong: None,
        }
    }

    /// Tries one way after the other.
    pub(super) fn run(&mut self) -> Result<Option<(ModuleData, Found)>, MemoryError> {
        let image = self.image;
        let learned = image.learned().module_data;
        if let Some((at, found)) = learned
            && let Some(module_data) = self.test(self.bias.wrapping_add(at))
        {
            return Ok(Some((module_data, found)));
        }
        if let Clues::Sections { symbols, places } = &image.clues {
            if let Some(symbols) = symbols
                && let Some(module_data) = self.test(self.bias.wrapping_add(symbols.module_data))
            {
                return Ok(Some((module_data, Found::Symbols)));
            }
            let tables: Vec<_> = places.tables.iter().map(|r| self.absolute(r)).collect();
            let first: Vec<_> = places
                .module_data
                .iter()
                .map(|r| self.absolute(r))
                .collect();
            if let Some(module_data) = self.search(&tables, &first)? {
                return Ok(Some((module_data, Found::Sections)));
            }
        }
        if self.tables_left < MOST_CANDIDATES {
            // The table is where the section is, and nothing points at it.
            return Ok(None);
        }
        // Read-only parts first: only old linkers put the table beside the code.
        let loads = image.headers.loads.iter();
        let (code, data): (Vec<_>, Vec<_>) = loads.partition(|l| l.executable);
        for part in [data, code] {
            let tables: Vec<_> = part.iter().map(|l| self.absolute(&l.addresses)).collect();
            if let Some(module_data) = self.search(&tables, &[])? {
                return Ok(Some((module_data, Found::Memory)));
            }
        }
        Ok(None)
    }

    /// Whether all of the image is there to be searched: in the middle of an exec it is not.
    pub(super) fn is_whole(&self) -> bool {
        let mut loads = self.image.headers.loads.iter();
        loads.all(|l| {
            let start = self.bias.wrapping_add(l.addresses.start);
            self.process.is_readable(start, l.file_size)
        })
    }

    fn absolute(&self, range: &Range<u64>) -> Range<u64> {
        self.bias.wrapping_add(range.start)..self.bias.wrapping_add(range.end)
    }

    fn test(&mut self, at: u64) -> Option<ModuleData> {
        match ModuleData::read(&*self.process.memory, at, &self.span) {
            Ok(module_data) => Some(module_data),
            Err(why) => {
                self.wrong.get_or_insert((why, at));
                None
            }
        }
    }

    /// Searches `tables` for a function table that module data point at; those are searched for in
    /// `first`, and then in all that is writable.
    fn search(
        &mut self,
        tables: &[Range<u64>],
        first: &[Range<u64>],
    ) -> Result<Option<ModuleData>, MemoryError> {
        let process = self.process;
        let loads = self.image.headers.loads.iter().filter(|l| l.writable);
        let writable = loads.map(|l| {
            let start = self.bias.wrapping_add(l.addresses.start);
            start..start.saturating_add(l.file_size)
        });
        let places: Vec<Range<u64>> = first.iter().cloned().chain(writable).collect();
        let mut found = Ok(None);
        for range in tables {
            process.pieces(range, 0, |bytes, at| {
                let mut starts = module::tables(bytes, at);
                starts.truncate(self.tables_left);
                self.tables_left -= starts.len();
                if let Some(first) = starts.first() {
                    found = self.pointing_at(&starts, &places);
                    let nowhere = Wrong::Implausible("a pointer to the function table");
                    self.wrong.get_or_insert((nowhere, *first));
                }
                matches!(found, Ok(None)) && self.tables_left > 0
            })?;
            if !matches!(found, Ok(None)) {
                break;
            }
        }
        found
    }

    /// The module data in `places` that point at one of `starts`.
    fn pointing_at(
        &mut self,
        starts: &[u64],
        places: &[Range<u64>],
    ) -> Result<Option<ModuleData>, MemoryError> {
        let process = self.process;
        let mut found = None;
        for range in places {
            process.pieces(range, 0, |bytes, at| {
                let mut candidates = module::pointers(bytes, at, starts);
                candidates.truncate(self.module_data_left);
                self.module_data_left -= candidates.len();
                found = candidates.into_iter().find_map(|at| self.test(at));
                found.is_none() && self.module_data_left > 0
            })?;
            if found.is_some() {
                break;
            }
        }
        Ok(found)
    }
}
