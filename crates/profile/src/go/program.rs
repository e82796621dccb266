//! All that the file of a program tells of its coverage, without running it.
//!
//! [`executable`] answers whether it counts; this adds what: the packages, out of the meta-data in
//! the read-only data, and the room for their counters, out of the module data where relocations
//! leave it in the file (position independent programs that the C linker linked have it at run time
//! only). What a counter's number means (set, count, atomic) is nowhere in the file.
//!
//! Upstream: `src/cmd/link/internal/ld/data.go`, `src/runtime/symtab.go` (`moduledata`),
//! `src/internal/coverage/defs.go`; the places of the words hold for Go 1.21 to 1.27.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use object::elf::{
    DF_1_PIE, DT_FLAGS_1, EM_386, EM_AARCH64, EM_LOONGARCH, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64,
    ET_CORE, ET_DYN, ET_EXEC, Machine, PF_W, PT_INTERP, PT_LOAD,
};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSection, ReadCache};

use super::blobs;
use super::executable::{self, Executable, InspectError};
use super::meta::{BLOB_HEADER, Package};

const LE: LittleEndian = LittleEndian;
/// Bytes of a segment that are read in one piece.
const PIECE: u64 = 1 << 20;
/// Bytes of a piece that are read again with the next: a header that begins in them is not all there.
const OVERLAP: u64 = BLOB_HEADER.next_multiple_of(8) as u64;
/// No section is searched further for the module data than this.
const LONGEST_SEARCH: u64 = 64 << 20;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program at a fixed address.
    Fixed,
    /// A position independent program.
    PositionIndependent,
    /// A shared library, as `-buildmode=c-shared` makes.
    Library,
}

/// What a package adds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageSize {
    /// Import path.
    pub path: String,
    /// Path of its module; may be empty.
    pub module: String,
    /// Number of functions.
    pub functions: u64,
    /// Number of units: runs of statements with one counter.
    pub units: u64,
    /// Number of statements.
    pub statements: u64,
}

impl PackageSize {
    /// Of a package's meta-data.
    #[must_use]
    pub fn of(package: &Package) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let units = || package.functions().flat_map(|f| f.units.iter());
        Self {
            path: text(package.path()),
            module: text(package.module()),
            functions: package.function_count() as u64,
            units: units().count() as u64,
            statements: units().map(|u| u64::from(u.statements)).sum(),
        }
    }
}

/// What the file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Whether it counts, and how Go built it.
    pub executable: Executable,
    /// The processor, in Go's words; its ELF number where Go has none.
    pub architecture: String,
    /// What kind of file it is.
    pub kind: Kind,
    /// Whether the system's loader starts it, with libraries.
    pub dynamic: bool,
    /// Whether it has a symbol table.
    pub symbols: bool,
    /// Whether it has sections.
    pub sections: bool,
    /// The id that Go's linker gave it.
    pub go_build_id: Option<String>,
    /// The id that the C linker gave it, in hexadecimal digits.
    pub gnu_build_id: Option<String>,
    /// The packages that count, by path. Empty when none does.
    pub packages: Vec<PackageSize>,
    /// Room for counters, in bytes; `None` when the file does not tell.
    pub counters: Option<u64>,
}

/// Looks at a program.
///
/// # Errors
/// [`InspectError`]: it is none, or of a kind that covtap does not read.
pub fn look<R: Read + Seek>(mut file: R) -> Result<Program, InspectError> {
    let executable = executable::inspect(&mut file);
    let mut identity = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(16).read_to_end(&mut identity)?;
    let executable = match (identity.get(4), identity.get(5)) {
        _ if matches!(executable, Err(InspectError::NotElf(_))) => executable?,
        (Some(1), _) => return Err(InspectError::Unsupported("a 32-bit program")),
        (Some(2), Some(2)) => return Err(InspectError::Unsupported("a big-endian program")),
        _ => executable?,
    };
    let mut layout = Layout::read(&mut file)?;
    let mut packages = BTreeMap::new();
    if executable.instrumented {
        for segment in &layout.read_only {
            find_packages(&mut file, *segment, &mut packages)?;
        }
    }
    let mut packages: Vec<PackageSize> = packages.into_values().collect();
    packages.sort();
    layout.program.counters = if executable.go.is_some() {
        layout.counters(&mut file)?
    } else {
        None
    };
    Ok(Program {
        executable,
        packages,
        ..layout.program
    })
}

/// A piece of the file and where it lies in memory.
#[derive(Clone, Copy, Debug)]
struct Piece {
    offset: u64,
    length: u64,
    address: u64,
}

