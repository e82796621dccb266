//! Why a process may not be read, and what would help.

use std::fmt;
use std::fs;
use std::path::Path;

/// Number of `CAP_SYS_PTRACE` in capability masks.
const CAP_SYS_PTRACE: u32 = 19;

/// What decides whether a process may be read; see ptrace(2), "Ptrace access mode checking".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Our effective user id.
    pub our_uid: u32,
    /// Our effective group id.
    pub our_gid: u32,
    /// Whether `CAP_SYS_PTRACE` is in our effective capabilities.
    pub may_trace: bool,
    /// Real, effective and saved user id of the process; `None` when they may not be seen.
    pub target_uids: Option<[u32; 3]>,
    /// Real, effective and saved group id.
    pub target_gids: Option<[u32; 3]>,
    /// Whether the process has capabilities that we have not.
    pub target_has_more: bool,
    /// Whether the kernel shows the process's files as root's though it is not: it may not be dumped,
    /// because it is set-uid, has capabilities, or asked for it.
    pub target_hidden: bool,
    /// Value of `kernel.yama.ptrace_scope`; `None` without Yama.
    pub yama: Option<u8>,
    /// Whether the process descends from us.
    pub descendant: bool,
    /// Whether it is in another user namespace; `None` when that may not be seen.
    pub other_namespace: Option<bool>,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The process runs as another user, and we lack `CAP_SYS_PTRACE`.
    OtherUser,
    /// The process is the same user's but may not be dumped, and we lack `CAP_SYS_PTRACE`.
    NotDumpable,
    /// The process has capabilities that we have not, and we lack `CAP_SYS_PTRACE`.
    MoreCapabilities,
    /// Yama allows only descendants (1), or only with `CAP_SYS_PTRACE` (2).
    Yama(u8),
    /// Yama allows nobody (3).
    YamaForbids,
    /// We have `CAP_SYS_PTRACE`, but not in the process's user namespace.
    UserNamespace,
    /// None of the above: a seccomp filter, or a security module.
    Other,
}

/// A process may not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The process.
    pub pid: u32,
    /// What was found out.
    pub facts: Facts,
    /// What stands in the way.
    pub obstacle: Obstacle,
}

impl std::error::Error for Denied {}

/// Whether this process may read and trace `pid`: the kernel is asked as it would be for that.
#[must_use]
pub fn may_trace(pid: u32) -> bool {
    // proc_pid_mem(5): opening it takes PTRACE_MODE_ATTACH_FSCREDS.
    fs::File::open(format!("/proc/{pid}/mem")).is_ok()
}

/// Finds out why `pid` may not be read.
#[must_use]
pub fn explain(pid: u32) -> Denied {
    let facts = gather(pid);
    let obstacle = decide(&facts);
    Denied {
        pid,
        facts,
        obstacle,
    }
}

/// What stands in the way, by the kernel's rules in their order of force.
#[must_use]
pub fn decide(facts: &Facts) -> Obstacle {
    if facts.yama == Some(3) {
        return Obstacle::YamaForbids;
    }
    if facts.may_trace {
        // The capability is enough everywhere but in a user namespace that is not below ours.
        return match facts.other_namespace {
            Some(true) => Obstacle::UserNamespace,
            _ => Obstacle::Other,
        };
    }
    let ours = |ids: Option<[u32; 3]>, own| ids.is_none_or(|ids| ids.iter().all(|id| *id == own));
    if !ours(facts.target_uids, facts.our_uid) || !ours(facts.target_gids, facts.our_gid) {
        return Obstacle::OtherUser;
    }
    if facts.target_hidden {
        return Obstacle::NotDumpable;
    }
    if facts.other_namespace == Some(true) {
        return Obstacle::UserNamespace;
    }
    if facts.target_has_more {
        return Obstacle::MoreCapabilities;
    }
    match facts.yama {
        Some(scope @ 2) => Obstacle::Yama(scope),
        Some(scope @ 1) if !facts.descendant => Obstacle::Yama(scope),
        _ => Obstacle::Other,
    }
}

