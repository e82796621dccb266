//! What session, guardian and holder say to each other: one record of a `SOCK_SEQPACKET` each.
//!
//! ```text
//! byte 0   the kind
//! then     its numbers, 8 bytes each in the machine's byte order
//! then     a path, to the end of the record, if the kind has one
//! ```
//!
//! Both ends are the same program on the same machine, so there is no version.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Ended, Held, Unmarked};
use crate::life::Status;

/// No record is longer: a path of the kernel has at most 4096 bytes.
pub(super) const LONGEST: usize = 8192;

/// Names a program that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// A process, and not a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// When it was started, in clock ticks since boot.
    pub(super) start_ticks: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Holder to session: everything is marked.
    Ready { holder: u32, marked: u64 },
    /// Holder to session: the kernel refused, with this errno.
    Failed { error: i32 },
    /// Holder to session: a program waits.
    Held(Held),
    /// Holder to session: a program was allowed without an answer.
    Expired(Ticket),
    /// Holder to session: so many programs were allowed that could not be told.
    Lost(u64),
    /// Holder to session: a file system is not marked.
    Unmarked(Unmarked),
    /// Guardian or holder to session: it is over.
    Ended(Ended),
    /// Session to holder: it knows of it.
    Read(Ticket),
    /// Session to holder: allow it.
    Answer(Ticket),
    /// Session to holder: mark what this process can see.
    Follow(Process),
}

const READY: u8 = 1;
const FAILED: u8 = 2;
const HELD: u8 = 3;
const EXPIRED: u8 = 4;
const LOST: u8 = 5;
const UNMARKED: u8 = 6;
const ENDED: u8 = 7;
const READ: u8 = 8;
const ANSWER: u8 = 9;
const FOLLOW: u8 = 10;

/// Kinds of [`Ended`].
const HUNG: u64 = 1;
const HOLDER: u64 = 2;
const HOLDER_EXIT: u64 = 3;
const HOLDER_SIGNAL: u64 = 4;
const GAVE_UP: u64 = 5;
const GUARDIAN: u64 = 6;

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready { holder, marked } => record(READY, &[(*holder).into(), *marked]),
            Self::Failed { error } => record(FAILED, &[of_errno(*error)]),
            Self::Held(held) => {
                let numbers = [
                    held.ticket.0,
                    held.tid.into(),
                    held.pid.into(),
                    held.device,
                    held.inode,
                    held.waits.into(),
                ];
                with_path(record(HELD, &numbers), &held.path)
            }
            Self::Expired(ticket) => record(EXPIRED, &[ticket.0]),
            Self::Lost(count) => record(LOST, &[*count]),
            Self::Unmarked(unmarked) => {
                let error = unmarked.error.map_or(0, of_errno);
                with_path(record(UNMARKED, &[error]), &unmarked.mount)
            }
            Self::Ended(ended) => {
                let (kind, value) = match ended {
                    Ended::Hung => (HUNG, 0),
                    Ended::Holder(None) => (HOLDER, 0),
                    Ended::Holder(Some(Status::Exit(code))) => (HOLDER_EXIT, *code),
                    Ended::Holder(Some(Status::Signal(signal))) => (HOLDER_SIGNAL, *signal),
                    Ended::GaveUp(error) => (GAVE_UP, *error),
                    Ended::Guardian => (GUARDIAN, 0),
                };
                record(ENDED, &[kind, of_errno(value)])
            }
            Self::Read(ticket) => record(READ, &[ticket.0]),
            Self::Answer(ticket) => record(ANSWER, &[ticket.0]),
            Self::Follow(process) => record(FOLLOW, &[process.pid.into(), process.start_ticks]),
        }
    }

    /// `None` for what [`Message::encode`] does not make.
    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let (kind, rest) = record.split_first()?;
        let mut reader = Reader(rest);
        let message = match *kind {
            READY => Self::Ready {
                holder: reader.small()?,
                marked: reader.number()?,
            },
            FAILED => Self::Failed {
                error: reader.errno()?,
            },
            HELD => Self::Held(Held {
                ticket: Ticket(reader.number()?),
                tid: reader.small()?,
                pid: reader.small()?,
                device: reader.number()?,
                inode: reader.number()?,
                waits: reader.number()? != 0,
                path: reader.path().into(),
            }),
            EXPIRED => Self::Expired(Ticket(reader.number()?)),
            LOST => Self::Lost(reader.number()?),
            UNMARKED => Self::Unmarked(Unmarked {
                error: Some(reader.errno()?).filter(|e| *e != 0),
                mount: reader.path().into(),
            }),
            ENDED => {
                let kind = reader.number()?;
                let value = reader.errno()?;
                Self::Ended(match kind {
                    HUNG => Ended::Hung,
                    HOLDER => Ended::Holder(None),
                    HOLDER_EXIT => Ended::Holder(Some(Status::Exit(value))),
                    HOLDER_SIGNAL => Ended::Holder(Some(Status::Signal(value))),
                    GAVE_UP => Ended::GaveUp(value),
                    GUARDIAN => Ended::Guardian,
                    _ => return None,
                })
            }
            READ => Self::Read(Ticket(reader.number()?)),
            ANSWER => Self::Answer(Ticket(reader.number()?)),
            FOLLOW => Self::Follow(Process {
                pid: reader.small()?,
                start_ticks: reader.number()?,
            }),
            _ => return None,
        };
        reader.0.is_empty().then_some(message)
    }
}

