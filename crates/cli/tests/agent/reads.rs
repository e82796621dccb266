//! What an agent reads of other processes: nothing but what belongs to Go's coverage.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::process::Command;

use covtap_live::agent::message::Selection;
use covtap_model::inspect::Inspection;

use crate::programs::say;
use crate::surroundings::{Agent, Drill, inside};

/// Bytes of an element of the runtime's package list, and of a slice's header.
const ELEMENT: u64 = 64;
const SLICE: u64 = 24;

#[test]
fn nothing_is_read_but_images_meta_data_and_counters() {
    inside(
        "reads::nothing_is_read_but_images_meta_data_and_counters",
        || {
            if !Command::new("strace")
                .arg("-V")
                .output()
                .is_ok_and(|o| o.status.success())
            {
                return say("SKIPPED: the agent: what it reads of memory: there is no strace");
            }
            let Some(mut drill) = Drill::start("static-atomic/drill") else {
                return;
            };
            let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let trace = scratch.path().join("trace");
            let mut command = Command::new("strace");
            let calls = "trace=process_vm_readv,process_vm_writev,ptrace,open,openat,openat2";
            command
                .args(["-f", "-qq", "-e", "signal=none", "-e", calls, "-o"])
                .arg(&trace);
            let flags = ["agent", "--watching=poll", "--every=100ms"];
            command.arg(env!("CARGO_BIN_EXE_covtap")).args(flags);
            let mut agent = Agent::of(command, Vec::new());
            agent.remote.select(Selection::everything());
            let pid = drill.pid();
            agent.until("a state", |agent| agent.state(pid).is_some());
            agent.until("the tracer", |_| drill.is_traced());
            drill.ask("work 17 3");
            agent.read_now();
            let allowed = allowed(pid);
            drill.die("sigkill");
            agent.until("its end", |agent| !agent.life(pid).unwrap().running());
            agent.stop();
            let trace = fs::read_to_string(trace).unwrap();
            let reads = reads(&trace, pid);
            assert!(reads.len() > 3, "{trace}");
            let wrong: Vec<String> = reads
                .iter()
                .filter(|read| {
                    !allowed
                        .iter()
                        .any(|a| a.start <= read.start && read.end <= a.end)
                })
                .map(|read| format!("{read:x?}"))
                .collect();
            assert!(wrong.is_empty(), "{wrong:?} are not in {allowed:x?}");
            // Memory is read by no other call, and written by none.
            assert!(!trace.contains("process_vm_writev") && !trace.contains("PTRACE_POKE"));
            assert!(!trace.contains("PTRACE_PEEK"));
            let opened: BTreeSet<&str> = opened(&trace, pid).collect();
            let known = [
                "auxv", "cgroup", "cmdline", "comm", "environ", "exe", "maps", "stat", "status",
            ];
            let wrong: Vec<_> = opened
                .iter()
                .filter(|name| !known.contains(name) && !name.starts_with("task"))
                .collect();
            assert!(wrong.is_empty(), "{wrong:?}");
            say(&format!(
                "agent: {} reads of memory, all in the program's own image and its package list; of \
             /proc/PID it opened {opened:?}",
                reads.len()
            ));
        },
    );
}

/// The program's image, with the data behind it that are zero at first, and its package list.
fn allowed(pid: u32) -> Vec<Range<u64>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let mut image: Option<Range<u64>> = None;
    for line in maps.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (start, end) = words[0].split_once('-').unwrap();
        let [start, end] = [start, end].map(|n| u64::from_str_radix(n, 16).unwrap());
        let ours = words
            .get(5)
            .is_some_and(|path| **path == *exe.to_string_lossy());
        let behind = words.len() == 5 && image.as_ref().is_some_and(|image| image.end == start);
        if ours || behind {
            let begin = image.as_ref().map_or(start, |image| image.start);
            image = Some(begin..end);
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_covtap"))
        .args(["inspect", "--format=json", &pid.to_string()])
        .output()
        .unwrap();
    let inspection: Inspection = serde_json::from_slice(&output.stdout).unwrap();
    let list = inspection.process.unwrap().layout.unwrap().list;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut header = [0; SLICE as usize];
    memory.read_exact_at(&mut header, list).unwrap();
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    let (first, count) = (word(0), word(8));
    vec![image.unwrap(), first..first + count * ELEMENT]
}

/// Where the memory of a process was read; of no other process any was.
fn reads(trace: &str, pid: u32) -> Vec<Range<u64>> {
    let (call, ours) = ("process_vm_readv(", format!("{pid}, "));
    let calls = trace.lines().filter(|l| l.contains("process_vm_readv"));
    // A call during which another thread made one has two lines; the second has the addresses.
    calls
        .flat_map(|line| {
            let arguments = line.split_once(call).map(|(_, arguments)| arguments);
            assert!(arguments.is_none_or(|a| a.starts_with(&ours)), "{line}");
            // The second list is that of the other process; it holds addresses only.
            let remote = line.rsplit_once("[{iov_base=0x");
            let parts = remote.map(|(_, list)| list.split("iov_base=0x"));
            parts.into_iter().flatten().map(|part| {
                let (base, rest) = part.split_once(", iov_len=").unwrap();
                let base = u64::from_str_radix(base, 16).unwrap();
                let length = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
                base..base + length.parse::<u64>().unwrap()
            })
        })
        .collect()
}

/// The files of `/proc/PID` that were opened.
fn opened(trace: &str, pid: u32) -> impl Iterator<Item = &str> {
    let start = format!("\"/proc/{pid}/");
    let calls = trace.lines().filter(|line| line.contains(" open"));
    calls.filter_map(move |line| {
        let rest = line.split_once(&*start)?.1;
        Some(rest.split(['"', '/']).next().unwrap_or_default())
    })
}
