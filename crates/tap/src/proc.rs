//! Reads of `/proc` that the watcher needs, no more. See proc(5).

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::clock::Moment;
use crate::life::CoverageDirectory;
use crate::target::Target;

/// Ticks of `/proc/PID/stat` in a second: a constant of the Linux user interface (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// The fields of `/proc/PID/stat` that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// One letter: R, S, Z and so on.
    pub state: u8,
    /// Process id of its parent.
    pub parent: u32,
    /// How many threads it has.
    pub threads: u64,
    /// When it was started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Address of the stack's bottom: random in every exec, the same in a fork. 0 when it is hidden.
    pub stack: u64,
    /// As `wait` gives it; shown of a zombie, to those who may trace it.
    pub exit_code: i32,
}

impl Stat {
    /// Whether the process has ended and waits to be reaped. (A zombie leader with other threads is
    /// a process that goes on.)
    pub fn ended(&self) -> bool {
        matches!(self.state, b'X') || (self.state == b'Z' && self.threads <= 1)
    }

    /// Takes the line of `/proc/PID/stat` apart.
    pub fn parse(text: &str) -> Option<Self> {
        // The name may hold spaces and parentheses; the last parenthesis ends it.
        let rest = text.get(text.rfind(')')? + 1..)?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and the state is field 3.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
            stack: field(28)?.parse().ok()?,
            exit_code: field(52).and_then(|f| f.parse().ok()).unwrap_or(0),
        })
    }
}

/// `/proc/PID/stat`; `None` when there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    // Far longer than the line can be, and the kernel gives it in one piece.
    let mut line = [0; 2048];
    let length = fs::File::open(format!("/proc/{pid}/stat"))
        .and_then(|mut file| file.read(&mut line))
        .ok()?;
    // A name may be any bytes.
    Stat::parse(&String::from_utf8_lossy(&line[..length]))
}

/// Whether the kernel lists children (`CONFIG_PROC_CHILDREN`).
pub fn lists_children() -> bool {
    Path::new("/proc/thread-self/children").exists()
}

/// The children of all threads of `pid`, added to `into`.
pub fn children(pid: u32, into: &mut Vec<u32>) {
    let tasks = format!("/proc/{pid}/task");
    // A process that is gone has no children: they have a new parent.
    let Ok(metadata) = fs::metadata(&tasks) else {
        return;
    };
    // Each thread is a folder in it. Most processes have one: that spares the listing.
    if metadata.nlink() == 3 {
        children_of_thread(format!("{tasks}/{pid}/children").as_ref(), into);
        return;
    }
    for thread in fs::read_dir(tasks).into_iter().flatten().flatten() {
        children_of_thread(&thread.path().join("children"), into);
    }
}

fn children_of_thread(path: &Path, into: &mut Vec<u32>) {
    let Ok(mut file) = fs::File::open(path) else {
        return;
    };
    // Nothing at all, nearly always: one call tells.
    let mut text = vec![0; 256];
    let mut length = 0;
    while let Ok(more @ 1..) = file.read(&mut text[length..]) {
        length += more;
        if length == text.len() {
            text.resize(2 * length, 0);
        }
    }
    let numbers = text[..length].split(u8::is_ascii_whitespace);
    into.extend(numbers.filter_map(|number| std::str::from_utf8(number).ok()?.parse::<u32>().ok()));
}

/// All processes with their parents, where the kernel lists no children.
pub fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect()
}

/// All processes.
pub fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect()
}

/// The number that was given to a process or thread last (`/proc/loadavg`, its last field).
pub fn last_started() -> Option<u32> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().next_back()?.parse().ok()
}

/// Whether `pid` is in the control group whose path ends with `path`, or in one below it. In any
/// hierarchy: those of version 1 have the same tail.
pub fn in_cgroup(pid: u32, path: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .is_ok_and(|text| text.lines().any(|line| line_in_cgroup(line, path)))
}

