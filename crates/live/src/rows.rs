//! Lives and files to ledger rows: what was expected, what came, and why something did not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use covtap_model::ledger::{self, Container, Instrumented, Outcome, Route, Target};
use covtap_profile::go::directory::Pod;

use crate::attribute::{Attribution, CounterFile, file_name, unclaimed};
use crate::files::Looked;
use crate::surroundings::Whereabouts;
use covtap_tap::clock::Moment;
use covtap_tap::life::{
    CoverageDirectory, End, Inspection, Key, Last, Life, State, Status, Tap, base_name,
};

/// What is expected of a run.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// Executables (base names) that must give data.
    pub require: Vec<String>,
    /// Executables (base names) that are not expected to.
    pub ignore: Vec<String>,
    /// Whether test binaries and programs that `go run` builds are merged too.
    pub include_test_binaries: bool,
}

/// Everything that was observed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed<'a> {
    /// The lives.
    pub(crate) lives: &'a [Life],
    /// Whether files are a route: then CMD got a GOCOVERDIR.
    pub(crate) files: bool,
    /// When the run began.
    pub(crate) began: Moment,
    /// Whether these are all processes below CMD: then what still runs is of interest.
    pub(crate) tree: bool,
    /// Where the lives of containers ran, by index.
    pub(crate) whereabouts: &'a BTreeMap<usize, Whereabouts>,
    /// The repository's Go modules.
    pub(crate) modules: &'a BTreeSet<String>,
    /// The coverage directories that were read, the run's own first.
    pub(crate) directories: &'a [PathBuf],
    /// The lives of containers whose directory was looked at, and what came of it.
    pub(crate) looked: &'a BTreeMap<Key, Looked>,
    /// What they hold.
    pub(crate) pods: &'a [Pod],
    /// Which file is whose.
    pub(crate) attribution: &'a Attribution,
    /// The program that wrote a counter file.
    pub(crate) program: fn(&Path) -> Option<String>,
}

/// A ledger row, and the files that go into the report because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row.
    pub target: Target,
    /// The counter files of the life, the oldest first; empty when none is merged.
    pub merge: Vec<CounterFile>,
    /// What the tap kept of the life, when that is merged.
    pub tap: Option<State>,
}

/// The rows of a run: lives in order of their start, then lives known from files alone, then what
/// was required and never came.
#[must_use]
pub(crate) fn rows(observed: &Observed<'_>, expectation: &Expectation) -> Vec<Row> {
    let seen = observed
        .lives
        .iter()
        .enumerate()
        .filter_map(|(index, life)| of_life(observed, expectation, index, life));
    let unseen = observed
        .attribution
        .unseen
        .iter()
        .map(|files| of_files(observed, expectation, files));
    let ambiguous = observed
        .attribution
        .ambiguous
        .iter()
        .map(|(file, lives)| of_ambiguous(observed, file, lives));
    let mut rows: Vec<Row> = seen.chain(unseen).chain(ambiguous).collect();
    for name in &expectation.require {
        if !rows.iter().any(|row| is_of(&row.target, name)) {
            rows.push(never_seen(name));
        }
    }
    rows
}

