//! `covtap run`: [`run`] reads as the list of what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use covtap_model::coverage::Coverage;
use covtap_model::exit::Exit;
use covtap_model::ledger::{Ledger, Outcome, Target};
use covtap_model::problem::{Problem, Severity};
use covtap_model::run::{self, Run};
use covtap_profile::go::directory::Scan;
use covtap_report::exclude::Exclusions;
use covtap_report::format::{self, Format};
use rustix::process::Signal;

use crate::agents::{self, Agents};
use crate::around::{Around, Preflight};
use crate::attribute::{self, Attribution};
use crate::checkout::Checkout;
use crate::collect;
use crate::command::{self, Running};
use crate::files::Collected;
use crate::repository;
use crate::rows::{self, Expectation, Observed, Row};
use crate::signals::{Request, Signals};
use crate::stop;
use crate::store::{Folder, Store, StoreError};
use crate::surroundings::{Surroundings, Whereabouts};
use crate::terminal;
use crate::unseen;
use covtap_tap::cgroup::ContainerId;
use covtap_tap::clock::Moment;
use covtap_tap::keep::{self, Keeper};
use covtap_tap::life::{Life, Status};
use covtap_tap::watch::{self, Means, Scope, Watcher};

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// CMD and its arguments.
    pub command: Vec<OsString>,
    /// Whether `run.json` keeps CMD's arguments, which may hold secrets.
    pub keep_args: bool,
    /// Coverage directories that are read too.
    pub files: Vec<PathBuf>,
    /// What is expected.
    pub expectation: Expectation,
    /// How long descendants may take to end by themselves, and again after SIGTERM.
    pub grace: Duration,
    /// No SIGTERM for what still runs.
    pub leave_running: bool,
    /// Services in clusters are ended gracefully, so that they write their files, and brought back.
    pub stop_for_files: bool,
    /// An incomplete run exits with 0.
    pub allow_incomplete: bool,
    /// Where the repository's files are looked for.
    pub repository: PathBuf,
    /// What is not counted.
    pub exclude: Exclusions,
    /// Reports that the run's folder gets.
    pub formats: Vec<Format>,
    /// Name and version of this program, for documents.
    pub generator: String,
    /// Version of this program.
    pub version: String,
    /// The ways in which data come.
    pub routes: Routes,
    /// How processes are found.
    pub means: Means,
    /// The time between two snapshots of a process.
    pub every: Duration,
    /// Whether what ran before the run is taken away.
    pub since_run: bool,
    /// Starts this program as the guardian of the exec hold.
    pub holder: fn() -> Option<Command>,
}

/// The ways in which data come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routes {
    /// Memory of running processes.
    pub tap: bool,
    /// Their memory in the exit stop.
    pub exit: bool,
    /// The files that they write.
    pub files: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            tap: true,
            exit: true,
            files: true,
        }
    }
}

/// What happens, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// The folder is made and CMD starts.
    Started {
        /// The run's folder.
        folder: &'a Folder,
    },
    /// CMD has ended.
    CommandEnded(Status),
    /// Descendants of CMD still run and have this long to end by themselves.
    Waiting {
        /// Their names and process ids.
        processes: Vec<(String, u32)>,
        /// The time left.
        left: Duration,
        /// Whether they have been asked to end.
        asked: bool,
    },
    /// They are asked to end now.
    Terminating {
        /// Their names and process ids.
        processes: Vec<(String, u32)>,
    },
    /// A container's processes are watched from now on.
    Watching {
        /// What a person calls it.
        name: &'a str,
    },
    /// A target is ready to be tested.
    Ready(&'a Preflight),
    /// CMD is asked to end: what is required is ready and not instrumented.
    Stopped {
        /// What that is.
        because: &'a str,
    },
    /// Something around CMD cannot be followed.
    Trouble(&'a Problem),
    /// A service was asked to end, so that it writes its files.
    Stopping {
        /// `shop/deployment/api`.
        name: &'a str,
        /// How many replicas it had.
        replicas: i32,
    },
    /// The services that were ended are brought back.
    Restoring,
    /// Counter files are being read.
    Collecting {
        /// How many.
        files: usize,
    },
}

/// Shows what happens.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub folder: Folder,
    /// How CMD ended, when there was one.
    pub status: Option<Status>,
    /// What was expected and what came.
    pub ledger: Ledger,
    /// The coverage document, when anything was collected.
    pub coverage: Option<Coverage>,
    /// What the ledger says.
    pub verdict: Exit,
    /// What `covtap run` exits with.
    pub exit_code: u8,
    /// Why CMD was asked to end before its time, if it was.
    pub stopped: Option<String>,
    /// How many process lives were seen.
    pub seen: usize,
}

