//! What an ELF file says of itself, looked at once and kept: a program that is started a thousand
//! times is read once.

mod elf;

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use elf::ElfError;
pub(crate) use elf::{Bytes, Headers};

use crate::go::{Build, Found};
use crate::memory::{self, Memory};
use crate::target::{Module, Process};

/// The identity of a file and its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl FileKey {
    /// The key of the file with this metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }

    /// Device and inode.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// The key of a file that may not be seen: one of its own for each process.
    pub(crate) fn hidden(pid: u32, start_ticks: u64) -> Self {
        Self {
            device: u64::MAX,
            inode: pid.into(),
            modified: (0, 0),
            size: start_ticks,
        }
    }
}

/// Addresses that the symbol table names, relative to the image's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbols {
    /// `runtime.firstmoduledata`
    pub(crate) module_data: u64,
    /// `internal/coverage/rtcov.Meta`, up to Go 1.22 `runtime.covMeta`; none without coverage.
    pub(crate) list: Option<u64>,
    /// `internal/coverage/cfile.finalHash`, up to Go 1.22 `runtime/coverage.finalHash`.
    pub(crate) final_hash: Option<u64>,
}

/// Where to look for what the symbol table does not name. Addresses relative to the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// What begins with the function table, or holds it.
    pub(crate) tables: Vec<Range<u64>>,
    /// What holds the module data.
    pub(crate) module_data: Vec<Range<u64>>,
}

/// What the file says about where Go keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Clues {
    /// It is not a Go program: its sections show it.
    NotGo,
    /// It has sections, and perhaps symbols.
    Sections {
        symbols: Option<Symbols>,
        places: Places,
    },
    /// It has no sections, or could not be read: the memory has to be searched.
    Nothing,
}

/// What was found out in the memory of one process and holds for all of this image. Addresses
/// relative to the base.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learned {
    /// All of it was searched, and there is nothing of Go in it.
    pub(crate) not_go: bool,
    pub(crate) module_data: Option<(u64, Found)>,
    pub(crate) list: Option<u64>,
    pub(crate) final_hash: Option<u64>,
    /// How many packages' meta-data lie in it.
    pub(crate) packages: Option<usize>,
    /// The meta-data in the orders that processes registered them: nearly always one.
    pub(crate) builds: Vec<Arc<Build>>,
}

impl Learned {
    /// Orders of packages that are kept. One is all there should be.
    const MOST_BUILDS: usize = 8;

    /// Keeps what a complete look found.
    pub(crate) fn remember(&mut self, list: u64, final_hash: Option<u64>, build: &Arc<Build>) {
        self.list = Some(list);
        self.final_hash = final_hash.or(self.final_hash);
        self.packages.get_or_insert(build.entries.len());
        if self.builds.iter().all(|b| b.entries != build.entries) {
            self.builds.truncate(Self::MOST_BUILDS - 1);
            self.builds.insert(0, build.clone());
        }
    }
}

/// One ELF file, or what is mapped of one.
#[derive(Debug)]
pub struct Image {
    pub(crate) headers: Headers,
    /// The linker's id of this build; empty when it has none.
    pub(crate) build_id: Vec<u8>,
    pub(crate) clues: Clues,
    learned: Mutex<Learned>,
}

impl Image {
    fn of_file(file: &File) -> Result<Self, ElfError> {
        let headers = Headers::read(file)?;
        if headers.packed() {
            return Err(PACKED);
        }
        let build_id = headers
            .notes
            .iter()
            .filter_map(|n| file.bytes(n.offset, usize::try_from(n.file_size).ok()?))
            .find_map(|notes| elf::build_id(&notes))
            .unwrap_or_default();
        let sections = elf::sections(file, &headers);
        let clues = sections.map_or(Clues::Nothing, |sections| clues(file, &sections));
        Ok(Self {
            headers,
            build_id,
            clues,
            learned: Mutex::default(),
        })
    }

    fn of_memory(memory: &dyn Memory, module: &Module) -> Result<Self, ElfError> {
        let mapped = Mapped {
            memory,
            start: module.base,
        };
        let headers = Headers::read(&mapped)?;
        if headers.packed() {
            return Err(PACKED);
        }
        let bias = headers.bias(module.base);
        let notes = headers.notes.iter().filter_map(|n| {
            let at = bias.wrapping_add(n.addresses.start);
            memory::bytes(memory, at, usize::try_from(n.file_size.min(4096)).ok()?).ok()
        });
        let build_id = notes
            .filter_map(|n| elf::build_id(&n))
            .next()
            .unwrap_or_default();
        Ok(Self {
            headers,
            build_id,
            clues: Clues::Nothing,
            learned: Mutex::default(),
        })
    }

