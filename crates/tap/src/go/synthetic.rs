//! A Go program's memory, made by hand and as small as it can be: what tests take things away from.
//!
//! ```text
//! 0x400000  ELF header, 3 program headers, note with a build id        read, execute
//! 0x400800  function table
//! 0x401000  meta-data of two packages
//! 0x402000  module data at 0x402100                                    read, write
//! 0x403000  bss: the package list's header at 0x403040                 read, write, no file
//! 0x403400  noptrbss: the runtime's hash at 0x403420
//! 0x403500  counters
//! 0xc000000000  the package list                                       read, write, no file
//! ```

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use covtap_model::counter::CounterMode;
use covtap_profile::go::meta::{Function, Granularity, MetaUnit, Package, process_hash};
use covtap_profile::go::meta_writer::PackageBuilder;

use super::{AttachError, Attached};
use crate::clock::Moment;
use crate::image::{FileKey, Images};
use crate::maps::{FileId, Region};
use crate::memory::recorded::Recording;
use crate::target::{Files, Module, Process, Target};

pub(super) const BASE: u64 = 0x40_0000;
pub(super) const TABLE: u64 = 0x40_0800;
pub(super) const BLOBS: u64 = 0x40_1000;
pub(super) const MODULE_DATA: u64 = 0x40_2100;
pub(super) const LIST: u64 = 0x40_3040;
pub(super) const HASH: u64 = 0x40_3420;
pub(super) const COUNTERS: u64 = 0x40_3500;
pub(super) const ENTRIES: u64 = 0xc0_0000_0000;
const COUNTERS_LENGTH: u64 = 0x60;

/// The memory, page by page as it is mapped.
#[derive(Clone)]
pub(super) struct Synthetic {
    pieces: Vec<(Region, Vec<u8>)>,
}

