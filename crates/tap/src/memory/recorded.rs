//! The parts of a process's memory that a look at its counters needs, kept in a file: the same look can
//! be had again later, elsewhere, and without any rights.
//!
//! Version 1; all numbers little-endian.
//!
//! ```text
//! recording  "covtapmm" | version u32 = 1 | pid u32 | start in clock ticks u64
//!            | start in nanoseconds since 1970 i64 | program file | name | pieces n u32 | n x piece
//! file       device major u32, minor u32 | inode u64, 0 for none
//! name, path length u32 | bytes
//! piece      address u64 | length u32 | rights u8: 1 read, 2 write, 4 execute | place in its file u64
//!            | file | path | runs until the length is reached
//! run        zero bytes u32 | other bytes u32 | those bytes
//! ```
//! Pieces are in the order of their addresses and do not overlap. An empty piece says that a region is
//! there without its bytes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use covtap_profile::go::Damage;

use super::{Memory, MemoryError};
use crate::clock::Moment;
use crate::maps::{FileId, Region};
use crate::target::{Command, NoFiles, Process, Target};

const MAGIC: &[u8; 8] = b"covtapmm";
const VERSION: u32 = 1;
/// No recording holds more memory than this, in bytes: a few bytes of runs can claim a lot.
const MOST_MEMORY: u64 = 1 << 28;
/// Addresses of processes lie below, and places in files.
const ADDRESSES_END: u64 = 1 << 63;
/// Zero bytes that are worth a run of their own.
const RUN: usize = 64;

/// Memory of a process, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    target: Target,
    started: Moment,
    /// The program's own name; may be empty.
    name: Vec<u8>,
    main: Option<FileId>,
    pieces: Vec<Piece>,
}

/// One run of addresses and what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    region: Region,
    bytes: Vec<u8>,
}

impl Recording {
    /// Of nothing yet.
    pub(crate) fn new(
        target: Target,
        started: Moment,
        name: Vec<u8>,
        main: Option<FileId>,
    ) -> Self {
        Self {
            target,
            started,
            name,
            main,
            pieces: Vec::new(),
        }
    }

    /// Adds `bytes` at `address`, a part of `region`. Where something is recorded already, that stays.
    pub(crate) fn add(&mut self, region: &Region, address: u64, bytes: Vec<u8>) {
        let end = address + bytes.len() as u64;
        let mut gaps = Vec::new();
        let mut at = address;
        let known = self.pieces.iter().map(|p| (p.region.start, p.region.end));
        for (known_start, known_end) in known.chain([(end, end)]) {
            let until = known_start.min(end);
            if at < until {
                gaps.push(at..until);
            }
            at = at.max(known_end);
        }
        if bytes.is_empty() {
            gaps.push(address..address);
        }
        self.pieces.extend(gaps.into_iter().map(|gap| Piece {
            bytes: bytes[(gap.start - address) as usize..(gap.end - address) as usize].to_vec(),
            region: Region {
                offset: region.offset + (gap.start - region.start),
                start: gap.start,
                end: gap.end,
                ..region.clone()
            },
        }));
        self.pieces.sort_by_key(|p| (p.region.start, p.region.end));
    }

    /// The process that was recorded.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// The process, as it was.
    pub(crate) fn into_process(self) -> Process {
        Process {
            target: self.target,
            started: self.started,
            command: Command::Known(self.name),
            regions: self.pieces.iter().map(|p| p.region.clone()).collect(),
            main: self.main,
            files: Box::new(NoFiles),
            // The kernel would not read the others either.
            memory: Box::new(Recorded {
                pieces: self
                    .pieces
                    .into_iter()
                    .filter(|p| p.region.readable)
                    .collect(),
            }),
        }
    }

    /// The recording as a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.target.pid.to_le_bytes());
        out.extend(self.target.start_ticks.to_le_bytes());
        // Until the year 2262.
        let started = i64::try_from(self.started.0).unwrap_or(i64::MAX);
        out.extend(started.to_le_bytes());
        put_file(&mut out, self.main);
        put_text(&mut out, &self.name);
        out.extend((self.pieces.len() as u32).to_le_bytes());
        for Piece { region, bytes } in &self.pieces {
            out.extend(region.start.to_le_bytes());
            out.extend((bytes.len() as u32).to_le_bytes());
            let rights = [region.readable, region.writable, region.executable];
            out.push((0..).zip(rights).map(|(bit, on)| u8::from(on) << bit).sum());
            out.extend(region.offset.to_le_bytes());
            put_file(&mut out, region.file);
            put_text(&mut out, region.path.as_os_str().as_bytes());
            put_runs(&mut out, bytes);
        }
        out
    }

    /// Reads a file back.
    ///
    /// # Errors
    /// [`Damage`]: it is no recording, or a damaged one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damage> {
        let mut input = Input { bytes, at: 0 };
        if input.take(MAGIC.len(), "the mark of a recording")? != MAGIC {
            return Err(Damage::new(0, "a recording of covtap", "other bytes"));
        }
        let version = input.u32()?;
        if version != VERSION {
            return Err(Damage::new(8, "version 1", version.to_string()));
        }
        let target = Target {
            pid: input.u32()?,
            start_ticks: input.u64()?,
        };
        let started = Moment(input.u64()?.cast_signed().into());
        let main = input.file()?;
        let name = input.text()?;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut total = 0;
        for _ in 0..input.u32()? {
            let at = input.at;
            let piece = input.piece(&mut total)?;
            let end = pieces.last().map_or(0, |p| p.region.end);
            if piece.region.start < end {
                let found = format!("one at {:#x}", piece.region.start);
                return Err(Damage::new(at, format!("a piece behind {end:#x}"), found));
            }
            pieces.push(piece);
        }
        if input.at != bytes.len() {
            return Err(Damage::new(input.at, "the end", "more bytes"));
        }
        Ok(Self {
            target,
            started,
            name,
            main,
            pieces,
        })
    }
}

