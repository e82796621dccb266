//! The mapper on small checkouts in a temporary folder.

use covtap_model::counter::CounterMode;
use covtap_model::coverage::{Function, Unit};

use super::*;

/// Every source here has this text: a function from 2.10 to 4.2.
const GO: &str = "package a\nfunc f() {\n\tg()\n}\n";

struct Checkout(tempfile::TempDir);

impl Checkout {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn mapped(&self, names: &[(&str, &str)]) -> Coverage {
        let mut coverage = document(names);
        let (mapper, problems) = Mapper::new(self.0.path());
        assert_eq!(problems, []);
        mapper.map(&mut coverage);
        let once = coverage.clone();
        mapper.map(&mut coverage);
        assert_eq!(coverage, once, "mapping twice is the same as once");
        coverage
    }

    /// What became of one file of this module.
    fn one(&self, module: &str, name: &str) -> Result<String, String> {
        let coverage = self.mapped(&[(module, name)]);
        match coverage.files().next().unwrap().path.clone() {
            Some(path) => {
                assert_eq!(coverage.unresolved, []);
                Ok(path)
            }
            None => {
                let [u] = coverage.unresolved.as_slice() else {
                    panic!("{:?}", coverage.unresolved)
                };
                Err(format!("{}: {}", u.name, u.reason))
            }
        }
    }
}

fn source(name: &str) -> File {
    File {
        name: name.into(),
        functions: vec![Function {
            name: "f".into(),
            literal: false,
            units: vec![Unit {
                start_line: 2,
                start_column: 10,
                end_line: 4,
                end_column: 2,
                statements: 1,
                count: 1,
            }],
        }],
        ..File::default()
    }
}

/// A package for each pair of module and file name.
fn document(names: &[(&str, &str)]) -> Coverage {
    let packages = names
        .iter()
        .map(|(module, name)| Package {
            path: match name.rsplit_once('/') {
                Some((dir, _)) if !name.starts_with('/') => dir.into(),
                _ => COMMAND_LINE.into(),
            },
            module: (*module).into(),
            files: vec![source(name)],
            ..Package::default()
        })
        .collect();
    Coverage::new("t", CounterMode::Count, packages)
}

fn ok(path: &str) -> Result<String, String> {
    Ok(path.into())
}

#[test]
fn modules_lie_where_their_go_mod_lies() {
    let c = Checkout::new(&[
        ("go.mod", "module example.org/shop\n"),
        ("main.go", GO),
        ("pkg/cart/a.go", GO),
        ("api/go.mod", "module example.org/shop/api // nested\n"),
        ("api/v1/a.go", GO),
    ]);
    let m = "example.org/shop";
    assert_eq!(c.one(m, "example.org/shop/main.go"), ok("main.go"));
    assert_eq!(
        c.one(m, "example.org/shop/pkg/cart/a.go"),
        ok("pkg/cart/a.go")
    );
    assert_eq!(c.one("", "example.org/shop/api/v1/a.go"), ok("api/v1/a.go"));
    assert_eq!(
        c.one(m, "example.org/shop/pkg/gone.go"),
        Err("example.org/shop/pkg/gone.go: pkg/gone.go does not exist: made during the build, or removed since".into())
    );
    assert_eq!(
        c.one("", "example.org/shopping/main.go"),
        Err("example.org/shopping: not part of the repository: no go.mod here declares or replaces its module, 1 file".into())
    );
}

#[test]
fn line_directives_name_files_that_are_not_go() {
    let c = Checkout::new(&[
        ("go.mod", "module m.org\n"),
        ("a/expr.y", "%%\n\n\n\n"),
        ("b/expr.y", "%%\n\n\n\n"),
    ]);
    assert_eq!(c.one("m.org", "m.org/a/expr.y"), ok("a/expr.y"));
}

#[test]
fn replacements_and_workspaces_are_followed() {
    let c = Checkout::new(&[
        (
            "go.work",
            "go 1.26\nuse (\n ./svc\n ./.hidden\n)\nreplace example.org/w => ./w\n",
        ),
        (
            "svc/go.mod",
            "module example.org/svc\nreplace example.org/lib v1.0.0 => ../third/lib\nreplace example.org/out => ../../out\n",
        ),
        ("third/lib/x/a.go", GO),
        (".hidden/go.mod", "module example.org/hidden\n"),
        (".hidden/a.go", GO),
        ("w/a.go", GO),
    ]);
    assert_eq!(
        c.one("example.org/lib", "example.org/lib/x/a.go"),
        ok("third/lib/x/a.go")
    );
    assert_eq!(
        c.one("example.org/hidden", "example.org/hidden/a.go"),
        ok(".hidden/a.go")
    );
    assert_eq!(c.one("example.org/w", "example.org/w/a.go"), ok("w/a.go"));
    assert!(c.one("example.org/out", "example.org/out/a.go").is_err());
}

