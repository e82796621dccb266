//! Every way in which a Go program dies: what the tap reads in its exit stop is what the program
//! wrote of itself just before.
//!
//! The drill writes its counters (`WriteCountersDir`) and then dies as it was told; nothing that
//! counts runs in between. Every other time the tap meets the process only in its exit stop, as it
//! does with short lives. The exit status is that of the same death without a tracer.
//!
//! `COVTAP_TEST_DEATHS` is how often each is repeated.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use covtap_tap::go::{Attached, Snapshot};
use covtap_tap::image::Images;
use covtap_tap::life::Status;
use covtap_tap::target::Target;
use covtap_tap::trace::{Event, Survival};
use nix::sys::signal::Signal;

use common::traced::Traced;
use common::{Programs, command, coverage, folder, say, scratch};

/// How often each death is repeated unless it is said otherwise.
const REPETITIONS: usize = 20;

/// Of so many deaths one may be missed, on a machine that is so busy that the tracer is off the
/// processor for long: a signal and the death came right after each other, see `trace`. Measured: one
/// in 54,000 (twice, both "goexit-exit"), with five times as much to do as there were processors.
const MISSES: usize = 5_000;

/// A way to die: what the drill is told, and the signal it gets from outside then.
type Way = (&'static str, Option<Signal>);

const WAYS: [Way; 18] = [
    ("return", None),
    ("exit 3", None),
    ("fatal", None),
    ("panic", None),
    ("gopanic", None),
    ("nil", None),
    ("deadlock", None),
    ("syscallexit 4", None),
    ("goexit", None),
    ("goexit-exit 5", None),
    ("sigquit", None),
    ("sigterm", None),
    ("sigint", None),
    ("sigabrt", None),
    ("sigkill", None),
    ("wait", Some(Signal::SIGKILL)),
    ("wait", Some(Signal::SIGTERM)),
    ("wait", Some(Signal::SIGQUIT)),
];

fn repetitions() -> usize {
    match std::env::var("COVTAP_TEST_DEATHS") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => REPETITIONS,
    }
}

fn attach(pid: u32, images: &Images) -> Attached {
    let target = Target::find(pid).unwrap();
    Attached::attach(target, images).unwrap_or_else(|e| panic!("{e}"))
}

/// Starts the drill, lets it work, and tells it to write its counters and die.
struct Dying {
    process: Traced,
    written: PathBuf,
    attached: Option<Attached>,
}

impl Dying {
    /// `traced`: the images, and whether the tap meets the process before its end.
    fn start(
        programs: &Programs,
        scratch: &Path,
        way: Way,
        traced: Option<(&Images, bool)>,
    ) -> Self {
        let drill = programs.path("static-atomic/drill");
        let mut process = Traced::drill(command(&drill, scratch));
        process.talk.ask("work 0 1 2 3 7 8 9 11 14 16 17");
        let mut attached = None;
        if let Some((images, early)) = traced {
            process.seize();
            if early {
                let mut early = attach(process.pid, images);
                early.snapshot().unwrap();
                attached = Some(early);
            }
        }
        process.talk.ask("work 4 5 18");
        let written = folder(scratch, "written");
        let (line, signal) = way;
        let line = format!("dump-then {} {line}", written.display());
        process.talk.ask(&line);
        if let Some(signal) = signal {
            process.signal(signal);
        }
        Self {
            process,
            written,
            attached,
        }
    }

    /// Reads the last state; the process has to be in its exit stop.
    fn last(&mut self, images: &Images) -> Snapshot {
        let pid = self.process.pid;
        let attached = self.attached.get_or_insert_with(|| attach(pid, images));
        attached.last_snapshot().unwrap()
    }

    /// Compares it with what the process wrote.
    fn compare(&self, last: &Snapshot) -> Result<(), String> {
        let attached = self.attached.as_ref().unwrap();
        if coverage::meta(&self.written).1 != attached.meta().bytes() {
            return Err("another covmeta".into());
        }
        if !last.dropped.is_empty() {
            return Err(format!("records dropped: {:?}", last.dropped));
        }
        let own = coverage::counters(&self.written);
        assert!(own.functions() > 5, "{} functions ran", own.functions());
        if own.values() == last.counters.values() && own.functions() == last.live_functions() {
            return Ok(());
        }
        Err(format!(
            "other counters: {} functions, {} in its own",
            last.live_functions(),
            own.functions()
        ))
    }
}

