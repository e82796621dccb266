//! Where things that are expensive to get lie: outside the checkout, shared by all checkouts.
//!
//! ```text
//! <cache>                       $COVTAP_CACHE, else $XDG_CACHE_HOME/covtap, else ~/.cache/covtap
//!   go/<version>/go/            a Go toolchain (GOROOT)
//!   go/<version>/covdata        its `go tool covdata`, as a program
//!   go-build/                   GOCACHE of everything that xtask builds with Go
//!   tools/<hash of the list>/   a Python environment with the developer tools
//!   fixtures/<recipe>/<version>/<case>/
//!   tap/<recipe>/<version>/<kind>/
//!   bench/<version>/
//!   cluster/                      kind, node image, what belongs to our docker daemon: `cluster`
//! ```
//!
//! This file uses nothing but the standard library and nothing else of xtask: the differential
//! test (`crates/cli/tests/covdata_differential.rs`) and the tap's tests include it, so that all
//! look in the same place.

use std::io;
use std::path::{Path, PathBuf};

/// The root of the cache, or `None` when the environment names no home.
pub(crate) fn root() -> Option<PathBuf> {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from("COVTAP_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| dir.join("covtap")))
        .or_else(|| from("HOME").map(|dir| dir.join(".cache").join("covtap")))
}

/// Folder of the fixtures that `repository`'s recipe makes: `<cache>/fixtures/<recipe hash>`.
///
/// # Errors
/// When the recipe cannot be read, or there is no cache.
pub(crate) fn fixtures(repository: &Path) -> io::Result<PathBuf> {
    let root = root().ok_or_else(|| io::Error::other("COVTAP_CACHE and HOME are not set"))?;
    let recipe = recipe(repository, "fixtures/go", "xtask/src/fixtures.rs")?;
    Ok(root.join("fixtures").join(recipe))
}

/// Folder of the programs for the tap's tests: `<cache>/tap/<recipe hash>`.
///
/// # Errors
/// When the recipe cannot be read, or there is no cache.
pub(crate) fn tap(repository: &Path) -> io::Result<PathBuf> {
    let root = root().ok_or_else(|| io::Error::other("COVTAP_CACHE and HOME are not set"))?;
    let recipe = recipe(repository, "fixtures/tap", "xtask/src/tap_fixtures.rs")?;
    Ok(root.join("tap").join(recipe))
}

/// `go tool covdata` of this Go version, as a program.
pub(crate) fn covdata(version: &str) -> Option<PathBuf> {
    Some(root()?.join("go").join(version).join("covdata"))
}

/// Hash of everything that decides what fixtures hold: the folder of programs and the file that
/// builds and records.
fn recipe(repository: &Path, programs: &str, recorder: &str) -> io::Result<String> {
    let mut files = Vec::new();
    walk(&repository.join(programs), &mut files)?;
    files.push(repository.join(recorder));
    files.sort();
    let mut hash = Fnv::default();
    for file in files {
        let name = file.strip_prefix(repository).unwrap_or(&file);
        hash.eat(name.to_string_lossy().as_bytes());
        hash.eat(&[0]);
        let bytes = std::fs::read(&file)?;
        hash.eat(&(bytes.len() as u64).to_le_bytes());
        hash.eat(&bytes);
    }
    Ok(format!("{:016x}", hash.0))
}

/// All files under `dir`.
fn walk(dir: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), into)?;
        } else {
            into.push(entry.path());
        }
    }
    Ok(())
}

/// FNV-1a with 64 bits: the same on every machine and in every version of Rust.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Adds bytes.
    pub(crate) fn eat(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
