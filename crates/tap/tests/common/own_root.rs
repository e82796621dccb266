//! A root of a test's own: a mount namespace with nothing but a small file system in memory, so that
//! an exec hold marks that one and nothing of the machine.

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::chroot;

/// What a process of this test binary is to be.
pub(crate) const ROLE: &str = "COVTAP_TEST_ROLE";

/// Places in the roots of the tests.
pub(crate) const SELF: &str = "/test";
pub(crate) const INSTRUMENTED: &str = "/instrumented";
pub(crate) const PLAIN: &str = "/plain";
/// A container runtime, by its name.
pub(crate) const RUNTIME: &str = "/bin/runc";

/// This test binary again, in one of the roles of its test `child`.
pub(crate) fn role(program: impl Into<PathBuf>, role: &str) -> Command {
    let mut command = Command::new(program.into());
    command.args(["--exact", "--ignored", "--nocapture", "child"]);
    command.env(ROLE, role);
    command
}

/// A program, which is to end with this code.
pub(crate) fn ends_with(program: &str, code: &str) -> Command {
    let mut command = Command::new(program);
    // It has nowhere to write its counters to, and says so.
    command.arg(code).stderr(Stdio::null());
    command
}

/// Says it past the test runner, which hides what a passing test prints.
pub(crate) fn skipped(why: impl Display) {
    let line = format!("SKIPPED: holding programs: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// An instrumented program and one that is not. Both are static and end with the code that is their
/// first argument.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) instrumented: PathBuf,
    pub(crate) plain: PathBuf,
}

/// Runs a test in a root of its own, in a thread of its own: with this thread, the namespace ends. One
/// test at a time: a process that one starts must not have, for a moment, the program open for writing
/// that another one copies.
pub(crate) fn in_own_root(
    programs: impl FnOnce() -> Result<Pair, String> + Send + 'static,
    test: impl FnOnce() + Send + 'static,
) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = tempfile::tempdir().unwrap();
    let root = place.path().to_path_buf();
    let thread = thread::spawn(move || {
        match unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS) {
            Ok(()) => {}
            Err(nix::Error::EPERM) => return skipped("no CAP_SYS_ADMIN"),
            Err(why) => panic!("no mount namespace: {why}"),
        }
        match programs() {
            Ok(programs) => {
                enter(&root, &programs).unwrap();
                test();
            }
            Err(why) => skipped(why),
        }
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Makes the root and goes there.
fn enter(root: &Path, programs: &Pair) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    let own = std::env::current_exe().unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
    mount(NONE, root, Some("tmpfs"), MsFlags::empty(), NONE)?;
    let copy = |from: &Path, to: &str| {
        let to = root.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    copy(&own, SELF);
    copy(&programs.instrumented, INSTRUMENTED);
    copy(&programs.plain, PLAIN);
    copy(&programs.plain, RUNTIME);
    for library in libraries(&own) {
        copy(Path::new(&library), &library);
    }
    for directory in ["proc", "dev", "tmp", "new"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let all = Mode::from_bits_truncate(0o666);
    mknod(&root.join("dev/null"), SFlag::S_IFCHR, all, makedev(1, 3))?;
    mount(
        NONE,
        &root.join("proc"),
        Some("proc"),
        MsFlags::empty(),
        NONE,
    )?;
    chroot(root)?;
    nix::unistd::chdir("/")?;
    // Before anything is marked: only what was made here can be seen.
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let points: Vec<&str> = mounts.lines().filter_map(|l| l.split(' ').nth(4)).collect();
    assert_eq!(points, ["/", "/proc"]);
    Ok(())
}

/// The libraries of a program, the loader included.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_ascii_whitespace();
    words
        .filter(|w| w.starts_with('/'))
        .map(Into::into)
        .collect()
}
