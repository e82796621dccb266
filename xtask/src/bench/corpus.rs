//! The corpus: a large program, real runs of it, and many more counter files made from those.
//!
//! The program is Go's own compiler, instrumented with the standard library in it. It is run on a
//! few packages and a few broken files, so that the runs differ. Each further counter file is one of
//! these with other counts, written by covtap's own writer ([`replicate`]); about one function in
//! sixteen is left out of each, as processes that do less would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use covtap_model::counter::CounterMode;
use covtap_profile::go::counters::{CounterFile, Flavor, Record, Refusal, Sink};
use covtap_profile::go::counters_writer::CounterWriter;

use crate::sh::{self, About, Result, cmd, fail};
use crate::toolchains::Toolchain;

/// Changes whenever a corpus made earlier must not be used any more.
const RECIPE: u32 = 2;

/// What the instrumented compiler is run on: packages without imports, in several ways, and packages
/// whose imports it cannot find, which ends in errors.
const RUNS: [(&str, &[&str]); 11] = [
    ("unicode/utf8", &["-complete"]),
    ("unicode/utf8", &["-complete", "-N", "-l"]),
    ("unicode/utf16", &["-complete", "-race"]),
    ("unicode", &["-complete"]),
    ("container/list", &["-complete", "-m=2"]),
    ("sort", &[]),
    ("net/url", &[]),
    ("io", &[]),
    ("strings", &[]),
    ("bufio", &[]),
    ("cmp", &["-complete", "-S"]),
];

/// The folder of the corpus, with at least `files` counter files in its folder `all`.
pub(crate) fn get(toolchain: &Toolchain, files: usize) -> Result<PathBuf> {
    let home = crate::cache_root()?
        .join("bench")
        .join(format!("{}-{RECIPE}", toolchain.version));
    sh::mkdir(&home)?;
    let compiler = home.join("compile");
    if !compiler.is_file() {
        eprintln!(
            "building an instrumented cmd/compile with Go {} …",
            toolchain.version
        );
        let temporary = home.join(format!(".compile.{}", std::process::id()));
        let out = temporary.to_string_lossy();
        sh::quiet(&mut toolchain.go(
            &toolchain.root.join("src"),
            &[
                "build",
                "-cover",
                "-coverpkg=std,cmd/...",
                "-covermode=atomic",
                "-o",
                &out,
                "cmd/compile",
            ],
        )?)?;
        std::fs::rename(&temporary, &compiler).about(compiler.display())?;
    }
    let seed = home.join("seed");
    if !seed.is_dir() {
        let temporary = home.join(format!(".seed.{}", std::process::id()));
        sh::rmdir(&temporary)?;
        sh::mkdir(&temporary)?;
        for (package, flags) in RUNS {
            compile(toolchain, &compiler, package, flags, &temporary)?;
        }
        sh::publish(&temporary, &seed)?;
    }
    let all = home.join("all");
    if counters(&all)?.len() < files {
        eprintln!("making {files} counter files …");
        let temporary = home.join(format!(".all.{}", std::process::id()));
        sh::rmdir(&temporary)?;
        sh::mkdir(&temporary)?;
        replicate(&seed, &temporary, files)?;
        sh::rmdir(&all)?;
        sh::publish(&temporary, &all)?;
    }
    Ok(home)
}

/// A folder with the meta-data and the first `files` counter files.
pub(crate) fn take(home: &Path, files: usize) -> Result<PathBuf> {
    let all = home.join("all");
    let some = home.join(files.to_string());
    sh::rmdir(&some)?;
    sh::mkdir(&some)?;
    let link = |from: &Path| {
        let to = some.join(from.file_name().unwrap_or_default());
        std::fs::hard_link(from, &to).about(to.display())
    };
    link(&meta(&all)?)?;
    for file in counters(&all)?.iter().take(files) {
        link(file)?;
    }
    Ok(some)
}

