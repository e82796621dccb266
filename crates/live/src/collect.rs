//! Coverage files to the run's folder, and from there to a coverage document.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use covtap_model::counter::ModePolicy;
use covtap_model::coverage::Coverage;
use covtap_model::problem::{Problem, Severity};
use covtap_profile::go::accumulate::Counters;
use covtap_profile::go::counters::CounterFile as Parsed;
use covtap_profile::go::directory::{CounterFileName, Pod, Scan, scan};
use covtap_profile::go::document::{self, Options};
use covtap_profile::go::load::{self, Build};
use covtap_profile::go::meta::{MetaFile, Package};

use covtap_tap::keep::{counter_file, functions};
use covtap_tap::life::State;

use crate::checkout::Checkout;
use crate::store::{Folder, write_atomically};

/// Lists coverage directories. One that cannot be listed is a problem, not the end.
#[must_use]
pub fn files(directories: &[PathBuf]) -> Scan {
    let mut problems = Vec::new();
    let readable: Vec<&PathBuf> = directories
        .iter()
        .filter(|directory| match fs::read_dir(directory) {
            Ok(_) => true,
            Err(error) => {
                problems.push(
                    Problem::new(
                        Severity::Error,
                        directory,
                        "a coverage directory that can be listed",
                        error.to_string(),
                        "nothing of it is collected",
                    )
                    .hint("is it the directory that the service wrote to?"),
                );
                false
            }
        })
        .collect();
    let mut found = scan(&readable).unwrap_or_else(|error| {
        problems.push(Problem::new(
            Severity::Error,
            &error.path,
            "a coverage directory that can be listed",
            error.source.to_string(),
            "nothing is collected",
        ));
        Scan::default()
    });
    found.problems.splice(0..0, problems);
    found
}

/// What there is of a run that was cut short: what was read last out of the memory of each process, and
/// what those wrote themselves of which nothing was read.
#[must_use]
pub fn unfinished(folder: &Folder) -> Scan {
    let builds = match fs::read_dir(folder.raw_tap()) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        // Nothing was read.
        Err(_) => Vec::new(),
    };
    let mut found = files(&builds);
    let read: BTreeSet<(String, u64)> = found
        .pods
        .iter()
        .flat_map(|pod| pod.counters.iter().map(|file| (pod.tag.clone(), file.pid)))
        .collect();
    let mut written = files(&[folder.raw_files()]);
    for pod in &mut written.pods {
        let is_new = |pid| !read.contains(&(pod.tag.clone(), pid));
        pod.counters.retain(|file| is_new(file.pid));
    }
    found.pods.extend(written.pods);
    found.problems.extend(written.problems);
    found
}

