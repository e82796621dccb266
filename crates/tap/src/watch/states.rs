//! The states of lives: reads the counters of every instrumented process while it runs and in its
//! exit stop, and gives those that differ from the last to a [`Keeper`].
//!
//! Two kinds of threads work here: one reads what runs, again and again; the others read what is
//! about to end, because a process waits in its exit stop until they are done. Neither ever stops
//! a process.

use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use covtap_profile::go::hex;
use covtap_profile::go::meta::MetaFile;

use crate::clock::Moment;
use crate::go::{AttachError, Attached, Snapshot};
use crate::image::Images;
use crate::keep::{Arguments, Folder, Keeper, Kept};
use crate::life::{Key, Last, State, Tap};
use crate::target::Target;
use crate::trace::Stop;

/// The time between two tries to attach while a program initialises its packages.
const FIRST_TRIES: Duration = Duration::from_millis(2);
/// A read may be early by one part in so many of the time between two.
const EARLY: u32 = 10;
/// Threads that read exit stops.
const LAST_READERS: usize = 2;

/// Keeps the states of lives until [`States::finish`].
#[derive(Debug)]
pub struct States {
    shared: Arc<Shared>,
    running: Option<Sender<Key>>,
    last: Option<Sender<(Key, Stop)>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    keeper: Arc<dyn Keeper>,
    every: Mutex<Duration>,
    keep_arguments: bool,
    images: Images,
    lives: Mutex<BTreeMap<Key, Arc<Mutex<Known>>>>,
}

/// What is known of one life.
#[derive(Debug, Default)]
struct Known {
    attached: Option<(Attached, Moment)>,
    arguments: Arguments,
    /// The state that is kept, and where it lies.
    kept: Option<(Snapshot, PathBuf)>,
    snapshots: u64,
    last: Option<Last>,
    /// Why nothing, or nothing more, could be read.
    trouble: Option<String>,
    /// Nothing more will be read.
    over: bool,
    /// Why its exit stop cannot be awaited.
    untraced: Option<String>,
}

/// A life as it looks now, for a view.
#[derive(Clone)]
pub struct View {
    /// Which life.
    pub key: Key,
    /// Its meta-data.
    pub meta: Arc<MetaFile>,
    /// Its last state.
    pub snapshot: Snapshot,
    /// How often it was read.
    pub snapshots: u64,
    /// Whether nothing more will come.
    pub over: bool,
}

