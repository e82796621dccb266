//! What the commands print; that it is what Go's tool prints is held by
//! `crates/cli/tests/covdata_differential.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use covtap_model::counter::CounterMode;
use covtap_model::problem::Severity;

use super::{Command, Error, Outcome, Request, run};
use crate::go::hex;
use crate::go::pattern::Patterns;
use crate::go::samples::Directory;

fn request(command: Command, input: &Path) -> Request {
    Request {
        command,
        inputs: vec![input.to_path_buf()],
        packages: None,
        output: None,
        combine_programs: false,
        live: false,
        json: false,
        command_line: "covtap covdata test".into(),
    }
}

fn done(request: &Request) -> (String, Outcome) {
    let mut out = Vec::new();
    let outcome = run(request, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), outcome)
}

fn json(request: Request) -> serde_json::Value {
    let (text, outcome) = done(&Request {
        json: true,
        ..request
    });
    assert_eq!(outcome.problems, []);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], "covtap.covdata/1");
    value
}

/// Function `Three` of `m/p` ran, and the literal of `m/q`.
fn sample() -> Directory {
    let run = |a, b| vec![(0, 1, vec![a, 0, 1]), (1, 0, vec![0, b])];
    Directory::new(CounterMode::Count, &[run(2, 1), run(3, 0)])
}

#[test]
fn json_says_what_the_text_says() {
    let d = sample();
    let percent = json(request(Command::Percent, d.path()));
    assert_eq!(percent["mode"], "count");
    assert_eq!(percent["packages"][0]["path"], "m/p");
    assert_eq!(percent["packages"][0]["statements"]["covered"], 2);
    assert_eq!(percent["packages"][1]["percent"], 80.0);

    let func = json(request(Command::Func, d.path()));
    let functions = &func["packages"][0]["functions"];
    assert_eq!(functions[1]["name"], "Three");
    assert_eq!(
        (&functions[1]["line"], &functions[1]["file"]),
        (&300.into(), &"m/p/f.go".into())
    );
    // Function literals have no row of their own.
    assert_eq!(func["packages"][1]["functions"], serde_json::json!([]));

    let units = json(request(Command::Textfmt, d.path()));
    let unit = &units["packages"][0]["units"][1];
    assert_eq!(unit["position"], serde_json::json!([300, 2, 300, 40]));
    assert_eq!(
        (&unit["count"], &unit["function"]),
        (&5.into(), &"Three".into())
    );

    let list = json(request(Command::Pkglist, d.path()));
    assert_eq!(list["packages"], serde_json::json!(["m/p", "m/q"]));

    let out = tempfile::tempdir().unwrap();
    let output = Some(out.path().join("merged"));
    let merged = json(Request {
        output,
        ..request(Command::Merge, d.path())
    });
    for file in merged["written"].as_array().unwrap() {
        assert!(PathBuf::from(file.as_str().unwrap()).is_file());
    }
    assert_eq!(merged["written"].as_array().unwrap().len(), 2);
}

#[test]
fn func_and_debugdump_are_for_people() {
    let d = sample();
    let (func, _) = done(&request(Command::Func, d.path()));
    assert!(func.contains("m/p/f.go:300:\tThree\t\t100.0%\n"), "{func}");
    assert!(func.ends_with("total\t\t(statements)\t26.1%\n"), "{func}");

    let (dump, _) = done(&request(Command::Debugdump, d.path()));
    for part in [
        " *\tcovtap covdata test\n",
        "Cover mode: count\nCover granularity: perblock\n",
        " GOOS=linux  program args: [/bin/prog x]\n\n",
        "\nPackage path: m/p\nPackage name: p\nModule path: m\n",
        "\nFunc: Three\nSrcfile: m/p/f.go\nLiteral: false\n0: L300:C2 -- L300:C40 NS=2 = 5\n",
        "totalStmts: 23 coveredStmts: 6\n",
    ] {
        assert!(dump.contains(part), "{part:?} in {dump}");
    }
    let (live, _) = done(&Request {
        live: true,
        ..request(Command::Debugdump, d.path())
    });
    assert!(
        !live.contains("Func: One") && live.contains("Func: Three"),
        "{live}"
    );
    let only = Some(Patterns::parse("m/q"));
    let (q, _) = done(&Request {
        packages: only,
        ..request(Command::Debugdump, d.path())
    });
    assert!(!q.contains("m/p/f.go\nLiteral: false"), "{q}");
}

#[test]
fn programs_are_combined_function_by_function() {
    let d = sample();
    let out = tempfile::tempdir().unwrap();
    let combined = Request {
        output: Some(out.path().to_path_buf()),
        combine_programs: true,
        ..request(Command::Merge, d.path())
    };
    assert_eq!(done(&combined).1.problems, []);
    let again = done(&request(Command::Percent, out.path())).0;
    assert_eq!(again, done(&request(Command::Percent, d.path())).0);
}

#[test]
fn an_unusable_build_is_named_with_all_that_is_lost() {
    let d = sample();
    fs::write(d.meta(), b"no meta-data").unwrap();
    let (text, outcome) = done(&request(Command::Percent, d.path()));
    assert_eq!((text.as_str(), outcome.pods), ("", 1));
    let problem = &outcome.problems[0];
    assert_eq!(problem.severity, Severity::Error);
    assert_eq!(
        problem.effect,
        "the build and its 2 counter files are left out"
    );
    assert_eq!(problem.offset, Some(0));
}

#[test]
fn a_name_that_states_another_hash_is_a_warning() {
    let d = sample();
    let other = "0123456789abcdef0123456789abcdef";
    fs::rename(d.meta(), d.path().join(format!("covmeta.{other}"))).unwrap();
    for n in 0..2 {
        let name = |tag: &str| d.path().join(format!("covcounters.{tag}.{n}.17"));
        fs::rename(name(&hex(&d.hash)), name(other)).unwrap();
    }
    let (text, outcome) = done(&request(Command::Percent, d.path()));
    assert!(text.contains("80.0%"), "{text}");
    assert_eq!(outcome.problems.len(), 1);
    assert_eq!(outcome.problems[0].severity, Severity::Warning);
    assert!(outcome.problems[0].expected.contains(other));
}

#[test]
fn output_that_cannot_be_written_is_an_error_that_names_it() {
    let d = sample();
    let output = Some(PathBuf::from("/no/such/place/out.txt"));
    let textfmt = Request {
        output,
        ..request(Command::Textfmt, d.path())
    };
    let error = run(&textfmt, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Write { .. }));
    assert!(
        error
            .to_string()
            .starts_with("writing /no/such/place/out.txt: "),
        "{error}"
    );
}

/// `-o /dev/stdout` and pipes are written to, not replaced.
#[test]
fn what_is_no_regular_file_is_written_to_as_it_is() {
    let d = sample();
    let pipe = d.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
    };
    let output = Some(pipe.clone());
    done(&Request {
        output,
        ..request(Command::Textfmt, d.path())
    });
    assert!(
        reader
            .join()
            .unwrap()
            .starts_with("mode: count\nm/p/f.go:3.2,3.40 1 0\n")
    );
    assert!(!fs::metadata(&pipe).unwrap().is_file());
}
