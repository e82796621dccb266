//! One life that is tapped: what was read of it, and how far it is.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use covtap_model::percent::Ratio;
use covtap_model::problem::printable;
use covtap_model::tap;
use covtap_profile::file::write_whole;
use covtap_tap::go::{AttachError, Attached, Snapshot, SnapshotError};
use covtap_tap::image::Images;
use covtap_tap::life::base_name;
use covtap_tap::memory::MemoryError;
use covtap_tap::proc;
use covtap_tap::target::Target;

use crate::failure::Failure;

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It does not count.
    NotInstrumented,
    /// It may not be read, is gone, or cannot be read.
    CouldNot,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A snapshot.
    Read,
    /// Its packages are still being initialised.
    Starting,
    /// It has ended, or failed.
    Over,
    /// The process runs another program by now.
    Replaced,
}

/// How far a life is.
#[derive(Debug)]
enum Stage {
    /// It is read at this time.
    Due(Instant),
    /// It is in its exit stop, or was: its end is awaited.
    Ending,
    /// It goes on, and enough was read.
    Enough,
    /// It has ended so.
    Ended(String),
    /// There is nothing to read.
    Failed(Failed),
}

/// One life.
#[derive(Debug)]
pub(super) struct Life {
    target: Target,
    name: String,
    generation: u32,
    attached: Option<Attached>,
    kept: Option<Kept>,
    snapshots: u64,
    stage: Stage,
    traced: bool,
    /// Why its end cannot be awaited; then that is not tried again.
    untraced: Option<String>,
    because: Option<String>,
    hint: Option<String>,
}

/// The state that is in the file.
#[derive(Debug)]
pub(super) struct Kept {
    snapshot: Snapshot,
    file: String,
    found: String,
    last: bool,
}

impl Life {
    pub(super) fn new(target: Target, generation: u32) -> Self {
        Self {
            target,
            name: base_name(&proc::executable_path(target.pid)),
            generation,
            attached: None,
            kept: None,
            snapshots: 0,
            stage: Stage::Due(Instant::now()),
            traced: false,
            untraced: None,
            because: None,
            hint: None,
        }
    }

    /// A process that is not there.
    pub(super) fn missing(pid: u32) -> Self {
        let target = Target {
            pid,
            start_ticks: 0,
        };
        let mut life = Self::new(target, 0);
        life.name = "?".into();
        life.fail("there is no such process".into(), None, Failed::CouldNot);
        life
    }

    /// The life that begins when this one executes another program.
    pub(super) fn next(&self) -> Self {
        Self {
            traced: self.traced,
            ..Self::new(self.target, self.generation + 1)
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.target.pid
    }

    /// What a person calls it.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", printable(&self.name), self.target.pid)
    }

