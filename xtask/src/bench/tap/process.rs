//! Programs that are looked at, and what the kernel counts of processes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::sh::{self, About, Result, fail, shown};

/// A process whose standard input and output are ours. It ends when this is dropped.
pub(super) struct Talking {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    about: String,
}

impl Talking {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let about = shown(command);
        command
            .env_remove("GOCOVERDIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().about(&about)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            fail!("{about}: it has no pipes");
        };
        Ok(Self {
            child,
            input: Some(input),
            output: BufReader::new(output),
            about,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, which has to begin like this; what follows.
    pub(super) fn line(&mut self, beginning: &str) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).about(&self.about)?;
        match line.trim_end().strip_prefix(beginning) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => fail!("{}: {line:?}, not {beginning:?}", self.about),
        }
    }

    /// Says a line to a drill and awaits its answer.
    pub(super) fn ask(&mut self, line: &str) -> Result<String> {
        if let Some(input) = &mut self.input {
            input
                .write_all(format!("{line}\n").as_bytes())
                .about(&self.about)?;
        }
        self.line("ok")
    }

    /// Ends its input, which it takes as the wish that it ends, and waits until it has.
    pub(super) fn end(mut self) -> Result<Option<i32>> {
        self.input = None;
        let status = self.child.wait().about(&self.about)?;
        Ok(status.code())
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        // It may have ended, and a tracer in this process may have reaped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time of a process: of all threads that live, to the nanosecond. Those of a Go
/// program stay.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let mut sum = 0;
    for entry in std::fs::read_dir(&folder).about(&folder)? {
        let file = entry.about(&folder)?.path().join("schedstat");
        // A thread may have ended since.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let first = text.split_whitespace().next().unwrap_or_default();
        sum += first.parse::<u64>().about(file.display())?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Bytes of memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Resident, shared or not.
    pub(super) rss: u64,
    /// Resident; what several processes share is divided among them.
    pub(super) pss: u64,
}

pub(super) fn memory(pid: u32) -> Result<Memory> {
    let text = sh::read(Path::new(&format!("/proc/{pid}/smaps_rollup")))?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Ok(Memory {
        rss: bytes("Rss:"),
        pss: bytes("Pss:"),
    })
}

/// Everything that executes this program, itself or below `above`, smallest number first.
pub(super) fn executing(program: &Path, above: u32) -> Result<Vec<u32>> {
    let program = program.canonicalize().about(program.display())?;
    let mut found = Vec::new();
    let mut next = vec![above];
    while let Some(pid) = next.pop() {
        let executable = std::fs::read_link(PathBuf::from(format!("/proc/{pid}/exe")));
        if executable.is_ok_and(|e| e == program) {
            found.push(pid);
        }
        let tasks = format!("/proc/{pid}/task");
        // What has ended has no children.
        for task in std::fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            next.extend(
                children
                    .split_whitespace()
                    .filter_map(|n| n.parse::<u32>().ok()),
            );
        }
    }
    found.sort_unstable();
    Ok(found)
}
