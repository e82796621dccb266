//! The parts of a 64-bit little-endian ELF file that are needed to find things in its memory.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::elf::{
    EM_AARCH64, EM_LOONGARCH, EM_MIPS, EM_PPC64, EM_RISCV, EM_X86_64, ET_CORE, ET_DYN, ET_EXEC,
    FileHeader64, PF_W, PF_X, PT_LOAD, PT_NOTE, ProgramHeader64, SHN_UNDEF, SHT_NOBITS, SHT_SYMTAB,
    SectionHeader64, Sym64,
};
use object::{LittleEndian, pod};

const LE: LittleEndian = LittleEndian;
/// Bytes of the file header.
const FILE_HEADER: usize = 64;
/// No program has more headers than this of either kind; more is damage. (The numbers are 16 bits.)
const MOST_HEADERS: usize = 4096;
/// No table of symbols or strings is larger; more is damage.
const LARGEST_TABLE: u64 = 1 << 30;

/// Why an ELF file is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Its first bytes are not those of an ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// A kind of ELF file that covtap does not read memory with.
    #[error("{0}")]
    Unsupported(&'static str),
    /// It starts like an ELF file and does not go on like one.
    #[error("damaged ELF file: {what} at byte {at}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// Where in the file.
        at: u64,
    },
}

/// Where the bytes of an ELF file come from: the file, or what is mapped of its start.
pub(crate) trait Bytes {
    /// `length` bytes from byte `offset` of the file on; `None` when they are not all there.
    fn bytes(&self, offset: u64, length: usize) -> Option<Vec<u8>>;
}

impl Bytes for File {
    fn bytes(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        // A length that the file only claims must not make us allocate.
        let size = self.metadata().ok()?.len();
        if offset.checked_add(length as u64)? > size {
            return None;
        }
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}

/// A loadable segment, or a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it lies in memory, relative to the image's base.
    pub(crate) addresses: Range<u64>,
    /// Where its first byte lies in the file.
    pub(crate) offset: u64,
    /// How many of its bytes come from the file; the others are zero at the start.
    pub(crate) file_size: u64,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
}

/// The header of the file and of its segments: also there in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Whether it may be loaded anywhere (PIE and shared libraries) or only where it says.
    pub(crate) movable: bool,
    /// Go's word for the processor, for example `amd64`.
    pub(crate) architecture: &'static str,
    pub(crate) loads: Vec<Segment>,
    pub(crate) notes: Vec<Segment>,
    /// Where the headers of segments are in the file.
    table: Range<u64>,
    /// Offset and number of the section headers; `None` when there are none.
    sections: Option<(u64, usize, usize)>,
    packed: bool,
}

