//! Processes that the tracer starts, traces and reaps. There is one tracer in a process, which does
//! all waiting: a test with it starts nothing by other means.

use std::collections::HashMap;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use covtap_tap::life::Status;
use covtap_tap::trace::{Event, Stop, Survival, Tracer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Talk;

/// How long something may take that should come at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tracer, and who wants to hear of which process.
pub(crate) fn tracer() -> &'static Tracer {
    static TRACER: OnceLock<Tracer> = OnceLock::new();
    TRACER.get_or_init(|| Tracer::start(deliver).unwrap())
}

static POST: Mutex<Option<Post>> = Mutex::new(None);

#[derive(Default)]
struct Post {
    inboxes: HashMap<u32, Sender<Event>>,
    /// What came before somebody asked.
    early: Vec<(u32, Event)>,
}

fn with_post<T>(what: impl FnOnce(&mut Post) -> T) -> T {
    let mut post = POST.lock().unwrap_or_else(PoisonError::into_inner);
    what(post.get_or_insert_default())
}

fn deliver(event: Event) {
    let pid = match &event {
        Event::Seized {
            pid_or_tid: pid, ..
        }
        | Event::Exec { pid, .. }
        | Event::Exiting { pid, .. }
        | Event::Survived { pid, .. }
        | Event::Gone { pid, .. }
        | Event::Reaped { pid, .. }
        | Event::Lost { pid, .. } => *pid,
    };
    with_post(|post| match post.inboxes.get(&pid) {
        // A test that has failed hears no more.
        Some(inbox) => drop(inbox.send(event)),
        None => post.early.push((pid, event)),
    });
}

/// A child of the tracer, from its start to its end.
pub(crate) struct Traced {
    pub(crate) pid: u32,
    pub(crate) talk: Talk,
    events: Receiver<Event>,
    ended: bool,
}

impl Traced {
    /// Starts a program. It is not traced yet.
    pub(crate) fn start(mut command: Command) -> Self {
        let talk = Talk::with(&mut command);
        let about = format!("{command:?}");
        let pid = tracer()
            .spawn(command)
            .unwrap_or_else(|e| panic!("{about}: {e}"));
        let (inbox, events) = channel();
        with_post(|post| {
            for (_, event) in post.early.extract_if(.., |(to, _)| *to == pid) {
                inbox.send(event).unwrap();
            }
            post.inboxes.insert(pid, inbox);
        });
        Self {
            pid,
            talk,
            events,
            ended: false,
        }
    }

    /// Starts a drill and waits until it takes commands.
    pub(crate) fn drill(command: Command) -> Self {
        let mut traced = Self::start(command);
        assert_eq!(traced.talk.ready(), traced.pid);
        traced
    }

    pub(crate) fn seize(&self) {
        tracer().seize(self.pid).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid.try_into().unwrap()), signal).unwrap();
    }

    /// What happens next.
    pub(crate) fn event(&mut self) -> Event {
        let event = self.events.recv_timeout(PATIENCE);
        let event = event.unwrap_or_else(|e| panic!("process {}: no event: {e}", self.pid));
        if matches!(event, Event::Gone { .. } | Event::Reaped { .. }) {
            self.ended = true;
            with_post(|post| post.inboxes.remove(&self.pid));
        }
        event
    }

    /// The exit stop, which is next: how it will end if that is its end, and what holds it.
    pub(crate) fn exiting(&mut self) -> (Status, Stop) {
        let stop = self.exiting_or_gone();
        stop.unwrap_or_else(|gone| panic!("no exit stop, but gone: {gone}"))
    }

    /// The exit stop, or the end without one: the tracer's documentation tells when.
    pub(crate) fn exiting_or_gone(&mut self) -> Result<(Status, Stop), Status> {
        match self.event() {
            Event::Exiting {
                tid,
                wait_status,
                stop,
                ..
            } => {
                assert_eq!(tid, self.pid);
                Ok((Status::from_wait(wait_status), stop))
            }
            Event::Gone {
                status: Some(status),
                ..
            } => Err(status),
            other => panic!("no exit stop but {other:?}"),
        }
    }

    /// The end of a traced process, which is next but for a thread that was on its way to its own end.
    pub(crate) fn gone(&mut self) -> Status {
        let mut lingering = false;
        loop {
            match self.event() {
                Event::Gone {
                    status: Some(status),
                    ..
                } => return status,
                Event::Survived {
                    because: Survival::Thread,
                    ..
                } if !lingering => lingering = true,
                Event::Exiting { stop, .. } if lingering => drop(stop),
                other => panic!("no end but {other:?}"),
            }
        }
    }

    /// The end of a process that is not traced, which is next.
    pub(crate) fn reaped(&mut self) -> Status {
        match self.event() {
            Event::Reaped { status, .. } => status,
            other => panic!("no end but {other:?}"),
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if !self.ended {
            // A test that failed leaves nothing behind. The process may be gone already.
            let _ = kill(Pid::from_raw(self.pid.try_into().unwrap()), Signal::SIGKILL);
        }
    }
}
