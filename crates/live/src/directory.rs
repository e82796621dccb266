//! The directory that a process writes its coverage to, as the process sees it: in its own root, with
//! its own user.

use std::fs;

use covtap_tap::life::CoverageDirectory;

use crate::around::Directory;

/// The user that a process's files belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its user id for files, as this machine counts.
    pub(crate) uid: u32,
    /// Its group ids, the first for new files.
    groups: Vec<u32>,
}

/// The user of a process; `None` when it is gone.
pub(crate) fn user(pid: u32) -> Option<User> {
    of_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// `Uid:` and `Gid:` have four ids: real, effective, saved, and for files. See proc_pid_status(5).
fn of_status(text: &str) -> Option<User> {
    let ids = |name: &str| -> Option<Vec<u32>> {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().map(|id| id.parse().ok()).collect()
    };
    let mut groups = vec![*ids("Gid:")?.get(3)?];
    groups.extend(ids("Groups:").unwrap_or_default());
    Some(User {
        uid: *ids("Uid:")?.get(3)?,
        groups,
    })
}

/// Looks at the directory of a process.
pub(crate) fn look(pid: u32, user: Option<&User>, directory: &CoverageDirectory) -> Directory {
    let path = match directory {
        CoverageDirectory::Set(path) => path,
        CoverageDirectory::Unset => return Directory::Unset,
        CoverageDirectory::Unknown => return Directory::Unknown,
    };
    match (stat(pid, path), user) {
        (Ok(None), _) => Directory::Absent { path: path.clone() },
        (Ok(Some((owner, mode))), Some(user)) => Directory::There {
            path: path.clone(),
            owner,
            mode,
            writable: may_write(user, owner, mode),
        },
        (Err(_), _) | (_, None) => Directory::Unknown,
    }
}

/// Whether a user may make files in a directory: write and search.
fn may_write(user: &User, owner: (u32, u32), mode: u32) -> bool {
    const BOTH: u32 = 0o3;
    let shift = if user.uid == owner.0 {
        6
    } else if user.groups.contains(&owner.1) {
        3
    } else {
        0
    };
    user.uid == 0 || mode >> shift & BOTH == BOTH
}

/// Owner, group and permissions of a directory in the root of a process; `None` when there is none.
/// Links are followed as that process would follow them, and never lead out of its root.
#[cfg(target_os = "linux")]
fn stat(pid: u32, path: &std::path::Path) -> std::io::Result<Option<((u32, u32), u32)>> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, open, openat2};
    use rustix::io::Errno;

    let root = open(
        format!("/proc/{pid}/root"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other?,
    };
    let stat = fstat(directory)?;
    Ok(Some(((stat.st_uid, stat.st_gid), stat.st_mode & 0o7777)))
}

#[cfg(not(target_os = "linux"))]
fn stat(_: u32, _: &std::path::Path) -> std::io::Result<Option<((u32, u32), u32)>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t1\t2\t3\t1001\nGid:\t5\t6\t7\t1002\nGroups:\t4 20 \n";

    #[test]
    fn the_ids_for_files_are_the_last() {
        let user = of_status(STATUS).unwrap();
        assert_eq!((user.uid, user.groups), (1001, vec![1002, 4, 20]));
        assert_eq!(of_status("Uid:\t1\n"), None);
    }

    #[test]
    fn who_may_write() {
        let user = of_status(STATUS).unwrap();
        for (owner, mode, expected) in [
            ((1001, 1), 0o750, true),
            ((1001, 1), 0o577, false),
            ((0, 20), 0o730, true),
            ((0, 20), 0o707, false),
            ((0, 0), 0o755, false),
            ((0, 0), 0o1777, true),
            ((0, 0), 0o772, false),
        ] {
            assert_eq!(
                may_write(&user, owner, mode),
                expected,
                "{owner:?} {mode:o}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_of_this_process_is_found_and_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        let pid = std::process::id();
        let user = user(pid);
        let look = |path: &str| {
            let path = CoverageDirectory::Set(dir.path().join(path));
            look(pid, user.as_ref(), &path)
        };
        for there in ["", "link"] {
            let found = look(there);
            assert!(
                matches!(found, Directory::There { writable: true, .. }),
                "{found:?}"
            );
        }
        for absent in ["file", "x"] {
            assert!(matches!(look(absent), Directory::Absent { .. }));
        }
    }
}
