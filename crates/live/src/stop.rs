//! The part of a session that ends services gracefully so that they write their files, waits for the real
//! end of their processes, and brings them back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use covtap_model::problem::{Problem, Severity};
use covtap_tap::life::{Inspection, Life};
use covtap_tap::watch::Watcher;

use crate::around::Around;
use crate::session::{Event, Observer, SessionError, system};
use crate::signals::Signals;
use crate::stopped::Record;
use crate::store::Folder;
use crate::surroundings::{Stop, StopNews};

/// How much longer than its grace period a pod may take before it is told as not ended: the way to the
/// kubelet and back.
const WAY: Duration = Duration::from_secs(30);

/// Ends the services in which a program runs that writes files at its end, and waits until their processes
/// have ended, or somebody is impatient. What is returned is to be given to [`restore`] when nothing is watched
/// any more: what runs then is not this run's.
pub(crate) fn services(
    signals: &Signals,
    watcher: &mut Watcher,
    around: &mut Around<'_>,
    (grace, folder): (Duration, &Folder),
    observer: &mut dyn Observer,
) -> Result<Option<Box<dyn Stop>>, SessionError> {
    let pods = around.pods_that_write(watcher);
    if pods.is_empty() {
        return Ok(None);
    }
    let begun = around.stop(&pods, grace, Record::new(folder));
    let Some(mut stop) = begun.map_err(system("start a thread"))? else {
        return Ok(None);
    };
    match wait(signals, watcher, around, (&pods, stop.as_mut()), observer) {
        Ok(()) => {
            // Pods that came meanwhile have names too.
            around.finish(watcher, observer);
            Ok(Some(stop))
        }
        Err(error) => {
            restore(stop, observer);
            Err(error)
        }
    }
}

/// Brings back what was ended, whatever came of the waiting. Returns what a person should know.
pub(crate) fn restore(stop: Box<dyn Stop>, observer: &mut dyn Observer) -> Vec<Problem> {
    observer.event(&Event::Restoring);
    let problems = stop.restore();
    for problem in &problems {
        observer.event(&Event::Trouble(problem));
    }
    problems
}

/// Waits until everything was asked to end and no process of the pods runs any more.
fn wait(
    signals: &Signals,
    watcher: &mut Watcher,
    around: &mut Around<'_>,
    (pods, stop): (&BTreeSet<String>, &mut dyn Stop),
    observer: &mut dyn Observer,
) -> Result<(), SessionError> {
    let mut until = None;
    // What is left alone is not waited for.
    let mut asked = false;
    loop {
        watcher.look();
        around.take(watcher, observer);
        for news in stop.news() {
            match news {
                StopNews::Asked { name, replicas } => {
                    asked = true;
                    observer.event(&Event::Stopping {
                        name: &name,
                        replicas,
                    });
                }
                StopNews::Trouble(problem) => around.trouble(problem, observer),
                StopNews::All { grace } => until = Some(Instant::now() + grace + WAY),
            }
        }
        let left = running(watcher, pods);
        if until.is_some() && (left.is_empty() || !asked) {
            return Ok(());
        }
        let time = until.map(|until| until.saturating_duration_since(Instant::now()));
        if time == Some(Duration::ZERO) {
            around.trouble(not_ended(&left), observer);
            return Ok(());
        }
        if !signals.requests().is_empty() {
            around.trouble(broken_off(&left), observer);
            return Ok(());
        }
        let mut descriptors = watcher.descriptors();
        descriptors.extend(around.descriptors());
        descriptors.push(stop.descriptor());
        let longest = time.map_or(watcher.interval(), |time| time.min(watcher.interval()));
        signals
            .wait(&descriptors, longest)
            .map_err(system("wait for events"))?;
    }
}

/// The processes of pods that still run, by name and number.
fn running(watcher: &Watcher, pods: &BTreeSet<String>) -> Vec<String> {
    let writes = |inspection: &Inspection| match inspection {
        Inspection::Elf(elf) => elf.instrumented,
        Inspection::Pending => true,
        Inspection::Failed(_) => false,
    };
    let is_in = |life: &Life| {
        let pod = life.cgroup.as_ref().and_then(|place| place.pod.as_ref());
        pod.is_some_and(|pod| pods.contains(pod.as_str()))
    };
    watcher
        .inspections()
        .filter(|(life, inspection)| life.running() && writes(inspection) && is_in(life))
        .map(|(life, _)| format!("{} ({})", life.name(), life.pid))
        .collect()
}

fn not_ended(left: &[String]) -> Problem {
    Problem::new(
        Severity::Warning,
        "the stop for files",
        "an end of every process within its grace period",
        format!("{} still there", left.join(", ")),
        "they are brought back as they were; their rows say what came",
    )
}

fn broken_off(left: &[String]) -> Problem {
    Problem::new(
        Severity::Warning,
        "the stop for files",
        "an end of every process",
        format!("a signal, while {} still ran", left.join(", ")),
        "it is broken off, and everything is brought back",
    )
}
