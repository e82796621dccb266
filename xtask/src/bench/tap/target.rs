//! What being read, and being traced, costs a service: its processor time a request.
//!
//! The service has one handler goroutine at a time (`GOMAXPROCS=1`), on a processor of its own. Its
//! client sends requests by the hundred and reads their answers, so that the service works through
//! and is not woken for each. A ratio comes from four slices of the same number of requests: without,
//! with, with, without (or the other way round, every second time), so that a machine that becomes
//! slower or faster changes nothing. Each slice begins with requests that are not counted: what the way
//! before it left in the caches is gone by then. A way that does nothing is the control: its interval
//! says what the machine is good for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use covtap_tap::go::Attached;
use covtap_tap::image::Images;
use covtap_tap::target::Target;
use covtap_tap::trace::Tracer;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::process::{Talking, cpu};
use super::statistics::Middle;
use super::{Bench, yes};
use crate::sh::{About, Result, fail};

/// Accepted: the whole interval of the ratio.
const ACCEPTED: (f64, f64) = (0.98, 1.02);
/// Handlers of the service; a batch asks each once.
const HANDLERS: usize = 200;
/// The time of a slice, about: three snapshots of ten a second.
const SLICE: Duration = Duration::from_millis(310);
/// One part in so many of a slice goes before it, uncounted.
const SETTLING: usize = 10;
/// The time between two snapshots.
const EVERY: Duration = Duration::from_millis(100);

/// What is done to the service meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Nothing,
    Control,
    Snapshots,
    Seized,
}

/// Those that are compared with nothing.
const WAYS: [Way; 3] = [Way::Control, Way::Snapshots, Way::Seized];

/// The service and its client's connection.
struct Service {
    process: Talking,
    stream: TcpStream,
    /// A request for each handler.
    batch: Vec<u8>,
    /// Where the answers go: their length is always the same.
    answers: Vec<u8>,
}

impl Service {
    fn start(bench: &Bench, processor: Option<usize>) -> Result<Self> {
        let mut command = Command::new(bench.program("static-atomic/service"));
        command.env("GOMAXPROCS", "1");
        // A child has the processors of the thread that starts it.
        let before = sched_getaffinity(None).about("processors")?;
        if let Some(processor) = processor {
            pin(processor)?;
        }
        let started = Talking::start(&mut command);
        sched_setaffinity(None, &before).about("processors")?;
        let mut process = started?;
        let address = process.line("listening")?;
        let stream = TcpStream::connect(&address).about(&address)?;
        stream.set_nodelay(true).about(&address)?;
        let mut batch = String::new();
        for i in 0..HANDLERS {
            batch += &format!("GET /h/{i} HTTP/1.1\r\nHost: bench\r\n\r\n");
        }
        let mut service = Self {
            process,
            stream,
            batch: batch.into_bytes(),
            answers: Vec::new(),
        };
        service.learn()?;
        Ok(service)
    }

    /// Asks everything once and sees how long the answers are.
    fn learn(&mut self) -> Result {
        self.stream.write_all(&self.batch).about("the service")?;
        let mut buffer = [0; 4096];
        let last = format!("\r\n\r\n{}\n", HANDLERS - 1).into_bytes();
        while !self.answers.ends_with(&last) {
            match self.stream.read(&mut buffer).about("the service")? {
                0 => fail!("the service ended the connection"),
                n => self.answers.extend_from_slice(&buffer[..n]),
            }
        }
        Ok(())
    }

    /// Serves so many batches, after some that are not counted; the processor time a request.
    fn serve(&mut self, batches: usize) -> Result<f64> {
        self.answer(batches / SETTLING)?;
        let pid = self.process.pid();
        let before = cpu(pid)?;
        self.answer(batches)?;
        let used = cpu(pid)?.saturating_sub(before);
        Ok(used.as_secs_f64() / (batches * HANDLERS) as f64)
    }

    fn answer(&mut self, batches: usize) -> Result {
        for _ in 0..batches {
            self.stream.write_all(&self.batch).about("the service")?;
            self.stream
                .read_exact(&mut self.answers)
                .about("the service")?;
        }
        Ok(())
    }
}

/// Takes snapshots while `work` runs; what it gave, and how many were taken.
fn meanwhile(attached: &mut Attached, work: impl FnOnce() -> Result<f64>) -> Result<(f64, u32)> {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut next, mut taken) = (Instant::now(), 0);
            loop {
                next += EVERY;
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
                if end.load(Ordering::Acquire) {
                    return Ok::<_, covtap_tap::go::SnapshotError>(taken);
                }
                attached.snapshot()?;
                taken += 1;
            }
        });
        let cost = work();
        end.store(true, Ordering::Release);
        reader.thread().unpark();
        match reader.join() {
            Ok(taken) => Ok((cost?, taken.about("a snapshot")?)),
            Err(_) => fail!("the reader panicked"),
        }
    })
}

