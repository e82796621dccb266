//! Copies the coverage files of one life out of a directory that others write to, and trusts nothing of
//! it: links are not followed, what is no regular file is not opened, sizes and numbers have bounds.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use covtap_model::problem::{Problem, Severity};
use covtap_profile::go::directory::FileName;
use covtap_tap::life::{CoverageDirectory, Life};
use rustix::fs::{Dir, Mode, OFlags, fstat, openat};

use super::Looked;
use crate::attribute::may_have_written;
use crate::store::write_atomically;

/// The largest file that is copied, in bytes: far above that of the largest programs.
const LARGEST: u64 = 256 << 20;
/// So many files of one life are copied.
const MOST_FILES: usize = 4096;
/// So many names of a directory are looked at.
const MOST_NAMES: usize = 1 << 18;

/// What was copied of one life.
pub(super) struct Copied {
    pub(super) looked: Looked,
    /// How many files.
    pub(super) files: usize,
    pub(super) problems: Vec<Problem>,
}

/// Copies the files of a life from its directory into `into`: its counters with their meta-data; without
/// any counters all meta-data, which tell that it has begun.
pub(super) fn copy(directory: &OwnedFd, life: &Life, into: &Path) -> Copied {
    let mut copied = Copied {
        looked: Looked::Failed(String::new()),
        files: 0,
        problems: Vec::new(),
    };
    copied.looked = match copy_into(directory, life, into, &mut copied) {
        Ok(looked) => looked,
        Err(error) => Looked::Failed(format!("its GOCOVERDIR could not be read: {error}")),
    };
    copied
}

fn copy_into(place: &OwnedFd, life: &Life, into: &Path, copied: &mut Copied) -> io::Result<Looked> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(place, ".", flags, Mode::empty())?;
    let stat = fstat(&directory)?;
    let names = names(&directory, life)?;
    let mut failed = None;
    if names.len() > MOST_FILES {
        failed = Some(format!(
            "{} files of its own are more than are copied",
            names.len()
        ));
    }
    for name in names.into_iter().take(MOST_FILES) {
        let to = into.join(&name);
        if to.exists() {
            continue;
        }
        match copy_file(&directory, &name, &to) {
            Ok(()) => copied.files += 1,
            Err(error) => {
                copied
                    .problems
                    .push(not_copied(&shown(life, &name), into, &error));
                failed
                    .get_or_insert_with(|| format!("its file {} {error}", name.to_string_lossy()));
            }
        }
    }
    #[allow(clippy::useless_conversion, reason = "16 bits on macOS")]
    let mode = u32::from(stat.st_mode) & 0o7777;
    Ok(match failed {
        Some(because) => Looked::Failed(because),
        None => Looked::Read {
            owner: (stat.st_uid, stat.st_gid),
            mode,
        },
    })
}

/// The names of the files that a life may have written, in order: meta-data last, so that they are there
/// when they are looked for.
fn names(directory: &OwnedFd, life: &Life) -> io::Result<BTreeSet<OsString>> {
    let mut counters = BTreeSet::new();
    let mut builds = BTreeSet::new();
    let mut metas = Vec::new();
    for entry in Dir::read_from(directory)?.take(MOST_NAMES) {
        let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
        match FileName::parse(&name) {
            Some(FileName::Meta { tag }) => metas.push((tag, name)),
            Some(FileName::Counters {
                tag,
                pid,
                nanoseconds,
            }) if may_have_written(life, pid, nanoseconds) => {
                builds.insert(tag);
                counters.insert(name);
            }
            Some(FileName::Counters { .. }) | None => {}
        }
    }
    let wanted = metas
        .into_iter()
        .filter(|(tag, _)| builds.is_empty() || builds.contains(tag));
    counters.extend(wanted.map(|(_, name)| name));
    Ok(counters)
}

/// Why a file is not copied; reads after its name.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("is no regular file")]
    NotRegular,
    #[error("is larger than {} MiB", LARGEST >> 20)]
    TooLarge,
    #[error("could not be read: {0}")]
    Read(#[source] io::Error),
    #[error("could not be copied: {0}")]
    Write(#[source] io::Error),
}

fn copy_file(directory: &OwnedFd, name: &OsString, to: &Path) -> Result<(), CopyError> {
    let file = open_regular(directory, name)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(CopyError::Read)?;
    if bytes.len() as u64 > LARGEST {
        return Err(CopyError::TooLarge);
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(CopyError::Write)?;
    }
    write_atomically(to, &bytes).map_err(|error| match error {
        crate::store::StoreError::Write { source, .. } => CopyError::Write(source),
        other => CopyError::Write(io::Error::other(other)),
    })
}

/// Opens a file by its place first: opening a device, a pipe or a socket may do something.
#[cfg(target_os = "linux")]
fn open_regular(directory: &OwnedFd, name: &OsString) -> Result<File, CopyError> {
    use std::os::fd::{AsFd, AsRawFd};

    use rustix::fs::{FileType, ResolveFlags, openat2};

    let read = |error: rustix::io::Errno| CopyError::Read(error.into());
    let place = openat2(
        directory.as_fd(),
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
    )
    .map_err(read)?;
    let stat = fstat(&place).map_err(read)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(CopyError::NotRegular);
    }
    if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > LARGEST {
        return Err(CopyError::TooLarge);
    }
    File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).map_err(CopyError::Read)
}

