//! Messages on a stream of bytes: a head, which is JSON, and a body, which is not.
//!
//! ```text
//! stream   "covtap\r\n" | frames                                  the same in both directions
//! frame    length u32: of all that follows, at most 1 MiB
//!          | head length u32 | rest u32: bytes of the body that are in later frames
//!          | head: a JSON object, "kind" says which | body
//! ```
//! Numbers are little-endian. A body that is longer than 256 KiB goes on in frames without a head, which
//! come right after. The first eight bytes of a stream tell it from what a shell or an engine would print
//! there, and from a terminal, which changes line ends.
//!
//! JSON, because a reader passes over the fields that it does not know, and a person can read what goes over
//! the wire; counters and meta-data are bodies, in Go's own format, which is small and has a decoder that
//! trusts nothing.

use std::sync::Arc;

use covtap_model::problem::printable;
use covtap_profile::go::meta::MetaFile;
use serde::Serialize;

/// First bytes of a stream.
pub const GREETING: [u8; 8] = *b"covtap\r\n";
/// Bytes of a frame's three numbers.
const NUMBERS: usize = 12;
/// Longest frame, in bytes after its length.
pub const LONGEST_FRAME: u32 = 1 << 20;
/// Longest body, in bytes. The meta-data of Kubernetes' largest program are 8 MB.
pub const LONGEST_BODY: u64 = 256 << 20;
/// Longest part of a body in one frame that is written here, in bytes.
const PIECE: usize = 256 << 10;

/// Why a stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Something else speaks.
    #[error("it does not speak covtap's protocol: it says {found:?}")]
    NoGreeting {
        /// Its first bytes, made printable.
        found: String,
    },
    /// A frame is longer than frames are.
    #[error("frame {frame} states {found} bytes; {LONGEST_FRAME} are the most")]
    TooLong {
        /// Its number, from 0.
        frame: u64,
        /// What it states.
        found: u32,
    },
    /// A frame's numbers contradict each other, or those of the frame before.
    #[error("frame {frame}: expected {expected}, found {found}")]
    Contradiction {
        /// Its number, from 0.
        frame: u64,
        /// What a sound one has.
        expected: String,
        /// What it has.
        found: String,
    },
}

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// A JSON object.
    pub head: Vec<u8>,
    /// What belongs to it; mostly empty.
    pub body: Vec<u8>,
}

/// Takes a stream apart, in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// How many of them are done with.
    done: usize,
    greeted: bool,
    frames: u64,
    /// A message whose body is not whole yet, and how many bytes are missing.
    open: Option<(Frame, u64)>,
}

impl Decoder {
    /// Takes in what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.done > 0 {
            self.bytes.drain(..self.done);
            self.done = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; `None` when more has to come first.
    ///
    /// # Errors
    /// [`FrameError`]; nothing more can be read then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if !self.greeted && !self.greeting()? {
            return Ok(None);
        }
        loop {
            let rest = &self.bytes[self.done..];
            let Some((length, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let length = u32::from_le_bytes(*length);
            if length > LONGEST_FRAME {
                return Err(FrameError::TooLong {
                    frame: self.frames,
                    found: length,
                });
            }
            let Some(content) = rest.get(..length as usize) else {
                return Ok(None);
            };
            let message = take_frame(content, &mut self.open).map_err(|(expected, found)| {
                FrameError::Contradiction {
                    frame: self.frames,
                    expected,
                    found,
                }
            })?;
            self.done += 4 + length as usize;
            self.frames += 1;
            if let Some(message) = message {
                return Ok(Some(message));
            }
        }
    }

    /// Whether the greeting is there.
    fn greeting(&mut self) -> Result<bool, FrameError> {
        let known = self.bytes.len().min(GREETING.len());
        if self.bytes[..known] != GREETING[..known] {
            // Enough for the message of a shell or of an engine.
            let shown = &self.bytes[..self.bytes.len().min(200)];
            let text = String::from_utf8_lossy(shown);
            return Err(FrameError::NoGreeting {
                found: printable(text.trim()).into_owned(),
            });
        }
        self.greeted = known == GREETING.len();
        if self.greeted {
            self.done = known;
        }
        Ok(self.greeted)
    }
}

/// Takes in one frame; returns the message that is whole with it. Errors are what was expected and what
/// was found.
fn take_frame(
    content: &[u8],
    open: &mut Option<(Frame, u64)>,
) -> Result<Option<Frame>, (String, String)> {
    let numbers = content
        .split_first_chunk::<4>()
        .and_then(|(head, rest)| Some((head, rest.split_first_chunk::<4>()?)));
    let Some((head, (missing, content))) = numbers else {
        let found = format!("{} bytes", content.len());
        return Err(("at least 8 bytes".into(), found));
    };
    let head = u32::from_le_bytes(*head) as usize;
    let missing = u64::from(u32::from_le_bytes(*missing));
    let Some((head, body)) = content.split_at_checked(head) else {
        return Err((
            format!("a head of at most {} bytes", content.len()),
            head.to_string(),
        ));
    };
    let frame = match open.take() {
        None if head.is_empty() => return Err(("a head".into(), "none".into())),
        None => Frame {
            head: head.to_vec(),
            body: body.to_vec(),
        },
        Some((mut frame, before)) => {
            if !head.is_empty() || body.is_empty() || missing + body.len() as u64 != before {
                return Err((
                    format!("the next of {before} bytes of a body"),
                    format!("{}, and {missing} to come", body.len()),
                ));
            }
            frame.body.extend_from_slice(body);
            frame
        }
    };
    if missing == 0 {
        return Ok(Some(frame));
    }
    if frame.body.len() as u64 + missing > LONGEST_BODY {
        return Err((
            format!("a body of at most {LONGEST_BODY} bytes"),
            (frame.body.len() as u64 + missing).to_string(),
        ));
    }
    *open = Some((frame, missing));
    Ok(None)
}

