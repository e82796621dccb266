//! What was observed, for the doctor to judge: typed, each with where it was seen.
//!
//! Facts never hold secrets: of environments only the variables that concern coverage keep their values.

pub mod data;
pub mod log;
pub mod repository;

use std::fmt;

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Relative to the root that was read, with `/`.
    pub file: String,
    /// From 1; 0 is the file as a whole.
    pub line: usize,
}

impl Place {
    /// A line of a file.
    pub fn new(file: impl Into<String>, line: usize) -> Self {
        Self {
            file: file.into(),
            line,
        }
    }
}

/// `Dockerfile:12`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// Something that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// This is so.
    Yes(T),
    /// It could not be looked at, because of this.
    Unknown(String),
}

impl<T> Known<T> {
    /// What is so, if it is known.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Yes(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}
