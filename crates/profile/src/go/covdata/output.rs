//! Output files of the commands.

use std::path::Path;

use super::Error;
use crate::file::write_whole;

/// Writes `bytes` to `path`, whole or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_whole(path, bytes).map_err(|source| Error::Write {
        path: path.to_path_buf(),
        source,
    })
}
