//! What covtap costs while nothing happens to it, and what it costs programs that it does not want.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{Memory, Talking, cpu, executing, memory};
use super::statistics::median;
use super::{Bench, yes};
use crate::sh::{self, About, Result, fail};

/// Accepted: this part of a core.
pub(super) const CORE: f64 = 0.01;
/// Accepted: resident memory.
pub(super) const MEMORY: u64 = 20_000_000;
/// How many processes sleep.
const SLEEPERS: usize = 200;
/// How many programs are started.
const FORKS: usize = 10_000;
/// `covtap run` exits with this when it collected nothing.
const NOTHING: i32 = 3;

/// Starts them, says so, and ends them when its input ends.
pub(super) const SLEEP: &str = r#"
    n=$1; shift; all=; i=0
    while [ $i -lt $n ]; do "$@" > said 2>&1 < /dev/null & all="$all $!"; i=$((i+1)); done
    echo ready
    read end
    kill $all
    wait
"#;

/// Starts a program again and again.
const FORK: &str = r#"i=0; while [ $i -lt $1 ]; do /bin/true; i=$((i+1)); done"#;

/// The processor time and memory of covtap with processes that sleep.
pub(super) fn idle(bench: &Bench) -> Result {
    println!(
        "{:<36} {:<10} {:>8} {:>9} {:>9} {:>9}  <= {} % of a core, <= {} MB",
        "200 processes",
        "watching",
        "of a core",
        "rss",
        "all, pss",
        "processes",
        CORE * 100.0,
        MEMORY / 1_000_000
    );
    let service = bench.program("static-atomic/service");
    let service = service.to_string_lossy();
    for (name, program) in [
        ("sleep", &["sleep", "600"][..]),
        ("an instrumented service, read each s", &[&*service][..]),
    ] {
        for watching in ["hold", "events", "poll"] {
            sleeping(bench, name, watching, program)?;
        }
    }
    session(bench)
}

/// Of `covtap run` over processes that sleep.
fn sleeping(bench: &Bench, name: &str, watching: &str, program: &[&str]) -> Result {
    let mut command = covtap_run(bench, &["--route=tap,exit"], watching)?;
    command.args(["sh", "-c", SLEEP, "sh", &SLEEPERS.to_string()]);
    command.args(program).stderr(Stdio::null());
    let mut running = Talking::start(&mut command)?;
    running.line("ready")?;
    let pids = executing(&bench.covtap, running.pid())?;
    observe(bench, name, watching, &pids)?;
    running.end()?;
    Ok(())
}

/// Of `covtap start`, which watches the whole machine.
fn session(bench: &Bench) -> Result {
    let store = bench.scratch.join("session");
    sh::mkdir(&store)?;
    let covtap = |word: &str| {
        let mut command = Command::new(&bench.covtap);
        command.arg(word).arg("--store").arg(&store);
        command.current_dir(&bench.scratch).stdin(Stdio::null());
        command
    };
    let mut sleepers = Command::new("sh");
    sleepers.args(["-c", SLEEP, "sh", &SLEEPERS.to_string(), "sleep", "600"]);
    let mut sleepers = Talking::start(sleepers.current_dir(&bench.scratch))?;
    sleepers.line("ready")?;
    sh::quiet(&mut covtap("start"))?;
    // It is nobody's child any more.
    let pids = executing(&bench.covtap, 1)?;
    let observed = observe(bench, "sleep; covtap start: the machine", "hold", &pids);
    let stopped = sh::output(&mut covtap("stop"))?;
    observed?;
    if !matches!(stopped.status.code(), Some(0 | 3 | 4)) {
        fail!("covtap stop: {}", String::from_utf8_lossy(&stopped.stderr));
    }
    sleepers.end()?;
    Ok(())
}

/// Lets processes of covtap be idle, and prints what that cost.
fn observe(bench: &Bench, name: &str, watching: &str, pids: &[u32]) -> Result {
    let [first, ..] = pids else {
        fail!("{name}: covtap does not run");
    };
    // What it has found it looks at first.
    thread::sleep(Duration::from_secs(3));
    let sum = || -> Result<Duration> { pids.iter().map(|pid| cpu(*pid)).sum() };
    let (began, before) = (Instant::now(), sum()?);
    thread::sleep(Duration::from_secs(bench.often(5, 15)));
    let used = sum()?.saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    let of_each: Vec<Memory> = pids.iter().map(|pid| memory(*pid)).collect::<Result<_>>()?;
    let rss = memory(*first)?.rss;
    let all: u64 = of_each.iter().map(|m| m.pss).sum();
    println!(
        "{name:<36} {watching:<10} {:>7.2} % {:>6.1} MB {:>6.1} MB {:>9}  {}, {}",
        used * 100.0,
        rss as f64 / 1e6,
        all as f64 / 1e6,
        pids.len(),
        yes(used <= CORE),
        yes(rss.max(all) <= MEMORY)
    );
    Ok(())
}

/// The wall time of a command that starts thousands of programs.
pub(super) fn forks(bench: &Bench) -> Result {
    let forks = bench.often(FORKS / 10, FORKS).to_string();
    let ways = ["none", "hold", "events", "poll"];
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..bench.often(3, 5) {
        for (way, times) in ways.into_iter().zip(&mut times) {
            let mut command = match way {
                "none" => Command::new("sh"),
                watching => {
                    let mut command = covtap_run(bench, &[], watching)?;
                    command.arg("sh");
                    command
                }
            };
            command.args(["-c", FORK, "sh", &forks]);
            command.stdin(Stdio::null()).current_dir(&bench.scratch);
            let began = Instant::now();
            let output = sh::output(&mut command)?;
            times.push(began.elapsed());
            let expected = if way == "none" { 0 } else { NOTHING };
            if output.status.code() != Some(expected) {
                fail!(
                    "{way}: {}\n{}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
    let times = times.map(median);
    println!(
        "{:<10} {:>10} {:>8} {:>14}",
        "watching", "time", "ratio", "more, each"
    );
    for (way, time) in ways.into_iter().zip(times) {
        let more =
            time.saturating_sub(times[0]).as_secs_f64() / forks.parse::<f64>().about("forks")?;
        println!(
            "{way:<10} {:>8.2} s {:>6.2} x {:>11.1} us",
            time.as_secs_f64(),
            time.as_secs_f64() / times[0].as_secs_f64(),
            more * 1e6
        );
    }
    Ok(())
}

/// `covtap run FLAGS --watching=… --`, in the scratch folder.
fn covtap_run(bench: &Bench, flags: &[&str], watching: &str) -> Result<Command> {
    let store = bench.scratch.join("store");
    sh::mkdir(&store)?;
    let mut command = Command::new(&bench.covtap);
    command.arg("run").args(flags).arg("--store").arg(store);
    command.arg(format!("--watching={watching}")).arg("--");
    command.current_dir(Path::new(&bench.scratch));
    Ok(command)
}
