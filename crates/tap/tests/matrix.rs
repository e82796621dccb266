//! Every kind of Go program with every version of Go: what the tap reads is what the process itself
//! writes.
//!
//! The tap reads while the process waits for its next command; the process then ends and writes its
//! own files. Nothing that counts runs in between (`fixtures/tap/console`). Each program is also run
//! with its symbols and with its section table taken away, so that the tap has to find the counters
//! by each of its ways. What was read is recorded, and looked at again when the process is no more.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use covtap_tap::go::{Attached, Dropped, Found, Snapshot};
use covtap_tap::image::Images;
use covtap_tap::memory::recorded::Recording;
use covtap_tap::target::Target;

use common::{Drill, Programs, command, coverage, folder, say, scratch};

/// What says the truth about a kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference {
    /// The files that the process writes at its end.
    Own,
    /// Those that it writes when it is asked (`WriteCountersDir`): it writes none at its end.
    Asked,
    /// Those of another program with the same code, which does the same. Only these packages.
    Twin(&'static str, Option<&'static str>),
}

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// It is the drill.
    Drill,
    /// It is a test binary.
    Test,
    /// It is a library for the C program `host`.
    Library,
}

/// One kind of program.
#[derive(Clone, Copy, Debug)]
struct Kind {
    program: &'static str,
    /// Whether it has symbols.
    symbols: bool,
    /// What it does besides the steps that all do.
    more: &'static [&'static str],
    start: Start,
    reference: Reference,
}

const fn kind(program: &'static str, symbols: bool) -> Kind {
    Kind {
        program,
        symbols,
        more: &[],
        start: Start::Drill,
        reference: Reference::Own,
    }
}

/// All kinds but `-coverpkg=all`, whose counters never rest.
const KINDS: [Kind; 20] = [
    kind("default/drill", true),
    kind("count/drill", true),
    kind("atomic/drill", true),
    kind("stripped/drill", false),
    kind("strip/drill", false),
    kind("pie/drill", true),
    kind("pie-stripped/drill", false),
    kind("pie-external/drill", true),
    kind("pie-external-strip/drill", false),
    Kind {
        more: &["native 3 4"],
        ..kind("cgo/drill", true)
    },
    Kind {
        more: &["native 3 4"],
        ..kind("cgo-static/drill", true)
    },
    kind("race/drill", true),
    kind("static/drill", true),
    kind("static-atomic/drill", true),
    kind("static-stripped/drill", false),
    kind("with-main/drill", true),
    Kind {
        more: &["odd 40000002"],
        ..kind("odd/drill", true)
    },
    Kind {
        reference: Reference::Twin("with-main/drill", Some("example.org/drill/steps/...")),
        ..kind("without-main/drill", true)
    },
    Kind {
        start: Start::Test,
        ..kind("test/drill.test", true)
    },
    Kind {
        start: Start::Library,
        reference: Reference::Asked,
        ..kind("c-shared/lib.so", true)
    },
];

/// What every program does: most steps, some twice.
const WORK: [&str; 4] = [
    "work 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
    "work 19 17 0 0 1 3 5 13 8 11",
    "steps",
    "who",
];

/// What is taken away from a program's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    Symbols,
    Sections,
}

