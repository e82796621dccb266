//! Meta-data of packages, wherever they may begin in a run of bytes.
//!
//! The linker puts the blob of each instrumented package somewhere into the read-only data, with
//! nothing that names it once symbols are stripped. Its header ([`meta`](super::meta)) is what it is
//! recognised by; its hash then proves it.

use super::meta::BLOB_HEADER;

/// Blobs begin at multiples of this many bytes.
pub const ALIGNMENT: usize = 4;

/// The length of the blob that may begin here, by its header; `bytes` has to hold that, `left` says
/// how many bytes there are from here on.
#[must_use]
#[inline]
pub fn claimed_length(bytes: &[u8], left: u64) -> Option<usize> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let strings = word(36)?;
    let functions = u64::from(word(40)?);
    let length = u64::from(word(0)?);
    // Each function takes an offset and at least 4 bytes.
    let least = BLOB_HEADER as u64 + 8 * functions + u64::from(strings);
    let plausible = strings > 0
        && functions > 0
        && (least..=left).contains(&length)
        && [4, 8, 12]
            .into_iter()
            .all(|at| word(at).is_some_and(|index| index < strings))
        && word(32)? == 0;
    plausible.then_some(length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_told_from_noise() {
        let mut header = vec![0; BLOB_HEADER];
        let mut put = |at: usize, n: u32| header[at..at + 4].copy_from_slice(&n.to_le_bytes());
        put(0, 200);
        put(4, 2);
        put(8, 1);
        put(12, 3);
        put(36, 5);
        put(40, 3);
        assert_eq!(claimed_length(&header, 200), Some(200));
        assert_eq!(claimed_length(&header, 199), None, "it has to fit");
        assert_eq!(claimed_length(&header[..43], 200), None);
        header[12] = 5;
        assert_eq!(claimed_length(&header, 200), None, "no such string");
        assert_eq!(claimed_length(&[0; BLOB_HEADER], 1000), None);
        assert_eq!(claimed_length(&[0xff; BLOB_HEADER], 1000), None);
    }
}
