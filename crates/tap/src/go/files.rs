//! What the pair of files of a process is called, and what they say of how it was called.

use std::fs::File;
use std::io::Read;

use covtap_profile::go::hex;
use covtap_profile::go::meta::MetaFile;

use crate::clock::Moment;
use crate::keep::counters_name;

/// Longest command line that is read, in bytes; the kernel's own limit is larger than any use.
const LONGEST_COMMAND: u64 = 1 << 20;

/// Longest name of a program, in bytes: the kernel's own limit of a path.
const LONGEST_NAME: usize = 4096;

/// The command line of a process: only the program's own name, as arguments may hold secrets, or
/// `all` of it. Empty when it may not be seen.
pub(crate) fn command_line(pid: u32, all: bool) -> Vec<Vec<u8>> {
    let mut line = Vec::new();
    // A process that is gone or not ours has no command line to show; the file is right without.
    let _ = File::open(format!("/proc/{pid}/cmdline"))
        .and_then(|f| f.take(LONGEST_COMMAND).read_to_end(&mut line));
    split(&line, all)
}

/// The arguments, which end with a zero byte each. The process may have written anything there.
fn split(line: &[u8], all: bool) -> Vec<Vec<u8>> {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    if line.is_empty() {
        return Vec::new();
    }
    let mut arguments = line.split(|b| *b == 0);
    if all {
        return arguments.map(<[u8]>::to_vec).collect();
    }
    // A program that wrote a title over all of it has no name that ends.
    let name = arguments.next().unwrap_or_default();
    vec![name[..name.len().min(LONGEST_NAME)].to_vec()]
}

/// The names of a process's two files: the same for all of its life, so that a later snapshot
/// replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileNames {
    /// `covmeta.<hash>`
    pub meta: String,
    /// `covcounters.<hash>.<pid>.<nanoseconds since 1970 of the process's start, and its number on this
    /// machine>`
    pub counters: String,
    /// When the process was started.
    pub started: Moment,
}

impl FileNames {
    pub(crate) fn new(meta: &MetaFile, pid: u32, started: Moment) -> Self {
        Self {
            meta: format!("covmeta.{}", hex(&meta.hash)),
            counters: counters_name(meta, pid, started),
            started,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_dropped_unless_wanted() {
        assert_eq!(split(b"a\0-p=secret\0\0", false), [b"a".to_vec()]);
        assert_eq!(split(b"a\0b\0\0", true), [&b"a"[..], b"b", b""]);
        assert_eq!(split(b"rewritten without an end", false).len(), 1);
        assert_eq!(split(&[b'x'; 9000], false), [vec![b'x'; 4096]]);
        assert!(split(b"", true).is_empty() && split(b"\0", true).is_empty());
    }
}
