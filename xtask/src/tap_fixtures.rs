//! Programs for the tests of the tap: `fixtures/tap`, built by each toolchain in every way that
//! changes where the counters lie or how they can be found.
//!
//! ```text
//! <cache>/tap/<recipe>/<go version>/
//!   <kind>/<program>     a row of KINDS
//!   launcher, host       starts others; a C program that loads c-shared/lib.so
//! ```
//! What the programs do and understand is said in their own sources.
//!
//! The recipe's hash covers the sources and this file, as for the other fixtures. A kind that
//! compiles the standard library anew (`-race`, position independent, instrumented as a whole)
//! costs ten seconds a version and holds as few programs as will do; most other kinds use
//! `-trimpath`, whose standard library the other fixtures need as well.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::sh::{self, About, Result, cmd};
use crate::toolchains::{self, Toolchain};

/// One way to build.
struct Kind {
    /// Name of its folder.
    name: &'static str,
    /// Whether C code may be part of it.
    cgo: bool,
    /// Arguments of `go`, without `-o` and the packages.
    args: &'static [&'static str],
    /// What to build, in `fixtures/tap/drill`.
    packages: &'static [&'static str],
    /// The name of the one thing that is built, where it is not that of its package.
    file: Option<&'static str>,
}

/// A kind that builds the drill.
const fn drill(name: &'static str, cgo: bool, args: &'static [&'static str]) -> Kind {
    Kind {
        name,
        cgo,
        args,
        packages: &["./cmd/drill"],
        file: None,
    }
}

/// All kinds, those that share compiled packages together. Modes are spread over them.
const KINDS: &[Kind] = &[
    // Without -trimpath, as most people build; linked dynamically, because of os/user.
    drill("default", true, &["build", "-cover"]),
    drill("count", true, &["build", "-cover", "-covermode=count"]),
    drill("atomic", true, &["build", "-cover", "-covermode=atomic"]),
    drill("stripped", true, &["build", "-cover", "-ldflags=-s -w"]),
    drill(
        "cgo",
        true,
        &["build", "-cover", "-tags=native", "-covermode=atomic"],
    ),
    drill(
        "cgo-static",
        true,
        &[
            "build",
            "-cover",
            "-tags=native",
            "-ldflags=-linkmode=external -extldflags=-static",
        ],
    ),
    // Position independent code; c-shared has the same packages.
    drill("pie", true, &["build", "-cover", "-buildmode=pie"]),
    drill(
        "pie-stripped",
        true,
        &[
            "build",
            "-cover",
            "-covermode=count",
            "-buildmode=pie",
            "-ldflags=-s -w",
        ],
    ),
    drill(
        "pie-external",
        true,
        &[
            "build",
            "-cover",
            "-covermode=atomic",
            "-buildmode=pie",
            "-ldflags=-linkmode=external",
        ],
    ),
    Kind {
        name: "c-shared",
        cgo: true,
        args: &[
            "build",
            "-cover",
            "-covermode=atomic",
            "-buildmode=c-shared",
        ],
        packages: &["./cmd/lib"],
        file: Some("lib.so"),
    },
    drill("race", true, &["build", "-cover", "-race"]),
    // Without C: static.
    Kind {
        name: "uninstrumented",
        cgo: false,
        args: &["build", "-trimpath"],
        packages: &["./cmd/drill", "./cmd/short", "./cmd/service"],
        file: None,
    },
    Kind {
        name: "static",
        cgo: false,
        args: &["build", "-cover", "-covermode=set", "-trimpath"],
        packages: &["./cmd/drill", "./cmd/short", "./cmd/torrent"],
        file: None,
    },
    Kind {
        name: "static-atomic",
        cgo: false,
        args: &["build", "-cover", "-covermode=atomic", "-trimpath"],
        packages: &[
            "./cmd/drill",
            "./cmd/short",
            "./cmd/torrent",
            "./cmd/service",
        ],
        file: None,
    },
    drill(
        "static-stripped",
        false,
        &[
            "build",
            "-cover",
            "-covermode=count",
            "-trimpath",
            "-ldflags=-s -w",
        ],
    ),
    // The counters begin at an odd address. Its twin is the drill of `static`.
    drill("odd", false, &["build", "-cover", "-trimpath", "-tags=odd"]),
    // No instrumented main, so nothing is ever written; and the same with it.
    drill(
        "without-main",
        false,
        &[
            "build",
            "-cover",
            "-trimpath",
            "-coverpkg=example.org/drill/steps/...",
        ],
    ),
    drill(
        "with-main",
        false,
        &[
            "build",
            "-cover",
            "-trimpath",
            "-coverpkg=example.org/drill/steps/...,example.org/drill/cmd/drill",
        ],
    ),
    Kind {
        name: "test",
        cgo: false,
        args: &[
            "test",
            "-c",
            "-cover",
            "-covermode=atomic",
            "-trimpath",
            "-coverpkg=example.org/drill/steps/...",
        ],
        packages: &["./steps"],
        file: Some("drill.test"),
    },
    // The standard library and the runtime too.
    Kind {
        name: "all",
        cgo: false,
        args: &[
            "build",
            "-cover",
            "-covermode=atomic",
            "-trimpath",
            "-coverpkg=all",
        ],
        packages: &["./cmd/torrent"],
        file: None,
    },
];

/// Programs whose symbols and sections' names binutils take away: from, to.
const STRIPPED: [(&str, &str); 2] = [
    ("atomic/drill", "strip/drill"),
    ("pie-external/drill", "pie-external-strip/drill"),
];

/// Functions of the package `torrent`; no multiple of its stride.
const TORRENT: usize = 3000;

/// Handlers of the service, and the packages that share them.
const HANDLERS: usize = 200;
const PACKAGES: [&str; 4] = ["north", "east", "south", "west"];

/// The task.
pub(crate) fn task(args: &[String]) -> Result {
    let versions: Vec<&str> = if args.is_empty() {
        toolchains::SOME.to_vec()
    } else {
        args.iter().map(String::as_str).collect()
    };
    for version in versions {
        println!("go {version}  {}", get(version)?.display());
    }
    Ok(())
}

/// The folder of this version's programs; built first when it is not there.
pub(crate) fn get(version: &str) -> Result<PathBuf> {
    let repository = crate::repository();
    let folder = cache::tap(&repository).about("the recipe in fixtures/tap")?;
    let home = folder.join(version);
    if home.is_dir() {
        return Ok(home);
    }
    let toolchain = toolchains::get(version)?;
    let temporary = folder.join(format!(".{version}.{}", std::process::id()));
    sh::rmdir(&temporary)?;
    let source = temporary.join("src");
    copy(&repository.join("fixtures/tap"), &source)?;
    generate(&source.join("drill"))?;
    eprintln!("building the tap's programs with Go {version} …");
    for kind in KINDS {
        build(&toolchain, &source.join("drill"), kind, &temporary)?;
    }
    for (from, to) in STRIPPED {
        let to = temporary.join(to);
        sh::mkdir(to.parent().unwrap_or(&temporary))?;
        let mut strip = cmd("strip", &["-s", "-o"]);
        sh::quiet(strip.arg(to).arg(temporary.join(from)))?;
    }
    let launcher = temporary.join("launcher");
    let launcher = launcher.to_string_lossy();
    let args = ["build", "-trimpath", "-o", &launcher, "./cmd/launcher"];
    sh::quiet(&mut toolchain.go(&source.join("console"), &args)?)?;
    let host = source.join("host/host.c");
    let mut cc = cmd("cc", &["-O1", "-Wall", "-Werror", "-o"]);
    sh::quiet(cc.arg(temporary.join("host")).arg(host).arg("-ldl"))?;
    sh::rmdir(&source)?;
    sh::publish(&temporary, &home)?;
    Ok(home)
}

/// Builds the programs of one kind.
fn build(toolchain: &Toolchain, source: &Path, kind: &Kind, home: &Path) -> Result {
    let folder = home.join(kind.name);
    sh::mkdir(&folder)?;
    // With a slash at its end it is a folder to `go`.
    let out = folder.join(kind.file.unwrap_or_default());
    let out = out.to_string_lossy();
    let mut args = kind.args.to_vec();
    args.extend(["-o", &out]);
    args.extend(kind.packages);
    let mut command = toolchain.go(source, &args)?;
    command.env("CGO_ENABLED", if kind.cgo { "1" } else { "0" });
    sh::quiet(&mut command)?;
    Ok(())
}

/// Copies a folder of sources.
fn copy(from: &Path, to: &Path) -> Result {
    sh::mkdir(to)?;
    for entry in std::fs::read_dir(from).about(from.display())? {
        let entry = entry.about(from.display())?;
        let to = to.join(entry.file_name());
        if entry.file_type().about(from.display())?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to).about(to.display())?;
        }
    }
    Ok(())
}

