//! A process whose counters can be read.

use std::fmt;
use std::fs;
use std::sync::Arc;

use covtap_profile::go::meta::MetaFile;

use super::Build;
use super::error::AttachError;
use super::files::{FileNames, command_line};
use super::layout::{Complete, Found, Layout};
use super::list;
use super::module::ModuleData;
use super::search::Search;
use super::snapshot::{Reader, Snapshot, SnapshotError};
use crate::image::{Image, Images};
use crate::keep::{Arguments, counter_file};
use crate::maps::{self, FileId, Region};
use crate::memory::recorded::Recording;
use crate::memory::{self, Memory, MemoryError, word_at};
use crate::proc;
use crate::target::{Command, Module, NoFiles, Process, Target};

/// A process whose counters can be read.
pub struct Attached {
    process: Process,
    build: Arc<Build>,
    /// Keeps the image known while a process uses it.
    image: Arc<Image>,
    module: Module,
    module_data: ModuleData,
    layout: Layout,
    reader: Reader,
    names: FileNames,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached")
            .field("target", &self.process.target)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl Attached {
    /// Finds the counters of a running process. It is not stopped.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(target: Target, images: &Images) -> Result<Self, AttachError> {
        let pid = target.pid;
        let process = Process::live(target).map_err(|e| AttachError::of_memory(pid, e))?;
        if process.regions.is_empty() {
            return Err(if proc::is_kernel_thread(pid) {
                AttachError::KernelThread { pid }
            } else {
                AttachError::of_dead(pid)
            });
        }
        let regions = process.regions.clone();
        let result = Self::attach_process(process, images);
        // In the middle of an exec some of the program is mapped and some is not: nothing that was
        // said of it holds.
        if matches!(&result, Err(error) if !error.is_passing()) && in_exec(pid, &regions) {
            return Err(AttachError::Replaced { pid });
        }
        result
    }

