//! What was put into files: `wired.json` in the store, written before any of them is changed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use covtap_live::store::write_atomically;
use covtap_model::wired::{SCHEMA, Wired, WiredFile, WiredInsertion};
use covtap_wiring::edit::Edits;
use covtap_wiring::wire::plan::Change;
use covtap_wiring::wire::record::undo;

use crate::failure::Failure;

const FILE: &str = "wired.json";

/// The record of a store.
#[derive(Debug)]
pub(crate) struct Record {
    store: PathBuf,
    wired: Wired,
}

/// What became of a file that was restored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// It is as it was.
    Done,
    /// It was already, or is no more.
    Already,
    /// These lines were changed since, and stay.
    Left(Vec<String>),
}

impl Record {
    /// The record of a store; an empty one where there is none.
    pub(crate) fn open(store: PathBuf) -> Result<Self, Failure> {
        let path = store.join(FILE);
        let wired = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Wired>(&bytes)
                .map_err(|e| e.to_string())
                .and_then(|w| match w.schema == SCHEMA {
                    true => Ok(w),
                    false => Err(format!("its schema is {:?}, not {SCHEMA:?}", w.schema)),
                })
                .map_err(|e| {
                    Failure::new(format!("cannot understand {}: {e}", path.display()))
                        .hint("the covtap that wrote it can undo it".to_owned())
                })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Wired {
                schema: SCHEMA.into(),
                applied: true,
                files: Vec::new(),
            },
            Err(e) => return Err(Failure::new(format!("cannot read {}: {e}", path.display()))),
        };
        Ok(Self { store, wired })
    }

    /// Whether a `covtap wire` ended before all was written.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.wired.applied
    }

    /// Notes what is about to be put into the files of a folder.
    pub(crate) fn add(&mut self, root: &Path, changes: &[&Change]) -> Result<(), Failure> {
        let root = canonical(root)?;
        for change in changes {
            let path = self.name(&root.join(&change.path))?;
            let insertions = change.edits.insertions().iter();
            self.wired.files.push(WiredFile {
                path,
                before: change.before.clone(),
                insertions: insertions
                    .map(|i| WiredInsertion {
                        at: i.at,
                        text: i.text.clone(),
                    })
                    .collect(),
            });
        }
        self.wired.applied = false;
        self.keep()
    }

    /// Writes the files, and then that all is written.
    pub(crate) fn write_files(&mut self, root: &Path, changes: &[&Change]) -> Result<(), Failure> {
        for change in changes {
            let path = root.join(&change.path);
            let now = read(&path)?;
            if now != change.before {
                return Err(Failure::new(format!(
                    "{} has changed while it was looked at: it is not written",
                    path.display()
                ))
                .hint("covtap unwire, then covtap wire again".to_owned()));
            }
            write(&path, &change.after())?;
        }
        self.wired.applied = true;
        self.keep()
    }

    /// Takes out what was put into the files at or below a path, the last first, and tells of each.
    pub(crate) fn restore(
        &mut self,
        below: &Path,
        dry_run: bool,
        tell: &mut dyn FnMut(&str, Result<Restored, Failure>),
    ) -> Result<(), Failure> {
        let below = self.name(&canonical(below)?)?;
        let mut kept = Vec::new();
        for file in std::mem::take(&mut self.wired.files).into_iter().rev() {
            let within = below.is_empty()
                || file.path == below
                || file
                    .path
                    .strip_prefix(&below)
                    .is_some_and(|r| r.starts_with('/'));
            if !within {
                kept.push(file);
                continue;
            }
            let restored = self.one(&file, dry_run);
            let failed = restored.is_err();
            tell(&file.path, restored);
            if failed || dry_run {
                kept.push(file);
            }
        }
        kept.reverse();
        self.wired.files = kept;
        if dry_run {
            return Ok(());
        }
        self.wired.applied |= self.wired.files.is_empty();
        self.keep()
    }

    fn one(&self, file: &WiredFile, dry_run: bool) -> Result<Restored, Failure> {
        let path = self.home()?.join(&file.path);
        let Some(now) = read(&path)? else {
            return Ok(Restored::Already);
        };
        let mut edits = Edits::default();
        for insertion in &file.insertions {
            edits.insert(insertion.at, insertion.text.clone());
        }
        let before = file.before.as_deref().unwrap_or_default();
        let undone = undo(before, &edits, &now);
        if file.before.is_none() && undone.text.is_empty() {
            if !dry_run {
                fs::remove_file(&path)
                    .map_err(|e| Failure::new(format!("cannot remove {}: {e}", path.display())))?;
            }
            return Ok(Restored::Done);
        }
        if undone.text != now && !dry_run {
            write(&path, &undone.text)?;
        }
        Ok(match (undone.left.is_empty(), undone.text == now) {
            (false, _) => Restored::Left(undone.left),
            (true, true) => Restored::Already,
            (true, false) => Restored::Done,
        })
    }

    /// The folder that paths are relative to.
    fn home(&self) -> Result<PathBuf, Failure> {
        match self.store.parent() {
            Some(parent) if self.store.exists() => Ok(canonical(&self.store)?
                .parent()
                .unwrap_or(parent)
                .to_path_buf()),
            Some(parent) => canonical(parent),
            None => Ok(self.store.clone()),
        }
    }

    /// A path as the record has it.
    fn name(&self, path: &Path) -> Result<String, Failure> {
        let home = self.home()?;
        let below = path.strip_prefix(&home).ok().and_then(Path::to_str);
        below.map(str::to_owned).ok_or_else(|| {
            Failure::new(format!(
                "{} is not below {}, which the store is in",
                path.display(),
                home.display()
            ))
            .hint("--store DIR/.covtap names one beside it".to_owned())
        })
    }

    /// Writes the record; without files there is none, and no folder that is there for it alone.
    fn keep(&self) -> Result<(), Failure> {
        let path = self.store.join(FILE);
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(format!("cannot write {}: {e}", path.display()))
        };
        if !self.wired.files.is_empty() {
            fs::create_dir_all(&self.store).map_err(|e| failed(&e))?;
            let ignore = self.store.join(".gitignore");
            if !ignore.exists() {
                write_atomically(&ignore, b"*\n")?;
            }
            let text = serde_json::to_string_pretty(&self.wired)?;
            return Ok(write_atomically(&path, (text + "\n").as_bytes())?);
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&e)),
            _ => {}
        }
        let rest: Vec<_> = match fs::read_dir(&self.store) {
            Ok(entries) => entries
                .filter_map(Result::ok)
                .map(|e| e.file_name())
                .collect(),
            // No folder, nothing to tidy.
            Err(_) => return Ok(()),
        };
        if rest.iter().all(|name| name == ".gitignore") {
            fs::remove_dir_all(&self.store).map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}

fn canonical(path: &Path) -> Result<PathBuf, Failure> {
    fs::canonicalize(path).map_err(|e| Failure::new(format!("cannot find {}: {e}", path.display())))
}

/// A file's text; `None` where there is none.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::new(format!("cannot read {}: {e}", path.display()))),
    }
}

/// Writes a file whole or not at all, with the mode that it has.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mode = fs::metadata(path).ok().map(|m| m.permissions().mode());
    write_atomically(path, text.as_bytes())?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| Failure::new(format!("cannot set the mode of {}: {e}", path.display())))?;
    }
    Ok(())
}
