//! `covtap inspect`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use covtap_model::counter::CounterMode;
use covtap_model::inspect::{Inspection, SCHEMA, Source};

use super::surroundings::{
    Drill, Programs, VERSIONS, assert_code, assert_says, covtap, drill, newest, run, say, scratch,
    stderr, stdout,
};

/// The document about a program or process.
#[track_caller]
fn document(directory: &Path, what: &str, code: i32) -> Inspection {
    let output = run(directory, &["inspect", "--format", "json", what]);
    assert_code(&output, code);
    let document: Inspection = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document.schema, SCHEMA);
    document
}

/// What a piece of evidence says.
fn found(document: &Inspection, source: Source) -> Option<bool> {
    let program = document.program.as_ref().unwrap();
    let mut evidence = program.evidence.iter();
    evidence.find(|e| e.source == source).and_then(|e| e.found)
}

#[test]
fn files_tell_what_they_count() {
    let scratch = scratch();
    for version in VERSIONS {
        let Some(programs) = Programs::of(version) else {
            continue;
        };
        let paths = |document: &Inspection| -> Vec<String> {
            let packages = document.program.iter().flat_map(|p| &p.packages);
            packages.map(|p| p.path.clone()).collect()
        };
        let of = |name: &str, code| {
            let path = programs.path(name);
            document(scratch.path(), path.to_str().unwrap(), code)
        };
        let default = of("default/drill", 0);
        let program = default.program.as_ref().unwrap();
        assert!(program.instrumented && program.file.symbols && default.process.is_none());
        assert_eq!(program.exit_hook, Some(true));
        let go = program.go.as_ref().unwrap();
        assert_eq!(go.version, format!("go{version}"));
        assert_eq!(go.main_package, "example.org/drill/cmd/drill");
        assert_eq!(found(&default, Source::Counters), Some(true));
        // The same packages, however it was linked and stripped.
        for name in [
            "stripped",
            "strip",
            "pie",
            "pie-stripped",
            "pie-external-strip",
            "odd",
        ] {
            let other = of(&format!("{name}/drill"), 0);
            assert_eq!(paths(&other), paths(&default), "{version} {name}");
            let file = &other.program.as_ref().unwrap().file;
            assert_eq!(file.symbols, ["pie", "odd"].contains(&name), "{name}");
        }
        let without = of("without-main/drill", 0);
        assert_eq!(without.program.as_ref().unwrap().exit_hook, Some(false));
        assert!(!paths(&without).contains(&go.main_package));
        let plain = of("uninstrumented/drill", 1);
        assert!(!plain.program.as_ref().unwrap().instrumented);
        assert_eq!(found(&plain, Source::FunctionName), Some(false));
        assert_eq!(found(&plain, Source::Counters), Some(false));
        assert!(paths(&plain).is_empty());
        // Go records the setting since 1.23.
        let recorded = (!programs.before(23)).then_some(true);
        assert_eq!(found(&default, Source::BuildSetting), recorded);
    }
}

#[test]
fn people_read_it_too_and_secrets_stay_unseen() {
    let scratch = scratch();
    let Some(programs) = newest() else { return };
    let text = |name: &str, code| {
        let path = programs.path(name);
        let output = run(scratch.path(), &["inspect", path.to_str().unwrap()]);
        assert_code(&output, code);
        stdout(&output).to_owned()
    };
    assert_says(
        &text("default/drill", 0),
        &[
            "instrumented    yes",
            "+ function runtime.addCovMeta (name at byte ",
            "+ build setting -cover=true",
            "exit hook       yes",
            "mode            only known of a running process",
            "steps/branch ",
        ],
    );
    assert_says(
        &text("without-main/drill", 0),
        &["exit hook       no: package main is not instrumented"],
    );
    assert_says(
        &text("c-shared/lib.so", 0),
        &["shared library", "exit hook       no"],
    );
    assert_says(
        &text("uninstrumented/drill", 1),
        &[
            "instrumented    no",
            "- Go program without function runtime.addCovMeta",
        ],
    );
    // As `-ldflags='-X main.password=…'` would be.
    let cgo = text("cgo/drill", 0);
    assert_says(&cgo, &["may hold secrets: ", "CGO_LDFLAGS"]);
    assert!(!cgo.contains("CGO_LDFLAGS="), "{cgo}");
}

