//! Where services run: container engines, Kind nodes and Kubernetes clusters, as plain facts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`facts`] | what is known, as data |
//! | [`selection`] | which pods and containers are asked for: kubectl's flags |
//!
//! A [`Follower`] follows everything in the background, in one thread of its own; its user is
//! synchronous, waits for the [descriptor](Follower::descriptor) and takes the [`News`].

#![cfg(unix)]

pub mod facts;
mod follower;
mod news;
pub mod selection;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "told by the engines and clusters that follow")
)]
mod shared;

pub use follower::{ClusterError, Follower, Options, Settled};
pub use news::News;
