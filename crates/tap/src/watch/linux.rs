//! The watcher for Linux: what it knows, and what it offers. Its work:
//!
//! | module | what |
//! |---|---|
//! | `finding` | new processes and new programs |
//! | `following` | lives that are traced and read |
//! | `ending` | how lives end |

mod ending;
mod finding;
mod following;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, pidfd_send_signal, set_child_subreaper};

use super::events::ProcessEvents;
use super::hold::{self, Hold, Unmarked};
use super::inspect::Inspector;
use super::reach::Reach;
use super::states::States;
use super::wake::Wake;
use super::{Means, Options, Scope};
use crate::cgroup::{ContainerId, Place};
use crate::clock::Moment;
use crate::image::FileKey;
use crate::life::{CoverageDirectory, End, Inspection, Life, Status};
use crate::proc;
use crate::trace::{self, Tracer};
use ending::open;

/// The time between two looks where nothing tells of new processes, unless looking is slow.
const INTERVAL: Duration = Duration::from_millis(10);
/// The longest time between two such looks.
const LONGEST: Duration = Duration::from_millis(50);
/// Looking takes at most one part in so many of the time, as long as [`LONGEST`] allows.
const SHARE: u32 = 10;
/// The time between two looks where new processes are told of: a look finds what was not.
const SELDOM: Duration = Duration::from_secs(1);

/// A process that was forked longer ago than this has executed its program, as a rule.
const SETTLED: Duration = Duration::from_millis(200);

/// An exec takes at most so many milliseconds, as a rule, also where processes wait for a processor.
const EXEC: u32 = 1000;

/// How a process ended may become known so many milliseconds after it was seen to be gone.
const STATUS_AFTER: u32 = 1000;

/// So many lives are always kept.
const KEPT: usize = 4096;

/// Finds processes, tells when they end, and has the counters of the instrumented ones read.
pub struct Watcher {
    self_pid: u32,
    reach: Reach,
    means: Means,
    boot: Moment,
    inspector: Inspector,
    lives: Vec<Watched>,
    /// The life that each process is in now: index into `lives`.
    current: BTreeMap<u32, usize>,
    /// Where the programs lie that were seen.
    paths: HashMap<FileKey, PathBuf>,
    last_look: Moment,
    next_look: Instant,
    /// When it was looked around last.
    looked: Instant,
    /// The number that was given to a process last, where that is known.
    last_started: Option<u32>,
    /// When that number changed last.
    quiet_since: Instant,
    /// What the last looks took. The least of them is the work; the rest is a busy machine.
    costs: [Duration; 4],
    wake: Wake,
    tracer: Tracer,
    traced: Receiver<trace::Event>,
    exit: bool,
    hold: Option<Hold>,
    events: Option<ProcessEvents>,
    /// Programs that the hold could not tell.
    lost: u64,
    /// Processes of the scope that events told of.
    told: BTreeMap<u32, Told>,
    /// When events were read last: what is told of now happened later.
    events_read: Moment,
    /// Instrumented programs of the scope that the hold told of and nobody has looked at yet, by their
    /// process.
    held: BTreeMap<u32, Awaited>,
    /// Processes whose first thread has ended, as events told: the rest follows soon, as a rule.
    ending: BTreeMap<u32, Status>,
    states: Option<States>,
    reaped: Vec<(u32, Status)>,
    /// Whether directories are held open.
    hold_directories: bool,
    /// Those of lives that have ended, until they are asked for.
    left: Vec<Left>,
    /// With so many lives, some are forgotten.
    next_forget: usize,
    /// What is worth saying about how processes were watched.
    notes: Vec<String>,
}

/// A life with what the watcher needs beside.
struct Watched {
    life: Life,
    file: FileKey,
    stack: u64,
    /// Becomes readable when it ends. Only for lives of interest that are not traced.
    end: Option<OwnedFd>,
    traced: bool,
    /// Where it writes coverage files, held open while it lives.
    directory: Option<io::Result<OwnedFd>>,
    /// It was seen before it was seized. Where it was seized in the exec that began it, the tracer is
    /// about to tell of that exec.
    seized_after: bool,
    /// What [`Watcher::changes`] has told of it.
    passed_on: PassedOn,
}

