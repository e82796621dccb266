//! What the tests of the tracer share: a program to trace, a tracer, its events.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, IoSliceMut, PipeReader, PipeWriter, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use covtap_tap::trace::{Event, Tracer};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// How long something may take that should come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// The environment variable that makes a helper of this test program.
pub(crate) const HELPER: &str = "COVTAP_TRACE_HELPER";

/// The C program that is traced.
pub(crate) const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/trace/subject.c");

/// One tracer in a process: the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A test's turn. No child of another test is there, and no tracer.
pub(crate) struct Turn {
    _guard: MutexGuard<'static, ()>,
}

impl Turn {
    pub(crate) fn take() -> Self {
        Self {
            _guard: TURN.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The C program, compiled once; `None` (said aloud) where there is no C compiler.
fn subject() -> Option<&'static Path> {
    static SUBJECT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = SUBJECT.get_or_init(|| {
        // Named by its source: built once, and never while another run of the tests executes it.
        let mut hasher = DefaultHasher::new();
        fs::read(SOURCE).unwrap().hash(&mut hasher);
        let name = format!("trace-subject-{:016x}", hasher.finish());
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if program.exists() {
            return Some(program);
        }
        let unfinished = program.with_extension(std::process::id().to_string());
        let status = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-pthread", "-o"])
            .arg(&unfinished)
            .arg(SOURCE)
            .status();
        match status {
            Ok(status) => {
                assert!(status.success(), "cc: {status}");
                fs::rename(&unfinished, &program).unwrap();
                Some(program)
            }
            Err(_) => None,
        }
    });
    built.as_deref()
}

/// A tracer with its events, for one test.
pub(crate) struct Rig {
    pub(crate) tracer: Option<Tracer>,
    events: Receiver<Event>,
    seen: Vec<Event>,
    pass_execs: Arc<AtomicBool>,
    program: PathBuf,
    directory: tempfile::TempDir,
    // Last: the tracer must be gone before the next one's turn.
    _turn: Turn,
}

impl Rig {
    /// `None` when the program cannot be built here.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let turn = Turn::take();
        let Some(program) = subject() else {
            println!("SKIPPED: trace {test}: there is no C compiler (cc)");
            return None;
        };
        let (send, events) = channel();
        let pass_execs = Arc::new(AtomicBool::new(false));
        let pass = Arc::clone(&pass_execs);
        let sink = move |event| {
            if !(pass.load(Ordering::Relaxed) && matches!(event, Event::Exec { .. })) {
                drop(send.send(event));
            }
        };
        let tracer = Tracer::start(sink).unwrap();
        Some(Self {
            tracer: Some(tracer),
            events,
            seen: Vec::new(),
            pass_execs,
            program: program.to_owned(),
            directory: tempfile::tempdir().unwrap(),
            _turn: turn,
        })
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        self.tracer.as_ref().unwrap()
    }

    /// From now on execs are neither held nor told.
    pub(crate) fn pass_execs(&self) {
        self.pass_execs.store(true, Ordering::Relaxed);
    }

    /// Ends the tracer.
    pub(crate) fn end_tracer(&mut self) {
        self.tracer = None;
    }

    /// The C program with these arguments (separated by spaces), not started.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments.split(' '))
            .current_dir(self.directory.path());
        command
    }

