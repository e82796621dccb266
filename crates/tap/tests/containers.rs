//! The watcher and containers: processes of other control groups, in other namespaces, of other users,
//! beside the tree that is watched.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its processes tell each other things"
)]

mod common;

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use covtap_tap::cgroup::ContainerId;
use covtap_tap::keep::Folder;
use covtap_tap::life::{End, Last, Life, Tap};
use covtap_tap::watch::{Means, Options, Scope, Watcher, hold};
use rustix::event::{PollFd, PollFlags, poll};

use common::container::{self, Container};
use common::own_root::{INSTRUMENTED, Pair, ROLE, RUNTIME, SELF, ends_with, in_own_root, role};
use common::{Drill, Programs, command, coverage, folder, say, scratch};

/// The version whose programs are used: what is tested here does not depend on it.
const VERSION: &str = "1.27.3";
/// How a pod is called.
const POD: &str = "8f2b1c6e-0d4a-4c53-9a57-1e2f3a4b5c6d";

/// A container id of one digit.
fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

#[test]
#[ignore = "guardian, holder, watcher or container of the other tests"]
fn child() {
    let own = std::env::current_exe().unwrap();
    let role_of_this = std::env::var(ROLE).unwrap_or_default();
    let words: Vec<&str> = role_of_this.split(' ').collect();
    match words[..] {
        ["guardian"] => hold::guard(role(own, "holder")).unwrap(),
        ["holder"] => hold::serve().unwrap(),
        ["watcher", scope, means, states] => watch(Options {
            scope: match scope {
                "tree" => Scope::Tree,
                _ => Scope::Containers,
            },
            means: match means {
                "hold" => Means::Hold,
                _ => Means::Auto,
            },
            holder: (means == "hold").then(|| role(own, "guardian")),
            states: Some(Arc::new(Folder(states.into()))),
            every: Duration::from_millis(200),
            exit: true,
            keep_arguments: false,
        }),
        ["container"] => container::container(),
        _ => return,
    }
    // Without the words of the test runner.
    std::process::exit(0);
}

/// Watches until it is told to finish.
fn watch(options: Options) {
    let mut watcher = match Watcher::start(options) {
        Ok(watcher) => watcher,
        Err(why) => return println!("\nsays: {why}"),
    };
    println!("\nsays: ready");
    let mut input = io::BufReader::new(io::stdin());
    loop {
        let told = {
            let mut descriptors = watcher.descriptors();
            let stdin = io::stdin();
            descriptors.push(stdin.as_fd());
            let mut ready: Vec<_> = descriptors
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
                .collect();
            let time = watcher.interval().try_into().unwrap();
            poll(&mut ready, Some(&time)).unwrap();
            !ready.last().unwrap().revents().is_empty()
        };
        watcher.look();
        if !told {
            continue;
        }
        let mut line = String::new();
        input.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["add", id] => {
                watcher.add_container(ContainerId::new(id).unwrap());
                String::new()
            }
            ["remove", id] => {
                watcher.remove_container(&ContainerId::new(id).unwrap());
                String::new()
            }
            ["follow", pid] => {
                watcher.follow_mounts(pid.parse().unwrap());
                String::new()
            }
            ["spawn", program] => {
                let mut command = Command::new(program);
                command.stdin(Stdio::null()).stdout(Stdio::null());
                watcher.spawn(command).unwrap().to_string()
            }
            ["terminate"] => {
                watcher.terminate();
                String::new()
            }
            ["running"] => {
                watcher.settle().unwrap();
                let pids = watcher.running().into_iter().map(|l| l.pid.to_string());
                pids.collect::<Vec<_>>().join(" ")
            }
            ["knows", pid] => {
                watcher.settle().unwrap();
                let pid: u32 = pid.parse().unwrap();
                let states = watcher.states().unwrap();
                states.views().iter().any(|v| v.key.pid == pid).to_string()
            }
            _ => break,
        };
        println!("says: {answer}");
    }
    for note in watcher.notes() {
        println!("says: note {note}");
    }
    for life in watcher.finish() {
        println!("says: {}", describe(&life));
    }
}