impl States {
    /// Begins to give states to `keeper`, reading what runs every so often.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        keeper: Arc<dyn Keeper>,
        every: Duration,
        keep_arguments: bool,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            keeper,
            every: Mutex::new(every),
            keep_arguments,
            images: Images::default(),
            lives: Mutex::default(),
        });
        let (running, begun) = channel();
        let (last, ending) = channel::<(Key, Stop)>();
        let ending = Arc::new(Mutex::new(ending));
        let mut threads = vec![spawn("snapshots", {
            let shared = Arc::clone(&shared);
            move || shared.read_what_runs(&begun)
        })?];
        for _ in 0..LAST_READERS {
            let (shared, ending) = (Arc::clone(&shared), Arc::clone(&ending));
            threads.push(spawn("last states", move || {
                loop {
                    // One thread waits with the lock held, the others for the lock.
                    let next = lock(&ending).recv();
                    let Ok((key, stop)) = next else { break };
                    shared.read_the_last(key);
                    drop(stop);
                }
            })?);
        }
        Ok(Self {
            shared,
            running: Some(running),
            last: Some(last),
            threads,
        })
    }

    /// A life has begun whose program is instrumented: attach, and read it from now on.
    pub fn begin(&self, key: Key) {
        lock(&self.shared.lives).entry(key).or_default();
        if let Some(running) = &self.running {
            // The thread ends only when this sender is gone.
            let _ = running.send(key);
        }
    }

    /// Says why the exit stop of a life will not come.
    pub fn untraced(&self, key: Key, because: String) {
        if let Some(known) = self.shared.known(key) {
            lock(&known).untraced = Some(because);
        }
    }

    /// A life is in its exit stop: its last state is read, then `stop` is let go.
    pub fn last(&self, key: Key, stop: Stop) {
        lock(&self.shared.lives).entry(key).or_default();
        if let Some(last) = &self.last {
            // As above.
            let _ = last.send((key, stop));
        }
    }

    /// What looked like the end of a life was the end of a thread: it is read as before.
    pub fn resume(&self, key: Key) {
        let Some(known) = self.shared.known(key) else {
            return;
        };
        let mut guard = lock(&known);
        guard.over = false;
        if let Some((kept, _)) = &guard.kept {
            guard.last = Some(Last::Running { at: kept.at });
        }
        drop(guard);
        self.begin(key);
    }

    /// A life is over and no exit stop came of it.
    pub fn over(&self, key: Key, because: &str) {
        let Some(known) = self.shared.known(key) else {
            return;
        };
        let mut known = lock(&known);
        if !known.over {
            known.over = true;
            known.untraced.get_or_insert_with(|| because.to_owned());
        }
    }

    /// Reads everything that runs, now, and writes all states into `folder` as well.
    ///
    /// # Errors
    /// When `folder` cannot be written.
    pub fn mark(&self, folder: &Path) -> io::Result<usize> {
        self.read_all();
        let folder = Folder(folder.to_path_buf());
        let mut written = 0;
        for (key, known) in self.shared.all() {
            let known = lock(&known);
            if let (Some((attached, at)), Some((snapshot, _)), Some(last)) =
                (&known.attached, &known.kept, &known.last)
            {
                let state = state(
                    key,
                    (attached, *at),
                    snapshot,
                    known.snapshots,
                    last.clone(),
                );
                folder.keep(&Kept {
                    key,
                    meta: attached.meta(),
                    counters: &snapshot.counters,
                    arguments: &known.arguments,
                    started: attached.file_names().started,
                    state,
                })?;
                written += 1;
            }
        }
        Ok(written)
    }

    /// Reads everything that runs, now.
    pub fn read_all(&self) {
        for (key, known) in self.shared.all() {
            self.shared.read(key, &known);
        }
    }

    /// From now on every life is read every so often.
    pub fn set_every(&self, every: Duration) {
        *lock(&self.shared.every) = every;
    }

    /// When the life was read that was read the longest time ago, of those that run.
    #[must_use]
    pub fn oldest(&self) -> Option<Moment> {
        let running = self.shared.all().into_iter();
        running
            .filter_map(|(_, known)| {
                let known = lock(&known);
                match known.last {
                    Some(Last::Running { at }) if !known.over => Some(at),
                    _ => None,
                }
            })
            .min()
    }

    /// What came of a life that is over, which is then forgotten.
    pub(super) fn take(&self, key: Key) -> Option<Tap> {
        let known = lock(&self.shared.lives).remove(&key)?;
        let tap = outcome(key, &lock(&known));
        Some(tap)
    }

    /// All lives that gave a state, as they look now.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let lives = self.shared.all();
        lives
            .into_iter()
            .filter_map(|(key, known)| {
                let known = lock(&known);
                let (attached, _) = known.attached.as_ref()?;
                let (snapshot, _) = known.kept.as_ref()?;
                Some(View {
                    key,
                    meta: Arc::clone(attached.meta()),
                    snapshot: snapshot.clone(),
                    snapshots: known.snapshots,
                    over: known.over,
                })
            })
            .collect()
    }

    /// Lives that gave no state although they were tried, and why not.
    #[must_use]
    pub fn failures(&self) -> Vec<(Key, String)> {
        let lives = self.shared.all();
        let failure = |(key, known): (Key, Arc<Mutex<Known>>)| {
            let known = lock(&known);
            let because = known.trouble.clone()?;
            known.kept.is_none().then_some((key, because))
        };
        lives.into_iter().filter_map(failure).collect()
    }

    /// Reads what still runs once more, ends all threads, and tells what came of every life.
    #[must_use]
    pub fn finish(mut self) -> BTreeMap<Key, Tap> {
        self.running = None;
        self.last = None;
        for thread in self.threads.drain(..) {
            // A panic there is a defect of ours; what was kept is kept.
            let _ = thread.join();
        }
        self.read_all();
        let lives = self.shared.all();
        lives
            .into_iter()
            .map(|(key, known)| (key, outcome(key, &lock(&known))))
            .collect()
    }
}

