//! What logs say of coverage: the lines that runtimes and tools print, recognised by their own words.
//!
//! Only recognised lines are kept: the rest of a log is nobody's business.

use serde::{Deserialize, Serialize};

/// Longest line that is kept, in characters.
const LONGEST: usize = 300;
/// Most lines of one kind that are kept of one log.
const MOST: usize = 5;

/// A log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// What it is the log of: `deployment/api`, or the file's name.
    pub subject: String,
    /// Where it was read: `pod shop/api-7c9 container api (previous)`, `build.log`.
    pub place: String,
    /// The lines that say something of coverage.
    pub lines: Vec<Line>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// What it says.
    pub said: Said,
    /// The line itself.
    pub text: String,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// Go: the variable is not set, so nothing is written. Only an instrumented program says it.
    NoDirectoryVariable,
    /// A runtime may not write to its directory.
    PermissionDenied,
    /// The file system of the directory cannot be written.
    ReadOnly,
    /// The directory is not there, or is no directory.
    NoDirectory,
    /// The disk is full.
    NoSpace,
    /// A runtime could not write, for another reason.
    WriteFailed,
    /// Go: the live flush needs `-covermode=atomic`.
    NeedsAtomic,
    /// Go: the exit hook that writes the counters panicked.
    ExitHookPanicked,
    /// Go: a panic, or a fatal error of its runtime.
    Panicked,
    /// A process was killed.
    Killed,
    /// A process was killed for its memory.
    OutOfMemory,
    /// covdata: there are no coverage files in the directories it was given.
    NoFiles,
    /// covdata: files of different modes.
    ModeClash,
    /// covdata: a file that is cut short or damaged.
    Damaged,
    /// Go has no tool `covdata`.
    NoCovdata,
    /// A test suite says that it passed.
    TestsPassed,
    /// kubectl cp: there is no tar in the container.
    NoTar,
    /// kubectl exec: there is no shell or other tool in the container.
    NoShell,
    /// tar: a file changed while it was read.
    FileChanged,
    /// A connection to a pod or service was refused or lost.
    Refused,
    /// An upload of a report was rejected.
    UploadRejected,
    /// LLVM: a raw profile of another version than the tool's.
    RawVersion,
    /// LLVM: continuous mode without counter relocation.
    NoContinuousMode,
    /// gcov: no notes for the counters, or counters of another build.
    NoNotes,
    /// A language's coverage tool is not installed where it is started.
    NoCoverageTool,
    /// Kubernetes: a volume is attached to another node.
    MultiAttach,
    /// Kubernetes: a policy or quota does not allow the pod.
    Rejected,
    /// Kubernetes: a manifest cannot be read.
    BadManifest,
    /// A container engine: the source of a mount is not there.
    NoMountSource,
}

/// A kind of line: what it says, and all the words that have to be in it.
type Words = (Said, &'static [&'static str]);

/// What is recognised, in this order: the first that fits. Go's messages are of
/// `internal/coverage/cfile`, Go 1.20 to 1.27 (`emit.go`, `apis.go`), and `cmd/covdata`; LLVM's of
/// `compiler-rt/lib/profile`; the others of the tools that are named.
const LINES: &[Words] = &[
    (
        Said::NoDirectoryVariable,
        &["warning: GOCOVERDIR not set, no coverage data emitted"],
    ),
    (
        Said::NoSpace,
        &["coverage ", "emit failed", "no space left on device"],
    ),
    (
        Said::NoSpace,
        &["coverage ", "emit failed", "disk quota exceeded"],
    ),
    (
        Said::ReadOnly,
        &["coverage ", "emit failed", "read-only file system"],
    ),
    (
        Said::PermissionDenied,
        &["coverage ", "emit failed", "permission denied"],
    ),
    (
        Said::NoDirectory,
        &["coverage ", "emit failed", "no such file or directory"],
    ),
    (
        Said::NoDirectory,
        &["coverage ", "emit failed", "not a directory"],
    ),
    (Said::WriteFailed, &["error: coverage ", "emit failed"]),
    (
        Said::NeedsAtomic,
        &[
            "invoked for program built with -covermode=",
            "please use -covermode=atomic",
        ],
    ),
    (
        Said::ExitHookPanicked,
        &["fatal error: ", "exit hook invoked panic"],
    ),
    (
        Said::PermissionDenied,
        &[
            "LLVM Profile Error: Failed to write file",
            "Permission denied",
        ],
    ),
    (
        Said::ReadOnly,
        &[
            "LLVM Profile Error: Failed to write file",
            "Read-only file system",
        ],
    ),
    (
        Said::NoSpace,
        &["LLVM Profile Error: Failed to write file", "No space left"],
    ),
    (
        Said::NoContinuousMode,
        &["LLVM Profile Error:", "continuous"],
    ),
    (
        Said::NoContinuousMode,
        &["LLVM Profile Error:", "__llvm_profile_counter_bias"],
    ),
    (Said::RawVersion, &["raw profile version mismatch"]),
    (
        Said::RawVersion,
        &["unsupported instrumentation profile format version"],
    ),
    (Said::NoNotes, &["cannot open notes file"]),
    (Said::NoNotes, &["stamp mismatch with notes file"]),
    (Said::PermissionDenied, &["profiling:", ".gcda:Cannot open"]),
    (
        Said::NoFiles,
        &["warning: no applicable files found in input directories"],
    ),
    (Said::ModeClash, &["counter mode clash"]),
    (Said::Damaged, &["reading meta-data file", "unexpected EOF"]),
    (Said::Damaged, &["reading counter data file", "EOF"]),
    (Said::Damaged, &["corrupted coverage"]),
    (Said::NoCovdata, &["no such tool \"covdata\""]),
    (Said::NoTar, &["exec: \"tar\": executable file not found"]),
    (Said::NoTar, &["executable file `tar` not found"]),
    (Said::NoShell, &["exec: \"sh\": executable file not found"]),
    (
        Said::NoShell,
        &["exec: \"/bin/sh\": stat /bin/sh: no such file"],
    ),
    (Said::NoShell, &["exec: \"/bin/sh\": no such file"]),
    (
        Said::NoShell,
        &["exec: \"kill\": executable file not found"],
    ),
    (
        Said::FileChanged,
        &["tar: ", ": file changed as we read it"],
    ),
    (Said::FileChanged, &["tar: ", ": File shrank by"]),
    (Said::NoCoverageTool, &["No module named coverage"]),
    (Said::NoCoverageTool, &["No module named 'coverage'"]),
    (Said::NoCoverageTool, &["coverage: command not found"]),
    (
        Said::NoCoverageTool,
        &["Error opening zip file or JAR manifest missing", "jacoco"],
    ),
    (Said::MultiAttach, &["Multi-Attach error for volume"]),
    (Said::Rejected, &["violates PodSecurity"]),
    (
        Said::Rejected,
        &["unable to validate against any security context constraint"],
    ),
    (Said::Rejected, &["is forbidden: exceeded quota"]),
    (Said::BadManifest, &["error converting YAML to JSON"]),
    (Said::BadManifest, &["error parsing ", "yaml: line"]),
    (
        Said::NoMountSource,
        &["statfs ", "no such file or directory"],
    ),
    (Said::NoMountSource, &["bind source path does not exist"]),
    (Said::OutOfMemory, &["OOMKilled"]),
    (Said::OutOfMemory, &["Out of memory: Killed process"]),
    (Said::Killed, &["signal: killed"]),
    (Said::Panicked, &["panic: "]),
    (Said::Panicked, &["fatal error: all goroutines are asleep"]),
    (Said::Panicked, &["fatal error: concurrent map"]),
    (Said::UploadRejected, &["codecov", "Token required"]),
    (Said::UploadRejected, &["Upload failed", "token"]),
    (Said::UploadRejected, &["Error uploading", "codecov"]),
    (Said::UploadRejected, &["coveralls", "422"]),
    (
        Said::Refused,
        &["error forwarding port", "connection refused"],
    ),
    (Said::Refused, &["lost connection to pod"]),
    (Said::Refused, &["unable to forward port"]),
    (Said::Refused, &["overage", "connect: connection refused"]),
];