    /// This test program again, as another process with a tracer of its own.
    pub(crate) fn helper(&self, task: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "helper_process", "--nocapture"])
            .env(HELPER, task)
            .current_dir("/");
        command
    }

    /// A file for this test alone.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a command as a child of the tracer, with pipes.
    pub(crate) fn spawn(&self, command: Command) -> Subject {
        self.try_spawn(command).unwrap()
    }

    pub(crate) fn try_spawn(&self, mut command: Command) -> io::Result<Subject> {
        let (output, out) = pipe().unwrap();
        let (inp, input) = pipe().unwrap();
        command.stdin(inp).stdout(out);
        let pid = self.tracer().spawn(command)?;
        Ok(Subject {
            child: pid,
            pid,
            counter: 0,
            output: BufReader::new(output),
            input,
        })
    }

    /// Starts the C program and waits until it is ready.
    pub(crate) fn start(&self, arguments: &str) -> Subject {
        let mut subject = self.spawn(self.command(arguments));
        subject.await_ready();
        subject
    }

    /// Starts the C program, ready and traced.
    pub(crate) fn start_traced(&self, arguments: &str) -> Subject {
        let subject = self.start(arguments);
        self.tracer().seize(subject.pid).unwrap();
        subject
    }

    /// The next event for which `want` has an answer; the others are kept.
    pub(crate) fn next<T>(
        &mut self,
        what: &str,
        mut want: impl FnMut(&Event) -> bool,
        take: impl FnOnce(Event) -> T,
    ) -> T {
        let until = Instant::now() + PATIENCE;
        let mut known = 0;
        loop {
            if let Some(index) = self.seen[known..].iter().position(&mut want) {
                return take(self.seen.remove(known + index));
            }
            known = self.seen.len();
            match self
                .events
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout) => panic!("no {what}, but {:?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => panic!("the tracer has ended"),
            }
        }
    }

    /// All events of `pid` that have come and were not taken.
    pub(crate) fn rest(&mut self, pid: u32) -> Vec<Event> {
        self.seen.extend(self.events.try_iter());
        let (of_pid, others) = self.seen.drain(..).partition(|e| pid_of(e) == pid);
        self.seen = others;
        of_pid
    }
}

/// The process that an event is about.
pub(crate) fn pid_of(event: &Event) -> u32 {
    match event {
        Event::Seized {
            pid_or_tid: pid, ..
        }
        | Event::Exec { pid, .. }
        | Event::Exiting { pid, .. }
        | Event::Survived { pid, .. }
        | Event::Gone { pid, .. }
        | Event::Reaped { pid, .. }
        | Event::Lost { pid, .. } => *pid,
    }
}

/// A running C program.
pub(crate) struct Subject {
    /// The process that was started.
    pub(crate) child: u32,
    /// The process that said that it is ready: the same, or a child of it.
    pub(crate) pid: u32,
    /// Where its counter lies.
    pub(crate) counter: u64,
    output: BufReader<PipeReader>,
    input: PipeWriter,
}

impl Subject {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The number in the line `WHAT NUMBER`, which must be next.
    pub(crate) fn told(&mut self, what: &str) -> i32 {
        let line = self.line();
        let number = line.strip_prefix(what).and_then(|n| n.trim().parse().ok());
        number.unwrap_or_else(|| panic!("{what}: {line:?}"))
    }

    /// Reads until this line comes.
    pub(crate) fn await_line(&mut self, expected: &str) {
        let mut seen = Vec::new();
        loop {
            let line = self.line();
            if line == expected {
                return;
            }
            assert!(seen.len() < 100, "no {expected:?}, but {seen:?}");
            seen.push(line);
        }
    }

    pub(crate) fn await_ready(&mut self) {
        let line = self.line();
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ready"), "{line:?}");
        self.pid = words.next().unwrap().parse().unwrap();
        self.counter = words.next().unwrap().parse().unwrap();
    }

    /// Lets it do what it is for.
    pub(crate) fn go(&mut self) {
        self.input.write_all(b"!").unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(pid(self.pid), signal).unwrap();
    }

    /// The letter of its leader's state.
    pub(crate) fn state(&self) -> String {
        state(self.pid)
    }

    /// The thread that traces its leader: a number, 0 for none.
    pub(crate) fn tracer(&self) -> String {
        status_field(self.pid, "TracerPid").unwrap_or_default()
    }

    /// Its counter, read from the memory of this thread's process.
    pub(crate) fn read_counter(&self, tid: u32) -> nix::Result<u32> {
        let mut bytes = [0; 4];
        let remote = RemoteIoVec {
            base: usize::try_from(self.counter).unwrap(),
            len: 4,
        };
        let got = process_vm_readv(pid(tid), &mut [IoSliceMut::new(&mut bytes)], &[remote])?;
        assert_eq!(got, 4);
        Ok(u32::from_ne_bytes(bytes))
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap())
}

/// A field of `/proc/PID/status`; `None` when there is no such process.
pub(crate) fn status_field(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    Some(line.trim_start_matches(':').trim().to_owned())
}

/// The letter of a process's state; empty when there is none.
pub(crate) fn state(pid: u32) -> String {
    let state = status_field(pid, "State").unwrap_or_default();
    state.chars().take(1).collect()
}

/// Looks until `done`. For what the kernel has no event for.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
