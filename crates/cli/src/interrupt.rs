//! Ctrl-C and SIGTERM as something to wait for, for commands that go on until they are told to stop.

use std::io;
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// A stream that has something to read once somebody asked this program to stop. From now on no such
/// signal ends it by itself. SIGHUP is one of them, unless `nohup` has it ignored.
pub(crate) fn stream() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, write.try_clone()?)?;
    }
    if !is_ignored(SIGHUP) {
        pipe::register(SIGHUP, write)?;
    }
    Ok(read)
}

/// Whether this program was started with a signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
