//! One running process: its identity, and what it has mapped.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::clock::Moment;
use crate::image::FileKey;
use crate::maps::{self, FileId, Region};
use crate::memory::{Memory, MemoryError, live::Live};
use crate::proc;

/// A process, with what tells it from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Process id.
    pub pid: u32,
    /// Its start in clock ticks since boot.
    pub start_ticks: u64,
}

impl Target {
    /// The process that has this number now.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(pid: u32) -> io::Result<Self> {
        let stat = proc::stat(pid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Self {
            pid,
            start_ticks: stat.start_ticks,
        })
    }

    /// Whether the number is still this process's.
    #[must_use]
    pub fn is_there(&self) -> bool {
        proc::stat(self.pid).is_some_and(|s| s.start_ticks == self.start_ticks && !s.ended())
    }
}

/// Longest run of memory that is read in one piece, in bytes.
pub(crate) const PIECE: u64 = 1 << 20;

/// A file that a process has mapped as a program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) file: FileId,
    pub(crate) path: PathBuf,
    /// Where the file's first byte is mapped.
    pub(crate) base: u64,
    /// Where that mapping ends.
    pub(crate) end: u64,
    /// Whether it is the program itself.
    pub(crate) main: bool,
}

/// Opens the files that a process has mapped.
pub(crate) trait Files: Send {
    /// The file of a module; `None` when it is no more, or may not be seen.
    fn open(&self, module: &Module) -> Option<(File, FileKey)>;
}

/// There are none: everything is read from memory.
pub(crate) struct NoFiles;

impl Files for NoFiles {
    fn open(&self, _: &Module) -> Option<(File, FileKey)> {
        None
    }
}

/// The files of a running process, whatever its mount namespace, also deleted ones.
struct LiveFiles {
    pid: u32,
}

impl LiveFiles {
    fn open_at(path: &Path, inode: Option<u64>) -> Option<(File, FileKey)> {
        // A path in another's file system may have become a pipe or a device meanwhile: look before
        // opening, and do not wait.
        let fits = |m: &fs::Metadata| m.is_file() && inode.is_none_or(|inode| m.ino() == inode);
        fs::metadata(path).ok().filter(fits)?;
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .ok()?;
        let metadata = file.metadata().ok().filter(fits)?;
        let key = FileKey::of(&metadata);
        Some((file, key))
    }
}

impl Files for LiveFiles {
    fn open(&self, module: &Module) -> Option<(File, FileKey)> {
        let folder = PathBuf::from(format!("/proc/{}", self.pid));
        if module.main {
            return Self::open_at(&folder.join("exe"), None);
        }
        let inode = Some(module.file.inode);
        // Needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, and finds deleted files too.
        let mapping = format!("map_files/{:x}-{:x}", module.base, module.end);
        Self::open_at(&folder.join(mapping), inode).or_else(|| {
            let inside = module.path.strip_prefix("/").ok()?;
            Self::open_at(&folder.join("root").join(inside), inode)
        })
    }
}

/// How a process was called.
pub(crate) enum Command {
    /// `/proc/PID/cmdline` says.
    Running,
    /// By this name.
    Known(Vec<u8>),
}

/// A process that can be read.
pub(crate) struct Process {
    pub(crate) target: Target,
    /// The moment of its start as the names of its files have it, the same whoever asks.
    pub(crate) started: Moment,
    pub(crate) command: Command,
    pub(crate) memory: Box<dyn Memory + Send>,
    pub(crate) regions: Vec<Region>,
    /// Which of the mapped files is the program itself.
    pub(crate) main: Option<FileId>,
    pub(crate) files: Box<dyn Files>,
}

