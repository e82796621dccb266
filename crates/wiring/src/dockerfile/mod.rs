//! A Dockerfile as its instructions, each with the bytes that it stands in.
//!
//! ```text
//! # syntax=docker/dockerfile:1        directive: only before everything else
//! FROM golang:1.26 AS builder         stage 0, named builder
//! RUN apt-get update \                one instruction: the lines go on after the escape character,
//!     # a comment in between          comments and empty lines in between count for nothing
//!     && go build ./cmd/api
//! COPY <<EOF /etc/api.conf            and its here-documents belong to it
//! …
//! EOF
//! ```
//!
//! Upstream: BuildKit 0.18, `frontend/dockerfile/parser/parser.go` (lines, escapes, directives,
//! here-documents) and `frontend/dockerfile/instructions/parse.go` (flags, FROM, ONBUILD).

mod read;
mod words;

use std::ops::Range;

pub use words::{arg_assignments, env_assignments, expands};

/// A Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile<'a> {
    /// All of it, as it is.
    pub text: &'a str,
    /// `\`, or a backquote where a directive says so.
    pub escape: char,
    /// In order.
    pub instructions: Vec<Instruction>,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// `RUN`, in capital letters however it is written.
    pub keyword: String,
    /// Where it stands: from the beginning of its first line to the end of its last, line end included,
    /// and so its here-documents.
    pub span: Range<usize>,
    /// Number of its first line, from 1.
    pub line: usize,
    /// Where its arguments stand, without here-documents.
    pub arguments: Range<usize>,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// Where its lines stand, without the one that ends it.
    pub body: Range<usize>,
}

/// A stage: what stands between one FROM and the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its number, from 0.
    pub number: usize,
    /// The name after AS.
    pub name: Option<String>,
    /// What it begins with: an image, or the name of an earlier stage. Arguments in it are not expanded.
    pub base: String,
    /// Its instructions, FROM first.
    pub instructions: Range<usize>,
}

impl Stage {
    /// How a person finds it: its name, else its number as Docker counts.
    #[must_use]
    pub fn title(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("{}", self.number))
    }
}

impl<'a> Dockerfile<'a> {
    /// Reads one. Every text has a reading: what is no instruction is one with an unknown keyword, and
    /// the engine is the one to refuse it.
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        read::read(text)
    }

    /// The arguments as one text of the same length, with comments and the escapes of line ends blanked
    /// out: byte n of it is byte n of the arguments.
    #[must_use]
    pub fn arguments(&self, instruction: &Instruction) -> String {
        read::blank(&self.text[instruction.arguments.clone()], self.escape)
    }

    /// Its stages. What stands before the first FROM (only ARG may) belongs to none.
    #[must_use]
    pub fn stages(&self) -> Vec<Stage> {
        let starts: Vec<usize> = (0..self.instructions.len())
            .filter(|&i| self.instructions[i].keyword == "FROM")
            .collect();
        starts
            .iter()
            .enumerate()
            .map(|(number, &start)| {
                let arguments = self.arguments(&self.instructions[start]);
                let mut words = arguments
                    .split_whitespace()
                    .filter(|w| !w.starts_with("--"));
                let base = words.next().unwrap_or_default().to_owned();
                let name = match (words.next(), words.next()) {
                    (Some(word), Some(name)) if word.eq_ignore_ascii_case("as") => {
                        Some(name.to_owned())
                    }
                    _ => None,
                };
                Stage {
                    number,
                    name,
                    base,
                    instructions: start
                        ..starts
                            .get(number + 1)
                            .copied()
                            .unwrap_or(self.instructions.len()),
                }
            })
            .collect()
    }

    /// What ends a line where an instruction stands: `\r\n` if it does so there, else `\n`.
    #[must_use]
    pub fn line_end(&self, instruction: &Instruction) -> &'static str {
        let text = &self.text[instruction.span.clone()];
        match text.find('\n') {
            Some(at) if text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }
}
