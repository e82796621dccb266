//! A small Go module with real coverage, and the tools that read our reports.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use covtap_model::counter::CounterMode;
use covtap_model::coverage::{Coverage, File, Function, Package, Unit};

/// Says loudly that a test did nothing, and why: past the test runner, which hides what a test
/// prints when it passes, and on a line of its own.
pub(crate) fn skipped(test: &str, why: &str) {
    use std::io::Write as _;
    let line = format!("\nSKIPPED: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The program, when it starts at all.
pub(crate) fn program(name: &str, probe: &str) -> Option<PathBuf> {
    let ran = Command::new(name).arg(probe).output();
    ran.is_ok_and(|o| o.status.success())
        .then(|| PathBuf::from(name))
}

/// A Python that has pycobertura: `COVTAP_PYTHON`, `COVTAP_TEST_VENV/bin/python`, or the one on
/// the path (`cargo xtask ci` puts its own there).
pub(crate) fn python_with_pycobertura() -> Option<PathBuf> {
    let venv = std::env::var_os("COVTAP_TEST_VENV").map(|d| Path::new(&d).join("bin/python"));
    [
        std::env::var_os("COVTAP_PYTHON").map(PathBuf::from),
        venv,
        Some("python3".into()),
    ]
    .into_iter()
    .flatten()
    .find(|python| {
        Command::new(python)
            .args(["-c", "import pycobertura"])
            .output()
            .is_ok_and(|o| o.status.success())
    })
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    );
    assert!(
        status.success(),
        "{command:?}: {status}\n{stdout}\n{stderr}"
    );
    stdout
}

pub(crate) const MAIN: &str = "package main

import \"example.org/tiny/pkg/cart\"

func main() {
	if cart.Put(3) > 5 {
		println(\"many\")
	}
}
";

pub(crate) const CART: &str = "package cart

// Put adds.
func Put(n int) int {
	if n < 0 {
		return 0
	}
	return n + 1
}

func Get(n int) int {
	for i := 0; i < n; i++ {
		if i > 2 { return i }
	}
	return n
}
";

/// Writes the module into `dir`.
pub(crate) fn write_module(dir: &Path) {
    for (path, text) in [
        ("go.mod", "module example.org/tiny\n\ngo 1.21\n"),
        ("cmd/tiny/main.go", MAIN),
        ("pkg/cart/cart.go", CART),
    ] {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn file(name: &str, functions: &[(&str, &[[u32; 6]])]) -> File {
    File {
        name: name.into(),
        functions: functions
            .iter()
            .map(|(name, units)| Function {
                name: (*name).into(),
                literal: false,
                units: units
                    .iter()
                    .map(|&[sl, sc, el, ec, statements, count]| Unit {
                        start_line: sl,
                        start_column: sc,
                        end_line: el,
                        end_column: ec,
                        statements,
                        count: count.into(),
                    })
                    .collect(),
            })
            .collect(),
        ..File::default()
    }
}

/// What one run of the module gives: `main` calls `Put`, nothing calls `Get`.
pub(crate) fn coverage() -> Coverage {
    let package = |path: &str, name: &str, file: File| Package {
        path: path.into(),
        name: name.into(),
        module: "example.org/tiny".into(),
        files: vec![file],
        ..Package::default()
    };
    Coverage::new(
        "covtap 0.0.0",
        CounterMode::Count,
        vec![
            package(
                "example.org/tiny/cmd/tiny",
                "main",
                file(
                    "example.org/tiny/cmd/tiny/main.go",
                    &[("main", &[[5, 13, 6, 21, 1, 7], [6, 21, 8, 3, 1, 0]])],
                ),
            ),
            package(
                "example.org/tiny/pkg/cart",
                "cart",
                file(
                    "example.org/tiny/pkg/cart/cart.go",
                    &[
                        (
                            "Put",
                            &[
                                [4, 21, 5, 11, 1, 7],
                                [5, 11, 7, 3, 1, 0],
                                [8, 2, 8, 14, 1, 7],
                            ],
                        ),
                        (
                            "Get",
                            &[
                                [11, 21, 12, 25, 1, 0],
                                [12, 25, 13, 12, 1, 0],
                                [13, 12, 13, 24, 1, 0],
                                [15, 2, 15, 10, 1, 0],
                            ],
                        ),
                    ],
                ),
            ),
        ],
    )
}
