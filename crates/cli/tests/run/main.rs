//! Runs the real `covtap` over small Go services built by the Go on PATH.
//!
//! Nothing here waits for a time to pass: services say that they are ready, and scripts say that
//! they are done, through named pipes. A service lives a quarter of a second at least, as any
//! real one does; what lives shorter than the 10 ms poll is known from its files alone.

// Helpers are not test functions, and an unwrap that fails in one is a failed test all the same.
#![allow(clippy::unwrap_used)]

mod ends;
mod interface;
mod project;
mod reports;
mod signals;
#[cfg(target_os = "linux")]
mod tap;
mod targets;
