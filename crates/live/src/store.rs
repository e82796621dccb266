//! Where runs lie.
//!
//! ```text
//! .covtap/
//!   .gitignore        "*": nothing of this is committed
//!   latest            symbolic link to the run that ended last
//!   runs/20261123T104109Z-3f2a/
//!     run.json        what was run and how it ended        (covtap_model::run::Run)
//!     ledger.json     what was expected and what came      (covtap_model::ledger::Ledger)
//!     coverage.json   the coverage document                (covtap_model::coverage::Coverage)
//!     raw/<build>/    one covmeta and one covcounters per life: `go tool covdata` reads it
//!     raw-tap/<build>/  what was read out of their memory, replaced whole by later looks
//!     baseline/<build>/  states of lives that were there before the run
//!     marks/001-NAME/<build>/  states of all lives at a mark
//!     raw-files/      what the processes wrote, as they wrote it: their GOCOVERDIR
//!     report/         the reports
//!     lock            held (flock) while the run goes on
//! ```
//!
//! Files are written beside their place and renamed, so a reader never sees half of one. A run whose
//! `run.json` has no end and whose lock is free was cut short: it is listed as that.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use covtap_model::percent::Ratio;
use covtap_model::run::Run;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use covtap_tap::clock::Moment;

/// A store of runs: a `.covtap` directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// The folder of one run.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held by the run that writes the folder; freed by the system even when it crashes.
    _lock: Option<File>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It ended and everything is written.
    Complete,
    /// It goes on.
    Running,
    /// covtap died before it had written everything.
    Unfinished,
}

/// A run in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Name of its folder.
    pub id: String,
    /// What became of it.
    pub state: State,
    /// `run.json`, when it can be read.
    pub run: Option<Run>,
    /// Covered statements of all; absent when there is no coverage document.
    pub statements: Option<Ratio>,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not the JSON document it should be.
    #[error("cannot understand {}", path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no run at all.
    #[error("no runs yet in {}", .0.display())]
    Empty(PathBuf),
    /// No run has this name.
    #[error("no run {name} in {}", store.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where.
        store: PathBuf,
    },
    /// Several runs begin like this.
    #[error("{} runs begin with {name}: {}", matches.len(), matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The runs.
        matches: Vec<String>,
    },
    /// A run that goes on is not removed.
    #[error("run {0} goes on")]
    Busy(String),
}

impl StoreError {
    /// The next step for a person.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Write { .. } => {
                "name a directory you may write to with --store DIR or COVTAP_STORE".into()
            }
            Self::Empty(_) => "`covtap run -- CMD` makes one".into(),
            Self::Unknown { .. } | Self::Ambiguous { .. } => "`covtap runs ls` lists them".into(),
            Self::Busy(_) => "end it first".into(),
            Self::Json { .. } => "was it written by a newer covtap?".into(),
            Self::Read { .. } => return None,
        })
    }
}

