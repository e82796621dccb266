//! The watcher for Linux.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper,
};

use super::events::{ProcessEvent, ProcessEvents};
use super::hold::{self, Held, Hold, Unmarked};
use super::inspect::Inspector;
use super::reach::Reach;
use super::states::States;
use super::wake::Wake;
use super::{Means, Options, Scope};
use crate::cgroup::{ContainerId, Place};
use crate::clock::Moment;
use crate::image::FileKey;
use crate::life::{CoverageDirectory, End, Inspection, Life, Status, Tap};
use crate::proc::{self, Stat};
use crate::trace::{self, SeizeError, Survival, Tracer};

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

/// After so many events or processes it is looked whether a program waits: those are in a hurry.
const BETWEEN: usize = 32;

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
    /// Instrumented programs of the scope that the hold told of, by their process.
    held: BTreeMap<u32, Awaited>,
    /// Processes whose first thread has ended, as events told: the rest follows soon, as a rule.
    ending: BTreeMap<u32, Status>,
    states: Option<States>,
    reaped: Vec<(u32, Status)>,
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
    /// It was seen before it was seized. Where it was seized in the exec that began it, the tracer is
    /// about to tell of that exec.
    seized_after: bool,
}

/// What was known of a program when it was held: more than what there is to see once it has ended.
struct Awaited {
    executable: PathBuf,
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
            Some(folder) => Some(States::start(
                folder,
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

    /// Programs whose exec is held until they are traced.
    fn take_held(&mut self, now: Moment) {
        let Some(hold) = &mut self.hold else { return };
        let held = hold.messages();
        let ended = hold.ended();
        if hold.counts().lost > self.lost {
            self.lost = hold.counts().lost;
            // Programs started that were not told of: they are found now.
            self.next_look = Instant::now();
        }
        for Held {
            pid,
            tid,
            ticket,
            path: executable,
            ..
        } in held
        {
            let in_scope = self.reach.holds(pid);
            if in_scope || proc::stat(pid).is_none() {
                // It may have gone on and ended before it is looked at: events say whether it is ours.
                let cgroup = Place::of(pid).ok();
                self.held.insert(pid, Awaited { executable, cgroup });
            }
            let wanted = self.exit && self.states.is_some() && in_scope;
            if wanted {
                match self.tracer.seize(tid) {
                    Ok(()) | Err(SeizeError::Gone { .. }) => {}
                    Err(error) => self.note(&format!("process {pid}: {error}")),
                }
            }
            if let Some(hold) = &self.hold {
                hold.answer(ticket);
            }
        }
        if let Some(because) = ended {
            self.note(&format!("the exec hold ended: {because}"));
            self.hold = None;
            self.means = if self.events.is_some() {
                Means::Events
            } else {
                Means::Poll
            };
            self.look_around(now);
        }
    }

    fn take_events(&mut self, now: Moment) {
        let Some(events) = &mut self.events else {
            return;
        };
        let since = std::mem::replace(&mut self.events_read, now);
        for (number, event) in events.read().into_iter().enumerate() {
            if number % BETWEEN == 0 {
                self.take_held(now);
            }
            match event {
                ProcessEvent::Fork { parent, child } => {
                    if self.told.contains_key(&parent) || self.reach.holds(child) {
                        self.told.insert(
                            child,
                            Told {
                                parent,
                                since,
                                execs: 0,
                                unseen_program: false,
                            },
                        );
                    }
                }
                ProcessEvent::Exec { pid } => {
                    if !self.told.contains_key(&pid) && !self.reach.holds(pid) {
                        continue;
                    }
                    let told = self.told.entry(pid).or_insert(Told {
                        parent: 0,
                        since,
                        execs: 0,
                        unseen_program: true,
                    });
                    told.execs += 1;
                    told.unseen_program = true;
                    if self.saw_program(pid) {
                        continue;
                    }
                    if self.means != Means::Poll
                        && let Some(stat) = proc::stat(pid)
                    {
                        self.see(pid, stat, now, now);
                    }
                }
                ProcessEvent::Exit { pid, wait_status } => {
                    let status = Status::from_wait(wait_status);
                    // No other program is instrumented where execs are held.
                    let held = self.held.remove(&pid);
                    let may_count = held.is_some() || self.hold.is_none();
                    match self.told.remove(&pid) {
                        Some(told) if told.unseen_program && may_count => {
                            self.missed(pid, told.parent, held, status, now);
                        }
                        Some(told) => self.ended_as(pid, told.since, status),
                        None => {}
                    }
                    // The kernel tells this a moment before it shows.
                    self.ending.insert(pid, status);
                }
                ProcessEvent::Overflow => {
                    self.note("process events were lost: more came than could be read");
                    self.next_look = Instant::now();
                }
            }
        }
    }

    /// Whether the first program that a process has executed was looked at before the event came that
    /// tells of it.
    fn saw_program(&mut self, pid: u32) -> bool {
        let Some(told) = self.told.get(&pid).filter(|told| told.execs == 1) else {
            return false;
        };
        // Until then it executes its parent's.
        let Some(&parent) = self.current.get(&told.parent) else {
            return false;
        };
        let (before, since) = (self.lives[parent].file, told.since);
        let saw = self.last_life(pid, since).is_some_and(|w| w.file != before);
        if saw {
            self.looked_at(pid);
        }
        saw
    }

    /// The last life of a process that was seen later than `since`.
    fn last_life(&mut self, pid: u32, since: Moment) -> Option<&mut Watched> {
        let mut lives = self.lives.iter_mut().rev();
        // They are in the order of their first sight.
        lives
            .by_ref()
            .take_while(|w| w.life.first_seen >= since)
            .find(|w| w.life.pid == pid)
    }

    /// Tells how a life ended where that was not seen.
    fn ended_as(&mut self, pid: u32, since: Moment, status: Status) {
        if let Some(Watched { life, .. }) = self.last_life(pid, since)
            && let End::Gone { at, status: None } = life.end
        {
            life.end = End::Gone {
                at,
                status: Some(status),
            };
        }
    }

    /// A process that was gone before its program could be looked at.
    fn missed(
        &mut self,
        pid: u32,
        parent: u32,
        held: Option<Awaited>,
        status: Status,
        now: Moment,
    ) {
        let known = self.current.get(&parent).map(|&i| &self.lives[i].life);
        let Awaited { executable, cgroup } = held.unwrap_or_else(|| {
            let parent = known.map_or_else(|| parent.to_string(), Life::name);
            Awaited {
                executable: format!("(a child of {parent})").into(),
                cgroup: known.and_then(|life| life.cgroup.clone()),
            }
        });
        let added = cgroup.as_ref().and_then(|place| self.reach.added(place));
        self.lives.push(Watched {
            life: Life {
                pid,
                inner_pid: pid,
                start_ticks: 0,
                generation: 0,
                executable,
                inspection: Inspection::Failed(
                    "it ended before its program could be looked at".into(),
                ),
                coverage_directory: CoverageDirectory::Unknown,
                began: now,
                first_seen: now,
                cgroup,
                added,
                end: End::Gone {
                    at: now,
                    status: Some(status),
                },
                tap: Tap::None,
            },
            file: FileKey::hidden(pid, 0),
            stack: 0,
            end: None,
            traced: false,
            seized_after: false,
        });
    }

    /// What the tracer saw.
    fn take_traced(&mut self, now: Moment) {
        while let Ok(event) = self.traced.try_recv() {
            match event {
                trace::Event::Exec { pid, stop, .. } => {
                    if let Some(stat) = proc::stat(pid) {
                        self.see_exec(pid, stat, now);
                    }
                    drop(stop);
                }
                trace::Event::Exiting { pid, stop, .. } => {
                    let key = self.current.get(&pid).map(|&i| self.lives[i].life.key());
                    if let (Some(key), Some(states)) = (key, &self.states) {
                        states.last(key, stop);
                    }
                }
                trace::Event::Survived {
                    pid,
                    because: Survival::Exec,
                    ..
                } => {
                    if let Some(stat) = proc::stat(pid) {
                        self.see_exec(pid, stat, now);
                    }
                }
                trace::Event::Survived {
                    pid,
                    because: Survival::Thread,
                    ..
                } => {
                    let key = self.current.get(&pid).map(|&i| self.lives[i].life.key());
                    if let (Some(key), Some(states)) = (key, &self.states) {
                        states.resume(key);
                    }
                }
                // Nothing is seized without waiting for the answer.
                trace::Event::Seized { .. } => {}
                trace::Event::Gone { pid, status } => {
                    if let Some(&index) = self.current.get(&pid) {
                        self.end(pid, index, now, status);
                    }
                    if let Some(status) = status {
                        self.reaped.push((pid, status));
                    }
                }
                trace::Event::Reaped { pid, status } => {
                    self.reaped_child(pid, status, now);
                    self.reaped.push((pid, status));
                }
                trace::Event::Lost { pid, because } => {
                    if let Some(&index) = self.current.get(&pid) {
                        self.lives[index].traced = false;
                        let key = self.lives[index].life.key();
                        if let Some(states) = &self.states {
                            states.untraced(key, because.to_string());
                        }
                    }
                }
            }
        }
    }

    /// A traced process has another program now.
    fn see_exec(&mut self, pid: u32, stat: Stat, now: Moment) {
        let Some(&index) = self.current.get(&pid) else {
            let began = proc::started(self.boot, stat.start_ticks);
            self.begin(pid, stat, 0, began, now, true);
            return;
        };
        let known = &mut self.lives[index];
        let seen_before = (!known.traced || known.seized_after)
            && Some(known.file) == file_of(pid, stat)
            && !far(known.stack, stat.stack);
        if seen_before {
            // Process events told of it, and were faster.
            known.traced = true;
            known.seized_after = false;
            self.looked_at(pid);
            self.follow(index);
            return;
        }
        let generation = known.life.generation + 1;
        known.life.end = End::Exec { at: now };
        self.over(index, "it became another program (exec)");
        self.current.remove(&pid);
        self.begin(pid, stat, generation, now, now, true);
    }

    /// Looks at all processes of the scope: finds new ones, execs and ends.
    fn look_around(&mut self, now: Moment) {
        let began = Instant::now();
        let last = std::mem::replace(&mut self.last_look, now);
        let mut alive = BTreeSet::new();
        let ours = self.hold.as_ref().map(Hold::processes).unwrap_or_default();
        for (number, pid) in self.reach.processes(&ours).into_iter().enumerate() {
            if number % BETWEEN == 0 {
                self.take_held(now);
            }
            if let Some(stat) = proc::stat(pid) {
                self.see(pid, stat, now, last);
                if !stat.ended() {
                    alive.insert(pid);
                }
            }
        }
        if self.lives.len() >= self.next_forget {
            self.forget_ended();
            self.next_forget = 2 * self.lives.len() + KEPT;
        }
        // Who is still there now is there for longer.
        self.ending.clear();
        let present: Vec<u32> = self.current.keys().copied().collect();
        for pid in present.into_iter().filter(|pid| !alive.contains(pid)) {
            self.check_end(pid, now, None);
        }
        self.costs.rotate_left(1);
        self.costs[3] = began.elapsed();
    }

    /// Forgets the lives that nobody will ask for: programs of others than Go, which have ended; and of
    /// Go's without coverage all but one of each in a container: what runs and probes containers is
    /// written in Go, and never ceases.
    fn forget_ended(&mut self) {
        let Self {
            lives,
            current,
            inspector,
            reach,
            ..
        } = self;
        let mut kept = HashSet::new();
        lives.retain(|Watched { life, file, .. }| {
            let many = life.added.is_some() || matches!(reach.scope(), Scope::Containers);
            let mut is_first = || kept.insert((*file, life.cgroup.clone()));
            life.running()
                || match inspector.get(*file) {
                    Some(Inspection::Elf(found)) if many && !found.instrumented => {
                        found.go.is_some() && is_first()
                    }
                    Some(Inspection::Elf(found)) => found.go.is_some(),
                    Some(Inspection::Failed(_)) => false,
                    // What was missed has no file that could be looked at, and is told in the end.
                    Some(Inspection::Pending) | None => true,
                }
        });
        current.clear();
        for (index, watched) in lives.iter().enumerate() {
            if watched.life.running() {
                current.insert(watched.life.pid, index);
            }
        }
    }

    /// Takes a look at one process.
    fn see(&mut self, pid: u32, stat: Stat, now: Moment, last: Moment) {
        if stat.ended() {
            return;
        }
        let Some(file) = file_of(pid, stat) else {
            return;
        };
        let mut generation = 0;
        let mut began = proc::started(self.boot, stat.start_ticks);
        if let Some(&index) = self.current.get(&pid) {
            let known = &mut self.lives[index];
            let same_process = known.life.start_ticks == stat.start_ticks;
            // An exec of the same file shows in the stack's place only. Of a traced process the
            // tracer tells execs.
            let same_program =
                known.traced || (known.file == file && !far(known.stack, stat.stack));
            if same_process && same_program {
                known.stack = stat.stack;
                self.looked_at(pid);
                return;
            }
            if same_process {
                known.life.end = End::Exec { at: now };
                generation = known.life.generation + 1;
                began = last;
                self.over(index, "it became another program (exec)");
            } else {
                known.life.end = End::Gone {
                    at: now,
                    status: None,
                };
                self.over(index, "how it ended was not seen");
            }
            self.current.remove(&pid);
        }
        if generation == 0 && self.shares_memory(pid, &stat, file) {
            return;
        }
        self.begin(pid, stat, generation, began, now, false);
    }

    /// The program that a process executes now is that of a life.
    fn looked_at(&mut self, pid: u32) {
        if let Some(told) = self.told.get_mut(&pid) {
            told.unseen_program = false;
        }
    }

    /// A life begins.
    fn begin(
        &mut self,
        pid: u32,
        mut stat: Stat,
        generation: u32,
        began: Moment,
        now: Moment,
        traced: bool,
    ) {
        let Some(mut file) = file_of(pid, stat) else {
            return;
        };
        // An exec in between: the stack is that of the program before.
        while let Some(later) = proc::stat(pid).filter(|later| later.stack != stat.stack) {
            stat = later;
            let Some(later) = file_of(pid, stat) else {
                return;
            };
            file = later;
        }
        self.looked_at(pid);
        self.inspector.want(file, || proc::open_executable(pid));
        let boring = matches!(
            self.inspector.get(file),
            Some(Inspection::Elf(found)) if found.go.is_none()
        );
        let executable = self.path_of(pid, file);
        // Of most programs nobody asks where they belong; but those of containers are not the tree's.
        let cgroup = if boring && !self.reach.has_added() {
            None
        } else {
            Place::of(pid).ok()
        };
        let added = cgroup.as_ref().and_then(|place| self.reach.added(place));
        self.current.insert(pid, self.lives.len());
        self.lives.push(Watched {
            life: Life {
                pid,
                inner_pid: proc::inner_pid(pid),
                start_ticks: stat.start_ticks,
                generation,
                executable,
                inspection: Inspection::Pending,
                coverage_directory: if boring {
                    CoverageDirectory::Unknown
                } else {
                    proc::coverage_directory(pid)
                },
                began,
                first_seen: now,
                cgroup,
                added,
                end: End::None,
                tap: Tap::None,
            },
            file,
            stack: stat.stack,
            end: None,
            traced,
            seized_after: false,
        });
        self.follow(self.lives.len() - 1);
    }

    /// Where the file lies that a process executes. One that ends in this moment shows no path any
    /// more; then it is where the same file was before.
    fn path_of(&mut self, pid: u32, file: FileKey) -> PathBuf {
        let path = proc::executable_path(pid);
        if path.is_absolute() {
            self.paths.insert(file, path.clone());
            return path;
        }
        self.paths.get(&file).cloned().unwrap_or(path)
    }

    /// Whether this is a child between fork and exec: it still runs its parent's program in its
    /// parent's memory, and is not a life of its own.
    fn shares_memory(&self, pid: u32, stat: &Stat, file: FileKey) -> bool {
        if stat.parent == self.self_pid {
            return proc::same_memory(pid, self.self_pid).unwrap_or(false);
        }
        self.current.get(&stat.parent).is_some_and(|&index| {
            let parent = &self.lives[index];
            parent.file == file
                // Where that may not be asked: it is in one thread and on its parent's stack.
                && proc::same_memory(pid, stat.parent)
                    .unwrap_or(stat.threads == 1 && stat.stack > 1 && parent.stack == stat.stack)
        })
    }

    /// Follows the lives of interest that are known by now.
    fn follow_all(&mut self) {
        let current: Vec<usize> = self.current.values().copied().collect();
        for index in current {
            self.follow(index);
        }
    }

    /// Traces and reads a life whose program is known to be instrumented; lets go of one that is not.
    fn follow(&mut self, index: usize) {
        let watched = &mut self.lives[index];
        let instrumented = match self.inspector.get(watched.file) {
            Some(Inspection::Elf(found)) => found.instrumented,
            Some(Inspection::Failed(_)) => false,
            Some(Inspection::Pending) | None => return,
        };
        let (pid, key) = (watched.life.pid, watched.life.key());
        if !instrumented {
            if watched.traced {
                watched.traced = false;
                self.tracer.detach(pid);
            }
            return;
        }
        if watched.end.is_some() || watched.life.tap != Tap::None {
            return;
        }
        let Some(states) = &self.states else {
            watched.end = open(&watched.life);
            return;
        };
        // What this is at the end is the states' word.
        watched.life.tap = Tap::Failed {
            because: String::new(),
        };
        states.begin(key);
        if watched.traced {
            return;
        }
        let refused = if self.exit {
            match self.tracer.seize(pid) {
                Ok(()) => None,
                Err(error) => Some(error.to_string()),
            }
        } else {
            Some("its exit was not to be awaited (--route)".into())
        };
        match refused {
            None => {
                watched.traced = true;
                watched.seized_after = true;
            }
            Some(because) => {
                states.untraced(key, because);
                watched.end = open(&watched.life);
            }
        }
    }

    /// Looks whether a process has ended; `told` is how, as its first thread's end was told.
    fn check_end(&mut self, pid: u32, now: Moment, told: Option<Status>) {
        let Some(&index) = self.current.get(&pid) else {
            return;
        };
        if self.lives[index].traced {
            // The tracer tells.
            return;
        }
        let start = self.lives[index].life.start_ticks;
        let status = match proc::stat(pid) {
            Some(stat) if stat.start_ticks != start => None,
            Some(stat) if stat.ended() => {
                // Nobody who may not trace it sees the status: then it reads 0, and so does success.
                readable(pid).then(|| Status::from_wait(stat.exit_code))
            }
            Some(_) => return,
            None => None,
        };
        self.end(pid, index, now, status.or(told));
    }

    fn end(&mut self, pid: u32, index: usize, at: Moment, status: Option<Status>) {
        self.lives[index].life.end = End::Gone { at, status };
        self.over(index, "its end was not awaited");
        self.current.remove(&pid);
    }

    fn over(&mut self, index: usize, because: &str) {
        self.lives[index].end = None;
        self.lives[index].traced = false;
        if let Some(states) = &self.states {
            states.over(self.lives[index].life.key(), because);
        }
    }

    /// A child was reaped: that is the surest word about how it ended.
    fn reaped_child(&mut self, pid: u32, status: Status, now: Moment) {
        if let Some(&index) = self.current.get(&pid) {
            self.end(pid, index, now, Some(status));
            return;
        }
        // It was seen as a zombie before.
        self.ended_as(pid, Moment::default(), status);
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

    /// Reads what still runs once more, lets go of every process, and tells everything that was seen.
    #[must_use]
    pub fn finish(mut self) -> Vec<Life> {
        let taps = self.states.take().map(States::finish).unwrap_or_default();
        let known = self.inspector.finish();
        self.lives
            .into_iter()
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

/// The identity of the file that a process executes; `None` when the process is gone.
fn file_of(pid: u32, stat: Stat) -> Option<FileKey> {
    match proc::executable(pid) {
        Ok(metadata) => Some(FileKey::of(&metadata)),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            Some(FileKey::hidden(pid, stat.start_ticks))
        }
        Err(_) => None,
    }
}

/// Whether two stacks are of different execs. While an exec goes on, the address is not known (0) or
/// moves by the size of the arguments; another exec's is random over gigabytes.
fn far(before: u64, after: u64) -> bool {
    const ARGUMENTS: u64 = 8 << 20;
    before > 1 && after > 1 && before.abs_diff(after) > ARGUMENTS
}

/// A descriptor of the process of a life; `None` when it has ended.
fn open(life: &Life) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(life.pid).ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The number may be another process's by now. Once it is open, it stays what it is.
    (proc::stat(life.pid)?.start_ticks == life.start_ticks).then_some(process)
}

/// Whether we may see how a process ended: whether it is ours.
fn readable(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ours = rustix::process::geteuid();
    std::fs::metadata(format!("/proc/{pid}"))
        .is_ok_and(|m| ours.is_root() || m.uid() == ours.as_raw())
}

#[cfg(test)]
mod tests {
    use super::far;

    #[test]
    fn a_stack_that_is_being_set_up_is_no_exec() {
        assert!(!far(0, 0x7ffd_0000_1000));
        assert!(!far(0x7ffd_0000_1000, 0));
        assert!(!far(0x7ffd_0000_1000, 0x7ffd_0000_0000));
        assert!(far(0x7ffd_0000_1000, 0x7ff0_0000_1000));
    }
}
