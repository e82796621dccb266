//! `covtap doctor` and `covtap explain` over trees, coverage files and logs.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use command::{example, run};

const DOCKERFILE: &str = "\
FROM golang:1.25 AS build
COPY . .
RUN go build -o /api ./cmd/api
FROM scratch
COPY --from=build /api /api
ENTRYPOINT [\"/api\"]
";

const MANIFEST: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
        - name: api
          image: api:test
          env: [{name: GOCOVERDIR, value: /cover}]
          volumeMounts: [{name: cover, mountPath: /cover}]
      volumes: [{name: cover, emptyDir: {}}]
";

/// A service whose manifest wants coverage and whose build gives none.
fn shop() -> TempDir {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("go.mod", "module example.org/shop\n\ngo 1.25\n");
    write("Dockerfile", DOCKERFILE);
    write("api.yaml", MANIFEST);
    write("Makefile", "image:\n\tdocker build -t api:test .\n");
    directory
}

#[test]
fn a_build_without_coverage_is_found_in_every_format() {
    let shop = shop();
    let path = shop.path();
    let (text, _) = run(path, &["doctor"], 1);
    assert!(text.contains("not-instrumented CT"), "{text}");
    assert!(text.contains("Dockerfile:3"), "{text}");
    assert!(text.contains("      fix: "), "{text}");
    assert!(text.contains("covtap explain not-instrumented"), "{text}");

    let (json, _) = run(path, &["doctor", "--format", "json"], 1);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "covtap.doctor/1");
    assert_eq!(json["findings"][0]["rule"], "not-instrumented");
    assert_eq!(json["findings"][0]["severity"], "error");
    assert!(json["findings"][0]["evidence"][0]["where"].is_string());
    assert!(json["cleared"].is_array() && json["unknown"].is_array());

    let (sarif, _) = run(path, &["doctor", "--format", "sarif"], 1);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "not-instrumented");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "Dockerfile");
    assert_eq!(place["region"]["startLine"], 3);
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap();
    assert!(rules.iter().any(|rule| rule["id"] == "not-instrumented"));

    let (lines, _) = run(path, &["doctor", "--format", "github"], 1);
    let first = lines.lines().next().unwrap();
    assert!(
        first.starts_with("::error file=Dockerfile,line=3,title=covtap not-instrumented::"),
        "{first}"
    );

    let (markdown, _) = run(path, &["doctor", "--format", "markdown"], 1);
    assert!(markdown.contains("### Error: "), "{markdown}");
    assert!(markdown.contains("**Fix:** "), "{markdown}");

    // From elsewhere the places are those of the tree as it was named.
    let above = path.parent().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let (lines, _) = run(above, &["doctor", name, "--format", "github"], 1);
    assert!(
        lines.contains(&format!("::error file={name}/Dockerfile,line=3")),
        "{lines}"
    );

    let (nothing, _) = run(path, &["doctor", "--format", "json", "-o", "found.json"], 1);
    assert_eq!(nothing, "");
    let found = fs::read_to_string(path.join("found.json")).unwrap();
    assert!(found.starts_with("{\n"), "{found}");
}

#[test]
fn what_wire_has_put_right_is_healthy() {
    let shop = shop();
    let path = shop.path();
    let dockerfile = DOCKERFILE.replace("go build -o", "go build -cover -o");
    fs::write(path.join("Dockerfile"), dockerfile).unwrap();
    // Out of memory nothing else has to be right.
    let (text, _) = run(path, &["doctor", "--route", "tap"], 0);
    assert!(
        text.contains("nothing wrong was found (route tap)"),
        "{text}"
    );
    let (text, _) = run(path, &["doctor", "--route", "tap", "--verbose"], 0);
    assert!(text.contains("innocent: not-instrumented"), "{text}");
}

