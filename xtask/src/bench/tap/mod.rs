//! What the tap costs: the one who reads, the one who is read, and everything that merely runs.
//!
//! | part | what is measured | against |
//! |---|---|---|
//! | `snapshot` | a steady snapshot | the bare `process_vm_readv` calls that it makes |
//! | `attach` | finding the counters, with nothing known and with a known program | reading as many bytes |
//! | `target` | processor time a request of a service that is read, or traced | that of one left alone |
//! | `idle` | processor time and memory of covtap with 200 processes that sleep | a core, 20 MB |
//! | `agent` | start, processor time, memory and bytes of an agent with 100 and 200 idle instrumented processes | 1 s, a core, 20 MB |
//! | `forks` | wall time of a command that starts 10,000 programs | the same without covtap |
//!
//! What is compared is measured in turn, so that what else the machine does meets both.

mod agent;
mod idle;
mod process;
mod reading;
mod statistics;
mod target;

use std::path::{Path, PathBuf};

use crate::sh::{self, About, Result, cmd, fail};
use crate::{tap_fixtures, toolchains};

/// The Go whose programs are looked at.
const GO: &str = toolchains::NEWEST;

/// The parts, in order.
const PARTS: [&str; 6] = ["snapshot", "attach", "target", "idle", "agent", "forks"];

/// What is measured, and how often.
struct Options {
    parts: Vec<String>,
    quick: bool,
    covtap: Option<PathBuf>,
}

/// What all parts need.
struct Bench {
    /// Folder of the tap's programs.
    programs: PathBuf,
    covtap: PathBuf,
    /// A folder for what is made on the way.
    scratch: PathBuf,
    quick: bool,
}

impl Bench {
    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The one or the other, as `--quick` says.
    fn often<T>(&self, quick: T, long: T) -> T {
        if self.quick { quick } else { long }
    }
}

/// Measures and prints.
pub(super) fn run(args: &[String]) -> Result {
    let options = options(args)?;
    if cfg!(debug_assertions) {
        return again(args);
    }
    let covtap = match options.covtap {
        Some(path) => path.canonicalize().about(path.display())?,
        None => super::build()?,
    };
    let programs = tap_fixtures::get(GO)?;
    let scratch = crate::cache_root()?
        .join("bench")
        .join(format!(".tap.{}", std::process::id()));
    sh::rmdir(&scratch)?;
    sh::mkdir(&scratch)?;
    println!("programs: Go {GO}, {}", programs.display());
    println!("covtap:   {}", covtap.display());
    let bench = Bench {
        programs,
        covtap,
        scratch,
        quick: options.quick,
    };
    for part in &options.parts {
        println!("\n{part}, with the machine's load at {}", load());
        match part.as_str() {
            "snapshot" => reading::snapshots(&bench)?,
            "attach" => reading::attaching(&bench)?,
            "target" => target::costs(&bench)?,
            "idle" => idle::idle(&bench)?,
            "agent" => agent::agent(&bench)?,
            _ => idle::forks(&bench)?,
        }
    }
    sh::rmdir(&bench.scratch)
}

/// Parses the arguments.
fn options(args: &[String]) -> Result<Options> {
    let mut options = Options {
        parts: Vec::new(),
        quick: false,
        covtap: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--covtap" => options.covtap = args.next().map(PathBuf::from),
            part if PARTS.contains(&part) => options.parts.push(part.into()),
            other => fail!(
                "bench tap does not know {other}; it knows --quick --covtap {}",
                PARTS.join(" ")
            ),
        }
    }
    if options.parts.is_empty() {
        options.parts = PARTS.map(String::from).to_vec();
    }
    Ok(options)
}

/// Does the same in a release build: here the library itself is measured.
fn again(args: &[String]) -> Result {
    let root = crate::repository();
    let build = ["build", "--release", "--locked", "--package", "xtask"];
    sh::quiet(cmd("cargo", &build).current_dir(&root))?;
    let program = crate::gate::target_dir().join("release/xtask");
    let mut command = cmd(&program, &["bench", "tap"]);
    let status = command.args(args).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => fail!("{} ended with {status}", program.display()),
        Err(error) => fail!("{}: {error}", program.display()),
    }
}

/// How many processes want to run, in the last minute.
fn load() -> String {
    let text = sh::read(Path::new("/proc/loadavg")).unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// `yes` or `no`, for verdicts.
fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::{PARTS, options};

    #[test]
    fn parts_are_all_or_those_that_are_named() {
        let parts = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            options(&args).map(|o| o.parts.len()).ok()
        };
        assert_eq!(parts(&[]), Some(PARTS.len()));
        assert_eq!(parts(&["idle", "--quick"]), Some(1));
        assert_eq!(parts(&["nothing"]), None);
    }
}
