//! Writes meta-data files; see [`super::meta`] for the format.

use std::collections::HashMap;

use covtap_model::counter::CounterMode;

use super::cursor::push_uleb;
use super::hash::{Fnv, Hash128};
use super::meta::{BLOB_HEADER, FILE_HEADER, Function, Granularity, MAGIC, VERSION, hash_function};

/// A meta-data file over `blobs`, in this order.
///
/// With the blobs, hash, mode and granularity of a process this is, byte for byte, the file that
/// the process writes.
#[must_use]
pub fn meta_file(
    hash: [u8; 16],
    blobs: &[&[u8]],
    mode: CounterMode,
    granularity: Granularity,
) -> Vec<u8> {
    // One empty string, as Go writes it.
    const STRINGS: [u8; 2] = [1, 0];
    let strings_at = FILE_HEADER + 16 * blobs.len();
    let first = strings_at + STRINGS.len();
    let total = first + blobs.iter().map(|b| b.len()).sum::<usize>();

    let mut out = Vec::with_capacity(total);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((total as u64).to_le_bytes());
    out.extend((blobs.len() as u64).to_le_bytes());
    out.extend(hash);
    out.extend((strings_at as u32).to_le_bytes());
    out.extend((STRINGS.len() as u32).to_le_bytes());
    out.extend([mode as u8, granularity as u8, 0, 0, 0, 0, 0, 0]);
    let mut offset = first as u64;
    for blob in blobs {
        out.extend(offset.to_le_bytes());
        offset += blob.len() as u64;
    }
    for blob in blobs {
        out.extend((blob.len() as u64).to_le_bytes());
    }
    out.extend(STRINGS);
    for blob in blobs {
        out.extend_from_slice(blob);
    }
    out
}

/// Builds the blob of one package, function by function.
pub struct PackageBuilder {
    strings: HashMap<Vec<u8>, u32>,
    table: Vec<u8>,
    header: [u32; 3],
    functions: Vec<Vec<u8>>,
    hash: Fnv,
}

impl PackageBuilder {
    /// A package without functions.
    #[must_use]
    pub fn new(path: &[u8], name: &[u8], module: &[u8]) -> Self {
        let mut builder = Self {
            strings: HashMap::new(),
            table: Vec::new(),
            header: [0; 3],
            functions: Vec::new(),
            hash: Fnv::default(),
        };
        builder.string(b"");
        let path_index = builder.string(path);
        let name_index = builder.string(name);
        let module_index = builder.string(module);
        builder.header = [name_index, path_index, module_index];
        for piece in [path, name, module] {
            builder.hash.write(piece);
        }
        builder
    }

    fn string(&mut self, string: &[u8]) -> u32 {
        if let Some(&index) = self.strings.get(string) {
            return index;
        }
        let index = self.strings.len() as u32;
        self.strings.insert(string.to_vec(), index);
        push_uleb(&mut self.table, string.len() as u32);
        self.table.extend_from_slice(string);
        index
    }

    /// Adds a function and returns its number.
    pub fn add(&mut self, function: &Function<'_>) -> u32 {
        hash_function(&mut self.hash, function);
        let name = self.string(function.name);
        let file = self.string(function.file);
        let mut out = Vec::with_capacity(8 + 6 * function.units.len());
        push_uleb(&mut out, function.units.len() as u32);
        push_uleb(&mut out, name);
        push_uleb(&mut out, file);
        for u in function.units {
            for number in [
                u.start_line,
                u.start_column,
                u.end_line,
                u.end_column,
                u.statements,
            ] {
                push_uleb(&mut out, number);
            }
        }
        push_uleb(&mut out, u32::from(function.literal));
        self.functions.push(out);
        self.functions.len() as u32 - 1
    }

    /// The finished blob.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut table = Vec::with_capacity(5 + self.table.len());
        push_uleb(&mut table, self.strings.len() as u32);
        table.extend(self.table);
        let first = BLOB_HEADER + 4 * self.functions.len() + table.len();
        let length = first + self.functions.iter().map(Vec::len).sum::<usize>();

        let mut out = Vec::with_capacity(length);
        out.extend((length as u32).to_le_bytes());
        for index in self.header {
            out.extend(index.to_le_bytes());
        }
        out.extend(self.hash.finish());
        out.extend([0; 4]);
        out.extend((self.strings.len() as u32).to_le_bytes());
        out.extend((self.functions.len() as u32).to_le_bytes());
        let mut offset = first as u32;
        for function in &self.functions {
            out.extend(offset.to_le_bytes());
            offset += function.len() as u32;
        }
        out.extend(table);
        for function in &self.functions {
            out.extend_from_slice(function);
        }
        out
    }
}
