//! Exclusions on small documents with sources in memory.

use std::collections::BTreeMap;

use covtap_model::counter::CounterMode;
use covtap_model::coverage::{Package, Unit, Unresolved};

use super::*;

const CART: &str = r#"package cart

// Put adds.
//covtap:ignore only for debugging
func Put(
	n int,
) {
	if n > 0 {
		a()
	}
}

func Get(n int) {
	if n > 0 { //covtap:ignore cannot happen
		b()
	}
	//covtap:ignore-start
	if n > 1 {
		c()
	}
	//covtap:ignore-end
	s := "//covtap:ignore-file"
}
"#;

fn unit(start_line: u32, end_line: u32, count: u64) -> Unit {
    Unit {
        start_line,
        start_column: 1,
        end_line,
        end_column: 2,
        statements: 1,
        count,
    }
}

fn function(name: &str, units: &[(u32, u32, u64)]) -> Function {
    Function {
        name: name.into(),
        literal: false,
        units: units.iter().map(|&(s, e, c)| unit(s, e, c)).collect(),
    }
}

fn cart() -> Vec<Function> {
    vec![
        function("Put", &[(7, 8, 1), (8, 10, 1)]),
        function(
            "Get",
            &[
                (13, 14, 1),
                (14, 16, 0),
                (18, 18, 1),
                (18, 20, 0),
                (22, 22, 1),
            ],
        ),
    ]
}

fn document(files: &[(&str, Vec<Function>)]) -> Coverage {
    let files = files
        .iter()
        .map(|(path, functions)| File {
            name: format!("m.org/{path}"),
            path: Some((*path).into()),
            functions: functions.clone(),
            ..File::default()
        })
        .collect();
    Coverage::new(
        "t",
        CounterMode::Count,
        vec![Package {
            path: "m.org".into(),
            files,
            ..Package::default()
        }],
    )
}

fn one(path: &str) -> (&str, Vec<Function>) {
    (path, vec![function("f", &[(1, 1, 0)])])
}

