//! The counter file `covcounters.<hash>.<pid>.<nanoseconds>`: what one process executed.
//!
//! Version 1, the same from Go 1.20 to 1.27 (`internal/coverage/defs.go`,
//! `internal/coverage/decodecounter`). Header and footer are little-endian.
//!
//! ```text
//! file     00 63 77 6d | version u32 = 1 | hash of the meta-data [16]
//!          | flavor u8: 1 raw, 2 uleb | big-endian u8 | 6 bytes of padding | segments
//! segment  functions u64 | string table length u32 | arguments length u32
//!          | string table | arguments: uleb count, then for each: uleb key, uleb value (strings)
//!          | padding to a multiple of 4 | functions | footer
//! function units n, package number, function number, n counters: each a uleb, or a raw u32 in the
//!          byte order that the header names
//! footer   00 63 77 6d | 4 bytes of padding | segments so far u32 | 4 bytes of padding
//! ```
//!
//! A runtime writes one segment, and only functions that ran.

use covtap_model::counter::CounterMode;
use fearless_simd::{Level, dispatch};

use super::cursor::{Cursor, Damage};

/// First bytes of a counter file, and of each footer.
pub const MAGIC: [u8; 4] = [0, b'c', b'w', b'm'];
/// The only version there is.
pub const VERSION: u32 = 1;
/// Bytes of the file header.
pub const FILE_HEADER: usize = 32;
/// Bytes of a footer.
pub const FOOTER: usize = 16;

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// ULEB128: what runtimes write.
    Uleb,
    /// 32 bits, least significant byte first.
    RawLittle,
    /// 32 bits, most significant byte first.
    RawBig,
}

/// An opened counter file: header checked, segments not yet read.
#[derive(Debug)]
pub struct CounterFile<'a> {
    bytes: &'a [u8],
    /// The hash of the meta-data that the counters belong to.
    pub hash: [u8; 16],
    /// How its numbers are written.
    pub flavor: Flavor,
    /// How many segments the last footer states; `None` when the footer is missing: the file was
    /// cut short.
    pub segments: Option<u32>,
    /// What a missing footer looks like.
    pub cut_short: Option<Damage>,
}

