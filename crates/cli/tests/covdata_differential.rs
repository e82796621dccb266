//! `covtap covdata` beside Go's own tool: the same flags, the same data, the same answer.
//!
//! The data and Go's answers are recorded by `cargo xtask fixtures` with seven versions of Go; its
//! module documentation draws the layout. Directories that covtap writes are read back by that
//! version's own `covdata`. Where fixtures are missing the test says `SKIPPED: ` and why.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

#[path = "../../../xtask/src/cache.rs"]
#[allow(dead_code, reason = "shared with xtask, which uses more of it")]
mod cache;

/// How many differences are shown whole.
const SHOWN: usize = 5;

/// What one check found: nothing, or a description of the difference.
type Verdict = Result<(), String>;

/// The folder with one folder for each version of Go.
fn fixtures() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("COVTAP_FIXTURES") {
        return Some(PathBuf::from(folder));
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    cache::fixtures(&repository.canonicalize().ok()?).ok()
}

/// Prints a line past the test runner, which hides what a test says when it passes.
fn say(line: &str) {
    let line = format!("\n{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Runs every check of every case recorded with this version.
fn compare_with(version: &str) {
    let Some(home) = fixtures().map(|f| f.join(version)).filter(|f| f.is_dir()) else {
        say(&format!(
            "SKIPPED: covdata of Go {version}: no fixtures; run: cargo xtask fixtures {version}"
        ));
        return;
    };
    let covdata = cache::covdata(version).filter(|path| path.is_file());
    let covdata = covdata.unwrap_or_else(|| {
        panic!("Go {version}'s covdata is missing; run: cargo xtask toolchains {version}")
    });
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&home)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.json").is_file())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{} holds no case", home.display());
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("covdata-{version}"));
    let (mut count, mut wrong) = (0, Vec::new());
    for case in cases {
        let text = std::fs::read_to_string(case.join("case.json")).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        for check in document["checks"].as_array().unwrap() {
            count += 1;
            if let Err(difference) = one(&case, check, &covdata, &scratch) {
                wrong.push(difference);
            }
        }
    }
    assert!(count > 300, "only {count} checks in {}", home.display());
    say(&format!("Go {version}: {count} answers compared"));
    if !wrong.is_empty() {
        let shown: Vec<&str> = wrong.iter().take(SHOWN).map(String::as_str).collect();
        panic!(
            "Go {version}: {} of {count} answers differ; the first:\n\n{}",
            wrong.len(),
            shown.join("\n\n")
        );
    }
}

