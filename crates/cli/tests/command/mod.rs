//! Runs of commands that look at trees of files, free of the surroundings of the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn covtap(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
    command.args(args).current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COVTAP_") {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

/// Runs covtap, which is to end with this code; what it printed.
pub(crate) fn run(directory: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = covtap(directory, args);
    let texts = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}\n{}\n{}",
        texts[0],
        texts[1]
    );
    texts.into()
}

/// The example of a wired service.
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/datastorage")
}