impl Headers {
    /// Reads the headers.
    pub(crate) fn read(from: &dyn Bytes) -> Result<Self, ElfError> {
        let damaged = |what, at| ElfError::Damaged { what, at };
        let identity = from.bytes(0, 16).ok_or(ElfError::NotElf)?;
        if !identity.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        match (identity[4], identity[5]) {
            (2, 1) => {}
            (1, _) => return Err(ElfError::Unsupported("a 32-bit program")),
            (2, 2) => return Err(ElfError::Unsupported("a big-endian program")),
            _ => return Err(damaged("its class and byte order are unknown", 4)),
        }
        let bytes = from
            .bytes(0, FILE_HEADER)
            .ok_or(damaged("the file header is cut short", 16))?;
        let (header, _) = pod::from_bytes::<FileHeader64<LittleEndian>>(&bytes)
            .map_err(|()| damaged("the file header is cut short", 16))?;
        let movable = match header.e_type.get(LE) {
            ET_EXEC => false,
            ET_DYN => true,
            ET_CORE => return Err(ElfError::Unsupported("a core file, not a program")),
            _ => return Err(ElfError::Unsupported("an object file, not a program")),
        };
        let architecture = match header.e_machine.get(LE) {
            EM_X86_64 => "amd64",
            EM_AARCH64 => "arm64",
            EM_RISCV => "riscv64",
            EM_PPC64 => "ppc64le",
            EM_LOONGARCH => "loong64",
            EM_MIPS => "mips64le",
            _ => return Err(ElfError::Unsupported("a program for another processor")),
        };
        let at = header.e_phoff.get(LE);
        let count = usize::from(header.e_phnum.get(LE));
        let table = Some(count)
            .filter(|n| *n <= MOST_HEADERS)
            .and_then(|n| from.bytes(at, n * size_of::<ProgramHeader64<LittleEndian>>()))
            .ok_or(damaged("the program headers are not all there", at))?;
        let (segments, _) = pod::slice_from_bytes::<ProgramHeader64<LittleEndian>>(&table, count)
            .map_err(|()| damaged("the program headers are not all there", at))?;
        let of_kind = |kind| {
            let segments = segments.iter().filter(move |s| s.p_type.get(LE) == kind);
            segments.map(segment).collect::<Option<Vec<_>>>()
        };
        let overflow = || damaged("a segment reaches beyond the last address", at);
        let loads = of_kind(PT_LOAD).ok_or_else(overflow)?;
        let notes = of_kind(PT_NOTE).ok_or_else(overflow)?;
        let section_count = usize::from(header.e_shnum.get(LE));
        let sections = (header.e_shoff.get(LE), section_count);
        let sections = (sections.0 != 0 && section_count != 0 && section_count <= MOST_HEADERS)
            .then(|| {
                (
                    sections.0,
                    section_count,
                    usize::from(header.e_shstrndx.get(LE).0),
                )
            });
        // UPX writes its mark right behind the program headers.
        let packed = sections.is_none()
            && from
                .bytes(at + table.len() as u64, 64)
                .is_some_and(|b| b.windows(4).any(|w| w == b"UPX!"));
        Ok(Self {
            movable,
            architecture,
            loads,
            notes,
            table: at..at + table.len() as u64,
            sections,
            packed,
        })
    }

    /// Where what was read of the headers and notes is in memory, when the file's first byte is at
    /// `start`.
    pub(crate) fn addresses(&self, start: u64) -> Vec<Range<u64>> {
        let bias = self.bias(start);
        let notes = self.notes.iter().map(|n| {
            let at = bias.wrapping_add(n.addresses.start);
            at..at.saturating_add(n.file_size)
        });
        let in_file = [0..FILE_HEADER as u64, self.table.clone()];
        let in_file = in_file.map(|r| start.saturating_add(r.start)..start.saturating_add(r.end));
        in_file.into_iter().chain(notes).collect()
    }

    /// Whether UPX packed it: the program is then nowhere in the file.
    pub(crate) fn packed(&self) -> bool {
        self.packed
    }

    /// All addresses of the image, relative to its base.
    pub(crate) fn span(&self) -> Range<u64> {
        let start = self.loads.iter().map(|l| l.addresses.start).min();
        let end = self.loads.iter().map(|l| l.addresses.end).max();
        start.unwrap_or(0)..end.unwrap_or(0)
    }

    /// What has to be added to the addresses in the file, when its first byte is mapped at `start`.
    pub(crate) fn bias(&self, start: u64) -> u64 {
        if !self.movable {
            return 0;
        }
        let first = self.loads.first();
        start.wrapping_sub(first.map_or(0, |l| l.addresses.start.wrapping_sub(l.offset)))
    }

    /// Where the bytes at these addresses (relative to the base) lie in the file.
    pub(crate) fn file_offset(&self, address: u64, length: u64) -> Option<u64> {
        self.loads.iter().find_map(|load| {
            let into = address.checked_sub(load.addresses.start)?;
            (into.checked_add(length)? <= load.file_size).then(|| load.offset + into)
        })
    }
}

fn segment(header: &ProgramHeader64<LittleEndian>) -> Option<Segment> {
    let start = header.p_vaddr.get(LE);
    let size = header.p_memsz.get(LE);
    let flags = header.p_flags.get(LE);
    let offset = header.p_offset.get(LE);
    let file_size = header.p_filesz.get(LE).min(size);
    offset.checked_add(file_size)?;
    Some(Segment {
        addresses: start..start.checked_add(size)?,
        offset,
        file_size,
        writable: flags.0 & PF_W.0 != 0,
        executable: flags.0 & PF_X.0 != 0,
    })
}