/// Writes the sources that are too long to be read.
fn generate(drill: &Path) -> Result {
    sh::write(&drill.join("torrent/functions.go"), torrent())?;
    let share = HANDLERS / PACKAGES.len();
    for (i, package) in PACKAGES.iter().enumerate() {
        let folder = drill.join("service").join(package);
        sh::mkdir(&folder)?;
        let numbers = i * share..(i + 1) * share;
        sh::write(&folder.join("handlers.go"), handlers(package, numbers))?;
    }
    Ok(())
}

/// Thousands of functions, one to six units each.
fn torrent() -> String {
    let mut text = String::from("package torrent\n\nvar functions = []func(int) int{\n");
    for i in 0..TORRENT {
        let _ = writeln!(text, "\tf{i},");
    }
    text += "}\n";
    for i in 0..TORRENT {
        let _ = write!(text, "\n//go:noinline\nfunc f{i}(n int) int {{\n");
        for unit in 0..i % 6 {
            let _ = write!(
                text,
                "\tif n%{} == 0 {{\n\t\tn += {i}\n\t}}\n",
                unit * 2 + 1
            );
        }
        text += "\treturn n\n}\n";
    }
    text
}

/// HTTP handlers, a function for each, and `Handlers`, which has them by path.
fn handlers(package: &str, numbers: std::ops::Range<usize>) -> String {
    let mut text = format!("package {package}\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n)\n\n");
    text += "// Handlers by path.\nvar Handlers = map[string]http.HandlerFunc{\n";
    for i in numbers.clone() {
        let _ = writeln!(text, "\t\"/h/{i}\": h{i},");
    }
    text += "}\n";
    for i in numbers {
        let _ = write!(
            text,
            "\nfunc h{i}(w http.ResponseWriter, r *http.Request) {{\n\tif r.Method != http.MethodGet {{\n\
             \t\tw.WriteHeader(http.StatusMethodNotAllowed)\n\t\treturn\n\t}}\n\tfmt.Fprintln(w, {i})\n}}\n"
        );
    }
    text
}
