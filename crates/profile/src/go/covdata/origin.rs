//! Who wrote a counter file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::go::accumulate::{read_into, read_start};
use crate::go::counters::CounterFile;

/// The process that wrote a counter file, as its first segment tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// The program and its arguments.
    pub(super) arguments: Vec<Vec<u8>>,
    pub(super) goos: Vec<u8>,
    pub(super) goarch: Vec<u8>,
}

impl Origin {
    /// Reads it from a file; `None` when the file cannot be read (which is reported when its counters
    /// are).
    pub(super) fn read(path: &Path, buffer: &mut Vec<u8>) -> Option<Self> {
        // It stands at the beginning; only very long argument lists need the whole file.
        read_start(path, buffer, 4096).ok()?;
        if CounterFile::parse(buffer).ok()?.first_segment().is_err() {
            read_into(path, buffer).ok()?;
        }
        let segment = CounterFile::parse(buffer).ok()?.first_segment().ok()?;
        let value = |name| segment.argument(name).unwrap_or_default().to_vec();
        Some(Self {
            arguments: segment
                .program_arguments()
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect(),
            goos: value("GOOS"),
            goarch: value("GOARCH"),
        })
    }

    /// Keeps what both have in common.
    pub(super) fn common(mut self, other: &Self) -> Self {
        if self.arguments != other.arguments {
            self.arguments.clear();
        }
        if self.goos != other.goos {
            self.goos.clear();
        }
        if self.goarch != other.goarch {
            self.goarch.clear();
        }
        self
    }

    /// As a counter file holds it.
    pub(super) fn to_arguments(&self) -> BTreeMap<String, Vec<u8>> {
        let mut map = BTreeMap::new();
        if !self.arguments.is_empty() {
            map.insert("argc".into(), self.arguments.len().to_string().into());
        }
        for (i, argument) in self.arguments.iter().enumerate() {
            map.insert(format!("argv{i}"), argument.clone());
        }
        for (name, value) in [("GOOS", &self.goos), ("GOARCH", &self.goarch)] {
            if !value.is_empty() {
                map.insert(name.into(), value.clone());
            }
        }
        map
    }
}
