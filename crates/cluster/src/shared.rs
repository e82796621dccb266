//! What the runtime's thread learns and its user reads: one store of facts behind a lock, and a
//! socket that becomes readable when there is news.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use covtap_model::problem::Problem;
use tokio::sync::Notify;

use crate::facts::Facts;
use crate::news::News;

/// The store.
pub(crate) struct Shared {
    known: Mutex<Known>,
    /// Told when a first list has come in.
    settled: Condvar,
    /// The same for tasks.
    settled_task: Notify,
    /// Written when there is news.
    bell: UnixStream,
    /// Readable when there is news.
    pub(crate) ear: UnixStream,
}

/// What is behind the lock.
#[derive(Default)]
struct Known {
    facts: Facts,
    news: Vec<News>,
    /// What was begun and has no first list yet: `engine unix:///…`, `cluster kind-dev`.
    awaited: Vec<String>,
}

impl Shared {
    /// An empty store.
    ///
    /// # Errors
    ///
    /// When the system gives no pair of sockets.
    pub(crate) fn new() -> io::Result<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self {
            known: Mutex::default(),
            settled: Condvar::new(),
            settled_task: Notify::new(),
            bell,
            ear,
        })
    }

    /// A panic while the lock was held is no reason to lose what is known: every change of it is
    /// whole.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the facts.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.lock().facts)
    }

    /// Changes the facts; the news that `change` returns are told.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Facts) -> Vec<News>) {
        let mut known = self.lock();
        let news = change(&mut known.facts);
        if news.is_empty() {
            return;
        }
        let rings = known.news.is_empty();
        known.news.extend(news);
        drop(known);
        if rings {
            // A full socket is readable already, and a closed one has nobody who listens.
            let _ = (&self.bell).write(&[1]);
        }
    }

    /// Says once that something cannot be followed.
    pub(crate) fn trouble(&self, problem: Problem) {
        self.change(|facts| {
            if facts.troubles.contains(&problem) {
                return Vec::new();
            }
            facts.troubles.push(problem.clone());
            vec![News::Trouble(problem)]
        });
    }

    /// The news since the last call.
    pub(crate) fn take(&self) -> Vec<News> {
        let mut known = self.lock();
        // Silenced under the lock: who rings next finds no news and a silent bell.
        let mut bytes = [0; 64];
        while matches!((&self.ear).read(&mut bytes), Ok(n) if n > 0) {}
        std::mem::take(&mut known.news)
    }

    /// From now on the first list of `what` is awaited.
    pub(crate) fn begin(&self, what: &str) {
        self.lock().awaited.push(what.to_owned());
    }

    /// The first list of `what` is in, or it cannot be had for now.
    pub(crate) fn settle(&self, what: &str) {
        self.lock().awaited.retain(|awaited| awaited != what);
        self.settled.notify_all();
        self.settled_task.notify_waiters();
    }

    /// Waits, at most `patience`, until no first list but that of `me` is awaited.
    pub(crate) async fn others_settled(&self, me: &str, patience: Duration) {
        let others = async {
            loop {
                // Made before the look, so that what settles in between is not missed.
                let settled = self.settled_task.notified();
                if self.lock().awaited.iter().all(|awaited| awaited == me) {
                    return;
                }
                settled.await;
            }
        };
        // Whoever takes longer is not waited for.
        let _ = tokio::time::timeout(patience, others).await;
    }

    /// Waits until every first list is in, at most `timeout`. What is missing then.
    pub(crate) fn wait(&self, timeout: Duration) -> Vec<String> {
        let until = Instant::now() + timeout;
        let mut known = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if known.awaited.is_empty() || left.is_zero() {
                return known.awaited.clone();
            }
            known = self
                .settled
                .wait_timeout(known, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use covtap_model::problem::{Problem, Severity};

    use super::Shared;
    use crate::news::News;

    fn problem() -> Problem {
        Problem::new(Severity::Warning, "x", "a", "b", "c")
    }

    #[test]
    fn the_bell_rings_until_the_news_are_taken() {
        let shared = Shared::new().unwrap();
        shared.trouble(problem());
        shared.trouble(problem());
        assert_eq!(shared.take(), [News::Trouble(problem())]);
        assert!((&shared.ear).read(&mut [0]).is_err(), "the bell is silent");
        assert!(shared.take().is_empty());
        assert_eq!(shared.read(|facts| facts.troubles.len()), 1);
    }

    #[test]
    fn waiting_ends_with_the_last_first_list() {
        let shared = Shared::new().unwrap();
        shared.begin("engine");
        shared.begin("cluster");
        shared.settle("engine");
        assert_eq!(shared.wait(Duration::ZERO), ["cluster"]);
        std::thread::scope(|scope| {
            scope.spawn(|| shared.settle("cluster"));
            assert!(shared.wait(Duration::from_secs(60)).is_empty());
        });
    }
}