impl<'a> CounterFile<'a> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Damage`] when the header is unusable. A missing footer is not an error here: what stands
    /// before the cut can be read, and [`CounterFile::read`] says where it ends.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        let mut c = Cursor::new(bytes, 0);
        let magic = c.take(4, "a counter file header")?;
        if magic != MAGIC {
            return Err(Damage::new(
                0,
                "the magic 00 63 77 6d of a counter file",
                format!("{magic:02x?}"),
            ));
        }
        let version = c.u32("version")?;
        if version != VERSION {
            return Err(Damage::new(
                4,
                "format version 1",
                format!("version {version}"),
            ));
        }
        let hash = c.hash("meta-data hash")?;
        let flavor = match *c.take(2, "flavor and byte order")? {
            [2, _] => Flavor::Uleb,
            [1, 0] => Flavor::RawLittle,
            [1, 1] => Flavor::RawBig,
            ref other => {
                return Err(Damage::new(
                    24,
                    "flavor 1 or 2 and byte order 0 or 1",
                    format!("{other:?}"),
                ));
            }
        };
        c.take(6, "padding")?;
        let (segments, cut_short) = match footer(bytes) {
            Ok(segments) => (Some(segments), None),
            Err(damage) => (None, Some(damage)),
        };
        Ok(Self {
            bytes,
            hash,
            flavor,
            segments,
            cut_short,
        })
    }

    /// The preamble of the first segment: who wrote the file.
    ///
    /// # Errors
    /// [`Damage`] when the preamble is unusable.
    pub fn first_segment(&self) -> Result<Segment<'a>, Damage> {
        Segment::parse(self.bytes, FILE_HEADER)
    }

    /// Reads all segments, front to back: counters are added into the slots that `sink` names.
    ///
    /// Returns what of the file could not be used.
    pub fn read(&self, mode: CounterMode, sink: &mut impl Sink) -> Reading {
        // The decoder below is compiled once for each set of instructions: shifting bits by a
        // variable number is what it does most, and newer processors do that in one step.
        dispatch!(Level::new(), _simd => self.read_in(mode, sink))
    }

    #[inline(always)]
    fn read_in(&self, mode: CounterMode, sink: &mut impl Sink) -> Reading {
        let set = mode == CounterMode::Set;
        match (self.flavor, set) {
            (Flavor::Uleb, true) => self.read_as::<Uleb, true>(sink),
            (Flavor::Uleb, false) => self.read_as::<Uleb, false>(sink),
            (Flavor::RawLittle, true) => self.read_as::<RawLittle, true>(sink),
            (Flavor::RawLittle, false) => self.read_as::<RawLittle, false>(sink),
            (Flavor::RawBig, true) => self.read_as::<RawBig, true>(sink),
            (Flavor::RawBig, false) => self.read_as::<RawBig, false>(sink),
        }
    }

    #[inline(always)]
    fn read_as<N: Number, const SET: bool>(&self, sink: &mut impl Sink) -> Reading {
        let mut reading = Reading::default();
        let mut at = FILE_HEADER;
        let mut segments = 0;
        // Functions of earlier segments: Go's writer states the sum (see `Segment::functions`).
        let mut before = 0;
        loop {
            let segment = match Segment::parse(self.bytes, at) {
                Ok(segment) => segment,
                Err(damage) => {
                    reading.stopped = Some(damage);
                    break;
                }
            };
            sink.segment();
            let walk = Walk {
                bytes: self.end_of_records(),
                start: segment.records,
                functions: segment.functions,
                before,
            };
            let end = walk.read::<N, SET>(sink, &mut reading);
            let Some(end) = end else { break };
            before = segment.functions;
            segments += 1;
            at = end + FOOTER;
            if at >= self.bytes.len() {
                if let Some(stated) = self.segments.filter(|stated| *stated != segments) {
                    let at = self.bytes.len() - FOOTER + 8;
                    let expected = format!("{segments} segments, as there are");
                    reading.stopped = Some(Damage::new(at, expected, stated.to_string()));
                }
                break;
            }
        }
        if reading.stopped.is_none() {
            reading.stopped = self.cut_short.clone();
        }
        reading
    }

    /// Records never reach into the last footer.
    fn end_of_records(&self) -> &'a [u8] {
        match self.cut_short {
            None => &self.bytes[..self.bytes.len() - FOOTER],
            Some(_) => self.bytes,
        }
    }
}

/// The number of segments that the footer at the end of the file states.
fn footer(bytes: &[u8]) -> Result<u32, Damage> {
    let damage = |at, found: String| Damage::new(at, "a footer (00 63 77 6d) at the end", found);
    let Some(at) = bytes
        .len()
        .checked_sub(FOOTER)
        .filter(|at| *at >= FILE_HEADER)
    else {
        return Err(damage(
            bytes.len(),
            format!("a file of {} bytes", bytes.len()),
        ));
    };
    let mut c = Cursor::new(bytes, at);
    let magic = c.take(4, "footer")?;
    if magic != MAGIC {
        return Err(damage(at, format!("{magic:02x?}")));
    }
    c.u32("footer")?;
    match c.u32("number of segments")? {
        0 => Err(Damage::new(at + 8, "at least one segment", "0")),
        n => Ok(n),
    }
}

/// What is known of a segment before its functions are read.
#[derive(Debug)]
pub struct Segment<'a> {
    /// How many functions it states. In a second segment Go's writer (`encodecounter`, Go 1.20 to
    /// 1.27) adds those of the segments before; reading allows for both.
    functions: u64,
    strings: Vec<&'a [u8]>,
    arguments: Vec<(u32, u32)>,
    records: usize,
}

impl<'a> Segment<'a> {
    fn parse(bytes: &'a [u8], at: usize) -> Result<Self, Damage> {
        let mut c = Cursor::new(bytes, at);
        let functions = c.u64("number of functions")?;
        let strings_len = c.u32("string table length")? as usize;
        let arguments_len = c.u32("arguments length")? as usize;
        let strings_at = c.offset();
        c.take(strings_len, "string table")?;
        let arguments_at = c.offset();
        c.take(arguments_len, "arguments")?;
        let records = c.offset();

        let mut c = Cursor::new(&bytes[..arguments_at], strings_at);
        let count = c.uleb("number of strings")? as usize;
        // No room is made for a number that is only claimed.
        let mut strings = Vec::new();
        for _ in 0..count {
            let length = c.uleb("string length")? as usize;
            strings.push(c.take(length, "a string")?);
        }

        let mut c = Cursor::new(&bytes[..records], arguments_at);
        let count = c.uleb("number of arguments")? as usize;
        let mut arguments = Vec::new();
        for _ in 0..count {
            let at = c.offset();
            let pair = (c.uleb("argument name")?, c.uleb("argument value")?);
            if pair.0.max(pair.1) as usize >= strings.len() {
                return Err(Damage::new(
                    at,
                    format!("one of {} strings", strings.len()),
                    format!("{pair:?}"),
                ));
            }
            arguments.push(pair);
        }
        Ok(Self {
            functions,
            strings,
            arguments,
            records,
        })
    }

    /// The value of an argument such as `argc`, `argv0`, `GOOS`.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&'a [u8]> {
        let text = |i: u32| self.strings[i as usize];
        self.arguments
            .iter()
            .find(|(k, _)| text(*k) == name.as_bytes())
            .map(|(_, v)| text(*v))
    }

    /// The program's arguments, the program itself first; empty when they were not recorded.
    #[must_use]
    pub fn program_arguments(&self) -> Vec<&'a [u8]> {
        let argc = self
            .argument("argc")
            .and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok())
            .unwrap_or(0);
        // A damaged argc must not make us look for a billion names.
        (0..argc.min(self.arguments.len()))
            .map(|i| self.argument(&format!("argv{i}")).unwrap_or_default())
            .collect()
    }
}

/// Elements behind a slot.
pub const PADDING: usize = 8;

/// Where counters go.
pub trait Sink {
    /// A segment begins; within one, each function comes once.
    fn segment(&mut self);

    /// The slot for the counters of a function, and [`PADDING`] elements more, which stay as they are:
    /// so whole blocks can be added to. `None` when the
    /// meta-data have no such function: the counters are skipped.
    fn slot(&mut self, record: Record) -> Option<&mut [u32]>;

    /// Why there was no slot.
    fn refusal(&self, record: Record) -> Refusal;

    /// A sum reached `u32::MAX`.
    fn overflow(&mut self);
}

/// Why a function's counters were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the meta-data say.
    pub expected: String,
    /// What the counters say.
    pub found: String,
}

/// What of a counter file could not be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Functions that were read.
    pub functions: u64,
    /// Functions whose counters did not fit the meta-data, with the first few places.
    pub refused: u64,
    /// The first of them.
    pub first_refused: Option<Damage>,
    /// Where reading had to stop; what comes behind is not used.
    pub stopped: Option<Damage>,
}

/// Walks over the functions of one segment.
#[derive(Clone, Copy)]
struct Walk<'a> {
    bytes: &'a [u8],
    start: usize,
    functions: u64,
    before: u64,
}

impl Walk<'_> {
    /// Returns where the segment's footer begins, `None` when reading had to stop.
    #[inline(always)]
    fn read<N: Number, const SET: bool>(
        self,
        sink: &mut impl Sink,
        reading: &mut Reading,
    ) -> Option<usize> {
        let mut at = match self.begin::<N>() {
            Ok(at) => at,
            Err(damage) => {
                reading.stopped = Some(damage);
                return None;
            }
        };
        let mut done = 0;
        let last_if_summed = self.functions.saturating_sub(self.before);
        while done < self.functions {
            if done == last_if_summed && self.footer_at(at) {
                break;
            }
            let start = at;
            let record = match Record::parse::<N>(self.bytes, &mut at) {
                Ok(record) => record,
                Err(damage) => {
                    reading.stopped = Some(damage);
                    return None;
                }
            };
            if let Err(damage) = N::complete(self.bytes, at, record.units) {
                reading.stopped = Some(damage);
                return None;
            }
            match sink.slot(record) {
                Some(slot) => {
                    debug_assert_eq!(slot.len(), record.units as usize + PADDING);
                    match N::add::<SET>(self.bytes, &mut at, slot) {
                        Ok(false) => {}
                        Ok(true) => sink.overflow(),
                        Err(damage) => {
                            reading.stopped = Some(damage);
                            return None;
                        }
                    }
                    reading.functions += 1;
                }
                None => {
                    let refusal = sink.refusal(record);
                    let damage = Damage::new(start, refusal.expected, refusal.found);
                    // One bad number and all that follows may be read out of step. Only when the
                    // rest of the segment comes out even is this one record wrong and the rest right.
                    let in_step = N::skip(self.bytes, &mut at, record.units)
                        .and_then(|()| self.in_step::<N>(at, done + 1));
                    if in_step.is_err() {
                        reading.stopped = Some(damage);
                        return None;
                    }
                    reading.refused += 1;
                    reading.first_refused.get_or_insert(damage);
                }
            }
            done += 1;
        }
        Some(at)
    }

    /// Where the functions begin. Go's reader skips to a multiple of 4 in the file, its writer pads
    /// to one in the segment; for a first segment that is the same, for a later one the place that
    /// reads through is taken.
    fn begin<N: Number>(&self) -> Result<usize, Damage> {
        let padded = self.start.next_multiple_of(4);
        if padded == self.start {
            return Ok(self.start);
        }
        if self.in_step::<N>(self.start, 0).is_ok() {
            return Ok(self.start);
        }
        self.in_step::<N>(padded, 0)?;
        Ok(padded)
    }

    /// Whether the functions from `at` on, `done` being already read, end just before a footer.
    fn in_step<N: Number>(&self, mut at: usize, mut done: u64) -> Result<(), Damage> {
        while done < self.functions {
            if self.footer_at(at) && done == self.functions.saturating_sub(self.before) {
                return Ok(());
            }
            let record = Record::parse::<N>(self.bytes, &mut at)?;
            N::skip(self.bytes, &mut at, record.units)?;
            done += 1;
        }
        if self.footer_at(at) {
            return Ok(());
        }
        Err(Damage::new(at, "a footer", "other bytes"))
    }

    fn footer_at(&self, at: usize) -> bool {
        at == self.bytes.len() || self.bytes.get(at..at + 4) == Some(&MAGIC)
    }
}

/// What stands before a function's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Number of its counters.
    pub units: u32,
    /// Number of its package, from 0.
    pub package: u32,
    /// Its number in the package, from 0.
    pub function: u32,
}

impl Record {
    #[inline(always)]
    fn parse<N: Number>(bytes: &[u8], at: &mut usize) -> Result<Self, Damage> {
        let start = *at;
        let [units, package, function] = N::read_three(bytes, at)?;
        if units == 0 {
            return Err(Damage::new(
                start,
                "a function with at least one unit",
                "0 units",
            ));
        }
        Ok(Self {
            units,
            package,
            function,
        })
    }
}

/// How numbers are written; one implementation a [`Flavor`].
trait Number {
    fn read(bytes: &[u8], at: &mut usize, what: &str) -> Result<u32, Damage>;

    #[inline(always)]
    fn read_three(bytes: &[u8], at: &mut usize) -> Result<[u32; 3], Damage> {
        Self::read_each(bytes, at)
    }

    fn read_each(bytes: &[u8], at: &mut usize) -> Result<[u32; 3], Damage> {
        let units = Self::read(bytes, at, "number of units")?;
        let package = Self::read(bytes, at, "package number")?;
        let function = Self::read(bytes, at, "function number")?;
        Ok([units, package, function])
    }

    /// Whether `count` numbers stand before the end of the file.
    fn complete(bytes: &[u8], at: usize, count: u32) -> Result<(), Damage>;

    /// Adds one number to each element of `slot` but the last [`PADDING`], to which it adds nothing.
    /// Returns whether a sum was cut short.
    fn add<const SET: bool>(bytes: &[u8], at: &mut usize, slot: &mut [u32])
    -> Result<bool, Damage>;

    fn skip(bytes: &[u8], at: &mut usize, count: u32) -> Result<(), Damage>;
}

#[inline(always)]
fn add_one<const SET: bool>(to: &mut u32, value: u32) -> bool {
    if SET {
        *to = u32::from(*to | value != 0);
        return false;
    }
    let (sum, overflow) = to.overflowing_add(value);
    *to = if overflow { u32::MAX } else { sum };
    overflow
}

/// Adds the eight bytes of `word`, lowest first; written for the vectoriser.
#[inline(always)]
fn add_eight<const SET: bool>(to: &mut [u32; 8], word: u64) -> bool {
    let mut cut_short = 0;
    for (to, byte) in to.iter_mut().zip(word.to_le_bytes()) {
        if SET {
            *to = u32::from(*to | u32::from(byte) != 0);
        } else {
            let sum = to.wrapping_add(byte.into());
            let top = if sum < *to { u32::MAX } else { 0 };
            *to = sum | top;
            cut_short |= top;
        }
    }
    cut_short != 0
}

fn runs_out(at: usize) -> Damage {
    Damage::new(at, "counters of a function", "the end of the file")
}

struct Uleb;

/// The bit that says "more bytes follow", in eight bytes.
const MORE: u64 = 0x8080_8080_8080_8080;

#[inline(always)]
fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*eight))
}

/// The first number of `word` and its length in bits, without a branch on the length: lengths of
/// neighbouring counters are as good as random, and a wrong guess of the processor costs more than
/// all of this. `ends` has the top bit of each byte that ends a number. `None` when the number does
/// not end within five bytes or does not fit 32 bits.
#[inline(always)]
fn first_of(word: u64, ends: u64) -> Option<(u32, u32)> {
    let bits = ends.trailing_zeros() + 1;
    // All bits up to the last byte's top bit; that bit itself is clear in `word`.
    let word = word & (ends ^ ends.wrapping_sub(1));
    if bits <= 16 {
        return Some(((word & 0x7f | word >> 1 & 0x7f << 7) as u32, bits));
    }
    let value = word & 0x7f
        | word >> 1 & 0x7f << 7
        | word >> 2 & 0x7f << 14
        | word >> 3 & 0x7f << 21
        | word >> 4 & 0x7f << 28;
    (bits <= 40 && value <= u64::from(u32::MAX)).then_some((value as u32, bits))
}

impl Number for Uleb {
    #[inline(always)]
    fn read_three(bytes: &[u8], at: &mut usize) -> Result<[u32; 3], Damage> {
        // The three nearly always lie within eight bytes.
        if let Some(mut word) = eight(bytes, *at) {
            let mut ends = !word & MORE;
            // At least three numbers end here: two cleared bits leave a third.
            let two_less = ends & ends.wrapping_sub(1);
            if two_less & two_less.wrapping_sub(1) != 0 {
                let mut three = [0; 3];
                let mut length = 0;
                let sound = three.iter_mut().all(|number| match first_of(word, ends) {
                    Some((value, bits)) => {
                        *number = value;
                        word >>= bits;
                        ends >>= bits;
                        length += bits;
                        true
                    }
                    None => false,
                });
                if sound {
                    *at += length as usize / 8;
                    return Ok(three);
                }
            }
        }
        Self::read_each(bytes, at)
    }

    #[inline(always)]
    fn complete(bytes: &[u8], at: usize, count: u32) -> Result<(), Damage> {
        let rest = &bytes[at..];
        // Only towards the end of the file have the numbers to be counted: by the bytes that end one.
        // (Runtimes write the largest functions last, so this is not rare.)
        if rest.len() / 5 >= count as usize
            || rest.iter().filter(|b| **b < 0x80).count() >= count as usize
        {
            return Ok(());
        }
        Err(runs_out(bytes.len()))
    }

    #[cold]
    fn read(bytes: &[u8], at: &mut usize, what: &str) -> Result<u32, Damage> {
        let mut c = Cursor::new(bytes, *at);
        let value = c.uleb(what)?;
        *at = c.offset();
        Ok(value)
    }

    #[inline(always)]
    fn add<const SET: bool>(
        bytes: &[u8],
        at: &mut usize,
        slot: &mut [u32],
    ) -> Result<bool, Damage> {
        let mut overflow = false;
        let mut slot = slot;
        while slot.len() > PADDING {
            let Some(mut word) = eight(bytes, *at) else {
                overflow |= add_one::<SET>(&mut slot[0], Self::read(bytes, at, "a counter")?);
                slot = &mut slot[1..];
                continue;
            };
            // Most counters are below 128: one byte each. Eight are looked at together; those that
            // are not this function's any more are made zero, so that nothing is added for them.
            let wanted = (slot.len() - PADDING).min(8);
            let small = word & u64::MAX >> (64 - 8 * wanted);
            if small & MORE == 0 {
                if small != 0 {
                    let block = slot.first_chunk_mut().expect("a slot ends with padding");
                    overflow |= add_eight::<SET>(block, small);
                }
                *at += wanted;
                slot = &mut slot[wanted..];
                continue;
            }
            // Larger numbers among them: take those that end within the eight bytes.
            let mut ends = !word & MORE;
            let mut taken = 0;
            let mine = slot.len() - PADDING;
            for to in &mut slot[..mine] {
                if ends == 0 {
                    break;
                }
                let Some((value, bits)) = first_of(word, ends) else {
                    break;
                };
                overflow |= add_one::<SET>(to, value);
                word >>= bits;
                ends >>= bits;
                *at += bits as usize / 8;
                taken += 1;
            }
            if taken == 0 {
                // No sound number ends here: this says what is wrong.
                overflow |= add_one::<SET>(&mut slot[0], Self::read(bytes, at, "a counter")?);
                taken = 1;
            }
            slot = &mut slot[taken..];
        }
        Ok(overflow)
    }

    fn skip(bytes: &[u8], at: &mut usize, count: u32) -> Result<(), Damage> {
        // A number takes at least a byte: a huge count ends here, not after minutes.
        if count as usize > bytes.len().saturating_sub(*at) {
            return Err(runs_out(bytes.len()));
        }
        for _ in 0..count {
            Self::read(bytes, at, "a counter")?;
        }
        Ok(())
    }
}

struct RawLittle;
struct RawBig;

fn raw_read(bytes: &[u8], at: &mut usize, what: &str) -> Result<[u8; 4], Damage> {
    let mut c = Cursor::new(bytes, *at);
    let raw = c.take(4, what)?;
    *at = c.offset();
    Ok(raw
        .try_into()
        .expect("take returns as many bytes as were asked for"))
}

fn raw_skip(bytes: &[u8], at: &mut usize, count: usize) -> Result<(), Damage> {
    let end = count
        .checked_mul(4)
        .and_then(|n| at.checked_add(n))
        .filter(|end| *end <= bytes.len());
    *at = end.ok_or_else(|| runs_out(bytes.len()))?;
    Ok(())
}

fn raw_add<const SET: bool>(
    bytes: &[u8],
    at: &mut usize,
    slot: &mut [u32],
    decode: fn([u8; 4]) -> u32,
) -> Result<bool, Damage> {
    let start = *at;
    raw_skip(bytes, at, slot.len() - PADDING)?;
    let mut overflow = false;
    for (to, raw) in slot.iter_mut().zip(bytes[start..*at].chunks_exact(4)) {
        let raw = raw.try_into().expect("chunks of four are four bytes");
        overflow |= add_one::<SET>(to, decode(raw));
    }
    Ok(overflow)
}

impl Number for RawLittle {
    fn complete(bytes: &[u8], mut at: usize, count: u32) -> Result<(), Damage> {
        raw_skip(bytes, &mut at, count as usize)
    }

    fn read(bytes: &[u8], at: &mut usize, what: &str) -> Result<u32, Damage> {
        raw_read(bytes, at, what).map(u32::from_le_bytes)
    }

    fn add<const SET: bool>(
        bytes: &[u8],
        at: &mut usize,
        slot: &mut [u32],
    ) -> Result<bool, Damage> {
        raw_add::<SET>(bytes, at, slot, u32::from_le_bytes)
    }

    fn skip(bytes: &[u8], at: &mut usize, count: u32) -> Result<(), Damage> {
        raw_skip(bytes, at, count as usize)
    }
}

impl Number for RawBig {
    fn complete(bytes: &[u8], mut at: usize, count: u32) -> Result<(), Damage> {
        raw_skip(bytes, &mut at, count as usize)
    }

    fn read(bytes: &[u8], at: &mut usize, what: &str) -> Result<u32, Damage> {
        raw_read(bytes, at, what).map(u32::from_be_bytes)
    }

    fn add<const SET: bool>(
        bytes: &[u8],
        at: &mut usize,
        slot: &mut [u32],
    ) -> Result<bool, Damage> {
        raw_add::<SET>(bytes, at, slot, u32::from_be_bytes)
    }

    fn skip(bytes: &[u8], at: &mut usize, count: u32) -> Result<(), Damage> {
        raw_skip(bytes, at, count as usize)
    }
}