impl Watched {
    /// Whether its environment may still be shown: it began a moment ago, and has shown none.
    fn may_be_in_exec(&self, now: Moment) -> bool {
        self.life.running()
            && self.life.coverage_directory == CoverageDirectory::Unknown
            && now < self.life.first_seen.after(EXEC)
    }
}

/// The directory of a life that writes coverage files into it.
#[derive(Debug)]
pub struct Left {
    /// The life, as far as it is known by now.
    pub life: Life,
    /// The directory as a place ([`open_directory`](crate::root::open_directory)), or why there is none.
    pub directory: io::Result<OwnedFd>,
}

/// How much of a life [`Watcher::changes`] has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassedOn {
    Nothing,
    Begin,
    End,
}

/// What was known of a program when it was held: more than what there is to see once it has ended.
struct Awaited {
    executable: PathBuf,
    /// Device and inode of its file. An overlay has one of its own and one of the layer below.
    files: Vec<(u64, u64)>,
    cgroup: Option<Place>,
}

/// What process events told of a process.
struct Told {
    parent: u32,
    /// It was forked later than this.
    since: Moment,
    /// How often it has executed a program.
    execs: u32,
    /// It has executed a program that was not looked at yet.
    unseen_program: bool,
    /// The pod and the container that it was in when that could be read last.
    place: Option<Place>,
}

impl Watcher {
    /// Begins. In the scope [`Scope::Tree`], orphans below this process become its children from now
    /// on.
    ///
    /// # Errors
    /// When a thread or a pipe cannot be made, or the means that was asked for is not to be had.
    pub fn start(options: Options) -> io::Result<Self> {
        let own = getpid();
        let self_pid = own.as_raw_nonzero().get().unsigned_abs();
        if matches!(options.scope, Scope::Tree) {
            // Linux 3.4 and later have it; before that, orphans are lost from sight, no more.
            let _ = set_child_subreaper(Some(own));
        }
        let wake = Wake::new()?;
        let (send, traced) = channel();
        let tracer = Tracer::start({
            let waker = wake.waker()?;
            move |event| {
                // Without a receiver the watcher has ended, and so will the tracer.
                let _ = send.send(event);
                waker.wake();
            }
        })?;
        let states = match options.states {
            Some(keeper) => Some(States::start(
                keeper,
                options.every,
                options.keep_arguments,
            )?),
            None => None,
        };
        let mut notes = Vec::new();
        let (means, hold, events) = means(options.means, options.holder, &mut notes)?;
        Ok(Self {
            self_pid,
            reach: Reach::of(options.scope, self_pid),
            means,
            boot: proc::boot(),
            inspector: Inspector::start(wake.waker()?),
            lives: Vec::new(),
            current: BTreeMap::new(),
            paths: HashMap::new(),
            last_look: Moment::now(),
            next_look: Instant::now(),
            looked: Instant::now(),
            last_started: None,
            quiet_since: Instant::now(),
            costs: [Duration::ZERO; 4],
            wake,
            tracer,
            traced,
            exit: options.exit,
            hold,
            events,
            lost: 0,
            told: BTreeMap::new(),
            events_read: Moment::now(),
            held: BTreeMap::new(),
            ending: BTreeMap::new(),
            states,
            reaped: Vec::new(),
            hold_directories: false,
            left: Vec::new(),
            next_forget: KEPT,
            notes,
        })
    }

    /// How processes are found, for the ledger.
    #[must_use]
    pub fn method(&self) -> String {
        match self.means {
            Means::Hold => "exec hold (fanotify): no program starts unseen".into(),
            Means::Events => "process events; what ends within a moment may be missed".into(),
            Means::Auto | Means::Poll => {
                "a look every 10 ms; what lives shorter may be missed".into()
            }
        }
    }