/// A life in one line.
fn describe(life: &Life) -> String {
    let place = life.cgroup.clone().unwrap_or_default();
    let pod = place.pod.map_or("-".into(), |p| p.to_string());
    let container = place.container.map_or("-".into(), |c| c.to_string());
    let added = life.added.as_ref().map_or("-", ContainerId::as_str);
    let tap = match &life.tap {
        Tap::State(state) => match &state.last {
            Last::Exit => format!("exit {}", state.file.display()),
            other => format!("state {other:?}"),
        },
        other => format!("{other:?}"),
    };
    let end = match life.end {
        End::Gone {
            status: Some(status),
            ..
        } => status.to_string(),
        other => format!("{other:?}"),
    };
    format!(
        "life {} {} {pod} {container} {added} [{end}] {tap}",
        life.pid,
        life.name()
    )
}

/// A watcher in a process of its own.
struct Watching {
    process: std::process::Child,
    said: io::Lines<io::BufReader<std::process::ChildStdout>>,
}

impl Watching {
    fn start(program: impl Into<PathBuf>, scope: &str, means: &str, states: &Path) -> Self {
        let what = format!("watcher {scope} {means} {}", states.display());
        Self::of(role(program, &what))
    }

    fn of(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = common::start(&mut command);
        let said = io::BufReader::new(process.stdout.take().unwrap()).lines();
        let mut watching = Self { process, said };
        assert_eq!(watching.line().unwrap(), "ready");
        watching
    }

    fn line(&mut self) -> Option<String> {
        let mut lines = self.said.by_ref().map_while(Result::ok);
        lines.find_map(|line| Some(line.strip_prefix("says: ")?.to_owned()))
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.process.stdin.as_ref().unwrap(), "{line}").unwrap();
        self.line().unwrap()
    }

    /// Waits until it has read the counters of a process.
    fn await_known(&mut self, pid: u32) {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while self.ask(&format!("knows {pid}")) != "true" {
            assert!(std::time::Instant::now() < end, "{pid} is not found");
            std::thread::yield_now();
        }
    }

    /// Ends it; returns what it saw: a line for each life, and notes.
    fn finish(mut self) -> Vec<String> {
        drop(self.process.stdin.take());
        let mut seen = Vec::new();
        while let Some(line) = self.line() {
            seen.push(line);
        }
        assert!(self.process.wait().unwrap().success());
        seen
    }
}

/// A control group of the test's own, with some below; they are gone when it is dropped.
struct Group {
    top: PathBuf,
    path: PathBuf,
}

impl Group {
    /// Makes `below` in a group of its own; `None`, said aloud, where none can be made.
    fn new(below: &str) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("covtap-test-{}-{number}", std::process::id());
        // Version 2, or a hierarchy of version 1.
        for hierarchy in ["", "pids", "freezer", "systemd", "unified"] {
            let root = Path::new("/sys/fs/cgroup").join(hierarchy);
            let top = root.join(&name);
            if root.join("cgroup.procs").exists() && fs::create_dir(&top).is_ok() {
                let path = top.join(below);
                fs::create_dir_all(&path).unwrap();
                return Some(Self { top, path });
            }
        }
        say("SKIPPED: processes in containers: no control group can be made here");
        None
    }

    /// Where the numbers of processes are written that are to be in it.
    fn processes(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// A command that starts a program in it. `wrapped` are the words before the program.
    fn command(&self, wrapped: &[&str], program: &Path, scratch: &Path) -> Command {
        let mut shell = command(Path::new("/bin/sh"), scratch);
        shell
            .arg("-c")
            .arg(format!(
                "echo $$ > {} && exec \"$@\"",
                self.processes().display()
            ))
            .arg("sh")
            .args(wrapped)
            .arg(program);
        shell
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in self.path.ancestors() {
            // What is in it has ended; it may take the kernel a moment to say so. What stays is empty.
            if !path.starts_with(&self.top) || fs::remove_dir(path).is_err() {
                break;
            }
        }
    }
}

/// The line of a life.
fn life_of(seen: &[String], pid: u32) -> &str {
    let start = format!("life {pid} ");
    let mut lines = seen.iter().filter(|line| line.starts_with(&start));
    lines
        .next_back()
        .unwrap_or_else(|| panic!("{pid}: {seen:#?}"))
}

