//! What an engine does with a container, and nothing else of it: file systems in a mount namespace of
//! its own, and programs that are executed as soon as they are mounted.

#![allow(
    clippy::print_stdout,
    reason = "the processes of a test tell each other things"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::own_root::{INSTRUMENTED, SELF, ends_with, role};

/// What an engine does, in a mount namespace of its own: for each `go RUNTIME COUNT` on its standard
/// input it mounts a new overlay, executes the runtime on it, if there is one, and then at once an
/// instrumented program that lies on it; that so often. It answers with the process ids and the device
/// numbers of the programs. `many COUNT` mounts so many other file systems.
pub(crate) fn container() {
    const NONE: Option<&str> = None;
    let tmpfs = |place: &str| {
        fs::create_dir_all(place).unwrap();
        mount(NONE, place, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
    };
    tmpfs("/layers");
    fs::create_dir_all("/layers/lower").unwrap();
    fs::copy(INSTRUMENTED, "/layers/lower/program").unwrap();
    let root = "/new/root fs";
    fs::create_dir_all(root).unwrap();
    println!("\nsays: ready");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let count: usize = words.last().unwrap().parse().unwrap();
        if words[0] == "many" {
            for number in 0..count {
                tmpfs(&format!("/tmp/other {number}"));
            }
            println!("says: done");
            continue;
        }
        let mut told = Vec::new();
        for number in 0..count {
            let [upper, work] = ["upper", "work"].map(|n| format!("/layers/{n}{number}"));
            fs::create_dir_all(&upper).unwrap();
            fs::create_dir_all(&work).unwrap();
            let options = format!("lowerdir=/layers/lower,upperdir={upper},workdir={work}");
            let overlay = Some("overlay");
            if let Err(why) = mount(overlay, root, overlay, MsFlags::empty(), Some(&*options)) {
                println!("says: no overlay file system on tmpfs: {why}");
                return;
            }
            if words[1] != "-" {
                assert!(ends_with(words[1], "0").status().unwrap().success());
            }
            let program = format!("{root}/program");
            let mut child = ends_with(&program, "0").spawn().unwrap();
            let device = fs::metadata(&program).unwrap().dev();
            told.push(format!("{}:{device}", child.id()));
            assert!(child.wait().unwrap().success());
            unmounted(root);
        }
        println!("says: {}", told.join(" "));
    }
}

/// Takes a mount away. Whoever looks at a program that was executed there has it open for a moment, and so
/// engines try again as well: nothing tells when it is free.
fn unmounted(place: &str) {
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        match nix::mount::umount(place) {
            Err(Errno::EBUSY) => thread::sleep(Duration::from_millis(50)),
            done => return done.unwrap(),
        }
    }
    panic!("{place} stays busy");
}

/// A [`container`], and what it said.
pub(crate) struct Container {
    process: Child,
    said: Receiver<String>,
}

impl Container {
    /// Starts it and waits until it is ready.
    pub(crate) fn start() -> Self {
        // A process has the mount namespace of the thread that started it.
        let process = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
            let mut process = role(SELF, "container");
            process.stdin(Stdio::piped()).stdout(Stdio::piped());
            process.spawn().unwrap()
        });
        let mut process = process.join().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (says, said) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(words) = line.strip_prefix("says: ") {
                    says.send(words.to_owned()).unwrap();
                }
            }
        });
        let container = Self { process, said };
        assert_eq!(container.said.recv().unwrap(), "ready");
        container
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Says one line, without waiting.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_ref().unwrap(), "{line}").unwrap();
    }

    /// Its answer, when there is one.
    pub(crate) fn answer(&self) -> Option<String> {
        match self.said.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the container has ended"),
        }
    }

    /// Awaits its answer.
    pub(crate) fn awaited(&self) -> String {
        self.said.recv().unwrap()
    }

    /// Ends it.
    pub(crate) fn end(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

/// The programs of an answer to `go`: process ids and device numbers; `None` when it could not mount.
pub(crate) fn ran(answer: &str) -> Option<Vec<(u32, u64)>> {
    let numbers = |word: &str| {
        let (pid, device) = word.split_once(':')?;
        Some((pid.parse().ok()?, device.parse().ok()?))
    };
    answer.split(' ').map(numbers).collect()
}
