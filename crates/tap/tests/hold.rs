//! The hold, on the running kernel.
//!
//! A hold marks every file system that its session can see, and some of these tests stop the holder,
//! so that execs hang. Each test therefore runs in a mount namespace of its own whose root holds
//! nothing but a small file system in memory: that one is marked, and nothing of the machine.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its processes tell each other things"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use covtap_tap::life::Status;
use covtap_tap::watch::hold::{self, Ended, Held, Hold};
use nix::mount::{MsFlags, mount};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use common::container::{self, Container};
use common::own_root::{INSTRUMENTED, PLAIN, Pair, ROLE, RUNTIME, SELF, ends_with, role, skipped};

#[test]
#[ignore = "guardian, holder or session of the other tests"]
fn child() {
    let own = std::env::current_exe().unwrap();
    match std::env::var(ROLE).as_deref() {
        Ok("guardian") => hold::guard(role(own, "holder")).unwrap(),
        Ok("holder") => hold::serve().unwrap(),
        Ok("session") => match hold::start(role(own, "guardian")) {
            Ok(hold) => {
                let [guardian, holder] = hold.processes();
                println!("\nhold: {guardian} {holder}");
                // Until it is killed.
                let _ = std::io::stdin().lines().count();
            }
            Err(why) => println!("\nhold: {why}"),
        },
        Ok("container") => container::container(),
        _ => return,
    }
    // Without the words of the test runner.
    std::process::exit(0);
}

/// The programs; they wait for the end of their standard input when they have a second argument.
fn programs() -> Result<Pair, String> {
    static PROGRAMS: OnceLock<Result<Pair, String>> = OnceLock::new();
    PROGRAMS.get_or_init(build).clone()
}

/// Runs a test in a root of its own.
fn in_own_root(test: impl FnOnce() + Send + 'static) {
    common::own_root::in_own_root(programs, test);
}

fn build() -> Result<Pair, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hold");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("go.mod"), "module example.org/hold\n\ngo 1.21\n").unwrap();
    let main = "package main\n\nimport \"os\"\n\n\
        func main() {\n\tif len(os.Args) > 2 {\n\t\tos.Stdin.Read(make([]byte, 1))\n\t}\n\
        \tos.Exit(int(os.Args[1][0] - '0'))\n}\n";
    fs::write(place.join("main.go"), main).unwrap();
    let go = |name: &str, cover: &[&str]| {
        let program = place.join(name);
        let output = Command::new("go")
            .args(["build", "-o", name])
            .args(cover)
            .current_dir(&place)
            .env("GOFLAGS", "-buildvcs=false")
            .env("CGO_ENABLED", "0")
            .output()
            .map_err(|e| format!("no go on PATH: {e}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Ok::<_, String>(program)
    };
    Ok(Pair {
        instrumented: go("instrumented", &["-cover"])?,
        plain: go("plain", &[])?,
    })
}

/// A hold whose processes do not outlive the test, whatever happens.
struct Rig {
    hold: Option<Hold>,
    processes: [u32; 2],
}

impl Rig {
    fn new() -> Self {
        Self::with_mounts(1)
    }

    /// With the root and other mounts of the test, and nothing else.
    fn with_mounts(marked: u64) -> Self {
        let hold = hold::start(role(SELF, "guardian")).unwrap();
        assert_eq!(hold.marked(), marked);
        assert_eq!(hold.unmarked(), []);
        Self {
            processes: hold.processes(),
            hold: Some(hold),
        }
    }

    fn hold(&mut self) -> &mut Hold {
        self.hold.as_mut().unwrap()
    }

    fn guardian(&self) -> u32 {
        self.processes[0]
    }

    fn holder(&self) -> u32 {
        self.processes[1]
    }

    /// Answers everything until `over`; returns what was held.
    fn answer_until(&mut self, mut over: impl FnMut(&[Held]) -> bool) -> Vec<Held> {
        let mut all = Vec::new();
        while !over(&all) {
            for held in self.messages(Duration::from_millis(10)) {
                self.hold().answer(held.ticket);
                all.push(held);
            }
        }
        all
    }

    /// Waits for messages; returns without any when the time is over.
    fn messages(&mut self, time: Duration) -> Vec<Held> {
        readable(self.hold(), time);
        self.hold().messages()
    }

    /// Whether something comes within a tenth of a second: long enough for an exec to begin.
    fn messages_come(&mut self) -> bool {
        !self.messages(Duration::from_millis(100)).is_empty()
    }

    /// Waits until the hold says that it is over.
    fn ended(&mut self) -> Ended {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.messages(Duration::from_millis(100));
            if let Some(ended) = self.hold().ended() {
                return ended;
            }
            assert!(Instant::now() < end, "the hold does not end");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.hold = None;
        for pid in self.processes {
            // The numbers may be those of others by now; then they are not test binaries.
            let is_ours =
                fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(SELF));
            if is_ours {
                signal(pid, Signal::KILL);
            }
            assert!(!is_ours || thread::panicking(), "{pid} was left over");
        }
    }
}