#[test]
fn a_module_that_is_there_twice_is_told_apart_by_its_text() {
    let files = [
        ("a/go.mod", "module example.org/m\n"),
        ("a/x.go", GO),
        ("a/same.go", GO),
        ("b/go.mod", "module example.org/m\n"),
        ("b/x.go", "package a\n"),
        ("b/same.go", GO),
    ];
    let c = Checkout::new(&files);
    assert_eq!(c.one("example.org/m", "example.org/m/x.go"), ok("a/x.go"));
    assert_eq!(
        c.one("example.org/m", "example.org/m/same.go"),
        Err("example.org/m/same.go: ambiguous: 2 fit equally well: a/same.go, b/same.go".into())
    );
}

#[test]
fn container_paths_are_found_by_suffix() {
    let c = Checkout::new(&[
        ("go.mod", "module example.org/shop\n"),
        ("cmd/a/main.go", GO),
        ("cmd/b/main.go", GO),
        ("cmd/b/only.go", GO),
        ("vendor/x/vendored.go", GO),
        (".gitignore", "out/\n"),
        ("out/cmd/a/main.go", GO),
        ("src/lib.rs", GO),
    ]);
    assert_eq!(c.one("", "/src/cmd/a/main.go"), ok("cmd/a/main.go"));
    assert_eq!(c.one("", "_/build/b/main.go"), ok("cmd/b/main.go"));
    assert_eq!(c.one("", "/app/only.go"), ok("cmd/b/only.go"));
    assert_eq!(
        c.one("", "command-line-arguments/only.go"),
        ok("cmd/b/only.go")
    );
    assert_eq!(c.one("", r"C:\build\cmd\a\main.go"), ok("cmd/a/main.go"));
    assert_eq!(c.one("", "src/lib.rs"), ok("src/lib.rs"));
    assert_eq!(c.one("", "/w/src/lib.rs"), ok("src/lib.rs"));
    assert_eq!(
        c.one("", "/src/main.go"),
        Err("/src/main.go: ambiguous: 2 fit equally well: cmd/a/main.go, cmd/b/main.go".into())
    );
    assert_eq!(
        c.one("", "/src/x/vendored.go"),
        Err("/src/x/vendored.go: no file of the repository is called vendored.go".into())
    );
}

#[test]
fn neighbours_decide_between_equals() {
    let c = Checkout::new(&[
        ("cmd/a/main.go", GO),
        ("cmd/b/main.go", GO),
        ("cmd/b/only.go", GO),
    ]);
    let coverage = c.mapped(&[("", "/src/main.go"), ("", "/src/only.go")]);
    let paths: Vec<_> = coverage.files().map(|f| f.path.as_deref()).collect();
    assert_eq!(paths, [Some("cmd/b/main.go"), Some("cmd/b/only.go")]);
    assert_eq!(coverage.unresolved, []);
}

#[test]
fn absolute_paths_inside_the_repository_are_relative_to_it() {
    let c = Checkout::new(&[("a/main.go", GO), ("b/main.go", GO)]);
    let inside = c.0.path().join("b/main.go");
    assert_eq!(c.one("", inside.to_str().unwrap()), ok("b/main.go"));
}

#[test]
fn edited_sources_stay_unresolved() {
    let c = Checkout::new(&[
        ("go.mod", "module m.org\n"),
        ("short.go", "package a\n"),
        ("changed.go", "package a\nfunc\n\n}\n"),
    ]);
    assert_eq!(
        c.one("m.org", "m.org/short.go"),
        Err("m.org/short.go: short.go: source has 1 line, coverage speaks of line 4: edited since the build".into())
    );
    assert_eq!(
        c.one("m.org", "m.org/changed.go"),
        Err("m.org/changed.go: changed.go: line 2 of the source has 4 bytes, coverage speaks of column 10: edited since the build".into())
    );
}

#[test]
fn what_is_not_ours_is_one_entry_each() {
    let c = Checkout::new(&[
        ("go.mod", "module example.org/shop\n"),
        ("server.go", GO),
        ("print.go", GO),
    ]);
    let coverage = c.mapped(&[
        ("", "fmt/print.go"),
        ("", "net/http/server.go"),
        ("", "/usr/local/go/src/net/http/server.go"),
        ("example.org/dep", "example.org/dep/server.go"),
        ("example.org/dep", "example.org/dep/sub/print.go"),
        ("", "/go/pkg/mod/example.org/x@v1.2.3/print.go"),
        (
            "",
            "/home/dev/.cargo/registry/src/index.crates.io-1/serde-1.0.0/src/lib.rs",
        ),
    ]);
    let listed: Vec<String> = coverage
        .unresolved
        .iter()
        .map(|u| format!("{}: {}", u.name, u.reason))
        .collect();
    assert_eq!(
        listed,
        [
            "example.org/dep: not part of the repository: no go.mod here declares or replaces its module, 2 files",
            "example.org/x@v1.2.3: not part of the repository: module cache, 1 file",
            "serde-1.0.0: not part of the repository: crate registry, 1 file",
            "std: not part of the repository: standard library, 3 files",
        ]
    );
}