/// A line is `number:controllers:/path`. See cgroups(7).
fn line_in_cgroup(line: &str, path: &str) -> bool {
    let Some(own) = line.splitn(3, ':').nth(2) else {
        return false;
    };
    let wanted = path.trim_matches('/');
    !wanted.is_empty() && format!("{own}/").contains(&format!("/{wanted}/"))
}

/// Whether two processes share their memory, as a child does between vfork and exec; `None` when the
/// kernel does not say. See kcmp(2).
pub fn same_memory(a: u32, b: u32) -> Option<bool> {
    const KCMP_VM: libc::c_int = 1;
    let (a, b) = (i32::try_from(a).ok()?, i32::try_from(b).ok()?);
    #[allow(unsafe_code, reason = "no library wraps kcmp")]
    // SAFETY: it takes five numbers and no pointers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_VM, 0, 0) };
    (order >= 0).then_some(order == 0)
}

/// The metadata of the file that `pid` executes.
///
/// # Errors
/// `PermissionDenied` for a process that is not ours (`sudo`), others for one that is gone.
pub fn executable(pid: u32) -> io::Result<fs::Metadata> {
    fs::metadata(format!("/proc/{pid}/exe"))
}

/// Opens the file that `pid` executes.
///
/// # Errors
/// As [`executable`].
pub fn open_executable(pid: u32) -> io::Result<fs::File> {
    fs::File::open(format!("/proc/{pid}/exe"))
}

/// Where the executable lies; its bare name when that may not be seen.
pub fn executable_path(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_else(|_| {
        match fs::read(format!("/proc/{pid}/comm")) {
            Ok(name) => PathBuf::from(OsStr::from_bytes(name.trim_ascii_end())),
            // It is gone.
            Err(_) => PathBuf::from("?"),
        }
    })
}

/// The process id that `pid` itself sees.
pub fn inner_pid(pid: u32) -> u32 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| innermost(&status))
        .unwrap_or(pid)
}

fn innermost(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|l| l.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

/// `GOCOVERDIR` in the environment that `pid` was started with. No other variable is looked at.
pub fn coverage_directory(pid: u32) -> CoverageDirectory {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return CoverageDirectory::Unknown;
    };
    match gocoverdir(&environment) {
        // A process always has some environment; a kernel thread or one in the middle of exec
        // shows none.
        None if environment.is_empty() => CoverageDirectory::Unknown,
        None => CoverageDirectory::Unset,
        Some(path) if path.is_absolute() => CoverageDirectory::Set(path.to_path_buf()),
        Some(path) => CoverageDirectory::Set(
            fs::read_link(format!("/proc/{pid}/cwd"))
                .map_or_else(|_| path.into(), |c| c.join(path)),
        ),
    }
}

fn gocoverdir(environment: &[u8]) -> Option<&Path> {
    environment
        .split(|b| *b == 0)
        .find_map(|v| v.strip_prefix(b"GOCOVERDIR="))
        .filter(|v| !v.is_empty())
        .map(|v| Path::new(OsStr::from_bytes(v)))
}

/// When the machine was started.
pub fn boot() -> Moment {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = uptime
        .split_ascii_whitespace()
        .next()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0.0);
    Moment(Moment::now().0 - (seconds * 1e9) as i128)
}

/// The moment of a process's start, the same whoever asks and when: the kernel's own moment of the
/// machine's start is in whole seconds. Good for names, not for comparisons.
pub fn started_stably(ticks: u64) -> Moment {
    // The kernel adds up every interrupt of every processor for this file: it is read once.
    static BOOT: OnceLock<Moment> = OnceLock::new();
    let boot = BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|l| l.strip_prefix("btime "));
        let boot: i128 = boot.and_then(|s| s.trim().parse().ok()).unwrap_or(0);
        Moment(boot * 1_000_000_000)
    });
    started(*boot, ticks)
}

/// The moment of a process's start as the names of its files have it. Starts are known to 10 ms, and the
/// first processes of two containers that began within them have the same number of their own: the last
/// digits are the number that the machine gave, which tells them apart.
pub fn started_for_names(target: Target) -> Moment {
    Moment(started_stably(target.start_ticks).0 + i128::from(target.pid))
}

