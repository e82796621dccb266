//! Documents that the tests of all formats share, and what must hold for every format.

use covtap_model::counter::CounterMode;
use covtap_model::coverage::{
    Coverage, Excluded, File, Function, Package, Unit, Unresolved, VersionSkew,
};
use covtap_model::percent::Ratio;
use covtap_model::problem::{Problem, Severity};

use super::{By, Format, Options, Sort};

pub(super) fn unit(sl: u32, sc: u32, el: u32, ec: u32, statements: u32, count: u64) -> Unit {
    Unit {
        start_line: sl,
        start_column: sc,
        end_line: el,
        end_column: ec,
        statements,
        count,
    }
}

pub(super) fn func(name: &str, units: Vec<Unit>) -> Function {
    Function {
        name: name.into(),
        literal: false,
        units,
    }
}

pub(super) fn file(name: &str, functions: Vec<Function>) -> File {
    File {
        name: name.into(),
        functions,
        ..File::default()
    }
}

/// One package `m` with these files.
pub(super) fn document(files: Vec<File>) -> Coverage {
    let packages = if files.is_empty() {
        vec![]
    } else {
        vec![Package {
            path: "m".into(),
            name: "m".into(),
            files,
            ..Package::default()
        }]
    };
    Coverage::new("covtap 0.0.0", CounterMode::Count, packages)
}

/// A small shop: two packages, three files, one of them not resolved; 5 of 9 statements.
pub(super) fn sample() -> Coverage {
    let at = |name: &str, path: Option<&str>, functions| File {
        path: path.map(str::to_owned),
        ..file(name, functions)
    };
    let package = |path: &str, name: &str, files| Package {
        path: path.into(),
        name: name.into(),
        module: "example.org/shop".into(),
        files,
        ..Package::default()
    };
    let mut c = Coverage::new(
        "covtap 0.0.0",
        CounterMode::Count,
        vec![
            package(
                "example.org/shop/pkg/cart",
                "cart",
                vec![
                    at(
                        "example.org/shop/pkg/cart/gen.go",
                        None,
                        vec![func("New", vec![unit(3, 14, 3, 30, 1, 1)])],
                    ),
                    at(
                        "example.org/shop/pkg/cart/cart.go",
                        Some("pkg/cart/cart.go"),
                        vec![
                            func(
                                "Cart.Put",
                                vec![
                                    unit(9, 27, 11, 16, 2, 3),
                                    unit(11, 16, 13, 3, 1, 0),
                                    unit(13, 3, 14, 12, 1, 3),
                                ],
                            ),
                            func("init", vec![unit(20, 13, 20, 20, 1, 1)]),
                            func("init", vec![unit(30, 13, 30, 20, 1, 0)]),
                        ],
                    ),
                ],
            ),
            package(
                "example.org/shop/cmd/shop",
                "main",
                vec![at(
                    "example.org/shop/cmd/shop/main.go",
                    Some("cmd/shop/main.go"),
                    vec![func("main", vec![unit(5, 13, 7, 2, 2, 0)])],
                )],
            ),
        ],
    );
    c.unresolved.push(Unresolved {
        name: "example.org/shop/pkg/cart/gen.go".into(),
        reason: "pkg/cart/gen.go does not exist".into(),
    });
    c.excluded.push(Excluded {
        file: "api/shop.pb.go".into(),
        reason: "generated (line 1)".into(),
        statements: Ratio::new(0, 40),
    });
    c
}

/// A document in which every name is an attack.
pub(super) fn hostile() -> Coverage {
    let evil =
        "a\nSF:x|<script>alert(1)</script>]]>\"'&`\u{202e}\u{1b}[2J\u{2028}\u{ffff},\r\tz.go";
    let mut c = Coverage::new(
        evil,
        CounterMode::Set,
        vec![Package {
            path: evil.into(),
            name: evil.into(),
            module: evil.into(),
            files: vec![
                file(evil, vec![func(evil, vec![unit(1, 1, 2, 1, 1, 0)])]),
                File {
                    path: Some(evil.into()),
                    ..file(
                        "m/b.go",
                        vec![func(evil, vec![unit(0, 0, 0, 0, 1, u64::MAX)])],
                    )
                },
            ],
            ..Package::default()
        }],
    );
    c.unresolved.push(Unresolved {
        name: evil.into(),
        reason: evil.into(),
    });
    c.excluded.push(Excluded {
        file: evil.into(),
        reason: evil.into(),
        statements: Ratio::new(0, u64::MAX),
    });
    c.skew.push(VersionSkew {
        package: evil.into(),
        used: evil.into(),
        others: vec![evil.into()],
    });
    c.problems
        .push(Problem::new(Severity::Error, evil, evil, evil, evil).hint(evil));
    c
}

pub(super) fn rendered(format: Format, coverage: &Coverage, options: &Options) -> String {
    String::from_utf8(format.to_bytes(coverage, options)).unwrap()
}

fn all_options() -> Vec<Options> {
    let mut all = Vec::new();
    for width in [None, Some(20), Some(80)] {
        for by in By::ALL {
            for sort in Sort::ALL {
                for show_missing in [false, true] {
                    all.push(Options {
                        width,
                        by,
                        sort,
                        show_missing,
                        ..Options::default()
                    });
                }
            }
        }
    }
    all
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let mut shuffled = sample();
    shuffled.packages.reverse();
    for package in &mut shuffled.packages {
        package.files.reverse();
        for file in &mut package.files {
            file.functions.reverse();
            for function in &mut file.functions {
                function.units.reverse();
            }
        }
    }
    shuffled.finish();
    for format in Format::ALL {
        for options in all_options() {
            assert_eq!(
                rendered(format, &sample(), &options),
                rendered(format, &shuffled, &options),
                "{format}"
            );
        }
    }
}

#[test]
fn hostile_names_break_no_format() {
    let hostile = hostile();
    for format in Format::ALL {
        for options in all_options() {
            let text = rendered(format, &hostile, &options);
            let bad = |c: char| {
                (c.is_control() && c != '\n')
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{ffff}')
            };
            // JSON has its own escapes for control characters and is read by programs.
            if format != Format::Json {
                assert_eq!(text.find(bad), None, "{format}: {text}");
                assert!(!text.lines().any(|l| l.starts_with("SF:x")), "{format}");
            }
            if matches!(format, Format::Markdown | Format::Badge | Format::Cobertura) {
                assert!(!text.contains("<script"), "{format}: {text}");
            }
        }
    }
}

#[test]
fn empty_documents_are_written_in_every_format() {
    for format in Format::ALL {
        for options in all_options() {
            let text = rendered(format, &document(vec![]), &options);
            // A tracefile without records is an empty file; all others say something.
            let sound = text.ends_with('\n') || (format == Format::Lcov && text.is_empty());
            assert!(sound, "{format}: {text:?}");
        }
    }
}

#[test]
fn every_format_is_found_by_its_name() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert_eq!(
        "html".parse::<Format>().unwrap_err().to_string(),
        "unknown format `html`; known: text, json, lcov, cobertura, go, markdown, badge"
    );
    assert_eq!("missing".parse(), Ok(Sort::Missing));
    assert_eq!("file".parse(), Ok(By::File));
    assert_eq!(
        "x".parse::<By>().unwrap_err().to_string(),
        "unknown row `x`; known: package, file"
    );
    assert_eq!(format!("{:>6}", Format::Go), "    go");
}