impl Synthetic {
    /// A sound program: package `m/p` with functions of 1 and 3 units, `m/q` with one of 2; the
    /// second function of `m/p` and that of `m/q` ran.
    pub(super) fn new() -> Self {
        let mut made = Self {
            pieces: vec![
                piece(BASE..BASE + 0x2000, 0, "rx"),
                piece(BASE + 0x2000..BASE + 0x3000, 0x2000, "rw"),
                piece(BASE + 0x3000..BASE + 0x4000, 0, "rw"),
                piece(ENTRIES..ENTRIES + 0x1000, 0, "rw"),
            ],
        };
        for (region, _) in &mut made.pieces[2..] {
            region.file = None;
            region.path = "".into();
        }
        made.headers();
        made.put(TABLE, &[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
        let mut words = [0_u64; 36];
        words[0] = TABLE;
        for slice in [1, 4, 7, 10, 13, 16] {
            words[slice] = TABLE;
        }
        let bounds = [
            (20, BASE..BASE + 0x700),
            (22, BASE..BASE + 0x700),
            (24, BASE + 0x2000..BASE + 0x2800),
            (26, BASE + 0x2800..BASE + 0x3000),
            (28, BASE + 0x3000..BASE + 0x3400),
            (30, BASE + 0x3400..COUNTERS + COUNTERS_LENGTH),
            (32, COUNTERS..COUNTERS + COUNTERS_LENGTH),
        ];
        for (at, range) in bounds {
            (words[at], words[at + 1]) = (range.start, range.end);
        }
        made.put_words(MODULE_DATA, &words);
        made.packages();
        made.put_counters(0x00, &[3, 1, 1, 0, 7, 0]);
        made.put_counters(0x20, &[2, 2, 0, 5, 0]);
        made
    }

    fn headers(&mut self) {
        let header: [u64; 8] = [
            u64::from_le_bytes(*b"\x7fELF\x02\x01\x01\0"),
            0,
            // ET_EXEC for EM_X86_64, version 1.
            2 | 62 << 16 | 1 << 32,
            BASE,
            64,
            0,
            // Sizes of the headers, and 3 of them.
            64 << 32 | 56 << 48,
            3,
        ];
        self.put_words(BASE, &header);
        let program = |kind: u64, flags: u64, offset: u64, file: u64, memory: u64| {
            let address = BASE + offset;
            [
                kind | flags << 32,
                offset,
                address,
                address,
                file,
                memory,
                0x1000,
            ]
        };
        self.put_words(BASE + 64, &program(1, 5, 0, 0x2000, 0x2000));
        self.put_words(BASE + 64 + 56, &program(1, 6, 0x2000, 0x1000, 0x2000));
        self.put_words(BASE + 64 + 112, &program(4, 4, 0x300, 28, 28));
        self.put(
            BASE + 0x300,
            b"\x04\0\0\0\x0b\0\0\0\x04\0\0\0Go\0\0synthetic-1",
        );
    }

    fn packages(&mut self) {
        let units: Vec<MetaUnit> = (1..=3)
            .map(|line| MetaUnit {
                start_line: line,
                start_column: 1,
                end_line: line,
                end_column: 2,
                statements: line,
            })
            .collect();
        let blob = |path: &[u8], counts: &[usize]| {
            let mut builder = PackageBuilder::new(path, &path[2..], b"m");
            for &count in counts {
                builder.add(&Function {
                    name: b"F",
                    file: b"m/f.go",
                    literal: false,
                    units: &units[..count],
                });
            }
            builder.finish()
        };
        let blobs = [blob(b"m/p", &[1, 3]), blob(b"m/q", &[2])];
        let hashes: Vec<[u8; 16]> = blobs
            .iter()
            .map(|b| b[16..32].try_into().unwrap())
            .collect();
        let first = Package::parse(&blobs[0]).unwrap();
        let hash = process_hash(&first, &hashes, CounterMode::Count, Granularity::PerBlock);
        self.put(HASH, &hash);
        for (i, blob) in (0..).zip(&blobs) {
            let at = BLOBS + 0x200 * i;
            self.put(at, blob);
            let entry = ENTRIES + 64 * i;
            self.put_words(entry, &[at, blob.len() as u64]);
            self.put(entry + 12, &blob[16..32]);
            self.put_words(entry + 32, &[BLOBS, 3, u64::MAX]);
            self.put(
                entry + 56,
                &[CounterMode::Count as u8, Granularity::PerBlock as u8],
            );
        }
        self.put_words(LIST, &[ENTRIES, blobs.len() as u64, 4]);
    }

    /// Writes bytes.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        let piece = self.pieces.iter_mut();
        let piece = piece
            .into_iter()
            .find(|(r, _)| (r.start..r.end).contains(&at));
        let (region, memory) = piece.unwrap();
        memory[(at - region.start) as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Writes words of 64 bits.
    pub(super) fn put_words(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.put(at, &bytes);
    }

    /// Writes counters, `at` bytes after the first.
    pub(super) fn put_counters(&mut self, at: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.put(COUNTERS + at, &bytes);
    }

    /// Writes word `index` of the module data.
    pub(super) fn put_module_data(&mut self, index: u64, word: u64) {
        self.put_words(MODULE_DATA + 8 * index, &[word]);
    }

    /// Takes away all from this address to the end of its region.
    pub(super) fn cut(&mut self, at: u64) {
        for (region, memory) in &mut self.pieces {
            if (region.start..region.end).contains(&at) {
                memory.truncate((at - region.start) as usize);
                region.end = at;
            }
        }
    }

    /// What of it would be recorded.
    pub(super) fn recording(&self) -> Recording {
        let target = Target {
            pid: 7,
            start_ticks: 100,
        };
        let mut recording = Recording::new(target, Moment(9), b"program".to_vec(), Some(FILE));
        for (region, bytes) in &self.pieces {
            recording.add(region, region.start, bytes.clone());
        }
        recording
    }

    pub(super) fn attach(&self) -> Result<Attached, AttachError> {
        Attached::replay(self.recording(), &Images::new())
    }

    /// The program's file, with these sections (name, address) and, unless there are none, these
    /// symbols.
    pub(super) fn file(&self, sections: &[(&str, u64)], symbols: &[(&str, u64)]) -> Vec<u8> {
        let mut file: Vec<u8> = self.pieces[..2].iter().flat_map(|p| p.1.clone()).collect();
        let mut headers = vec![[0_u64; 8]];
        let mut names = vec![0];
        let mut named = |name: &str| {
            let at = names.len() as u64;
            names.extend(name.bytes().chain([0]));
            at
        };
        const PROGBITS: u64 = 1 << 32;
        for (name, address) in sections {
            let offset = address - BASE;
            headers.push([named(name) | PROGBITS, 2, *address, offset, 0x120, 0, 8, 0]);
        }
        if !symbols.is_empty() {
            let mut strings = vec![0];
            let mut table = vec![0; 24];
            for (name, address) in symbols {
                let (at, section) = (strings.len() as u64, 1 << 48);
                strings.extend(name.bytes().chain([0]));
                table.extend(
                    [at | section, *address, 8]
                        .iter()
                        .flat_map(|w| w.to_le_bytes()),
                );
            }
            let link = headers.len() as u64 + 1;
            let (at, length) = (file.len() as u64, table.len() as u64);
            headers.push([named(".symtab") | 2 << 32, 0, 0, at, length, link, 8, 24]);
            file.extend(table);
            let (at, length) = (file.len() as u64, strings.len() as u64);
            headers.push([named(".strtab") | 3 << 32, 0, 0, at, length, 0, 1, 0]);
            file.extend(strings);
        }
        let name = named(".shstrtab");
        let (at, length) = (file.len() as u64, names.len() as u64);
        headers.push([name | 3 << 32, 0, 0, at, length, 0, 1, 0]);
        file.extend(names);
        file.resize(file.len().next_multiple_of(8), 0);
        let at = file.len() as u64;
        file[40..48].copy_from_slice(&at.to_le_bytes());
        let count = headers.len() as u16;
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        file[60..62].copy_from_slice(&count.to_le_bytes());
        file[62..64].copy_from_slice(&(count - 1).to_le_bytes());
        file.extend(headers.iter().flatten().flat_map(|w| w.to_le_bytes()));
        file
    }

    /// The process, with this file.
    pub(super) fn process_with(&self, file: &Path) -> Process {
        let mut process = self.recording().into_process();
        process.files = Box::new(OneFile(file.to_owned()));
        process
    }

    /// Attaches with this file.
    pub(super) fn attach_with(
        &self,
        file: &Path,
        images: &Images,
    ) -> Result<Attached, AttachError> {
        Attached::attach_process(self.process_with(file), images)
    }

    /// One package more, without functions; the runtime has not computed its hash.
    pub(super) fn package_without_functions(&mut self) {
        let blob = PackageBuilder::new(b"m/types", b"types", b"m").finish();
        let (at, entry) = (BLOBS + 0x400, ENTRIES + 128);
        self.put(at, &blob);
        self.put_words(entry, &[at, blob.len() as u64]);
        self.put(entry + 12, &blob[16..32]);
        self.put_words(entry + 32, &[BLOBS, 3, u64::MAX]);
        self.put(
            entry + 56,
            &[CounterMode::Count as u8, Granularity::PerBlock as u8],
        );
        self.put(HASH, &[0; 16]);
    }
}

/// The only file that there is.
struct OneFile(PathBuf);

impl Files for OneFile {
    fn open(&self, _: &Module) -> Option<(File, FileKey)> {
        let file = File::open(&self.0).ok()?;
        let key = FileKey::of(&file.metadata().ok()?);
        Some((file, key))
    }
}

const FILE: FileId = FileId {
    device: (8, 1),
    inode: 42,
};

fn piece(range: Range<u64>, offset: u64, rights: &str) -> (Region, Vec<u8>) {
    let region = Region {
        readable: rights.contains('r'),
        writable: rights.contains('w'),
        executable: rights.contains('x'),
        start: range.start,
        end: range.end,
        offset,
        file: Some(FILE),
        path: "/program".into(),
    };
    (region, vec![0; (range.end - range.start) as usize])
}