fn record(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = vec![kind];
    for number in numbers {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    bytes
}

fn with_path(mut record: Vec<u8>, path: &Path) -> Vec<u8> {
    record.extend_from_slice(path.as_os_str().as_bytes());
    record.truncate(LONGEST);
    record
}

/// Small numbers of the system: an errno, an exit code, a signal. Never negative.
fn of_errno(value: i32) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*bytes))
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn errno(&mut self) -> Option<i32> {
        self.number()?.try_into().ok()
    }

    fn path(&mut self) -> &'a Path {
        Path::new(OsStr::from_bytes(std::mem::take(&mut self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message> {
        let held = Held {
            ticket: Ticket(1 << 40),
            tid: 7,
            pid: 6,
            device: u64::MAX,
            inode: 12,
            path: Path::new(OsStr::from_bytes(b"/a \xff\n/b")).into(),
            waits: true,
        };
        let mount = Path::new("/m").to_path_buf();
        vec![
            Message::Ready {
                holder: 9,
                marked: 20,
            },
            Message::Failed { error: 22 },
            Message::Held(held.clone()),
            Message::Held(Held {
                waits: false,
                ..held
            }),
            Message::Expired(Ticket(3)),
            Message::Lost(5),
            Message::Unmarked(Unmarked {
                mount: mount.clone(),
                error: Some(13),
            }),
            Message::Unmarked(Unmarked { mount, error: None }),
            Message::Ended(Ended::Hung),
            Message::Ended(Ended::Holder(None)),
            Message::Ended(Ended::Holder(Some(Status::Exit(101)))),
            Message::Ended(Ended::Holder(Some(Status::Signal(9)))),
            Message::Ended(Ended::GaveUp(24)),
            Message::Ended(Ended::Guardian),
            Message::Read(Ticket(4)),
            Message::Answer(Ticket(1 << 40)),
            Message::Follow(Process {
                pid: 8,
                start_ticks: 1 << 50,
            }),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for message in all() {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn what_is_cut_or_longer_is_not_taken_for_something_else() {
        for message in all() {
            let bytes = message.encode();
            let path = matches!(message, Message::Held(_) | Message::Unmarked(_));
            for length in 0..bytes.len() {
                let cut = Message::decode(&bytes[..length]);
                assert!(path || cut.is_none(), "{message:?} as {cut:?}");
            }
            let longer = [bytes, vec![0]].concat();
            assert!(path || Message::decode(&longer).is_none(), "{message:?}");
        }
        assert_eq!(Message::decode(&record(99, &[])), None);
        assert_eq!(Message::decode(&record(ENDED, &[99, 0])), None);
    }
}
