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
                // The second: no address of a process is that high.
                Err(e) if is_any(&e, [Errno::EIO, Errno::EINVAL]) => {
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

fn is_any(error: &io::Error, errnos: [Errno; 2]) -> bool {
    let number = error.raw_os_error();
    errnos.iter().any(|errno| number == Some(*errno as i32))
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::maps;

    /// A program that waits until its standard input is closed, and its memory.
    fn waiting() -> (Child, Live) {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its exec is over when it answers.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let live = Live::open(Target::find(child.id()).unwrap()).unwrap();
        (child, live)
    }

    #[test]
    fn both_ways_read_the_same() {
        let own = Target::find(std::process::id()).unwrap();
        let live = Live::open(own).unwrap();
        let bytes: Vec<u8> = (0..100_000_u32)
            .map(|i| i.wrapping_mul(i).to_le_bytes()[1])
            .collect();
        let address = bytes.as_ptr() as u64;
        let mut read = vec![0; bytes.len()];
        live.read(address, &mut read).unwrap();
        assert_eq!(read, bytes);
        read.fill(0);
        live.read_file(address, &mut read).unwrap();
        assert_eq!(read, bytes);
        // From now on it is the only way.
        read.fill(0);
        live.read(address + 1, &mut read[1..]).unwrap();
        assert_eq!(read[1..], bytes[1..]);
        live.read(0, &mut []).unwrap();
        live.check().unwrap();
        assert_eq!(live.target(), own);
    }

    #[test]
    fn what_is_not_mapped_is_an_error_and_never_zeros() {
        let (mut child, live) = waiting();
        let regions = maps::read(child.id()).unwrap();
        let gap = regions
            .windows(2)
            .find(|r| r[0].readable && r[0].end < r[1].start);
        let end = gap.unwrap()[0].end;
        let mut bytes = [0; 16];
        for way in [Live::read, Live::read_file] {
            for address in [1, end - 8, end, u64::MAX - 20] {
                let error = way(&live, address, &mut bytes).unwrap_err();
                let MemoryError::Unmapped { wanted, got, .. } = error else {
                    panic!("{address:#x}: {error:?}");
                };
                assert!(wanted == 16 && got <= 8, "{address:#x}: {got}");
            }
            way(&live, end - 16, &mut bytes).unwrap();
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn the_memory_of_a_dead_process_is_gone() {
        let (mut child, by_call) = waiting();
        let by_file = Live::open(by_call.target()).unwrap();
        let regions = maps::read(child.id()).unwrap();
        let at = regions.iter().find(|r| r.readable).unwrap().start;
        let mut bytes = [0; 4];
        by_call.read(at, &mut bytes).unwrap();
        by_file.read_file(at, &mut bytes).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        for live in [&by_call, &by_file] {
            let error = live.read(at, &mut bytes).unwrap_err();
            assert!(matches!(error, MemoryError::Gone), "{error:?}");
            let error = live.check().unwrap_err();
            assert!(matches!(error, MemoryError::Gone), "{error:?}");
        }
        let error = Live::open(by_call.target()).unwrap_err();
        assert!(matches!(error, MemoryError::Gone), "{error:?}");
    }
}