/// What is known of a state.
fn state(
    key: Key,
    (attached, at): (&Attached, Moment),
    snapshot: &Snapshot,
    snapshots: u64,
    last: Last,
) -> State {
    let meta = attached.meta();
    State {
        build: hex(&meta.hash),
        file: Folder::place(meta, key, attached.file_names().started),
        found: attached.found().to_string(),
        attached: at,
        snapshots,
        dropped: snapshot.dropped.values().sum(),
        last,
    }
}

fn outcome(key: Key, known: &Known) -> Tap {
    match (&known.attached, &known.kept, &known.last) {
        (Some((attached, at)), Some((snapshot, file)), Some(last)) => {
            let last = match last {
                Last::Running { at } if known.over => Last::Snapshot {
                    at: *at,
                    because: known.untraced.clone().unwrap_or_default(),
                },
                other => other.clone(),
            };
            let state = state(key, (attached, *at), snapshot, known.snapshots, last);
            Tap::State(State {
                file: file.clone(),
                ..state
            })
        }
        _ => Tap::Failed {
            because: known
                .trouble
                .clone()
                .or_else(|| known.untraced.clone())
                .unwrap_or_else(|| "it ended before its counters could be found".into()),
        },
    }
}

impl Shared {
    fn all(&self) -> Vec<(Key, Arc<Mutex<Known>>)> {
        let lives = lock(&self.lives);
        lives.iter().map(|(k, v)| (*k, Arc::clone(v))).collect()
    }

    fn known(&self, key: Key) -> Option<Arc<Mutex<Known>>> {
        lock(&self.lives).get(&key).cloned()
    }

