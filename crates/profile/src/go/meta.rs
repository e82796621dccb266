//! The meta-data file `covmeta.<hash>`: which functions and units a binary has.
//!
//! Version 1, the same from Go 1.20 to 1.27 (`internal/coverage/defs.go`,
//! `internal/coverage/decodemeta`). All fixed-size numbers are little-endian.
//!
//! ```text
//! file   00 63 76 6d | version u32 = 1 | total length u64 | entries n u64 | hash [16]
//!        | string table offset u32, length u32 | mode u8 | granularity u8 | 6 bytes of padding
//!        | n x offset u64 | n x length u64 | string table | n package blobs
//! blob   length u32 | name u32, path u32, module u32 (string table indices) | hash [16] | 4 unused
//!        | strings u32 | functions m u32 | m x offset u32 (from the blob's start)
//!        | string table | m functions
//! string table   uleb count, then for each: uleb length, bytes
//! function       uleb units k, name, file (string table indices)
//!                | k x (uleb start line, start column, end line, end column, statements)
//!                | uleb 1 for a function literal, else 0
//! ```

use std::ops::Range;

use covtap_model::counter::CounterMode;
use covtap_model::coverage::MAX_LINE;
use md5::Md5;
use rayon::prelude::*;

use super::cursor::{Cursor, Damage};
use super::hash::{self, Fnv, Hash128};

/// First bytes of a meta-data file.
pub const MAGIC: [u8; 4] = [0, b'c', b'v', b'm'];
/// The only version there is.
pub const VERSION: u32 = 1;
/// Bytes of the file header.
pub const FILE_HEADER: usize = 56;
/// Bytes of a package blob's header.
pub const BLOB_HEADER: usize = 44;

/// How finely execution is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Granularity {
    /// A unit for each basic block.
    PerBlock = 1,
    /// One unit for each function.
    PerFunc = 2,
}

impl Granularity {
    /// The granularity with this number in Go's files, or `None`.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::PerBlock),
            2 => Some(Self::PerFunc),
            _ => None,
        }
    }

    /// Go's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PerBlock => "perblock",
            Self::PerFunc => "perfunc",
        }
    }
}

/// A run of statements that is executed as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetaUnit {
    /// 1-based line of the first character.
    pub start_line: u32,
    /// 1-based column in bytes.
    pub start_column: u32,
    /// Line of the end.
    pub end_line: u32,
    /// Column after the last character, in bytes.
    pub end_column: u32,
    /// Number of statements.
    pub statements: u32,
}

/// One function of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name; any bytes.
    pub name: &'a [u8],
    /// Its source file: import path and base name, or an absolute path; any bytes.
    pub file: &'a [u8],
    /// Whether it is a function literal outside any function.
    pub literal: bool,
    /// Its units, in the order of their counters.
    pub units: &'a [MetaUnit],
}

struct FunctionEntry {
    name: u32,
    file: u32,
    literal: bool,
    /// Range of `units`, as start; the end is the next function's start.
    units: u32,
}

/// One package of a meta-data file, decoded and checked.
pub struct Package {
    strings: StringTable,
    name: u32,
    path: u32,
    module: u32,
    /// The hash of its contents, as the blob states it.
    pub hash: [u8; 16],
    blob: Range<usize>,
    functions: Vec<FunctionEntry>,
    units: Vec<MetaUnit>,
}

impl Package {
    /// Decodes one package's blob, as it lies in an instrumented binary, and checks every number and
    /// its hash.
    ///
    /// # Errors
    /// [`Damage`], with offsets from the blob's start.
    pub fn parse(blob: &[u8]) -> Result<Self, Damage> {
        parse_package(blob, 0..blob.len())
    }

    /// The package's import path.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.strings.get(self.path)
    }

    /// The name in its package clause.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.strings.get(self.name)
    }

    /// The path of its module; may be empty.
    #[must_use]
    pub fn module(&self) -> &[u8] {
        self.strings.get(self.module)
    }

    /// Number of functions.
    #[must_use]
    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// Function number `index`; `None` beyond the last.
    #[must_use]
    pub fn function(&self, index: usize) -> Option<Function<'_>> {
        let entry = self.functions.get(index)?;
        let end = self
            .functions
            .get(index + 1)
            .map_or(self.units.len(), |f| f.units as usize);
        Some(Function {
            name: self.strings.get(entry.name),
            file: self.strings.get(entry.file),
            literal: entry.literal,
            units: self
                .units
                .get(entry.units as usize..end)
                .unwrap_or_default(),
        })
    }

    /// All functions, in the order of their numbers.
    pub fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        (0..self.functions.len()).filter_map(|i| self.function(i))
    }
}

