//! Writes counter files; see [`super::counters`] for the format.

use std::collections::BTreeMap;

use super::counters::{Flavor, MAGIC, VERSION};
use super::cursor::push_uleb;

/// Builds a counter file, segment by segment.
pub struct CounterWriter {
    out: Vec<u8>,
    flavor: Flavor,
    segments: u32,
    /// Where the number of functions of the open segment stands, and the number.
    open: Option<(usize, u64)>,
}

impl CounterWriter {
    /// A file for the build with this meta-data hash.
    #[must_use]
    pub fn new(hash: [u8; 16], flavor: Flavor) -> Self {
        let mut out = Vec::with_capacity(4096);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(hash);
        out.extend(match flavor {
            Flavor::Uleb => [2, 0],
            Flavor::RawLittle => [1, 0],
            Flavor::RawBig => [1, 1],
        });
        out.extend([0; 6]);
        Self {
            out,
            flavor,
            segments: 0,
            open: None,
        }
    }

    /// Begins a segment; `arguments` are `argc`, `argv0`, `GOOS` and so on.
    pub fn segment(&mut self, arguments: &BTreeMap<String, Vec<u8>>) {
        self.close();
        let functions_at = self.out.len();
        let mut strings: Vec<&[u8]> = vec![b""];
        let mut index = |s| {
            let found = strings.iter().position(|t| *t == s);
            found.unwrap_or_else(|| {
                strings.push(s);
                strings.len() - 1
            }) as u32
        };
        let pairs: Vec<(u32, u32)> = arguments
            .iter()
            .map(|(k, v)| (index(k.as_bytes()), index(v)))
            .collect();

        let mut table = Vec::new();
        push_uleb(&mut table, strings.len() as u32);
        for string in strings {
            push_uleb(&mut table, string.len() as u32);
            table.extend_from_slice(string);
        }
        let mut args = Vec::new();
        push_uleb(&mut args, pairs.len() as u32);
        for (key, value) in pairs {
            push_uleb(&mut args, key);
            push_uleb(&mut args, value);
        }
        // Functions begin at a multiple of 4 in the file, which every reader finds.
        let end = functions_at + 16 + table.len() + args.len();
        args.resize(args.len() + end.next_multiple_of(4) - end, 0);

        self.out.extend(0u64.to_le_bytes());
        self.out.extend((table.len() as u32).to_le_bytes());
        self.out.extend((args.len() as u32).to_le_bytes());
        self.out.extend(table);
        self.out.extend(args);
        self.open = Some((functions_at, 0));
    }

    /// Adds the counters of a function to the open segment.
    ///
    /// # Panics
    /// When no segment is open.
    pub fn function(&mut self, package: u32, function: u32, counters: &[u32]) {
        let (_, functions) = self.open.as_mut().expect("a segment was begun");
        *functions += 1;
        for number in [counters.len() as u32, package, function] {
            self.number(number);
        }
        for &counter in counters {
            self.number(counter);
        }
    }

    fn number(&mut self, value: u32) {
        match self.flavor {
            Flavor::Uleb => push_uleb(&mut self.out, value),
            Flavor::RawLittle => self.out.extend(value.to_le_bytes()),
            Flavor::RawBig => self.out.extend(value.to_be_bytes()),
        }
    }

    fn close(&mut self) {
        let Some((at, functions)) = self.open.take() else {
            return;
        };
        self.out[at..at + 8].copy_from_slice(&functions.to_le_bytes());
        self.segments += 1;
        self.out.extend(MAGIC);
        self.out.extend([0; 4]);
        self.out.extend(self.segments.to_le_bytes());
        self.out.extend([0; 4]);
    }

    /// The finished file.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out
    }
}
