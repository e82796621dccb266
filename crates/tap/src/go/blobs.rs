//! The meta-data of packages in the read-only part of an image.

use std::fs::File;

use covtap_profile::go::meta::{BLOB_HEADER, Package};

use super::list::{Entry, STEP, states};
use crate::image::{Bytes, Image};
use crate::memory::{self, MemoryError, half_at};
use crate::target::Process;

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
            None => memory::bytes(
                &*self.process.memory,
                self.bias.wrapping_add(address),
                length,
            ),
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

    /// How many packages have meta-data in the read-only part of the image.
    pub(crate) fn count(&self) -> Result<usize, MemoryError> {
        let mut count = 0;
        let loads = &self.image.headers.loads;
        for load in loads.iter().filter(|l| !l.writable) {
            let end = load.addresses.start + load.file_size;
            let mut at = load.addresses.start.next_multiple_of(4);
            while at + BLOB_HEADER as u64 <= end {
                let length = (end - at).min(STEP + BLOB_HEADER as u64);
                let piece = self.read(at, length as usize)?;
                let last = piece.len() - BLOB_HEADER;
                for i in (0..=last).step_by(4) {
                    let left = end - at - i as u64;
                    if let Some(length) = claims_to_be_blob(&piece[i..], left)
                        && Package::parse(&self.read(at + i as u64, length)?).is_ok()
                    {
                        count += 1;
                    }
                }
                at += last as u64 / 4 * 4 + 4;
            }
        }
        Ok(count)
    }
}

/// The length of the blob that may begin here, by its header.
fn claims_to_be_blob(bytes: &[u8], left: u64) -> Option<usize> {
    let word = |at| half_at(bytes, at);
    let strings = word(36)?;
    let functions = u64::from(word(40)?);
    let length = u64::from(word(0)?);
    // Offsets of the functions, and at least 8 bytes for each.
    let least = BLOB_HEADER as u64 + 12 * functions + u64::from(strings);
    let plausible = strings > 0
        && functions > 0
        && (least..=left).contains(&length)
        && [4, 8, 12]
            .into_iter()
            .all(|at| word(at).is_some_and(|i| i < strings))
        && word(32)? == 0;
    plausible.then_some(length as usize)
}
