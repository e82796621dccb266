//! What `/proc` tells a tracer of a thread (proc(5)).

use std::fs;

/// `PF_EXITING` and `PF_KTHREAD` of the kernel's include/linux/sched.h, in field 9 of
/// `/proc/PID/stat`; the same numbers since Linux 2.6.
const EXITING: u32 = 0x0000_0004;
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A thread, as `/proc/TID/status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// One letter: R, S, Z and so on.
    pub(super) state: u8,
    /// The process that it is a thread of.
    pub(super) pid: u32,
    /// The process that started it, or took it over.
    pub(super) parent: u32,
    /// The thread that traces it; 0 when none does.
    pub(super) tracer: u32,
    /// How many threads its process has, ended ones that wait for others among them.
    pub(super) threads: u64,
    /// Whether it has still to notice that it was killed.
    pub(super) killed: bool,
}

impl Task {
    /// The thread of this number; `None` when there is none.
    pub(super) fn find(tid: u32) -> Option<Self> {
        // A name may be any bytes.
        let bytes = fs::read(format!("/proc/{tid}/status")).ok()?;
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    fn parse(text: &str) -> Option<Self> {
        // A newline in a name is shown as `\n`: no line is a name's.
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name))?;
            line.split_ascii_whitespace().next()
        };
        let pending = u64::from_str_radix(field("SigPnd:")?, 16).ok()?;
        Some(Self {
            state: *field("State:")?.as_bytes().first()?,
            pid: field("Tgid:")?.parse().ok()?,
            parent: field("PPid:")?.parse().ok()?,
            tracer: field("TracerPid:")?.parse().ok()?,
            threads: field("Threads:")?.parse().ok()?,
            killed: pending & 1 << (libc::SIGKILL - 1) != 0,
        })
    }

    /// Whether it has ended, and is seen until it is reaped or the rest of its process has ended.
    pub(super) fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Whether this is a thread of the kernel.
pub(super) fn is_kernel_thread(tid: u32) -> bool {
    flags(tid).is_some_and(|f| f & KERNEL_THREAD != 0)
}

/// Whether this is a thread of a process, still there.
pub(super) fn is_thread_of(tid: u32, pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}/task/{tid}")).unwrap_or(false)
}

/// The threads of a process that neither have ended nor are about to, the leader first.
pub(super) fn living(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut living: Vec<u32> = threads
        .flatten()
        .filter_map(|t| t.file_name().to_str()?.parse().ok())
        .filter(|&tid| {
            Task::find(tid).is_some_and(|t| !t.ended() && !t.killed)
                && flags(tid).is_some_and(|f| f & EXITING == 0)
        })
        .collect();
    living.sort_by_key(|&tid| (tid != pid, tid));
    living
}

fn flags(tid: u32) -> Option<u32> {
    let bytes = fs::read(format!("/proc/{tid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name may hold spaces and parentheses; the last parenthesis ends it, field 3 follows.
    let rest = text.get(text.rfind(')')? + 1..)?;
    rest.split_ascii_whitespace().nth(9 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_taken_apart() {
        let text = "Name:\ta\\nState: Z\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t7\n\
                    Ngid:\t0\nPid:\t9\nPPid:\t1\nTracerPid:\t4\nThreads:\t3\n\
                    SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n";
        let task = Task::parse(text).unwrap();
        assert_eq!(
            task,
            Task {
                state: b't',
                pid: 7,
                parent: 1,
                tracer: 4,
                threads: 3,
                killed: true,
            }
        );
        assert!(!task.ended());
        assert_eq!(Task::parse("State:\tR\n"), None);
    }

    #[test]
    fn this_thread_lives() {
        let pid = std::process::id();
        let own = Task::find(pid).unwrap();
        assert_eq!((own.pid, own.killed), (pid, false));
        assert_eq!(living(pid).first(), Some(&pid));
        assert!(is_thread_of(pid, pid) && !is_kernel_thread(pid));
        assert!(living(0).is_empty());
    }
}
