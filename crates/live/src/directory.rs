//! The directory that a process writes its coverage to, as the process sees it: in its own root, with
//! its own user.

use std::fs;

use covtap_tap::life::{CoverageDirectory, Life};

use crate::around::Directory;

/// The user that a process's files belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    /// Its user id for files, as this machine counts.
    uid: u32,
    /// Its group ids, the first for new files.
    groups: Vec<u32>,
    /// Whether it may write whatever the permissions say: root may not, once its capabilities are dropped.
    overrides: bool,
}

/// `CAP_DAC_OVERRIDE`: bit 1 of a set of capabilities (capabilities(7)).
const DAC_OVERRIDE: u64 = 1 << 1;

/// The user of a process; `None` when it is gone.
fn user(pid: u32) -> Option<User> {
    of_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// `Uid:` and `Gid:` have four ids: real, effective, saved, and for files; capabilities are hexadecimal. See
/// proc_pid_status(5).
fn of_status(text: &str) -> Option<User> {
    let ids = |name: &str| -> Option<Vec<u32>> {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().map(|id| id.parse().ok()).collect()
    };
    let mut groups = vec![*ids("Gid:")?.get(3)?];
    groups.extend(ids("Groups:").unwrap_or_default());
    let effective = text.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(User {
        uid: *ids("Uid:")?.get(3)?,
        groups,
        overrides: effective & DAC_OVERRIDE != 0,
    })
}

/// The user of a life, and the directory that it would write to.
pub(crate) fn of_life(life: &Life) -> (Option<u32>, Directory) {
    let user = user(life.pid);
    let directory = look(life.pid, user.as_ref(), &life.coverage_directory);
    (user.map(|user| user.uid), directory)
}

/// Looks at the directory of a process.
fn look(pid: u32, user: Option<&User>, directory: &CoverageDirectory) -> Directory {
    let path = match directory {
        CoverageDirectory::Set(path) => path,
        CoverageDirectory::Unset => return Directory::Unset,
        CoverageDirectory::Unknown => return Directory::Unknown,
    };
    match (stat(pid, path), user) {
        (Ok(None), _) => Directory::Absent { path: path.clone() },
        (Ok(Some(found)), Some(user)) => Directory::There {
            path: path.clone(),
            owner: found.owner,
            mode: found.mode,
            writable: !found.read_only && may_write(user, found.owner, found.mode),
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
    user.overrides || mode >> shift & BOTH == BOTH
}

/// A directory.
struct Found {
    owner: (u32, u32),
    mode: u32,
    /// Whether it is mounted so that nobody writes there.
    read_only: bool,
}

/// A directory in the root of a process; `None` when there is none.
/// Links are followed as that process would follow them, and never lead out of its root.
#[cfg(target_os = "linux")]
fn stat(pid: u32, path: &std::path::Path) -> std::io::Result<Option<Found>> {
    use rustix::fs::{StatVfsMountFlags, fstat, fstatvfs};
    use std::io::ErrorKind::{NotADirectory, NotFound};

    let directory = match covtap_tap::root::open_directory(pid, path) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => {
            // It is the directory that is not there, not the process.
            std::fs::metadata(format!("/proc/{pid}/root"))?;
            return Ok(None);
        }
        other => other?,
    };
    let stat = fstat(&directory)?;
    let mount = fstatvfs(&directory)?;
    Ok(Some(Found {
        owner: (stat.st_uid, stat.st_gid),
        mode: stat.st_mode & 0o7777,
        read_only: mount.f_flag.contains(StatVfsMountFlags::RDONLY),
    }))
}

#[cfg(not(target_os = "linux"))]
fn stat(_: u32, _: &std::path::Path) -> std::io::Result<Option<Found>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t1\t2\t3\t1001\nGid:\t5\t6\t7\t1002\nGroups:\t4 20 \n\
                          CapEff:\t00000000000000c1\n";

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

    #[test]
    fn root_without_its_capabilities_is_a_user_like_others() {
        let root = |capabilities: &str| {
            let text = format!("Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t{capabilities}\n");
            of_status(&text).unwrap()
        };
        let others = (1001, 1001);
        assert!(may_write(&root("00000000a80425fb"), others, 0o750));
        assert!(!may_write(&root("0000000000000000"), others, 0o755));
        assert!(may_write(&root("0000000000000000"), (0, 0), 0o755));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_mounted_read_only_is_not_writable() {
        // Every Linux system has it, and it is read-only in every sandbox and container.
        let sysfs = std::path::Path::new("/sys");
        let pid = std::process::id();
        let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else {
            return;
        };
        let read_only = mounts.lines().rev().find_map(|line| {
            let mut words = line.split(' ');
            (words.nth(1) == Some("/sys"))
                .then(|| words.nth(1).is_some_and(|o| o.starts_with("ro")))
        });
        let Some(read_only) = read_only else { return };
        assert_eq!(stat(pid, sysfs).unwrap().unwrap().read_only, read_only);
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
