//! Which files of a directory belong together: pods, as Go calls them.
//!
//! A pod is one build's meta-data file and the counter files of its processes
//! (`internal/coverage/pods`). Files belong together by the hash in their names. What Go's tool
//! passes over in silence is returned as problems: counters without meta-data, meta-data that differ
//! under one name, unfinished files, names that are almost right, data in sub-directories.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use covtap_model::problem::{Problem, Severity};

/// One build and what its processes counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The hash in the file names: 32 hexadecimal digits in sound ones.
    pub tag: String,
    /// The meta-data file.
    pub meta: PathBuf,
    /// In order of their directory, then of their path.
    pub counters: Vec<CounterFileName>,
}

/// The name of a counter file, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterFileName {
    /// Which of the scanned directories it is in, from 0.
    pub origin: usize,
    /// Where it lies.
    pub path: PathBuf,
    /// Process id as the process saw it (in a container often 1).
    pub pid: u64,
    /// When the name was made: nanoseconds since 1970.
    pub nanoseconds: u128,
}

/// What directories hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In order of their meta-data files' paths.
    pub pods: Vec<Pod>,
    /// What belongs to no pod.
    pub problems: Vec<Problem>,
}

/// A directory that could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list {}: {source}", path.display())]
pub struct ScanError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

enum Name {
    Meta(String),
    Counters {
        tag: String,
        pid: u64,
        nanoseconds: u128,
    },
    Unfinished,
    Almost,
    Other,
}

/// Takes a file name apart: `covmeta.TAG` or `covcounters.TAG.PID.NANOSECONDS`.
fn parse(name: &OsStr) -> Name {
    let bytes = name.as_bytes();
    let starts = |prefix: &str| bytes.starts_with(prefix.as_bytes());
    if starts("tmp.covmeta.") || starts("tmp.covcounters.") {
        return Name::Unfinished;
    }
    let Some(text) = name.to_str().filter(|t| !t.contains(char::is_whitespace)) else {
        return if starts("covmeta.") || starts("covcounters.") {
            Name::Almost
        } else {
            Name::Other
        };
    };
    if let Some(tag) = text.strip_prefix("covmeta.") {
        return if tag.is_empty() {
            Name::Almost
        } else {
            Name::Meta(tag.into())
        };
    }
    let Some(rest) = text.strip_prefix("covcounters.") else {
        return Name::Other;
    };
    let mut parts = rest.rsplitn(3, '.');
    let digits = |part: Option<&str>| -> Option<u128> {
        let part = part.filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))?;
        part.parse().ok()
    };
    let nanoseconds = digits(parts.next());
    let pid = digits(parts.next()).and_then(|n| u64::try_from(n).ok());
    match (parts.next(), pid, nanoseconds) {
        (Some(tag), Some(pid), Some(nanoseconds)) if !tag.is_empty() => Name::Counters {
            tag: tag.into(),
            pid,
            nanoseconds,
        },
        _ => Name::Almost,
    }
}

/// What a coverage file's name says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileName {
    /// `covmeta.TAG`: meta-data of a build.
    Meta {
        /// The hash.
        tag: String,
    },
    /// `covcounters.TAG.PID.NANOSECONDS`: counters of a process.
    Counters {
        /// The hash of its build's meta-data.
        tag: String,
        /// Process id as the process saw it.
        pid: u64,
        /// When the name was made: nanoseconds since 1970.
        nanoseconds: u128,
    },
}

impl FileName {
    /// Takes a file name apart; `None` for any other file, also for one that is not finished.
    #[must_use]
    pub fn parse(name: &OsStr) -> Option<Self> {
        match parse(name) {
            Name::Meta(tag) => Some(Self::Meta { tag }),
            Name::Counters {
                tag,
                pid,
                nanoseconds,
            } => Some(Self::Counters {
                tag,
                pid,
                nanoseconds,
            }),
            Name::Unfinished | Name::Almost | Name::Other => None,
        }
    }

    /// Whether it is the name of a file that a runtime began and did not finish.
    #[must_use]
    pub fn is_unfinished(name: &OsStr) -> bool {
        matches!(parse(name), Name::Unfinished)
    }
}