fn readable(what: impl std::os::fd::AsFd, time: Duration) -> bool {
    let mut ready = [PollFd::new(&what, PollFlags::IN)];
    poll(&mut ready, Some(&Timespec::try_from(time).unwrap())).unwrap() > 0
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

fn signal(process: u32, signal: Signal) {
    kill_process(pid(process), signal).unwrap();
}

/// Waits until a process has ended.
fn gone(process: u32) -> bool {
    match pidfd_open(pid(process), PidfdFlags::empty()) {
        Ok(handle) => readable(handle, Duration::from_secs(5)),
        Err(_) => true,
    }
}

/// Starts a program in another thread; this one can answer meanwhile.
fn run(program: &str, code: &str) -> thread::JoinHandle<(ExitStatus, Duration)> {
    let mut command = ends_with(program, code);
    thread::spawn(move || {
        let start = Instant::now();
        let status = command.status().unwrap();
        (status, start.elapsed())
    })
}

/// The program is looked at once, so that this is not part of what is measured.
fn warm_up(rig: &mut Rig) {
    for program in [INSTRUMENTED, PLAIN] {
        let process = run(program, "0");
        rig.answer_until(|_| process.is_finished());
    }
}

#[test]
fn every_instrumented_program_is_told_before_its_first_instruction() {
    const MANY: usize = 200;
    in_own_root(|| {
        let mut rig = Rig::new();
        let own = fs::read_link("/proc/thread-self/exe").unwrap();
        let launcher = thread::spawn(|| {
            let mut pids = Vec::new();
            for _ in 0..MANY {
                let status = ends_with(PLAIN, "5").status().unwrap();
                assert_eq!(status.code(), Some(5));
                let mut child = ends_with(INSTRUMENTED, "7").spawn().unwrap();
                pids.push(child.id());
                assert_eq!(child.wait().unwrap().code(), Some(7));
            }
            pids
        });
        let mut told = Vec::new();
        let mut running = 0;
        while !launcher.is_finished() {
            for held in rig.messages(Duration::from_millis(10)) {
                // It is still what it was before the exec: a copy of this test.
                let exe = fs::read_link(format!("/proc/{}/exe", held.pid));
                running += u64::from(exe.map_or(true, |exe| exe != own));
                assert!(held.waits);
                assert_eq!(held.path, Path::new(INSTRUMENTED));
                assert_eq!(held.tid, held.pid);
                told.push(held.pid);
                rig.hold().answer(held.ticket);
            }
        }
        assert_eq!(told, launcher.join().unwrap());
        let counts = rig.hold().counts();
        println!("{counts:?}, running: {running}");
        assert_eq!((counts.held, counts.lost), (MANY as u64, 0));
        // On a machine so busy that this thread does not run for 200 ms.
        assert!(running <= counts.expired, "{running} of {counts:?}");
        assert!(counts.expired < counts.held / 2, "{counts:?}");
    });
}

#[test]
fn a_session_that_is_busy_gets_more_time() {
    in_own_root(|| {
        let mut rig = Rig::new();
        warm_up(&mut rig);
        let process = run(INSTRUMENTED, "0");
        assert!(readable(rig.hold(), Duration::from_secs(5)));
        let held = Instant::now();
        // Busy with something else.
        thread::sleep(Duration::from_millis(100));
        rig.hold().messages();
        let busy = held.elapsed();
        rig.answer_until(|_| process.is_finished());
        let (_, time) = process.join().unwrap();
        // On a machine that is busy itself it may have taken longer.
        if busy < Duration::from_millis(180) {
            assert!(time >= Duration::from_millis(100), "{time:?}");
        }
        // Not for ever.
        let (status, time) = run(INSTRUMENTED, "4").join().unwrap();
        assert_eq!(status.code(), Some(4));
        assert!(time >= Duration::from_millis(200), "{time:?}");
        assert!(time < Duration::from_secs(2), "{time:?}");
    });
}

#[test]
fn without_an_answer_a_program_runs_after_20_ms() {
    in_own_root(|| {
        let mut rig = Rig::new();
        warm_up(&mut rig);
        let process = run(INSTRUMENTED, "0");
        let held = rig.messages(Duration::from_secs(5));
        assert_eq!(held.len(), 1);
        let (status, time) = process.join().unwrap();
        assert!(status.success());
        assert!(time >= Duration::from_millis(20), "{time:?}");
        assert!(time < Duration::from_secs(2), "{time:?}");
        // The word about it, and nothing else.
        assert_eq!(rig.messages(Duration::from_secs(5)), []);
        assert_eq!(rig.hold().counts().expired, 1);
        // Too late, and for nothing: no harm.
        rig.hold().answer(held[0].ticket);
        rig.hold().answer(held[0].ticket);
        let process = run(INSTRUMENTED, "3");
        rig.answer_until(|_| process.is_finished());
        assert_eq!(process.join().unwrap().0.code(), Some(3));
        assert_eq!(rig.hold().counts().held, 4 - 1);
    });
}

#[test]
fn an_answer_lets_it_run_at_once() {
    const TIMES: usize = 20;
    in_own_root(|| {
        let mut rig = Rig::new();
        warm_up(&mut rig);
        let mut times: Vec<Duration> = (0..TIMES)
            .map(|_| {
                let process = run(INSTRUMENTED, "0");
                rig.answer_until(|_| process.is_finished());
                process.join().unwrap().1
            })
            .collect();
        times.sort();
        println!("median {:?}", times[TIMES / 2]);
        // The answer allowed it, not the time.
        let counts = rig.hold().counts();
        assert!(counts.expired < counts.held / 2, "{counts:?}");
    });
}

#[test]
fn a_script_is_told_when_its_interpreter_is_instrumented() {
    in_own_root(|| {
        let mut rig = Rig::new();
        let script = "/tmp/script";
        fs::write(script, format!("#!{INSTRUMENTED} 4\n")).unwrap();
        fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let process = run(script, "0");
        let told = rig.answer_until(|_| process.is_finished());
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].path, Path::new(INSTRUMENTED));
        assert_eq!(process.join().unwrap().0.code(), Some(4));
    });
}