/// Measures all ways and prints their ratios.
pub(super) fn costs(bench: &Bench) -> Result {
    let allowed = sched_getaffinity(None).about("processors")?;
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|c| allowed.is_set(*c))
        .collect();
    let (theirs, ours) = match processors.as_slice() {
        [first, second, ..] => (Some(*first), Some(*second)),
        _ => (None, None),
    };
    let mut service = Service::start(bench, theirs)?;
    if let Some(processor) = ours {
        pin(processor)?;
    }
    let pid = service.process.pid();
    let target = Target::find(pid).about("the service")?;
    let mut attached = Attached::attach(target, &Images::new()).about("the service")?;
    let counters = attached.layout().counters;
    let (send, traced) = std::sync::mpsc::channel();
    let tracer = Tracer::start(move |event| {
        // Nobody listens once all is measured.
        let _ = send.send(event);
    })
    .about("the tracer")?;

    // Warm, and long enough to know how many requests fill a slice.
    let (began, mut batches) = (Instant::now(), 0);
    while began.elapsed() < 4 * SLICE {
        service.answer(1)?;
        batches += 1;
    }
    let batches = (batches / 4).max(SETTLING);
    let rounds = bench.often(6, 120);
    let mut ratios: [Vec<f64>; WAYS.len()] = Default::default();
    let mut costs = Vec::new();
    let (mut taken, mut time) = (0, Duration::ZERO);
    for round in 0..rounds {
        for (ratios, way) in ratios.iter_mut().zip(WAYS) {
            let order = match round % 2 {
                0 => [Way::Nothing, way, way, Way::Nothing],
                _ => [way, Way::Nothing, Way::Nothing, way],
            };
            // Of nothing, and of the way: the control is a way although it does nothing.
            let mut sums = [0.0; 2];
            for this in order {
                let began = Instant::now();
                let cost = match this {
                    Way::Nothing | Way::Control => service.serve(batches)?,
                    Way::Seized => {
                        tracer.seize(pid).about("the service")?;
                        let cost = service.serve(batches);
                        tracer.detach(pid);
                        cost?
                    }
                    Way::Snapshots => {
                        let (cost, snapshots) =
                            meanwhile(&mut attached, || service.serve(batches))?;
                        taken += snapshots;
                        time += began.elapsed();
                        cost
                    }
                };
                sums[usize::from(this == way)] += cost;
            }
            costs.push(sums[0] / 2.0);
            ratios.push(sums[1] / sums[0]);
        }
    }
    drop(tracer);
    if let Some(event) = traced.try_iter().find(|e| !is_expected(e)) {
        fail!("the tracer told what was not expected: {event:?}");
    }
    sched_setaffinity(None, &allowed).about("processors")?;
    let control = Middle::of(ratios[0].clone());
    println!(
        "{} requests a slice, {:.1} us of processor time each; {rounds} ratios of four slices each; counters of {} kB; {:.1} \
         snapshots a second",
        batches * HANDLERS,
        Middle::of(costs).median * 1e6,
        (counters.end - counters.start) / 1000,
        f64::from(taken) / time.as_secs_f64(),
    );
    println!(
        "{:<32} {:>7}  {:<15} inside {}..{}",
        "processor time a request, to none", "ratio", "95 % interval", ACCEPTED.0, ACCEPTED.1
    );
    for (way, ratios) in WAYS.into_iter().zip(ratios) {
        let name = match way {
            Way::Nothing | Way::Control => "nothing again: the control",
            Way::Snapshots => "10 snapshots a second",
            Way::Seized => "seized, its end awaited",
        };
        let middle = Middle::of(ratios);
        println!(
            "{name:<33} {:>7.4}  {:.4}..{:.4}  {}",
            middle.median,
            middle.low,
            middle.high,
            yes(middle.inside(ACCEPTED.0, ACCEPTED.1))
        );
    }
    if !control.inside(ACCEPTED.0, ACCEPTED.1) {
        println!("the machine is too noisy now: already the control is not inside");
    }
    Ok(())
}

/// What a tracer tells of a service that neither ends nor executes anything.
fn is_expected(event: &covtap_tap::trace::Event) -> bool {
    matches!(event, covtap_tap::trace::Event::Seized { .. })
}

/// Keeps this thread, and what it starts, on one processor.
fn pin(processor: usize) -> Result {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).about(format!("processor {processor}"))
}
