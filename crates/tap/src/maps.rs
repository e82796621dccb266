//! What a process has mapped: `/proc/PID/maps`, see proc(5).
//!
//! ```text
//! 00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon
//! start    end      rights offset device inode      path, newlines as \012; " (deleted)"
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The device and inode of a mapped file, as `/proc/PID/maps` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Major and minor number of the device.
    pub device: (u32, u32),
    /// Number of the inode; never 0.
    pub inode: u64,
}

/// A run of addresses that was mapped as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Whether it may be read.
    pub readable: bool,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether it may be executed.
    pub executable: bool,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// The file; `None` for memory without one.
    pub file: Option<FileId>,
    /// The file's path as the process had it; with ` (deleted)` when it is no more. Or a name in
    /// brackets, or nothing.
    pub path: PathBuf,
}

impl Region {
    /// Number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// What `pid` has mapped, lowest addresses first. A kernel thread and a zombie have nothing.
///
/// # Errors
/// `NotFound` when it is gone, `PermissionDenied` when it may not be looked at.
pub fn read(pid: u32) -> io::Result<Vec<Region>> {
    Ok(parse(&fs::read(format!("/proc/{pid}/maps"))?))
}

/// Takes the lines of `/proc/PID/maps` apart; lines of another form are left out.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Region> {
    text.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Region> {
    let mut rest = line;
    // Five fields with one space behind each, then spaces, then the path.
    let mut field = || {
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let rights = field()?.as_bytes();
    let offset = field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?.parse().ok()?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let device = |text| u32::from_str_radix(text, 16).ok();
    let id = FileId {
        device: (device(major)?, device(minor)?),
        inode,
    };
    let start = hex(start)?;
    let end = hex(end).filter(|end| *end >= start)?;
    Some(Region {
        start,
        end,
        readable: *rights.first()? == b'r',
        writable: *rights.get(1)? == b'w',
        executable: *rights.get(2)? == b'x',
        offset: hex(offset)?,
        file: (inode != 0).then_some(id),
        path: path(rest.trim_ascii_start()),
    })
}

/// A path with its newlines back.
fn path(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            bytes.push(b'\n');
            rest = after;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let text = b"00400000-00452000 r-xp 00001000 fd:1f 173521      /a b\\012c (deleted)\n\
                     c000000000-c000400000 rw-p 00000000 00:00 0 \n\
                     7ffc0000-7ffd0000 ---p 00000000 00:00 0                  [stack]\n\
                     not a line\n9-1 r--p 0 0:0 0\n";
        let regions = parse(text);
        assert_eq!(
            regions[0],
            Region {
                start: 0x40_0000,
                end: 0x45_2000,
                readable: true,
                writable: false,
                executable: true,
                offset: 0x1000,
                file: Some(FileId {
                    device: (0xfd, 0x1f),
                    inode: 173_521,
                }),
                path: "/a b\nc (deleted)".into(),
            }
        );
        assert_eq!(regions[0].length(), 0x5_2000);
        assert!(regions[1].writable && regions[1].file.is_none());
        assert_eq!(regions[1].path, Path::new(""));
        assert!(!regions[2].readable);
        assert_eq!(regions[2].path, Path::new("[stack]"));
        assert_eq!(regions.len(), 3);
    }

    #[test]
    fn this_process_has_mapped_its_own_file() {
        let own = std::env::current_exe().unwrap();
        let regions = read(std::process::id()).unwrap();
        assert!(regions.iter().any(|r| r.path == own && r.executable));
    }
}
