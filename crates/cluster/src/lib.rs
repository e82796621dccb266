//! Where services run: container engines, Kind nodes and Kubernetes clusters, as plain facts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`facts`] | what is known, as data |
//! | [`selection`] | which pods and containers are asked for: kubectl's flags |
//! | `engine` | the container engines of this machine: containers, Kind nodes, what is done in them |
//! | `cluster` | Kubernetes clusters: pods, nodes, owners, events, logs |
//! | `shared`, `world` | what the tasks of the runtime's thread share with its user and each other |
//!
//! A [`Follower`] follows everything in the background, in one thread of its own; its user is
//! synchronous, waits for the [descriptor](Follower::descriptor) and takes the [`News`]. What is
//! asked or done on demand goes through [`Reach`].

#![cfg(unix)]

/// What tests share with those in the folder `tests` names this crate as they do.
#[cfg(test)]
extern crate self as covtap_cluster;

mod backoff;
mod cluster;
mod engine;
pub mod facts;
mod follower;
mod news;
mod reach;
pub mod selection;
mod shared;
mod variables;
mod world;

pub use cluster::ask::Log;
pub use engine::act::{ActError, Exec, Output};
pub use follower::{ClusterError, Follower, Options, Settled};
pub use news::News;
pub use reach::Reach;
