//! What `covtap agent` costs on a node whose instrumented processes are idle.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use covtap_live::agent::message::Selection;
use covtap_live::agent::remote::{Condition, Options, Remote};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::idle::{CORE, MEMORY, SLEEP};
use super::process::{Memory, Talking, cpu, executing, memory};
use super::{Bench, yes};
use crate::sh::{self, About, Result, cmd, fail};

/// Accepted: from the start of the agent to its hello.
const START: Duration = Duration::from_secs(1);
/// Set in the pid namespace that this is measured in: an agent watches all of its machine.
const INSIDE: &str = "COVTAP_BENCH_INSIDE";

/// An agent with idle processes, and what it says.
pub(super) fn agent(bench: &Bench) -> Result {
    if std::env::var_os(INSIDE).is_none() {
        return inside(bench);
    }
    println!(
        "{:<12} {:<9} {:>9} {:>10} {:>9} {:>10} {:>9}  hello <= 1 s, <= {} % of a core, <= {} MB",
        "processes",
        "watching",
        "hello",
        "of a core",
        "rss",
        "all, pss",
        "wire",
        CORE * 100.0,
        MEMORY / 1_000_000
    );
    for processes in [100, 200] {
        for watching in ["hold", "poll"] {
            measure(bench, processes, watching)?;
        }
    }
    Ok(())
}

/// This program again, in a pid namespace of its own.
fn inside(bench: &Bench) -> Result {
    let own = std::env::current_exe().about("this program")?;
    let mut command = cmd(
        "unshare",
        &["--pid", "--fork", "--kill-child", "--mount-proc"],
    );
    command
        .arg(own)
        .args(["bench", "tap", "agent", "--covtap"])
        .arg(&bench.covtap);
    if bench.quick {
        command.arg("--quick");
    }
    match command.env(INSIDE, "1").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => fail!("bench tap agent: in a pid namespace: {status}"),
        Err(error) => fail!("unshare: {error}"),
    }
}

fn measure(bench: &Bench, processes: u64, watching: &str) -> Result {
    let service = bench.program("static-atomic/service");
    let mut sleepers = Command::new("sh");
    sleepers
        .args(["-c", SLEEP, "sh", &processes.to_string()])
        .arg(&service);
    let mut sleepers = Talking::start(sleepers.current_dir(&bench.scratch).stderr(Stdio::null()))?;
    sleepers.line("ready")?;

    let (ours, theirs) = UnixStream::pair().about("a pair of sockets")?;
    let input = theirs.try_clone().about("a socket")?;
    let mut command = Command::new(&bench.covtap);
    command.args(["agent", &format!("--watching={watching}")]);
    command
        .stdin(OwnedFd::from(input))
        .stdout(OwnedFd::from(theirs));
    let began = Instant::now();
    let mut child = command.spawn().about("covtap agent")?;
    // It holds the other end of the socket.
    drop(command);
    let options = Options {
        name: "bench".into(),
        number: 1,
        folder: bench.scratch.join("states"),
        version: "bench".into(),
    };
    let mut remote = Remote::connect(ours, options).about("a socket")?;
    remote.select(Selection::everything());
    until(&mut remote, |r| r.hello().is_some())?;
    let hello = began.elapsed();
    let states =
        |r: &Remote<UnixStream>| r.lives().iter().filter(|s| s.state().is_some()).count() as u64;
    until(&mut remote, |r| states(r) >= processes)?;
    // What it has found it reads first.
    quiet(&mut remote, Duration::from_secs(3))?;

    let pids = executing(&bench.covtap, child.id())?;
    let sum = || -> Result<Duration> { pids.iter().map(|pid| cpu(*pid)).sum() };
    let (began, before, bytes) = (Instant::now(), sum()?, remote.bytes());
    quiet(&mut remote, Duration::from_secs(bench.often(5, 15)))?;
    let seconds = began.elapsed().as_secs_f64();
    let used = sum()?.saturating_sub(before).as_secs_f64() / seconds;
    let wire = (remote.bytes() - bytes) as f64 / seconds;
    let of_each: Vec<Memory> = pids.iter().map(|pid| memory(*pid)).collect::<Result<_>>()?;
    let rss = memory(child.id())?.rss;
    let all: u64 = of_each.iter().map(|m| m.pss).sum();
    println!(
        "{processes:<12} {watching:<9} {:>6.0} ms {:>8.2} % {:>6.1} MB {:>7.1} MB {:>5.0} B/s  {}, {}, {}",
        hello.as_secs_f64() * 1e3,
        used * 100.0,
        rss as f64 / 1e6,
        all as f64 / 1e6,
        wire,
        yes(hello <= START),
        yes(used <= CORE),
        yes(rss.max(all) <= MEMORY)
    );
    remote.stop();
    until(&mut remote, |r| *r.condition() == Condition::Over)?;
    child.wait().about("covtap agent")?;
    sleepers.end()?;
    sh::rmdir(&bench.scratch.join("states"))
}

/// Takes in what comes until something holds.
fn until(
    remote: &mut Remote<UnixStream>,
    mut holds: impl FnMut(&Remote<UnixStream>) -> bool,
) -> Result {
    let began = Instant::now();
    loop {
        remote.take_in();
        if holds(remote) {
            return Ok(());
        }
        if let Condition::Cut { because, .. } = remote.condition() {
            fail!("the agent: {because}");
        }
        if began.elapsed() > Duration::from_secs(120) {
            fail!("the agent does not get on: {:?}", remote.condition());
        }
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: remote
                .interval()
                .min(Duration::from_millis(100))
                .subsec_nanos()
                .into(),
        };
        let descriptor = remote.descriptor();
        let mut fds: Vec<PollFd<'_>> = descriptor
            .iter()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        poll(&mut fds, Some(&time)).about("poll")?;
    }
}

/// Lets it be for some time.
fn quiet(remote: &mut Remote<UnixStream>, time: Duration) -> Result {
    let began = Instant::now();
    until(remote, |_| began.elapsed() >= time)
}