/// Dies once without a tracer, then again and again with one.
fn all(programs: &Programs) {
    let version = programs.version;
    let images = Images::default();
    let repetitions = repetitions();
    let (mut wrong, mut missed) = (Vec::new(), 0);
    for way in WAYS {
        let scratch = scratch();
        let scratch = scratch.path();
        let untraced = Dying::start(programs, scratch, way, None).process.reaped();
        for repetition in 0..repetitions {
            let early = repetition % 2 == 0;
            let mut dying = Dying::start(programs, scratch, way, Some((&images, early)));
            let mut about = |what: String| {
                wrong.push(format!("Go {version}, {way:?}, {repetition}: {what}"));
            };
            let (announced, stop) = match dying.process.exiting_or_gone() {
                Ok(stop) => stop,
                Err(gone) => {
                    missed += 1;
                    say(&format!(
                        "Go {version}, {way:?}, {repetition}: no exit stop"
                    ));
                    if gone != untraced {
                        about(format!("{gone}; untraced {untraced}"));
                    }
                    continue;
                }
            };
            let last = dying.last(&images);
            drop(stop);
            let gone = dying.process.gone();
            if announced != untraced || gone != untraced {
                about(format!("{announced}, then {gone}; untraced {untraced}"));
            }
            if let Err(what) = dying.compare(&last) {
                about(what);
            }
            fs::remove_dir_all(&dying.written).unwrap();
        }
    }
    let count = WAYS.len() * repetitions;
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(missed <= 1 + count / MISSES, "{missed} of {count} missed");
    say(&format!(
        "Go {version}: {} ways to die, {repetitions} times each: the last state was read, but for \
         {missed} of {count}",
        WAYS.len()
    ));
}

/// A thread that is not the leader replaces the program: the old program's state is read in the
/// leader's exit stop, the new program's in its own. Where the leader does it, the old memory is gone
/// before anybody can look.
fn exec(programs: &Programs) {
    let version = programs.version;
    let images = Images::default();
    let short = programs.path("static-atomic/short");
    for by in ["thread", "leader"] {
        let scratch = scratch();
        let scratch = scratch.path();
        let own = folder(scratch, "own");
        let mut command = command(&programs.path("static-atomic/drill"), scratch);
        command.env("GOCOVERDIR", &own);
        let mut process = Traced::drill(command);
        process.seize();
        process.talk.ask("work 1 2 3");
        let mut dying = Dying {
            attached: Some(attach(process.pid, &images)),
            process,
            written: folder(scratch, "written"),
        };
        let line = format!(
            "dump-then {} exec {by} {} 7",
            dying.written.display(),
            short.display()
        );
        if by == "thread" {
            dying.process.talk.ask(&line);
            let (_, stop) = dying.process.exiting();
            let last = dying.last(&images);
            drop(stop);
            dying.compare(&last).unwrap();
            match dying.process.event() {
                Event::Survived {
                    because: Survival::Exec,
                    ..
                } => {}
                other => panic!("Go {version}: {other:?} after the leader's exit stop"),
            }
        } else {
            let before = dying.last(&images);
            dying.process.talk.ask(&line);
            match dying.process.event() {
                Event::Exec {
                    stop, former_tid, ..
                } => {
                    assert_eq!(former_tid, dying.process.pid);
                    // The old program's memory is not mistaken for the new one's.
                    assert!(dying.attached.as_mut().unwrap().snapshot().is_err());
                    drop(stop);
                }
                other => panic!("Go {version}: {other:?} instead of an exec"),
            }
            dying.compare(&before).unwrap();
        }
        let (status, stop) = dying.process.exiting();
        let mut new = attach(dying.process.pid, &images);
        let last = new.last_snapshot().unwrap();
        drop(stop);
        assert_eq!(status, Status::Exit(7));
        assert_eq!(dying.process.gone(), status);
        // The drill has left its meta-data at its start.
        let of_new = folder(scratch, "of-new");
        for entry in fs::read_dir(&own).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.contains(&new.layout().hash) {
                fs::rename(entry.path(), of_new.join(name)).unwrap();
            }
        }
        assert_eq!(coverage::meta(&of_new).1, new.meta().bytes());
        let theirs = coverage::counters(&of_new);
        assert_eq!(theirs.values(), last.counters.values());
    }
}