    /// Finds the counters in memory that may be anything, a recording for example. `regions` are what
    /// of it is mapped, lowest addresses first; `main` is the program among the mapped files. No file
    /// is opened.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach_to(
        target: Target,
        memory: impl Memory + Send + 'static,
        regions: Vec<Region>,
        main: Option<FileId>,
        images: &Images,
    ) -> Result<Self, AttachError> {
        let process = Process {
            target,
            started: proc::started_for_names(target),
            command: Command::Known(Vec::new()),
            memory: Box::new(memory),
            regions,
            main,
            files: Box::new(NoFiles),
        };
        Self::attach_process(process, images)
    }

    /// Finds the counters in a recording, as if it were the process. No rights are needed.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn replay(recording: Recording, images: &Images) -> Result<Self, AttachError> {
        Self::attach_process(recording.into_process(), images)
    }

    /// Records what a later look needs to come to the same: headers, tables, the package list and
    /// meta-data, and the counters as a [`snapshot`](Self::snapshot) saw them, which is returned too.
    /// Nothing else of the process's memory.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn record(&mut self) -> Result<(Recording, Snapshot), SnapshotError> {
        let snapshot = self.snapshot()?;
        let memory = &*self.process.memory;
        let mut recording = Recording::new(
            self.process.target,
            self.process.started,
            self.arguments(false)
                .arguments
                .into_iter()
                .next()
                .unwrap_or_default(),
            self.process.main,
        );
        let data = &self.module_data;
        let counters = data.counter_words();
        if let Some(region) = self.process.region(counters.start) {
            recording.add(region, counters.start, self.reader.accepted());
        }
        // That the module has code shows that it is a program or library; the code itself is not kept.
        let of_module = |r: &&Region| r.file == Some(self.module.file);
        if let Some(code) = self
            .process
            .regions
            .iter()
            .filter(of_module)
            .find(|r| r.executable)
        {
            recording.add(code, code.start, Vec::new());
        }
        let [entries, count] = memory::words::<2>(memory, self.layout.list)?;
        let mut ranges = self.image.headers.addresses(self.module.base);
        ranges.extend([
            data.table..data.table.saturating_add(8),
            data.words(),
            self.layout.list..self.layout.list.saturating_add(24),
            entries..entries.saturating_add(count.saturating_mul(list::ELEMENT as u64)),
        ]);
        // What is searched for is found at multiples of 8.
        let hash = self.layout.final_hash.map(|at| at & !7);
        ranges.extend(hash.map(|at| at..at.saturating_add(24)));
        ranges.extend(self.build.entries.iter().map(|e| {
            let start = self.layout.bias.wrapping_add(e.blob);
            start..start.saturating_add(e.length.into())
        }));
        for region in self.process.regions.iter().filter(|r| r.readable) {
            for range in &ranges {
                let (start, end) = (region.start.max(range.start), region.end.min(range.end));
                if start < end {
                    let bytes = memory::bytes(memory, start, (end - start) as usize)?;
                    recording.add(region, start, bytes);
                }
            }
        }
        Ok((recording, snapshot))
    }

    pub(super) fn attach_process(process: Process, images: &Images) -> Result<Self, AttachError> {
        let pid = process.target.pid;
        let found = Search {
            process: &process,
            images,
        }
        .run();
        // Whatever it looked like: if the process is not the same any more, that is why.
        if let Err(error @ (MemoryError::Gone | MemoryError::Replaced)) = process.memory.check() {
            return Err(AttachError::of_memory(pid, error));
        }
        let found = found?;
        Ok(Self {
            names: FileNames::new(&found.build.meta, process.target.pid, process.started),
            reader: Reader::new(found.module_data.counter_words()),
            build: found.build,
            image: found.image,
            module: found.module,
            module_data: found.module_data,
            layout: found.layout,
            process,
        })
    }

    /// The process.
    #[must_use]
    pub fn target(&self) -> Target {
        self.process.target
    }

    /// The meta-data of the build; its [`bytes`](MetaFile::bytes) are the process's own `covmeta`
    /// file, byte for byte.
    #[must_use]
    pub fn meta(&self) -> &Arc<MetaFile> {
        &self.build.meta
    }

    /// What showed where things are.
    #[must_use]
    pub fn found(&self) -> Found {
        self.layout.found
    }

    /// What was found where.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The counters as they are now. The process is not stopped.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot(&mut self) -> Result<Snapshot, SnapshotError> {
        let snapshot = self.reader.snapshot(&*self.process.memory, &self.build)?;
        self.has_not_grown()?;
        Ok(snapshot)
    }

    /// The counters as they are now, unless they are what they were in the last snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn changed_snapshot(&mut self) -> Result<Option<Snapshot>, SnapshotError> {
        if self.reader.is_unchanged(&*self.process.memory)? {
            self.has_not_grown()?;
            return Ok(None);
        }
        self.snapshot().map(Some)
    }

    /// Where nothing of the process's own says that the list of packages is whole.
    fn has_not_grown(&self) -> Result<(), SnapshotError> {
        if self.layout.complete != Complete::Count {
            return Ok(());
        }
        let known = self.build.entries.len();
        let [_, now] = memory::words::<2>(&*self.process.memory, self.layout.list)?;
        if now != known as u64 {
            return Err(SnapshotError::Grown { known, now });
        }
        Ok(())
    }

    /// The counters of a process in its exit stop. By the same rule: its other threads may go on for
    /// a moment.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn last_snapshot(&mut self) -> Result<Snapshot, SnapshotError> {
        self.snapshot()
    }

    /// How the process was called: only its own name, or `all` its arguments.
    #[must_use]
    pub fn arguments(&self, all: bool) -> Arguments {
        Arguments {
            arguments: match &self.process.command {
                Command::Running => command_line(self.process.target.pid, all),
                Command::Known(name) if name.is_empty() => Vec::new(),
                Command::Known(name) => vec![name.clone()],
            },
            architecture: self.layout.architecture.to_owned(),
        }
    }

    /// The `covcounters` file of a snapshot.
    #[must_use]
    pub fn counter_file(&self, snapshot: &Snapshot, arguments: &Arguments) -> Vec<u8> {
        counter_file(&self.build.meta, &snapshot.counters, &arguments.named())
    }

    /// The names of the two files, the same for all of the process's life.
    #[must_use]
    pub fn file_names(&self) -> &FileNames {
        &self.names
    }
}

/// Whether a process executes a program just now, or has since `before` was mapped.
fn in_exec(pid: u32, before: &[Region]) -> bool {
    // The kernel fills the vector when everything is mapped (fs/binfmt_elf.c). Until then it shows
    // its end alone; of a process that is gone it shows nothing.
    let auxiliary = fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default();
    if word_at(&auxiliary, 0) == Some(0) {
        return true;
    }
    let files = |regions: &[Region]| {
        let of_files = regions.iter().filter(|r| r.file.is_some());
        of_files
            .map(|r| (r.start, r.end, r.file))
            .collect::<Vec<_>>()
    };
    maps::read(pid).is_ok_and(|now| !now.is_empty() && files(&now) != files(before))
}