/// The program that wrote a counter file, as it was called (`argv[0]`).
#[must_use]
pub fn program(file: &Path) -> Option<String> {
    let bytes = fs::read(file).ok()?;
    let segment = Parsed::parse(&bytes).ok()?.first_segment().ok()?;
    let name = segment.argument("argv0")?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Puts the last state of one life into `raw/<build>/`: its build's meta-data and one counter file.
///
/// Several counter files of one life are snapshots: the last one counts, unless a counter went
/// backwards in between. Then the process cleared its counters, and the files are added up.
///
/// Returns what a person should know about it.
///
/// # Errors
/// When the folder cannot be written.
pub fn place(raw: &Path, pod: &Pod, files: &[CounterFileName]) -> io::Result<Vec<Problem>> {
    let Some(last) = files.last() else {
        return Ok(Vec::new());
    };
    let directory = raw.join(&pod.tag);
    fs::create_dir_all(&directory)?;
    let meta = directory.join(format!("covmeta.{}", pod.tag));
    if !meta.exists() {
        link(&pod.meta, &meta)?;
    }
    let target = free_name(&directory, pod, last);
    if files.len() == 1 {
        link(&last.path, &target)?;
        return Ok(Vec::new());
    }
    // What cannot be read is said when the document is made of the same files.
    let (Some(build), _) = load::open(pod) else {
        link(&last.path, &target)?;
        return Ok(Vec::new());
    };
    let (own, cleared) = own_state(&build, files);
    let note = |found: String, effect: &str| {
        Problem::new(
            Severity::Note,
            &last.path,
            "one counter file of the process",
            found,
            effect,
        )
    };
    if cleared {
        let bytes = write(&build, &own, &last.path);
        write_atomically(&target, &bytes).map_err(io::Error::other)?;
        return Ok(vec![note(
            format!("{} and counters that went backwards", files.len()),
            "it clears its counters: the files are added up",
        )]);
    }
    link(&last.path, &target)?;
    Ok(vec![note(
        files.len().to_string(),
        "the last one counts; should the process have cleared its counters, counts are too low",
    )])
}

/// Puts the state that the tap kept of one life into `raw/<build>/`, reconciled with the counter
/// files that it wrote itself.
///
/// In its exit stop a process has every count that its files have, unless it cleared its counters in
/// between: then the larger count of the two is kept, function by function.
///
/// Returns what a person should know about it.
///
/// # Errors
/// When the folder cannot be written.
pub fn place_state(
    raw: &Path,
    state: &State,
    written: Option<(&Pod, &[CounterFileName])>,
) -> io::Result<Vec<Problem>> {
    let name = state.file.file_name().unwrap_or(state.file.as_os_str());
    let from = state
        .file
        .with_file_name(format!("covmeta.{}", state.build));
    let directory = raw.join(&state.build);
    let target = directory.join(name);
    fs::create_dir_all(&directory)?;
    let meta = directory.join(format!("covmeta.{}", state.build));
    if !meta.exists() {
        link(&from, &meta)?;
    }
    let (pod, files) = match written {
        Some((pod, files)) if pod.tag == state.build && !files.is_empty() => (pod, files),
        _ => {
            link(&state.file, &target)?;
            return Ok(Vec::new());
        }
    };
    // What cannot be read is said when the document is made of the same files.
    let (Some(build), _) = load::open(pod) else {
        link(&state.file, &target)?;
        return Ok(Vec::new());
    };
    let tapped = CounterFileName {
        path: state.file.clone(),
        ..files[0].clone()
    };
    let tapped = build.counters(&[tapped]).0;
    let (own, _) = own_state(&build, files);
    if !backwards(&build.meta, &own, &tapped) {
        link(&state.file, &target)?;
        return Ok(Vec::new());
    }
    if !backwards(&build.meta, &tapped, &own) {
        // Its files are later than the last look at it.
        write_atomically(&target, &write(&build, &own, &state.file)).map_err(io::Error::other)?;
        return Ok(Vec::new());
    }
    let mut larger = own;
    larger.keep_larger(&tapped);
    write_atomically(&target, &write(&build, &larger, &state.file)).map_err(io::Error::other)?;
    Ok(vec![Problem::new(
        Severity::Note,
        &state.file,
        "every count of the files that the process wrote, in its memory",
        "smaller ones: it clears its counters",
        "what ran is exact; a count is the larger of the two",
    )])
}

/// Takes from the state of a life what it had when the run began, if it was there then: a file of the
/// same name in `baseline`.
///
/// # Errors
/// When a folder cannot be read or written.
pub fn since_the_run(raw: &Path, baseline: &Path, state: &State) -> io::Result<()> {
    let name = state.file.file_name().unwrap_or(state.file.as_os_str());
    let path = |folder: &Path| folder.join(&state.build).join(name);
    let (now, before) = (path(raw), path(baseline));
    if !before.exists() {
        return Ok(());
    }
    let found = scan(&[raw.join(&state.build)]).map_err(|e| e.source)?;
    // What cannot be read is said when the document is made of the same files.
    let build = found.pods.first().and_then(|pod| load::open(pod).0);
    let mut files = found.pods.iter().flat_map(|pod| &pod.counters);
    let (Some(build), Some(file)) = (build, files.find(|f| f.path == now)) else {
        return Ok(());
    };
    let counters = |path: &Path| {
        let file = CounterFileName {
            path: path.to_path_buf(),
            ..file.clone()
        };
        build.counters(&[file]).0
    };
    let mut left = counters(&now);
    left.subtract(&counters(&before));
    write_atomically(&now, &write(&build, &left, &now)).map_err(io::Error::other)
}

/// What the files of one life say together: the last one counts, unless the process cleared its
/// counters in between. Then, and that is the second value, they are added up.
fn own_state(build: &Build, files: &[CounterFileName]) -> (Counters, bool) {
    let states: Vec<Counters> = files
        .iter()
        .map(|file| build.counters(std::slice::from_ref(file)).0)
        .collect();
    let cleared = states
        .windows(2)
        .any(|pair| backwards(&build.meta, &pair[0], &pair[1]));
    match states.into_iter().next_back() {
        Some(last) if !cleared => (last, false),
        _ => (build.counters(files).0, cleared),
    }
}

/// The name of a life's counter file in `raw/`; two lives may have written one each under the same
/// name in different directories.
fn free_name(directory: &Path, pod: &Pod, file: &CounterFileName) -> PathBuf {
    (file.nanoseconds..)
        .map(|time| directory.join(format!("covcounters.{}.{}.{time}", pod.tag, file.pid)))
        .find(|path| !path.exists())
        .unwrap_or_else(|| directory.join("covcounters"))
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    // Another file system, or one without hard links.
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()))
}

