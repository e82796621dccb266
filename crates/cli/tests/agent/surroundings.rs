//! A machine of a test's own, with an agent and programs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use covtap_live::agent::remote::{Condition, News, Options, Remote};
use covtap_profile::go::accumulate::{Counters, Layout, add_bytes};
use covtap_profile::go::meta::MetaFile;
use covtap_tap::life::{Life, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::programs::{program, say};

/// How long anything may take: beyond it the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(120);
/// Set in the pid namespace.
const INSIDE: &str = "COVTAP_TEST_INSIDE";

/// Runs the test of this name in a pid namespace of its own: this program again.
pub(crate) fn inside(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let namespace = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let probe = Command::new("unshare").args(namespace).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        say(&format!("SKIPPED: the agent: {name}: no new pid namespace"));
        return;
    }
    let output = Command::new("unshare")
        .args(namespace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let summary = String::from_utf8_lossy(&output.stdout);
    // A name that is no test's is no failure to the runner.
    let ran = summary.contains("1 passed");
    assert!(output.status.success() && ran, "{summary}{said}");
    for line in said
        .lines()
        .filter(|l| l.starts_with("agent: ") || l.starts_with("SKIPPED"))
    {
        say(line);
    }
}

/// An agent, and covtap's end of it.
pub(crate) struct Agent {
    pub(crate) remote: Remote<UnixStream>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) news: Vec<News>,
    /// The agent, then those that joined it.
    children: Vec<Child>,
    flags: Vec<String>,
}

impl Agent {
    /// Starts one, which looks for processes itself unless its flags say otherwise.
    pub(crate) fn start(flags: &[&str]) -> Option<Self> {
        program("static-atomic/drill")?;
        let mut words = vec!["agent".to_owned()];
        if !flags.iter().any(|flag| flag.starts_with("--watching")) {
            words.push("--watching=poll".to_owned());
        }
        words.extend(flags.iter().map(|&flag| flag.to_owned()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        command.args(&words);
        Some(Self::of(command, words))
    }

    /// Starts one with this command; `flags` are for those that join it.
    pub(crate) fn of(command: Command, flags: Vec<String>) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let options = Options {
            name: "here".into(),
            number: 1,
            folder: folder.path().join("states"),
            version: "test".into(),
        };
        let mut agent = Self {
            remote: Remote::connect(ours, options).unwrap(),
            folder,
            news: Vec::new(),
            children: vec![spawn(command, theirs)],
            flags,
        };
        agent.until("hello", |agent| {
            *agent.remote.condition() != Condition::Greeting
        });
        agent
    }

    /// Another one, with nobody at its other end.
    pub(crate) fn another(flags: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        command.args(["agent", "--watching=poll"]).args(flags);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn again(&mut self) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        command.args(&self.flags);
        self.children.push(spawn(command, theirs));
        self.remote.resume(ours).unwrap();
        self.until("hello", |agent| {
            *agent.remote.condition() == Condition::Connected
        });
    }

    /// Goes on over another `covtap agent`.
    pub(crate) fn resume(&mut self) {
        self.again();
    }

    /// The same, after the first was killed.
    pub(crate) fn start_again(&mut self) {
        self.children.clear();
        self.again();
    }

    /// Ends the connection, and waits until the agent has seen it: it answers at its door.
    pub(crate) fn cut(&mut self) {
        // The socket closes when its last owner is gone.
        let (nowhere, _) = UnixStream::pair().unwrap();
        self.remote.resume(nowhere).unwrap();
        self.remote.take_in();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.children[0].id()
    }

    pub(crate) fn kill(&mut self) {
        self.children[0].kill().unwrap();
    }

    /// Waits for the agent itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.children[0].wait().unwrap()
    }

    /// Has everything read, and takes it in.
    pub(crate) fn read_now(&mut self) {
        let id = self.remote.read_now();
        self.until("what was read", |agent| {
            agent.news.contains(&News::Read(id))
        });
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) {
        self.remote.stop();
        self.until("its end", |agent| {
            *agent.remote.condition() == Condition::Over
        });
        for child in &mut self.children {
            assert_eq!(child.wait().unwrap().code(), Some(0));
        }
    }

    /// Takes in what comes until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        loop {
            let news = self.remote.take_in();
            self.news.extend(news);
            if holds(self) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: not in {PATIENCE:?}: {:?}, {:?}, {:?}",
                self.remote.condition(),
                self.remote.heartbeat(),
                self.news
            );
            // Some of what is waited for shows elsewhere than in messages.
            let time = self.remote.interval().min(Duration::from_millis(20));
            let time = Timespec {
                tv_sec: 0,
                tv_nsec: time.subsec_nanos().into(),
            };
            let descriptor = self.remote.descriptor();
            let mut fds: Vec<PollFd<'_>> = descriptor
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
                .collect();
            poll(&mut fds, Some(&time)).unwrap();
        }
    }

    pub(crate) fn life(&self, pid: u32) -> Option<Life> {
        let mut lives = self.remote.lives().into_iter();
        lives.find(|life| life.pid == pid)
    }

    pub(crate) fn state(&self, pid: u32) -> Option<State> {
        self.life(pid)?.state().cloned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        for child in &mut self.children {
            if matches!(child.try_wait(), Ok(None)) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Starts a command whose standard input and output are this socket. Nobody else has it then.
fn spawn(mut command: Command, socket: UnixStream) -> Child {
    let other = socket.try_clone().unwrap();
    command
        .stdin(OwnedFd::from(socket))
        .stdout(OwnedFd::from(other));
    command.spawn().unwrap()
}

/// A program that does what it is told. See `fixtures/tap/console`.
pub(crate) struct Drill {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drill {
    /// Starts one and waits until it takes commands.
    pub(crate) fn start(name: &str) -> Option<Self> {
        let mut child = Command::new(program(name)?)
            .env_remove("GOCOVERDIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut drill = Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert_eq!(drill.line(), format!("ready {}", drill.pid()));
        Some(drill)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Says one line and awaits its answer.
    pub(crate) fn ask(&mut self, line: &str) {
        self.input
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        let answer = self.line();
        assert!(answer.starts_with("ok"), "{line}: {answer}");
    }

    pub(crate) fn is_traced(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let tracer = status.lines().find_map(|l| l.strip_prefix("TracerPid:"));
        tracer.unwrap().trim() != "0"
    }

    /// Lets it die in the way `line` says, and waits for it.
    pub(crate) fn die(mut self, line: &str) {
        self.input
            .write_all(format!("die {line}\n").as_bytes())
            .unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The counts of the last counter file of a directory, or of this file, with the meta-data beside it.
pub(crate) fn counts(path: &Path) -> Vec<u32> {
    let directory = if path.is_dir() {
        path
    } else {
        path.parent().unwrap()
    };
    let all = || fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    let named = |prefix: &'static str| {
        move |p: &PathBuf| p.file_name().unwrap().to_string_lossy().starts_with(prefix)
    };
    let meta = all().find(named("covmeta.")).unwrap();
    let file = if path.is_dir() {
        all().filter(named("covcounters.")).max().unwrap()
    } else {
        path.to_path_buf()
    };
    let meta = MetaFile::parse(fs::read(meta).unwrap()).unwrap().0;
    let mut counters = Counters::new(Arc::new(Layout::new(&meta)));
    let bytes = fs::read(&file).unwrap();
    assert_eq!(add_bytes(&meta, &mut counters, &bytes, &file), None);
    counters.values().to_vec()
}
