//! What lies in a coverage directory, for the doctor: nothing is merged, everything is looked at.

mod go;
mod text;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use covtap_model::facts::data::{Data, Gcov, Nested, Raw, Unfinished};

use crate::go::directory::FileName;

/// How deep below a directory coverage files are looked for.
const DEEPEST: usize = 4;
/// A text profile is read up to here, in bytes.
const LONGEST_TEXT: u64 = 64 << 20;
/// The first bytes of a raw profile of LLVM for 64 bits, as they lie in a little-endian file
/// (`llvm/include/llvm/ProfileData/InstrProf.h`, `INSTR_PROF_RAW_MAGIC_64`).
const RAW_MAGIC: [u8; 8] = [0x81, b'r', b'f', b'o', b'r', b'p', b'l', 0xff];
/// The bits of its version word that hold the version; the others say what is in it.
const RAW_VERSION: u64 = 0x00ff_ffff_ffff_ffff;

/// Looks at a directory.
///
/// # Errors
/// When it cannot be listed. What cannot be read in it is in [`Data::unreadable`].
pub fn of_directory(directory: &Path) -> io::Result<Data> {
    let mut data = Data {
        directory: directory.display().to_string(),
        ..Data::default()
    };
    let mut pieces = Pieces::default();
    let mut files = Vec::new();
    let mut below = Vec::new();
    for entry in sorted(directory)? {
        // Not followed: a link to the directory above would never end.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => below.push(entry.path()),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            Ok(_) => {}
            Err(error) => data
                .unreadable
                .push((shown(&entry.path(), directory), error.to_string())),
        }
    }
    for file in &files {
        look(file, directory, &mut data, &mut pieces);
    }
    for folder in below {
        descend(&folder, directory, 1, &mut data, &mut pieces);
    }
    go::read(directory, &pieces.go, &mut data);
    data.same_name = go::of_one_name(directory, &data.nested);
    data.gcov = pieces
        .counters
        .iter()
        .map(|path| Gcov {
            file: shown(path, directory),
            notes: path
                .file_stem()
                .is_some_and(|stem| pieces.notes.contains(stem)),
        })
        .collect();
    Ok(data)
}

/// Whether the name of a file is that of a coverage file, of any kind that is looked at.
#[must_use]
pub fn is_coverage(name: &std::ffi::OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    FileName::parse(name).is_some()
        || FileName::is_unfinished(name)
        || matches!(extension, Some("profraw" | "gcda"))
}

/// What is put together after everything was listed.
#[derive(Default)]
struct Pieces {
    /// Go's files in the directory itself.
    go: Vec<(PathBuf, FileName)>,
    /// gcov's counters, and the names of its notes without the ending.
    counters: Vec<PathBuf>,
    notes: BTreeSet<std::ffi::OsString>,
}

fn sorted(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

/// A path as it is shown: from the directory.
fn shown(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn look(path: &Path, directory: &Path, data: &mut Data, pieces: &mut Pieces) {
    let Some(name) = path.file_name() else { return };
    if let Some(parsed) = FileName::parse(name) {
        pieces.go.push((path.to_owned(), parsed));
        return;
    }
    let file = shown(path, directory);
    if FileName::is_unfinished(name) {
        data.unfinished.push(Unfinished {
            counters: name.to_string_lossy().starts_with("tmp.covcounters."),
            bytes: fs::metadata(path).map_or(0, |m| m.len()),
            file,
        });
        return;
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("gcda") => pieces.counters.push(path.to_owned()),
        Some("gcno") => pieces.notes.extend(path.file_stem().map(ToOwned::to_owned)),
        Some("profraw") => match start(path, 16) {
            Ok((head, bytes)) => data.raw.push(Raw {
                version: raw_version(&head),
                bytes,
                file,
            }),
            Err(error) => data.unreadable.push((file, error.to_string())),
        },
        Some("out" | "txt" | "cov" | "coverprofile" | "profile") | None => {
            match start(path, LONGEST_TEXT) {
                Ok((bytes, _)) => data.texts.extend(text::of(file, &bytes)),
                Err(error) => data.unreadable.push((file, error.to_string())),
            }
        }
        Some(_) => {}
    }
}

/// Looks into the directories below. Go's files there are named, not read.
fn descend(folder: &Path, directory: &Path, depth: usize, data: &mut Data, pieces: &mut Pieces) {
    let entries = match sorted(folder) {
        Ok(entries) => entries,
        Err(error) => {
            data.unreadable
                .push((shown(folder, directory), error.to_string()));
            return;
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let (name, path) = (entry.file_name(), entry.path());
        if kind.is_dir() && depth < DEEPEST {
            descend(&path, directory, depth + 1, data, pieces);
        } else if kind.is_file() {
            match path.extension().and_then(|e| e.to_str()) {
                Some("gcda") => pieces.counters.push(path),
                Some("gcno") => pieces.notes.extend(path.file_stem().map(ToOwned::to_owned)),
                _ if FileName::parse(&name).is_some() => {
                    files.push(name.to_string_lossy().into_owned());
                }
                _ => {}
            }
        }
    }
    if !files.is_empty() {
        data.nested.push(Nested {
            path: shown(folder, directory),
            files,
        });
    }
}

/// The first bytes of a file and its size.
fn start(path: &Path, limit: u64) -> io::Result<(Vec<u8>, u64)> {
    use std::io::Read;
    let file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes, size))
}

fn raw_version(head: &[u8]) -> Option<u64> {
    let magic: [u8; 8] = head.get(..8)?.try_into().ok()?;
    let version: [u8; 8] = head.get(8..16)?.try_into().ok()?;
    if magic == RAW_MAGIC {
        return Some(u64::from_le_bytes(version) & RAW_VERSION);
    }
    let mut turned = RAW_MAGIC;
    turned.reverse();
    (magic == turned).then(|| u64::from_be_bytes(version) & RAW_VERSION)
}

/// When a file was written, in seconds since 1970; 0 when nobody knows.
fn written(path: &Path) -> u64 {
    fs::metadata(path)
        .and_then(|m| m.modified())
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs())
}
