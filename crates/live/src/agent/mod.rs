//! `covtap agent`: the tap where covtap cannot look itself, on a node of a cluster.
//!
//! The agent watches and reads as a session does, and passes on what it sees: frames over its standard input
//! and output, whatever carries those. It writes no file and opens no port. [`remote::Remote`] is the other
//! end: it makes lives and counter files of what comes, which the session treats as its own.
//!
//! | module | what it holds |
//! |---|---|
//! | [`frame`] | messages on a stream: lengths, heads, bodies |
//! | [`message`] | what is said, in which order, and what old and new make of each other |
//! | [`remote`] | covtap's end |
//! | [`serve`] | the agent's end |
//! | [`bounds`] | the namespaces that an agent in a pod is made for |
//! | `feed` | what is still to be said, to whom it may be said, and what the other side has |
//! | `outbox` | states on their way from the threads that read them |
//! | `door` | one agent a machine; a second one joins it |
//! | `pipe` | reading and writing without waiting |
//! | `head`, `convert` | lives as they go over the wire, and as they come |
//! | `offset` | how far two clocks are apart |
//!
//! `docs/agent.md` draws the protocol for people.

#[cfg(target_os = "linux")]
pub mod bounds;
mod convert;
#[cfg(target_os = "linux")]
mod door;
#[cfg(target_os = "linux")]
mod feed;
pub mod frame;
#[cfg(target_os = "linux")]
mod head;
pub mod message;
mod offset;
#[cfg(target_os = "linux")]
mod outbox;
mod pipe;
pub mod remote;
#[cfg(target_os = "linux")]
pub mod serve;

#[cfg(target_os = "linux")]
pub use door::Resident;
pub use pipe::StreamError;
