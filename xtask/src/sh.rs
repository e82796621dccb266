//! Running programs, with errors that name the program and show what it said.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A failure that a person reads: one sentence, what it was about, and the next step if there is
/// one.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

/// What tasks return.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a [`Failure`] with a formatted sentence.
macro_rules! fail {
    ($($arg:tt)*) => {
        return Err($crate::sh::Failure(format!($($arg)*)))
    };
}
pub(crate) use fail;

/// Says what an operation was about when it fails.
pub(crate) trait About<T> {
    /// `what: error`.
    fn about(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> About<T> for std::result::Result<T, E> {
    fn about(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// A command, ready for more arguments.
pub(crate) fn cmd<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// `program arg arg` for messages.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs it and returns what it printed, whatever its exit code.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.output().about(shown(command))
}

/// Runs it quietly; on failure everything that it printed is in the message.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let out = output(command)?;
    if !out.status.success() {
        fail!(
            "{} ended with {}\n{}{}",
            shown(command),
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether a program of this name is on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|dir| {
            let file = dir.join(program);
            file.is_file()
        })
    })
}

/// Reads a file as text.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).about(path.display())
}

/// Writes a file.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result {
    std::fs::write(path, bytes).about(path.display())
}

/// Makes a directory and its parents.
pub(crate) fn mkdir(path: &Path) -> Result {
    std::fs::create_dir_all(path).about(path.display())
}

/// Removes a directory tree if it is there.
pub(crate) fn rmdir(path: &Path) -> Result {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Moves a finished directory to its place. When another process was faster its work stays and
/// ours goes.
pub(crate) fn publish(from: &Path, to: &Path) -> Result {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(()),
        Err(_) if to.exists() => rmdir(from),
        Err(error) => Err(Failure(format!("{}: {error}", to.display()))),
    }
}