/// Runs one check.
fn one(case: &Path, check: &Value, covdata: &Path, scratch: &Path) -> Verdict {
    if scratch.exists() {
        std::fs::remove_dir_all(scratch).unwrap();
    }
    std::fs::create_dir_all(scratch).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
    command.arg("covdata").current_dir(case);
    for arg in check["args"].as_array().unwrap() {
        command.arg(arg.as_str().unwrap());
    }
    let profile = scratch.join("profile");
    let directory = scratch.join("directory");
    let fails = check["fails"] == true;
    if check["profile"].is_string() || (fails && check["args"][0] == "textfmt") {
        command.arg(format!("-o={}", profile.display()));
    } else if check["directory"].is_string() {
        std::fs::create_dir(&directory).unwrap();
        command.arg(format!("-o={}", directory.display()));
    }
    let out = command.output().unwrap();
    let about = format!(
        "{}: {:?}",
        case.file_name().unwrap().display(),
        command.get_args().collect::<Vec<_>>()
    );
    if fails == out.status.success() {
        return Err(format!("{about}\n{}\n{}", out.status, text(&out.stderr)));
    }
    if fails {
        return Ok(());
    }
    let expected = |name: &str| {
        let path = case.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let stderr = text(&out.stderr);
    if let Some(name) = check["stdout"].as_str() {
        let (go, ours) = (expected(name), text(&out.stdout));
        same(&about, &stdout(check, &go), &stdout(check, &ours), &stderr)?;
    }
    if let Some(name) = check["profile"].as_str() {
        let ours = std::fs::read_to_string(&profile).map_err(|e| format!("{about}\n-o: {e}"))?;
        same(&about, &expected(name), &ours, &stderr)?;
    }
    if let Some(name) = check["directory"].as_str() {
        let input = format!("-i={}", directory.display());
        let go = |args: &[&str]| -> Result<String, String> {
            let out: Output = Command::new(covdata).args(args).output().unwrap();
            // Go's tool warns of files that it does not use and goes on.
            if !out.status.success() || !out.stderr.is_empty() {
                let said = text(&out.stderr);
                return Err(format!(
                    "{about}\nGo on our directory: {}\n{said}",
                    out.status
                ));
            }
            Ok(text(&out.stdout))
        };
        let output = format!("-o={}", profile.display());
        go(&["textfmt", &input, &output])?;
        let ours = std::fs::read_to_string(&profile).unwrap();
        let part = |file: &str| {
            (
                format!("{about}: {file}"),
                expected(&format!("{name}/{file}")),
            )
        };
        let (what, wanted) = part("textfmt.txt");
        same(&what, &wanted, &ours, &stderr)?;
        let (what, wanted) = part("func.txt");
        same(&what, &wanted, &go(&["func", &input])?, &stderr)?;
        let (what, wanted) = part("debugdump.txt");
        same(
            &what,
            &wanted,
            &anonymous(&go(&["debugdump", &input])?),
            &stderr,
        )?;
        let (what, wanted) = part("metas.txt");
        let ours = metas(&directory);
        if rewritten(check) && hashes_with_md5(case) {
            let counted = |names: &str| format!("{} files", names.lines().count());
            same(&what, &counted(&wanted), &counted(&ours), &stderr)?;
        } else {
            same(&what, &wanted, &ours, &stderr)?;
        }
    }
    Ok(())
}

/// Whether the meta-data are written anew, under a hash that the writer computes, and not copied.
fn rewritten(check: &Value) -> bool {
    let args = check["args"].as_array().unwrap();
    args.iter()
        .any(|arg| arg == "-pcombine" || arg.as_str().unwrap().starts_with("-pkg="))
}

/// Whether this case's Go names rewritten meta-data by MD5, as Go did until 1.23. covtap always
/// uses FNV-1a as Go does since, and readers take any hash that the file and its name agree on.
fn hashes_with_md5(case: &Path) -> bool {
    ["1.21.", "1.22.", "1.23."].iter().any(|old| {
        let version = case.parent().and_then(Path::file_name).unwrap();
        version.to_str().unwrap().starts_with(old)
    })
}

/// What is compared of a command's standard output.
fn stdout(check: &Value, text: &str) -> String {
    match check["args"][0].as_str() {
        // The command line differs, nothing else.
        Some("debugdump") => text
            .lines()
            .filter(|line| !line.starts_with(" *\t"))
            .fold(String::new(), |all, line| all + line + "\n"),
        Some("percent") => newlines(text),
        _ => text.to_owned(),
    }
}

/// Go's `percent` ends no line after a package without statements: `\tquiet\t\t\tshape\t\t…`. A
/// line is a tab, the package, two tabs, and the figure where there is one.
fn newlines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(at) = rest.find("\t\t\t") {
            let (head, tail) = rest.split_at(at);
            let _ = writeln!(out, "{head}\t\t");
            rest = &tail[2..];
        }
        let _ = writeln!(out, "{rest}");
    }
    out
}

/// As the recorder keeps a dump: without the command line and the names of counter files.
fn anonymous(dump: &str) -> String {
    let mut out = String::new();
    for line in dump.lines().filter(|line| !line.starts_with(" *")) {
        let line = match line.strip_prefix("data file ") {
            Some(rest) => format!("data file{}", rest.find(' ').map_or("", |at| &rest[at..])),
            None => line.to_owned(),
        };
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Names of the covmeta files, sorted.
fn metas(directory: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("covmeta."))
        .collect();
    names.sort();
    names
        .iter()
        .fold(String::new(), |all, name| all + name + "\n")
}

/// The first line in which two texts differ.
fn same(about: &str, go: &str, ours: &str, stderr: &str) -> Verdict {
    if go == ours {
        return Ok(());
    }
    let (a, b): (Vec<_>, Vec<_>) = (go.lines().collect(), ours.lines().collect());
    let at = (0..a.len().max(b.len()))
        .find(|&i| a.get(i) != b.get(i))
        .unwrap_or(a.len());
    Err(format!(
        "{about}\nline {}\n  Go:   {:?}\n  ours: {:?}\n{stderr}",
        at + 1,
        a.get(at),
        b.get(at)
    ))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn percents_missing_newline_is_the_only_thing_forgiven() {
    let go = "\ta\t\tcoverage: 1.0% of statements\n\tb\t\t\tc\t\tcoverage: 2.0% of statements\n";
    let lines =
        "\ta\t\tcoverage: 1.0% of statements\n\tb\t\t\n\tc\t\tcoverage: 2.0% of statements\n";
    assert_eq!(newlines(go), lines);
    assert_eq!(newlines(lines), lines);
    assert_eq!(newlines("\ta\t\t"), "\ta\t\t\n");
}

macro_rules! versions {
    ($($name:ident $version:literal)*) => {
        $(#[test]
        fn $name() {
            compare_with($version);
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