/// Lists `directories` and forms pods from what they hold, all directories together.
///
/// # Errors
/// [`ScanError`] when a directory does not exist or cannot be listed.
pub fn scan<P: AsRef<Path>>(directories: &[P]) -> Result<Scan, ScanError> {
    let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
    let mut counters = Vec::new();
    let mut problems = Vec::new();
    for (origin, directory) in directories.iter().enumerate() {
        let directory = directory.as_ref();
        let fail = |source| ScanError {
            path: directory.to_path_buf(),
            source,
        };
        let mut entries: Vec<fs::DirEntry> = fs::read_dir(directory)
            .map_err(fail)?
            .collect::<Result<_, _>>()
            .map_err(fail)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                problems.extend(overlooked(&path));
                continue;
            }
            match parse(&entry.file_name()) {
                Name::Meta(tag) => match pods.get(&tag) {
                    Some(pod) => problems.extend(differing(&pod.meta, &path)),
                    None => {
                        pods.insert(
                            tag.clone(),
                            Pod {
                                tag,
                                meta: path,
                                counters: Vec::new(),
                            },
                        );
                    }
                },
                Name::Counters {
                    tag,
                    pid,
                    nanoseconds,
                } => {
                    counters.push((
                        tag,
                        CounterFileName {
                            origin,
                            path,
                            pid,
                            nanoseconds,
                        },
                    ));
                }
                Name::Unfinished => problems.push(
                    Problem::new(
                        Severity::Warning,
                        &path,
                        "a finished file",
                        "a temporary one: the process died while writing, or could not write",
                        "it is left out",
                    )
                    .hint("look for `coverage … emit failed` in the process's output"),
                ),
                Name::Almost => problems.push(Problem::new(
                    Severity::Warning,
                    &path,
                    "covmeta.HASH or covcounters.HASH.PID.NANOSECONDS",
                    "another name",
                    "it is left out",
                )),
                Name::Other => {}
            }
        }
    }
    for (tag, file) in counters {
        match pods.get_mut(&tag) {
            Some(pod) => pod.counters.push(file),
            None => problems.push(
                Problem::new(
                    Severity::Warning,
                    &file.path,
                    format!("its meta-data, covmeta.{tag}, in one of the directories"),
                    "none",
                    "its counters are left out: without meta-data they mean nothing",
                )
                .hint("copy the covmeta file that the same binary wrote at its start"),
            ),
        }
    }
    let mut pods: Vec<Pod> = pods.into_values().collect();
    for pod in &mut pods {
        pod.counters.sort();
    }
    pods.sort_by(|a, b| a.meta.cmp(&b.meta));
    problems.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(Scan { pods, problems })
}

/// A second meta-data file of the same name: fine when it has the same contents.
fn differing(first: &Path, second: &Path) -> Option<Problem> {
    let problem = |found: String| {
        Problem::new(
            Severity::Warning,
            second,
            format!(
                "the contents of {}, which has the same name",
                first.display()
            ),
            found,
            "the first one is used",
        )
    };
    match (fs::read(first), fs::read(second)) {
        (Ok(a), Ok(b)) if a == b => None,
        (Ok(a), Ok(b)) => {
            let at = a
                .iter()
                .zip(&b)
                .position(|(x, y)| x != y)
                .unwrap_or(a.len().min(b.len()));
            Some(problem(format!("{} bytes that differ", b.len())).at(at as u64))
        }
        (_, Err(e)) => Some(problem(e.to_string())),
        // The first one is in use: reading it will report the error.
        (Err(_), Ok(_)) => None,
    }
}

/// A sub-directory is not read, by Go's tool or by us; say so when it holds coverage files.
fn overlooked(directory: &Path) -> Option<Problem> {
    let is_coverage = |entry: &fs::DirEntry| {
        matches!(
            parse(&entry.file_name()),
            Name::Meta(_) | Name::Counters { .. }
        )
    };
    // A sub-directory that cannot be listed is not ours to read either.
    let count = fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .filter(is_coverage)
        .count();
    (count > 0).then(|| {
        Problem::new(
            Severity::Warning,
            directory,
            "coverage files in the directory itself",
            format!("{count} in a sub-directory"),
            "they are left out",
        )
        .hint(format!(
            "name the sub-directory too: {}",
            directory.display()
        ))
    })
}