/// Takes its memory until the kernel kills it.
fn out_of_memory(programs: &Programs) {
    let images = Images::default();
    let scratch = scratch();
    let scratch = scratch.path();
    for early in [true, false] {
        let group = match Group::new(64 << 20) {
            Ok(group) => group,
            Err(why) => {
                say(&format!(
                    "SKIPPED: a death by the memory limit: no memory cgroup: {why}"
                ));
                return;
            }
        };
        let drill = programs.path("static-atomic/drill");
        let mut process = Traced::drill(command(&drill, scratch));
        group.add(process.pid);
        process.talk.ask("work 0 1 2 3 7 8 9");
        process.seize();
        let written = folder(scratch, "written");
        let mut dying = Dying {
            attached: early.then(|| attach(process.pid, &images)),
            process,
            written,
        };
        let line = format!("dump-then {} oom", dying.written.display());
        dying.process.talk.ask(&line);
        let (status, stop) = dying.process.exiting();
        let last = dying.last(&images);
        drop(stop);
        assert_eq!(status, Status::Signal(9));
        assert_eq!(dying.process.gone(), status);
        dying.compare(&last).unwrap();
    }
}

/// A memory cgroup of its own, removed when it is dropped.
struct Group(PathBuf);

impl Group {
    /// One with a limit in bytes; version 1 or 2, whichever has the memory controller.
    fn new(limit: u64) -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/mounts").map_err(|e| e.to_string())?;
        let mut reasons = Vec::new();
        for line in mounts.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let (file, swap) = match words.get(1..4) {
                Some([_, "cgroup", options]) if options.split(',').any(|o| o == "memory") => {
                    ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
                }
                Some([_, "cgroup2", _]) => ("memory.max", "memory.swap.max"),
                _ => continue,
            };
            let number = GROUPS.fetch_add(1, Ordering::Relaxed);
            let name = format!("covtap-test-{}-{number}", std::process::id());
            let group = Self(Path::new(words[1]).join(name));
            let made = fs::create_dir(&group.0).and_then(|()| {
                fs::write(group.0.join(file), limit.to_string())?;
                // Where there is swap: none of it, or no more than memory.
                let swap = group.0.join(swap);
                if swap.exists() {
                    let most = if file == "memory.max" { 0 } else { limit };
                    fs::write(swap, most.to_string())?;
                }
                Ok(())
            });
            match made {
                Ok(()) => return Ok(group),
                Err(e) => reasons.push(format!("{}: {e}", group.0.display())),
            }
        }
        Err(if reasons.is_empty() {
            "none is mounted".into()
        } else {
            reasons.join(", ")
        })
    }

    fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

/// How many groups there were.
static GROUPS: AtomicUsize = AtomicUsize::new(0);

impl Drop for Group {
    fn drop(&mut self) {
        // Not there when it could not be made.
        let _ = fs::remove_dir(&self.0);
    }
}

macro_rules! versions {
    ($($name:ident $version:literal)*) => {
        $(#[test]
        fn $name() {
            if let Some(programs) = Programs::of($version) {
                exec(&programs);
                out_of_memory(&programs);
                all(&programs);
            }
        })*
    };
}

versions! {
    go_1_21 "1.21.13"
    go_1_22 "1.22.10"
    go_1_23 "1.23.9"
    go_1_24 "1.24.11"
    go_1_25 "1.25.5"
    go_1_26 "1.26.6"
    go_1_27 "1.27.3"
}
