//! From a process to everything that a snapshot needs: each ELF file that the process executes is
//! looked at, the program first, until one counts.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use covtap_profile::go::hex;

use super::Build;
use super::blobs::Source;
use super::error::{AttachError, Evidence};
use super::layout::{Complete, Found, Layout};
use super::list::{self, Entry, List};
use super::locate::Attempt;
use super::module::{ModuleData, Wrong};
use crate::image::{Clues, ElfError, Image, Images, Learned, Symbols};
use crate::memory::{self, Memory, MemoryError};
use crate::target::{Module, Process};

/// The runtime's hash lies among the small variables, which come first: how far to search, in bytes.
/// (Measured: within 0x890 bytes.)
const HASH_WITHIN: u64 = 1 << 16;

/// No program has more counters, in bytes: one with 14,000 functions has half a million.
const MOST_COUNTERS: u64 = 1 << 28;

/// No program has more meta-data, in bytes: about twice as many as counters.
const MOST_META: u64 = 1 << 29;

/// Everything that was found out about a process.
pub(super) struct Findings {
    pub(super) build: Arc<Build>,
    pub(super) image: Arc<Image>,
    pub(super) layout: Layout,
    pub(super) module: Module,
    pub(super) module_data: ModuleData,
}

/// One look at a process.
pub(super) struct Search<'a> {
    pub(super) process: &'a Process,
    pub(super) images: &'a Images,
}

/// A module whose image is known.
struct Loaded<'a> {
    module: &'a Module,
    image: Arc<Image>,
    file: Option<File>,
    bias: u64,
    /// Its addresses.
    span: Range<u64>,
}