/// Why a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// CMD could not be started.
    #[error("cannot start {}", command.to_string_lossy())]
    Start {
        /// Its first word.
        command: OsString,
        /// Why.
        source: io::Error,
    },
    /// The system refused something that should always work.
    #[error("cannot {what}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl SessionError {
    /// The next step for a person.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Start { command, source } => Some(match source.kind() {
                io::ErrorKind::NotFound if command.to_string_lossy().contains(' ') => {
                    "it is one word here; a shell line needs `sh -c '…'`".into()
                }
                io::ErrorKind::NotFound => "is it installed, and on PATH?".into(),
                io::ErrorKind::PermissionDenied => "is it executable?".into(),
                _ => return None,
            }),
            Self::System { .. } => None,
        }
    }
}

/// Runs a command, collects the coverage of what it started, and says whether that is all.
///
/// # Errors
/// [`SessionError`]: the run could not be made or CMD not be started, or what came could not be
/// stored. What the ledger has to say is no error.
pub fn run(
    store: &Store,
    options: &Options,
    surroundings: Option<&mut dyn Surroundings>,
    observer: &mut dyn Observer,
) -> Result<Finished, SessionError> {
    let (folder, (began, record), signals) = begin(store, options, observer)?;
    let screen = terminal::remember();
    let mut watcher = watch(&folder, options, Scope::Tree)?;
    let require = options.expectation.require.clone();
    let how = (options, began, require);
    let mut around = surround(&folder, how, &mut watcher, surroundings)?;
    around.take(&mut watcher, observer);
    let directory = options.routes.files.then(|| folder.raw_files());
    let modules = find_modules(options);
    let mut command = match command::start(&mut watcher, &options.command, directory.as_deref()) {
        Ok(running) => running,
        Err(source) => {
            folder.discard();
            let command = options.command.first().cloned().unwrap_or_default();
            return Err(SessionError::Start { command, source });
        }
    };
    let status = wait_for_command(&signals, &mut command, &mut watcher, &mut around, observer)?;
    screen.restore();
    observer.event(&Event::CommandEnded(status));
    let stopped = around.unmet().map(str::to_owned);
    let mut still = Still {
        signals: &signals,
        watcher: &mut watcher,
        around: &mut around,
    };
    let patient = stopped.is_none();
    let_descendants_end(&mut still, &mut command, (options, patient), observer)?;
    let seen = Seen {
        stopped,
        ..close(
            &signals,
            (watcher, around),
            (&folder, options),
            modules,
            observer,
        )?
    };
    conclude(
        store,
        folder,
        (began, record),
        options,
        &seen,
        Some(status),
        observer,
    )
}

/// A run's folder with its record, and when it began. From here on signals are requests.
pub(crate) fn begin(
    store: &Store,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Folder, (Moment, Run), Signals), SessionError> {
    let began = Moment::now();
    let folder = store.create(began)?;
    let record = record(&folder, options, began);
    folder.write("run.json", &record)?;
    observer.event(&Event::Started { folder: &folder });
    let signals = Signals::take().map_err(system("take signals"))?;
    Ok((folder, (began, record), signals))
}

/// What is around the processes that are watched themselves, followed from now on.
pub(crate) fn surround<'a>(
    folder: &Folder,
    (options, began, require): (&Options, Moment, Vec<String>),
    watcher: &mut Watcher,
    mut surroundings: Option<&'a mut dyn Surroundings>,
) -> Result<Around<'a>, SessionError> {
    if let Some(surroundings) = &mut surroundings {
        surroundings.begin(folder);
    }
    let agents = agents(folder, options, began)?;
    let mut around = Around::new(surroundings, agents, require);
    if options.routes.files {
        around
            .collect_files(watcher, folder.raw_files())
            .map_err(system("start a thread"))?;
    }
    Ok(around)
}