#[test]
fn a_program_that_is_replaced_is_looked_at_again() {
    in_own_root(|| {
        let mut rig = Rig::new();
        let place = "/tmp/program";
        for (from, expected) in [(PLAIN, 0), (INSTRUMENTED, 1), (PLAIN, 0)] {
            // Into the same file.
            fs::copy(from, place).unwrap();
            for _ in 0..2 {
                let process = run(place, "0");
                let told = rig.answer_until(|_| process.is_finished());
                assert_eq!(told.len(), expected, "{from}");
            }
        }
    });
}

#[test]
fn an_exec_by_another_thread_names_thread_and_process() {
    in_own_root(|| {
        let mut rig = Rig::new();
        // The test runner runs a test in a thread that is not the first.
        let mut process = Command::new(SELF)
            .args(["--exact", "--ignored", "exec_instrumented"])
            .args(["--test-threads", "2"])
            .env(ROLE, "exec")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let told = rig.answer_until(|told| !told.is_empty());
        assert_eq!(process.wait().unwrap().code(), Some(6));
        assert_eq!(told[0].pid, process.id());
        assert_ne!(told[0].tid, process.id());
    });
}

#[test]
#[ignore = "runs in a process of its own"]
fn exec_instrumented() {
    if std::env::var_os(ROLE).is_some() {
        use std::os::unix::process::CommandExt;
        let exec = || panic!("{}", Command::new(INSTRUMENTED).arg("6").exec());
        thread::spawn(exec).join().unwrap();
    }
}