#[test]
fn a_process_is_looked_into_stage_by_stage() {
    let scratch = scratch();
    for version in VERSIONS {
        let Some(programs) = Programs::of(version) else {
            continue;
        };
        for (name, mode) in [
            ("static/drill", CounterMode::Set),
            ("pie-stripped/drill", CounterMode::Count),
            ("atomic/drill", CounterMode::Atomic),
        ] {
            let drill = drill(&programs, name, scratch.path());
            let seen = document(scratch.path(), &drill.pid().to_string(), 0);
            let process = seen.process.unwrap();
            assert_eq!(process.target.pid, drill.pid());
            assert_eq!(process.failed, None);
            assert_eq!(process.tap.unwrap().mode, mode);
            let layout = process.layout.unwrap();
            assert!(layout.counters_start < layout.counters_end);
            let snapshot = process.snapshot.unwrap();
            assert!(snapshot.statements.covered > 0 && snapshot.dropped == 0);
            let packages = seen.program.unwrap().packages;
            let sum: u64 = packages.iter().filter_map(|p| p.covered).sum();
            assert_eq!(sum, snapshot.statements.covered);
        }
        let plain = drill(&programs, "uninstrumented/drill", scratch.path());
        let seen = document(scratch.path(), &plain.pid().to_string(), 1);
        let failed = seen.process.unwrap().failed.unwrap();
        assert_says(&failed.error, &["is not instrumented"]);
    }
}

#[test]
fn digits_are_a_process_unless_a_file_has_the_name() {
    let scratch = scratch();
    let Some(programs) = newest() else { return };
    let drill = drill(&programs, "static/drill", scratch.path());
    let pid = drill.pid().to_string();
    assert!(document(scratch.path(), &pid, 0).process.is_some());
    fs::copy(programs.path("default/drill"), scratch.path().join(&pid)).unwrap();
    assert!(document(scratch.path(), &pid, 0).process.is_none());
    assert!(
        document(scratch.path(), &format!("./{pid}"), 0)
            .process
            .is_none()
    );
    let output = run(scratch.path(), &["inspect", "--pid", &pid]);
    assert_code(&output, 0);
    assert_says(stdout(&output), &["snapshot  ", "target          process "]);
}

