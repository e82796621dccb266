//! What the kernel tells about processes as it happens: the *process connector*.
//!
//! A netlink socket of protocol `NETLINK_CONNECTOR` that has joined the group `CN_IDX_PROC` gets a
//! datagram for every fork, exec and exit of the machine, once some socket has sent
//! `PROC_CN_MCAST_LISTEN`:
//!
//! ```text
//! at  0  struct nlmsghdr   len u32 · type u16 · flags u16 · seq u32 · pid u32
//! at 16  struct cn_msg     id.idx u32 (1) · id.val u32 (1) · seq u32 · ack u32 · len u16 · flags u16
//! at 36  struct proc_event what u32 · cpu u32 · timestamp_ns u64 · event_data:
//! at 52    ack             err u32
//!          fork            parent_pid · parent_tgid · child_pid · child_tgid    (u32 each)
//!          exec            process_pid · process_tgid
//!          exit            process_pid · process_tgid · exit_code · exit_signal
//! ```
//!
//! All numbers are in the byte order of the machine; `pid` is a thread and `tgid` a process there.
//! Upstream: `include/uapi/linux/netlink.h`, `include/uapi/linux/connector.h`,
//! `include/uapi/linux/cn_proc.h`, `drivers/connector/cn_proc.c`.
//!
//! The kernel answers LISTEN with an acknowledgement, before `send` returns. Outside of the initial
//! pid or user namespace it ignores LISTEN without a word, so [`ProcessEvents::open`] insists on the
//! answer. In another network namespace there is nobody to send to.
//!
//! Events come after the fact: a process that lives for a millisecond is often gone when its event is
//! read. They also arrive for processes that are of no interest here: the whole machine's.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with, sockopt,
};

/// `CN_IDX_PROC` and `CN_VAL_PROC` (linux/connector.h); the first is the multicast group as well.
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
/// `enum proc_cn_mcast_op` (linux/cn_proc.h).
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_CN_MCAST_IGNORE: u32 = 2;
/// `enum proc_cn_event` (linux/cn_proc.h); `NONE` is an acknowledgement.
const PROC_EVENT_NONE: u32 = 0;
const PROC_EVENT_FORK: u32 = 1;
const PROC_EVENT_EXEC: u32 = 2;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;
/// `NLMSG_DONE` (linux/netlink.h): the type of every message of the connector.
const NLMSG_DONE: u16 = 3;

/// Offsets as the module's documentation draws them.
const CN_MSG: usize = 16;
const PROC_EVENT: usize = 36;
const EVENT_DATA: usize = 52;

/// The receive buffer: about ten thousand events that are not read yet.
const BUFFER: usize = 8 << 20;
/// How long to wait for the acknowledgement. The kernel queues it before `send` returns; the events
/// of a busy machine may be queued before it.
const ACKNOWLEDGEMENT: Duration = Duration::from_millis(200);
/// At most so many datagrams are taken in one [`ProcessEvents::read`].
const BATCH: usize = 4096;

/// What happened to a process. Numbers are process ids of this machine, never threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A process has a new child, still with its parent's program.
    Fork {
        /// Whose child it is. Not always who called `fork`: `CLONE_PARENT` makes a sibling.
        parent: u32,
        /// The new process.
        child: u32,
    },
    /// A process runs another program now.
    Exec {
        /// The process.
        pid: u32,
    },
    /// The first thread of a process has ended. Nearly always the process with it. When another
    /// thread has called `exec`, an [`ProcessEvent::Exec`] of the same process follows; when the
    /// first thread ended alone, the others go on and nothing more is told. Look at the process.
    Exit {
        /// The process.
        pid: u32,
        /// As `wait` gives it: see [`Status::from_wait`](crate::life::Status::from_wait).
        wait_status: i32,
    },
    /// Events were lost, because they were not read in time: look at all processes.
    Overflow,
}

/// Why the kernel does not tell.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// No `CONFIG_CONNECTOR`.
    #[error("this kernel has no connector, which would report processes")]
    NoConnector,
    /// `send` found no receiver.
    #[error(
        "process events are only told in the machine's own network namespace, and this is another"
    )]
    NetworkNamespace,
    /// LISTEN was ignored: another pid or user namespace, or no `CONFIG_PROC_EVENTS`.
    #[error(
        "the kernel did not acknowledge: process events are only told in the machine's own pid and user namespaces"
    )]
    NoAcknowledgement,
    /// The kernel refused: before Linux 6.6 it asks for `CAP_NET_ADMIN`.
    #[error("process events need CAP_NET_ADMIN on this kernel")]
    Rights,
    /// Something else failed.
    #[error("cannot listen to process events: {call}: {error}")]
    System {
        /// The system call.
        call: &'static str,
        /// What it answered.
        error: io::Error,
    },
}

