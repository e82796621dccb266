//! One agent a machine: two tracers of one process cannot be, so the second one joins the first.
//!
//! The first agent of a pid namespace listens at a name that is no file and no port. Who starts a second one
//! finds it there. If the first has lost its connection and lingers, the second hands over its standard input
//! and output and waits: covtap goes on as before, and no state is lost. Otherwise it is told who runs.
//!
//! ```text
//! second ─ connect ─► first      both look at the other's user and mount namespace, see Peer::is_ours
//!        ◄─ JSON, one line ─     {"pid":812,"since":…,"covtap":"0.1.0","free":true}
//!        ─ one byte, 2 descriptors ─►
//!        ◄─ end of the stream ─  it is over
//! ```

use std::fs;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use covtap_tap::peer::Peer;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// How long the other one may take for its part.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the first agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    /// Its process id.
    pub pid: u32,
    /// When it began, in nanoseconds since 1970.
    pub since: i64,
    /// Its version.
    pub covtap: String,
    /// Whether it has lost its connection and takes another.
    pub free: bool,
}

/// What is behind the name.
pub(super) enum Door {
    /// Nobody was there: now this process is.
    Ours(UnixListener),
    /// An agent runs.
    Theirs(UnixStream, Resident),
}

impl Door {
    /// Looks who is there.
    ///
    /// # Errors
    /// When a stranger has the name, or the agent there does not answer.
    pub(super) fn find() -> io::Result<Self> {
        let address = address()?;
        // The one that is there may end in between: then its name is free.
        for _ in 0..3 {
            match UnixListener::bind_addr(&address) {
                Ok(listener) => {
                    listener.set_nonblocking(true)?;
                    return Ok(Self::Ours(listener));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
            if let Some((stream, resident)) = knock(&address)? {
                return Ok(Self::Theirs(stream, resident));
            }
        }
        Err(io::Error::other("agents come and go here"))
    }
}

/// Asks the agent that runs here, if one does, how it stands with it.
///
/// # Errors
/// When a stranger has the name, or the agent there does not answer.
pub(super) fn visit() -> io::Result<Option<(UnixStream, Resident)>> {
    knock(&address()?)
}

fn knock(address: &SocketAddr) -> io::Result<Option<(UnixStream, Resident)>> {
    let stream = match UnixStream::connect_addr(address) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(error),
    };
    let peer = Peer::of(&stream)?;
    if !peer.is_ours() {
        return Err(io::Error::other(format!(
            "process {} of user {} has taken the name that agents meet at",
            peer.pid, peer.uid
        )));
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(4096)).read_line(&mut line)?;
    if line.is_empty() {
        // It ended just now.
        return Ok(None);
    }
    let resident = serde_json::from_str(&line)?;
    Ok(Some((stream, resident)))
}

/// Hands over both descriptors, and waits until the other agent is done with them.
///
/// # Errors
/// When they cannot be handed over.
pub(super) fn join(
    stream: &UnixStream,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> io::Result<()> {
    let descriptors = [input, output];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        stream,
        &[IoSlice::new(b"j")],
        &mut ancillary,
        SendFlags::empty(),
    )?;
    stream.set_read_timeout(None)?;
    // Nothing more is said; the end is what is waited for, however it comes.
    let _ = (&*stream).read(&mut [0]);
    Ok(())
}

/// Somebody who joined: its input and output, and the stream that tells it when it is over.
pub(super) struct Joined {
    pub(super) input: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) stream: UnixStream,
}

/// Answers who knocks; `None` when nobody joins.
///
/// # Errors
/// Why somebody who knocked was turned away.
pub(super) fn answer(listener: &UnixListener, resident: &Resident) -> io::Result<Option<Joined>> {
    let (stream, _) = match listener.accept() {
        Ok(accepted) => accepted,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    let peer = Peer::of(&stream)?;
    if !peer.is_ours() {
        return Err(io::Error::other(format!(
            "process {} of user {} knocked: it is none of ours",
            peer.pid, peer.uid
        )));
    }
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(resident)?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    if !resident.free {
        return Ok(None);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        stream.as_fd(),
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = descriptors.next().into_iter().flatten();
    Ok(match (descriptors.next(), descriptors.next()) {
        (Some(input), Some(output)) => Some(Joined {
            input,
            output,
            stream,
        }),
        _ => None,
    })
}

/// One name a pid namespace: there is one tracer for its processes.
fn address() -> io::Result<SocketAddr> {
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    SocketAddr::from_abstract_name(format!("covtap agent {}", namespace.display()))
}