/// The last state of a life is what it wrote of itself.
fn same_as_written(line: &str, written: &Path, scratch: &Path) {
    let file = line.split_once("] exit ").map(|(_, file)| Path::new(file));
    let file = file.unwrap_or_else(|| panic!("no last state: {line}"));
    // The file of this life alone.
    let alone = folder(scratch, "alone");
    for entry in fs::read_dir(file.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path == file || name.starts_with("covmeta.") {
            fs::copy(&path, alone.join(name)).unwrap();
        }
    }
    let (ours, theirs) = (coverage::counters(&alone), coverage::counters(written));
    assert!(theirs.functions() > 3, "{line}");
    assert!(ours.values() == theirs.values(), "{line}");
}

/// A shell script that puts a program, which is its arguments, into namespaces of its own, takes its
/// rights away, makes its root read-only but for one folder, and makes it a user that the machine
/// does not know.
fn confining(writable: &Path) -> String {
    format!(
        "mount --bind {0} {0} && mount -o remount,bind,ro / && exec setpriv --reuid 1001 --regid 1001 \
         --clear-groups --bounding-set -all --inh-caps -all --no-new-privs \"$@\"",
        writable.display()
    )
}

/// The only child of a process.
fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// A folder that every user may reach and write to.
fn open_to_all() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    place
}