/// Makes a copy of an instrumented program that takes long to look at: no sections tell where to
/// look, and beside the program there are two gigabytes of nothing.
fn slow_to_look_at(place: &str) {
    use std::os::unix::fs::PermissionsExt;
    let mut bytes = fs::read(INSTRUMENTED).unwrap();
    let size = bytes.len().next_multiple_of(1 << 16) as u64;
    // e_shoff, e_shnum and e_shstrndx of a 64-bit ELF file.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    // The first program header only says where program headers are. It becomes PT_LOAD, readable,
    // of what is behind the program, mapped where nothing is.
    let header = &mut bytes[0x40..0x40 + 56];
    assert_eq!(header[..4], 6_u32.to_le_bytes(), "PT_PHDR comes first");
    header[..4].copy_from_slice(&1_u32.to_le_bytes());
    header[4..8].copy_from_slice(&4_u32.to_le_bytes());
    let (address, length, page) = (0x10_0000_0000_u64, 1_u64 << 31, 1_u64 << 16);
    let numbers = [size, address, address, length, length, page];
    for (field, number) in header[8..].chunks_mut(8).zip(numbers) {
        field.copy_from_slice(&number.to_le_bytes());
    }
    fs::write(place, &bytes).unwrap();
    let file = fs::File::options().write(true).open(place).unwrap();
    file.set_len(size + length).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o755))
        .unwrap();
}

#[test]
fn a_file_that_takes_long_to_look_at_stops_nobody() {
    in_own_root(|| {
        slow_to_look_at("/tmp/slow");
        let mut rig = Rig::new();
        warm_up(&mut rig);
        let mut slow = ends_with("/tmp/slow", "4")
            .arg("wait")
            .stdin(Stdio::piped())
            .spawn();
        let slow = slow.as_mut().unwrap();
        // It runs before it is known what it is; the others did not wait at all.
        assert!(!rig.messages_come());
        let (status, time) = run(PLAIN, "5").join().unwrap();
        assert_eq!(status.code(), Some(5));
        assert!(time < Duration::from_secs(1), "{time:?}");
        let told = rig.answer_until(|told| !told.is_empty());
        assert_eq!(told[0].pid, slow.id());
        assert!(!told[0].waits);
        drop(slow.stdin.take());
        assert_eq!(slow.wait().unwrap().code(), Some(4));
        // Now it is known.
        let process = run("/tmp/slow", "4");
        let told = rig.answer_until(|_| process.is_finished());
        assert!(told[0].waits);
    });
}

#[test]
fn a_file_that_took_too_long_to_look_at_is_not_lost_in_silence() {
    in_own_root(|| {
        slow_to_look_at("/tmp/slow");
        let mut rig = Rig::new();
        let (status, _) = run("/tmp/slow", "4").join().unwrap();
        assert_eq!(status.code(), Some(4));
        let end = Instant::now() + Duration::from_secs(20);
        while rig.hold().counts().lost == 0 {
            assert_eq!(rig.messages(Duration::from_millis(100)), []);
            assert!(Instant::now() < end);
        }
        assert_eq!(rig.hold().counts().lost, 1);
    });
}

#[test]
fn a_program_in_an_overlay_is_told() {
    in_own_root(|| {
        for place in ["/tmp/lower", "/tmp/upper", "/tmp/work"] {
            fs::create_dir(place).unwrap();
        }
        fs::copy(INSTRUMENTED, "/tmp/lower/program").unwrap();
        let options = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work";
        let overlay = mount(
            Some("overlay"),
            "/new",
            Some("overlay"),
            MsFlags::empty(),
            Some(options),
        );
        if let Err(why) = overlay {
            return skipped(format!("no overlay file system on tmpfs: {why}"));
        }
        let mut rig = Rig::with_mounts(2);
        let process = run("/new/program", "4");
        let told = rig.answer_until(|_| process.is_finished());
        assert_eq!(process.join().unwrap().0.code(), Some(4));
        let files: Vec<_> = told.iter().map(|held| (&held.path, held.device)).collect();
        println!("{files:?}");
        assert!(
            told.iter()
                .any(|held| held.path == Path::new("/new/program"))
        );
        assert!(told.iter().all(|held| held.pid == told[0].pid));
    });
}