/// A subscription to the forks, execs and exits of the machine. Readable ([`AsFd`]) when there are
/// some.
#[derive(Debug)]
pub struct ProcessEvents {
    socket: OwnedFd,
}

impl ProcessEvents {
    /// Subscribes, and makes sure that the kernel has heard it. Every event from now on will be read,
    /// or an [`ProcessEvent::Overflow`] instead.
    ///
    /// # Errors
    /// [`EventsError`]: what is in the way.
    pub fn open() -> Result<Self, EventsError> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::CONNECTOR),
        )
        .map_err(|error| match error {
            Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => EventsError::NoConnector,
            error => system("socket", error),
        })?;
        bind(&socket, &SocketAddrNetlink::new(0, 1 << (CN_IDX_PROC - 1))).map_err(|error| {
            match error {
                Errno::PERM => EventsError::Rights,
                error => system("bind", error),
            }
        })?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            // Without CAP_NET_ADMIN: as much as anybody may have. Losses are told.
            let _ = sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
        }
        let mut events = Self { socket };
        let token = std::process::id();
        events
            .send(PROC_CN_MCAST_LISTEN, token)
            .map_err(|error| match error {
                Errno::CONNREFUSED => EventsError::NetworkNamespace,
                Errno::PERM => EventsError::Rights,
                error => system("send", error),
            })?;
        events.await_acknowledgement(token)?;
        Ok(events)
    }

    fn send(&self, operation: u32, token: u32) -> Result<(), Errno> {
        let message = request(operation, token);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &kernel).map(drop)
    }

    fn await_acknowledgement(&mut self, token: u32) -> Result<(), EventsError> {
        let end = Instant::now() + ACKNOWLEDGEMENT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or_default();
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                // A flood of events that others listen to is no answer either.
                _ if left.is_zero() => return Err(EventsError::NoAcknowledgement),
                Ok(0) => return Err(EventsError::NoAcknowledgement),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(system("poll", error)),
            }
            // Everybody who listens gets the acknowledgements of all; this one is ours.
            match self.receive() {
                Ok(Some(Message::Acknowledgement { of, error })) if of == token => {
                    return match (error != 0).then(|| io::Error::from_raw_os_error(error)) {
                        None => Ok(()),
                        Some(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                            Err(EventsError::Rights)
                        }
                        Some(error) => Err(EventsError::System {
                            call: "PROC_CN_MCAST_LISTEN",
                            error,
                        }),
                    };
                }
                // Nobody relies on events before the subscription stands.
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {}
                Err(error) => return Err(system("recv", error)),
            }
        }
    }

    /// Takes what there is, without waiting; empty when there is nothing. Of a very long queue a
    /// part: then the socket stays readable.
    pub fn read(&mut self) -> Vec<ProcessEvent> {
        let mut events = Vec::new();
        for _ in 0..BATCH {
            match self.receive() {
                Ok(Some(Message::Event(event))) => events.push(event),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // ENOBUFS: the kernel dropped events. Other errors are not known to come; they would
                // mean the same.
                Err(error) => {
                    if events.last() != Some(&ProcessEvent::Overflow) {
                        events.push(ProcessEvent::Overflow);
                    }
                    if error != Errno::NOBUFS {
                        break;
                    }
                }
            }
        }
        events
    }

    /// One datagram; `None` when it is of no interest.
    fn receive(&mut self) -> Result<Option<Message>, Errno> {
        // The largest event (a changed name) ends at byte 84.
        let mut buffer = [0; 256];
        let (length, _, sender) = recvfrom(&self.socket, &mut buffer, RecvFlags::DONTWAIT)?;
        // Any process can send to a netlink socket. The kernel's port is 0.
        let from_kernel = sender
            .and_then(|s| SocketAddrNetlink::try_from(s).ok())
            .is_some_and(|s| s.pid() == 0);
        Ok(buffer
            .get(..length)
            .filter(|_| from_kernel)
            .and_then(Message::parse))
    }
}

impl AsFd for ProcessEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for ProcessEvents {
    /// Before Linux 6.6 closing the socket alone leaves the kernel counting a listener, for which it
    /// goes on to make events.
    fn drop(&mut self) {
        // Nothing is to be done when it fails.
        let _ = self.send(PROC_CN_MCAST_IGNORE, 0);
    }
}