/// What follows a head.
#[derive(Clone)]
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The meta-data of a build, shared with whoever else has them.
    Meta(Arc<MetaFile>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Meta(meta) => meta.bytes(),
        }
    }
}

/// A message on its way out, which is made into frames one by one: a large one is never there twice.
pub struct Outgoing {
    head: Vec<u8>,
    body: Body,
    /// Bytes of the body that are written.
    at: usize,
    begun: bool,
}

impl Outgoing {
    /// A message whose head is this.
    ///
    /// # Errors
    /// When it cannot be JSON, or is too long for a frame.
    pub fn new(message: &impl Serialize, body: Body) -> Result<Self, serde_json::Error> {
        let head = serde_json::to_vec(message)?;
        if head.len() > LONGEST_FRAME as usize - NUMBERS - PIECE {
            return Err(serde::ser::Error::custom(format_args!(
                "a head of {} bytes is too long",
                head.len()
            )));
        }
        Ok(Self {
            head,
            body,
            at: 0,
            begun: false,
        })
    }

    /// How many bytes it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        NUMBERS + self.head.len() + self.body.bytes().len()
    }

    /// Appends the next frame to `out`. Returns whether there are more.
    pub fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let body = self.body.bytes();
        let head: &[u8] = if self.begun { &[] } else { &self.head };
        let piece = &body[self.at..body.len().min(self.at + PIECE)];
        self.at += piece.len();
        self.begun = true;
        let left = body.len() - self.at;
        // All are far below 2^32: bodies are meta-data and counters, which are read with such numbers.
        for number in [8 + head.len() + piece.len(), head.len(), left] {
            out.extend((number as u32).to_le_bytes());
        }
        out.extend_from_slice(head);
        out.extend_from_slice(piece);
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(messages: Vec<Outgoing>) -> Vec<u8> {
        let mut out = GREETING.to_vec();
        for mut message in messages {
            while message.write(&mut out) {}
        }
        out
    }

    fn message(text: &str, body: Vec<u8>) -> Outgoing {
        Outgoing::new(&serde_json::json!({ "kind": text }), Body::Bytes(body)).unwrap()
    }

    fn all(decoder: &mut Decoder) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            frames.push(frame);
        }
        frames
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_the_stream_is_cut() {
        let large: Vec<u8> = (0..PIECE * 2 + 5).map(|i| i as u8).collect();
        let bytes = stream(vec![
            message("a", Vec::new()),
            message("b", large.clone()),
            message("c", vec![7]),
        ]);
        for step in [1 << 20, 4096, 7] {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.feed(piece);
                found.extend(all(&mut decoder));
            }
            assert_eq!(found.len(), 3);
            assert_eq!(found[0].head, br#"{"kind":"a"}"#);
            assert!(found[1].body == large && found[2].body == [7]);
        }
    }

    #[test]
    fn what_a_shell_prints_is_shown() {
        let mut decoder = Decoder::default();
        decoder.feed(b"sh: covtap: not found\n");
        let error = decoder.next_frame().unwrap_err();
        assert!(
            error.to_string().contains("sh: covtap: not found"),
            "{error}"
        );
        // A terminal in between.
        let mut decoder = Decoder::default();
        decoder.feed(b"cov");
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.feed(b"tap\r\r\n");
        assert!(decoder.next_frame().is_err());
    }

    fn refused(content: &[&[u8]]) -> FrameError {
        let mut decoder = Decoder::default();
        decoder.feed(&GREETING);
        for content in content {
            decoder.feed(content);
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it is accepted"),
                Err(error) => return error,
            }
        }
    }

    fn frame(head: u32, rest: u32, content: &[u8]) -> Vec<u8> {
        let numbers = [8 + content.len() as u32, head, rest].map(u32::to_le_bytes);
        [numbers.as_flattened(), content].concat()
    }

    #[test]
    fn hostile_numbers_are_refused_before_anything_is_allocated() {
        let too_long = refused(&[&u32::MAX.to_le_bytes()]);
        assert!(matches!(too_long, FrameError::TooLong { frame: 0, .. }));
        for wrong in [
            vec![3, 0, 0, 0, 1, 2, 3],
            frame(9, 0, b"{}"),
            frame(0, 0, b""),
            frame(2, u32::MAX, b"{}"),
            [frame(2, 5, b"{}"), frame(2, 0, b"{}abc")].concat(),
            [frame(2, 5, b"{}"), frame(0, 3, b"abc")].concat(),
            [frame(2, 5, b"{}"), frame(0, 5, b"")].concat(),
        ] {
            let error = refused(&[&wrong]);
            assert!(matches!(error, FrameError::Contradiction { .. }), "{error}");
        }
    }
}
