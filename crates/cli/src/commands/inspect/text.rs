//! What `covtap inspect` says to people.

use std::fmt::{Display, Write as _};

use covtap_model::inspect::{GoBuild, Inspection, Kind, Process, Program};
use covtap_model::percent::Ratio;
use covtap_model::problem::printable;

use super::base_name;
use crate::output::{BAD, CARE, FAINT, GOOD, HEAD};
use crate::units::count;

/// Columns of the names on the left.
const LEFT: usize = 15;

pub(super) fn text(inspection: &Inspection) -> String {
    let mut out = String::new();
    if let Some(program) = &inspection.program {
        of_program(&mut out, program, inspection.process.as_ref());
    }
    if let Some(process) = &inspection.process {
        of_process(&mut out, process);
    }
    if let Some(program) = &inspection.program {
        packages(&mut out, program);
    }
    out
}

/// One line; further lines of the same name have an empty one.
fn line(out: &mut String, name: &str, value: impl Display) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{name:LEFT$} {value}");
}

/// A text from outside.
fn safe(text: &str) -> String {
    printable(text).into_owned()
}

fn of_program(out: &mut String, program: &Program, process: Option<&Process>) {
    line(
        out,
        "program",
        format_args!("{HEAD}{}{HEAD:#}", safe(&program.path)),
    );
    if program.instrumented {
        line(out, "instrumented", format_args!("{GOOD}yes{GOOD:#}"));
    } else {
        line(out, "instrumented", format_args!("{BAD}no{BAD:#}"));
    }
    for (i, evidence) in program.evidence.iter().enumerate() {
        let mark = match evidence.found {
            Some(true) => "+",
            Some(false) => "-",
            None => "?",
        };
        let name = if i == 0 { "evidence" } else { "" };
        line(out, name, format_args!("{mark} {}", safe(&evidence.detail)));
    }
    exit_hook(out, program);
    if program.instrumented && process.is_none() {
        line(
            out,
            "mode",
            "only known of a running process: covtap inspect PID",
        );
    }
    if let Some(go) = &program.go {
        of_build(out, go);
    }
    let file = &program.file;
    let kind = match file.kind {
        Kind::Fixed => "fixed address",
        Kind::PositionIndependent => "position independent",
        Kind::Library => "shared library",
    };
    let linked = if file.dynamic || file.kind == Kind::Library {
        "dynamic"
    } else {
        "static"
    };
    let stripped = match (file.symbols, file.sections) {
        (true, _) => "with symbols",
        (false, true) => "stripped (of names: that proves nothing)",
        (false, false) => "stripped, without sections (that proves nothing)",
    };
    line(
        out,
        "file",
        format_args!("{}, {kind}, {linked}, {stripped}", safe(&file.architecture)),
    );
    if let Some(id) = &file.go_build_id {
        line(out, "build id", safe(id));
    }
    if let Some(id) = &file.gnu_build_id {
        line(out, "GNU build id", safe(id));
    }
}

/// Whether it writes its counters itself, and what follows if it does not.
fn exit_hook(out: &mut String, program: &Program) {
    let Some(hook) = program.exit_hook else {
        return;
    };
    let go = program.go.as_ref();
    if go.is_some_and(|go| go.main_package.ends_with(".test")) {
        let what = "test binary: it writes what -test.coverprofile or -test.gocoverdir ask for";
        line(out, "exit hook", what);
        return;
    }
    let because = match (program.file.kind, hook) {
        (Kind::Library, _) => "a C program that loads it ends without running it",
        (_, false) => "package main is not instrumented",
        (_, true) => {
            line(
                out,
                "exit hook",
                "yes: it writes its counters itself when it exits",
            );
            return;
        }
    };
    let no = format_args!("{CARE}no{CARE:#}: {because}, so nothing writes its counters by itself;");
    line(out, "exit hook", no);
    line(out, "", "covtap reads them out of the memory all the same");
}

fn of_build(out: &mut String, go: &GoBuild) {
    let known = |text: &str| {
        if text.is_empty() {
            "(not recorded)".to_owned()
        } else {
            safe(text)
        }
    };
    line(out, "Go", known(&go.version));
    line(out, "main package", known(&go.main_package));
    line(out, "module", known(&go.module));
    let mut name = "settings";
    for setting in &go.settings {
        if let Some(value) = &setting.value {
            line(
                out,
                name,
                format_args!("{}={}", safe(&setting.name), safe(value)),
            );
            name = "";
        }
    }
    let hidden: Vec<String> = go
        .settings
        .iter()
        .filter(|s| s.value.is_none())
        .map(|s| safe(&s.name))
        .collect();
    if !hidden.is_empty() {
        let hidden = hidden.join(", ");
        line(
            out,
            name,
            format_args!("{FAINT}not shown, as they may hold secrets: {hidden}{FAINT:#}"),
        );
    }
}