fn sources(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

fn left(coverage: &Coverage) -> Vec<&str> {
    coverage.files().filter_map(|f| f.path.as_deref()).collect()
}

fn reasons(coverage: &Coverage) -> Vec<String> {
    coverage
        .excluded
        .iter()
        .map(|e| {
            format!(
                "{}: {} {}/{}",
                e.file, e.reason, e.statements.covered, e.statements.total
            )
        })
        .collect()
}

#[test]
fn globs_follow_gitignore() {
    let all = [
        "a.pb.go",
        "api/b.pb.go",
        "api/keep.pb.go",
        "cmd/x.go",
        "mocks/m.go",
        "pkg/mocks/deep/n.go",
        "pkg/mocksx.go",
    ];
    for (globs, expected) in [
        (
            &["*.pb.go"][..],
            &[
                "cmd/x.go",
                "mocks/m.go",
                "pkg/mocks/deep/n.go",
                "pkg/mocksx.go",
            ][..],
        ),
        (
            &["*.pb.go", "!api/keep.pb.go"],
            &[
                "api/keep.pb.go",
                "cmd/x.go",
                "mocks/m.go",
                "pkg/mocks/deep/n.go",
                "pkg/mocksx.go",
            ],
        ),
        (&["mocks/", "**/*.pb.go"], &["cmd/x.go", "pkg/mocksx.go"]),
        (
            &["/mocks", "/api/*", "*.pb.go"],
            &["cmd/x.go", "pkg/mocks/deep/n.go", "pkg/mocksx.go"],
        ),
        (&["*", "!cmd/**"], &["cmd/x.go"]),
        (&["./cmd", "pkg/**", "mocks", "*.pb.go"], &[]),
    ] {
        let files: Vec<_> = all.iter().map(|p| one(p)).collect();
        let mut c = document(&files);
        Exclusions::new(globs, false, false)
            .unwrap()
            .apply(&mut c, &sources(&[]));
        assert_eq!(left(&c), expected, "{globs:?}");
        assert_eq!(c.excluded.len() + expected.len(), all.len());
        assert_eq!(c.totals.statements.total, expected.len() as u64);
        assert_eq!(c.problems, []);
    }
}

#[test]
fn bad_globs_are_errors_and_idle_ones_problems() {
    for bad in ["", "!", "/", "a[", "{a"] {
        let error = Exclusions::new(&[bad], false, false).unwrap_err();
        assert!(error.to_string().contains(&format!("`{bad}`")), "{error}");
    }
    let mut c = document(&[one("a.go")]);
    let exclusions = Exclusions::new(&["a.go", "nothing/**"], false, false).unwrap();
    exclusions.apply(&mut c, &sources(&[]));
    assert_eq!(c.problems.len(), 1);
    assert!(
        c.problems[0].to_string().starts_with("nothing/**: "),
        "{}",
        c.problems[0]
    );
    assert!(c.packages.is_empty());
}

#[test]
fn a_pattern_works_on_the_name_of_a_file_that_was_not_found() {
    let mut c = document(&[one("a.go")]);
    c.packages[0].files[0].path = None;
    c.unresolved.push(Unresolved {
        name: "m.org/a.go".into(),
        reason: "x".into(),
    });
    Exclusions::new(&["m.org/*"], true, true)
        .unwrap()
        .apply(&mut c, &sources(&[]));
    assert_eq!(reasons(&c), ["m.org/a.go: glob m.org/* 0/1"]);
    assert_eq!(c.unresolved, []);
}

#[test]
fn generated_files_unless_taken_back_in() {
    let text = "// Code generated by x. DO NOT EDIT.\npackage a\n";
    let files = [one("gen.go"), one("hand.go"), one("keep.go")];
    let from = sources(&[
        ("gen.go", text),
        ("hand.go", "package a\n"),
        ("keep.go", text),
    ]);
    let mut c = document(&files);
    Exclusions::new(&["!keep.go"], true, false)
        .unwrap()
        .apply(&mut c, &from);
    assert_eq!(reasons(&c), ["gen.go: generated (line 1) 0/1"]);
    assert_eq!(left(&c), ["hand.go", "keep.go"]);
}

#[test]
fn markers_take_functions_lines_and_ranges() {
    let mut c = document(&[("cart.go", cart())]);
    let exclusions = Exclusions::new::<&str>(&[], true, true).unwrap();
    exclusions.apply(&mut c, &sources(&[("cart.go", CART)]));
    assert_eq!(
        reasons(&c),
        [
            "cart.go: //covtap:ignore (line 4) 2/2",
            "cart.go: //covtap:ignore (line 14) 0/1",
            "cart.go: //covtap:ignore-start (line 17) 1/2",
        ]
    );
    assert_eq!(c.problems, []);
    let file = c.files().next().unwrap();
    assert_eq!(file.functions.len(), 1);
    assert_eq!(file.functions[0].units, [unit(13, 14, 1), unit(22, 22, 1)]);
    assert_eq!(c.totals.statements, Ratio::new(2, 2));
}

#[test]
fn markers_are_off_unless_asked_for() {
    let mut c = document(&[("cart.go", cart())]);
    let before = c.clone();
    Exclusions::new::<&str>(&[], true, false)
        .unwrap()
        .apply(&mut c, &sources(&[("cart.go", CART)]));
    assert_eq!(c, before);
}

fn marked(text: &str, functions: Vec<Function>) -> Coverage {
    let mut c = document(&[("a.go", functions)]);
    Exclusions::new::<&str>(&[], false, true)
        .unwrap()
        .apply(&mut c, &sources(&[("a.go", text)]));
    c
}

#[test]
fn a_whole_file() {
    let c = marked("package a\n// covtap:ignore-file\n", cart());
    assert_eq!(reasons(&c), ["a.go: //covtap:ignore-file (line 2) 5/7"]);
    assert!(c.packages.is_empty());
}

#[test]
fn a_file_of_which_nothing_is_left_is_gone() {
    let c = marked(
        "//covtap:ignore-start\n//covtap:ignore-end",
        vec![function("f", &[(1, 2, 1)])],
    );
    assert!(c.packages.is_empty());
    assert_eq!(reasons(&c), ["a.go: //covtap:ignore-start (line 1) 1/1"]);
}

#[test]
fn overlapping_markers_count_once() {
    let text = "//covtap:ignore-start\nx() //covtap:ignore\n//covtap:ignore-end\n";
    let c = marked(
        text,
        vec![function("f", &[(1, 1, 1), (2, 2, 1), (9, 9, 1)])],
    );
    let total: u64 = c.excluded.iter().map(|e| e.statements.total).sum();
    assert_eq!(total, 2);
    assert_eq!(c.totals.statements, Ratio::new(1, 1));
}

#[test]
fn markers_without_effect_are_problems() {
    for (text, part) in [
        ("package a\n//covtap:ignore-start\nx()\n", "start on line 2"),
        ("//covtap:ignore-end\n", "end on line 1 without start"),
        (
            "\n\n\n//covtap:ignore-start\n//covtap:ignore-start\n//covtap:ignore-end",
            "lines 4 and 5",
        ),
        ("//covtap:ignored\n", "`covtap:ignored` on line 1"),
        ("x()\n//covtap:ignore\n", "none after line 2"),
        ("x() //covtap:ignore\n", "marker on line 1"),
        (
            "//covtap:ignore\nfunc asm()\nfunc f() {}\n",
            "marker on line 1",
        ),
    ] {
        let before = vec![function("f", &[(3, 3, 1)])];
        let c = marked(text, before);
        assert!(
            c.problems.iter().any(|p| p.to_string().contains(part)),
            "{text}: {:?}",
            c.problems
        );
        assert_eq!(c.totals.statements.total, 1, "{text}");
        assert_eq!(c.excluded, []);
    }
}

#[test]
fn a_source_that_cannot_be_read_is_a_problem() {
    let mut c = document(&[one("a.go")]);
    Exclusions::new::<&str>(&[], true, true)
        .unwrap()
        .apply(&mut c, &sources(&[]));
    assert_eq!(c.problems.len(), 1);
    assert_eq!(left(&c), ["a.go"]);
}
