//! Wakes a thread that waits for descriptors.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The end that waits.
#[derive(Debug)]
pub(crate) struct Wake {
    read: UnixStream,
    write: UnixStream,
}

/// The end that wakes. It may be in another thread.
#[derive(Debug)]
pub(crate) struct Waker(UnixStream);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Self { read, write })
    }

    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Ok(Waker(self.write.try_clone()?))
    }

    /// Forgets all calls so far.
    pub(crate) fn clear(&self) {
        let mut buffer = [0; 256];
        while matches!((&self.read).read(&mut buffer), Ok(n) if n == buffer.len()) {}
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Waker {
    pub(crate) fn wake(&self) {
        // A full stream wakes as well; a closed one has nobody to wake.
        let _ = (&self.0).write(&[1]);
    }
}

/// Waits until one of `descriptors` is readable (true) or the time is over (false). Without a time it
/// waits for ever.
pub(crate) fn wait(descriptors: &[BorrowedFd<'_>], time: Option<Duration>) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = descriptors
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    match poll(&mut fds, time.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        // A signal is a reason to look, too.
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