/// One run of the instrumented compiler. That it fails on some input is part of the plan.
fn compile(
    toolchain: &Toolchain,
    compiler: &Path,
    package: &str,
    flags: &[&str],
    into: &Path,
) -> Result {
    let source = toolchain.root.join("src").join(package);
    let mut command = cmd(compiler, &["-p", package, "-std", "-o"]);
    command.arg(into.join(".object")).args(flags);
    let mut sources: Vec<PathBuf> = list(&source)?
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".go") && !name.ends_with("_test.go") && !name.starts_with("gen")
        })
        .collect();
    sources.sort();
    command
        .args(sources)
        .env("GOCOVERDIR", into)
        .env("GOROOT", &toolchain.root);
    let before = counters(into)?.len();
    let out = sh::output(&mut command)?;
    if counters(into)?.len() == before {
        fail!(
            "the instrumented compiler left no counters for {package}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    let object = into.join(".object");
    if object.is_file() {
        std::fs::remove_file(&object).about(object.display())?;
    }
    Ok(())
}

/// Writes `files` counter files with the meta-data of `seed` into `into`.
///
/// File *n* is made from run *n* modulo the number of runs: every count that is not 0 grows by a
/// number that depends on *n* and on nothing else, a sixteenth of the functions is left out.
fn replicate(seed: &Path, into: &Path, files: usize) -> Result {
    let meta = meta(seed)?;
    let name = meta
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    std::fs::copy(&meta, into.join(&name)).about(meta.display())?;
    let hash = name.trim_start_matches("covmeta.");
    let mut runs = Vec::new();
    for path in counters(seed)? {
        let bytes = std::fs::read(&path).about(path.display())?;
        let file = CounterFile::parse(&bytes).map_err(|damage| format!("{damage:?}"))?;
        let segment = file
            .first_segment()
            .map_err(|damage| format!("{damage:?}"))?;
        let arguments: BTreeMap<String, Vec<u8>> = ["argc", "argv0", "GOOS", "GOARCH"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), segment.argument(name)?.to_vec())))
            .collect();
        let mut functions = Functions::default();
        let reading = file.read(CounterMode::Atomic, &mut functions);
        if reading.refused > 0 || reading.stopped.is_some() || functions.all.is_empty() {
            fail!(
                "{}: covtap's own reader gave up: {reading:?}",
                path.display()
            );
        }
        runs.push((file.hash, arguments, functions.all));
    }
    if runs.is_empty() {
        fail!("{} holds no counter files", seed.display());
    }
    for number in 0..files {
        let (hash_bytes, arguments, functions) = &runs[number % runs.len()];
        let mut random = Random(number as u64 + 1);
        let mut writer = CounterWriter::new(*hash_bytes, Flavor::Uleb);
        writer.segment(arguments);
        let mut changed = Vec::new();
        for (package, function, counts) in functions {
            if random.below(16) == 0 {
                continue;
            }
            changed.clear();
            changed.extend(counts.iter().map(|&count| match count {
                0 => 0,
                count => count.saturating_add(random.below(100)),
            }));
            writer.function(*package, *function, &changed);
        }
        let file = into.join(format!(
            "covcounters.{hash}.{}.{}",
            1000 + number,
            1_000_000 + number
        ));
        sh::write(&file, writer.finish())?;
    }
    Ok(())
}

/// Collects the functions of a file with their counters.
#[derive(Default)]
struct Functions {
    all: Vec<(u32, u32, Vec<u32>)>,
}

impl Sink for Functions {
    fn segment(&mut self) {}

    fn slot(&mut self, record: Record) -> Option<&mut [u32]> {
        let counts = vec![0; record.units as usize];
        self.all.push((record.package, record.function, counts));
        self.all
            .last_mut()
            .map(|(_, _, counts)| counts.as_mut_slice())
    }

    fn refusal(&self, record: Record) -> Refusal {
        Refusal {
            expected: "any function".into(),
            found: format!("{record:?}"),
        }
    }

    fn overflow(&mut self) {}
}

/// Numbers that look random and are the same everywhere (SplitMix64).
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(end)) as u32
    }
}

/// The counter files of a folder, sorted; none when there is no folder.
fn counters(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    named(dir, "covcounters.")
}

/// The meta-data file of a folder.
fn meta(dir: &Path) -> Result<PathBuf> {
    match named(dir, "covmeta.")?.as_slice() {
        [one] => Ok(one.clone()),
        others => fail!(
            "{} holds {} meta-data files, not one",
            dir.display(),
            others.len()
        ),
    }
}

/// Files of a folder whose name starts like this, sorted.
fn named(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let mut found = list(dir)?;
    found.retain(|path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .starts_with(prefix)
    });
    found.sort();
    Ok(found)
}

/// What a folder holds.
fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).about(dir.display())? {
        found.push(entry.about(dir.display())?.path());
    }
    Ok(found)
}