/// A decoded meta-data file.
pub struct MetaFile {
    bytes: Vec<u8>,
    /// The hash of the build's meta-data; counter files carry the same.
    pub hash: [u8; 16],
    /// What the counters mean.
    pub mode: CounterMode,
    /// How finely they count.
    pub granularity: Granularity,
    /// In the order of their numbers. A package that could not be read is `None`: its number stays
    /// taken, its counters are dropped.
    pub packages: Vec<Option<Package>>,
}

/// A damaged part of a meta-data file; the rest of the file is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDamage {
    /// What is damaged: a package by its number, or nothing but a hash.
    pub package: Option<usize>,
    /// Where and how.
    pub damage: Damage,
}

impl MetaFile {
    /// Decodes a whole file. Every number in it is checked, so nothing fails later.
    ///
    /// Returns the file and what of it is damaged. A damaged package is left out, alone.
    ///
    /// # Errors
    /// [`Damage`] when the header or the table of packages is unusable.
    pub fn parse(bytes: Vec<u8>) -> Result<(Self, Vec<PartDamage>), Damage> {
        let header = Header::parse(&bytes)?;
        let parsed: Vec<Result<Package, Damage>> = header
            .blobs
            .par_iter()
            .map(|blob| match blob {
                Ok(range) => parse_package(&bytes, range.clone()),
                Err(damage) => Err(damage.clone()),
            })
            .collect();
        let mut damages = Vec::new();
        let packages: Vec<Option<Package>> = parsed
            .into_iter()
            .enumerate()
            .map(|(index, result)| {
                result
                    .map_err(|damage| {
                        damages.push(PartDamage {
                            package: Some(index),
                            damage,
                        })
                    })
                    .ok()
            })
            .collect();
        let file = Self {
            hash: header.hash,
            mode: header.mode,
            granularity: header.granularity,
            packages,
            bytes,
        };
        if damages.is_empty() && !file.hash_fits() {
            damages.push(PartDamage {
                package: None,
                damage: Damage::new(
                    24,
                    "the hash of the packages below",
                    format!("{}, which is not", hash::hex(&file.hash)),
                ),
            });
        }
        Ok((file, damages))
    }

    /// The bytes of a package's blob.
    #[must_use]
    pub fn blob(&self, package: &Package) -> &[u8] {
        self.bytes.get(package.blob.clone()).unwrap_or_default()
    }

    /// The file's own bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the file's hash is one of the four that the runtime and `covdata` make.
    fn hash_fits(&self) -> bool {
        let modes = match self.mode {
            CounterMode::RegOnly | CounterMode::TestMain => {
                vec![CounterMode::Set, CounterMode::Count, CounterMode::Atomic]
            }
            mode => vec![mode],
        };
        let packages: Vec<&Package> = self.packages.iter().flatten().collect();
        let hashes = || packages.iter().map(|p| p.hash);
        let blobs = || packages.iter().map(|p| self.blob(p));
        modes.into_iter().any(|mode| {
            self.hash == of_process::<Fnv>(hashes(), mode, self.granularity)
                || self.hash == of_process::<Md5>(hashes(), mode, self.granularity)
        }) || self.hash == of_blobs::<Fnv>(blobs())
            || self.hash == of_blobs::<Md5>(blobs())
    }
}

/// The hash that an instrumented process gives the file over these packages.
///
/// `first` is the first of them, decoded: its own hash tells which algorithm that version of Go uses.
/// `packages` are the hashes of all of them, in the process's order.
#[must_use]
pub fn process_hash(
    first: &Package,
    packages: &[[u8; 16]],
    mode: CounterMode,
    granularity: Granularity,
) -> [u8; 16] {
    let packages = packages.iter().copied();
    if content_hash::<Fnv>(first) == first.hash {
        of_process::<Fnv>(packages, mode, granularity)
    } else {
        of_process::<Md5>(packages, mode, granularity)
    }
}

/// The hash of a file that an instrumented process writes: over the hashes of its packages.
pub(crate) fn of_process<H: Hash128>(
    packages: impl IntoIterator<Item = [u8; 16]>,
    mode: CounterMode,
    granularity: Granularity,
) -> [u8; 16] {
    let mut hash = H::default();
    for package in packages {
        hash.write(&package);
    }
    hash.write(mode.word().as_bytes());
    hash.write(granularity.word().as_bytes());
    hash.finish()
}