/// The build id that the linker wrote: Go's own, or else the one of other linkers.
pub(crate) fn build_id(notes: &[u8]) -> Option<Vec<u8>> {
    const GO: (u32, &[u8]) = (4, b"Go\0\0");
    const GNU: (u32, &[u8]) = (3, b"GNU\0");
    let mut found = None;
    let mut rest = notes;
    while let (Some(name), Some(length), Some(kind)) = (
        crate::memory::half_at(rest, 0),
        crate::memory::half_at(rest, 4),
        crate::memory::half_at(rest, 8),
    ) {
        let name_end = 12 + (name as usize).next_multiple_of(4);
        let end = name_end.checked_add(length as usize)?;
        let (Some(name), Some(id)) = (rest.get(12..12 + name as usize), rest.get(name_end..end))
        else {
            break;
        };
        if (kind, name) == GO && !id.is_empty() {
            return Some(id.to_vec());
        }
        if (kind, name) == GNU && !id.is_empty() {
            found = Some(id.to_vec());
        }
        rest = rest.get(end.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// One section.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: Vec<u8>,
    /// Where it lies in memory, relative to the image's base; at 0 when it is not loaded.
    pub(crate) addresses: Range<u64>,
    header: SectionHeader64<LittleEndian>,
}

/// The sections of a file; none when it has no headers of them, or damaged ones.
pub(crate) fn sections(file: &File, headers: &Headers) -> Option<Vec<Section>> {
    let (at, count, names) = headers.sections?;
    let table = file.bytes(at, count * size_of::<SectionHeader64<LittleEndian>>())?;
    let (table, _) = pod::slice_from_bytes::<SectionHeader64<LittleEndian>>(&table, count).ok()?;
    let names = table.get(names).and_then(|names| contents(file, names));
    let names = names.unwrap_or_default();
    let section = |header: &SectionHeader64<LittleEndian>| {
        let start = header.sh_addr.get(LE);
        Section {
            name: string(&names, header.sh_name.get(LE)).to_vec(),
            addresses: start..start.saturating_add(header.sh_size.get(LE)),
            header: *header,
        }
    };
    Some(table.iter().map(section).collect())
}

fn contents(file: &File, section: &SectionHeader64<LittleEndian>) -> Option<Vec<u8>> {
    let size = section.sh_size.get(LE);
    if section.sh_type.get(LE) == SHT_NOBITS || size > LARGEST_TABLE {
        return None;
    }
    file.bytes(section.sh_offset.get(LE), usize::try_from(size).ok()?)
}

/// The string at `at` of a table, up to its zero byte.
fn string(table: &[u8], at: u32) -> &[u8] {
    let rest = table.get(at as usize..).unwrap_or_default();
    let end = rest.iter().position(|b| *b == 0).unwrap_or(0);
    &rest[..end]
}

/// The addresses (relative to the base) of the symbols with these names.
pub(crate) fn symbols<const N: usize>(
    file: &File,
    sections: &[Section],
    names: &[&[u8]; N],
) -> [Option<u64>; N] {
    let mut found = [None; N];
    let table = sections
        .iter()
        .find(|s| s.header.sh_type.get(LE) == SHT_SYMTAB);
    let Some(table) = table else { return found };
    let strings = sections.get(table.header.sh_link.get(LE) as usize);
    let (Some(symbols), Some(strings)) = (
        contents(file, &table.header),
        strings.and_then(|s| contents(file, &s.header)),
    ) else {
        return found;
    };
    let count = symbols.len() / size_of::<Sym64<LittleEndian>>();
    let Ok((symbols, _)) = pod::slice_from_bytes::<Sym64<LittleEndian>>(&symbols, count) else {
        return found;
    };
    for symbol in symbols {
        let rest = strings
            .get(symbol.st_name.get(LE) as usize..)
            .unwrap_or_default();
        for (name, found) in names.iter().zip(found.iter_mut()) {
            let is_it = rest.len() > name.len() && rest.starts_with(name) && rest[name.len()] == 0;
            if is_it && symbol.st_shndx.get(LE) != SHN_UNDEF {
                *found = Some(symbol.st_value.get(LE));
            }
        }
    }
    found
}