#[test]
fn the_program_of_a_process_is_saved_even_when_its_file_is_gone() {
    let scratch = scratch();
    let Some(programs) = newest() else { return };
    let gone = scratch.path().join("gone");
    fs::create_dir(&gone).unwrap();
    fs::copy(programs.path("stripped/drill"), gone.join("drill")).unwrap();
    let child = Command::new(gone.join("drill"))
        .stdin(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    fs::remove_dir_all(&gone).unwrap();
    let pid = child.id().to_string();
    let output = run(scratch.path(), &["inspect", &pid, "--save", "saved"]);
    assert_code(&output, 0);
    assert_says(
        stdout(&output),
        &["stripped (of names: that proves nothing)"],
    );
    let saved = fs::read(scratch.path().join("saved")).unwrap();
    assert!(saved == fs::read(programs.path("stripped/drill")).unwrap());
    assert!(
        document(scratch.path(), "saved", 0)
            .program
            .unwrap()
            .instrumented
    );

    let output = run(
        scratch.path(),
        &["inspect", &pid, "--save", "no/such/folder"],
    );
    assert_code(&output, 2);
    assert_says(
        stderr(&output),
        &["error: cannot copy the program of process "],
    );
    let output = run(scratch.path(), &["inspect", "saved", "--save", "again"]);
    assert_code(&output, 2);
    drop(child.stdin.take());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_looked_at_is_named() {
    let scratch = scratch();
    let path = scratch.path();
    fs::write(path.join("empty"), "").unwrap();
    fs::write(path.join("script"), "#!/bin/sh\n").unwrap();
    fs::write(path.join("text"), "hello, world").unwrap();
    let mut small = b"\x7fELF\x01\x01\x01".to_vec();
    small.resize(64, 0);
    fs::write(path.join("small"), small).unwrap();
    fs::write(path.join("cut"), b"\x7fELF\x02\x01\x01").unwrap();
    fs::create_dir(path.join("folder")).unwrap();
    let gone = {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id().to_string()
    };
    let cases: [(&str, &[&str]); 10] = [
        ("nothing", &["cannot inspect nothing: No such file"]),
        ("empty", &["not an ELF file (it is empty)"]),
        (
            "script",
            &[
                "not an ELF file (a script)",
                "hint: name the program that it starts",
            ],
        ),
        (
            "text",
            &["not an ELF file (its first bytes are not 7f 45 4c 46)"],
        ),
        ("small", &["a 32-bit program is not supported"]),
        ("cut", &["damaged ELF file"]),
        ("folder", &["it is a directory"]),
        ("/dev/null", &["it is no regular file"]),
        (&gone, &["there is no process "]),
        ("2", &["process 2 "]),
    ];
    for (what, expected) in cases {
        // In a pid namespace of its own this machine may have no kernel threads.
        if what == "2"
            && !fs::read_link("/proc/2/exe").is_err_and(|_| Path::new("/proc/2").exists())
        {
            say("SKIPPED: inspecting a kernel thread: process 2 is none");
            continue;
        }
        let output = run(path, &["inspect", what]);
        assert_code(&output, 2);
        assert_says(stderr(&output), expected);
    }
}

#[test]
fn a_zombie_is_named() {
    let scratch = scratch();
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    // The end of its output is the end of its life; nobody has waited for it.
    let status = rustix::process::waitid(
        rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&child)),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    );
    assert!(status.unwrap().is_some());
    let output = run(scratch.path(), &["inspect", &child.id().to_string()]);
    child.wait().unwrap();
    assert_code(&output, 2);
    assert_says(stderr(&output), &["it is a zombie"]);
}

#[test]
fn another_user_is_told_what_is_missing() {
    let scratch = scratch();
    let Some(programs) = newest() else { return };
    if !rustix::process::geteuid().is_root() {
        say("SKIPPED: inspecting as another user: needs root");
        return;
    }
    let drill = drill(&programs, "static/drill", scratch.path());
    // The folder of the build may be closed to others.
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let covtap_there = open.path().join("covtap");
    fs::copy(env!("CARGO_BIN_EXE_covtap"), &covtap_there).unwrap();
    let mut setpriv = Command::new("setpriv");
    setpriv
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&covtap_there)
        .args(["inspect", &drill.pid().to_string()])
        .current_dir(open.path())
        .stdin(Stdio::null());
    let Ok(output) = setpriv.output() else {
        say("SKIPPED: inspecting as another user: no setpriv");
        return;
    };
    assert_code(&output, 2);
    assert_says(
        stderr(&output),
        &[
            "may not read the memory of process ",
            "it runs as user 0, covtap as user 65534 without CAP_SYS_PTRACE",
            "hint: run covtap as root",
        ],
    );
}

#[test]
fn a_hostile_name_moves_no_cursor() {
    let scratch = scratch();
    let Some(programs) = newest() else { return };
    let mut hostile = Command::new(programs.path("static/drill"));
    hostile.arg0("evil\u{1b}[2J\u{202e}\nname");
    let drill = Drill::start(hostile);
    let output = run(scratch.path(), &["inspect", &drill.pid().to_string()]);
    assert_code(&output, 0);
    assert_says(
        stdout(&output),
        &["called evil\\u{1b}[2J\\u{202e}\\u{a}name"],
    );
    assert!(!stdout(&output).contains(['\u{1b}', '\u{202e}']));
    // A file of such a name, too.
    let odd = scratch.path().join("a\u{1b}]0;x\u{7}b");
    fs::copy(programs.path("static/drill"), &odd).unwrap();
    let mut covtap = covtap(scratch.path(), &["inspect"]);
    let output = covtap.arg(&odd).output().unwrap();
    assert_code(&output, 0);
    assert!(!stdout(&output).contains('\u{1b}'));
}