/// A 64-bit ELF file, or a copy with its symbols or its whole section table taken away.
fn without(what: Without, program: &Path, into: &Path) -> PathBuf {
    if what == Without::Nothing {
        return program.to_owned();
    }
    let mut bytes = fs::read(program).unwrap();
    let number = |bytes: &[u8], at: usize, length: usize| {
        let mut all = [0; 8];
        all[..length].copy_from_slice(&bytes[at..at + length]);
        u64::from_le_bytes(all) as usize
    };
    // Elf64_Ehdr: e_shoff at 40, e_shentsize at 58, e_shnum at 60, e_shstrndx at 62; Elf64_Shdr:
    // sh_type at 4, SHT_SYMTAB is 2.
    let (table, size, count) = (
        number(&bytes, 40, 8),
        number(&bytes, 58, 2),
        number(&bytes, 60, 2),
    );
    match what {
        Without::Nothing => {}
        Without::Symbols => {
            let headers = (0..count).map(|i| table + i * size);
            let symbols: Vec<usize> = headers
                .filter(|at| number(&bytes, at + 4, 4) == 2)
                .collect();
            assert!(!symbols.is_empty(), "{} has no symbols", program.display());
            for at in symbols {
                bytes[at + 4..at + 8].fill(0);
            }
        }
        Without::Sections => {
            bytes[40..48].fill(0);
            bytes[60..64].fill(0);
        }
    }
    let copy = into.join(program.file_name().unwrap());
    fs::write(&copy, bytes).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// The command that starts a program, writing to `directory` at its end.
fn starting(
    programs: &Programs,
    start: Start,
    file: &Path,
    scratch: &Path,
    directory: &Path,
) -> Command {
    let mut command = match start {
        Start::Drill | Start::Test => command(file, scratch),
        Start::Library => command(&programs.path("host"), scratch),
    };
    match start {
        Start::Drill => command.env("GOCOVERDIR", directory),
        Start::Test => command
            .arg("-test.run=TestDrill")
            .arg(format!("-test.gocoverdir={}", directory.display())),
        Start::Library => command.arg(file),
    };
    command
}

fn attach(pid: u32, images: &Images) -> Attached {
    let target = Target::find(pid).unwrap();
    Attached::attach(target, images).unwrap_or_else(|e| panic!("{e}"))
}

/// A snapshot in which everything fitted.
fn snapshot(attached: &mut Attached) -> Snapshot {
    let snapshot = attached.snapshot().unwrap();
    assert!(snapshot.dropped.is_empty(), "{:?}", snapshot.dropped);
    snapshot
}

/// Compares two directories in the eyes of this Go's own tool.
fn compare(
    programs: &Programs,
    about: &str,
    tap: &Path,
    own: &Path,
    packages: Option<&str>,
) -> Result<(), String> {
    if packages.is_none() {
        let (ours, theirs) = (coverage::meta(tap), coverage::meta(own));
        if ours != theirs {
            return Err(format!(
                "{about}: {} is not the process's own {}",
                ours.0, theirs.0
            ));
        }
    }
    let only = packages.map(|p| format!("-pkg={p}"));
    let only: Vec<&str> = only.iter().map(String::as_str).collect();
    for what in ["textfmt", "percent", "func"] {
        let ours = programs.covdata(what, tap, &[]);
        let theirs = programs.covdata(what, own, &only);
        if theirs.lines().count() < 2 {
            return Err(format!(
                "{about}: {what} of the reference is empty: {theirs:?}"
            ));
        }
        coverage::same(&format!("{about}: {what}"), &ours, &theirs)?;
    }
    Ok(())
}

/// The names and the contents of the two files of a snapshot.
fn written(attached: &Attached, snapshot: &Snapshot) -> [(String, Vec<u8>); 2] {
    let names = attached.file_names();
    let counters = attached.counter_file(snapshot, &attached.arguments(false));
    [
        (names.meta.clone(), attached.meta().bytes().to_vec()),
        (names.counters.clone(), counters),
    ]
}

/// The two files that a recording gives.
fn replay(recording: &[u8]) -> [(String, Vec<u8>); 2] {
    let recording = Recording::from_bytes(recording).unwrap();
    let mut attached = Attached::replay(recording, &Images::default()).unwrap();
    let snapshot = snapshot(&mut attached);
    written(&attached, &snapshot)
}

/// Runs one program, taps it, lets it end, compares.
fn one(programs: &Programs, kind: Kind, lacking: Without, images: &Images) -> Result<(), String> {
    let scratch = scratch();
    let scratch = scratch.path();
    let about = format!(
        "Go {}, {}, without {lacking:?}",
        programs.version, kind.program
    );
    let file = without(lacking, &programs.path(kind.program), scratch);
    let (tap, own) = (folder(scratch, "tap"), folder(scratch, "own"));
    let mut drill = Drill::start(starting(programs, kind.start, &file, scratch, &own));
    for line in WORK.iter().chain(kind.more) {
        drill.ask(line);
    }
    let mut attached = attach(drill.pid(), images);
    let first = snapshot(&mut attached);
    let files = written(&attached, &first);
    for (name, contents) in &files {
        fs::write(tap.join(name), contents).unwrap();
    }
    let expected = match lacking {
        Without::Nothing if kind.symbols => Found::Symbols,
        Without::Sections => Found::Memory,
        // Old linkers give a position independent program's tables no section of their own.
        _ if kind.program.contains("external") && attached.found() == Found::Memory => {
            Found::Memory
        }
        _ => Found::Sections,
    };
    if attached.found() != expected {
        return Err(format!(
            "{about}: found by {}, not by {expected}",
            attached.found()
        ));
    }
    // A second look, at rest, sees the same.
    let again = snapshot(&mut attached);
    if again.counters.values() != first.counters.values() {
        return Err(format!(
            "{about}: two snapshots of a process at rest differ"
        ));
    }
    let (recording, _) = attached.record().unwrap();
    let recording = recording.to_bytes();
    let packages = match kind.reference {
        Reference::Own => None,
        Reference::Asked => {
            drill.ask(&format!("dump {}", own.display()));
            None
        }
        Reference::Twin(twin, packages) => {
            let twin = programs.path(twin);
            let mut twin = Drill::start(starting(programs, kind.start, &twin, scratch, &own));
            for line in WORK {
                twin.ask(line);
            }
            assert!(twin.die("die return").success());
            packages
        }
    };
    let status = drill.die("die return");
    // The process is no more; its recorded memory gives the same two files.
    let replayed = replay(&recording);
    if replayed != files {
        return Err(format!("{about}: its recorded memory gives other files"));
    }
    // Go's own writer fails on counters that begin at an odd address until 1.26: its twin speaks.
    if kind.program.starts_with("odd") && programs.before(27) {
        if status.success() {
            return Err(format!(
                "{about}: Go has written counters from an odd address"
            ));
        }
        let own = folder(scratch, "twin");
        let twin = programs.path("static/drill");
        let mut twin = Drill::start(starting(programs, kind.start, &twin, scratch, &own));
        for line in WORK {
            twin.ask(line);
        }
        assert!(twin.die("die return").success());
        return compare(programs, &about, &tap, &own, None);
    }
    if !status.success() {
        return Err(format!("{about}: ended with {status}"));
    }
    compare(programs, &about, &tap, &own, packages)
}

/// All kinds, by every way to find the counters.
fn all(programs: &Programs) {
    let version = programs.version;
    let mut wrong = Vec::new();
    let mut count = 0;
    for kind in KINDS {
        let images = Images::default();
        for lacking in [Without::Nothing, Without::Symbols, Without::Sections] {
            if lacking != Without::Symbols || kind.symbols {
                count += 1;
                wrong.extend(one(programs, kind, lacking, &images).err());
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    say(&format!(
        "Go {version}: {count} programs tapped, each as it wrote itself"
    ));
}

/// `-coverpkg=all`: the runtime counts too, so a process is never at rest. What it writes of itself
/// lies between a tap before and one after, counter by counter.
fn everything_between(programs: &Programs) {
    let version = programs.version;
    let images = Images::default();
    let program = programs.path("all/torrent");
    for (loaded, lacking) in [
        (false, Without::Nothing),
        (true, Without::Nothing),
        (true, Without::Symbols),
        (true, Without::Sections),
    ] {
        let scratch = scratch();
        let scratch = scratch.path();
        let file = without(lacking, &program, scratch);
        let mut drill = Drill::start(command(&file, scratch));
        for line in WORK {
            drill.ask(line);
        }
        if loaded {
            drill.ask("load start 2");
        }
        let mut attached = attach(drill.pid(), &images);
        for _ in 0..3 {
            let before = settled(&mut attached);
            let own = folder(scratch, "own");
            drill.ask(&format!("dump {}", own.display()));
            let after = settled(&mut attached);
            assert_eq!(coverage::meta(&own).1, attached.meta().bytes());
            let (theirs, problems) = coverage::counters_and_problems(&own);
            // What ran before its package was initialised, the tap leaves out; Go's own writer puts
            // it under the first package, whatever that has there.
            let early = !after.dropped.is_empty();
            assert!(early || problems.is_empty(), "{problems:?}");
            let first = if early {
                let package = attached.meta().packages[0].as_ref().unwrap();
                package.functions().map(|f| f.units.len()).sum()
            } else {
                0
            };
            let (before, theirs, after) = (
                before.counters.values(),
                theirs.values(),
                after.counters.values(),
            );
            assert!(before.len() == theirs.len() && before.len() == after.len());
            let outside: Vec<_> = (first..before.len())
                .filter(|&i| before[i] > theirs[i] || theirs[i] > after[i])
                .map(|i| (i, before[i], theirs[i], after[i]))
                .collect();
            assert!(
                outside.is_empty(),
                "Go {version}: {} of {} counters (number, before, own, after): {:?}",
                outside.len(),
                before.len(),
                &outside[..outside.len().min(10)]
            );
            let at_rest = (0..before.len()).filter(|&i| before[i] == after[i]).count();
            assert!(at_rest > before.len() / 2, "{at_rest} of {}", before.len());
        }
        if loaded {
            drill.ask("load stop");
        }
        assert!(drill.die("die return").success());
    }
}

/// A snapshot in which all records fitted but those that ran before their package was initialised.
fn settled(attached: &mut Attached) -> Snapshot {
    let snapshot = attached.snapshot().unwrap();
    let early = |reason: &Dropped| *reason == Dropped::BeforePackage;
    assert!(snapshot.dropped.keys().all(early), "{:?}", snapshot.dropped);
    snapshot
}

/// What stands in for a container: its own mounts and process numbers, a root without anything but
/// the program and without anything to write to, another user, no capability, no new privileges.
const CONTAINER: &str = r#"
    mount -t tmpfs tmpfs "$1" && cp "$2" "$1/drill" && mount -o remount,ro "$1" && cd "$1" &&
    exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
        chroot --userspec=1001:1001 . /drill
"#;

/// A stripped program that nothing can be written for, from outside its namespaces.
fn contained(programs: &Programs) {
    let scratch = scratch();
    let scratch = scratch.path();
    let root = folder(scratch, "root");
    let drill = programs.path("static-stripped/drill");
    let mut command = command(Path::new("unshare"), scratch);
    command.args(["--mount", "--pid", "--fork", "--kill-child"]);
    command
        .args(["sh", "-c", CONTAINER, "sh"])
        .args([&root, &drill]);
    let mut inside = Drill::start_only(command);
    let Some(line) = inside.talk.line() else {
        let why = fs::read_to_string(scratch.join("stderr")).unwrap();
        say(&format!(
            "SKIPPED: the tap of a process in namespaces: {}",
            why.trim()
        ));
        return;
    };
    assert_eq!(line, "ready 1");
    for line in &WORK[..2] {
        inside.ask(line);
    }
    // unshare's only child.
    let parent = inside.pid();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let pid = children.trim().parse().unwrap();
    let mut attached = attach(pid, &Images::default());
    let seen = snapshot(&mut attached);
    let files = written(&attached, &seen);
    assert!(inside.die("die return").success());
    let (tap, own) = (folder(scratch, "tap"), folder(scratch, "own"));
    for (name, contents) in files {
        fs::write(tap.join(name), contents).unwrap();
    }
    let mut outside = Drill::start(starting(programs, Start::Drill, &drill, scratch, &own));
    for line in &WORK[..2] {
        outside.ask(line);
    }
    assert!(outside.die("die return").success());
    compare(programs, "in namespaces", &tap, &own, None).unwrap();
}

macro_rules! versions {
    ($($name:ident $version:literal)*) => {
        $(#[test]
        fn $name() {
            if let Some(programs) = Programs::of($version) {
                all(&programs);
                contained(&programs);
                everything_between(&programs);
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
