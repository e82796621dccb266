//! The follower: the runtime's thread, and what its user calls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::cluster::{self, kubeconfig};
use crate::engine;
use crate::engine::address::{self, Address, Surroundings};
use crate::facts::Facts;
use crate::news::News;
use crate::reach::Reach;
use crate::selection::Selection;
use crate::shared::Shared;
use crate::world::World;

/// What to follow.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which pods and containers are asked for. Others are facts too, and say that they are not.
    pub selection: Selection,
    /// `--kubeconfig`; none for `KUBECONFIG`, then `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; none for the current one.
    pub context: Option<String>,
    /// Whether the cluster of the kubeconfig is followed. It need not exist yet.
    pub cluster: bool,
    /// Whether the container engines of this machine are followed, and the Kind clusters in them.
    pub engines: bool,
}

/// Why nothing can be followed at all.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The system gives no thread, socket or timer.
    #[error("cannot begin to follow containers and clusters")]
    Start(#[source] io::Error),
}

/// What [`Follower::settle`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Every first list is in, or it is known why it is not (a trouble).
    Yes,
    /// These first lists are still awaited: `cluster kind-dev`.
    Missing(Vec<String>),
}

/// Follows everything that can be followed, in the background, until it is dropped.
pub struct Follower {
    world: Arc<World>,
    handle: Handle,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins to follow.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, socket or timer. What cannot be reached is no error but a
    /// [`News::Trouble`].
    pub fn start(options: Options) -> Result<Self, ClusterError> {
        let engines = if options.engines {
            address::addresses(&Surroundings::of_this_process())
        } else {
            Vec::new()
        };
        Self::start_at(options, engines)
    }

    /// Begins to follow, with the engines at these addresses.
    pub(crate) fn start_at(options: Options, engines: Vec<Address>) -> Result<Self, ClusterError> {
        let shared = Shared::new().map_err(ClusterError::Start)?;
        let world = Arc::new(World::new(shared, options));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClusterError::Start)?;
        let handle = runtime.handle().clone();
        begin(&world, engines, &handle);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("cluster".into())
            .spawn(move || {
                // An error says that the follower was dropped, which is the signal itself.
                let _ = runtime.block_on(stopped);
                // What is still in flight is nobody's any more.
                runtime.shutdown_background();
            })
            .map_err(ClusterError::Start)?;
        Ok(Self {
            world,
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Readable when there is news.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.world.shared.ear.as_fd()
    }

    /// The news since the last call.
    pub fn news(&mut self) -> Vec<News> {
        self.world.shared.take()
    }

    /// Everything known so far: also what is gone.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.world.shared.read(Facts::clone)
    }

    /// Waits until the first lists of everything that can be reached are in, at most `timeout`.
    pub fn settle(&mut self, timeout: Duration) -> Settled {
        let missing = self.world.shared.wait(timeout);
        if missing.is_empty() {
            Settled::Yes
        } else {
            Settled::Missing(missing)
        }
    }

    /// What can be asked of clusters and done in containers, also from other threads. It does not
    /// keep the follower alive.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach::new(Arc::clone(&self.world), self.handle.clone())
    }
}

/// Begins everything that was asked for.
fn begin(world: &Arc<World>, engines: Vec<Address>, handle: &Handle) {
    for address in engines {
        world.shared.begin(&engine::awaited(&address));
        handle.spawn(engine::follow(Arc::clone(world), address));
    }
    if world.options.cluster {
        world.shared.begin(&cluster::awaited(kubeconfig::UNNAMED));
        handle.spawn(kubeconfig::follow_asked(Arc::clone(world)));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been printed by its hook already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Follower, Options, Settled};

    #[test]
    fn nothing_to_follow_is_settled_and_ends() {
        let mut follower = Follower::start(Options::default()).unwrap();
        assert_eq!(follower.settle(Duration::from_secs(60)), Settled::Yes);
        assert!(follower.news().is_empty());
    }
}