    /// What was found out of this image's processes.
    pub(crate) fn learned(&self) -> MutexGuard<'_, Learned> {
        // What a thread left behind when it panicked is still true.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PACKED: ElfError =
    ElfError::Unsupported("a program that UPX packed: what runs is not what is in the file");

fn clues(file: &File, sections: &[elf::Section]) -> Clues {
    let named = |names: &[&[u8]]| -> Vec<Range<u64>> {
        let sections = sections.iter();
        let sections = sections.filter(|s| names.contains(&s.name.as_slice()));
        sections.map(|s| s.addresses.clone()).collect()
    };
    let mut tables = named(&[b".gopclntab", b".data.rel.ro.gopclntab"]);
    if tables.is_empty() {
        if named(&[b".go.buildinfo", b".note.go.buildid"]).is_empty() {
            return Clues::NotGo;
        }
        // A PIE that the C linker linked keeps the table here up to Go 1.25.
        tables = named(&[b".data.rel.ro"]);
    }
    let [module_data, list, old_list, hash, old_hash] = elf::symbols(
        file,
        sections,
        &[
            b"runtime.firstmoduledata",
            b"internal/coverage/rtcov.Meta",
            b"runtime.covMeta",
            b"internal/coverage/cfile.finalHash",
            b"runtime/coverage.finalHash",
        ],
    );
    Clues::Sections {
        symbols: module_data.map(|module_data| Symbols {
            module_data,
            list: list.or(old_list),
            final_hash: hash.or(old_hash),
        }),
        places: Places {
            tables,
            // The first from Go 1.26 on, the second before.
            module_data: named(&[b".go.module", b".noptrdata"]),
        },
    }
}

/// The start of an ELF file as it is mapped.
struct Mapped<'a> {
    memory: &'a dyn Memory,
    start: u64,
}

impl Bytes for Mapped<'_> {
    fn bytes(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        memory::bytes(self.memory, self.start.checked_add(offset)?, length).ok()
    }
}

/// All images that were looked at. Clones share what they know; threads may use it at once.
#[derive(Clone, Debug, Default)]
pub struct Images {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    files: HashMap<FileKey, Result<Arc<Image>, ElfError>>,
    /// The same build in another file: a container's layer is a file of its own in each container.
    builds: HashMap<(Vec<u8>, Option<u64>), Arc<Image>>,
}

impl Known {
    /// Files beyond this number make room by forgetting those that no process uses.
    const MOST: usize = 1024;

    fn make_room(&mut self) {
        if self.files.len() < Self::MOST {
            return;
        }
        self.builds.retain(|_, image| Arc::strong_count(image) > 2);
        self.files
            .retain(|_, image| image.as_ref().is_ok_and(|i| Arc::strong_count(i) > 1));
    }
}

impl Images {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The image of a module of a process, and its file when it could be opened.
    pub(crate) fn of(
        &self,
        process: &Process,
        module: &Module,
    ) -> Result<(Arc<Image>, Option<File>), ElfError> {
        let Some((file, key)) = process.files.open(module) else {
            return self.of_memory(process, module).map(|image| (image, None));
        };
        if let Some(known) = self.lock().files.get(&key) {
            return known.clone().map(|image| (image, Some(file)));
        }
        let image = Image::of_file(&file).map(Arc::new);
        let mut known = self.lock();
        known.make_room();
        let image = image.map(|image| known.shared(image, Some(key.size)));
        known.files.insert(key, image.clone());
        image.map(|image| (image, Some(file)))
    }

    fn of_memory(&self, process: &Process, module: &Module) -> Result<Arc<Image>, ElfError> {
        let image = Arc::new(Image::of_memory(&*process.memory, module)?);
        Ok(self.lock().shared(image, None))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The image that is known already of the same build, or this one.
    fn shared(&mut self, image: Arc<Image>, size: Option<u64>) -> Arc<Image> {
        if image.build_id.is_empty() {
            return image;
        }
        let known = self
            .builds
            .entry((image.build_id.clone(), size))
            .or_insert_with(|| image.clone());
        // An id can be forged or reused; the headers then tell.
        if known.headers == image.headers && known.clues == image.clues {
            known.clone()
        } else {
            image
        }
    }
}
