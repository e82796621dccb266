//! Where services run: container engines, Kind nodes and Kubernetes clusters, as plain facts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`facts`] | what is known, as data |
//! | [`selection`] | which pods and containers are asked for: kubectl's flags |
//! | [`daemonset`] | agents on nodes that only Kubernetes reaches |
//! | [`image`] | an archive with an image of one layer |
//! | [`yaml`] | objects for people to read |
//! | [`scale`] | services are ended gracefully and brought back |
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
pub mod daemonset;
mod engine;
pub mod facts;
mod follower;
pub mod image;
mod news;
mod reach;
pub mod scale;
pub mod selection;
mod shared;
mod variables;
mod world;
pub mod yaml;

pub use cluster::ask::Log;
pub use engine::act::{ActError, Exec, Output};
pub use follower::{ClusterError, Follower, Options, Settled};
pub use news::News;
pub use reach::Reach;
