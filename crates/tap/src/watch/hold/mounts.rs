//! Which file systems can hold programs, and the marks on them.
//!
//! One line of `/proc/PID/mountinfo` (proc(5)) is a mount:
//!
//! ```text
//! 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//!  id parent device root  where  options  optional fields, then "-", the kind, the source, options
//! ```
//!
//! Spaces and the like in paths are written as `\040`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::fanotify::{Fanotify, MarkFlags, MaskFlags};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Unmarked;
use super::wire::Process;
use crate::proc;

/// Kinds of file systems without programs: windows into the kernel. Source: the kinds that are
/// marked `nodev` in `/proc/filesystems` and hold no files of users.
const NO_PROGRAMS: [&str; 24] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devpts",
    "efivarfs",
    "functionfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// A mount.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    programs: Programs,
}

/// Whether programs can be executed through a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Programs {
    Can,
    Cannot,
    /// They can, and a process of a user serves the files.
    Served,
}

/// The mounts that a process can see, as they change: this process, or another one with a mount
/// namespace of its own.
///
/// ```text
/// /proc/PID/mountinfo   the list; poll for POLLPRI tells of changes
/// /proc/PID/root        below it this process finds the mounts of another one
/// ```
///
/// As long as the list is open, the namespace lives on, and so does all that is mounted in it.
pub(super) struct Mounts {
    list: File,
    /// None: they are this process's own.
    other: Option<Other>,
    told: BTreeSet<PathBuf>,
}

/// Another process.
struct Other {
    process: Process,
    /// Its folder in `/proc`: opened once, it never becomes another process's.
    folder: OwnedFd,
}

/// What came of one round of marking.
pub(super) struct Round {
    /// Mounts whose file system is marked.
    pub(super) marked: u64,
    /// The others, each told once.
    pub(super) unmarked: Vec<Unmarked>,
}

impl Round {
    pub(super) fn add(&mut self, other: Self) {
        self.marked += other.marked;
        self.unmarked.extend(other.unmarked);
    }
}