struct Layout {
    program: Program,
    read_only: Vec<Piece>,
    /// Where the function table begins, in memory.
    table: Option<u64>,
    /// What may hold the module data.
    data: Vec<Piece>,
}

impl Layout {
    fn read<R: Read + Seek>(file: &mut R) -> Result<Self, InspectError> {
        let damaged = |e: object::Error| InspectError::Damaged(e.to_string());
        let size = file.seek(SeekFrom::End(0))?;
        let cache = ReadCache::new(&mut *file);
        let elf = ElfFile64::<LittleEndian, _>::parse(&cache).map_err(damaged)?;
        let segments = elf.elf_program_headers();
        let has = |kind| segments.iter().any(|s| s.p_type(LE) == kind);
        if elf.section_by_name(".text").is_none() && is_packed(&cache, segments.len()) {
            return Err(InspectError::Unsupported(
                "a program that UPX packed: what runs is not what is in the file",
            ));
        }
        let kind = match elf.elf_header().e_type(LE) {
            ET_EXEC => Kind::Fixed,
            ET_DYN if has(PT_INTERP) || says_pie(&elf) => Kind::PositionIndependent,
            ET_DYN => Kind::Library,
            ET_CORE => return Err(InspectError::Unsupported("a core file")),
            _ => {
                return Err(InspectError::Unsupported(
                    "an object file that was not linked yet",
                ));
            }
        };
        let piece = |(offset, length): (u64, u64), address| Piece {
            offset: offset.min(size),
            length: length.min(size.saturating_sub(offset)),
            address,
        };
        let read_only = segments
            .iter()
            .filter(|s| s.p_type(LE) == PT_LOAD && s.p_flags(LE).0 & PF_W.0 == 0)
            .map(|s| piece(s.file_range(LE), s.p_vaddr(LE)))
            .collect();
        let mut table = None;
        let mut data = Vec::new();
        for section in elf.sections() {
            let (Ok(name), Some(range)) = (section.name_bytes(), section.file_range()) else {
                continue;
            };
            match name {
                b".gopclntab" | b".data.rel.ro.gopclntab" => table = Some(section.address()),
                // The first from Go 1.26 on, the second before.
                b".go.module" | b".noptrdata" => data.push(piece(range, section.address())),
                _ => {}
            }
        }
        let program = Program {
            executable: Executable {
                go: None,
                instrumented: false,
                evidence: executable::Evidence::NotGo,
                exit_hook: false,
            },
            architecture: architecture(elf.elf_header().e_machine(LE)),
            kind,
            dynamic: has(PT_INTERP),
            symbols: elf.elf_symbol_table().iter().next().is_some(),
            sections: elf.sections().next().is_some(),
            go_build_id: go_build_id(&elf, &cache),
            gnu_build_id: elf.build_id().ok().flatten().map(hexadecimal),
            packages: Vec::new(),
            counters: None,
        };
        Ok(Self {
            program,
            read_only,
            table,
            data,
        })
    }

    /// The bytes of the counters, out of the module data: words of 64 bits, of which the first is the
    /// address of the function table.
    fn counters<R: Read + Seek>(&self, file: &mut R) -> Result<Option<u64>, InspectError> {
        const NOPTRBSS: usize = 30;
        const COUNTERS: usize = 32;
        const WORDS: usize = 36;
        let Some(table) = self.table else {
            return Ok(None);
        };
        for piece in &self.data {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(piece.offset))?;
            file.by_ref()
                .take(piece.length.min(LONGEST_SEARCH))
                .read_to_end(&mut bytes)?;
            let skip = (piece.address.next_multiple_of(8) - piece.address) as usize;
            let words: Vec<u64> = bytes
                .get(skip..)
                .unwrap_or_default()
                .chunks_exact(8)
                .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
                .collect();
            for (at, _) in words.iter().enumerate().filter(|(_, w)| **w == table) {
                let Some(words) = words.get(at..at + WORDS) else {
                    continue;
                };
                let pair = |at: usize| (words[at], words[at + 1]);
                let (text, zero, counters) = (pair(22), pair(NOPTRBSS), pair(COUNTERS));
                if text.0 < text.1
                    && zero.0 <= counters.0
                    && counters.0 <= counters.1
                    && counters.1 <= zero.1
                    && zero.1 > 0
                {
                    return Ok(Some(counters.1 - counters.0));
                }
            }
        }
        Ok(None)
    }
}

type Elf<'a, 'c, R> = ElfFile64<'a, LittleEndian, &'a ReadCache<&'c mut R>>;