    /// The thread that reads what runs.
    fn read_what_runs(&self, begun: &Receiver<Key>) {
        let mut due: BinaryHeap<Due> = BinaryHeap::new();
        let mut awake = false;
        loop {
            let now = Instant::now();
            let next = due
                .peek()
                .map(|d| (d.at.saturating_duration_since(now), d.pause));
            let key = match next {
                // Once awake, what is due in a moment is read too: one waking for many lives.
                Some((wait, pause)) if wait.is_zero() || awake && wait <= pause / EARLY => {
                    awake = true;
                    due.pop().map(|d| (d.key, d.pause))
                }
                Some((wait, _)) => {
                    awake = false;
                    match begun.recv_timeout(wait) {
                        Ok(key) => Some((key, FIRST_TRIES)),
                        Err(RecvTimeoutError::Timeout) => None,
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                None => match begun.recv() {
                    Ok(key) => Some((key, FIRST_TRIES)),
                    Err(_) => break,
                },
            };
            let Some((key, pause)) = key else { continue };
            let Some(known) = self.known(key) else {
                continue;
            };
            if let Some(attached) = self.read(key, &known) {
                // While a program starts it is looked at more often, so that a short life leaves
                // something even where its exit stop cannot be awaited.
                let every = *lock(&self.every);
                let pause = pause.min(every);
                due.push(Due {
                    at: Instant::now() + pause,
                    key,
                    pause: if attached { every } else { pause * 2 },
                });
            }
        }
    }

    /// Reads a life once, unless it is over. Returns whether it is attached; `None` when there is no
    /// use in trying again.
    fn read(&self, key: Key, known: &Mutex<Known>) -> Option<bool> {
        let mut known = lock(known);
        if known.over {
            return None;
        }
        match self.attach(key, &mut known) {
            Ok(()) => {}
            Err(error) if error.is_passing() => return Some(false),
            Err(_) => return None,
        }
        // What could not be written is tried again.
        let again = known.trouble.is_some();
        let Some((attached, _)) = &mut known.attached else {
            return None;
        };
        let at = Moment::now();
        let snapshot = if again {
            attached.snapshot().map(Some)
        } else {
            attached.changed_snapshot()
        };
        match snapshot {
            Ok(Some(snapshot)) => {
                let at = snapshot.at;
                known.snapshots += 1;
                self.keep(key, &mut known, snapshot, Last::Running { at });
            }
            Ok(None) => {
                known.snapshots += 1;
                known.last = Some(Last::Running { at });
            }
            // The next one may fare better; the one kept stays.
            Err(error) => known.trouble = Some(error.to_string()),
        }
        Some(true)
    }

    /// Reads a life in its exit stop.
    fn read_the_last(&self, key: Key) {
        let Some(known) = self.known(key) else { return };
        let mut known = lock(&known);
        if known.over {
            return;
        }
        known.over = true;
        let got = self
            .attach(key, &mut known)
            .map_err(|error| error.to_string());
        let got = got.and_then(|()| match &mut known.attached {
            Some((attached, _)) => attached.last_snapshot().map_err(|e| e.to_string()),
            None => Err(String::new()),
        });
        match got {
            Ok(snapshot) => {
                known.snapshots += 1;
                let smaller = known
                    .kept
                    .as_ref()
                    .is_some_and(|(kept, _)| !snapshot.at_least(kept));
                if smaller {
                    known.last = Some(Last::ExitSmaller);
                } else {
                    self.keep(key, &mut known, snapshot, Last::Exit);
                }
            }
            Err(because) => {
                known.untraced = Some(format!("its exit stop could not be read: {because}"));
                known.trouble = Some(because);
            }
        }
    }

    fn attach(&self, key: Key, known: &mut Known) -> Result<(), AttachError> {
        if known.attached.is_some() {
            return Ok(());
        }
        let target = Target {
            pid: key.pid,
            start_ticks: key.start_ticks,
        };
        match Attached::attach(target, &self.images) {
            Ok(attached) => {
                known.arguments = attached.arguments(self.keep_arguments);
                known.attached = Some((attached, Moment::now()));
                known.trouble = None;
                Ok(())
            }
            Err(error) => {
                known.trouble = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Makes a snapshot the one that is kept.
    fn keep(&self, key: Key, known: &mut Known, snapshot: Snapshot, last: Last) {
        let Some((attached, at)) = &known.attached else {
            return;
        };
        let unchanged = known
            .kept
            .as_ref()
            .is_some_and(|(kept, _)| kept.at_least(&snapshot) && snapshot.at_least(kept));
        if unchanged {
            known.last = Some(last);
            known.trouble = None;
            return;
        }
        let snapshots = known.snapshots;
        let kept = Kept {
            key,
            meta: attached.meta(),
            counters: &snapshot.counters,
            arguments: &known.arguments,
            started: attached.file_names().started,
            state: state(key, (attached, *at), &snapshot, snapshots, last.clone()),
        };
        match self.keeper.keep(&kept) {
            Ok(file) => {
                known.kept = Some((snapshot, file));
                known.last = Some(last);
                known.trouble = None;
            }
            Err(error) => known.trouble = Some(format!("its state cannot be kept: {error}")),
        }
    }
}

/// When a life is read again.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: Instant,
    key: Key,
    /// The pause after that.
    pause: Duration,
}

/// The soonest is the greatest: a heap gives that first.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.key).cmp(&(self.at, self.key))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(body)
}

/// A lock whose holder panicked guards data that are whole all the same: they are replaced, never
/// changed in part.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
