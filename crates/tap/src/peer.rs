//! Who is at the other end of a local socket.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::process::geteuid;

/// A process at the other end of a local socket, as it was when it connected or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id in our namespace; 0 when it has none there.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

impl Peer {
    /// Who it is.
    ///
    /// # Errors
    /// When it is no local socket.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(socket, PeerCredentials)?;
        Ok(Self {
            pid: credentials.pid(),
            uid: credentials.uid(),
        })
    }

    /// Whether it is one of us: the same user, and the same mount namespace. Names of sockets that are no
    /// files are shared by all of a network namespace, so a container may have the network of its node, and
    /// a user 0, and is none of us.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let namespace = |of: PathBuf| fs::read_link(of.join("ns/mnt")).ok();
        let theirs = namespace(PathBuf::from("/proc").join(self.pid.to_string()));
        self.uid == geteuid().as_raw()
            && theirs.is_some()
            && theirs == namespace(PathBuf::from("/proc/self"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn this_process_is_one_of_us_and_a_stranger_is_not() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.pid, std::process::id() as i32);
        assert!(peer.is_ours());
        assert!(!Peer { pid: 0, ..peer }.is_ours());
        let uid = peer.uid + 1;
        assert!(!Peer { uid, ..peer }.is_ours());
    }
}
