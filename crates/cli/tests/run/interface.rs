//! Arguments, settings, messages: nothing here needs Go.

use std::fs;
use std::path::Path;

use crate::project::{Project, assert_code, stderr, stdout};

#[test]
fn a_store_that_cannot_be_written_is_two_with_a_hint() {
    let project = Project::empty();
    // A file in its place: that stops root, too.
    fs::write(project.path().join(".covtap"), "").unwrap();
    let output = project.run(&["run", "--", "touch", "started"]);
    assert_code(&output, 2);
    let said = stderr(&output);
    assert!(said.starts_with("error: cannot write "), "{said}");
    assert!(
        said.contains("hint: name a directory you may write to with --store DIR"),
        "{said}"
    );
    assert!(
        !project.path().join("started").exists(),
        "CMD does not start in vain"
    );
}

#[test]
fn a_command_that_cannot_start_is_two_with_a_hint() {
    let project = Project::empty();
    let output = project.run(&["run", "--", "no-such-command"]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("error: cannot start no-such-command: "),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("hint: is it installed, and on PATH?"));
    assert_eq!(
        fs::read_dir(project.path().join(".covtap/runs"))
            .unwrap()
            .count(),
        0
    );
    let output = project.run(&["run", "--", "make test"]);
    assert!(
        stderr(&output).contains("`sh -c '…'`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn mistakes_in_arguments_are_two_with_usage() {
    let project = Project::empty();
    for args in [
        &["run"][..],
        &["run", "--grace", "soon", "x"],
        &["report", "--format", "pdf"],
        &["nothing"],
        &[],
    ] {
        let output = project.run(args);
        assert_code(&output, 2);
        assert!(
            stderr(&output).contains("Usage: covtap")
                || stderr(&output).contains("For more information"),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn empty_states_are_helpful_sentences() {
    let project = Project::empty();
    let output = project.run(&["report"]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("no runs yet"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("hint: `covtap run -- CMD` makes one"),
        "{}",
        stderr(&output)
    );
    assert_code(&project.run(&["run", "--", "true"]), 3);
    let output = project.run(&["report"]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("collected nothing"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("ledger.json"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_settings_file_with_an_unknown_key_is_refused() {
    let project = Project::empty();
    fs::write(
        project.path().join("covtap.toml"),
        "[run]\ngrase = \"1s\"\n",
    )
    .unwrap();
    let output = project.run(&["run", "--", "touch", "started"]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("covtap.toml:2: unknown key `grase`"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("hint: did you mean `grace`?"),
        "{}",
        stderr(&output)
    );
    assert!(!project.path().join("started").exists());
}

#[test]
fn flag_then_environment_then_file_then_default() {
    let project = Project::empty();
    let document = "{\"schema\":\"covtap.coverage/1\",\"generator\":\"x\",\"mode\":\"set\",\
                    \"totals\":{\"statements\":{\"covered\":0,\"total\":0},\"lines\":{\"covered\":0,\
                    \"total\":0},\"functions\":{\"covered\":0,\"total\":0}},\"packages\":[]}";
    fs::write(project.path().join("coverage.json"), document).unwrap();
    let first = |args: &[&str], variable: Option<&str>| {
        let mut command = project.covtap(&[&["report", "coverage.json"], args].concat());
        if let Some(value) = variable {
            command.env("COVTAP_FORMAT", value);
        }
        let output = command.output().unwrap();
        assert_code(&output, 0);
        stdout(&output)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        first(&[], None).starts_with("No coverage data"),
        "the default is the table"
    );
    fs::write(
        project.path().join("covtap.toml"),
        "[report]\nformat = [\"go\"]\n",
    )
    .unwrap();
    assert_eq!(first(&[], None), "mode: set");
    assert!(first(&[], Some("badge")).starts_with("<svg"));
    assert_eq!(first(&["--format", "json"], Some("badge")), "{");
}

#[test]
fn colours_are_asked_for() {
    let project = Project::empty();
    let colours = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = project.covtap(&[&["report"], args].concat());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        stderr(&output).contains('\u{1b}')
    };
    assert!(!colours(&[], &[]), "stderr is no terminal");
    assert!(colours(&["--color", "always"], &[]));
    assert!(colours(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colours(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!colours(&["--color=never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(colours(&[], &[("COVTAP_COLOR", "always")]));
}

#[test]
fn completions_and_manual_pages_come_out() {
    let project = Project::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = project.run(&["completions", shell]);
        assert_code(&output, 0);
        assert!(stdout(&output).contains("covtap"), "{shell}");
    }
    let output = project.run(&["man"]);
    assert_code(&output, 0);
    assert!(
        stdout(&output).contains(".TH covtap 1"),
        "{}",
        stdout(&output)
    );
    assert_code(&project.run(&["man", "pages"]), 0);
    assert!(project.path().join("pages/covtap-run.1").is_file());
}

/// `COVTAP_UPDATE_HELP=1 cargo test -p covtap` writes the files anew.
#[test]
fn help_is_as_agreed() {
    let project = Project::empty();
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    for name in [
        "",
        "run",
        "start",
        "collect",
        "report",
        "inspect",
        "tap",
        "watch",
        "ls",
        "wire",
        "unwire",
        "agent",
        "agent image",
        "agent manifest",
        "runs",
        "man",
    ] {
        let args: Vec<&str> = name
            .split(' ')
            .filter(|n| !n.is_empty())
            .chain(["--help"])
            .collect();
        let output = project.run(&args);
        assert_code(&output, 0);
        let words = format!("covtap {name}");
        let file = home.join(format!("{}.txt", words.trim().replace(' ', "-")));
        if std::env::var_os("COVTAP_UPDATE_HELP").is_some() {
            fs::write(&file, stdout(&output)).unwrap();
        }
        assert_eq!(
            stdout(&output),
            fs::read_to_string(&file).unwrap_or_default(),
            "{}",
            file.display()
        );
    }
}
