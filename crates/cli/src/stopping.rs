//! Ends services of clusters gracefully for a session, and brings back what a run has ended: its own, or one
//! that was killed.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use covtap_cluster::scale::{Plan, Refused, Replicas, Scalable};
use covtap_cluster::{ActError, Reach};
use covtap_live::stopped::Record;
use covtap_live::store::StoreError;
use covtap_live::surroundings::{Stop, StopNews};
use covtap_model::problem::{Problem, Severity};
use covtap_model::stopped::Service;

/// How long a cluster may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(15);

/// Services that are being ended, by a thread of its own: a process that ends waits in its exit stop until
/// the session has looked at it, so the session must not wait for a cluster.
pub(crate) struct Stopping {
    reach: Reach,
    news: Receiver<StopNews>,
    bell: UnixStream,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Record>,
}

impl Stopping {
    /// Begins.
    pub(crate) fn begin(reach: Reach, plan: Plan, record: Record) -> std::io::Result<Self> {
        let (news, told) = channel();
        let (bell, ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let enough = Arc::new(AtomicBool::new(false));
        let teller = Teller { news, ring };
        let thread = thread::Builder::new().name("stopping".into()).spawn({
            let (reach, enough) = (reach.clone(), Arc::clone(&enough));
            move || end(&reach, &plan, record, &enough, &teller)
        })?;
        Ok(Self {
            reach,
            news: told,
            bell,
            enough,
            thread,
        })
    }
}

impl Stop for Stopping {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn news(&mut self) -> Vec<StopNews> {
        let mut buffer = [0; 64];
        // An error here is "nothing there": the stream does not block.
        while matches!((&self.bell).read(&mut buffer), Ok(n) if n == buffer.len()) {}
        self.news.try_iter().collect()
    }

    fn restore(self: Box<Self>) -> Vec<Problem> {
        self.enough.store(true, Ordering::Relaxed);
        let mut problems = Vec::new();
        // A panic there is a defect of ours; the record is still in its place, for `covtap clean`.
        let Ok(mut record) = self.thread.join() else {
            return problems;
        };
        for service in record.stopped().services.clone() {
            match restore(&self.reach, &mut record, &service) {
                Ok(Restored::Done | Restored::Already) => {}
                Ok(Restored::Gone) => problems.push(Problem::new(
                    Severity::Note,
                    service.to_string(),
                    format!("{} of it to bring back", replicas(service.replicas)),
                    "it was deleted meanwhile",
                    "nothing is brought back",
                )),
                Ok(Restored::Changed(now)) => problems.push(
                    Problem::new(
                        Severity::Warning,
                        service.to_string(),
                        "0 replicas while it was ended for its files",
                        format!("{}: somebody else set them", replicas(now)),
                        format!("it is left so; it had {}", replicas(service.replicas)),
                    )
                    .hint("what scales it (an autoscaler, an operator) has to be switched off for --stop-for-files"),
                ),
                Err(error) => problems.push(not_restored(&service, &error)),
            }
        }
        problems
    }
}

/// Says what happens, and rings.
struct Teller {
    news: Sender<StopNews>,
    ring: UnixStream,
}

impl Teller {
    fn tell(&self, news: StopNews) {
        // Nobody listens any more once the session has broken off.
        if self.news.send(news).is_ok() {
            let _ = (&self.ring).write_all(b"!");
        }
    }

