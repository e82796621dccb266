//! The seam between covtap and the memory of a process.

pub mod live;
pub mod recorded;
#[cfg(test)]
pub(crate) mod scripted;

use std::io;

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The process has ended, or its memory is gone already (a zombie).
    #[error("the process is gone")]
    Gone,
    /// The process executes another program now: this memory is no more.
    #[error("the process executes another program now")]
    Replaced,
    /// We may not read it.
    #[error("no permission to read the memory of the process")]
    Denied,
    /// Nothing is mapped there, or not all of it.
    #[error("{wanted} bytes at {address:#x}: only {got} of them are mapped")]
    Unmapped {
        /// Where.
        address: u64,
        /// How many bytes were asked for.
        wanted: usize,
        /// How many could be read.
        got: usize,
    },
    /// Something else.
    #[error("cannot read the memory of the process: {0}")]
    Read(#[from] io::Error),
}

/// Memory of a process.
pub trait Memory {
    /// Fills `into` wholly with the bytes at `address`.
    ///
    /// # Errors
    /// [`MemoryError`]; a short read is an error, never zeros. `into` is then of no use.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError>;

    /// Whether what was read until now came from one and the same program: the process has neither
    /// ended nor executed another one since this memory was opened.
    ///
    /// # Errors
    /// [`MemoryError::Gone`] or [`MemoryError::Replaced`].
    fn check(&self) -> Result<(), MemoryError> {
        Ok(())
    }
}

/// Reads `length` bytes at `address`.
///
/// # Errors
/// As [`Memory::read`].
pub(crate) fn bytes(
    memory: &dyn Memory,
    address: u64,
    length: usize,
) -> Result<Vec<u8>, MemoryError> {
    let mut bytes = vec![0; length];
    memory.read(address, &mut bytes)?;
    Ok(bytes)
}

/// Reads `N` words of 64 bits, little-endian, at `address`.
///
/// # Errors
/// As [`Memory::read`].
pub(crate) fn words<const N: usize>(
    memory: &dyn Memory,
    address: u64,
) -> Result<[u64; N], MemoryError> {
    let mut bytes = vec![0; 8 * N];
    memory.read(address, &mut bytes)?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = word_at(bytes, 0).unwrap_or_default();
    }
    Ok(words)
}

/// The 64-bit little-endian number at byte `at`; `None` beyond the end.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

/// The 32-bit little-endian number at byte `at`; `None` beyond the end.
pub(crate) fn half_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}
