//! A service under `covtap run` is killed with -9 in mid-load: everything that its clients saw answered
//! is in the report.
//!
//! Each handler is a function of its own and counts atomically, so its count lies between the requests
//! that were answered and those that were sent.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use covtap_model::ledger::{Outcome, Route};
use rustix::process::{Pid, Signal, kill_process};

use programs::{Place, program, say};

const HANDLERS: usize = 200;
const CLIENTS: usize = 4;
/// How many answers there are before the kill, in all.
const ANSWERS: usize = 5_000;
const REPETITIONS: usize = 5;
/// How long anything may take: beyond it the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients saw of each handler.
struct Seen {
    sent: Vec<AtomicU64>,
    answered: Vec<AtomicU64>,
    all: AtomicUsize,
}

impl Seen {
    fn new() -> Self {
        let zeros = || (0..HANDLERS).map(|_| AtomicU64::new(0)).collect();
        Self {
            sent: zeros(),
            answered: zeros(),
            all: AtomicUsize::new(0),
        }
    }

    /// Sends requests until the service is gone; kills it when there were enough answers.
    fn client(&self, address: &str, first: usize, service: Pid) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
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
            if self.all.fetch_add(1, Ordering::SeqCst) + 1 == ANSWERS {
                await_tracer(service);
                kill_process(service, Signal::KILL).unwrap();
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

/// Waits until the service is traced: without the exec hold that is a moment after its start.
fn await_tracer(service: Pid) {
    let began = Instant::now();
    let path = format!("/proc/{}/status", service.as_raw_nonzero());
    while fs::read_to_string(&path)
        .unwrap()
        .contains("TracerPid:\t0\n")
    {
        assert!(began.elapsed() < PATIENCE, "nobody traces the service");
        thread::yield_now();
    }
}

/// covtap, and the service below it; a test that fails leaves neither behind.
struct Running {
    covtap: Child,
    service: Option<Pid>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.covtap.try_wait(), Ok(None)) {
            if let Some(service) = self.service {
                let _ = kill_process(service, Signal::KILL);
            }
            let _ = self.covtap.kill();
            let _ = self.covtap.wait();
        }
    }
}

/// How often each handler was entered, by the name of its function.
fn entered(place: &Place) -> BTreeMap<usize, u64> {
    let coverage = place.coverage();
    let mut counts = BTreeMap::new();
    for package in &coverage.packages {
        if !package.path.starts_with("example.org/drill/service/") {
            continue;
        }
        for function in package.files.iter().flat_map(|file| &file.functions) {
            let number = function.name.strip_prefix('h').and_then(|n| n.parse().ok());
            if let Some(number) = number {
                assert_eq!(counts.insert(number, function.entries()), None);
            }
        }
    }
    counts
}

fn killed_in_mid_load(service: &Path) {
    let place = Place::new();
    let starts = r#"sh -c 'echo $$; exec "$0"' "$1" & wait $!; echo "it ended with $?""#;
    let mut command = place.covtap(&["--", "sh", "-c", starts, "sh"]);
    command.arg(service);
    let covtap = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running {
        covtap: covtap.spawn().unwrap(),
        service: None,
    };
    let errors = running.covtap.stderr.take().unwrap();
    let errors = thread::spawn(move || std::io::read_to_string(errors).unwrap());
    let mut output = BufReader::new(running.covtap.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let pid = Pid::from_raw(line().parse().unwrap()).unwrap();
    running.service = Some(pid);
    let listening = line();
    let address = listening.strip_prefix("listening ").unwrap();
    let seen = Seen::new();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let seen = &seen;
            scope.spawn(move || seen.client(address, client, pid));
        }
    });
    let stdout = std::io::read_to_string(output).unwrap();
    let status = running.covtap.wait().unwrap();
    let errors = errors.join().unwrap();
    assert!(status.success(), "{status}\n{stdout}\n{errors}");
    assert!(stdout.contains("it ended with 137"), "{stdout}");

    let rows = place.rows("service");
    let [row] = rows.as_slice() else {
        panic!("{rows:#?}");
    };
    assert_eq!(row.outcome, Outcome::Merged, "{row:#?}");
    assert_eq!(row.state.as_ref().unwrap().route, Route::Exit, "{row:#?}");
    assert_eq!(row.exit_status.as_deref(), Some("signal 9"));
    let entered = entered(&place);
    assert_eq!(entered.len(), HANDLERS);
    let number = |all: &[AtomicU64], i: usize| all[i].load(Ordering::SeqCst);
    let wrong: Vec<_> = entered
        .into_iter()
        .map(|(i, count)| (i, number(&seen.answered, i), count, number(&seen.sent, i)))
        .filter(|(_, answered, count, sent)| answered > count || count > sent)
        .collect();
    assert!(
        wrong.is_empty(),
        "(handler, answered, counted, sent): {wrong:?}"
    );
    assert!((0..HANDLERS).all(|i| number(&seen.answered, i) > 0));
}

#[test]
fn each_answered_request_is_counted() {
    let Some(service) = program("static-atomic/service") else {
        return;
    };
    for _ in 0..REPETITIONS {
        killed_in_mid_load(&service);
    }
    say(&format!(
        "{REPETITIONS} services killed with -9 in mid-load: each of {HANDLERS} handlers has all that \
         was answered"
    ));
}
