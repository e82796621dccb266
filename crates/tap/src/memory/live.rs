//! The memory of a running process.