fn put_file(out: &mut Vec<u8>, file: Option<FileId>) {
    let (device, inode) = file.map_or(((0, 0), 0), |f| (f.device, f.inode));
    out.extend(device.0.to_le_bytes());
    out.extend(device.1.to_le_bytes());
    out.extend(inode.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text);
}

/// Zero bytes, other bytes, and so on: most of what is recorded is zero.
fn put_runs(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let zeros = rest.iter().take_while(|b| **b == 0).count();
        let (_, after) = rest.split_at(zeros);
        // Up to the next zeros that are worth it.
        let mut length = 0;
        while length < after.len() {
            let run = after[length..].iter().take_while(|b| **b == 0).count();
            if run >= RUN || (run > 0 && length + run == after.len()) {
                break;
            }
            length += run
                + after[length + run..]
                    .iter()
                    .take_while(|b| **b != 0)
                    .count();
        }
        out.extend((zeros as u32).to_le_bytes());
        put_text(out, &after[..length]);
        rest = &after[length..];
    }
}

/// A recording that is being read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], Damage> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or_else(|| {
            let found = format!("{} bytes to the end", rest.len());
            Damage::new(self.at, format!("{length} bytes of {what}"), found)
        })?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, "a number")?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<Vec<u8>, Damage> {
        let length = self.u32()? as usize;
        self.take(length, "a name").map(<[u8]>::to_vec)
    }

    fn file(&mut self) -> Result<Option<FileId>, Damage> {
        let device = (self.u32()?, self.u32()?);
        let inode = self.u64()?;
        Ok((inode != 0).then_some(FileId { device, inode }))
    }

    /// A piece; `total` is how much memory the pieces take together.
    fn piece(&mut self, total: &mut u64) -> Result<Piece, Damage> {
        let at = self.at;
        let start = self.u64()?;
        let length = self.u32()?;
        *total += u64::from(length);
        if *total > MOST_MEMORY || start >= ADDRESSES_END {
            return Err(Damage::new(
                at,
                format!("at most {MOST_MEMORY} bytes of memory below {ADDRESSES_END:#x}"),
                format!("{length} more at {start:#x}"),
            ));
        }
        let [rights] = self.array()?;
        let at = self.at;
        let offset = self.u64()?;
        if offset >= ADDRESSES_END {
            let expected = format!("a place in a file below {ADDRESSES_END:#x}");
            return Err(Damage::new(at, expected, format!("{offset:#x}")));
        }
        let file = self.file()?;
        let path = OsString::from_vec(self.text()?).into();
        let region = Region {
            start,
            end: start + u64::from(length),
            readable: rights & 1 != 0,
            writable: rights & 2 != 0,
            executable: rights & 4 != 0,
            offset,
            file,
            path,
        };
        let length = length as usize;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let at = self.at;
            let zeros = self.u32()? as usize;
            let others = self.u32()? as usize;
            let left = length - bytes.len();
            if zeros > left || others > left - zeros || zeros + others == 0 {
                let found = format!("{zeros} and {others}");
                return Err(Damage::new(
                    at,
                    format!("runs of up to {left} bytes"),
                    found,
                ));
            }
            let others = self.take(others, "a run")?;
            bytes.resize(bytes.len() + zeros, 0);
            bytes.extend(others);
        }
        Ok(Piece { region, bytes })
    }
}

/// The memory of a recording.
#[derive(Debug)]
struct Recorded {
    pieces: Arc<[Piece]>,
}

