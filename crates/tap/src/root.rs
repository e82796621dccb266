//! Directories as a process sees them: below its own root, in its own mounts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

/// Opens a directory of a process as a place, which can be looked at, not listed. Links are followed as
/// that process would follow them, and never lead out of its root.
///
/// What is open stays reachable when the process is gone, and its mounts with it. It keeps nobody from
/// unmounting or removing the directory: it is another mount than the node's.
///
/// # Errors
/// What the system says: `NotFound` and `NotADirectory` when there is none; when the process is gone;
/// without the right to look into it.
pub fn open_directory(pid: u32, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root.as_fd(), path, flags, Mode::empty(), resolve)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_opened_and_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        symlink(dir.path(), dir.path().join("link")).unwrap();
        let open = |name: &str| open_directory(std::process::id(), &dir.path().join(name));
        open("").unwrap();
        open("link").unwrap();
        assert_eq!(open("x").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(
            open("file").unwrap_err().kind(),
            io::ErrorKind::NotADirectory
        );
        open_directory(std::process::id(), Path::new("/proc/self/cwd")).unwrap_err();
        open_directory(u32::MAX, Path::new("/")).unwrap_err();
    }
}