impl Store {
    /// The store in this directory, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Makes the folder of a run that starts now.
    ///
    /// # Errors
    /// [`StoreError::Write`] when the store cannot be written to.
    pub fn create(&self, now: Moment) -> Result<Folder, StoreError> {
        let runs = self.runs();
        fs::create_dir_all(&runs).map_err(write_error(&runs))?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            write_atomically(&ignore, b"*\n")?;
        }
        // Two runs may start in the same second: the name decides who comes first, not a check.
        let mut attempts = 0;
        let path = loop {
            let path = runs.join(format!("{}-{:04x}", now.compact(), random()));
            match fs::create_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempts < 100 => {
                    attempts += 1
                }
                other => break other.map(|()| path.clone()).map_err(write_error(&path))?,
            }
        };
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(write_error(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| write_error(&lock_path)(e.into()))?;
        let folder = Folder {
            path,
            _lock: Some(lock),
        };
        let files = folder.raw_files();
        fs::create_dir(&files).map_err(write_error(&files))?;
        Ok(folder)
    }

    /// Points `latest` at a run.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn set_latest(&self, id: &str) -> Result<(), StoreError> {
        let latest = self.root.join("latest");
        let beside = self.root.join(format!(".latest-{id}"));
        symlink(Path::new("runs").join(id), &beside)
            .and_then(|()| fs::rename(&beside, &latest))
            .map_err(write_error(&latest))
    }

    /// All runs, the oldest first. A store that does not exist holds none.
    ///
    /// # Errors
    /// [`StoreError::Read`] when the store cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        Ok(self.ids()?.iter().map(|id| self.listed(id)).collect())
    }

    fn ids(&self) -> Result<Vec<String>, StoreError> {
        let runs = self.runs();
        let entries = match fs::read_dir(&runs) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(read_error(&runs))?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    fn listed(&self, id: &str) -> Listed {
        /// The part of a coverage document that a list shows.
        #[derive(Deserialize)]
        struct Summary {
            totals: SummaryTotals,
        }
        #[derive(Deserialize)]
        struct SummaryTotals {
            statements: Ratio,
        }
        let folder = self.folder(id);
        // A run that cannot be read is listed all the same, as what it is: unfinished.
        let run: Option<Run> = folder.read("run.json").ok();
        let summary: Option<Summary> = folder.read("coverage.json").ok();
        Listed {
            id: id.into(),
            state: folder.state(run.as_ref()),
            run,
            statements: summary.map(|s| s.totals.statements),
        }
    }

    fn folder(&self, id: &str) -> Folder {
        Folder {
            path: self.runs().join(id),
            _lock: None,
        }
    }

    /// The folders of the runs that do not go on, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot be listed.
    pub fn ended(&self) -> Result<Vec<Folder>, StoreError> {
        let folders = self.ids()?.into_iter().map(|id| self.folder(&id));
        Ok(folders.filter(|folder| !folder.is_locked()).collect())
    }

    /// The run with this name: its id, the beginning of it, or `latest`.
    ///
    /// # Errors
    /// [`StoreError`]: no runs, no such run, several.
    pub fn find(&self, name: &str) -> Result<Folder, StoreError> {
        let ids = self.ids()?;
        if ids.is_empty() {
            return Err(StoreError::Empty(self.root.clone()));
        }
        if name == "latest" {
            let latest = fs::read_link(self.root.join("latest")).ok();
            let id = latest
                .as_deref()
                .and_then(Path::file_name)
                .and_then(|n| n.to_str())
                .filter(|n| ids.iter().any(|id| id == n))
                // The link may be gone; then the newest run is the latest.
                .or(ids.last().map(String::as_str));
            return Ok(self.folder(id.unwrap_or_default()));
        }
        let matches: Vec<&String> = ids.iter().filter(|id| id.starts_with(name)).collect();
        match matches.as_slice() {
            [id] => Ok(self.folder(id)),
            [] => Err(StoreError::Unknown {
                name: name.into(),
                store: self.root.clone(),
            }),
            several if several.iter().any(|id| *id == name) => Ok(self.folder(name)),
            several => Err(StoreError::Ambiguous {
                name: name.into(),
                matches: several.iter().map(|id| (*id).clone()).collect(),
            }),
        }
    }

    /// Removes a run. A run that goes on is left alone.
    ///
    /// # Errors
    /// [`StoreError`]: it goes on, or cannot be removed.
    pub fn remove(&self, id: &str) -> Result<(), StoreError> {
        let folder = self.folder(id);
        if folder.is_locked() {
            return Err(StoreError::Busy(id.into()));
        }
        fs::remove_dir_all(folder.path()).map_err(write_error(folder.path()))?;
        let latest = self.root.join("latest");
        if fs::read_link(&latest).is_ok() && !latest.exists() {
            match self.ids()?.last() {
                Some(newest) => self.set_latest(newest)?,
                None => fs::remove_file(&latest).map_err(write_error(&latest))?,
            }
        }
        Ok(())
    }
}

impl Folder {
    /// An existing folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            _lock: None,
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        self.path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
    }

    /// The states that the tap keeps, one directory a build.
    #[must_use]
    pub fn raw_tap(&self) -> PathBuf {
        self.path.join("raw-tap")
    }

    /// The coverage directory that the run's processes are given.
    #[must_use]
    pub fn raw_files(&self) -> PathBuf {
        self.path.join("raw-files")
    }

    /// The states of lives that were there when the session began, one directory a build.
    #[must_use]
    pub fn baseline(&self) -> PathBuf {
        self.path.join("baseline")
    }

    /// One directory a build, with one counter file a life.
    #[must_use]
    pub fn raw(&self) -> PathBuf {
        self.path.join("raw")
    }

    /// The reports.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report")
    }

    /// Writes a JSON document of the run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write<T: Serialize>(&self, name: &str, document: &T) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let mut bytes = serde_json::to_vec_pretty(document).map_err(|source| StoreError::Json {
            path: path.clone(),
            source,
        })?;
        bytes.push(b'\n');
        write_atomically(&path, &bytes)
    }

    /// Reads a JSON document of the run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).map_err(read_error(&path))?;
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { path, source })
    }

    /// Removes a run that never began.
    pub fn discard(self) {
        // It is the run's failure that gets reported, not that of tidying up after it.
        let _ = fs::remove_dir_all(&self.path);
    }

    fn state(&self, run: Option<&Run>) -> State {
        if run.is_some_and(|r| r.ended.is_some()) {
            State::Complete
        } else if self.is_locked() {
            State::Running
        } else {
            State::Unfinished
        }
    }

    fn is_locked(&self) -> bool {
        let Ok(lock) = File::open(self.path.join("lock")) else {
            return false;
        };
        flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
    }
}

/// Writes a file beside its place and renames it.
///
/// # Errors
/// [`StoreError::Write`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    covtap_profile::file::write_whole(path, bytes).map_err(write_error(path))
}

