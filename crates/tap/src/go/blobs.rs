//! The meta-data of packages in the read-only part of an image.

use std::collections::BTreeSet;
use std::fs::File;

use covtap_profile::go::blobs::{ALIGNMENT, claimed_length};
use covtap_profile::go::meta::{BLOB_HEADER, Package};

use super::list::{Entry, states};
use crate::image::{Bytes, Image};
use crate::memory::{self, MemoryError};
use crate::target::{PIECE, Process};

/// Bytes of a piece that are read again with the next: a header that begins in them is not all there.
const OVERLAP: usize = BLOB_HEADER.next_multiple_of(8);

/// Bytes that may be read in vain, because something looks like a blob's header; a program that has
/// more such wants to keep us busy.
const WASTE: u64 = 1 << 20;

/// The read-only bytes of an image in a process: from the file where it can be, so that no pages of
/// the process are touched.
pub(crate) struct Source<'a> {
    pub(crate) process: &'a Process,
    pub(crate) image: &'a Image,
    pub(crate) file: Option<&'a File>,
    pub(crate) bias: u64,
}

impl Source<'_> {
    /// `length` bytes at `address`, relative to the image's base.
    fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, MemoryError> {
        let in_file = self.file.and_then(|file| {
            let offset = self.image.headers.file_offset(address, length as u64)?;
            file.bytes(offset, length)
        });
        match in_file {
            Some(bytes) => Ok(bytes),
            None => {
                let address = self.bias.wrapping_add(address);
                // A length that is only claimed must not make us allocate.
                if !self.process.is_readable(address, length as u64) {
                    return Err(MemoryError::Unmapped {
                        address,
                        wanted: length,
                        got: 0,
                    });
                }
                memory::bytes(&*self.process.memory, address, length)
            }
        }
    }

    /// The meta-data of these packages, whose addresses are relative to the base; `Err(Ok(i))` when
    /// those of package `i` are something else.
    pub(crate) fn blobs(
        &self,
        entries: &[Entry],
    ) -> Result<Vec<Vec<u8>>, Result<usize, MemoryError>> {
        let blob = |(i, entry): (usize, &Entry)| {
            let blob = self.read(entry.blob, entry.length as usize).map_err(Err)?;
            if states(&blob, entry) {
                Ok(blob)
            } else {
                Err(Ok(i))
            }
        };
        entries.iter().enumerate().map(blob).collect()
    }

    /// How many packages have meta-data in the read-only part of the image; `None` when that cannot be
    /// said, because too much in it looks like some.
    pub(crate) fn count(&self) -> Result<Option<usize>, MemoryError> {
        let loads = || self.image.headers.loads.iter().filter(|l| !l.writable);
        let size: u64 = loads().map(|l| l.file_size).fold(0, u64::saturating_add);
        let mut found = Blobs {
            places: BTreeSet::new(),
            bytes_left: Some(size.saturating_add(WASTE)),
        };
        for load in loads() {
            let start = load.addresses.start;
            let end = start.saturating_add(load.file_size);
            let Some(file) = self.file else {
                let range = self.bias.wrapping_add(start)..self.bias.wrapping_add(end);
                self.process.pieces(&range, OVERLAP as u64, |bytes, at| {
                    self.find_in(bytes, at.wrapping_sub(self.bias), end, &mut found);
                    true
                })?;
                continue;
            };
            let mut at = 0;
            while at < load.file_size {
                let length = PIECE.min(load.file_size - at);
                let bytes = file.bytes(load.offset + at, length as usize);
                // The end of a file that is shorter than it says.
                let Some(bytes) = bytes else { break };
                self.find_in(&bytes, start + at, end, &mut found);
                at += if at + length == load.file_size {
                    length
                } else {
                    length - OVERLAP as u64
                };
            }
        }
        Ok(found.bytes_left.map(|_| found.places.len()))
    }

    /// Adds the places of the blobs that begin in `bytes`, which lie at `start` in a segment that ends
    /// at `end`.
    fn find_in(&self, bytes: &[u8], start: u64, end: u64, found: &mut Blobs) {
        for i in (0..(bytes.len() + 1).saturating_sub(BLOB_HEADER)).step_by(ALIGNMENT) {
            let at = start.wrapping_add(i as u64);
            let Some(length) = claimed_length(&bytes[i..], end.saturating_sub(at)) else {
                continue;
            };
            found.bytes_left = found.bytes_left.and_then(|n| n.checked_sub(length as u64));
            if found.bytes_left.is_none() {
                return;
            }
            let blob = self.read(at, length);
            if blob.is_ok_and(|blob| Package::parse(&blob).is_ok()) {
                found.places.insert(at);
            }
        }
    }
}

/// Blobs that were found.
struct Blobs {
    places: BTreeSet<u64>,
    /// How much more may be read to see whether it is one; `None` when that was not enough.
    bytes_left: Option<u64>,
}
