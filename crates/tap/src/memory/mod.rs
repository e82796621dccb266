//! The seam between covtap and the memory of a process.

pub mod live;

use std::io;

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The process has ended, or its memory is gone already (a zombie).
    #[error("the process is gone")]
    Gone,
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
}
