//! Other people's programs read our reports, and their totals are ours.

use std::path::Path;
use std::process::Command;

use covtap_model::coverage::Coverage;
use covtap_model::percent::Ratio;
use covtap_report::format::{Format, Options, write_files};
use covtap_report::source::Mapper;

use crate::common;

/// The module, its coverage with repository paths, and all reports.
fn prepare(dir: &Path) -> Coverage {
    common::write_module(dir);
    let (mapper, problems) = Mapper::new(dir);
    assert_eq!(problems, []);
    let mut coverage = common::coverage();
    mapper.map(&mut coverage);
    assert_eq!(coverage.unresolved, [], "the fixture fits its source");
    let written = write_files(&coverage, &Format::ALL, dir, &Options::default());
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    coverage
}

#[test]
fn go_tool_cover_reads_the_profile() {
    let Some(go) = common::program("go", "version") else {
        return common::skipped("go_tool_cover_reads_the_profile", "no go on the path");
    };
    let dir = tempfile::tempdir().unwrap();
    let coverage = prepare(dir.path());
    let cover = |arguments: &[&str]| {
        common::run(
            Command::new(&go)
                .args(["tool", "cover"])
                .args(arguments)
                .env("GOFLAGS", "-mod=mod")
                .env("GOWORK", "off")
                .current_dir(dir.path()),
        )
    };
    let functions = cover(&["-func=coverage.out"]);
    let percent = |name: &str| {
        functions
            .lines()
            .find(|l| l.split_whitespace().nth(1) == Some(name))
            .and_then(|l| l.split_whitespace().last())
            .unwrap_or_else(|| panic!("{name}\n{functions}"))
            .to_owned()
    };
    assert_eq!(percent("main"), "50.0%");
    assert_eq!(percent("Put"), "66.7%"); // Go rounds to nearest here
    assert_eq!(percent("Get"), "0.0%");
    // 3 of 9: rounded to nearest and rounded down are the same here.
    assert_eq!(coverage.totals.statements, Ratio::new(3, 9));
    assert_eq!(
        percent("(statements)"),
        coverage.totals.statements.to_string()
    );

    cover(&["-html=coverage.out", "-o", "cover.html"]);
    let page = std::fs::read_to_string(dir.path().join("cover.html")).unwrap();
    assert!(
        page.contains("example.org/tiny/pkg/cart/cart.go (28.6%)"),
        "{page}"
    );
}