fn system(call: &'static str, error: Errno) -> EventsError {
    EventsError::System {
        call,
        error: error.into(),
    }
}

/// The message that starts or ends a subscription. Its acknowledgement comes with the token plus one
/// in `ack`; a number in `seq` would not come back.
fn request(operation: u32, token: u32) -> [u8; PROC_EVENT + 4] {
    let mut message = [0; PROC_EVENT + 4];
    let length = u32::try_from(message.len()).unwrap_or_default();
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &length.to_ne_bytes());
    put(4, &NLMSG_DONE.to_ne_bytes());
    put(CN_MSG, &CN_IDX_PROC.to_ne_bytes());
    put(CN_MSG + 4, &CN_VAL_PROC.to_ne_bytes());
    put(CN_MSG + 12, &token.to_ne_bytes());
    put(CN_MSG + 16, &4_u16.to_ne_bytes());
    put(PROC_EVENT, &operation.to_ne_bytes());
    message
}

/// What a datagram says.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// The answer to the request with this token; `error` is an errno or 0.
    Acknowledgement { of: u32, error: i32 },
    /// An event that is passed on.
    Event(ProcessEvent),
}

impl Message {
    /// `None` for events of other kinds, of threads, and for what is no event.
    fn parse(datagram: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = datagram.get(at..at + mem::size_of::<u32>())?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        if number(CN_MSG)? != CN_IDX_PROC || number(CN_MSG + 4)? != CN_VAL_PROC {
            return None;
        }
        let field = |index: usize| number(EVENT_DATA + 4 * index);
        let event = match number(PROC_EVENT)? {
            PROC_EVENT_NONE => {
                return Some(Self::Acknowledgement {
                    of: number(CN_MSG + 12)?.wrapping_sub(1),
                    error: field(0)?.cast_signed(),
                });
            }
            // A new thread has the process id of its process.
            PROC_EVENT_FORK if field(2)? == field(3)? => ProcessEvent::Fork {
                parent: field(1)?,
                child: field(3)?,
            },
            PROC_EVENT_EXEC => ProcessEvent::Exec { pid: field(1)? },
            PROC_EVENT_EXIT if field(0)? == field(1)? => ProcessEvent::Exit {
                pid: field(1)?,
                wait_status: field(2)?.cast_signed(),
            },
            _ => return None,
        };
        Some(Self::Event(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(what: u32, fields: &[u32]) -> Vec<u8> {
        let mut bytes = request(what, 8).to_vec();
        bytes.resize(EVENT_DATA, 0);
        for field in fields {
            bytes.extend_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    fn event(what: u32, fields: &[u32]) -> Option<ProcessEvent> {
        match Message::parse(&datagram(what, fields)) {
            Some(Message::Event(event)) => Some(event),
            _ => None,
        }
    }

    #[test]
    fn events_of_processes_are_told_and_those_of_threads_are_not() {
        assert_eq!(
            event(PROC_EVENT_FORK, &[11, 10, 20, 20]),
            Some(ProcessEvent::Fork {
                parent: 10,
                child: 20
            })
        );
        assert_eq!(event(PROC_EVENT_FORK, &[10, 10, 11, 10]), None);
        // A thread that is not the first has taken the process over.
        assert_eq!(
            event(PROC_EVENT_EXEC, &[10, 10]),
            Some(ProcessEvent::Exec { pid: 10 })
        );
        assert_eq!(
            event(PROC_EVENT_EXIT, &[10, 10, 3 << 8, 17, 1, 1]),
            Some(ProcessEvent::Exit {
                pid: 10,
                wait_status: 3 << 8
            })
        );
        assert_eq!(event(PROC_EVENT_EXIT, &[11, 10, 0, 17, 1, 1]), None);
        // PROC_EVENT_COMM.
        assert_eq!(event(0x200, &[10, 10]), None);
    }

    #[test]
    fn an_acknowledgement_names_its_request() {
        assert_eq!(
            Message::parse(&datagram(PROC_EVENT_NONE, &[1])),
            Some(Message::Acknowledgement { of: 7, error: 1 })
        );
    }

    #[test]
    fn what_is_cut_short_is_no_event() {
        let whole = datagram(PROC_EVENT_EXIT, &[10, 10, 0]);
        assert!(Message::parse(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(Message::parse(&whole[..length]), None, "{length} bytes");
        }
        // Another user of the connector.
        let mut other = whole;
        other[CN_MSG] ^= 2;
        assert_eq!(Message::parse(&other), None);
    }
}
