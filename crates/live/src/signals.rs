//! Signals as events that can be waited for together with other things.
//!
//! CMD stays in covtap's process group: it can read the terminal, and Ctrl-C and Ctrl-Z reach both,
//! as without covtap. So a SIGINT that the terminal made has reached CMD already, and passing it on
//! would be a second one, which many test runners take for "stop at once".

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

/// What somebody asks of covtap by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which.
    pub(crate) signal: Signal,
    /// Whether CMD has got it too: it came from the terminal.
    pub(crate) shared: bool,
}

struct Source {
    number: i32,
    id: signal_hook::SigId,
    stream: UnixStream,
}

/// The signals that covtap takes, from its making on until it is dropped.
pub(crate) struct Signals {
    requests: Vec<Source>,
}

impl Signals {
    /// Takes SIGINT, SIGTERM, SIGHUP, SIGQUIT (those that are not ignored: `nohup` and background
    /// jobs of scripts stay as they are).
    pub(crate) fn take() -> io::Result<Self> {
        let ignored = ignored();
        let requests = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]
            .into_iter()
            .filter(|number| ignored & (1 << (number - 1)) == 0)
            .map(Source::new)
            .collect::<io::Result<_>>()?;
        Ok(Self { requests })
    }

    /// Waits until a signal comes, one of `others` is readable, or the time is over.
    pub(crate) fn wait(&self, others: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<()> {
        self.wait_for(others, None, timeout)
    }

    /// As [`Signals::wait`], and until `writable` can be written to.
    pub(crate) fn wait_for(
        &self,
        others: &[BorrowedFd<'_>],
        writable: Option<BorrowedFd<'_>>,
        timeout: Duration,
    ) -> io::Result<()> {
        let streams = self.requests.iter().map(|s| s.stream.as_fd());
        let readable = streams.chain(others.iter().copied());
        let mut fds: Vec<PollFd<'_>> = readable
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .chain(writable.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)))
            .collect();
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timespec = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut fds, Some(&timespec)) {
                // The handler has written to its stream by now: the next poll sees it.
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(|_| ()).map_err(Into::into),
            }
        }
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut arrived = self
            .requests
            .iter()
            .flat_map(|s| std::iter::repeat_n(s.number, s.drain()))
            .peekable();
        // Asking the terminal is not for nothing.
        let foreground = arrived.peek().is_some() && crate::terminal::is_foreground();
        arrived
            .filter_map(|number| {
                Some(Request {
                    signal: Signal::from_named_raw(number)?,
                    shared: foreground && (number == SIGINT || number == SIGQUIT),
                })
            })
            .collect()
    }
}

impl Source {
    fn new(number: i32) -> io::Result<Self> {
        let (stream, write) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            number,
            id: pipe::register(number, write)?,
            stream,
        })
    }

    /// How many came.
    fn drain(&self) -> usize {
        let mut buffer = [0; 64];
        // An error here is "nothing there": the stream does not block.
        (&self.stream).read(&mut buffer).unwrap_or(0)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for source in &self.requests {
            unregister(source.id);
        }
    }
}

/// The signals that this process was started with ignored, as a bit mask.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
