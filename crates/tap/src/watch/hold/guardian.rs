//! The guardian: makes sure that no holder that hangs lives for long.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::setsid;
use rustix::stdio::stdin;

use super::Ended;
use super::wire::Message;
use crate::life::Status;

/// A holder that gives no sign of life for so long is killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the guardian process does, from its start to its end. `holder` starts this program again in
/// a way that makes it call [`serve`](super::serve) and nothing else.
///
/// # Errors
/// When the holder cannot be started or waited for.
pub fn guard(mut holder: Command) -> io::Result<()> {
    // Out of the terminal's process groups: Ctrl-C, Ctrl-Z and hangups are for CMD. It fails for the
    // leader of a process group, which is out already.
    let _ = setsid();
    // The socket stays its standard input.
    let mut holder = holder
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .spawn()?;
    let heartbeat = holder.stdout.take();
    let heartbeat = heartbeat.ok_or(io::ErrorKind::BrokenPipe)?;
    let ended = watch(&heartbeat);
    // The dead feel nothing; all others must not live on without a guardian.
    let _ = holder.kill();
    if ended == Some(Ended::Hung) {
        // First of all the session, since a process in the middle of a system call may take its time.
        tell(Ended::Hung);
    }
    let status = status(&mut holder);
    if ended == Some(Ended::Holder(None)) {
        tell(Ended::Holder(status));
    }
    Ok(())
}

/// Watches until there is nothing left to watch. `None`: the session is gone.
fn watch(heartbeat: &ChildStdout) -> Option<Ended> {
    let mut last = Instant::now();
    loop {
        let left = (last + PATIENCE).saturating_duration_since(Instant::now());
        let mut ready = [
            PollFd::new(heartbeat, PollFlags::IN),
            // Only its end: what there is to read is for the holder.
            PollFd::from_borrowed_fd(stdin(), PollFlags::empty()),
        ];
        let timeout = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut ready, Some(&timeout)) {
            Err(_) => continue,
            // Not before looking: when the guardian itself was stopped, signs have come meanwhile.
            Ok(0) => return Some(Ended::Hung),
            Ok(_) => {}
        }
        let [beat, session] = ready.map(|r| r.revents());
        if !session.is_empty() {
            return None;
        }
        if !beat.is_empty() {
            match rustix::io::read(heartbeat, &mut [0; 4096]) {
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return Some(Ended::Holder(None)),
                Ok(_) => last = Instant::now(),
            }
        }
    }
}

fn tell(ended: Ended) {
    let message = Message::Ended(ended).encode();
    // A session that does not read will see the end of the socket.
    let _ = send(stdin(), &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// `None` when somebody has set SIGCHLD to be ignored.
fn status(holder: &mut Child) -> Option<Status> {
    holder
        .wait()
        .ok()
        .map(|status| Status::from_wait(status.into_raw()))
}