impl Search<'_> {
    fn pid(&self) -> u32 {
        self.process.target.pid
    }

    fn memory(&self) -> &dyn Memory {
        &*self.process.memory
    }

    fn failed(&self, error: MemoryError) -> AttachError {
        AttachError::of_memory(self.pid(), error)
    }

    fn damaged(&self, what: impl Into<String>, at: u64) -> AttachError {
        AttachError::Damaged {
            pid: self.pid(),
            what: what.into(),
            at,
        }
    }

    /// Looks at one module after the other. The first that counts is the one; else the first thing
    /// that was wrong with any is told.
    pub(super) fn run(&self) -> Result<Findings, AttachError> {
        let modules = self.process.modules();
        let mut evidence = Evidence::NotGo;
        let mut first_error = None;
        for module in &modules {
            match self.look(module) {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(Evidence::NotGo)) => {}
                Ok(Err(no_counters)) => evidence = no_counters,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let path = modules.into_iter().find(|m| m.main).map(|m| m.path);
        Err(first_error.unwrap_or_else(|| AttachError::NotInstrumented {
            pid: self.pid(),
            path: path.unwrap_or_else(|| self.process.name()),
            evidence,
        }))
    }

    fn look(&self, module: &Module) -> Result<Result<Findings, Evidence>, AttachError> {
        let (image, file) = match self.images.of(self.process, module) {
            Ok(found) => found,
            // Libraries that are no ELF file of ours do not count; the program itself has to.
            Err(_) if !module.main => return Ok(Err(Evidence::NotGo)),
            Err(ElfError::Damaged { what, at }) => {
                return Err(self.damaged(format!("its ELF file: {what}"), at));
            }
            Err(error) => {
                return Err(AttachError::Unsupported {
                    pid: self.pid(),
                    path: module.path.clone(),
                    what: error.to_string(),
                });
            }
        };
        let bias = image.headers.bias(module.base);
        let span = image.headers.span();
        let loaded = Loaded {
            module,
            file,
            bias,
            span: bias.wrapping_add(span.start)..bias.wrapping_add(span.end),
            image,
        };
        let Some((module_data, found)) = self.locate(&loaded)? else {
            return Ok(Err(Evidence::NotGo));
        };
        if module_data.counter_words().is_empty() {
            return Ok(Err(Evidence::NoCounters {
                module_data: module_data.at,
            }));
        }
        self.packages(loaded, module_data, found).map(Ok)
    }

    /// Finds the module data; `None` when this is no Go program.
    fn locate(&self, loaded: &Loaded<'_>) -> Result<Option<(ModuleData, Found)>, AttachError> {
        let Loaded { image, bias, .. } = loaded;
        if image.clues == Clues::NotGo || image.learned().not_go {
            return Ok(None);
        }
        let mut attempt = Attempt::new(self.process, image, *bias, loaded.span.clone());
        if let Some((module_data, found)) = attempt.run().map_err(|e| self.failed(e))? {
            let at = module_data.at.wrapping_sub(*bias);
            image.learned().module_data = Some((at, found));
            return Ok(Some((module_data, found)));
        }
        match attempt.wrong {
            Some((Wrong::Memory(error), _)) => Err(self.failed(error)),
            Some((Wrong::Magic(magic), _)) => Err(AttachError::Unsupported {
                pid: self.pid(),
                path: loaded.module.path.clone(),
                what: format!(
                    "its function table begins with {magic:#x}: a version of Go that covtap does \
                     not know"
                ),
            }),
            // A program that may be loaded anywhere has no pointers before the dynamic linker ran.
            Some((Wrong::Implausible(_), _)) if image.headers.movable => {
                Err(self.not_ready(0, None))
            }
            Some((Wrong::Implausible(what), at)) => {
                Err(self.damaged(format!("its Go module data do not hold {what}"), at))
            }
            None => {
                image.learned().not_go = attempt.is_whole();
                Ok(None)
            }
        }
    }

    /// Reads the list of packages and puts their meta-data together.
    fn packages(
        &self,
        loaded: Loaded<'_>,
        module_data: ModuleData,
        found: Found,
    ) -> Result<Findings, AttachError> {
        let counters = module_data.counter_words();
        let length = counters.end - counters.start;
        if length > MOST_COUNTERS || !self.process.is_readable(counters.start, length) {
            return Err(self.damaged("the counters are not mapped", counters.start));
        }
        let Loaded { image, bias, .. } = &loaded;
        let bias = *bias;
        let known = Known {
            learned: image.learned().clone(),
            symbols: match &image.clues {
                Clues::Sections { symbols, .. } => *symbols,
                _ => None,
            },
        };
        let (list, mut entries) = self.entries(&loaded, &module_data, &known)?;
        for entry in &mut entries {
            entry.blob = entry.blob.wrapping_sub(bias);
        }
        let stated = self.stated_hash(&known, bias)?;
        // Without a hash the number tells that some are missing, before their meta-data are read.
        let expected = known.learned.packages.filter(|n| entries.len() < *n);
        if let (None, Some(_)) = (stated, expected) {
            return Err(self.not_ready(entries.len(), expected));
        }
        let source = Source {
            process: self.process,
            image,
            file: loaded.file.as_ref(),
            bias,
        };
        let mut builds = known.learned.builds.iter();
        let build = match builds.find(|b| b.entries == entries) {
            Some(build) => build.clone(),
            None => self.build(&source, entries)?,
        };
        let (complete, final_hash) =
            self.completeness(&source, &module_data, &known, stated, (list, &build))?;
        image.learned().remember(
            list.wrapping_sub(bias),
            final_hash.map(|at| at.wrapping_sub(bias)),
            &build,
        );
        Ok(Findings {
            layout: Layout {
                module: loaded.module.path.clone(),
                build_id: printable(&image.build_id),
                architecture: image.headers.architecture,
                bias,
                found,
                module_data: module_data.at,
                list,
                final_hash,
                complete,
                counters: counters.into(),
                mode: build.meta.mode,
                hash: hex(&build.meta.hash),
                packages: build.entries.len(),
                functions: build.layout.functions(),
                units: build.layout.counters(),
            },
            module: loaded.module.clone(),
            module_data,
            build,
            image: loaded.image,
        })
    }

    fn not_ready(&self, entries: usize, expected: Option<usize>) -> AttachError {
        AttachError::NotReady {
            pid: self.pid(),
            entries,
            expected,
        }
    }

    /// The list of packages, as far as it is: where its header is, and its entries, at least one.
    fn entries(
        &self,
        loaded: &Loaded<'_>,
        module_data: &ModuleData,
        known: &Known,
    ) -> Result<(u64, Vec<Entry>), AttachError> {
        let failed = |e| self.failed(e);
        let expected = known.learned.packages;
        let read = |at| match list::read(self.process, at, &loaded.span).map_err(failed)? {
            List::Entries(entries) if !entries.is_empty() => Ok((at, entries)),
            List::Entries(_) => Err(self.not_ready(0, expected)),
            List::Growing { length } => Err(self.not_ready(length.saturating_sub(1), expected)),
            List::Damaged => Err(self.damaged("the list of packages is something else", at)),
        };
        let absolute = |at: u64| loaded.bias.wrapping_add(at);
        if let Some(at) = known.symbols.and_then(|s| s.list) {
            return read(absolute(at));
        }
        // Where another process had it; if it is not there, something else looked like it.
        if let Some(Ok(found)) = known.learned.list.map(absolute).map(read) {
            return Ok(found);
        }
        let at = list::find(self.process, &module_data.bss, &loaded.span).map_err(failed)?;
        read(at.ok_or_else(|| self.not_ready(0, expected))?)
    }

    /// The runtime's own hash of the meta-data, and where it is, if that is known already. It is zero
    /// until main is initialised.
    fn stated_hash(
        &self,
        known: &Known,
        bias: u64,
    ) -> Result<Option<(u64, [u8; 16])>, AttachError> {
        let symbol = known.symbols.and_then(|s| s.final_hash);
        let Some(at) = symbol.or(known.learned.final_hash) else {
            return Ok(None);
        };
        let at = bias.wrapping_add(at);
        let mut hash = [0; 16];
        let read = self.memory().read(at, &mut hash);
        read.map_err(|e| self.failed(e))?;
        Ok((hash != [0; 16]).then_some((at, hash)))
    }

    /// What shows that all packages are in the list, and where the runtime's own hash is.
    fn completeness(
        &self,
        source: &Source<'_>,
        module_data: &ModuleData,
        known: &Known,
        stated: Option<(u64, [u8; 16])>,
        (list, build): (u64, &Build),
    ) -> Result<(Complete, Option<u64>), AttachError> {
        let failed = |e| self.failed(e);
        let hash = &build.meta.hash;
        let symbol = known.symbols.and_then(|s| s.final_hash);
        let at = match stated {
            Some((at, stated)) if stated == *hash => Some(at),
            // The symbol says where it is, and that it is not there.
            _ if symbol.is_some() => None,
            _ => self.find_hash(module_data, hash).map_err(failed)?,
        };
        if at.is_some() {
            return Ok((Complete::FinalHash, at));
        }
        let registered = build.entries.len();
        if let (Some(_), Some((at, stated))) = (symbol, stated) {
            // The list was read before the hash; the last package may have come in between.
            let [_, length] = memory::words::<2>(self.memory(), list).map_err(failed)?;
            let now = self.stated_hash(known, source.bias)?;
            if length != registered as u64 || now != Some((at, stated)) {
                return Err(self.not_ready(registered, known.learned.packages));
            }
            let what = "the runtime's hash of the meta-data is not that of the list of packages";
            return Err(self.damaged(what, at));
        }
        let expected = match known.learned.packages {
            Some(expected) => Some(expected),
            None => source.count().map_err(failed)?,
        };
        source.image.learned().packages = expected;
        match expected {
            Some(expected) if expected <= registered => Ok((Complete::Count, None)),
            // Without a number only the runtime's hash can tell.
            _ => Err(self.not_ready(registered, expected)),
        }
    }

    /// Searches the small variables for a hash.
    fn find_hash(
        &self,
        module_data: &ModuleData,
        hash: &[u8; 16],
    ) -> Result<Option<u64>, MemoryError> {
        let start = module_data.noptrbss.start;
        let end = start.saturating_add(HASH_WITHIN);
        let mut found = None;
        let small = start..end.min(module_data.counters.start);
        self.process
            .pieces(&small, hash.len() as u64, |bytes, at| {
                let place = bytes.windows(hash.len()).position(|w| w == hash);
                found = place.map(|i| at + i as u64);
                found.is_none()
            })?;
        Ok(found)
    }

    fn build(&self, source: &Source<'_>, entries: Vec<Entry>) -> Result<Arc<Build>, AttachError> {
        let at = |i: usize| source.bias.wrapping_add(entries[i].blob);
        if entries.iter().map(|e| u64::from(e.length)).sum::<u64>() > MOST_META {
            return Err(self.damaged("more meta-data than any program has", at(0)));
        }
        let blobs = source.blobs(&entries).map_err(|error| match error {
            Ok(i) => self.damaged(
                format!("the meta-data of package {i} are something else"),
                at(i),
            ),
            Err(error) => self.failed(error),
        })?;
        let first = at(0);
        let build = Build::new(entries, &blobs);
        let build = build.map_err(|e| self.damaged(format!("its meta-data: {e}"), first))?;
        Ok(Arc::new(build))
    }
}

/// What is known of an image before this look.
struct Known {
    learned: Learned,
    symbols: Option<Symbols>,
}

/// A build id: text as Go writes it, or hexadecimal digits.
fn printable(id: &[u8]) -> String {
    match std::str::from_utf8(id) {
        Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => text.to_owned(),
        _ => id.iter().map(|b| format!("{b:02x}")).collect(),
    }
}