/// Writes a document of a run, or removes it when there is nothing to say.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn write_or_remove<T: Serialize>(
    path: &Path,
    document: Option<&T>,
) -> Result<(), StoreError> {
    let Some(document) = document else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(write_error(path)(error)),
            _ => Ok(()),
        };
    };
    let json = serde_json::to_vec_pretty(document);
    write_atomically(path, &json.map_err(|e| write_error(path)(e.into()))?)
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    |source| StoreError::Write { path, source }
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    |source| StoreError::Read { path, source }
}

/// Four hexadecimal digits that two runs of one second hardly share; no secret.
fn random() -> u16 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds every RandomState differently.
    let hash = std::collections::hash_map::RandomState::new().build_hasher();
    (hash.finish() & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join(".covtap"));
        (dir, store)
    }

    fn run(id: &str, ended: bool) -> Run {
        Run {
            schema: covtap_model::run::SCHEMA.into(),
            id: id.into(),
            covtap: "0".into(),
            command: vec!["make".into()],
            started: Moment::now().rfc3339(),
            ended: ended.then(|| Moment::now().rfc3339()),
            command_status: None,
            exit_code: None,
        }
    }

    fn finished(store: &Store, second: i128) -> String {
        let folder = store.create(Moment(second * 1_000_000_000)).unwrap();
        let id = folder.id().to_owned();
        folder.write("run.json", &run(&id, true)).unwrap();
        store.set_latest(&id).unwrap();
        id
    }

    #[test]
    fn a_store_that_does_not_exist_holds_nothing() {
        let (_dir, store) = store();
        assert!(store.list().unwrap().is_empty());
        let error = store.find("latest").unwrap_err();
        assert!(matches!(error, StoreError::Empty(_)));
        assert_eq!(error.hint().unwrap(), "`covtap run -- CMD` makes one");
    }

    #[test]
    fn runs_are_listed_found_and_removed() {
        let (_dir, store) = store();
        let first = finished(&store, 0);
        let second = finished(&store, 86_400);
        assert!(
            first.starts_with("19700101T000000Z-") && first.len() == 21,
            "{first}"
        );
        let ids: Vec<_> = store.list().unwrap().into_iter().map(|l| l.id).collect();
        assert_eq!(ids, [first.clone(), second.clone()]);
        assert_eq!(store.find("latest").unwrap().id(), second);
        assert_eq!(store.find("19700101").unwrap().id(), first);
        assert_eq!(store.find(&first).unwrap().id(), first);
        assert!(matches!(
            store.find("1970"),
            Err(StoreError::Ambiguous { .. })
        ));
        assert!(matches!(store.find("2"), Err(StoreError::Unknown { .. })));
        store.remove(&second).unwrap();
        assert_eq!(store.find("latest").unwrap().id(), first);
        assert_eq!(
            fs::read_link(store.root().join("latest")).unwrap(),
            Path::new("runs").join(&first)
        );
        store.remove(&first).unwrap();
        assert!(fs::symlink_metadata(store.root().join("latest")).is_err());
    }

    #[test]
    fn nothing_of_it_is_committed() {
        let (_dir, store) = store();
        store.create(Moment::now()).unwrap();
        assert_eq!(
            fs::read_to_string(store.root().join(".gitignore")).unwrap(),
            "*\n"
        );
    }

    #[test]
    fn a_run_that_goes_on_is_told_from_one_that_was_cut_short() {
        let (_dir, store) = store();
        let folder = store.create(Moment::now()).unwrap();
        let id = folder.id().to_owned();
        folder.write("run.json", &run(&id, false)).unwrap();
        assert_eq!(store.list().unwrap()[0].state, State::Running);
        assert!(matches!(store.remove(&id), Err(StoreError::Busy(_))));
        drop(folder);
        assert_eq!(store.list().unwrap()[0].state, State::Unfinished);
        store.remove(&id).unwrap();
    }

    #[test]
    fn a_run_without_run_json_is_unfinished() {
        let (_dir, store) = store();
        drop(store.create(Moment::now()).unwrap());
        let listed = store.list().unwrap();
        assert!(listed[0].run.is_none());
        assert_eq!(listed[0].state, State::Unfinished);
    }

    #[test]
    fn many_runs_of_one_second_have_their_own_folders() {
        let (_dir, store) = store();
        let now = Moment::now();
        let folders: Vec<_> = (0..50).map(|_| store.create(now).unwrap()).collect();
        let names: std::collections::BTreeSet<_> = folders.iter().map(Folder::id).collect();
        assert_eq!(names.len(), 50);
    }

    #[test]
    fn a_store_that_cannot_be_made_names_the_place_and_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".covtap");
        fs::write(&file, "").unwrap();
        let error = Store::new(&file).create(Moment::now()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert!(error.hint().unwrap().contains("--store"));
    }
}