#[test]
fn the_example_is_healthy_and_its_symbols_are_no_suspect() {
    let (json, _) = run(&example(), &["doctor", "--format", "json"], 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    let cleared = json["cleared"].as_array().unwrap();
    assert!(
        cleared.iter().any(|c| c["rule"] == "symbols-stripped"),
        "{json:#}"
    );
}

#[test]
fn files_and_logs_are_judged_without_a_repository() {
    let place = TempDir::new().unwrap();
    let path = place.path();
    fs::create_dir(path.join("coverdata")).unwrap();
    // The seed's directory.
    let (_, said) = run(path, &["doctor", "coverdata"], 2);
    assert!(
        said.contains("nothing can be told from coverdata"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
    fs::write(
        path.join("pod.log"),
        "error: coverage meta-data emit failed: creating meta-data file /coverdata/tmp.covmeta.0: open \
         /coverdata/tmp.covmeta.0: permission denied\n",
    )
    .unwrap();
    let args = [
        "doctor",
        "coverdata",
        "--log",
        "pod.log",
        "--format",
        "json",
    ];
    let (json, _) = run(path, &args, 1);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["findings"][0]["rule"], "dir-not-writable", "{json:#}");
    assert_eq!(json["findings"][0]["evidence"][0]["where"], "pod.log:1");

    fs::write(
        path.join("coverdata/covmeta.00112233445566778899aabbccddeeff"),
        "no meta-data",
    )
    .unwrap();
    let (text, _) = run(path, &["doctor", "coverdata"], 1);
    assert!(
        text.contains("covmeta.00112233445566778899aabbccddeeff"),
        "{text}"
    );
}

#[test]
fn a_green_suite_and_no_files_is_no_health() {
    let place = TempDir::new().unwrap();
    let path = place.path();
    fs::create_dir(path.join("coverdata")).unwrap();
    let log = "SUCCESS! -- 84 Passed | 0 Failed\nwarning: no applicable files found in input directories\n";
    fs::write(path.join("suite.log"), log).unwrap();
    let (text, _) = run(path, &["doctor", "--log", "suite.log", "coverdata"], 2);
    assert!(text.contains("? nothing could be decided"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("  ? ")), "{text}");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_judged() {
    let shop = shop();
    let path = shop.path();
    let crlf = format!("\u{feff}{}", DOCKERFILE.replace('\n', "\r\n"));
    fs::write(path.join("Dockerfile"), crlf).unwrap();
    fs::write(path.join("bin.yaml"), b"\xff\xfe\x00kind: Deployment").unwrap();
    fs::write(path.join("bad.yaml"), "kind: Deployment\n  : [\n- {{ .x }").unwrap();
    fs::write(
        path.join("deep.yaml"),
        format!("a: {}", "[".repeat(100_000)),
    )
    .unwrap();
    fs::write(path.join("huge.yaml"), vec![b'a'; 60_000_000]).unwrap();
    fs::write(
        path.join("broken_test.go"),
        "package x\nfunc {{{ GOCOVERDIR",
    )
    .unwrap();
    fs::write(path.join("broken.sh"), "if then ((( GOCOVERDIR=/x").unwrap();
    // Each alias doubles what it stands for: together more than any memory.
    let mut bomb = String::from("a0: &a0 [x, x]\n");
    for n in 1..40 {
        bomb += &format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
    }
    fs::write(path.join("bomb.yaml"), bomb + "kind: Deployment\n").unwrap();
    fs::create_dir(path.join("Containerfile")).unwrap();
    std::os::unix::fs::symlink(".", path.join("loop")).unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        path.join("pipe.sh"),
        rustix::fs::Mode::RUSR,
    )
    .unwrap();
    let (json, said) = run(path, &["doctor", "--format", "json"], 1);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["findings"][0]["rule"], "not-instrumented", "{json:#}");
    assert_eq!(json["findings"][0]["evidence"][0]["where"], "Dockerfile:3");
    for name in ["bin.yaml", "bad.yaml", "huge.yaml"] {
        let note = |line: &str| line.contains(name) && line.contains("is not judged: ");
        assert!(said.lines().any(note), "{name}: {said}");
    }
}

#[test]
fn nothing_of_coverage_is_an_info_and_no_fault() {
    let shop = shop();
    let path = shop.path();
    fs::remove_file(path.join("api.yaml")).unwrap();
    let (text, _) = run(path, &["doctor"], 0);
    assert!(text.contains("not-set-up"), "{text}");
    assert!(text.contains("covtap wire"), "{text}");
}

#[test]
fn what_cannot_be_looked_at_is_two() {
    let place = TempDir::new().unwrap();
    let (_, said) = run(place.path(), &["doctor", "gone"], 2);
    assert!(said.contains("error: cannot read gone: "), "{said}");
    let (_, said) = run(place.path(), &["doctor", "--log", "gone.log"], 2);
    assert!(said.contains("error: cannot read gone.log: "), "{said}");
}

#[test]
fn a_part_of_a_repository_is_enough() {
    let shop = shop();
    let (text, _) = run(shop.path(), &["doctor", "Dockerfile"], 0);
    assert!(
        text.contains("not-set-up") || text.contains("nothing wrong"),
        "{text}"
    );
}

#[test]
fn every_rule_is_explained() {
    let place = TempDir::new().unwrap();
    let (list, _) = run(place.path(), &["explain"], 0);
    let slugs: Vec<&str> = list
        .lines()
        .filter_map(|l| l.split_whitespace().nth(1))
        .collect();
    assert!(slugs.len() > 60, "{list}");
    for slug in &slugs {
        let (text, _) = run(place.path(), &["explain", slug], 0);
        assert!(text.starts_with(&format!("{slug}: ")), "{text}");
        assert!(text.contains("\nFix\n"), "{text}");
    }
    let (by_number, _) = run(place.path(), &["explain", "ct101"], 0);
    assert!(by_number.starts_with("env-missing: "), "{by_number}");
    let (_, said) = run(place.path(), &["explain", "env-mising"], 2);
    assert!(said.contains("hint: is it env-missing?"), "{said}");
}
