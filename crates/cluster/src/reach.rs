//! What is asked of clusters and done in containers on demand. Synchronous for its user; the work
//! is done in the runtime's thread.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bollard::Docker;
use kube::Client;
use tokio::runtime::Handle;

use crate::cluster::ask::{self, Log};
use crate::engine::act::{self, ActError, Exec, Output};
use crate::facts::Event;
use crate::world::World;

/// Asks clusters and acts in containers. Cheap to clone; everything fails with [`ActError::Ended`]
/// once the follower is dropped.
#[derive(Clone)]
pub struct Reach {
    world: Arc<World>,
    handle: Handle,
}

impl Reach {
    pub(crate) fn new(world: Arc<World>, handle: Handle) -> Self {
        Self { world, handle }
    }

    /// Puts a file into a container of an engine (a Kind node is one), as root's, with this mode.
    ///
    /// Below a `tmpfs` of the container (`/tmp` and `/run` of a Kind node) nobody would see it.
    ///
    /// # Errors
    ///
    /// When no engine has the container or refuses, and when `path` is not absolute.
    pub fn copy_into(
        &self,
        container: &str,
        path: &str,
        content: Vec<u8>,
        mode: u32,
    ) -> Result<(), ActError> {
        let docker = self.engine_of(container)?;
        let (container, path) = (container.to_owned(), path.to_owned());
        self.run(async move { act::copy_into(&docker, &container, &path, &content, mode).await })
    }

    /// Starts a program in a container of an engine, its standard input and output at a socket.
    ///
    /// # Errors
    ///
    /// When no engine has the container or refuses. A program that is not there is seen by its end.
    pub fn exec(&self, container: &str, argv: &[&str]) -> Result<Exec, ActError> {
        let docker = self.engine_of(container)?;
        let (container, argv) = (container.to_owned(), owned(argv));
        self.run(async move { act::exec(&docker, &container, &borrowed(&argv)).await })
    }

    /// Runs a program in a container of an engine to its end and takes what it prints, at most
    /// `limit` bytes.
    ///
    /// # Errors
    ///
    /// When no engine has the container or refuses, and when there is more to take or it takes longer
    /// than `timeout`.
    pub fn exec_output(
        &self,
        container: &str,
        argv: &[&str],
        limit: usize,
        timeout: Duration,
    ) -> Result<Output, ActError> {
        let docker = self.engine_of(container)?;
        let (container, argv) = (container.to_owned(), owned(argv));
        self.run(async move {
            let argv = borrowed(&argv);
            let output = act::exec_output(&docker, &container, &argv, limit);
            match tokio::time::timeout(timeout, output).await {
                Ok(output) => output,
                Err(_) => Err(ActError::Slow(format!("container {container}"))),
            }
        })
    }

    /// The events about a pod, oldest first.
    ///
    /// # Errors
    ///
    /// When the cluster is not followed, refuses, or takes longer than `timeout`.
    pub fn events(
        &self,
        cluster: &str,
        namespace: &str,
        uid: &str,
        timeout: Duration,
    ) -> Result<Vec<Event>, ActError> {
        let client = self.client_of(cluster)?;
        let (cluster, namespace) = (cluster.to_owned(), namespace.to_owned());
        let uid = uid.to_owned();
        self.run(
            async move { ask::events(client, place(&cluster, &namespace, timeout), &uid).await },
        )
    }

    /// The last `lines` lines that a container of a pod printed; with `previous` those of its life
    /// before this one.
    ///
    /// # Errors
    ///
    /// When the cluster is not followed, refuses, or takes longer than `timeout`.
    pub fn logs(
        &self,
        cluster: &str,
        namespace: &str,
        log: &Log,
        timeout: Duration,
    ) -> Result<String, ActError> {
        let client = self.client_of(cluster)?;
        let (cluster, namespace) = (cluster.to_owned(), namespace.to_owned());
        let log = log.clone();
        self.run(async move { ask::logs(client, place(&cluster, &namespace, timeout), &log).await })
    }

    /// Whether whoever the configuration is of may execute programs in the pods of a namespace.
    ///
    /// # Errors
    ///
    /// When the cluster is not followed, refuses, or takes longer than `timeout`.
    pub fn can_exec(
        &self,
        cluster: &str,
        namespace: &str,
        timeout: Duration,
    ) -> Result<bool, ActError> {
        let client = self.client_of(cluster)?;
        let (cluster, namespace) = (cluster.to_owned(), namespace.to_owned());
        self.run(async move { ask::can_exec(client, place(&cluster, &namespace, timeout)).await })
    }

    /// The engine that has a container.
    fn engine_of(&self, container: &str) -> Result<Docker, ActError> {
        let address = self.world.shared.read(|facts| {
            let node = facts.node(container).and_then(|node| node.engine.clone());
            node.or_else(|| Some(facts.container(container)?.engine.clone()))
        });
        address
            .and_then(|address| self.world.engines.get(&address))
            .ok_or_else(|| ActError::NoContainer(container.to_owned()))
    }

    pub(crate) fn client_of(&self, cluster: &str) -> Result<Client, ActError> {
        self.world
            .clusters
            .get(cluster)
            .ok_or_else(|| ActError::NoCluster(cluster.to_owned()))
    }

    /// Does the work in the runtime's thread and waits for it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ActError>> + Send + 'static,
    ) -> Result<T, ActError> {
        let (done, result) = mpsc::channel();
        self.handle.spawn(async move {
            // Whoever asked waits below, unless its thread was ended.
            let _ = done.send(work.await);
        });
        result.recv().map_err(|_| ActError::Ended)?
    }
}

pub(crate) fn place<'a>(cluster: &'a str, namespace: &'a str, timeout: Duration) -> ask::Place<'a> {
    ask::Place {
        cluster,
        namespace,
        timeout,
        effect: "it is not known",
    }
}

fn owned(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|arg| (*arg).to_owned()).collect()
}

fn borrowed(argv: &[String]) -> Vec<&str> {
    argv.iter().map(String::as_str).collect()
}