impl Process {
    /// A running process, as it is now.
    ///
    /// # Errors
    /// [`MemoryError`]: it is gone, or may not be read.
    pub(crate) fn live(target: Target) -> Result<Self, MemoryError> {
        let memory = Live::open(target)?;
        let regions = maps::read(target.pid).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => MemoryError::Gone,
            io::ErrorKind::PermissionDenied => MemoryError::Denied,
            _ if e.raw_os_error() == Some(libc::ESRCH) => MemoryError::Gone,
            _ => MemoryError::Read(e),
        })?;
        let main = main_file(target.pid, &regions);
        Ok(Self {
            target,
            started: proc::started_for_names(target),
            command: Command::Running,
            memory: Box::new(memory),
            regions,
            main,
            files: Box::new(LiveFiles { pid: target.pid }),
        })
    }

    /// What it executes, when no file that is mapped tells.
    pub(crate) fn name(&self) -> PathBuf {
        match &self.command {
            Command::Running => proc::executable_path(self.target.pid),
            Command::Known(name) => PathBuf::from(OsStr::from_bytes(name)),
        }
    }

    /// The files that may be programs or libraries: the program first.
    pub(crate) fn modules(&self) -> Vec<Module> {
        // Data files are mapped too, but never to be executed.
        let executable = self.regions.iter().filter(|r| r.executable);
        let executable: HashSet<FileId> = executable.filter_map(|r| r.file).collect();
        let mut modules: Vec<Module> = Vec::new();
        for region in &self.regions {
            let begins = region.offset == 0 && region.readable && region.length() > 0;
            let Some(file) = region.file.filter(|f| begins && executable.contains(f)) else {
                continue;
            };
            if modules.iter().all(|m| m.file != file) {
                modules.push(Module {
                    file,
                    path: region.path.clone(),
                    base: region.start,
                    end: region.end,
                    main: self.main == Some(file),
                });
            }
        }
        modules.sort_by_key(|m| !m.main);
        modules
    }

    /// Reads the readable parts of a range in pieces, lowest addresses first, until `each` has enough
    /// and returns `false`. Pieces begin at multiples of 8; where a piece goes on in the next, the
    /// last `overlap` bytes (a multiple of 8) of the first are the first of the second.
    pub(crate) fn pieces(
        &self,
        range: &Range<u64>,
        overlap: u64,
        mut each: impl FnMut(&[u8], u64) -> bool,
    ) -> Result<(), MemoryError> {
        let mut buffer = Vec::new();
        for stretch in self.stretches(range) {
            let mut at = stretch.start.next_multiple_of(8);
            while at < stretch.end {
                let end = stretch.end.min(at + PIECE);
                buffer.resize((end - at) as usize, 0);
                self.memory.read(at, &mut buffer)?;
                if !each(&buffer, at) {
                    return Ok(());
                }
                at = if end == stretch.end {
                    end
                } else {
                    end - overlap
                };
            }
        }
        Ok(())
    }

    /// The readable parts of a range; regions without a gap between them are one.
    fn stretches(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for region in self.regions.iter().filter(|r| r.readable) {
            let (start, end) = (region.start.max(range.start), region.end.min(range.end));
            match stretches.last_mut() {
                _ if start >= end => {}
                Some(last) if last.end == start => last.end = end,
                _ => stretches.push(start..end),
            }
        }
        stretches
    }

    /// The region that an address lies in.
    pub(crate) fn region(&self, address: u64) -> Option<&Region> {
        let mut regions = self.regions.iter();
        regions.find(|r| (r.start..r.end).contains(&address))
    }

    /// Whether all these bytes are mapped and may be read.
    pub(crate) fn is_readable(&self, address: u64, length: u64) -> bool {
        let range = address..address.saturating_add(length);
        range.is_empty() || self.stretches(&range) == [range]
    }
}

