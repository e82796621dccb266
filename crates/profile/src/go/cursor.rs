//! A position in a byte slice, with errors that say where.

/// What a reader expected and did not find, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: expected {expected}, found {found}")]
pub struct Damage {
    /// In bytes, from the start of the file.
    pub offset: u64,
    /// What a sound file has there.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl Damage {
    /// Damage at `offset` bytes from the start of the file.
    pub fn new(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            offset: offset as u64,
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// Reads little-endian numbers, ULEB128 numbers and byte runs, front to back.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at byte `at` of `bytes`.
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Bytes from the start of the slice.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// The next `n` bytes, which are `what`.
    pub(crate) fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], Damage> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.get(..n) else {
            return Err(Damage::new(
                self.at,
                format!("{n} bytes of {what}"),
                format!("{} bytes to the end", rest.len()),
            ));
        };
        self.at += n;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Damage> {
        let bytes = self.take(N, what)?;
        Ok(bytes
            .try_into()
            .expect("take returns as many bytes as were asked for"))
    }

    /// 16 bytes: a hash.
    pub(crate) fn hash(&mut self, what: &str) -> Result<[u8; 16], Damage> {
        self.array(what)
    }

    /// A little-endian 32-bit number.
    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, Damage> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A little-endian 64-bit number.
    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, Damage> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A ULEB128 number that fits 32 bits.
    #[inline]
    pub(crate) fn uleb(&mut self, what: &str) -> Result<u32, Damage> {
        match self.bytes.get(self.at) {
            // Nearly all numbers are below 128.
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(byte.into())
            }
            _ => self.long_uleb(what),
        }
    }

    fn long_uleb(&mut self, what: &str) -> Result<u32, Damage> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1, what)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| {
                    Damage::new(
                        start,
                        format!("{what} of at most 32 bits"),
                        value.to_string(),
                    )
                });
            }
        }
        Err(Damage::new(
            start,
            format!("{what} of at most 5 bytes"),
            "a longer ULEB128 number",
        ))
    }
}

/// Appends `value` in ULEB128.
pub(crate) fn push_uleb(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn uleb_round_trips(v in any::<u32>(), tail in proptest::collection::vec(any::<u8>(), 0..3)) {
            let mut bytes = Vec::new();
            push_uleb(&mut bytes, v);
            let end = bytes.len();
            bytes.extend(tail);
            let mut c = Cursor::new(&bytes, 0);
            prop_assert_eq!(c.uleb("n").unwrap(), v);
            prop_assert_eq!(c.offset(), end);
        }
    }

    #[test]
    fn uleb_encodings_are_the_standards() {
        let encoded = |v| {
            let mut out = Vec::new();
            push_uleb(&mut out, v);
            out
        };
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(127), [0x7f]);
        assert_eq!(encoded(128), [0x80, 1]);
        assert_eq!(encoded(624_485), [0xe5, 0x8e, 0x26]);
        assert_eq!(encoded(u32::MAX), [0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn too_large_and_too_long_and_cut_short_are_damage() {
        let err = |bytes: &[u8]| Cursor::new(bytes, 0).uleb("a number").unwrap_err();
        assert_eq!(
            err(&[0xff, 0xff, 0xff, 0xff, 0x1f]).expected,
            "a number of at most 32 bits"
        );
        assert_eq!(
            err(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).expected,
            "a number of at most 5 bytes"
        );
        assert_eq!(
            err(&[0x80, 0x80]),
            Damage::new(2, "1 bytes of a number", "0 bytes to the end")
        );
    }

    #[test]
    fn reading_past_the_end_says_where() {
        let mut c = Cursor::new(&[1, 0, 0, 0, 9], 0);
        assert_eq!(c.u32("n").unwrap(), 1);
        assert_eq!(
            c.u64("m").unwrap_err(),
            Damage::new(4, "8 bytes of m", "1 bytes to the end")
        );
        assert_eq!(Cursor::new(&[], 9).hash("h").unwrap_err().offset, 9);
    }
}