/// What a program is, as far as expectation goes.
enum Role {
    /// Named by `--require`.
    Required,
    /// Named by `--ignore`.
    Ignored,
    /// It belongs to the tests, not to what is tested.
    Test(&'static str),
    /// Anything else.
    Program,
}

fn role(
    expectation: &Expectation,
    name: &str,
    executable: &Path,
    built_as_test: bool,
    place: Option<&Whereabouts>,
) -> Role {
    let named = |names: &[String]| {
        let of_place = |n: &String| place.is_some_and(|place| is_named(&place.workload, n));
        names.iter().any(|n| n == name || of_place(n))
    };
    if named(&expectation.require) {
        return Role::Required;
    }
    if named(&expectation.ignore) {
        return Role::Ignored;
    }
    if expectation.include_test_binaries {
        return Role::Program;
    }
    if built_as_test || name.ends_with(".test") {
        return Role::Test("a test binary");
    }
    // `go run` and `go test` build into $TMPDIR/go-build<number>/ and remove it afterwards.
    let temporary = executable.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part.strip_prefix("go-build")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    if temporary {
        return Role::Test("a program that `go run` built");
    }
    Role::Program
}

/// Whether a workload is meant: `deployment/api`, or `api` alone.
pub(crate) fn is_named(workload: &str, name: &str) -> bool {
    workload == name || workload.rsplit('/').next() == Some(name)
}

/// Whether a row is of the workload or of the executable that is meant.
fn is_of(target: &Target, name: &str) -> bool {
    let executable = target.executable.as_deref().unwrap_or_default();
    is_named(&target.workload, name) || base_name(Path::new(executable)) == name
}

fn of_life(
    observed: &Observed<'_>,
    expectation: &Expectation,
    index: usize,
    life: &Life,
) -> Option<Row> {
    let name = life.name();
    let place = observed.whereabouts.get(&index);
    if place.is_some_and(|place| !place.selected) {
        return None;
    }
    let files: &[CounterFile] = observed
        .attribution
        .of_lives
        .get(&index)
        .map_or(&[], Vec::as_slice);
    let elf = life.inspection.elf();
    let go = elf.and_then(|e| e.go.as_ref());
    let of_repository = go
        .is_some_and(|go| !go.main_module.is_empty() && observed.modules.contains(&go.main_module));
    let instrumented =
        !files.is_empty() || life.state().is_some() || elf.is_some_and(|e| e.instrumented);
    let role = role(
        expectation,
        &name,
        &life.executable,
        go.is_some_and(|go| go.is_test()),
        place,
    );

    let expected = match role {
        Role::Required => Some("named by --require".to_owned()),
        Role::Ignored | Role::Test(_) => None,
        Role::Program if instrumented => Some("instrumented".to_owned()),
        Role::Program if of_repository => {
            go.map(|go| format!("its main module {} is this repository's", go.main_module))
        }
        Role::Program => None,
    };
    let missed = life.start_ticks == 0;
    let of_interest = expected.is_some() || instrumented || of_repository || missed;
    let left_behind = observed.tree && place.is_none() && life.running();
    if !of_interest && !left_behind {
        return None;
    }
    let listed = |because: String| (Outcome::Listed { because }, None, Vec::new(), None);
    let (outcome, state, merge, tap) = match role {
        Role::Ignored => listed("named by --ignore".into()),
        Role::Test(what) => listed(format!("{what}: --include-test-binaries merges it")),
        Role::Required | Role::Program => {
            let (outcome, state) = outcome(observed, index, instrumented);
            (outcome, state, files.to_vec(), life.state().cloned())
        }
    };
    let (ended, exit_status) = match life.end {
        End::None => (None, None),
        End::Gone { at, status } => (Some(at), status.map(|s| s.to_string())),
        End::Exec { at } => (Some(at), Some("exec".to_owned())),
    };
    let target = Target {
        workload: place.map_or(name, |place| place.workload.clone()),
        container: place.map(|place| place.container.clone()),
        pid: Some(life.pid),
        generation: life.generation,
        executable: Some(life.executable.to_string_lossy().into_owned()),
        first_seen: Some(life.first_seen.rfc3339()),
        ended: ended.map(covtap_tap::clock::Moment::rfc3339),
        exit_status,
        instrumented: evidence(life, !files.is_empty()),
        expected,
        build: life
            .state()
            .map(|state| state.build.clone())
            .or_else(|| files.first().map(|f| f.build.clone()))
            .or_else(|| build_of(observed, life)),
        files: names(files),
        state,
        outcome,
    };
    Some(Row { target, merge, tap })
}

/// A note on a life of several that wrote into one directory and ended in the same moment.
const EXCHANGEABLE: &str = "its file is one of several that were written in the same moment into one \
                            directory: what they add up to is exact, which is whose is not known";

/// What came of a life that is to give data, and how its state was got.
fn outcome(
    observed: &Observed<'_>,
    index: usize,
    instrumented: bool,
) -> (Outcome, Option<ledger::State>) {
    let life = &observed.lives[index];
    let wrote = observed.attribution.of_lives.contains_key(&index);
    let exchangeable = observed.attribution.exchangeable.contains(&index);
    let of_files = wrote.then_some(ledger::State {
        route: Route::Files,
        found: None,
        attached: None,
        snapshots: 0,
        file: None,
        note: exchangeable.then(|| EXCHANGEABLE.to_owned()),
    });
    let Some(state) = life.state() else {
        let outcome = match (wrote, life.running()) {
            (true, false) => Outcome::Merged,
            // That a container runs on is no news: this is why it gives nothing.
            (false, true) if life.added.is_some() && !instrumented => Outcome::Missing {
                because: why_nothing(observed, life),
            },
            (_, true) => Outcome::Running {
                because: still_running(life, instrumented, wrote),
            },
            (false, false) => Outcome::Missing {
                because: why_nothing(observed, life),
            },
        };
        return (outcome, of_files);
    };
    let read = |route, note: Option<String>| {
        let older = older(life, observed.began);
        let note: Vec<String> = older
            .into_iter()
            .chain(note)
            .chain(dropped(state))
            .collect();
        Some(ledger::State {
            route,
            found: Some(state.found.clone()),
            attached: Some(state.attached.rfc3339()),
            snapshots: state.snapshots,
            file: Some(file_name(&state.file)),
            note: (!note.is_empty()).then(|| note.join("; ")),
        })
    };
    match &state.last {
        Last::Exit => (Outcome::Merged, read(Route::Exit, None)),
        Last::ExitSmaller => (
            Outcome::Merged,
            read(
                Route::Tap,
                Some(
                    "counters were smaller in its exit stop than before: the larger are kept"
                        .into(),
                ),
            ),
        ),
        Last::Running { .. } => (
            Outcome::Merged,
            read(
                Route::Tap,
                Some("it still runs: read at the end of the run".into()),
            ),
        ),
        // What it wrote itself, it wrote at its end.
        Last::Snapshot { .. } if wrote => (Outcome::Merged, of_files),
        Last::Snapshot { at, because } => (
            Outcome::Partial {
                because: format!(
                    "its last state is not in, {because}: read {}",
                    before_end(*at, life.end)
                ),
            },
            read(Route::Tap, None),
        ),
    }
}

/// A life is reported since its start; one that began before the run is marked.
fn older(life: &Life, began: Moment) -> Option<String> {
    // Start times are known to 10 ms.
    let seconds = (began.before(20).0 - life.began.0) as f64 / 1e9;
    (seconds > 0.0)
        .then(|| format!("it started {seconds:.1} s before the run, and counts since then"))
}

fn dropped(state: &State) -> Option<String> {
    let count = Some(state.dropped).filter(|n| *n > 0)?;
    Some(format!(
        "{count} records did not fit the meta-data and are left out"
    ))
}

fn before_end(at: Moment, end: End) -> String {
    match end.at() {
        Some(end) => format!(
            "{} ms before its end was seen",
            (end.0 - at.0).max(0) / 1_000_000
        ),
        None => format!("at {}", at.rfc3339()),
    }
}

fn names(files: &[CounterFile]) -> Vec<String> {
    files.iter().map(|f| file_name(&f.name.path)).collect()
}

fn evidence(life: &Life, wrote: bool) -> Instrumented {
    match &life.inspection {
        Inspection::Elf(elf) if elf.instrumented => Instrumented::Yes {
            evidence: elf.evidence.to_string(),
        },
        _ if wrote => Instrumented::Yes {
            evidence: "wrote covcounters".into(),
        },
        Inspection::Elf(elf) => Instrumented::No {
            evidence: match &elf.go {
                Some(go) => format!("{} program without runtime.addCovMeta", go.version),
                None => elf.evidence.to_string(),
            },
        },
        Inspection::Failed(because) => Instrumented::Unknown {
            because: because.clone(),
        },
        Inspection::Pending => Instrumented::Unknown {
            because: "it was not looked at in time".into(),
        },
    }
}

/// The build of a life that wrote no counters, when it is certain: another life of the same
/// executable has told, or one build and one executable are left over.
fn build_of(observed: &Observed<'_>, life: &Life) -> Option<String> {
    if let Some(build) = observed.attribution.builds.get(&life.executable) {
        return Some(build.clone());
    }
    let open: BTreeSet<&str> = unclaimed(observed.pods, observed.attribution);
    let silent: BTreeSet<&Path> = observed
        .lives
        .iter()
        .filter(|l| l.instrumented() == Some(true) && writes_to_ours(observed, l))
        .map(|l| l.executable.as_path())
        .filter(|e| !observed.attribution.builds.contains_key(*e))
        .collect();
    match (open.len(), silent.len()) {
        (1, 1) if silent.contains(life.executable.as_path()) => {
            open.first().map(|build| (*build).to_owned())
        }
        _ => None,
    }
}

fn writes_to_ours(observed: &Observed<'_>, life: &Life) -> bool {
    if matches!(observed.looked.get(&life.key()), Some(Looked::Read { .. })) {
        return true;
    }
    match &life.coverage_directory {
        CoverageDirectory::Set(directory) => is_ours(observed, directory),
        CoverageDirectory::Unset => false,
        CoverageDirectory::Unknown => true,
    }
}

fn is_ours(observed: &Observed<'_>, directory: &Path) -> bool {
    let same = |ours: &PathBuf| {
        ours == directory
            || matches!((ours.canonicalize(), directory.canonicalize()), (Ok(a), Ok(b)) if a == b)
    };
    observed.directories.iter().any(same)
}

fn still_running(life: &Life, instrumented: bool, wrote: bool) -> String {
    match (instrumented, wrote) {
        (true, true) => {
            "it still runs: what it wrote so far is merged, its last state is not in".into()
        }
        (true, false) => "it still runs, and Go writes counters when a process ends".into(),
        (false, _) => format!("process {} still runs", life.pid),
    }
}

/// Why an expected life gave nothing: what stood in the tap's way, and what in that of its files.
fn why_nothing(observed: &Observed<'_>, life: &Life) -> String {
    let memory = match &life.tap {
        Tap::Failed { because } if !because.is_empty() => {
            Some(format!("its memory was not read, {because}"))
        }
        Tap::Failed { .. } | Tap::None | Tap::State(_) => None,
    };
    let counts = life.instrumented() == Some(true);
    if let (CoverageDirectory::Unset, true, true) =
        (&life.coverage_directory, life.added.is_some(), counts)
    {
        // CMD gives a container no directory, so none was taken away.
        let memory = memory.unwrap_or_else(|| "it ended before its memory could be read".into());
        return format!("{memory}; its GOCOVERDIR is not set");
    }
    match (memory, observed.files || !counts) {
        (None, true) => why_no_files(observed, life),
        (Some(memory), true) => format!("{memory}; {}", why_no_files(observed, life)),
        (Some(memory), false) => memory,
        (None, false) => "it ended before its memory could be read".into(),
    }
}

fn why_no_files(observed: &Observed<'_>, life: &Life) -> String {
    let Inspection::Elf(elf) = &life.inspection else {
        return "it could not be told whether it is instrumented, and it wrote nothing".into();
    };
    if !elf.instrumented {
        return match elf.go {
            Some(_) => "not instrumented: build it with -cover".into(),
            None => "not a Go program: covtap has no way yet to collect from it".into(),
        };
    }
    if !elf.exit_hook {
        return "instrumented without its main package, so it never writes: add package main to \
                -coverpkg"
            .into();
    }
    let mut whose = String::new();
    match &life.coverage_directory {
        CoverageDirectory::Unset if life.added.is_some() => {
            return "GOCOVERDIR is not set in its container".into();
        }
        CoverageDirectory::Set(directory) if life.added.is_some() => {
            match observed.looked.get(&life.key()) {
                Some(Looked::Failed(because)) => return because.clone(),
                Some(Looked::Read { owner, mode }) => {
                    let (user, group) = owner;
                    whose = format!(" {} ({user}:{group}, mode {mode:04o})", directory.display());
                }
                // It was read elsewhere, or given with --files.
                None => {}
            }
        }
        CoverageDirectory::Unset => {
            return "GOCOVERDIR is not set in its environment: something between CMD and it took it \
                    away"
                .into();
        }
        CoverageDirectory::Set(directory) if !is_ours(observed, directory) => {
            return format!(
                "its GOCOVERDIR is {dir}: name that with --files {dir}",
                dir = directory.display()
            );
        }
        CoverageDirectory::Set(_) | CoverageDirectory::Unknown => {}
    }
    let how = how_it_ended(life.end);
    if build_of(observed, life).is_some() {
        return format!(
            "started (covmeta is there) and did not end through os.Exit or a return from main: {how}"
        );
    }
    if unclaimed(observed.pods, observed.attribution).is_empty() {
        return format!(
            "wrote nothing into its GOCOVERDIR{whose}, not even covmeta at its start; {how}"
        );
    }
    format!("wrote no counters: it did not end through os.Exit or a return from main: {how}")
}

fn how_it_ended(end: End) -> String {
    match end {
        End::None => "it still runs".into(),
        End::Exec { .. } => "it became another program (exec)".into(),
        End::Gone { status: None, .. } => "how it ended was not seen".into(),
        End::Gone {
            status: Some(status),
            ..
        } => match status {
            Status::Exit(2) => "exit status 2, as after a panic".into(),
            Status::Exit(code) => format!("exit status {code}"),
            Status::Signal(number) => format!("exit status signal {number}{}", signal_name(number)),
        },
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// A life that nobody saw: too short for the poll, or not below CMD.
fn of_files(observed: &Observed<'_>, expectation: &Expectation, files: &[CounterFile]) -> Row {
    let last = files.last();
    let program = last.and_then(|f| (observed.program)(&f.name.path));
    let executable = PathBuf::from(program.as_deref().unwrap_or("?"));
    let name = base_name(&executable);
    let (expected, outcome, merge) = match role(expectation, &name, &executable, false, None) {
        Role::Ignored => (
            None,
            Outcome::Listed {
                because: "named by --ignore".into(),
            },
            Vec::new(),
        ),
        Role::Test(what) => {
            let because = format!("{what}: --include-test-binaries merges it");
            (None, Outcome::Listed { because }, Vec::new())
        }
        Role::Required => (
            Some("named by --require".to_owned()),
            Outcome::Merged,
            files.to_vec(),
        ),
        Role::Program => (
            Some("instrumented".to_owned()),
            Outcome::Merged,
            files.to_vec(),
        ),
    };
    let target = Target {
        workload: name,
        container: None,
        pid: last.and_then(|f| u32::try_from(f.name.pid).ok()),
        generation: 0,
        executable: program,
        first_seen: None,
        ended: None,
        exit_status: None,
        instrumented: Instrumented::Yes {
            evidence: "wrote covcounters".into(),
        },
        expected,
        build: last.map(|f| f.build.clone()),
        files: names(files),
        state: (!merge.is_empty()).then_some(ledger::State {
            route: Route::Files,
            found: None,
            attached: None,
            snapshots: 0,
            file: None,
            note: None,
        }),
        outcome,
    };
    Row {
        target,
        merge,
        tap: None,
    }
}

fn of_ambiguous(observed: &Observed<'_>, file: &CounterFile, lives: &[usize]) -> Row {
    let fitting: Vec<String> = lives
        .iter()
        .map(|i| format!("{} ({})", observed.lives[*i].name(), observed.lives[*i].pid))
        .collect();
    let because = format!(
        "left out: its file fits several processes: {}",
        fitting.join(", ")
    );
    // Whoever it is of, nothing is missing where the memory of all of them was read at their ends.
    let known = |index: &usize| {
        let state = observed.lives[*index].state();
        state.is_some_and(|state| state.last == Last::Exit)
    };
    let outcome = if lives.iter().all(known) {
        Outcome::Listed { because }
    } else {
        Outcome::Missing { because }
    };
    let target = Target {
        workload: (observed.program)(&file.name.path)
            .map_or_else(|| "?".into(), |p| base_name(Path::new(&p))),
        container: None,
        pid: None,
        generation: 0,
        executable: None,
        first_seen: None,
        ended: None,
        exit_status: None,
        instrumented: Instrumented::Yes {
            evidence: "wrote covcounters".into(),
        },
        expected: matches!(outcome, Outcome::Missing { .. }).then(|| "instrumented".into()),
        build: Some(file.build.clone()),
        files: names(std::slice::from_ref(file)),
        state: None,
        outcome,
    };
    Row {
        target,
        merge: Vec::new(),
        tap: None,
    }
}

fn never_seen(name: &str) -> Row {
    of_nothing(
        (name.into(), None),
        "it was not seen",
        "named by --require",
        "no process of this name was seen below CMD",
    )
}

/// The row of something that was `expected` and of which no process was seen: what is not known of its
/// coverage (`unknown`), and why nothing came.
pub(crate) fn of_nothing(
    (workload, container): (String, Option<Container>),
    unknown: &str,
    expected: &str,
    because: &str,
) -> Row {
    let target = Target {
        workload,
        container,
        pid: None,
        generation: 0,
        executable: None,
        first_seen: None,
        ended: None,
        exit_status: None,
        instrumented: Instrumented::Unknown {
            because: unknown.into(),
        },
        expected: Some(expected.into()),
        build: None,
        files: Vec::new(),
        state: None,
        outcome: Outcome::Missing {
            because: because.into(),
        },
    };
    Row {
        target,
        merge: Vec::new(),
        tap: None,
    }
}

#[cfg(test)]
mod tests {
    use covtap_profile::go::directory::CounterFileName;
    use covtap_profile::go::executable::{Evidence, Executable, GoBuild};
    use covtap_tap::cgroup::ContainerId;

    use super::*;
    use crate::attribute::attribute;

    fn program(path: &Path) -> Option<String> {
        path.to_str()?.rsplit('-').next().map(Into::into)
    }

    /// A life of an instrumented program of the module `example.org/shop`, which wrote nothing.
    fn life(pid: u32, executable: &str) -> Life {
        Life {
            pid,
            inner_pid: pid,
            start_ticks: 1,
            generation: 0,
            executable: executable.into(),
            inspection: Inspection::Elf(Executable {
                go: Some(GoBuild {
                    version: "go1.26.8".into(),
                    main_package: "example.org/shop/cmd/svc".into(),
                    main_module: "example.org/shop".into(),
                    settings: Vec::new(),
                }),
                instrumented: true,
                evidence: Evidence::FunctionName { offset: 7 },
                exit_hook: true,
            }),
            coverage_directory: CoverageDirectory::Set("/run/raw-files".into()),
            began: Moment(1_000_000_000),
            first_seen: Moment(1_000_000_000),
            cgroup: None,
            added: None,
            end: End::Gone {
                at: Moment(9_000_000_000),
                status: Some(Status::Exit(0)),
            },
            tap: Tap::None,
        }
    }

    fn elf(life: &mut Life) -> &mut Executable {
        match &mut life.inspection {
            Inspection::Elf(elf) => elf,
            other => panic!("{other:?}"),
        }
    }

    fn pod(build: &str, pids: &[u64]) -> Pod {
        Pod {
            tag: build.into(),
            meta: format!("/run/raw-files/covmeta.{build}").into(),
            counters: pids
                .iter()
                .map(|pid| CounterFileName {
                    origin: 0,
                    path: format!("/run/raw-files/covcounters.{build}.{pid}.5").into(),
                    pid: *pid,
                    nanoseconds: 5_000_000_000,
                })
                .collect(),
        }
    }

    fn made(lives: &[Life], pods: &[Pod], expectation: &Expectation) -> Vec<Row> {
        let modules = BTreeSet::from(["example.org/shop".to_owned()]);
        let attribution = attribute(lives, pods, &BTreeMap::new(), Moment(0));
        rows(
            &Observed {
                lives,
                tree: true,
                whereabouts: &BTreeMap::new(),
                files: true,
                began: Moment(0),
                modules: &modules,
                directories: &["/run/raw-files".into()],
                looked: &BTreeMap::new(),
                pods,
                attribution: &attribution,
                program,
            },
            expectation,
        )
    }

    fn because(row: &Row) -> &str {
        match &row.target.outcome {
            Outcome::Missing { because }
            | Outcome::Listed { because }
            | Outcome::Partial { because }
            | Outcome::Running { because } => because,
            Outcome::Merged => "",
        }
    }

    fn only(life: &Life, pods: &[Pod]) -> Row {
        let rows = made(std::slice::from_ref(life), pods, &Expectation::default());
        assert_eq!(rows.len(), 1);
        rows.into_iter().next().unwrap()
    }

    #[test]
    fn a_life_with_its_file_is_merged() {
        let row = only(&life(7, "/bin/svc"), &[pod("aa", &[7])]);
        assert_eq!(row.target.outcome, Outcome::Merged);
        assert_eq!(row.target.expected.as_deref(), Some("instrumented"));
        assert_eq!(row.target.build.as_deref(), Some("aa"));
        assert_eq!(row.target.files, ["covcounters.aa.7.5"]);
        assert_eq!(row.merge.len(), 1);
    }

    #[test]
    fn every_reason_for_nothing_is_its_own() {
        type Change = fn(&mut Life);
        let cases: [(Change, &str); 9] = [
            (
                |l| {
                    l.end = End::Gone {
                        at: Moment(2),
                        status: Some(Status::Signal(9)),
                    };
                },
                "wrote nothing into its GOCOVERDIR, not even covmeta at its start; exit status signal 9 (SIGKILL)",
            ),
            (
                |l| elf(l).exit_hook = false,
                "instrumented without its main package, so it never writes: add package main to -coverpkg",
            ),
            (
                |l| elf(l).instrumented = false,
                "not instrumented: build it with -cover",
            ),
            (
                |l| l.coverage_directory = CoverageDirectory::Unset,
                "GOCOVERDIR is not set in its environment: something between CMD and it took it away",
            ),
            (
                |l| l.coverage_directory = CoverageDirectory::Set("/x".into()),
                "its GOCOVERDIR is /x: name that with --files /x",
            ),
            (
                |l| l.end = End::Exec { at: Moment(2) },
                "wrote nothing into its GOCOVERDIR, not even covmeta at its start; it became another program (exec)",
            ),
            (
                |l| {
                    l.end = End::Gone {
                        at: Moment(2),
                        status: None,
                    };
                },
                "wrote nothing into its GOCOVERDIR, not even covmeta at its start; how it ended was not seen",
            ),
            (|l| l.inspection = Inspection::Failed("x".into()), ""),
            (
                |l| {
                    l.end = End::Gone {
                        at: Moment(2),
                        status: Some(Status::Exit(2)),
                    };
                },
                "wrote nothing into its GOCOVERDIR, not even covmeta at its start; exit status 2, as after a panic",
            ),
        ];
        for (change, expected) in cases {
            let mut life = life(7, "/bin/svc");
            change(&mut life);
            let rows = made(&[life], &[], &Expectation::default());
            assert_eq!(rows.first().map_or("", because), expected);
        }
    }

    #[test]
    fn covmeta_alone_says_that_it_started() {
        let mut killed = life(7, "/bin/svc");
        killed.end = End::Gone {
            at: Moment(9_000_000_000),
            status: Some(Status::Signal(9)),
        };
        let row = only(&killed, &[pod("aa", &[])]);
        assert_eq!(
            because(&row),
            "started (covmeta is there) and did not end through os.Exit or a return from main: exit status signal 9 (SIGKILL)"
        );
        assert_eq!(row.target.build.as_deref(), Some("aa"));
        // Two programs and two builds: whose is whose is not known.
        let rows = made(
            &[killed.clone(), life(8, "/bin/other")],
            &[pod("aa", &[]), pod("bb", &[])],
            &Expectation::default(),
        );
        assert!(
            because(&rows[0]).starts_with("wrote no counters"),
            "{rows:?}"
        );
        assert_eq!(rows[0].target.build, None);
        // Another life of the same program has told.
        let rows = made(
            &[killed, life(8, "/bin/svc")],
            &[pod("aa", &[8]), pod("bb", &[])],
            &Expectation::default(),
        );
        assert!(
            because(&rows[0]).starts_with("started (covmeta is there)"),
            "{rows:?}"
        );
    }

    #[test]
    fn tests_and_their_tools_are_rows_only() {
        for executable in ["/tmp/x/api.test", "/tmp/go-build123/b001/exe/svc"] {
            let row = only(&life(7, executable), &[pod("aa", &[7])]);
            assert!(
                matches!(row.target.outcome, Outcome::Listed { .. }),
                "{row:?}"
            );
            assert!(row.merge.is_empty() && row.target.expected.is_none());
            let include = Expectation {
                include_test_binaries: true,
                ..Expectation::default()
            };
            let rows = made(&[life(7, executable)], &[pod("aa", &[7])], &include);
            assert_eq!(rows[0].target.outcome, Outcome::Merged);
        }
        let row = only(&life(7, "/tmp/go-builder/svc"), &[pod("aa", &[7])]);
        assert_eq!(row.target.outcome, Outcome::Merged);
    }

    #[test]
    fn what_is_required_is_expected_and_what_is_ignored_is_not() {
        let expectation = Expectation {
            require: vec!["api.test".into(), "ghost".into()],
            ignore: vec!["tool".into()],
            include_test_binaries: false,
        };
        let rows = made(
            &[life(7, "/x/api.test"), life(8, "/x/tool")],
            &[pod("aa", &[7])],
            &expectation,
        );
        assert_eq!(rows[0].target.outcome, Outcome::Merged);
        assert_eq!(because(&rows[1]), "named by --ignore");
        assert!(!rows[1].target.is_gap());
        assert_eq!(rows[2].target.workload, "ghost");
        assert!(rows[2].target.is_gap());
    }

    #[test]
    fn programs_of_others_are_no_rows_unless_they_still_run() {
        let mut other = life(7, "/usr/bin/kubectl");
        elf(&mut other).instrumented = false;
        if let Some(go) = &mut elf(&mut other).go {
            go.main_module = "k8s.io/kubernetes".into();
        }
        assert!(made(&[other.clone()], &[], &Expectation::default()).is_empty());
        other.end = End::None;
        let row = only(&other, &[]);
        assert!(matches!(row.target.outcome, Outcome::Running { .. }));
        assert!(!row.target.is_gap());
    }

    #[test]
    fn a_container_that_gives_nothing_says_why() {
        let mut plain = life(7, "/svc");
        elf(&mut plain).instrumented = false;
        plain.end = End::None;
        plain.added = ContainerId::new(&"a".repeat(64));
        let row = only(&plain, &[]);
        assert!(row.target.is_gap());
        assert_eq!(because(&row), "not instrumented: build it with -cover");

        let mut short = life(7, "/svc");
        short.added = ContainerId::new(&"a".repeat(64));
        short.coverage_directory = CoverageDirectory::Unset;
        assert_eq!(
            because(&only(&short, &[])),
            "it ended before its memory could be read; its GOCOVERDIR is not set"
        );
    }

    #[test]
    fn a_life_known_from_its_file_is_merged() {
        let rows = made(&[], &[pod("aa", &[7])], &Expectation::default());
        assert_eq!(rows[0].target.outcome, Outcome::Merged);
        assert_eq!(rows[0].target.pid, Some(7));
        assert_eq!(rows[0].target.first_seen, None);
    }

    #[test]
    fn a_running_service_is_a_gap() {
        let mut running = life(7, "/bin/svc");
        running.end = End::None;
        let row = only(&running, &[pod("aa", &[])]);
        assert!(row.target.is_gap() && !row.target.gave_data());
    }
}