    fn trouble(&self, problem: Problem) {
        self.tell(StopNews::Trouble(problem));
    }
}

/// The work of the thread: records, then asks. Returns the record of what is to be brought back.
fn end(
    reach: &Reach,
    plan: &Plan,
    mut record: Record,
    enough: &AtomicBool,
    teller: &Teller,
) -> Record {
    for refused in &plan.refused {
        teller.trouble(left_alone(refused));
    }
    let mut recorded = Vec::new();
    for (of, owner) in &plan.scale {
        match remember(reach, &mut record, of) {
            Ok(Some(service)) => recorded.push((of, service)),
            Ok(None) => continue,
            Err(error) => {
                teller.trouble(not_ended(&of.to_string(), &error));
                continue;
            }
        }
        if let Some(owner) = owner {
            teller.trouble(may_revert(of, &owner.to_string()));
        }
        match reach.scalers(of, PATIENCE) {
            Ok(scalers) => scalers
                .iter()
                .for_each(|scaler| teller.trouble(may_revert(of, scaler))),
            Err(error) => teller.trouble(Problem::new(
                Severity::Note,
                of.to_string(),
                "whether something else sets its replicas",
                error.to_string(),
                "it is not known",
            )),
        }
    }
    for pod in &plan.delete {
        if enough.load(Ordering::Relaxed) {
            return record;
        }
        let name = format!("{}/pod/{}", pod.namespace, pod.name);
        match reach.delete_pod(pod, PATIENCE) {
            Ok(()) => teller.tell(StopNews::Asked { name, replicas: 1 }),
            Err(error) => teller.trouble(not_ended(&name, &error.into())),
        }
    }
    for (of, service) in recorded {
        if enough.load(Ordering::Relaxed) {
            return record;
        }
        match reach.scale(of, 0, PATIENCE) {
            Ok(()) => teller.tell(StopNews::Asked {
                name: of.to_string(),
                replicas: service.replicas,
            }),
            // It may have been done all the same, where the answer was lost: the record stays.
            Err(error) => teller.trouble(not_ended(&of.to_string(), &error.into())),
        }
    }
    teller.tell(StopNews::All {
        grace: Duration::from_secs(plan.grace.into()),
    });
    record
}

/// Records a workload that is to be ended; `None` when it is gone or has no replicas.
fn remember(
    reach: &Reach,
    record: &mut Record,
    of: &Scalable,
) -> Result<Option<Service>, StopError> {
    let Some(Replicas { uid, wanted }) = reach.replicas(of, PATIENCE)? else {
        return Ok(None);
    };
    if wanted == 0 {
        return Ok(None);
    }
    let service = Service {
        cluster: of.cluster.clone(),
        namespace: of.namespace.clone(),
        kind: of.kind.clone(),
        name: of.name.clone(),
        uid,
        replicas: wanted,
    };
    record.add(service.clone())?;
    Ok(Some(service))
}

/// Why a service could not be ended or brought back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StopError {
    /// The cluster.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of bringing a service back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// It is told to have its replicas again.
    Done,
    /// It had them.
    Already,
    /// It is no more.
    Gone,
    /// It has another number of them, which is left.
    Changed(i32),
}

/// What would be done to bring a service back.
pub(crate) fn look(reach: &Reach, service: &Service) -> Result<Restored, ActError> {
    let now = reach.replicas(&scalable(service), PATIENCE)?;
    Ok(match now {
        Some(now) if now.uid != service.uid => Restored::Gone,
        None => Restored::Gone,
        Some(now) if now.wanted == service.replicas => Restored::Already,
        Some(now) if now.wanted != 0 => Restored::Changed(now.wanted),
        Some(_) => Restored::Done,
    })
}

/// Brings a service back, and takes it off the record.
pub(crate) fn restore(
    reach: &Reach,
    record: &mut Record,
    service: &Service,
) -> Result<Restored, StopError> {
    let found = look(reach, service)?;
    if found == Restored::Done {
        reach.scale(&scalable(service), service.replicas, PATIENCE)?;
    }
    record.remove(service)?;
    Ok(found)
}

fn scalable(service: &Service) -> Scalable {
    Scalable {
        cluster: service.cluster.clone(),
        namespace: service.namespace.clone(),
        kind: service.kind.clone(),
        name: service.name.clone(),
    }
}

/// `1 replica`, `3 replicas`.
pub(crate) fn replicas(number: i32) -> String {
    let noun = if number == 1 { "replica" } else { "replicas" };
    format!("{number} {noun}")
}

fn left_alone(refused: &Refused) -> Problem {
    Problem::new(
        Severity::Warning,
        refused.what.as_str(),
        "a workload that can be ended and brought back",
        refused.because,
        "it is left alone: its files come when it ends by itself",
    )
}

fn may_revert(of: &Scalable, what: &str) -> Problem {
    Problem::new(
        Severity::Warning,
        of.to_string(),
        "nothing else that sets its replicas",
        format!("{what} does"),
        "it may set them back while the service is ended, and again when it is brought back",
    )
}

fn not_ended(name: &str, error: &StopError) -> Problem {
    let problem = match error {
        StopError::Act(ActError::Api(problem) | ActError::Unwell(problem)) => {
            return (**problem).clone();
        }
        other => Problem::new(
            Severity::Error,
            name,
            "a service that can be ended",
            other.to_string(),
            "it is not ended, and writes no files",
        ),
    };
    problem.hint("without the route files nothing needs to be ended: leave --route out")
}

fn not_restored(service: &Service, error: &StopError) -> Problem {
    Problem::new(
        Severity::Error,
        service.to_string(),
        format!("{} again", replicas(service.replicas)),
        error.to_string(),
        "it is still scaled to zero",
    )
    .hint("covtap clean tries again")
}