/// Whether the linker marked it as a program: one without an interpreter is static.
fn says_pie<'a, R: Read + Seek>(elf: &Elf<'a, '_, R>) -> bool {
    let data = elf.data();
    let entries = elf
        .elf_program_headers()
        .iter()
        .find_map(|s| s.dynamic(LE, data).ok().flatten())
        .unwrap_or_default();
    entries
        .iter()
        .any(|d| d.tag(LE) == DT_FLAGS_1 && d.val(LE) & DF_1_PIE.0 != 0)
}

fn is_packed<R: Read + Seek>(cache: &ReadCache<&mut R>, segments: usize) -> bool {
    use object::ReadRef;
    let after = (64 + 56 * segments) as u64;
    cache
        .read_bytes_at(after, 64)
        .is_ok_and(|bytes| bytes.windows(4).any(|w| w == b"UPX!"))
}

fn go_build_id<'a, R: Read + Seek>(
    elf: &Elf<'a, '_, R>,
    cache: &'a ReadCache<&mut R>,
) -> Option<String> {
    /// `src/cmd/internal/buildid/note.go`
    const GO_BUILD_ID: u32 = 4;
    for segment in elf.elf_program_headers() {
        let Ok(Some(mut notes)) = segment.notes(LE, cache) else {
            continue;
        };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"Go" && note.n_type(LE).0 == GO_BUILD_ID && !note.desc().is_empty() {
                return Some(String::from_utf8_lossy(note.desc()).into_owned());
            }
        }
    }
    None
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Go's word for a processor.
fn architecture(machine: Machine) -> String {
    match machine {
        EM_X86_64 => "amd64",
        EM_AARCH64 => "arm64",
        EM_386 => "386",
        EM_RISCV => "riscv64",
        EM_PPC64 => "ppc64le",
        EM_LOONGARCH => "loong64",
        EM_S390 => "s390x",
        other => return format!("ELF machine {}", other.0),
    }
    .to_owned()
}

/// Adds the packages whose meta-data lie in a segment, by their place.
fn find_packages<R: Read + Seek>(
    file: &mut R,
    segment: Piece,
    packages: &mut BTreeMap<u64, PackageSize>,
) -> Result<(), InspectError> {
    let end = segment.offset + segment.length;
    let mut at = segment.offset;
    let mut bytes = Vec::new();
    while at < end {
        let length = PIECE.min(end - at);
        read(file, at, length, &mut bytes)?;
        if bytes.len() < BLOB_HEADER {
            break;
        }
        let mut candidates = Vec::new();
        for i in (0..=bytes.len() - BLOB_HEADER).step_by(blobs::ALIGNMENT) {
            let place = at + i as u64;
            if let Some(length) = blobs::claimed_length(&bytes[i..], end - place) {
                candidates.push((place, length as u64));
            }
        }
        let mut blob = Vec::new();
        for (place, length) in candidates {
            read(file, place, length, &mut blob)?;
            if let Ok(package) = Package::parse(&blob) {
                packages.insert(place, PackageSize::of(&package));
            }
        }
        at += if at + length == end {
            length
        } else {
            length - OVERLAP
        };
    }
    Ok(())
}

fn read<R: Read + Seek>(
    file: &mut R,
    at: u64,
    length: u64,
    into: &mut Vec<u8>,
) -> Result<(), InspectError> {
    into.clear();
    file.seek(SeekFrom::Start(at))?;
    file.by_ref().take(length).read_to_end(into)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn elf(class: u8, order: u8, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[18] = 62; // x86-64
        bytes[20] = 1;
        bytes[52] = 64;
        bytes[54] = 56;
        bytes[58] = 64;
        bytes
    }

    #[test]
    fn what_is_not_read_is_named() {
        let cases = [
            (elf(1, 1, 2), "a 32-bit program is not supported"),
            (elf(2, 2, 2), "a big-endian program is not supported"),
            (elf(2, 1, 4), "a core file is not supported"),
            (
                elf(2, 1, 1),
                "an object file that was not linked yet is not supported",
            ),
            (Vec::new(), "not an ELF file (it is empty)"),
            (b"#!/bin/sh".to_vec(), "not an ELF file (a script)"),
        ];
        for (bytes, expected) in cases {
            let error = look(Cursor::new(bytes)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_program_without_go_tells_no_more() {
        let program = look(Cursor::new(elf(2, 1, 2))).unwrap();
        assert_eq!(program.executable.go, None);
        assert_eq!(program.kind, Kind::Fixed);
        assert_eq!(program.architecture, "amd64");
        assert_eq!(program.counters, None);
        assert!(!program.dynamic && !program.symbols && program.packages.is_empty());
    }
}
