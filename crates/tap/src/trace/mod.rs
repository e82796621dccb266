//! ptrace: the exit stop of a process, its execs, its signals.
