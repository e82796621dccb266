//! Go's counters in the memory of a process.
