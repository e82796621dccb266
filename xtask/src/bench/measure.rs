//! Time and peak memory of one run of a program.
//!
//! Linux counts into a process's peak what its parent had when it was started, so the measured
//! program is started by a fresh and small process: this same program, called with [`MEASURE`].

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::sh::{self, About, Result, cmd, fail};

/// First argument of the small process.
pub(crate) const MEASURE: &str = "__measure";

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) wall: Duration,
    /// Processor time of all its threads: less moved by what else the machine does.
    pub(crate) cpu: Duration,
    /// Most memory resident at a time, in bytes.
    pub(crate) peak: u64,
}

/// Runs `program` with its standard output in the file `stdout`.
pub(crate) fn run(program: &Path, args: &[String], stdout: &Path) -> Result<Cost> {
    let me = std::env::current_exe().about("the path of this program")?;
    let said = sh::quiet(cmd(me, &[MEASURE]).arg(stdout).arg(program).args(args))?;
    let mut numbers = said.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(wall)), Some(Ok(cpu)), Some(Ok(peak))) => Ok(Cost {
            wall: Duration::from_nanos(wall),
            cpu: Duration::from_nanos(cpu),
            peak,
        }),
        _ => fail!(
            "{} {}: no measurement in {said:?}",
            program.display(),
            args.join(" ")
        ),
    }
}

/// The small process: `__measure STDOUT PROGRAM ARG…` prints nanoseconds of wall time, of
/// processor time, and bytes.
pub(crate) fn measure_child(args: &[String]) -> ExitCode {
    match measured(args) {
        Ok(cost) => {
            println!(
                "{} {} {}",
                cost.wall.as_nanos(),
                cost.cpu.as_nanos(),
                cost.peak
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs and measures.
fn measured(args: &[String]) -> Result<Cost> {
    let [stdout, program, rest @ ..] = args else {
        fail!("{MEASURE} STDOUT PROGRAM ARG…");
    };
    let stdout = File::create(stdout).about(stdout)?;
    let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(stdout)
        .spawn()
        .about(program)?;
    let used = child.wait4().about(program)?;
    let wall = began.elapsed();
    if !used.status.success() {
        fail!("{program} ended with {}", used.status);
    }
    Ok(Cost {
        wall,
        cpu: used.rusage.utime + used.rusage.stime,
        peak: used.rusage.maxrss,
    })
}

/// The run in the middle by time, with the largest memory of all.
pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    let peak = costs.iter().map(|cost| cost.peak).max().unwrap_or(0);
    let middle = costs.get(costs.len() / 2);
    Cost {
        wall: middle.map_or(Duration::ZERO, |cost| cost.wall),
        cpu: middle.map_or(Duration::ZERO, |cost| cost.cpu),
        peak,
    }
}

/// How long two threads need to read all files of a directory once (the median of five times, after
/// one that fills the page cache), and how many bytes that is.
pub(crate) fn floor(dir: &Path) -> Result<(Duration, u64)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).about(dir.display())? {
        files.push(entry.about(dir.display())?.path());
    }
    files.sort();
    let (_, bytes) = read_once(&files)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(read_once(&files)?.0);
    }
    times.sort_unstable();
    Ok((times[2], bytes))
}

/// Reads the files, every second one in each of two threads.
fn read_once(files: &[PathBuf]) -> Result<(Duration, u64)> {
    let began = Instant::now();
    let results: Vec<std::io::Result<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|first| scope.spawn(move || read_all(files.iter().skip(first).step_by(2))))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(std::io::Error::other("a reader panicked")))
            })
            .collect()
    });
    let wall = began.elapsed();
    let mut bytes = 0;
    for result in results {
        bytes += result.about("reading the corpus")?;
    }
    Ok((wall, bytes))
}

/// Reads files through one buffer.
fn read_all<'a>(files: impl Iterator<Item = &'a PathBuf>) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    for file in files {
        let mut file = File::open(file)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => bytes += n as u64,
            }
        }
    }
    Ok(bytes)
}