    /// Whether no program starts unseen: all of them are held until they are watched.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.means == Means::Hold
    }

    /// Whether the scope is everything below this process.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        matches!(self.reach.scope(), Scope::Tree)
    }

    /// What is worth saying about how processes were watched.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if let Some(hold) = &self.hold {
            for Unmarked { mount, .. } in hold.unmarked() {
                notes.push(format!("programs on {} are not held", mount.display()));
            }
            let counts = hold.counts();
            if counts.expired + counts.lost > 0 {
                notes.push(format!(
                    "of {} instrumented programs that were held, {} went on before they were traced and \
                     {} were not told of",
                    counts.held, counts.expired, counts.lost
                ));
            }
        }
        notes
    }

    /// Starts a process as a child of this one, and watches it from its first instruction on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self, mut command: Command) -> io::Result<u32> {
        // `spawn` returns after the exec, and the exec may be held until this very loop has seen it.
        let (send, started) = channel();
        let waker = self.wake.waker()?;
        let starting = thread::spawn(move || {
            let result = command.spawn().map(|child| child.id());
            // The receiver waits for it below.
            let _ = send.send(result);
            waker.wake();
        });
        loop {
            if let Ok(result) = started.try_recv() {
                let _ = starting.join();
                return result;
            }
            if starting.is_finished() {
                return Err(io::Error::other("the thread that was to start it is gone"));
            }
            super::wake::wait(&self.descriptors(), Some(INTERVAL))?;
            // It may have ended by now: the next look tells.
            self.take_in();
        }
    }

    /// Watches all processes of a container too, those of containers inside of it included, from now
    /// on: [`Life::added`] tells which lives these are.
    pub fn add_container(&mut self, container: ContainerId) {
        if self.reach.add(container) {
            // What runs in it already is found at once.
            self.next_look = Instant::now();
        }
    }

    /// Looks for new processes in a container no more, once it has ended. The lives that are known
    /// are watched to their ends.
    pub fn remove_container(&mut self, container: &ContainerId) {
        self.reach.remove(container);
    }

    /// Has the exec hold hold programs in the mount namespace of a process too, until that process
    /// ends: the first process of a Kind node or of a container. Without a hold there is nothing to do.
    pub fn follow_mounts(&mut self, pid: u32) {
        let Some(hold) = &self.hold else { return };
        match hold.follow(pid) {
            Ok(()) => {}
            // It has ended.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                self.note(&format!(
                    "programs that process {pid} sees are not held: {error}"
                ));
            }
        }
    }

    /// From now on, the directory that each life of an added container writes coverage files to
    /// (`GOCOVERDIR`) is held open from the moment that the life is seen.
    pub fn hold_directories(&mut self) {
        self.hold_directories = true;
    }

    /// The directories that are held of lives that have ended since the last call.
    pub fn left(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.left)
    }

    /// The directories that are held of lives that still run; they are not told by [`Watcher::left`] any
    /// more.
    pub fn leave_running(&mut self) -> Vec<Left> {
        for index in self.current.values().copied().collect::<Vec<_>>() {
            self.leave(index);
        }
        self.left()
    }

    /// Lets go of the directory of a life, for whoever wants to read it. Not that of a program that is
    /// known to carry no coverage.
    fn leave(&mut self, index: usize) {
        let watched = &mut self.lives[index];
        let Some(directory) = watched.directory.take() else {
            return;
        };
        let known = self.inspector.get(watched.file);
        if !matches!(known, Some(Inspection::Elf(found)) if !found.instrumented) {
            let life = watched.life.clone();
            self.left.push(Left { life, directory });
        }
    }

    /// Become readable when something happened that [`Watcher::look`] should see.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let hold = self.hold.iter().map(AsFd::as_fd);
        let events = self.events.iter().map(AsFd::as_fd);
        [self.wake.as_fd()]
            .into_iter()
            .chain(hold)
            .chain(events)
            .chain(self.ends())
            .collect()
    }

    /// Become readable when a life of interest ends that is not traced.
    fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.current
            .values()
            .filter_map(|&index| self.lives[index].end.as_ref())
            .map(AsFd::as_fd)
    }

    /// How long to wait before the next [`Watcher::look`], at most.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let left = self.next_look.saturating_duration_since(Instant::now());
        if self.ending.is_empty() {
            left
        } else {
            left.min(INTERVAL)
        }
    }

    fn pause(&self) -> Duration {
        if self.means != Means::Poll {
            return SELDOM;
        }
        let cost = self.costs.into_iter().min().unwrap_or_default();
        (cost * SHARE).clamp(INTERVAL, LONGEST)
    }

    /// Takes in what happened, and looks around when it is time to. Returns the children of this
    /// process that have ended since the last call.
    pub fn look(&mut self) -> Vec<(u32, Status)> {
        self.take_in();
        std::mem::take(&mut self.reaped)
    }

    fn take_in(&mut self) {
        self.wake.clear();
        let now = Moment::now();
        self.take_held(now);
        self.take_events(now);
        self.take_traced(now);
        for (pid, status) in std::mem::take(&mut self.ending) {
            self.check_end(pid, now, Some(status));
            if self.current.contains_key(&pid) {
                self.ending.insert(pid, status);
            }
        }
        let ended = self.ended_descriptor();
        if Instant::now() >= self.next_look || ended {
            if ended || self.is_worth_a_look() {
                self.look_around(now);
                self.looked = Instant::now();
            }
            self.next_look = Instant::now() + self.pause();
        }
        self.ask_again_for_directories(now);
        if self.inspector.take() {
            self.follow_all();
        }
    }

    /// Whether anything was started since the last look, or a little before: what was forked executes
    /// its program soon, as a rule. What that rule misses is found in a second.
    fn is_worth_a_look(&mut self) -> bool {
        if self.means != Means::Poll {
            return true;
        }
        let last = proc::last_started();
        if last.is_none() || last != self.last_started {
            self.last_started = last;
            self.quiet_since = Instant::now();
        }
        self.quiet_since.elapsed() < SETTLED || self.looked.elapsed() >= SELDOM
    }

    fn ended_descriptor(&self) -> bool {
        let ends: Vec<BorrowedFd<'_>> = self.ends().collect();
        // An error here means "look": it costs a moment and no more.
        !ends.is_empty() && super::wake::wait(&ends, Some(Duration::ZERO)).unwrap_or(true)
    }

    /// Asks what still runs to end: SIGTERM. Not what is in containers that were added.
    pub fn terminate(&self) {
        for life in self.running() {
            if let Some(process) = open(life) {
                // It may have ended in this moment; that is what we want.
                let _ = pidfd_send_signal(&process, Signal::TERM);
            }
        }
    }

    /// What still runs, but for what is in containers that were added: these end when whoever made them
    /// lets them.
    #[must_use]
    pub fn running(&self) -> Vec<&Life> {
        self.current
            .values()
            .map(|&index| &self.lives[index].life)
            .filter(|life| life.added.is_none())
            .collect()
    }

    /// All lives so far, in order of their first sight.
    pub fn lives(&self) -> impl Iterator<Item = &Life> {
        self.lives.iter().map(|watched| &watched.life)
    }

    /// All lives so far, with what is known of their executables by now.
    pub fn inspections(&self) -> impl Iterator<Item = (&Life, &Inspection)> {
        self.lives.iter().map(|watched| {
            let known = self.inspector.get(watched.file);
            (&watched.life, known.unwrap_or(&watched.life.inspection))
        })
    }

    /// The lives that began or ended since the last call, as far as their programs are known by now,
    /// for whoever passes them on as they happen: once its end is told, a life is forgotten. Programs
    /// of others than Go are left out.
    pub fn changes(&mut self) -> Vec<Life> {
        let mut changes = Vec::new();
        let now = Moment::now();
        for watched in &mut self.lives {
            let inspection = match self.inspector.get(watched.file) {
                Some(Inspection::Pending) => continue,
                Some(Inspection::Elf(found)) if found.go.is_none() => continue,
                Some(known) => known,
                // It was missed.
                None => &watched.life.inspection,
            };
            let step = match watched.life.end {
                End::None => PassedOn::Begin,
                // How it ended may still be told.
                End::Gone { at, status: None } if now < at.after(STATUS_AFTER) => PassedOn::Begin,
                End::Gone { .. } | End::Exec { .. } => PassedOn::End,
            };
            if matches!(watched.passed_on, PassedOn::End) || watched.passed_on == step {
                continue;
            }
            // Its beginning is told once, with where it writes.
            if watched.may_be_in_exec(now) {
                continue;
            }
            watched.passed_on = step;
            let mut life = Life {
                inspection: inspection.clone(),
                ..watched.life.clone()
            };
            if step == PassedOn::End
                && let Some(tap) = self.states.as_ref().and_then(|s| s.take(life.key()))
            {
                life.tap = tap;
            }
            changes.push(life);
        }
        changes
    }

    /// The states of instrumented lives, where they are read.
    #[must_use]
    pub fn states(&self) -> Option<&States> {
        self.states.as_ref()
    }

    /// Waits until everything that runs now has been looked at, and read where it can be.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn settle(&mut self) -> io::Result<()> {
        self.take_in();
        while self.inspector.busy() {
            super::wake::wait(&self.descriptors(), Some(self.interval()))?;
            self.take_in();
        }
        Ok(())
    }

    /// Reads every instrumented life now, and writes their states into `folder`: one directory a
    /// build, as in the run's own. Returns how many lives that are.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn mark(&self, folder: &Path) -> io::Result<usize> {
        self.states
            .as_ref()
            .map_or(Ok(0), |states| states.mark(folder))
    }

    /// Reads what still runs once more, lets go of every process, and tells everything that was seen
    /// and not told as ended by [`Watcher::changes`].
    #[must_use]
    pub fn finish(mut self) -> Vec<Life> {
        let taps = self.states.take().map(States::finish).unwrap_or_default();
        let known = self.inspector.finish();
        self.lives
            .into_iter()
            .filter(|watched| watched.passed_on != PassedOn::End)
            .map(|watched| {
                let mut life = watched.life;
                if let Some(inspection) = known.get(&watched.file) {
                    life.inspection = inspection.clone();
                }
                if let Some(tap) = taps.get(&life.key()) {
                    life.tap = tap.clone();
                }
                life
            })
            .collect()
    }

    fn note(&mut self, what: &str) {
        if !self.notes.iter().any(|n| n == what) {
            self.notes.push(what.to_owned());
        }
    }
}

/// Gets the best means that is to be had, or the one that is asked for.
fn means(
    asked: Means,
    holder: Option<Command>,
    notes: &mut Vec<String>,
) -> io::Result<(Means, Option<Hold>, Option<ProcessEvents>)> {
    let mut hold = None;
    if matches!(asked, Means::Auto | Means::Hold) {
        match holder.map(hold::start) {
            Some(Ok(started)) => hold = Some(started),
            Some(Err(error)) if asked == Means::Hold => return Err(io::Error::other(error)),
            Some(Err(error)) => notes.push(format!("no exec hold: {error}")),
            None => {}
        }
    }
    // Where processes are polled the events still tell what was missed.
    let mut events = None;
    match ProcessEvents::open() {
        Ok(opened) => events = Some(opened),
        Err(error) if asked == Means::Events => return Err(io::Error::other(error)),
        Err(error) => notes.push(format!("no process events: {error}")),
    }
    let means = match (&hold, &events) {
        (Some(_), _) => Means::Hold,
        (None, Some(_)) if asked != Means::Poll => Means::Events,
        _ => Means::Poll,
    };
    Ok((means, hold, events))
}
