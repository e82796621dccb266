//! The pair of files that Go's tools read: `covmeta.<hash>` and `covcounters.<hash>.<pid>.<time>`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use covtap_profile::go::counters::Flavor;
use covtap_profile::go::counters_writer::CounterWriter;
use covtap_profile::go::hex;
use covtap_profile::go::meta::MetaFile;

use super::Snapshot;
use crate::clock::Moment;

/// Longest command line that is read, in bytes; the kernel's own limit is larger than any use.
const LONGEST_COMMAND: u64 = 1 << 20;

/// Longest name of a program, in bytes: the kernel's own limit of a path.
const LONGEST_NAME: usize = 4096;

/// How a program was called, as a counter file records it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The program, and its arguments if they are to be kept.
    pub arguments: Vec<Vec<u8>>,
    /// Go's word for the processor.
    pub architecture: &'static str,
}

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
}

impl FileNames {
    pub(crate) fn new(meta: &MetaFile, pid: u32, started: Moment) -> Self {
        let hash = hex(&meta.hash);
        Self {
            counters: format!("covcounters.{hash}.{pid}.{}", started.0),
            meta: format!("covmeta.{hash}"),
        }
    }
}

/// The counter file of a snapshot, with the functions that ran, as the runtime writes it.
pub(crate) fn counter_file(meta: &MetaFile, snapshot: &Snapshot, arguments: &Arguments) -> Vec<u8> {
    let mut out = CounterWriter::new(meta.hash, Flavor::Uleb);
    let mut named = BTreeMap::from([
        ("GOOS".to_owned(), b"linux".to_vec()),
        ("GOARCH".to_owned(), arguments.architecture.into()),
        (
            "argc".to_owned(),
            arguments.arguments.len().to_string().into(),
        ),
    ]);
    for (i, argument) in arguments.arguments.iter().enumerate() {
        named.insert(format!("argv{i}"), argument.clone());
    }
    out.segment(&named);
    for (p, package) in meta.packages.iter().enumerate() {
        for function in 0..package.as_ref().map_or(0, |p| p.function_count()) {
            if let Some(counters) = snapshot.counters.get(p, function) {
                out.function(p as u32, function as u32, counters);
            }
        }
    }
    out.finish()
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