/// Elsewhere no directory is ever held.
#[cfg(not(target_os = "linux"))]
fn open_regular(_: &OwnedFd, _: &OsString) -> Result<File, CopyError> {
    Err(CopyError::Read(io::ErrorKind::Unsupported.into()))
}

/// A file as the process calls it.
fn shown(life: &Life, name: &OsString) -> PathBuf {
    match &life.coverage_directory {
        CoverageDirectory::Set(path) => path.join(name),
        CoverageDirectory::Unset | CoverageDirectory::Unknown => name.into(),
    }
}

fn not_copied(file: &Path, into: &Path, error: &CopyError) -> Problem {
    let problem = Problem::new(
        Severity::Error,
        file,
        "a coverage file that can be copied",
        format!("it {error}"),
        "it is left out",
    );
    match error {
        CopyError::Write(_) => problem.hint(format!(
            "is there space left in {}? another place is given with --store",
            into.display()
        )),
        _ => problem,
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::fs::symlink;

    use covtap_tap::clock::Moment;
    use covtap_tap::life::{End, Inspection, Tap};
    use covtap_tap::root::open_directory;
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    const SECOND: i128 = 1_000_000_000;

    /// A life with process id 1, from second 10 to second 20.
    fn life() -> Life {
        Life {
            pid: 812,
            inner_pid: 1,
            start_ticks: 7,
            generation: 0,
            executable: "/svc".into(),
            inspection: Inspection::Pending,
            coverage_directory: CoverageDirectory::Set("/cover".into()),
            began: Moment(10 * SECOND),
            first_seen: Moment(10 * SECOND),
            cgroup: None,
            added: None,
            end: End::Gone {
                at: Moment(20 * SECOND),
                status: None,
            },
            tap: Tap::None,
        }
    }

    fn held(directory: &Path) -> OwnedFd {
        open_directory(std::process::id(), directory).unwrap()
    }

    fn listed(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_files_of_a_life_are_copied_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        for name in [
            "covmeta.aa",
            "covmeta.bb",
            "covcounters.aa.1.15000000000",
            "covcounters.aa.1.25000000000",
            "covcounters.aa.2.15000000000",
            "tmp.covcounters.aa.1.15000000000",
            "secret",
        ] {
            fs::write(from.join(name), name).unwrap();
        }
        let into = dir.path().join("into");
        let copied = copy(&held(&from), &life(), &into);
        assert!(
            matches!(copied.looked, Looked::Read { .. }),
            "{:?}",
            copied.looked
        );
        assert_eq!(copied.files, 2);
        assert_eq!(
            listed(&into),
            ["covcounters.aa.1.15000000000", "covmeta.aa"]
        );
        // Without counters, the meta-data tell that it has begun.
        fs::remove_file(from.join("covcounters.aa.1.15000000000")).unwrap();
        let into = dir.path().join("begun");
        copy(&held(&from), &life(), &into);
        assert_eq!(listed(&into), ["covmeta.aa", "covmeta.bb"]);
    }

    #[test]
    fn a_directory_that_was_removed_with_its_mount_is_still_read() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        let held = held(&from);
        fs::remove_dir(&from).unwrap();
        let copied = copy(&held, &life(), &dir.path().join("into"));
        assert!(
            matches!(copied.looked, Looked::Read { .. }),
            "{:?}",
            copied.looked
        );
        assert_eq!(copied.files, 0);
    }

    #[test]
    fn what_is_no_file_of_the_directory_is_named_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        fs::create_dir(&from).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        let name = |number: u32| from.join(format!("covcounters.aa.1.1500000000{number}"));
        symlink(dir.path().join("secret"), name(0)).unwrap();
        symlink("covmeta.aa", name(1)).unwrap();
        mknodat(CWD, name(2), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        fs::create_dir(name(3)).unwrap();
        File::create(name(4)).unwrap().set_len(LARGEST + 1).unwrap();
        fs::write(name(5), "sound").unwrap();
        fs::write(from.join("covmeta.aa"), "meta").unwrap();
        let copied = copy(&held(&from), &life(), &into);
        assert_eq!(
            listed(&into),
            ["covcounters.aa.1.15000000005", "covmeta.aa"]
        );
        let said: Vec<String> = copied.problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 5, "{said:#?}");
        assert!(
            said[0].contains("/cover/covcounters.aa.1.15000000000"),
            "{said:#?}"
        );
        assert!(said[2].contains("is no regular file"), "{said:#?}");
        assert!(said[4].contains("is larger than 256 MiB"), "{said:#?}");
        assert!(matches!(copied.looked, Looked::Failed(_)));
    }
}