    /// When it is to be read; `None` when it is not.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Due(at) => Some(at),
            // The tracer tells, and if it does not, a look does.
            Stage::Ending => Some(Instant::now() + Duration::from_secs(1)),
            Stage::Enough | Stage::Ended(_) | Stage::Failed(_) => None,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Due(at) if at <= now)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended(_) | Stage::Failed(_))
    }

    /// Whether a first state was read, or none will be.
    pub(super) fn is_settled(&self) -> bool {
        self.kept.is_some() || self.is_over()
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    pub(super) fn failed(&self) -> Option<Failed> {
        match self.stage {
            Stage::Failed(failed) => Some(failed),
            _ => None,
        }
    }

    /// Whether all that can be known of it is in its file.
    pub(super) fn is_complete(&self) -> bool {
        match (&self.stage, &self.kept) {
            (Stage::Ended(_), Some(kept)) => kept.last,
            (_, kept) => kept.is_some(),
        }
    }

    /// Whether nobody asked for it: a program that does not count, executed by one that was named.
    pub(super) fn is_incidental(&self) -> bool {
        self.generation > 0 && self.failed() == Some(Failed::NotInstrumented)
    }

    /// Whether its end could be awaited and is not.
    pub(super) fn wants_tracing(&self) -> bool {
        self.attached.is_some() && !self.traced && self.untraced.is_none() && !self.is_over()
    }

    pub(super) fn traced(&mut self) {
        self.traced = true;
    }

    pub(super) fn untraced(&mut self, because: String) {
        self.traced = false;
        self.untraced = Some(because);
        if matches!(self.stage, Stage::Ending) {
            self.stage = Stage::Due(Instant::now());
        }
    }

    pub(super) fn again(&mut self, pause: Duration) {
        if !self.is_over() {
            self.stage = Stage::Due(Instant::now() + pause);
        }
    }

    pub(super) fn enough(&mut self) {
        self.stage = Stage::Enough;
    }

    pub(super) fn end(&mut self, how: String) {
        if self.kept.as_ref().is_none_or(|kept| !kept.last) && self.because.is_none() {
            self.because = self.untraced.clone().or_else(|| {
                let exec = how == "exec";
                exec.then(|| "what it did between that and the exec is not known".to_owned())
            });
        }
        self.stage = Stage::Ended(how);
        self.attached = None;
    }

    pub(super) fn fail(&mut self, because: String, hint: Option<String>, failed: Failed) {
        self.because = Some(because);
        self.hint = hint;
        self.stage = Stage::Failed(failed);
    }

    /// What looked like its end was not.
    pub(super) fn goes_on(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.last = false;
        }
        self.stage = Stage::Due(Instant::now());
    }

    /// Reads it, and writes what was read.
    pub(super) fn read(&mut self, images: &Images, directory: &Path) -> Result<Outcome, Failure> {
        if matches!(self.stage, Stage::Ending) {
            return Ok(Outcome::Over);
        }
        if self.attached.is_none() {
            match Attached::attach(self.target, images) {
                Ok(attached) => {
                    self.because = None;
                    self.attached = Some(attached);
                    // The program may have been in the middle of an exec before.
                    self.name = base_name(&proc::executable_path(self.target.pid));
                }
                Err(error) => return Ok(self.refused(&error)),
            }
        }
        let Some(attached) = &mut self.attached else {
            return Ok(Outcome::Over);
        };
        match attached.snapshot() {
            Ok(snapshot) => {
                self.snapshots += 1;
                self.keep(snapshot, false, directory)?;
                Ok(Outcome::Read)
            }
            // Of a traced process the tracer tells the end, with its status.
            Err(_) if self.traced => Ok(Outcome::Read),
            Err(SnapshotError::Memory(MemoryError::Replaced)) => Ok(Outcome::Replaced),
            Err(_) if !self.target.is_there() => {
                self.end("unknown".into());
                Ok(Outcome::Over)
            }
            Err(error) => {
                // The next one may fare better.
                self.because = Some(error.to_string());
                Ok(Outcome::Read)
            }
        }
    }

    /// What an error of attaching means.
    fn refused(&mut self, error: &AttachError) -> Outcome {
        if error.is_passing() {
            return Outcome::Starting;
        }
        let gone = matches!(error, AttachError::Gone { .. } | AttachError::Zombie { .. });
        if gone && self.traced {
            return Outcome::Starting;
        }
        let failed = match error {
            AttachError::NotInstrumented { .. } => Failed::NotInstrumented,
            _ => Failed::CouldNot,
        };
        self.fail(error.to_string(), error.hint(), failed);
        Outcome::Over
    }

    /// Reads it in its exit stop.
    pub(super) fn read_last(&mut self, images: &Images, directory: &Path) -> Result<(), Failure> {
        if self.attached.is_none() {
            match Attached::attach(self.target, images) {
                Ok(attached) => self.attached = Some(attached),
                Err(error) => self.because = Some(error.to_string()),
            }
        }
        self.stage = Stage::Ending;
        let Some(attached) = &mut self.attached else {
            return Ok(());
        };
        match attached.last_snapshot() {
            Ok(snapshot) => {
                self.snapshots += 1;
                let smaller = self
                    .kept
                    .as_ref()
                    .is_some_and(|kept| !snapshot.at_least(&kept.snapshot));
                if smaller {
                    self.because = Some(
                        "counters were smaller in its exit stop than in the snapshot before, \
                         which is kept"
                            .into(),
                    );
                } else {
                    self.keep(snapshot, true, directory)?;
                }
            }
            Err(error) => {
                self.because = Some(format!("its exit stop could not be read: {error}"));
            }
        }
        Ok(())
    }

    /// Writes a snapshot in the place of the one before.
    fn keep(&mut self, snapshot: Snapshot, last: bool, directory: &Path) -> Result<(), Failure> {
        let Some(attached) = &self.attached else {
            return Ok(());
        };
        let same = self.kept.as_ref().is_some_and(|kept| {
            kept.snapshot.at_least(&snapshot) && snapshot.at_least(&kept.snapshot)
        });
        let names = attached.file_names();
        // Lives of one process differ in their generation.
        let file = match self.generation {
            0 => names.counters.clone(),
            more => format!("{}{more:03}", names.counters),
        };
        if !same {
            let write = |name: &str, bytes: &[u8]| {
                let path = directory.join(name);
                write_whole(&path, bytes)
                    .map_err(|e| Failure::new(format!("cannot write {}: {e}", path.display())))
            };
            if self.kept.is_none() && fs::metadata(directory.join(&names.meta)).is_err() {
                write(&names.meta, attached.meta().bytes())?;
            }
            let arguments = attached.arguments(false);
            write(&file, &attached.counter_file(&snapshot, &arguments))?;
        }
        self.kept = Some(Kept {
            found: attached.found().to_string(),
            snapshot,
            file,
            last,
        });
        Ok(())
    }

    /// As the document has it.
    pub(super) fn describe(&self) -> tap::Life {
        let state = self.kept.as_ref().map(|kept| {
            let statements = kept.snapshot.statements();
            let hash = kept.file.split('.').nth(1).unwrap_or_default();
            tap::State {
                statements: Ratio::new(statements.covered, statements.total),
                found_by: kept.found.clone(),
                snapshots: self.snapshots,
                at: kept.snapshot.at.rfc3339(),
                last: kept.last,
                dropped: kept.snapshot.dropped.values().sum(),
                meta_file: format!("covmeta.{hash}"),
                counter_file: kept.file.clone(),
            }
        });
        tap::Life {
            name: self.name.clone(),
            pid: self.target.pid,
            generation: self.generation,
            state,
            end: match &self.stage {
                Stage::Ended(how) => Some(how.clone()),
                Stage::Ending => Some("unknown".into()),
                Stage::Due(_) | Stage::Enough | Stage::Failed(_) => None,
            },
            because: self.because.clone(),
            hint: self.hint.clone(),
        }
    }
}