impl Mounts {
    /// This process's. From now on, a poll tells of every change.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub(super) fn own() -> io::Result<Self> {
        Ok(Self {
            list: File::open("/proc/self/mountinfo")?,
            other: None,
            told: BTreeSet::new(),
        })
    }

    /// Another process's, and what becomes readable when it ends. From now on, a poll tells of every
    /// change.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when it has ended; when it may not be looked at, or the kernel is too old.
    pub(super) fn of(process: Process) -> io::Result<(Self, OwnedFd)> {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        let end = pidfd_open(pid.ok_or(Errno::ESRCH)?, PidfdFlags::empty())?;
        let folder = openat(
            CWD,
            format!("/proc/{}", process.pid),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let list = openat(
            &folder,
            "mountinfo",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // The number may have been another process's when it was opened. What is open stays what it is.
        let same = proc::stat(process.pid).is_some_and(|s| s.start_ticks == process.start_ticks);
        if !same {
            return Err(Errno::ESRCH.into());
        }
        let mounts = Self {
            list: list.into(),
            other: Some(Other { process, folder }),
            told: BTreeSet::new(),
        };
        Ok((mounts, end))
    }

    /// Where the mounts of a process are found.
    pub(super) fn root(process: Process) -> PathBuf {
        format!("/proc/{}/root", process.pid).into()
    }

    /// Marks all file systems. Marking one again changes nothing, and numbers of mounts and devices
    /// are used again, so nothing is remembered.
    ///
    /// # Errors
    /// When the list cannot be read, or the other process has ended (`ENOENT` or `ESRCH`).
    pub(super) fn mark(&mut self, group: &Fanotify) -> io::Result<Round> {
        let mut text = Vec::new();
        self.list.rewind()?;
        self.list.read_to_end(&mut text)?;
        let mut mounts = parse(&text);
        if mounts.iter().all(|m| m.point != Path::new("/")) {
            // A root that is no mount (chroot) is not in the list.
            mounts.push(Mount {
                point: "/".into(),
                programs: Programs::Can,
            });
        }
        let root = match &self.other {
            None => None,
            Some(other) => Some(openat(
                &other.folder,
                "root",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?),
        };
        let mut round = Round {
            marked: 0,
            unmarked: Vec::new(),
        };
        // The newest mount is the last one.
        for mount in mounts.into_iter().rev() {
            let error = match mount.programs {
                Programs::Cannot => continue,
                Programs::Served => None,
                Programs::Can => match mark(group, root.as_ref(), &mount.point) {
                    Ok(()) => {
                        round.marked += 1;
                        continue;
                    }
                    // Gone in the meantime, or moved, or the mount of a file.
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                    Err(error) => Some(error as i32),
                },
            };
            let mount = self.place(&mount.point);
            if self.told.insert(mount.clone()) {
                round.unmarked.push(Unmarked { mount, error });
            }
        }
        Ok(round)
    }

    /// Where this process finds a mount.
    fn place(&self, point: &Path) -> PathBuf {
        match &self.other {
            None => point.to_path_buf(),
            Some(other) => Self::root(other.process).join(inside(point)),
        }
    }
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.list.as_fd()
    }
}

/// A path from its root on.
fn inside(point: &Path) -> &Path {
    point.strip_prefix("/").unwrap_or(point)
}

/// Marks the file system that is mounted at `point`, below `root` if that is given. Nothing but folders
/// is ever opened. What another process has mounted is found by a path without links: that is what the
/// list holds, so one with links is another by now.
fn mark(group: &Fanotify, root: Option<&OwnedFd>, point: &Path) -> nix::Result<()> {
    let flags =
        MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM | MarkFlags::FAN_MARK_ONLYDIR;
    let events = MaskFlags::FAN_OPEN_EXEC_PERM;
    let Some(root) = root else {
        return group.mark(flags, events, CWD, Some(point));
    };
    let folder = openat2(
        root,
        point,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
    .map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    group.mark(flags, events, folder, Some("."))
}

/// Lines that are no mounts are left out.
fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let point = unescaped(fields.nth(4)?);
    let options = fields.next()?;
    let kind = fields.skip_while(|f| *f != b"-").nth(1)?;
    let kind = OsStr::from_bytes(kind).to_string_lossy();
    let programs = if options.split(|b| *b == b',').any(|o| o == b"noexec")
        || NO_PROGRAMS.contains(&kind.as_ref())
    {
        Programs::Cannot
    } else if kind == "fuse" || kind.starts_with("fuse.") {
        Programs::Served
    } else {
        Programs::Can
    };
    Some(Mount { point, programs })
}

fn unescaped(mut field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    while let Some((byte, rest)) = field.split_first() {
        let digits = rest.get(..3).filter(|_| *byte == b'\\');
        let code = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        path.push(code.unwrap_or(*byte));
        field = if code.is_some() { &rest[3..] } else { rest };
    }
    std::ffi::OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_taken_apart() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402/\\134x rw,noatime master:1 - ext3 /dev/root rw\n\
            22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            25 24 0:23 / /dev/shm rw,nosuid,noexec - tmpfs tmpfs rw\n\
            40 24 0:50 / /home/u/net rw shared:2 master:3 - fuse.sshfs u@h:/ rw\n\
            41 24 0:51 / /win rw - fuseblk /dev/sdb rw\n\
            nonsense\n\
            1 2 0:1 / / rw\n";
        let expected = [
            ("/mnt 2/\\x", Programs::Can),
            ("/proc", Programs::Cannot),
            ("/dev/shm", Programs::Cannot),
            ("/home/u/net", Programs::Served),
            ("/win", Programs::Can),
        ]
        .map(|(point, programs)| Mount {
            point: point.into(),
            programs,
        });
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescaped(br"/a\9\04"), Path::new(r"/a\9\04"));
        assert_eq!(unescaped(br"/a\777\012"), Path::new("/a\\777\n"));
    }

    #[test]
    fn this_machine_has_a_root() {
        let mut text = Vec::new();
        let mut mounts = Mounts::own().unwrap();
        mounts.list.read_to_end(&mut text).unwrap();
        assert!(!parse(&text).is_empty());
    }
}
