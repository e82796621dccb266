//! The programs of `fixtures/tap`, as `cargo xtask tap-fixtures` builds them, running and talked to.

#![allow(dead_code, reason = "each test uses its part")]

#[path = "../../../../xtask/src/cache.rs"]
mod cache;
pub(crate) mod container;
pub(crate) mod coverage;
pub(crate) mod own_root;
pub(crate) mod traced;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long an answer may take: beyond it the test fails instead of hanging.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Starts a child. A program that was just written may be busy for a moment: a child that another
/// thread starts has all our descriptors until its own program is there.
pub(crate) fn start(command: &mut Command) -> Child {
    let began = Instant::now();
    loop {
        match command.spawn() {
            Ok(child) => return child,
            Err(e) if e.kind() == ErrorKind::ExecutableFileBusy && began.elapsed() < BUSY => {
                std::thread::yield_now();
            }
            Err(e) => panic!("{command:?}: {e}"),
        }
    }
}

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// How long a program may be busy.
const BUSY: Duration = Duration::from_secs(10);

/// Prints a line past the test runner, which hides what a test says when it passes.
pub(crate) fn say(line: &str) {
    let line = format!("\n{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The programs that one version of Go built.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// `1.27.3`.
    pub(crate) version: &'static str,
    home: PathBuf,
    covdata: PathBuf,
}

impl Programs {
    /// Those of `version`; without them, a line that says so and what to do.
    pub(crate) fn of(version: &'static str) -> Option<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let home = repository.canonicalize().and_then(|r| cache::tap(&r));
        let home = home.unwrap().join(version);
        let covdata = cache::covdata(version).unwrap();
        if home.is_dir() && covdata.is_file() {
            return Some(Self {
                version,
                home,
                covdata,
            });
        }
        say(&format!(
            "SKIPPED: the tap on Go {version}: no programs; run: cargo xtask tap-fixtures {version}"
        ));
        None
    }

    /// A program: `static/drill`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Whether this Go is older than `1.minor`.
    pub(crate) fn before(&self, minor: u32) -> bool {
        let mine = self.version.split('.').nth(1).unwrap();
        mine.parse::<u32>().unwrap() < minor
    }

    /// What this Go's `covdata` prints of a directory. Waits for a child, so not beside a tracer.
    pub(crate) fn covdata(&self, command: &str, directory: &Path, more: &[&str]) -> String {
        let mut tool = Command::new(&self.covdata);
        tool.arg(command)
            .arg(format!("-i={}", directory.display()))
            .args(more);
        let profile = (command == "textfmt").then(|| directory.with_extension("profile"));
        if let Some(profile) = &profile {
            tool.arg(format!("-o={}", profile.display()));
        }
        tool.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let out = start(&mut tool).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            out.status.success(),
            "{tool:?}: {}\n{text}{errors}",
            out.status
        );
        profile.map_or(text, |path| fs::read_to_string(path).unwrap())
    }
}

/// A folder of a test's own, empty at first, gone when it is dropped.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The folder `name` in `scratch`, made now, with a number that makes it new.
pub(crate) fn folder(scratch: &Path, name: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = scratch.join(format!("{name}-{number}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A command with its output in `scratch/stderr`, and no coverage directory.
pub(crate) fn command(program: &Path, scratch: &Path) -> Command {
    let errors = scratch.join("stderr");
    let errors = File::options().create(true).append(true).open(errors);
    let mut command = Command::new(program);
    command
        .env_remove("GOCOVERDIR")
        .current_dir(scratch)
        .stderr(errors.unwrap());
    command
}

/// The test's ends of a process's standard input and output.
pub(crate) struct Talk {
    /// `None` when it is closed.
    input: Option<PipeWriter>,
    output: BufReader<PipeReader>,
    /// What a failure is about.
    about: String,
}

impl Talk {
    /// Gives a command its ends of both pipes.
    pub(crate) fn with(command: &mut Command) -> Self {
        let (theirs, input) = std::io::pipe().unwrap();
        let (output, their_output) = std::io::pipe().unwrap();
        command.stdin(theirs).stdout(their_output);
        Self {
            input: Some(input),
            output: BufReader::new(output),
            about: format!("{command:?}"),
        }
    }

    /// The next line; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        if self.output.buffer().is_empty() {
            let pipe = self.output.get_ref().as_fd();
            let mut ready = [PollFd::from_borrowed_fd(pipe, PollFlags::IN)];
            let events = poll(&mut ready, Some(&PATIENCE)).unwrap();
            assert!(events > 0, "{}: no answer in a minute", self.about);
        }
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| line.trim_end().to_owned())
    }

    /// Whether there is a line, or the end.
    pub(crate) fn has_answer(&self) -> bool {
        let mut ready = [PollFd::from_borrowed_fd(
            self.output.get_ref().as_fd(),
            PollFlags::IN,
        )];
        !self.output.buffer().is_empty() || poll(&mut ready, Some(&NOW)).unwrap() > 0
    }

    /// Says one line, without waiting.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The answer to a line, without its `ok`.
    pub(crate) fn answer(&mut self) -> String {
        let line = self.line();
        let line = line.unwrap_or_else(|| panic!("{}: ended", self.about));
        let Some(text) = line.strip_prefix("ok") else {
            panic!("{}: {line}", self.about);
        };
        text.trim().to_owned()
    }

    /// Says one line and awaits its answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }

    /// Awaits the first line of a drill and returns its process id.
    pub(crate) fn ready(&mut self) -> u32 {
        let line = self.line().unwrap_or_default();
        let pid = line.strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        pid.unwrap_or_else(|| panic!("{}: {line:?}", self.about))
    }

    /// Closes its standard input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }
}

/// A drill that is this process's child.
pub(crate) struct Drill {
    pub(crate) child: Child,
    pub(crate) talk: Talk,
}

impl Drill {
    /// Starts one and waits until it takes commands.
    pub(crate) fn start(command: Command) -> Self {
        let mut drill = Self::start_only(command);
        drill.ready();
        drill
    }

    /// Starts one.
    pub(crate) fn start_only(mut command: Command) -> Self {
        let talk = Talk::with(&mut command);
        let child = start(&mut command);
        Self { child, talk }
    }

    /// Waits until it takes commands.
    pub(crate) fn ready(&mut self) {
        assert_eq!(self.talk.ready(), self.child.id());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.talk.ask(line)
    }

    /// Lets it die in the way `line` says, and waits for it.
    pub(crate) fn die(mut self, line: &str) -> ExitStatus {
        self.ask(line);
        // It may say more, as a test binary does.
        while self.talk.line().is_some() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; one that did not has waited already.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