impl Denied {
    /// What would help, as one sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        match self.obstacle {
            Obstacle::OtherUser => match self.facts.target_uids {
                Some([uid, ..]) if uid != self.facts.our_uid => format!(
                    "run covtap as root, as user {uid}, or with CAP_SYS_PTRACE (in a container: \
                     --cap-add SYS_PTRACE, as root)"
                ),
                _ => "run covtap as root or with CAP_SYS_PTRACE (in a container: --cap-add \
                      SYS_PTRACE, as root)"
                    .into(),
            },
            Obstacle::NotDumpable | Obstacle::MoreCapabilities => {
                "run covtap as root or with CAP_SYS_PTRACE".into()
            }
            Obstacle::Yama(1) => "run covtap as root, start the program with covtap run, or set \
                                  kernel.yama.ptrace_scope to 0"
                .into(),
            Obstacle::Yama(_) => "run covtap as root or with CAP_SYS_PTRACE".into(),
            Obstacle::YamaForbids => {
                "kernel.yama.ptrace_scope 3 holds until the machine starts again; let the program \
                 write its coverage itself (covtap run --route files)"
                    .into()
            }
            Obstacle::UserNamespace => {
                "run covtap as root outside of all containers, or in the user namespace of the \
                 process"
                    .into()
            }
            Obstacle::Other => "look for a seccomp profile or security module that forbids \
                                process_vm_readv, or let the program write its coverage itself \
                                (covtap run --route files)"
                .into(),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, facts, .. } = self;
        write!(f, "may not read the memory of process {pid}: ")?;
        let us = facts.our_uid;
        match self.obstacle {
            Obstacle::OtherUser => {
                match facts.target_uids {
                    Some([real, effective, saved]) if real == effective && real == saved => {
                        write!(f, "it runs as user {real}")?;
                    }
                    Some([real, effective, saved]) => {
                        write!(f, "it runs as users {real}, {effective} and {saved}")?;
                    }
                    None => f.write_str("it is another user's")?,
                }
                write!(f, ", covtap as user {us} without CAP_SYS_PTRACE")
            }
            Obstacle::NotDumpable => write!(
                f,
                "the kernel hides it (it is set-uid, has file capabilities, or asked for it), and \
                 covtap runs as user {us} without CAP_SYS_PTRACE"
            ),
            Obstacle::MoreCapabilities => write!(
                f,
                "it has capabilities that covtap (user {us}, without CAP_SYS_PTRACE) has not"
            ),
            Obstacle::Yama(1) => write!(
                f,
                "kernel.yama.ptrace_scope is 1: without CAP_SYS_PTRACE only descendants may be \
                 read, and this process is none of covtap's"
            ),
            Obstacle::Yama(scope) => write!(
                f,
                "kernel.yama.ptrace_scope is {scope}, and covtap runs as user {us} without \
                 CAP_SYS_PTRACE"
            ),
            Obstacle::YamaForbids => {
                f.write_str("kernel.yama.ptrace_scope is 3: nobody may, not even root")
            }
            Obstacle::UserNamespace => write!(
                f,
                "it is in another user namespace, where covtap (user {us}) has no CAP_SYS_PTRACE"
            ),
            Obstacle::Other => write!(
                f,
                "the kernel refuses, though covtap (user {us}, {} CAP_SYS_PTRACE) has the rights",
                if facts.may_trace { "with" } else { "without" }
            ),
        }
    }
}

fn gather(pid: u32) -> Facts {
    let own = Status::read("self");
    let target = Status::read(&pid.to_string());
    let owner = fs::metadata(format!("/proc/{pid}/environ")).ok();
    let owner = owner.map(|m| std::os::unix::fs::MetadataExt::uid(&m));
    let effective = target.uids.map(|u| u[1]);
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let target_namespace = namespace(&pid.to_string());
    Facts {
        our_uid: own.uids.map_or(u32::MAX, |u| u[1]),
        our_gid: own.gids.map_or(u32::MAX, |g| g[1]),
        may_trace: own.effective & (1 << CAP_SYS_PTRACE) != 0,
        target_uids: target.uids,
        target_gids: target.gids,
        target_has_more: target.permitted & !own.permitted != 0,
        target_hidden: owner == Some(0) && effective.is_some_and(|uid| uid != 0),
        yama: fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
            .ok()
            .and_then(|s| s.trim().parse().ok()),
        descendant: descends(pid, std::process::id()),
        other_namespace: target_namespace.map(|ns| Some(ns) != namespace("self")),
    }
}

fn descends(pid: u32, from: u32) -> bool {
    // No tree of processes is deeper; a loop cannot be, but may be seen while it changes.
    const DEEPEST: usize = 1 << 10;
    let parent = |pid: &u32| crate::proc::stat(*pid).map(|s| s.parent);
    let mut line = std::iter::successors(Some(pid), parent).take(DEEPEST);
    line.any(|p| p == from)
}

/// What `/proc/PID/status` says of rights.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    /// Real, effective and saved.
    uids: Option<[u32; 3]>,
    gids: Option<[u32; 3]>,
    permitted: u64,
    effective: u64,
}