/// The hash of a file that `go tool covdata` writes: over the hashes of the blobs' bytes.
pub(crate) fn of_blobs<'a, H: Hash128>(blobs: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = H::default();
    for blob in blobs {
        hash.write(&hash::of::<H>([blob]));
    }
    hash.finish()
}

struct Header {
    hash: [u8; 16],
    mode: CounterMode,
    granularity: Granularity,
    blobs: Vec<Result<Range<usize>, Damage>>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let mut c = Cursor::new(bytes, 0);
        let magic = c.take(4, "a meta-data file header")?;
        if magic != MAGIC {
            return Err(Damage::new(
                0,
                "the magic 00 63 76 6d of a meta-data file",
                spaced(magic),
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
        let total = c.u64("total length")?;
        let entries = c.u64("number of packages")?;
        let hash = c.hash("meta-data hash")?;
        let strings_at = c.u32("string table offset")?;
        let strings_len = c.u32("string table length")?;
        let [mode, granularity] = *c.take(2, "mode and granularity")? else {
            unreachable!("take returns as many bytes as were asked for");
        };
        c.take(6, "padding")?;
        let mode = CounterMode::from_byte(mode)
            .ok_or_else(|| Damage::new(48, "a counter mode from 1 to 5", mode.to_string()))?;
        let granularity = Granularity::from_byte(granularity)
            .ok_or_else(|| Damage::new(49, "granularity 1 or 2", granularity.to_string()))?;
        // Each package takes 16 bytes of table: a huge number cannot make us allocate.
        let room = (bytes.len() - FILE_HEADER) / 16;
        let count = usize::try_from(entries)
            .ok()
            .filter(|n| *n <= room)
            .ok_or_else(|| {
                Damage::new(
                    16,
                    format!("at most {room} packages in a file of {} bytes", bytes.len()),
                    entries.to_string(),
                )
            })?;
        let tables_end = FILE_HEADER + 16 * count;
        let strings_end = u64::from(strings_at) + u64::from(strings_len);
        if (strings_at as usize) < tables_end || strings_end > bytes.len() as u64 {
            return Err(Damage::new(
                40,
                format!(
                    "a string table between byte {tables_end} and {}",
                    bytes.len()
                ),
                format!("one at {strings_at} of {strings_len} bytes"),
            ));
        }
        let numbers = |start: usize| {
            let mut c = Cursor::new(bytes, start);
            (0..count)
                .map(|_| c.u64("a table of packages"))
                .collect::<Result<Vec<_>, _>>()
        };
        let offsets = numbers(FILE_HEADER)?;
        let lengths = numbers(FILE_HEADER + 8 * count)?;
        let limit = total.min(bytes.len() as u64);
        // Packages follow one another. Overlapping ones would let a small file decode to a huge one.
        let mut free = strings_end;
        let blobs = offsets
            .iter()
            .zip(&lengths)
            .enumerate()
            .map(|(i, (&offset, &length))| {
                let end = offset
                    .checked_add(length)
                    .filter(|end| offset >= free && *end <= limit);
                let Some(end) = end else {
                    return Err(Damage::new(
                        FILE_HEADER + 8 * i,
                        format!("package {i} between byte {free} and {limit}"),
                        format!("{length} bytes at {offset}"),
                    ));
                };
                free = end;
                Ok(offset as usize..end as usize)
            })
            .collect();
        Ok(Self {
            hash,
            mode,
            granularity,
            blobs,
        })
    }
}

fn spaced(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The strings of a table, copied once into one run of bytes.
struct StringTable {
    text: Vec<u8>,
    /// Where each string ends in `text`.
    ends: Vec<u32>,
}

impl StringTable {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Damage> {
        let count = c.uleb("number of strings")?;
        // No room is made for a number that is only claimed.
        let mut table = Self {
            text: Vec::new(),
            ends: Vec::new(),
        };
        for _ in 0..count {
            let length = c.uleb("string length")? as usize;
            let string = c.take(length, "a string")?;
            table.text.extend_from_slice(string);
            table.ends.push(table.text.len() as u32);
        }
        Ok(table)
    }

    fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let Some(&end) = self.ends.get(index) else {
            return &[];
        };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start as usize..end as usize]
    }

    fn check(&self, index: u32, what: &str, offset: usize) -> Result<u32, Damage> {
        if (index as usize) < self.ends.len() {
            return Ok(index);
        }
        Err(Damage::new(
            offset,
            format!("{what}: one of {} strings", self.ends.len()),
            format!("string {index}"),
        ))
    }
}

fn parse_package(bytes: &[u8], blob: Range<usize>) -> Result<Package, Damage> {
    let (start, end) = (blob.start, blob.end);
    // Everything below must lie inside the blob, so the slice ends with it; offsets stay the file's.
    let inside = &bytes[..end];
    let mut c = Cursor::new(inside, start);
    let length = c.u32("package length")? as usize;
    if length != end - start {
        return Err(Damage::new(
            start,
            format!("a package of {} bytes", end - start),
            length.to_string(),
        ));
    }
    let name = c.u32("package name")?;
    let path = c.u32("package path")?;
    let module = c.u32("module path")?;
    let stated = c.hash("package hash")?;
    c.take(4, "package header")?;
    c.u32("number of strings")?;
    let count = c.u32("number of functions")? as usize;
    let table = c.offset();
    let offsets: Vec<u32> = (0..count)
        .map(|_| c.u32("function offsets"))
        .collect::<Result<_, _>>()?;
    let strings = StringTable::parse(&mut c)?;
    strings.check(path, "package path", start + 8)?;
    strings.check(name, "package name", start + 4)?;
    strings.check(module, "module path", start + 12)?;
    let first = c.offset();

    let mut functions = Vec::with_capacity(count);
    let mut units = Vec::with_capacity((end - first) / 6);
    for (i, &offset) in offsets.iter().enumerate() {
        let at = start + offset as usize;
        if at < first || at >= end {
            return Err(Damage::new(
                table + 4 * i,
                format!(
                    "function {i} between byte {} and {length} of its package",
                    first - start
                ),
                format!("offset {offset}"),
            ));
        }
        let mut c = Cursor::new(inside, at);
        let count = c.uleb("number of units")? as usize;
        // Functions do not share bytes, and a unit takes at least five.
        let room = ((end - first) / 5).saturating_sub(units.len());
        if count > room {
            return Err(Damage::new(
                at,
                format!("at most {room} units"),
                count.to_string(),
            ));
        }
        let name = strings.check(c.uleb("function name")?, "function name", at)?;
        let file = strings.check(c.uleb("source file")?, "source file", at)?;
        let first_unit = units.len() as u32;
        for _ in 0..count {
            let at = c.offset();
            let unit = MetaUnit {
                start_line: c.uleb("start line")?,
                start_column: c.uleb("start column")?,
                end_line: c.uleb("end line")?,
                end_column: c.uleb("end column")?,
                statements: c.uleb("number of statements")?,
            };
            let last = unit.start_line.max(unit.end_line);
            if last > MAX_LINE {
                return Err(Damage::new(
                    at,
                    format!("lines up to {MAX_LINE}"),
                    last.to_string(),
                ));
            }
            units.push(unit);
        }
        let literal = c.uleb("function literal flag")? != 0;
        functions.push(FunctionEntry {
            name,
            file,
            literal,
            units: first_unit,
        });
    }
    let package = Package {
        strings,
        name,
        path,
        module,
        hash: stated,
        blob,
        functions,
        units,
    };
    if content_hash::<Fnv>(&package) != stated && content_hash::<Md5>(&package) != stated {
        return Err(Damage::new(
            start + 16,
            format!(
                "the hash of the contents of package {}",
                String::from_utf8_lossy(package.path())
            ),
            format!("{}, which is not", hash::hex(&stated)),
        ));
    }
    Ok(package)
}

/// The hash of a package's contents.
pub(crate) fn content_hash<H: Hash128>(package: &Package) -> [u8; 16] {
    let mut hash = H::default();
    hash.write(package.path());
    hash.write(package.name());
    hash.write(package.module());
    for function in package.functions() {
        hash_function(&mut hash, &function);
    }
    hash.finish()
}

/// Feeds a function's name, file and units.
pub(crate) fn hash_function<H: Hash128>(hash: &mut H, function: &Function<'_>) {
    hash.write(function.name);
    hash.write(function.file);
    for u in function.units {
        for number in [
            u.start_line,
            u.start_column,
            u.end_line,
            u.end_column,
            u.statements,
        ] {
            hash.write_u32(number);
        }
    }
    hash.write_u32(u32::from(function.literal));
}
