//! The system calls of a tracer. All but [`wait_any`] must come from the thread that seized.
//!
//! Signals are plain numbers here: real-time signals (glibc's own 32 and 33 among them, which `setuid`
//! of a program with threads sends) have no name in nix's `Signal`, and its `waitpid` loses such a stop.

use std::io;

use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use rustix::process::WaitOptions;

/// `__WALL` of wait(2): threads that were seized are waited for as well as processes.
const WALL: u32 = libc::__WALL.unsigned_abs();

/// Something that `wait` told of a process or a seized thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It ended: the wait status.
    Ended(i32),
    /// It stands still until it is continued.
    Stopped {
        /// The signal that is to be delivered, or that stopped its group.
        signal: i32,
        /// `PTRACE_EVENT_*`; 0 for a signal on its way to it.
        event: i32,
    },
}

impl Change {
    /// From a wait status.
    pub(super) fn from_raw(raw: i32) -> Self {
        if raw & 0xff == 0x7f {
            Self::Stopped {
                signal: (raw >> 8) & 0xff,
                event: raw >> 16,
            }
        } else {
            Self::Ended(raw)
        }
    }
}

/// The next change of any child or tracee; `None` when there is none now.
pub(super) fn wait_any() -> Option<(u32, Change)> {
    let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(WALL);
    // The one error that can be is ECHILD: nothing to wait for.
    taken(rustix::process::wait(options))
}

/// The next change of one child or tracee.
pub(super) fn wait_for(tid: u32) -> Option<(u32, Change)> {
    let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(WALL);
    let tid = rustix::process::Pid::from_raw(i32::try_from(tid).ok()?)?;
    taken(rustix::process::waitpid(Some(tid), options))
}

fn taken(
    answer: rustix::io::Result<Option<(rustix::process::Pid, rustix::process::WaitStatus)>>,
) -> Option<(u32, Change)> {
    let (tid, status) = answer.ok()??;
    let tid = tid.as_raw_nonzero().get().unsigned_abs();
    Some((tid, Change::from_raw(status.as_raw())))
}

/// Begins to trace a thread without stopping it. Blocks while an exec of its process is at work (or
/// held) behind the kernel's `cred_guard_mutex`.
pub(super) fn seize(tid: u32) -> io::Result<()> {
    // Neither fork nor clone: children are never traced. Not EXITKILL: they outlive us.
    let options = Options::PTRACE_O_TRACEEXIT | Options::PTRACE_O_TRACEEXEC;
    Ok(ptrace::seize(id(tid)?, options)?)
}

/// Lets a stopped tracee go on, with a signal unless it is 0.
pub(super) fn cont(tid: u32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, tid, signal)
}

/// Lets a tracee whose group is stopped stay so, until SIGCONT.
pub(super) fn listen(tid: u32) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, tid, 0)
}

/// Lets a stopped tracee go on untraced, with a signal unless it is 0.
pub(super) fn detach(tid: u32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, signal)
}

/// Makes a running tracee stop, without a signal.
pub(super) fn interrupt(tid: u32) -> io::Result<()> {
    Ok(ptrace::interrupt(id(tid)?)?)
}

/// The message of the event that a tracee is stopped at.
pub(super) fn event_message(tid: u32) -> io::Result<i64> {
    // A `long` is 32 bits wide on 32-bit machines.
    #[allow(clippy::useless_conversion, reason = "i32 on 32-bit machines")]
    Ok(i64::from(ptrace::getevent(id(tid)?)?))
}

fn id(tid: u32) -> io::Result<Pid> {
    i32::try_from(tid)
        .map(Pid::from_raw)
        .map_err(|_| nix::errno::Errno::ESRCH.into())
}

#[cfg(target_env = "gnu")]
type Request = libc::c_uint;
#[cfg(not(target_env = "gnu"))]
type Request = libc::c_int;

#[allow(
    unsafe_code,
    reason = "nix has no PTRACE_LISTEN and no real-time signals"
)]
fn request(request: Request, tid: u32, signal: i32) -> io::Result<()> {
    let tid = id(tid)?.as_raw();
    let nothing = std::ptr::null_mut::<libc::c_void>();
    let signal = std::ptr::without_provenance_mut::<libc::c_void>(signal.unsigned_abs() as usize);
    // SAFETY: the requests that are passed here (CONT, LISTEN, DETACH) read and write no memory of
    // this process; their last argument is a number in a pointer's place.
    let answer = unsafe { libc::ptrace(request, tid, nothing, signal) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Change;

    #[test]
    fn a_wait_status_is_taken_apart() {
        assert_eq!(Change::from_raw(7 << 8), Change::Ended(7 << 8));
        assert_eq!(Change::from_raw(0x80 | 11), Change::Ended(0x80 | 11));
        let stopped = |signal, event| Change::Stopped { signal, event };
        // A real-time signal on its way, an exit stop, a group stop.
        assert_eq!(Change::from_raw(34 << 8 | 0x7f), stopped(34, 0));
        assert_eq!(
            Change::from_raw(libc::PTRACE_EVENT_EXIT << 16 | libc::SIGTRAP << 8 | 0x7f),
            stopped(libc::SIGTRAP, libc::PTRACE_EVENT_EXIT)
        );
        assert_eq!(
            Change::from_raw(libc::PTRACE_EVENT_STOP << 16 | libc::SIGTSTP << 8 | 0x7f),
            stopped(libc::SIGTSTP, libc::PTRACE_EVENT_STOP)
        );
    }
}