#[test]
fn a_repository_without_go_mod_is_searched_by_suffix() {
    let c = Checkout::new(&[("cart/a.go", GO)]);
    assert_eq!(c.one("app", "app/cart/a.go"), ok("cart/a.go"));
    assert!(c.one("", "fmt/a.go").is_err());
}

#[test]
fn names_do_not_lead_out() {
    let c = Checkout::new(&[
        ("repo/go.mod", "module m.org\nreplace e.org => ../\n"),
        ("secret.go", GO),
    ]);
    let (mapper, _) = Mapper::new(&c.0.path().join("repo"));
    for name in [
        "m.org/../secret.go",
        "/src/../../secret.go",
        "e.org/secret.go",
        "m.org//secret.go",
        "m.org//etc/passwd.go",
        "/etc/passwd",
        "",
        "/",
        ".go",
        "a\0.go",
    ] {
        let mut coverage = document(&[("", name)]);
        mapper.map(&mut coverage);
        assert_eq!(coverage.files().next().unwrap().path, None, "{name}");
        assert_eq!(coverage.unresolved.len(), 1, "{name}");
    }
    let outside = c.0.path().join("secret.go");
    let mut coverage = document(&[("", outside.to_str().unwrap())]);
    mapper.map(&mut coverage);
    assert_eq!(coverage.files().next().unwrap().path, None);
}

#[test]
fn two_names_of_one_file_are_counted_once() {
    let c = Checkout::new(&[("go.mod", "module m.org\n"), ("cmd/x/main.go", GO)]);
    let coverage = c.mapped(&[("m.org", "m.org/cmd/x/main.go"), ("", "/src/cmd/x/main.go")]);
    let files: Vec<_> = coverage.files().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].name, "m.org/cmd/x/main.go");
    assert_eq!(files[0].functions[0].units[0].count, 2);
    assert_eq!(coverage.packages.len(), 1);
    assert_eq!(coverage.totals.statements.total, 1);
    assert_eq!(coverage.problems.len(), 1);
}

#[test]
fn two_names_of_one_file_in_mode_set_stay_a_set() {
    let c = Checkout::new(&[("go.mod", "module m.org\n"), ("cmd/x/main.go", GO)]);
    let mut coverage = document(&[("m.org", "m.org/cmd/x/main.go"), ("", "/src/cmd/x/main.go")]);
    coverage.mode = CounterMode::Set;
    Mapper::new(c.0.path()).0.map(&mut coverage);
    let counts: Vec<u64> = coverage
        .files()
        .map(|f| f.functions[0].units[0].count)
        .collect();
    assert_eq!(counts, [1]);
}

#[test]
fn two_versions_of_one_file_both_stay() {
    let c = Checkout::new(&[("go.mod", "module m.org\n"), ("cmd/x/main.go", GO)]);
    let mut coverage = document(&[("m.org", "m.org/cmd/x/main.go"), ("", "/src/cmd/x/main.go")]);
    coverage.packages[0].files[0].functions[0].units[0].end_line = 3;
    coverage.packages[0].files[0].functions[0].units[0].end_column = 3;
    let (mapper, _) = Mapper::new(c.0.path());
    mapper.map(&mut coverage);
    assert_eq!(coverage.files().count(), 2);
    assert_eq!(coverage.problems[0].severity, Severity::Warning);
}

#[test]
fn a_root_that_is_not_there_is_a_problem() {
    let (mapper, problems) = Mapper::new(Path::new("/nonexistent/repo"));
    assert_eq!(problems.len(), 1);
    let mut coverage = document(&[("", "m.org/a.go")]);
    mapper.map(&mut coverage);
    assert_eq!(coverage.unresolved.len(), 1);
}

#[test]
fn bad_go_mod_lines_are_problems() {
    let c = Checkout::new(&[("go.mod", "module m.org\nreplace x\n"), ("a.go", GO)]);
    let (mapper, problems) = Mapper::new(c.0.path());
    assert!(problems[0].to_string().contains("line 2"), "{problems:?}");
    let mut coverage = document(&[("m.org", "m.org/a.go")]);
    mapper.map(&mut coverage);
    assert_eq!(
        coverage.files().next().unwrap().path.as_deref(),
        Some("a.go")
    );
}