/// Ends the watching: agents have their last words, services are ended for their files where that is wanted,
/// what runs is read once more. Everything that was observed.
pub(crate) fn close(
    signals: &Signals,
    (mut watcher, mut around): (Watcher, Around<'_>),
    (folder, options): (&Folder, &Options),
    modules: JoinHandle<BTreeSet<String>>,
    observer: &mut dyn Observer,
) -> Result<Seen, SessionError> {
    let mut still = Still {
        signals,
        watcher: &mut watcher,
        around: &mut around,
    };
    let_agents_end(&mut still, observer)?;
    // What was found a moment ago has counted all the same.
    watcher.settle().map_err(system("look at what runs"))?;
    let mut ended = None;
    if options.stop_for_files {
        let how = (options.grace, folder);
        ended = stop::services(signals, &mut watcher, &mut around, how, observer)?;
    }
    let mut seen = see(watcher, modules, around);
    if let Some(ended) = ended {
        seen.problems.extend(stop::restore(ended, observer));
    }
    Ok(seen)
}

/// Everything that was observed.
fn see(
    mut watcher: Watcher,
    modules: JoinHandle<BTreeSet<String>>,
    mut around: Around<'_>,
) -> Seen {
    let collected = around.finish_files(&mut watcher);
    let (notes, tree) = (watcher.notes(), watcher.is_tree());
    let mut method = vec![watcher.method()];
    method.extend(around.methods());
    let held = watcher.holds();
    let mut lives = watcher.finish();
    lives.extend(around.lives());
    Seen {
        method: method.join("; "),
        notes,
        tree,
        whereabouts: around.whereabouts(&lives, tree),
        ran: around.ran(),
        held,
        stopped: None,
        problems: around.problems(),
        collected,
        lives,
        // A panic there is a defect of ours; without the modules fewer programs are expected.
        modules: modules.join().unwrap_or_default(),
    }
}

/// Collects what came, decides whether that is all, reports, and closes the run's folder.
pub(crate) fn conclude(
    store: &Store,
    folder: Folder,
    (began, mut record): (Moment, Run),
    options: &Options,
    seen: &Seen,
    status: Option<Status>,
    observer: &mut dyn Observer,
) -> Result<Finished, SessionError> {
    let found = find_files(&folder, &seen.collected, options);
    let tapped = seen.lives.iter().filter(|l| l.state().is_some()).count();
    observer.event(&Event::Collecting {
        files: tapped
            + found
                .scan
                .pods
                .iter()
                .map(|p| p.counters.len())
                .sum::<usize>(),
    });
    let (mut rows, mut ledger) = account(seen, &found, options, began);
    let problems = keep_last_states(&folder, &found, &mut rows, options.since_run)?;
    ledger.problems.extend(problems);
    ledger.targets = rows.into_iter().map(|row| row.target).collect();
    let coverage = make_document(&folder, options, &mut ledger);
    let verdict = ledger.verdict();
    let exit_code = match seen.stopped {
        // CMD's own code says no more than that it was asked to end.
        Some(_) if verdict == Exit::Nothing => verdict.code(),
        Some(_) => Exit::Incomplete.code(),
        None => exit_code(status, verdict, options.allow_incomplete),
    };

    write_reports(&folder, options, coverage.as_ref(), &mut ledger)?;
    folder.write("ledger.json", &ledger)?;
    record.ended = Some(Moment::now().rfc3339());
    record.command_status = status.map(|s| s.to_string());
    record.exit_code = Some(exit_code);
    folder.write("run.json", &record)?;
    store.set_latest(folder.id())?;
    Ok(Finished {
        folder,
        status,
        ledger,
        coverage,
        verdict,
        exit_code,
        stopped: seen.stopped.clone(),
        seen: seen.lives.len(),
    })
}

/// Finds the repository's Go modules, beside everything else.
pub(crate) fn find_modules(options: &Options) -> JoinHandle<BTreeSet<String>> {
    let repository = options.repository.clone();
    thread::spawn(move || repository::go_modules(&repository))
}

pub(crate) fn watch(
    folder: &Folder,
    options: &Options,
    scope: Scope,
) -> Result<Watcher, SessionError> {
    let Routes { tap, exit, .. } = options.routes;
    Watcher::start(watch::Options {
        scope,
        means: options.means,
        holder: (options.holder)(),
        states: (tap || exit).then(|| Arc::new(keep::Folder(folder.raw_tap())) as Arc<dyn Keeper>),
        every: options.every,
        exit,
        keep_arguments: options.keep_args,
    })
    .map_err(system("watch processes"))
}

/// The agents of the run, where memory is a route.
fn agents(
    folder: &Folder,
    options: &Options,
    began: Moment,
) -> Result<Option<Agents>, SessionError> {
    let Routes { tap, exit, .. } = options.routes;
    let agents = agents::Options {
        folder: folder.raw_tap(),
        version: options.version.clone(),
        every: options.every,
        means: options.means,
        began,
    };
    (tap || exit)
        .then(|| Agents::new(agents))
        .transpose()
        .map_err(system("make a pair of sockets"))
}

pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> SessionError {
    move |source| SessionError::System { what, source }
}

fn record(folder: &Folder, options: &Options, began: Moment) -> Run {
    let kept = if options.keep_args {
        options.command.len()
    } else {
        1
    };
    let words = options.command.iter().take(kept);
    Run {
        schema: run::SCHEMA.into(),
        id: folder.id().into(),
        covtap: options.version.clone(),
        command: words.map(|w| w.to_string_lossy().into_owned()).collect(),
        started: began.rfc3339(),
        ended: None,
        command_status: None,
        exit_code: None,
    }
}

/// Watches until CMD has ended. Signals to covtap reach CMD once: what the terminal sent, it has.
fn wait_for_command(
    signals: &Signals,
    command: &mut Running,
    watcher: &mut Watcher,
    around: &mut Around<'_>,
    observer: &mut dyn Observer,
) -> Result<Status, SessionError> {
    let mut interrupts = 0;
    let mut stopped = false;
    loop {
        command.take(&watcher.look());
        around.take(watcher, observer);
        if let (false, Some(because)) = (stopped, around.unmet()) {
            stopped = true;
            observer.event(&Event::Stopped { because });
            // As with Ctrl-C it may clean up. It alone is asked: a suite that hears it twice does not.
            command.send(Signal::TERM);
        }
        if let Some(status) = command.status() {
            return Ok(status);
        }
        around
            .wait(signals, watcher, None, Duration::MAX)
            .map_err(system("wait for events"))?;
        for request in signals.requests() {
            pass_on(request, &mut interrupts, command);
        }
    }
}

/// Passes a request on to CMD: politely first; who insists is obeyed.
fn pass_on(request: Request, interrupts: &mut u32, command: &Running) {
    if request.signal != Signal::INT {
        if !request.shared {
            command.send(request.signal);
        }
        return;
    }
    *interrupts += 1;
    match *interrupts {
        1 if request.shared => {}
        1 => command.send(Signal::INT),
        2 => command.send(Signal::TERM),
        _ => command.send(Signal::KILL),
    }
}

/// What still goes on when CMD has ended.
struct Still<'a, 'b> {
    signals: &'a Signals,
    watcher: &'a mut Watcher,
    around: &'a mut Around<'b>,
}

impl Still<'_, '_> {
    /// Takes in what has happened.
    fn look(&mut self, observer: &mut dyn Observer) -> Vec<(u32, Status)> {
        let ended = self.watcher.look();
        self.around.take(self.watcher, observer);
        ended
    }

    /// Waits until something happens.
    fn wait(&self, left: Duration) -> Result<(), SessionError> {
        self.around
            .wait(self.signals, self.watcher, None, left)
            .map_err(system("wait for events"))
    }
}

/// Gives what CMD left behind time to end, unless CMD was asked to end itself; then asks it to, then gives it time again.
fn let_descendants_end(
    still: &mut Still<'_, '_>,
    command: &mut Running,
    (options, patient): (&Options, bool),
    observer: &mut dyn Observer,
) -> Result<(), SessionError> {
    let by_itself = if patient {
        options.grace
    } else {
        Duration::ZERO
    };
    if wait_for_descendants(still, command, by_itself, false, observer)? || options.leave_running {
        return Ok(());
    }
    observer.event(&Event::Terminating {
        processes: names(&still.watcher.running()),
    });
    still.watcher.terminate();
    wait_for_descendants(still, command, options.grace, true, observer)?;
    Ok(())
}

/// Asks agents for their last words and takes them in, unless somebody is impatient.
fn let_agents_end(
    still: &mut Still<'_, '_>,
    observer: &mut dyn Observer,
) -> Result<(), SessionError> {
    still.around.finish(still.watcher, observer);
    while let Some(left) = still.around.left() {
        if !still.signals.requests().is_empty() {
            break;
        }
        still.wait(left)?;
        // CMD has ended: nothing of it is waited for any more.
        still.look(observer);
    }
    Ok(())
}

/// Waits until nothing runs below covtap (true), the time is over or somebody is impatient (false).
fn wait_for_descendants(
    still: &mut Still<'_, '_>,
    command: &mut Running,
    grace: Duration,
    asked: bool,
    observer: &mut dyn Observer,
) -> Result<bool, SessionError> {
    let until = Instant::now() + grace;
    loop {
        command.take(&still.look(observer));
        let running = still.watcher.running();
        let left = until.saturating_duration_since(Instant::now());
        if running.is_empty() {
            return Ok(true);
        }
        if left.is_zero() || !still.signals.requests().is_empty() {
            return Ok(false);
        }
        observer.event(&Event::Waiting {
            processes: names(&running),
            left,
            asked,
        });
        still.wait(left)?;
    }
}

fn names(lives: &[&Life]) -> Vec<(String, u32)> {
    lives.iter().map(|life| (life.name(), life.pid)).collect()
}

/// Everything that was observed.
pub(crate) struct Seen {
    /// How processes were found.
    method: String,
    /// What is worth saying about that.
    notes: Vec<String>,
    /// Whether these are all processes below CMD.
    tree: bool,
    /// In order of their first sight.
    lives: Vec<Life>,
    /// Where those of containers ran, by index.
    whereabouts: BTreeMap<usize, Whereabouts>,
    /// The containers that ran around CMD.
    ran: Vec<Whereabouts>,
    /// Whether no program could start unseen.
    held: bool,
    /// Why CMD was asked to end before its time.
    stopped: Option<String>,
    /// What could not be followed around CMD.
    problems: Vec<Problem>,
    /// The files that containers wrote.
    collected: Collected,
    /// Paths of the repository's Go modules.
    modules: BTreeSet<String>,
}

/// The coverage directories of a run and what is in them.
struct Found {
    directories: Vec<PathBuf>,
    /// The containers that directories belong to, by their number.
    homes: BTreeMap<usize, ContainerId>,
    scan: Scan,
}

fn find_files(folder: &Folder, collected: &Collected, options: &Options) -> Found {
    let own = options.routes.files.then(|| folder.raw_files());
    let mut directories: Vec<PathBuf> = own.into_iter().collect();
    let homes = collected.folders.values().cloned();
    let homes = (directories.len()..).zip(homes).collect();
    directories.extend(collected.folders.keys().cloned());
    directories.extend(options.files.iter().cloned());
    let mut scan = collect::files(&directories);
    // The copies lie below the run's own directory, and are read.
    let is_read = |problem: &Problem| collected.folders.contains_key(Path::new(&problem.file));
    scan.problems
        .retain(|problem| problem.severity != Severity::Warning || !is_read(problem));
    Found {
        directories,
        homes,
        scan,
    }
}

/// Decides for every life what was expected of it and what came.
fn account(seen: &Seen, found: &Found, options: &Options, began: Moment) -> (Vec<Row>, Ledger) {
    let attribution = attribute::attribute(&seen.lives, &found.scan.pods, &found.homes, began);
    let observed = Observed {
        lives: &seen.lives,
        tree: seen.tree,
        whereabouts: &seen.whereabouts,
        files: options.routes.files,
        began,
        modules: &seen.modules,
        directories: &found.directories,
        looked: &seen.collected.looked,
        pods: &found.scan.pods,
        attribution: &attribution,
        program: collect::program,
    };
    let mut rows = rows::rows(&observed, &options.expectation);
    unseen::add(&mut rows, &seen.lives, seen.held, &seen.ran);
    let mut ledger = Ledger::new(seen.method.clone());
    ledger.problems.clone_from(&found.scan.problems);
    ledger.problems.extend(seen.notes.iter().map(|note| {
        Problem::new(
            Severity::Note,
            "watching",
            "the best way to find processes",
            note.clone(),
            "they are found in the way that the ledger names",
        )
    }));
    ledger.problems.extend(seen.problems.iter().cloned());
    ledger
        .problems
        .extend(seen.collected.problems.iter().cloned());
    ledger.problems.extend(older(&attribution));
    (rows, ledger)
}

/// One note for all files that were there before the run.
fn older(attribution: &Attribution) -> Option<Problem> {
    let first = attribution.older.first()?;
    Some(Problem::new(
        Severity::Note,
        first.name.path.parent().unwrap_or(&first.name.path),
        "counter files of this run",
        format!("{} from before it", attribution.older.len()),
        "they are left out",
    ))
}

/// Keeps one counter file of every life that is merged, by build.
fn keep_last_states(
    folder: &Folder,
    found: &Found,
    rows: &mut [Row],
    since_run: bool,
) -> Result<Vec<Problem>, SessionError> {
    let pods: BTreeMap<&str, _> = found
        .scan
        .pods
        .iter()
        .map(|p| (p.tag.as_str(), p))
        .collect();
    let mut problems = Vec::new();
    for row in rows.iter_mut() {
        let names: Vec<_> = row.merge.iter().map(|file| file.name.clone()).collect();
        let pod = row
            .merge
            .last()
            .and_then(|file| pods.get(file.build.as_str()));
        let raw = folder.raw();
        let noted = match (&row.tap, pod) {
            (Some(state), pod) => {
                collect::place_state(&raw, state, pod.map(|pod| (*pod, names.as_slice())))
            }
            (None, Some(pod)) => collect::place(&raw, pod, &names),
            (None, None) => continue,
        };
        problems.extend(noted.map_err(system("store the collected files"))?);
        if let (true, Some(state)) = (since_run, &row.tap) {
            collect::since_the_run(&raw, &folder.baseline(), state)
                .map_err(system("take away what was counted before the run"))?;
        }
    }
    Ok(problems)
}

/// Makes the coverage document and notes in the ledger whose data could not be read.
fn make_document(folder: &Folder, options: &Options, ledger: &mut Ledger) -> Option<Coverage> {
    let (checkout, unreadable) = Checkout::open(&options.repository);
    let (mut coverage, mut problems) =
        collect::document(&folder.raw(), &options.generator, &checkout);
    if let Some(coverage) = &mut coverage {
        checkout.refine(coverage, &options.exclude);
        problems.extend(unreadable);
        coverage.problems.splice(0..0, problems.iter().cloned());
    }
    for target in &mut ledger.targets {
        mark_damaged(target, &problems);
    }
    ledger.problems.extend(problems);
    coverage
}

/// A life whose file (or whose build's meta-data) is damaged has not given its last state.
fn mark_damaged(target: &mut Target, problems: &[Problem]) {
    if target.outcome != Outcome::Merged {
        return;
    }
    let meta = target
        .build
        .as_ref()
        .map(|build| format!("covmeta.{build}"));
    let damage = problems.iter().find(|problem| {
        let name = attribute::file_name(&problem.file);
        problem.severity == Severity::Error
            && (target.files.last() == Some(&name) || meta.as_ref() == Some(&name))
    });
    if let Some(problem) = damage {
        target.outcome = Outcome::Partial {
            because: problem.to_string(),
        };
    }
}

fn exit_code(status: Option<Status>, verdict: Exit, allow_incomplete: bool) -> u8 {
    match (status.map_or(0, Status::code), verdict) {
        (0, Exit::Incomplete) if allow_incomplete => Exit::Success.code(),
        (0, verdict) => verdict.code(),
        (code, _) => code,
    }
}

fn write_reports(
    folder: &Folder,
    options: &Options,
    coverage: Option<&Coverage>,
    ledger: &mut Ledger,
) -> Result<(), SessionError> {
    let Some(coverage) = coverage else {
        return Ok(());
    };
    let document = Format::Json.to_bytes(coverage, &format::Options::default());
    crate::store::write_atomically(&folder.path().join("coverage.json"), &document)?;
    let written = format::write_files(
        coverage,
        &options.formats,
        &folder.report(),
        &format::Options::default(),
    );
    for error in written.failed {
        ledger.problems.push(Problem::new(
            Severity::Warning,
            &error.path,
            "a place for a report",
            error.source.to_string(),
            "the report is not written; `covtap report` can make it again",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_own_code_comes_first() {
        assert_eq!(exit_code(Some(Status::Exit(7)), Exit::Nothing, false), 7);
        assert_eq!(
            exit_code(Some(Status::Signal(2)), Exit::Success, false),
            130
        );
        assert_eq!(exit_code(Some(Status::Exit(0)), Exit::Nothing, true), 3);
        assert_eq!(exit_code(Some(Status::Exit(0)), Exit::Incomplete, false), 4);
        assert_eq!(exit_code(Some(Status::Exit(0)), Exit::Incomplete, true), 0);
        assert_eq!(exit_code(Some(Status::Exit(0)), Exit::Success, false), 0);
    }
}