impl Memory for Recorded {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        let mut got = 0;
        let first = self.pieces.partition_point(|p| p.region.end <= address);
        for piece in &self.pieces[first..] {
            let at = address.saturating_add(got as u64);
            let from = at.checked_sub(piece.region.start);
            let Some(from) = from.and_then(|from| piece.bytes.get(from as usize..)) else {
                break;
            };
            let length = from.len().min(into.len() - got);
            into[got..got + length].copy_from_slice(&from[..length]);
            got += length;
            if got == into.len() {
                return Ok(());
            }
        }
        if into.is_empty() {
            return Ok(());
        }
        Err(MemoryError::Unmapped {
            address,
            wanted: into.len(),
            got,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(start: u64, end: u64) -> Region {
        Region {
            start,
            end,
            readable: true,
            writable: false,
            executable: true,
            offset: 0x1000,
            file: Some(FileId {
                device: (8, 1),
                inode: 5,
            }),
            path: "/a\n\u{1f600}".into(),
        }
    }

    fn empty() -> Recording {
        let target = Target {
            pid: 7,
            start_ticks: 9,
        };
        Recording::new(target, Moment(11), b"name".to_vec(), None)
    }

    fn read(recording: &Recording, address: u64, length: usize) -> Option<Vec<u8>> {
        let process = recording.clone().into_process();
        let mut bytes = vec![0xee; length];
        process.memory.read(address, &mut bytes).ok()?;
        Some(bytes)
    }

    #[test]
    fn what_overlaps_is_kept_once() {
        let mut recording = empty();
        let region = region(0x100, 0x200);
        recording.add(&region, 0x100, Vec::new());
        recording.add(&region, 0x110, vec![1; 4]);
        recording.add(&region, 0x118, vec![2; 4]);
        recording.add(&region, 0x10e, vec![3; 16]);
        recording.add(&region, 0x112, vec![4; 1]);
        let pieces: Vec<_> = recording
            .pieces
            .iter()
            .map(|p| (p.region.start, p.bytes.len(), p.region.offset))
            .collect();
        assert_eq!(
            pieces,
            [
                (0x100, 0, 0x1000),
                (0x10e, 2, 0x100e),
                (0x110, 4, 0x1010),
                (0x114, 4, 0x1014),
                (0x118, 4, 0x1018),
                (0x11c, 2, 0x101c)
            ]
        );
        let all = [3, 3, 1, 1, 1, 1, 3, 3, 3, 3, 2, 2, 2, 2, 3, 3];
        assert_eq!(read(&recording, 0x10e, 16).unwrap(), all);
        assert_eq!(read(&recording, 0x113, 2).unwrap(), [1, 3]);
    }

    #[test]
    fn what_was_not_recorded_is_an_error() {
        let mut recording = empty();
        recording.add(&region(0x100, 0x200), 0x100, vec![1; 8]);
        for (address, length) in [(0xff, 1), (0xff, 4), (0x104, 5), (0x108, 1), (u64::MAX, 2)] {
            assert_eq!(read(&recording, address, length), None, "{address:#x}");
        }
        assert_eq!(read(&recording, 0x100, 0), Some(Vec::new()));
        let mut hidden = region(0x200, 0x300);
        hidden.readable = false;
        recording.add(&hidden, 0x200, vec![1; 8]);
        assert_eq!(read(&recording, 0x200, 8), None);
    }

    #[test]
    fn a_few_bytes_cannot_claim_all_memory() {
        let mut recording = empty();
        recording.add(&region(0, 1 << 29), 0, vec![0; 1 << 20]);
        let mut bytes = recording.to_bytes();
        assert!(bytes.len() < 200, "zeros take no room");
        assert_eq!(Recording::from_bytes(&bytes).unwrap(), recording);
        let length = bytes
            .windows(4)
            .position(|w| w == (1u32 << 20).to_le_bytes());
        bytes[length.unwrap() + 3] = 0x20;
        let damage = Recording::from_bytes(&bytes).unwrap_err();
        assert!(damage.expected.contains("268435456 bytes"), "{damage}");
    }

    #[test]
    fn places_that_cannot_be_are_refused() {
        let mut recording = empty();
        recording.add(&region(0x100, 0x200), 0x100, vec![1; 8]);
        let bytes = recording.to_bytes();
        for (number, expected) in [(0x100_u64, "memory below 0x8"), (0x1000, "file below 0x8")] {
            let at = bytes.windows(8).position(|w| w == number.to_le_bytes());
            let mut other = bytes.clone();
            other[at.unwrap() + 7] = 0x80;
            let damage = Recording::from_bytes(&other).unwrap_err();
            assert!(damage.expected.contains(expected), "{damage}");
        }
    }

    fn contents() -> impl Strategy<Value = Vec<u8>> {
        let run = prop_oneof![
            (1..200usize).prop_map(|n| vec![0; n]),
            proptest::collection::vec(any::<u8>(), 1..80),
        ];
        proptest::collection::vec(run, 0..6).prop_map(|runs| runs.concat())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pieces in proptest::collection::vec((contents(), 0..3u64), 0..5)) {
            let mut recording = empty();
            let mut at = 0x100;
            for (bytes, gap) in pieces {
                at += gap;
                let length = bytes.len() as u64;
                recording.add(&region(at, at + length), at, bytes);
                at += length;
            }
            prop_assert_eq!(Recording::from_bytes(&recording.to_bytes()).unwrap(), recording);
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            contents in contents(),
            change in any::<(proptest::sample::Index, u8)>(),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut recording = empty();
            recording.add(&region(0x100, 0x9000), 0x100, contents);
            let mut bytes = recording.to_bytes();
            prop_assert!(Recording::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
            let at = change.0.index(bytes.len());
            bytes[at] = change.1;
            if let Ok(read) = Recording::from_bytes(&bytes) {
                prop_assert_eq!(Recording::from_bytes(&read.to_bytes()).unwrap(), read);
            }
        }
    }
}
