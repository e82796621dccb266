//! A service is killed with -9 in mid-load: everything that a client saw answered is in its last
//! state.
//!
//! Each handler is a function of its own and counts atomically, so the count of each lies between
//! the requests that were answered and those that were sent. Meanwhile snapshots are taken as
//! `covtap run` does; none has a counter smaller than the one before.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use covtap_tap::go::{Attached, Snapshot};
use covtap_tap::image::Images;
use covtap_tap::life::Status;
use covtap_tap::target::Target;
use nix::sys::signal::Signal;

use common::traced::Traced;
use common::{Programs, command, say, scratch};

const HANDLERS: usize = 200;
const CLIENTS: usize = 4;
/// How many answers there are before the kill, in all.
const ANSWERS: usize = 5_000;
/// A snapshot is taken at each of so many answers.
const EVERY: usize = 250;

/// What the clients saw of each handler.
struct Seen {
    sent: Vec<AtomicU32>,
    answered: Vec<AtomicU32>,
    all: AtomicUsize,
}

impl Seen {
    fn new() -> Self {
        let zeros = || (0..HANDLERS).map(|_| AtomicU32::new(0)).collect();
        Self {
            sent: zeros(),
            answered: zeros(),
            all: AtomicUsize::new(0),
        }
    }

    /// Sends requests until the service is gone; says when it is time for a snapshot.
    fn client(&self, address: &str, first: usize, milestone: &Sender<usize>) {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        for number in (first..).step_by(7) {
            let number = number % HANDLERS;
            self.sent[number].fetch_add(1, Ordering::SeqCst);
            let request = format!("GET /h/{number} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            if stream.write_all(request.as_bytes()).is_err() {
                return;
            }
            let Some(body) = answer(&mut answers) else {
                return;
            };
            assert_eq!(body.trim(), number.to_string());
            self.answered[number].fetch_add(1, Ordering::SeqCst);
            let all = self.all.fetch_add(1, Ordering::SeqCst) + 1;
            if all.is_multiple_of(EVERY) {
                // Nobody listens after the kill.
                let _ = milestone.send(all);
            }
        }
    }
}

/// The body of the next answer; `None` when the connection ends before it is whole.
fn answer(stream: &mut impl BufRead) -> Option<String> {
    let mut length = None;
    let mut line = String::new();
    if stream.read_line(&mut line).ok()? == 0 {
        return None;
    }
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length?];
    stream.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

/// How often each handler was entered, by the name of its function.
fn entered(attached: &Attached, snapshot: &Snapshot) -> Vec<u32> {
    let mut counts = vec![None; HANDLERS];
    for (p, package) in attached.meta().packages.iter().enumerate() {
        let package = package.as_ref().unwrap();
        if !package.path().starts_with(b"example.org/drill/service/") {
            continue;
        }
        for (f, function) in package.functions().enumerate() {
            let name = std::str::from_utf8(function.name).unwrap();
            if let Some(number) = name.strip_prefix('h').and_then(|n| n.parse::<usize>().ok()) {
                let counters = snapshot.counters.get(p, f);
                counts[number] = Some(counters.map_or(0, |c| c[0]));
            }
        }
    }
    counts.into_iter().map(|count| count.unwrap()).collect()
}

fn killed_in_mid_load(programs: &Programs) {
    let version = programs.version;
    let scratch = scratch();
    let service = programs.path("static-atomic/service");
    let mut process = Traced::start(command(&service, scratch.path()));
    let line = process.talk.line().unwrap();
    let address = line.strip_prefix("listening ").unwrap();
    process.seize();
    let target = Target::find(process.pid).unwrap();
    let mut attached = Attached::attach(target, &Images::default()).unwrap();
    let mut last = attached.snapshot().unwrap();
    let seen = Seen::new();
    let mut snapshots = 1;
    let (last, mut process) = thread::scope(|scope| {
        // If this fails the service is killed on the way out, or its clients would go on.
        let mut process = process;
        let (milestone, milestones) = channel();
        for client in 0..CLIENTS {
            let (seen, milestone) = (&seen, milestone.clone());
            scope.spawn(move || seen.client(address, client, &milestone));
        }
        drop(milestone);
        for answers in milestones.iter() {
            let snapshot = attached.snapshot().unwrap();
            snapshots += 1;
            assert!(snapshot.dropped.is_empty(), "{:?}", snapshot.dropped);
            assert!(snapshot.at_least(&last));
            last = snapshot;
            if answers >= ANSWERS {
                break;
            }
        }
        process.signal(Signal::SIGKILL);
        let (_, stop) = process.exiting();
        let state = attached.last_snapshot().unwrap();
        drop(stop);
        assert!(state.dropped.is_empty(), "{:?}", state.dropped);
        assert!(state.at_least(&last));
        (state, process)
    });
    assert_eq!(process.gone(), Status::Signal(9));
    let number = |all: &[AtomicU32], i: usize| all[i].load(Ordering::SeqCst);
    let wrong: Vec<_> = entered(&attached, &last)
        .into_iter()
        .enumerate()
        .map(|(i, count)| (i, number(&seen.answered, i), count, number(&seen.sent, i)))
        .filter(|(_, answered, count, sent)| answered > count || count > sent)
        .collect();
    assert!(
        wrong.is_empty(),
        "Go {version}: (handler, answered, counted, sent): {wrong:?}"
    );
    say(&format!(
        "Go {version}: killed after {} answers of {HANDLERS} handlers; each was counted, {snapshots} \
         snapshots before",
        seen.all.load(Ordering::SeqCst)
    ));
}

macro_rules! versions {
    ($($name:ident $version:literal)*) => {
        $(#[test]
        fn $name() {
            if let Some(programs) = Programs::of($version) {
                killed_in_mid_load(&programs);
            }
        })*
    };
}

versions! {
    go_1_21 "1.21.13"
    go_1_22 "1.22.10"
    go_1_23 "1.23.9"
    go_1_24 "1.24.11"
    go_1_25 "1.25.5"
    go_1_26 "1.26.6"
    go_1_27 "1.27.3"
}
