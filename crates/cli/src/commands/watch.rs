//! `covtap watch`: the coverage of running processes, while it grows.
//!
//! ```text
//!  Watcher ──► view::View ──► screen: a terminal        (redrawn)
//!                        └──► lines: anything else      (one line where something changed)
//! ```
//! Nothing is kept: the files that the watcher writes go with it.

mod keyboard;
mod lines;
mod screen;
mod view;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use covtap_model::exit::Exit;
use covtap_tap::keep::Folder;
use covtap_tap::watch::{self, Means, Scope, Watcher};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::keyboard::Key;
use self::view::Looks;
use crate::args::{Watch, Watching};
use crate::failure::Failure;
use crate::interrupt;
use crate::output;

/// The time between two snapshots of a process, when nobody says another.
const EVERY: Duration = Duration::from_secs(1);
/// More often than this nothing is read.
const FASTEST: Duration = Duration::from_millis(1);
/// The shortest and the longest time between two pictures.
const PICTURES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

pub(crate) fn run(args: &Watch) -> Result<ExitCode, Failure> {
    let on_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    let stop = interrupt::stream()?;
    let folder = tempfile::Builder::new()
        .prefix("covtap-watch-")
        .tempdir()
        .map_err(|e| Failure::new(format!("cannot make a temporary folder: {e}")))?;
    let every = args.every.unwrap_or(EVERY).max(FASTEST);
    let watcher = start(args, every, folder.path().join("states"))?;
    let mut watching = Session {
        watcher,
        stop,
        looks: Looks::default(),
        every: every.clamp(PICTURES[0], PICTURES[1]),
        named: args.pids.iter().copied().collect(),
    };
    if on_terminal {
        watching.on_terminal()?;
    } else {
        watching.in_lines()?;
    }
    // Who looks at a view has seen what there was.
    let any = on_terminal || watching.looks.seen_any();
    // It ends the hold and the threads before the folder goes.
    drop(watching);
    drop(folder);
    Ok(ExitCode::from(
        if any { Exit::Success } else { Exit::Nothing }.code(),
    ))
}

fn start(args: &Watch, every: Duration, states: std::path::PathBuf) -> Result<Watcher, Failure> {
    for pid in &args.pids {
        if fs::metadata(format!("/proc/{pid}")).is_err() {
            return Err(Failure::new(format!("there is no process {pid}")));
        }
    }
    let scope = match &args.cgroup {
        Some(path) => Scope::Cgroup(path.clone()),
        None if args.pids.is_empty() => Scope::Machine,
        None => Scope::Processes(args.pids.iter().copied().collect()),
    };
    let held = args.watching == Some(Watching::Hold);
    let options = watch::Options {
        scope,
        means: match args.watching.unwrap_or(Watching::Auto) {
            Watching::Auto => Means::Auto,
            Watching::Hold => Means::Hold,
            Watching::Events => Means::Events,
            Watching::Poll => Means::Poll,
        },
        // The hold makes every exec of the machine ask: only for who wants that.
        holder: held.then(super::hold::guardian).flatten(),
        states: Some(Arc::new(Folder(states))),
        every,
        exit: held,
        keep_arguments: false,
    };
    Watcher::start(options).map_err(|e| Failure::new(format!("cannot watch processes: {e}")))
}

/// What goes on until somebody stops it.
struct Session {
    watcher: Watcher,
    stop: UnixStream,
    looks: Looks,
    /// The time between two pictures.
    every: Duration,
    /// The processes that were named: when all have ended, there is no more to say.
    named: BTreeSet<u32>,
}

impl Session {
    /// Draws until `q`, Ctrl-C or a signal.
    fn on_terminal(&mut self) -> Result<(), Failure> {
        let mut terminal = ratatui::try_init()?;
        // On every way out from here, a panic's included (that has a hook of its own).
        let _restored = Restored;
        self.looks.color = output::stdout_has_color();
        loop {
            let view = self.looks.view(&self.watcher);
            terminal.draw(|frame| screen::draw(frame, &view))?;
            let next = Instant::now() + self.every;
            loop {
                if self.wait(next, true)? {
                    return Ok(());
                }
                let keys = keyboard::pressed()?;
                if keys.contains(&Key::Quit) {
                    return Ok(());
                }
                for key in &keys {
                    self.looks.press(*key, &view);
                }
                if !keys.is_empty() || Instant::now() >= next {
                    break;
                }
            }
        }
    }

    /// Prints what changes until a signal comes, or all that was named has ended.
    fn in_lines(&mut self) -> Result<(), Failure> {
        let mut lines = lines::Lines::default();
        output::note(&format!("watching by {}", self.watcher.method()));
        for note in self.watcher.notes() {
            output::note(&note);
        }
        loop {
            let view = self.looks.view(&self.watcher);
            output::data(lines.changes(&view).as_bytes())?;
            for trouble in lines.troubles(&view) {
                output::warning(&trouble);
            }
            if !self.named.is_empty() && self.named_have_ended() {
                return Ok(());
            }
            let next = Instant::now() + self.every;
            while Instant::now() < next {
                if self.wait(next, false)? {
                    let view = self.looks.view(&self.watcher);
                    output::data(lines.changes(&view).as_bytes())?;
                    return Ok(());
                }
            }
        }
    }

    fn named_have_ended(&self) -> bool {
        let running: BTreeSet<u32> = self.watcher.running().iter().map(|l| l.pid).collect();
        // One that was never seen is looked for as long as its number is taken.
        let may_come =
            |pid: &u32| !self.looks.knows(*pid) && fs::metadata(format!("/proc/{pid}")).is_ok();
        let goes_on = |pid: &u32| running.contains(pid) || may_come(pid);
        !self.named.iter().any(goes_on)
    }

    /// Waits for something to happen, at most until `next`. Returns whether somebody said stop.
    fn wait(&mut self, next: Instant, keys: bool) -> io::Result<bool> {
        let left = next.saturating_duration_since(Instant::now());
        let left = left.min(self.watcher.interval());
        let stdin = io::stdin();
        let stopped = {
            let watched = self.watcher.descriptors();
            let keys = keys.then(|| stdin.as_fd());
            let all = [self.stop.as_fd()].into_iter().chain(keys).chain(watched);
            wait_for(all, left)?
        };
        self.watcher.look();
        Ok(stopped)
    }
}

/// Waits until one of them is readable. Returns whether the first is.
fn wait_for<'a>(all: impl Iterator<Item = BorrowedFd<'a>>, time: Duration) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = all
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&time)) {
        Ok(_) => Ok(fds[0].revents().contains(PollFlags::IN)),
        // The handler has written by now: the next call sees it.
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives the terminal back when it is dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
