//! The commands of `go tool covdata`, on the same data with the same results.
//!
//! Written from the behaviour of `cmd/covdata` in Go 1.21 to 1.27. What differs, on purpose:
//! * what that tool passes over in silence is returned as problems;
//! * a damaged file or record is left out and the rest is used, where that tool stops;
//! * `percent` ends every line, also that of a package without statements;
//! * `subtract` and `intersect` work when several builds are in several directories, where that
//!   tool ends with `decreasing dir index, internal error`; where its `intersect` depends on the
//!   order of builds, the result is the same and a warning says so;
//! * output files appear whole or not at all.

mod dump;
mod json;
mod origin;
mod output;
mod rewrite;
mod tabs;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use covtap_model::counter::{CounterMode, ModePolicy, merge_modes};
use covtap_model::problem::Problem;

use super::accumulate::Counters;
use super::directory::{self, Pod, ScanError};
use super::load::{self, Build};
use super::pattern::Patterns;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Covered statements of each package, in percent.
    Percent,
    /// Covered statements of each function, in percent.
    Func,
    /// A text profile, as `go test -coverprofile` writes it.
    Textfmt,
    /// The import paths of all packages.
    Pkglist,
    /// Everything, for people.
    Debugdump,
    /// One meta-data and one counter file for each build; or for all builds together.
    Merge,
    /// The first directory's counters without what the second one covers.
    Subtract,
    /// The first directory's counters where all others cover too.
    Intersect,
}

impl Command {
    /// All commands, in the order in which they are listed.
    pub const ALL: [Self; 8] = [
        Self::Textfmt,
        Self::Percent,
        Self::Pkglist,
        Self::Func,
        Self::Merge,
        Self::Subtract,
        Self::Intersect,
        Self::Debugdump,
    ];

    /// The word that selects it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Func => "func",
            Self::Textfmt => "textfmt",
            Self::Pkglist => "pkglist",
            Self::Debugdump => "debugdump",
            Self::Merge => "merge",
            Self::Subtract => "subtract",
            Self::Intersect => "intersect",
        }
    }
}

/// A command with its flags.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// `-i`: directories to read.
    pub inputs: Vec<PathBuf>,
    /// `-pkg`: only packages that match.
    pub packages: Option<Patterns>,
    /// `-o`: a file (textfmt, percent) or a directory (merge, subtract, intersect).
    pub output: Option<PathBuf>,
    /// `-pcombine`: merge builds of different programs into one.
    pub combine_programs: bool,
    /// `-live`: only functions that ran.
    pub live: bool,
    /// `--format json`.
    pub json: bool,
    /// The command line, which `debugdump` shows.
    pub command_line: String,
}

/// Why a command could not do anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An input directory is missing or unreadable.
    #[error("reading inputs: {0}")]
    Scan(#[from] ScanError),
    /// Builds of different modes, for a command that has to know what the numbers mean.
    #[error("counter mode clash while reading meta-data file {}: previous file had {first}, new file has {second}", file.display())]
    Modes {
        /// The file that differs from those before.
        file: PathBuf,
        /// Their mode.
        first: CounterMode,
        /// Its mode.
        second: CounterMode,
    },
    /// Builds of different granularity.
    #[error("counter granularity clash while reading meta-data file {}: previous file had {first}, new file has {second}", file.display())]
    Granularities {
        /// The file that differs from those before.
        file: PathBuf,
        /// Their granularity.
        first: &'static str,
        /// Its granularity.
        second: &'static str,
    },
    /// Output could not be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("writing standard output: {0}")]
    Stdout(#[from] io::Error),
}

/// What a command found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many builds' data were there.
    pub pods: usize,
    /// What of the inputs could not be used.
    pub problems: Vec<Problem>,
}

/// Runs a command; what it prints goes to `stdout`.
///
/// # Errors
/// [`Error`] when nothing could be done.
pub fn run(request: &Request, stdout: &mut dyn Write) -> Result<Outcome, Error> {
    let scan = directory::scan(&request.inputs)?;
    let mut problems = scan.problems;
    match request.command {
        Command::Merge => rewrite::merge(request, &scan.pods, stdout, &mut problems)?,
        Command::Subtract | Command::Intersect => {
            rewrite::compare(request, &scan.pods, stdout, &mut problems)?;
        }
        _ => dump::run(request, &scan.pods, stdout, &mut problems)?,
    }
    Ok(Outcome {
        pods: scan.pods.len(),
        problems,
    })
}

/// A pod that could be opened.
struct OpenPod<'a> {
    pod: &'a Pod,
    build: Build,
}

impl OpenPod<'_> {
    fn all_counters(&self, problems: &mut Vec<Problem>) -> Counters {
        let (counters, found) = self.build.counters(&self.pod.counters);
        problems.extend(found);
        counters
    }
}

fn open_pods<'a>(pods: &'a [Pod], problems: &mut Vec<Problem>) -> Vec<OpenPod<'a>> {
    pods.iter()
        .filter_map(|pod| {
            let (build, found) = load::open(pod);
            problems.extend(found);
            Some(OpenPod { pod, build: build? })
        })
        .collect()
}

/// The mode of all pods together; `None` without any.
fn common_mode(pods: &[OpenPod<'_>], policy: ModePolicy) -> Result<Option<CounterMode>, Error> {
    let mut mode = None;
    let mut granularity = None;
    for OpenPod { pod, build } in pods {
        let first = granularity.get_or_insert(build.meta.granularity).word();
        if first != build.meta.granularity.word() {
            let second = build.meta.granularity.word();
            return Err(Error::Granularities {
                file: pod.meta.clone(),
                first,
                second,
            });
        }
        mode = Some(
            merge_modes(mode, build.meta.mode, policy).map_err(|clash| Error::Modes {
                file: pod.meta.clone(),
                first: clash.first,
                second: clash.second,
            })?,
        );
    }
    Ok(mode)
}
