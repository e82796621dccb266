//! The memory of a running process.
//!
//! `process_vm_readv` reads it without stopping it and needs no file: it works for a root with
//! nothing but `CAP_SYS_PTRACE`, which may not open `/proc/PID/mem` of another user. Where the
//! call itself is forbidden (a seccomp filter), `/proc/PID/mem` may still be readable.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use super::{Memory, MemoryError};
use crate::proc::Stat;
use crate::target::Target;

/// The memory of a running process.
#[derive(Debug)]
pub struct Live {
    target: Target,
    /// `/proc/PID/stat`, kept open: it stays that of this process when the number is used again.
    stat: File,
    /// The program that it executes: the bottom of its stack, random in every exec.
    stack: u64,
    /// `/proc/PID/mem`, when `process_vm_readv` is refused. It stays that of this program.
    file: OnceLock<File>,
}

impl Live {
    /// The memory of `target`, as long as it executes the program that it executes now.
    ///
    /// # Errors
    /// [`MemoryError::Gone`] when there is no such process, or only its zombie.
    pub fn open(target: Target) -> Result<Self, MemoryError> {
        let stat =
            File::open(format!("/proc/{}/stat", target.pid)).map_err(|_| MemoryError::Gone)?;
        let now = read_stat(&stat)?;
        if now.start_ticks != target.start_ticks {
            return Err(MemoryError::Gone);
        }
        Ok(Self {
            target,
            stat,
            stack: now.stack,
            file: OnceLock::new(),
        })
    }

    /// The process.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.target.pid.cast_signed())
    }

    /// Reads through `/proc/PID/mem` after `process_vm_readv` was refused.
    fn read_file(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let path = format!("/proc/{}/mem", self.target.pid);
                let file = File::open(path).map_err(|e| match e.kind() {
                    io::ErrorKind::NotFound => MemoryError::Gone,
                    io::ErrorKind::PermissionDenied => MemoryError::Denied,
                    _ => MemoryError::Read(e),
                })?;
                self.file.get_or_init(|| file)
            }
        };
        let mut got = 0;
        while got < into.len() {
            match file.read_at(&mut into[got..], address + got as u64) {
                // The memory has no user any more.
                Ok(0) => return Err(MemoryError::Gone),
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(Errno::EIO as i32) => {
                    return Err(MemoryError::Unmapped {
                        address,
                        wanted: into.len(),
                        got,
                    });
                }
                Err(e) => return Err(MemoryError::Read(e)),
            }
        }
        Ok(())
    }
}

fn read_stat(file: &File) -> Result<Stat, MemoryError> {
    // Far longer than the line can be.
    let mut line = [0; 2048];
    let length = file.read_at(&mut line, 0).map_err(|_| MemoryError::Gone)?;
    let stat = Stat::parse(&String::from_utf8_lossy(&line[..length])).ok_or(MemoryError::Gone)?;
    if stat.ended() {
        return Err(MemoryError::Gone);
    }
    Ok(stat)
}

impl Memory for Live {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        if into.is_empty() {
            return Ok(());
        }
        let wanted = into.len();
        // The numbers of an address space fit the machine's words.
        let Ok(base) = usize::try_from(address) else {
            return Err(MemoryError::Unmapped {
                address,
                wanted,
                got: 0,
            });
        };
        if self.file.get().is_some() {
            return self.read_file(address, into);
        }
        let remote = [RemoteIoVec { base, len: wanted }];
        match process_vm_readv(self.pid(), &mut [IoSliceMut::new(into)], &remote) {
            Ok(got) if got == wanted => Ok(()),
            Ok(got) => Err(MemoryError::Unmapped {
                address,
                wanted,
                got,
            }),
            Err(Errno::EFAULT) => Err(MemoryError::Unmapped {
                address,
                wanted,
                got: 0,
            }),
            Err(Errno::ESRCH) => Err(MemoryError::Gone),
            Err(Errno::EPERM | Errno::ENOSYS) => self.read_file(address, into),
            Err(errno) => Err(MemoryError::Read(errno.into())),
        }
    }

    fn check(&self) -> Result<(), MemoryError> {
        let now = read_stat(&self.stat)?;
        if now.stack != self.stack {
            return Err(MemoryError::Replaced);
        }
        Ok(())
    }
}
