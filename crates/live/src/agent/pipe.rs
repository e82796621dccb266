//! Messages over descriptors that do not block: what has come is read, what can be written is written.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use covtap_tap::clock::Moment;
use serde::Serialize;

use super::frame::{Body, Decoder, Frame, FrameError, GREETING, Outgoing};

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The other side closed it.
    #[error("the connection was closed")]
    Closed,
    /// The system says.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// What came cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The head of a message is not what it should be.
    #[error("a message that cannot be read: {0}")]
    Head(#[source] serde_json::Error),
    /// A message could not be made.
    #[error("a message that cannot be made: {0}")]
    Made(#[source] serde_json::Error),
    /// Something was said that makes no sense at this point.
    #[error("{0}")]
    Nonsense(String),
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Incoming {
    decoder: Decoder,
    /// When something came last.
    pub(super) heard: Option<Moment>,
    /// The same, or when this was made, whatever happens to the clock.
    since: Instant,
}

impl Default for Incoming {
    fn default() -> Self {
        Self {
            decoder: Decoder::default(),
            heard: None,
            since: Instant::now(),
        }
    }
}

/// Longest run that is read at once, in bytes.
const RUN: usize = 64 << 10;

impl Incoming {
    /// Reads what is there, at most a run. Returns whether there was anything.
    ///
    /// # Errors
    /// [`StreamError`]: nothing more will come.
    pub(super) fn read(&mut self, from: &mut impl Read) -> Result<bool, StreamError> {
        let mut run = [0; RUN];
        loop {
            return match from.read(&mut run) {
                Ok(0) => Err(StreamError::Closed),
                Ok(length) => {
                    self.heard = Some(Moment::now());
                    self.since = Instant::now();
                    self.decoder.feed(&run[..length]);
                    Ok(true)
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => Ok(false),
                    ErrorKind::Interrupted => continue,
                    _ => Err(StreamError::Broken(error)),
                },
            };
        }
    }

    /// For how long nothing came.
    pub(super) fn silence(&self) -> Duration {
        self.since.elapsed()
    }

    /// The next message.
    ///
    /// # Errors
    /// [`StreamError`].
    pub(super) fn next(&mut self) -> Result<Option<Frame>, StreamError> {
        Ok(self.decoder.next_frame()?)
    }
}

/// The writing end.
#[derive(Default)]
pub(super) struct Output {
    queue: VecDeque<Outgoing>,
    frame: Vec<u8>,
    /// How much of `frame` is written.
    at: usize,
    greeted: bool,
    /// Bytes of all messages, also those that wait.
    pub(super) bytes: u64,
    waiting: usize,
}

impl Output {
    /// Puts a message at the end of the queue.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn push(&mut self, message: &impl Serialize, body: Body) -> Result<(), StreamError> {
        let outgoing = Outgoing::new(message, body).map_err(StreamError::Made)?;
        self.bytes += outgoing.size() as u64;
        self.waiting += outgoing.size();
        self.queue.push_back(outgoing);
        Ok(())
    }

    /// How many bytes wait, about.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "the agent's end asks")
    )]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.at == self.frame.len()
    }

    /// Writes what can be written now.
    ///
    /// # Errors
    /// [`StreamError`]: nobody reads.
    pub(super) fn write(&mut self, to: &mut impl Write) -> Result<(), StreamError> {
        loop {
            if self.at == self.frame.len() && !self.fill() {
                return Ok(());
            }
            match to.write(&self.frame[self.at..]) {
                Ok(0) => return Err(StreamError::Closed),
                Ok(length) => self.at += length,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                        return Err(StreamError::Closed);
                    }
                    _ => return Err(StreamError::Broken(error)),
                },
            }
        }
    }

    /// Makes the next frame; `false` when there is none.
    fn fill(&mut self) -> bool {
        let Some(first) = self.queue.front_mut() else {
            // A large one is not kept for ever.
            self.frame = Vec::new();
            self.at = 0;
            return false;
        };
        self.frame.clear();
        self.at = 0;
        if !std::mem::replace(&mut self.greeted, true) {
            self.frame.extend(GREETING);
        }
        if !first.write(&mut self.frame) {
            self.waiting -= first.size();
            self.queue.pop_front();
        }
        true
    }
}
