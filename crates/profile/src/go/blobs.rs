//! Meta-data of packages, wherever they may begin in a run of bytes.
//!
//! The linker puts the blob of each instrumented package somewhere into the read-only data, with
//! nothing that names it once symbols are stripped. Its header ([`meta`](super::meta)) is what it is
//! recognised by; its hash then proves it.

use super::cursor::push_uleb;
use super::meta::BLOB_HEADER;

/// Blobs begin at multiples of this many bytes.
pub const ALIGNMENT: usize = 4;

/// The length of the blob that may begin here, by its header and, as far as `bytes` show it, by what
/// follows. `bytes` have to hold the header; `left` says how many bytes there are from here on.
///
/// A package without functions has meta-data too: it registers itself like any other.
#[must_use]
pub fn claimed_length(bytes: &[u8], left: u64) -> Option<usize> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let strings = word(36)?;
    let functions = u64::from(word(40)?);
    let length = u64::from(word(0)?);
    let table = BLOB_HEADER as u64 + 4 * functions;
    // A count and at least one byte for each string, at least 4 bytes for each function.
    let least = table + 1 + u64::from(strings) + 4 * functions;
    let plausible = strings > 0
        && (least..=left).contains(&length)
        // Nothing but its names.
        && (functions > 0 || strings <= 4)
        && [4, 8, 12]
            .into_iter()
            .all(|at| word(at).is_some_and(|index| index < strings))
        // Of a hash each half of a half is as good as never zero; of other things often.
        && [16, 20, 24, 28].into_iter().all(|at| word(at) != Some(0))
        && word(32)? == 0
        && begins_strings(bytes, usize::try_from(table).ok()?, strings);
    plausible.then_some(length as usize)
}

/// Whether a table of this many strings, the first of which is empty, may be at `at`: it is, or it is
/// not in `bytes`.
fn begins_strings(bytes: &[u8], at: usize, strings: u32) -> bool {
    let mut start = Vec::new();
    push_uleb(&mut start, strings);
    start.push(0);
    bytes
        .get(at..)
        .and_then(|rest| rest.get(..start.len()))
        .is_none_or(|found| found == start)
}

#[cfg(test)]
mod tests {
    use super::super::meta::{Function, MetaUnit};
    use super::super::meta_writer::PackageBuilder;
    use super::*;

    #[test]
    fn a_header_is_told_from_noise() {
        let units = [MetaUnit {
            start_line: 1,
            start_column: 1,
            end_line: 2,
            end_column: 2,
            statements: 1,
        }];
        let mut builder = PackageBuilder::new(b"m/p", b"p", b"m");
        let empty = PackageBuilder::new(b"m/p", b"p", b"m").finish();
        for name in [b"F", b"G"] {
            builder.add(&Function {
                name,
                file: b"f.go",
                literal: false,
                units: &units,
            });
        }
        let two = builder.finish();
        for blob in [&empty, &two] {
            let length = blob.len();
            let left = length as u64;
            assert_eq!(claimed_length(blob, left), Some(length));
            assert_eq!(claimed_length(blob, left + 9), Some(length));
            assert_eq!(claimed_length(blob, left - 1), None, "it has to fit");
            // What cannot be seen may be right.
            assert_eq!(claimed_length(&blob[..BLOB_HEADER], left), Some(length));
            assert_eq!(claimed_length(&blob[..BLOB_HEADER - 1], left), None);
            let table = BLOB_HEADER + if length == two.len() { 8 } else { 0 };
            let never = [
                (4, 200),
                (8, 200),
                (12, 200),
                (32, 1),
                (36, 0),
                (36, 200),
                (43, 1),
                (table, 100),
                (table + 1, 1),
            ];
            for (at, byte) in never {
                let mut other = blob.clone();
                other[at] = byte;
                assert_eq!(claimed_length(&other, left), None, "{byte} at {at}");
            }
            for word in [16, 20, 24, 28] {
                let mut other = blob.clone();
                other[word..word + 4].fill(0);
                assert_eq!(claimed_length(&other, left), None);
            }
        }
        assert_eq!(claimed_length(&[0; BLOB_HEADER], 1000), None);
        assert_eq!(claimed_length(&[0xff; BLOB_HEADER], 1000), None);
        let mut many = empty;
        many[36] = 5;
        many[BLOB_HEADER] = 5;
        assert_eq!(claimed_length(&many, 1000), None, "names of what?");
    }
}
