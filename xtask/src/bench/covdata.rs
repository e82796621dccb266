//! `covtap covdata` beside `go tool covdata`: wall time, peak memory, the same answers.
//!
//! Both run on the same files in turn (Go, covtap, Go, covtap…), so that what else the machine does
//! meets both. Go's tool is a program built beforehand: neither its build nor the `go` command is in
//! the figures. The *floor* is the time that two threads need to read the same bytes once and do
//! nothing with them. A ratio counts only if the outputs are the same, byte for byte; of `percent`
//! the newline is added that Go forgets, of `merge` the directories are compared by Go's `textfmt`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::measure::{self, Cost, floor};
use super::{build, corpus};
use crate::sh::{self, About, Result, cmd, fail};
use crate::toolchains;

/// The Go whose compiler is the corpus and whose tool is the opponent.
const GO: &str = toolchains::NEWEST;

/// Accepted, at the largest number of files: so many times faster, so much less memory.
const ACCEPTED: (f64, f64) = (10.0, 5.0);

/// The goal: times faster, times less memory, times the floor at most.
const GOAL: (f64, f64, f64) = (20.0, 10.0, 3.0);

/// How far below the accepted ratios `--gate` fails: other machines, other load.
const SPARE: f64 = 3.0;

/// What is measured.
const COMMANDS: [&str; 4] = ["percent", "func", "textfmt", "merge"];

/// The arguments.
struct Options {
    files: Vec<usize>,
    repeat: usize,
    gate: bool,
    covtap: Option<PathBuf>,
}

/// One row.
struct Row {
    command: &'static str,
    files: usize,
    go: Cost,
    ours: Cost,
    floor: Duration,
    same: bool,
}

impl Row {
    fn faster(&self) -> f64 {
        self.go.wall.as_secs_f64() / self.ours.wall.as_secs_f64()
    }

    fn cpu(&self) -> f64 {
        self.go.cpu.as_secs_f64() / self.ours.cpu.as_secs_f64()
    }

    fn smaller(&self) -> f64 {
        self.go.peak as f64 / self.ours.peak as f64
    }

    fn floors(&self) -> f64 {
        self.ours.wall.as_secs_f64() / self.floor.as_secs_f64()
    }
}

/// Measures and prints.
pub(super) fn run(args: &[String]) -> Result {
    let options = options(args)?;
    let toolchain = toolchains::get(GO)?;
    let covtap = match &options.covtap {
        Some(path) => path.clone(),
        None => build()?,
    };
    let largest = options.files.iter().copied().max().unwrap_or(0);
    let corpus = corpus::get(&toolchain, largest)?;
    let scratch = corpus.join(format!(".scratch.{}", std::process::id()));
    println!(
        "corpus: counters of an instrumented cmd/compile of Go {GO}, {}",
        corpus.display()
    );
    println!("go:     {}", toolchain.covdata.display());
    println!("covtap: {}\n", covtap.display());
    println!(
        "{:<8} {:>6} {:>9} {:>9} {:>9} {:>7} {:>7} {:>9} {:>9} {:>7} {:>6}",
        "command",
        "files",
        "floor",
        "go",
        "covtap",
        "faster",
        "cpu",
        "go",
        "covtap",
        "smaller",
        "floors"
    );
    let mut rows = Vec::new();
    for &files in &options.files {
        let input = corpus::take(&corpus, files)?;
        let (read, bytes) = floor(&input)?;
        println!("{files} files, {:.1} MB", bytes as f64 / 1e6);
        for command in COMMANDS {
            let row = compare(
                command,
                files,
                &input,
                read,
                &toolchain.covdata,
                &covtap,
                &scratch,
                options.repeat,
            )?;
            print(&row);
            rows.push(row);
        }
    }
    sh::rmdir(&scratch)?;
    verdict(&rows, largest, options.gate)
}

/// Parses the arguments.
fn options(args: &[String]) -> Result<Options> {
    let mut options = Options {
        files: vec![100, 1_000, 5_000],
        repeat: 5,
        gate: false,
        covtap: None,
    };
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--quick" => {
                options.files = vec![100, 1_000];
                options.repeat = 3;
            }
            "--gate" => options.gate = true,
            "--files" => {
                let list = args.next().unwrap_or_default();
                options.files = list
                    .split(',')
                    .map(|n| n.trim().parse().about(format!("--files {list}")))
                    .collect::<Result<_>>()?;
            }
            "--covtap" => options.covtap = args.next().map(PathBuf::from),
            other => fail!("bench does not know {other}; it knows --files --quick --gate --covtap"),
        }
    }
    options.files.sort_unstable();
    if options.files.is_empty() || options.files[0] == 0 {
        fail!("--files needs numbers of files from 1");
    }
    Ok(options)
}

