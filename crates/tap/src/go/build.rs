//! The meta-data of a build, put together as the process itself would write them.

use std::fmt;
use std::sync::Arc;

use covtap_model::counter::CounterMode;
use covtap_profile::go::accumulate::Layout;
use covtap_profile::go::meta::{MetaFile, Package, process_hash};
use covtap_profile::go::meta_writer::meta_file;
use covtap_profile::go::{Damage, hex};

use super::list::Entry;

/// The meta-data of a build, and what a snapshot needs of them.
pub struct Build {
    /// The list that it was made of; blobs' addresses relative to the image's base.
    pub(crate) entries: Vec<Entry>,
    pub(crate) meta: Arc<MetaFile>,
    pub(crate) layout: Arc<Layout>,
    /// Statements of each unit, in the order of [`Layout`].
    pub(crate) statements: Vec<u32>,
    /// Where each package's units begin in `statements`; one more at the end.
    pub(crate) first_unit: Vec<usize>,
    /// The packages with a fixed id: element `n` has the id `-n`.
    fixed: Vec<Option<u32>>,
}

impl fmt::Debug for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Build")
            .field("hash", &hex(&self.meta.hash))
            .field("packages", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// Fixed ids are small: 2 to 27 in Go 1.27 (`internal/coverage/pkid.go`).
const MOST_FIXED: usize = 1 << 12;

impl Build {
    /// The build of these packages, in the order of the process. `blobs` are their meta-data.
    pub(crate) fn new(entries: Vec<Entry>, blobs: &[Vec<u8>]) -> Result<Self, Damage> {
        let counts = |e: &&Entry| !matches!(e.mode, CounterMode::RegOnly | CounterMode::TestMain);
        let of_all = entries.iter().find(counts).or(entries.first());
        let (Some(of_all), Some(first)) = (of_all, blobs.first()) else {
            return Err(Damage {
                offset: 0,
                expected: "at least one package".into(),
                found: "none".into(),
            });
        };
        let hashes: Vec<[u8; 16]> = entries.iter().map(|e| e.hash).collect();
        let (mode, granularity) = (of_all.mode, of_all.granularity);
        let hash = process_hash(&Package::parse(first)?, &hashes, mode, granularity);
        let slices: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let bytes = meta_file(hash, &slices, mode, granularity);
        let (meta, damages) = MetaFile::parse(bytes)?;
        if let Some(first) = damages.into_iter().next() {
            return Err(first.damage);
        }
        let mut statements = Vec::new();
        let mut first_unit = vec![0];
        for package in meta.packages.iter().flatten() {
            let units = package.functions().flat_map(|f| f.units);
            statements.extend(units.map(|u| u.statements));
            first_unit.push(statements.len());
        }
        let mut fixed = Vec::new();
        for (slot, entry) in (0..).zip(&entries) {
            let id = usize::try_from(entry.id.wrapping_neg()).ok();
            if let Some(id) = id.filter(|id| (2..MOST_FIXED).contains(id)) {
                fixed.resize(fixed.len().max(id + 1), None);
                fixed[id] = Some(slot);
            }
        }
        Ok(Self {
            layout: Arc::new(Layout::new(&meta)),
            meta: Arc::new(meta),
            statements,
            first_unit,
            fixed,
            entries,
        })
    }

    /// The place in the list of the package that this number in a function's header means.
    #[inline]
    pub(crate) fn slot(&self, id: u32) -> Option<u32> {
        if id == 0 {
            return None;
        }
        if (id as usize) <= self.entries.len() {
            return Some(id - 1);
        }
        *self.fixed.get(id.wrapping_neg() as usize)?
    }
}