/// Words of test suites: go test's own `ok`, Ginkgo's summary.
const PASSED: [(&str, &str); 2] = [("SUCCESS! -- ", " Passed | 0 Failed"), ("ok  \t", "s")];

/// Reads a log. What is not recognised is left out; escape sequences of terminals are taken off.
#[must_use]
pub fn read(subject: &str, place: &str, text: &str) -> Log {
    let mut lines: Vec<Line> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let plain = without_escapes(line);
        let Some(said) = said(&plain) else { continue };
        if lines.iter().filter(|line| line.said == said).count() < MOST {
            lines.push(Line {
                number: number + 1,
                said,
                text: plain.trim().chars().take(LONGEST).collect(),
            });
        }
    }
    Log {
        subject: subject.to_owned(),
        place: place.to_owned(),
        lines,
    }
}

fn said(line: &str) -> Option<Said> {
    // A panic begins its line: elsewhere the word is part of a message.
    let fits = |said: Said, words: &[&str]| match (said, words) {
        (Said::Panicked, [word]) => line.starts_with(word),
        (_, words) => words.iter().all(|word| line.contains(word)),
    };
    let known = LINES.iter().find(|(said, words)| fits(*said, words));
    let passed = || {
        PASSED
            .iter()
            .any(|(start, end)| line.find(start).is_some_and(|at| line[at..].contains(end)))
    };
    known
        .map(|(said, _)| *said)
        .or_else(|| passed().then_some(Said::TestsPassed))
}

/// `line` without the sequences that colour it (ECMA-48 CSI).
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let end = after.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c));
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::{Said, read};

    #[test]
    fn lines_are_known_by_their_words() {
        let text = "2026 start\n\
            warning: GOCOVERDIR not set, no coverage data emitted\n\
            error: coverage meta-data emit failed: creating meta-data file /c/tmp.covmeta.1: open /c/tmp.covmeta.1: permission denied\n\
            \u{1b}[32mSUCCESS!\u{1b}[0m -- 84 Passed | 0 Failed\n\
            warning: no applicable files found in input directories\n\
            handler said: no panic: here\n\
            panic: runtime error: index out of range\n";
        let log = read("s", "p", text);
        let said: Vec<(usize, Said)> = log.lines.iter().map(|l| (l.number, l.said)).collect();
        assert_eq!(
            said,
            [
                (2, Said::NoDirectoryVariable),
                (3, Said::PermissionDenied),
                (4, Said::TestsPassed),
                (5, Said::NoFiles),
                (7, Said::Panicked),
            ]
        );
    }

    #[test]
    fn a_summary_of_a_suite_is_known_also_in_colours() {
        let log = read(
            "s",
            "p",
            "\u{1b}[1m\u{1b}[38;5;10mSUCCESS! -- 84 Passed | 0 Failed\u{1b}[0m | 0 Pending\n",
        );
        assert_eq!(log.lines[0].said, Said::TestsPassed);
        assert!(!log.lines[0].text.contains('\u{1b}'));
    }

    #[test]
    fn a_line_that_comes_again_and_again_is_kept_a_few_times() {
        let text = "warning: GOCOVERDIR not set, no coverage data emitted\n".repeat(100);
        assert_eq!(read("s", "p", &text).lines.len(), 5);
    }
}