/// Measures one command on one directory and compares the outputs.
#[allow(
    clippy::too_many_arguments,
    reason = "one caller, which has them as locals"
)]
fn compare(
    command: &'static str,
    files: usize,
    input: &Path,
    floor: Duration,
    covdata: &Path,
    covtap: &Path,
    scratch: &Path,
    repeat: usize,
) -> Result<Row> {
    let (mut go, mut ours) = (Vec::new(), Vec::new());
    let mut outputs = [PathBuf::new(), PathBuf::new()];
    for _ in 0..repeat {
        let sides = [
            (covdata, &[][..], "go"),
            (covtap, &["covdata"][..], "covtap"),
        ];
        for (side, (program, first, name)) in sides.into_iter().enumerate() {
            let folder = scratch.join(name);
            sh::rmdir(&folder)?;
            let out = folder.join("out");
            sh::mkdir(&folder)?;
            let mut args: Vec<String> = first.iter().map(ToString::to_string).collect();
            args.push(command.into());
            args.push(format!("-i={}", input.display()));
            match command {
                "merge" => {
                    sh::mkdir(&out)?;
                    args.push(format!("-o={}", out.display()));
                }
                "textfmt" => args.push(format!("-o={}", out.display())),
                _ => {}
            }
            let stdout = folder.join("stdout");
            let cost = measure::run(program, &args, &stdout)?;
            if side == 0 {
                go.push(cost)
            } else {
                ours.push(cost)
            }
            outputs[side] = if matches!(command, "merge" | "textfmt") {
                out
            } else {
                stdout
            };
        }
    }
    let [a, b] = outputs.map(|output| answer(command, &output, covdata));
    Ok(Row {
        command,
        files,
        go: measure::median(go),
        ours: measure::median(ours),
        floor,
        same: a? == b?,
    })
}

/// What is compared of an output.
fn answer(command: &str, output: &Path, covdata: &Path) -> Result<Vec<u8>> {
    match command {
        "percent" => Ok(sh::read(output)?.replace("\t\t\t", "\t\t\n\t").into_bytes()),
        "merge" => {
            let profile = output.with_extension("profile");
            sh::quiet(
                cmd(covdata, &["textfmt"])
                    .arg(format!("-i={}", output.display()))
                    .arg(format!("-o={}", profile.display())),
            )?;
            std::fs::read(&profile).about(profile.display())
        }
        _ => std::fs::read(output).about(output.display()),
    }
}

/// Prints a row.
fn print(row: &Row) {
    let ms = |d: Duration| format!("{:.1} ms", d.as_secs_f64() * 1e3);
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let ratio = |r: f64| {
        if row.same {
            format!("{r:.1} x")
        } else {
            "void".into()
        }
    };
    println!(
        "{:<8} {:>6} {:>9} {:>9} {:>9} {:>7} {:>7} {:>9} {:>9} {:>7} {:>6.1}",
        row.command,
        row.files,
        ms(row.floor),
        ms(row.go.wall),
        ms(row.ours.wall),
        ratio(row.faster()),
        ratio(row.cpu()),
        mb(row.go.peak),
        mb(row.ours.peak),
        ratio(row.smaller()),
        row.floors(),
    );
}

/// Accepted, goal and reached at the largest number of files.
fn verdict(rows: &[Row], largest: usize, gate: bool) -> Result {
    let at: Vec<&Row> = rows.iter().filter(|row| row.files == largest).collect();
    println!(
        "\nat {largest} files: accepted {} x faster in 1/{} of the memory; goal {} x, 1/{}, within {} x of the floor",
        ACCEPTED.0, ACCEPTED.1, GOAL.0, GOAL.1, GOAL.2
    );
    println!(
        "{:<8} {:>10} {:>10} {:>10}  {:<9} goal",
        "command", "faster", "smaller", "floors", "accepted"
    );
    let mut slow = Vec::new();
    for row in &at {
        let yes = |b: bool| if b { "yes" } else { "no" };
        let (faster, smaller, floors) = (row.faster(), row.smaller(), row.floors());
        println!(
            "{:<8} {faster:>8.1} x {smaller:>8.1} x {floors:>8.1} x  {:<9} {}",
            row.command,
            yes(faster >= ACCEPTED.0 && smaller >= ACCEPTED.1),
            yes(faster >= GOAL.0 && smaller >= GOAL.1 && floors <= GOAL.2),
        );
        if faster < ACCEPTED.0 / SPARE || smaller < ACCEPTED.1 / SPARE {
            slow.push(row.command);
        }
    }
    let void: Vec<String> = rows
        .iter()
        .filter(|row| !row.same)
        .map(|row| format!("{} at {} files", row.command, row.files))
        .collect();
    if !void.is_empty() {
        fail!(
            "the outputs differ, so these ratios are void: {}",
            void.join(", ")
        );
    }
    if gate && !slow.is_empty() {
        fail!(
            "more than {SPARE} times below what is accepted: {}",
            slow.join(", ")
        );
    }
    Ok(())
}