#[test]
fn what_runs_in_a_container_is_captured_and_left_alone() {
    let Some(programs) = Programs::of(VERSION) else {
        return;
    };
    let (node, inner) = (id('a'), id('b'));
    let below = format!("docker/{node}/kubelet/kubepods/burstable/pod{POD}/{inner}");
    let Some(group) = Group::new(&below) else {
        return;
    };
    let scratch = scratch();
    let scratch = scratch.path();
    let drill = programs.path("static-atomic/drill");
    // It runs already.
    let mut early = Drill::start(group.command(&[], &drill, scratch));
    // Neither in the container nor in the tree.
    let other = Drill::start(command(&drill, scratch));

    let states = folder(scratch, "states");
    let own = std::env::current_exe().unwrap();
    let mut watching = Watching::start(own, "tree", "auto", &states);
    watching.ask(&format!("add {node}"));
    watching.await_known(early.pid());
    let service = programs.path("static-atomic/service");
    let ours = watching.ask(&format!("spawn {}", service.display()));
    watching.await_known(ours.parse().unwrap());

    // As a pod's process: other namespaces, another user, no rights, a root that is read-only.
    let open = open_to_all();
    let copy = open.path().join("drill");
    fs::copy(&drill, &copy).unwrap();
    let script = confining(open.path());
    let words = [
        "unshare",
        "--mount",
        "--pid",
        "--net",
        "--ipc",
        "--uts",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    let mut confined = Drill::start_only(group.command(&words, &copy, scratch));
    assert_eq!(confined.talk.ready(), 1, "in a pid namespace of its own");
    let confined_pid = child_of(confined.pid());
    watching.await_known(confined_pid);

    // Only the tree's is waited for and asked to end.
    assert_eq!(watching.ask("running"), ours);
    watching.ask("terminate");
    while !watching.ask("running").is_empty() {
        std::thread::yield_now();
    }
    let written = [(); 2].map(|()| folder(open.path(), "written"));
    for folder in &written {
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(folder, all).unwrap();
    }
    for drill in [&mut early, &mut confined] {
        drill.ask("work 0 1 2 3 7 8 9");
    }
    let early_pid = early.pid();
    early.die(&format!("dump-then {} sigkill", written[0].display()));
    let status = confined.die(&format!("dump-then {} exit 3", written[1].display()));
    assert_eq!(status.code(), Some(3));
    watching.ask(&format!("remove {node}"));
    let seen = watching.finish();

    let place = format!("{POD} {inner} {node}");
    let line = life_of(&seen, early_pid);
    assert!(
        line.contains(&format!("drill {place} [signal 9]")),
        "{line}"
    );
    same_as_written(line, &written[0], scratch);
    let line = life_of(&seen, confined_pid);
    assert!(line.contains(&format!("drill {place} [exit 3]")), "{line}");
    same_as_written(line, &written[1], scratch);
    let line = life_of(&seen, ours.parse().unwrap());
    assert!(line.contains("service - - - [signal 15] exit "), "{line}");
    let stranger = format!("life {} ", other.pid());
    assert!(
        !seen.iter().any(|line| line.starts_with(&stranger)),
        "{seen:#?}"
    );
    assert!(other.die("die exit 0").success());
}

/// An agent in a node watches what is in containers and nothing else. Here in a pid namespace of its own:
/// the machine's containers are none of this test's business.
#[test]
fn an_agent_watches_all_containers_and_nothing_else() {
    let Some(programs) = Programs::of(VERSION) else {
        return;
    };
    let Some(group) = Group::new(&format!("kubepods/pod{POD}/{}", id('c'))) else {
        return;
    };
    let scratch = scratch();
    let scratch = scratch.path();
    let service = programs.path("static-atomic/service");
    let script = scratch.join("contained");
    let text = format!(
        "#!/bin/sh\necho $$ > {} && exec {}\n",
        group.processes().display(),
        service.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let own = std::env::current_exe().unwrap();
    let states = folder(scratch, "states");
    let what = format!("watcher containers auto {}", states.display());
    let inside = role(own, &what);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(inside.get_program()).args(inside.get_args());
    command.env(ROLE, what);
    let mut watching = Watching::of(command);
    let outside = watching.ask(&format!("spawn {}", service.display()));
    let contained = watching.ask(&format!("spawn {}", script.display()));
    watching.await_known(contained.parse().unwrap());
    assert_eq!(watching.ask("running"), contained);
    watching.ask("terminate");
    while !watching.ask("running").is_empty() {
        std::thread::yield_now();
    }
    let seen = watching.finish();
    let line = life_of(&seen, contained.parse().unwrap());
    let place = format!("service {POD} {} - [signal 15] exit ", id('c'));
    assert!(line.contains(&place), "{line}");
    let outside = format!("life {outside} ");
    assert!(
        !seen.iter().any(|line| line.starts_with(&outside)),
        "{seen:#?}"
    );
}

#[test]
fn every_short_life_on_a_file_system_that_was_just_mounted_is_captured() {
    const MANY: usize = 200;
    let Some(programs) = Programs::of(VERSION) else {
        return;
    };
    let container_id = id('d');
    let Some(group) = Group::new(&format!("system.slice/docker-{container_id}.scope")) else {
        return;
    };
    let pair = Pair {
        instrumented: programs.path("static-atomic/short"),
        plain: programs.path("uninstrumented/short"),
    };
    let mut processes = File::options().write(true).open(group.processes()).unwrap();
    in_own_root(
        move || Ok(pair),
        move || {
            let mut watching = Watching::start(SELF, "tree", "hold", Path::new("/states"));
            let mut container = Container::start();
            write!(processes, "{}", container.pid()).unwrap();
            watching.ask(&format!("add {container_id}"));
            watching.ask(&format!("follow {}", container.pid()));
            container.tell(&format!("go {RUNTIME} {MANY}"));
            let answer = container.awaited();
            let Some(ran) = container::ran(&answer) else {
                say(&format!("SKIPPED: short lives in containers: {answer}"));
                return;
            };
            // One that is in no container, nor in the tree.
            assert!(ends_with(INSTRUMENTED, "0").status().unwrap().success());
            container.end();
            let seen = watching.finish();
            assert_eq!(ran.len(), MANY);
            let expected =
                format!("program - {container_id} {container_id} [exit 0] exit /states/");
            let captured = ran
                .iter()
                .filter(|(pid, _)| life_of(&seen, *pid).contains(&expected));
            let captured = captured.count();
            say(&format!("{captured} of {MANY} short lives captured"));
            let notes: Vec<_> = seen
                .iter()
                .filter(|line| line.starts_with("note"))
                .collect();
            assert_eq!(captured, MANY, "{notes:?}");
            let instrumented = |line: &&String| line.contains("] exit ") || line.contains("Failed");
            assert_eq!(seen.iter().filter(instrumented).count(), MANY, "{notes:?}");
        },
    );
}
