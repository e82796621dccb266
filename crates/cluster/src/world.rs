//! What the tasks of the runtime's thread share.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard::Docker;
use kube::Client;
use kube::config::Config;
use tokio::sync::Notify;

use crate::cluster::kubeconfig;
use crate::follower::Options;
use crate::selection::Home;
use crate::shared::Shared;

/// What the tasks share.
pub(crate) struct World {
    /// Facts and news.
    pub(crate) shared: Shared,
    /// What was asked for.
    pub(crate) options: Options,
    /// The engines that answered, by address.
    pub(crate) engines: Handles<Docker>,
    /// The clusters that are followed, by name.
    pub(crate) clusters: Handles<Client>,
    /// Clusters that somebody follows, so that none is followed twice.
    claims: Claims,
}

impl World {
    pub(crate) fn new(shared: Shared, options: Options) -> Self {
        Self {
            shared,
            options,
            engines: Handles::default(),
            clusters: Handles::default(),
            claims: Claims::default(),
        }
    }

    /// Which namespaces are meant in a Kind cluster when none was named. A context or kubeconfig that
    /// was named means its cluster and no other.
    pub(crate) async fn home_of_kind(&self, name: &str, config: &Config) -> Home {
        let options = &self.options;
        if options.context.is_none() && options.kubeconfig.is_none() {
            return Home::Everywhere;
        }
        match kubeconfig::read(options).await {
            Ok(asked) if identity(&asked.config) == identity(config) => {
                Home::Namespace(asked.config.default_namespace)
            }
            Ok(_) => Home::Nowhere,
            // It is written when the cluster is complete: until then its name has to do.
            Err(_) if options.context.as_deref().is_none_or(|asked| asked == name) => {
                Home::Everywhere
            }
            Err(_) => Home::Nowhere,
        }
    }

    /// Waits until nobody else follows the cluster of a configuration, then holds it.
    pub(crate) async fn claim(&self, config: &Config) -> Claim<'_> {
        let identity = identity(config);
        loop {
            // Made before the look, so that a release in between is not missed.
            let released = self.claims.released.notified();
            {
                let mut held = lock(&self.claims.held);
                if !held.contains(&identity) {
                    held.push(identity.clone());
                    return Claim {
                        claims: &self.claims,
                        identity,
                    };
                }
            }
            released.await;
        }
    }

    /// Whether somebody follows the cluster of a configuration.
    pub(crate) fn is_claimed(&self, config: &Config) -> bool {
        lock(&self.claims.held).contains(&identity(config))
    }
}

/// What tells one cluster from another: its authority's certificate, which every cluster makes for
/// itself; its address where there is none.
fn identity(config: &Config) -> Vec<u8> {
    match &config.root_cert {
        Some(certificates) => certificates.concat(),
        None => config.cluster_url.to_string().into_bytes(),
    }
}

#[derive(Default)]
struct Claims {
    held: Mutex<Vec<Vec<u8>>>,
    released: Notify,
}

/// As long as it lives, nobody else follows the cluster.
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    identity: Vec<u8>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.claims.held).retain(|held| *held != self.identity);
        self.claims.released.notify_waiters();
    }
}

/// Clients by name.
pub(crate) struct Handles<T>(Mutex<HashMap<String, T>>);

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Handles<T> {
    pub(crate) fn get(&self, name: &str) -> Option<T> {
        lock(&self.0).get(name).cloned()
    }

    pub(crate) fn put(&self, name: &str, handle: T) {
        lock(&self.0).insert(name.to_owned(), handle);
    }

    pub(crate) fn remove(&self, name: &str) {
        lock(&self.0).remove(name);
    }
}

/// Every change behind these locks is whole: a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