fn of_process(out: &mut String, process: &Process) {
    let target = &process.target;
    let _ = writeln!(out);
    let name = target.executable.as_deref().map_or("?", base_name);
    let mut shown = format!("{HEAD}process {}{HEAD:#} ({})", target.pid, safe(name));
    if target.inner_pid != target.pid {
        let _ = write!(shown, ", {} in its own pid namespace", target.inner_pid);
    }
    line(out, "target", shown);
    if let Some(called) = target.called.as_deref().filter(|c| !c.is_empty()) {
        line(out, "", format_args!("called {}", safe(called)));
    }
    line(out, "", format_args!("started {}", target.started));
    if let Some(image) = &process.image {
        line(out, "image", safe(&image.path));
        line(
            out,
            "",
            format_args!("{}, loaded at {:#x}", safe(&image.architecture), image.bias),
        );
    }
    if let Some(layout) = &process.layout {
        line(
            out,
            "layout",
            format_args!("found by {}", safe(&layout.found_by)),
        );
        line(
            out,
            "",
            format_args!("module data at {:#x}", layout.module_data),
        );
        line(out, "", format_args!("package list at {:#x}", layout.list));
        if let Some(hash) = layout.final_hash {
            line(out, "", format_args!("hash of the runtime at {hash:#x}"));
        }
        let (start, end) = (layout.counters_start, layout.counters_end);
        line(
            out,
            "",
            format_args!(
                "counters at {start:#x}..{end:#x} ({} bytes)",
                end.saturating_sub(start)
            ),
        );
    }
    if let Some(tap) = &process.tap {
        line(
            out,
            "tap",
            format_args!("mode {}, meta-data {}", tap.mode, tap.hash),
        );
        let sizes = [
            count(tap.packages as usize, "package", "packages"),
            count(tap.functions as usize, "function", "functions"),
            count(tap.units as usize, "unit", "units"),
        ];
        line(out, "", sizes.join(", "));
    }
    if let Some(snapshot) = &process.snapshot {
        let Ratio { covered, total } = snapshot.statements;
        line(
            out,
            "snapshot",
            format_args!(
                "{HEAD}{}{HEAD:#}: {covered} of {total} statements, {} ran",
                snapshot.statements,
                count(snapshot.functions_run as usize, "function", "functions")
            ),
        );
        line(
            out,
            "",
            format_args!(
                "{}, {}, {} bytes",
                snapshot.at,
                count(snapshot.reads as usize, "read", "reads"),
                snapshot.bytes
            ),
        );
        if snapshot.dropped > 0 {
            line(
                out,
                "",
                format_args!(
                    "{CARE}{} left out{CARE:#}: they do not fit the meta-data",
                    count(snapshot.dropped as usize, "record", "records")
                ),
            );
        }
    }
    if let Some(failed) = &process.failed {
        line(out, "no further", safe(&failed.error));
    }
}

fn packages(out: &mut String, program: &Program) {
    if program.packages.is_empty() {
        return;
    }
    let covered = program.packages.iter().all(|p| p.covered.is_some());
    let _ = writeln!(out);
    let paths: Vec<String> = program.packages.iter().map(|p| safe(&p.path)).collect();
    let widest = paths.iter().map(|p| p.chars().count()).max().unwrap_or(0);
    let width = widest.max("PACKAGE".len());
    let mut row = |cells: [&str; 4], last: Option<String>, bold: bool| {
        let [path, functions, units, statements] = cells;
        let (on, off) = if bold {
            (format!("{HEAD}"), format!("{HEAD:#}"))
        } else {
            Default::default()
        };
        let last = last.map(|l| format!("  {l:>8}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "{on}{path:width$}  {functions:>9}  {units:>7}  {statements:>10}{last}{off}"
        );
    };
    let head = ["PACKAGE", "FUNCTIONS", "UNITS", "STATEMENTS"];
    row(head, covered.then(|| "COVERED".into()), true);
    let mut sums = [0; 3];
    let mut all = Ratio::default();
    for (package, path) in program.packages.iter().zip(&paths) {
        let numbers = [package.functions, package.units, package.statements];
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += number;
        }
        let ratio = package
            .covered
            .map(|c| Ratio::new(c.min(package.statements), package.statements));
        all += ratio.unwrap_or_default();
        let [a, b, c] = numbers.map(|n| n.to_string());
        row([path, &a, &b, &c], ratio.map(|r| r.to_string()), false);
    }
    let [a, b, c] = sums.map(|n| n.to_string());
    row(
        ["Total", &a, &b, &c],
        covered.then(|| all.to_string()),
        true,
    );
}
