//! Leaves the terminal as it was, whatever CMD did to it.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The terminal's settings at some moment.
pub(crate) struct Remembered(Option<(File, Termios)>);

/// Remembers the settings of the terminal that covtap runs in, if it runs in one.
pub(crate) fn remember() -> Remembered {
    Remembered(controlling().and_then(|tty| {
        let settings = tcgetattr(tty.as_fd()).ok()?;
        Some((tty, settings))
    }))
}

impl Remembered {
    /// Sets them again: a command that was killed may have left the terminal without echo.
    pub(crate) fn restore(&self) {
        // A process in the background that changes the terminal is stopped by the system.
        if let Some((tty, settings)) = &self.0
            && is_foreground()
        {
            // A terminal that is gone needs no settings.
            let _ = tcsetattr(tty.as_fd(), OptionalActions::Drain, settings);
        }
    }
}

/// Whether this process's group is the one that the terminal's keys reach.
pub(crate) fn is_foreground() -> bool {
    controlling().is_some_and(|tty| tcgetpgrp(tty.as_fd()).is_ok_and(|group| group == getpgrp()))
}

fn controlling() -> Option<File> {
    File::options().read(true).write(true).open("/dev/tty").ok()
}
