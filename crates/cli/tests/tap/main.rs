//! Runs `covtap inspect`, `tap` and `watch` on the programs of `fixtures/tap`, which this test starts
//! itself and talks to.

// Helpers are not test functions, and an unwrap that fails in one is a failed test all the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

#[path = "../../../../xtask/src/cache.rs"]
#[allow(dead_code, reason = "shared with xtask")]
mod cache;
mod inspect;
mod surroundings;
mod tap;
mod watch;