#[test]
fn a_new_mount_is_followed() {
    in_own_root(|| {
        let mut rig = Rig::new();
        let start = Instant::now();
        mount(
            None::<&str>,
            "/new",
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        fs::copy(INSTRUMENTED, "/new/program").unwrap();
        let mut runs = 0;
        let told = loop {
            runs += 1;
            let process = run("/new/program", "0");
            let told = rig.answer_until(|_| process.is_finished());
            if !told.is_empty() {
                break told;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "it is not seen");
        };
        println!("held in run {runs}, {:?} after the mount", start.elapsed());
        assert_eq!(told[0].path, Path::new("/new/program"));
    });
}

/// Has a container execute programs from new overlays, and answers the hold meanwhile. Returns how many
/// these were, and how many of them were held on their overlay; `None` where there are no overlays.
fn run_in(
    container: &mut Container,
    rig: &mut Rig,
    runtime: &str,
    count: usize,
) -> Option<(usize, usize)> {
    container.tell(&format!("go {runtime} {count}"));
    let mut answer = None;
    let held = rig.answer_until(|_| {
        answer = container.answer();
        answer.is_some()
    });
    let answer = answer.unwrap();
    let Some(programs) = container::ran(&answer) else {
        skipped(answer);
        return None;
    };
    let was_held = |(pid, device): &&(u32, u64)| {
        let same = |h: &&Held| h.pid == *pid && h.device == *device;
        held.iter().any(|h| same(&h) && h.waits)
    };
    Some((programs.len(), programs.iter().filter(was_held).count()))
}

#[test]
fn a_container_s_program_is_held_on_a_file_system_that_was_just_mounted() {
    const MANY: usize = 200;
    in_own_root(|| {
        let mut rig = Rig::new();
        let mut container = Container::start();
        // In another namespace and not followed: nothing of it is seen.
        let Some(unseen) = run_in(&mut container, &mut rig, RUNTIME, 5) else {
            return container.end();
        };
        assert_eq!(unseen, (5, 0));
        rig.hold().follow(container.pid()).unwrap();
        let seen = run_in(&mut container, &mut rig, RUNTIME, MANY);
        let without = run_in(&mut container, &mut rig, "-", MANY);
        println!("held {seen:?}; without a runtime that waits for the marks {without:?}");
        assert_eq!(seen, Some((MANY, MANY)));
        assert_eq!(rig.hold().counts().lost, 0);
        assert_eq!(rig.hold().unmarked(), []);
        container.end();
    });
}

#[test]
fn thousands_of_mounts_keep_no_container_waiting() {
    in_own_root(|| {
        let mut rig = Rig::new();
        let mut container = Container::start();
        rig.hold().follow(container.pid()).unwrap();
        let mut time = |container: &mut Container| {
            let start = Instant::now();
            let ran = run_in(container, &mut rig, RUNTIME, 20)?;
            assert_eq!(ran, (20, 20));
            Some(start.elapsed() / 20)
        };
        let Some(few) = time(&mut container) else {
            return container.end();
        };
        container.tell("many 2000");
        assert_eq!(container.awaited(), "done");
        let many = time(&mut container).unwrap();
        println!("a container takes {few:?}, with 2000 mounts {many:?}");
        // Nobody was let go before everything was marked.
        assert_eq!(rig.hold().counts().lost, 0);
        container.end();
    });
}

/// Stands for a file system that does not answer when the path to a mount leads over it: the thread that
/// marks is stopped.
#[test]
fn marks_that_take_too_long_delay_one_container() {
    in_own_root(|| {
        let mut rig = Rig::new();
        let mut container = Container::start();
        rig.hold().follow(container.pid()).unwrap();
        let Some(ran) = run_in(&mut container, &mut rig, RUNTIME, 1) else {
            return container.end();
        };
        assert_eq!(ran, (1, 1));
        let tasks = fs::read_dir(format!("/proc/{}/task", rig.holder())).unwrap();
        let marks = tasks.map(|task| task.unwrap()).find(|task| {
            let name = fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name == "marks\n")
        });
        let marks = marks.unwrap().file_name().to_string_lossy().parse();
        let marks = nix::unistd::Pid::from_raw(marks.unwrap());
        ptrace::seize(marks, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(marks).unwrap();
        waitpid(marks, Some(WaitPidFlag::__WALL)).unwrap();
        let start = Instant::now();
        let ran = run_in(&mut container, &mut rig, RUNTIME, 3);
        let time = start.elapsed();
        ptrace::detach(marks, None).unwrap();
        assert_eq!(ran, Some((3, 0)));
        // One waited for them, the next two knew better.
        assert!(time >= Duration::from_millis(500), "{time:?}");
        assert!(time < Duration::from_secs(5), "{time:?}");
        let end = Instant::now() + Duration::from_secs(5);
        while rig.hold().counts().lost < 3 {
            rig.messages(Duration::from_millis(100));
            assert!(Instant::now() < end, "{:?}", rig.hold().counts());
        }
        // It catches up.
        while run_in(&mut container, &mut rig, RUNTIME, 1) != Some((1, 1)) {
            assert!(Instant::now() < end, "nothing is marked any more");
        }
        let before = rig.hold().counts().lost;
        assert_eq!(run_in(&mut container, &mut rig, RUNTIME, 5), Some((5, 5)));
        assert_eq!(rig.hold().counts().lost, before);
        container.end();
    });
}

#[test]
fn a_namespace_is_let_go_when_its_process_ends() {
    in_own_root(|| {
        let mut rig = Rig::new();
        let container = Container::start();
        let pid = container.pid();
        rig.hold().follow(pid).unwrap();
        let holder = rig.holder();
        let lists = || {
            let fds = fs::read_dir(format!("/proc/{holder}/fd")).unwrap();
            let links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
            links.filter(|link| link.ends_with("mountinfo")).count()
        };
        let awaited = |number: usize| {
            let end = Instant::now() + Duration::from_secs(10);
            while lists() != number {
                assert!(Instant::now() < end, "{} lists of mounts", lists());
                thread::yield_now();
            }
        };
        awaited(2);
        container.end();
        awaited(1);
        // Of one that is gone there is nothing to follow.
        let error = rig.hold().follow(pid).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert_eq!(rig.messages(Duration::from_millis(10)), []);
        assert_eq!(rig.hold().unmarked(), []);
    });
}

#[test]
fn a_mount_that_may_not_execute_is_left_alone() {
    in_own_root(|| {
        mount(
            None::<&str>,
            "/new",
            Some("tmpfs"),
            MsFlags::MS_NOEXEC,
            None::<&str>,
        )
        .unwrap();
        let rig = Rig::new();
        assert_eq!(rig.hold.as_ref().unwrap().marked(), 1);
    });
}

#[test]
fn a_session_that_does_not_read_loses_nothing_in_silence() {
    const THREADS: usize = 16;
    const EACH: usize = 40;
    in_own_root(|| {
        let mut rig = Rig::new();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..EACH {
                        assert!(ends_with(INSTRUMENTED, "0").status().unwrap().success());
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let all = (THREADS * EACH) as u64;
        let end = Instant::now() + Duration::from_secs(5);
        while rig.hold().counts().held + rig.hold().counts().lost < all {
            rig.messages(Duration::from_millis(100));
            assert!(Instant::now() < end, "{:?}", rig.hold().counts());
        }
        let counts = rig.hold().counts();
        println!("{counts:?}");
        assert_eq!(counts.held + counts.lost, all);
        assert!(counts.lost > 0, "{counts:?}");
    });
}

#[test]
fn a_stopped_holder_is_ended_within_two_seconds() {
    in_own_root(|| {
        let mut rig = Rig::new();
        warm_up(&mut rig);
        let stopped = Instant::now();
        signal(rig.holder(), Signal::STOP);
        let process = run(PLAIN, "5");
        assert_eq!(rig.ended(), Ended::Hung);
        let (status, _) = process.join().unwrap();
        let time = stopped.elapsed();
        println!("freed after {time:?}");
        assert_eq!(status.code(), Some(5));
        assert!(time > Duration::from_secs(1), "{time:?}");
        assert!(time < Duration::from_secs(4), "{time:?}");
        assert!(gone(rig.holder()) && gone(rig.guardian()));
        // Nothing is held any more.
        let (status, _) = run(INSTRUMENTED, "5").join().unwrap();
        assert_eq!(status.code(), Some(5));
    });
}

#[test]
fn a_killed_holder_frees_what_it_held() {
    in_own_root(|| {
        let mut rig = Rig::new();
        warm_up(&mut rig);
        // With something in its hands.
        signal(rig.holder(), Signal::STOP);
        let process = run(PLAIN, "5");
        assert!(!rig.messages_come());
        let killed = Instant::now();
        signal(rig.holder(), Signal::KILL);
        assert_eq!(process.join().unwrap().0.code(), Some(5));
        assert!(killed.elapsed() < Duration::from_secs(1));
        assert_eq!(rig.ended(), Ended::Holder(Some(Status::Signal(9))));
        assert!(gone(rig.guardian()));
    });
}

#[test]
fn a_killed_guardian_takes_the_holder_with_it() {
    in_own_root(|| {
        let mut rig = Rig::new();
        warm_up(&mut rig);
        // Even one that cannot do anything by itself.
        signal(rig.holder(), Signal::STOP);
        let process = run(PLAIN, "5");
        assert!(!rig.messages_come());
        let killed = Instant::now();
        signal(rig.guardian(), Signal::KILL);
        assert_eq!(process.join().unwrap().0.code(), Some(5));
        assert!(killed.elapsed() < Duration::from_secs(1));
        assert!(gone(rig.holder()));
        assert_eq!(rig.ended(), Ended::Guardian);
    });
}

#[test]
fn a_guardian_that_was_stopped_does_not_take_the_time_for_silence() {
    in_own_root(|| {
        let mut rig = Rig::new();
        signal(rig.guardian(), Signal::STOP);
        // Longer than its patience.
        assert!(rig.messages(Duration::from_millis(2500)).is_empty());
        signal(rig.guardian(), Signal::CONT);
        let process = run(INSTRUMENTED, "0");
        let told = rig.answer_until(|_| process.is_finished());
        assert_eq!(told.len(), 1);
        assert_eq!(rig.hold().ended(), None);
    });
}

#[test]
fn without_the_session_nothing_is_left() {
    in_own_root(|| {
        let rig = Rig::new();
        let [guardian, holder] = rig.processes;
        // Both in a session of the terminal that is not ours.
        for pid in [guardian, holder] {
            assert_eq!(session_of(pid), guardian);
        }
        drop(rig);
        assert!(gone(guardian) && gone(holder));

        let (mut session, processes) = session(SELF);
        // Stopped, it delays instrumented programs by 20 ms, and others not at all.
        signal(session.id(), Signal::STOP);
        let mut times = [
            INSTRUMENTED,
            PLAIN,
            INSTRUMENTED,
            INSTRUMENTED,
            INSTRUMENTED,
        ]
        .map(|program| {
            let (status, time) = run(program, "0").join().unwrap();
            assert!(status.success());
            time
        });
        times.sort();
        assert!(times[1] < Duration::from_millis(200), "{times:?}");
        assert!(times[4] < Duration::from_secs(2), "{times:?}");
        session.kill().unwrap();
        session.wait().unwrap();
        for pid in processes.unwrap() {
            assert!(gone(pid));
        }
    });
}

fn session_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    fields
        .split_ascii_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap()
}

/// A session in a process of its own: with guardian and holder, or what it says instead.
fn session(program: impl Into<PathBuf>) -> (Child, Result<[u32; 2], String>) {
    tell_hold(role(program, "session"))
}

fn tell_hold(mut command: Command) -> (Child, Result<[u32; 2], String>) {
    let mut session = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(session.stdout.take().unwrap()).lines();
    let words = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.strip_prefix("hold: ")?.to_owned()))
        .unwrap();
    let numbers: Vec<u32> = words.split(' ').filter_map(|w| w.parse().ok()).collect();
    (session, numbers.try_into().map_err(|_| words))
}

#[test]
fn without_rights_the_reason_is_said() {
    let own = role(std::env::current_exe().unwrap(), "session");
    // Root of a user namespace of its own has CAP_SYS_ADMIN, of no use here.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]);
    command.arg(own.get_program()).args(own.get_args());
    command.env(ROLE, "session");
    if !matches!(
        Command::new("unshare").args(["--user", "true"]).status(),
        Ok(status) if status.success()
    ) {
        return skipped("no unshare or no user namespaces");
    }
    let (mut session, said) = tell_hold(command);
    session.kill().unwrap();
    session.wait().unwrap();
    assert_eq!(
        said.unwrap_err(),
        "holding programs needs CAP_SYS_ADMIN in the machine's own user namespace"
    );
}

#[test]
fn a_guardian_that_ends_at_once_is_an_error() {
    let error = hold::start(Command::new("true")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the hold did not start: the guardian is gone"
    );
    let error = hold::start(Command::new("/no/such/program")).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot start the guardian"),
        "{error}"
    );
}
