//! Which file systems can hold programs, and the marks on them.
//!
//! One line of `/proc/self/mountinfo` (proc(5)) is a mount:
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
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::fanotify::{Fanotify, MarkFlags, MaskFlags};
use rustix::event::{PollFd, PollFlags, poll};

use super::Unmarked;

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

/// The mounts that this process can see, as they change.
pub(super) struct Mounts {
    file: File,
    told: BTreeSet<PathBuf>,
}

/// What came of one round of marking.
pub(super) struct Round {
    /// Mounts whose file system is marked.
    pub(super) marked: u64,
    /// The others, each told once.
    pub(super) unmarked: Vec<Unmarked>,
}

impl Mounts {
    /// Begins: from now on, [`Mounts::changed`] sees every change.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            file: File::open("/proc/self/mountinfo")?,
            told: BTreeSet::new(),
        })
    }

    /// Waits for a change.
    pub(super) fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = [PollFd::new(&self.file, PollFlags::PRI)];
            match poll(&mut ready, None) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(drop).map_err(Into::into),
            }
        }
    }

    /// Marks all file systems. Marking one again changes nothing, and numbers of mounts and devices
    /// are used again, so nothing is remembered.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub(super) fn mark(&mut self, group: &Fanotify) -> io::Result<Round> {
        let mut text = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut text)?;
        let mut mounts = parse(&text);
        if mounts.iter().all(|m| m.point != Path::new("/")) {
            // A root that is no mount (chroot) is not in the list.
            mounts.push(Mount {
                point: "/".into(),
                programs: Programs::Can,
            });
        }
        let mut round = Round {
            marked: 0,
            unmarked: Vec::new(),
        };
        // The newest mount is the last one.
        for mount in mounts.into_iter().rev() {
            let error = match mount.programs {
                Programs::Cannot => continue,
                Programs::Served => None,
                Programs::Can => match mark(group, &mount.point) {
                    Ok(()) => {
                        round.marked += 1;
                        continue;
                    }
                    // Gone in the meantime, or the mount of a file.
                    Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
                    Err(error) => Some(error as i32),
                },
            };
            if self.told.insert(mount.point.clone()) {
                round.unmarked.push(Unmarked {
                    mount: mount.point,
                    error,
                });
            }
        }
        Ok(round)
    }
}

fn mark(group: &Fanotify, point: &Path) -> nix::Result<()> {
    group.mark(
        MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM | MarkFlags::FAN_MARK_ONLYDIR,
        MaskFlags::FAN_OPEN_EXEC_PERM,
        rustix::fs::CWD,
        Some(point),
    )
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
        let mut mounts = Mounts::open().unwrap();
        mounts.file.read_to_end(&mut text).unwrap();
        assert!(!parse(&text).is_empty());
    }
}