/// Whether `pid` is a thread of the kernel.
pub fn is_kernel_thread(pid: u32) -> bool {
    // Field 9 of the line, and the kernel's include/linux/sched.h.
    const PF_KTHREAD: u64 = 0x0020_0000;
    let line = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let fields = line.rfind(')').map(|end| &line[end + 1..]);
    let flags = fields.and_then(|f| f.split_ascii_whitespace().nth(9 - 3)?.parse().ok());
    flags.is_some_and(|flags: u64| flags & PF_KTHREAD != 0)
}

/// The moment of a process's start.
pub fn started(boot: Moment, ticks: u64) -> Moment {
    Moment(boot.0 + i128::from(ticks) * i128::from(1_000_000_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let start = "7 (a) Z 1 (b) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 5 0 4242 1 2 \
                     18446744073709551615 1 1 140737488350000";
        let line = format!("{start}{} 9\n", " 0".repeat(23));
        let stat = Stat::parse(&line).unwrap();
        assert_eq!(
            stat,
            Stat {
                state: b'S',
                parent: 3,
                threads: 5,
                start_ticks: 4242,
                stack: 140_737_488_350_000,
                exit_code: 9,
            }
        );
        assert!(!stat.ended());
        assert_eq!(Stat::parse("7 (a"), None);
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn a_zombie_leader_with_threads_goes_on() {
        let own = stat(std::process::id()).unwrap();
        let zombie = |threads| Stat {
            state: b'Z',
            threads,
            ..own
        };
        assert!(zombie(1).ended() && !zombie(2).ended() && !own.ended());
    }

    #[test]
    fn only_gocoverdir_is_read() {
        assert_eq!(
            gocoverdir(b"A=1\0GOCOVERDIR=/c\0B=2\0"),
            Some(Path::new("/c"))
        );
        assert_eq!(gocoverdir(b"XGOCOVERDIR=/c\0GOCOVERDIR=\0"), None);
        assert_eq!(gocoverdir(b""), None);
    }

    #[test]
    fn a_control_group_is_its_path_and_all_below() {
        let line = "9:name=systemd:/kubelet.slice/kubepods-podab.slice/cri-1234.scope";
        assert!(line_in_cgroup(line, "cri-1234.scope"));
        assert!(line_in_cgroup(line, "/kubelet.slice"));
        assert!(line_in_cgroup(line, "kubepods-podab.slice/"));
        assert!(!line_in_cgroup(line, "cri-123"));
        assert!(!line_in_cgroup(line, "/") && !line_in_cgroup("9:x", "x"));
    }

    #[test]
    fn a_process_shares_its_memory_with_itself() {
        let own = std::process::id();
        // Where the kernel has no kcmp, or a filter forbids it, it says nothing.
        assert_ne!(same_memory(own, own), Some(false));
        assert_ne!(same_memory(own, 1), Some(true));
    }

    #[test]
    fn the_innermost_pid_is_the_last() {
        assert_eq!(innermost("Name:\ta\nNSpid:\t812\t7\t1\n"), Some(1));
        assert_eq!(innermost("Name:\ta\n"), None);
    }

    #[test]
    fn processes_that_began_in_the_same_tick_have_files_of_their_own() {
        let name = |pid| {
            let start_ticks = 100;
            started_for_names(Target { pid, start_ticks })
        };
        assert_ne!(name(7), name(8));
        // The largest number of a process is 2^22, and a tick has more nanoseconds.
        let next = Target {
            pid: 1,
            start_ticks: 101,
        };
        assert!(name(1 << 22) < started_for_names(next));
    }

    #[test]
    fn this_process_started_before_now() {
        let own = stat(std::process::id()).unwrap();
        let began = started(boot(), own.start_ticks);
        assert!(began <= Moment::now().after(20), "{began:?}");
        assert!(began >= Moment::now().before(3_600_000), "{began:?}");
    }
}