#[test]
fn go_tool_cover_finds_what_was_built_by_file() {
    let Some(go) = common::program("go", "version") else {
        return common::skipped(
            "go_tool_cover_finds_what_was_built_by_file",
            "no go on the path",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    common::write_module(dir.path());
    let mut coverage = common::coverage();
    coverage.packages[0].path = "command-line-arguments".into();
    coverage.packages[0].files[0].name = "/src/cmd/tiny/main.go".into();
    Mapper::new(dir.path()).0.map(&mut coverage);
    assert_eq!(coverage.unresolved, []);
    let formats = [Format::Go];
    let written = write_files(&coverage, &formats, dir.path(), &Options::default());
    assert!(written.failed.is_empty());
    let functions = common::run(
        Command::new(&go)
            .args(["tool", "cover", "-func=coverage.out"])
            .env("GOWORK", "off")
            .current_dir(dir.path()),
    );
    assert!(functions.contains("./cmd/tiny/main.go:5:"), "{functions}");
}

#[test]
fn what_go_writes_for_the_module_is_what_we_write() {
    let test = "what_go_writes_for_the_module_is_what_we_write";
    let Some(go) = common::program("go", "version") else {
        return common::skipped(test, "no go on the path");
    };
    let dir = tempfile::tempdir().unwrap();
    let coverage = prepare(dir.path());
    let go = |arguments: &[&str]| {
        common::run(
            Command::new(&go)
                .args(arguments)
                .env("GOFLAGS", "")
                .env("GOWORK", "off")
                .current_dir(dir.path()),
        )
    };
    if !Command::new("go")
        .args(["tool", "covdata", "help"])
        .output()
        .is_ok_and(|o| String::from_utf8_lossy(&o.stderr).contains("textfmt"))
    {
        return common::skipped(test, "this Go has no covdata tool");
    }
    go(&[
        "build",
        "-cover",
        "-covermode=count",
        "-coverpkg=./...",
        "-o",
        "tiny",
        "./cmd/tiny",
    ]);
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for _ in 0..7 {
        common::run(Command::new(dir.path().join("tiny")).env("GOCOVERDIR", &data));
    }
    go(&["tool", "covdata", "textfmt", "-i=data", "-o=go.out"]);
    let theirs = std::fs::read_to_string(dir.path().join("go.out")).unwrap();
    let ours = String::from_utf8(Format::Go.to_bytes(&coverage, &Options::default())).unwrap();
    assert_eq!(ours, theirs);
}

#[test]
fn genhtml_reads_the_tracefile() {
    let Some(genhtml) = common::program("genhtml", "--version") else {
        return common::skipped(
            "genhtml_reads_the_tracefile",
            "no genhtml (Debian package lcov)",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let coverage = prepare(dir.path());
    let said = common::run(
        Command::new(&genhtml)
            .args(["--output-directory", "html", "lcov.info"])
            .current_dir(dir.path()),
    );
    let all = coverage.totals;
    let expect = |what: &str, ratio: Ratio| {
        let figure = format!("({} of {} {what})", ratio.covered, ratio.total);
        assert!(said.contains(&figure), "{figure}\n{said}");
    };
    expect("lines", all.lines);
    expect("functions", all.functions);
    let page = dir.path().join("html/pkg/cart/cart.go.gcov.html");
    assert!(page.exists(), "{said}");
}

/// Names that break formats, in documents that published readers then read.
#[test]
fn pycobertura_reads_hostile_names() {
    let Some(python) = common::python_with_pycobertura() else {
        return common::skipped(
            "pycobertura_reads_hostile_names",
            "no Python with pycobertura (set COVTAP_PYTHON or COVTAP_TEST_VENV)",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let mut coverage = common::coverage();
    let file = &mut coverage.packages[0].files[0];
    file.path = Some("a\n<b>&\u{1}\u{202e}\"'|.go".into());
    file.functions[0].name = "]]>\u{ffff}".into();
    coverage.finish();
    let written = write_files(
        &coverage,
        &[Format::Cobertura],
        dir.path(),
        &Options::default(),
    );
    assert!(written.failed.is_empty());
    let script =
        "import sys, pycobertura; print([f for f in pycobertura.Cobertura(sys.argv[1]).files()])";
    let said = common::run(
        Command::new(&python)
            .args(["-c", script, "cobertura.xml"])
            .current_dir(dir.path()),
    );
    assert!(
        said.contains(r#"a\\u{a}<b>&\\u{1}\\u{202e}"\'|.go"#),
        "{said}"
    );
}

#[test]
fn pycobertura_reads_the_xml() {
    let Some(python) = common::python_with_pycobertura() else {
        return common::skipped(
            "pycobertura_reads_the_xml",
            "no Python with pycobertura (set COVTAP_PYTHON or COVTAP_TEST_VENV)",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let coverage = prepare(dir.path());
    let script = "\
import sys
from pycobertura import Cobertura
from pycobertura.filesystem import filesystem_factory
c = Cobertura(sys.argv[1], filesystem=filesystem_factory(source='.'))
print('total', c.total_hits(), c.total_statements(), c.line_rate())
for f in sorted(c.files()):
    print(f, c.total_hits(f), c.total_statements(f), c.missed_statements(f), len(c.file_source(f)))
";
    let said = common::run(
        Command::new(&python)
            .args(["-c", script, "cobertura.xml"])
            .current_dir(dir.path()),
    );
    let lines = coverage.totals.lines;
    let mut expected = format!(
        "total {} {} {}\n",
        lines.covered,
        lines.total,
        (lines.covered * 10_000 / lines.total) as f64 / 10_000.0
    );
    let mut files: Vec<_> = coverage.files().collect();
    files.sort_by_key(|f| f.display_path());
    for file in files {
        let missed: Vec<String> = file
            .lines()
            .iter()
            .filter(|l| l.count == 0)
            .map(|l| l.number.to_string())
            .collect();
        let source = std::fs::read_to_string(dir.path().join(file.display_path())).unwrap();
        expected.push_str(&format!(
            "{} {} {} [{}] {}\n",
            file.display_path(),
            file.totals.lines.covered,
            file.totals.lines.total,
            missed.join(", "),
            source.lines().count()
        ));
    }
    assert_eq!(said, expected);
}