/// Which of the mapped files `pid` executes.
fn main_file(pid: u32, regions: &[Region]) -> Option<FileId> {
    let metadata = proc::executable(pid).ok();
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let device = |m: &fs::Metadata| (rustix::fs::major(m.dev()), rustix::fs::minor(m.dev()));
    let files = || regions.iter().filter_map(|r| Some((r.file?, &r.path)));
    let by_identity = metadata.as_ref().and_then(|m| {
        let mut files = files().map(|(file, _)| file);
        files.find(|f| f.inode == m.ino() && f.device == device(m))
    });
    // Some file systems (btrfs, overlayfs on some kernels) show another device number in the maps.
    by_identity.or_else(|| {
        let path = path?;
        files().find(|(_, p)| **p == path).map(|(file, _)| file)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_that_is_not_the_mapped_one_is_not_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("library.so");
        fs::write(&path, "mapped").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert!(LiveFiles::open_at(&path, Some(inode)).is_some());
        assert!(LiveFiles::open_at(&path, Some(inode + 1)).is_none());
        assert!(LiveFiles::open_at(scratch.path(), None).is_none());
        // Opening a pipe would wait for a writer.
        let pipe = scratch.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (done, answer) = channel();
        std::thread::spawn(move || done.send(LiveFiles::open_at(&pipe, None).is_none()));
        assert_eq!(answer.recv_timeout(Duration::from_secs(60)), Ok(true));
    }

    fn region(start: u64, end: u64, readable: bool, offset: u64) -> Region {
        Region {
            start,
            end,
            readable,
            writable: false,
            executable: false,
            offset,
            file: None,
            path: PathBuf::new(),
        }
    }

    /// Each byte is the last byte of its address.
    struct Addresses;

    impl Memory for Addresses {
        fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
            for (i, byte) in into.iter_mut().enumerate() {
                *byte = (address + i as u64) as u8;
            }
            Ok(())
        }
    }

    fn process(regions: Vec<Region>) -> Process {
        Process {
            target: Target {
                pid: 1,
                start_ticks: 1,
            },
            started: Moment::default(),
            command: Command::Known(Vec::new()),
            memory: Box::new(Addresses),
            regions,
            main: None,
            files: Box::new(NoFiles),
        }
    }

    #[test]
    fn regions_without_a_gap_are_read_as_one() {
        let big = 3 * PIECE;
        let process = process(vec![
            region(0x1000, 0x1800, true, 0),
            region(0x1800, big, true, 0),
            region(big, big + 0x1000, false, 0),
            region(big + 0x1000, big + 0x1004, true, 0),
        ]);
        let mut pieces = Vec::new();
        let range = 0x1003..big + 0x2000;
        let whole = process.pieces(&range, 16, |bytes, at| {
            assert_eq!(bytes[0], at as u8);
            pieces.push((at, bytes.len() as u64));
            true
        });
        whole.unwrap();
        let second = 0x1008 + PIECE - 16;
        let expected = [
            (0x1008, PIECE),
            (second, PIECE),
            (second + PIECE - 16, big - (second + PIECE - 16)),
            (big + 0x1000, 4),
        ];
        assert_eq!(pieces, expected);
        assert!(process.is_readable(0x17ff, 2) && process.is_readable(0x1000, big - 0x1000));
        assert!(process.is_readable(5, 0) && process.is_readable(u64::MAX, 0));
        assert!(!process.is_readable(0xfff, 2) && !process.is_readable(big - 1, 2));
        assert!(!process.is_readable(0x1000, u64::MAX));
        let mut first = Vec::new();
        let some = process.pieces(&range, 0, |_, at| {
            first.push(at);
            false
        });
        some.unwrap();
        assert_eq!(first, [0x1008], "enough is enough");
    }

    #[test]
    fn what_is_mapped_as_program_is_a_module_and_the_program_comes_first() {
        let file = |inode| FileId {
            device: (8, 1),
            inode,
        };
        let of = |inode, start, offset, executable| Region {
            file: Some(file(inode)),
            executable,
            ..region(start, start + 0x1000, true, offset)
        };
        let mut process = process(vec![
            of(7, 0x1000, 0, false),
            of(7, 0x2000, 0x1000, true),
            of(8, 0x3000, 0, false),
            of(9, 0x4000, 0, true),
            of(9, 0x9000, 0, true),
            // Only a part of it is mapped: there is no header to read.
            of(10, 0xa000, 0x1000, true),
        ]);
        process.main = Some(file(9));
        let modules = process.modules();
        let found: Vec<_> = modules
            .iter()
            .map(|m| (m.file.inode, m.base, m.main))
            .collect();
        assert_eq!(found, [(9, 0x4000, true), (7, 0x1000, false)]);
    }
}
