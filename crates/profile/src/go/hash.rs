//! The two hashes of Go's meta-data: MD5 up to Go 1.23, FNV-1a of 128 bits from Go 1.24.
//!
//! A package's meta-data hash covers its import path, name and module path and then, function by
//! function, name, file and every number of every unit as 32 bits little-endian
//! (`internal/coverage/encodemeta/encode.go`: `hashFuncDesc`). The file's hash covers the packages'
//! hashes and the words of mode and granularity (`internal/coverage/cfile/emit.go`); files written
//! by `go tool covdata` hash the hashes of the packages' *bytes* instead
//! (`cmd/covdata/metamerge.go`).

use md5::{Digest, Md5};

/// A hash that is fed piece by piece.
pub(crate) trait Hash128: Default {
    /// Feeds bytes.
    fn write(&mut self, bytes: &[u8]);
    /// Feeds a number as 32 bits little-endian.
    fn write_u32(&mut self, value: u32) {
        self.write(&value.to_le_bytes());
    }
    /// The hash of all that was fed.
    fn finish(self) -> [u8; 16];
}

impl Hash128 for Md5 {
    fn write(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn finish(self) -> [u8; 16] {
        self.finalize().into()
    }
}

/// FNV-1a, 128 bits, as Go's `hash/fnv` has it: the sum is written big-endian.
#[derive(Clone)]
pub(crate) struct Fnv(u128);

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
/// A zero byte only multiplies, so runs of zeros multiply by a power.
const PRIME_3: u128 = PRIME.wrapping_mul(PRIME).wrapping_mul(PRIME);
const PRIME_4: u128 = PRIME_3.wrapping_mul(PRIME);

impl Default for Fnv {
    fn default() -> Self {
        Self(OFFSET_BASIS)
    }
}

impl Hash128 for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }

    fn write_u32(&mut self, value: u32) {
        // Nearly all of the numbers are lines and columns: small.
        if value < 1 << 8 {
            self.0 = (self.0 ^ u128::from(value)).wrapping_mul(PRIME_4);
        } else if value < 1 << 16 {
            self.write(&[value as u8]);
            self.0 = (self.0 ^ u128::from(value >> 8)).wrapping_mul(PRIME_3);
        } else {
            self.write(&value.to_le_bytes());
        }
    }

    fn finish(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// The hash of `pieces`, one after the other.
pub(crate) fn of<'a, H: Hash128>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = H::default();
    for piece in pieces {
        hash.write(piece);
    }
    hash.finish()
}

/// 32 hexadecimal digits.
#[must_use]
pub fn hex(hash: &[u8; 16]) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_has_the_published_values() {
        // The empty string gives the offset basis; "a" and "foobar" are from the FNV test suite.
        assert_eq!(hex(&of::<Fnv>([])), "6c62272e07bb014262b821756295c58d");
        assert_eq!(
            hex(&of::<Fnv>([&b"a"[..]])),
            "d228cb696f1a8caf78912b704e4a8964"
        );
        assert_eq!(
            hex(&of::<Fnv>([&b"foo"[..], b"bar"])),
            "343e1662793c64bf6f0d3597ba446f18"
        );
    }

    #[test]
    fn md5_has_the_published_value() {
        assert_eq!(
            hex(&of::<Md5>([&b"abc"[..]])),
            "900150983cd24fb0d6963f7d28e17f72"
        );
    }

    #[test]
    fn numbers_hash_as_their_four_bytes() {
        for value in [
            0,
            1,
            0xff,
            0x100,
            0x1234,
            0xffff,
            0x1_0000,
            0x0102_0304,
            u32::MAX,
        ] {
            let mut quick = Fnv::default();
            quick.write_u32(value);
            assert_eq!(
                quick.finish(),
                of::<Fnv>([&value.to_le_bytes()[..]]),
                "{value:#x}"
            );
            let mut md5 = Md5::default();
            md5.write_u32(value);
            assert_eq!(md5.finish(), of::<Md5>([&value.to_le_bytes()[..]]));
        }
    }
}