impl Status {
    fn read(pid: &str) -> Self {
        let path = Path::new("/proc").join(pid).join("status");
        Self::parse(&fs::read(path).unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|l| l.strip_prefix(name)).unwrap_or_default()
        };
        let ids = |name| {
            let mut ids = value(name).split_ascii_whitespace();
            let mut id = || ids.next()?.parse().ok();
            Some([id()?, id()?, id()?])
        };
        let mask = |name| u64::from_str_radix(value(name).trim(), 16).unwrap_or(0);
        Self {
            uids: ids("Uid:"),
            gids: ids("Gid:"),
            permitted: mask("CapPrm:"),
            effective: mask("CapEff:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_user() -> Facts {
        Facts {
            our_uid: 1000,
            our_gid: 1000,
            target_uids: Some([1000; 3]),
            target_gids: Some([1000; 3]),
            other_namespace: Some(false),
            ..Facts::default()
        }
    }

    fn say(facts: Facts) -> String {
        let obstacle = decide(&facts);
        let denied = Denied {
            pid: 7,
            facts,
            obstacle,
        };
        format!("{denied} | {}", denied.hint())
    }

    #[test]
    fn another_users_process_needs_the_capability() {
        let text = say(Facts {
            target_uids: Some([1001; 3]),
            ..same_user()
        });
        assert!(
            text.starts_with(
                "may not read the memory of process 7: it runs as user 1001, covtap as user 1000 \
                 without CAP_SYS_PTRACE | run covtap as root, as user 1001,"
            ),
            "{text}"
        );
    }

    #[test]
    fn each_obstacle_is_told_apart() {
        let with = |change: fn(&mut Facts)| {
            let mut facts = same_user();
            change(&mut facts);
            decide(&facts)
        };
        assert_eq!(
            with(|f| f.target_uids = Some([1000, 0, 0])),
            Obstacle::OtherUser
        );
        assert_eq!(with(|f| f.target_gids = Some([5; 3])), Obstacle::OtherUser);
        assert_eq!(with(|f| f.target_hidden = true), Obstacle::NotDumpable);
        assert_eq!(
            with(|f| f.target_has_more = true),
            Obstacle::MoreCapabilities
        );
        assert_eq!(with(|f| f.yama = Some(1)), Obstacle::Yama(1));
        assert_eq!(
            with(|f| (f.yama, f.descendant) = (Some(1), true)),
            Obstacle::Other
        );
        assert_eq!(
            with(|f| (f.yama, f.descendant) = (Some(2), true)),
            Obstacle::Yama(2)
        );
        assert_eq!(
            with(|f| (f.yama, f.may_trace) = (Some(3), true)),
            Obstacle::YamaForbids
        );
        assert_eq!(
            with(|f| (f.other_namespace, f.may_trace) = (Some(true), true)),
            Obstacle::UserNamespace
        );
        assert_eq!(with(|f| f.may_trace = true), Obstacle::Other);
        assert_eq!(with(|f| f.yama = Some(0)), Obstacle::Other);
    }

    #[test]
    fn every_obstacle_has_a_text_and_a_remedy() {
        for obstacle in [
            Obstacle::OtherUser,
            Obstacle::NotDumpable,
            Obstacle::MoreCapabilities,
            Obstacle::Yama(1),
            Obstacle::Yama(2),
            Obstacle::YamaForbids,
            Obstacle::UserNamespace,
            Obstacle::Other,
        ] {
            let denied = Denied {
                pid: 7,
                facts: same_user(),
                obstacle,
            };
            assert!(denied.to_string().contains("process 7: "), "{denied}");
            assert!(!denied.to_string().contains("  ") && !denied.hint().contains("  "));
        }
    }

    #[test]
    fn status_is_taken_apart() {
        let status = Status::parse(
            b"Name:\ta\xff\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nCapPrm:\t0000000000080000\nCapEff:\t01\n",
        );
        assert_eq!(status.uids, Some([1, 2, 3]));
        assert_eq!(status.gids, Some([5, 6, 7]));
        assert_eq!((status.permitted, status.effective), (0x8_0000, 1));
        assert_eq!(Status::parse(b"Uid:\t1\n"), Status::default());
    }

    #[test]
    fn this_process_is_described() {
        let facts = gather(std::process::id());
        assert_eq!(facts.our_uid, facts.target_uids.unwrap()[1]);
        assert!(facts.descendant);
        assert_eq!(facts.other_namespace, Some(false));
        assert!(!descends(1, std::process::id()));
    }
}
