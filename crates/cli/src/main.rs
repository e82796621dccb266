//! The `covtap` command.

fn main() {}