/// Whether a counter of `later` is below its value in `earlier`.
fn backwards(meta: &MetaFile, earlier: &Counters, later: &Counters) -> bool {
    functions(meta).any(|(package, function)| {
        let Some(before) = earlier.get(package, function) else {
            return false;
        };
        match later.get(package, function) {
            Some(after) => before.iter().zip(after).any(|(b, a)| a < b),
            None => before.iter().any(|b| *b > 0),
        }
    })
}

/// A counter file of these sums, with the program's arguments left out.
fn write(build: &Build, sums: &Counters, like: &Path) -> Vec<u8> {
    let argv0 = program(like).unwrap_or_default();
    let named = BTreeMap::from([
        ("argc".to_owned(), b"1".to_vec()),
        ("argv0".to_owned(), argv0.into_bytes()),
    ]);
    counter_file(&build.meta, sums, &named)
}

/// Makes the coverage document of `raw/`; `None` when nothing in it has counters.
#[must_use]
pub fn document(
    raw: &Path,
    generator: &str,
    checkout: &Checkout,
) -> (Option<Coverage>, Vec<Problem>) {
    let builds: Vec<PathBuf> = match fs::read_dir(raw) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(_) => Vec::new(),
    };
    let found = files(&builds);
    let (coverage, mut problems) = document_of(&found.pods, generator, checkout);
    problems.splice(0..0, found.problems);
    (coverage, problems)
}

/// Makes the coverage document of pods, by the design's rules: of differing versions of a package
/// the one that `checkout` has is used. Builds of different modes are put together and the problem
/// list says so.
#[must_use]
pub fn document_of(
    pods: &[Pod],
    generator: &str,
    checkout: &Checkout,
) -> (Option<Coverage>, Vec<Problem>) {
    let prefer = |package: &Package| checkout.has(package);
    let options = |modes| Options {
        modes,
        prefer: Some(&prefer),
    };
    match document::of_pods(pods, generator, options(ModePolicy::Strict)) {
        Ok(both) => both,
        Err(clash) => {
            let relaxed = document::of_pods(pods, generator, options(ModePolicy::Relaxed));
            // Relaxed never clashes; an empty answer would still be an honest one.
            let (coverage, mut problems) = relaxed.unwrap_or_default();
            let file = pods.first().map(|p| p.meta.clone()).unwrap_or_default();
            problems.push(
                Problem::new(
                    Severity::Warning,
                    file,
                    "builds of one -covermode",
                    format!("{} and {}", clash.first, clash.second),
                    "they are put together: what ran is exact, how often is not",
                )
                .hint("build all services with the same -covermode"),
            );
            (coverage, problems)
        }
    }
}
